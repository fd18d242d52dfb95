# SPDX-License-Identifier: Apache-2.0
"""Preparing arrays for training, on the host: splits, one-hot labels, scaling."""

from typing import Any, NamedTuple, NoReturn, TypeVar

import numpy as np
from numpy.typing import ArrayLike, DTypeLike

from jaxnn.data.checks import first, integer, map_tree, seed_of
from jaxnn.inputs.arrays import plain
from jaxnn.messages.arguments import answered
from jaxnn.messages.elsewhere_calls import SCALERS

Tree = TypeVar("Tree")


@answered
def split(
    data: Tree,
    fraction: float = 0.1,
    *,
    seed: int,
    stratify: bool | ArrayLike = False,
) -> tuple[Tree, Tree]:
    """Splits examples at random into a training set and a validation set.

    Of N examples, `round(fraction * N)` go to validation. Examples keep their order
    within each set. The same seed gives the same split on every machine.

    Args:
        data: arrays [N, ...] with a common first axis, in arbitrarily nested tuples,
            lists and dicts; for instance `(images, labels)`.
        fraction: share that goes to validation, between 0 and 1, exclusive.
        seed: a non-negative int, required; it alone determines the split.
        stratify: classes [N] that both sets hold in equal proportion, to within one
            example; True takes those in `data[1]` of `(inputs, labels)`.

    Returns:
        `(train, validation)`, each with NumPy arrays in the structure of `data`.

    Raises:
        TypeError: if `seed` is not an int, or `fraction` is not a number.
        ValueError: if lengths differ, one of the sets would be empty, or `fraction` is
            out of range.

    Example:
        >>> import numpy as np
        >>> from jaxnn.data import split
        >>> data = {"x": np.arange(10), "y": np.arange(10) ** 2}
        >>> train, validation = split(data, 0.3, seed=0)
        >>> train["x"], validation["x"], validation["y"]
        (array([0, 4, 5, 6, 7, 8, 9]), array([1, 2, 3]), array([1, 4, 9]))
    """
    data = map_tree(lambda path, leaf: plain(f"split: {path}", leaf), data)
    length = _common_length(data)
    total = _share(fraction, length)
    if stratify is False:
        classes = np.zeros(length, int)
    else:
        classes = strata("split", data, stratify, length)
    chosen = _choose(classes, total, seed_of("split", seed))
    return (
        map_tree(lambda _, leaf: leaf[~chosen], data),
        map_tree(lambda _, leaf: leaf[chosen], data),
    )


def _common_length(data: Any) -> int:
    """The length of the first axis, which must be common to all arrays of a tree."""
    shapes: dict[str, tuple[int, ...]] = {}
    map_tree(lambda path, leaf: shapes.update({path: np.shape(leaf)}), data)
    if not shapes:
        raise ValueError(f"split: data must hold at least one array, got {data!r}")
    first, *_ = shapes
    for path, shape in shapes.items():
        if not shape:
            raise ValueError(
                f"split: every leaf must be an array [N, ...], but {path} is a single "
                f"value; turn a list of numbers into an array with np.array"
            )
        if shape[0] != shapes[first][0]:
            raise ValueError(
                f"split: arrays must have the same length along axis 0; {first} has "
                f"{shapes[first][0]}, {path} has {shape[0]}"
            )
    return shapes[first][0]


def _share(fraction: float, length: int) -> int:
    """How many of `length` examples `fraction` selects; neither none nor all."""
    try:
        inside = 0 < fraction < 1
    except (TypeError, ValueError):  # text; an array of several numbers
        raise TypeError(f"split: fraction must be a number, got {fraction!r}") from None
    if not inside:
        raise ValueError(
            f"split: fraction must be between 0 and 1, neither included, "
            f"got {fraction!r}; it is the share that goes to validation"
        )
    total = round(float(fraction) * length)
    if not 0 < total < length:
        raise ValueError(
            f"split: fraction {fraction} of {length} examples leaves {total} for "
            f"validation and {length - total} for training; neither may be empty"
        )
    return total


def strata(
    owner: str, data: Any, stratify: bool | ArrayLike, length: int
) -> np.ndarray:
    """The classes [N] to stratify by, numbered from 0."""
    if stratify is True and not (isinstance(data, tuple | list) and len(data) == 2):
        raise ValueError(
            f"{owner}: stratify=True needs data as a pair (inputs, labels), got "
            f"{type(data).__name__}; pass the classes themselves as stratify="
        )
    labels = plain(f"{owner}: stratify", data[1] if stratify is True else stratify)
    if labels.shape != (length,):
        raise ValueError(
            f"{owner}: stratify must give one class per example, shape ({length},), "
            f"got shape {labels.shape}"
        )
    return np.unique(labels, return_inverse=True)[1]


