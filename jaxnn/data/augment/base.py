# SPDX-License-Identifier: Apache-2.0
"""The base class of augmentations, and checks of their arguments."""

import dataclasses
import math
import numbers
from dataclasses import dataclass
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np

from jaxnn.inputs.arrays import to_jax

Range = tuple[float, float]


@dataclass(frozen=True, repr=False)
class Augmentation:
    """A random change of images, called with a key and images.

    Args:
        range: the smallest and the largest value of an image, such as (0, 1). Results
            are clipped to it, and integer images, such as those in (0, 255), are
            computed in float32 and rounded. None: images are floats, and nothing is
            clipped.
    """

    range: Range | None = dataclasses.field(default=None, kw_only=True)

    #: Whether it also takes the targets and returns new ones.
    mixes: ClassVar[bool] = False

    def __post_init__(self) -> None:
        for field in dataclasses.fields(self):
            object.__setattr__(self, field.name, _plain(getattr(self, field.name)))
        if self.range is not None:
            object.__setattr__(self, "range", _checked_range(self.name, self.range))

    def __call__(self, key: jax.Array, images: jax.Array) -> jax.Array:
        """The images, each changed independently.

        Args:
            key: a random key.
            images: `[N, H, W, C]`, floats; or integers, if `range` is given.

        Returns:
            Images of the same shape and dtype.

        Raises:
            TypeError: for integer images without a `range`, or without a key.
            ValueError: for arrays that are not images.
        """
        check_key(self.name, key)
        images = to_jax(f"{self.name}: images", images)
        return self.narrowed(self.change(key, self.widened(images)), images.dtype)

    def change(self, key: jax.Array, images: jax.Array) -> jax.Array:
        """The changed images; they are floats of 32 bits or more."""
        raise NotImplementedError

    def widened(self, images: Any) -> jax.Array:
        """The images, checked, in at least float32."""
        images = to_jax(f"{self.name}: images", images)
        check_images(self.name, images, self.range)
        is_wide = jnp.issubdtype(images.dtype, jnp.floating) and (
            images.dtype.itemsize >= 4
        )
        return images if is_wide else images.astype(jnp.float32)

    def narrowed(self, images: jax.Array, dtype: Any) -> jax.Array:
        """The images clipped to the range, in their original dtype."""
        if self.range is not None:
            images = jnp.clip(images, *self.range)
        if not jnp.issubdtype(dtype, jnp.floating):
            images = jnp.round(images)
        return images.astype(dtype)

    @property
    def width(self) -> float:
        """The width of the range; 1 without a range."""
        return 1.0 if self.range is None else self.range[1] - self.range[0]

    @property
    def name(self) -> str:
        """The name in error messages."""
        return f"augment.{type(self).__name__}"

    def __repr__(self) -> str:
        fields = dataclasses.fields(self)
        own = [f for f in fields if not f.kw_only] + [f for f in fields if f.kw_only]
        words = []
        for place, field in enumerate(own):
            value = getattr(self, field.name)
            if place == 0:
                words.append(repr(value))
            elif value != field.default:
                words.append(f"{field.name}={value!r}")
        return f"{type(self).__name__}({', '.join(words)})"


def check_key(owner: str, key: Any) -> None:
    """Raise unless `key` is a single random key."""
    dtype = getattr(key, "dtype", None)
    if dtype is None or not jnp.issubdtype(dtype, jax.dtypes.prng_key) or key.ndim:
        raise TypeError(
            f"{owner}: key must be one random key made by jax.random.key(seed), got "
            f"{_show(key)}; the order is (key, images)"
        )


def check_images(owner: str, images: jax.Array, range: Range | None) -> None:
    """Raise unless the array holds images of a supported shape and dtype."""
    if images.ndim != 4:
        raise ValueError(
            f"{owner}: images must be [N, H, W, C], got {_show(images)}"
            f"{_image_hint(images)}"
        )
    if jnp.issubdtype(images.dtype, jnp.floating):
        return
    if not jnp.issubdtype(images.dtype, jnp.integer):
        raise TypeError(
            f"{owner}: images must be floats in [N, H, W, C], got {_show(images)}"
        )
    if range is None:
        raise TypeError(
            f"{owner}: images must be floats in [N, H, W, C], got {_show(images)}: "
            "divide by 255 first, or say what values they have by range=(0, 255)"
        )


def number(owner: str, name: str, value: Any, low: float = 0.0, high: float = math.inf):
    """Raise unless `value` is a finite number from `low` to `high`."""
    limits = f"from {low:g} to {high:g}" if high < math.inf else f"of at least {low:g}"
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TypeError(f"{owner}: {name} must be a number {limits}, got {value!r}")
    if not (low <= value <= high and math.isfinite(value)):
        raise ValueError(f"{owner}: {name} must be a number {limits}, got {value!r}")


def whole(owner: str, name: str, value: Any, low: int = 0) -> None:
    """Raise unless `value` is an int of at least `low`, Python's or NumPy's."""
    if isinstance(value, bool) or not isinstance(value, numbers.Integral):
        raise TypeError(
            f"{owner}: {name} must be an int of at least {low}, got {value!r}"
        )
    if int(value) < low:
        raise ValueError(
            f"{owner}: {name} must be an int of at least {low}, got {value!r}"
        )


def each(amounts: jax.Array) -> jax.Array:
    """One number per image, `[N]`, as `[N, 1, 1, 1]`."""
    return amounts.reshape(-1, 1, 1, 1)


def _checked_range(owner: str, given: Any) -> Range:
    rule = f"{owner}: range must be (least, largest) such as (0, 1), got {given!r}"
    if not isinstance(given, tuple | list) or len(given) != 2:
        raise TypeError(rule)
    given = tuple(map(_plain, given))
    if any(isinstance(v, bool) or not isinstance(v, int | float) for v in given):
        raise TypeError(rule)
    if not (math.isfinite(given[1] - given[0]) and given[0] < given[1]):
        raise ValueError(rule)
    return given


def _plain(value: Any) -> Any:
    """NumPy numbers as Python numbers, so that a record prints as code."""
    return value.item() if isinstance(value, np.generic) else value


def _image_hint(images: jax.Array) -> str:
    if images.ndim == 3:
        return "; add an axis for the channels by images[..., None]"
    return "; reshape flat pictures before training, and flatten in the network"


def _show(value: Any) -> str:
    if not hasattr(value, "dtype") or not hasattr(value, "shape"):
        return f"{value!r:.40}"
    return f"{value.dtype}[{','.join(map(str, value.shape))}]"
