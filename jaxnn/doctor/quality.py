# SPDX-License-Identifier: Apache-2.0
"""The quality of outputs as one number for every task: 1 is perfect, 0 is guessing."""

from typing import Any

import numpy as np

from jaxnn.losses import contract_of


def task_of(loss: Any, outputs: Any, targets: Any) -> str | None:
    """The task: `classes`, `binary`, `numbers`, or None if unknown."""
    if not all(hasattr(a, "shape") for a in (outputs, targets)):
        return None
    contract = contract_of(loss) if loss is not None else None
    if contract is not None and contract.outputs in ("distribution", "embeddings"):
        return None  # the outputs are not predictions of the targets
    targets = np.asarray(targets)
    integer = np.issubdtype(targets.dtype, np.integer)
    if integer and targets.ndim == len(outputs.shape) - 1:
        return "classes"
    if targets.shape[1:] != tuple(outputs.shape[1:]):
        return None
    if is_one_hot(targets):
        return "classes"
    binary = contract is not None and contract.targets in ("binary", "signs")
    if binary or np.isin(targets, (0, 1)).all():
        return "binary"
    return "classes" if contract and contract.targets == "classes" else "numbers"


def is_one_hot(targets: np.ndarray) -> bool:
    """Whether all rows are 0 except for a single 1."""
    if targets.ndim < 2 or targets.shape[-1] < 2:
        return False
    return bool(np.isin(targets, (0, 1)).all() and (targets.sum(-1) == 1).all())


def labels(task: str | None, targets: np.ndarray) -> np.ndarray:
    """The class of each example (or position), an int; numbers stay as they are."""
    if task == "classes" and not np.issubdtype(targets.dtype, np.integer):
        return targets.argmax(-1)
    return (targets > 0.5).astype(int) if task == "binary" else targets


def decided(task: str | None, outputs: np.ndarray, threshold: float) -> np.ndarray:
    """The predicted class, for binary tasks 1 above the threshold; numbers stay."""
    if task == "classes":
        return outputs.argmax(-1)
    return (outputs > threshold).astype(int) if task == "binary" else outputs


def accuracy(said: np.ndarray, true: np.ndarray) -> float:
    """The fraction of correct labels; labels below 0 (padding) are left out."""
    counted = true >= 0
    return float((said == true)[counted].mean()) if counted.any() else 0.0


def quality(task: str | None, said: np.ndarray, true: np.ndarray) -> float | None:
    """1 if perfect, 0 for the best constant answer, below 0 if worse.

    For labels it is (accuracy - m) / (1 - m), with m the fraction of the most common
    one, or the accuracy if all labels are the same; for numbers the fraction of the
    variance that is explained, R². None if no label counts.
    """
    if task is None or not np.isfinite(said).all():
        return None
    if task == "numbers":
        return explained(said, true)
    if not (true >= 0).any():
        return None
    guess, right = commonest(task, true), accuracy(said, true)
    return right if guess == 1 else (right - guess) / (1 - guess)


def told(task: str | None, quality: float, true: np.ndarray) -> float:
    """A quality in familiar terms: the accuracy it was computed from, or R²."""
    guess = 0.0 if task == "numbers" else commonest(str(task), true)
    return quality if guess == 1 else guess + quality * (1 - guess)


def commonest(task: str, true: np.ndarray) -> float:
    """The accuracy of always predicting the most common label."""
    if task == "binary":
        share = true.mean(0)
        return float(np.maximum(share, 1 - share).mean())
    counts = np.bincount(true[true >= 0].ravel().astype(int))
    return float(counts.max() / counts.sum()) if counts.size else 1.0


def explained(said: np.ndarray, true: np.ndarray) -> float:
    """R², 1 - Σ (said - true)² / Σ (true - mean)²."""
    true, said = true.astype(np.float64), said.astype(np.float64)
    spread = ((true - true.mean(0)) ** 2).sum()
    return float(1 - ((said - true) ** 2).sum() / spread) if spread else 1.0
