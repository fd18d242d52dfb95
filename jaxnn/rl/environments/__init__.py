# SPDX-License-Identifier: Apache-2.0
"""Environments, one a file."""

from jaxnn.rl.environments.acrobot import Acrobot as Acrobot
from jaxnn.rl.environments.arm import Arm as Arm
from jaxnn.rl.environments.cart_pole import CartPole as CartPole
from jaxnn.rl.environments.grid_world import GridWorld as GridWorld
from jaxnn.rl.environments.mountain_car import MountainCar as MountainCar
from jaxnn.rl.environments.mountain_car import (
    MountainCarContinuous as MountainCarContinuous,
)
from jaxnn.rl.environments.pendulum import Pendulum as Pendulum
from jaxnn.rl.environments.track import Track as Track
