# SPDX-License-Identifier: Apache-2.0
"""Where batches come from: arrays on the device, or any iterable of batches."""

import itertools
from collections.abc import Callable, Iterator, Sized
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxnn.signatures import needed
from jaxnn.train.epoch import epoch_order, length
from jaxnn.train.reader import Reader
from jaxnn.trees import describe

#: An iterable's batches go to the device several at a time, about so many bytes.
GROUP_BYTES = 32 * 2**20
#: ... and at most so many batches.
GROUP_BATCHES = 32


class Piece(NamedTuple):
    """Steps of one size over examples that lie on the device."""

    data: Any  # arrays [M, ...]
    order: jax.Array  # int32 [steps * batch_size], rows of data
    start: int  # the first step to take
    stop: int  # the step to end before
    batch_size: int
    rows: np.ndarray | None = None  # the user's rows, where they are not those of data

    @property
    def room(self) -> int:
        """The steps there is room for; a stream's piece may hold fewer batches."""
        return self.order.shape[-1] // self.batch_size


class ArraySource:
    """Arrays `[N, ...]`, in an order drawn anew for each epoch.

    Args:
        data: a tree of arrays with a common first axis.
        batch_size: examples a step.
        shuffle: whether to draw an order.
        key: the run's random key, or one for each member of an ensemble.
    """

    def __init__(self, data: Any, batch_size: int, shuffle: bool, key: jax.Array):
        self.data = jax.tree.map(jnp.asarray, data)
        self.batch_size, self.shuffle, self.key = batch_size, shuffle, key
        self.examples = length(self.data)
        self.steps = -(-self.examples // batch_size)
        self.reader = Reader()  # (which has nothing to do)

    def position(self, step: int) -> tuple[int, int]:
        """The epoch of a step, and its place in that epoch."""
        return divmod(step, self.steps)

    def epoch(self, epoch: int, skip: int = 0) -> Iterator[Piece]:
        """The pieces of an epoch: the full batches, then the smaller last one."""
        order = jnp.arange(self.examples, dtype=jnp.int32)
        if self.shuffle:
            order = _order(self.key, epoch, examples=self.examples)
        full, rest = divmod(self.examples, self.batch_size)
        if skip < full:
            yield Piece(self.data, order, skip, full, self.batch_size)
        if rest:
            order = order[..., full * self.batch_size :]
            yield Piece(self.data, order, 0, 1, rest)

    def close(self) -> None:
        """Nothing is held."""


_order = jax.jit(epoch_order, static_argnames="examples")


class StreamSource:
    """An iterable of batches: a list, a DataLoader, or a function that makes one.

    Batches are read ahead in a thread and trained on several at a time. An iterable
    that has a method `epoch(number)`, which gives the batches of that epoch, is asked
    for them: it may draw an order of its own for each, and resume exactly.

    Args:
        batches: an iterable with a new iterator for each epoch, or a function without
            arguments that gives one; an iterator serves for one epoch.

    Attributes:
        check: called with each batch on the host; raises if it is wrong.
    """

    check: Callable[[Any, int], None]

    def __init__(self, batches: Any):
        self.batches = batches
        self.steps: int | None = len(batches) if isinstance(batches, Sized) else None
        self.reader = Reader()
        self._used = False
        self._last: Any = None  # what a function made before

    def fresh(self, epoch: int = 0) -> Iterator[Any]:
        """A new iterator over the batches of an epoch."""
        draw = getattr(self.batches, "epoch", None)
        batches = iterate(self.batches) if draw is None else iter(draw(epoch))
        if batches is self._last or (batches is self.batches and self._used):
            raise ValueError(
                f"data: this {type(batches).__name__} is used up after one epoch; "
                "pass a list, a DataLoader, or a function that makes a new iterator"
            )
        if batches is self.batches:
            self._used = True
        else:
            self._last = batches
        return map(as_batch, batches)

    def peek(self) -> Any:
        """The first batch; it is not lost."""
        batches = self.fresh()
        first = next(batches, None)
        if first is None:
            raise ValueError("data: is empty; the iterable gave no batch")
        if self._used:  # an iterator: put its first batch back
            self.batches, self._used = itertools.chain([first], batches), False
        return first

    def position(self, step: int) -> tuple[int, int]:
        """The epoch of a step, and its place in that epoch."""
        if step and self.steps is None:
            self.steps = sum(1 for _ in self.fresh())
        return divmod(step, self.steps) if self.steps else (0, 0)

    def epoch(self, epoch: int, skip: int = 0) -> Iterator[Piece]:
        """The pieces of an epoch: groups of equal batches, read one group ahead."""
        batches = itertools.islice(self.fresh(epoch), skip, None)
        for piece in self.reader(_groups(self._checked(batches, skip))):
            yield piece._replace(rows=np.empty(0, int))  # a stream has no row numbers

    def _checked(self, batches: Iterator[Any], start: int) -> Iterator[Any]:
        for number, batch in enumerate(batches, start):
            self.check(batch, number)
            yield batch

    def close(self) -> None:
        """End the reading thread."""
        self.reader.close()


def check_stream(batches: Any, epochs: int, what: str) -> None:
    """Raise if batches are empty, can not be made, or serve fewer epochs than asked."""
    if isinstance(batches, Sized) and not len(batches):
        raise ValueError(f"{what}: is empty; there is no batch")
    is_function = callable(batches) and not hasattr(batches, "__iter__")
    if is_function and (names := needed(batches)):
        raise TypeError(
            f"{what}: a function must make an iterator of batches and take no "
            f"argument; this one takes {', '.join(names)}"
        )
    if epochs > 1 and hasattr(batches, "__next__"):
        raise ValueError(
            f"{what}: this {type(batches).__name__} is used up after one epoch of "
            f"{epochs}; pass a list, a DataLoader, or a function that makes an iterator"
        )


def iterate(batches: Any) -> Iterator[Any]:
    """A new iterator over an iterable, or over what a function makes."""
    made: Any = batches() if callable(batches) else batches
    return iter(made)


def as_batch(batch: Any) -> Any:
    """A batch with NumPy arrays (a list, as some loaders give, becomes a tuple)."""
    if isinstance(batch, list):
        batch = tuple(batch)
    if not jax.tree.leaves(batch):
        raise ValueError(f"data: a batch must hold arrays, got {describe(batch):.100}")
    return jax.tree.map(
        lambda a: a if isinstance(a, jax.Array) else np.asarray(a), batch
    )


def _groups(batches: Iterator[Any]) -> Iterator[Piece]:
    """Batches of equal shape, several together."""
    group: list[Any] = []
    for batch in batches:
        if group and not _alike(group[0], batch):
            yield _piece(group)
            group = []
        group.append(batch)
        if len(group) == _group_size(batch):
            yield _piece(group)
            group = []
    if group:
        yield _piece(group)


def _alike(a: Any, b: Any) -> bool:
    if jax.tree.structure(a) != jax.tree.structure(b):
        return False
    pairs = zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True)
    return all(x.shape == y.shape and x.dtype == y.dtype for x, y in pairs)


