# SPDX-License-Identifier: Apache-2.0
"""Saving and loading trees and networks; exports; weights from and to PyTorch."""

import importlib
import os
from typing import TYPE_CHECKING, Any

from jaxnn.files.saving import header as header
from jaxnn.files.saving import load as load
from jaxnn.files.saving import save as save
from jaxnn.messages import public

if TYPE_CHECKING:
    from jaxnn.core import Layer
    from jaxnn.export import export as export
    from jaxnn.export import to_onnx as to_onnx
    from jaxnn.torch_weights import from_torch as from_torch
    from jaxnn.torch_weights import to_torch as to_torch


def network(path: str | os.PathLike[str]) -> "Layer":
    """The network that a file records, rebuilt from layers of jaxnn.

    `save(path, state, spec=net)` and `nn.callbacks.checkpoint` record the network as
    text. The text is read as data, never evaluated: it can name layers and models of
    jaxnn, functions of `jax.nn` and a few of `jax.numpy`, and constants.

    Args:
        path: a file of `save` or of `nn.callbacks.checkpoint`.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the file records no network, or one with parts that are not of
            jaxnn, such as a custom layer or a lambda.

    >>> import pathlib, tempfile, jax, jax.numpy as jnp, jaxnn as nn
    >>> net, x = nn.Sequential(nn.Dense(8), jax.nn.relu, nn.Dense(2)), jnp.ones((1, 3))
    >>> params, state = net.init(jax.random.key(0), x)
    >>> file = pathlib.Path(tempfile.mkdtemp(), "model.safetensors")
    >>> nn.save(file, {"params": params, "state": state}, spec=net)
    >>> nn.predict(nn.io.network(file), nn.load(file), x).shape
    (1, 2)
    """
    from jaxnn.rebuild import rebuilt

    text = header(path).get("spec")
    if not text:
        raise ValueError(
            f"network: {os.fspath(path)} must record a network, got none; save it with "
            "nn.save(path, state, spec=net)"
        )
    importlib.import_module("jaxnn.models")  # whose layers count as layers of jaxnn
    return rebuilt(text, "network")


def __getattr__(name: str) -> Any:
    if name in ("from_torch", "to_torch"):  # imported on first use
        from jaxnn import torch_weights

        return getattr(torch_weights, name)
    if name in ("export", "to_onnx"):
        return getattr(importlib.import_module("jaxnn.export"), name)
    raise AttributeError(name)  # answered by what `public.show` makes of the module


public.show(
    __name__,
    [
        "export",
        "from_torch",
        "header",
        "load",
        "network",
        "save",
        "to_onnx",
        "to_torch",
    ],
)
