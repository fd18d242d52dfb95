# SPDX-License-Identifier: Apache-2.0
"""Yardsticks of a generative model: a set of its samples against a set of real ones.

These are functions of whole sets, NumPy or JAX arrays in and Python floats out. They
are not streaming metrics: `fit(metrics=...)` does not take them. Call them after
sampling, or in a callback. They compute on the host in float64.

The first and the last compare features, the outputs of a late layer of some classifier
(`nn.Tap` reads them); published numbers use Inception-v3, and only numbers from the
same features and the same numbers of samples compare with each other.
"""

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np

from jaxnn import checks
from jaxnn.inputs.arrays import native
from jaxnn.messages.phrases import describe

#: Rows whose distances to a whole set are in memory at once.
BLOCK = 1024
#: A squared distance below this share of the squared norms is rounding: it is 0.
ROUNDING = 1e-13
#: How far from 1 the sum of a row of probabilities may be; bfloat16 has three digits.
SUM_TO_ONE = 0.02


def frechet_distance(real: Any, generated: Any) -> float:
    """The Fréchet distance of two sets, each taken as a Gaussian; of Inception, FID.

        d² = ‖μ − ν‖² + tr(S + R − 2 (S R)^½)

    with the means μ, ν and the covariances S, R (over N − 1) of the sets. The trace is
    computed as ‖S^½ − Q R^½‖², with the rotation Q that makes it smallest: it has no
    differences of large numbers, and it is never negative, even if there are fewer
    examples than features and both covariances are singular.

    Args:
        real: features `[N, D]`, N at least 2.
        generated: features `[M, D]`, M at least 2; M need not be N.

    Returns:
        The squared distance d², 0 or more, in squared units of the features; exactly 0
        for a set and itself; NaN if a feature is not finite. It is biased upwards, the
        more so the fewer the examples.

    Raises:
        ValueError, TypeError: a set is not `[N, D]` with two examples or more, or the
            two have different numbers of features.

    >>> import numpy as np
    >>> real = np.array([[0.0, 0.0], [2.0, 0.0], [0.0, 2.0], [2.0, 2.0]])
    >>> frechet_distance(real, real), frechet_distance(real, real + 3)
    (0.0, 18.0)

    Reference: Heusel et al., GANs Trained by a Two Time-Scale Update Rule Converge to a
    Local Nash Equilibrium, 2017.
    """
    a, b = _feature_sets("frechet_distance", real, generated, least=2)
    if not (np.isfinite(a).all() and np.isfinite(b).all()):
        return float("nan")
    between = ((a.mean(0) - b.mean(0)) ** 2).sum()
    s, r = _root_covariance(a), _root_covariance(b)
    if np.array_equal(s, r):
        return float(between)
    u, _, v = np.linalg.svd(s @ r)
    return float(between + ((s - u @ v @ r) ** 2).sum())


def inception_score(probabilities: Any) -> float:
    """exp(mean KL(p(y|x) ‖ p(y))): samples are clear, and of many classes.

    Args:
        probabilities: `[N, K]`, a classifier's probabilities of K classes for each
            generated sample, rows that sum to 1.

    Returns:
        The score, from 1 (every sample looks alike to the classifier) to K (it is sure
        of each, and every class is as frequent); NaN if a probability is NaN. Where a
        paper reports a mean over ten parts of the samples, call it on each part.

    Raises:
        ValueError, TypeError: the array is not `[N, K]`, or not probabilities.

    >>> import numpy as np
    >>> inception_score(np.eye(4))
    4.0
    >>> inception_score(np.full((4, 4), 0.25))
    1.0

    Reference: Salimans et al., Improved Techniques for Training GANs, 2016.
    """
    p = _rows("inception_score", "probabilities", probabilities, least=1)
    if np.isnan(p).any():
        return float("nan")
    total = p.sum(1)
    if (p < 0).any() or (np.abs(total - 1) > SUM_TO_ONE).any():
        worst = int(np.abs(total - 1).argmax())
        raise ValueError(
            "inception_score: probabilities must be 0 or more, with rows that sum to "
            f"1, got a smallest of {p.min():.3g} and a sum of {total[worst]:.3g} in "
            f"row {worst}; jax.nn.softmax(logits) makes probabilities"
        )
    p = p / total[:, None]
    ratio = np.divide(p, p.mean(0), out=np.ones_like(p), where=p > 0)  # 0 log 0 = 0
    return float(np.exp((p * np.log(ratio)).sum(1).mean()))


