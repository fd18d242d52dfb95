# SPDX-License-Identifier: Apache-2.0
"""What is planted in the data: changes of `(x, y)`, in both sets or in one."""

import numpy as np
from runs import blobs, digits, mapped, split, standardized, table, wave


def both(change, sets):
    """A change in both sets."""
    return [change(*pair) for pair in sets]


def scaled(change, sets):
    """A change of the inputs of both sets."""
    return [mapped(change, pair) for pair in sets]


def validation_only(change, sets):
    """A change of the inputs of the validation set."""
    train, validation = sets
    return train, mapped(change, validation)


def rows(**options):
    """Digits in rows of 64."""
    return digits(flat=True, **options)


def columns(x, y):
    """Class labels 0 and 1 as the column that binary losses take."""
    return x, y[:, None].astype(np.float32)


def one_hot(classes):
    """Class labels as one-hot rows."""
    return lambda x, y: (x, np.eye(classes, dtype=np.float32)[y])


def to_itself(x, y):
    """Inputs as their own targets."""
    return x, x


def redrawn(share, classes, seed):
    """That share of the labels drawn at random."""
    rng = np.random.default_rng(seed)

    def change(x, y):
        wrong = rng.uniform(size=len(y)) < share
        drawn = rng.integers(classes, size=len(y))
        return x, np.where(wrong, drawn, y).astype(np.int32)

    return change


def flipped(share, seed):
    """That share of the labels 0 and 1 exchanged."""
    rng = np.random.default_rng(seed)

    def change(x, y):
        wrong = rng.uniform(size=len(y)) < share
        return x, np.where(wrong, 1 - y, y).astype(np.int32)

    return change


def permuted(seed):
    """The labels in another order."""
    rng = np.random.default_rng(seed)
    return lambda x, y: (x, rng.permutation(y))


def stuck(columns, values):
    """Columns that stand still."""

    def change(x, y):
        x[:, columns] = values
        return x, y

    return change


def label_in_a_corner_pixel(x, y):
    x[:, 0, 0, 0] = y / 9
    return x, y


def answer_in_a_column(x, y):
    return np.concatenate([x, 3 * y + 2], 1), y


def near_label(seed):
    """A column that copies the label, almost."""
    rng = np.random.default_rng(seed)

    def change(x, y):
        copied = y[:, None] / 3 + 1e-3 * rng.normal(size=(len(y), 1))
        return np.concatenate([x, copied], -1).astype(np.float32), y

    return change


def near_target(seed):
    """A column that follows the target, almost."""
    rng = np.random.default_rng(seed)

    def change(x, y):
        near = 0.5 * y - 1 + 0.005 * rng.normal(size=y.shape)
        return np.concatenate([near, x], -1).astype(np.float32), y

    return change


def exclusive_or():
    rng = np.random.default_rng(4)
    x = rng.uniform(-1, 1, size=(600, 2)).astype(np.float32)
    return split(x, (x[:, 0] * x[:, 1] > 0).astype(np.int32))


def parity():
    rng = np.random.default_rng(42)
    x = rng.uniform(-1, 1, size=(900, 3)).astype(np.float32)
    return split(x, np.sign(x[:, :1] * x[:, 1:2]).astype(np.float32))


def validation_from_training():
    train, _ = table(seed=14)
    return train, (train[0][::3], train[1][::3])


def a_third_of_validation_seen():
    (x, y), (u, v) = digits()
    return (x, y), (np.concatenate([u, x[:180]]), np.concatenate([v, y[:180]]))


def in_order_of_class():
    (x, y), (u, v) = blobs(classes=4, seed=17)
    x, y = np.concatenate([x, u]), np.concatenate([y, v])
    order = np.argsort(y)
    return split(x[order], y[order])


def twenty_rows():
    (x, y), validation = table(seed=19, noise=0.2)
    return (x[:20], y[:20]), validation


def forecast():
    rng = np.random.default_rng(34)
    t = np.arange(1200)
    series = np.sin(t / 9) + 0.5 * np.sin(t / 23) + 0.1 * rng.normal(size=t.size)
    windows = np.lib.stride_tricks.sliding_window_view(standardized(series), 25)
    return split(windows[:, :24].copy(), windows[:, 24:].copy())


def without_validation():
    train, _ = wave(seed=36)
    return train, None
