# SPDX-License-Identifier: Apache-2.0
"""One step of gradient descent as a pure function."""

import dataclasses
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from typing import Any, cast

import jax
import jax.numpy as jnp
import optax

from jaxnn import trees
from jaxnn.checks import positive_int
from jaxnn.core import Layer, as_layer, fold_in
from jaxnn.layout import Layout, check_layout, laid_out
from jaxnn.losses.combine import as_loss, parts_of
from jaxnn.losses.contracts import example_weights
from jaxnn.messages.arguments import answered
from jaxnn.messages.phrases import describe, shown
from jaxnn.messages.tracebacks import entrance
from jaxnn.metrics import Metric, as_metric, beside_each
from jaxnn.spec import Spec
from jaxnn.train.checks import check_each, check_function, check_optimizer
from jaxnn.train.early_stopping import rate_scale
from jaxnn.train.ensemble import Ensemble
from jaxnn.train.freezing import (
    freeze_statistics,
    frozen_patterns,
)
from jaxnn.train.inside import inside, inside_metric
from jaxnn.train.loss_scale import optimizer_for, scale_of, scaled, unscaled
from jaxnn.train.microbatches import gradients, or_one
from jaxnn.train.objective import (
    VALUES,
    Objective,
    Weighted,
    body_of,
    unpack,
    with_objective,
)
from jaxnn.train.part import Part
from jaxnn.train.state import TrainState, check_step_call

Logs = dict[str, Any]
#: `loss(outputs, targets) -> [N]`, or a dict of losses by output.
Loss = Callable[..., jax.Array] | Mapping[str, Any]


