# SPDX-License-Identifier: Apache-2.0
"""Sequences of many lengths as arrays of few shapes: padding, buckets, long texts."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from jaxnn.data.checks import integer, noise, positive, seed_of
from jaxnn.inputs.arrays import plain
from jaxnn.messages.arguments import answered

#: How many batches of one length follow each other: the trainer processes several
#: batches of equal shape at a time.
RUN = 8


class Padded(NamedTuple):
    """Sequences in one array.

    Attributes:
        values: [N, T, ...], padded after the end of each sequence.
        lengths: int32 [N], how many of the T steps are real.
    """

    values: np.ndarray
    lengths: np.ndarray


@answered
def pad(
    sequences: Sequence[ArrayLike], length: int | None = None, *, value: float = 0
) -> Padded:
    """Pads sequences of many lengths at their ends, giving one array.

    Args:
        sequences: N arrays [T_n, ...] that differ only in T_n, such as the ids of
            texts.
        length: T; by default the length of the longest sequence.
        value: the padding value.

    Returns:
        `(values [N, T, ...], lengths [N])`.

    Raises:
        ValueError: if there are no sequences, one is longer than `length`, or they are
            of different kinds.

    Example:
        >>> from jaxnn.data import pad
        >>> pad([[5, 6, 7], [8]])
        Padded(values=array([[5, 6, 7],
               [8, 0, 0]]), lengths=array([3, 1], dtype=int32))
    """
    arrays = _sequences("pad", sequences)
    lengths = np.array([len(a) for a in arrays], np.int32)
    longest = int(lengths.max())
    steps = longest if length is None else positive("pad", "length", length)
    if longest > steps:
        raise ValueError(
            f"pad: sequence {int(lengths.argmax())} has {longest} steps, more than "
            f"length={steps}; cut it, or pad to more"
        )
    shape = len(arrays), steps, *arrays[0].shape[1:]
    dtype = np.result_type(*{a.dtype for a in arrays})
    if not _fits(value, dtype):
        raise ValueError(
            f"pad: value must be one of {dtype}, as the sequences are, got {value!r}"
        )
    values = np.full(shape, value, dtype)
    for row, array in zip(values, arrays, strict=True):
        row[: len(array)] = array
    return Padded(values, lengths)


def _fits(value: Any, dtype: np.dtype) -> bool:
    """Whether a dtype can hold a number exactly."""
    if dtype.kind == "f":
        return True
    limits = np.iinfo(dtype) if dtype.kind in "iu" else None
    whole = np.isfinite(value) and value == int(value)
    return bool(whole and (limits is None or limits.min <= value <= limits.max))


def _sequences(owner: str, sequences: Sequence[ArrayLike]) -> list[np.ndarray]:
    arrays = [plain(f"{owner}: sequence {n}", s) for n, s in enumerate(sequences)]
    if not arrays:
        raise ValueError(f"{owner}: sequences must hold at least one, got none")
    for n, array in enumerate(arrays):
        if array.ndim < 1 or array.dtype.kind not in "biuf":
            # (an empty list is an array of floats)
            raise ValueError(
                f"{owner}: sequence {n} must be numbers [T, ...], got {array.dtype}"
                f"{list(array.shape)}; encode a text first"
            )
        if array.shape[1:] != arrays[0].shape[1:]:
            raise ValueError(
                f"{owner}: sequences must differ in their length alone; sequence 0 is "
                f"{list(arrays[0].shape)}, sequence {n} is {list(array.shape)}"
            )
    kept = [a for a in arrays if a.size] or arrays
    return [a if a.size else a.astype(kept[0].dtype) for a in arrays]


class Buckets:
    """Batches of examples of similar length; see `length_buckets`.

    An iterable with a length. `nn.fit` calls `epoch(number)`, which always gives the
    same batches for the same number, so that a resumed run continues as if it had never
    been interrupted; `epoch(number, start)` goes on from a batch.

    Attributes:
        lengths: for each bucket, the T of each sequence field; there are as many batch
            shapes as buckets.
    """

    def __init__(
        self,
        fields: Sequence[Any],
        batch_size: int,
        buckets: int | Sequence[Any],
        make: Callable[..., tuple],
        seed: int | None,
    ):
        self._fields, self._batch_size = _fields(fields), batch_size
        self._make, self._seed = make, seed
        sizes = [[len(s) for s in f] for f in self._fields if isinstance(f, list)]
        self.lengths, self._bucket = _assign(np.array(sizes, int), buckets)

    def __len__(self) -> int:
        return len(self._plan(0))

    def __iter__(self) -> Iterator[Any]:
        return self.epoch(0)

    def epoch(self, number: int, start: int = 0) -> Iterator[Any]:
        """The batches of an epoch (from 0), each `(inputs, targets, weights)`.

        Args:
            number: that of the epoch.
            start: the first batch to give.
        """
        for bucket, rows in self._plan(number)[start:]:
            yield self._batch(self.lengths[bucket], rows)

    def _plan(self, epoch: int) -> list[tuple[int, np.ndarray]]:
        """The bucket and the examples of each batch, in order."""
        order = self._shuffled(len(self._bucket), epoch, 0)
        runs = []
        for bucket in range(len(self.lengths)):
            rows = order[self._bucket[order] == bucket]
            cut = [(bucket, part) for part in _parts(rows, self._batch_size)]
            runs += _parts(cut, RUN)
        turn = self._shuffled(len(runs), epoch, 1)
        return [batch for i in turn for batch in runs[i]]

    def _shuffled(self, count: int, epoch: int, purpose: int) -> np.ndarray:
        if self._seed is None:
            return np.arange(count)
        return np.argsort(noise(count, self._seed, epoch, purpose), kind="stable")

    def _batch(self, lengths: tuple[int, ...], rows: np.ndarray) -> tuple:
        """Examples as arrays; a short batch is padded with rows of weight 0."""
        fill = self._batch_size - len(rows)
        weights = np.repeat(np.array([1, 0], np.float32), [len(rows), fill])
        rows = np.concatenate([rows, np.repeat(rows[:1], fill)])
        to = iter(lengths)
        parts = [
            pad([f[i] for i in rows], next(to)) if isinstance(f, list) else f[rows]
            for f in self._fields
        ]
        inputs, targets = self._make(*parts)
        return inputs, targets, weights


def length_buckets(
    fields: Sequence[Any],
    batch_size: int,
    *,
    seed: int | None,
    buckets: int | Sequence[Any] = 6,
    make: Callable[..., tuple] | None = None,
) -> Buckets:
    """Batches of sequences, each padded to one of a few lengths: few compilations.

    Sequences of similar length are batched together, so that little computation is
    spent on padding. Every batch has `batch_size` rows: a short last batch is padded
    with rows of weight 0, and every epoch counts every example once. Pass the result to
    `nn.fit`, `nn.evaluate` or `validation=` in place of arrays.

    Args:
        fields: N examples, field by field: lists of N sequences [T_n, ...] and arrays
            [N, ...], for instance `(texts as ids, labels)`.
        batch_size: rows per batch.
        seed: seed of the order, which is drawn anew for every epoch; None keeps one
            order, shortest first, as is suitable for validation.
        buckets: the number of lengths, chosen so that each bucket holds equally many
            examples; or the lengths themselves, ascending (tuples for several sequence
            fields).
        make: a function from the fields of a batch (sequence fields as `Padded`) to
            `(inputs, targets)`. By default, for two fields, the inputs are `(values,
            lengths)` of the first, and the targets are the values of the second.

    Returns:
        An iterable of batches `(inputs, targets, weights [batch_size])`.

    Raises:
        TypeError: if an argument is of the wrong kind.
        ValueError: if fields differ in N, none is a list of sequences, or a sequence is
            longer than the last bucket.

    Example:
        >>> import numpy as np
        >>> from jaxnn.data import length_buckets
        >>> texts, labels = [[5, 6, 7], [8], [9, 4], [3]], np.array([0, 1, 1, 0])
        >>> batches = length_buckets((texts, labels), 2, seed=None, buckets=2)
        >>> batches.lengths, len(batches)
        ([(1,), (3,)], 2)
        >>> (ids, lengths), targets, weights = list(batches)[1]
        >>> ids, lengths, targets, weights
        (array([[5, 6, 7],
               [9, 4, 0]]), array([3, 2], dtype=int32), array([0, 1]), \
array([1., 1.], dtype=float32))
    """
    size = positive("length_buckets", "batch_size", batch_size)
    if seed is not None:
        seed = seed_of("length_buckets", seed)
    if make is None and len(fields) != 2:
        raise ValueError(
            f"length_buckets: make is needed for {len(fields)} fields: a function from "
            "them to (inputs, targets)"
        )
    return Buckets(fields, size, buckets, make or _inputs_and_targets, seed)


def _inputs_and_targets(x: Any, y: Any) -> tuple:
    return (
        tuple(x) if isinstance(x, Padded) else x,
        y.values if isinstance(y, Padded) else y,
    )


def _parts(items: Any, size: int) -> list[Any]:
    """Items cut into pieces of `size`, the last one shorter."""
    return [items[at : at + size] for at in range(0, len(items), size)]


def _fields(fields: Sequence[Any]) -> list[Any]:
    """Each field as a list of arrays or as one array, all of the same length."""
    if not isinstance(fields, tuple | list) or not any(
        isinstance(f, list | tuple) for f in fields
    ):
        raise TypeError(
            "length_buckets: fields must be a tuple with a list of sequences in it, "
            "for instance ([[5, 6], [7]], labels)"
        )
    made = [
        _sequences("length_buckets", f)
        if isinstance(f, list | tuple)
        else plain(f"length_buckets: field {n}", f)
        for n, f in enumerate(fields)
    ]
    if len({len(field) for field in made}) > 1:
        raise ValueError(
            "length_buckets: all fields must hold the same number of examples, got "
            f"{', '.join(str(len(f)) for f in made)}"
        )
    return made


def _assign(
    sizes: np.ndarray, buckets: int | Sequence[Any]
) -> tuple[list[tuple[int, ...]], np.ndarray]:
    """The lengths of each bucket, and the first bucket that each example fits into.

    Args:
        sizes: [F, N], the length of each sequence of each field.
        buckets: as for `length_buckets`.
    """
    if not sizes.all():
        raise ValueError(
            f"length_buckets: sequence {int((sizes == 0).any(0).argmax())} is empty; "
            "leave it out"
        )
    count = integer(buckets)
    if count is not None:
        shares = np.arange(1, positive("length_buckets", "buckets", count) + 1) / count
        bounds = np.quantile(sizes, shares, axis=1, method="inverted_cdf")
    else:
        bounds = _bounds(buckets, len(sizes))
    for own, bound in zip(sizes, bounds.T, strict=True):
        if own.max() > bound[-1]:
            raise ValueError(
                f"length_buckets: sequence {int(own.argmax())} has {own.max()} steps, "
                f"more than the last bucket, {bound[-1]}; cut it, or add a longer one"
            )
    pairs = zip(sizes, bounds.T, strict=True)
    bucket = np.max([np.searchsorted(bound, own) for own, bound in pairs], axis=0)
    used, bucket = np.unique(bucket, return_inverse=True)
    return [tuple(bounds[i].tolist()) for i in used], bucket


def _bounds(buckets: Any, fields: int) -> np.ndarray:
    """The lengths that the user gave, [B, F]."""
    bounds = np.asarray(buckets)
    if bounds.ndim == 1:
        bounds = np.repeat(bounds[:, None], fields, axis=1)
    if (
        bounds.dtype.kind not in "iu"
        or bounds.shape[1:] != (fields,)
        or not bounds.size
        or bounds.min() < 1
        or np.any(np.diff(bounds, axis=0) < 0)
    ):
        raise ValueError(
            "length_buckets: buckets must be a count, or ascending lengths (for "
            f"{fields} fields of sequences tuples of {fields}), got {buckets!r}"
        )
    return bounds


def next_tokens(
    ids: ArrayLike, length: int, *, stride: int | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Cuts a long text into windows for a language model: the next id is the target.

    `inputs[n] = ids[n·stride : n·stride + length]`, and targets are the same, one step
    later. Rows are independent: `nn.fit` may shuffle them. An incomplete window at the
    end is dropped.

    Args:
        ids: [S], the whole text.
        length: T, the length of a window.
        stride: steps from one window to the next; by default `length`, so that each id
            is a target once.

    Returns:
        `(inputs, targets)`, each [N, T].

    Raises:
        ValueError: if the text is shorter than one window and its target.

    Example:
        >>> import numpy as np
        >>> from jaxnn.data import next_tokens
        >>> next_tokens(np.arange(8), 3)
        (array([[0, 1, 2],
               [3, 4, 5]]), array([[1, 2, 3],
               [4, 5, 6]]))
    """
    values = _text("next_tokens", ids)
    steps = positive("next_tokens", "length", length)
    step = steps if stride is None else positive("next_tokens", "stride", stride)
    _check_room("next_tokens", values, steps + 1, f"a window of {steps} and its target")
    windows = np.lib.stride_tricks.sliding_window_view(values, steps + 1)[::step]
    return windows[:, :-1].copy(), windows[:, 1:].copy()


