# SPDX-License-Identifier: Apache-2.0
"""Successive halving: many settings for few epochs, few settings for many."""

from typing import Any, NamedTuple

from jaxnn.checks import is_positive_int


class Rung(NamedTuple):
    """A stage of a sweep: this many settings train up to this many epochs."""

    settings: int
    epochs: int


def rungs(
    settings: int, epochs: int, halving: Any, *, owner: str = "rungs"
) -> list[Rung]:
    """The stages of a sweep; without halving there is only one.

    Halving by η uses as many stages as the numbers of settings and epochs allow. The
    last stage trains for all epochs, and each stage for 1/η of the epochs of the next;
    after each stage the best 1/η of its settings continue from where they are.

    Args:
        settings: the number of settings.
        epochs: the total number of epochs after the last stage.
        halving: η, an int of 2 or more, or None.
        owner: the function that messages name.

    Reference: Jamieson & Talwalkar, Non-stochastic Best Arm Identification and
    Hyperparameter Optimization, 2016.

    >>> [tuple(rung) for rung in rungs(27, 20, 3)]
    [(27, 2), (9, 6), (3, 20)]
    """
    if halving is None:
        return [Rung(settings, epochs)]
    if not is_positive_int(halving) or halving < 2:
        raise ValueError(
            f"{owner}: halving must be an int of 2 or more, got {halving!r}"
        )
    if settings < halving or epochs < halving:
        raise ValueError(
            f"{owner}: halving by {halving} needs at least {halving} settings and "
            f"{halving} epochs, got {settings} and {epochs}; leave it out"
        )
    last = 1
    while settings // halving ** (last + 1) and epochs // halving ** (last + 1):
        last += 1
    return [
        Rung(settings // halving**k, epochs // halving ** (last - k))
        for k in range(last + 1)
    ]
