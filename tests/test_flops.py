"""FLOPs by formula: of primitives, of control flow, of whole networks by hand."""

import jax
import jax.numpy as jnp
import pytest
from jax import lax

import jaxnn as nn
from jaxnn.flops import Flops, flops


def f32(*shape):
    return jax.ShapeDtypeStruct(shape, jnp.float32)


def counted(net, *shape):
    return nn.summary(net, f32(*shape)).flops


def by_row(net, x):
    return {row.path: row.flops for row in nn.summary(net, x).rows}


def product(x, w):
    return x @ w


X, W = f32(2, 3), f32(3, 3)
ONE = 2 * (2 * 3 * 3)  # of one `product(X, W)`


# Primitives.


@pytest.mark.parametrize(
    ("equation", "shapes", "products"),
    [
        ("nk,km->nm", [(2, 3), (3, 5)], 2 * 3 * 5),
        ("bnk,bkm->bnm", [(7, 2, 3), (7, 3, 5)], 7 * 2 * 3 * 5),
        ("nkl,lkm->mn", [(2, 3, 4), (4, 3, 5)], 2 * 3 * 4 * 5),
        ("k,k->", [(3,), (3,)], 3),
    ],
)
def test_a_matrix_product_counts_two_per_multiply_add(equation, shapes, products):
    counted = flops(lambda a, b: jnp.einsum(equation, a, b), *(f32(*s) for s in shapes))
    assert counted == Flops(2 * products, True)


def test_elementwise_functions_sums_and_lookups_count_nothing():
    def function(x):
        return jnp.tanh(x + 1).sum(0)[jnp.array([0, 2])], x.max(), jnp.sort(x)

    assert flops(function, X) == Flops(0, True)


@pytest.mark.parametrize(
    ("options", "outputs"),
    [
        ({"padding": "SAME"}, 9 * 7),
        ({"padding": "VALID"}, 7 * 5),
        ({"padding": "SAME", "stride": 2}, 5 * 4),
        ({"padding": "SAME", "dilation": 2}, 9 * 7),
        ({"padding": 3}, 13 * 11),
    ],
)
def test_a_convolution_counts_every_window_in_full(options, outputs):
    assert counted(nn.Conv(4, 3, **options), 2, 9, 7, 6) == 2 * (
        2 * outputs * 4 * (3 * 3 * 6)
    )


