# SPDX-License-Identifier: Apache-2.0
"""Everything known about a run, measured once, for the checks to use."""

import dataclasses
from functools import cached_property
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxnn.checks import is_float
from jaxnn.core import Layer, as_layer, fold_in
from jaxnn.doctor import quality
from jaxnn.doctor.memory import rows_that_fit
from jaxnn.doctor.probe import Inside, look_inside
from jaxnn.doctor.reference import Reference, reference
from jaxnn.doctor.tries import takes_scores
from jaxnn.losses import contract_of, example_weights
from jaxnn.train.batch import length, rows_of
from jaxnn.train.facts import Facts, facts
from jaxnn.train.history import History
from jaxnn.train.objective import unpack
from jaxnn.train.predict import predict
from jaxnn.train.step import loss_weights, weighted_sum

#: Below this quality a network may count as bad; above it, findings are harmless.
GOOD = 0.9
#: A network this much worse than the reference falls short of what is possible.
SHORT = 0.1
#: Without a better reference, only outputs barely better than guessing are bad.
GUESS = 0.1
#: A loss this many times another is worse ...
WORSE = 1.5
#: ... if the difference is this fraction of the loss at the start of the run.
TRIFLE = 0.05
#: The smallest number of rows to probe with, if the run's batch size is unknown.
BATCH = 32


