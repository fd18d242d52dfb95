# SPDX-License-Identifier: Apache-2.0
"""Games, one a file."""

from jaxnn.rl.games.connect_four import ConnectFour as ConnectFour
from jaxnn.rl.games.game import Game as Game
from jaxnn.rl.games.tic_tac_toe import TicTacToe as TicTacToe
