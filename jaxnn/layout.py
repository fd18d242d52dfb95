# SPDX-License-Identifier: Apache-2.0
"""How batches and parameters lie on several devices."""

import math
from contextlib import AbstractContextManager
from typing import Any

import jax
from jax.sharding import AxisType, Mesh, NamedSharding
from jax.sharding import PartitionSpec as P
from jax.version import __version_info__ as jax_version

from jaxnn import trees
from jaxnn.messages import tables
from jaxnn.messages.phrases import nearest, shown, unmatched
from jaxnn.spec import Spec

#: The first jax that it works with.
FIRST = (0, 10)


class fsdp(Spec):
    """Fully sharded: each parameter split over a mesh axis, by its largest axis.

    Of the axes that the devices divide, the largest one is split; a parameter without
    such an axis is replicated. Each device then keeps its share of the parameters and
    of the optimizer's moments, and gathers a layer's weights while it computes it.

    Args:
        axis: the mesh axis.

    >>> import jaxnn as nn
    >>> nn.fsdp("data")
    fsdp('data')

    Source: Rajbhandari et al., ZeRO: Memory Optimizations Toward Training Trillion
    Parameter Models, 2020.
    """

    axis: str

    def spec(self, shape: tuple[int, ...], mesh: Mesh) -> P:
        """The partition of an array of this shape."""
        devices = mesh.shape[self.axis]
        fitting = [i for i, n in enumerate(shape) if n and n % devices == 0]
        if not fitting:
            return P()
        split = max(fitting, key=lambda i: shape[i])
        return P(*(self.axis if i == split else None for i in range(split + 1)))


class along(Spec):
    """Split over a mesh axis, by one axis of the array counted from its end.

    An array whose axis the devices do not divide is replicated.
    """

    axis: str
    by: int

    def spec(self, shape: tuple[int, ...], mesh: Mesh) -> P:
        """The partition of an array of this shape."""
        split = len(shape) + self.by
        if split < 0 or shape[split] % mesh.shape[self.axis]:
            return P()
        return P(*[None] * split, self.axis)


def tensor_parallel(axis: str) -> tuple[tuple[str, along], ...]:
    """The `params` of a `Layout` that splits each layer of a transformer.

    Queries, keys, values and the first layer of each MLP are split by their outputs,
    with their biases; the layers after them, `out` and `down`, by their inputs. Each
    device then computes its share of the heads and of the hidden features, and the
    devices add up what they found once after each attention and each MLP. The table of
    an `Embed` called `embed` is split by its vocabulary. A parameter that the devices
    do not divide is replicated; let the mesh axis divide the heads, and `kv_heads`.

    The patterns are for `nn.MultiHeadAttention`, `nn.FeedForward` and all that is built
    of them, such as `nn.TransformerEncoder`, `nn.models.gpt2`, `bert` and `vit`. Not
    all of them need to match a parameter. Those before them take precedence, and those
    after them are for the other parameters.

    Args:
        axis: the mesh axis.

    Returns:
        Pairs of a path pattern and how the parameters that match it are split.

    >>> import jax, jax.numpy as jnp, jaxnn as nn
    >>> mesh = jax.make_mesh((1, 1), ("data", "model"))
    >>> layout = nn.Layout(mesh, params=nn.tensor_parallel("model"))
    >>> net = nn.Sequential(mlp=nn.FeedForward(16))
    >>> print(layout.table(net.init(jax.random.key(0), jnp.ones((2, 5, 8)))[0]))
    path        shape  spec              bytes a device
    mlp/down/b  8      P()                         32 B
    mlp/down/w  16x8   P('model')                 512 B
    mlp/up/b    16     P('model')                  64 B
    mlp/up/w    8x16   P(None, 'model')           512 B

    Source: Shoeybi et al., Megatron-LM: Training Multi-Billion Parameter Language
    Models Using Model Parallelism, 2019.
    """
    outputs, inputs = along(axis, -1), along(axis, -2)
    first = ("query", "key", "value", "up")
    return (
        *((f"*/{name}/[wb]", outputs) for name in first),
        *((f"*/{name}/w", inputs) for name in ("out", "down")),
        ("*embed*/table", inputs),
    )


