# SPDX-License-Identifier: Apache-2.0
"""Saving and loading trees: one safetensors file each, written atomically.

The format is described in `tree_files`; nothing in a file is ever executed.
"""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxnn import trees
from jaxnn.files import tree_files
from jaxnn.messages.arguments import answered
from jaxnn.messages.phrases import describe, listed, nearest
from jaxnn.messages.tracebacks import entrance, warn

#: Endings that promise another format.
_OTHER_FORMATS = {".npz", ".npy", ".pt", ".pth", ".keras", ".h5", ".hdf5"}


@entrance
def save(path: str | os.PathLike[str], tree: Any, *, spec: Any = None) -> None:
    """Write any tree of arrays, such as a `TrainState`, to one safetensors file.

    The file is written atomically: it is written next to `path`, flushed to disk and
    renamed, so that an earlier file survives any failure. An existing file keeps its
    mode; leftovers of killed processes next to it are removed.

    Args:
        path: the file, exactly as named here, with `~` for the user's home; missing
            folders are created, and a symbolic link is followed.
        tree: any pytree of JAX arrays (including random keys and sharded arrays), NumPy
            arrays and Python numbers.
        spec: the network, or a string that describes it; stored as text for `header`.

    Raises:
        TypeError: a leaf is not an array or a number.
        ValueError: a leaf has a dtype that no file can hold, is traced or was donated,
            or `path` is a folder.
        OSError: the file cannot be written; `path` is unchanged.

    >>> import pathlib, tempfile
    >>> file = pathlib.Path(tempfile.mkdtemp(), "model.safetensors")
    >>> save(file, {"dense_1": {"w": np.ones((2, 3)), "b": np.zeros(3)}})
    >>> load(file)["dense_1"]["b"]
    array([0., 0., 0.])
    """
    tree_files.write(path, tree, spec=spec)
    file = Path(path)
    if file.suffix in _OTHER_FORMATS:
        warn(
            f"save: {file} is a safetensors file, whatever its name says, which "
            f"nn.load reads; name it {file.with_suffix('.safetensors')}"
        )


@answered
def load(path: str | os.PathLike[str], like: Any = None) -> Any:
    """Read a tree from a safetensors file written by `save` or by another library.

    Args:
        path: the file.
        like: a tree with the expected structure, shapes and dtypes, of arrays or of
            `jax.ShapeDtypeStruct`. JAX arrays come back as JAX arrays, on the default
            device or, if `like` lies on a mesh (`Layout.shapes`), as it does; NumPy
            arrays as NumPy arrays, Python numbers as Python numbers.

    Returns:
        A tree like `like`. Without `like`, nested dicts of NumPy arrays: fields and
        indices become keys, numbers become arrays of rank 0, empty containers become
        `{}`; random keys stay keys. A tuple or a list comes back as one if it is the
        tree itself: `params, state = nn.load(path)`. Names in files of other libraries
        are split only at `/`. `evaluate`, `predict` and everything else that takes a
        network's variables accepts such a pair, and such a dict of a `TrainState`;
        `nn.io.network` gives the network.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the file is not a complete safetensors file, was changed since it
            was saved, comes from a newer jaxnn, or does not match `like`: the error
            lists every missing or unexpected path and every different shape or dtype.
            Nothing is cast.

    >>> import pathlib, tempfile
    >>> file = pathlib.Path(tempfile.mkdtemp(), "model.safetensors")
    >>> save(file, {"step": 3, "moments": (jnp.zeros(2),)})
    >>> load(file, like={"step": 0, "moments": (jnp.ones(2),)})
    {'moments': (Array([0., 0.], dtype=float32),), 'step': 3}
    """
    with tree_files.open_file(path) as file:
        leaves, empty, _, sequence = tree_files.read(file)
    if like is None:
        tree = _nest(path, [*leaves.items(), *empty.items()])
        return tree if sequence is None else _sequence(path, tree, sequence)
    wanted = trees.paths(like)
    _check_fit(path, leaves, wanted)
    # (Each array is released as soon as it is copied: together they may fill memory.)
    restored = [_restore(name, leaves.pop(name), leaf) for name, leaf in wanted.items()]
    return jax.tree.unflatten(jax.tree.structure(like), restored)