@dataclasses.dataclass
class Case:
    """A run, and the measurements made of it.

    Attributes:
        x, y, u, v: sampled inputs and targets, for training and validation (or None).
        all_x, all_y, all_u, all_v: the same for all examples.
        failed: how the run ended if a number was not finite, or None.
        skipped: what could not be examined, and why.
    """

    net: Layer
    params: Any
    state: Any
    opt_state: Any
    key: jax.Array
    history: History
    train: Any
    validation: Any
    loss: Any
    optimizer: Any
    examples: int
    failed: str | None = None
    skipped: list[str] = dataclasses.field(default_factory=list)

    def __post_init__(self):
        self.net = as_layer(self.net, "diagnose")
        self.all_x, self.all_y, _ = unpack(self.net, self.train)
        self.x, self.y = sample((self.all_x, self.all_y), self.examples)
        self.all_u = self.all_v = self.u = self.v = None
        if self.validation is not None:
            self.all_u, self.all_v, _ = unpack(self.net, self.validation)
            self.u, self.v = sample((self.all_u, self.all_v), self.examples)

    @cached_property
    def facts(self) -> Facts:
        """What the network outputs."""
        return facts(self.net, self.params, self.state, rows_of(self.x, 1))

    @cached_property
    def finite(self) -> bool:
        """Whether the parameters and the state are still finite."""
        leaves = jax.tree.leaves((self.params, self.state))
        floats = [a for a in leaves if jnp.issubdtype(a.dtype, jnp.floating)]
        sums = [np.asarray(a, np.float32).sum() for a in jax.device_get(floats)]
        return bool(np.isfinite(sums).all())

    @cached_property
    def outputs(self) -> tuple[Any, Any]:
        """The outputs for the sampled training and validation examples."""
        here, there = (
            None if x is None else predict(self.net, (self.params, self.state), x)
            for x in (self.x, self.u)
        )
        return jax.tree.map(np.asarray, (here, there))

    @cached_property
    def task(self) -> str | None:
        """The kind of prediction task; see `quality.task_of`."""
        return quality.task_of(self.loss, self.facts.outputs, self.all_y)

    @cached_property
    def threshold(self) -> float:
        """The threshold above which an output means yes: 0 for logits and margins."""
        if self.facts.kind in ("softmax", "sigmoid") or self.task != "binary":
            return 0.5
        if self.loss is None:
            y = self.outputs[0]
            return 0.5 if (y >= 0).all() and (y <= 1).all() else 0.0
        contract = contract_of(self.loss)
        if contract is not None:
            return 0.0 if contract.outputs == "binary logits" else 0.5
        shape = (1, *self.facts.outputs.shape[1:])
        return 0.0 if takes_scores(jax.jit(self.loss), shape, self.y.dtype) else 0.5

    def said(self, outputs: Any) -> np.ndarray:
        """The predictions in the outputs: classes, or numbers."""
        return quality.decided(self.task, np.asarray(outputs), self.threshold)

    def labels(self, targets: Any) -> np.ndarray:
        """The class of each example or position, -1 where the loss ignores it.

        Numbers stay as they are.
        """
        targets = np.asarray(targets)
        found = quality.labels(self.task, targets)
        if self.loss is None or self.task != "classes" or found is not targets:
            return found  # (one-hot rows have no label to ignore)
        kept = example_weights(self.loss, targets.ravel())  # one for each position
        if kept is None:
            return found
        return np.where(np.reshape(kept, found.shape) > 0, found.astype(int), -1)

    def quality(self, outputs: Any, targets: Any) -> float | None:
        """The quality of the outputs; see `quality.quality`."""
        if self.task is None or outputs is None:
            return None
        return quality.quality(self.task, self.said(outputs), self.labels(targets))

    @cached_property
    def qualities(self) -> tuple[float | None, float | None]:
        """The quality on training and on validation examples."""
        if not self.finite:
            return None, None
        y, v = self.outputs
        return self.quality(y, self.y), self.quality(v, self.v)

    @cached_property
    def losses(self) -> tuple[float | None, float | None]:
        """The loss in evaluation mode, on training and on validation examples."""
        if self.loss is None or not self.finite:
            return None, None
        y, v = self.outputs
        return self.mean_loss(y, self.y), self.mean_loss(v, self.v)

    def mean_loss(self, outputs: Any, targets: Any) -> float | None:
        """The mean loss of outputs, over the examples that count."""
        if self.loss is None or outputs is None:
            return None
        values = jax.jit(self.loss)(outputs, targets)
        weights = loss_weights(self.loss, targets, None, len(values))
        total, weight = weighted_sum(values, weights)
        return float(total) / float(weight) if float(weight) else None

    def is_worse(self, loss: float | None, other: float | None) -> bool:
        """Whether a loss is well above another, by more than a trifle."""
        first = next(
            iter(self.history.step_losses or self.history.logs.get("loss", [])), 0
        )
        if loss is None or other is None:
            return False
        return loss > WORSE * other and loss - other > TRIFLE * first

    @property
    def carries_over_badly(self) -> bool:
        """Whether the network does much worse on validation than on training."""
        good, there = self.qualities
        if good is not None and there is not None and good - there > SHORT:
            return True
        return self.is_worse(self.losses[1], self.losses[0])

    @cached_property
    def reference(self) -> Reference | None:
        """What can be predicted from the inputs without training."""
        if self.task is None or self.features is None:
            return None
        if self.task != "classes" and np.size(self.y) == np.size(self.x) > len(self.y):
            return None  # an autoencoder: copying is no achievement
        y, x = self.labels(self.y), self.features
        if self.task != "numbers" and y.ndim > 1 + (self.task == "binary"):
            return None  # a label for each position
        if self.task == "numbers" and y.size > 64 * len(y):
            return None  # an image for each example
        if self.task == "classes":
            x, y = x[y >= 0], y[y >= 0]
        return reference(x, y, self.task)

    @cached_property
    def features(self) -> np.ndarray | None:
        """Sampled inputs as rows of numbers; for ids, how often each one occurs."""
        if not hasattr(self.x, "shape"):
            return None
        x = np.asarray(self.x)
        if is_float(x) or x.dtype == np.uint8:
            return x.reshape(len(x), -1).astype(np.float64)
        if not np.issubdtype(x.dtype, np.integer) or x.min() < 0 or x.max() > 5000:
            return None
        ids = x.reshape(len(x), -1)
        return np.stack([np.bincount(row, minlength=x.max() + 1) for row in ids])

    @cached_property
    def start(self) -> tuple[Any, Any]:
        """The initial parameters and state of the run, drawn again."""
        return self.net.init(fold_in(self.key, "init"), rows_of(self.x, 1))

    @cached_property
    def probed(self) -> np.ndarray:
        """Which of the sampled training examples fit into the probe."""
        least = self.history.settings.get("batch_size") or BATCH
        room = rows_that_fit(self.net, self.start, rows_of(self.x, 1), least)
        return drawn(length(self.x), room)

    def of_probed(self, data: Any) -> Any:
        """The probe's rows of arrays with one row for each sampled training example."""
        return jax.tree.map(lambda a: np.asarray(a)[self.probed], data)

    @cached_property
    def inside(self) -> Inside | None:
        """What the probe found, or None without a loss."""
        if self.loss is None:
            return None
        end = (self.params, self.state) if self.finite else self.start
        optimizer = (
            self.optimizer if self.finite and self.opt_state is not None else None
        )
        batch = jax.tree.map(jnp.asarray, self.of_probed((self.x, self.y)))
        points = (self.start, end, self.opt_state)
        return look_inside(self.net, self.loss, optimizer, points, batch, self.key)

    @cached_property
    def shortfall(self) -> float:
        """How far the network falls short of what is possible on its training examples.

        With dropout it does better in evaluation than in training mode; with stale
        running statistics, worse. What it has learned is the better of the two.
        """
        done = self.qualities[0]
        if done is not None and done < GOOD and self.inside is not None:
            targets = self.of_probed(self.y)
            done = max(done, self.quality(self.inside.outputs, targets) or done)
        if done is None:
            return 1.0 if not self.finite else self._little_progress()
        if done >= GOOD:
            return 0.0
        if self.reference is not None and self.reference.quality - done > SHORT:
            return self.reference.quality - done
        return GUESS - done + SHORT if done < GUESS else 0.0

    def _little_progress(self) -> float:
        """The shortfall without a quality: 1 if the loss has hardly fallen, else 0."""
        losses = self.history.logs.get("loss", [])
        if len(losses) < 2 or not losses[0] > 0:
            return 0.0
        return 1.0 if losses[-1] > (1 - GUESS) * losses[0] else 0.0

    @property
    def bad(self) -> bool:
        """Whether the network falls short of what is possible on its training data."""
        return self.failed is not None or self.shortfall > 0


def sample(data: Any, rows: int) -> Any:
    """This many rows, drawn with a fixed seed, in their original order."""
    n = length(data)
    if n <= rows:
        return jax.tree.map(np.asarray, data)
    kept = drawn(n, rows)
    return jax.tree.map(lambda a: np.asarray(a)[kept], data)


def drawn(n: int, rows: int) -> np.ndarray:
    """At most `rows` indices below n, drawn with a fixed seed, in ascending order."""
    return np.sort(np.random.default_rng(0).permutation(n)[:rows])
