# SPDX-License-Identifier: Apache-2.0
"""Decisions: environments, agents, games and tree search.

An environment is a frozen spec with two pure functions, `reset` and `step`. An agent is
a step like any other: it acts in its environments and learns, and `fit`, `lax.scan` and
`jax.vmap` train it as one compiled program.

>>> import jax, optax, jaxnn as nn
>>> env = nn.rl.CartPole()
>>> net = nn.Sequential(nn.Dense(64), jax.nn.relu, nn.Dense(2))
>>> step, state = nn.rl.dqn(env, net, optax.adam(1e-3), key=jax.random.key(0))
>>> state, history = nn.fit(step, None, state=state, steps_per_epoch=50, epochs=2)
>>> policy, key = step.policy(state), jax.random.key(1)
>>> nn.rl.evaluate(env, policy, key, 10).shape
(10,)
"""

from jaxnn.messages import public
from jaxnn.rl.agent import Agent as Agent
from jaxnn.rl.alphazero import AlphaZero as AlphaZero
from jaxnn.rl.alphazero import alphazero as alphazero
from jaxnn.rl.dqn import DQN as DQN
from jaxnn.rl.dqn import dqn as dqn
from jaxnn.rl.drawings import animate as animate
from jaxnn.rl.drawings import draw as draw
from jaxnn.rl.environment import Environment as Environment
from jaxnn.rl.environment import EnvState as EnvState
from jaxnn.rl.environment import Outcome as Outcome
from jaxnn.rl.environment import Seen as Seen
from jaxnn.rl.environment import advance as advance
from jaxnn.rl.environments import Acrobot as Acrobot
from jaxnn.rl.environments import Arm as Arm
from jaxnn.rl.environments import CartPole as CartPole
from jaxnn.rl.environments import GridWorld as GridWorld
from jaxnn.rl.environments import MountainCar as MountainCar
from jaxnn.rl.environments import MountainCarContinuous as MountainCarContinuous
from jaxnn.rl.environments import Pendulum as Pendulum
from jaxnn.rl.environments import Track as Track
from jaxnn.rl.games import ConnectFour as ConnectFour
from jaxnn.rl.games import Game as Game
from jaxnn.rl.games import TicTacToe as TicTacToe
from jaxnn.rl.match import match as match
from jaxnn.rl.match import play as play
from jaxnn.rl.networks import ActorCritic as ActorCritic
from jaxnn.rl.networks import Dueling as Dueling
from jaxnn.rl.networks import Gaussian as Gaussian
from jaxnn.rl.ppo import PPO as PPO
from jaxnn.rl.ppo import ppo as ppo
from jaxnn.rl.reinforce import Reinforce as Reinforce
from jaxnn.rl.reinforce import reinforce as reinforce
from jaxnn.rl.returns import advantages as advantages
from jaxnn.rl.returns import discounted as discounted
from jaxnn.rl.rollout import evaluate as evaluate
from jaxnn.rl.rollout import rollout as rollout
from jaxnn.rl.sac import SAC as SAC
from jaxnn.rl.sac import sac as sac
from jaxnn.rl.search import random_player as random_player
from jaxnn.rl.search import search_player as search_player
from jaxnn.rl.spaces import Box as Box
from jaxnn.rl.spaces import Discrete as Discrete

public.show(__name__)
