# SPDX-License-Identifier: Apache-2.0
"""Contracts: what a loss or metric declares about its outputs and targets."""

import functools
from collections.abc import Callable
from typing import Any, Literal, NamedTuple, TypeVar, get_args

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from jaxnn.losses.pairs import label_weights, later_axes
from jaxnn.messages.arguments import of_arrays
from jaxnn.messages.phrases import nearest

Outputs = Literal[
    "any",
    "logits",
    "binary logits",
    "probabilities",
    "binary probabilities",
    "log probabilities",
    "distribution",
    "embeddings",
]
Targets = Literal["numbers", "classes", "binary", "signs", "none"]
Function = TypeVar("Function", bound=Callable)


class Contract(NamedTuple):
    """What a loss expects: the kinds of its outputs and targets."""

    outputs: Outputs
    targets: Targets


def expects(*, outputs: Outputs, targets: Targets) -> Callable[[Function], Function]:
    """Decorator that declares what a loss expects; `contract_of` reads it.

    Args:
        outputs: "any" (no restriction), "logits" (before a softmax), "binary logits"
            (before a sigmoid), "probabilities" (rows that sum to 1), "binary
            probabilities" (each in [0, 1]), "log probabilities", "distribution" (the
            parameters of one, such as mean and variance) or "embeddings" (of which
            angles or distances count).
        targets: "numbers", "classes", "binary" (0 to 1), "signs" (−1 to 1) or "none".
    Returns: a decorator: the function with its `contract`, which says what to write if
        it is called without arrays.
    Raises: ValueError for any other value.
    Example:
        >>> @expects(outputs="any", targets="numbers")
        ... def quartic(outputs, targets):
        ...     return (outputs - targets) ** 4
        >>> contract_of(quartic)
        Contract(outputs='any', targets='numbers')
    """
    for name, word, choices in [
        ("outputs", outputs, get_args(Outputs)),
        ("targets", targets, get_args(Targets)),
    ]:
        if word not in choices:
            raise ValueError(f"expects: {name} {must_be_one_of(choices, word)}")

    def declare(loss: Function) -> Function:
        loss = of_arrays(loss)
        loss.contract = Contract(outputs, targets)  # pyright: ignore[reportFunctionMemberAccess]
        return loss

    return declare


def must_be_one_of(choices: tuple, value: object) -> str:
    """The end of an error message: the choices, and the one closest to the value."""
    hint = nearest(str(value), map(str, choices))
    return f"must be one of {', '.join(map(repr, choices))}, got {value!r}{hint}"


def contract_of(loss: Any) -> Contract | None:
    """The `Contract` of a loss, also inside `functools.partial`; None if unknown.

    Example:
        >>> import jaxnn as nn
        >>> contract_of(functools.partial(nn.losses.huber, delta=2.0))
        Contract(outputs='any', targets='numbers')
        >>> contract_of(lambda outputs, targets: outputs - targets) is None
        True
    """
    while isinstance(loss, functools.partial):
        loss = loss.func
    contract = getattr(loss, "contract", None)
    return contract if isinstance(contract, Contract) else None


def ignored_label(measure: Any) -> int | None:
    """The label that a loss or metric ignores; None if it counts all labels.

    Example:
        >>> import jaxnn as nn
        >>> loss = nn.losses.softmax_cross_entropy
        >>> ignored_label(functools.partial(loss, ignore_label=-1))
        -1
    """
    return _bound(measure, "ignore_label")


def example_weights(loss: Callable, targets: ArrayLike) -> jax.Array | None:
    """How much the labels of each example count; None for a loss that weighs none.

    A loss that ignores a label gives each example's mean over its other labels, and
    one with class weights a weighted mean. Weighted by the number of labels that count,
    or by the sum of their weights, the mean of these means is that over all labels.

    Args:
        loss: a loss with a contract; it ignores a label if a `functools.partial` binds
            its `ignore_label`, and weighs labels if one binds its `class_weight`.
        targets: labels, [N] or [N, ...].
    Returns: float32 [N]; 0 where no label of an example counts.
    Example:
        >>> import jax.numpy as jnp, jaxnn as nn
        >>> labels = jnp.array([[1, 1], [0, -1]])
        >>> loss = functools.partial(nn.losses.softmax_cross_entropy, ignore_label=-1)
        >>> print(example_weights(loss, labels))
        [2. 1.]
        >>> print(example_weights(functools.partial(loss, class_weight=(1, 5)), labels))
        [10.  1.]
    """
    entry = getattr(loss, "entry", None)
    if entry is not None:  # one of a dict of targets; see `nn.metrics.select`
        return example_weights(loss.measure, targets[entry])  # type: ignore
    options = _bound(loss, "ignore_label"), _bound(loss, "class_weight")
    if options == (None, None) or contract_of(loss) is None:
        return None
    weights = label_weights(jnp.asarray(targets), *options)
    assert weights is not None
    return weights.sum(axis=later_axes(weights), dtype=jnp.float32)


def _bound(measure: Any, option: str) -> Any:
    """An option that `functools.partial` or the measure itself binds, or None."""
    while isinstance(measure, functools.partial):
        if measure.keywords.get(option) is not None:
            return measure.keywords[option]
        measure = measure.func
    return getattr(measure, option, None)
