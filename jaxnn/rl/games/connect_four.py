# SPDX-License-Identifier: Apache-2.0
"""Connect Four."""

import jax.numpy as jnp

from jaxnn.checks import positive_int
from jaxnn.rl.games.board import Board, RowGame


class ConnectFour(RowGame):
    """Stones fall in columns, and four in a row win; the moves are the columns.

    Args:
        rows, columns: the size of the board.
        in_row: how many stones in a row win.

    >>> import jaxnn as nn
    >>> game = nn.rl.ConnectFour(rows=4, columns=5)
    >>> print(game.text(game.play(game.play(game.start(), 2), 2)))
    . . . . .
    . . . . .
    . . O . .
    . . X . .
    """

    rows: int = 6
    columns: int = 7
    in_row: int = 4

    def __post_init__(self):
        for name in ("rows", "columns", "in_row"):
            positive_int("ConnectFour", name, getattr(self, name))
        if self.in_row > max(self.rows, self.columns):
            raise ValueError(
                f"ConnectFour: in_row must fit on the board, got {self.in_row} on "
                f"{self.rows}x{self.columns}"
            )

    @property
    def actions(self) -> int:
        """The number of moves, legal or not."""
        return self.columns

    def free(self, position):
        return position.stones[0] == 0

    def put(self, position, move):
        row = (position.stones[:, move] == 0).sum() - 1
        stones = position.stones.at[row, move].set(position.turn)
        return Board(stones, -position.turn)

    def symmetries(self, seen, moves):
        return [(seen, moves), (jnp.flip(seen, -2), jnp.flip(moves, -1))]