def _group_size(batch: Any) -> int:
    size = sum(a.nbytes for a in jax.tree.leaves(batch))
    return max(1, min(GROUP_BATCHES, GROUP_BYTES // max(size, 1)))


def _piece(group: list[Any]) -> Piece:
    """Batches end to end, filled up to a full group so that one program serves all."""
    size, count = length(group[0]), _group_size(group[0])

    def join(*arrays):
        fill = [np.zeros_like(arrays[0])] * (count - len(arrays))
        return jnp.asarray(np.concatenate([*map(np.asarray, arrays), *fill]))

    order = jnp.arange(count * size, dtype=jnp.int32)
    return Piece(jax.tree.map(join, *group), order, 0, len(group), size)


def is_stream(data: Any, what: str = "data") -> bool:
    """Whether data is an iterable of batches, and not a tree of arrays."""
    if isinstance(data, tuple | dict) or hasattr(data, "shape"):
        return False
    if isinstance(data, list) and data and hasattr(data[0], "shape"):
        raise TypeError(
            f"{what}: got a list of arrays; write a tuple (inputs, targets) for "
            "arrays, or a list of such tuples for batches"
        )
    return hasattr(data, "__iter__") or callable(data)


class HostSource:
    """Arrays too large for the device: the same batches in the same order, read ahead.

    Args:
        data, batch_size, shuffle, key: as for `ArraySource`; arrays stay on the host.
    """

    def __init__(self, data: Any, batch_size: int, shuffle: bool, key: jax.Array):
        self.data, self.batch_size = jax.tree.map(np.asarray, data), batch_size
        self.shuffle, self.key = shuffle, key.ravel()[0]  # members share the batches
        self.examples = length(self.data)
        self.steps = -(-self.examples // batch_size)
        self.reader = Reader()

    position = ArraySource.position

    def epoch(self, epoch: int, skip: int = 0) -> Iterator[Piece]:
        """The pieces of an epoch: groups of batches, read one group ahead."""
        order = np.arange(self.examples)
        if self.shuffle:
            order = np.asarray(_order(self.key, epoch, examples=self.examples))
        for piece in self.reader(_groups(self._batches(order, skip))):
            rows, data = piece.data
            yield piece._replace(data=data, rows=np.asarray(rows))

    def _batches(self, order: np.ndarray, skip: int) -> Iterator[Any]:
        for start in range(skip * self.batch_size, self.examples, self.batch_size):
            rows = order[start : start + self.batch_size]
            yield rows, jax.tree.map(lambda a, rows=rows: a[rows], self.data)

    def close(self) -> None:
        """End the reading thread."""
        self.reader.close()


def fits_device(data: Any) -> bool:
    """Whether arrays leave the device half of its memory (always true on a CPU)."""
    stats = jax.devices()[0].memory_stats() or {}
    size = sum(a.nbytes for a in jax.tree.leaves(data))
    return size <= stats.get("bytes_limit", float("inf")) / 2