class Layout(Spec):
    """Where batches and parameters lie on a mesh of devices.

    Pass it as `layout=` to `fit`, `evaluate`, `predict`, `train_step` or `train.run`.
    Each device then computes its share of every batch; the numbers are those of one
    device, up to rounding. `Layout(mesh)` alone is data parallelism: each device has
    all parameters.

    Args:
        mesh: `jax.make_mesh((8,), ("data",))`, say. Its axes count as Auto, whichever
            type they have: XLA moves the data between devices as needed.
        batch: the mesh axis, or a tuple of axes, that splits the examples of a batch.
        params: pairs of a path pattern and how the parameters that match it are split:
            a `jax.sharding.PartitionSpec` or `nn.fsdp(axis)`; for a transformer,
            `nn.tensor_parallel(axis)` gives them. The first pattern that matches
            counts; other parameters are replicated. An optimizer's moments lie as
            their parameter does.

    Raises:
        TypeError, ValueError: an axis is not the mesh's, or an entry is of another
            kind.
        RuntimeError: jax is older than 0.10.

    >>> import jax, jax.numpy as jnp, jaxnn as nn, optax
    >>> mesh = jax.make_mesh((1,), ("data",))
    >>> layout = nn.Layout(mesh, params=(("*", nn.fsdp("data")),))
    >>> net, x = nn.Dense(4), jnp.ones((8, 3))
    >>> state = nn.train_state(net, optax.adam(1e-3), x, key=jax.random.key(0))
    >>> print(layout.table(state.params))
    path  shape  spec             bytes a device
    b     4      P('data')                  16 B
    w     3x4    P(None, 'data')            48 B
    """

    mesh: Mesh
    batch: str | tuple[str, ...] | None = "data"
    params: tuple[tuple[str, Any], ...] = ()

    def __post_init__(self):
        if jax_version < FIRST:  # jax 0.8: no gradient of a scan
            raise RuntimeError(
                "Layout: jax must be 0.10 or newer for several devices, got "
                f"{jax.__version__}"
            )
        if not isinstance(self.mesh, Mesh):
            raise TypeError(
                "Layout: mesh must be a mesh such as jax.make_mesh((8,), ('data',)), "
                f"got {shown(self.mesh)}"
            )
        _check_axes(self.mesh, "batch", self.batch)
        for pair in self.params:
            is_pair = isinstance(pair, tuple | list) and len(pair) == 2
            if not is_pair or not isinstance(pair[0], str):
                raise TypeError(
                    "Layout: params must be pairs (pattern, spec), as in "
                    f"(('*', nn.fsdp('data')),), got {pair!r:.100}"
                )
            pattern, spec = pair
            if not isinstance(spec, P | fsdp | along):
                raise TypeError(
                    f"Layout: params: {pattern!r} must have a PartitionSpec or "
                    f"nn.fsdp(axis), got {shown(spec)}"
                )
            axes = spec if isinstance(spec, P) else (spec.axis,)
            _check_axes(self.mesh, f"params: {pattern!r}", axes)
        object.__setattr__(self, "params", tuple(map(tuple, self.params)))

    @property
    def shares(self) -> int:
        """In how many parts a batch is split."""
        return math.prod(self.mesh.shape[axis] for axis in _axes(self.batch))

    @property
    def own_shares(self) -> int:
        """In how many parts the devices of this process split its rows of a batch."""
        split = self._sharding(P(self.batch))
        parts = split.addressable_devices_indices_map((self.shares,)).values()
        return len(set(map(str, parts)))  # (Python hashes slices only from 3.12 on)

    @property
    def processes(self) -> set[int]:
        """The processes that the devices belong to."""
        return {device.process_index for device in self.mesh.devices.flat}

    @property
    def everywhere(self) -> NamedSharding:
        """The sharding of arrays that every device has whole."""
        return self._sharding(P())

    def place(self, state: Any) -> Any:
        """A `TrainState`, or other variables of a network, on the mesh.

        Args:
            state: a `TrainState`, a pair `(params, state)` or a tree of parameters.

        Raises:
            ValueError: a pattern matches no parameter, or does not fit its shape.
        """
        return jax.tree.map(trees.placed, state, self.shardings(state))

    def shapes(self, state: Any) -> Any:
        """The shapes of a state with their places, for `nn.load(path, like=...)`.

        Args:
            state: what `place` takes; its shapes are enough, as `jax.eval_shape` gives.
        """

        def one(a, sharding):
            return jax.ShapeDtypeStruct(a.shape, a.dtype, sharding=sharding)

        return jax.tree.map(one, state, self.shardings(state))

    def shardings(self, state: Any) -> Any:
        """The sharding of each array of a state."""
        params, specs = trees.paths(_params_of(state)), {}
        self._check_patterns(params)
        for path, a in params.items():
            specs[path] = self._spec(path, a.shape), a.shape

        def one(path, a):
            found = _longest(specs, path)
            same = found is not None and specs[found][1] == a.shape
            return self._sharding(specs[found][0] if same else P())

        return trees.map_paths(one, state)

    def table(self, state: Any) -> str:
        """A table of paths, shapes, specs and bytes on each device, as text."""
        rows = [("path", "shape", "spec", "bytes a device")]
        shardings = trees.paths(self.shardings(state))
        for path, a in trees.paths(state).items():
            shape = "x".join(map(str, a.shape))
            share = math.prod(shardings[path].shard_shape(a.shape))
            size = getattr(a.dtype, "itemsize", 4)
            spec = _written(shardings[path].spec)
            rows.append((path, shape, spec, tables.memory(share * size)))
        return tables.text(rows, left=3)

    def spread(self, batch: Any, axis: int = 0) -> Any:
        """Inside a program: the batch with its examples split over the devices.

        A batch that the devices do not divide, such as the last one of an epoch, is
        computed whole by each of them.
        """

        def one(a):
            return jax.lax.with_sharding_constraint(a, self._examples(a, axis))

        return jax.tree.map(one, batch)

    def pin(self, state: Any) -> Any:
        """Inside a program: the state where it lies."""
        return jax.lax.with_sharding_constraint(state, self.shardings(state))

    def inside(self) -> AbstractContextManager:
        """Around the tracing of a program: tells operations that it is for the mesh."""
        return jax.sharding.use_abstract_mesh(self.everywhere.mesh.abstract_mesh)

    def whole(self, tree: Any) -> Any:
        """Inside a program: arrays that every device has whole."""
        return jax.lax.with_sharding_constraint(tree, self.everywhere)

    def replicate(self, tree: Any) -> Any:
        """Arrays, whole on every device."""
        return jax.device_put(tree, self.everywhere)

    def send(self, batches: Any, own: bool = False) -> jax.Array:
        """Batches `[K, N, ...]` in memory on the devices, each getting its share.

        Batches that the devices do not divide go to each of them whole.

        Args:
            batches: of several processes, all rows in each of them, or its own.
            own: whether each process has its own rows, those of its devices; these
                divide them.
        """
        if own:
            sharding, shape = self._sharding(P(None, self.batch)), None
        else:
            sharding, shape = self._examples(batches, 1), batches.shape
        return jax.make_array_from_process_local_data(sharding, batches, shape)

    def divide(self, batch: Any) -> Any:
        """A batch on the devices, each getting its share of the examples.

        One that they do not divide goes to each of them whole.
        """
        return jax.tree.map(lambda a: jax.device_put(a, self._examples(a)), batch)

    def _examples(self, a: Any, axis: int = 0) -> NamedSharding:
        """The sharding of an array by its examples, if the devices divide them."""
        fits = a.ndim > axis and a.shape[axis] % self.shares == 0
        return self._sharding(P(*[None] * axis, self.batch) if fits else P())

    def _sharding(self, spec: P) -> NamedSharding:
        mesh = self.mesh
        types = (AxisType.Auto,) * len(mesh.axis_names)
        return NamedSharding(
            Mesh(mesh.devices, mesh.axis_names, axis_types=types), spec
        )

    def _spec(self, path: str, shape: tuple[int, ...]) -> P:
        """How a parameter is split."""
        for pattern, spec in self.params:
            if trees.matches(pattern, path):
                if not isinstance(spec, P):
                    return spec.spec(shape, self.mesh)
                self._check_fit(pattern, spec, path, shape)
                return spec
        return P()

    def _check_patterns(self, params: dict[str, Any]) -> None:
        """Raise unless each pattern matches, or of ready-made ones at least one."""
        ready = {pattern for pattern, spec in self.params if isinstance(spec, along)}
        missing = [
            pattern
            for pattern, _ in self.params
            if not any(trees.matches(pattern, path) for path in params)
        ]
        for pattern in missing:
            if pattern not in ready:
                raise ValueError(f"Layout: params: {unmatched(pattern, list(params))}")
        if ready and ready <= {*missing}:
            raise ValueError(
                "Layout: params: nn.tensor_parallel splits MultiHeadAttention, "
                "FeedForward and an Embed called embed, and none of the parameters is "
                f"theirs: {', '.join(list(params)[:4])}; split them by nn.fsdp(axis), "
                "or by your own pairs, such as ('dense*/w', PartitionSpec(None, axis))"
            )

    def _check_fit(self, pattern: str, spec: P, path: str, shape: tuple) -> None:
        """Raise unless an explicit partition fits a parameter."""
        if len(spec) > len(shape):
            raise ValueError(
                f"Layout: params: {pattern!r} must fit {path}, which has {len(shape)} "
                f"axes {list(shape)}, got {spec}"
            )
        for i, (n, axes) in enumerate(zip(shape, spec, strict=False)):
            devices = math.prod(self.mesh.shape[axis] for axis in _axes(axes))
            if n % devices:
                raise ValueError(
                    f"Layout: params: {pattern!r} must fit {path}: its axis {i} of {n} "
                    f"must be a multiple of the {devices} devices that split it, got "
                    f"{spec}"
                )


