"""Iterables of batches: buffers used again, places found again, ends and no ends."""

import itertools
import warnings
from collections import namedtuple
from functools import partial

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from common import KEY, X, Y, fit

import jaxnn as nn
from jaxnn.train import source

BATCHES = [(X[i : i + 8], Y[i : i + 8]) for i in range(0, 64, 8)]
MSE = nn.losses.mean_squared_error
same = chex.assert_trees_all_equal


class Zero(nn.Layer):
    """Puts out 0, so that the loss is the mean square of the targets."""

    def init(self, key, x):
        return {"w": jnp.zeros(())}, {}

    def apply(self, params, state, x, *, key=None, train=False):
        return 0 * x * params["w"], state


ZERO = {"w": jnp.zeros(())}, {}


def refilled(steps=8, shape=(4, 1), wrap=tuple):
    """What many loaders do: one buffer for all batches."""
    buffer = np.empty(shape, np.float32)
    for i in range(steps):
        buffer[:] = i
        yield wrap((buffer, buffer))


def fit_zero(data, **options):
    given = {"epochs": 1, "loss": MSE, "optimizer": optax.sgd(0.0), **options}
    return fit(data, Zero(), **given)[1]


SQUARES = [float(i * i) for i in range(8)]
LARGE = (2**18, 4)


@pytest.mark.parametrize("wrap", [tuple, list], ids=["tuples", "lists"])
@pytest.mark.parametrize("group", [1, 3, 32])
def test_a_buffer_that_is_used_again_is_trained_on_as_it_was(wrap, group, monkeypatch):
    monkeypatch.setattr(source, "GROUP_BATCHES", group)
    history = fit_zero(lambda: refilled(wrap=wrap), epochs=2)
    assert history.step_losses == 2 * SQUARES


def test_views_and_memory_of_others_are_copied_too():
    torch = pytest.importorskip("torch")
    for wrap in (
        lambda batch: tuple(map(memoryview, batch)),
        lambda batch: tuple(map(torch.from_numpy, batch)),
        lambda batch: tuple(a[::-1] for a in batch),
    ):
        assert fit_zero(partial(refilled, wrap=wrap)).step_losses == SQUARES


def test_a_list_whose_arrays_change_while_it_is_read():
    x = np.zeros((4, 1), np.float32)

    def batches():
        for batch in [(x, x)] * 8:
            yield batch
            x[:] += 1

    assert fit_zero(batches).step_losses == SQUARES


@pytest.mark.parametrize("shape", [(4, 1), LARGE], ids=["small", "large"])
def test_evaluate_and_validation_measure_a_buffer_as_it_was(shape):
    mean = sum(SQUARES) / 8
    for _ in range(2):
        found = nn.evaluate(Zero(), ZERO, refilled(shape=shape), loss=MSE)
        assert found == {"loss": mean}
    x = np.zeros((4, 1), np.float32)
    history = fit_zero([(x, x)], validation=lambda: refilled(shape=shape), epochs=2)
    assert history["val_loss"] == [mean, mean]


def test_arrays_that_a_callback_changes_do_not_change_the_run():
    x, y, v, u = X.copy(), Y.copy(), X.copy(), Y.copy()

    def spoil(epoch, state, history):
        for a in (x, y, v, u):
            a[:] = 0

    run, history = fit((x, y), validation=(v, u), callbacks=[spoil])
    expected, its_history = fit(validation=(X, Y))
    same(run, expected)
    assert history.logs == its_history.logs


def test_outputs_are_of_the_inputs_that_were_given():
    x = np.ones(LARGE, np.float32)
    net = nn.Dense(1, bias=False)
    state = net.init(KEY, x)
    outputs = nn.predict(net, state, x)
    x[:] = 0
    assert (np.asarray(outputs) == np.asarray(outputs)[0]).all() and outputs[0] != 0


