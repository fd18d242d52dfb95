# SPDX-License-Identifier: Apache-2.0
"""Contenders take turns: one turn, the order of turns, and ratios of their times."""

import gc
import statistics
import time
from collections.abc import Sequence

from contenders import Base

PAUSE = 0.2  # seconds before each turn, in which threads of the one before fall asleep


def take_turn(contender: Base, epochs: int) -> tuple[float, float | None, list[float]]:
    """The seconds of a run, those the library counted itself, and the losses."""
    contender.start()
    gc.collect()
    time.sleep(PAUSE)
    clock = time.perf_counter()
    losses = contender.run(epochs)
    return time.perf_counter() - clock, contender.inside, losses


def rotated(names: list[str], number: int) -> list[str]:
    """The order of turns in a round: each contender is first as often as others."""
    start = number % len(names)
    return names[start:] + names[:start]


def ratio(times: Sequence[float], own: Sequence[float] | None) -> float | None:
    """The median over rounds of a contender's time over jaxnn's in the same round."""
    if own is None:
        return None
    return statistics.median(t / o for t, o in zip(times, own, strict=True))
