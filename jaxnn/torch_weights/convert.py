# SPDX-License-Identifier: Apache-2.0
"""Convert weights from PyTorch, and back."""

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxnn import trees
from jaxnn.core import Key, Layer, as_layer, check_key
from jaxnn.inputs.variables import in_one
from jaxnn.inputs.variables import variables as parts_of
from jaxnn.messages.arguments import answered
from jaxnn.torch_weights.arrays import Slot, find_slots, to_ours, to_theirs
from jaxnn.torch_weights.naming import Names, own_namings, prefixed, with_names
from jaxnn.torch_weights.order import check_order, orders
from jaxnn.torch_weights.parts import Part, Shapes, find_parts
from jaxnn.torch_weights.possible import possible_inputs
from jaxnn.torch_weights.problems import COUNT, Misfit, check_trees, fits, misfit
from jaxnn.torch_weights.published import published
from jaxnn.torch_weights.read import Given, as_array, read_state_dict
from jaxnn.torch_weights.skipping import Skip, as_skip

_HEADS = 3  # most layers that a message offers to leave out


@answered
def from_torch(
    net: Layer,
    x: Any,
    state_dict: Any,
    *,
    names: Names | None = None,
    skip: str | tuple[str, ...] | None = None,
    key: Key | None = None,
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Convert the weights of the same network in PyTorch to parameters and state.

    These modules are known: `Linear`, `Conv1d` to `Conv3d` and transposed, `Embedding`,
    all norms and `PReLU`; `RNN`, `GRU` and `LSTM` with all layers and directions, and
    their single cells; `MultiheadAttention`, and `TransformerEncoder` and
    `TransformerDecoder` with their layers; `weight_norm` and `spectral_norm`, in
    `torch.nn.utils` and in its `parametrizations`. What a state_dict does not hold is
    for you to set alike: activations (PyTorch's transformers have ReLU), `eps`,
    `norm_first` (`pre_norm` here), `add_zero_attn` (which no layer here has).

    Files of GPT-2 and BERT as Hugging Face publishes them, and torchvision's Vision
    Transformers, are read for `nn.models.gpt2`, `bert` and `vit`.

    Layers are matched by torchvision's names if the network is one of `nn.models`, or
    by paths (`body/fc` is `body.fc`) if these are the names, in both cases also after a
    common prefix (`model.`), or else in order: the n-th layer with arrays gets the n-th
    module with arrays, where a whole `LSTM` or transformer is one module.  All shapes
    are checked.  Among modules of equal shapes, the order is trusted if they are
    numbered in it (`0`, `2`; `fc1`, `fc2`), or if the layers' names contain the words
    that tell them apart; otherwise `names` must say which is which.
    `num_batches_tracked` is ignored, and so is a second name of one tensor, as that of
    an output layer that shares the table of an `Embedding`.

    Args:
        net: a network.
        x: an example batch, or just its `jax.ShapeDtypeStruct`, channels last.
        state_dict: what `model.state_dict()` returns, with tensors or NumPy arrays, or
            a checkpoint that has it under `state_dict` (Lightning); or the path of a
            `.safetensors` file or of a `torch.save` file (`.pth`, `.pt`, `.ckpt`; this
            needs torch, which reads it with `weights_only=True`, so nothing in it is
            executed). Half precision becomes the precision of the parameters, float32.
        names: module names by layer path, as in `{"head": "linear"}`, where they
            differ; the other layers are matched as above. Those inside of what is one
            module in PyTorch go with it: `{"encoder": "transformer"}`.
        skip: a pattern of paths, or a tuple of them, whose arrays are not loaded, as in
            `skip="head"` for a network with another head. They are what
            `net.init(key, x)` gives; what the state_dict has in their place is ignored.
        key: a random key, needed with `skip`.

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

    Transfer learning: all weights but those of the head, which has other classes:

    >>> net = nn.Sequential(body=nn.Dense(2), head=nn.Dense(7))
    >>> state_dict = {"body.weight": np.ones((2, 3)), "body.bias": np.zeros(2)}
    >>> state_dict |= {"head.weight": np.ones((1000, 2)), "head.bias": np.zeros(1000)}
    >>> key = jax.random.key(0)
    >>> params, state = nn.io.from_torch(net, x, state_dict, skip="head", key=key)
    >>> params["body"]["w"].sum().item(), params["head"]["w"].shape
    (6.0, (2, 7))
    """
    net = as_layer(net, "from_torch")
    if key is not None:
        check_key(key, "from_torch")
    (given, source), x = read_state_dict(state_dict), trees.abstract(x)
    shapes = _shapes(net, x)
    left_out = as_skip(skip, key, [path for _, path in shapes])
    arrays = None if names else published(given, shapes, source, left_out)
    if arrays is None:
        slots = _slots(net, x, shapes, given, names, left_out, source)
        arrays = _filled(slots, shapes, given)
    if left_out.patterns:
        arrays |= _fresh(net, x, key, left_out)
    return _nest("params", arrays), _nest("state", arrays)


def _slots(
    net: Layer,
    x: Any,
    shapes: Shapes,
    given: Mapping[str, Given],
    names: Names | None,
    skip: Skip,
    source: str,
) -> list[Slot]:
    """Which tensor each array gets; an error if the best way leaves problems."""
    fitted = _fits(net, x, shapes, given, names, skip)
    best = min(fitted, key=lambda fit: fit.problems.size)
    if best.problems.size:
        raise ValueError(
            f"from_torch: {source} does not fit the network:\n  {best.problems}"
            + _other_heads(best.problems.layers)
        )
    if best.by_order:
        check_order(best.slots, names)
    return best.slots


def _filled(slots: list[Slot], shapes: Shapes, given: Mapping[str, Given]) -> dict:
    """The arrays with the values of their tensors."""
    arrays = {at: np.zeros(leaf.shape, leaf.dtype) for at, leaf in shapes.items()}
    for slot in slots:
        whole = arrays[slot.kind, slot.path]
        one = to_ours(slot, as_array(given[slot.torch], whole.dtype))
        # Where PyTorch has two biases, ours is their sum.
        whole[slot.part.block] += one.reshape(whole[slot.part.block].shape)
    return arrays


def _fresh(net: Layer, x: Any, key: Key | None, skip: Skip) -> dict:
    """The first values of the arrays that are not loaded."""

    @jax.jit  # of these alone: 2 seconds for the head of a ResNet-18, not 15 for all
    def init(key):
        arrays = _flat(*net.init(key, x))
        return [a for (_, path), a in arrays.items() if skip.has(path)]

    at = [at for at in _shapes(net, x) if skip.has(at[1])]
    return dict(zip(at, init(key), strict=True))


class _Fit(NamedTuple):
    """What arrays may be called, and how far the state_dict is from that."""

    slots: list[Slot]
    problems: Misfit
    by_order: bool


def _fits(
    net: Layer,
    x: Any,
    shapes: Shapes,
    given: Mapping[str, Given],
    names: Names | None,
    skip: Skip,
) -> Iterator[_Fit]:
    """Every way in which modules may be matched, those by name first."""
    parts = find_parts("from_torch", net, x, shapes, skip)
    kept = [p.name for p in parts if not skip.has_all(p.paths)]

    def fit(parts: list[Part], naming: Names, by_order: bool) -> _Fit:
        slots = find_slots(parts, shapes, naming, given)
        slots = [slot for slot in slots if not skip.has(slot.path)]
        problems = misfit(slots, given, skip.ignored(naming, kept))
        return _Fit(slots, problems, by_order)

    for own in own_namings(parts, kept):
        for naming in prefixed(own, given):
            yield fit(parts, with_names("from_torch", parts, naming, names), False)
    for units, naming in orders(parts, given, names):
        yield fit(units, naming, True)


def _other_heads(layers: list[str]) -> str:
    """What to do if only some layers have other shapes."""
    if not all(layers) or not 0 < len(layers) <= _HEADS:
        return ""
    skip = repr(layers[0] if len(layers) == 1 else tuple(layers))
    return (
        f"\nTo load all but {', '.join(layers)}, pass skip={skip} and "
        "key=jax.random.key(0)"
    )


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
    if the network is one of `nn.models`, otherwise the paths with dots, and PyTorch's
    own inside its recurrent layers and transformers.  Batches are not counted here:
    `num_batches_tracked` is 0.  A weight norm loads under both of PyTorch's APIs, a
    spectral norm under that of `parametrizations`.

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
    net, (params, state) = as_layer(net, "to_torch"), parts_of(variables, "to_torch")
    given = _flat(params, state)
    x = _some_input(net, given) if x is None else trees.abstract(x)
    shapes = _shapes(net, x)
    check_trees(given, shapes)
    parts = find_parts("to_torch", net, x, shapes, Skip())
    own = next(own_namings(parts, [part.name for part in parts]))
    slots = find_slots(parts, shapes, with_names("to_torch", parts, own, names), {})
    arrays = {}
    for name, pieces in _by_name(slots).items():
        arrays[name] = to_theirs(pieces, given)
        if name.endswith("running_var"):
            arrays[name.removesuffix("running_var") + COUNT] = np.zeros((), int)
    return arrays


def _by_name(slots: list[Slot]) -> dict[str, list[Slot]]:
    """The slots of each array of PyTorch, several if it has several pieces."""
    found: dict[str, list[Slot]] = {}
    for slot in slots:
        pieces = found.setdefault(slot.torch, [])
        if slot.row.piece in [other.row.piece for other in pieces]:
            raise ValueError(
                f"to_torch: two layers would be {slot.torch}; give each a name of its "
                "own in names"
            )
        pieces.append(slot)
    return found


def _shapes(net: Layer, x: Any) -> Shapes:
    """The network's arrays as shapes, by kind (params or state) and path."""

    def init(x):
        return net.init(jax.random.key(0), x)

    return _flat(*jax.eval_shape(init, x))


def _flat(params: Any, state: Any) -> dict[tuple[str, str], Any]:
    return {
        (kind, path): leaf
        for kind, tree in (("params", params), ("state", state))
        for path, leaf in trees.paths(tree).items()
    }


def _nest(kind: str, arrays: Mapping[tuple[str, str], Any]) -> dict[str, Any]:
    tree: dict[str, Any] = {}
    for (of, path), array in arrays.items():
        if of == kind:
            trees.put(tree, path, jnp.asarray(array))
    return tree


def _some_input(net: Layer, given: Mapping) -> Any:
    """Shapes of a batch for which the network has these parameters.

    Any such batch will do: the number of flattened channels is the same for all.
    """
    for x in possible_inputs(net, given):
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
