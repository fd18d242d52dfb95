"""Padding changes nothing: lengths go with sequences through networks of any layers."""

import functools

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from catalogue import CATALOGUE, Asks, Entry

import jaxnn as nn

#: Sequences of vectors, of narrow ones, of rows, of pictures.
SHAPES = [(1, 3, 24), (1, 3, 3), (1, 3, 4, 12), (1, 3, 2, 2, 2)]
LENGTHS = jnp.array([2])
STEPS = nn.Dropout(0.0)  # after it a custom body gets an array and no pair
CLOSE = {"rtol": 1e-4, "atol": 2e-4}
#: Those that mix steps and know no lengths: they say so.
REFUSES = {
    *("flatten", "reshape", "conv_stride", "conv_1d", "conv_circular"),
    *("conv_transpose", "conv_transpose_groups", "separable_conv", "conv_depthwise"),
    *("max_pool", "max_pool_overlapping", "max_pool_1d", "avg_pool", "avg_pool_3d"),
    *("adaptive_max_pool", "adaptive_avg_pool", "upsample", "upsample_bilinear"),
    *("pixel_shuffle", "pixel_unshuffle", "squeeze_excite", "upsample_bicubic"),
    *("conv_transpose_output_padding", "max_unpool", "pad", "pad_reflect"),
    "minibatch_std",
}
#: One of each way to treat steps: each alone, with its neighbors, with those before it,
#: with all (in order, by attention, by statistics), all as one; without lengths.
AFTER = {
    *("dense", "conv", "recurrent_gru", "bidirectional", "attention", "group_norm"),
    *("batch_norm", "global_max_pool", "max_pool_1d", "flatten"),
}
#: `Asks` turns the steps around in a `forward` of its own; one step has no variance.
ENTRIES = [e for e in CATALOGUE if not isinstance(e.layer, Asks)]
each = pytest.mark.parametrize("entry", ENTRIES, ids=lambda e: e.name)
few_first = pytest.mark.parametrize(
    "entry",
    [
        pytest.param(e, marks=[] if e.name in AFTER else pytest.mark.slow, id=e.name)
        for e in ENTRIES
    ],
)


def fits(net: nn.Layer, shape: tuple[int, ...]) -> bool:
    """Whether a network takes such arrays."""

    def outputs(x):
        return net.apply(*net.init(jax.random.key(0), x), x)[0]

    try:
        jax.eval_shape(outputs, jax.ShapeDtypeStruct(shape, jnp.float32))
    except (ValueError, TypeError, IndexError, AttributeError):
        return False
    return True


@functools.cache
def taken(entry: Entry) -> tuple[int, ...] | None:
    """The shape of sequences that an entry takes, or None."""
    return next((shape for shape in SHAPES if fits(entry.layer, shape)), None)


def check_padding_changes_nothing(net: nn.Layer, shape: tuple[int, ...]) -> None:
    """Outputs and gradients are those of the sequence alone, with NaN behind it."""
    alone = jax.random.normal(jax.random.key(3), shape)[:, :2]
    padded = jnp.concatenate([alone, jnp.full_like(alone[:, :1], jnp.nan)], 1)
    params, state = jax.jit(net.init)(jax.random.key(1), alone)

    def loss(params, x, lengths=None):
        given = x if lengths is None else (x, lengths)
        y, _ = net.apply(params, state, given)
        real = y[:, :2] if y.ndim > 2 else y
        return (real.astype(float) ** 2).sum(), real

    slope = jax.jit(jax.grad(loss, argnums=(0, 1), has_aux=True))
    expected = slope(params, alone)
    (by_params, by_x), y = slope(params, padded, LENGTHS)
    assert not by_x[:, 2:].any()
    got = (by_params, by_x[:, :2]), y
    chex.assert_trees_all_close(got, expected, **CLOSE)


def check_padding_or_refusal(net: nn.Layer, shape: tuple[int, ...], *names) -> None:
    if not set(names) & REFUSES:
        check_padding_changes_nothing(net, shape)
        return
    x = jax.ShapeDtypeStruct(shape, jnp.float32)
    with pytest.raises(ValueError, match="knows no lengths"):
        jax.eval_shape(net.init, jax.random.key(1), (x, LENGTHS))


