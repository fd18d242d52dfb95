# SPDX-License-Identifier: Apache-2.0
"""One step of gradient descent as a pure function."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from typing import Any, cast

import jax
import jax.numpy as jnp
import optax

from jaxnn import trees
from jaxnn.core import Layer, as_layer, fold_in
from jaxnn.losses.contracts import example_weights
from jaxnn.metrics import Metric, as_metric, beside
from jaxnn.spec import Spec
from jaxnn.train.batch import unpack
from jaxnn.train.checks import check_each, check_function, check_optimizer
from jaxnn.train.early_stopping import rate_scale
from jaxnn.train.ensemble import Ensemble
from jaxnn.train.freezing import freeze_statistics, frozen_patterns
from jaxnn.train.state import TrainState
from jaxnn.trees import describe

Logs = dict[str, Any]


class TrainStep(Spec):
    """A pure `step(train_state, batch) -> (train_state, logs)`; see `train_step`."""

    net: Layer
    loss: Callable[..., jax.Array]
    optimizer: optax.GradientTransformation
    metrics: tuple[tuple[str, Metric], ...] = ()
    augment: Callable[..., Any] | None = None

    @property
    def members(self) -> int:
        """How many networks the step trains."""
        return 1

    def __call__(self, state: TrainState, batch: Any) -> tuple[TrainState, Logs]:
        state, stats = self.advance(state, batch)
        logs = {name: metric.compute(stats[name]) for name, metric in self.metrics}
        loss = stats["loss"]
        return state, {"loss": loss["total"] / _or_one(loss["weight"]), **logs}

    def advance(self, state: TrainState, batch: Any) -> tuple[TrainState, Logs]:
        """The step, returning statistics that add up over batches instead of means."""
        key = self.key(state)
        trained = self.trained(state.state, frozen_patterns(state.opt_state))
        batch = self.augmented(key, batch)
        _, targets, weights = unpack(batch)

        def objective(params):
            outputs, net_state, values = trained.forward(
                params, state.state, key, batch
            )
            total, weight = self.weighted_sum(values, batch)
            return total / _or_one(weight), (outputs, net_state, total, weight)

        descend = jax.value_and_grad(objective, has_aux=True)
        (value, (outputs, net_state, total, weight)), grads = descend(state.params)
        # Optax's own arithmetic (adam: a Python float to the power of an int32 count)
        # needs JAX's standard promotion, even if the user has made it strict.
        scale = rate_scale(state)
        extra = {} if scale is None else {"rate_scale": scale}
        with _updating(), jax.numpy_dtype_promotion("standard"):
            updates, opt_state = optax.with_extra_args_support(self.optimizer).update(
                grads,
                state.opt_state,
                state.params,
                value=jnp.where(weight == 0, jnp.nan, value),  # never the best
                grad=grads,
                value_fn=lambda params: objective(params)[0],
                **extra,
            )
        _check_updates(updates, state.params, grads)
        params = apply_updates(state.params, updates, scale)
        new = state._replace(
            params=params, state=net_state, opt_state=opt_state, step=state.step + 1
        )
        stats = {"loss": {"total": total, "weight": weight}}
        examples = jax.tree.leaves(outputs)[0].shape[0]
        counted = loss_weights(self.loss, targets, weights, examples) > 0
        for name, metric in self.metrics:
            with in_metric(name):
                own = metric.update(outputs, targets, counted.astype(jnp.float32))
            stats[name] = own
        return new, stats

    def trained(self, net_state: Any, frozen: tuple[str, ...]) -> "TrainStep":
        """The step as it trains: layers that match run as in evaluation."""
        net = freeze_statistics(self.net, net_state, *frozen)
        return TrainStep(net, self.loss, self.optimizer, self.metrics, self.augment)

    def key(self, state: TrainState) -> jax.Array:
        """The random key of the state's step."""
        return jax.random.fold_in(fold_in(state.key, "step"), state.step)

    def augmented(self, key: jax.Array, batch: Any) -> Any:
        """The batch with its inputs randomly augmented, if the step has `augment`."""
        if self.augment is None:
            return batch
        x, targets, *weights = batch
        key = fold_in(key, "augment")
        if getattr(self.augment, "mixes", False):
            return (*self.augment(key, x, targets), *weights)
        varied = self.augment(key, x)
        if jax.tree.map(jnp.shape, varied) != jax.tree.map(jnp.shape, x):
            raise ValueError(
                "augment: must leave the shape of the inputs alone; made "
                f"{describe(varied)} of {describe(x)}"
            )
        return (varied, targets, *weights)

    def forward(self, params: Any, net_state: Any, key: jax.Array, batch: Any):
        """The outputs, new network state and loss of each example, in training mode."""
        x, targets, _ = unpack(batch)
        outputs, net_state = self.net.apply(params, net_state, x, key=key, train=True)
        return outputs, net_state, self.loss(outputs, targets)

    def weighted_sum(
        self, values: jax.Array, batch: Any
    ) -> tuple[jax.Array, jax.Array]:
        """Σ w·v and Σ w over the batch; the loss is their ratio."""
        x, targets, weights = unpack(batch)
        check_each("loss", values, len(jax.tree.leaves(x)[0]))
        return weighted_sum(
            values, loss_weights(self.loss, targets, weights, len(values))
        )

    def weighted_mean(self, values: jax.Array, batch: Any) -> jax.Array:
        """Σ w·v / Σ w over the batch: what gradient descent minimizes."""
        total, weight = self.weighted_sum(values, batch)
        return total / _or_one(weight)


