# SPDX-License-Identifier: Apache-2.0
"""Several players: each descends its own objective on its own parameters."""

from collections import OrderedDict
from typing import Any

import jax
import jax.numpy as jnp
import optax

from jaxnn import trees
from jaxnn.checks import positive_int
from jaxnn.core import Layer, as_layer, fold_in
from jaxnn.messages.phrases import describe, shown, unmatched
from jaxnn.messages.tracebacks import entrance, warn
from jaxnn.spec import Spec
from jaxnn.train.checks import check_optimizer
from jaxnn.train.custom_step import CustomStep
from jaxnn.train.ensemble import Ensemble
from jaxnn.train.loss_scale import optimizer_for
from jaxnn.train.objective import VALUES, Objective, check_objective, with_objective
from jaxnn.train.part import Part
from jaxnn.train.start import train_state
from jaxnn.train.state import TrainState
from jaxnn.train.step import Logs, TrainStep, check_names

_NONE = optax.identity()


class Player(Spec):
    """One of several players; see `players`.

    Args:
        objective: `objective(run, batch) -> values [N]`, or `(values, logs)`; see
            `nn.train_step`.
        optimizer: an Optax optimizer.
        params: a pattern, or several, of the parameters that are the player's:
            `"critic/*"`, or a path, which includes everything below it.
        every: the player takes one step in every so many, 1 or more.
    """

    objective: Objective
    optimizer: optax.GradientTransformation
    params: str | tuple[str, ...] = "*"
    every: int = 1

    def __post_init__(self):
        check_objective("Player", self.objective)
        check_optimizer("Player", self.optimizer)
        patterns = (self.params,) if isinstance(self.params, str) else self.params
        if not isinstance(patterns, tuple | list) or not patterns:
            raise TypeError(
                "Player: params must be a pattern such as 'critic/*', or a tuple of "
                f"them, got {self.params!r:.60}"
            )
        if not all(isinstance(pattern, str) for pattern in patterns):
            raise TypeError(f"Player: params must be strings, got {self.params!r:.60}")
        positive_int("Player", "every", self.every)
        object.__setattr__(self, "params", tuple(patterns))


class PlayersStep(CustomStep):
    """A pure `step(state, batch) -> (state, logs)` of several players."""

    net: Layer
    players: tuple[tuple[str, Player], ...]

    @entrance
    def start(self, x: Any, *, key: jax.Array) -> TrainState:
        """The first `TrainState`.

        Args:
            x: an example batch of the network's inputs, or its `jax.ShapeDtypeStruct`.
            key: the run's random key.

        Raises:
            ValueError: two players share a parameter, or one has none.
        """
        state = train_state(self.net, _NONE, x, key=key)
        rest = self._check(state.params)
        if rest:
            more = ", ..." if len(rest) > 8 else ""
            warn(f"players: no player trains {', '.join(rest[:8])}{more}: frozen")
        begun = {
            name: self._optimizer(player).init(self.part(player).of(state.params))
            for name, player in self.players
        }
        return state._replace(opt_state=jax.tree.map(jnp.asarray, begun))

    def advance(self, state: TrainState, batch: Any) -> tuple[TrainState, Logs]:
        """The step, returning statistics that add up over batches instead of means."""
        self._check_state(state)
        step, every = state.step, OrderedDict()
        for name, player in self.players:
            state, stats = self._turn(name, player, state._replace(step=step), batch)
            every |= {f"{name}_{log}": s for log, s in stats.items()}
        return state._replace(step=step + 1), every

    def _turn(self, name: str, player: Player, state: Any, batch: Any) -> Any:
        """The player's step, if it is its turn."""

        def act(state):
            after, stats = self.step_of(player).advance(self.view(name, state), batch)
            opt_state = {**state.opt_state, name: after.opt_state}
            return after._replace(opt_state=opt_state, key=state.key), stats

        def wait(state):
            stats = jax.eval_shape(act, state)[1]
            zeros = jax.tree.map(lambda s: jnp.zeros(s.shape, s.dtype), stats)
            return state._replace(step=state.step + 1), zeros

        if player.every == 1:
            return act(state)
        return jax.lax.cond(self.acts(player, state.step), act, wait, state)

    def acts(self, player: Player, step: Any) -> Any:
        """Whether a step, from 0, is a player's: the last in every so many."""
        return (step + 1) % player.every == 0

    def step_of(self, player: Player) -> TrainStep:
        """The training step of one player."""
        net = with_objective("players", self.net, player.objective)
        return TrainStep(net, VALUES, player.optimizer, part=self.part(player))

    def _optimizer(self, player: Player) -> optax.GradientTransformation:
        """A player's optimizer as its step uses it."""
        return optimizer_for(player.optimizer, self.step_of(player).net)

    def view(self, name: str, state: TrainState) -> TrainState:
        """The state as a player's step has it, with its own random key."""
        return state._replace(
            opt_state=state.opt_state[name], key=fold_in(state.key, name)
        )

    def part(self, player: Player) -> Part:
        """A player's share of the parameters."""
        every = (pattern for _, other in self.players for pattern in other.params)
        return Part(tuple(player.params), tuple(every))

    def _check_state(self, state: Any) -> None:
        names = [name for name, _ in self.players]
        given = getattr(state, "opt_state", None)
        if not isinstance(given, dict) or set(given) != set(names):
            raise TypeError(
                "players: state must be that of these players, step.start(x, key=key), "
                f"got one for {describe(given):.100}"
            )

    def _check(self, params: Any) -> list[str]:
        """Raise unless each player has parameters of its own; return those of none."""
        paths, owner = list(trees.paths(params)), {}
        for name, player in self.players:
            for pattern in player.params:
                if not any(trees.matches(pattern, path) for path in paths):
                    raise ValueError(f"players: {name}: {unmatched(pattern, paths)}")
            for path in paths:
                if trees.matches_any(player.params, path):
                    if path in owner:
                        raise ValueError(
                            f"players: {name} and {owner[path]} must have no parameter "
                            f"in common, but have {path}"
                        )
                    owner[path] = name
        return [path for path in paths if path not in owner]


