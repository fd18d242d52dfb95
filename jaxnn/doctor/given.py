# SPDX-License-Identifier: Apache-2.0
"""Check that the doctor's arguments fit together."""

from typing import Any

import jax

from jaxnn import trees
from jaxnn.core import Layer
from jaxnn.train import checks
from jaxnn.train.batch import rows_of

Variables = tuple[Any, Any]  # parameters and state


def check_memory(state: Any) -> None:
    """Raise for a network whose state remembers one batch of examples."""
    if checks.has_memory(state):
        raise ValueError(
            "net: is stateful, its memory is that of one batch of examples; give the "
            "network that nn.stateful was given, with the same parameters, "
            "state=(state.params, {})"
        )


def check_optimizer(optimizer: Any, params: Any, opt_state: Any) -> None:
    """Raise unless this is an optimizer whose state looks like `opt_state`."""
    if not hasattr(optimizer, "init") or not hasattr(optimizer, "update"):
        raise TypeError(
            "optimizer: must be an Optax optimizer such as optax.sgd(0.1), got "
            f"{optimizer!r:.60}"
        )
    if opt_state is None:
        return
    with jax.numpy_dtype_promotion("standard"):  # Optax's own arithmetic needs it
        expected = jax.eval_shape(optimizer.init, params)
    if _shapes(expected) != _shapes(opt_state):
        raise ValueError(
            "optimizer: must be that of the run, but the state was made by another; "
            f"it has {_kinds(opt_state)}, and this optimizer {_kinds(expected)}"
        )


def _shapes(tree: Any) -> tuple:
    """What the states of two equal optimizers share: the structure and the shapes."""
    return jax.tree.structure(tree), [jax.numpy.shape(a) for a in jax.tree.leaves(tree)]


def _kinds(opt_state: Any) -> str:
    """The names of the parts of an optimizer's state, such as `ScaleByAdamState`."""
    parts = opt_state if type(opt_state) is tuple else (opt_state,)
    return ", ".join(type(part).__name__ for part in parts)


def checked_data(net, params, state, train, validation, loss) -> tuple[Any, Any]:
    """Both sets, checked against the network, the loss and each other."""
    train = checks.checked_pair(train, "train")
    if validation is not None:
        validation = checks.checked_pair(validation, "validation")
    variables = params, state
    _check_network(net, variables, train[0])
    _check_set(net, variables, loss, train, "train")
    if validation is not None:
        _check_alike(net, variables, train, validation)
        _check_set(net, variables, loss, validation, "validation")
    return train, validation


def _check_network(net: Layer, variables: Variables, x: Any) -> None:
    """Raise, with a hint at the cause, unless the network takes the training inputs."""
    try:
        checks.check_network(net, *variables, rows_of(x, 1))
    except Exception as error:
        if _is_of_several(net, variables[0], x):
            raise ValueError(
                "state: is that of an ensemble; look at one of its members, "
                "nn.member(state, 0)"
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
    found = checks.check_together(net, variables, data, **about)
    if loss is not None:  # with two examples: with one, a mean would look right
        pair = rows_of((found.outputs, data[1]), 2)
        checks.check_each("loss", jax.eval_shape(loss, *pair), 2)


def _check_alike(net: Layer, variables: Variables, train: Any, validation: Any) -> None:
    """Raise unless examples of both sets have the same shapes.

    Sequences may have another length, if the network takes them.
    """
    longer = False
    for part, name in ((0, "inputs"), (1, "targets")):
        if _sizes(train[part]) == _sizes(validation[part]):
            continue
        if part == 0 and _axes(train[0]) == _axes(validation[0]):
            longer = _takes(net, variables, validation[0])
        if not longer or _axes(train[part]) != _axes(validation[part]):
            raise ValueError(
                f"validation {name}: must have the shape of the training {name} but "
                f"for the number of examples, {trees.describe(train[part])}, got "
                f"{trees.describe(validation[part])}"
            )


def _takes(net: Layer, variables: Variables, x: Any) -> bool:
    """Whether the network takes such inputs."""
    try:
        checks.check_network(net, *variables, rows_of(x, 1))
    except Exception:  # any layer may reject them in its own way
        return False
    return True


def _sizes(tree: Any) -> dict[str, tuple]:
    """The shape of one example, array by array."""
    return {path: tuple(a.shape[1:]) for path, a in trees.paths(tree).items()}


def _axes(tree: Any) -> dict[str, int]:
    """How many axes each array has."""
    return {path: len(a.shape) for path, a in trees.paths(tree).items()}