def test_an_epoch_of_arrays_is_of_those_that_were_given():
    x = np.ones(LARGE, np.float32)
    step = nn.train_step(nn.Dense(4), MSE, optax.sgd(0.1))
    state = nn.train_state(step.net, step.optimizer, x, key=KEY)

    def run(data):
        return nn.train.train_epoch(step, state, data, batch_size=2**12)[1]

    expected = float(run((jnp.ones(LARGE), jnp.ones(LARGE)))["loss"])
    logs = run((x, x))
    x[:] = 0
    assert float(logs["loss"]) == expected


def test_a_function_is_called_once_for_each_epoch():
    calls = []

    def batches():
        calls.append(len(calls))
        return iter(BATCHES)

    fit(batches, epochs=3)
    assert calls == [0, 1, 2]


def test_no_batch_of_an_iterator_that_goes_on_is_lost():
    def numbers():
        for i in itertools.count():
            a = np.full((4, 1), i, np.float32)
            yield a, a

    endless = numbers()
    history = fit_zero(lambda: itertools.islice(endless, 3), epochs=3)
    assert np.sqrt(history.step_losses).tolist() == [*range(9)]
    assert next(endless)[0][0, 0] == 9


LENGTHS = (5, 3, 4, 2)


def varying():
    """A function whose epochs have these lengths."""
    lengths = iter(LENGTHS)
    return lambda: iter(BATCHES[: next(lengths)])


class Claims:
    """A loader that says to have so many batches, and gives five."""

    def __init__(self, length):
        self.length = length

    def __len__(self):
        return self.length

    def __iter__(self):
        return iter(BATCHES[:5])


def stopped(make, steps):
    """The state of a run of four epochs whose source fails after so many steps."""
    taken = itertools.count()

    def batches():
        for batch in make():
            if next(taken) == steps:
                raise OSError("network down")
            yield batch

    with pytest.raises(OSError, match="network down") as caught:
        fit(batches, epochs=4)
    assert int(caught.value.state.step) == steps
    assert len(caught.value.history.step_losses) == steps
    return caught.value.state


@pytest.fixture
def one_by_one(monkeypatch):
    """Batches are trained on before the next is read."""
    monkeypatch.setattr(source, "GROUP_BATCHES", 1)


@pytest.mark.usefixtures("one_by_one")
@pytest.mark.parametrize("steps", [3, 5, 7, 8, 12, 13])
def test_epochs_of_changing_length_resume_where_they_were(steps):
    whole, history = fit(varying(), epochs=4)
    rest, its_history = fit(varying(), epochs=4, state=stopped(varying(), steps))
    same(rest, whole)
    assert its_history.step_losses == history.step_losses[steps:]


@pytest.mark.usefixtures("one_by_one")
def test_a_function_with_a_memory_resumes_exactly():
    def shuffled():
        order = np.random.default_rng(0)
        return lambda: (BATCHES[i] for i in order.permutation(8))

    whole, _ = fit(shuffled(), epochs=4)
    for steps in (6, 8, 21):
        same(fit(shuffled(), epochs=4, state=stopped(shuffled(), steps))[0], whole)


@pytest.mark.usefixtures("one_by_one")
@pytest.mark.parametrize("length", [3, 5, 7])
@pytest.mark.parametrize("steps", [2, 5, 6, 12])
def test_a_wrong_length_resumes_exactly_or_says_so(length, steps):
    def make():
        return iter(BATCHES[:5])

    whole, _ = fit(make, epochs=4)
    state = stopped(make, steps)
    if length == 5 or steps < length:
        same(fit(Claims(length), epochs=4, state=state)[0], whole)
    else:
        said = rf"fit: data must give as many .* length, {length}, but epoch \d gave"
        with pytest.raises(ValueError, match=said):
            fit(Claims(length), epochs=4, state=state)
    same(fit(lambda: Claims(length), epochs=4, state=state)[0], whole)


def test_a_wrong_length_is_no_matter_to_a_whole_run():
    for length in (3, 7):
        same(fit(Claims(length))[0], fit(BATCHES[:5])[0])