@entrance
def players(net: Layer, **players: Player) -> PlayersStep:
    """A step of several players, each with its own objective, parameters and pace.

    In each step the players act in the order written: each takes a step of gradient
    descent on its own parameters, from where those before it have moved theirs. A
    player with `every=5` acts in each fifth step. Parameters that are no player's are
    frozen, and so are their statistics.

    Args:
        net: a network; the players call it and its children.
        players: a `nn.train.Player` by name.

    Returns:
        A step for `fit`, `train_epoch` and `train.run`, or to jit. `step.start(x,
        key=key)` makes the first `TrainState`, whose `opt_state` is a dict by player.
        Its logs are `name_loss` for each player and `name_log` for what its objective
        logs.

    Raises:
        TypeError, ValueError: an argument is invalid, or, from `start`, two players
            share a parameter or one has none.

    Reference: Goodfellow et al., Generative Adversarial Networks, 2014.

    >>> import jax, jax.numpy as jnp, jaxnn as nn, optax
    >>> class Game(nn.Composite):
    ...     generator: nn.Layer
    ...     critic: nn.Layer
    ...     def forward(self, run, z):
    ...         return run("critic", run("generator", z))
    >>> def fakes(run, x):
    ...     return run("generator", jax.random.normal(run.key, (len(x), 2)))
    >>> def critic(run, x):
    ...     gap = run("critic", fakes(run, x)) - run("critic", x)
    ...     return jax.nn.softplus(gap)[:, 0]
    >>> def generator(run, x):
    ...     return jax.nn.softplus(-run("critic", fakes(run, x)))[:, 0]
    >>> net, adam = Game(nn.Dense(1), nn.Dense(1)), optax.adam(1e-2)
    >>> step = nn.train.players(
    ...     net,
    ...     critic=nn.train.Player(critic, adam, params="critic"),
    ...     generator=nn.train.Player(generator, adam, params="generator", every=2))
    >>> state = step.start(jnp.ones((1, 2)), key=jax.random.key(0))
    >>> state, history = nn.fit(step, jnp.ones((64, 1)), state=state, epochs=3,
    ...     batch_size=16)
    >>> list(history)
    ['critic_loss', 'generator_loss']
    """
    net = as_layer(net, "players")
    if isinstance(net, Ensemble):
        raise TypeError(
            "players: net must be a single network, got an ensemble; map the step over "
            "states with jax.vmap"
        )
    if not players:
        raise TypeError(
            "players: give at least one, as in critic=nn.train.Player(objective, "
            "optimizer, params='critic/*')"
        )
    for name, player in players.items():
        if not isinstance(player, Player):
            raise TypeError(
                f"players: {name} must be a nn.train.Player, got {shown(player)}"
            )
    check_names("players: a name", players)
    return PlayersStep(net, tuple(players.items()))
