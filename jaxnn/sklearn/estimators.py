# SPDX-License-Identifier: Apache-2.0
"""A classifier and a regressor: what scikit-learn asks for, around `fit` and `predict`.

Each stores its arguments as they are, so that scikit-learn can clone it; they are
checked in `fit`.
"""
# pyright: reportMissingImports=false

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import jax
import numpy as np
import optax
from scipy.special import softmax
from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin
from sklearn.utils import check_random_state
from sklearn.utils.class_weight import compute_sample_weight
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted, validate_data

from jaxnn.checks import is_positive_int
from jaxnn.core import Layer
from jaxnn.data import split
from jaxnn.losses import contract_of, mean_squared_error, softmax_cross_entropy
from jaxnn.messages.phrases import describe
from jaxnn.train import EarlyStopping, History, TrainState, checks, fit, predict
from jaxnn.train.batch import rows_of
from jaxnn.train.history import Callback
from jaxnn.train.targets import loss_name

Net = Layer | Callable[[int], Layer]
Optimizer = optax.GradientTransformation | Callable[..., optax.GradientTransformation]
#: The learning rate of an optimizer that is given as a function of it.
RATE = 1e-3
#: How scikit-learn is to convert inputs.
FLOATS: dict[str, Any] = {"dtype": (np.float64, np.float32), "allow_nd": True}


class _Estimator(BaseEstimator):
    """What both share: the arguments, the training, and the network's outputs."""

    net_: Layer
    state_: TrainState
    history_: History

    def __init__(
        self,
        net: Net,
        *,
        loss: Callable[..., jax.Array] = mean_squared_error,
        optimizer: Optimizer = optax.adam,
        learning_rate: float | None = None,
        epochs: int = 20,
        batch_size: int = 32,
        validation: float | None = None,
        metrics: Mapping[str, Any] | None = None,
        early_stopping: EarlyStopping | None = None,
        callbacks: Iterable[Callback] | None = None,
        random_state: Any = None,
        progress: bool | None = False,
    ):
        self.net = net
        self.loss = loss
        self.optimizer = optimizer
        self.learning_rate = learning_rate
        self.epochs = epochs
        self.batch_size = batch_size
        self.validation = validation
        self.metrics = metrics
        self.early_stopping = early_stopping
        self.callbacks = callbacks
        self.random_state = random_state
        self.progress = progress

    def _train(self, x: Any, targets: np.ndarray, weights: Any, rule: str) -> None:
        """Train on checked arrays a network with the outputs that `rule` asks for."""
        seed = self._seed()
        key = jax.random.key(seed)
        by_class = targets if targets.ndim == 1 else False
        outputs = targets.max() + 1 if targets.ndim == 1 else targets.shape[1]
        net = self._sized(x, int(outputs), rule, key)
        data: Any = (x, targets) if weights is None else (x, targets, weights)
        held_out = None
        if self.validation is not None:
            data, held_out = split(data, self.validation, seed=seed, stratify=by_class)
        size = self.batch_size
        self.state_, self.history_ = fit(
            net,
            data,
            loss=self.loss,
            optimizer=self._optimizer(),
            epochs=self.epochs,
            batch_size=min(size, len(data[0])) if is_positive_int(size) else size,
            key=key,
            validation=held_out,
            metrics=self.metrics,
            early_stopping=self.early_stopping,
            callbacks=self.callbacks or (),
            progress=self.progress,
        )
        self.net_ = net

    def _seed(self) -> int:
        """An int is the seed itself; anything else draws one, as in scikit-learn."""
        random = check_random_state(self.random_state)
        if isinstance(self.random_state, int | np.integer):
            return int(self.random_state)
        return int(random.randint(2**31 - 1))

    def _optimizer(self) -> Any:
        if callable(self.optimizer):
            rate = RATE if self.learning_rate is None else self.learning_rate
            return self.optimizer(rate)
        if self.learning_rate is not None:
            raise ValueError(
                f"{type(self).__name__}: learning_rate must be None beside an "
                f"optimizer that has one, got {self.learning_rate!r}; give the "
                "optimizer as a function of it, such as optax.adam"
            )
        return self.optimizer

    def _sized(self, x: Any, outputs: int, rule: str, key: jax.Array) -> Layer:
        """The network, once it is known to give so many outputs per example."""
        name, net = type(self).__name__, self.net
        if callable(net) and not isinstance(net, Layer):
            net = net(outputs)
        if not isinstance(net, Layer):
            raise TypeError(
                f"{name}: net must be a layer, or a function from the number of "
                f"outputs to one, got {self.net!r:.60}"
            )
        example = rows_of(x, 1)
        params, state = jax.eval_shape(lambda key: net.init(key, example), key)
        found = checks.check_network(name, net, params, state, example).outputs
        if getattr(found, "shape", None) != (1, outputs):
            raise ValueError(
                f"{name}: net must give {rule}, {outputs} here, got {describe(found)} "
                f"for one example; end it in nn.Dense({outputs}), or give a function "
                "of their number: lambda outputs: nn.Sequential(..., nn.Dense(outputs))"
            )
        return net

    def _outputs(self, X: Any) -> np.ndarray:
        """The network's outputs, float64 `[N, outputs]`."""
        check_is_fitted(self)
        x = validate_data(self, X, reset=False, **FLOATS)
        return np.asarray(predict(self.net_, self.state_, x), np.float64)