class TrainStep(Spec):
    """A pure `step(train_state, batch) -> (train_state, logs)`; see `train_step`."""

    net: Layer
    loss: Callable[..., jax.Array]
    optimizer: optax.GradientTransformation
    metrics: tuple[tuple[str, Metric], ...] = ()
    augment: Callable[..., Any] | None = None
    part: Part | None = None  # what it trains, if not all parameters
    microbatches: int = 1
    layout: Layout | None = None

    @property
    def members(self) -> int:
        """How many networks the step trains."""
        return 1

    @property
    def takes_pairs(self) -> bool:
        """Whether a batch is `(inputs, targets)`, not what an objective takes."""
        return body_of(self.net) is None

    @entrance
    def __call__(
        self, state: TrainState, batch: Any, *more: Any
    ) -> tuple[TrainState, Logs]:
        check_step_call("train_step", state, batch, more)
        state, stats = laid_out(self.layout, self.advance, state, batch)
        logs = {name: metric.compute(stats.pop(name)) for name, metric in self.metrics}
        return state, as_means(stats) | logs

    def advance(self, state: TrainState, batch: Any) -> tuple[TrainState, Logs]:
        """The step, returning statistics that add up over batches instead of means."""
        key = self.key(state)
        trained, part = self.as_trained(state), self.part
        batch = self.augmented(key, batch)
        _, targets, weights = unpack(self.net, batch)

        def sums(own, net_state, key, batch):
            params = own if part is None else part.put(state.params, own)
            outputs, net_state, values = trained.forward(params, net_state, key, batch)
            total, weight = self.weighted_sum(values, batch)
            return (scaled(total, loss_scale), weight), net_state, outputs

        own = state.params if part is None else part.of(state.params)
        loss_scale = scale_of(state.opt_state)
        given = own, state.state, key, batch
        objective, (value, more), grads = gradients(sums, *given, self.microbatches)
        outputs, net_state, total, weight = more
        value, total = (unscaled(a, loss_scale) for a in (value, total))
        # Optax's own arithmetic (adam: a Python float to the power of an int32 count)
        # needs JAX's standard promotion, even if the user has made it strict.
        scale = rate_scale(state)
        extra = {} if scale is None else {"rate_scale": scale}
        optimizer = optimizer_for(self.optimizer, self.net)
        with _updating(), jax.numpy_dtype_promotion("standard"):
            updates, opt_state = optax.with_extra_args_support(optimizer).update(
                grads,
                state.opt_state,
                own,
                value=jnp.where(weight == 0, jnp.nan, value),  # never the best
                grad=grads,
                value_fn=lambda params: unscaled(objective(params)[0], loss_scale),
                **extra,
            )
        _check_updates(updates, own, grads)
        params = apply_updates(own, updates, scale)
        params = params if part is None else part.put(state.params, params)
        new = state._replace(
            params=params, state=net_state, opt_state=opt_state, step=state.step + 1
        )
        stats = {"loss": {"total": total, "weight": weight}}
        examples = jax.tree.leaves(outputs)[0].shape[0]
        weights = loss_weights(self.loss, targets, weights, examples)
        for name, values in parts_of(self.loss, outputs, targets).items():
            total, weight = weighted_sum(values, weights)
            stats[name] = {"total": total, "weight": weight}
        counted = weights > 0
        for name, metric in self.metrics:
            with inside_metric(name, metric):
                own = metric.update(outputs, targets, counted.astype(jnp.float32))
            stats[name] = own
        return new, stats

    def as_trained(self, state: TrainState) -> "TrainStep":
        """The step as it trains: what is frozen runs as in evaluation."""
        frozen = frozen_patterns(state.opt_state)
        if self.part is not None:
            frozen += self.part.at_rest(state.state)
        return self.trained(state.state, frozen)

    def trained(self, net_state: Any, frozen: tuple[str, ...]) -> "TrainStep":
        """The step with the layers that match running as in evaluation."""
        net = freeze_statistics(self.net, net_state, *frozen)
        return dataclasses.replace(self, net=net)  # type: ignore[type-var]

    def key(self, state: TrainState) -> jax.Array:
        """The random key of the state's step."""
        return jax.random.fold_in(fold_in(state.key, "step"), state.step)

    def augmented(self, key: jax.Array, batch: Any) -> Any:
        """The batch with its inputs randomly augmented, if the step has `augment`."""
        if self.augment is None:
            return batch
        key = fold_in(key, "augment")
        if isinstance(batch, Weighted):
            return batch._replace(batch=self._varied(key, batch.batch))
        return self._varied(key, batch)

    def _varied(self, key: jax.Array, batch: Any) -> Any:
        """The batch with its inputs, the first of a tuple, randomly augmented."""
        assert self.augment is not None
        x, *others = batch if isinstance(batch, tuple) else (batch,)
        if getattr(self.augment, "mixes", False):
            targets, *weights = others
            return (*self.augment(key, x, targets), *weights)
        varied = self.augment(key, x)
        if jax.tree.map(jnp.shape, varied) != jax.tree.map(jnp.shape, x):
            raise ValueError(
                f"train_step: augment must keep the shape of the inputs, "
                f"{describe(x)}, got {describe(varied)}"
            )
        return (varied, *others) if isinstance(batch, tuple) else varied

    def forward(self, params: Any, net_state: Any, key: jax.Array, batch: Any):
        """The outputs, new network state and loss of each example, in training mode."""
        x, targets, _ = unpack(self.net, batch)
        outputs, net_state = self.net.apply(params, net_state, x, key=key, train=True)
        with inside("the loss", self.loss):
            values = self.loss(outputs, targets)
        return outputs, net_state, values

    def weighted_sum(
        self, values: jax.Array, batch: Any
    ) -> tuple[jax.Array, jax.Array]:
        """Σ w·v and Σ w over the batch; the loss is their ratio."""
        x, targets, weights = unpack(self.net, batch)
        check_each("train_step", "loss", values, len(jax.tree.leaves(x)[0]))
        return weighted_sum(
            values, loss_weights(self.loss, targets, weights, len(values))
        )

    def weighted_mean(self, values: jax.Array, batch: Any) -> jax.Array:
        """Σ w·v / Σ w over the batch: what gradient descent minimizes."""
        total, weight = self.weighted_sum(values, batch)
        return total / or_one(weight)


class EnsembleStep(TrainStep):
    """A `TrainStep` of every member of an `Ensemble`, in one program."""

    @property
    def members(self) -> int:
        """How many networks the step trains."""
        return cast(Ensemble, self.net).members

    def one(self) -> TrainStep:
        """The step of a single member."""
        net = cast(Ensemble, self.net).net
        given = net, self.loss, self.optimizer, self.metrics, self.augment
        return TrainStep(*given, microbatches=self.microbatches)

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


