# SPDX-License-Identifier: Apache-2.0
"""Convert weights from PyTorch, and back."""

from collections.abc import Iterator, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxnn import trees
from jaxnn.core import Layer, abstract, as_layer
from jaxnn.inputs.variables import in_one
from jaxnn.inputs.variables import variables as parts_of
from jaxnn.layers import Conv, ConvTranspose, Dense, Recurrent
from jaxnn.surgery import layer_paths
from jaxnn.torch_weights.arrays import find_slots, to_ours, to_theirs
from jaxnn.torch_weights.order import check_order, in_order
from jaxnn.torch_weights.parts import (
    Names,
    find_parts,
    join,
    own_namings,
    prefixed,
    with_names,
)
from jaxnn.torch_weights.problems import COUNT, check_trees, fits, misfit
from jaxnn.torch_weights.read import as_array, read_state_dict

_SIDES = (32, 28, 64, 96, 128, 224, 256, 299, 512)  # of images, tried in this order


def from_torch(
    net: Layer, x: Any, state_dict: Any, *, names: Names | None = None
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Convert the weights of the same network in PyTorch to parameters and state.

    Layers are matched by torchvision's names if the network is one of `nn.models`, or
    by paths (`body/fc` is `body.fc`) if these are the names, in both cases also after a
    common prefix (`model.`), or else in order: the n-th layer with arrays gets the n-th
    module with arrays.  All shapes are checked.  Among modules of equal shapes, the
    order is trusted if they are numbered in it (`0`, `2`; `fc1`, `fc2`), or if the
    layers' names contain the words that tell them apart; otherwise `names` must say
    which is which.  `num_batches_tracked` is ignored.

    Args:
        net: a network.
        x: an example batch, or just its `jax.ShapeDtypeStruct`, channels last.
        state_dict: what `model.state_dict()` returns, with tensors or NumPy arrays, or
            a checkpoint that has it under `state_dict` (Lightning); or the path of a
            `.safetensors` file or of a `torch.save` file (`.pth`, `.pt`, `.ckpt`; this
            needs torch, which reads it with `weights_only=True`, so nothing in it is
            executed). Half precision becomes the precision of the parameters, float32.
        names: module names by layer path, as in `{"head": "linear"}`, where they
            differ; the other layers are matched as above.

    Returns:
        `(params, state)`, as `net.init` returns them.

    Raises:
        ValueError: the state_dict is that of another network (every missing, unexpected
            and misshapen name is listed); it is not clear which module is which layer;
            a file is damaged, or holds more than tensors; or a number is too large.
        TypeError: `state_dict` is not a state_dict, a tensor does not hold real
            numbers, or a layer has no counterpart in PyTorch.
        FileNotFoundError: there is no such file.
        ImportError: reading a `.pth` file needs torch, which is not installed.

    >>> import jax, numpy as np, jaxnn as nn
    >>> net, x = nn.Sequential(nn.Dense(2), jax.nn.relu), np.ones((1, 3), np.float32)
    >>> state_dict = {"0.weight": np.ones((2, 3)), "0.bias": np.zeros(2)}
    >>> params, state = nn.io.from_torch(net, x, state_dict)
    >>> params["dense_1"]["w"].shape
    (3, 2)
    """
    net = as_layer(net, "from_torch")
    (given, source), x = read_state_dict(state_dict), _two(x)
    shapes, parts = _shapes(net, x), find_parts(net, x)
    named = [n for own in own_namings(parts) for n in prefixed(own, given)]
    namings = [*named, in_order(parts, given, names)]
    fitted = [find_slots(parts, shapes, with_names(parts, n, names)) for n in namings]
    slots = min(fitted, key=lambda slots: misfit(slots, given).size)
    problems = misfit(slots, given)
    if problems.size:
        raise ValueError(
            f"from_torch: {source} does not fit the network:\n  {problems}"
        )
    if slots is fitted[-1]:
        check_order(slots, names)
    arrays = {at: np.zeros(leaf.shape, leaf.dtype) for at, leaf in shapes.items()}
    for slot in slots:
        whole = arrays[slot.kind, slot.path]
        one = to_ours(slot, as_array(given[slot.torch], whole.dtype))
        # Where PyTorch has two biases, ours is their sum.
        whole[slot.block] += one.reshape(whole[slot.block].shape)
    return _nest("params", arrays), _nest("state", arrays)


@in_one
def to_torch(
    net: Layer,
    variables: Any,
    *,
    x: Any = None,
    names: Names | None = None,
) -> dict[str, np.ndarray]:
    """Convert parameters and state to a `state_dict` for the same network in PyTorch.

    `model.load_state_dict({k: torch.from_numpy(v) for k, v in arrays.items()})` loads
    it, and `safetensors.numpy.save_file` writes it to a file.  Names are torchvision's
    if the network is one of `nn.models`, otherwise the paths with dots.  Batches are
    not counted here: `num_batches_tracked` is 0.

    Args:
        net: a network.
        variables: its `(params, state)`, or a `TrainState`.
        x: an example batch, or just its `jax.ShapeDtypeStruct`. Needed only if it
            cannot be told from the parameters: when the network flattens images with
            several channels before anything else, or they are far from square.
        names: module names by layer path, as in `{"dense_1": "0"}`.

    Returns:
        NumPy arrays by name; bfloat16 becomes float32.

    Raises:
        ValueError: the trees are those of another network.
        TypeError: a layer has no counterpart in PyTorch.

    >>> import jax, numpy as np, jaxnn as nn
    >>> net, x = nn.Sequential(nn.Dense(2), jax.nn.relu), np.ones((1, 3), np.float32)
    >>> variables = net.init(jax.random.key(0), x)
    >>> arrays = nn.io.to_torch(net, variables, names={"dense_1": "0"})
    >>> {name: a.shape for name, a in arrays.items()}
    {'0.weight': (2, 3), '0.bias': (2,)}
    """
    net, (params, state) = as_layer(net, "to_torch"), parts_of(variables)
    given = _flat({"params": params, "state": state})
    x = _some_input(net, given) if x is None else _two(x)
    shapes, parts = _shapes(net, x), find_parts(net, x)
    check_trees(given, shapes)
    naming = with_names(parts, next(own_namings(parts)), names)
    arrays = {}
    for slot in find_slots(parts, shapes, naming):
        if slot.torch in arrays:
            raise ValueError(
                f"to_torch: two layers would be {slot.torch}; give each a name of its "
                "own in names"
            )
        leaf = np.asarray(given[slot.kind, slot.path])[slot.block]
        arrays[slot.torch] = to_theirs(slot, leaf)
        if slot.leaf == "var":
            arrays[slot.torch.removesuffix("running_var") + COUNT] = np.zeros((), int)
    return arrays


def _shapes(net: Layer, x: Any) -> dict[tuple[str, str], Any]:
    """The network's arrays as shapes, by kind (params or state) and path."""

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
            trees.put(tree, path, jnp.asarray(array))
    return tree


def _two(x: Any) -> Any:
    """The shapes of a batch of two: batch norm cannot be traced on one value."""

    def two(a):
        return jax.ShapeDtypeStruct((2, *a.shape[1:]), a.dtype) if a.shape else a

    return jax.tree.map(two, abstract(x))


def _some_input(net: Layer, given: Mapping) -> Any:
    """Shapes of a batch for which the network has these parameters.

    Any such batch will do: the number of flattened channels is the same for all.
    """
    for shape in _possible_inputs(net, given):
        x = jax.ShapeDtypeStruct(shape, jnp.float32)
        try:
            shapes = _shapes(net, x)
        except (ValueError, TypeError):  # too small, or unsuitable for this network
            continue
        if all(fits(given, shapes, at) for at in {**given, **shapes}):
            return x
    raise ValueError(
        "to_torch: cannot tell from the parameters what the network takes (or they "
        "are another network's); pass x=, an example batch or its shape"
    )


def _possible_inputs(net: Layer, given: Mapping) -> Iterator[tuple[int, ...]]:
    """Batches that fit the network's first layer."""
    for path, layer in {"": net, **layer_paths(net)}.items():
        own = "input/w" if isinstance(layer, Recurrent) else "w"
        w = given.get(("params", join(path, own)))
        if w is not None and isinstance(layer, Recurrent):
            yield (2, 2, w.shape[-2])
        if w is not None and isinstance(layer, Dense):
            yield (2, w.shape[-2])
        if w is not None and isinstance(layer, Conv | ConvTranspose):
            for side in _SIDES:
                yield (2, *[side] * (w.ndim - 2), w.shape[-2] * layer.groups)
        if w is not None:
            return
