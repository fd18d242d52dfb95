# SPDX-License-Identifier: Apache-2.0
"""Ensembles: identical networks, initialized differently, trained as one program."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from jaxnn.checks import positive_int
from jaxnn.core import Layer, as_layer
from jaxnn.inputs.steps import Steps, handed, plain
from jaxnn.messages.arguments import answered
from jaxnn.messages.phrases import describe
from jaxnn.messages.tracebacks import entrance

AVERAGES = ("outputs", "softmax", "sigmoid")


class Ensemble(Layer):
    """Several networks as one; see `ensemble`.

    Parameters and state are those of the network with a leading axis of members.

    Args:
        net, members, average, mesh: as for `ensemble`; `members` is its `n`.
    """

    with_lengths = "uses"
    net: Layer
    members: int
    average: str = "outputs"
    mesh: Mesh | None = None

    def __post_init__(self):
        positive_int("ensemble", "n", self.members)
        if isinstance(self.net, Ensemble):
            every = self.members * self.net.members
            raise TypeError(
                "ensemble: net is an ensemble already; make one of its network with "
                f"all members: ensemble(net, {every})"
            )
        if self.average not in AVERAGES:
            raise ValueError(
                f"ensemble: average must be one of {', '.join(AVERAGES)}, got "
                f"{self.average!r}"
            )
        if self.mesh is not None:
            self._check_mesh()

    def _check_mesh(self) -> None:
        if not isinstance(self.mesh, Mesh):
            raise TypeError(
                "ensemble: mesh must be a jax.sharding.Mesh, such as "
                f"jax.make_mesh((4,), ('members',)), got {self.mesh!r:.60}"
            )
        devices = self.mesh.devices.shape[0]
        if self.members % devices:
            raise ValueError(
                f"ensemble: n must be a multiple of the {devices} devices along the "
                f"mesh's first axis, got {self.members}"
            )

    def children(self):
        return self.net.children()

    def with_child(self, name, layer):
        net = self.net.with_child(name, layer)
        return Ensemble(net, self.members, self.average, self.mesh)

    def init(self, key, x):
        keys = jax.random.split(key, self.members)
        if isinstance(x, Steps):
            x = jax.eval_shape(lambda x: handed(self.net, x), x)
            return jax.vmap(lambda key: self.net.init(key, x))(keys)
        return jax.vmap(self.net.init, in_axes=(0, None))(keys, x)

    def apply(self, params, state, x, *, key=None, train=False):
        keys = None if key is None else jax.random.split(key, self.members)

        def one(params, state, key):
            given, options = handed(self.net, x), {"key": key, "train": train}
            y, state = self.net.apply(params, state, given, **options)
            return plain(y), state

        outputs, state = self.each(one, params)(params, state, keys)
        return jax.tree.map(self._mean, outputs), state

    def _mean(self, y: jax.Array) -> jax.Array:
        if self.average == "softmax":
            return _log_mean(jax.nn.log_softmax(y))
        if self.average == "sigmoid":
            return _log_mean(jax.nn.log_sigmoid(y)) - _log_mean(jax.nn.log_sigmoid(-y))
        return y.mean(0)

    def each(self, function: Callable[..., Any], params: Any) -> Callable[..., Any]:
        """Map a function of one member over all: in parallel, or in turn if faster.

        Convolutions with a separate kernel for each member have no fast form on a CPU:
        16 steps of eight small networks took 3.6 s in parallel and 2.1 s in turn (3.6 s
        without the barrier, which keeps the compiler from rereading slices).
        """
        kernels = any(a.ndim > 3 for a in jax.tree.leaves(params))
        if self.mesh is None and kernels and jax.default_backend() == "cpu":

            def in_turn(*trees):
                barrier = jax.lax.optimization_barrier
                return jax.lax.map(lambda t: function(*barrier(t)), trees)

            return in_turn
        return jax.vmap(function)

    def place(self, tree: Any) -> Any:
        """Distribute the members over the mesh's devices, if there is a mesh."""
        if self.mesh is None:
            return tree
        # (With explicit axes, every slice would need a sharding.)
        mesh = Mesh(self.mesh.devices, self.mesh.axis_names)
        spec = PartitionSpec(mesh.axis_names[0])
        return jax.device_put(tree, NamedSharding(mesh, spec))


@answered
def ensemble(
    net: Layer, n: int, *, average: str = "outputs", mesh: Mesh | None = None
) -> Ensemble:
    """An ensemble of `n` identical networks, initialized differently and averaged.

    `y = Σᵢ netᵢ(x) / n`. It is itself a network: pass it to `fit`, `evaluate` or
    `predict`. `fit` trains all members in one program, each with its own initial
    values, data order, dropout and augmentation; member i is what
    `fit(net, ..., key=jax.random.split(key, n)[i])` returns. Training loss and metrics
    are means over the members; validation loss and metrics are those of the averaged
    outputs. If the whole arrays are on the device, each member draws its own batches;
    batches from an iterable, or from arrays kept on the host, are shared by all.

    Args:
        net: a network.
        n: the number of members, 1 or more.
        average: what to average: `outputs` as they are, or with `softmax` or `sigmoid`
            the probabilities, for outputs that are logits (the ensemble then outputs
            the logits of the mean).
        mesh: a mesh of devices; the members are distributed over its first axis.

    Returns:
        An `Ensemble`; `member(state, i)` extracts one member from its trained state.

    Reference: Lakshminarayanan et al., Simple and Scalable Predictive Uncertainty
    Estimation using Deep Ensembles, 2017.

    >>> import jax, jax.numpy as jnp, jaxnn as nn, optax
    >>> bunch = nn.ensemble(nn.Dense(1), 8)
    >>> data = jnp.ones((20, 3)), jnp.ones((20, 1))
    >>> state, _ = nn.fit(
    ...     bunch, data, loss=nn.losses.mean_squared_error, optimizer=optax.sgd(0.1),
    ...     epochs=5, batch_size=10, key=jax.random.key(0))
    >>> state.params["w"].shape, nn.member(state, 3).params["w"].shape
    ((8, 3, 1), (3, 1))
    >>> nn.predict(bunch, state, data[0]).shape
    (20, 1)
    """
    return Ensemble(as_layer(net, "ensemble"), n, average, mesh)


@entrance
def member(state: Any, i: int) -> Any:
    """One member of an ensemble's state, again as a `TrainState` or `(params, state)`.

    Args:
        state: the ensemble's `TrainState`, or any tree whose leaves have a leading axis
            of members.
        i: the member's index, from 0; negative indices count from the end.

    Raises:
        IndexError: there is no such member.
    """
    leaves = jax.tree.leaves(state)
    sizes = {jnp.shape(a)[0] if jnp.ndim(a) else 0 for a in leaves}
    if len(sizes) != 1 or 0 in sizes:
        raise ValueError(
            "member: state must be an ensemble's, every array with a first axis of "
            f"members, got {describe(state):.100}"
        )
    (n,) = sizes
    if not -n <= i < n:
        raise IndexError(f"member: there are {n} members, 0 to {n - 1}; got {i}")
    return jax.tree.map(lambda a: a[i], state)


def _log_mean(logs: jax.Array) -> jax.Array:
    """log (Σᵢ exp(logsᵢ) / n) over the first axis."""
    return jax.nn.logsumexp(logs, axis=0) - jnp.log(logs.shape[0]).astype(logs.dtype)