def laid_out(
    layout: Layout | None, advance: Any, state: Any, batch: Any, axis: int = 0
) -> tuple[Any, Any]:
    """A step `advance(state, batch) -> (state, logs)` on the devices of a layout."""
    if layout is None:
        return advance(state, batch)
    with layout.inside():
        state, logs = advance(layout.pin(state), layout.spread(batch, axis))
        return layout.pin(state), logs


def applied(layout: Layout | None, function: Any, batch: Any) -> Any:
    """`function(batch)`, on the devices of a layout if there is one."""
    if layout is None:
        return function(batch)
    with layout.inside():
        return function(layout.spread(batch))


def check_layout(owner: str, layout: Any) -> None:
    """Raise unless this is a `Layout` or None."""
    if layout is not None and not isinstance(layout, Layout):
        raise TypeError(
            f"{owner}: layout must be a nn.Layout(mesh), got {shown(layout)}"
        )


def _params_of(state: Any) -> Any:
    """The parameters of a `TrainState` or of other variables."""
    if hasattr(state, "params"):
        return state.params
    if isinstance(state, tuple) and len(state) == 2:
        return state[0]
    if isinstance(state, dict) and {"params", "state"} <= {*state}:
        return state["params"]
    return state


def _longest(specs: dict[str, Any], path: str) -> str | None:
    """The parameter whose path another path ends with, as a moment's does."""
    parts = path.split("/")
    ends = ("/".join(parts[i:]) for i in range(len(parts)))
    return next((end for end in ends if end in specs), None)


def _axes(axes: Any) -> tuple[str, ...]:
    """Mesh axes, of which a partition names none, one or several."""
    if axes is None:
        return ()
    return (axes,) if isinstance(axes, str) else tuple(axes)


def _check_axes(mesh: Mesh, what: str, axes: Any) -> None:
    for part in _axes(axes):
        for axis in _axes(part):
            if axis not in mesh.axis_names:
                raise ValueError(
                    f"Layout: {what} must name axes of the mesh, "
                    f"{', '.join(map(repr, mesh.axis_names))}, got "
                    f"{axis!r}{nearest(str(axis), mesh.axis_names)}"
                )


def _written(spec: P) -> str:
    """A partition as in code."""
    return f"P({', '.join(map(repr, spec))})"
