# SPDX-License-Identifier: Apache-2.0
"""From noise to data, as one program: what all samplers share.

A sampler is a rule `advance(model, x, row, draw, options)` for one step; the numbers of
each step, such as its time, are the rows of a table. Those are arguments of the
program: another schedule, guidance or condition compiles nothing.
"""

import numbers
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from jaxnn import checks
from jaxnn.core import Layer
from jaxnn.diffusion import model as models
from jaxnn.diffusion.schedules import wide
from jaxnn.inputs.entry import on_device
from jaxnn.keys import Key, check_key, fold_in
from jaxnn.messages.phrases import describe
from jaxnn.train.programs import program


class Plan(NamedTuple):
    """What a program is compiled for, besides shapes."""

    owner: str
    net: Layer
    advance: Callable[..., jax.Array]
    shape: tuple[int, ...]
    draws: bool  # whether steps add noise


class Given(NamedTuple):
    """The arrays passed to the program on each call."""

    variables: Any
    start: Any  # the noise to start from, or None
    key: Any
    condition: Any
    null: Any  # None without guidance
    options: dict[str, Any]


def sample(
    owner: str,
    net: Any,
    variables: Any,
    start: Any,
    advance: Callable[..., jax.Array],
    rows: Any,
    *,
    key: Key | None,
    draws: bool,
    condition: Any,
    null: Any,
    guidance: Any,
    **options: Any,
) -> jax.Array:
    """Check everything, then run a sampler.

    Args:
        owner, net, variables, start, key, condition, null, guidance: the user's.
        advance: one step of the sampler.
        rows: a tree of arrays `[steps]`: the numbers of each step.
        draws: whether steps add noise.
        options: numbers that `advance` gets; None for one that was not given.
    """
    layer, variables = models.network(owner, net, variables)
    start, shape = _start(owner, start)
    _check_key(owner, key, start is None, draws)
    condition = on_device(f"{owner}: condition", condition)
    models.check_condition(owner, condition, shape[0])
    _check_guidance(owner, guidance, condition, null)
    null = None if guidance is None else null
    found = {**options, "guidance": guidance}
    found = {n: _number(value) for n, value in found.items() if value is not None}
    plan = Plan(owner, layer, advance, shape, draws)
    given = Given(variables, start, key, condition, null, found)
    return _generate(given, rows, plan=plan)


@program()
def _generate(given: Given, rows: Any, *, plan: Plan) -> jax.Array:
    x = given.start
    if x is None:
        x = jax.random.normal(fold_in(given.key, "start"), plan.shape)
    dtype, inside = x.dtype, wide(x.dtype)
    options = {name: a.astype(inside) for name, a in given.options.items()}
    model = _model(plan, given, dtype)

    def body(x, at):
        i, row = at

        def draw():
            key = jax.random.fold_in(fold_in(given.key, "noise"), i)
            return jax.random.normal(key, x.shape, x.dtype)

        x = plan.advance(model, x, row, draw if plan.draws else None, options)
        return x, None

    rows = jax.tree.map(lambda a: jnp.asarray(a).astype(inside), rows)
    order = jnp.arange(len(jax.tree.leaves(rows)[0]))
    return lax.scan(body, x.astype(inside), (order, rows))[0].astype(dtype)


def _model(plan: Plan, given: Given, dtype: Any) -> models.Model:
    """The network as a function of `(x, t)`; t is one number for all examples."""
    params, state = given.variables

    def net(*inputs):
        return plan.net.apply(params, state, inputs)[0]

    model, condition = net, given.condition
    if given.null is not None:
        guidance = given.options["guidance"]
        model = models.guided(net, condition, given.null, guidance)
        condition = None

    def call(x, t):
        times = jnp.full(x.shape[:1], t, x.dtype)
        y = models.called(plan.owner, model, x.astype(dtype), times, condition)
        return y.astype(x.dtype)

    return call


def _start(owner: str, start: Any) -> tuple[Any, tuple[int, ...]]:
    """The noise to start from, None if it is to be drawn, and its shape."""
    if isinstance(start, tuple | list):
        if not start or not all(map(checks.is_positive_int, start)):
            raise ValueError(
                f"{owner}: start must be a shape (N, ...) of positive ints, or an "
                f"array of noise, got {start!r:.100}"
            )
        return None, tuple(map(int, start))
    start = on_device(f"{owner}: start", start)
    if not getattr(start, "shape", ()) or not checks.is_float(start):
        raise TypeError(
            f"{owner}: start must be a shape (N, ...), or noise, floats [N, ...], got "
            f"{describe(start):.100}"
        )
    return start, start.shape


def _check_key(owner: str, key: Any, starts: bool, draws: bool) -> None:
    if key is not None:
        check_key(key, owner)
    elif draws or starts:
        what = "steps add noise" if draws else "start is a shape, whose noise is drawn"
        raise TypeError(
            f"{owner}: key must be a random key, since {what}, got None; pass "
            "key=jax.random.key(seed)"
        )


def _check_guidance(owner: str, guidance: Any, condition: Any, null: Any) -> None:
    if guidance is None:
        return
    _check_number(owner, "guidance", guidance)
    if condition is None or null is None:
        lacks = "condition" if condition is None else "null"
        raise ValueError(
            f"{owner}: guidance must come with condition and with null, what stood for "
            f"a dropped condition in training, got no {lacks}; a model without a "
            "condition has no guidance"
        )
    models.check_null(owner, null, condition)


def _check_number(owner: str, name: str, value: Any) -> None:
    """Raise unless an option is a finite number; traced ones pass."""
    if checks.is_traced(value):
        return
    single = isinstance(value, numbers.Real) or getattr(value, "shape", None) == ()
    if not single or isinstance(value, bool) or not np.isfinite(float(value)):
        raise ValueError(f"{owner}: {name} must be a finite number, got {value!r:.60}")


def _number(value: Any) -> jax.Array:
    return jnp.asarray(value, jnp.result_type(float))
