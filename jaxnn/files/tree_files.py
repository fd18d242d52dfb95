# SPDX-License-Identifier: Apache-2.0
"""A tree of arrays in one safetensors file, with an optional record of other things.

Tensors are named by path, such as `params/dense_1/w`. The file's metadata holds two
entries: `jaxnn`, a JSON object, and `jaxnn_crc32`, a checksum of that object and of all
tensors. The object (format version 1) has `version`, `library`, `spec`, `step`, and
what tensors cannot express: `empty` (path to `{}` or `null`), `keys` (path to the
random generator of a key) and `dtypes` (path to the dtype of a tensor stored as its
bytes, because safetensors has no such dtype); also `sequence`, "tuple" or "list", if
the tree itself is one. Version 2, written if there is a record,
also has `record`: JSON in which `{"numbers": n}` stands for a list of floats,
`{"array": n}` for an array and `{"dict": {}}` for a dict; those arrays are tensors
named `/record/n`, a name that no tree path has. Nothing in a file is ever executed.
"""

import json
import os
import zlib
from collections.abc import Callable, Mapping
from typing import Any, BinaryIO, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer

from jaxnn import trees
from jaxnn.files import places, tensor_files
from jaxnn.messages.phrases import describe, nearest

VERSION = 2
_RECORD = "/record/"
_AS_BYTES = (
    *("complex64", "complex128", "int2", "int4", "uint2", "uint4", "float4_e2m1fn"),
    *("float8_e3m4", "float8_e4m3", "float8_e4m3b11fnuz", "float8_e4m3fnuz"),
    *("float8_e5m2fnuz", "float8_e8m0fnu"),
)
Number = (bool, int, float, complex)


class Content(NamedTuple):
    """The content of a file."""

    leaves: dict[str, Any]  # by path: NumPy arrays and random keys
    empty: dict[str, Any]  # by path: `{}` or None
    record: Any  # what is stored beside the tree, or None
    sequence: str | None = None  # "tuple" or "list", if the tree itself is one


class Packed(NamedTuple):
    """A tree as it goes into a file, in the host's memory."""

    tensors: dict[str, np.ndarray]  # by path
    text: str  # the JSON object


def write(
    path: str | os.PathLike[str],
    tree: Any,
    *,
    spec: Any = None,
    record: Any = None,
    owner: str = "save",
) -> None:
    """Write a tree to a file, atomically.

    Args:
        path: the file.
        tree: any pytree of arrays and numbers.
        spec: the network, or a text that describes it.
        record: what to store beside the tree: lists, dicts with str keys, text,
            numbers, arrays and None. NumPy and JAX numbers come back as arrays.
        owner: the function that was called, for the error messages.

    Raises:
        TypeError, ValueError: something cannot be stored in a file.
        OSError: the file cannot be written.
    """
    packed = pack(tree, spec=spec, record=record, owner=owner)
    if packed is not None:
        put(path, packed, owner=owner)


def pack(
    tree: Any, *, spec: Any = None, record: Any = None, owner: str = "save"
) -> Packed | None:
    """What `put` writes for a tree; later changes of the record are no part of it.

    Args:
        tree, spec, record, owner: as in `write`.

    Returns:
        None where another process writes: of several, the first writes for all.

    Raises:
        TypeError, ValueError: something cannot be stored in a file.
    """
    if isinstance(tree, str | os.PathLike):
        raise TypeError(f"{owner}: the path comes first, {owner}(path, tree)")
    nodes = trees.paths(tree, is_leaf=_is_empty)
    leaves = {name: x for name, x in nodes.items() if not _is_empty(x)}
    for name, leaf in leaves.items():
        _check_leaf(name, leaf)
    keys = {n: str(jax.random.key_impl(x)) for n, x in leaves.items() if is_key(x)}
    aside: list[Any] = []
    packed = None if record is None else _pack(record, aside)
    data = {n: jax.random.key_data(x) if n in keys else x for n, x in leaves.items()}
    data |= {f"{_RECORD}{n}": x for n, x in enumerate(aside)}
    shared = any(map(_is_shared, data.values()))
    arrays = {name: _plain(name, x) for name, x in _on_host(data).items()}
    if shared and jax.process_index() != 0:
        return None
    dtypes = {n: x.dtype.name for n, x in arrays.items() if x.dtype.name in _AS_BYTES}
    note = {
        "version": 1 if record is None else VERSION,
        "library": library(),
        "spec": spec if spec is None or isinstance(spec, str) else repr(spec),
        "step": _step(arrays),
        "empty": {
            n: None if x is None else {} for n, x in nodes.items() if _is_empty(x)
        },
        "keys": keys,
        "dtypes": dtypes,
    }
    if type(tree) in (tuple, list):
        note["sequence"] = type(tree).__name__
    text = json.dumps(note if record is None else note | {"record": packed})
    tensors = {n: _to_bytes(x) if n in dtypes else x for n, x in arrays.items()}
    return Packed(tensors, text)


