# SPDX-License-Identifier: Apache-2.0
"""Writes the golden files of format version 1; run once, when that format was new.

The files stay as they are, so that later versions are known to read them:
`python tests/golden/v1.py` would write them with today's code.
"""

from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

import jaxnn.io

FOLDER = Path(__file__).parent
SPEC = "Sequential(Dense(3), BatchNorm())"
FLOATS = "float16 bfloat16 float32 float64 float8_e4m3fn float8_e5m2"
RARE = "int4 uint4 float8_e4m3b11fnuz complex64 complex128"
INTEGERS = "uint8 uint16 uint32 uint64 int8 int16 int32 int64"


class TrainState(NamedTuple):
    """The shape of a training checkpoint."""

    params: Any
    state: Any
    opt_state: Any
    step: Any
    key: Any


class AdamState(NamedTuple):
    """As optax.ScaleByAdamState has it."""

    count: Any
    mu: Any
    nu: Any


class EmptyState(NamedTuple):
    """As optax.EmptyState has it."""


def train_state() -> TrainState:
    """A checkpoint of known values."""
    params = {
        "dense_1": {
            "w": jnp.array([[0.5, -1.25, 3.0], [1e-3, 2.0, -0.1]], jnp.bfloat16),
            "b": jnp.array([0.1, 0.2, 0.3], jnp.float32),
        },
        "relu_1": {},
    }
    mu = jax.tree.map(lambda x: 2 * x, params)
    nu = jax.tree.map(lambda x: 4 * x, params)
    return TrainState(
        params=params,
        state={"batch_norm_1": {"mean": jnp.array([1.5, -2.5, 1e-30], jnp.float32)}},
        opt_state=(AdamState(jnp.array(7, jnp.int32), mu, nu), EmptyState(), None),
        step=jnp.array(7, jnp.int32),
        key=jax.random.wrap_key_data(jnp.array([3, 4294967295], jnp.uint32)),
    )


def dtypes() -> dict[str, np.ndarray]:
    """One small array of each dtype that a file can hold."""
    names = f"{FLOATS} {RARE} {INTEGERS}".split()
    arrays = {name: np.arange(6).reshape(2, 3).astype(name) for name in names}
    return {**arrays, "bool": np.array([[True], [False]]), "empty": np.zeros((0, 3))}


if __name__ == "__main__":
    jaxnn.io.save(FOLDER / "v1_train_state.safetensors", train_state(), spec=SPEC)
    jaxnn.io.save(FOLDER / "v1_dtypes.safetensors", dtypes())
