"""Arrays that `nn.data` is given: no mask is dropped, no number is changed."""

import jax
import numpy as np
import pytest

import jaxnn as nn

data = nn.data
FLOATS = np.arange(12.0)
IDS = np.arange(12) % 3
#: From a name to a call with floats [12] or ids [12].
OF_FLOATS = {
    "pad": lambda a: data.pad([a]),
    "windows": lambda a: data.windows(a, 3),
    "split": lambda a: data.split((a, IDS), 0.5, seed=0),
    "split_in_time": lambda a: data.split_in_time({"a": a}, 6),
    "standardize": lambda a: data.standardize(a[:, None]),
    "standardize others": lambda a: data.standardize(FLOATS[:, None], a[:, None]),
    "seasonal_naive": lambda a: data.seasonal_naive(a[None], 2),
    "log_mel": lambda a: data.log_mel(a, 8000, window=0.001, hop=0.001, mels=2),
    "augment": lambda a: data.augment.shift(1)(
        jax.random.key(0), a.reshape(1, 3, 4, 1)
    ),
}
OF_IDS = {
    "next_tokens": lambda a: data.next_tokens(a, 3),
    "token_streams": lambda a: data.token_streams(a, 2, 2),
    "one_hot": lambda a: data.one_hot(a, 3),
    "split, stratified": lambda a: data.split(FLOATS, 0.5, seed=0, stratify=a),
    "length_buckets": lambda a: list(
        data.length_buckets(([a], a[:1]), 1, seed=None, buckets=1)
    ),
    "mel_frames": lambda a: data.mel_frames(a, 8000),
    "decode": lambda a: data.text.characters("abc").decode(a),
}
CALLS = [(call, FLOATS) for call in OF_FLOATS.values()]
CALLS += [(call, IDS) for call in OF_IDS.values()]
every = pytest.mark.parametrize(("call", "a"), CALLS, ids=[*OF_FLOATS, *OF_IDS])


@every
def test_a_mask_is_not_dropped(call, a):
    with pytest.raises(ValueError, match="must not be masked, but"):
        call(np.ma.masked_array(a, np.arange(12) == 0))
    call(np.ma.masked_array(a, np.zeros(12, bool)))


@every
def test_big_endian_numbers_are_the_same_numbers(call, a):
    found, expected = call(a.astype(a.dtype.newbyteorder(">"))), call(a)
    assert jax.tree.structure(found) == jax.tree.structure(expected)
    pairs = zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True)
    for one, other in pairs:
        assert isinstance(one, str) or one.dtype == other.dtype
        np.testing.assert_array_equal(one, other)


class Sparse:
    shape, dtype, ndim = (12,), np.dtype(np.float64), 1

    def todense(self):
        return FLOATS

    def __getitem__(self, index):
        return self

    def reshape(self, *shape):
        return self

    def __len__(self):
        return 12


@every
def test_a_sparse_matrix_is_named(call, a):
    with pytest.raises(TypeError, match="must be a dense array, got a sparse Sparse"):
        call(Sparse())


@pytest.mark.parametrize("start", [0, 3 * 10**9, 1_700_000_000_000])
def test_times_in_milliseconds_are_standardized_to_their_last_digit(start):
    times = (start + 1000 * np.arange(50))[:, None]
    expected = data.standardize((1000.0 * np.arange(50))[:, None])[0]
    (found,) = data.standardize(times)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, expected, rtol=1e-6)
    np.testing.assert_allclose(data.standardizer(times)(times[:3]), expected[:3], 1e-6)


def test_frames_that_int32_can_not_count_are_named():
    with pytest.raises(ValueError, match=r"2\*\*31 frames, got samples\[1\] = 17000"):
        data.mel_frames([5, 1_700_000_000_000], 8000)
    assert data.mel_frames(np.array([2**33], np.uint64), 8000)[0] == 107374181
    with pytest.raises(TypeError, match="samples must be integers, got float64"):
        data.mel_frames([0.5], 8000)


def test_a_split_keeps_words_and_dates():
    words, dates = np.array(list("abcdef")), np.arange(6).astype("M8[D]")
    train, held_out = data.split((words, dates), 0.5, seed=0)
    assert sorted([*train[0], *held_out[0]]) == list("abcdef")
    assert train[1].dtype == dates.dtype
    assert [len(part) for part in data.split_in_time(words, 2)] == [2, 4]
    with pytest.raises(ValueError, match=r"split_in_time: data must be arrays \[T"):
        data.split_in_time(np.float64(3), 2)
