# SPDX-License-Identifier: Apache-2.0
"""What pictures of classifiers share: scores, labels and names of classes."""

from collections.abc import Sized
from typing import Any

import jax
import numpy as np

from jaxnn.core import Layer, as_layer
from jaxnn.messages.phrases import describe
from jaxnn.train.batch import rows_of
from jaxnn.train.checks import check_network
from jaxnn.train.predict import BATCH, predict
from jaxnn.train.state import variables


def is_run(given: Any) -> bool:
    """Whether `(net, state, data)` was given, instead of numbers."""
    if not isinstance(given, tuple) or len(given) != 3:
        return False
    return isinstance(given[0], Layer) or callable(given[0])


def scores(
    owner: str, net: Layer, state: Any, inputs: Any, *, batch_size: int = BATCH
) -> tuple[np.ndarray, str | None]:
    """The outputs of a classifier, and what they are.

    Args:
        owner: the function that was called, for messages.
        net: a classifier, whose outputs are `[N, K]`, or for two classes `[N, 1]` or
            `[N]`.
        state: a `TrainState`, or a pair `(params, state)`.
        inputs: arrays `[N, ...]`.
        batch_size: examples at a time.

    Returns:
        Outputs `[N, K]` or `[N, 1]` in float64; and `softmax`, `sigmoid`, or anything
        else for logits.
    """
    net = as_layer(net, owner)
    kind = check_network(owner, net, *variables(state, owner), rows_of(inputs, 1)).kind
    outputs = predict(net, state, inputs, batch_size=batch_size)
    if not hasattr(outputs, "shape") or outputs.ndim > 2 or outputs.ndim == 0:
        raise ValueError(
            f"{owner}: the network must give scores of classes, [N, K], or one of two, "
            f"[N, 1], got {describe(outputs):.100}"
        )
    outputs = np.asarray(outputs, np.float64)
    return outputs.reshape(len(outputs), -1), kind


def probabilities(outputs: np.ndarray, kind: str | None) -> np.ndarray:
    """The probability of each class, `[N, K]`, from what `scores` gives."""
    if outputs.shape[1] == 1:
        second = outputs if kind == "sigmoid" else 1 / (1 + np.exp(-outputs))
        return np.concatenate([1 - second, second], axis=1)
    if kind == "softmax":
        return outputs
    if kind == "sigmoid":
        return outputs / outputs.sum(1, keepdims=True)
    return np.asarray(jax.nn.softmax(outputs))


def labels(owner: str, targets: Any, classes: int) -> np.ndarray:
    """The class of each example, from labels `[N]` or `[N, 1]`, or rows `[N, K]`."""
    targets = np.asarray(targets)
    if targets.ndim == 2 and targets.shape[1] == classes:
        targets = targets.argmax(1)
    found = targets.reshape(len(targets), -1)[:, 0]
    known = targets.size == len(targets) and np.isin(found, range(classes)).all()
    if not known:
        raise ValueError(
            f"{owner}: targets must be classes from 0 to {classes - 1}, one an "
            f"example, or one-hot vectors [N, {classes}], got {describe(targets)} from "
            f"{targets.min()} to {targets.max()}"
        )
    return found.astype(int)


def named(owner: str, what: str, names: Any, count: int) -> list[str]:
    """Names as a list; raise unless there is one for each."""
    if not isinstance(names, Sized) or isinstance(names, str) or len(names) != count:
        raise ValueError(
            f"{owner}: {what} must be {count} names, one for each, got {names!r:.80}"
        )
    return [str(name) for name in names]  # type: ignore[attr-defined]
