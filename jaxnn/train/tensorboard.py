# SPDX-License-Identifier: Apache-2.0
"""Write a run's numbers, weights, gradients and images for TensorBoard."""

import importlib
import time
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import numpy as np

from jaxnn import checks, trees
from jaxnn.core import Layer, as_layer
from jaxnn.files.places import place
from jaxnn.ops.grids import filters_grid
from jaxnn.train.gradients import loss_gradients
from jaxnn.train.history import Callback, History, scalars
from jaxnn.train.step import as_trained

IMAGES = 16  # of the batch's inputs are shown


def tensorboard(
    folder: str | Path,
    *,
    batch: Any = None,
    net: Layer | None = None,
    loss: Callable[..., jax.Array] | None = None,
    histograms: bool = True,
    images: bool = True,
    every: int = 1,
) -> Callback:
    """Write each epoch's numbers for TensorBoard: `tensorboard --logdir folder`.

    Two runs appear, `training` and `validation`, so that `loss` and `val_loss` share
    a chart. The step is the epoch's number, and continues when a run is resumed;
    whatever an earlier attempt wrote for the same epochs is hidden.

    Args:
        folder: where to write; use a separate folder for each run.
        batch: `(inputs, targets)`, a sample; adds histograms of the gradient, and shows
            its inputs if they are images `[N, H, W, 1 or 3]` in 0 to 1.
        net, loss: the network and loss for the gradient; by default those of the run.
        histograms: whether to write histograms of the parameters and of the gradient.
        images: whether to write inputs and the filters of first convolutions.
        every: write histograms and images every this many epochs.

    Returns:
        A callback for `fit`.

    Raises:
        ImportError: tensorboardX is not installed; for images also Pillow.

    >>> import jaxnn as nn
    >>> callback = nn.callbacks.tensorboard("runs/first")  # doctest: +SKIP
    """
    checks.positive_int("callbacks.tensorboard", "every", every)
    _need("tensorboardX", "tensorboardX")
    if images:
        _need("PIL", "pillow")
    home = place(folder, "callbacks.tensorboard")
    runs: dict[str, _Run] = {}

    def write(epoch: int, state: Any, history: History) -> None:
        for name, value in scalars(history.last()).items():
            own = "validation" if name.startswith("val_") else "training"
            run = runs.setdefault(own, _Run(home / own, epoch))
            run.add("scalar", name.removeprefix("val_"), value)
        run = runs.setdefault("training", _Run(home / "training", epoch))
        if epoch % every == 0 or len(history) == 1:
            params = getattr(state, "params", {})
            if histograms:
                _add_histograms(run, "weights", params)
            if histograms and batch is not None:
                slopes = _gradients(net, loss, state, batch, history)
                _add_histograms(run, "gradients", slopes)
            if images:
                _add_images(run, params, batch)
        for run in runs.values():
            run.write(epoch)

    return write


def _need(module: str, package: str) -> None:
    try:
        importlib.import_module(module)
    except ImportError as error:
        raise ImportError(
            f"callbacks.tensorboard needs {package}: python -m pip install {package}"
        ) from error


class _Run:
    """One folder's event file, written and flushed to disk once per epoch.

    tensorboardX's `SummaryWriter` writes in a thread and may lose pending events; this
    uses the file underneath it.
    """

    def __init__(self, folder: Path, epoch: int):
        self.folder, self.epoch = folder, epoch
        self.parts: list[Any] = []
        self.file: Any = None

    def add(self, kind: str, name: str, *values: Any, **options: Any) -> None:
        """Add an event, made by the function of that kind in `tensorboardX.summary`."""
        from tensorboardX import summary

        self.parts.append(getattr(summary, kind)(name, *values, **options))

    def write(self, epoch: int) -> None:
        """Write all added events as of `epoch`."""
        if self.file is None:
            self.file = self._open()
        for part in self.parts:
            self.file.write_event(_event(step=epoch, summary=part))
        self.parts.clear()
        self.file.flush()

    def _open(self) -> Any:
        from tensorboardX.event_file_writer import EventsWriter

        self.folder.mkdir(parents=True, exist_ok=True)
        # The name holds the time in seconds; the suffix separates runs within a second.
        suffix = f".{time.time_ns()}"
        file = EventsWriter(str(self.folder / "events"), suffix)
        weakref.finalize(self, file.close)
        # A START event hides what older files hold for this step and later ones.
        file.write_event(_event(step=self.epoch, session_log={"status": "START"}))
        return file


def _event(**parts: Any) -> Any:
    """An event-file record with the current time."""
    buffers: Any = importlib.import_module("tensorboardX.proto.event_pb2")
    return buffers.Event(wall_time=time.time(), **parts)


def _add_histograms(run: _Run, kind: str, tree: Any) -> None:
    """One histogram for each array, by path; non-finite numbers are left out."""
    for path, a in trees.paths(tree).items():
        values = np.asarray(a, np.float64)
        values = values[np.isfinite(values)]
        if values.size:
            run.add("histogram", f"{kind}/{path}", values, bins="auto", max_bins=64)


def _gradients(net: Any, loss: Any, state: Any, batch: Any, history: History) -> Any:
    settings = getattr(history, "settings", {})
    objective = settings.get("objective") if loss is None else None
    net, loss = net or settings.get("net"), loss or settings.get("loss")
    if net is None or (loss is None and objective is None):
        raise ValueError(
            "callbacks.tensorboard: batch needs a network and a loss for histograms of "
            "the gradient; pass net= and loss= too"
        )
    owner = "callbacks.tensorboard"
    net, loss = as_trained(owner, as_layer(net, owner), loss, objective, None)
    return loss_gradients(net, state, batch, loss, owner=owner)


def _add_images(run: _Run, params: Any, batch: Any) -> None:
    """The inputs in the first epoch of this run; the filters as they are now."""
    if run.file is None and isinstance(batch, tuple) and _are_images(batch[0]):
        for i, image in enumerate(np.asarray(batch[0][:IMAGES], np.float32)):
            run.add("image", f"inputs/{i}", _colored(image), dataformats="HWC")
    for path, w in trees.paths(params).items():
        if path.endswith("w") and np.ndim(w) == 4 and np.shape(w)[2] in (1, 3):
            picture = _colored(np.asarray(filters_grid(w)))
            run.add("image", f"filters/{path}", picture, dataformats="HWC")


def _colored(image: np.ndarray) -> np.ndarray:
    """An image with one or three channels as one with three, in 0 to 1."""
    return image.clip(0, 1).repeat(3 // image.shape[-1], axis=-1)


def _are_images(x: Any) -> bool:
    shape = getattr(x, "shape", ())
    return len(shape) == 4 and shape[-1] in (1, 3) and checks.is_float(x)
