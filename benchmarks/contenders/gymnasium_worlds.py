# SPDX-License-Identifier: Apache-2.0
"""Gymnasium's environments, for those who step them from Python."""

from collections import deque

import gymnasium
import numpy as np

from contenders.agents import ENVS


def environments() -> gymnasium.vector.VectorEnv:
    """Several, which begin anew in the step in which an episode ends."""
    same = gymnasium.vector.AutoresetMode.SAME_STEP
    one = [lambda: gymnasium.make("CartPole-v1") for _ in range(ENVS)]
    return gymnasium.vector.SyncVectorEnv(one, autoreset_mode=same)


class Returns:
    """The returns of episodes, from rewards of all environments."""

    def __init__(self):
        self.running, self.rows = np.zeros(ENVS), deque()

    def add(self, step: int, rewards: np.ndarray, ended: np.ndarray) -> None:
        """A step of all environments."""
        self.running += rewards
        self.rows.extend((step, total) for total in self.running[ended])
        self.running[ended] = 0

    def last(self, steps: int) -> float:
        """The mean of the last tenth."""
        some = [total for step, total in self.rows if step > 0.9 * steps]
        return float(np.mean(some)) if some else float("nan")


def reached(seen: np.ndarray, ended: np.ndarray, info: dict) -> np.ndarray:
    """The observations that actions led to, also where an episode ended."""
    if not ended.any():
        return seen
    after = seen.copy()
    for i in np.flatnonzero(ended):
        after[i] = info["final_obs"][i]
    return after
