# SPDX-License-Identifier: Apache-2.0
"""Work on a network by path: list layers, replace them, tap their outputs."""

from collections.abc import Callable
from fnmatch import fnmatchcase
from typing import Any, NamedTuple

from jaxnn.core import Layer, Wrapper, as_layer
from jaxnn.inputs.steps import plain
from jaxnn.messages.phrases import nearest, shown
from jaxnn.messages.tracebacks import entrance


@entrance
def layer_paths(net: Layer) -> dict[str, Layer]:
    """Every layer inside a network by its path, outer layers first.

    >>> import jaxnn as nn
    >>> list(nn.layer_paths(nn.Sequential(body=nn.Sequential(fc=nn.Dense(2)))))
    ['body', 'body/fc']
    """
    found = {}
    for name, child in net.children().items():
        found[name] = child
        found |= {f"{name}/{path}": c for path, c in layer_paths(child).items()}
    return found


@entrance
def edit(net: Layer, path: str, change: Callable[[Layer], Any]) -> Layer:
    """Return the network with the layers at `path` replaced by `change(layer)`.

    Parameters keep their paths, so those of the other layers fit the new network.

    Args:
        net: a network; it is not modified.
        path: a path such as `stage1/conv2`, or a pattern such as `*/relu_?`.
        change: maps the old layer to the new one (or to a function); or a layer.

    Raises:
        KeyError: if no layer is there; the message suggests the nearest path.

    >>> import jax, jaxnn as nn
    >>> net = nn.Sequential(nn.Dense(8), jax.nn.relu, nn.Dense(2))
    >>> nn.edit(net, "relu_1", lambda layer: jax.nn.tanh)
    Sequential(Dense(8), relu_1=jax.nn.tanh, dense_2=Dense(2))
    """
    if not isinstance(net, Layer):
        raise TypeError(f"edit: the first argument must be a network, got {net!r:.60}")
    if isinstance(change, Layer):
        change = _always(change)
    if not callable(change):
        raise TypeError(
            f"edit: change must be a function of a layer, got {shown(change)}"
        )
    everything = layer_paths(net)
    found = [p for p in everything if p == path or fnmatchcase(p, path)]
    if not found:
        raise KeyError(
            f"edit: no layer at {path!r}{nearest(path, everything)}; "
            f"the network has {', '.join(everything) or 'no children'}"
        )
    for p in reversed(found):  # inner ones first, while their outer layers exist
        net = _replace(net, p.split("/"), change)
    return net


def _always(layer: Layer) -> Callable[[Layer], Layer]:
    return lambda _: layer


def _replace(net: Layer, names: list[str], change: Callable[[Layer], Any]) -> Layer:
    name, *rest = names
    child = net.children()[name]
    new = _replace(child, rest, change) if rest else change(child)
    return net.with_child(name, as_layer(new, "edit"))


class _Probed(NamedTuple):
    """The state of a probed layer: its own, and its outputs, one per call."""

    state: Any
    outputs: tuple


class _Probe(Wrapper):
    """A layer that puts its outputs in its state, so that any transform keeps them.

    With `read`, it puts `read(layer, params, x)` there instead.
    """

    read: Callable[[Any, Any, Any], Any] | None = None

    def apply(self, params, state, x, *, key=None, train=False) -> tuple[Any, Any]:
        before = ()
        if isinstance(state, _Probed):  # the second call of a shared layer
            state, before = state
        y, state = self.layer.apply(params, state, x, key=key, train=train)
        seen = y if self.read is None else self.read(self.layer, params, x)
        return y, _Probed(state, (*before, seen))


class Tap(Layer):
    """A network that also returns the outputs of layers inside it.

    `apply` returns `(y, {path: output})` instead of `y`.  Parameters, state and paths
    are those of the network, so a trained network can be tapped.  A layer that is
    called several times gives a tuple; inside a `Repeat`, outputs have an additional
    first axis.

    Args:
        net: a network.
        paths: a path or pattern, or a tuple of them, as in `edit`.
        read: `read(layer, params, x)`, what to return of each layer and its input
            instead of its output, such as `nn.MultiHeadAttention.weights`.

    >>> import jax, jax.numpy as jnp, jaxnn as nn
    >>> net, x = nn.Sequential(nn.Dense(8), jax.nn.relu, nn.Dense(2)), jnp.ones((3, 4))
    >>> params, state = net.init(jax.random.key(0), x)
    >>> (y, taps), _ = nn.Tap(net, "relu_1").apply(params, state, x)
    >>> taps["relu_1"].shape
    (3, 8)
    """

    with_lengths = "carries"
    net: Layer
    paths: str | tuple[str, ...]
    read: Callable[[Any, Any, Any], Any] | None = None

    def __post_init__(self):
        patterns = (self.paths,) if isinstance(self.paths, str) else self.paths
        if not isinstance(patterns, tuple | list) or not all(
            isinstance(path, str) for path in patterns
        ):
            raise TypeError(
                f"Tap: paths must be a path or a tuple of them, got {self.paths!r:.60}"
            )
        if self.read is not None and not callable(self.read):
            raise TypeError(
                "Tap: read must be a function of a layer, its parameters and its "
                f"input, got {self.read!r:.60}"
            )
        probed = self.net
        for path in patterns:
            probed = edit(probed, path, self._probe)
        object.__setattr__(self, "_probed", probed)

    def _probe(self, layer: Layer) -> Layer:
        """Probe the layer, only once even if several patterns match it."""
        return layer if isinstance(layer, _Probe) else _Probe(layer, self.read)

    def children(self):
        return self.net.children()

    def with_child(self, name, layer):
        return Tap(self.net.with_child(name, layer), self.paths, self.read)

    def init(self, key, x):
        return self.net.init(key, x)

    def apply(self, params, state, x, *, key=None, train=False):
        probed: Layer = self._probed  # type: ignore[attr-defined]
        y, state = probed.apply(params, state, x, key=key, train=train)
        taps: dict[str, Any] = {}
        state = _collect(probed, state, "", taps)
        return (y, plain(taps)), state


def _collect(layer: Layer, state: Any, path: str, taps: dict[str, Any]) -> Any:
    """Move the outputs out of a probed network's state."""
    if isinstance(layer, _Probe) and isinstance(state, _Probed):
        (state, outputs), layer = state, layer.layer
        taps[path] = outputs[0] if len(outputs) == 1 else outputs
    if not layer.children():
        return state
    below = {}
    for name, part in state.items():
        inside = layer.children().get(name)
        at = f"{path}/{name}".lstrip("/")
        part = part if inside is None else _collect(inside, part, at, taps)
        below |= {name: part} if part else {}
    return below