@answered
def train_step(
    net: Layer,
    loss: Loss | None = None,
    optimizer: optax.GradientTransformation | None = None,
    *,
    objective: Objective | None = None,
    metrics: Mapping[str, Any] | None = None,
    augment: Callable[..., Any] | None = None,
    microbatches: int = 1,
    layout: Layout | None = None,
) -> TrainStep:
    """A pure function that takes one step of gradient descent.

    `step(state, batch) -> (state, logs)`: θ ← θ − update(∇ Σ w·loss / Σ w).  You can
    jit, vmap and scan it; an equal step built again is the same static argument to jit.

    Args:
        net: a network.
        loss: `loss(outputs, targets) -> [N]`, one value per example; for a network that
            returns a dict, a dict of losses (see `nn.losses.combine`).
        optimizer: an Optax optimizer.
        objective: in place of a loss, `objective(run, batch) -> values [N]`, or
            `(values, logs)`. `run(x)` calls the network and `run("name", x)` one of its
            children, as often as needed; `run.key` is a random key, fresh in each step,
            and `run.params` are the parameters. `logs` is a dict of numbers, one or
            `[N]` for each name, averaged like the values. The batch is any tree of
            arrays with a common first axis.
        metrics: a dict from names to `metric(outputs, targets) -> [N]` or a `Metric`.
        augment: `augment(key, x) -> x`, drawn anew at each step, such as those of
            `nn.data.augment`; one with `mixes = True` is `augment(key, x, targets) ->
            (x, targets)`.
        microbatches: how many pieces of the batch are computed one after the other,
            which takes the memory of one, before the parameters change once: the same
            numbers, up to rounding. Each piece draws its own dropout, and is normalized
            by its own statistics in batch normalization. A batch that it does not
            divide has one piece more.
        layout: where batches and parameters lie on several devices; see `nn.Layout`.

    Returns:
        A step. Its batch is `(x, targets)` or `(x, targets, weights [N])`, or whatever
        the objective takes; its logs hold the batch's loss and metrics. A batch in
        which no example counts has a loss of 0, which trains nothing; an epoch of such
        batches has a loss of NaN.

    >>> import jax, jax.numpy as jnp, jaxnn as nn, optax
    >>> net, optimizer = nn.Dense(1), optax.sgd(0.1)
    >>> step = jax.jit(nn.train_step(net, nn.losses.mean_squared_error, optimizer))
    >>> x, y = jnp.ones((4, 2)), jnp.zeros((4, 1))
    >>> state = nn.train_state(net, optimizer, x, key=jax.random.key(0))
    >>> state, logs = step(state, (x, y))
    >>> int(state.step), list(logs)
    (1, ['loss'])

    The same loss as an objective, with a log beside it:

    >>> def squared_error(run, batch):
    ...     x, y = batch
    ...     error = run(x) - y
    ...     return (error**2).mean(-1), {"error": abs(error).mean(-1)}
    >>> step = jax.jit(nn.train_step(net, objective=squared_error, optimizer=optimizer))
    >>> list(step(state, (x, y))[1])
    ['error', 'loss']
    """
    net, loss = as_trained("train_step", net, loss, objective, metrics)
    more = {"microbatches": microbatches, "layout": layout}
    return make_step("train_step", net, loss, optimizer, metrics, augment, **more)


def as_trained(
    owner: str, net: Any, loss: Any, objective: Any, metrics: Any
) -> tuple[Any, Any]:
    """The network and its loss; of an objective, see `train/objective.py`.

    Args:
        owner: the function that was called, for messages.
        net, loss, objective, metrics: what the user passed.
    """
    if objective is None:
        return net, as_loss(loss, owner)
    if loss is not None:
        raise TypeError(f"{owner}: objective must stand in place of loss; give one")
    if metrics:
        raise TypeError(
            f"{owner}: metrics belong to the objective, which returns (values, logs) "
            "with logs such as {'accuracy': nn.metrics.accuracy(outputs, targets)}; "
            "leave metrics out"
        )
    return with_objective(owner, net, objective), VALUES


