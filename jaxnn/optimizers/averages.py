# SPDX-License-Identifier: Apache-2.0
"""Averages of the weights over the steps of a run, kept in the optimizer's state."""

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple, TypeVar

import jax
import jax.numpy as jnp
import optax

from jaxnn.checks import is_positive_int, is_traced
from jaxnn.messages.tracebacks import entrance
from jaxnn.optimizers.checks import (
    Scalar,
    check_number,
    check_optimizer,
    given,
)
from jaxnn.train.step import apply_updates

Optimizer = optax.GradientTransformationExtraArgs
#: From the number of steps taken to the factor that the old average keeps, and whether
#: the new weights count.
Rule = Callable[[jax.Array], tuple[Any, Any]]
AnyState = TypeVar("AnyState", bound=Any)


class AverageState(NamedTuple):
    """The state of an optimizer that also averages."""

    inner: Any  # the optimizer's own state
    average: Any  # the average weights, float32 or wider
    weight: jax.Array  # float32 [], the sum of the weights in the average
    step: jax.Array  # int32 [], steps taken


@entrance
def ema(optimizer: optax.GradientTransformation, decay: Scalar) -> Optimizer:
    """Keep an exponential moving average of the weights during training.

    `a_t = Σ_i decay^(t−i) w_i / Σ_i decay^(t−i)` over the weights w_i after each step
    i = 1 ... t: debiased, so that the initial weights do not count.  Training itself is
    unchanged; `averaged(state)` gives the average.  Only parameters are averaged: a
    network with `BatchNorm` then needs `refresh_statistics`.  Apply `ema` last, around
    the optimizer that makes the final update.

    Args:
        optimizer: an Optax optimizer.
        decay: from 0 (the last weights) to less than 1; 0.999 averages over about a
            thousand steps. It may be traced.

    Returns:
        An Optax optimizer.

    Raises:
        ValueError, TypeError: the decay is invalid.

    Reference: Polyak and Juditsky, Acceleration of Stochastic Approximation by
    Averaging, 1992.

    >>> import jax, jax.numpy as jnp, jaxnn as nn, optax
    >>> optimizer = nn.optimizers.ema(optax.sgd(1.0), 0.5)
    >>> params = {"w": jnp.array(0.0)}
    >>> state = optimizer.init(params)
    >>> for gradient in (-3.0, -3.0):  # the weight is 3, then 6
    ...     updates, state = optimizer.update({"w": jnp.array(gradient)}, state, params)
    ...     params = optax.apply_updates(params, updates)
    >>> nn.optimizers.average(params, state)["w"].item()  # (3/2 + 6) / (1/2 + 1)
    5.0
    """
    check_optimizer("ema", optimizer)
    check_number("ema", "decay", decay, "from 0 to less than 1", 0, 1)
    return _averaging("ema", optimizer, lambda step: (decay, True))


@entrance
def swa(
    optimizer: optax.GradientTransformation, start: int, every: int = 1
) -> Optimizer:
    """Stochastic weight averaging: the plain mean of the weights late in a run.

    `a = (w_start + w_(start+every) + w_(start+2·every) + ...) / n`, where w_t are the
    weights after t steps.  It is meant for a learning rate that is constant from
    `start` on, or cyclic with a period of `every` steps.  Before `start`, the average
    is the weights themselves.  In all other respects it works like `ema`.

    Args:
        optimizer: an Optax optimizer.
        start: the number of steps after which averaging starts, 0 or more; three
            quarters of the run is usual.
        every: steps between the weights that count, such as the steps of an epoch.

    Returns:
        An Optax optimizer.

    Raises:
        ValueError: `start` or `every` is invalid.

    Reference: Izmailov et al., Averaging Weights Leads to Wider Optima and Better
    Generalization, 2018.

    >>> import jaxnn as nn, optax
    >>> optimizer = nn.optimizers.swa(optax.sgd(0.05), start=3000, every=400)
    """
    check_optimizer("swa", optimizer)
    _check_whole("start", start, least=0)
    _check_whole("every", every, least=1)

    def rule(step):
        return 1.0, (step >= start) & ((step - start) % every == 0)

    return _averaging("swa", optimizer, rule)


