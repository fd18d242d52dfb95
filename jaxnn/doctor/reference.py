# SPDX-License-Identifier: Apache-2.0
"""How well the inputs predict the targets, by a method that needs no training.

Kernel ridge regression with a Gaussian and a linear kernel, with each example predicted
from all others: c = (K + λI)⁻¹ y, and y_i minus its prediction from the others is
c_i / (K + λI)⁻¹_ii, in closed form.  A network that does worse on its own training
examples underfits; labels that the neighbors contradict are noisy.

Reference: Rasmussen and Williams, Gaussian Processes for Machine Learning, 2006, 5.4.
"""

from typing import NamedTuple

import numpy as np

from jaxnn.doctor.quality import quality

#: Rows to use: more change the result little and take cubically longer.
ROWS = 400
#: With fewer rows nothing can be predicted.
FEWEST = 8
#: Ridge strengths to choose from.
RIDGES = np.logspace(-4, 2, 7)
#: Where classes overlap, the other examples are less certain about the ones they get
#: wrong; where labels are noisy, they are as certain as ever. This is their lead where
#: they are wrong, relative to their lead where they are right (noise gave 0.75 to 1.06,
#: overlapping classes up to 0.65).
AS_SURE = 0.72


class Reference(NamedTuple):
    """How well the targets of examples can be predicted from all other examples."""

    quality: float  # as defined in `quality.quality`
    contradicted: (
        float  # the fraction of examples whose label the others clearly contradict
    )


def reference(x: np.ndarray, y: np.ndarray, task: str) -> Reference | None:
    """Predict each row's target from all other rows.

    Args:
        x: features `[N, ...]`.
        y: labels `[N]`, 0 or more, or numbers `[N, ...]`.
        task: `classes`, `binary` or `numbers`.

    Returns:
        The reference, or None if there is nothing to predict from.
    """
    if len(x) < FEWEST:
        return None
    z = _standardized(x[:ROWS])
    targets = _as_columns(y[: len(z)], task)
    if not z.shape[1] or not targets.std(0).any():
        return None
    left_out = _leave_one_out(_kernel(z), targets)
    if task == "numbers":
        found = quality(task, left_out, targets)
        return None if found is None else Reference(found, 0.0)
    if task == "binary" and targets.shape[1] == 1:
        left_out = np.concatenate([1 - left_out, left_out], 1)
        targets = np.concatenate([1 - targets, targets], 1)
    elif task == "binary":
        found = quality(task, (left_out > 0.5).astype(int), targets.astype(int))
        return None if found is None else Reference(found, 0.0)
    true, said = targets.argmax(1), left_out.argmax(1)
    found = quality("classes", said, true)
    return None if found is None else Reference(found, _contradicted(left_out, true))


def _contradicted(scores: np.ndarray, true: np.ndarray) -> float:
    """The fraction of labels that the others contradict, if they are certain of it."""
    second, first = np.sort(scores, 1)[:, -2:].T
    wrong, lead = scores.argmax(1) != true, first - second
    if not wrong.any() or wrong.all():
        return 0.0
    sure = np.median(lead[wrong]) > AS_SURE * np.median(lead[~wrong])
    return float(wrong.mean()) if sure else 0.0


def _as_columns(y: np.ndarray, task: str) -> np.ndarray:
    if task == "classes":
        return np.eye(int(y.max()) + 1)[y.astype(int)]
    return y.reshape(len(y), -1).astype(np.float64)


def _standardized(x: np.ndarray) -> np.ndarray:
    """Columns with mean 0 and standard deviation 1; constant ones are left out."""
    x = x.reshape(len(x), -1).astype(np.float64)
    spread = x.std(0)
    kept = spread > 1e-9 * (1 + np.abs(x).max(0))
    return np.clip((x[:, kept] - x[:, kept].mean(0)) / spread[kept], -5, 5)


def _kernel(z: np.ndarray) -> np.ndarray:
    products = z @ z.T
    norms = np.diag(products)
    distances = np.maximum(norms[:, None] + norms - 2 * products, 0)
    near = np.median(distances) or 1.0
    # Half the median distance is flexible enough for rings and waves.
    return np.exp(-4 * distances / near) + np.exp(-distances / near) + products / near


def _leave_one_out(kernel: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Each row of y predicted from the others, with the best ridge strength."""
    mean, best, error = y.mean(0), y, np.inf
    for ridge in RIDGES:  # (one eigh for all took 6 times as long with XLA's threads)
        inverse = np.linalg.inv(kernel + ridge * np.eye(len(y)))
        residual = inverse @ (y - mean) / np.diag(inverse)[:, None]
        if (residual**2).sum() < error:
            best, error = y - residual, (residual**2).sum()
    return best