@pytest.mark.usefixtures("one_by_one")
def test_an_iterator_goes_on_in_the_middle_of_its_epoch():
    whole, _ = fit(iter(BATCHES), epochs=1)
    state = stopped(lambda: iter(BATCHES), 3)
    same(fit(iter(BATCHES), epochs=1, state=state)[0], whole)
    with pytest.warns(UserWarning, match="seen 1 epoch already, and epochs=1 is the"):
        same(fit(iter(BATCHES), epochs=1, state=whole)[0], whole)


@pytest.mark.usefixtures("one_by_one")
def test_a_source_that_draws_its_epochs_resumes_exactly():
    sequences = [np.arange(1 + i % 5) % 4 for i in range(30)]
    labels = np.arange(30) % 3

    class Bag(nn.Composite):
        def children(self):
            return {"embed": nn.Embed(4, 4), "out": nn.Dense(3)}

        def forward(self, run, x):
            ids, _ = x
            return run("out", run("embed", ids).sum(1))

    buckets = nn.data.length_buckets((sequences, labels), 4, seed=0, buckets=2)
    whole, _ = fit(buckets, Bag(), epochs=3)
    half, _ = fit(buckets, Bag(), epochs=2)
    same(fit(buckets, Bag(), epochs=3, state=half)[0], whole)

    class Failing:
        """The same batches, of which the twelfth does not come."""

        left = 11

        def __iter__(self):
            return self.epoch(0)

        def epoch(self, number):
            for batch in buckets.epoch(number):
                if not self.left:
                    raise OSError("network down")
                self.left -= 1
                yield batch

    with pytest.raises(OSError, match="network down") as caught:
        fit(Failing(), Bag(), epochs=3)
    assert int(caught.value.state.step) == 11 > len(buckets)
    same(fit(buckets, Bag(), epochs=3, state=caught.value.state)[0], whole)


class From:
    """Eight batches an epoch in an order of its own, from any of them on."""

    def __init__(self, fails_at=None):
        self.read, self.fails_at = [], fails_at

    def __len__(self):
        return 8

    def __iter__(self):
        return self.epoch(0)

    def epoch(self, number, start=0):
        for i in np.random.default_rng(number).permutation(8)[start:]:
            if len(self.read) == self.fails_at:
                raise OSError("network down")
            self.read.append(i)
            yield BATCHES[i]


@pytest.mark.usefixtures("one_by_one")
@pytest.mark.parametrize("steps", [3, 8, 13])
def test_a_source_that_starts_anywhere_reads_nothing_again(steps):
    whole, history = fit(From(), epochs=3)
    with pytest.raises(OSError, match="network down") as caught:
        fit(From(fails_at=steps), epochs=3)
    rest = From()
    same(fit(rest, epochs=3, state=caught.value.state)[0], whole)
    assert len(rest.read) == 24 - steps
    assert len(history.step_losses) == 24


@pytest.mark.parametrize(
    "make", [lambda: itertools.cycle(BATCHES), lambda: itertools.repeat(BATCHES[0])]
)
def test_an_iterator_that_never_ends_is_refused(make):
    said = "must end, got an itertools.*; cut it, lambda: itertools.islice"
    for data in (make, make()):
        with pytest.raises(ValueError, match=f"^fit: data {said}"):
            fit(data, epochs=1)
        with pytest.raises(ValueError, match=f"^evaluate: data {said}"):
            nn.evaluate(nn.Dense(3), ({}, {}), data, loss=MSE)
        with pytest.raises(ValueError, match=f"^fit: validation {said}"):
            fit(validation=data, epochs=1)
    fit(itertools.repeat(BATCHES[0], 3), epochs=1)


def test_a_source_that_may_have_no_end_is_warned_of_once(monkeypatch):
    monkeypatch.setattr(source, "ENDLESS", 10)
    with pytest.warns(
        UserWarning, match="fit: data has given 10 batches in one epoch"
    ) as caught:
        fit(lambda: iter(BATCHES * 3), epochs=1)
    assert len(caught) == 1 and "itertools.islice" in str(caught[0].message)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        fit(BATCHES * 3, epochs=1)  # a list has an end
        fit(lambda: iter(BATCHES), epochs=1)


