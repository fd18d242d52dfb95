# SPDX-License-Identifier: Apache-2.0
"""The output shapes of functions, traced once and cached."""

import functools
from collections.abc import Callable, Hashable
from typing import Any

import jax
import jax.numpy as jnp


def traced_once(function: Callable[..., Any]) -> Callable[..., Any]:
    """Cache the results of a function of a spec and trees of shapes.

    Tracing a ResNet-50 takes half a second, and a second `fit` of the same network
    needs the same traces.

    >>> count = []
    >>> @traced_once
    ... def outputs(scale, x):
    ...     count.append(x.shape)
    ...     return x.shape[0] * scale
    >>> outputs(2, jax.numpy.ones(3)), outputs(2, jax.numpy.zeros(3)), count
    (6, 6, [(3,)])
    """

    @functools.lru_cache(maxsize=64)
    def remembered(spec, structure, leaves):
        return function(spec, *jax.tree.unflatten(structure, leaves))

    @functools.wraps(function)
    def call(spec: Hashable, *trees: Any) -> Any:
        leaves, structure = jax.tree.flatten(jax.tree.map(_shape, trees))
        return remembered(spec, structure, tuple(leaves))

    return call


def _shape(a: Any) -> jax.ShapeDtypeStruct:
    dtype = getattr(a, "dtype", None)  # (also for keys)
    dtype = (
        jax.dtypes.canonicalize_dtype(jnp.result_type(a)) if dtype is None else dtype
    )
    return jax.ShapeDtypeStruct(jnp.shape(a), dtype)
