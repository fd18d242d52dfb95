"""What comes in from outside is JAX's with the same numbers, or refused by name."""

import jax
import jax.numpy as jnp
import ml_dtypes
import numpy as np
import pytest

import jaxnn as nn
from jaxnn.inputs import arrays

X = np.arange(8, dtype=np.float32).reshape(4, 2)
LONG = np.longdouble
has_long_doubles = np.finfo(LONG).nmant > 52


class Sparse:
    """As SciPy's: it has a shape and a dtype, and is no array."""

    shape, dtype, ndim = (4, 2), np.dtype(np.float32), 2

    def todense(self):
        return X


def masked(*flags):
    return np.ma.masked_array(X[:, 0], flags)


#: From a name to an array, and what is said of it.
REFUSED = {
    "sparse": (Sparse(), TypeError, r"dense array, got a sparse Sparse; its toarray"),
    "masked": (masked(0, 0, 1, 1), ValueError, r"masked, but \[2\] is \(2 of 4"),
    "words": (X.astype(str), TypeError, r"numbers, got an array of <U32; number its"),
    "objects": (X.astype(object), TypeError, r"array of object; make numbers of it"),
    "dates": (X.astype("M8[s]"), TypeError, r"array of datetime64\[s\]; count from a"),
    "durations": (X.astype("m8[s]"), TypeError, r"array of timedelta64\[s\]; divide"),
    "records": (np.zeros(4, [("a", "f4")]), TypeError, r"take one field of it"),
    "int64": (
        np.array([[1, 3_000_000_000]]),
        ValueError,
        r"fit int32.*\[0, 1\] is 3000000000",
    ),
    "negative": (
        np.array([-(2**31) - 1]),
        ValueError,
        r"\[0\] is -2147483649 \(1 such",
    ),
    "uint64": (np.array([2**32], np.uint64), ValueError, "fit uint32.*4294967296"),
    "float64": (
        np.array([0, -1e39, 1e39]),
        ValueError,
        r"float32.*\[1\] is -1e\+39 \(2",
    ),
    "float64 and NaN": (np.array([np.nan, 1e39]), ValueError, r"\[1\] is 1e\+39"),
    "complex128": (np.array([1j, 1e39j]), ValueError, r"fit complex64.*\[1\] is"),
}
KEPT = {
    "big-endian floats": X.astype(">f4"),
    "big-endian doubles": X.astype(">f8"),
    "big-endian integers": X.astype(">i8"),
    "long doubles": X.astype(LONG),
    "masked nowhere": np.ma.masked_array(X, np.zeros((4, 2), bool)),
    "int64 at its ends": np.array([-(2**31), 2**31 - 1]),
    "uint64 at its end": np.array([2**32 - 1], np.uint64),
    "float64 at its end": np.array([float(np.finfo(np.float32).max), np.inf, np.nan]),
    "complex": np.array([1 + 2j]),
    "bool": X > 3,
    "bfloat16": X.astype(ml_dtypes.bfloat16),
    "strided": X[::-2, ::-1],
    "read-only": np.broadcast_to(X, (3, 4, 2)),
    "no examples": np.zeros((0, 3)),
}


@pytest.mark.quick
@pytest.mark.parametrize("case", REFUSED)
def test_what_would_lose_its_meaning_is_refused(case):
    a, kind, words = REFUSED[case]
    for convert in (arrays.checked, arrays.to_jax):
        with pytest.raises(kind, match=f"^data x must .*{words}"):
            convert("data x", a)


@pytest.mark.quick
@pytest.mark.parametrize("case", KEPT)
def test_what_is_exact_is_converted(case):
    a = KEPT[case]
    found = arrays.to_jax("x", a)
    assert isinstance(found, jax.Array) and found.shape == a.shape
    np.testing.assert_array_equal(np.asarray(found), np.asarray(a).astype(found.dtype))


@pytest.mark.skipif(not has_long_doubles, reason="a long double is a double here")
def test_a_long_double_with_more_digits_is_refused():
    with pytest.raises(ValueError, match=r"^x must fit float64, but \[1\] has more"):
        arrays.native("x", np.array([1, LONG(1) / 3]))


def test_with_64_bits_nothing_is_refused_that_fits():
    with jax.enable_x64(True):
        for case in ("int64", "negative", "uint64", "float64", "complex128"):
            a = REFUSED[case][0]
            found = arrays.to_jax("x", a)
            assert found.dtype == a.dtype
            np.testing.assert_array_equal(found, a)


@pytest.mark.quick
@pytest.mark.parametrize("offset", [0, 4, 16])
def test_an_array_of_jax_is_its_own(offset):
    """64 bytes are where JAX takes memory as it is; elsewhere it copies, but later."""
    room = np.zeros(2**24 + 128, np.uint8)
    start = -room.ctypes.data % 64 + offset
    a = room[start : start + 2**24].view(np.float32)
    a[:] = 1
    found = arrays.to_jax("x", a)
    a[:] = 2
    assert float(found.min()) == float(found.max()) == 1


def test_arrays_of_jax_are_taken_as_they_are():
    a = jnp.ones(3)
    assert arrays.to_jax("x", a) is a
    assert arrays.to_jax("x", jax.random.key(0)).ndim == 0


