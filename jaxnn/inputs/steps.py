# SPDX-License-Identifier: Apache-2.0
"""How sequences keep their lengths on the way from layer to layer.

A network takes `(x, lengths)`.  Between its layers the two travel as `Steps`, which
`core.Run` passes to each layer according to its class attribute `with_lengths`:

    "each"     works on each step separately: it gets the array, zeros past the ends
    "uses"     takes `(x, lengths)` and returns an array
    "carries"  takes and returns `Steps`; also a composite that passes them on
    "forward"  a custom composite: `forward` gets arrays, its children the lengths
    "mixes"    mixes steps and does not take lengths: an error
    "unknown"  a custom layer: it gets the array, as with "each", or the pair itself
               if the user made it

An output with as many steps has the same lengths; the outermost network returns an
array.
"""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxnn import checks
from jaxnn.messages.phrases import describe
from jaxnn.spec import show


def _no_arithmetic(self, other):
    """Adding tuples in Python makes longer ones; a function of arrays must not."""
    raise TypeError(
        f"{type(self).__name__}: a pair (x, lengths) has no arithmetic; take its x"
    )


class Steps(NamedTuple):
    """Sequences `x`, `[N, T, ...]`, of which `lengths`, `[N]`, steps are real."""

    x: Any
    lengths: Any

    __add__ = __radd__ = __mul__ = __rmul__ = _no_arithmetic  # type: ignore[assignment]


class Pair(Steps):
    """Steps as the user gave them: they leave the network as a pair."""

    __slots__ = ()


def as_pair(x: Any) -> Any:
    """A tuple `(x, lengths)` as a `Pair`; anything else as it is."""
    if type(x) is not tuple or len(x) != 2:
        return x
    shapes = [getattr(a, "shape", None) for a in x]
    if None in shapes or len(shapes[0]) < 2 or shapes[1] != shapes[0][:1]:  # type: ignore
        return x
    return Pair(*x) if jnp.issubdtype(x[1].dtype, jnp.integer) else x


def plain(y: Any) -> Any:
    """What a network returns: arrays for `Steps`, and pairs as they were given."""

    def one(a):
        if not isinstance(a, Steps):
            return a
        return tuple(a) if isinstance(a, Pair) else a.x

    if isinstance(y, Steps):
        return one(y)
    leaves = jax.tree.leaves(y, is_leaf=_is_steps)
    return jax.tree.map(one, y, is_leaf=_is_steps) if any(map(_is_steps, leaves)) else y


def _is_steps(x: Any) -> bool:
    return isinstance(x, Steps)


def said(x: Any) -> str:
    """Shapes and dtypes for messages, with `Steps` shown as pairs."""
    return describe(tuple(x) if isinstance(x, Steps) else x)


def handed(layer: Any, x: Any) -> Any:
    """What a layer's `apply` gets for `Steps`; anything else is passed as it is."""
    kind = layer.with_lengths
    if not isinstance(x, Steps):
        whole = type(x) is tuple and len(x) == 2 and x[1] is None
        return x[0] if whole and kind in ("each", "mixes") else x
    owner = type(layer).__name__
    if kind == "mixes":
        raise ValueError(
            f"{owner}: mixes the steps of sequences and knows no lengths, so it would "
            f"read what stands past their ends, got {said(x)}; use a layer "
            "that takes lengths (nn.GlobalAvgPool(), nn.GlobalMaxPool(), recurrence, "
            'attention, nn.Conv of stride 1 with padding="SAME"), or drop them by a '
            "function before it, lambda pair: pair[0]"
        )
    if kind == "each" or (kind == "unknown" and not isinstance(x, Pair)):
        check_lengths(owner, x.lengths, x.x)
        return blank(x.x, x.lengths)
    return tuple(x) if kind == "unknown" else x


def regained(layer: Any, x: Any, y: Any) -> Any:
    """A layer's output for `x` with the lengths of `x`, if it has the same steps."""
    kind = layer.with_lengths
    if isinstance(x, Steps):
        own = kind in ("carries", "forward") or (kind == "unknown" and type(x) is Pair)
    else:
        of_attention = hasattr(x, "memory_lengths")
        own = not of_attention or kind in ("unknown", "forward")
    if own or x.lengths is None or not alike(y, x.x):
        return y
    return Steps(y, x.lengths)


def alike(y: Any, x: Any) -> bool:
    """Whether `y` is an array `[N, T, ...]` with the steps of `x`."""
    shape = getattr(y, "shape", ())
    return len(shape) > 2 and shape[:2] == x.shape[:2]


def over_steps(function: Callable[[Any], Any], x: Steps) -> Any:
    """A function's output for sequences with lengths.

    A function that takes `(x, lengths)` gets both. Any other gets the array with zeros
    past the ends, provided that they change nothing.

    Raises:
        ValueError: the function returns something else for a sequence alone than with
            zeros after it, as `x[:, -1]` does.
    """
    try:
        return function(x)
    except Exception:
        y = function(blank(x.x, x.lengths))
    keeps = _keeps(function, x.x)
    if keeps is None:
        raise ValueError(
            f"Function: {show(function)} must give for a sequence with padding behind "
            f"it what it gives for the sequence alone, got {said(x)}: it may "
            "read past the ends, as x[:, -1] and x.mean(1) do; write it as a function "
            "of the pair (x, lengths), or use nn.LastStep(), nn.GlobalAvgPool() or "
            "nn.GlobalMaxPool()"
        )
    flat, tree = jax.tree.flatten(y)
    each = zip(flat, keeps, strict=True)
    return jax.tree.unflatten(tree, [Steps(a, x.lengths) if k else a for a, k in each])


