# SPDX-License-Identifier: Apache-2.0
"""Trees in files: one safetensors file each, written whole or not at all.

Tensors are named by path, such as `params/dense_1/w`. The file's metadata holds two
entries: `jaxnn`, a JSON object, and `jaxnn_crc32`, a checksum of that object and of all
tensors. The object (format version 1) has `version`, `library`, `spec`, `step`, and
what tensors cannot say: `empty` (path to `{}` or `null`), `keys` (path to the random
generator of a key) and `dtypes` (path to the dtype of a tensor stored as its bytes,
because safetensors has no such dtype). Nothing in a file is ever executed.
"""

import contextlib
import json
import os
import uuid
import zlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer

from jaxnn import trees

if TYPE_CHECKING:
    from jaxnn.torch_weights import from_torch as from_torch
    from jaxnn.torch_weights import to_torch as to_torch

VERSION = 1

# The dtypes of the oldest supported safetensors, and newer ones that are only read.
_NATIVE = {
    "BOOL": "bool",
    "U8": "uint8",
    "U16": "uint16",
    "U32": "uint32",
    "U64": "uint64",
    "I8": "int8",
    "I16": "int16",
    "I32": "int32",
    "I64": "int64",
    "F16": "float16",
    "BF16": "bfloat16",
    "F32": "float32",
    "F64": "float64",
    "F8_E4M3": "float8_e4m3fn",
    "F8_E5M2": "float8_e5m2",
}
_READ = _NATIVE | {"C64": "complex64", "F8_E8M0": "float8_e8m0fnu"}
_AS_BYTES = (
    *("complex64", "complex128", "int2", "int4", "uint2", "uint4", "float4_e2m1fn"),
    *("float8_e3m4", "float8_e4m3", "float8_e4m3b11fnuz", "float8_e4m3fnuz"),
    *("float8_e5m2fnuz", "float8_e8m0fnu"),
)
_FORMATS = {
    b"\x80": "a pickle",
    b"PK": "a zip archive (.npz, .pt, .keras)",
    b"\x93NUMPY": "a NumPy array (.npy)",
    b"\x89HDF": "HDF5 (.h5)",
    b"\x1f\x8b": "gzip",
}
_LISTED = 20  # names in one error message

_Number = (bool, int, float, complex)


def __getattr__(name: str) -> Any:
    if name in ("from_torch", "to_torch"):  # imported when first asked for
        from jaxnn import torch_weights

        return getattr(torch_weights, name)
    raise AttributeError(f"module 'jaxnn.io' has no attribute {name!r}")


def save(path: str | os.PathLike[str], tree: Any, *, spec: Any = None) -> None:
    """Write any tree of arrays, a `TrainState` included, to one safetensors file.

    The file appears whole or not at all: it is written beside `path`, flushed to disk
    and renamed, so that an earlier file survives any failure.

    Args:
        path: the file, exactly as named here; missing folders are created, and a
            symbolic link is followed.
        tree: any pytree of JAX arrays (random keys and sharded ones too), NumPy arrays
            and Python numbers.
        spec: the network, or a string that describes it; kept as text for `header`.

    Raises:
        TypeError: a leaf is no array or number.
        ValueError: a leaf has a dtype that no file can hold, is traced or was donated,
            or `path` is a folder.
        OSError: the file cannot be written; `path` is as it was.

    >>> import tempfile
    >>> file = Path(tempfile.mkdtemp(), "model.safetensors")
    >>> save(file, {"dense_1": {"w": np.ones((2, 3)), "b": np.zeros(3)}})
    >>> load(file)["dense_1"]["b"]
    array([0., 0., 0.])
    """
    target = Path(path).resolve()
    if target.exists() and not target.is_file():
        raise ValueError(f"save: path must name a file, {target} is a folder or device")
    data = _encode(tree, spec)
    temporary = target.parent / f".jaxnn-{uuid.uuid4().hex}.tmp"
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        _write(temporary, data)
        temporary.replace(target)
    except OSError as error:
        message = f"save: cannot write {target}: {error.strerror}"
        raise OSError(error.errno, message) from error
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink()


