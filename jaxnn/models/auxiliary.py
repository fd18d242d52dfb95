# SPDX-License-Identifier: Apache-2.0
"""Auxiliary outputs, and losses that include them."""

import functools
import inspect
from collections.abc import Callable
from typing import Any, NamedTuple

import jax

from jaxnn.losses import contract_of
from jaxnn.messages.phrases import describe
from jaxnn.metrics import Metric
from jaxnn.spec import Spec


class Outputs(NamedTuple):
    """The outputs of a network with auxiliary classifiers in training."""

    main: Any
    auxiliary: tuple[Any, ...]


class WithAuxiliary(Spec):
    """A loss or a metric of `Outputs`; see `with_auxiliary`."""

    function: Callable[..., jax.Array]
    weight: float

    @property
    def contract(self) -> Any:
        """What the function takes, so that `fit` can check it."""
        return contract_of(self.function)

    @property
    def __signature__(self) -> inspect.Signature:
        return inspect.signature(self.function)

    @property
    def __name__(self) -> str:
        return getattr(self.function, "__name__", repr(self.function))

    def __call__(self, outputs: Any, targets: Any, **options: Any) -> jax.Array:
        if not isinstance(outputs, Outputs):  # in evaluation
            return self.function(outputs, targets, **options)
        total = self.function(outputs.main, targets, **options)
        if self.weight:
            for y in outputs.auxiliary:
                total = total + self.weight * self.function(y, targets, **options)
        return total


def with_auxiliary(
    function: Callable[..., jax.Array], weight: float = 0.3
) -> Callable[..., jax.Array]:
    """Include auxiliary outputs in a loss: `loss(main) + weight · Σ loss(aux)`.

    In evaluation, where a network returns its main outputs alone, the loss is
    unchanged.  With `weight=0`, this makes a metric of the main outputs.

    Args:
        function: a loss or a metric, `function(outputs, targets) -> [N]`.
        weight: the weight of each auxiliary output, 0 or more.

    Returns:
        A function of `Outputs` or of plain outputs, for `fit`.

    Raises:
        ValueError: the weight is negative.
        TypeError: `function` is not a function, or is a metric over a whole data set.

    Reference: Szegedy et al., Going Deeper with Convolutions, 2014 (weight 0.3).

    >>> import jax.numpy as jnp, jaxnn as nn
    >>> loss = nn.models.with_auxiliary(nn.losses.mean_squared_error)
    >>> y, t = jnp.ones((1, 1)), jnp.zeros((1, 1))
    >>> loss(nn.models.Outputs(y, (y, y)), t).round(3), loss(y, t)
    (Array([1.6], dtype=float32), Array([1.], dtype=float32))
    """
    if not callable(function) or isinstance(function, Metric | type):
        raise TypeError(
            "with_auxiliary: the first argument must be a function of outputs and "
            f"targets with one value per example, got {describe(function)}"
        )
    if isinstance(weight, bool) or not weight >= 0:
        raise ValueError(f"with_auxiliary: weight must be 0 or more, got {weight!r}")
    if isinstance(function, functools.partial):  # `fit` still sees its options
        inside = with_auxiliary(function.func, weight)
        return functools.partial(inside, *function.args, **function.keywords)
    return WithAuxiliary(function, weight)
