# SPDX-License-Identifier: Apache-2.0
"""Where batches come from: arrays on the device, or any iterable of batches."""

import itertools
import math
from collections.abc import Callable, Iterator
from functools import partial
from operator import length_hint
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxnn.checks import needed, parameters
from jaxnn.inputs.arrays import zeros
from jaxnn.inputs.mapped import give_back, mapped
from jaxnn.layout import Layout
from jaxnn.messages.phrases import describe
from jaxnn.messages.tracebacks import warn
from jaxnn.train import checks
from jaxnn.train.batch import length
from jaxnn.train.epoch import batch_of, epoch_order
from jaxnn.train.processes import are_shared
from jaxnn.train.reader import Reader

#: An iterable's batches go to the device in groups of about this many bytes,
GROUP_BYTES = 32 * 2**20
#: ... and at most this many batches.
GROUP_BATCHES = 32
#: An epoch of this many batches is taken to be endless, unless its length is known.
ENDLESS = 100_000


class Piece(NamedTuple):
    """Steps of the same batch size over examples on the device."""

    data: Any  # arrays [M, ...], or batches [K, N, ...] if there is no order
    order: jax.Array | None  # int32 [steps * batch_size], rows of data
    start: int  # the first step to take
    stop: int  # the step to stop before
    batch_size: int
    rows: Any = None  # the user's numbers of the rows, step after step, if known

    @property
    def room(self) -> int:
        """The number of steps it has room for; a stream's piece may hold fewer."""
        if self.order is None:
            return length(self.data)
        return self.order.shape[-1] // self.batch_size

    def batch(self, step: int) -> Any:
        """The batch of a step."""
        return batch_of(self.data, self.order, step, self.batch_size)

    def numbers(self, step: int) -> np.ndarray | None:
        """The user's numbers of the rows of a step's batch, if they have any."""
        if self.rows is None:
            return None
        start = step * self.batch_size
        return np.asarray(self.rows[..., start : start + self.batch_size])


