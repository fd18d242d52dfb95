# SPDX-License-Identifier: Apache-2.0
"""What the agents do, the same for all: see `train_agents.py`."""

import importlib
from typing import Any, NamedTuple

ENVS = 8  # at once, and steps for an update of DQN
HIDDEN, ACTIONS, FEATURES = 64, 2, 4
LEARNING_RATE, DISCOUNT = 1e-3, 0.99
#: Of DQN; the steps are those of all environments.
CAPACITY, WARMUP, BATCH, COPY_EVERY = 10_000, 1_000, 64, 100
EXPLORE_STEPS, LEAST = 40_000, 0.05
#: Of PPO.
HORIZON, EPOCHS, MINIBATCHES, DECAY, CLIP, VALUE, ENTROPY = (
    128,
    4,
    4,
    0.95,
    0.2,
    0.5,
    0.01,
)
MODULES = {"jaxnn": "jaxnn_agents", "torch": "torch_agents", "jax": "jax_agents"}


class Run(NamedTuple):
    """What came of a training run."""

    seconds: float
    steps: int  # of the environment
    mean_return: float  # of the episodes of the last tenth


def load(name: str) -> Any:
    """The module of a contender: `dqn(steps, seed)` and `ppo(steps, seed)`."""
    return importlib.import_module(f"contenders.{MODULES[name]}")


def exploration(step: int) -> float:
    """The share of random actions after so many steps of the environment."""
    return max(LEAST, 1.0 - (1.0 - LEAST) * step / EXPLORE_STEPS)
