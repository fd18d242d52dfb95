# SPDX-License-Identifier: Apache-2.0
"""Augmentations in sequence, with adjacent geometric ones combined into one."""

import dataclasses
import itertools
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import jax

from jaxnn.data.augment.base import Augmentation, Range, check_key
from jaxnn.data.augment.geometric import Geometric, grid, sample
from jaxnn.inputs.arrays import to_jax

Keyed = tuple[jax.Array, Augmentation]


@dataclass(frozen=True, repr=False, init=False)
class chain(Augmentation):
    """Several augmentations in sequence.

    Adjacent geometric steps (shift, crop, rotate, scale, shear, elastic) with the same
    `fill` are combined into one map, and the images are sampled only once: this is
    sharper and faster than sampling for each, and what one step moves out of the image
    another can bring back. `elastic` costs least as the last of them.

    Args:
        steps: augmentations; if any of them mixes (`mixup`, `cutmix`), so does the
            chain.
        range: the range of the chain's images, see `Augmentation`; the steps use it
            too.

    >>> import jax, jax.numpy as jnp
    >>> from jaxnn.data.augment import brightness, rotate, shift
    >>> both = chain(rotate(15), shift(2), brightness(0.1), range=(0, 1))
    >>> both(jax.random.key(0), jnp.ones((8, 28, 28, 1))).shape
    (8, 28, 28, 1)
    >>> both
    chain(rotate(15), shift(2), brightness(0.1), range=(0, 1))
    """

    steps: tuple[Augmentation, ...]

    def __init__(self, *steps: Augmentation, range: Range | None = None) -> None:
        object.__setattr__(self, "range", range)
        object.__setattr__(self, "steps", steps)
        self.__post_init__()
        for step in steps:
            if not isinstance(step, Augmentation):
                raise TypeError(
                    f"{self.name}: steps must be augmentations such as "
                    f"augment.rotate(15), got {step!r:.60}"
                )
        flat = _flat(steps, self.range)
        object.__setattr__(self, "steps", tuple(map(self._in_range, flat)))

    def _in_range(self, step: Augmentation) -> Augmentation:
        """The step with the chain's range, to which its amounts refer."""
        if self.range is None or step.range == self.range:
            return step
        if step.range is not None:
            raise ValueError(
                f"{self.name}: range must be that of all steps, got {self.range} for "
                f"the chain and {step!r:.60}; give it to the chain only"
            )
        return dataclasses.replace(step, range=self.range)

    @property
    def mixes(self) -> bool:  # type: ignore[override]
        """Whether one of the steps mixes examples."""
        return any(step.mixes for step in self.steps)

    def __call__(  # type: ignore[override]
        self, key: jax.Array, images: jax.Array, targets: Any = None
    ) -> Any:
        """The changed images; with the targets, if a step mixes examples.

        Args:
            key: a random key.
            images: `[N, H, W, C]`, floats; or integers, if the chain has a `range`.
            targets: as for `mixup`, if a step mixes; otherwise none.

        Returns:
            Images of the same shape and dtype, or `(images, targets)` if a step mixes.
        """
        check_key(self.name, key)
        if self.mixes is (targets is None):
            wants = "(key, images, targets)" if self.mixes else "(key, images)"
            raise TypeError(f"{self.name}: this chain is called with {wants}")
        images = to_jax(f"{self.name}: images", images)
        dtype, images = images.dtype, self.widened(images)
        for group in self.groups(key):
            images, targets = _apply(group, images, targets)
        images = self.narrowed(images, dtype)
        return (images, targets) if self.mixes else images

    def groups(self, key: jax.Array) -> list[list[Keyed]]:
        """The steps with their keys, grouped by what is combined into one map."""
        keyed = [(jax.random.fold_in(key, i), s) for i, s in enumerate(self.steps)]
        groups = itertools.groupby(enumerate(keyed), lambda pair: _kind(*pair))
        return [[item for _, item in group] for _, group in groups]

    def __repr__(self) -> str:
        if self.range is None:
            return f"chain({', '.join(map(repr, self.steps))})"
        words = [repr(dataclasses.replace(step, range=None)) for step in self.steps]
        return f"chain({', '.join([*words, f'range={self.range!r}'])})"


def _flat(steps: Iterable[Augmentation], range: Range | None) -> Iterable[Augmentation]:
    """The steps, with nested chains of no range or the same range flattened."""
    for step in steps:
        if isinstance(step, chain) and step.range in (None, range):
            yield from step.steps
        else:
            yield step


def _kind(place: int, keyed: Keyed) -> Any:
    """A group key, equal for adjacent steps that are combined."""
    step = keyed[1]
    return ("map", step.fill, step.range) if isinstance(step, Geometric) else place


def _apply(group: list[Keyed], images: jax.Array, targets: Any) -> tuple[Any, Any]:
    key, step = group[0]
    if isinstance(step, Geometric):
        return _sampled_once(group, images), targets
    if step.mixes:
        return step(key, images, targets)  # type: ignore[call-arg]
    return step(key, images), targets


def _sampled_once(group: list[Keyed], images: jax.Array) -> jax.Array:
    """Several maps as one: each map's origins are the points of the one before it."""
    points, last = grid(images), len(group) - 1
    for place, (key, step) in reversed(list(enumerate(group))):
        points = step.origins(key, points, place == last)  # type: ignore[attr-defined]
    step = group[0][1]
    sampled = sample(images, points, step.fill)  # type: ignore[attr-defined]
    return step.narrowed(sampled, images.dtype)
