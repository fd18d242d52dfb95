# SPDX-License-Identifier: Apache-2.0
"""Games between players, and with a person."""

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jax.tree_util import Partial

from jaxnn.checks import positive_int
from jaxnn.keys import Key, check_key
from jaxnn.messages.phrases import shown
from jaxnn.messages.tracebacks import entrance
from jaxnn.rl.games.game import Game, check_game
from jaxnn.rl.search import Player


@entrance
def match(game: Game, first: Player, second: Player, key: Key, games: int) -> jax.Array:
    """The outcomes of games between two players, side by side in one program.

    Args:
        game: the game.
        first: who begins, `player(position, key) -> move`, such as a `search_player`.
        second: the other.
        key: a random key.
        games: how many.

    Returns:
        float32 `[games]`: 1 where `first` won, -1 where `second` did, 0 for a draw.

    >>> import jax, jaxnn as nn
    >>> game = nn.rl.TicTacToe()
    >>> anyone = nn.rl.random_player(game)
    >>> nn.rl.match(game, anyone, anyone, jax.random.key(0), 10).shape
    (10,)
    """
    check_game("match", game)
    first, second = _player("first", first), _player("second", second)
    check_key(key, "match")
    positive_int("match", "games", games)
    return _outcomes(first, second, key, game=game, games=games)


@partial(jax.jit, static_argnames=("game", "games"))
def _outcomes(first, second, key, *, game, games):
    def one(key):
        def turn(i, position):
            own = jax.random.fold_in(key, i)
            move = jax.lax.cond(position.turn == 1, first, second, position, own)
            return game.play(position, move)  # stays, once it is over

        return game.outcome(jax.lax.fori_loop(0, game.longest, turn, game.start()))

    return jax.lax.map(one, jax.random.split(key, games), batch_size=min(games, 256))


def _player(name: str, player: Any) -> Partial:
    if not callable(player):
        raise TypeError(
            f"match: {name} must be a player(position, key), such as "
            f"nn.rl.random_player(game), got {shown(player)}"
        )
    return player if isinstance(player, Partial) else Partial(player)


@entrance
def play(
    game: Game,
    opponent: Player,
    key: Key,
    *,
    begin: bool = True,
    ask: Callable[[str], str] = input,
    say: Callable[[str], None] = print,
) -> float:
    """Play against a player at the terminal.

    Args:
        game: the game.
        opponent: `player(position, key) -> move`, such as a `search_player`.
        key: a random key.
        begin: whether the person begins.
        ask: what asks for a move, for tests; an empty answer gives up.
        say: what prints.

    Returns:
        1 if the person won, -1 if the opponent did, 0 for a draw.
    """
    check_game("play", game)
    check_key(key, "play")
    answer, position, person = jax.jit(opponent), game.start(), 1 if begin else -1
    while not bool(game.over(position)):
        say(game.text(position))
        if int(position.turn) == person:
            legal = jnp.flatnonzero(game.moves(position)).tolist()
            move = _asked(legal, ask, say)
            if move is None:
                return -1.0
        else:
            key, own = jax.random.split(key)
            move = int(answer(position, own))
            say(f"I play {move}")
        position = game.play(position, move)
    won = person * float(game.outcome(position))
    say(game.text(position))
    say({1.0: "You win", -1.0: "You lose", 0.0: "A draw"}[won])
    return won


def _asked(legal: list[int], ask: Any, say: Any) -> int | None:
    """The move that a person chooses, or None to give up."""
    while True:
        given = ask(f"Your move ({', '.join(map(str, legal))}): ").strip()
        if not given:
            return None
        if given.isdecimal() and int(given) in legal:
            return int(given)
        say("That is not a move")
