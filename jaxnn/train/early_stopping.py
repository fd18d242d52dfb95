# SPDX-License-Identifier: Apache-2.0
"""Early stopping and learning-rate plateaus, as data inside the training state.

What they keep is in `TrainState.watch`, so it is saved, restored and vmapped like
everything else: a resumed run decides as the uninterrupted run would have.
"""

import numbers
import zlib
from collections.abc import Iterable, Mapping
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jaxnn.checks import is_positive_int
from jaxnn.messages.arguments import explained
from jaxnn.messages.phrases import describe, nearest
from jaxnn.spec import Spec
from jaxnn.train.state import TrainState

Logs = Mapping[str, Any]
#: The smallest scale that a plateau reaches: L1 divides by it, so it cannot be 0.
LEAST = 1e-12


class EarlyStopping(Spec):
    """Stop training when a metric no longer improves, and keep the best weights.

    After each epoch the monitored value is compared with the best so far. When it has
    not improved by more than `min_delta` for `patience` epochs in a row, the run ends.
    NaN, as from a validation in which no example counts, is not an improvement.
    The state that `fit` returns, however it ended, has the best epoch's parameters; the
    last ones are kept beside them, and `fit(..., state=state)` resumes from those.

    Args:
        patience: epochs without improvement after which the run ends, 1 or more.
        monitor: the name of a logged value, such as `val_loss` or `val_accuracy`.
        mode: `min` if smaller is better, `max` if larger; not needed for a loss.
        min_delta: the smallest change that counts as an improvement, 0 or more.

    Reference: Prechelt, Early Stopping, but when?, 1998.

    >>> import jax.numpy as jnp, jaxnn as nn, optax
    >>> data = jnp.ones((8, 1)), jnp.ones((8, 1))
    >>> state, history = nn.fit(
    ...     nn.Dense(1), data, validation=data, loss=nn.losses.mean_squared_error,
    ...     optimizer=optax.sgd(0.0), epochs=50, batch_size=4, key=jax.random.key(0),
    ...     early_stopping=nn.EarlyStopping(patience=3))
    >>> len(history), history.stopped
    (4, 'val_loss was best after epoch 1 and not better for 3 epochs')
    """

    patience: int = 5
    monitor: str = "val_loss"
    mode: str | None = None
    min_delta: float = 0.0

    def __post_init__(self):
        _check_watch(self)


class Plateau(Spec):
    """Reduce the learning rate when a metric stops improving.

    Every update is multiplied by a scale that starts at 1. When the monitored value has
    not improved by more than `min_delta` for `patience` epochs in a row, the scale is
    multiplied by `factor`. It is logged as `rate_scale`.

    Args:
        factor: what the learning rate is multiplied by, above 0 and below 1.
        patience: epochs without improvement before a reduction, 1 or more.
        monitor: the name of a logged value, such as `val_loss` or `loss`.
        mode: `min` if smaller is better, `max` if larger; not needed for a loss.
        min_delta: the smallest change that counts as an improvement, 0 or more.
        min_scale: a lower bound on the scale, 0 to 1.
    """

    factor: float = 0.5
    patience: int = 3
    monitor: str = "val_loss"
    mode: str | None = None
    min_delta: float = 0.0
    min_scale: float = 0.0

    def __post_init__(self):
        _check_watch(self)
        _check_number(self, "factor", lambda f: 0 < f < 1, "above 0, below 1")
        _check_number(self, "min_scale", lambda s: 0 <= s <= 1, "in [0, 1]")


_NAMES = "write names, as in nn.{}(monitor='val_accuracy', mode='max', patience=5)"
for _kind in (EarlyStopping, Plateau):  # wrong arguments are answered
    _kind.__init__ = explained(_kind.__init__, _NAMES.format(_kind.__name__))


class Best(NamedTuple):
    """The best monitored value so far."""

    value: jax.Array  # float32 []
    epoch: jax.Array  # int32 [], counted from 1; 0 before the first
    waited: jax.Array  # int32 [], epochs since then
    of: jax.Array  # uint32 [], a hash of the monitored name and the mode


class Kept(NamedTuple):
    """What early stopping remembers."""

    best: Best
    params: Any  # the best ones; the last ones while the best are shown
    state: Any
    shown: jax.Array  # bool [], whether the best are in the TrainState's own fields


class Scaled(NamedTuple):
    """What a plateau schedule remembers."""

    best: Best
    scale: jax.Array  # float32 []