@few_first
def test_padding_changes_nothing_in_a_layer_nor_behind_it(entry):
    if (shape := taken(entry)) is None:
        return
    # The bias leaves no zeros past the ends for the layer, nor it for the mean.
    first = nn.Dense(shape[-1], b_init=nn.initializers.normal(1.0))
    net = nn.Sequential(first, entry.layer, nn.GlobalAvgPool())
    net = net if fits(net, shape) else nn.Sequential(first, entry.layer)
    check_padding_or_refusal(net, shape, entry.name)


@pytest.mark.slow
@each
def test_padding_changes_nothing_in_pairs_of_layers(entry):
    if (shape := taken(entry)) is None:
        return
    goes_on = fits(nn.Sequential(entry.layer, nn.GlobalAvgPool()), shape)
    for second in (e for e in ENTRIES if e.name in AFTER):
        net = nn.Sequential(STEPS, entry.layer, second.layer)
        if fits(net, shape):
            seen = (entry.name, second.name) if goes_on else (entry.name,)
            with jax.enable_x64(True):  # gradients that vanish behind a norm round
                check_padding_or_refusal(net, shape, *seen)


def test_most_layers_take_sequences():
    """The checks above check something."""
    assert {e.name for e in ENTRIES} >= AFTER
    taking = {e.name for e in ENTRIES if taken(e) is not None}
    assert len(taking) > 50
    too_large = {"conv_1d", "avg_pool_3d", "pixel_unshuffle", "max_unpool"}
    assert REFUSES - taking <= too_large


X = jax.random.normal(jax.random.key(0), (2, 4, 4))
FOUR = jnp.array([4, 2])
REAL = np.arange(4)[None] < np.array(FOUR)[:, None]
PADDED = jnp.where(REAL[..., None], X, jnp.nan)
MIXES = nn.GroupNorm(1)  # over all steps


def outputs(net: nn.Layer, x=(PADDED, FOUR), **options):
    params, state = net.init(jax.random.key(1), x)
    return net.apply(params, state, x, **options)


def check_short_row(net: nn.Layer) -> None:
    """The shorter row of a batch is as the sequence alone."""
    params, state = net.init(jax.random.key(1), (PADDED, FOUR))
    y, _ = net.apply(params, state, (PADDED, FOUR))
    alone, _ = net.apply(params, state, X[1:, :2])
    np.testing.assert_allclose(y[1:, :2] if alone.ndim > 2 else y[1:], alone, **CLOSE)


def last_step(pair):
    x, lengths = pair
    return jnp.take_along_axis(x, (lengths - 1)[:, None, None], 1)[:, 0]


def test_lengths_pass_functions_that_work_step_by_step():
    steps = jax.nn.relu, lambda x: 2 * x, lambda x: x * 2, nn.Dense(4)
    check_short_row(nn.Sequential(nn.gru(4), *steps, MIXES))


@pytest.mark.parametrize(
    "function",
    [lambda x: x[:, 0], lambda x: x.sum(1), lambda x: jnp.cumsum(x, 1)],
    ids=["first", "sum", "cumsum"],
)
def test_a_function_may_read_over_time_what_padding_does_not_change(function):
    check_short_row(nn.Sequential(nn.Dense(4), function))


READS_PADDING = {
    "last": lambda x: x[:, -1],
    "mean": lambda x: x.mean(1),
    "max": lambda x: x.max(1),
    "min": lambda x: x.min(1),
    "later": lambda x: x[:, 1:],
    "reversed": lambda x: x[:, ::-1],
    "centered": lambda x: x - x.mean(1, keepdims=True),
    "softmax": lambda x: jax.nn.softmax(x, axis=1),
    "flat": lambda x: x.reshape(x.shape[0], -1),
    "two": lambda x: (x, x[:, -1]),
}


@pytest.mark.parametrize("function", READS_PADDING.values(), ids=READS_PADDING.keys())
def test_a_function_that_would_read_padding_is_refused(function):
    net = nn.Sequential(nn.Dense(4), look=function)
    with pytest.raises(ValueError, match="a function of the pair") as caught:
        jax.jit(outputs, static_argnums=0)(net)
    assert "in look: " in caught.value.__notes__[0]


