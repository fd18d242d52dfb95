# SPDX-License-Identifier: Apache-2.0
"""A network as a program that runs without jaxnn."""

import importlib
import importlib.util
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from types import ModuleType
from typing import Any

import jax
import jax.extend
import jax.numpy as jnp

from jaxnn import trees
from jaxnn.checks import is_float
from jaxnn.core import Layer, as_layer
from jaxnn.files.places import replacing
from jaxnn.inputs.entry import on_device
from jaxnn.inputs.variables import variables as as_variables
from jaxnn.messages.arguments import answered
from jaxnn.messages.phrases import describe, shown
from jaxnn.ops.portable import portable

PLATFORMS = ("cpu", "cuda", "tpu")


@answered
def export(
    net: Layer, variables: Any, x: Any, *, platforms: Sequence[str] = PLATFORMS
) -> bytes:
    """A network with its weights as one compiled-ahead program, in bytes.

    `jax.export.deserialize(data).call(x)` runs it, in evaluation, in any program with
    JAX and without jaxnn: on the platforms named, for any number of examples, and for
    sequences of any length if the network takes them. JAX reads such bytes for at least
    six months of its releases.

    Args:
        net: a network.
        variables: a `TrainState`, or a pair `(params, state)`.
        x: an example batch `[N, ...]`, or its `jax.ShapeDtypeStruct`. N is left open;
            so is T of floats `[N, T, C]` and of integers `[N, T]`, unless the network
            needs its size.
        platforms: what it is to run on, of "cpu", "cuda", "rocm" and "tpu".

    Returns:
        The program, to be written to a file: `path.write_bytes(nn.io.export(...))`.

    Raises:
        ImportError: flatbuffers is not installed.
        ValueError, TypeError: the parameters or inputs are not those of the network.

    >>> import jax, jax.numpy as jnp, jaxnn as nn
    >>> net, x = nn.Sequential(nn.Dense(8), jax.nn.relu, nn.Dense(2)), jnp.ones((1, 3))
    >>> data = nn.io.export(net, net.init(jax.random.key(0), x), x)
    >>> jax.export.deserialize(data).call(jnp.ones((5, 3))).shape
    (5, 2)
    """
    _needs_flatbuffers()
    _check_platforms(platforms)
    shapes = trees.abstract(x)
    _check_inputs(shapes)
    apply = _evaluation("export", net, variables, shapes)
    for steps in (True, False):
        try:
            given = _open(shapes, steps)
            made = jax.export.export(jax.jit(apply), platforms=tuple(platforms))(given)
        except Exception:  # an axis whose size the network needs
            if not steps:
                raise
        else:
            return bytes(made.serialize())
    raise AssertionError("unreachable")


@answered
def to_onnx(net: Layer, variables: Any, x: Any, path: str | os.PathLike[str]) -> None:
    """A network with its weights as an ONNX file, for runtimes without Python.

    onnxruntime runs it on servers, phones and, by onnxruntime-web, in browsers. The
    network computes as in evaluation, for any number of examples.

    Args:
        net: a network.
        variables: a `TrainState`, or a pair `(params, state)`.
        x: an example batch `[N, ...]`, one array, or its `jax.ShapeDtypeStruct`. Only N
            is left open.
        path: the file, such as `net.onnx`; it is replaced in one piece.

    Raises:
        ImportError: jax2onnx, which converts the program, is not installed.
        ValueError, TypeError: the parameters or inputs are not those of the network.
        NotImplementedError: jax2onnx knows no counterpart of an operation.

    >>> import jax, jax.numpy as jnp, jaxnn as nn
    >>> net, x = nn.Sequential(nn.Dense(8), jax.nn.relu, nn.Dense(2)), jnp.ones((1, 3))
    >>> variables = net.init(jax.random.key(0), x)
    >>> nn.io.to_onnx(net, variables, x, "net.onnx")  # doctest: +SKIP
    """
    convert = _needs_jax2onnx()
    shape = trees.abstract(x)
    if not isinstance(shape, jax.ShapeDtypeStruct) or not shape.shape:
        raise TypeError(
            f"to_onnx: x must be one array [N, ...], got {describe(shape):.100}"
        )
    apply = _evaluation("to_onnx", net, variables, shape)
    (given,) = jax.tree.leaves(_open(shape, steps=False))
    with portable():
        model = _converted(convert, apply, given)
    with replacing(path, "to_onnx") as beside:
        beside.write_bytes(model.SerializeToString())