def _keeps(function: Callable[[Any], Any], x: Any) -> list[bool] | None:
    """Which of a function's outputs have the steps of its input; None if it mixes them.

    The function is tried on two small sequences, one positive and one negative: alone
    and with padding.
    """
    steps = x.shape[1] if x.shape[1] in (0, 1, 2, 3) else 4  # it may be a symbol
    if steps < 2:
        return [alike(y, x) for y in jax.tree.leaves(jax.eval_shape(function, x))]
    try:
        with jax.ensure_compile_time_eval(), jax.debug_nans(False):
            alone = _example(x)
            rest = [(0, 0)] * (x.ndim - 2)
            padded = jnp.pad(alone, [(0, 0), (0, steps - 1), *rest])
            both = [
                [np.asarray(a, complex) for a in jax.tree.leaves(function(given))]
                for given in (alone, padded)
            ]
    except Exception:  # cannot be tried: made for this T, or uses traced values
        shapes = jax.tree.leaves(jax.eval_shape(function, x))
        return [True] * len(shapes) if all(alike(y, x) for y in shapes) else None
    found = [_keeps_one(a, b, steps) for a, b in zip(*both, strict=True)]
    return None if None in found else found  # type: ignore[return-value]


def _keeps_one(alone: np.ndarray, padded: np.ndarray, steps: int) -> bool | None:
    """Whether an output has steps; None if the padding changed it."""
    keeps = alone.shape[:2] == (2, 1) and padded.shape[:2] == (2, steps)
    padded = padded[:, :1] if keeps else padded
    same = alone.shape == padded.shape and np.allclose(
        alone, padded, rtol=1e-2, atol=1e-5, equal_nan=True
    )
    return keeps if same else None


def _example(x: Any) -> jax.Array:
    """Two sequences of one step like `x`: one positive, one negative."""
    size = int(np.prod(x.shape[2:]))
    values = jnp.linspace(0.5, 1.5, size) if size > 1 else jnp.ones(1)
    both = jnp.stack([values, -values]).reshape(2, 1, *x.shape[2:])
    whole = not jnp.issubdtype(x.dtype, jnp.inexact)
    return jnp.ones(both.shape, x.dtype) if whole else both.astype(x.dtype)


def check_integers(owner: str, name: str, x: Any) -> None:
    """Raise unless `x` is an array of integers."""
    if not hasattr(x, "dtype") or not jnp.issubdtype(x.dtype, jnp.integer):
        raise TypeError(f"{owner}: {name} must be integers, got {describe(x):.100}")


def check_steps(owner: str, x: Any, name: str = "x") -> None:
    """Raise unless sequences have at least one step."""
    if x.shape[1] == 0:
        raise ValueError(
            f"{owner}: {name} must have at least one step [N, T, ...], got "
            f"{describe(x)}"
        )


def check_lengths(owner: str, lengths: Any, x: Any, name: str = "lengths") -> None:
    """Raise unless there is one length from 1 to T for each example of `x`, `[N, T]`.

    Values are checked where they are known; otherwise that is left to `fit`.
    """
    if lengths is None:
        return
    check_integers(owner, name, lengths)
    n = x.shape[0]
    if lengths.shape != (n,):
        raise ValueError(
            f"{owner}: {name} must be one number for each of the {n} examples, "
            f"[{n}], got {describe(lengths)} for {describe(x)}"
        )
    checks.values(functools.partial(_check_range, owner, name, x.shape[1]), lengths)


def _check_range(owner: str, name: str, steps: int, lengths: Any) -> None:
    lengths = np.asarray(lengths)
    wrong = np.flatnonzero((lengths < 1) | (lengths > steps))
    if wrong.size:
        row = int(wrong[0])
        raise ValueError(
            f"{owner}: {name} must be from 1 to {steps}, the padded length, got "
            f"{int(lengths[row])} for example {row}"
        )


def within(lengths: jax.Array, steps: int) -> jax.Array:
    """Which steps are real, `[N, T]`."""
    lengths = jnp.asarray(lengths, jnp.int32)
    return jnp.arange(steps, dtype=jnp.int32)[None] < lengths[:, None]


def real(x: Any, lengths: Any) -> jax.Array | None:
    """Which steps of `x` are real, `[N, T, 1, ...]`, as many axes as `x`; or None."""
    if lengths is None:
        return None
    steps = within(lengths, x.shape[1])
    return steps.reshape(steps.shape + (1,) * (x.ndim - 2))


def blank(x: Any, lengths: Any) -> Any:
    """`x`, `[N, T, ...]`, with zeros past each example's end, whatever was there."""
    where = real(x, lengths)
    return x if where is None else jnp.where(where, x, jnp.zeros((), x.dtype))
