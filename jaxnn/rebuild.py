# SPDX-License-Identifier: Apache-2.0
"""A library network from its `repr`, read as data: nothing is evaluated.

The text is parsed, and only four things in it mean anything: the name of a layer of
jaxnn with arguments, an initializer, a function of a fixed list, and constants.
"""

import ast
import functools
import inspect
from typing import Any

import jax
import jax.numpy as jnp

from jaxnn import initializers, layers
from jaxnn.core import Layer, as_layer
from jaxnn.messages.phrases import nearest
from jaxnn.ops import activations

#: The functions of `jax.numpy` and `jax.lax` that a network may hold; some of the rest
#: read and write files. Of `jax.nn` all are fine.
_JNP = "abs absolute arctan clip cos exp expm1 log log1p maximum minimum negative ravel"
_JNP += " sign sin sinc sqrt square squeeze tanh"
_LAX = "abs cos erf exp log logistic neg rsqrt sign sin sqrt stop_gradient tanh"


def rebuilt(text: str, owner: str) -> Layer:
    """The network that printed `text`.

    Args:
        text: the `repr` of a network made of layers of jaxnn.
        owner: the function that was called, for the error message.

    Raises:
        ValueError: the text names something else, such as a custom layer or a lambda.

    >>> rebuilt("Sequential(Dense(32), jax.nn.relu, head=Dense(10, bias=False))", "f")
    Sequential(Dense(32), jax.nn.relu, head=Dense(10, bias=False))
    """
    try:
        return as_layer(_made(ast.parse(text, mode="eval").body), owner)
    except (SyntaxError, TypeError, ValueError, RecursionError, MemoryError) as error:
        raise ValueError(
            f"{owner}: the network must be made of layers and functions that jaxnn "
            f"knows, got {text[:200]!r} ({error}); build it in code, and load its "
            "variables by nn.load"
        ) from None


def _made(node: ast.expr) -> Any:
    """The value of an expression."""
    if isinstance(node, ast.Call):
        args = [_made(a) for a in node.args]
        named = {str(k.arg): _made(k.value) for k in node.keywords if k.arg}
        return _callable(node.func)(*args, **named)
    if isinstance(node, ast.Tuple):
        return tuple(map(_made, node.elts))
    if isinstance(node, ast.List):
        return list(map(_made, node.elts))
    if isinstance(node, ast.Dict):
        keys = [_made(k) for k in node.keys if k is not None]
        return dict(zip(keys, map(_made, node.values), strict=True))
    if isinstance(node, ast.Name | ast.Attribute):
        return _function(ast.unparse(node))
    return ast.literal_eval(node)


def _callable(node: ast.expr) -> Any:
    """What may be called: a layer's class, an initializer, `functools.partial`."""
    name = ast.unparse(node)
    kinds = _layers()
    if name in kinds:
        return kinds[name]
    room, _, own = name.rpartition(".")
    made = vars(initializers).get(own) if room == "initializers" else None
    if inspect.isfunction(made) and made.__module__ == initializers.__name__:
        return made
    if name == "functools.partial":
        return functools.partial
    raise ValueError(f"{name} is not a layer of jaxnn{nearest(name, kinds)}")


def _function(name: str) -> Any:
    room, _, own = name.rpartition(".")
    found = None
    if room == "jax.nn" and not own.startswith("_"):
        found = getattr(jax.nn, own, None)
    elif (room, own) in {("jax.numpy", n) for n in _JNP.split()}:
        found = getattr(jnp, own, None)
    elif (room, own) in {("jax.lax", n) for n in _LAX.split()}:
        found = getattr(jax.lax, own, None)
    elif name == "step":
        found = activations.step
    if not callable(found):
        raise ValueError(f"{name} is not among the functions that a file may name")
    return found


def _layers() -> dict[str, type[Layer]]:
    """Every layer class of jaxnn by name, those of its models too if imported."""
    for name in dir(layers):
        getattr(layers, name)  # some are imported on first use
    found, waiting = {}, [Layer]
    while waiting:
        kind = waiting.pop()
        waiting += kind.__subclasses__()
        if kind.__module__.startswith("jaxnn.") and not kind.__name__.startswith("_"):
            found[kind.__name__] = kind
    return found