def weighted(*zero):
    ones = np.ones(8, np.float32)
    return [(x, y, 0 * ones if i in zero else ones) for i, (x, y) in enumerate(BATCHES)]


@pytest.mark.parametrize("zero", [(0,), (2, 3), (7,)])
def test_a_batch_without_weight_is_that_of_arrays(zero):
    weights = np.concatenate([w for _, _, w in weighted(*zero)])
    arrays, history = fit((X[:64], Y[:64], weights), batch_size=8, shuffle=False)
    stream, its_history = fit(weighted(*zero))
    same(stream, arrays)
    np.testing.assert_array_equal(its_history.step_losses, history.step_losses)
    assert np.isnan([its_history.step_losses[i] for i in zero]).all()


def test_a_batch_without_weight_counts_nothing_in_evaluate():
    net = nn.Dense(3)
    state = net.init(KEY, X)
    loss = nn.losses.softmax_cross_entropy
    found = nn.evaluate(net, state, weighted(1, 2), loss=loss)
    weights = np.concatenate([w for _, _, w in weighted(1, 2)])
    arrays = nn.evaluate(net, state, (X[:64], Y[:64], weights), loss=loss)
    np.testing.assert_allclose(found["loss"], arrays["loss"], rtol=1e-6)
    history = fit(validation=weighted(1, 2), metrics={"a": nn.metrics.accuracy})[1]
    assert np.isfinite(history["val_a"]).all()


def test_a_function_without_a_next_iterator():
    parts = iter([BATCHES])
    with pytest.raises(
        ValueError, match=r"^fit: data .* StopIteration for epoch 2"
    ) as e:
        fit(lambda: next(parts))
    assert len(e.value.history) == 1 and int(e.value.state.step) == 8


@pytest.mark.usefixtures("one_by_one")
@pytest.mark.parametrize("where", ["data", "validation"])
def test_a_source_that_fails_in_the_middle_keeps_the_run(where):
    good = iter([True, False])

    def batches():
        yield BATCHES[0]
        if not next(good):
            raise OSError("network down")

    with pytest.raises(OSError, match="network down") as caught:
        fit(**{"data": BATCHES, where: batches})
    assert int(caught.value.state.step) == (2 if where == "data" else 16)
    assert len(caught.value.history) == 1


@pytest.mark.usefixtures("one_by_one")
def test_ctrl_c_in_the_middle_of_an_epoch_resumes():
    whole, _ = fit(BATCHES, epochs=2)

    def batches():
        for i, batch in enumerate(BATCHES):
            if i == 5:
                raise KeyboardInterrupt
            yield batch

    with pytest.raises(KeyboardInterrupt) as caught:
        fit(batches, epochs=2)
    state = caught.value.state
    assert int(state.step) == 5
    same(fit(lambda: iter(BATCHES), epochs=2, state=state)[0], whole)
    same(fit(BATCHES, epochs=2, state=state)[0], whole)


Pair = namedtuple("Pair", "x y")


@pytest.mark.parametrize(
    "wrap",
    [
        lambda x, y: Pair(x, y),
        lambda x, y: [x, y],
        lambda x, y: (jnp.asarray(x), jnp.asarray(y)),
        lambda x, y: (x.astype(">f8"), y.astype(">i2")),
        lambda x, y: (np.ma.masked_array(x, 0 * x), y.astype(np.uint64)),
    ],
    ids=["records", "lists", "jax", "other dtypes", "masked nowhere"],
)
def test_batches_of_many_kinds_are_the_same(wrap):
    same(fit(lambda: itertools.starmap(wrap, BATCHES))[0], fit(BATCHES)[0])


