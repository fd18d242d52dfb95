# SPDX-License-Identifier: Apache-2.0
"""One loss of several outputs, made of a loss for each."""

from collections.abc import Callable, Mapping
from typing import Any

import jax

from jaxnn import checks
from jaxnn.messages.phrases import describe, nearest, shown
from jaxnn.spec import Spec

Loss = Callable[..., jax.Array]


class Combined(Spec):
    """A weighted sum of losses on dicts of outputs and targets; see `combine`."""

    terms: tuple[tuple[str, float, Loss], ...]

    def __call__(self, outputs: Any, targets: Any) -> jax.Array:
        """The sum, `[N]`."""
        scaled = (
            scale * self._part(name, loss, outputs, targets)
            for name, scale, loss in self.terms
        )
        return sum(scaled)  # type: ignore[return-value]

    def parts(self, outputs: Any, targets: Any) -> dict[str, jax.Array]:
        """Each loss, `[N]`, not scaled."""
        return {
            f"{name}_loss": self._part(name, loss, outputs, targets)
            for name, _, loss in self.terms
        }

    def _part(self, name: str, loss: Loss, outputs: Any, targets: Any) -> jax.Array:
        for what, given in (("outputs", outputs), ("targets", targets)):
            if not isinstance(given, Mapping):
                raise TypeError(
                    f"combine: {what} must be a dict with {name!r}, got "
                    f"{describe(given):.100}"
                )
            if name not in given:
                raise ValueError(
                    f"combine: {what} must have {name!r}, one of the losses, but have "
                    f"{', '.join(map(repr, given))}{nearest(name, map(str, given))}"
                )
        return loss(outputs[name], targets[name])


def combine(**losses: Any) -> Combined:
    """One loss of a dict of outputs: Σ scale · loss(outputs[name], targets[name]).

    `fit(loss={...})` with a dict makes the same. The history holds each part, not
    scaled, as `name_loss` beside the `loss`.

    Args:
        losses: for each output that has one, a loss, or a pair `(scale, loss)`. Outputs
            without one are left alone.
    Returns: a loss on dicts of outputs and targets, [N].
    Raises: TypeError or ValueError if a loss is no function or a scale no number.
    Example:
        >>> import jax.numpy as jnp, jaxnn as nn
        >>> loss = nn.losses.combine(
        ...     digit=nn.losses.softmax_cross_entropy,
        ...     angle=(0.1, nn.losses.mean_squared_error))
        >>> outputs = {"digit": jnp.zeros((2, 10)), "angle": jnp.ones((2, 1))}
        >>> targets = {"digit": jnp.array([3, 4]), "angle": jnp.zeros((2, 1))}
        >>> print(loss(outputs, targets).round(3))
        [2.403 2.403]
    """
    if not losses:
        raise TypeError("combine: losses must be given by output, as in digit=loss")
    return Combined(tuple((name, *_term(name, v)) for name, v in losses.items()))


def _term(name: str, given: Any) -> tuple[float, Loss]:
    """A scale and a loss."""
    pair = given if isinstance(given, tuple) else (1.0, given)
    if len(pair) != 2 or not callable(pair[1]) or isinstance(pair[1], type):
        raise TypeError(
            f"combine: {name} must be a loss or (scale, loss), got {shown(given)}"
        )
    scale, loss = pair
    checks.not_negative("combine", f"the scale of {name}", scale)
    return scale, loss


def as_loss(loss: Any, owner: str = "combine") -> Any:
    """A loss as it is; of a dict of losses by output, what `combine` makes of it."""
    if not isinstance(loss, Mapping):
        return loss
    for name in loss:
        if not isinstance(name, str):
            raise TypeError(
                f"{owner}: loss must be a function, or a dict of losses by output, got "
                f"the key {name!r:.60}"
            )
    return combine(**loss)


def terms_of(loss: Any) -> dict[str, Loss]:
    """The losses that a combined one is made of, by output."""
    terms = loss.terms if isinstance(loss, Combined) else ()
    return {name: term for name, _, term in terms}


def parts_of(loss: Any, outputs: Any, targets: Any) -> dict[str, jax.Array]:
    """What a loss logs beside its values, by name, `[N]` each; nothing for most."""
    parts = getattr(loss, "parts", None)
    return {} if parts is None else parts(outputs, targets)