def test_a_function_of_the_pair_gets_the_lengths():
    y, _ = outputs(nn.Sequential(nn.Dense(4), last_step))
    whole, _ = outputs(nn.Sequential(nn.Dense(4)))
    np.testing.assert_array_equal(y, whole[jnp.arange(2), FOUR - 1])


def test_a_function_may_drop_the_lengths():
    y, _ = outputs(nn.Sequential(nn.Dense(4), lambda pair: pair[0], nn.MaxPool((4,))))
    assert y.shape == (2, 1, 4)


def test_networks_give_arrays_and_embeddings_pairs():
    ids = jnp.array([[1, 9], [2, 3]]), jnp.array([1, 2])
    y, _ = outputs(nn.Sequential(nn.Embed(4, 3), nn.gru(2), nn.Dense(2)), ids)
    assert y.shape == (2, 2, 2)
    pair, _ = outputs(nn.Sequential(nn.Embed(4, 3), nn.SinusoidalPositions()), ids)
    assert type(pair) is tuple and pair[1] is ids[1]


class Block(nn.Composite):
    """A custom body that knows nothing of lengths."""

    first: nn.Layer
    second: nn.Layer

    def forward(self, run, x):
        return jax.nn.relu(run("second", jnp.tanh(run("first", x))))


class Around(nn.Composite):
    body: nn.Layer

    def forward(self, run, x):
        return x + run("body", 2 * x)


class Explicit(nn.Composite):
    """A custom body that is given pairs and hands them on."""

    body: nn.Layer

    def forward(self, run, x):
        x, lengths = x
        return x + run("body", (2 * x, lengths))


AVERAGE = nn.GlobalAvgPool()


@pytest.mark.parametrize(
    "net",
    [
        nn.Sequential(Block(nn.gru(4), MIXES), AVERAGE),
        Block(nn.gru(4), AVERAGE),
        nn.Sequential(nn.Dense(4), Around(MIXES), AVERAGE),
        nn.Repeat(nn.Residual(MIXES), 2),
        nn.Sequential(nn.Repeat(Around(MIXES), 2), nn.Remat(MIXES)),
        nn.Sequential(nn.Concat(MIXES, nn.Identity()), AVERAGE),
        nn.Sequential(nn.Dense(4), nn.ensemble(nn.Sequential(MIXES, jnp.tanh), 2)),
        nn.Sequential(nn.Dense(4), nn.ensemble(nn.Dense(2), 2), AVERAGE),
        nn.Sequential(nn.Dense(4), nn.Conv(4, (3,), padding=((2, 0),)), MIXES),
    ],
    ids=str,
)
def test_lengths_pass_composites_and_wrappers(net):
    check_short_row(net)


def test_a_body_that_hands_pairs_on_keeps_its_lengths():
    own = nn.Sequential(Explicit(MIXES), AVERAGE)
    same = nn.Sequential(nn.Residual(nn.Sequential(lambda x: 2 * x, MIXES)), AVERAGE)
    np.testing.assert_allclose(outputs(own)[0], outputs(same)[0], **CLOSE)


def test_two_inputs_are_not_taken_for_lengths():
    """Of a network on `(images, labels)` the labels are no lengths."""

    class Conditional(nn.Composite):
        conv: nn.Layer
        pool: nn.Layer

        def forward(self, run, x):
            images, _ = x
            return run("pool", run("conv", images))

    x = jnp.ones((2, 4, 4, 1)), jnp.array([7, 0])
    net = nn.Sequential(Conditional(nn.Conv(2, 3), nn.MaxPool(2)), nn.Flatten())
    assert outputs(net, x)[0].shape == (2, 8)


def test_two_sequences_of_one_size_keep_their_own_lengths():
    class Both(nn.Composite):
        a: nn.Layer
        b: nn.Layer

        def forward(self, run, x):
            source, target = x
            return run("a", source), run("b", target)

    net = Both(MIXES, MIXES)
    (_, y), _ = outputs(net, ((X, FOUR), X))
    np.testing.assert_array_equal(y, outputs(MIXES, X)[0])