def token_streams(
    ids: ArrayLike, batch_size: int, length: int
) -> tuple[np.ndarray, np.ndarray]:
    """Cuts a long text into parallel streams, for a model that keeps its state.

    The text is cut into `batch_size` streams of equal length, and these into windows:
    row b of batch k + 1 continues where row b of batch k ended. Train on them in this
    order, `nn.fit(nn.stateful(net), ..., batch_size=batch_size, shuffle=False)`: this
    is truncated backpropagation through time. What is left at the end is dropped.

    Args:
        ids: [S], the whole text.
        batch_size: the number of streams.
        length: T, the length of a window.

    Returns:
        `(inputs, targets)`, each [K·batch_size, T], batch by batch.

    Raises:
        ValueError: if the text is shorter than one window per stream.

    Example:
        >>> import numpy as np
        >>> from jaxnn.data import token_streams
        >>> inputs, targets = token_streams(np.arange(10), 2, 2)
        >>> inputs.reshape(-1, 2, 2).tolist()  # [batch, stream, step]
        [[[0, 1], [4, 5]], [[2, 3], [6, 7]]]

    Reference:
        Williams and Peng, An efficient gradient-based algorithm for on-line training of
        recurrent network trajectories, 1990.
    """
    values = _text("token_streams", ids)
    rows = positive("token_streams", "batch_size", batch_size)
    steps = positive("token_streams", "length", length)
    what = f"{rows} streams of a window of {steps}, and a target"
    _check_room("token_streams", values, rows * steps + 1, what)
    batches = (len(values) - 1) // rows // steps
    size = batches * steps

    def arrange(start: int) -> np.ndarray:
        streams = values[start : start + rows * size].reshape(rows, batches, steps)
        return streams.swapaxes(0, 1).reshape(-1, steps)

    return arrange(0), arrange(1)


def _text(owner: str, ids: ArrayLike) -> np.ndarray:
    values = plain(f"{owner}: ids", ids)
    if values.ndim != 1 or (values.size and values.dtype.kind not in "iu"):
        raise ValueError(
            f"{owner}: ids must be integers [S], got {values.dtype}"
            f"{list(values.shape)}; encode the text first"
        )
    return values


def _check_room(owner: str, values: np.ndarray, needed: int, what: str) -> None:
    if len(values) < needed:
        raise ValueError(
            f"{owner}: ids must hold {what}: at least {needed} ids, got {len(values)}"
        )
