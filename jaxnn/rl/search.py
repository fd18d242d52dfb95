# SPDX-License-Identifier: Apache-2.0
"""Tree search in games for two, by mctx, guided by a network or by random games."""

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jax.tree_util import Partial

from jaxnn.checks import positive_int
from jaxnn.core import Layer, as_layer, fold_in
from jaxnn.inputs.variables import variables
from jaxnn.keys import Key
from jaxnn.messages.tracebacks import entrance
from jaxnn.rl.games.game import Game, check_game
from jaxnn.spec import Spec

#: `player(position, key) -> move`.
Player = Callable[[Any, Key], jax.Array]
#: `judge(known, positions, key) -> (logits [N, actions], values [N])`, for who moves.
Judge = Callable[[Any, Any, Key], tuple[jax.Array, jax.Array]]


def search(
    game: Game,
    judge: Judge,
    known: Any,
    positions: Any,
    key: Key,
    *,
    simulations: int,
    noise: float,
) -> tuple[jax.Array, jax.Array]:
    """Look ahead from several positions at once.

    Args:
        game: the game.
        judge: what a position is worth, and its moves at first sight.
        known: its arrays.
        positions: N of them, none of which is the end of a game.
        key: a random key.
        simulations: how many positions are looked at for each.
        noise: the scale of the Gumbel noise, 1 to explore and 0 to play well.

    Returns:
        `(moves [N], weights [N, actions])`: the moves chosen, and the improved policy.

    Reference: Danihelka et al., Policy improvement by planning with Gumbel, 2022.
    """
    mctx = needs_mctx("search")
    by_value = partial(mctx.qtransform_completed_by_mix_value, rescale_values=False)
    logits, values = judge(known, positions, fold_in(key, "root"))
    root = mctx.RootFnOutput(prior_logits=logits, value=values, embedding=positions)

    def look(known, key, moves, positions):
        over = jax.vmap(game.over)(positions)
        after = jax.vmap(game.play)(positions, moves)
        gained = jax.vmap(game.outcome)(after) * positions.turn.astype(jnp.float32)
        ended = jax.vmap(game.over)(after)
        logits, values = judge(known, after, key)
        legal = jax.vmap(game.moves)(after)
        seen = mctx.RecurrentFnOutput(
            reward=jnp.where(over, 0.0, gained),
            discount=jnp.where(ended, 0.0, -1.0),  # what is good for one is bad for
            prior_logits=jnp.where(legal, logits, jnp.finfo(logits.dtype).min),
            value=jnp.where(ended, 0.0, values),  # the other
        )
        return seen, after

    # (mctx's own arithmetic needs JAX's standard promotion)
    with jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):
        found = mctx.gumbel_muzero_policy(
            known,
            key,
            root,
            look,
            simulations,
            invalid_actions=~jax.vmap(game.moves)(positions),
            qtransform=by_value,
            gumbel_scale=noise,
        )
    return found.action.astype(jnp.int32), found.action_weights


def needs_mctx(owner: str) -> Any:
    """The package mctx; an error that names it where it is absent."""
    try:
        import mctx
    except ImportError as error:
        raise ImportError(
            f"{owner} needs mctx for tree search: python -m pip install mctx"
        ) from error
    return mctx


class NetworkJudge(Spec):
    """Positions as a network sees them; `known` are its parameters."""

    game: Game
    net: Layer

    def __call__(self, known: Any, positions: Any, key: Key) -> Any:
        out = self.net.apply(known, {}, jax.vmap(self.game.look)(positions))[0]
        return out["policy"], out["value"]


class RandomJudge(Spec):
    """Positions by how games go on at random: one game each, all moves alike."""

    game: Game

    def __call__(self, known: Any, positions: Any, key: Key) -> Any:
        keys = jax.random.split(key, len(positions.turn))
        ends = jax.vmap(partial(_at_random, self.game))(positions, keys)
        values = jax.vmap(self.game.outcome)(ends)
        values *= positions.turn.astype(jnp.float32)
        return jnp.zeros((len(keys), self.game.actions)), values


def _at_random(game: Game, position: Any, key: Key) -> Any:
    """The end of a game that goes on at random."""

    player = RandomPlayer(game)

    def move(i, position):
        chosen = player(position, jax.random.fold_in(key, i))
        return game.play(position, chosen)  # stays, once it is over

    return jax.lax.fori_loop(0, game.longest, move, position)


class SearchPlayer(Spec):
    """A player that looks ahead; see `search_player`."""

    game: Game
    judge: Any
    simulations: int

    def __call__(self, known: Any, position: Any, key: Key) -> jax.Array:
        one = jax.tree.map(lambda a: a[None], position)
        rules = self.game, self.judge
        looks = self.simulations
        return search(*rules, known, one, key, simulations=looks, noise=0.0)[0][0]


class GreedyPlayer(Spec):
    """A player that takes the move that looks best at first sight."""

    game: Game
    judge: NetworkJudge

    def __call__(self, known: Any, position: Any, key: Key) -> jax.Array:
        one = jax.tree.map(lambda a: a[None], position)
        logits = self.judge(known, one, key)[0][0]
        return _best_legal(self.game, position, logits)


class RandomPlayer(Spec):
    """A player that takes any legal move."""

    game: Game

    def __call__(self, position: Any, key: Key) -> jax.Array:
        chance = jax.random.gumbel(key, (self.game.actions,))
        return _best_legal(self.game, position, chance)


def _best_legal(game: Game, position: Any, scores: jax.Array) -> jax.Array:
    """The legal move with the largest score."""
    legal = game.moves(position)
    return jnp.where(legal, scores, -jnp.inf).argmax().astype(jnp.int32)


@entrance
def random_player(game: Game) -> Player:
    """A player that takes any legal move, for `match` and `play`.

    >>> import jax, jaxnn as nn
    >>> game = nn.rl.TicTacToe()
    >>> nn.rl.random_player(game)(game.start(), jax.random.key(0)).shape
    ()
    """
    check_game("random_player", game)
    return Partial(RandomPlayer(game))


@entrance
def search_player(
    game: Game, simulations: int, net: Layer | None = None, known: Any = None
) -> Player:
    """A player that looks ahead by tree search, for `match` and `play`.

    Args:
        game: the game.
        simulations: how many positions it looks at before each move; with a network, 0
            takes the move that looks best at first sight.
        net: a network from what a player sees, `[N, rows, columns, 2]`, to `{"policy",
            "value"}`. None: positions are judged by random games.
        known: the network's variables, a `TrainState` or a pair `(params, state)`.

    Raises:
        ImportError: mctx is not installed.

    Reference: Silver et al., A general reinforcement learning algorithm that masters
    chess, shogi, and Go through self-play, 2018.

    >>> import jax, jaxnn as nn
    >>> game = nn.rl.TicTacToe()
    >>> player = nn.rl.search_player(game, 16)
    >>> bool(game.moves(game.start())[player(game.start(), jax.random.key(0))])
    True
    """
    check_game("search_player", game)
    params = None if net is None else variables(known, "search_player")[0]
    if net is not None and simulations == 0:
        judge = NetworkJudge(game, as_layer(net, "search_player"))
        return Partial(GreedyPlayer(game, judge), params)
    positive_int("search_player", "simulations", simulations)
    needs_mctx("search_player")
    if net is None:
        return Partial(SearchPlayer(game, RandomJudge(game), simulations), ())
    judge = NetworkJudge(game, as_layer(net, "search_player"))
    return Partial(SearchPlayer(game, judge, simulations), params)