def _averaging(
    owner: str, optimizer: optax.GradientTransformation, rule: Rule
) -> Optimizer:
    inner = optax.with_extra_args_support(optimizer)

    def init(params):
        average = jax.tree.map(_wide, params)
        zero = jnp.zeros((), jnp.int32)
        return AverageState(inner.init(params), average, jnp.zeros(()), zero)

    def update(updates, state, params=None, **extra):
        params = given(owner, params)
        updates, own = inner.update(updates, state.inner, params, **extra)
        new = apply_updates(params, updates, extra.get("rate_scale"))
        step = state.step + 1
        stays, counts = rule(step)
        weight = jnp.where(counts, stays * state.weight + 1, state.weight)
        # Until the first weights count, the average follows them.
        share = jnp.where(counts | (weight == 0), 1 / jnp.maximum(weight, 1), 0.0)
        average = jax.tree.map(lambda a, w: _mix(a, w, share), state.average, new)
        return updates, AverageState(own, average, weight, step)

    return Optimizer(init, update)


def _wide(w: Any) -> jax.Array:
    """The array in float32 or wider: a bfloat16 average loses small shares."""
    w = jnp.asarray(w)
    return w.astype(jnp.float32) if w.dtype.itemsize < 4 else w


def _mix(a: jax.Array, w: jax.Array, share: jax.Array) -> jax.Array:
    """(1 − share) a + share w; exactly `w` for a share of 1, and `a` for 0."""
    share = share.astype(a.dtype)
    return (1 - share) * a + share * w.astype(a.dtype)


@entrance
def averaged(state: AnyState) -> AnyState:
    """A training state with the averaged weights in place of the last ones.

    It evaluates, predicts and can be saved like any other. To continue training, give
    `fit` the original state. The running statistics of `BatchNorm` are still those of
    the last weights: follow with `refresh_statistics`. The average is that of the last
    step, even if early stopping kept the weights of an earlier one.

    Args:
        state: a `TrainState` of an optimizer that averages, by `ema` or `swa`, however
            deeply nested in others; or a stack of them from `jax.vmap`.

    Returns:
        The state with new `params`.

    Raises:
        ValueError: the optimizer's state holds no average, or two for one parameter.

    >>> import jax, jax.numpy as jnp, jaxnn as nn, optax
    >>> x, t = jnp.ones((8, 2)), jnp.ones((8, 1))
    >>> optimizer = nn.optimizers.ema(optax.adam(0.1), 0.9)
    >>> state, _ = nn.fit(
    ...     nn.Dense(1), (x, t), loss=nn.losses.mean_squared_error, batch_size=4,
    ...     optimizer=optimizer, epochs=20, key=jax.random.key(0))
    >>> outputs = nn.predict(nn.Dense(1), nn.optimizers.averaged(state), x)
    """
    if not hasattr(state, "opt_state") or not hasattr(state, "_replace"):
        raise TypeError(
            "averaged: needs a TrainState, as nn.fit gives it, got "
            f"{type(state).__name__}; elsewhere use average(params, opt_state)"
        )
    return state._replace(params=average(state.params, state.opt_state))


@entrance
def average(params: Any, opt_state: Any) -> Any:
    """The averaged weights from an optimizer's state, in the dtypes of `params`.

    Args:
        params: the parameters in training; those that are not averaged (frozen ones)
            are taken from here.
        opt_state: the state of an optimizer that averages, by `ema` or `swa`.

    Returns:
        A tree like `params`.

    Raises:
        ValueError: there is no average, or two for one parameter.
    """
    found = [s.average for s in _find(opt_state)]
    if not found:
        raise ValueError(
            "averaged: the optimizer's state holds no average; train with "
            "nn.optimizers.ema(optimizer, 0.999) or nn.optimizers.swa(optimizer, start)"
        )
    return jax.tree.map(_pick, params, *found)


def _find(opt_state: Any) -> Iterator[AverageState]:
    """Every state that holds an average, at any depth."""
    nodes = jax.tree.leaves(opt_state, is_leaf=lambda s: isinstance(s, AverageState))
    for node in nodes:
        if isinstance(node, AverageState):
            yield node
            yield from _find(node.inner)


def _pick(w: Any, *averages: Any) -> Any:
    """The one average with this parameter; any others have an empty node there."""
    own = [a for a in averages if not isinstance(a, optax.MaskedNode)]
    if len(own) > 1:
        raise ValueError(
            f"averaged: the optimizer keeps {len(own)} averages of one parameter; "
            "use one ema or swa"
        )
    return own[0].astype(jnp.asarray(w).dtype) if own else w


def _check_whole(name: str, value: Any, least: int) -> None:
    traced = is_traced(value)
    if not traced and not (is_positive_int(value) or (least == 0 and _is_zero(value))):
        rule = "an int of 0 or more" if least == 0 else "a positive int"
        raise ValueError(f"swa: {name} must be {rule}, got {value!r:.60}")


def _is_zero(value: Any) -> bool:
    return value == 0 and is_positive_int(value + 1) and not isinstance(value, bool)
