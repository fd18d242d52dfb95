# SPDX-License-Identifier: Apache-2.0
"""K-fold cross-validation: the folds of a sweep, with a single setting."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import numpy as np
import optax
from numpy.typing import ArrayLike

from jaxnn.checks import positive_int
from jaxnn.core import Layer, as_layer, check_key
from jaxnn.data.prepare import strata
from jaxnn.messages.arguments import answered
from jaxnn.messages.tracebacks import warn
from jaxnn.search import check
from jaxnn.search.groups import Group
from jaxnn.search.parts import Maker
from jaxnn.search.program import Cost, Task
from jaxnn.search.result import state_of
from jaxnn.search.rungs import rungs
from jaxnn.search.search import Search, Trial
from jaxnn.search.splits import splits
from jaxnn.train import checks
from jaxnn.train.batch import length
from jaxnn.train.early_stopping import EarlyStopping, Plateau, checked_watch
from jaxnn.train.ensemble import Ensemble
from jaxnn.train.history import History
from jaxnn.train.progress import Progress
from jaxnn.train.state import TrainState

OWNER = "cross_validate"


class Fold(NamedTuple):
    """One run of a cross-validation.

    Attributes:
        history: its numbers by epoch, as from `nn.fit`.
        state: the trained `TrainState`; with early stopping its best weights.
        values: each logged number at the epoch that these weights are from.
        rows: int32 `[M]`, the examples it was trained on.
        held_out: int32 `[K]`, the examples it was validated on.
        diverged: whether a loss or a parameter was not finite.
    """

    history: History
    state: TrainState
    values: dict[str, float]
    rows: np.ndarray
    held_out: np.ndarray
    diverged: bool


class CrossValidation(NamedTuple):
    """What `cross_validate` found; its `repr` shows the numbers of a few lines.

    Attributes:
        mean: the mean over the folds of each logged number, such as `val_loss`.
        spread: their standard deviation (of a sample: divided by K − 1).
        folds: the runs, in order.
    """

    mean: dict[str, float]
    spread: dict[str, float]
    folds: list[Fold]

    def __repr__(self) -> str:
        counts = sorted({len(fold.held_out) for fold in self.folds})
        held_out = " or ".join(map(str, counts))
        lines = [f"{len(self.folds)} folds, {held_out} examples held out in each"]
        names = [name for name in self.mean if name.startswith("val_")]
        width = max(map(len, names))
        for name in names:
            each = " ".join(f"{fold.values[name]:.4g}" for fold in self.folds)
            value = f"{self.mean[name]:.4g} ± {self.spread[name]:.2g}"
            lines.append(f"{name:{width}}  {value}  ({each})")
        return "\n".join(lines)


@answered
def cross_validate(
    net: Layer | Callable[..., Any],
    data: Any,
    *,
    loss: Callable[..., jax.Array],
    optimizer: optax.GradientTransformation,
    epochs: int,
    batch_size: int,
    key: jax.Array,
    folds: int = 5,
    metrics: Mapping[str, Any] | None = None,
    stratify: bool | ArrayLike = False,
    augment: Callable[..., Any] | None = None,
    early_stopping: EarlyStopping | None = None,
    plateau: Plateau | None = None,
    progress: bool | None = None,
) -> CrossValidation:
    """K-fold cross-validation: how well a network does on data it has not seen.

    The examples are split at random into K parts. K networks are trained, each without
    one part, on which it is then validated: every example is held out once. The folds
    train in parallel where that is faster, in one compiled program or, if their sizes
    differ, in two. Each is the run of `nn.fit` with the same key on its rows, up to
    rounding. `nn.sweep(..., folds=K)` compares settings in this way.

    Args:
        net: a network.
        data: `(inputs, targets)` or `(inputs, targets, weights)`, arrays `[N, ...]`.
        loss, optimizer, epochs, batch_size, metrics: as for `nn.fit`.
        key: a random key, which also draws the folds, as `nn.search.fold_rows` does.
        folds: K, from 2 to N.
        stratify: whether all parts hold the classes in equal proportion, to within one
            example: True for those in the targets `[N]`, or the classes themselves.
        augment, early_stopping, plateau: as for `nn.fit`, for each fold separately.
        progress: whether to print a line; None means in a terminal or a notebook.

    Returns:
        A `CrossValidation`: `mean`, `spread`, and `folds` with their histories and
        states. Folds that diverge are left out of the mean, with a warning.

    Raises:
        FloatingPointError: all folds diverged.
        ValueError, TypeError: an argument is invalid; raised before compiling.

    Reference: Stone, Cross-Validatory Choice and Assessment of Statistical Predictions,
    1974.

    >>> import jax, jax.numpy as jnp, jaxnn as nn, optax
    >>> x = jnp.linspace(-1, 1, 40)[:, None]
    >>> found = nn.cross_validate(
    ...     nn.Dense(1), (x, 3 * x), loss=nn.losses.mean_squared_error, folds=4,
    ...     optimizer=optax.sgd(0.1), epochs=20, batch_size=8, key=jax.random.key(0))
    >>> found.mean["val_loss"] < 0.01, len(found.folds)
    (True, 4)
    """
    positive_int(OWNER, "epochs", epochs)
    check_key(key, OWNER)
    if isinstance(net, Ensemble):
        raise TypeError(
            f"{OWNER}: net must be a single network, got an ensemble; give net.net"
        )
    checks.check_optimizer(OWNER, optimizer)
    data, _ = check.checked_data(OWNER, data, None, folds)
    classes, examples = None, length(data)
    if stratify is not False:
        classes = strata(OWNER, data[:2], stratify, examples)
    parts = splits(OWNER, key, examples, folds, classes)
    most = max(part.examples(data) for part in parts)
    batch_size = checks.fitting_batch_size(OWNER, batch_size, most)
    watch = checked_watch(OWNER, early_stopping, plateau)
    monitor, mode = "val_loss", "min"
    check.check_monitor(OWNER, monitor, mode, metrics, True, watch)
    task = Task(
        OWNER,
        Maker(as_layer(net, OWNER), optimizer, loss, augment, ()),
        checks.on_device(data, f"{OWNER}: data"),
        None,
        metrics,
        key,
        {"early_stopping": early_stopping, "plateau": plateau, "shuffle": True},
        epochs,
        None,
        Cost(),
    )
    check.check_parts(task, task.maker({}), {}, batch_size, monitor, parts)
    one = Group({}, [], [0])  # the only settings: those that are given
    seeds: list[int | None] = [None]
    search = Search(
        *(task, {}, [{}], seeds, [one], parts, [batch_size]),
        *(rungs(1, epochs, None), monitor, mode, Progress(None, 0, epochs, progress)),
    )
    search()
    rows = {fold: both for part in parts for fold, both in part.pairs().items()}
    return _concluded([_fold(t, key, *rows[i]) for i, t in enumerate(search.of(0))])


def _fold(trial: Trial, key: jax.Array, rows: np.ndarray, held_out: np.ndarray) -> Fold:
    """What one of the folds came to."""
    history = History()
    names = sorted(trial.logs, key=_as_in_fit)
    for epoch in range(trial.epochs):
        history.add(epoch + 1, {name: trial.logs[name][epoch] for name in names})
    values = {n: float(trial.value(n)) for n in names if trial.logs[n].ndim == 1}
    return Fold(history, state_of(trial, key), values, rows, held_out, trial.diverged)


def _as_in_fit(name: str) -> tuple[bool, bool]:
    """What to sort names by: those of validation last, the loss first of each."""
    return name.startswith("val_"), name.removeprefix("val_") != "loss"


def _concluded(folds: list[Fold]) -> CrossValidation:
    sound = [fold for fold in folds if not fold.diverged]
    lost = [str(number) for number, fold in enumerate(folds) if fold.diverged]
    if not sound:
        raise FloatingPointError(
            f"{OWNER}: all {len(folds)} folds diverged: a loss or a parameter became "
            "NaN or infinite. Try a smaller learning rate; nn.fit with the same "
            "arguments names the layer where it begins"
        )
    if lost:
        warn(
            f"{OWNER}: {len(lost)} of {len(folds)} folds diverged and are left out of "
            f"the mean: {', '.join(lost)}",
        )
    values = {n: [fold.values[n] for fold in sound] for n in sound[0].values}
    spread = {
        name: float(np.std(v, ddof=1)) if len(v) > 1 else float("nan")
        for name, v in values.items()
    }
    return CrossValidation(
        {name: float(np.mean(v)) for name, v in values.items()}, spread, folds
    )