def _converted(convert: Callable, apply: Callable, given: Any) -> Any:
    """An ONNX model of a function: of its traced program, or else of itself.

    While jax2onnx (0.17.1) traces a function it swaps those of jax.numpy for its own,
    some of which get dtypes wrong: `jnp.maximum(float32, 0)` is float64. A program
    traced by JAX avoids that, but its `lax.pad` of an open N is not understood.
    """
    program = jax.extend.core.jaxpr_as_fun(jax.make_jaxpr(apply)(given))
    with _put_back(jnp, jax.lax, jax.nn):
        try:
            return convert(program, [given])
        except Exception:
            return convert(apply, [given])


@contextmanager
def _put_back(*modules: ModuleType) -> Iterator[None]:
    """Give modules their own functions again at the end.

    The first conversion by jax2onnx (0.17.1) leaves its own `jnp.cumsum` behind, which
    refuses `jnp.cumsum(x, 0)` in all of the caller's program.
    """
    before = [dict(vars(module)) for module in modules]
    try:
        yield
    finally:
        for module, own in zip(modules, before, strict=True):
            vars(module).update(own)


def _evaluation(
    owner: str, net: Any, variables: Any, shapes: Any
) -> Callable[[Any], Any]:
    """The function from inputs to outputs, checked: its errors are those of a call."""
    net, (params, state) = as_layer(net, owner), as_variables(variables, owner)
    params, state = on_device(f"{owner}: variables", (params, state))

    def apply(x):
        return net.apply(params, state, x)[0]

    jax.eval_shape(apply, shapes)
    return apply


def _needs_jax2onnx() -> Any:
    """The converter; an error that names the package where it is absent."""
    try:
        return importlib.import_module("jax2onnx").to_onnx
    except ImportError as error:
        raise ImportError(
            "to_onnx needs jax2onnx to convert programs: python -m pip install jax2onnx"
        ) from error


def _needs_flatbuffers() -> None:
    """Raise unless the package is there with which JAX writes programs."""
    if importlib.util.find_spec("flatbuffers") is None:
        raise ImportError(
            "export needs flatbuffers to write programs: python -m pip install "
            "flatbuffers"
        )


def _open(shapes: Any, steps: bool) -> Any:
    """Shapes with a symbol for the number of examples, and one for that of steps."""
    scope = jax.export.SymbolicScope()

    def one(a):
        over_time = len(a.shape) == (3 if is_float(a) else 2)
        names = ["n", "t"] if steps and over_time else ["n"]
        text = ",".join([*names, *map(str, a.shape[len(names) :])])
        shape = jax.export.symbolic_shape(text, scope=scope)
        return jax.ShapeDtypeStruct(shape, a.dtype)

    return jax.tree.map(one, shapes)


def _check_platforms(platforms: Any) -> None:
    known = (*PLATFORMS, "rocm")
    given = () if isinstance(platforms, str) else tuple(platforms)
    if not given or any(name not in known for name in given):
        raise ValueError(
            f"export: platforms must be a tuple of names among {', '.join(known)}, got "
            f"{shown(platforms)}"
        )


def _check_inputs(shapes: Any) -> None:
    """Raise unless every input has an axis of examples."""
    for a in jax.tree.leaves(shapes):
        if not jnp.shape(a):
            raise TypeError(
                f"export: x must hold arrays [N, ...], got {describe(shapes):.100}"
            )