def _choose(classes: np.ndarray, total: int, seed: int) -> np.ndarray:
    """A mask [N] of `total` random examples, a proportional share from each class."""
    sizes = np.bincount(classes)
    # NumPy guarantees the raw numbers of a bit generator across versions, but not what
    # `Generator.permutation` makes of them, so sort by the raw numbers.
    noise = np.random.PCG64(seed).random_raw(len(classes))
    by_class = np.lexsort((noise, classes))  # at random within each class
    rank = np.arange(len(classes)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    chosen = np.empty(len(classes), bool)
    chosen[by_class] = rank < np.repeat(_apportion(sizes, total), sizes)
    return chosen


def _apportion(sizes: np.ndarray, total: int) -> np.ndarray:
    """Integer shares of `total` in proportion to `sizes`, by largest remainders."""
    counts, remainders = np.divmod(sizes * total, sizes.sum())
    up = np.argsort(-remainders, kind="stable")[: total - counts.sum()]
    counts[up] += 1
    return counts


def one_hot(
    labels: ArrayLike, classes: int, dtype: DTypeLike = np.float32
) -> np.ndarray:
    """One-hot encodes class numbers, as vectors with a single 1.

    `y[..., c] = 1 if labels[...] == c else 0`

    Args:
        labels: integers [...] from 0 to `classes - 1`.
        classes: number of classes, at least 1.
        dtype: dtype of the result.

    Returns:
        An array [..., classes].

    Raises:
        TypeError: if labels are not integers, or `classes` is not an int.
        ValueError: if a label is out of range: JAX itself turns such a label into a row
            of zeros, which then trains without any warning.

    Example:
        >>> from jaxnn.data import one_hot
        >>> one_hot([2, 0], 3)
        array([[0., 0., 1.],
               [1., 0., 0.]], dtype=float32)
    """
    count = integer(classes)
    if count is None:
        raise TypeError(f"one_hot: classes must be a positive int, got {classes!r}")
    if count < 1:
        raise ValueError(f"one_hot: classes must be a positive int, got {count}")
    indices = _labels(labels, count)
    vectors = np.zeros((*indices.shape, count), dtype)
    np.put_along_axis(vectors, indices[..., np.newaxis], 1, axis=-1)
    return vectors


def _labels(labels: ArrayLike, classes: int) -> np.ndarray:
    """Labels as indices, all from 0 to `classes - 1`."""
    values = plain("one_hot: labels", labels)
    if values.size and values.dtype.kind not in "iu":
        fractional = values.dtype.kind == "f" and (values != np.floor(values))
        raise TypeError(
            f"one_hot: labels must be integers, got {values.dtype}: "
            f"{first(fractional, values, 'labels')}; if they are whole numbers, "
            f"convert them with np.asarray(labels).astype(int)"
        )
    bad = (values < 0) | (values >= classes)
    if np.any(bad):
        raise ValueError(
            f"one_hot: labels must be in 0 to {classes - 1} for {classes} classes, "
            f"got {first(bad, values, 'labels')}"
        )
    return values.astype(np.intp)


def from_one_hot(vectors: ArrayLike) -> np.ndarray:
    """Class numbers of one-hot vectors: the inverse of `one_hot`.

    Args:
        vectors: array [..., classes], each vector a single 1 and zeros.

    Returns:
        int32 [...].

    Raises:
        ValueError: if a vector is not one-hot; for probabilities or logits, take
            `argmax(-1)` instead.

    Example:
        >>> from jaxnn.data import from_one_hot
        >>> from_one_hot([[0, 0, 1], [1, 0, 0]])
        array([2, 0], dtype=int32)
    """
    values = plain("from_one_hot: vectors", vectors)
    if not values.ndim:
        raise ValueError(f"from_one_hot: vectors must be [..., classes], got {values}")
    bad = ((values == 1).sum(-1) != 1) | ((values != 0).sum(-1) != 1)
    if np.any(bad):
        raise ValueError(
            f"from_one_hot: a vector must hold a single 1 and zeros, got "
            f"{first(bad, values, 'vectors', axes=1)}; of scores take argmax(-1)"
        )
    return np.asarray(values == 1).argmax(-1).astype(np.int32)


class Standardizer(NamedTuple):
    """The mean and scale of each feature, and the transforms that they define.

    `z = (x - mean) / scale`

    Attributes:
        mean: float64, one per feature, in the units of the data.
        scale: float64, the standard deviation in the same units; 1 where a feature is
            constant, so that it becomes 0.
    """

    mean: np.ndarray
    scale: np.ndarray

    def __call__(self, x: ArrayLike) -> np.ndarray:
        """Data [..., *features] in units of standard deviations from the mean."""
        values, dtype = self._fits(x)
        return ((values - self.mean) / self.scale).astype(dtype)

    def inverse(self, z: ArrayLike) -> np.ndarray:
        """Standardized data [..., *features], e.g. predictions, in original units."""
        values, dtype = self._fits(z)
        return (values * self.scale + self.mean).astype(dtype)

    def __getattr__(self, name: str) -> NoReturn:
        answer = f"; {SCALERS[name]}" if name in SCALERS else ""
        raise AttributeError(f"Standardizer has no {name}{answer}", name=name, obj=self)

    def _fits(self, x: ArrayLike) -> tuple[np.ndarray, np.dtype]:
        values, dtype = _floats(x)
        pairs = zip(self.mean.shape[::-1], values.shape[::-1], strict=False)
        if values.ndim < self.mean.ndim or any(m not in (1, n) for m, n in pairs):
            raise ValueError(
                f"Standardizer: x must be [..., {', '.join(map(str, self.mean.shape))}]"
                f" like the training data, got shape {values.shape}"
            )
        return values, dtype


def _floats(x: ArrayLike) -> tuple[np.ndarray, np.dtype]:
    """Floats to compute with, and the dtype of results: float32 for integers."""
    values = plain("standardizer: data", x)
    if values.dtype.kind in "biu":
        # float32 has 24 bits: it resolves times in milliseconds only to two minutes.
        wide = np.float32 if values.dtype.itemsize < 4 else np.float64
        return values.astype(wide), np.dtype(np.float32)
    if values.dtype.kind != "f":
        raise TypeError(f"standardizer: data must be numbers, got {values.dtype}")
    return values, values.dtype


def standardizer(train: ArrayLike, axis: int | tuple[int, ...] = 0) -> Standardizer:
    """The mean and standard deviation of each feature of the training data.

    `mean = Σ x / N`, `scale = √(Σ (x - mean)² / N)`, both summed in float64.

    Args:
        train: finite numbers [N, ...].
        axis: the axes to average over, including the first: 0 for a statistic at each
            position, (0, 1, 2) for one per channel of images [N, H, W, C].

    Returns:
        A `Standardizer`: call it on data, and its `inverse` on the results.

    Raises:
        TypeError: if the data are not real numbers.
        ValueError: if there are no examples, one is NaN or infinite, or axis 0 is not
            averaged over.

    Example:
        >>> import numpy as np
        >>> from jaxnn.data import standardizer
        >>> scaled = standardizer(np.array([[1.0, 7.0], [3.0, 7.0]]))
        >>> scaled.mean, scaled([[2.0, 7.0], [5.0, 9.0]])
        (array([2., 7.]), array([[0., 0.],
               [3., 2.]]))
        >>> scaled.inverse([[3.0, 2.0]])
        array([[5., 9.]])
    """
    values, _ = _floats(train)
    axes = axis if isinstance(axis, tuple) else (axis,)
    if 0 not in axes:
        raise ValueError(f"standardizer: axis must include 0 (examples), got {axis!r}")
    if not values.size:
        raise ValueError(f"standardizer: train is empty, shape {np.shape(train)}")
    bad = ~np.isfinite(values)
    if np.any(bad):
        raise ValueError(
            f"standardizer: train must be finite, got {first(bad, values, 'train')}; "
            f"drop or fill in such values first"
        )
    low = values.min(axes, keepdims=True)[0].astype(np.float64)
    mean = values.mean(axes, np.float64, keepdims=True)[0]
    scale = values.std(axes, np.float64, keepdims=True)[0]
    # A constant's mean may have a rounding error, which its scale would amplify.
    constant = (values.max(axes, keepdims=True)[0] == low) | (scale == 0)
    return Standardizer(np.where(constant, low, mean), np.where(constant, 1.0, scale))


def standardize(
    train: ArrayLike, *others: ArrayLike, axis: int | tuple[int, ...] = 0
) -> tuple[np.ndarray, ...]:
    """Scales every feature to mean 0 and variance 1, as measured on `train` alone.

    `z = (x - mean(train)) / std(train)`

    Args:
        train: finite numbers [N, ...]; only these are measured.
        *others: arrays [M, ...] with the same features, such as the test data.
        axis: the axes to average over; see `standardizer`.

    Returns:
        A tuple of the arrays in the order given. Floats keep their type, integers
        become float32; a feature that is constant in `train` becomes 0 there.

    Raises:
        TypeError: if the data are not real numbers.
        ValueError: as in `standardizer`, or if the features of `others` differ.

    Example:
        >>> import numpy as np
        >>> from jaxnn.data import standardize
        >>> standardize(np.array([[1.0], [3.0]]), np.array([[5.0]]))
        (array([[-1.],
               [ 1.]]), array([[3.]]))
    """
    scaled = standardizer(train, axis)
    return scaled(train), *(scaled(other) for other in others)
