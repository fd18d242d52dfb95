# SPDX-License-Identifier: Apache-2.0
"""Small data sets, and runs on them for the doctor to look at."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import numpy as np

import jaxnn as nn

Pair = tuple[np.ndarray, np.ndarray]


class Run(NamedTuple):
    """A run that ended, well or not: what `nn.diagnose` is given."""

    net: nn.Layer
    state: Any
    history: Any
    train: Pair
    validation: Pair | None
    loss: Callable
    optimizer: Any

    def diagnose(self, **options: Any) -> Any:
        """The doctor's report."""
        given = {"loss": self.loss, "optimizer": self.optimizer, **options}
        net, state, history, train, validation = self[:5]
        return nn.diagnose(net, state, history, train, validation, **given)


def fitted(
    net, train, validation, loss, optimizer, epochs, batch_size=64, seed=0, metrics=None
) -> Run:
    """A trained network, or what a run that turned NaN left behind."""
    options = {"epochs": epochs, "batch_size": batch_size, "metrics": metrics}
    options |= {"validation": validation, "progress": False}
    try:
        state, history = nn.fit(
            net,
            train,
            loss=loss,
            optimizer=optimizer,
            key=jax.random.key(seed),
            **options,
        )
    except nn.NonFiniteError as error:
        state, history = error, None
    return Run(net, state, history, train, validation, loss, optimizer)


def split(x: np.ndarray, y: np.ndarray, share: float = 0.75) -> tuple[Pair, Pair]:
    """Rows to train on and rows to validate on."""
    cut = int(share * len(x))
    return (x[:cut], y[:cut]), (x[cut:], y[cut:])


def digits(flat: bool = False, examples: int | None = None) -> tuple[Pair, Pair]:
    """The real digits, 0 to 1; as images or as rows of 64."""
    (x, y), (u, v) = nn.data.digits()
    if flat:
        x, u = x.reshape(-1, 64), u.reshape(-1, 64)
    return (x[:examples], y[:examples]), (u, v)


def blobs(examples=800, features=8, classes=3, spread=0.4, seed=0, shares=None) -> Any:
    """Classes as round clouds; with a large spread they overlap."""
    rng = np.random.default_rng(seed)
    centers = rng.normal(size=(classes, features))
    y = rng.choice(classes, size=examples, p=shares).astype(np.int32)
    x = centers[y] + spread * rng.normal(size=(examples, features))
    return split(standardized(x), y)


def rings(examples=800, noise=0.1, seed=0) -> tuple[Pair, Pair]:
    """Two rings, one inside the other: no line parts them."""
    rng = np.random.default_rng(seed)
    y = rng.integers(2, size=examples).astype(np.int32)
    angle = rng.uniform(0, 2 * np.pi, examples)
    radius = 0.5 + y + noise * rng.normal(size=examples)
    x = np.stack([radius * np.cos(angle), radius * np.sin(angle)], -1)
    return split(x.astype(np.float32), y)


def table(examples=800, features=8, noise=0.1, seed=0, bent=True) -> tuple[Pair, Pair]:
    """Numbers to predict from several features, on a bent surface or a plane."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(examples, features)).astype(np.float32)
    w = rng.normal(size=(features, 1)) / features**0.5
    y = x @ w + (np.sin(2 * x[:, :1]) * x[:, 1:2] if bent else 0)
    y = standardized(y + noise * rng.normal(size=y.shape))
    return split(x, y)


def wave(examples=400, noise=0.05, seed=0) -> tuple[Pair, Pair]:
    """A sine to fit: one number in, one out."""
    rng = np.random.default_rng(seed)
    x = rng.uniform(-1, 1, size=(examples, 1)).astype(np.float32)
    y = np.sin(4 * x) + noise * rng.normal(size=x.shape)
    return split(x, y.astype(np.float32))


def words(examples=800, length=12, vocabulary=50, seed=0) -> tuple[Pair, Pair]:
    """Sequences of ids: does the first half of the vocabulary prevail?"""
    rng = np.random.default_rng(seed)
    lean = rng.uniform(0.1, 0.9, size=(examples, 1))
    low = rng.uniform(size=(examples, length)) < lean
    half = vocabulary // 2
    ids = rng.integers(half, size=low.shape) + half * ~low
    return split(ids.astype(np.int32), (low.mean(1) > 0.5).astype(np.int32))


def standardized(x: np.ndarray) -> np.ndarray:
    """Columns of mean 0 and deviation 1, float32."""
    return ((x - x.mean(0)) / x.std(0)).astype(np.float32)


def mapped(change: Callable, pair: Pair) -> Pair:
    """A data set with its inputs changed."""
    return np.asarray(change(pair[0]), np.float32), pair[1]


def dense(*widths: int, act=jax.nn.relu, end: Any = None, **options: Any) -> nn.Layer:
    """Dense layers with an activation between them."""
    layers: list[Any] = []
    for width in widths[:-1]:
        layers += [nn.Dense(width, **options), act]
    return nn.Sequential(*layers, nn.Dense(widths[-1]), *([end] if end else []))


def convolutional(*widths: int, classes: int = 10, **options: Any) -> nn.Layer:
    """3x3 convolutions with ReLU, an average over the places, a dense layer."""
    layers: list[Any] = []
    for width in widths:
        layers += [nn.Conv(width, 3, **options), jax.nn.relu]
    return nn.Sequential(*layers, nn.MaxPool(2), nn.Flatten(), nn.Dense(classes))
