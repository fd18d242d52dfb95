# SPDX-License-Identifier: Apache-2.0
"""AlphaZero: learn a game from nothing, by playing against oneself."""

from collections import OrderedDict
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from jaxnn.checks import not_negative, positive_int
from jaxnn.core import Layer, as_layer, fold_in
from jaxnn.keys import Key, check_key
from jaxnn.messages.phrases import describe
from jaxnn.messages.tracebacks import entrance
from jaxnn.rl.agent import added, mean, means, started, stateless_outputs
from jaxnn.rl.games.game import Game, check_game
from jaxnn.rl.search import (
    NetworkJudge,
    Player,
    RandomPlayer,
    needs_mctx,
    search,
    search_player,
)
from jaxnn.spec import Spec
from jaxnn.train.checks import check_optimizer
from jaxnn.train.custom_step import CustomStep
from jaxnn.train.objective import Weighted
from jaxnn.train.start import train_state
from jaxnn.train.state import TrainState, check_state
from jaxnn.train.step import Logs, train_step


class Moves(NamedTuple):
    """The last moves of several games, a ring of T slots for each of G games."""

    seen: jax.Array  # [T, G, rows, columns, 2]
    weights: jax.Array  # [T, G, actions], what the search thought
    turn: jax.Array  # int8 [T, G]
    ended: jax.Array  # bool [T, G], the move ended the game
    outcome: jax.Array  # [T, G], how it ended


