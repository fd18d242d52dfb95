# SPDX-License-Identifier: Apache-2.0
"""State dicts from memory and from files, as NumPy arrays."""

import os
import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from jaxnn import trees
from jaxnn.files import place


def read_arrays(state_dict: Any) -> dict[str, np.ndarray]:
    """Arrays by name, in the order of the modules."""
    if isinstance(state_dict, str | os.PathLike):
        state_dict = _read_file(place(state_dict, "from_torch"))
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
        import torch  # pyright: ignore[reportMissingImports]
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
