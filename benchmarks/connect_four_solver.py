# SPDX-License-Identifier: Apache-2.0
"""Connect Four solved exactly: alpha-beta search over boards of bits.

A board is two ints, the stones of who is to move and all stones, a column of `rows + 1`
bits each, the top one always 0. Good for late positions and small boards: the empty
board of 6x7 would take days in Python.

Reference: Pons, Solving Connect Four, 2015, whose representation this is.
"""

import numpy as np


class Solver:
    """The value of positions: 1 a win for who is to move, 0 a draw, -1 a loss.

    Args:
        rows, columns: the size of the board.
    """

    def __init__(self, rows: int = 6, columns: int = 7):
        self.rows, self.columns, self.known = rows, columns, {}
        column = (1 << rows) - 1
        self.column = [column << c * (rows + 1) for c in range(columns)]
        self.bottom = [1 << c * (rows + 1) for c in range(columns)]
        self.full = sum(self.column)
        self.order = sorted(range(columns), key=lambda c: abs(2 * c - columns + 1))

    def wins(self, stones: int) -> bool:
        """Whether four of these stones are in a row."""
        for step in (1, self.rows, self.rows + 1, self.rows + 2):
            pairs = stones & stones >> step
            if pairs & pairs >> 2 * step:
                return True
        return False

    def move(self, own: int, every: int, column: int) -> tuple[int, int]:
        """The board after a move, for the other player."""
        after = every | every + self.bottom[column] & self.column[column]
        return own ^ every, after

    def moves(self, every: int) -> list[int]:
        """The columns that are not full."""
        return [c for c in self.order if every & self.column[c] != self.column[c]]

    def value(self, own: int, every: int, low: int = -1, high: int = 1) -> int:
        """The value to who is to move, who has `own` of all stones."""
        if every == self.full:
            return 0
        if (found := self.known.get((own, every))) is not None:
            return found
        options = self.moves(every)
        for c in options:
            other, after = self.move(own, every, c)
            if self.wins(after ^ other):
                self.known[own, every] = 1
                return 1
        best, start, whole = -1, low, True
        for c in options:
            best = max(best, -self.value(*self.move(own, every, c), -high, -low))
            low = max(low, best)
            if low >= high:
                whole = best == 1
                break
        if whole and (best > start or start == -1):  # not just a bound
            self.known[own, every] = best
        return best

    def values(self, own: int, every: int) -> dict[int, int]:
        """What each move is worth to who makes it."""
        found = {}
        for c in self.moves(every):
            other, after = self.move(own, every, c)
            won = self.wins(after ^ other)
            found[c] = 1 if won else -self.value(other, after)
        return found

    def bits(self, stones: np.ndarray, turn: int) -> tuple[int, int]:
        """A board `[rows, columns]` of 1, -1 and 0, the top row first."""
        own = every = 0
        for (row, column), stone in np.ndenumerate(stones):
            bit = 1 << column * (self.rows + 1) + self.rows - 1 - row
            every |= bit * bool(stone)
            own |= bit * (stone == turn)
        return own, every


def late_positions(game, count: int, stones: int, seed: int) -> list:
    """Positions of random games with so many stones that are not the end."""
    import jax

    rng, found = np.random.default_rng(seed), []
    play, moves = jax.jit(game.play), jax.jit(game.moves)
    while len(found) < count:
        position = game.start()
        for _ in range(stones):
            legal = np.flatnonzero(moves(position))
            if not len(legal):
                break
            position = play(position, int(rng.choice(legal)))
        if np.asarray(moves(position)).any():
            found.append(jax.device_get(position))
    return found