class AlphaZero(CustomStep):
    """The agent that `alphazero` makes; see there."""

    game: Game
    net: Layer
    optimizer: optax.GradientTransformation
    games: int = 64
    simulations: int = 32
    capacity: int = 20_000
    batch_size: int = 256
    updates: int = 1
    random_moves: int = 0

    def __post_init__(self):
        check_game("alphazero", self.game)
        object.__setattr__(self, "net", as_layer(self.net, "alphazero"))
        check_optimizer("alphazero", self.optimizer)
        for name in ("games", "simulations", "capacity", "batch_size", "updates"):
            positive_int("alphazero", name, getattr(self, name))
        not_negative("alphazero", "random_moves", self.random_moves)
        least = max(self.batch_size, 2 * self.games * self.game.longest)
        if self.capacity < least:
            raise ValueError(
                "alphazero: capacity must be at least batch_size, and hold two whole "
                f"games of each, {least} moves, got {self.capacity}"
            )

    @entrance
    def start(self, key: Key) -> TrainState:
        """The first state of a run."""
        needs_mctx("alphazero")
        check_key(key, "alphazero")
        self._check()
        return started(self, key)

    def _check(self) -> None:
        """Raise unless the network fits the game."""
        out = stateless_outputs("alphazero", self.net, self._example)
        wanted = {"policy": (1, self.game.actions), "value": (1,)}
        shapes = isinstance(out, dict) and {n: a.shape for n, a in out.items()}
        if shapes != wanted:
            raise ValueError(
                'alphazero: net must give {"policy": [N, '
                f'{self.game.actions}], "value": [N]}}, as an nn.rl.ActorCritic does, '
                f"got {describe(out):.100}"
            )

    @property
    def _example(self) -> jax.Array:
        return self.game.look(self.game.start())[None]

    def begin(self, key: Key) -> TrainState:
        """The first state, traced."""
        learner = train_state(self.net, self.optimizer, self._example, key=key)
        slots = -(-self.capacity // self.games)

        def room(shape, dtype):
            return jnp.zeros((slots, self.games, *shape), dtype)

        own = {
            "positions": self._fresh(fold_in(key, "openings")),
            "moves": Moves(
                room(self._example.shape[1:], jnp.float32),
                room((self.game.actions,), jnp.float32),
                room((), jnp.int8),
                room((), bool),
                room((), jnp.float32),
            ),
        }
        return learner._replace(state=own)

    def advance(self, state: TrainState, batch: Any) -> tuple[TrainState, Logs]:
        """One move in each game, then learn from those of finished games."""
        own, key = state.state, fold_in(state.key, "alphazero")
        key = jax.random.fold_in(key, state.step)
        positions, moved = self._move(state.params, own["positions"], key)
        place = state.step % own["moves"].turn.shape[0]
        moves = jax.tree.map(lambda a, new: a.at[place].set(new), own["moves"], moved)
        worth, known = values(moves, place)

        def learn(learner, key):
            batch = self._batch(key, moves, worth, known)
            return self.learner.advance(learner, batch)

        keys = jax.random.split(fold_in(key, "learn"), self.updates)
        learner, stats = jax.lax.scan(
            learn, state._replace(state={}), keys, unroll=self.updates == 1
        )
        own = {"positions": positions, "moves": moves}
        state = learner._replace(state=own, step=state.step + 1)
        count = moved.ended.sum().astype(jnp.float32)
        total = jnp.where(moved.ended, moved.outcome, 0.0).sum()
        games = {"total": total, "weight": count}
        rest = {"outcome": games, "ended": mean(count)}
        return state, OrderedDict(added(stats) | rest)

    @entrance
    def __call__(self, state: TrainState, batch: Any = None) -> tuple[TrainState, Logs]:
        check_state("alphazero", state)
        state, stats = self.advance(state, batch)
        return state, means(stats)

    def player(self, state: TrainState, simulations: int = 32) -> Player:
        """What it has learned, `player(position, key) -> move`.

        Args:
            state: the state.
            simulations: how many positions it looks at before a move; 0 takes the move
                that looks best at first sight.
        """
        check_state("alphazero", state)
        return search_player(self.game, simulations, self.net, (state.params, {}))

    def _move(self, params: Any, positions: Any, key: Key) -> tuple[Any, Moves]:
        """A move in each game; a game that ends begins anew."""
        judge, looks = NetworkJudge(self.game, self.net), self.simulations
        chosen, weights = search(
            self.game, judge, params, positions, key, simulations=looks, noise=1.0
        )
        seen = jax.vmap(self.game.look)(positions)
        after = jax.vmap(self.game.play)(positions, chosen)
        ended = jax.vmap(self.game.over)(after)
        outcome = jax.vmap(self.game.outcome)(after)

        def again(fresh, old):
            return jnp.where(ended.reshape(-1, *(1,) * (old.ndim - 1)), fresh, old)

        moved = Moves(seen, weights, positions.turn, ended, outcome)
        fresh = self._fresh(fold_in(key, "openings"))
        return jax.tree.map(again, fresh, after), moved

    def _fresh(self, key: Key) -> Any:
        """Games that begin, each after up to `random_moves` random moves."""
        game, player = self.game, RandomPlayer(self.game)

        def opening(key):
            count = jax.random.randint(key, (), 0, self.random_moves + 1)

            def move(i, position):
                after = game.play(
                    position, player(position, jax.random.fold_in(key, i))
                )
                go_on = (i < count) & ~game.over(after)
                return jax.tree.map(
                    lambda a, b: jnp.where(go_on, a, b), after, position
                )

            return jax.lax.fori_loop(0, self.random_moves, move, game.start())

        return jax.vmap(opening)(jax.random.split(key, self.games))

    def _batch(self, key: Key, moves: Moves, worth: Any, known: Any) -> Any:
        """Moves from memory, each seen from a random side."""
        slots, games = worth.shape
        where, side = jax.random.split(key)
        at = jax.random.randint(where, (self.batch_size,), 0, slots * games)

        def take(a):
            return a.reshape(slots * games, *a.shape[2:])[at]

        sides = self.game.symmetries(take(moves.seen), take(moves.weights))
        seen, weights = (jnp.stack(a) for a in zip(*sides, strict=True))
        pick = jax.random.randint(side, (self.batch_size,), 0, len(sides))
        rows = jnp.arange(self.batch_size)
        rows = {"seen": seen[pick, rows], "weights": weights[pick, rows]}
        return Weighted(rows | {"value": take(worth)}, take(known).astype(jnp.float32))

    @property
    def learner(self):
        """The step of gradient descent that it takes."""
        return train_step(self.net, objective=PlayLoss(), optimizer=self.optimizer)


class PlayLoss(Spec):
    """The cross-entropy of the policy to the search's, and the value's error."""

    def __call__(self, run: Any, batch: Any) -> Any:
        out = run(batch["seen"])
        log_p = jax.nn.log_softmax(out["policy"])
        policy = -(batch["weights"] * log_p).sum(-1)
        value = (out["value"] - batch["value"]) ** 2
        return policy + value, {"policy_loss": policy, "value_loss": value}


def values(moves: Moves, newest: jax.Array) -> tuple[jax.Array, jax.Array]:
    """How each game ended, for who moved, and whether it has: `[T, G]` each."""
    slots = moves.turn.shape[0]
    order = (newest + 1 + jnp.arange(slots)) % slots  # the oldest first

    def back(carry, row):
        outcome, known = carry
        ended, own = moves.ended[row], moves.outcome[row]
        outcome, known = jnp.where(ended, own, outcome), known | ended
        return (outcome, known), (row, outcome, known)

    none = jnp.zeros(moves.turn.shape[1])
    start = none, jnp.zeros(none.shape, bool)
    _, (rows, outcome, known) = jax.lax.scan(back, start, order, reverse=True)
    outcome = jnp.zeros_like(moves.outcome).at[rows].set(outcome)
    known = jnp.zeros_like(moves.ended).at[rows].set(known)
    own = outcome * moves.turn.astype(outcome.dtype)
    return own, known & (moves.turn != 0)  # (0: not yet played)


@entrance
def alphazero(
    game: Game,
    net: Layer,
    optimizer: optax.GradientTransformation,
    *,
    key: Key,
    games: int = 64,
    simulations: int = 32,
    capacity: int = 20_000,
    batch_size: int = 256,
    updates: int = 1,
    random_moves: int = 0,
) -> tuple[AlphaZero, TrainState]:
    """AlphaZero: a network that learns a game from its own tree search.

    A step makes one move in each of several games against itself, found by tree search
    that the network guides, and then descends `updates` times, on moves of finished
    games, −Σ π log p + (v − z)²: the search's policy π, and the outcome z for who
    moved. Each position is seen from a random side, by the game's symmetries. The
    search is that of Gumbel AlphaZero, which improves the policy with few simulations.

    Args:
        game: a game, such as `nn.rl.ConnectFour()`.
        net: a network from what a player sees, `[N, rows, columns, 2]`, to `{"policy":
            [N, actions], "value": [N]}`, such as an `nn.rl.ActorCritic`.
        optimizer: an Optax optimizer.
        key: the run's random key.
        games: how many games are played at once.
        simulations: how many positions the search looks at for a move.
        capacity: how many moves are remembered, over all games.
        batch_size: moves for each update.
        updates: how many updates a step makes.
        random_moves: each game begins with so many random moves at most, so that more
            positions are seen than perfect play reaches.

    Returns:
        `(step, state)`: an agent for `fit(step, None, state=state, steps_per_epoch=n,
        epochs=m)`, which logs `loss`, `policy_loss`, `value_loss`, `outcome` (the mean
        of finished games, 1 if who begins always wins) and `ended` (games in a step),
        and its first `TrainState`. `step.player(state)` is what it has learned.

    Raises:
        ImportError: mctx is not installed.
        TypeError, ValueError: an argument is invalid, or the network does not fit.

    Reference: Silver et al., A general reinforcement learning algorithm that masters
    chess, shogi, and Go through self-play, 2018; Danihelka et al., Policy improvement
    by planning with Gumbel, 2022.

    >>> import jax, jaxnn as nn, optax
    >>> game, flat = nn.rl.TicTacToe(), nn.Sequential(nn.Flatten(), nn.Dense(32))
    >>> net = nn.rl.ActorCritic(nn.Dense(9), nn.Dense(1), body=flat)
    >>> step, state = nn.rl.alphazero(
    ...     game, net, optax.adam(1e-3), key=jax.random.key(0), games=8, simulations=4)
    >>> state, history = nn.fit(step, None, state=state, steps_per_epoch=10, epochs=1)
    >>> list(history)
    ['loss', 'policy_loss', 'value_loss', 'outcome', 'ended']
    """
    sizes = (games, simulations, capacity, batch_size, updates, random_moves)
    agent = AlphaZero(game, net, optimizer, *sizes)
    return agent, agent.start(key)