def put(path: str | os.PathLike[str], packed: Packed, owner: str = "save") -> None:
    """Write to a file what `pack` returned, atomically.

    Args:
        path: the file.
        packed: its content.
        owner: the function that was called, for the error messages.

    Raises:
        OSError: the file cannot be written.
    """
    tensors, text = packed
    metadata = {"jaxnn": text, "jaxnn_crc32": checksum(text, tensors)}
    with places.replacing(path, owner) as beside:
        tensor_files.write(beside, tensors, metadata)


def _is_shared(a: Any) -> bool:
    """Whether an array lies on devices of several processes."""
    return isinstance(a, jax.Array) and not a.is_fully_addressable


def _on_host(data: dict[str, Any]) -> dict[str, Any]:
    """The arrays in the host's memory; each process takes part in gathering them."""

    def whole(a):
        if not _is_shared(a) or a.is_fully_replicated:
            return a
        from jax.experimental.multihost_utils import process_allgather

        return process_allgather(a, tiled=True)

    return jax.device_get({name: whole(a) for name, a in data.items()})


def open_file(path: str | os.PathLike[str]) -> BinaryIO:
    """Open a file for reading.

    Args:
        path: the file.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is a folder or a device.
    """
    target = places.place(path, "load")
    if not target.exists():
        folder = target.parent
        beside = [p.name for p in folder.iterdir()] if folder.is_dir() else []
        raise FileNotFoundError(f"load: no file {target}{nearest(target.name, beside)}")
    if not target.is_file():
        raise ValueError(f"load: path must name a safetensors file, {target} is none")
    return target.open("rb")


def read(file: BinaryIO) -> Content:
    """The content of a file, after checking that it is complete and unchanged."""
    metadata, where = tensor_files.read_header(file)
    tensors = tensor_files.read(file, where)
    note = _note(file.name, metadata)
    if note and metadata.get("jaxnn_crc32") != checksum(metadata["jaxnn"], tensors):
        raise ValueError(f"load: {file.name} was damaged or changed since it was saved")
    leaves = _decode(file.name, note, tensors)
    record = None
    if note.get("version") == VERSION:
        aside = {n: leaves.pop(n) for n in tensors if n.startswith(_RECORD)}
        record = _unpacked(file.name, note, aside)
    return Content(leaves, note.get("empty", {}), record, note.get("sequence"))


def read_note(file: BinaryIO) -> dict[str, Any]:
    """The JSON object of a file; empty for a file of another library."""
    return _note(file.name, tensor_files.read_header(file)[0])


def read_some(
    file: BinaryIO, names: tuple[str, ...]
) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """The JSON object and some of the tensors; the checksum is not verified."""
    metadata, where = tensor_files.read_header(file)
    wanted = {name: where[name] for name in names if name in where}
    return _note(file.name, metadata), tensor_files.read(file, wanted)


def is_key(leaf: Any) -> bool:
    """Whether a leaf is an array of random keys."""
    dtype = getattr(leaf, "dtype", None)
    return dtype is not None and jnp.issubdtype(dtype, jax.dtypes.prng_key)


def library() -> str:
    """This library's version."""
    from jaxnn import __version__  # lazy: the package imports this module

    return __version__


def checksum(text: str, tensors: Mapping[str, np.ndarray]) -> str:
    """CRC-32 of the JSON object and of each tensor's name, dtype, shape and bytes."""
    crc = zlib.crc32(text.encode())
    for name, array in sorted(tensors.items()):
        title = json.dumps([name, array.dtype.name, array.shape])
        crc = zlib.crc32(title.encode(), crc)
        crc = zlib.crc32(tensor_files.flat_bytes(array).data, crc)
    return f"{crc:08x}"


# Writing


def _is_empty(node: Any) -> bool:
    return not jax.tree.leaves(node, is_leaf=lambda child: child is not node)


def _check_leaf(name: str, leaf: Any) -> None:
    if name == "__metadata__":
        raise ValueError("save: '__metadata__' is a reserved name; rename this leaf")
    if not isinstance(leaf, (jax.Array, np.ndarray, np.generic, *Number)):
        raise TypeError(
            f"save: leaf {name!r} must be an array or a number, "
            f"got {describe(leaf)}; describe a network by `spec=`"
        )
    if isinstance(leaf, np.ma.MaskedArray):
        raise TypeError(
            f"save: leaf {name!r} is a masked array, whose mask no file keeps; fill it "
            "by leaf.filled(value)"
        )
    if isinstance(leaf, Tracer):
        raise ValueError(f"save: leaf {name!r} is traced; call save outside of jit")
    if isinstance(leaf, jax.Array) and leaf.is_deleted():
        raise ValueError(
            f"save: leaf {name!r} was donated to a compiled function and is gone; "
            "save what that function returned"
        )