class Classifier(ClassifierMixin, _Estimator):
    """A network as a classifier of scikit-learn; classes may be numbers or text.

    It is trained by `nn.fit`: with an int as `random_state` the parameters are those
    that `fit` gives with `key=jax.random.key(random_state)`.

    Args:
        net: a layer with one output per class; or a function from the number of classes
            to a layer, such as `lambda classes: nn.Sequential(..., nn.Dense(classes))`.
        loss: a loss on classes; the probabilities of the classes come from what its
            outputs are: logits, probabilities, or log probabilities.
        optimizer: a function from the learning rate to an Optax optimizer, such as
            `optax.adam`; or an optimizer, which cannot be pickled.
        learning_rate: for an optimizer given as a function; None means 0.001.
        epochs: how often to go through the data.
        batch_size: examples per step; all of them if there are fewer.
        validation: the share of examples, between 0 and 1, to validate on after each
            epoch instead of training on them, with the classes in proportion; or None.
        metrics, early_stopping, callbacks, progress: as for `nn.fit`.
        class_weight: a dict from classes to weights, 1 for those not listed; or
            "balanced", which makes the classes' sums of weights equal; or None.
        random_state: an int, a `numpy.random.RandomState`, or None for NumPy's own.

    Attributes:
        classes_: the classes `[C]`, sorted, in the order of the network's outputs.
        net_: the trained network.
        state_: its `TrainState`, for `nn.predict`, `nn.diagnose` and the like.
        history_: the `History` of the training.
        n_features_in_: the size of the inputs' second axis.
        feature_names_in_: the columns, if the inputs were a frame.

    >>> import jax, jaxnn as nn
    >>> (images, labels), (test_images, test_labels) = nn.data.digits()
    >>> model = nn.sklearn.Classifier(
    ...     nn.Sequential(nn.Flatten(), nn.Dense(64), jax.nn.relu, nn.Dense(10)),
    ...     epochs=10, random_state=0)
    >>> model.fit(images, labels).score(test_images, test_labels) > 0.9
    True
    """

    classes_: np.ndarray

    def __init__(
        self,
        net: Net,
        *,
        loss: Callable[..., jax.Array] = softmax_cross_entropy,
        optimizer: Optimizer = optax.adam,
        learning_rate: float | None = None,
        epochs: int = 20,
        batch_size: int = 32,
        validation: float | None = None,
        metrics: Mapping[str, Any] | None = None,
        early_stopping: EarlyStopping | None = None,
        callbacks: Iterable[Callback] | None = None,
        class_weight: Mapping[Any, float] | str | None = None,
        random_state: Any = None,
        progress: bool | None = False,
    ):
        super().__init__(
            net,
            loss=loss,
            optimizer=optimizer,
            learning_rate=learning_rate,
            epochs=epochs,
            batch_size=batch_size,
            validation=validation,
            metrics=metrics,
            early_stopping=early_stopping,
            callbacks=callbacks,
            random_state=random_state,
            progress=progress,
        )
        self.class_weight = class_weight

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> "Classifier":
        """Train a new network.

        Args:
            X: numbers `[N, features]` or `[N, ...]`; or a frame.
            y: the class of each example `[N]`.
            sample_weight: the weight of each example in the loss `[N]`, or None.

        Returns:
            This classifier.

        Raises:
            ValueError, TypeError: an argument is invalid; raised before training.
        """
        x, y = validate_data(self, X, y, **FLOATS)
        check_classification_targets(y)
        kind = _kind(self.loss)
        classes, labels = np.unique(y, return_inverse=True)
        if len(classes) < 2:
            raise ValueError(
                "Classifier: y must hold at least 2 classes, got 1 class: "
                f"{classes.tolist()}"
            )
        weights = _checked_weights(type(self).__name__, sample_weight, len(x))
        if self.class_weight is not None:
            own = compute_sample_weight(self.class_weight, y)
            weights = own if weights is None else weights * own
        self._train(x, labels.astype(np.int32), weights, "one output per class")
        self.classes_, self._kind = classes, kind
        return self

    def predict_proba(self, X: Any) -> np.ndarray:
        """The probabilities of the classes, float64 `[N, C]`."""
        outputs = self._outputs(X)
        if self._kind == "logits":
            return softmax(outputs, axis=-1)
        return np.exp(outputs) if self._kind == "log probabilities" else outputs

    def predict(self, X: Any) -> np.ndarray:
        """The likeliest class of each example `[N]`."""
        outputs = self._outputs(X)
        return self.classes_[outputs.argmax(-1)]


