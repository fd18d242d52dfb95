# SPDX-License-Identifier: Apache-2.0
"""Random keys: one per run, and one derived from it for every name."""

import zlib
from typing import Any

import jax
import jax.numpy as jnp

from jaxnn.messages.phrases import describe

Key = jax.Array


def fold_in(key: Key, name: str) -> Key:
    """A key for `name`, the same in every process; new layers change no other's key."""
    return jax.random.fold_in(key, zlib.crc32(name.encode()))


def check_key(key: Any, owner: str) -> None:
    """Raise unless `key` is a single new-style random key."""
    dtype, shape = getattr(key, "dtype", None), getattr(key, "shape", ())
    if dtype is None or not jnp.issubdtype(dtype, jax.dtypes.prng_key):
        hint = "there is no default seed"
        if str(dtype) == "uint32":
            hint = "this old-style key becomes one by jax.random.wrap_key_data(key)"
        raise TypeError(
            f"{owner}: key must be a random key made by jax.random.key(seed), "
            f"got {describe(key)}; {hint}"
        )
    if shape != ():
        raise ValueError(
            f"{owner}: key must be one random key, got an array of them of shape "
            f"{shape}; pass key[0], or use jax.vmap over them"
        )


def needed_key(owner: str, key: Key | None) -> Key:
    """The key of a random layer in training, or an error that says how to pass one."""
    if key is None:
        raise TypeError(
            f"{owner}: training needs a random key and none was given; "
            "pass net.apply(..., key=jax.random.key(seed), train=True)"
        )
    check_key(key, owner)
    return key
