# SPDX-License-Identifier: Apache-2.0
"""The learning-rate range test: a short run whose learning rate grows at each step."""

import numbers
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from jaxnn.checks import is_positive_int
from jaxnn.core import Layer, as_layer, check_key
from jaxnn.files.figures import finish, new_figure
from jaxnn.messages import tables
from jaxnn.messages.arguments import answered
from jaxnn.messages.phrases import shown
from jaxnn.train import checks
from jaxnn.train.batch import length, rows_of
from jaxnn.train.console import number
from jaxnn.train.epoch import epoch_order, gather
from jaxnn.train.objective import Objective, unpack
from jaxnn.train.programs import program
from jaxnn.train.source import is_stream
from jaxnn.train.start import train_state
from jaxnn.train.step import Loss, as_trained, make_step

#: The decay of the moving average of the loss.
KEPT = 0.7
#: The test ends where the smoothed loss is this many times its smallest value.
TOO_MUCH = 4.0
#: Rates count as good up to the last one where the smoothed loss has risen by no more
#: than this share of its fall; a tenth of that rate is suggested. Tuned on MLPs and
#: CNNs on digits with SGD, momentum and Adam, 72 tests: 1.1 points of accuracy below
#: the best of 16 rates on average, 4.5 at most (200 steps; 2.7 and 21 with 100).
RISE = 0.1
MARGIN = 10.0


class RangeTest(NamedTuple):
    """What a range test found.

    Attributes:
        rates: the learning rate of each step, `[steps]`, low to high.
        losses: the loss of each step's batch, `[steps]`; once the run has diverged
            they are meaningless and may be NaN.
        smoothed: their moving average, `[counted]`, up to where the loss is far above
            its minimum, or not finite.
        suggestion: a learning rate to train with, or None.
        reason: how the suggestion was found, or why there is none; also `str(test)`.
    """

    rates: np.ndarray
    losses: np.ndarray
    smoothed: np.ndarray
    suggestion: float | None
    reason: str

    def __str__(self) -> str:
        return self.reason

    def __repr__(self) -> str:
        return f"{self._title()}\n  {self.reason}"

    def _repr_html_(self) -> str:
        shown = np.unique(np.linspace(0, len(self.smoothed) - 1, 8).astype(int))
        rows = [
            [f"{self.rates[i]:.2g}", number(float(self.smoothed[i]))]
            for i in (shown if len(self.smoothed) else ())
        ]
        note = f"{self.reason}; test.plot() draws the losses"
        return tables.html(self._title(), ("rate", "smoothed loss"), rows, note)

    def _title(self) -> str:
        low, high = f"{self.rates[0]:.2g}", f"{self.rates[-1]:.2g}"
        return f"RangeTest of {len(self.rates)} learning rates from {low} to {high}"

    def plot(self, path: str | Path | None = None) -> Any:
        """Plot the loss against the learning rate, with the suggestion.

        Args:
            path: an image file to write, or None.

        Returns:
            The matplotlib figure.

        Raises:
            ImportError: matplotlib is not installed.
        """
        return finish(_plot(self), path)


@answered
def find_learning_rate(
    net: Layer,
    data: Any,
    *,
    loss: Loss | None = None,
    objective: Objective | None = None,
    optimizer: Callable[[Any], optax.GradientTransformation] = optax.sgd,
    batch_size: int,
    key: jax.Array,
    low: float = 1e-6,
    high: float = 10.0,
    steps: int = 200,
    augment: Callable[..., Any] | None = None,
) -> RangeTest:
    """Try learning rates from low to high in one short run, and suggest one.

    A new network is trained with the rate `low · (high / low)^(i/(steps−1))` at step i;
    all steps are one compiled program. While the rate is too small the loss does not
    change, then it falls, and when the rate is too large it rises. The loss is smoothed
    by a debiased moving average; the suggestion is a tenth of the largest rate up to
    which the loss has stayed low.

    Args:
        net: a network.
        data: `(inputs, targets)` or `(inputs, targets, weights)`, arrays `[N, ...]`.
        loss: `loss(outputs, targets) -> [N]`.
        objective: in place of a loss, as in `fit`.
        optimizer: a function from a learning rate, which is traced, to an Optax
            optimizer: `optax.adam`, or `lambda rate: optax.sgd(rate, momentum=0.9)`.
        batch_size: examples per step, as in the planned training.
        key: a random key.
        low: the first rate, above 0.
        high: the last rate, above `low`.
        steps: how many rates, 20 or more.
        augment: as in `nn.fit`.

    Returns:
        A `RangeTest`. If every rate diverges or none learns, its `suggestion` is None
        and its `reason` says so.

    Raises:
        ValueError, TypeError: an argument is invalid; raised before compiling.

    Reference: Smith, Cyclical Learning Rates for Training Neural Networks, 2017.

    >>> import jax, jax.numpy as jnp, jaxnn as nn
    >>> x = jnp.linspace(-1, 1, 64)[:, None]
    >>> test = nn.find_learning_rate(
    ...     nn.Dense(1), (x, 3 * x - 1), loss=nn.losses.mean_squared_error,
    ...     batch_size=16, key=jax.random.key(0))
    >>> 0.01 < test.suggestion < 1
    True
    """
    net = as_layer(net, "find_learning_rate")
    check_key(key, "find_learning_rate")
    _check_range(low, high, steps)
    _check_optimizer(optimizer, low)
    made = optimizer(low)
    net, loss = as_trained("find_learning_rate", net, loss, objective, None)
    step = make_step("find_learning_rate", net, loss, made, None, augment)
    data = _checked(step, data, key)
    examples = length(data)
    batch_size = checks.fitting_batch_size("find_learning_rate", batch_size, examples)
    rates = np.geomspace(low, high, steps).astype(np.float32)
    options = {"net": net, "loss": loss, "optimizer": optimizer, "augment": augment}
    losses = _losses(
        *(key, checks.on_device(data, "find_learning_rate: data"), rates),
        batch_size=batch_size,
        **options,
    )
    return _conclude(rates, _of_batches(*map(np.asarray, losses)))


