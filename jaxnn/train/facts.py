# SPDX-License-Identifier: Apache-2.0
"""A network's outputs, and what it requires of its inputs, from one trace."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax

from jaxnn import checks
from jaxnn.core import Layer
from jaxnn.train.traced_once import traced_once

#: Operations that move numbers without changing what they represent.
_TRANSPARENT = {
    "reshape",
    "squeeze",
    "convert_element_type",
    "transpose",
    "copy",
    "broadcast_in_dim",
    "slice",
    "checkpoint_name",
    "optimization_barrier",
}
#: Products, whose outputs are neither probabilities nor their logarithms.
_PRODUCTS = {"dot_general", "conv_general_dilated", "conv", "conv_input_gradient"}


class Facts(NamedTuple):
    """What a trace reveals about a network.

    Attributes:
        outputs: the shapes of the outputs.
        kind: `softmax`, `log_softmax`, `sigmoid`, `raw`, or None if unknown; of several
            outputs a tree of them.
        checks: functions `check(inputs)`, what the layers require of the values of the
            inputs.
    """

    outputs: Any
    kind: Any
    checks: tuple[Callable[[Any], None], ...]


@traced_once
def facts(net: Layer, params: Any, state: Any, x: Any) -> Facts:
    """Trace a network for inputs like `x`."""
    asked: list[Callable[[Any], None]] = []

    def forward(params, state, x):
        with checks.deferred() as found:
            y = net.apply(params, state, x)[0]
        for check, arrays in found:
            asked.extend(_on_inputs(check, arrays, x))
        return y

    jaxpr, outputs = jax.make_jaxpr(forward, return_shape=True)(params, state, x)
    kinds = [_kind(jaxpr.jaxpr, var) for var in jaxpr.jaxpr.outvars]
    kind = jax.tree.unflatten(jax.tree.structure(outputs), kinds)
    return Facts(outputs, kind, tuple(asked))


@traced_once
def own_params(net: Layer, x: Any) -> Any:
    """The shapes of the parameters that a network has for inputs like `x`."""
    return jax.eval_shape(lambda key: net.init(key, x)[0], jax.random.key(0))


def _on_inputs(check: Callable[..., None], arrays: tuple, x: Any) -> list[Callable]:
    """Turn a check of traced arrays into one of the inputs, if the arrays are inputs.

    If an earlier layer has changed them, the replay has to find what is wrong.
    """
    leaves = jax.tree.leaves(x)
    places = [[i for i, leaf in enumerate(leaves) if leaf is a] for a in arrays]
    if not all(a is None or place for a, place in zip(arrays, places, strict=True)):
        return []

    def on_inputs(inputs):
        given = jax.tree.leaves(inputs)
        check(*(given[place[0]] if place else None for place in places))

    return [on_inputs]


def _kind(jaxpr: Any, var: Any) -> str | None:
    """Follow one variable of a program back to the operation that made it."""
    made = {v: eqn for eqn in jaxpr.eqns for v in eqn.outvars}
    while (eqn := made.get(var) if _is_var(var) else None) is not None:
        name = eqn.primitive.name
        inner = _inner(eqn)
        if inner is not None:
            return _kind(inner, inner.outvars[eqn.outvars.index(var)])
        if name not in _TRANSPARENT:
            return _classify(name, eqn, made)
        var = eqn.invars[0]
    return None


def _is_var(v: Any) -> bool:
    return not hasattr(v, "val")  # a literal has a value


def _inner(eqn: Any) -> Any:
    """The program inside a jit, custom_jvp or checkpoint with the same outputs."""
    for key in ("jaxpr", "call_jaxpr", "fun_jaxpr"):
        inner = eqn.params.get(key)
        inner = getattr(inner, "jaxpr", inner)
        if inner is not None and len(inner.outvars) == len(eqn.outvars):
            return inner if eqn.primitive.name not in ("scan", "while") else None
    return None


def _classify(name: str, eqn: Any, made: dict) -> str | None:
    if name == "logistic":
        return "sigmoid"
    if name == "div" and _maker(eqn.invars[0], made) == "exp":
        return "softmax" if _maker(eqn.invars[1], made) == "reduce_sum" else None
    if name == "sub" and _maker(eqn.invars[1], made) == "log":
        return "log_softmax"
    if name == "add":  # of a bias
        eqn = _behind(eqn.invars[0], made)
    return "raw" if eqn is not None and _is_affine(eqn, made) else None


def _is_affine(eqn: Any, made: dict) -> bool:
    """Whether this is a product with something that is not computed: a parameter."""
    given = [_behind(v, made) is None for v in eqn.invars]
    return eqn.primitive.name in _PRODUCTS and any(given[1:2])


def _maker(var: Any, made: dict) -> str | None:
    """The name of the operation that produced a variable."""
    eqn = _behind(var, made)
    return None if eqn is None else eqn.primitive.name


def _behind(var: Any, made: dict) -> Any:
    """The operation that produced a variable, skipping those that move numbers."""
    while _is_var(var) and var in made and made[var].primitive.name in _TRANSPARENT:
        var = made[var].invars[0]
    return made[var] if _is_var(var) and var in made else None
