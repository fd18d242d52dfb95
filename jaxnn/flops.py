# SPDX-License-Identifier: Apache-2.0
"""Floating-point operations of a function, by formula, from its program in JAX.

XLA's own `cost_analysis` counts the body of a loop once, whatever its number of steps,
and leaves out the products with padding, so that it equals no count by hand.
"""

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import jax

#: The convention in one line, for tables.
CONVENTION = "2 per multiply-add of matrix products and convolutions, 0 for the rest"


class Flops(NamedTuple):
    """A number of operations, and whether it is known."""

    number: int
    known: bool  # False: a loop whose number of steps depends on data counts as one


def flops(function: Callable[..., Any], *args: Any) -> Flops:
    """Count 2 for each multiply-add of the matrix products and convolutions.

    Products count in full, those with padding or with masked attention scores too.
    Loops count once a step, a `cond` as the costliest of its branches. All else counts
    0: biases, activations, norms, sums, and what a kernel outside of JAX does.

    Args:
        function: a function of arrays.
        args: its arguments; shapes, `jax.ShapeDtypeStruct`, are enough.

    >>> import jax.numpy as jnp
    >>> flops(lambda x, w: jnp.tanh(x @ w), jnp.ones((2, 4)), jnp.ones((4, 3)))
    Flops(number=48, known=True)
    """
    return _of_program(jax.make_jaxpr(function)(*args))


def _of_program(jaxpr: Any) -> Flops:
    parts = [_of_equation(equation) for equation in jaxpr.eqns]
    return Flops(sum(part.number for part in parts), all(part.known for part in parts))


def _of_equation(equation: Any) -> Flops:
    name, params = equation.primitive.name, equation.params
    if name in _FORMULAS:
        shapes = [tuple(a.aval.shape) for a in (*equation.invars, *equation.outvars)]
        return Flops(2 * _FORMULAS[name](params, *shapes[:2], shapes[-1]), True)
    inside = [a for a in jax.tree.leaves(list(params.values())) if hasattr(a, "eqns")]
    parts = [_of_program(jaxpr) for jaxpr in inside]
    together = max if name == "cond" else sum
    number = together(part.number for part in parts) if parts else 0
    known = all(part.known for part in parts) and not (name in _LOOPS and number)
    return Flops(number * (params["length"] if name == "scan" else 1), known)


def _dot(params, a, b, y) -> int:
    (contracted, _), _ = params["dimension_numbers"]
    return math.prod(y) * math.prod(a[axis] for axis in contracted)


def _lax_conv(params, x, w, y) -> int:
    """By its outputs; along axes where zeros spread the input, by the input itself."""
    numbers, places = params["dimension_numbers"], list(y)
    axes = zip(numbers.lhs_spec[2:], numbers.out_spec[2:], strict=True)
    for (own, out), spread in zip(axes, params["lhs_dilation"], strict=True):
        if spread > 1:
            places[out] = x[own]
    return math.prod(places) * _without(w, numbers.rhs_spec[0])


def _conv(of: str) -> Callable[..., int]:
    """One of the three of `ops/conv.py`, `sum g · (x conv w)` with two of them given.

    Each element of g meets all those of w for its channel.
    """

    def count(params, *shapes):
        named = dict(zip(of, shapes, strict=True))
        return math.prod(named["g"]) * _without(named["w"], -1)

    return count


def _without(shape: tuple[int, ...], axis: int) -> int:
    """The number of elements at one place of an axis."""
    return math.prod(shape[:axis]) * math.prod(shape[axis:][1:])


#: Multiply-adds by primitive, from its parameters and the shapes of its two operands
#: and its output. Convolutions are still `ops/conv.py`'s own here, whatever a platform
#: makes of them later.
_FORMULAS: dict[str, Callable[..., int]] = {
    "dot_general": _dot,
    "conv_general_dilated": _lax_conv,
    "conv": _conv("xwg"),
    "conv_input_gradient": _conv("gwx"),
    "conv_filter_gradient": _conv("xgw"),
}
#: Loops whose number of steps the program does not say.
_LOOPS = {"while", "pallas_call"}
