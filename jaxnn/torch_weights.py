# SPDX-License-Identifier: Apache-2.0
"""Weights from PyTorch and back: other names, other orders of axes, the same numbers.

PyTorch puts channels first, this library puts them last.  Arrays differ in the order of
their axes, and where a picture is flattened in front of a dense layer, in the order of
that layer's rows.
"""

import math
import os
import pickle
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxnn import trees
from jaxnn.combine import Remat, Repeat
from jaxnn.core import Call, Composite, Layer, abstract, as_layer, trace
from jaxnn.layers import (
    BatchNorm,
    Conv,
    ConvTranspose,
    Dense,
    GroupNorm,
    InstanceNorm,
    LayerNorm,
    PReLU,
    RMSNorm,
    SeparableConv,
)
from jaxnn.surgery import layer_paths

#: What PyTorch calls our arrays; in its layers every name has this one meaning.
_SUFFIX = {
    "w": "weight",
    "b": "bias",
    "scale": "weight",
    "offset": "bias",
    "mean": "running_mean",
    "var": "running_var",
}
_NORMS = (BatchNorm, GroupNorm, InstanceNorm, LayerNorm, RMSNorm)
_KNOWN = (Dense, Conv, ConvTranspose, SeparableConv, PReLU, *_NORMS)
_COUNT = "num_batches_tracked"
_SIDES = (32, 28, 64, 96, 128, 224, 256, 299, 512)  # of pictures, tried in this order
_LISTED = 20  # names of a kind in one error message

Names = Mapping[str, str]


