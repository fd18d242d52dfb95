# SPDX-License-Identifier: Apache-2.0
"""What a layer answers if it is built, called or assigned to as in other libraries."""

import dataclasses
import inspect
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from jaxnn.messages.arguments import advised
from jaxnn.messages.elsewhere_calls import METHODS
from jaxnn.messages.phrases import nearest, shown


def called(layer: Any) -> TypeError:
    """The error for `layer(x)`: layers hold no weights."""
    return TypeError(
        f"{type(layer).__name__}: a layer holds no weights and is not called; write "
        "`params, state = net.init(key, x)`, then `y, state = net.apply(params, state, "
        'x)`; in the forward of a Composite `run("name", x)`, for a trained network '
        "`nn.predict(net, state, x)`"
    )


#: How the two functions of a layer are called.
_CALLS = {
    "init": "init takes key, x, as in params, state = net.init(jax.random.key(0), x)",
    "apply": "apply takes params, state, x, and by name key= and train=; params and "
    "state both come from init",
}


def misapplied(
    layer: Any, name: str, given: Sequence[Any], options: Mapping[str, Any]
) -> TypeError:
    """The error for a call of `init` or `apply` with other arguments than it takes."""
    said = [shown(value) for value in given]
    said += [f"{option}={shown(value)}" for option, value in options.items()]
    return TypeError(
        f"{type(layer).__name__}: {_CALLS[name]}; got {', '.join(said) or 'nothing'}"
    )


def check_options(layer: Any, apply: Any, options: Iterable[str]) -> None:
    """Raise if `apply` was given by name what it does not take."""
    takes = inspect.signature(apply).parameters
    for name in options:
        if name not in takes:
            raise TypeError(
                f"{type(layer).__name__}: {name}= is not an argument of apply; "
                + (advised(name, takes) or _CALLS["apply"] + nearest(name, takes))
            )


_TRAINABLE = (
    "Write nn.Frozen(layer) for a layer that does not learn, or "
    "nn.freeze(optimizer, 'body/*') for parameters by path."
)
_MODES = {
    "trainable": _TRAINABLE,
    "requires_grad": _TRAINABLE,
    "training": "Pass train=True to apply in training.",
}


def assigned(layer: Any, name: str, value: Any) -> dataclasses.FrozenInstanceError:
    """The error for `layer.name = value`: fields are declared in the class."""
    owner = type(layer).__name__
    if name in _MODES:
        return dataclasses.FrozenInstanceError(
            f"{owner}: a layer is frozen, {name} cannot be assigned. {_MODES[name]}"
        )
    if hasattr(value, "shape") and hasattr(value, "dtype"):
        field = f"{name}: nn.Layer = nn.Parameter({tuple(value.shape)})"
    elif hasattr(value, "apply"):
        field = f"{name}: nn.Layer = nn.{value!r:.60}"
    else:
        field = f"{name}: {type(value).__name__}"
    return dataclasses.FrozenInstanceError(
        f"{owner}: a layer is frozen, {name} cannot be assigned. Declare it in the "
        f"class, without __init__:\n    class {owner}(nn.Composite):\n        {field}\n"
        "What changes during training is in params and state, not in the layer."
    )


def run_without_name(layer: Any, name: Any) -> TypeError:
    """The error for `run(x)` in a composite."""
    return TypeError(
        f"{type(layer).__name__}: run takes the name of a child, "
        f'run("name", x), got {name!r:.60}'
    )


def layer_lacks(layer: Any, name: str) -> AttributeError:
    """The error for an attribute that layers do not have, such as `net.fit`."""
    answer = METHODS.get(name)
    text = f"{type(layer).__name__}: a layer has no {name}"
    return AttributeError(f"{text}; {answer}" if answer else text, name=name, obj=layer)


def run_lacks(layer: Any, name: str) -> AttributeError:
    """The error for `run.name`: children are called by name."""
    return AttributeError(
        f"{type(layer).__name__}: run has no {name}; a child is called by "
        f'run("{name}", x), and its parameters are run.params["{name}"]',
        name=name,
    )


@contextmanager
def own_params(layer: Any, params: Mapping[str, Any]) -> Iterator[None]:
    """Make a `KeyError` of `forward` say when `run.params` has a child's parameters."""
    try:
        yield
    except KeyError as error:
        name = error.args[0] if error.args else None
        names = list(layer.children())
        if name in names and name not in params:
            error.add_note(
                f"run.params has no {name!r} yet: run({name!r}, x) makes them at init, "
                f"so call it first; the children are {', '.join(names)}"
            )
        elif isinstance(name, str) and (near := nearest(name, names)):
            error.add_note(f"run.params has those of {', '.join(names)}{near}")
        raise


def check_forward(kind: type) -> None:
    """Raise unless `forward` of a composite takes `run` and one input."""
    try:
        inspect.signature(vars(kind)["forward"]).bind(None, None, None)
    except TypeError:
        raise TypeError(
            f"{kind.__name__}: forward must take run and x, def forward(self, run, x); "
            'it calls a child by run("name", x). Several inputs are one dict or tuple'
        ) from None


def unknown_child(layer: Any, name: str) -> str:
    """The error message for a name that no child has."""
    names = list(layer.children())
    has = f"it has {', '.join(names)}" if names else "it has none"
    if hasattr(type(layer), "forward"):  # a composite
        has += "; a child is an annotated field of the class, `body: nn.Layer`"
    return f"{type(layer).__name__} has no child {name!r}; {has}{nearest(name, names)}"