class EnsembleStep(TrainStep):
    """A `TrainStep` of every member of an `Ensemble`, in one program."""

    @property
    def members(self) -> int:
        """How many networks the step trains."""
        return cast(Ensemble, self.net).members

    def one(self) -> TrainStep:
        """The step of a single member."""
        net = cast(Ensemble, self.net).net
        return TrainStep(net, self.loss, self.optimizer, self.metrics, self.augment)

    def advance(
        self, state: TrainState, batch: Any, own: bool = False
    ) -> tuple[TrainState, Logs]:
        """The step; with `own` the batch has a leading axis of members."""
        one, bunch = self.one(), cast(Ensemble, self.net)
        if own:
            state, stats = bunch.each(one.advance, state.params)(state, batch)
        else:
            alike = partial(one.advance, batch=batch)
            state, stats = bunch.each(alike, state.params)(state)
        stacked = {name for name, metric in self.metrics if metric.stack}

        def together(name, a):
            return a.reshape(-1, *a.shape[2:]) if name in stacked else a.sum(0)

        return state, {
            name: jax.tree.map(lambda a, name=name: together(name, a), s)
            for name, s in stats.items()
        }


def train_step(
    net: Layer,
    loss: Callable[..., jax.Array],
    optimizer: optax.GradientTransformation,
    *,
    metrics: Mapping[str, Any] | None = None,
    augment: Callable[..., Any] | None = None,
) -> TrainStep:
    """A pure function that takes one step of gradient descent.

    `step(state, batch) -> (state, logs)`: θ ← θ − update(∇ Σ w·loss / Σ w).  You can
    jit, vmap and scan it; an equal step built again is the same static argument to jit.

    Args:
        net: a network.
        loss: `loss(outputs, targets) -> [N]`, one value per example.
        optimizer: an Optax optimizer.
        metrics: a dict from names to `metric(outputs, targets) -> [N]` or a `Metric`.
        augment: `augment(key, x) -> x`, drawn anew at each step, such as those of
            `nn.data.augment`; one with `mixes = True` is `augment(key, x, targets) ->
            (x, targets)`.

    Returns:
        A step. Its batch is `(x, targets)` or `(x, targets, weights [N])`; its logs
        hold the batch's loss and metrics. A batch in which no example counts has a loss
        of 0, which trains nothing; an epoch of such batches has a loss of NaN.

    >>> import jax, jax.numpy as jnp, jaxnn as nn, optax
    >>> net, optimizer = nn.Dense(1), optax.sgd(0.1)
    >>> step = jax.jit(nn.train_step(net, nn.losses.mean_squared_error, optimizer))
    >>> x, y = jnp.ones((4, 2)), jnp.zeros((4, 1))
    >>> state = nn.train_state(net, optimizer, x, key=jax.random.key(0))
    >>> state, logs = step(state, (x, y))
    >>> int(state.step), list(logs)
    (1, ['loss'])
    """
    check_function("loss", loss)
    check_optimizer(optimizer)
    if augment is not None and not callable(augment):
        raise TypeError(
            "augment: must be a function augment(key, x), such as "
            f"nn.data.augment.rotate(15), got {augment!r:.60}"
        )
    net = as_layer(net, "train_step")
    pairs = named_metrics(loss, metrics)
    check_names("metrics", pairs)
    kind = EnsembleStep if isinstance(net, Ensemble) else TrainStep
    return kind(net, loss, optimizer, tuple(pairs.items()), augment)


def named_metrics(loss: Any, metrics: Any) -> dict[str, Metric]:
    """Metrics by name, as they count alongside a loss (or None)."""
    if loss is not None:
        check_function("loss", loss)
    if metrics is not None and not isinstance(metrics, Mapping):
        raise TypeError(
            "metrics: must be a dict from names to metrics, as in "
            f"{{'accuracy': nn.metrics.accuracy}}, got {metrics!r:.60}"
        )
    for name in metrics or {}:
        if not isinstance(name, str):
            raise TypeError(f"metrics: a name must be a string, got {name!r:.60}")
    if loss is not None and "loss" in (metrics or {}):
        raise ValueError("metrics: 'loss' is the loss's own name; use another")
    return {n: beside(loss, as_metric(m)) for n, m in (metrics or {}).items()}