def test_a_body_of_ones_own_may_say_that_all_steps_are_real():
    class Whole(nn.Composite):
        body: nn.Layer
        pool: nn.Layer

        def forward(self, run, x):
            return run("pool", (run("body", x), None))

    assert outputs(Whole(nn.gru(2), nn.MaxPool((4,))))[0].shape == (2, 1, 2)
    with pytest.raises(ValueError, match="knows no lengths"):
        outputs(Block(nn.gru(2), nn.MaxPool((4,))))


def test_batch_norm_in_training_counts_real_steps_only(key):
    layer = nn.BatchNorm(momentum=0.5)
    params, state = layer.init(key, X)

    def train(x, *lengths):
        y, after = layer.apply(
            params, state, (x, *lengths) if lengths else x, train=True
        )
        y = y[REAL] if lengths else y
        return (jnp.sin(y) * jnp.arange(4.0)[None]).sum(), (y, after)

    train = jax.value_and_grad(train, has_aux=True)
    expected = train(X[REAL])
    made, slope = train(PADDED, FOUR)
    chex.assert_trees_all_close((made, slope[REAL]), expected, **CLOSE)
    assert not slope[~REAL].any()


def test_pooling_takes_a_pair_by_itself():
    for layer, of in ((nn.GlobalAvgPool(), np.mean), (nn.GlobalMaxPool(), np.max)):
        y, _ = layer.apply({}, {}, (PADDED, FOUR))
        expected = [of(X[i, :n], 0) for i, n in enumerate(FOUR.tolist())]
        np.testing.assert_allclose(y, expected, rtol=1e-6)


@pytest.mark.parametrize(
    "layer", [nn.MultiHeadAttention(2), nn.EncoderBlock(nn.MultiHeadAttention(2))]
)
def test_nan_past_the_end_reaches_no_gradient_of_attention(layer, key):
    params, state = layer.init(key, X)

    def loss(params, x):
        return (layer.apply(params, state, (x, FOUR))[0][REAL] ** 2).sum()

    slope = jax.grad(loss, argnums=(0, 1))
    chex.assert_trees_all_equal(slope(params, PADDED), slope(params, X))


def test_lengths_of_what_attention_is_given_go_on():
    net = nn.Sequential(nn.TransformerEncoder(1, 2), nn.GlobalMaxPool())
    y, _ = outputs(net, nn.Attend(PADDED, lengths=FOUR))
    np.testing.assert_allclose(y, outputs(net)[0], rtol=1e-6)


def test_taps_and_summaries_show_arrays():
    net = nn.Sequential(nn.gru(2), jax.nn.relu, nn.Dense(1))
    params, state = net.init(jax.random.key(0), (PADDED, FOUR))
    (_, taps), _ = nn.Tap(net, "*").apply(params, state, (PADDED, FOUR))
    assert {k: v.shape for k, v in taps.items() if "/" not in k} == {
        "recurrent_stack_1": (2, 4, 2),
        "relu_1": (2, 4, 2),
        "dense_1": (2, 4, 1),
    }
    shown = str(nn.summary(net, (PADDED, FOUR)))
    assert "Steps" not in shown and "float32[2,4,1]" in shown


@pytest.mark.slow
def test_a_stateful_network_heeds_lengths_between_its_layers():
    attend = nn.MultiHeadAttention(2, causal=True)
    net = nn.Sequential(nn.SinusoidalPositions(), jax.nn.relu, attend)
    params, state = net.init(jax.random.key(0), X)
    live = nn.stateful(net, 8)
    _, state = live.apply(params, nn.zero_carry(live, X), (PADDED, FOUR))
    y, _ = live.apply(params, state, X[:, :1])
    whole = jnp.concatenate([X[1:, :2], X[1:, :1]], 1)
    np.testing.assert_allclose(y[1:], net.apply(params, {}, whole)[0][:, -1:], **CLOSE)


def test_lengths_out_of_range_are_found_by_a_first_layer_of_single_steps():
    net = nn.Sequential(nn.Dense(2), nn.GlobalAvgPool())
    with pytest.raises(
        ValueError, match=r"Dense: lengths must be from 1 to 4, .*got 6"
    ):
        outputs(net, (X, jnp.array([4, 6])))
