# SPDX-License-Identifier: Apache-2.0
"""One compiled program that looks inside a network: gradients, units, trial steps."""

from collections.abc import Callable
from functools import lru_cache
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from jaxnn import trees
from jaxnn.core import Composite, Function, Layer, as_layer, trace
from jaxnn.layers.combine import Repeat, Sequential
from jaxnn.messages.phrases import describe
from jaxnn.spec import Spec
from jaxnn.surgery import Tap, layer_paths
from jaxnn.train.programs import program
from jaxnn.train.step import loss_weights, weighted_sum

#: The optimizer's step is tried at these lengths, relative to its own.
LENGTHS = (0.0, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 1e2, 1e3, 1e4, 1e5)
#: A sigmoid closer than this to 0 or 1 has less than a tenth of its steepest slope.
FLAT = 0.02


class Probe(Spec):
    """What to probe; hashable, so that equal probes compile only once."""

    net: Layer
    loss: Callable[..., jax.Array]
    optimizer: optax.GradientTransformation | None
    units: tuple[tuple[str, str, int], ...]  # path, kind of activation, Repeats around
    first: str | None  # the layer whose output the first weights get; None: the inputs


class Units(NamedTuple):
    """The units of one activation in one state of the network."""

    path: str
    kind: str  # relu, sigmoid or tanh
    silent: float  # the fraction of units that are 0 for every example
    flat: float  # the fraction of outputs where the activation is flat


class Inside(NamedTuple):
    """What the probe found; pairs are for the start and the end of the run.

    Attributes:
        gradients: from each layer, in order, to the norm of the loss's gradient there.
        sizes: the norm of all parameters.
        units: those of every ReLU, sigmoid and tanh.
        steps: the loss after a step of the optimizer, by the step's length; or {}.
        pull: the cosine of the gradient with -θ at the end: 1 if a penalty on θ is all
            that keeps the loss from falling.
        loss: the loss at the end, computed in training mode.
        outputs: the outputs for the sampled examples, computed in training mode.
        seen: the input of the first layer with weights.
    """

    gradients: dict[str, tuple[float, float]]
    sizes: tuple[float, float]
    units: tuple[tuple[Units, Units], ...]
    steps: dict[float, float]
    pull: float
    loss: float
    outputs: Any
    seen: Any


def look_inside(net: Layer, loss: Any, optimizer: Any, points: Any, batch: Any, key):
    """Run the probe.

    Args:
        net: a network.
        loss: its loss.
        optimizer: the run's, or None.
        points: `((params, state) at the start, (params, state) at the end, opt_state)`.
        batch: `(x, targets)`, the examples to probe with.
        key: a random key for random layers in training.
    """
    net = as_layer(net, "diagnose")
    start, end, opt_state = points
    calls = trace(net, batch[0])
    probe = Probe(net, loss, optimizer, _activations(net, calls), _before(calls))
    both = jax.tree.map(lambda a, b: jnp.stack([jnp.asarray(a), b]), start, end)
    norms, sizes, units, steps, pull, value, outputs, seen = jax.device_get(
        _run(both, opt_state, batch, key, probe=probe)
    )
    both_sides = [
        tuple(Units(path, kind, float(silent[i]), float(flat[i])) for i in (0, 1))
        for (path, kind, _), (silent, flat) in zip(probe.units, units, strict=True)
    ]
    pairs = {path: (float(n[0]), float(n[1])) for path, n in _by_layer(norms, calls)}
    return Inside(
        pairs,
        (float(sizes[0]), float(sizes[1])),
        tuple(both_sides),  # type: ignore[arg-type]
        {} if optimizer is None else _by_length(steps),
        float(pull),
        float(value),
        outputs,
        batch[0] if probe.first is None else seen,
    )


def _by_length(losses: np.ndarray) -> dict[float, float]:
    return dict(zip(LENGTHS, map(float, losses), strict=True))


@program()
def _run(both, opt_state, batch, key, *, probe: Probe):
    x, targets = batch
    tapped = {path for path, _, _ in probe.units}
    tapped |= set() if probe.first is None else {probe.first}
    net = Tap(probe.net, tuple(sorted(tapped)))

    def objective(params, state):
        (y, taps), _ = net.apply(params, state, x, key=key, train=True)
        values = probe.loss(y, targets)
        weights = loss_weights(probe.loss, targets, None, len(values))
        total, weight = weighted_sum(values, weights)
        return total / jnp.maximum(weight, 1e-30), (y, taps)

    def at(point):
        params, state = point
        (value, (y, taps)), grads = jax.value_and_grad(objective, has_aux=True)(
            params, state
        )
        units = [_measure(taps[path], kind, depth) for path, kind, depth in probe.units]
        norms = {p: _norms(g, p, probe) for p, g in trees.paths(grads).items()}
        seen = taps.get(probe.first, ())
        pull = -_dot(grads, params) / (_norm(grads) * _norm(params) + 1e-30)
        return grads, norms, _norm(params), units, (pull, value), y, seen

    grads, norms, sizes, units, (pull, value), y, seen = jax.lax.map(at, both)
    (params, state), grads, y, seen = _last((both, grads, y, seen))
    losses = jnp.zeros(0)
    if probe.optimizer is not None:
        update = _update(probe.optimizer, grads, opt_state, params, state, objective)
        losses = jax.lax.map(
            lambda s: objective(
                jax.tree.map(lambda p, u: (p + s * u).astype(p.dtype), params, update),
                state,
            )[0],
            jnp.array(LENGTHS),
        )
    return norms, sizes, units, losses, pull[-1], value[-1], y, seen


