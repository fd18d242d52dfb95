# SPDX-License-Identifier: Apache-2.0
"""Contracts: what a loss or metric declares about its outputs and targets."""

import functools
from collections.abc import Callable
from typing import Any, Literal, NamedTuple, TypeVar, get_args

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from jaxnn.losses.pairs import later_axes, signed

Outputs = Literal[
    "any",
    "logits",
    "binary logits",
    "probabilities",
    "binary probabilities",
    "log probabilities",
]
Targets = Literal["numbers", "classes", "binary", "signs"]
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
            probabilities" (each in [0, 1]) or "log probabilities".
        targets: "numbers", "classes", "binary" (0 to 1) or "signs" (−1 to 1).
    Returns: a decorator that sets `loss.contract` and returns the same function.
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
        loss.contract = Contract(outputs, targets)  # pyright: ignore[reportFunctionMemberAccess]
        return loss

    return declare


def must_be_one_of(choices: tuple, value: object) -> str:
    """The end of an error message: the choices, and the one closest to the value."""
    from difflib import get_close_matches

    near = get_close_matches(str(value), map(str, choices), n=1)
    hint = f"; did you mean {near[0]!r}?" if near else ""
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
    while isinstance(measure, functools.partial):
        if measure.keywords.get("ignore_label") is not None:
            return measure.keywords["ignore_label"]
        measure = measure.func
    return getattr(measure, "ignore_label", None)


def example_weights(loss: Callable, targets: ArrayLike) -> jax.Array | None:
    """How many labels of each example count; None for a loss that ignores none.

    A loss that ignores a label gives each example's mean over its other labels.
    Weighted by their number, the mean of these means is the mean over all labels that
    count.

    Args:
        loss: a loss with a contract; it ignores a label if a `functools.partial` binds
            its `ignore_label`.
        targets: integer labels, [N] or [N, ...].
    Returns: float32 [N]; 0 where all labels of an example are ignored.
    Example:
        >>> import jax.numpy as jnp, jaxnn as nn
        >>> entropy = nn.losses.softmax_cross_entropy
        >>> loss = functools.partial(entropy, ignore_label=-1)
        >>> print(example_weights(loss, jnp.array([[2, 1], [3, -1], [-1, -1]])))
        [2. 1. 0.]
    """
    ignored = ignored_label(loss)
    if ignored is None or contract_of(loss) is None:
        return None
    kept = signed(jnp.asarray(targets)) != ignored
    return kept.sum(axis=later_axes(kept), dtype=jnp.float32)
