# SPDX-License-Identifier: Apache-2.0
"""Games of two players who move in turns and see everything."""

from typing import Any

import jax
import jax.numpy as jnp

from jaxnn.checks import is_known
from jaxnn.messages.phrases import describe, shown
from jaxnn.messages.tracebacks import entrance
from jaxnn.spec import Spec


class Game(Spec):
    """The rules of a game for two: frozen, and pure functions of a position.

    A position is a tuple of arrays with a `turn`, 1 for the player who began and -1 for
    the other. `start()` is the first one, `moves(position)` a mask of the moves that
    are legal, none at the end, and `play(position, move)` the position after a move.
    `outcome(position)` is 1 if the player who began has won, -1 if the other has, and 0
    at a draw or before the end.

    A subclass has `start`, `result`, `free`, `put`, `look` and `text`.
    """

    @property
    def actions(self) -> int:
        """The number of moves, legal or not."""
        raise NotImplementedError

    @property
    def longest(self) -> int:
        """The most moves of a game."""
        raise NotImplementedError

    def start(self) -> Any:
        """The position in which a game begins."""
        raise NotImplementedError

    @entrance
    def moves(self, position: Any) -> jax.Array:
        """Which moves are legal, bool `[actions]`; at the end of a game none."""
        self._check(position, "moves")
        return self.free(position) & ~self._won(position)

    @entrance
    def play(self, position: Any, move: Any) -> Any:
        """The position after a move, an int from 0.

        Raises:
            ValueError: the move is illegal; a traced one, of which this is unknown,
                leaves the position as it is.
        """
        owner = f"{type(self).__name__}.play"
        self._check(position, "play")
        move = jnp.asarray(move)
        if move.shape or not jnp.issubdtype(move.dtype, jnp.integer):
            raise TypeError(f"{owner}: move must be one int, got {describe(move)}")
        legal = self.moves(position)
        if is_known(move) and is_known(legal):
            allowed = [i for i, yes in enumerate(legal.tolist()) if yes]
            if int(move) not in allowed:
                over = "" if allowed else ", as the game is over"
                raise ValueError(
                    f"{owner}: move must be one of {allowed}{over}, got {int(move)}"
                )
        # (a sum, as an index out of bounds would be cut off)
        ok = (legal & (jnp.arange(self.actions) == move)).any()
        after = self.put(position, move)
        return jax.tree.map(lambda a, b: jnp.where(ok, a, b), after, position)

    @entrance
    def outcome(self, position: Any) -> jax.Array:
        """1 if the player who began has won, -1 if the other has, else 0; float32."""
        self._check(position, "outcome")
        return self.result(position)

    def over(self, position: Any) -> jax.Array:
        """Whether the game has ended, bool `[]`."""
        return ~self.moves(position).any()

    def symmetries(self, seen: jax.Array, moves: jax.Array) -> list[tuple]:
        """What is the same from another side: pairs of observations and moves.

        Args:
            seen: observations `[..., rows, columns, 2]`.
            moves: numbers for each move, `[..., actions]`.
        """
        return [(seen, moves)]

    def look(self, position: Any) -> jax.Array:
        """What the player to move sees: `[rows, columns, 2]`, own stones and others."""
        raise NotImplementedError

    def result(self, position: Any) -> jax.Array:
        """The outcome."""
        raise NotImplementedError

    def free(self, position: Any) -> jax.Array:
        """The moves for which there is room."""
        raise NotImplementedError

    def put(self, position: Any, move: jax.Array) -> Any:
        """The position after a move that is legal."""
        raise NotImplementedError

    def text(self, position: Any) -> str:
        """The position as lines of text."""
        raise NotImplementedError

    def _won(self, position: Any) -> jax.Array:
        return self.result(position) != 0

    def _check(self, position: Any, name: str) -> None:
        owner = f"{type(self).__name__}.{name}"
        if not hasattr(position, "turn"):
            raise TypeError(
                f"{owner}: position must be one that start and "
                f"play return, got {shown(position)}"
            )


def check_game(owner: str, game: Any) -> None:
    """Raise unless this is a game."""
    if not isinstance(game, Game):
        hint = f"; write {game.__name__}()" if isinstance(game, type) else ""
        raise TypeError(
            f"{owner}: game must be a game, such as nn.rl.TicTacToe(), got "
            f"{shown(game)}{hint}"
        )
