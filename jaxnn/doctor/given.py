# SPDX-License-Identifier: Apache-2.0
"""Whether what the doctor is given belongs together."""

from typing import Any

import jax

from jaxnn import trees
from jaxnn.core import Layer
from jaxnn.doctor.case import one
from jaxnn.train import checks
from jaxnn.train.facts import Facts
from jaxnn.train.targets import check_targets


def check_memory(state: Any) -> None:
    """Raise for a network whose state remembers one batch of examples."""
    if checks.has_memory(state):
        raise ValueError(
            "net: is stateful, its memory is that of one batch of examples; give the "
            "network that nn.stateful was given, with the same parameters, "
            "state=(state.params, {})"
        )


def check_optimizer(optimizer: Any, params: Any, opt_state: Any) -> None:
    """Raise unless this is an optimizer, and one that has such a state."""
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
    """What two optimizers of one kind have in common: the structure and the shapes."""
    return jax.tree.structure(tree), [jax.numpy.shape(a) for a in jax.tree.leaves(tree)]


def _kinds(opt_state: Any) -> str:
    """The names of the parts of an optimizer's state, such as `ScaleByAdamState`."""
    parts = opt_state if type(opt_state) is tuple else (opt_state,)
    return ", ".join(type(part).__name__ for part in parts)


def checked_data(net, params, state, train, validation, loss) -> tuple[Any, Any]:
    """Both sets, which fit the network, the loss and one another."""
    train = _checked_set(train, "train")
    if validation is not None:
        validation = _checked_set(validation, "validation")
    found = _checked_network(net, params, state, train[0])
    _check_set(found, loss, train, "train")
    if validation is not None:
        found = _check_alike(net, params, state, train, validation) or found
        _check_set(found, loss, validation, "validation")
    return train, validation


def _checked_set(data: Any, what: str) -> Any:
    checks.check_pair(data, what)
    data = checks.as_arrays(data, what)
    checks.check_arrays(data, what)
    return data


def _checked_network(net, params, state, x) -> Facts:
    """What the network puts out for training inputs, if it takes them."""
    try:
        return checks.check_network(net, params, state, one(x))
    except Exception as error:
        if _is_of_several(net, params, x):
            raise ValueError(
                "state: is that of an ensemble; look at one of its members, "
                "nn.member(state, 0)"
            ) from error
        error.add_note("diagnose: train must be what the network was trained on")
        raise


def _is_of_several(net: Layer, params: Any, x: Any) -> bool:
    """Whether every parameter has one more axis in front than the network's own."""
    try:
        own = jax.eval_shape(net.init, jax.random.key(0), one(x))[0]
    except Exception:  # the network refuses the inputs: they are what is wrong
        return False
    own, given = trees.paths(own), trees.paths(params)
    return own.keys() == given.keys() and all(
        jax.numpy.shape(given[path])[1:] == own[path].shape != given[path].shape
        for path in own
    )


def _check_set(found: Facts, loss: Any, data: Any, what: str) -> None:
    """Raise unless the network takes the inputs' values, and the loss the targets."""
    checks.check_values(found, data[0], what)
    if loss is None:
        return
    check_targets(loss, found.outputs, data[1], what)
    pair = jax.tree.map(_two, (found.outputs, data[1]))
    checks.check_each("loss", jax.eval_shape(loss, *pair), 2)


def _two(a: Any) -> jax.ShapeDtypeStruct:
    """The shapes of two examples: one would pass for the mean of one."""
    dtype = jax.dtypes.canonicalize_dtype(a.dtype)
    return jax.ShapeDtypeStruct((2, *a.shape[1:]), dtype)


def _check_alike(net, params, state, train, validation) -> Facts | None:
    """Raise unless examples of both sets have the same shapes.

    Sequences may be of another length, if the network takes them: then what it puts
    out for validation inputs.
    """
    found = None
    for part, name in ((0, "inputs"), (1, "targets")):
        if _sizes(train[part]) == _sizes(validation[part]):
            continue
        if part == 0 and _axes(train[0]) == _axes(validation[0]):
            found = _taken(net, params, state, validation[0])
        if found is None or _axes(train[part]) != _axes(validation[part]):
            raise ValueError(
                f"validation {name}: must have the shape of the training {name} but "
                f"for the number of examples, {trees.describe(train[part])}, got "
                f"{trees.describe(validation[part])}"
            )
    return found


def _taken(net, params, state, x) -> Facts | None:
    """What the network puts out for inputs; None if it refuses them."""
    try:
        return checks.check_network(net, params, state, one(x))
    except Exception:  # any layer may refuse them in its own way
        return None


def _sizes(tree: Any) -> dict[str, tuple]:
    """The shape of an example, array by array."""
    return {path: tuple(a.shape[1:]) for path, a in trees.paths(tree).items()}


def _axes(tree: Any) -> dict[str, int]:
    """How many axes each array has."""
    return {path: len(a.shape) for path, a in trees.paths(tree).items()}