def test_a_deleted_array_is_named():
    a = jnp.ones((4, 2))
    a.delete()
    with pytest.raises(
        ValueError, match=r"^x must .* this jax.Array was deleted.*jnp.copy"
    ):
        arrays.to_jax("x", a)


def test_arrays_that_a_program_closes_over_are_known_in_it():
    seen = []

    @jax.jit
    def program(x):
        found = arrays.to_jax("a", X)
        seen.append(isinstance(found, jax.core.Tracer))
        return x + found

    np.testing.assert_array_equal(program(jnp.ones((4, 2))), X + 1)
    assert seen == [False]


def test_zeros_lie_where_jax_takes_them():
    for shape in ((), (3,), (5, 7)):
        a = arrays.zeros(shape, ml_dtypes.bfloat16)
        assert a.shape == shape and a.ctypes.data % 64 == 0 and not a.any()


LAYERS = {
    "of one layer": nn.Dense(3),
    "composite": nn.Sequential(nn.Dense(3)),
    "of a function": nn.Sequential(lambda x: x * jnp.asarray(2, x.dtype)),
}


@pytest.mark.parametrize("net", LAYERS.values(), ids=LAYERS)
@pytest.mark.parametrize("case", REFUSED)
def test_init_and_apply_refuse_as_fit_does(net, case):
    a, kind, words = REFUSED[case]
    params, state = net.init(jax.random.key(0), X)
    with pytest.raises(kind, match=f"^{type(net).__name__}: x must .*{words}"):
        net.init(jax.random.key(0), a)
    with pytest.raises(kind, match=f"^{type(net).__name__}: x must .*{words}"):
        net.apply(params, state, a)


@pytest.mark.parametrize("net", LAYERS.values(), ids=LAYERS)
@pytest.mark.parametrize("case", ["big-endian floats", "long doubles"])
def test_init_and_apply_take_what_is_exact(net, case):
    params, state = net.init(jax.random.key(0), KEPT[case])
    found, _ = net.apply(params, state, KEPT[case])
    np.testing.assert_array_equal(found, net.apply(params, state, X)[0])


def test_apply_of_a_layer_is_not_changed_by_what_comes_later():
    x = np.ones((2**16, 64), np.float32)
    net = nn.Sequential(nn.Dense(64, bias=False))
    params, state = net.init(jax.random.key(0), x)
    y, _ = net.apply(params, state, x)
    x[:] = 0
    assert (np.asarray(y) == np.asarray(y)[:1]).all() and np.asarray(y).any()


class Reader(nn.Composite):
    body: nn.Layer

    def forward(self, run, x):
        return run("body", x["left"])


@pytest.mark.parametrize("wrap", [lambda net: net, nn.Sequential], ids=["bare", "in"])
def test_a_key_that_a_dict_of_inputs_lacks_is_said_to_be_one(wrap):
    net = wrap(Reader(nn.Dense(2)))
    params, state = net.init(jax.random.key(0), {"left": X})
    said = "x is a dict of 'leff', without 'left' (nearest: 'leff')"
    for call in (
        lambda: net.init(jax.random.key(0), {"leff": X}),
        lambda: net.apply(params, state, {"leff": X}),
        lambda: nn.predict(net, (params, state), {"leff": X}),
    ):
        with pytest.raises(KeyError, match="left") as caught:
            call()
        assert said in caught.value.__notes__
        assert not any("are params and state" in n for n in caught.value.__notes__)


def test_a_key_that_the_parameters_lack_is_still_said_to_be_theirs():
    net = nn.Sequential(nn.Dense(2))
    with pytest.raises(KeyError) as caught:
        net.apply({"dense_1": {}}, {}, X)
    notes = "".join(caught.value.__notes__)
    assert "are params and state from this network's init?" in notes
    assert "x is a dict" not in notes


@pytest.mark.parametrize("net", [nn.Dense(2), nn.Conv(2, 3), nn.LayerNorm()])
def test_inputs_without_features_are_named(net):
    with pytest.raises(ValueError, match="x must have features on its last axis, got"):
        net.init(jax.random.key(0), np.zeros((2, 5, 5, 0), np.float32))


def test_decoding_and_saliency_are_of_what_was_given():
    net = nn.Sequential(nn.Embed(5, 4), nn.lstm(8), nn.Dense(5))
    prompt = np.ones((256, 64), np.int32)
    variables = net.init(jax.random.key(0), prompt)
    tokens = nn.decode.greedy(net, variables, prompt, 2)
    prompt[:] = np.arange(256)[:, None] % 5
    assert (np.asarray(tokens) == np.asarray(tokens)[0]).all()
    with pytest.raises(ValueError, match=r"^greedy: prompt must fit int32"):
        nn.decode.greedy(net, variables, np.full((1, 2), 2**32), 2)
    with pytest.raises(ValueError, match=r"^saliency: x must not be masked"):
        x = np.ma.masked_array(X, X > 3)
        nn.pictures.saliency(nn.Dense(2), ({}, {}), x, 0)


@pytest.mark.parametrize(
    "loss", [nn.losses.mean_squared_error, nn.losses.softmax_cross_entropy]
)
def test_a_loss_refuses_complex_targets(loss):
    with pytest.raises(
        TypeError, match=r"(targets|labels) must be real numbers, got complex64"
    ):
        loss(jnp.ones((4, 3)), jnp.ones((4, 3), jnp.complex64))