def from_torch(
    net: Layer, x: Any, state_dict: Any, *, names: Names | None = None
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Parameters and state of a network from those of the same network in PyTorch.

    Layers are matched by torchvision's names where the network is one of `nn.models`,
    by paths (`body/fc` is `body.fc`) where these are the names, or else in order: the
    n-th layer with arrays gets the n-th module with arrays.  All shapes are checked.
    `num_batches_tracked` is ignored.

    Args:
        net: a network.
        x: an example batch, or only its `jax.ShapeDtypeStruct`, channels last.
        state_dict: what `model.state_dict()` gives, of tensors or NumPy arrays; or the
            path of a `.safetensors` file, or of a `.pth` or `.pt` file (needs torch,
            and is read with `weights_only=True`: nothing in it is executed). Half
            precision becomes the precision of the parameters, float32.
        names: the names of modules by the path of the layer, as in
            `{"head": "linear"}`, where they are others.

    Returns:
        `(params, state)`, as `net.init` gives them.

    Raises:
        ValueError: the state_dict is another network's: every missing, unexpected and
            misshapen name is listed.
        TypeError: the state_dict is none, or a layer has no counterpart in PyTorch.
        ImportError: a `.pth` file is to be read and torch is not installed.

    >>> import jax, numpy as np, jaxnn as nn
    >>> net, x = nn.Sequential(nn.Dense(2), jax.nn.relu), np.ones((1, 3), np.float32)
    >>> state_dict = {"0.weight": np.ones((2, 3)), "0.bias": np.zeros(2)}
    >>> params, state = nn.io.from_torch(net, x, state_dict)
    >>> params["dense_1"]["w"].shape
    (3, 2)
    """
    net = as_layer(net, "from_torch")
    given, x = _read(state_dict), _two(x)
    shapes, parts = _shapes(net, x), _parts(net, x)
    namings = [_named(parts, n, names) for n in _namings(parts, given)]
    slots, problems = _best(parts, shapes, given, namings)
    if problems:
        title = "from_torch: the state_dict does not fit the network:"
        raise ValueError("\n  ".join([title, *problems]))
    arrays = {at: np.empty(leaf.shape, leaf.dtype) for at, leaf in shapes.items()}
    for slot in slots:
        whole = arrays[slot.kind, slot.path]
        one = _ours(slot, given[slot.torch])
        whole[slot.index] = one.reshape(whole[slot.index].shape)
    return _nest("params", arrays), _nest("state", arrays)


def to_torch(
    net: Layer,
    params: Any,
    state: Any,
    *,
    x: Any = None,
    names: Names | None = None,
) -> dict[str, np.ndarray]:
    """A network's parameters and state as a `state_dict` for the same one in PyTorch.

    `model.load_state_dict({k: torch.from_numpy(v) for k, v in arrays.items()})` takes
    it, and `safetensors.numpy.save_file` writes it.  Names are torchvision's where the
    network is one of `nn.models`, else the paths with dots.  Batches are not counted
    here: `num_batches_tracked` is 0.

    Args:
        net: a network.
        params, state: its trees.
        x: an example batch, or only its `jax.ShapeDtypeStruct`. Needed only where it
            can not be told from the parameters: when the network flattens pictures of
            several channels before anything else, or they are far from square.
        names: the names of modules by the path of the layer, as in `{"dense_1": "0"}`.

    Returns:
        NumPy arrays by name, in float32 where they were in bfloat16.

    Raises:
        ValueError: the trees are another network's.
        TypeError: a layer has no counterpart in PyTorch.

    >>> import jax, numpy as np, jaxnn as nn
    >>> net, x = nn.Sequential(nn.Dense(2), jax.nn.relu), np.ones((1, 3), np.float32)
    >>> params, state = net.init(jax.random.key(0), x)
    >>> arrays = nn.io.to_torch(net, params, state, names={"dense_1": "0"})
    >>> {name: a.shape for name, a in arrays.items()}
    {'0.weight': (2, 3), '0.bias': (2,)}
    """
    net = as_layer(net, "to_torch")
    given = _flat({"params": params, "state": state})
    x = _some_input(net, given) if x is None else _two(x)
    shapes = _shapes(net, x)
    _check_trees(given, shapes)
    parts = _parts(net, x)
    naming = _named(parts, next(_own_namings(parts)), names)
    arrays = {}
    for slot in _slots(parts, shapes, naming):
        leaf = np.asarray(given[slot.kind, slot.path])[slot.index]
        arrays[slot.torch] = _theirs(slot, leaf)
        if slot.torch.endswith("running_var"):
            count = slot.torch.removesuffix("running_var") + _COUNT
            arrays[count] = np.array(0, np.int64)
    return arrays


# The layers that have arrays, and what PyTorch calls them


class _Part(NamedTuple):
    """A layer with arrays of its own.

    The blocks of a `Repeat` are counted in its name, `rest/block2/conv1`, and share a
    path in the trees, `rest/block/conv1`, where an index tells them apart.
    """

    name: str
    path: str
    index: tuple[int, ...]
    layer: Layer
    picture: tuple[int, ...]  # [..., C] where its features were flattened, or ()


def _two(x: Any) -> Any:
    """The shapes of a batch of two: batch norm can not be traced on one value."""

    def two(a):
        return jax.ShapeDtypeStruct((2, *a.shape[1:]), a.dtype) if a.shape else a

    return jax.tree.map(two, abstract(x))


def _parts(net: Layer, x: Any, name="", path="", index=()) -> list[_Part]:
    parts, picture = [], ()
    for call in trace(net, x):
        own = call.path if isinstance(net, Composite) else ""
        at, named = _join(path, own), _join(name, own)
        if not call.first:
            pass
        elif isinstance(call.layer, Repeat):
            for i in range(call.layer.n):
                block = f"{named}/block{i + 1}".lstrip("/")
                where = _join(at, "block")
                parts += _parts(call.layer.block, call.x, block, where, (*index, i))
        elif isinstance(call.layer, Remat):
            parts += _parts(call.layer.layer, call.x, named, at, index)
        elif call.params or isinstance(call.layer, _KNOWN):
            _check_known(call.layer, at)
            for step in _steps(call.layer):
                names = _join(named, step), _join(at, step)
                parts.append(_Part(*names, index, call.layer, picture))
        picture = _flattened(call, picture)
    return parts


def _steps(layer: Layer) -> tuple[str, ...]:
    """What a layer's own arrays hang under: two modules stand for one layer there."""
    return ("depthwise", "pointwise") if isinstance(layer, SeparableConv) else ("",)


def _join(*names: str) -> str:
    return "/".join(filter(None, names))


def _check_known(layer: Layer, path: str) -> None:
    if not isinstance(layer, _KNOWN):
        known = ", ".join(kind.__name__ for kind in _KNOWN)
        raise TypeError(
            f"torch weights: {type(layer).__name__} at {path!r} has no counterpart in "
            f"PyTorch that is known here; known are {known}"
        )


def _flattened(call: Call, picture: tuple[int, ...]) -> tuple[int, ...]:
    """The picture whose numbers the next layer sees in a row, if it does."""
    before, after = getattr(call.x, "shape", ()), getattr(call.y, "shape", ())
    if len(before) > 2 and after == (before[0], math.prod(before[1:])):
        return tuple(before[1:])
    same = before == after and not isinstance(call.layer, Dense)
    return picture if same else ()


def _own_namings(parts: list[_Part]):
    """What modules may be called going by the network: as in torchvision, or alike."""
    from jaxnn.models import TORCH_NAMES  # lazy: models stand above

    paths = [part.name for part in parts]
    yield from filter(None, (naming(paths) for naming in TORCH_NAMES))
    yield {path: path.replace("/", ".") for path in paths}


def _namings(parts: list[_Part], given: Mapping[str, np.ndarray]):
    """What modules may be called: by the network, or in the order of a state_dict."""
    yield from _own_namings(parts)
    modules = dict.fromkeys(name.rpartition(".")[0] for name in given)
    yield {part.name: m for part, m in zip(parts, modules, strict=False)}


def _named(parts: list[_Part], naming: Names, names: Names | None) -> Names:
    """A naming with the user's own names in place."""
    paths = [part.name for part in parts]
    for path in names or {}:
        if path not in paths:
            raise ValueError(
                f"names: no layer with arrays at {path!r}{trees.nearest(path, paths)}"
            )
    return {**naming, **(names or {})}


# The arrays of both sides


class _Slot(NamedTuple):
    """One array of a PyTorch module, and where it is here."""

    torch: str  # its name there
    shape: tuple[int, ...]  # and its shape
    kind: str  # params or state
    path: str
    index: tuple[int, ...]
    part: _Part

    @property
    def leaf(self) -> str:
        return self.path.rpartition("/")[2]


def _shapes(net: Layer, x: Any) -> dict[tuple[str, str], Any]:
    def init(x):
        return net.init(jax.random.key(0), x)

    params, state = jax.eval_shape(init, x)
    return _flat({"params": params, "state": state})


def _flat(kinds: Mapping[str, Any]) -> dict[tuple[str, str], Any]:
    return {
        (kind, path): leaf
        for kind, tree in kinds.items()
        for path, leaf in trees.paths(tree).items()
    }


def _nest(kind: str, arrays: Mapping[tuple[str, str], np.ndarray]) -> dict[str, Any]:
    tree: dict[str, Any] = {}
    for (of, path), array in arrays.items():
        if of == kind:
            *above, last = path.split("/")
            node = tree
            for name in above:
                node = node.setdefault(name, {})
            node[last] = jnp.asarray(array)
    return tree


def _slots(parts: list[_Part], shapes: Mapping, naming: Names) -> list[_Slot]:
    slots = []
    for part in parts:
        module = naming.get(part.name, f"({part.name})")
        for leaf, suffix in _SUFFIX.items():
            kind = "state" if leaf in ("mean", "var") else "params"
            path = _join(part.path, leaf)
            if (kind, path) in shapes:
                whole = shapes[kind, path].shape
                shape = _their_shape(part.layer, leaf, whole[len(part.index) :])
                name = f"{module}.{suffix}" if module else suffix
                slots.append(_Slot(name, shape, kind, path, part.index, part))
    return slots


def _their_shape(layer: Layer, leaf: str, shape: tuple[int, ...]) -> tuple[int, ...]:
    if leaf == "w":
        return _weight_there(layer, np.broadcast_to(np.float32(0), shape)).shape
    return shape or (1,)  # a PReLU's one slope


def _weight_there(layer: Layer, w: np.ndarray) -> np.ndarray:
    """`[*kernel, C / groups, F]` as `[F, C / groups, *kernel]`; a matrix is turned.

    Of a transposed convolution `[C, F / groups, *kernel]`.
    """
    w = np.moveaxis(w, (-1, -2), (0, 1))
    if not isinstance(layer, ConvTranspose):
        return w
    blocks = np.split(w, layer.groups)
    return np.concatenate([block.swapaxes(0, 1) for block in blocks])


def _weight_here(layer: Layer, w: np.ndarray) -> np.ndarray:
    """What `_weight_there` did, undone."""
    if isinstance(layer, ConvTranspose):
        blocks = np.split(w, layer.groups)
        w = np.concatenate([block.swapaxes(0, 1) for block in blocks])
    return np.moveaxis(w, (0, 1), (-1, -2))


def _theirs(slot: _Slot, array: np.ndarray) -> np.ndarray:
    """An array as PyTorch has it: a new one, in its order."""
    array = array.astype(np.float32) if array.dtype.name == "bfloat16" else array
    if slot.part.picture:
        array = _reorder(slot, array, _channels_first)
    if slot.leaf == "w":
        array = _weight_there(slot.part.layer, array)
    return np.array(array.reshape(slot.shape), order="C")


def _ours(slot: _Slot, array: np.ndarray) -> np.ndarray:
    """An array of PyTorch in our order of axes."""
    if slot.leaf == "w":
        array = _weight_here(slot.part.layer, array)
    if slot.part.picture:
        array = _reorder(slot, array, _channels_last)
    return array


def _reorder(slot: _Slot, array: np.ndarray, order: Callable) -> np.ndarray:
    """Rows that belong to the numbers of a flattened picture, in another order."""
    if slot.leaf == "b":  # belongs to outputs
        return array
    rows = array.reshape(math.prod(slot.part.picture), -1)
    return order(rows, slot.part.picture).reshape(array.shape)


def _channels_first(rows: np.ndarray, picture: tuple[int, ...]) -> np.ndarray:
    return np.moveaxis(rows.reshape(*picture, -1), -2, 0)


def _channels_last(rows: np.ndarray, picture: tuple[int, ...]) -> np.ndarray:
    return np.moveaxis(rows.reshape(picture[-1], *picture[:-1], -1), 0, -2)


# What does not fit


def _best(parts, shapes, given, namings: Sequence[Names]):
    """The arrays under the naming that leaves the fewest problems, and these."""
    tried = [_slots(parts, shapes, naming) for naming in namings]
    found = [_problems(slots, given) for slots in tried]
    best = min(range(len(found)), key=lambda i: len(found[i]))
    return tried[best], _shortened(found[best])


def _problems(slots: list[_Slot], given: Mapping[str, np.ndarray]) -> list[str]:
    wanted = {slot.torch: slot for slot in slots}
    unexpected = [n for n in given if n not in wanted and not n.endswith(_COUNT)]
    problems = []
    for name, slot in wanted.items():
        if name not in given:
            near = trees.nearest(name, unexpected)
            problems.append(f"missing: {name} {_by(slot.shape)} for {slot.path}{near}")
        elif given[name].shape != slot.shape:
            got = _by(given[name].shape)
            problems.append(
                f"misshapen: {name} is {got}, {slot.path} needs {_by(slot.shape)}"
            )
    absent = [name for name in wanted if name not in given]
    problems += [f"unexpected: {n}{trees.nearest(n, absent)}" for n in unexpected]
    return problems


def _by(shape: tuple[int, ...]) -> str:
    return str(list(shape)).replace(" ", "")


def _shortened(problems: list[str]) -> list[str]:
    lines = []
    for title in ("missing", "misshapen", "unexpected"):
        kind = [p for p in problems if p.startswith(title)]
        more = len(kind) - _LISTED
        lines += kind[:_LISTED] + ([f"{title}: and {more} more"] if more > 0 else [])
    return lines


def _check_trees(given: Mapping, shapes: Mapping) -> None:
    wrong = [at for at in {**given, **shapes} if not _fits(given, shapes, at)]
    if wrong:
        lines = [
            f"{'/'.join(at)}: got {trees.describe(given.get(at))}, "
            f"the network has {trees.describe(shapes.get(at))}"
            for at in wrong[:_LISTED]
        ]
        title = "to_torch: params and state do not fit the network:"
        raise ValueError("\n  ".join([title, *lines]))


def _fits(given: Mapping, shapes: Mapping, at: tuple[str, str]) -> bool:
    return (
        at in given and at in shapes and np.shape(given[at]) == np.shape(shapes[at])
    )


def _some_input(net: Layer, given: Mapping) -> Any:
    """Shapes of a batch for which the network has these parameters.

    Any that does will do: how many channels are flattened is the same for all of them.
    """
    for shape in _possible_inputs(net, given):
        x = jax.ShapeDtypeStruct(shape, jnp.float32)
        try:
            shapes = _shapes(net, x)
        except (ValueError, TypeError):  # too small, or of no use to this network
            continue
        if all(_fits(given, shapes, at) for at in {**given, **shapes}):
            return x
    raise ValueError(
        "to_torch: can not tell from the parameters what the network takes (or they "
        "are another network's); pass x=, an example batch or its shape"
    )


def _possible_inputs(net: Layer, given: Mapping):
    """Batches that fit the network's first layer."""
    for path, layer in {"": net, **layer_paths(net)}.items():
        w = given.get(("params", _join(path, "w")))
        if w is not None and isinstance(layer, Dense):
            yield (2, w.shape[0])
        if w is not None and isinstance(layer, Conv):
            for side in _SIDES:
                yield (2, *[side] * (w.ndim - 2), w.shape[-2] * layer.groups)
        if w is not None:
            return


# Reading


def _read(state_dict: Any) -> dict[str, np.ndarray]:
    """Arrays by name, in the order of the modules."""
    if isinstance(state_dict, str | os.PathLike):
        state_dict = _read_file(Path(state_dict))
    if not isinstance(state_dict, Mapping):
        raise TypeError(
            "from_torch: state_dict must map names to tensors, or be the path of a "
            f"file, got {trees.describe(state_dict):.100}"
            + ("; pass .state_dict()" if hasattr(state_dict, "state_dict") else "")
        )
    return {name: _array(name, value) for name, value in state_dict.items()}


def _read_file(path: Path) -> Mapping[str, Any]:
    from jaxnn.io import load  # lazy: io imports this module

    if path.suffix in (".pth", ".pt", ".bin"):
        return _read_pickle(path)
    arrays = load(path)  # such a file has lost the order of its names
    return dict(sorted(arrays.items(), key=lambda item: _natural(item[0])))


def _natural(name: str) -> list[Any]:
    """A key for sorting by which 2 comes before 10."""
    return [(not s.isdigit(), int(s) if s.isdigit() else s) for s in name.split(".")]


def _read_pickle(path: Path) -> Mapping[str, Any]:
    try:
        import torch
    except ImportError as error:
        raise ImportError(
            f"from_torch: reading {path.name} needs torch (pip install torch); or save "
            "the weights as a .safetensors file"
        ) from error
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, EOFError, RuntimeError) as error:
        raise ValueError(
            f"from_torch: {path} holds more than tensors, or is damaged; nothing in it "
            "was executed. Save model.state_dict() alone, or as safetensors"
        ) from error


def _array(name: Any, value: Any) -> np.ndarray:
    if isinstance(value, Mapping):
        raise TypeError(
            f"from_torch: state_dict[{name!r}] is a dict of its own; pass the one that "
            "maps names to tensors"
        )
    if not hasattr(value, "shape"):
        raise TypeError(
            f"from_torch: state_dict[{name!r}] must be a tensor, got "
            f"{trees.describe(value)}"
        )
    if hasattr(value, "detach"):  # a tensor; NumPy has no bfloat16 of its own
        value = value.detach().cpu()
        narrow = "bfloat16" in str(value.dtype) or "float8" in str(value.dtype)
        value = (value.float() if narrow else value).numpy()
    return np.asarray(value)