def test_batches_of_torch_are_the_same():
    torch = pytest.importorskip("torch")
    data = torch.utils.data
    tensors = torch.from_numpy(X[:64].copy()), torch.from_numpy(Y[:64].copy())
    same(fit(data.DataLoader(data.TensorDataset(*tensors), 8))[0], fit(BATCHES)[0])

    class Endless(data.IterableDataset):  # its DataLoader has a __len__ that raises
        def __iter__(self):
            return iter(zip(*tensors, strict=True))

    same(fit(data.DataLoader(Endless(), 8))[0], fit(BATCHES)[0])
    with pytest.raises(
        TypeError, match="fit: batch 0 inputs must become a NumPy array"
    ):
        fit([(tensors[0].requires_grad_(), tensors[1])])


def test_other_dtypes_come_together_with_their_like():
    """int64 and int32 labels are one program's, and share a group."""
    kinds = itertools.cycle([np.int32, np.int64])
    mixed = [(x, y.astype(next(kinds))) for x, y in BATCHES]
    state, history = fit(mixed, net=nn.Sequential(nn.Dense(5), nn.Dense(3)))
    same(state, fit(BATCHES, net=nn.Sequential(nn.Dense(5), nn.Dense(3)))[0])
    assert history.programs <= 1


@pytest.mark.parametrize(
    ("batch", "kind", "words"),
    [
        ({"x": X, "y": Y}, TypeError, "batch 1 must be a tuple"),
        ((X, None), TypeError, "batch 1 targets must be an array for softmax_cross"),
        ((None, Y), TypeError, "batch 1 inputs must be arrays"),
        ((X, 3), ValueError, "batch 1 targets must have a first axis"),
        (("abc", Y), TypeError, "batch 1 inputs must hold numbers"),
        ((X, Y + 3_000_000_000), ValueError, "batch 1 targets must fit int32"),
        ((X, Y, 1j * np.ones(70)), TypeError, "batch 1 weights must be real"),
        ((np.ma.masked_array(X, X > 0), Y), ValueError, "batch 1 inputs must not be"),
        ((X[:, :0], Y), ValueError, "batch 1 inputs must have features"),
        ((1e300 * X.astype(float), Y), ValueError, "batch 1 inputs must fit float32"),
        (None, ValueError, "batch 1 must hold arrays"),
        ([], ValueError, "batch 1 must hold arrays"),
    ],
)
def test_a_batch_that_is_none_is_named(batch, kind, words):
    with pytest.raises(kind, match=f"^fit: {words}"):
        fit([BATCHES[0], batch])
    words = words.replace("batch 1", "batch 0")
    with pytest.raises(kind, match=f"^fit: {words}"):
        fit([batch])
    with pytest.raises(kind, match=f"^fit: validation {words}"):
        fit(validation=[batch])


def test_a_batch_whose_dict_lacks_a_key_is_named():
    class Reader(nn.Composite):
        body: nn.Layer

        def forward(self, run, x):
            return run("body", x["left"])

    data = [({"left": x}, y) for x, y in BATCHES[:2]]
    data.append(({"leff": BATCHES[2][0]}, BATCHES[2][1]))
    with pytest.raises(
        ValueError, match="batch 2 inputs must hold 'left' as the first"
    ):
        fit(data, Reader(nn.Dense(3)))


def test_what_is_no_iterable_of_batches():
    with pytest.raises(TypeError, match=r"^fit: data must be arrays .* got 'abc'"):
        fit("abc")
    with pytest.raises(
        TypeError, match=r"^fit: data must be a function that makes .* int"
    ):
        fit(lambda: 3)
    with pytest.raises(
        TypeError, match=r"^fit: validation must be arrays .* got b'abc'"
    ):
        fit(validation=b"abc")


def test_batches_on_the_device_are_aligned_and_full():
    """A group has room for all its batches, and what is not filled is 0."""
    pieces = list(source._groups(iter(BATCHES[:3]), jax.device_put))
    (piece,) = pieces
    assert piece.room == source.GROUP_BATCHES and piece.stop == 3
    x, y = piece.data
    np.testing.assert_array_equal(x[:3].reshape(24, 6), X[:24])
    assert x.shape == (piece.room, 8, 6) and not np.asarray(x[3:]).any()
    assert y.dtype == np.int32