@program()
def _losses(key, data, rates, *, net, loss, optimizer, augment, batch_size):
    """The weighted loss sum and the total weight of each step of the run."""
    order = _batches(key, length(data), batch_size, len(rates))
    x, _, _ = unpack(net, rows_of(data, 1))
    state = train_state(net, optimizer(rates[0]), x, key=key)

    def body(state, part):
        rate, rows = part
        given = net, loss, optimizer(rate), None, augment
        step = make_step("find_learning_rate", *given)
        batch = jax.tree.map(lambda a: gather(a, rows), data)
        state, stats = step.advance(state, batch)
        return state, (stats["loss"]["total"], stats["loss"]["weight"])

    return jax.lax.scan(body, state, (rates, order))[1]


def _of_batches(total: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """The loss of each batch; the previous one's if no example counts in it."""
    losses = total / np.where(weight == 0, 1, weight)
    for i in np.flatnonzero(weight == 0):
        losses[i] = losses[max(i - 1, 0)]
    return losses


def _batches(key: jax.Array, examples: int, size: int, steps: int) -> jax.Array:
    """The examples of each step, `[steps, size]`: full batches of successive epochs."""
    each = examples // size
    epochs = jnp.arange(-(-steps // each))
    order = jax.vmap(lambda epoch: epoch_order(key, epoch, examples))(epochs)
    return order[:, : each * size].reshape(-1, size)[:steps]


def _conclude(rates: np.ndarray, losses: np.ndarray) -> RangeTest:
    """Derive the suggestion from the losses."""
    smoothed, best = _smooth(losses), np.inf
    end = len(rates)
    for i, value in enumerate(smoothed):
        if not np.isfinite(value) or value > TOO_MUCH * best > 0:
            end = i
            break
        best = min(best, value)
    smoothed = smoothed[:end]
    suggestion, reason = _suggest(rates, losses, smoothed)
    return RangeTest(rates, losses, smoothed, suggestion, reason)


def _smooth(losses: np.ndarray) -> np.ndarray:
    """A debiased moving average; NaN from the first NaN on."""
    total = weight = 0.0
    smoothed = []
    for value in losses.astype(np.float64):
        total, weight = KEPT * total + value, KEPT * weight + 1
        smoothed.append(total / weight)
    return np.array(smoothed)


def _suggest(
    rates: np.ndarray, losses: np.ndarray, smoothed: np.ndarray
) -> tuple[float | None, str]:
    low, high = f"{rates[0]:.2g}", f"{rates[-1]:.2g}"
    diverged = len(smoothed) < len(rates)
    if len(smoothed) < 5:
        return None, (
            f"no suggestion: the loss diverges at the lowest rate, {low}; look at the "
            "inputs' scale, or start lower (low=)"
        )
    bottom = int(smoothed.argmin())
    early = slice(0, max(5, bottom // 4))
    start, noise = np.median(smoothed[early]), np.std(losses[early])
    fall = start - smoothed[bottom]
    if fall <= max(2 * noise, 0.01 * abs(start)):
        return None, _nothing_learns(rates, diverged, len(smoothed))
    good = np.flatnonzero(smoothed <= smoothed[bottom] + RISE * fall)[-1]
    suggestion = float(f"{rates[good] / MARGIN:.2g}")
    reason = (
        f"learning rate {suggestion:.2g}: a tenth of {rates[good]:.2g}, up to where "
        "the loss stays low"
    )
    if good == len(rates) - 1:
        reason += f"; it has not risen at {high}, more may do (high=)"
    return suggestion, reason


def _nothing_learns(rates: np.ndarray, diverged: bool, counted: int) -> str:
    if diverged:
        return (
            f"no suggestion: the loss does not fall before it diverges at "
            f"{rates[counted]:.2g}; look at the inputs' scale and the targets, or "
            f"start lower than {rates[0]:.2g} (low=)"
        )
    return (
        f"no suggestion: the loss does not fall at any rate from {rates[0]:.2g} to "
        f"{rates[-1]:.2g}; look at the network, the loss and the targets, or take more "
        "steps"
    )


def _check_range(low: Any, high: Any, steps: Any) -> None:
    for name, value in (("low", low), ("high", high)):
        real = isinstance(value, numbers.Real) and not isinstance(value, bool)
        if not real or not 0 < float(value) < np.inf:
            raise ValueError(
                f"find_learning_rate: {name} must be a number above 0, got {value!r}"
            )
    if not low < high:
        raise ValueError(
            f"find_learning_rate: high must be above low, got {high!r} <= {low!r}"
        )
    if not is_positive_int(steps) or steps < 20:
        raise ValueError(
            f"find_learning_rate: steps must be an int of 20 or more, got {steps!r}"
        )


def _check_optimizer(optimizer: Any, rate: float) -> None:
    made = None if not callable(optimizer) else optimizer(rate)
    if not hasattr(made, "update"):
        raise TypeError(
            "find_learning_rate: optimizer must be a function from a learning rate to "
            "an optimizer, such as optax.adam or lambda rate: optax.sgd(rate, "
            f"momentum=0.9), got {shown(optimizer)}"
        )


def _checked(step: Any, data: Any, key: jax.Array) -> tuple:
    """The data, checked against the network and the loss before compiling."""
    what = "find_learning_rate: data"
    if is_stream(data, what):
        raise TypeError(
            f"{what} must be arrays (inputs, targets), got "
            f"{type(data).__name__}; concatenate some of its batches"
        )
    data = checks.checked_data(data, what, pairs=step.takes_pairs)
    one, _, _ = unpack(step.net, rows_of(data, 1))
    shapes = jax.eval_shape(
        lambda key: train_state(step.net, step.optimizer, one, key=key), key
    )
    variables = shapes.params, shapes.state
    given = step.net, variables, data
    checks.check_together("find_learning_rate", *given, loss=step.loss)
    return data


def _plot(test: RangeTest) -> Any:
    figure = new_figure("plot", 6.4, 4.0)
    axes, counted = figure.subplots(), len(test.smoothed)
    axes.plot(test.rates, test.losses, color="0.8", label="of each batch")
    axes.plot(test.rates[:counted], test.smoothed, label="smoothed")
    if test.suggestion is not None:
        _mark(axes, test)
    seen = test.losses[: max(counted, 1)]
    seen = seen[np.isfinite(seen)]
    if seen.size and seen.max() > seen.min():
        low, high = seen.min(), min(seen.max(), 2 * max(seen[0], np.median(seen)))
        axes.set_ylim(low - 0.05 * (high - low), high + 0.05 * (high - low))
    axes.set(xscale="log", xlabel="learning rate (log scale)", ylabel="loss")
    axes.set_title(_headline(test), fontsize=10)
    axes.grid(alpha=0.3)
    axes.legend()
    return figure


def _headline(test: RangeTest) -> str:
    if test.suggestion is None:
        return test.reason.split(";")[0]
    return (
        f"suggested rate {test.suggestion:.2g}: a tenth of the largest at which the "
        "loss stays low"
    )


def _mark(axes: Any, test: RangeTest) -> None:
    """Mark the suggestion, and the largest rate at which the loss stays low."""
    assert test.suggestion is not None
    largest = MARGIN * test.suggestion
    for rate, color, label in (
        (largest, "C3", f"largest, {largest:.2g}"),
        (test.suggestion, "C1", f"suggested, {test.suggestion:.2g}"),
    ):
        loss = np.interp(rate, test.rates[: len(test.smoothed)], test.smoothed)
        axes.axvline(rate, color=color, ls="--", lw=1)
        axes.plot(rate, loss, "o", color=color, label=label)
