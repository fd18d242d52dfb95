# SPDX-License-Identifier: Apache-2.0
"""Tic-tac-toe."""

import jax.numpy as jnp

from jaxnn.rl.games.board import Board, RowGame


class TicTacToe(RowGame):
    """Three in a row on a board of 3x3; the moves are its cells, row by row.

    >>> import jaxnn as nn
    >>> game = nn.rl.TicTacToe()
    >>> position = game.play(game.start(), 4)
    >>> print(game.text(position))
    . . .
    . X .
    . . .
    >>> int(game.moves(position).sum()), float(game.outcome(position))
    (8, 0.0)
    """

    rows: int = 3
    columns: int = 3
    in_row: int = 3

    @property
    def actions(self) -> int:
        """The number of moves, legal or not."""
        return self.rows * self.columns

    def free(self, position):
        return position.stones.ravel() == 0

    def put(self, position, move):
        row, column = move // self.columns, move % self.columns
        stones = position.stones.at[row, column].set(position.turn)
        return Board(stones, -position.turn)

    def symmetries(self, seen, moves):
        board = moves.reshape(*moves.shape[:-1], self.rows, self.columns)
        made = []
        for turns in range(4 if self.rows == self.columns else 1):
            turned = jnp.rot90(seen, turns, (-3, -2)), jnp.rot90(board, turns, (-2, -1))
            for a, b in (turned, (jnp.flip(turned[0], -2), jnp.flip(turned[1], -1))):
                made.append((a, b.reshape(moves.shape)))
        return made
