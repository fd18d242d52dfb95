# SPDX-License-Identifier: Apache-2.0
"""Safetensors files: arrays by name and a few lines of text, nothing to execute.

The format (https://huggingface.co/docs/safetensors) is a JSON header followed by the
bytes of the arrays. This module reads and writes it array by array: the safetensors
library needs two or three times a file's size in memory, and replaces files in its own
way.
"""

import json
import math
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import numpy as np

# The dtypes of the oldest supported safetensors; newer ones, in `_READ`, are only read.
NATIVE = {
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
_CODES = {name: code for code, name in NATIVE.items()}
_READ = NATIVE | {"C64": "complex64", "F8_E8M0": "float8_e8m0fnu"}
_FORMATS = {
    b"\x80": "a pickle",
    b"PK": "a zip archive (.npz, .pt, .keras)",
    b"\x93NUMPY": "a NumPy array (.npy)",
    b"\x89HDF": "HDF5 (.h5)",
    b"\x1f\x8b": "gzip",
}


class Place(NamedTuple):
    """Where an array lies in a file, with its dtype and shape."""

    dtype: np.dtype
    shape: tuple[int, ...]
    start: int
    size: int  # bytes


def write(
    path: Path, tensors: Mapping[str, np.ndarray], metadata: Mapping[str, str]
) -> None:
    """Write arrays of the dtypes in `NATIVE`, contiguous and little-endian.

    They are written without a copy, so no extra memory is needed.
    """
    names = sorted(tensors, key=lambda name: (-tensors[name].itemsize, name))
    header: dict[str, Any] = {"__metadata__": dict(metadata)}
    end = 0
    for name in names:
        start, end = end, end + tensors[name].nbytes
        header[name] = {
            "dtype": _CODES[tensors[name].dtype.name],
            "shape": tensors[name].shape,
            "data_offsets": (start, end),
        }
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)  # so that every array is aligned
    with path.open("wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        for name in names:
            file.write(flat_bytes(tensors[name]).data)


def read_header(file: BinaryIO) -> tuple[dict[str, str], dict[str, Place]]:
    """The metadata, and where each array lies, sorted by name.

    Raises:
        ValueError: the file is not a complete safetensors file.
    """
    size = os.fstat(file.fileno()).st_size
    head = file.read(64)
    if size > 8 and head[8:9] != b"{":
        raise ValueError(
            f"load: {file.name} looks like {_format(head)}; only safetensors files are "
            "read, and nothing in a file is ever executed. For PyTorch's weights take "
            "nn.io.from_torch(net, x, path)"
        )
    start = 8 + int.from_bytes(head[:8], "little") if size > 8 else 10
    _check_size(file.name, size, start)
    file.seek(8)
    try:
        entries = json.loads(file.read(start - 8))
        noted = entries.pop("__metadata__", {})
        metadata = {str(k): str(v) for k, v in noted.items()}
        places, end = _places(entries, start)
    except (ValueError, TypeError, LookupError, AttributeError, RecursionError) as e:
        raise ValueError(f"load: the header of {file.name} is damaged: {e!r}") from e
    _check_size(file.name, size, end)
    if size > end:
        raise ValueError(f"load: {file.name} is damaged: {size - end} bytes too many")
    return metadata, places


def read(file: BinaryIO, places: Mapping[str, Place]) -> dict[str, np.ndarray]:
    """The arrays at these places, each in newly allocated memory."""
    arrays = {}
    for name, place in places.items():
        try:
            arrays[name] = np.empty(place.shape, place.dtype)
        except (ValueError, OverflowError) as error:  # no array has such a shape
            raise ValueError(f"load: {file.name} is damaged: {error}") from error
        file.seek(place.start)
        found = file.readinto(flat_bytes(arrays[name]).data)  # type: ignore[attr-defined]
        _check_size(file.name, place.start + found, place.start + place.size)
    return arrays


def flat_bytes(array: np.ndarray) -> np.ndarray:
    """The bytes of a contiguous array, uint8 [n], without a copy."""
    return array.reshape(-1).view(np.uint8)


def _places(entries: Mapping[str, Any], start: int) -> tuple[dict[str, Place], int]:
    """Where each array lies, one after the other without gaps, and where they end."""
    places = {name: _place(name, entries[name], start) for name in sorted(entries)}
    end = start
    for name, place in sorted(places.items(), key=lambda item: item[1][2:]):
        if place.start != end:
            raise ValueError(f"{name!r} begins at {place.start}, not at {end}")
        end += place.size
    return places, end


def _place(name: str, entry: Mapping[str, Any], start: int) -> Place:
    dtype, shape, (first, last) = (
        entry[key] for key in ("dtype", "shape", "data_offsets")
    )
    if dtype not in _READ:
        raise ValueError(f"dtype {dtype} is not supported")
    if not _counts(shape) or not _counts((first, last)):
        raise ValueError(f"{name!r} has shape {shape} and offsets {first} to {last}")
    dtype = np.dtype(_READ[dtype])
    size = math.prod(shape) * dtype.itemsize
    if last - first != size:
        raise ValueError(f"{name!r} takes {size} bytes, not {last - first}")
    return Place(dtype, tuple(shape), start + first, size)


def _counts(numbers: Iterable[Any]) -> bool:
    return all(type(number) is int and number >= 0 for number in numbers)


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