@pytest.mark.parametrize(("groups", "features"), [(2, 4), (6, 6), (6, 12)])
def test_a_filter_of_a_group_sees_its_channels_alone(groups, features):
    layer = nn.Conv(features, 3, groups=groups)
    assert counted(layer, 2, 9, 7, 6) == 2 * (2 * 63 * features * (9 * 6 // groups))


def test_a_separable_convolution_is_the_sum_of_its_steps():
    layer = nn.SeparableConv(10, 3, multiplier=2)
    assert counted(layer, 2, 9, 7, 6) == 2 * (2 * 63 * (9 * 12 + 12 * 10))


@pytest.mark.parametrize("groups", [1, 2])
def test_a_transposed_convolution_counts_by_its_inputs(groups):
    layer = nn.ConvTranspose(4, 3, stride=2, groups=groups)
    assert counted(layer, 2, 9, 7, 6) == 2 * (2 * 63 * 9 * 6 * (4 // groups))


def test_laxs_convolutions_count_as_the_layers_do():
    def forward(x, w):
        return lax.conv_general_dilated(
            x, w, (2, 2), "SAME", dimension_numbers=("NCHW", "OIHW", "NHWC")
        )

    assert flops(forward, f32(2, 6, 9, 7), f32(4, 6, 3, 3)).number == counted(
        nn.Conv(4, 3, stride=2), 2, 9, 7, 6
    )

    def backward(x, w):
        return lax.conv_transpose(
            x, w, (2, 2), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC")
        )

    assert flops(backward, f32(2, 9, 7, 6), f32(3, 3, 6, 4)).number == counted(
        nn.ConvTranspose(4, 3, stride=2), 2, 9, 7, 6
    )


def test_a_gradient_counts_twice_a_forward_pass_more():
    layer, x = nn.Conv(4, 3), f32(2, 9, 7, 6)
    params, state = jax.eval_shape(layer.init, jax.random.key(0), x)

    def loss(params, x):
        return layer.apply(params, state, x)[0].sum()

    once = flops(loss, params, x).number
    assert flops(jax.grad(loss), params, x).number == 2 * once  # by w, not by x
    assert flops(jax.grad(loss, (0, 1)), params, x).number == 3 * once


def test_vmap_counts_every_set_of_weights():
    layer, x = nn.Conv(4, 3), f32(2, 9, 7, 6)
    params, _ = jax.eval_shape(layer.init, jax.random.key(0), x)
    many = jax.tree.map(lambda a: f32(5, *a.shape), params)

    def apply(params, x):
        return layer.apply(params, {}, x)[0]

    once = flops(apply, params, x).number
    assert flops(jax.vmap(apply, (0, None)), many, x).number == 5 * once


# Control flow.


def test_a_scan_counts_once_a_step():
    def steps(x, w):
        return lax.scan(lambda x, _: (x @ w, None), x, length=7)[0]

    assert flops(steps, X, W) == Flops(7 * ONE, True)

    def looped(x, w):  # a known number of steps makes it a scan
        return lax.fori_loop(0, 5, lambda _, x: steps(x, w), x)

    assert flops(looped, X, W) == Flops(35 * ONE, True)


def test_a_cond_counts_its_costliest_branch():
    def either(x, w):
        long = [product, lambda x, w: x @ w @ w, lambda x, w: x]
        return lax.switch(x[0, 0].astype(int), long, x, w)

    assert flops(either, X, W) == Flops(2 * ONE, True)


def test_functions_inside_functions_count_once():
    @jax.custom_jvp
    def forward(x, w):
        return x @ w

    forward.defjvp(lambda primals, tangents: (forward(*primals), forward(*tangents)))

    @jax.custom_vjp
    def backward(x, w):
        return x @ w

    backward.defvjp(lambda x, w: (x @ w, (x, w)), lambda kept, g: (g @ kept[1].T, None))
    for inside in (jax.jit(product), jax.checkpoint(product), forward, backward):
        assert flops(inside, X, W) == Flops(ONE, True)


def test_a_loop_of_unknown_length_is_said():
    def until(x, w):
        return lax.while_loop(lambda x: x[0, 0] < 9, lambda x: x @ w, x)

    assert flops(until, X, W) == Flops(ONE, False)
    assert flops(jax.jit(lambda x, w: until(x, w) @ w), X, W) == Flops(2 * ONE, False)

    def halve(x):
        return lax.while_loop(lambda x: x[0, 0] > 9, lambda x: x / 2, x)

    assert flops(halve, X) == Flops(0, True)  # no product in it, so 0 is right


# Networks, by hand.


def test_lenet():
    conv1 = (28 * 28) * 6 * (5 * 5 * 1)
    conv2 = (10 * 10) * 16 * (5 * 5 * 6)
    dense = 400 * 120 + 120 * 84 + 84 * 10
    images = f32(3, 28, 28, 1)
    assert nn.summary(nn.models.lenet5(), images).flops == 3 * 2 * (
        conv1 + conv2 + dense
    )
    assert 2 * (conv1 + conv2 + dense) == 833_040


def test_resnet18():
    """1.814 billion multiply-adds, as published."""
    conv1 = 112**2 * 64 * (7 * 7 * 3)
    stages = 56**2 * 4 * (64 * 9 * 64)
    for size, wide in ((28, 128), (14, 256), (7, 512)):
        half = wide // 2
        stages += size**2 * (wide * 9 * half + 3 * (wide * 9 * wide) + wide * half)
    total = 2 * (conv1 + stages + 512 * 1000)
    assert total == 2 * 1_814_073_344
    assert counted(nn.models.resnet(18), 1, 224, 224, 3) == total
    repeated = nn.models.resnet(18, repeat=True)
    assert counted(repeated, 1, 224, 224, 3) == total


@pytest.mark.parametrize(("make", "gates"), [(nn.lstm, 4), (nn.gru, 3), (nn.rnn, 1)])
def test_recurrent_layers(make, gates):
    batch, steps, inputs, units = 1, 100, 16, 32
    step = gates * units * (inputs + units)
    assert counted(make(units), batch, steps, inputs) == 2 * batch * steps * step
    second = gates * units * (2 * units + units)
    both = make(units, 2, bidirectional=True)
    assert counted(both, 5, steps, inputs) == 2 * 5 * steps * 2 * (step + second)


def test_an_lstm_whose_loop_xla_counts_once():
    assert counted(nn.lstm(32), 1, 100, 16) == 1_228_800


def test_lengths_change_nothing():
    x = f32(2, 10, 16)
    pair = x, jax.ShapeDtypeStruct((2,), jnp.int32)
    net = nn.Sequential(nn.lstm(8), nn.TransformerEncoder(1, 2))
    assert nn.summary(net, pair).flops == nn.summary(net, x).flops


@pytest.mark.parametrize("options", [{}, {"repeat": True}, {"causal": True}])
def test_a_transformer_encoder(options):
    batch, steps, wide, hidden, layers = 3, 10, 16, 40, 2
    projections = 4 * wide * wide  # query, key, value, out
    attention = 2 * steps * wide  # scores and the average of values, for all heads
    net = nn.TransformerEncoder(layers, 4, hidden=hidden, **options)
    step = projections + attention + 2 * wide * hidden
    assert counted(net, batch, steps, wide) == 2 * batch * steps * layers * step


def test_grouped_heads_save_projections_alone():
    net = nn.MultiHeadAttention(4, kv_heads=1)
    step = 2 * 16 * 16 + 2 * 16 * (16 // 4) + 2 * 10 * 16
    assert counted(net, 3, 10, 16) == 2 * 3 * 10 * step


def test_a_custom_layer_needs_no_rule():
    class Bilinear(nn.Layer):
        features: int

        def init(self, key, x):
            shape = (x.shape[-1], x.shape[-1], self.features)
            return {"w": jax.random.normal(key, shape)}, {}

        def apply(self, params, state, x, *, key=None, train=False):
            xw = jnp.einsum("ni,ijf->njf", x, params["w"])
            return jnp.einsum("njf,nj->nf", xw, x), state

    assert counted(Bilinear(5), 2, 3) == 2 * (2 * 3 * 3 * 5 + 2 * 3 * 5)


def test_what_forward_multiplies_itself_has_a_row():
    net = nn.TiedOutput(nn.Embed(65, 8), nn.Dense(8))
    ids = jax.ShapeDtypeStruct((2, 5), jnp.int32)
    assert by_row(net, ids) == {
        "embed": 0,
        "body": 2 * 10 * 8 * 8,
        "(forward)": 2 * 10 * 8 * 65,
    }
    assert nn.summary(nn.Sequential(net), ids).flops == 2 * 10 * 8 * (8 + 65)


def test_a_loop_around_a_layer_is_in_the_row_of_forward():
    class Twice(nn.Composite):
        layer: nn.Layer

        def forward(self, run, x):
            return lax.scan(lambda x, _: (run("layer", x), None), x, length=6)[0]

    rows = by_row(Twice(nn.Dense(4)), f32(2, 4))
    assert sum(rows.values()) == 6 * 2 * (2 * 4 * 4)


def test_remat_and_norms_add_nothing():
    plain = nn.Sequential(nn.Conv(4, 3), nn.BatchNorm(), jax.nn.relu, nn.Dense(2))
    assert counted(nn.Remat(plain), 1, 9, 7, 6) == counted(plain, 1, 9, 7, 6)
    one = nn.Sequential(nn.Dense(3), nn.BatchNorm())  # one value per channel
    assert counted(one, 1, 4) == 2 * 4 * 3


@pytest.mark.slow
def test_auxiliary_heads_of_training_count():
    net = nn.models.googlenet(classes=10, width=8)
    rows = by_row(net, f32(1, 64, 64, 3))
    assert rows["auxiliary1/head"] and "(forward)" not in rows
