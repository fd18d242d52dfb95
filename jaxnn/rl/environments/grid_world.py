# SPDX-License-Identifier: Apache-2.0
"""GridWorld: a maze small enough to be solved exactly."""

from dataclasses import KW_ONLY

import jax
import jax.numpy as jnp
import numpy as np

from jaxnn.checks import probability
from jaxnn.rl.environment import Environment
from jaxnn.rl.spaces import Discrete

MOVES = np.array([[-1, 0], [0, 1], [1, 0], [0, -1]])
KINDS = ".#SGT"


class GridWorld(Environment):
    """Find the way in a maze: up (0), right (1), down (2), left (3).

    The observation `[cells]` is 1 at the cell and 0 elsewhere. A step costs `cost`; a
    goal gives 1, a trap takes 1, and both end the episode. Walls and the border stop a
    move. `values` solves it exactly.

    Args:
        rows: the map, a string for each row: `.` a free cell, `#` a wall, `S` a start
            (anywhere free, if there is none), `G` a goal, `T` a trap.
        slip: the probability that a move goes to either side instead, half of it each.
        cost: what a step costs.
        max_steps: an episode of this many steps is truncated.

    Reference: Russell and Norvig, Artificial intelligence: a modern approach, 1995,
    chapter 17, whose maze is the default.

    >>> import jaxnn as nn
    >>> maze = nn.rl.GridWorld(("S.G",), slip=0.0, cost=0.0)
    >>> maze.values(0.9).round(2).tolist()
    [[0.9, 1.0, 0.0]]
    """

    rows: tuple[str, ...] = ("...G", ".#.T", "S...")
    slip: float = 0.2
    cost: float = 0.04
    _: KW_ONLY
    max_steps: int = 100
    actions = Discrete(4)

    def __post_init__(self):
        super().__post_init__()
        object.__setattr__(self, "rows", tuple(self.rows))
        probability("GridWorld", "slip", self.slip)
        cells = "".join(self.rows)
        if len({len(row) for row in self.rows}) != 1 or not {*cells} <= {*KINDS}:
            raise ValueError(
                f"GridWorld: rows must be strings of one length of {', '.join(KINDS)}, "
                f"got {self.rows!r:.100}"
            )
        if not self._starts().any():
            raise ValueError("GridWorld: rows must have a free cell to start from")

    def start(self, key):
        starts = np.flatnonzero(self._starts())
        return jax.random.choice(key, jnp.asarray(starts, jnp.int32))

    def move(self, place, action, key):
        u = jax.random.uniform(key)
        side = jnp.where(u < self.slip / 2, 1, jnp.where(u < self.slip, 3, 0))
        place = jnp.asarray(self._reached())[place, (action + side) % 4]
        reward = jnp.asarray(self._rewards(), jnp.float32)[place]
        return place, reward, jnp.asarray(self._ends())[place]

    def observe(self, place):
        return jax.nn.one_hot(place, self._cells().size)

    def values(self, discount: float) -> np.ndarray:
        """The expected return of the best policy from each cell, `[rows, columns]`.

        Value iteration in float64, to the last digit; 0 where an episode has ended, and
        without its limit on steps.
        """
        best = self.action_values(discount).max(1)
        return np.where(self._ends(), 0.0, best).reshape(self._cells().shape)

    def action_values(self, discount: float) -> np.ndarray:
        """The same of each action, `[cells, 4]`."""
        probability("GridWorld.values", "discount", discount)
        shares = (1 - self.slip, self.slip / 2, 0.0, self.slip / 2)
        q = np.zeros((self._cells().size, 4))
        for _ in range(100_000):
            later = discount * np.where(self._ends(), 0.0, q.max(1)) + self._rewards()
            gains = later[self._reached()]
            turned = [p * np.roll(gains, -i, 1) for i, p in enumerate(shares)]
            before, q = q, np.sum(turned, axis=0)
            if np.array_equal(before, q):
                break
        return q

    def _cells(self):
        return np.array([list(row) for row in self.rows])

    def _starts(self):
        cells = self._cells().ravel()
        return cells == ("S" if "S" in cells else ".")

    def _ends(self):
        return np.isin(self._cells().ravel(), ["G", "T"])

    def _rewards(self):
        """What arriving in each cell gives."""
        cells = self._cells().ravel()
        return 1.0 * (cells == "G") - 1.0 * (cells == "T") - self.cost

    def _reached(self):
        """The cell that each move from each cell leads to, `[cells, 4]`."""
        cells = self._cells()
        rows, columns = cells.shape
        places = np.stack(np.divmod(np.arange(cells.size), columns), 1)
        to = places[:, None] + MOVES[None]
        within = ((to >= 0) & (to < [rows, columns])).all(2)
        to = np.clip(to, 0, [rows - 1, columns - 1])
        free = within & (cells[to[..., 0], to[..., 1]] != "#")
        return np.where(free, to @ [columns, 1], np.arange(cells.size)[:, None])
