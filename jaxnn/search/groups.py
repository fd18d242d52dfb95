# SPDX-License-Identifier: Apache-2.0
"""Which trials can share a program: those that differ only in traceable values."""

from collections.abc import Callable
from typing import Any, NamedTuple

from jaxnn.search.space import Settings
from jaxnn.spec import comparable

#: `settings, names -> bool`: whether a step with these names traced can be traced.
Works = Callable[[Settings, list[str]], bool]


class Group(NamedTuple):
    """Settings that train in one program."""

    fixed: Settings  # the same for all
    traced: list[str]  # names whose values the program takes as data
    members: list[int]  # indices among all settings


def groups(every: list[Settings], floats: list[str], works: Works) -> list[Group]:
    """Partition settings into groups that share a program.

    Args:
        every: the settings.
        floats: the names whose values are numbers, at least one of them a float; they
            are traced where that works, everything else is not.
        works: tells whether names can be traced, with the rest as in the settings.
    """
    traced: list[str] = floats
    found = []
    others = [name for name in every[0] if name not in floats]
    for members in _alike(every, others, range(len(every))):
        traced = _traceable(every[members[0]], floats, traced, works)
        fixed = [name for name in every[0] if name not in traced]
        for part in _alike(every, fixed, members):
            settings = {name: every[part[0]][name] for name in fixed}
            found.append(Group(settings, traced, part))
    return found


def _alike(every: list[Settings], names: list[str], members: Any) -> list[list[int]]:
    """Lists of members with equal values of some names, in order."""
    found: dict[Any, list[int]] = {}
    for i in members:
        label = tuple(_label(every[i][name]) for name in names)
        found.setdefault(label, []).append(i)
    return list(found.values())


def _label(value: Any) -> Any:
    """Something hashable that is equal for equal values."""
    value = comparable(value)
    try:
        hash(value)
    except TypeError:
        return id(value)
    return value


def _traceable(
    settings: Settings, floats: list[str], likely: list[str], works: Works
) -> list[str]:
    """The names that can be traced together; tries those of the last group first."""
    for names in (likely, floats):
        if names and works(settings, names):
            return names
    found: list[str] = []
    for name in floats:
        if works(settings, [*found, name]):
            found.append(name)
    return found
