# SPDX-License-Identifier: Apache-2.0
"""Build a network, an optimizer, a loss and an augmentation from settings."""

import inspect
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

from jaxnn.checks import arguments, needed, parameters
from jaxnn.core import Layer, as_layer
from jaxnn.messages.phrases import nearest, shown
from jaxnn.search.space import OWN, Settings
from jaxnn.spec import show
from jaxnn.train.step import TrainStep, as_trained, make_step

#: Short names of what functions call otherwise.
_MEANT = {"lr": "learning_rate"}


class Parts(NamedTuple):
    """The network, optimizer, loss and augmentation of one trial."""

    net: Layer
    optimizer: Any
    loss: Callable[..., Any]
    augment: Any

    def step(self, metrics: Any, owner: str = "sweep") -> TrainStep:
        """The trial's training step, for the function `owner`."""
        net, optimizer, loss, augment = self
        return make_step(owner, net, loss, optimizer, metrics, augment)


class Maker:
    """Builds the parts of a trial; each is fixed, or a function of swept names.

    Args:
        net: a layer, or a function that returns one.
        optimizer: an Optax optimizer, or a function that returns one.
        loss, augment, objective: fixed; or a function of swept names only that returns
            one.
        names: the swept names.
        metrics: what the user passed, which an objective rejects.
    """

    def __init__(
        self,
        net: Any,
        optimizer: Any,
        loss: Any,
        augment: Any,
        names: Iterable[str],
        *,
        objective: Any = None,
        metrics: Any = None,
    ):
        self.metrics = metrics
        self.given = {
            "net": net,
            "optimizer": optimizer,
            "loss": loss,
            "objective": objective,
            "augment": augment,
        }
        names = [name for name in names if name not in OWN]
        if not isinstance(net, Layer) and not callable(net):
            raise TypeError(
                f"sweep: net must be a layer or a function of swept names that gives "
                f"one, got {shown(net)}"
            )
        if not hasattr(optimizer, "update") and not callable(optimizer):
            raise TypeError(
                "sweep: optimizer must be an Optax optimizer or a function of swept "
                f"names that gives one, such as optax.sgd, got {shown(optimizer)}"
            )
        self.takes: dict[str, list[str]] = {}  # for each part that is a function
        for part, value in self.given.items():
            found = _taken(value, names)
            if _is_made(part, value, found, names):
                self.takes[part] = found
        self._check_names(names)
        for part in self.takes:
            _check_given(part, self.given[part], names)

    def _check_names(self, names: list[str]) -> None:
        taken = {name for found in self.takes.values() for name in found}
        for name in names:
            if name not in taken:
                raise ValueError(
                    f"sweep: over must hold names that a function takes, got {name!r}; "
                    f"{self._said(name)}"
                )

    def _said(self, name: str) -> str:
        """What takes names, for an error about one that nothing takes."""
        takes = {part: arguments(self.given[part]) for part in self.takes}
        every = [*OWN, *(a for arguments in takes.values() for a in arguments)]
        said = [
            f"{part} takes {', '.join(names) or 'nothing'}"
            for part, names in takes.items()
        ]
        fixed = [part for part in ("net", "optimizer", "loss") if part not in takes]
        said += [f"{part} is fixed: {show(self.given[part]):.60}" for part in fixed]
        takers = [p for p in fixed if name in arguments(self.given[p])]
        fixed = takers or [part for part in fixed if part != "loss"]
        hint = nearest(_MEANT.get(name, name), every)
        if fixed and not hint:
            example = {
                "net": f"net = lambda {name}: nn.Sequential(...)",
                "optimizer": f"optimizer=lambda {name}: optax.sgd({name})",
                "loss": f"loss=lambda {name}: functools.partial(loss, {name}={name})",
            }
            hint = "; a part that varies is given as a function: " + " or ".join(
                example[part] for part in fixed
            )
        return "; ".join(said) + hint

    def __call__(self, settings: Settings) -> Parts:
        """The parts for settings; their values may be traced."""
        made: dict[str, Any] = dict(self.given)
        for part, names in self.takes.items():
            made[part] = made[part](**{name: settings[name] for name in names})
        if not hasattr(made["optimizer"], "update"):
            raise TypeError(
                "sweep: optimizer must give an Optax optimizer, it gave "
                f"{shown(made['optimizer'])}"
            )
        net = as_layer(made.pop("net"), "sweep")
        aims = made.pop("loss"), made.pop("objective")
        net, loss = as_trained("sweep", net, *aims, self.metrics)
        return Parts(net, loss=loss, **made)


def _is_made(part: str, value: Any, found: list[str], names: list[str]) -> bool:
    """Whether a part is a function of settings, rather than the object itself."""
    if part == "net":
        return not isinstance(value, Layer)
    if part == "optimizer":
        return not hasattr(value, "update")
    return bool(found) and set(needed(value)) <= set(names)


def _taken(function: Any, names: list[str]) -> list[str]:
    """Those of `names` that a function takes; all of them with `**options`."""
    if not callable(function):
        return []
    kinds = [p.kind for p in parameters(function).values()]
    if inspect.Parameter.VAR_KEYWORD in kinds:
        return list(names)
    taken = arguments(function)
    return [name for name in names if name in taken]


def _check_given(part: str, function: Any, names: list[str]) -> None:
    missing = [name for name in needed(function) if name not in names]
    if missing:
        hint = "".join(nearest(name, names) for name in missing[:1])
        own = [name for name in missing if name in OWN]
        raise ValueError(
            f"sweep: {part} needs {', '.join(missing)}, "
            + (
                f"and {own[0]} belongs to the run, not to a function"
                if own
                else f"which is not swept{hint}; add it to over, or give it a default"
            )
        )