def _norm(tree: Any) -> jax.Array:
    return jnp.sqrt(_dot(tree, tree))


def _dot(a: Any, b: Any) -> jax.Array:
    return sum(jax.tree.leaves(jax.tree.map(lambda a, b: (a * b).sum(), a, b)), 0.0)  # type: ignore


def _last(tree: Any) -> Any:
    return jax.tree.map(lambda a: a[-1], tree)


def _update(optimizer, grads, opt_state, params, state, objective):
    with jax.numpy_dtype_promotion("standard"):
        return optax.with_extra_args_support(optimizer).update(
            grads,
            opt_state,
            params,
            value=objective(params, state)[0],
            grad=grads,
            value_fn=lambda params: objective(params, state)[0],
        )[0]


def _norms(gradient: jax.Array, path: str, probe: Probe) -> jax.Array:
    """The squared norm; one per block of a `Repeat`, whose weights are stacked."""
    depth = _repeats(probe.net, path.split("/"))
    return jnp.square(gradient).sum(tuple(range(depth, gradient.ndim))).reshape(-1)


def _repeats(net: Layer, names: list[str]) -> int:
    """How many `Repeat`s a path leads through."""
    count, layer = int(isinstance(net, Repeat)), net
    for name in names:
        layer = layer.children().get(name)
        if layer is None:
            break
        count += isinstance(layer, Repeat)
    return count


def _by_layer(norms: dict[str, np.ndarray], calls: list) -> list[tuple[str, Any]]:
    """Norms of the layers that have weights, in execution order."""
    order = list(dict.fromkeys(call.path for call in calls))
    layers: dict[str, list[np.ndarray]] = {}
    weighty = set()
    for path, squares in norms.items():
        layer, _, name = path.rpartition("/")
        layers.setdefault(layer, []).append(squares)
        if name not in ("b", "scale", "offset"):
            weighty.add(layer)
    found = []
    for layer in sorted(weighty, key=lambda path: _place(path, order)):
        total = np.sqrt(sum(layers[layer]))  # [2, blocks]
        blocks = total.shape[1]
        name = layer or "the network"
        for i in range(blocks):
            found.append((f"{name}[{i}]" if blocks > 1 else name, total[:, i]))
    return found


def _place(path: str, order: list[str]) -> int:
    """The position at which the layer at a path, or around it, first runs."""
    return next(
        (i for i, p in enumerate(order) if path == p or path.startswith(f"{p}/")),
        len(order),
    )


def _activations(net: Layer, calls: list) -> tuple[tuple[str, str, int], ...]:
    """The ReLUs, sigmoids and tanhs of a network, except one at its very end."""
    last = calls[-1].path if calls else None
    found = []
    for path, layer in layer_paths(net).items():
        kind = activation(layer.function) if isinstance(layer, Function) else None
        if kind is not None and path != last and _is_open(net, path.split("/")):
            found.append((path, kind, _repeats(net, path.split("/"))))
    return tuple(found)


def _is_open(net: Layer, names: list[str]) -> bool:
    """Whether all layers on the path only call their children on arrays, once each."""
    layer = net
    for name in names:
        plain = type(layer).init is Composite.init
        if not plain and not isinstance(layer, Repeat | Sequential):
            return False
        layer = layer.children()[name]
    return True


@lru_cache(maxsize=256)
def activation(function: Callable) -> str | None:
    """`relu`, `sigmoid` or `tanh` if a function is one, found by trying it."""
    x = np.array([[-3.0, -1.0, -0.5, 0.5, 1.0, 3.0]], np.float32)
    try:
        y = np.asarray(function(jnp.asarray(x)))
    except Exception:  # the function can be anything
        return None
    known = {
        "relu": np.maximum(x, 0),
        "sigmoid": 1 / (1 + np.exp(-x)),
        "tanh": np.tanh(x),
    }
    for kind, expected in known.items():
        if y.shape == x.shape and np.allclose(y, expected, atol=1e-3):
            return kind
    return None


def _measure(tapped: Any, kind: str, depth: int) -> tuple[jax.Array, jax.Array]:
    """The fraction of units that never fire, and of outputs on a flat part."""
    ys = tapped if isinstance(tapped, tuple) else (tapped,)
    alive, flat = jnp.zeros((), bool), []
    for y in ys:  # one per call of a shared layer
        units = tuple(range(depth, y.ndim - 1))
        alive = alive | (y > 0).any(units)
        level = y if kind == "sigmoid" else (y + 1) / 2
        flat.append(((level < FLAT) | (level > 1 - FLAT)).mean())
    silent = (~alive).mean(dtype=jnp.float32) if kind == "relu" else jnp.float32(0)
    return silent, jnp.stack(flat).mean() if kind != "relu" else jnp.float32(0)


def _before(calls: list) -> str | None:
    """The layer before the first one with weights, if it provides that one's input."""
    weighty = [i for i, call in enumerate(calls) if jax.tree.leaves(call.params)]
    if not weighty or weighty[0] == 0:
        return None
    before, call = calls[weighty[0] - 1 : weighty[0] + 1]
    alike = describe(before.y) == describe(call.x)
    return before.path if alike else None