class Watch(Spec):
    """What a run watches after each epoch; see `EarlyStopping` and `Plateau`."""

    early_stopping: EarlyStopping | None = None
    plateau: Plateau | None = None

    @property
    def watches(self) -> dict[str, EarlyStopping | Plateau]:
        """The active ones, by their name in `TrainState.watch`."""
        both = {"early_stopping": self.early_stopping, "plateau": self.plateau}
        return {name: one for name, one in both.items() if one is not None}

    def check(self, owner: str, logs: Iterable[str]) -> None:
        """Raise unless the monitored values will be logged."""
        logs = list(logs)
        for name, one in self.watches.items():
            check_logged(f"{owner}: {name} must monitor", one.monitor, logs)

    def begin(self, owner: str, state: TrainState) -> TrainState:
        """The state at the beginning of a run, with the last weights in place."""
        if not self.watches and not getattr(state, "watch", {}):
            return state
        if jnp.ndim(getattr(state, "step", 0)):  # of an ensemble
            return jax.vmap(partial(self.begin, owner))(state)
        if not isinstance(state, TrainState):
            raise TypeError(
                f"{owner}: {next(iter(self.watches))} needs a TrainState to keep what "
                f"it remembers, got {describe(state):.100}"
            )
        self._check_known(owner, state)
        state = show_last(state)
        none = jnp.zeros((), bool)
        watch: dict[str, Any] = {}
        for name, one in self.watches.items():
            best = _no_best(one)
            kept = Kept(best, state.params, state.state, none)
            fresh = kept if name == "early_stopping" else Scaled(best, jnp.ones(()))
            known = state.watch.get(name, fresh)
            # A best value of another metric or mode says nothing about this one.
            same = partial(jnp.where, known.best.of == best.of)
            best = jax.tree.map(same, known.best, best)
            watch[name] = known._replace(best=best)
        return state._replace(watch=watch)

    def _check_known(self, owner: str, state: TrainState) -> None:
        for name in state.watch:
            if name not in self.watches:
                raise ValueError(
                    f"{owner}: state comes from a run with {name}; give {name}= again "
                    "to go on with that run, or state._replace(watch={}) to begin "
                    "another one from its weights"
                )

    def look(self, state: TrainState, logs: Logs, epoch: Any) -> TrainState:
        """The state after an epoch with these logs; a pure function."""
        if state.step.ndim:  # of an ensemble
            return jax.vmap(self.look, (0, None, None))(state, logs, epoch)
        watch = dict(state.watch)
        if self.early_stopping is not None:
            kept: Kept = watch["early_stopping"]
            best, better = _improved(self.early_stopping, kept.best, logs, epoch)

            def keep(new, old):
                return jax.tree.map(lambda a, b: jnp.where(better, a, b), new, old)

            watch["early_stopping"] = Kept(
                best,
                keep(state.params, kept.params),
                keep(state.state, kept.state),
                kept.shown,
            )
        if self.plateau is not None:
            watch["plateau"] = _scaled(self.plateau, watch["plateau"], logs, epoch)
        return state._replace(watch=watch)

    def stops(self, state: Any) -> jax.Array:
        """Whether early stopping has ended the run, bool []."""
        if self.early_stopping is None:
            return jnp.zeros((), bool)
        best: Best = state.watch["early_stopping"].best
        return best.waited >= self.early_stopping.patience

    def why(self, state: Any) -> str:
        """Why the run ended, in words."""
        assert self.early_stopping is not None
        best: Best = state.watch["early_stopping"].best
        epoch, waited = (int(jnp.ravel(a)[0]) for a in (best.epoch, best.waited))
        name, s = self.early_stopping.monitor, "s" if waited > 1 else ""
        if not epoch:
            return f"{name} was never a number in {waited} epoch{s}"
        return (
            f"{name} was best after epoch {epoch} and not better for {waited} epoch{s}"
        )


def checked_watch(owner: str, early_stopping: Any, plateau: Any) -> Watch:
    """What the run of the function `owner` watches; raise unless it can be watched."""
    given = {"early_stopping": early_stopping, "plateau": plateau}
    kinds = {"early_stopping": EarlyStopping, "plateau": Plateau}
    for name, value in given.items():
        if value is not None and not isinstance(value, kinds[name]):
            kind = kinds[name].__name__
            raise TypeError(
                f"{owner}: {name} must be an nn.{kind}, such as nn.{kind}(patience=5), "
                f"got {value!r:.60}"
            )
    return Watch(**given)


def check_logged(
    what: str, monitor: Any, logs: list[str], validation: str = "validation="
) -> None:
    """Raise unless a monitored value is logged; the error names those that are.

    Args:
        what: how the message begins: the function and its argument, and must.
        monitor: the name.
        logs: the names that the run logs.
        validation: what to give for a run to log values of validation.
    """
    if monitor in logs:
        return
    validated = any(log.startswith("val_") for log in logs)
    hint = nearest(str(monitor), logs)
    if str(monitor).startswith("val_") and not validated:
        later = [f"val_{log}" for log in logs]
        near = "" if monitor in later else nearest(monitor, later)
        hint = f"; give {validation}{near}"
    elif not hint:
        hint = "; a metric is logged by its name in metrics="
    raise ValueError(
        f"{what} a logged value, got {monitor!r}; the run logs "
        f"{', '.join(sorted(logs))}{hint}"
    )