def _plain(name: str, leaf: Any) -> np.ndarray:
    """A leaf as a contiguous little-endian array, its dtype checked."""
    array = np.asarray(leaf, order="C")
    if array.dtype.name not in (*tensor_files.NATIVE.values(), *_AS_BYTES):
        hint = "; Python numbers must fit 64 bits" if isinstance(leaf, int) else ""
        raise ValueError(f"save: leaf {name!r} has dtype {array.dtype.name}{hint}")
    swapped = array.dtype.byteorder == ">"
    return array.astype(array.dtype.newbyteorder("<")) if swapped else array


def _to_bytes(array: np.ndarray) -> np.ndarray:
    return tensor_files.flat_bytes(array).reshape(*array.shape, array.itemsize)


def _step(arrays: Mapping[str, np.ndarray]) -> int | None:
    step = arrays.get("step")
    if step is None or step.ndim or step.dtype.kind not in "iu":
        return None
    return int(step)


def _pack(value: Any, aside: list[Any], name: str = "record") -> Any:
    """A record as JSON; its arrays go to `aside`."""
    if value is None or type(value) in (bool, int, float, str):
        return value
    if isinstance(value, Mapping) and all(isinstance(key, str) for key in value):
        entries = {k: _pack(v, aside, f"{name}[{k!r}]") for k, v in value.items()}
        return {"dict": entries}
    numbers = isinstance(value, list | tuple) and all(type(v) is float for v in value)
    if isinstance(value, list | tuple) and not numbers:
        return [_pack(v, aside, f"{name}[{i}]") for i, v in enumerate(value)]
    is_array = isinstance(value, jax.Array | np.ndarray | np.generic)
    if not numbers and (not is_array or is_key(value)):
        raise TypeError(
            f"save: {name} must be an array, a number or text, got {describe(value)}"
        )
    aside.append(np.asarray(value, float) if numbers else value)
    return {"numbers" if numbers else "array": len(aside) - 1}


# Reading


def _note(path: str, metadata: Mapping[str, str]) -> dict[str, Any]:
    """The JSON object that `write` wrote, checked; empty for another library's file."""
    # Either entry is enough, so one damaged name does not make it another library's.
    if metadata.keys().isdisjoint(("jaxnn", "jaxnn_crc32")):
        return {}
    try:
        note = json.loads(metadata["jaxnn"])
        version = note["version"]
    except (ValueError, TypeError, LookupError, RecursionError) as error:
        raise ValueError(f"load: the jaxnn header of {path} is damaged") from error
    if isinstance(version, int) and version > VERSION:
        raise ValueError(
            f"load: {path} has format version {version}, written by jaxnn "
            f"{note.get('library')}; this one reads up to {VERSION}: upgrade jaxnn"
        )
    if version not in range(1, VERSION + 1) or not _well_formed(note):
        raise ValueError(f"load: the jaxnn header of {path} is damaged")
    return note


def _well_formed(note: Mapping[str, Any]) -> bool:
    rules: dict[str, Callable[[Any], bool]] = {
        "empty": lambda value: value is None or value == {},
        "keys": lambda value: isinstance(value, str),
        "dtypes": lambda value: value in _AS_BYTES,
    }
    return note.get("sequence") in (None, "tuple", "list") and all(
        isinstance(note.get(entry), dict) and all(map(rule, note[entry].values()))
        for entry, rule in rules.items()
    )


def _decode(
    path: str, note: Mapping[str, Any], tensors: Mapping[str, np.ndarray]
) -> dict[str, Any]:
    leaves: dict[str, Any] = dict(tensors)
    try:
        for name, dtype in note.get("dtypes", {}).items():
            tensor = tensors[name]
            leaves[name] = tensor.view(np.dtype(dtype)).reshape(tensor.shape[:-1])
        for name, impl in note.get("keys", {}).items():
            leaves[name] = jax.random.wrap_key_data(jnp.array(tensors[name]), impl=impl)
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(
            f"load: the jaxnn header of {path} does not fit its tensors: {error}"
        ) from error
    return leaves


def _unpacked(path: str, note: Mapping[str, Any], aside: Mapping[str, Any]) -> Any:
    try:
        return _unpack(note["record"], aside)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise ValueError(
            f"load: the record in {path} is damaged: {error!r:.200}"
        ) from error


def _unpack(value: Any, aside: Mapping[str, Any]) -> Any:
    """The inverse of `_pack`."""
    if isinstance(value, list):
        return [_unpack(v, aside) for v in value]
    if not isinstance(value, dict):
        return value
    ((kind, inside),) = value.items()
    if kind == "dict":
        return {k: _unpack(v, aside) for k, v in inside.items()}
    if kind not in ("numbers", "array"):
        raise ValueError(f"no such entry: {kind!r}")
    array = aside[f"{_RECORD}{inside}"]
    return array.tolist() if kind == "numbers" else array