class PrecisionRecall(NamedTuple):
    """How good samples are, and how much of the data they cover.

    Attributes:
        precision: the share of generated samples that lie among the real ones, 0 to 1.
        recall: the share of real examples that lie among the generated ones, 0 to 1.
    """

    precision: float
    recall: float


def precision_recall(real: Any, generated: Any, *, k: int = 3) -> PrecisionRecall:
    """The shares of samples among the real ones, and of real ones among the samples.

    A point lies among a set if, for some member of it, it is no farther away than the
    k-th nearest of the other members. Distances are computed in blocks of rows: memory
    grows with the number of examples, not with its square.

    Args:
        real: features `[N, D]`, N above k.
        generated: features `[M, D]`, M above k.
        k: which neighbor gives the radius, 1 or more. The larger, the more lies inside.

    Returns:
        `PrecisionRecall(precision, recall)`, each from 0 to 1; NaN if a feature is not
        finite.

    Raises:
        ValueError, TypeError: a set is not `[N, D]` with more than k examples, or the
            two have different numbers of features, or k is not a positive int.

    >>> import numpy as np
    >>> real = np.arange(10.0)[:, None]
    >>> precision_recall(real, real[:5], k=1)  # half of the data is missing
    PrecisionRecall(precision=1.0, recall=0.6)

    Reference: Kynkäänniemi et al., Improved Precision and Recall Metric for Assessing
    Generative Models, 2019.
    """
    owner = "precision_recall"
    checks.positive_int(owner, "k", k)
    a, b = _feature_sets(owner, real, generated, least=k + 1)
    if not (np.isfinite(a).all() and np.isfinite(b).all()):
        return PrecisionRecall(float("nan"), float("nan"))
    a, b = a - a[0], b - a[0]  # near the origin, where distances round least
    return PrecisionRecall(_share_among(a, b, k), _share_among(b, a, k))


def _share_among(members: np.ndarray, points: np.ndarray, k: int) -> float:
    """The share of points in the ball of a member, up to its k-th neighbor."""
    # (the nearest member to a member is itself, at distance 0)
    radius = np.concatenate([_smallest(d, k) for d in _distances(members, members)])
    inside = [(d <= radius).any(1) for d in _distances(points, members)]
    return float(np.concatenate(inside).mean())


def _smallest(d: np.ndarray, k: int) -> np.ndarray:
    """The number at place k of each sorted row; a copy, which lets go of the block."""
    d.partition(k, axis=1)
    return d[:, k].copy()


def _distances(a: np.ndarray, b: np.ndarray) -> Iterator[np.ndarray]:
    """Squared distances from each row of a to all of b, block by block."""
    norms = (b**2).sum(1)
    for start in range(0, len(a), BLOCK):
        rows = a[start : start + BLOCK]
        sizes = (rows**2).sum(1)[:, None] + norms
        d = sizes - 2 * rows @ b.T
        d[d <= ROUNDING * sizes] = 0
        yield d


def _root_covariance(features: np.ndarray) -> np.ndarray:
    """The symmetric square root of the covariance, `[D, D]`."""
    centered = features - features.mean(0)
    covariance = centered.T @ centered / (len(features) - 1)
    values, vectors = np.linalg.eigh(covariance)
    noise = values.max() * len(values) * np.finfo(float).eps  # of a zero eigenvalue
    root = np.sqrt(np.where(values > noise, values, 0.0))
    return (vectors * root) @ vectors.T


def _feature_sets(owner: str, real: Any, generated: Any, least: int):
    """Both sets in float64, with the same number of features."""
    a = _rows(owner, "real", real, least)
    b = _rows(owner, "generated", generated, least)
    if a.shape[1] != b.shape[1]:
        raise ValueError(
            f"{owner}: generated must have the {a.shape[1]} features of real, got "
            f"{b.shape[1]}: {describe(generated)}"
        )
    return a, b


def _rows(owner: str, name: str, given: Any, least: int) -> np.ndarray:
    """An array `[N, D]` of at least some rows, in float64."""
    found = native(f"{owner}: {name}", given)
    if found.ndim != 2 or len(found) < least or not found.shape[1]:
        raise ValueError(
            f"{owner}: {name} must be [N, D] with N at least {least}, got "
            f"{describe(found)}; other features become rows by x.reshape(len(x), -1)"
        )
    return found.astype(np.float64)
