# SPDX-License-Identifier: Apache-2.0
"""State dicts from memory and from files: tensors by name, NumPy arrays on demand."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np

from jaxnn.files.places import place
from jaxnn.torch_weights.pickles import import_torch, read_pickled

_MEMORY = "the state_dict"  # as messages call it
_PICKLED = (".pth", ".pt", ".bin", ".ckpt")
_TEXTS = {  # files that are not what their names say
    b"version https://git-lfs": (
        "is a pointer of Git LFS, not the file: fetch it by `git lfs pull`"
    ),
    b"<": "is a web page, not the file: delete it and download it again",
    b"\x89HDF": "is HDF5 (Keras), of which nothing is known here",
    b"\x1f\x8b": "is packed by gzip: unpack it first",
}


class Given(NamedTuple):
    """A tensor of a state_dict, its values not yet read."""

    name: str
    tensor: Any
    shape: tuple[int, ...]


def read_state_dict(state_dict: Any) -> tuple[dict[str, Given], str]:
    """The tensors by name, in the order of the modules, and a name for their source."""
    source = _MEMORY
    if isinstance(state_dict, str | os.PathLike):
        path = place(state_dict, "from_torch")
        source = str(path)
        state_dict = _read_file(path)
    if not isinstance(state_dict, Mapping):
        raise TypeError(
            "from_torch: state_dict must map names to tensors, or be the path of a "
            f"file, got {_kind(state_dict)}"
            + (f" in {source}" if source != _MEMORY else "")
            + ("; pass .state_dict()" if hasattr(state_dict, "state_dict") else "")
        )
    if isinstance(inner := state_dict.get("state_dict"), Mapping):  # a checkpoint
        state_dict = inner
    _check_flat(source, state_dict)
    tensors = {n: _given(source, n, value) for n, value in state_dict.items()}
    return tensors, source


def _check_flat(source: str, state_dict: Mapping[Any, Any]) -> None:
    if {"state", "param_groups"} <= state_dict.keys():
        raise TypeError(
            f"from_torch: {source} is that of an optimizer; pass model.state_dict()"
        )
    for name, value in state_dict.items():
        if isinstance(value, Mapping):
            load = "torch.load(path, weights_only=True)"
            there = "" if source == _MEMORY else f" of {load}"
            raise TypeError(
                f"from_torch: {source}[{name!r:.60}] is a dict of its own; pass the "
                f"one{there} that maps names to tensors"
            )


def _read_file(path: Path) -> Any:
    """What a file holds, as told by its content and not by its name."""
    from jaxnn.files.saving import load

    if not path.is_file():
        there = "is a folder" if path.is_dir() else "is not there"
        raise FileNotFoundError(f"from_torch: {path} {there}; pass the path of a file")
    if path.suffix in _PICKLED:
        import_torch(path)
    with path.open("rb") as file:
        head = file.read(64)
    if not head:
        raise ValueError(f"from_torch: {path} is empty; delete it and get it again")
    if head[8:9] != b"{":  # as in a safetensors file
        if head.startswith((b"PK", b"\x80")):
            return read_pickled(path)
        for begin, what in _TEXTS.items():
            if head.lstrip().startswith(begin):
                raise ValueError(f"from_torch: {path} {what}")
    try:
        arrays = load(path)
    except ValueError as error:
        message = str(error).removeprefix("load: ")
        raise ValueError(f"from_torch: {message}") from error
    # Such a file does not keep the order of its names.
    return dict(sorted(arrays.items(), key=lambda item: _natural(item[0])))


def _natural(name: str) -> list[Any]:
    """A sort key that puts 2 before 10."""
    words = name.split(".")
    return [(not s.isdecimal(), int(s) if s.isdecimal() else s) for s in words]


def _kind(value: Any) -> str:
    kind = type(value)
    return kind.__name__ if kind.__module__ == "builtins" else f"a {kind.__qualname__}"


def _given(source: str, name: Any, value: Any) -> Given:
    if not isinstance(name, str):
        raise TypeError(
            f"from_torch: the names in {source} must be strings, got "
            f"{type(name).__name__} {name!r:.60}"
        )
    try:
        shape = tuple(map(int, value.shape))
    except Exception as error:  # it has none, or none that is known
        raise TypeError(
            f"from_torch: {source}[{name!r}] must be a tensor, got {_kind(value)}"
            + (f" without a shape: {error}" if hasattr(type(value), "shape") else "")
        ) from error
    return Given(name, value, shape)


def address(given: Given) -> Any:
    """What two names of one tensor have in common, or None if it is not known."""
    tensor = given.tensor
    try:
        if hasattr(tensor, "data_ptr"):
            place, steps = tensor.data_ptr(), tuple(tensor.stride())
        else:
            place, steps = tensor.__array_interface__["data"][0], tensor.strides
    except Exception:  # on no device, sparse, ...
        return None
    return (place, given.shape, steps) if place else None


def as_array(given: Given, dtype: Any) -> np.ndarray:
    """The values of a tensor in a floating-point dtype.

    Raises:
        TypeError: they are not real numbers.
        ValueError: they do not fit the dtype.
    """
    try:
        array = _numpy(given.tensor)
    except Exception as error:  # on no device, in pieces, ...
        raise TypeError(
            f"from_torch: {given.name!r} has no numbers to take: {error}"
        ) from error
    integers, floats = (
        jnp.issubdtype(array.dtype, kind) for kind in (jnp.integer, jnp.floating)
    )
    if not (integers or floats or array.dtype == bool):
        raise TypeError(
            f"from_torch: {given.name!r} must hold real numbers, got {array.dtype}"
        )
    with np.errstate(over="ignore"):
        cast = array.astype(dtype)
    lost = np.isfinite(array) & ~np.isfinite(cast)
    if integers and array.itemsize > 1:
        limit = 2 ** (jnp.finfo(dtype).nmant + 1)  # up to which all are exact
        lost = (array > limit) | (array < -limit)
    if np.any(lost):
        raise ValueError(
            f"from_torch: {given.name!r} holds numbers that {np.dtype(dtype)} cannot: "
            f"{array[lost][0]} ({array.dtype})"
        )
    return cast


def _numpy(value: Any) -> np.ndarray:
    if isinstance(value, np.ma.MaskedArray):
        raise TypeError("a masked array; pass its filled(value)")
    if not hasattr(value, "detach"):
        return np.asarray(value)
    value = value.detach().cpu()
    if str(value.layout) != "torch.strided":
        value = value.to_dense()
    if value.is_quantized:
        value = value.dequantize()
    narrow = any(kind in str(value.dtype) for kind in ("bfloat16", "float8"))
    return (value.float() if narrow else value).numpy(force=True)
