# SPDX-License-Identifier: Apache-2.0
"""Boards of stones on which a row of stones wins."""

from functools import lru_cache
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxnn.rl.games.game import Game

DIRECTIONS = ((0, 1), (1, 0), (1, 1), (1, -1))


class Board(NamedTuple):
    """A position."""

    stones: jax.Array  # int8 [rows, columns], 1 who began, -1 the other, 0 none
    turn: jax.Array  # int8 [], whose move it is


class RowGame(Game):
    """Games in which `in_row` stones in a row win, in any of four directions."""

    rows: int
    columns: int
    in_row: int

    @property
    def longest(self) -> int:
        """The most moves of a game."""
        return self.rows * self.columns

    def start(self) -> Board:
        """An empty board."""
        return Board(jnp.zeros((self.rows, self.columns), jnp.int8), jnp.int8(1))

    def result(self, position):
        # (the product with all lines at once: one operation in place of hundreds)
        lines = jnp.asarray(_lines(self.rows, self.columns, self.in_row), jnp.float32)
        sums = lines @ position.stones.ravel().astype(jnp.float32)
        own, other = (sums >= self.in_row).any(), (sums <= -self.in_row).any()
        return own.astype(jnp.float32) - other.astype(jnp.float32)

    def look(self, position):
        own = position.stones * position.turn
        return jnp.stack([own == 1, own == -1], -1).astype(jnp.float32)

    def text(self, position):
        marks = {1: "X", -1: "O", 0: "."}
        rows = np.asarray(position.stones).tolist()
        return "\n".join(" ".join(marks[stone] for stone in row) for row in rows)


@lru_cache(16)
def _lines(rows: int, columns: int, length: int) -> np.ndarray:
    """Every row that wins, `[lines, rows · columns]`, 1 at its cells."""
    lines = []
    for row, column in np.ndindex(rows, columns):
        for down, right in DIRECTIONS:
            cells = [(row + down * i, column + right * i) for i in range(length)]
            if all(0 <= r < rows and 0 <= c < columns for r, c in cells):
                line = np.zeros((rows, columns), np.float32)
                line[tuple(zip(*cells, strict=True))] = 1
                lines.append(line.ravel())
    return np.stack(lines)