class Regressor(RegressorMixin, _Estimator):
    """A network as a regressor of scikit-learn, for one target or several.

    It is trained by `nn.fit`, as a `Classifier` is. Targets far from 0 or far larger
    than 1 train slowly: `sklearn.compose.TransformedTargetRegressor` scales them.

    Args:
        net: a layer with one output per target; or a function from the number of
            targets to a layer.
        loss: a loss on numbers.
        optimizer, learning_rate, epochs, batch_size, metrics, early_stopping,
            callbacks, random_state, progress: as for a `Classifier`.
        validation: the share of examples, between 0 and 1, to validate on after each
            epoch instead of training on them; or None.

    Attributes:
        net_, state_, history_, n_features_in_, feature_names_in_: as for a
            `Classifier`.

    >>> import numpy as np, jaxnn as nn
    >>> x = np.linspace(-1, 1, 64)[:, None]
    >>> model = nn.sklearn.Regressor(
    ...     nn.Dense(1), learning_rate=0.1, epochs=100, random_state=0)
    >>> model.fit(x, 3 * x[:, 0] - 1).predict([[0.0], [1.0]]).round(1)
    array([-1.,  2.])
    """

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> "Regressor":
        """Train a new network.

        Args:
            X: numbers `[N, features]` or `[N, ...]`; or a frame.
            y: the target of each example `[N]`, or several `[N, targets]`.
            sample_weight: the weight of each example in the loss `[N]`, or None.

        Returns:
            This regressor.

        Raises:
            ValueError, TypeError: an argument is invalid; raised before training.
        """
        x, y = validate_data(self, X, y, multi_output=True, y_numeric=True, **FLOATS)
        targets = np.asarray(y, np.float64).reshape(len(y), -1)
        weights = _checked_weights(type(self).__name__, sample_weight, len(x))
        self._train(x, targets, weights, "one output per target")
        self._single = y.ndim == 1
        return self

    def predict(self, X: Any) -> np.ndarray:
        """The predicted targets, in the shape that `y` had."""
        outputs = self._outputs(X)
        return outputs[:, 0] if self._single else outputs

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.target_tags.multi_output = True
        return tags


def _kind(loss: Any) -> str:
    """What the outputs of a classifier are, from its loss."""
    contract = contract_of(loss)
    kind = None if contract is None else contract.outputs
    if contract is None or contract.targets != "classes":
        raise ValueError(
            "Classifier: loss must be one on classes, such as nn.losses."
            f"softmax_cross_entropy, got {loss_name(loss)}; a function of your own "
            'says so by @nn.losses.expects(outputs="logits", targets="classes")'
        )
    return str(kind)


def _checked_weights(owner: str, weights: Any, examples: int) -> np.ndarray | None:
    if weights is None:
        return None
    weights = np.asarray(weights, np.float64)
    checks.check_weights(f"{owner}: sample_weight", weights, examples)
    return weights
