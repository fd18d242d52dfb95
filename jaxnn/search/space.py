# SPDX-License-Identifier: Apache-2.0
"""The search space of a sweep: lists of values, ranges to draw from, and settings."""

import itertools
import math
import numbers
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import jax
import numpy as np

from jaxnn.checks import is_positive_int
from jaxnn.core import fold_in
from jaxnn.spec import Spec, same, show

#: A dict from names of hyperparameters to their values.
Settings = dict[str, Any]
#: Names that belong to the run, not to a function: integers of at least these values.
OWN = {"seed": 0, "batch_size": 1}


def add_note(error: Exception, settings: Settings) -> None:
    """Note in an error the settings with which it occurred, if there are any."""
    if settings:
        said = ", ".join(f"{name}={show(value)}" for name, value in settings.items())
        error.add_note(f"in the sweep's trial with {said}")


class Range(Spec):
    """Numbers between two bounds; see `uniform`, `log_uniform` and `integers`."""

    low: float
    high: float
    log: bool = False
    whole: bool = False

    def __post_init__(self):
        for name, value in (("low", self.low), ("high", self.high)):
            real = isinstance(value, numbers.Real) and not isinstance(value, bool)
            if not real or not math.isfinite(value):
                raise ValueError(f"Range: {name} must be a number, got {value!r}")
            if self.whole and not isinstance(value, numbers.Integral):
                raise ValueError(f"integers: {name} must be an int, got {value!r}")
        if not self.low < self.high:
            raise ValueError(
                f"Range: low must be below high, got {self.low!r} and {self.high!r}"
            )
        if self.log and self.low <= 0:
            raise ValueError(
                f"Range: on a log scale low must be above 0, got {self.low!r}"
            )

    def at(self, share: float) -> float | int:
        """The number below which a fraction `share` in [0, 1) of the range lies."""
        scale, back = (math.log, math.exp) if self.log else (float, float)
        low, high = scale(self.low), scale(self.high + self.whole)
        value = back(low + share * (high - low))
        value = math.floor(value * (1 + 1e-12)) if self.whole else value
        return min(max(value, self.low), self.high)


def uniform(low: float, high: float) -> Range:
    """Any number from `low` to `high`, all equally likely.

    >>> uniform(0.0, 0.5).at(0.5)
    0.25
    """
    return Range(low, high)


def log_uniform(low: float, high: float) -> Range:
    """Any number from `low` to `high`, uniform on a log scale, as for learning rates.

    >>> round(log_uniform(1e-4, 1.0).at(0.5), 6)
    0.01
    """
    return Range(low, high, log=True)


def integers(low: int, high: int, *, log: bool = False) -> Range:
    """Any integer from `low` to `high`, inclusive; with `log`, on a log scale.

    >>> [integers(1, 4).at(share) for share in (0.0, 0.3, 0.6, 0.99)]
    [1, 2, 3, 4]
    """
    return Range(low, high, log=log, whole=True)


def read(over: Any) -> dict[str, list | Range]:
    """The checked search space of a sweep: a list or a range for each name."""
    if not isinstance(over, Mapping) or not over:
        raise TypeError(
            "sweep: over must be a dict from names to lists of values or ranges, such "
            f"as {{'learning_rate': [0.01, 0.1]}}, got {over!r:.60}"
        )
    return {name: _read(name, values) for name, values in over.items()}


def _read(name: Any, values: Any) -> list | Range:
    if not isinstance(name, str) or not name.isidentifier():
        raise TypeError(f"sweep: over must hold names of arguments, got {name!r}")
    if isinstance(values, Range):
        if name in OWN:
            raise ValueError(
                f"sweep: over[{name!r}] must be a list of ints, got {values!r}"
            )
        return values
    if isinstance(values, str | Mapping) or not isinstance(values, Iterable):
        raise TypeError(
            f"sweep: over[{name!r}] must be a list of values or a range such as "
            f"nn.search.log_uniform(1e-4, 1.0), got {values!r:.60}"
        )
    found = values.tolist() if hasattr(values, "tolist") else list(values)  # type: ignore
    if not found:
        raise ValueError(
            f"sweep: over[{name!r}] must hold at least one value, got an empty list"
        )
    for i, value in enumerate(found):
        if any(same(value, other) for other in found[:i]):
            raise ValueError(
                f"sweep: over[{name!r}] must hold each value once, got {show(value)} "
                "twice"
            )
        if name in OWN and not _is_count(value, OWN[name]):
            raise ValueError(
                f"sweep: over[{name!r}] must hold ints from {OWN[name]} on, below "
                f"2**32, got {value!r}"
            )
    return found


def _is_count(value: Any, low: int) -> bool:
    whole = isinstance(value, numbers.Integral) and not isinstance(value, bool)
    return whole and low <= int(value) < 2**32


def floats(over: Mapping[str, list | Range]) -> list[str]:
    """The names whose values are numbers, at least one of them a float."""
    return [name for name, values in over.items() if _are_floats(values)]


def _are_floats(values: list | Range) -> bool:
    if isinstance(values, Range):
        return not values.whole
    real = [isinstance(v, numbers.Real) and not isinstance(v, bool) for v in values]
    whole = [isinstance(v, numbers.Integral) for v in values]
    return all(real) and not all(whole)


def settings_of(
    over: Mapping[str, list | Range], samples: Any, key: jax.Array
) -> list[Settings]:
    """The settings to try: a whole grid, or some drawn at random.

    Args:
        over: a list or a range for each name.
        samples: None for every combination of the lists; or how many to draw.
        key: a random key, which alone determines the draws.
    """
    if samples is None:
        return _grid(over)
    if not is_positive_int(samples):
        raise ValueError(
            f"sweep: samples must be a positive int or None, got {samples!r}"
        )
    ranges = any(isinstance(values, Range) for values in over.values())
    words = np.asarray(jax.random.key_data(fold_in(key, "samples"))).tolist()
    draw = np.random.default_rng(words)
    return (_drawn if ranges else _part)(over, int(samples), draw)


def _grid(over: Mapping[str, list | Range]) -> list[Settings]:
    for name, values in over.items():
        if isinstance(values, Range):
            raise ValueError(
                f"sweep: over[{name!r}] must be a list unless samples= says how many "
                f"settings to draw, got {values!r}, which has no end of values"
            )
    every = itertools.product(*over.values())  # type: ignore[arg-type]
    return [dict(zip(over, values, strict=True)) for values in every]


def _part(over: Mapping[str, list | Range], samples: int, draw: Any) -> list[Settings]:
    """Some settings of a grid, drawn without replacement."""
    every = _grid(over)
    if samples > len(every):
        raise ValueError(
            f"sweep: samples must be at most the number of settings, got {samples} for "
            f"{len(every)}; None tries them all"
        )
    return [every[i] for i in draw.choice(len(every), samples, replace=False)]


def _drawn(over: Mapping[str, list | Range], samples: int, draw: Any) -> list[Settings]:
    """Settings drawn so that each name's range is covered evenly.

    A Latin hypercube (McKay et al., 1979): each of `samples` equal parts of a name's
    range provides one value.
    """
    columns = {}
    for name, values in over.items():
        shares = (draw.permutation(samples) + draw.random(samples)) / samples
        at = values.at if isinstance(values, Range) else _list_at(values)
        columns[name] = [at(float(share)) for share in shares]
    rows = zip(*columns.values(), strict=True)
    return [dict(zip(over, row, strict=True)) for row in rows]


def _list_at(values: list) -> Callable[[float], Any]:
    return lambda share: values[min(int(share * len(values)), len(values) - 1)]
