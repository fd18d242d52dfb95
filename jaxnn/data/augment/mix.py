# SPDX-License-Identifier: Apache-2.0
"""Mixing two examples: images and targets in the same proportions."""

import math
from dataclasses import dataclass
from typing import Any, ClassVar

import jax
import jax.numpy as jnp

from jaxnn.data.augment.base import Augmentation, check_key, each, number, whole
from jaxnn.data.augment.cover import square
from jaxnn.inputs.arrays import to_jax


@dataclass(frozen=True, repr=False)
class Mixing(Augmentation):
    """Base class that mixes each example with another one of the batch.

    The share λ that is kept is drawn from a Beta(α, α) distribution.

    Args:
        alpha: α of the Beta distribution, above 0.
        classes: the number of classes, if the targets are integer labels.
    """

    alpha: float = 1.0
    classes: int | None = None

    mixes: ClassVar[bool] = True

    def __post_init__(self) -> None:
        super().__post_init__()
        number(self.name, "alpha", self.alpha)
        if self.alpha == 0:
            raise ValueError(f"{self.name}: alpha must be above 0, got {self.alpha!r}")
        if self.classes is not None:
            whole(self.name, "classes", self.classes, low=1)

    def __call__(  # type: ignore[override]
        self, key: jax.Array, images: jax.Array, targets: jax.Array
    ) -> tuple[jax.Array, jax.Array]:
        """The mixed images, and their targets in the same proportions.

        Args:
            key: a random key.
            images: `[N, H, W, C]`.
            targets: class probabilities, float `[N, K]`; or integer labels `[N]`, if
                `classes` is given. `mixup` also takes floats `[N, ...]` with more axes,
                such as masks.

        Returns:
            `(images, targets)`, with the targets as probabilities `[N, K]`. A metric
            that takes one-hot rows treats the class with the larger share as the true
            one.
        """
        check_key(self.name, key)
        images = to_jax(f"{self.name}: images", images)
        targets = to_jax(f"{self.name}: targets", targets)
        wide, targets = self.widened(images), self.soft(targets, len(images))
        partner_key, key = jax.random.split(key)
        partners = jax.random.permutation(partner_key, len(images))
        mixed, kept = self.blend(key, wide, wide[partners])
        kept = kept.reshape(-1, *[1] * (targets.ndim - 1)).astype(targets.dtype)
        targets = kept * targets + (1 - kept) * targets[partners]
        return self.narrowed(mixed, images.dtype), targets

    def blend(
        self, key: jax.Array, images: jax.Array, others: jax.Array
    ) -> tuple[jax.Array, jax.Array]:
        """The mixed images, and the share of the first, float32 `[N]`."""
        raise NotImplementedError

    def draw(self, key: jax.Array, n: int) -> jax.Array:
        """The shares to keep, float32 `[n]`."""
        return jax.random.beta(key, self.alpha, self.alpha, (n,))

    def soft(self, targets: Any, n: int) -> jax.Array:
        """Targets as probabilities."""
        targets = jnp.asarray(targets)
        floats = jnp.issubdtype(targets.dtype, jnp.floating)
        if floats and targets.ndim >= 2 and len(targets) == n:
            return targets
        if not jnp.issubdtype(targets.dtype, jnp.integer) or targets.shape != (n,):
            raise ValueError(
                f"{self.name}: targets must be integer labels [{n}] or probabilities "
                f"[{n}, K] in floats, got {targets.dtype}{list(targets.shape)}"
            )
        if self.classes is None:
            raise ValueError(
                f"{self.name}: integer labels are mixed as probabilities: say how many "
                f"classes there are, as in {type(self).__name__}(classes=10)"
            )
        return jax.nn.one_hot(targets, self.classes, dtype=jnp.float32)


@dataclass(frozen=True, repr=False)
class mixup(Mixing):
    """Mixup: the weighted mean λ x + (1 − λ) x′ of two images, and of their targets.

    Args:
        alpha: α of the Beta distribution of λ, above 0; the smaller it is, the closer
            the result to one of the two images.
        classes: the number of classes, if the targets are integer labels.
        range: see `Augmentation`.

    Reference: Zhang et al., mixup: Beyond Empirical Risk Minimization, 2017.

    >>> import jax, jax.numpy as jnp
    >>> images, labels = jnp.ones((8, 28, 28, 1)), jnp.arange(8)
    >>> images, targets = mixup(0.2, classes=10)(jax.random.key(0), images, labels)
    >>> images.shape, targets.shape
    ((8, 28, 28, 1), (8, 10))
    """

    alpha: float = 0.2

    def blend(self, key, images, others):
        kept = self.draw(key, len(images))
        share = each(kept.astype(images.dtype))
        return share * images + (1 - share) * others, kept


@dataclass(frozen=True, repr=False)
class cutmix(Mixing):
    """CutMix: pastes a rectangle of one image, 1 − λ of its area, into another.

    The rectangle has the image's proportions, and its center is any pixel; λ is then
    the share that is actually kept.

    Args:
        alpha: α of the Beta distribution of λ, above 0.
        classes: the number of classes, if the targets are integer labels.
        range: see `Augmentation`.

    Reference: Yun et al., CutMix, 2019.

    >>> import jax, jax.numpy as jnp
    >>> images, labels = jnp.ones((8, 28, 28, 1)), jnp.arange(8)
    >>> images, targets = cutmix(classes=10)(jax.random.key(0), images, labels)
    >>> images.shape, targets.shape
    ((8, 28, 28, 1), (8, 10))
    """

    alpha: float = 1.0

    def soft(self, targets, n):
        targets = super().soft(targets, n)
        if targets.ndim > 2:
            raise ValueError(
                f"{self.name}: targets must be integer labels [{n}] or probabilities "
                f"[{n}, K], got {targets.dtype}{list(targets.shape)}: the rectangle "
                "would have to be cut out of masks too; mix these with augment.mixup"
            )
        return targets

    def blend(self, key, images, others):
        share_key, place_key = jax.random.split(key)
        side = jnp.sqrt(1 - self.draw(share_key, len(images)))
        sides = jnp.stack([side * length for length in images.shape[1:3]], 1)
        taken = square(place_key, images.shape, jnp.round(sides).astype(jnp.int32))
        area = math.prod(images.shape[1:3])
        kept = 1 - taken.sum((1, 2, 3)).astype(jnp.float32) / area
        return jnp.where(taken, others, images), kept