class ArraySource:
    """Arrays `[N, ...]`, in an order drawn anew for each epoch.

    Args:
        data: a tree of arrays with a common first axis.
        batch_size: examples per step.
        shuffle: whether to draw an order.
        key: the run's random key, or one for each member of an ensemble.
    """

    def __init__(self, data: Any, batch_size: int, shuffle: bool, key: jax.Array):
        self.data = checks.on_device(data, "fit: data")
        self.batch_size, self.shuffle, self.key = batch_size, shuffle, key
        self.examples = length(self.data)
        self.steps = -(-self.examples // batch_size)
        self.reader = Reader()  # (unused here)

    def position(self, step: int) -> tuple[int, int]:
        """The epoch of a step, and its position in that epoch."""
        return divmod(step, self.steps)

    def epoch(self, epoch: int, skip: int = 0) -> Iterator[Piece]:
        """The pieces of an epoch: the full batches, then the smaller last one."""
        order = jnp.arange(self.examples, dtype=jnp.int32)
        if self.shuffle:
            order = _order(self.key, epoch, examples=self.examples)
        full, rest = divmod(self.examples, self.batch_size)
        if skip < full:
            yield Piece(self.data, order, skip, full, self.batch_size, order)
        if rest:
            order = order[..., full * self.batch_size :]
            yield Piece(self.data, order, 0, 1, rest, order)

    def spread_over(self, layout: Layout) -> None:
        """Put the data on every device of a layout, which gathers its own rows."""
        check_division("batch_size", self.batch_size, layout.shares)
        self.data = layout.replicate(self.data)

    def close(self) -> None:
        """Do nothing: there is nothing to release."""


_order = jax.jit(epoch_order, static_argnames="examples")


class StreamSource:
    """An iterable of batches: a list, a DataLoader, or a function that creates one.

    Batches are prefetched in a thread and trained on in groups. If the iterable has a
    method `epoch(number)` that returns the batches of that epoch, it is called: the
    source can then draw its own order for each epoch, and resume exactly.

    A run that resumes reads again, from the start, what was trained on before. Only
    whole epochs are skipped, and only if the source has a length; if that length turns
    out to be wrong, the position is unknown and an error is raised. If it has a length
    and its method is `epoch(number, start)`, nothing is read again: it gives the
    batches of that epoch from batch `start` on.

    Args:
        batches: an iterable that returns a new iterator for each epoch, or a function
            without arguments that creates one; an iterator lasts for one epoch.
        step: the steps that the run has taken.
        epochs: the total number of epochs.

    Attributes:
        steps: the number of batches per epoch if the source has a length, or None.
        example: a batch like the next one, usually the next one itself.
        first: what to call it in messages.
        check: called with each batch on the host; raises if the batch is invalid.
    """

    check: Callable[[Any, int], None]
    example: Any
    first: str

    def __init__(self, batches: Any, step: int, epochs: int):
        self.batches, self.epochs = batches, epochs
        self.steps = count_of(batches)
        self.reader = Reader()
        self.place: Callable[[Any], Any] = jax.device_put
        self.shares = 1  # what must divide the size of each batch
        self._last: Any = None  # the previous iterator
        self._counted = self.steps is None or step < self.steps
        self._ahead: Iterator[Any] | None = None  # the rest of the first epoch
        self._place = self._seek(step)

    def position(self, step: int) -> tuple[int, int]:
        """The epoch of the step passed at creation, and its position in that epoch."""
        del step
        return self._place

    def _seek(self, step: int) -> tuple[int, int]:
        """Read up to a step, and one batch more, to know its shapes."""
        epoch = 0
        if not self._counted:
            epoch, step = divmod(step, self.steps)  # type: ignore[operator]
        while True:
            jumps = self.steps is not None and _takes_start(self.batches)
            seen = step if jumps else 0
            batches, batch = self._open(epoch, seen), None
            for batch in batches:
                if seen == step:
                    self._ahead = itertools.chain([batch], batches)
                    break
                seen += 1
            else:
                if not seen:
                    raise ValueError(
                        f"fit: data must give a batch, got none in epoch {epoch + 1}"
                    )
                self._check_length(epoch, seen)
                epoch, step = epoch + 1, step - seen
            # (An iterator has no second epoch.)
            if self._ahead is not None or not step or self._last is self.batches:
                self.first = f"batch {step}"
                self.example = as_batch(batch, f"fit: {self.first}")
                if not self._counted and epoch >= self.epochs:  # nothing will be read
                    self._check_length(epoch, seen + 1 + sum(1 for _ in batches))
                return epoch, step

    def _open(self, epoch: int, start: int = 0) -> Iterator[Any]:
        """A new iterator over the batches of an epoch, perhaps not from the first."""
        draw = getattr(self.batches, "epoch", None)
        given = {"start": start} if start else {}
        try:
            batches = iterate(
                self.batches if draw is None else draw(epoch, **given), "fit: data"
            )
        except StopIteration:
            raise ValueError(
                "fit: data must be a function that makes an iterator of batches; it "
                f"raised StopIteration for epoch {epoch + 1}"
            ) from None
        if batches is self._last:
            raise ValueError(
                "fit: data must give batches for each epoch, got a "
                f"{type(batches).__name__}, which is used up after one; pass a list, a "
                "DataLoader, or a function that makes a new iterator"
            )
        self._last = batches
        return batches

    def epoch(self, epoch: int, skip: int = 0) -> Iterator[Piece]:
        """The pieces of an epoch: groups of equal-shaped batches, one group ahead."""
        batches, self._ahead = self._ahead, None
        batches = self._open(epoch) if batches is None else batches
        return self.reader(_groups(self._read(batches, epoch, skip), self.place))

    def _read(self, batches: Iterator[Any], epoch: int, start: int) -> Iterator[Any]:
        number = start - 1
        for number, batch in enumerate(
            watched(batches, self.steps, "fit: data"), start
        ):
            if not self._counted and number == self.steps:
                self._check_length(epoch, number + 1)
            batch = as_batch(batch, f"fit: batch {number}")
            self.check(batch, number)
            check_division(f"the size of batch {number}", length(batch), self.shares)
            yield batch
        self._check_length(epoch, number + 1)

    def _check_length(self, epoch: int, seen: int) -> None:
        """Raise if the position to resume from was computed with a wrong length."""
        if not self._counted and seen != self.steps:
            more = "more than " if seen > self.steps else ""  # type: ignore[operator]
            raise ValueError(
                f"fit: data must give as many batches an epoch as its length, "
                f"{self.steps}, but epoch {epoch + 1} gave "
                f"{more}{min(seen, self.steps)}: "  # type: ignore
                "where the run stopped cannot be told from its steps; fix __len__, "
                "or pass a function, lambda: data, whose batches are read again"
            )

    def spread_over(self, layout: Layout) -> None:
        """Send each device of a layout its share of every batch.

        Of several processes, each brings the rows of its own devices, which must divide
        them: no process has the others' rows.
        """
        shared = are_shared(layout)
        shares = layout.own_shares
        check_division(f"the size of {self.first}", length(self.example), shares)
        self.shares = shares if shared else 1
        self.place = partial(layout.send, own=shared)

    def close(self) -> None:
        """End the reading thread."""
        self.reader.close()


def check_division(what: str, size: int, shares: int) -> None:
    """Raise unless the devices divide a batch."""
    if size % shares:
        raise ValueError(
            f"fit: {what} must be a multiple of the {shares} devices that split a "
            f"batch, got {size}"
        )


def _takes_start(batches: Any) -> bool:
    """Whether a source has a method `epoch(number, start)`."""
    return "start" in parameters(getattr(batches, "epoch", None))


def check_stream(batches: Any, epochs: int, what: str) -> None:
    """Raise if batches are empty, cannot be created, or last for too few epochs."""
    if count_of(batches) == 0:
        raise ValueError(
            f"{what} must hold batches, got an empty {type(batches).__name__}"
        )
    is_function = callable(batches) and not hasattr(batches, "__iter__")
    if is_function and (names := needed(batches)):
        raise TypeError(
            f"{what} must be a function without arguments that makes an iterator of "
            f"batches; this one takes {', '.join(names)}"
        )
    if epochs > 1 and hasattr(batches, "__next__"):
        raise ValueError(
            f"{what} must give batches for {epochs} epochs, got a "
            f"{type(batches).__name__}, which is used up after one; pass a list, a "
            "DataLoader, or a function that makes an iterator"
        )


def iterate(batches: Any, what: str, endless: bool = False) -> Iterator[Any]:
    """A new iterator over an iterable, or over what a function returns."""
    is_iterable = hasattr(batches, "__iter__") and not isinstance(batches, type)
    made: Any = batches if is_iterable else batches()
    if not endless and _never_ends(made):
        raise ValueError(
            f"{what} must end, got an itertools.{type(made).__name__}, which never "
            "does; cut it, lambda: itertools.islice(batches, 1000), or for training "
            "give steps_per_epoch=1000"
        )
    try:
        return iter(made)
    except TypeError:
        raise TypeError(
            f"{what} must be a function that makes an iterator of batches; this one "
            f"gave {describe(made):.100}"
        ) from None


def _never_ends(made: Any) -> bool:
    if isinstance(made, itertools.repeat):
        return length_hint(made, -1) < 0
    return isinstance(made, itertools.cycle | itertools.count)


def count_of(batches: Any) -> int | None:
    """The length of an iterable, or None if it has none."""
    try:
        return len(batches)
    except (TypeError, NotImplementedError):  # (a DataLoader over a stream has one)
        return None


def watched(batches: Iterator[Any], length: int | None, what: str) -> Iterator[Any]:
    """The same batches; warns after so many that the source may be endless."""
    for number, batch in enumerate(batches):
        if number == ENDLESS and length is None:
            warn(
                f"{what} has given {ENDLESS:,} batches in one epoch and goes on; if it "
                "has no end, cut it into epochs with lambda: "
                "itertools.islice(batches, 1000), where batches is one iterator",
            )
        yield batch


def as_batch(batch: Any, what: str) -> Any:
    """A batch with checked arrays (a list, as from some loaders, becomes a tuple).

    They may be the caller's own arrays: copy them before requesting the next batch.
    """
    batch = tuple(batch) if isinstance(batch, list) else batch
    if not jax.tree.leaves(batch):
        raise ValueError(f"{what} must hold arrays, got {describe(batch):.100}")
    return checks.as_arrays(batch, what, strict=False)


def _groups(batches: Iterator[Any], place: Callable[[Any], Any]) -> Iterator[Piece]:
    """Group consecutive batches of equal shape."""
    group: _Group | None = None
    for batch in batches:
        if group is not None and not group.takes(batch):
            yield group.piece(place)
            group = None
        if group is None:
            group = _Group(batch)
        group.add(batch)
        if group.count == group.room:
            yield group.piece(place)
            group = None
    if group is not None:
        yield group.piece(place)


class _Group:
    """Equal-shaped batches `[K, N, ...]` in their own memory, to send to the device.

    There is always room for a full group, so that one program serves all.
    """

    def __init__(self, batch: Any):
        self.form, self.size, self.count = _form(batch), length(batch), 0
        structure, arrays = self.form
        size = sum(math.prod(shape) * dtype.itemsize for shape, dtype in arrays)
        self.room = max(1, min(GROUP_BATCHES, GROUP_BYTES // max(size, 1)))
        own = [zeros((self.room, *shape), dtype) for shape, dtype in arrays]
        self.data = jax.tree.unflatten(structure, own)

    def takes(self, batch: Any) -> bool:
        """Whether a batch is like the others."""
        return _form(batch) == self.form

    def add(self, batch: Any) -> None:
        """Append a copy of a batch."""
        for own, a in zip(*map(jax.tree.leaves, (self.data, batch)), strict=True):
            own[self.count] = a
        self.count += 1

    def piece(self, place: Callable[[Any], Any]) -> Piece:
        """The batches on the device, or where `place` puts them."""
        data = jax.tree.map(place, self.data)
        size = jax.tree.leaves(data)[0].shape[1]  # (that of all processes together)
        return Piece(data, None, 0, self.count, size)


def _form(batch: Any) -> tuple[Any, list[tuple[tuple[int, ...], np.dtype]]]:
    """The structure of a batch, and the shapes and dtypes of its arrays in JAX."""
    leaves, structure = jax.tree.flatten(batch)
    own = jax.dtypes.canonicalize_dtype
    return structure, [(a.shape, own(a.dtype)) for a in leaves]


def is_stream(data: Any, what: str) -> bool:
    """Whether data is an iterable of batches, and not a tree of arrays."""
    if isinstance(data, str | bytes):
        raise TypeError(
            f"{what} must be arrays (inputs, targets) or an iterable of batches, got "
            f"{data!r:.40}"
        )
    if isinstance(data, tuple | dict) or hasattr(data, "shape"):
        return False
    if isinstance(data, list) and data and hasattr(data[0], "shape"):
        raise TypeError(
            f"{what} must be a tuple (inputs, targets) of arrays or a list of such "
            "tuples, got a list of arrays; write (inputs, targets)"
        )
    return hasattr(data, "__iter__") or callable(data)


class HostSource:
    """Arrays too large for the device: the same batches in the same order, prefetched.

    Those in files, `np.memmap`, are read batch by batch.

    Args:
        data, batch_size, shuffle, key: as for `ArraySource`; arrays stay on the host.
    """

    def __init__(self, data: Any, batch_size: int, shuffle: bool, key: jax.Array):
        # (Not copied: the host's memory may not hold them twice.)
        self.data, self.batch_size = jax.tree.map(np.asarray, data), batch_size
        self.shuffle, self.key = shuffle, key.ravel()[0]  # members share the batches
        self.examples = length(self.data)
        self.steps = -(-self.examples // batch_size)
        self.reader = Reader()
        self.place: Callable[[Any], Any] = jax.device_put

    position = ArraySource.position

    def spread_over(self, layout: Layout) -> None:
        """Send each device of a layout its share of every batch."""
        check_division("batch_size", self.batch_size, layout.shares)
        self.place = layout.send

    def epoch(self, epoch: int, skip: int = 0) -> Iterator[Piece]:
        """The pieces of an epoch: groups of batches, prefetched one group ahead."""
        order = np.arange(self.examples)
        if self.shuffle:
            order = np.asarray(_order(self.key, epoch, examples=self.examples))
        start = skip * self.batch_size
        for piece in self.reader(_groups(self._batches(order[start:]), self.place)):
            yield piece._replace(rows=order[start:])
            start += piece.stop * self.batch_size

    def _batches(self, order: np.ndarray) -> Iterator[Any]:
        for start in range(0, len(order), self.batch_size):
            rows = order[start : start + self.batch_size]
            yield jax.tree.map(lambda a, rows=rows: a[rows], self.data)
            jax.tree.map(give_back, self.data)

    def close(self) -> None:
        """End the reading thread."""
        self.reader.close()


def fits_device(data: Any) -> bool:
    """Whether arrays need at most half the device's memory (always true on a CPU).

    Arrays in files stay there.
    """
    if any(mapped(a) is not None for a in jax.tree.leaves(data)):
        return False
    stats = jax.local_devices()[0].memory_stats() or {}
    size = sum(a.nbytes for a in jax.tree.leaves(data))
    return size <= stats.get("bytes_limit", float("inf")) / 2
