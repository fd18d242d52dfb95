# SPDX-License-Identifier: Apache-2.0
"""Objectives: what training descends, written as the body of a network.

`objective(run, batch) -> values [N]`, or `(values, logs)`.  A network with an objective
is itself a network: its input is the whole batch and its outputs are an `Outcome`, the
values and logs of each example.  The loss then takes the values out of the outputs, so
that an objective goes through `TrainStep` like any loss.
"""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jaxnn.checks import is_float
from jaxnn.core import (
    Composite,
    Key,
    Layer,
    Params,
    Run,
    Wrapper,
    as_layer,
    fold_in,
    unknown_child,
)
from jaxnn.layers import Mixed, Remat
from jaxnn.messages.phrases import describe, shown
from jaxnn.train.ensemble import Ensemble
from jaxnn.train.inside import inside

#: `objective(run, batch) -> values [N]`, or `(values, logs)`.
Objective = Callable[..., Any]


class Example(NamedTuple):
    """A batch as the input of a `Body`; not a tuple, which could be a sequence."""

    batch: Any


class Weighted(NamedTuple):
    """A batch, or whole data, with the weight of each example."""

    batch: Any
    weights: Any


class Outcome(NamedTuple):
    """What an objective gave for a batch of N examples."""

    values: jax.Array  # [N]
    logs: dict[str, jax.Array]  # [N] each


class ObjectiveRun:
    """What an objective gets: it calls the network, or a child of it by name.

    `run(x)` is the network's output, `run("decoder", z)` that of its child; both may be
    called as often as needed.  A state that changes, such as running statistics, is
    kept from call to call.

    Attributes:
        key: a random key, fresh in each step.
        params: the network's parameters.
        train: whether this is a training call.
    """

    def __init__(self, run: Run, net: Layer):
        # (An evaluation that passes no key draws the same numbers each time.)
        self._whole_key = jax.random.key(0) if run.key is None else run.key
        self.key: Key = fold_in(self._whole_key, "objective")
        self.params: Params = run.params
        self.train = run.train
        self._run, self._net = run, net
        run.key = self.key if run.train else None

    def __call__(self, *given: Any) -> Any:
        """`run(x)` or `run("name", x)`."""
        if given and isinstance(given[0], str):
            if given[0].split("/")[0] not in self._net.children():
                raise KeyError(unknown_child(self._net, given[0]))
            y = self._part(*given)
        else:
            if len(given) != 1:
                raise TypeError(
                    "objective: run takes the inputs of the network, run(x), or the "
                    f'name of a child, run("name", x), got {describe(given):.100}'
                )
            y = self._run.whole(self._net, *given, self._whole_key)
        # Within `jax.grad` of an inner call, as for a gradient penalty, the state would
        # hold values of that differentiation; it needs no gradient.
        self._run.state = jax.lax.stop_gradient(self._run.state)
        return y

    def _part(self, name: str, x: Any = None) -> Any:
        """Call a child as the wrappers around the network would."""
        return self._run.part(name, _within(self._net, self._run.child(name)), x)


def _within(net: Layer, child: Layer) -> Layer:
    """A child with the precision and the memory of the network that it is called in."""
    if isinstance(net, Mixed | Remat):
        return dataclasses.replace(net, layer=_within(net.layer, child))
    return _within(net.layer, child) if isinstance(net, Wrapper) else child


class Body(Composite):
    """A network whose body is an objective: `Example` in, `Outcome` out.

    Args:
        net: the network.
        objective: its body.
        given: what the user passed: the network, or its ensemble.
    """

    with_lengths = "unknown"
    net: Layer
    objective: Objective
    given: Layer

    def children(self):
        return self.net.children()

    def with_child(self, name, layer):
        return Body(self.net.with_child(name, layer), self.objective, self.given)

    @property
    def at_rest(self):
        return self.net.at_rest

    def forward(self, run, x):
        with inside("the objective", self.objective):
            made = self.objective(ObjectiveRun(run, self.net), x.batch)
        pair = isinstance(made, tuple) and len(made) == 2
        values, logs = made if pair else (made, {})
        examples = {a.shape[0] for a in jax.tree.leaves(x.batch)}
        return _checked(values, logs, *examples)


def _checked(values: Any, logs: Any, examples: int) -> Outcome:
    """Values and logs, with one number for each example."""
    if getattr(values, "shape", None) != (examples,):
        raise ValueError(
            f"objective: it must give one value per example, [{examples}], or (values, "
            f"logs), got {describe(values):.100}; leave the mean over examples to the "
            "trainer"
        )
    if not is_float(values):
        raise TypeError(
            "objective: it must give floating-point values, got " + describe(values)
        )
    if not isinstance(logs, Mapping):
        raise TypeError(
            "objective: logs must be a dict from names to numbers, got "
            f"{describe(logs):.100}"
        )
    return Outcome(values, {n: _each(n, a, examples) for n, a in logs.items()})


def _each(name: Any, log: Any, examples: int) -> jax.Array:
    """A log with one number for each example."""
    if not isinstance(name, str) or name == "loss":
        raise ValueError(
            f"objective: logs must have names of their own, got {name!r:.60}; 'loss' "
            "is the mean of the values"
        )
    log = jnp.asarray(log, jnp.promote_types(jnp.float32, jnp.result_type(log)))
    if log.shape not in ((), (examples,)):
        raise ValueError(
            f"objective: logs[{name!r}] must be one number, or one per example, "
            f"[{examples}], got {describe(log)}"
        )
    return jnp.broadcast_to(log, (examples,))


class _Values:
    """The loss of a network that is a `Body`."""

    def __call__(self, outputs: Outcome, targets: Any) -> jax.Array:
        return outputs.values

    def parts(self, outputs: Outcome, targets: Any) -> dict[str, jax.Array]:
        return outputs.logs

    def __repr__(self) -> str:
        return "objective"

    def __reduce__(self) -> str:
        return "VALUES"


VALUES = _Values()


def with_objective(owner: str, net: Any, objective: Objective) -> Layer:
    """The network that an objective makes of one; of an ensemble, of each member."""
    net = as_layer(net, owner)
    check_objective(owner, objective)
    if isinstance(net, Ensemble):
        one = Body(net.net, objective, net)
        return Ensemble(one, net.members, mesh=net.mesh)  # (a mean of the values)
    return Body(net, objective, net)


def check_objective(owner: str, objective: Any) -> None:
    """Raise unless this is a function."""
    if not callable(objective) or isinstance(objective, type | Layer):
        raise TypeError(
            f"{owner}: objective must be a function objective(run, batch), got "
            f"{shown(objective)}"
        )


def body_of(net: Any) -> Body | None:
    """The `Body` that a network is, perhaps as an ensemble's; None for any other."""
    net = net.net if isinstance(net, Ensemble) else net
    return net if isinstance(net, Body) else None


def unpack(net: Any, batch: Any) -> tuple[Any, Any, Any]:
    """A batch as the network's inputs, targets (none for a `Body`) and weights."""
    if body_of(net) is not None:
        batch, weights = batch if isinstance(batch, Weighted) else (batch, None)
        return Example(batch), (), weights
    if not isinstance(batch, tuple) or len(batch) not in (2, 3):
        raise TypeError(
            "train_step: batch must be a tuple (inputs, targets) or (inputs, targets, "
            f"weights), got {describe(batch):.100}"
        )
    x, targets, *weights = batch
    return x, targets, weights[0] if weights else None