def _write(path: Path, data: bytes) -> None:
    with path.open("xb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def load(path: str | os.PathLike[str], like: Any = None) -> Any:
    """Read a tree from a safetensors file written by `save` or by another library.

    Args:
        path: the file.
        like: a tree with the structure, shapes and dtypes to expect, of arrays or of
            `jax.ShapeDtypeStruct`. JAX arrays come back as JAX arrays on the default
            device, NumPy arrays as NumPy arrays, Python numbers as Python numbers.

    Returns:
        A tree like `like`. Without it nested dicts of NumPy arrays: fields and indices
        become keys, numbers arrays of rank 0, empty containers `{}`; random keys stay
        keys. Names of other libraries are split at `/` only.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the file is no whole safetensors file, was changed since it was
            saved, comes from a newer jaxnn, or does not fit `like`: every missing and
            unexpected path and every other shape or dtype is listed. Nothing is cast.

    >>> import tempfile
    >>> file = Path(tempfile.mkdtemp(), "model.safetensors")
    >>> save(file, {"step": 3, "moments": (jnp.zeros(2),)})
    >>> load(file, like={"step": 0, "moments": (jnp.ones(2),)})
    {'moments': (Array([0., 0.], dtype=float32),), 'step': 3}
    """
    with _open(path) as file:
        metadata, tensors = _read(file)
    ours = _ours(path, metadata)
    if ours and metadata.get("jaxnn_crc32") != _checksum(metadata["jaxnn"], tensors):
        raise ValueError(f"load: {path} was damaged or changed since it was saved")
    leaves = _decode(path, ours, tensors)
    if like is None:
        return _nest(path, [*leaves.items(), *ours.get("empty", {}).items()])
    wanted = trees.paths(like)
    _check_fit(path, leaves, wanted)
    restored = [_restore(name, leaves[name], leaf) for name, leaf in wanted.items()]
    return jax.tree.unflatten(jax.tree.structure(like), restored)


def header(path: str | os.PathLike[str]) -> dict[str, Any]:
    """What `save` noted about a file, read without its arrays.

    Args:
        path: the file.

    Returns:
        `version` of the format, `library` that wrote it, `spec` (text, never evaluated)
        and `step` (where the tree had one), or None for what is not known; an empty
        dict for a file of another library.

    Raises:
        FileNotFoundError, ValueError: as in `load`; the checksum is not looked at.

    >>> import tempfile
    >>> file = Path(tempfile.mkdtemp(), "model.safetensors")
    >>> save(file, {"step": 300}, spec="Dense(10)")
    >>> header(file)["spec"], header(file)["step"]
    ('Dense(10)', 300)
    """
    with _open(path) as file:
        ours = _ours(path, _read_metadata(file))
    names = ("version", "library", "spec", "step")
    return {name: ours.get(name) for name in names} if ours else {}


# Writing


def _encode(tree: Any, spec: Any) -> bytes:
    from safetensors.numpy import save as serialize

    nodes = trees.paths(tree, is_leaf=_is_empty)
    leaves = {name: x for name, x in nodes.items() if not _is_empty(x)}
    for name, leaf in leaves.items():
        _check_leaf(name, leaf)
    keys = {n: str(jax.random.key_impl(x)) for n, x in leaves.items() if _is_key(x)}
    data = {n: jax.random.key_data(x) if n in keys else x for n, x in leaves.items()}
    arrays = {name: _plain(name, x) for name, x in jax.device_get(data).items()}
    dtypes = {n: x.dtype.name for n, x in arrays.items() if x.dtype.name in _AS_BYTES}
    note = {
        "version": VERSION,
        "library": _library(),
        "spec": spec if spec is None or isinstance(spec, str) else repr(spec),
        "step": _step(arrays),
        "empty": {
            n: None if x is None else {} for n, x in nodes.items() if _is_empty(x)
        },
        "keys": keys,
        "dtypes": dtypes,
    }
    tensors = {n: _to_bytes(x) if n in dtypes else x for n, x in arrays.items()}
    text = json.dumps(note)
    return serialize(tensors, {"jaxnn": text, "jaxnn_crc32": _checksum(text, tensors)})


def _library() -> str:
    from jaxnn import __version__  # lazy: the package imports this module

    return __version__


def _is_empty(node: Any) -> bool:
    return not jax.tree.leaves(node, is_leaf=lambda child: child is not node)


def _is_key(leaf: Any) -> bool:
    dtype = getattr(leaf, "dtype", None)
    return dtype is not None and jnp.issubdtype(dtype, jax.dtypes.prng_key)


def _check_leaf(name: str, leaf: Any) -> None:
    if name == "__metadata__":
        raise ValueError("save: '__metadata__' is a reserved name; rename this leaf")
    if not isinstance(leaf, (jax.Array, np.ndarray, np.generic, *_Number)):
        raise TypeError(
            f"save: leaf {name!r} must be an array or a number, "
            f"got {trees.describe(leaf)}; describe a network by `spec=`"
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
    if array.dtype.name not in (*_NATIVE.values(), *_AS_BYTES):
        hint = "; Python numbers must fit 64 bits" if isinstance(leaf, int) else ""
        raise ValueError(f"save: leaf {name!r} has dtype {array.dtype.name}{hint}")
    swapped = array.dtype.byteorder == ">"
    return array.astype(array.dtype.newbyteorder("<")) if swapped else array


def _flat_bytes(array: np.ndarray) -> np.ndarray:
    return array.reshape(-1).view(np.uint8)


def _to_bytes(array: np.ndarray) -> np.ndarray:
    return _flat_bytes(array).reshape(*array.shape, array.itemsize)


def _step(arrays: Mapping[str, np.ndarray]) -> int | None:
    step = arrays.get("step")
    if step is None or step.ndim or step.dtype.kind not in "iu":
        return None
    return int(step)


def _checksum(text: str, tensors: Mapping[str, np.ndarray]) -> str:
    crc = zlib.crc32(text.encode())
    for name, array in sorted(tensors.items()):
        title = json.dumps([name, array.dtype.name, array.shape])
        crc = zlib.crc32(title.encode(), crc)
        crc = zlib.crc32(_flat_bytes(array).data, crc)
    return f"{crc:08x}"


# Reading


def _open(path: str | os.PathLike[str]) -> BinaryIO:
    path = Path(path)
    if not path.exists():
        beside = [p.name for p in path.parent.iterdir()] if path.parent.is_dir() else []
        raise FileNotFoundError(
            f"load: no file {path}{trees.nearest(path.name, beside)}"
        )
    if not path.is_file():
        raise ValueError(f"load: path must name a safetensors file, {path} is none")
    return path.open("rb")


def _read_metadata(file: BinaryIO) -> dict[str, str]:
    """The metadata, once it is clear that the file is safetensors and whole."""
    size = os.fstat(file.fileno()).st_size
    head = file.read(64)
    if size > 8 and head[8:9] != b"{":
        raise ValueError(
            f"load: {file.name} looks like {_format(head)}; only safetensors files are "
            "read, and nothing in a file is ever executed"
        )
    data_start = 8 + int.from_bytes(head[:8], "little") if size > 8 else 10
    _check_size(file.name, size, data_start)
    file.seek(8)
    try:
        entries = json.loads(file.read(data_start - 8))
        ends = [x["data_offsets"][1] for n, x in entries.items() if n != "__metadata__"]
        size_needed = data_start + max(ends, default=0)
        metadata = {str(k): str(v) for k, v in entries.get("__metadata__", {}).items()}
    except (ValueError, TypeError, LookupError, AttributeError, RecursionError) as e:
        raise ValueError(f"load: the header of {file.name} is damaged: {e!r}") from e
    _check_size(file.name, size, size_needed)
    return metadata


def _check_size(name: str, found: int, expected: int) -> None:
    if found < expected:
        raise ValueError(
            f"load: {name} is {'cut short' if found else 'empty'}: at least {expected} "
            f"bytes expected, {found} found; only whole safetensors files are read"
        )


def _format(head: bytes) -> str:
    for magic, name in _FORMATS.items():
        if head.startswith(magic):
            return name
    return "text or an old pickle" if head.isascii() else "no known format"


def _read(file: BinaryIO) -> tuple[dict[str, str], dict[str, np.ndarray]]:
    from safetensors import SafetensorError, deserialize

    metadata = _read_metadata(file)
    file.seek(0)
    try:
        entries = sorted(deserialize(file.read()), key=lambda entry: entry[0])
        return metadata, {name: _array(**entry) for name, entry in entries}
    except (SafetensorError, ValueError, OverflowError) as error:
        raise ValueError(f"load: {file.name} is damaged: {error}") from error


def _array(dtype: str, shape: list[int], data: bytearray) -> np.ndarray:
    if dtype not in _READ:
        raise ValueError(f"dtype {dtype} is not supported")
    return np.frombuffer(data, np.dtype(_READ[dtype])).reshape(shape)


def _ours(path: Any, metadata: Mapping[str, str]) -> dict[str, Any]:
    """The JSON object that `save` wrote, checked; empty for a file of others."""
    # Either entry will do, lest one damaged name turns a file into one of others.
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
    if version != VERSION or not _well_formed(note):
        raise ValueError(f"load: the jaxnn header of {path} is damaged")
    return note


def _well_formed(note: Mapping[str, Any]) -> bool:
    rules: dict[str, Callable[[Any], bool]] = {
        "empty": lambda value: value is None or value == {},
        "keys": lambda value: isinstance(value, str),
        "dtypes": lambda value: value in _AS_BYTES,
    }
    return all(
        isinstance(note.get(entry), dict) and all(map(rule, note[entry].values()))
        for entry, rule in rules.items()
    )


def _decode(
    path: Any, ours: Mapping[str, Any], tensors: Mapping[str, np.ndarray]
) -> dict[str, Any]:
    leaves: dict[str, Any] = dict(tensors)
    try:
        for name, dtype in ours.get("dtypes", {}).items():
            tensor = tensors[name]
            leaves[name] = tensor.view(np.dtype(dtype)).reshape(tensor.shape[:-1])
        for name, impl in ours.get("keys", {}).items():
            leaves[name] = jax.random.wrap_key_data(jnp.array(tensors[name]), impl=impl)
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(
            f"load: the jaxnn header of {path} does not fit its tensors: {error}"
        ) from error
    return leaves


def _nest(path: Any, items: list[tuple[str, Any]]) -> Any:
    if len(items) == 1 and items[0][0] == "":  # the tree was a bare leaf
        return items[0][1]
    tree: dict[str, Any] = {}
    for name, leaf in items:
        *folders, last = name.split("/")
        node: Any = tree
        for folder in folders:
            node = node.setdefault(folder, {}) if isinstance(node, dict) else None
        if not isinstance(node, dict) or last in node:
            raise ValueError(
                f"load: {path} has {name!r} both as a leaf and as a folder"
            )
        node[last] = leaf
    return tree


def _check_fit(path: Any, leaves: Mapping[str, Any], wanted: Mapping[str, Any]) -> None:
    missing = [name for name in wanted if name not in leaves]
    unexpected = [name for name in leaves if name not in wanted]
    pairs = {n: (_kind(leaves[n]), _kind(x)) for n, x in wanted.items() if n in leaves}
    different = [name for name, (found, want) in pairs.items() if found != want]
    problems = [
        *_listed("missing", missing, lambda n: n + trees.nearest(n, unexpected)),
        *_listed("unexpected", unexpected, str),
        *_listed("different", different, lambda n: _contrast(n, *pairs[n])),
    ]
    if any(name.startswith("watch/") for name in unexpected):
        problems.append("give train_state the run's early_stopping= and plateau= too")
    if problems:
        raise ValueError("\n  ".join([f"load: {path} does not fit `like`:", *problems]))


def _kind(leaf: Any) -> str:
    return trees.describe(np.asarray(leaf) if isinstance(leaf, _Number) else leaf)


def _contrast(name: str, found: str, wanted: str) -> str:
    return f"{name}: the file has {found}, like has {wanted}"


def _listed(title: str, names: list[str], text: Callable[[str], str]) -> list[str]:
    lines = [
        f"{title}: {text(name) or '(the tree itself)'}" for name in names[:_LISTED]
    ]
    more = len(names) - _LISTED
    return [*lines, f"{title}: and {more} more"] if more > 0 else lines


def _restore(name: str, found: Any, like: Any) -> Any:
    """A leaf of the file as the kind of object that `like` holds."""
    if _is_key(found) or isinstance(like, np.ndarray):
        return found
    if isinstance(like, np.generic):
        return found[()]
    if isinstance(like, _Number):
        return type(like)(found.item())
    if getattr(like, "weak_type", False) and not found.ndim:
        weak = jnp.asarray(found.item())  # else a resumed run would compile anew
        if weak.dtype == found.dtype:
            return weak
    array = jnp.array(found)
    if array.dtype != found.dtype:
        raise ValueError(
            f"load: {name or 'the array'} is {found.dtype}, which JAX arrays hold only "
            "under jax_enable_x64; switch it on, or load into NumPy arrays"
        )
    return array