@entrance
def header(path: str | os.PathLike[str]) -> dict[str, Any]:
    """What `save` recorded about a file, read without its arrays.

    Args:
        path: the file.

    Returns:
        A dict with the `version` of the format, the `library` that wrote the file,
        `spec` (text, never evaluated) and `step` (if the tree had one), each None if
        unknown; an empty dict for a file of another library.

    Raises:
        FileNotFoundError, ValueError: as in `load`; the checksum is not verified.

    >>> import pathlib, tempfile
    >>> file = pathlib.Path(tempfile.mkdtemp(), "model.safetensors")
    >>> save(file, {"step": 300}, spec="Dense(10)")
    >>> header(file)["spec"], header(file)["step"]
    ('Dense(10)', 300)
    """
    with tree_files.open_file(path) as file:
        note = tree_files.read_note(file)
    names = ("version", "library", "spec", "step")
    return {name: note.get(name) for name in names} if note else {}


def _nest(path: Any, items: list[tuple[str, Any]]) -> Any:
    if len(items) == 1 and items[0][0] == "":  # the tree was a bare leaf
        return items[0][1]
    tree: dict[str, Any] = {}
    for name, leaf in items:
        try:
            trees.put(tree, name, leaf)
        except ValueError:
            raise ValueError(
                f"load: {path} has {name!r} both as a leaf and as a folder"
            ) from None
    return tree


def _sequence(path: Any, tree: Any, kind: str) -> Any:
    """The tuple or list that was saved, from a dict with its indices as keys."""
    if not isinstance(tree, dict) or {*tree} != {str(i) for i in range(len(tree))}:
        raise ValueError(f"load: the jaxnn header of {path} does not fit its tensors")
    members = [tree[str(i)] for i in range(len(tree))]
    return tuple(members) if kind == "tuple" else members


def _check_fit(path: Any, leaves: Mapping[str, Any], wanted: Mapping[str, Any]) -> None:
    found = {name: _kind(leaf) for name, leaf in leaves.items()}
    want = {name: _kind(leaf) for name, leaf in wanted.items()}
    missing, unexpected, different = trees.difference(found, want)
    problems = [
        *listed("missing", missing, lambda n: _at(n) + nearest(n, unexpected)),
        *listed("unexpected", unexpected, _at),
        *listed("different", different, lambda n: _contrast(n, found, want)),
    ]
    every = [*missing, *unexpected, *different]
    if every and all(name.startswith("opt_state/") for name in every):
        raise ValueError(_of_another_optimizer(path))
    if any(name.startswith("watch/") for name in unexpected):
        problems.append("give train_state the run's early_stopping= and plateau= too")
    if problems:
        raise ValueError("\n  ".join([f"load: {path} does not fit `like`:", *problems]))


def _of_another_optimizer(path: Any) -> str:
    return (
        f"load: {path} was saved with another optimizer than that of `like`; to start "
        "from its weights:\n  old = nn.load(path)\n  state = nn.train_state(net, "
        'optimizer, x, key=key, params=old["params"], state=old["state"])'
    )


def _kind(leaf: Any) -> str:
    return describe(np.asarray(leaf) if isinstance(leaf, tree_files.Number) else leaf)


def _at(name: str) -> str:
    return name or "(the tree itself)"


def _contrast(name: str, found: Mapping[str, str], wanted: Mapping[str, str]) -> str:
    return f"{_at(name)}: the file has {found[name]}, like has {wanted[name]}"


def _place(like: Any) -> Any:
    """Where a leaf of `like` lies, if on several devices."""
    place = getattr(like, "sharding", None)
    return place if isinstance(place, jax.sharding.NamedSharding) else None


def _restore(name: str, found: Any, like: Any) -> Any:
    """A leaf of the file, as the same kind of object as in `like`."""
    place = _place(like)
    if tree_files.is_key(found) and place is not None:
        return trees.placed(found, place)
    if tree_files.is_key(found) or isinstance(like, np.ndarray):
        return found
    if isinstance(like, np.generic):
        return found[()]
    if isinstance(like, tree_files.Number):
        return type(like)(found.item())
    if getattr(like, "weak_type", False) and not found.ndim:
        weak = jnp.asarray(found.item())  # otherwise a resumed run recompiles
        if weak.dtype == found.dtype:
            return weak
    array = jnp.array(found) if place is None else trees.placed(found, place)
    if array.dtype != found.dtype:
        raise ValueError(
            f"load: {name or 'the array'} is {found.dtype}, which JAX arrays hold only "
            "under jax_enable_x64; switch it on, or load into NumPy arrays"
        )
    return array