def check_names(what: str, names: Iterable[str]) -> None:
    """Raise if a name would clash with another entry of the history."""
    for name in names:
        if name in ("epoch", "rate_scale") or str(name).startswith("val_"):
            raise ValueError(
                f"{what}: {name!r} is a name of the history's own (epoch, rate_scale, "
                "val_...); use another"
            )


@contextmanager
def in_metric(name: str) -> Iterator[None]:
    """Make errors raised inside name the metric they come from."""
    try:
        yield
    except Exception as error:
        error.add_note("in the loss" if name == "loss" else f"in metric {name!r}")
        raise


@contextmanager
def _updating() -> Iterator[None]:
    """Make errors raised inside say that they come from the optimizer's update."""
    rule = (
        "its learning rate and other settings must be numbers or schedules, as in "
        "optax.sgd(0.1)"
    )
    try:
        yield
    except TypeError as error:
        raise TypeError(f"optimizer: {rule}; its update failed: {error}") from error
    except Exception as error:
        error.add_note(f"in the optimizer's update; {rule}")
        raise


def _check_updates(updates: Any, params: Any, grads: Any) -> None:
    """Raise unless each update has its parameter's shape and is not the gradient."""
    others = map(jax.tree.leaves, (params, grads))
    for (path, update), param, slope in zip(
        trees.paths(updates).items(), *others, strict=True
    ):
        if update is slope:
            raise ValueError(
                f"optimizer: its update of {path} is the gradient itself, which makes "
                "the loss larger; give a learning rate, as in optax.sgd(0.1), not None"
            )
        if update.shape != param.shape:
            raise ValueError(
                f"optimizer: its update of {path} must have the parameter's shape, "
                f"{describe(param)}, got {describe(update)}; a learning rate is one "
                "number"
            )


class FunctionStep(Spec):
    """Wraps any function `step(state, batch) -> (state, logs)` for the trainer."""

    function: Callable[..., Any]
    metrics: tuple = ()
    members = 1  # (not a field)

    def advance(self, state: Any, batch: Any) -> tuple[Any, Logs]:
        """The step; each logged value counts once for every example of its batch."""
        state, logs = self.function(state, batch)
        if not isinstance(logs, Mapping):
            raise TypeError(f"step: logs must be a dict, got {describe(logs):.100}")
        check_names("step: logs", logs)
        for name, value in logs.items():
            if jnp.shape(value) != ():
                raise ValueError(
                    f"step: logs[{name!r}] must be one number, got {describe(value)}"
                )
        weight = jnp.float32(jax.tree.leaves(batch)[0].shape[0])
        totals = {n: jnp.asarray(v, jnp.float32) * weight for n, v in logs.items()}
        return state, {n: {"total": t, "weight": weight} for n, t in totals.items()}


def loss_weights(loss: Any, targets: Any, weights: Any, examples: int) -> jax.Array:
    """The weight of each example in the loss, [N]; 0 for ignored labels."""
    own = jnp.ones(examples) if weights is None else weights
    kept = None if loss is None else example_weights(loss, targets)
    return own if kept is None else own * kept.astype(own.dtype)


def weighted_sum(values: jax.Array, weights: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Σ w·v and Σ w in float32 or wider; values of weight 0 are left out, even NaN."""
    if weights.shape != values.shape:
        raise ValueError(
            f"weights: must be one number per example, [{len(values)}], got "
            f"{describe(weights)}"
        )
    values = values.astype(jnp.float32) if values.dtype.itemsize < 4 else values
    weights = weights.astype(values.dtype)
    kept = jnp.where(weights == 0, jnp.zeros_like(values), values)
    return (weights * kept).sum(), weights.sum()


def _or_one(weight: jax.Array) -> jax.Array:
    """The weight, or 1 if no example counts: the step then trains nothing."""
    return jnp.where(weight == 0, jnp.ones_like(weight), weight)


def apply_updates(params: Any, updates: Any, rate_scale: Any = None) -> Any:
    """The parameters after a step: `θ + rate_scale · update`.

    A training step passes the factor of a plateau to its optimizer as `rate_scale`,
    one of Optax's extra arguments, so that whatever uses the weights after the step
    (averages, limits, L1) sees the actual ones.

    When an update of `−θ / rate_scale` takes a weight to zero, only a rounding error is
    left of it: it is set to zero.
    """
    if rate_scale is None:
        return optax.apply_updates(params, updates)

    def scaled(w, u):
        dtype = jnp.promote_types(u.dtype, rate_scale.dtype)
        return (u.astype(dtype) * rate_scale.astype(dtype)).astype(w.dtype)

    new = optax.apply_updates(params, jax.tree.map(scaled, params, updates))
    return jax.tree.map(_without_noise, params, new)


def _without_noise(old: jax.Array, new: jax.Array) -> jax.Array:
    noise = 2 * jnp.finfo(old.dtype).eps * jnp.abs(old)
    return jnp.where(jnp.abs(new) <= noise, jnp.zeros_like(new), new)