def check_number(what: str, monitor: str, value: Any) -> None:
    """Raise unless a monitored value (or its shape) is a single number."""
    if value.shape:
        raise ValueError(
            f"{what} one number an epoch, but {monitor!r} is {describe(value)}"
        )


def show_best(state: Any) -> Any:
    """The state with early stopping's best weights in place of the last ones."""
    return _swap(state, lambda kept: (kept.best.epoch > 0) & ~kept.shown)


def show_last(state: Any) -> Any:
    """The state with the last weights in place, as training needs it."""
    return _swap(state, lambda kept: kept.shown)


def _swap(state: Any, wanted: Any) -> Any:
    kept = getattr(state, "watch", {}).get("early_stopping")
    if kept is None:
        return state
    swap = wanted(kept)

    def choose(a, b):
        flag = swap.reshape(swap.shape + (1,) * (a.ndim - swap.ndim))  # of an ensemble
        return jnp.where(flag, a, b)

    own, other = (state.params, state.state), (kept.params, kept.state)
    params, net_state = jax.tree.map(choose, other, own)
    aside = jax.tree.map(choose, own, other)
    last, last_state = aside
    kept = Kept(kept.best, last, last_state, kept.shown ^ swap)
    watch = state.watch | {"early_stopping": kept}
    return state._replace(params=params, state=net_state, watch=watch)


def set_aside(state: Any) -> tuple[Any, dict]:
    """The state without what no step needs, so that loops carry fewer arrays."""
    watch = getattr(state, "watch", {})
    if "early_stopping" not in watch:
        return state, {}
    rest = {name: one for name, one in watch.items() if name != "early_stopping"}
    return state._replace(watch=rest), watch


def put_back(state: Any, watch: dict) -> Any:
    """The state with what `set_aside` removed."""
    return state._replace(watch=watch) if watch else state


def rate_scale(state: TrainState) -> jax.Array | None:
    """The factor by which a plateau schedule scales updates, or None without one."""
    plateau = state.watch.get("plateau")
    return None if plateau is None else plateau.scale


def _no_best(one: Any) -> Best:
    worst = jnp.inf if _mode(one) == "min" else -jnp.inf
    zero = jnp.zeros((), jnp.int32)
    name = zlib.crc32(f"{_mode(one)} {one.monitor}".encode())
    return Best(jnp.full((), worst, jnp.float32), zero, zero, jnp.uint32(name))


def _improved(one: Any, best: Best, logs: Logs, epoch: Any) -> tuple[Best, jax.Array]:
    value = jnp.asarray(logs[one.monitor])
    check_number(type(one).__name__, one.monitor, value)
    value = value.astype(jnp.float32)
    gain = best.value - value if _mode(one) == "min" else value - best.value
    better = gain > one.min_delta  # (false for NaN)
    epoch = jnp.asarray(epoch, jnp.int32)
    new = best._replace(value=value, epoch=epoch, waited=jnp.zeros((), jnp.int32))
    old = best._replace(waited=best.waited + 1)
    best = jax.tree.map(lambda a, b: jnp.where(better, a, b), new, old)
    return best, better


def _scaled(one: Plateau, scaled: Scaled, logs: Logs, epoch: Any) -> Scaled:
    best, _ = _improved(one, scaled.best, logs, epoch)
    tired = best.waited >= one.patience
    smaller = jnp.maximum(scaled.scale * one.factor, max(one.min_scale, LEAST))
    waited = jnp.where(tired, 0, best.waited)
    scale = jnp.where(tired, smaller, scaled.scale)
    return Scaled(best._replace(waited=waited), scale)


def _mode(one: Any) -> str:
    return one.mode or "min"


def _check_watch(one: Any) -> None:
    owner = type(one).__name__
    if not is_positive_int(one.patience):
        named = f"; write monitor={one.patience!r}"
        raise ValueError(
            f"{owner}: patience must be 1 or more epochs, got {one.patience!r}"
            + (named if isinstance(one.patience, str) else "")
        )
    if not isinstance(one.monitor, str):
        raise TypeError(
            f"{owner}: monitor must be the name of a logged value, such as 'val_loss', "
            f"got {one.monitor!r:.60}"
        )
    if one.mode not in (None, "min", "max"):
        raise ValueError(f"{owner}: mode must be 'min' or 'max', got {one.mode!r}")
    if one.mode is None and not one.monitor.endswith("loss"):
        raise ValueError(
            f"{owner}: mode must say whether {one.monitor!r} is better small or large; "
            "give mode='min' or mode='max'"
        )
    _check_number(one, "min_delta", lambda delta: delta >= 0, "0 or more")


def _check_number(one: Any, name: str, holds: Any, rule: str) -> None:
    value = getattr(one, name)
    real = isinstance(value, numbers.Real) and not isinstance(value, bool)
    if not real or not holds(value):
        raise ValueError(
            f"{type(one).__name__}: {name} must be a number {rule}, got {value!r}"
        )
