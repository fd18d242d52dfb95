# SPDX-License-Identifier: Apache-2.0
"""Try many settings in few programs: grid or random search, halving, folds."""

from collections.abc import Callable, Mapping
from typing import Any

import jax
import optax

from jaxnn.checks import positive_int
from jaxnn.core import Layer, check_key
from jaxnn.losses.combine import as_loss, terms_of
from jaxnn.messages.arguments import answered
from jaxnn.search import check, space
from jaxnn.search.groups import groups
from jaxnn.search.parts import Maker, Parts
from jaxnn.search.program import Cost, Task
from jaxnn.search.result import SweepResult
from jaxnn.search.rungs import rungs
from jaxnn.search.search import Search
from jaxnn.search.space import Settings
from jaxnn.search.splits import splits
from jaxnn.search.tracing import tracing
from jaxnn.train import checks
from jaxnn.train.batch import length
from jaxnn.train.early_stopping import EarlyStopping, Plateau, checked_watch
from jaxnn.train.progress import Progress
from jaxnn.train.step import Loss


@answered
def sweep(
    net: Layer | Callable[..., Layer],
    data: Any,
    *,
    over: Mapping[str, Any],
    loss: Loss | None = None,
    objective: Callable[..., Any] | None = None,
    optimizer: optax.GradientTransformation | Callable[..., Any],
    epochs: int,
    batch_size: int | None = None,
    key: jax.Array,
    validation: Any = None,
    metrics: Mapping[str, Any] | None = None,
    samples: int | None = None,
    monitor: str = "val_loss",
    mode: str | None = None,
    halving: int | None = None,
    folds: int | None = None,
    augment: Callable[..., Any] | None = None,
    early_stopping: EarlyStopping | None = None,
    plateau: Plateau | None = None,
    shuffle: bool = True,
    at_once: int | None = None,
    progress: bool | None = None,
) -> SweepResult:
    """Train a network under many settings and find the best.

    Trials that differ only in traceable numbers (learning rates, dropout rates, weight
    decays, seeds, folds) train in parallel in one compiled program; only other values
    (widths, kernel sizes, names, functions) need a separate program each. A name whose
    values are floats is traced where that works.

    A trial gives what `nn.fit` gives with its settings and its key, up to rounding.
    That key is `key` for all trials, so that settings are compared with the same
    initial values and order of examples; with `"seed"` in `over` it is
    `jax.random.fold_in(key, seed)`. A trial that diverges ranks last and never wins.

    Args:
        net: a layer, or a function of swept names that returns one.
        data: `(inputs, targets)` or `(inputs, targets, weights)`, arrays `[N, ...]`.
        over: a dict from names to values: a list, or `nn.search.uniform(low, high)`,
            `log_uniform` or `integers`. A name is an argument of `net`, `optimizer`,
            `loss` or `augment`; or `"seed"`, or `"batch_size"`.
        loss: `loss(outputs, targets) -> [N]`; or a function of swept names only that
            returns one.
        objective: in place of a loss, as in `fit`; or a function of swept names only
            that returns one.
        optimizer: an Optax optimizer, or a function of swept names that returns one.
        epochs: the number of epochs that trials train for.
        batch_size: examples per step, as for `nn.fit`.
        key: a random key.
        validation: data in the same form.
        metrics: a dict from names to `metric(outputs, targets) -> [N]` or a `Metric`.
        samples: None for every combination of the lists; else how many settings to draw
            at random, each of which runs with every seed.
        monitor: the logged value that ranks settings, at a trial's last epoch, or with
            early stopping at its best one; averaged over seeds and folds.
        mode: `min` if smaller is better, `max` if larger; not needed for a loss.
        halving: η: train all settings for few epochs, continue the best 1/η for η times
            as many, and so on up to `epochs`; see `nn.search.rungs`.
        folds: K: train each of the settings K times, each time without a Kth of the
            data, on which it is then validated; see `nn.search.fold_rows`.
        augment: as for `nn.fit`; or a function of swept names only that returns one.
        early_stopping, plateau: as for `nn.fit`, for each trial separately.
        shuffle: whether to draw a new order for each epoch.
        at_once: at most this many networks train in parallel, the others after them in
            the same program; None lets memory decide, and means one at a time for
            convolutions on a CPU, which are slower in parallel. The folds of one of the
            settings stay together, even if there are more.
        progress: whether to print a line for each program; None means unless a
            program, such as doctest, captures what is printed.

    Returns:
        A `SweepResult`: `str` shows a table, best first; `best` has the winning
        settings, network and optimizer, `state` their trained `TrainState`, and `plot`
        draws the scores.

    Raises:
        FloatingPointError: all trials diverged.
        Any error, or Ctrl-C, during the sweep: `error.result` holds what is done.
        ValueError, TypeError: an argument is invalid; raised before compiling.

    >>> import jax, jax.numpy as jnp, jaxnn as nn, optax
    >>> x = jnp.linspace(-1, 1, 40)[:, None]
    >>> result = nn.sweep(
    ...     nn.Dense(1), (x, 3 * x), validation=(x, 3 * x), over={
    ...         "learning_rate": [0.01, 0.1, 10.0]}, optimizer=optax.sgd,
    ...     loss=nn.losses.mean_squared_error, epochs=3, batch_size=8,
    ...     key=jax.random.key(0))
    >>> result.best.settings, len(result.trials), len(result.programs)
    ({'learning_rate': 0.1}, 3, 1)
    """
    positive_int("sweep", "epochs", epochs)
    check_key(key, "sweep")
    check.check_at_once(at_once)
    ranges = space.read(over)
    seeds: Any = ranges.pop("seed", [None])
    more = {"objective": objective, "metrics": metrics}
    maker = Maker(net, optimizer, loss, augment, ranges, **more)
    rows = space.settings_of(ranges, samples, key)
    stages = rungs(len(rows), epochs, halving, owner="sweep")
    given = data, validation, folds
    data, validation = check.checked_data("sweep", *given, pairs=objective is None)
    parts = splits("sweep", key, length(data), folds)
    check.check_batch_sizes(batch_size, ranges.get("batch_size"))
    validated = validation is not None or folds is not None
    watch = checked_watch("sweep", early_stopping, plateau)
    names = None if objective else [f"{n}_loss" for n in terms_of(as_loss(loss))]
    watched = metrics, validated, watch, names
    mode = check.check_monitor("sweep", monitor, mode, *watched)
    made = [_built(maker, row) for row in rows]
    batch_sizes = [row.get("batch_size", batch_size) for row in rows]
    most = max(part.examples(data) for part in parts)
    checks.fitting_batch_size("sweep", max(batch_sizes), most)
    batch_sizes = [min(size, most) for size in batch_sizes]
    task = Task(
        "sweep",
        maker,
        checks.on_device(data, "sweep: data"),
        checks.on_device(validation, "sweep: validation"),
        metrics,
        key,
        {"early_stopping": early_stopping, "plateau": plateau, "shuffle": shuffle},
        epochs,
        at_once,
        Cost(),
    )
    works = tracing(maker, metrics, data, batch_size)
    found = groups(rows, space.floats(ranges), works)
    for group in found:
        i = group.members[0]
        check.check_parts(task, made[i], rows[i], batch_sizes[i], monitor, parts)
    told = Progress(None, 0, epochs, progress)
    search = Search(
        *(task, ranges, rows, seeds, found, parts, batch_sizes),
        *(stages, monitor, mode, told),
    )
    try:
        return SweepResult(search, search(), mode)
    except BaseException as error:
        _hand_over(error, search, mode)
        raise


def _hand_over(error: BaseException, search: Search, mode: str) -> None:
    """Attach the finished trials to the error, so that nothing is lost."""
    done = search.done()
    if not done or all(trial.diverged for row in done for trial in search.of(row)):
        return
    error.result = SweepResult(search, search.ranking(done), mode)  # type: ignore
    error.add_note(
        f"sweep: error.result holds the {len(done)} of {len(search.rows)} settings "
        "that were trained before"
    )


def _built(maker: Maker, settings: Settings) -> Parts:
    """The parts of a trial, built from plain numbers so that values are checked."""
    try:
        return maker(settings)
    except Exception as error:
        space.add_note(error, settings)
        raise