def make_step(
    owner: str,
    net: Any,
    loss: Any,
    optimizer: Any,
    metrics: Any,
    augment: Any,
    microbatches: int = 1,
    layout: Layout | None = None,
) -> TrainStep:
    """A `train_step` for the function `owner`, which messages name."""
    check_function(owner, loss)
    check_optimizer(owner, optimizer)
    if augment is not None and not callable(augment):
        raise TypeError(
            f"{owner}: augment must be a function augment(key, x), such as "
            f"nn.data.augment.rotate(15), got {shown(augment)}"
        )
    positive_int(owner, "microbatches", microbatches)
    check_layout(owner, layout)
    net = as_layer(net, owner)
    pairs = named_metrics(owner, loss, metrics)
    check_names(f"{owner}: metrics", pairs)
    kind = EnsembleStep if isinstance(net, Ensemble) else TrainStep
    given = net, loss, optimizer, tuple(pairs.items()), augment
    return kind(*given, microbatches=microbatches, layout=layout)


def named_metrics(owner: str, loss: Any, metrics: Any) -> dict[str, Metric]:
    """Metrics by name, as they count alongside a loss (or None)."""
    if loss is not None:
        check_function(owner, loss)
    if metrics is not None and not isinstance(metrics, Mapping):
        raise TypeError(
            f"{owner}: metrics must be a dict from names to metrics, as in "
            f"{{'accuracy': nn.metrics.accuracy}}, got {shown(metrics)}"
        )
    for name in metrics or {}:
        if not isinstance(name, str):
            raise TypeError(
                f"{owner}: metrics must have strings as names, got {name!r:.60}"
            )
    if loss is not None and "loss" in (metrics or {}):
        raise ValueError(
            f"{owner}: metrics must not use the loss's own name, 'loss'; use another"
        )
    return {
        n: beside_each(loss, as_metric(m, owner=owner))
        for n, m in (metrics or {}).items()
    }


def check_names(what: str, names: Iterable[str]) -> None:
    """Raise if a name would clash with another entry of the history."""
    for name in names:
        if name in ("epoch", "rate_scale") or str(name).startswith("val_"):
            raise ValueError(
                f"{what} must not use a name of the history's own (epoch, rate_scale, "
                f"val_...), got {name!r}; use another"
            )


def in_order(logs: Mapping[str, Any], names: Iterable[str]) -> Logs:
    """Logs in the order of these names, since `jax.jit` sorts those of a dict."""
    return {name: logs[name] for name in dict.fromkeys([*names, *logs]) if name in logs}


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
        raise TypeError(
            f"train_step: the optimizer's update failed: {error}; {rule}"
        ) from error
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
                "train_step: optimizer must not give the gradient itself as its "
                f"update, which makes the loss larger, but does for {path}; give a "
                "learning rate, as in optax.sgd(0.1), not None"
            )
        if update.shape != param.shape:
            raise ValueError(
                f"train_step: optimizer must give updates of the parameters' shapes, "
                f"{describe(param)} for {path}, got {describe(update)}; a learning "
                "rate is one number"
            )


def loss_weights(loss: Any, targets: Any, weights: Any, examples: int) -> jax.Array:
    """The weight of each example in the loss, [N]; 0 for ignored labels."""
    own = jnp.ones(examples) if weights is None else weights
    kept = None if loss is None else example_weights(loss, targets)
    return own if kept is None else own * kept.astype(own.dtype)


def weighted_sum(values: jax.Array, weights: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Σ w·v and Σ w in float32 or wider; values of weight 0 are left out, even NaN."""
    if weights.shape != values.shape:
        raise ValueError(
            f"train_step: weights must be one number per example, [{len(values)}], got "
            f"{describe(weights)}"
        )
    values = values.astype(jnp.float32) if values.dtype.itemsize < 4 else values
    weights = weights.astype(values.dtype)
    kept = jnp.where(weights == 0, jnp.zeros_like(values), values)
    return (weights * kept).sum(), weights.sum()


def as_means(stats: Mapping[str, Any]) -> Logs:
    """Σ w·v / Σ w for each name."""
    return {n: s["total"] / or_one(s["weight"]) for n, s in stats.items()}


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
