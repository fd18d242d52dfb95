# SPDX-License-Identifier: Apache-2.0
"""Check that the doctor's arguments fit together."""

from typing import Any

import jax

from jaxnn import trees
from jaxnn.core import Layer
from jaxnn.messages.phrases import describe
from jaxnn.train import checks
from jaxnn.train.batch import rows_of
from jaxnn.train.freezing import without_frozen
from jaxnn.train.objective import body_of, unpack

Variables = tuple[Any, Any]  # parameters and state


def check_carry(state: Any) -> None:
    """Raise for a network whose state holds the carry of one batch of examples."""
    if checks.has_carry(state):
        raise ValueError(
            "diagnose: net must not be stateful, got one whose carry is that of a "
            "batch of examples; give the network that nn.stateful was given, with the "
            "same parameters, state=(state.params, {})"
        )


def checked_optimizer(optimizer: Any, net: Layer, params: Any, opt_state: Any) -> Any:
    """The run's optimizer; its state must look like `opt_state`."""
    checks.check_optimizer("diagnose", optimizer)
    optimizer = without_frozen(optimizer, net)
    if opt_state is None:
        return optimizer
    with jax.numpy_dtype_promotion("standard"):  # Optax's own arithmetic needs it
        expected = jax.eval_shape(optimizer.init, params)
    if _shapes(expected) != _shapes(opt_state):
        raise ValueError(
            "diagnose: optimizer must be that of the run, but the state was made by "
            f"another; it has {_kinds(opt_state)}, this optimizer {_kinds(expected)}"
        )
    return optimizer


def _shapes(tree: Any) -> tuple:
    """What the states of two equal optimizers share: the structure and the shapes."""
    return jax.tree.structure(tree), [jax.numpy.shape(a) for a in jax.tree.leaves(tree)]


def _kinds(opt_state: Any) -> str:
    """The names of the parts of an optimizer's state, such as `ScaleByAdamState`."""
    parts = opt_state if type(opt_state) is tuple else (opt_state,)
    return ", ".join(type(part).__name__ for part in parts)


def checked_data(net, params, state, train, validation, loss) -> tuple[Any, Any]:
    """Both sets, checked against the network, the loss and each other."""
    pairs = body_of(net) is None
    train = checks.checked_data(train, "diagnose: train", pairs=pairs)
    if validation is not None:
        what = "diagnose: validation"
        validation = checks.checked_data(validation, what, pairs=pairs)
    variables = params, state
    _check_network(net, variables, unpack(net, train)[0])
    _check_set(net, variables, loss, train, "train")
    if validation is not None:
        _check_alike(net, variables, train, validation)
        _check_set(net, variables, loss, validation, "validation")
    return train, validation


def _check_network(net: Layer, variables: Variables, x: Any) -> None:
    """Raise, with a hint at the cause, unless the network takes the training inputs."""
    try:
        checks.check_network("diagnose", net, *variables, rows_of(x, 1))
    except Exception as error:
        if _is_of_several(net, variables[0], x):
            raise ValueError(
                "diagnose: state must be that of a single network, got an ensemble's; "
                "look at one of its members, nn.member(state, 0)"
            ) from error
        error.add_note("diagnose: train must be what the network was trained on")
        raise


def _is_of_several(net: Layer, params: Any, x: Any) -> bool:
    """Whether every parameter has one more leading axis than the network's own."""
    try:
        own = jax.eval_shape(net.init, jax.random.key(0), rows_of(x, 1))[0]
    except Exception:  # the network rejects the inputs: they are the problem
        return False
    own, given = trees.paths(own), trees.paths(params)
    return own.keys() == given.keys() and all(
        jax.numpy.shape(given[path])[1:] == own[path].shape != given[path].shape
        for path in own
    )


def _check_set(
    net: Layer, variables: Variables, loss: Any, data: Any, what: str
) -> None:
    """Raise unless the network takes the inputs and the loss takes its outputs."""
    about = {"loss": loss, "what": what, "strict": False}
    found = checks.check_together("diagnose", net, variables, data, **about)
    if loss is not None:  # with two examples: with one, a mean would look right
        pair = rows_of((found.outputs, unpack(net, data)[1]), 2)
        checks.check_each("diagnose", "loss", jax.eval_shape(loss, *pair), 2)


def _check_alike(net: Layer, variables: Variables, train: Any, validation: Any) -> None:
    """Raise unless examples of both sets have the same shapes.

    Sequences may have another length, if the network takes them.
    """
    longer = False
    train, validation = (unpack(net, data)[:2] for data in (train, validation))
    for part, name in ((0, "inputs"), (1, "targets")):
        if _sizes(train[part]) == _sizes(validation[part]):
            continue
        if part == 0 and _axes(train[0]) == _axes(validation[0]):
            longer = _takes(net, variables, validation[0])
        if not longer or _axes(train[part]) != _axes(validation[part]):
            raise ValueError(
                f"diagnose: validation {name} must have the shape of the training "
                f"{name} but for the number of examples, "
                f"{describe(train[part])}, got "
                f"{describe(validation[part])}"
            )


def _takes(net: Layer, variables: Variables, x: Any) -> bool:
    """Whether the network takes such inputs."""
    try:
        checks.check_network("diagnose", net, *variables, rows_of(x, 1))
    except Exception:  # any layer may reject them in its own way
        return False
    return True


def _sizes(tree: Any) -> dict[str, tuple]:
    """The shape of one example, array by array."""
    return {path: tuple(a.shape[1:]) for path, a in trees.paths(tree).items()}


def _axes(tree: Any) -> dict[str, int]:
    """How many axes each array has."""
    return {path: len(a.shape) for path, a in trees.paths(tree).items()}
