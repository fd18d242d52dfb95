# SPDX-License-Identifier: Apache-2.0
"""Find where a run went wrong: rerun the non-finite step layer by layer."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxnn import trees
from jaxnn.core import trace
from jaxnn.messages.phrases import describe
from jaxnn.messages.tracebacks import warn
from jaxnn.surgery import Tap, layer_paths
from jaxnn.train.ensemble import member
from jaxnn.train.history import History
from jaxnn.train.objective import unpack
from jaxnn.train.players import PlayersStep
from jaxnn.train.state import copy
from jaxnn.train.step import EnsembleStep, TrainStep

SLOWER = (
    "Try a smaller learning rate, or "
    "optax.chain(optax.clip_by_global_norm(1.0), optimizer)."
)
DATA = "Look at the targets of these examples, and at the loss itself."
INPUTS = "Scale the inputs, or make what comes into that layer smaller."
#: With outputs larger than this, the loss is probably infinite because it squares them.
RUNAWAY = 1e6


class Finding(NamedTuple):
    """What a replay found."""

    path: str | None  # the layer, parameter or statistic where it began
    what: str  # the same, in words
    examples: list[int]  # rows of the data whose loss was not finite
    advice: str = SLOWER  # what to do about it


UNKNOWN = Finding(None, "a step that was not kept (replay=False)", [])
SHARED = Finding(None, "a step of several processes, which is not looked into", [])


class NonFiniteError(FloatingPointError):
    """A loss, a parameter or a statistic became NaN or infinite, and the run stopped.

    Attributes:
        epoch: the epoch, from 1.
        step: the step that went wrong, from 0 at the start of the run.
        path: the layer, parameter or statistic where it began, or None if unknown.
        examples: rows of the data whose loss was not finite.
        state: the last state in which everything was finite, before that step.
        history: the completed epochs.
    """

    def __init__(
        self,
        epoch: int,
        step: int,
        value: str,
        finding: Finding,
        state: Any,
        history: History,
    ):
        self.epoch, self.step, self.state, self.history = epoch, step, state, history
        self.path, what, self.examples, advice = finding
        super().__init__(
            f"training became {value} in epoch {epoch}, step {step}: it began in "
            f"{what}.{_examples(self.examples)} {_kept(state)} {advice}"
        )


def _examples(rows: list[int]) -> str:
    if not rows:
        return ""
    more = ", ..." if len(rows) > 8 else ""
    return f" Examples with such a loss: {', '.join(map(str, rows[:8]))}{more}."


def _kept(state: Any) -> str:
    if state is None:
        return "error.history holds the epochs before (replay=False kept no state)."
    return "error.state is the last finite state, error.history the epochs before."


def start(state: Any) -> Any:
    """A copy of the state to replay from, or None if the device has no room for it."""
    try:
        return copy(state)
    except jax.errors.JaxRuntimeError as error:
        if "RESOURCE_EXHAUSTED" not in str(error):
            raise
    warn(
        "fit: the device has no room for a second copy of the state, so the run goes "
        "on as with replay=False: if the loss becomes NaN, the last finite state is "
        "that of your last nn.callbacks.checkpoint",
    )
    return None


def last_finite(run: Callable[[int], tuple[Any, bool]], bad: int) -> tuple[int, Any]:
    """The largest number of steps after which the state is finite, and that state.

    Args:
        run: a function from a number of steps to the state after them and whether it is
            finite; after 0 steps it is.
        bad: the number of steps taken when the problem was detected.
    """
    low, high = 0, bad + 1
    state, _ = run(0)
    while high - low > 1:
        # Most likely only the last step is bad: look there first, then bisect.
        middle = high - 1 if high == bad + 1 else (low + high) // 2
        after, finite = run(middle)
        if finite:
            low, state = middle, after
        else:
            high = middle
    return low, state


def find(step: Any, state: Any, batch: Any, rows: np.ndarray | None) -> Finding:
    """Rerun a step from a finite state and find the first thing that is not finite.

    Args:
        step: the step; only a `TrainStep` can be inspected.
        state: the state before it.
        batch: its batch.
        rows: the row numbers of the batch in the data, or None if there are none.
    """
    if isinstance(step, PlayersStep):
        return _find_player(step, state, batch, rows)
    if hasattr(step, "find"):
        return step.find(state)
    if not isinstance(step, TrainStep):
        return Finding(None, "the step's logs", [])
    if isinstance(step, EnsembleStep):
        return _find_member(step, state, batch, rows)
    key = step.key(state)
    step = step.as_trained(state)
    given, batch = batch, step.augmented(key, batch)
    outputs, _, values = step.forward(state.params, state.state, key, batch)
    wrong = ~np.isfinite(np.asarray(values, np.float64))
    bad = [] if rows is None else rows[wrong].tolist()
    layer = _first_layer(step, state, batch, key)
    if layer is not None:
        return Finding(*layer, bad)
    if wrong.any() or not _finite(step.weighted_mean(values, batch)):
        size = max(float(jnp.abs(y).max()) for y in jax.tree.leaves(outputs))
        what = f"the loss, from outputs that are finite (the largest is {size:.2g})"
        return Finding(None, what, bad, SLOWER if size > RUNAWAY else DATA)

    def objective(params):
        _, _, values = step.forward(params, state.state, key, batch)
        return step.weighted_mean(values, batch)

    gradients = trees.paths(jax.grad(objective)(state.params))
    for path, gradient in gradients.items():
        if not _finite(gradient):
            return Finding(path, f"the gradient of parameter {path}", bad)
    after = step.advance(state, given)[0]
    for path, param in trees.paths(after.params).items():
        if not _finite(param):
            size = float(jnp.abs(gradients[path]).max())
            what = f"the update of parameter {path} (largest gradient {size:.3g})"
            return Finding(path, what, bad)
    for path, statistic in trees.paths(after.state).items():
        if not _finite(statistic):
            return Finding(path, f"the statistic {path} of the state", bad, INPUTS)
    return Finding(None, "a number that was finite when run again", bad)


def _find_member(step: EnsembleStep, state: Any, batch: Any, rows: Any) -> Finding:
    """The same for the first member of an ensemble that is not finite."""
    one, own = step.one(), np.ndim(rows) > 1
    for i in range(step.members):
        alone = member(state, i)
        part, numbers = (member(batch, i), rows[i]) if own else (batch, rows)
        after, stats = one.advance(alone, part)
        changed = after.params, after.state, stats["loss"]
        if not all(map(_finite, jax.tree.leaves(changed))):
            found = find(one, alone, part, numbers)
            return found._replace(what=f"member {i}, {found.what}")
    return Finding(None, "a number that was finite when run again", [])


def _find_player(step: PlayersStep, state: Any, batch: Any, rows: Any) -> Finding:
    """The same for the first player of several whose step is not finite."""
    for name, player in step.players:
        if step.acts(player, state.step):
            one, own = step.step_of(player), step.view(name, state)
            after, stats = one.advance(own, batch)
            changed = after.params, after.state, stats["loss"]
            if not all(map(_finite, jax.tree.leaves(changed))):
                found = find(one, own, batch, rows)
                return found._replace(what=f"player {name}, {found.what}")
            state = state._replace(params=after.params, state=after.state)
    return Finding(None, "a number that was finite when run again", [])


def _first_layer(step: TrainStep, state: Any, batch: Any, key: Any):
    """The first layer, in execution order, whose output is not finite, if any."""
    x, _, _ = unpack(step.net, batch)
    net, layers = step.net, layer_paths(step.net)
    order = [c.path for c in trace(net, x) if c.path in layers]
    order = list(dict.fromkeys(order))
    if not order:
        return None
    tapped = Tap(net, tuple(order))
    (_, taps), _ = tapped.apply(state.params, state.state, x, key=key, train=True)
    for path in order:
        for y in jax.tree.leaves(taps.get(path, ())):
            if not _finite(y):
                count = int((~jnp.isfinite(y)).sum())
                what = f"the output of {path}: {layers[path]!r:.80} "
                return (
                    path,
                    what + f"({count} of {y.size} numbers in {describe(y)})",
                )
    return None


def _finite(a: Any) -> bool:
    floating = jnp.issubdtype(a.dtype, jnp.floating)
    return not floating or bool(jnp.isfinite(a).all())
