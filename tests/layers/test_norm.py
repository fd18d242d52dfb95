"""Normalization: accuracy, statistics over several devices, degenerate inputs."""

import os
import subprocess
import sys
from functools import partial

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax import test_util

import jaxnn as nn
from jaxnn import trees
from jaxnn.ops import norm
from jaxnn.ops.reparametrize import power_iteration, spectral_norm, weight_norm

RNG = np.random.default_rng(0)
PICTURES = RNG.standard_normal((8, 4, 4, 6)).astype(np.float32)
KEEP = {"rtol": 1e-5, "atol": 1e-6}
IN_EXAMPLE = [nn.LayerNorm(), nn.GroupNorm(2), nn.InstanceNorm(), nn.RMSNorm()]
ALL = [nn.BatchNorm(), *IN_EXAMPLE, nn.LocalResponseNorm()]
kinds = partial(pytest.mark.parametrize, "layer", ids=lambda x: type(x).__name__)


def trained(layer, x, key):
    """Parameters other than 1 and 0, the state after one batch, and its outputs."""
    params, state = layer.init(key, x)
    params = jax.tree.map(
        lambda p: p + jnp.linspace(0.5, 1, p.size, dtype=p.dtype), params
    )
    y, state = layer.apply(params, state, x, train=True)
    return params, state, y


def reference(layer, x):
    """The first output of a layer (scale 1, offset 0) in float64 NumPy."""
    x, n = np.asarray(x, np.float64), x.ndim
    axes = {
        nn.BatchNorm: tuple(range(n - 1)),
        nn.LayerNorm: (n - 1,),
        nn.InstanceNorm: tuple(range(1, n - 1)),
    }
    if isinstance(layer, nn.GroupNorm):
        parts = x.reshape(*x.shape[:-1], layer.groups, -1)
        axis = (*range(1, n - 1), n)
        mean, var = parts.mean(axis, keepdims=True), parts.var(axis, keepdims=True)
        return ((parts - mean) / np.sqrt(var + layer.eps)).reshape(x.shape)
    if isinstance(layer, nn.RMSNorm):
        return x / np.sqrt((x**2).mean(-1, keepdims=True) + layer.eps)
    axis = axes[type(layer)]
    return (x - x.mean(axis, keepdims=True)) / np.sqrt(
        x.var(axis, keepdims=True) + layer.eps
    )


@kinds([nn.BatchNorm(), *IN_EXAMPLE])
@pytest.mark.parametrize("shape", [(5, 3, 4), (8, 4, 4, 6), (2, 3, 2, 2, 4)])
def test_the_formula(layer, shape, key):
    x = jnp.asarray(RNG.standard_normal(shape) * 2 + 1, jnp.float32)
    y, _ = layer.apply(*layer.init(key, x), x, train=True)
    np.testing.assert_allclose(y, reference(layer, x), rtol=1e-5, atol=1e-5)


@kinds([nn.BatchNorm(), nn.LayerNorm(), nn.GroupNorm(2), nn.InstanceNorm()])
def test_a_mean_far_larger_than_the_deviation_costs_no_accuracy(layer, key):
    """float32 holds 1000 ± 1 to 6e-5: the outputs are no worse than that."""
    x = jnp.asarray(1e3 + RNG.standard_normal((16, 16, 16, 8)), jnp.float32)
    params, state = layer.init(key, x)

    @jax.jit
    def run(state, xs):
        def body(state, x):
            y, state = layer.apply(params, state, x, train=True)
            return state, y

        return jax.lax.scan(body, state, xs)

    y, once = layer.apply(params, state, x, train=True)
    again, (in_scan,) = run(state, x[None])
    for given in (y, in_scan):
        np.testing.assert_allclose(given, reference(layer, x), atol=3e-4)
    for state in (once, again):
        if state:
            wide = np.asarray(x, np.float64).reshape(-1, 8)
            var = 0.9 + 0.1 * wide.var(0, ddof=1)
            np.testing.assert_allclose(state["mean"], 0.1 * wide.mean(0), rtol=3e-7)
            np.testing.assert_allclose(state["var"], var, rtol=3e-7)


def test_evaluation_keeps_the_digits_of_a_large_mean(key):
    x = jnp.asarray(1e3 + RNG.standard_normal((64, 4)), jnp.float32)
    state = {"mean": jnp.full(4, 1e3), "var": jnp.ones(4)}
    y, _ = nn.BatchNorm(scale=False, offset=False).apply({}, state, x)
    expected = (np.asarray(x, np.float64) - 1e3) / np.sqrt(1 + 1e-5)
    np.testing.assert_allclose(y, expected, rtol=1e-6)


@kinds(ALL)
@pytest.mark.parametrize("value", [0.0, 3.0, -1e4])
def test_constant_input_gives_no_nan(layer, value, key):
    x = jnp.full((4, 3, 3, 4), value)
    params, state = layer.init(key, x)

    def loss(params, x):
        y, after = layer.apply(params, state, x, train=True)
        return (y * y + y).sum(), (y, after)

    gradients, aux = jax.grad(loss, argnums=(0, 1), has_aux=True)(params, x)
    chex.assert_tree_all_finite((gradients, aux))


@kinds([nn.BatchNorm(), *IN_EXAMPLE])
def test_half_precision_has_statistics_of_single(layer, key):
    """Sums of 4096 numbers around 40 overflow float16 and stall in bfloat16."""
    x = jnp.asarray(40 + RNG.standard_normal((16, 16, 16, 4)), jnp.float16)
    params, state = layer.init(key, x)
    y, after = layer.apply(params, state, x, train=True)
    same, expected = layer.apply(params, state, x.astype(jnp.float32), train=True)
    chex.assert_trees_all_equal(after, expected)
    assert y.dtype == jnp.float16
    np.testing.assert_allclose(y.astype(np.float32), same, rtol=1e-3, atol=1e-3)


def test_moments_have_the_derivatives_of_their_formulas():
    """First and second order, forward and reverse, against the rule-free form."""

    def plain(x, axes):
        return x.mean(axes, keepdims=True), x.var(axes, keepdims=True)

    def loss(moments, x):
        mean, var = moments(x, (0, 2))
        return (jnp.sin(mean) * var + var**2).sum()

    with jax.enable_x64(True):
        x = jnp.asarray(RNG.standard_normal((3, 2, 4)))
        test_util.check_grads(
            partial(loss, norm.moments), (x,), order=2, modes=["fwd", "rev"]
        )
        for derivative in (jax.grad, jax.hessian):
            ours, theirs = (
                jax.jit(derivative(partial(loss, f)))(x) for f in (norm.moments, plain)
            )
            chex.assert_trees_all_close(ours, theirs, rtol=1e-10, atol=1e-12)


# Batch normalization


def test_running_statistics_follow_their_formula(key):
    layer = nn.BatchNorm(momentum=0.75)
    _, state = layer.init(key, PICTURES)
    mean, var = np.zeros(6), np.ones(6)
    params = {"scale": jnp.ones(6), "offset": jnp.zeros(6)}
    for step in range(3):
        x = PICTURES * (step + 1) + step
        _, state = layer.apply(params, state, jnp.asarray(x), train=True)
        rows = x.reshape(-1, 6).astype(np.float64)
        mean = 0.75 * mean + 0.25 * rows.mean(0)
        var = 0.75 * var + 0.25 * rows.var(0, ddof=1)
    np.testing.assert_allclose(state["mean"], mean, **KEEP)
    np.testing.assert_allclose(state["var"], var, **KEEP)


@pytest.mark.parametrize("momentum", [0, 1])
def test_momentum_may_keep_nothing_or_everything(momentum, key):
    layer = nn.BatchNorm(momentum=momentum)
    params, state = layer.init(key, PICTURES)
    _, after = layer.apply(params, state, jnp.asarray(PICTURES), train=True)
    if momentum:
        chex.assert_trees_all_equal(after, state)
    else:
        mean = PICTURES.reshape(-1, 6).mean(0)
        np.testing.assert_allclose(after["mean"], mean, **KEEP)


def test_no_gradient_goes_through_running_statistics(key):
    params, state = nn.BatchNorm().init(key, PICTURES)

    def loss(x):
        _, after = nn.BatchNorm().apply(params, state, x, train=True)
        return after["mean"].sum() + after["var"].sum()

    assert not jax.grad(loss)(jnp.asarray(PICTURES)).any()


@pytest.mark.parametrize("shape", [(1, 1, 1, 6), (1, 6)])
def test_one_value_per_channel_names_the_layer(shape, key):
    net = nn.Sequential(nn.Identity(), bn=nn.BatchNorm())
    params, state = net.init(key, jnp.ones((2, *shape[1:])))
    with pytest.raises(ValueError, match="more than one value per channel") as caught:
        net.apply(params, state, jnp.ones(shape), train=True)
    assert caught.value.__notes__[0].startswith("in bn: BatchNorm() on float32")
    y, _ = net.apply(params, state, jnp.ones(shape))
    assert jnp.isfinite(y).all()


def parts(n):
    """A batch in parts whose means and deviations differ widely."""
    x = PICTURES.reshape(n, 8 // n, *PICTURES.shape[1:])
    shift = np.arange(n).reshape(n, 1, 1, 1, 1) * 100
    return jnp.asarray(x * (1 + shift) + shift, jnp.float32)


def outcome(apply, params, state, x):
    """Outputs, state, and gradients by parameters and inputs of a fixed function."""
    weights = jnp.sin(jnp.arange(x.size, dtype=x.dtype)).reshape(x.shape)

    def loss(params, x):
        y, after = apply(params, state, x)
        return (y * weights).sum(), (y, after)

    return jax.grad(loss, argnums=(0, 1), has_aux=True)(params, x)


def test_synchronized_over_vmap_is_the_whole_batch(key):
    x, one = parts(4), nn.BatchNorm()
    layer = nn.BatchNorm(axis_name="part")
    params, state, _ = trained(one, x.reshape(-1, *x.shape[2:]), key)

    def together(params, state, x):
        apply = partial(layer.apply, train=True)
        return jax.vmap(
            apply, in_axes=(None, None, 0), out_axes=(0, None), axis_name="part"
        )(params, state, x)

    def whole(params, state, x):
        y, state = one.apply(params, state, x.reshape(-1, *x.shape[2:]), train=True)
        return y.reshape(x.shape), state

    run = jax.jit(outcome, static_argnums=0)
    ours, theirs = (run(f, params, state, x) for f in (together, whole))
    chex.assert_trees_all_close(ours, theirs, rtol=2e-5, atol=2e-5)


SHARDED = """
import jax, jax.numpy as jnp, numpy as np
from functools import partial
from jax.sharding import Mesh, PartitionSpec as P
import jaxnn as nn

jax.config.update("jax_numpy_rank_promotion", "raise")
jax.config.update("jax_numpy_dtype_promotion", "strict")
assert len(jax.devices()) == 4
rng = np.random.default_rng(0)
x = rng.standard_normal((8, 3, 3, 5)) * np.arange(1, 9).reshape(8, 1, 1, 1)
x = jnp.asarray(x + 50 * np.arange(8).reshape(8, 1, 1, 1), jnp.float32)
c = jnp.asarray(rng.standard_normal(x.shape), jnp.float32)
mesh = Mesh(np.array(jax.devices()).reshape(2, 2), ("a", "b"))
one, layer = nn.BatchNorm(), nn.BatchNorm(axis_name=("a", "b"))
params, state = one.init(jax.random.key(0), x)
params = jax.tree.map(lambda p: p + jnp.arange(5.0), params)

sharded = jax.shard_map(
    partial(layer.apply, train=True), mesh=mesh,
    in_specs=(P(), P(), P(("a", "b"))), out_specs=(P(("a", "b")), P()),
)

def outcome(apply):
    def loss(params, x):
        y, after = apply(params, state, x)
        return (y * c).sum(), (y, after)
    return jax.jit(jax.grad(loss, argnums=(0, 1), has_aux=True))(params, x)

for ours, theirs in zip(
    jax.tree.leaves(outcome(sharded)),
    jax.tree.leaves(outcome(partial(one.apply, train=True))), strict=True,
):
    np.testing.assert_allclose(ours, theirs, rtol=2e-5, atol=2e-5)

spread = jax.device_put(x, jax.NamedSharding(mesh, P(("a", "b"))))
y, after = jax.jit(partial(one.apply, train=True))(params, state, spread)
assert len(y.sharding.device_set) == 4  # no axis_name: one program, the whole batch
np.testing.assert_allclose(y, one.apply(params, state, x, train=True)[0], rtol=1e-4,
                           atol=1e-5)
print("equal")
"""


def test_synchronized_over_four_devices_is_the_whole_batch(monkeypatch):
    own = os.environ.get("XLA_FLAGS", "")
    flags = f"{own} --xla_force_host_platform_device_count=4"
    monkeypatch.setenv("XLA_FLAGS", flags)
    monkeypatch.setenv("JAX_PLATFORMS", "cpu")
    command = [sys.executable, "-c", SHARDED]
    run = subprocess.run(command, capture_output=True, text=True)
    assert run.stdout.strip() == "equal", run.stderr[-3000:]


def test_one_value_on_each_of_several_parts_is_enough(key):
    x, layer = jnp.array([[[1.0]], [[3.0]]]), nn.BatchNorm(axis_name="part")
    params, state = layer.init(key, x[0])
    apply = partial(layer.apply, params, state, train=True)
    y, after = jax.vmap(apply, axis_name="part", out_axes=(0, None))(x)
    np.testing.assert_allclose(y.ravel(), [-1, 1], rtol=1e-4)
    np.testing.assert_allclose(after["var"], [0.9 + 0.1 * 2], rtol=1e-6)


def test_an_axis_that_is_not_mapped_is_named(key):
    layer = nn.BatchNorm(axis_name="devices")
    params, state = layer.init(key, PICTURES)
    with pytest.raises(ValueError, match="axis_name='devices' must be an axis mapped"):
        layer.apply(params, state, jnp.asarray(PICTURES), train=True)
    layer.apply(params, state, jnp.asarray(PICTURES))  # evaluation needs none


@pytest.mark.parametrize("layer", [nn.BatchNorm(), nn.BatchNorm(axis_name="devices")])
def test_init_and_summary_take_one_example_and_need_no_mapped_axis(layer, key):
    net = nn.Sequential(nn.Dense(3), nn.Remat(nn.Sequential(layer)), nn.Dense(2))
    chex.assert_trees_all_equal(
        net.init(key, jnp.ones((1, 4))), net.init(key, jnp.ones((5, 4)))
    )
    assert nn.summary(net, jnp.ones((1, 4))).parameters == 15 + 6 + 8
    params, state = net.init(key, jnp.ones((1, 4)))
    with pytest.raises(ValueError, match=r"more than one value|must be an axis"):
        net.apply(params, state, jnp.ones((1, 4)), train=True)


def test_fit_trains_and_resumes_bit_for_bit(key, tmp_path):
    net = nn.Sequential(nn.Dense(8, bias=False), nn.BatchNorm(), jnp.tanh, nn.Dense(2))
    x = RNG.standard_normal((50, 4)).astype(np.float32) * 3 + 5
    y = (x[:, 0] > x[:, 1]).astype(np.int32)
    run = partial(
        nn.fit,
        net,
        (x, y),
        loss=nn.losses.softmax_cross_entropy,
        optimizer=optax.adam(0.03),
        batch_size=16,
        key=key,
        progress=False,
    )
    whole, history = run(epochs=8, metrics={"accuracy": nn.metrics.accuracy})
    half, _ = run(epochs=3)
    nn.save(tmp_path / "half", half)
    rest, _ = run(epochs=8, state=nn.load(tmp_path / "half", like=half))
    chex.assert_trees_all_equal(whole._replace(key=0), rest._replace(key=0))
    assert history["accuracy"][-1] > 0.9
    assert trees.paths(whole.state).keys() == {"batch_norm_1/mean", "batch_norm_1/var"}
    right = nn.evaluate(net, whole, (x, y), metrics={"accuracy": nn.metrics.accuracy})
    assert right["accuracy"] > 0.9  # by the running statistics


def test_summary_counts_parameters_and_not_state():
    (row,) = nn.summary(nn.BatchNorm(), PICTURES).rows
    assert (row.parameters, row.output) == (12, "float32[8,4,4,6]")


# The other layers


def test_groups_of_one_channel_are_instances(key):
    params, _ = nn.InstanceNorm().init(key, PICTURES)
    x = jnp.asarray(PICTURES)
    y, _ = nn.GroupNorm(6).apply(params, {}, x)
    chex.assert_trees_all_close(y, nn.InstanceNorm().apply(params, {}, x)[0], **KEEP)


@pytest.mark.parametrize(("size", "channels"), [(1, 4), (4, 6), (5, 6), (5, 2)])
def test_local_response_norm_is_its_formula(size, channels):
    """Loops over channels; torch's window for even sizes begins one earlier."""
    x = RNG.standard_normal((2, 3, channels)) * 3
    layer = nn.LocalResponseNorm(size, alpha=0.3, beta=0.6, k=1.5)
    expected = np.empty_like(x)
    for c in range(channels):
        around = x[..., max(0, c - size // 2) : c + (size - 1) // 2 + 1]
        s = (around**2).sum(-1)
        expected[..., c] = x[..., c] / (1.5 + 0.3 / size * s) ** 0.6
    y, _ = layer.apply({}, {}, jnp.asarray(x, jnp.float32))
    np.testing.assert_allclose(y, expected, **KEEP)


@pytest.mark.parametrize("wrapper", [nn.WeightNorm, nn.SpectralNorm])
def test_wrapping_changes_no_first_weights(wrapper, key):
    x = jnp.asarray(PICTURES)
    plain, _ = nn.Conv(5, 3).init(key, x)
    params, _ = wrapper(nn.Conv(5, 3)).init(key, x)
    for name, value in plain.items():
        chex.assert_trees_all_equal(params[name], value)


def test_weight_norm_begins_as_the_layer_alone(key):
    x = jnp.asarray(PICTURES)
    params, state = nn.WeightNorm(nn.Dense(5)).init(key, x)
    y, _ = nn.WeightNorm(nn.Dense(5)).apply(params, state, x)
    plain = {"w": params["w"], "b": params["b"]}
    chex.assert_trees_all_equal(y, nn.Dense(5).apply(plain, {}, x)[0])


def test_weight_norm_sets_length_apart_from_direction():
    v, scale = jnp.asarray(RNG.standard_normal((3, 2, 4))), jnp.arange(1.0, 5)
    w = weight_norm(v, scale)
    np.testing.assert_allclose(np.linalg.norm(w.reshape(-1, 4), axis=0), scale, 1e-6)
    chex.assert_trees_all_close(weight_norm(7 * v, scale), w, **KEEP)


def test_a_column_of_zeros_has_no_nan():
    def loss(v, scale):
        return (weight_norm(v, scale) ** 2 + weight_norm(v, scale)).sum()

    v = jnp.array([[0.0, 1.0], [0.0, 2.0]])
    for scale in (jnp.ones(2), jnp.zeros(2)):
        chex.assert_tree_all_finite(jax.grad(loss, argnums=(0, 1))(v, scale))
    assert weight_norm(v, jnp.ones(2))[:, 0].tolist() == [0, 0]


def test_spectral_norm_divides_by_the_largest_singular_value(key):
    layer, x = nn.SpectralNorm(nn.Conv(5, 3, bias=False)), jnp.asarray(PICTURES)
    params, state = layer.init(key, x)
    for _ in range(30):
        _, state = layer.apply(params, state, x, train=True)
    w = np.asarray(params["w"], np.float64).reshape(-1, 5)
    largest = np.linalg.svd(w, compute_uv=False)[0]
    ours = spectral_norm(params["w"], state["u"], state["v"])
    np.testing.assert_allclose(ours.reshape(-1, 5), w / largest, rtol=1e-4, atol=1e-6)
    expected, _ = nn.Conv(5, 3, bias=False).apply({"w": ours}, {}, x)
    chex.assert_trees_all_close(layer.apply(params, state, x)[0], expected, **KEEP)


def test_a_matrix_of_zeros_has_no_nan_and_recovers(key):
    layer, x = nn.SpectralNorm(nn.Dense(3, bias=False)), jnp.ones((2, 4))
    params, state = layer.init(key, x)

    def loss(params, state):
        y, state = layer.apply(params, state, x, train=True)
        return (y**2 + y).sum(), state

    none = jax.tree.map(jnp.zeros_like, params)
    gradient, state = jax.grad(loss, has_aux=True)(none, state)
    chex.assert_tree_all_finite((gradient, state))
    w = params["w"]
    u, v = power_iteration(w, state["u"], state["v"], 50)
    largest = jnp.linalg.norm(spectral_norm(w, u, v), 2)
    np.testing.assert_allclose(largest, 1, rtol=1e-5)


@pytest.mark.parametrize("wrapper", [nn.WeightNorm, nn.SpectralNorm])
def test_wrappers_hand_on_the_state_of_their_layer(wrapper, key):
    class Scaled(nn.Layer):
        """A Dense that counts its training steps."""

        def init(self, key, x):
            return nn.Dense(2).init(key, x)[0], {"steps": jnp.zeros(())}

        def apply(self, params, state, x, *, key=None, train=False):
            y, _ = nn.Dense(2).apply(params, {}, x)
            return y, {"steps": state["steps"] + int(train)}

    layer, x = wrapper(Scaled()), jnp.ones((2, 3))
    params, state = layer.init(key, x)
    for _ in range(2):
        _, state = layer.apply(params, state, x, train=True)
    assert state["steps"] == 2


def test_wrapped_children_keep_their_paths(key):
    net = nn.Sequential(nn.WeightNorm(nn.Dense(4)), nn.SpectralNorm(nn.Dense(2)))
    params, state = net.init(key, jnp.ones((2, 3)))
    assert list(params) == ["weight_norm_1", "spectral_norm_1"]
    assert list(trees.paths(state)) == ["spectral_norm_1/u", "spectral_norm_1/v"]


def test_spatial_dropout_drops_whole_channels_of_each_example(key):
    layer, x = nn.SpatialDropout(0.25), jnp.ones((40, 3, 2, 50))
    y, _ = layer.apply({}, {}, x, key=key, train=True)
    channels = y[:, 0, 0]
    chex.assert_trees_all_equal(y, jnp.broadcast_to(channels[:, None, None], y.shape))
    assert not (channels[0] == channels[1]).all()
    assert abs(float((channels == 0).mean()) - 0.25) < 0.03
    np.testing.assert_allclose(channels.max(), 4 / 3, rtol=1e-6)


@pytest.mark.parametrize("rate", [0, 1])
def test_spatial_dropout_drops_nothing_or_everything(rate, key):
    x = jnp.asarray(PICTURES)
    y, _ = nn.SpatialDropout(rate).apply({}, {}, x, key=key, train=True)
    chex.assert_trees_all_equal(y, x * (1 - rate))


def test_squeeze_excite_is_its_formula(key):
    layer, x = nn.SqueezeExcite(3), PICTURES.astype(np.float64)
    params, _ = layer.init(key, jnp.asarray(PICTURES))
    first, second = (
        (np.asarray(params[n]["w"], np.float64), np.asarray(params[n]["b"]))
        for n in ("squeeze", "excite")
    )
    z = np.maximum(x.mean((1, 2)) @ first[0] + first[1], 0)
    gate = 1 / (1 + np.exp(-(z @ second[0] + second[1])))
    y, _ = layer.apply(params, {}, jnp.asarray(PICTURES))
    np.testing.assert_allclose(y, x * gate[:, None, None], **KEEP)
    assert params["squeeze"]["w"].shape == (6, 2)


def test_squeeze_excite_keeps_at_least_one_feature(key):
    params, _ = nn.SqueezeExcite(16).init(key, PICTURES)
    assert params["squeeze"]["w"].shape == (6, 1)


# Bad input


@pytest.mark.parametrize(
    ("build", "said"),
    [
        (lambda: nn.BatchNorm(eps=0), "BatchNorm: eps must be a number above 0, got 0"),
        (lambda: nn.BatchNorm(momentum=1.5), "BatchNorm: momentum must be from 0 to 1"),
        (lambda: nn.BatchNorm(scale=1), "BatchNorm: scale must be True or False"),
        (lambda: nn.BatchNorm(axis_name=0), "BatchNorm: axis_name must be a name"),
        (lambda: nn.LayerNorm(eps=-1.0), "LayerNorm: eps must be"),
        (lambda: nn.LayerNorm(offset="no"), "LayerNorm: offset must be True or False"),
        (lambda: nn.GroupNorm(0), "GroupNorm: groups must be a positive int, got 0"),
        (lambda: nn.GroupNorm(2, eps=float("nan")), "GroupNorm: eps must be"),
        (lambda: nn.InstanceNorm(eps="1"), "InstanceNorm: eps must be"),
        (lambda: nn.RMSNorm(eps=0.0), "RMSNorm: eps must be"),
        (lambda: nn.LocalResponseNorm(0), "LocalResponseNorm: size must be a positive"),
        (lambda: nn.LocalResponseNorm(k=0), "LocalResponseNorm: k must be a number"),
        (lambda: nn.WeightNorm(3), "WeightNorm: a layer must be an nn.Layer"),
        (lambda: nn.SpectralNorm(nn.Dense(3), 0), "SpectralNorm: iterations must be"),
        (lambda: nn.SpatialDropout(2), "SpatialDropout: rate must be from 0 to 1"),
        (lambda: nn.SqueezeExcite(0.5), "SqueezeExcite: reduction must be a positive"),
    ],
)
def test_hyperparameters_are_checked_when_built(build, said):
    with pytest.raises((ValueError, TypeError)) as caught:
        build()
    assert str(caught.value).startswith(said)


@pytest.mark.parametrize(
    ("layer", "shape", "said"),
    [
        (nn.GroupNorm(4), (2, 3, 3, 6), "groups=4 for 6 channels: float32[2,3,3,6]"),
        (nn.GroupNorm(4), (2, 3, 3, 6), "6 can be split into 1, 2, 3, 6"),
        (nn.InstanceNorm(), (2, 1, 1, 6), "more than one position per channel"),
        (nn.InstanceNorm(), (2, 6), "at least 3 axes"),
        (nn.SpatialDropout(0.5), (2, 6), "at least 3 axes"),
        (nn.SqueezeExcite(), (2, 6), "at least 3 axes"),
        (nn.BatchNorm(), (6,), "at least 2 axes"),
        (nn.WeightNorm(nn.Dense(2), name="v"), (2, 3), "got 'v'; it has w, b"),
        (nn.WeightNorm(nn.Dense(2), name="b"), (2, 3), "two axes or more"),
        (nn.WeightNorm(nn.Flatten()), (2, 3), "it has none"),
        (nn.WeightNorm(nn.WeightNorm(nn.Dense(2))), (2, 3), "'scale' of its own"),
        (nn.SpectralNorm(nn.SpectralNorm(nn.Dense(2))), (2, 3), "'u' of its own"),
        (nn.SpectralNorm(nn.Dense(2), name="w2"), (2, 3), "(nearest: 'w')"),
    ],
)
def test_inputs_are_checked(layer, shape, said, key):
    with pytest.raises(ValueError, match=r"^[A-Z]\w+: ") as caught:
        x = jnp.ones(shape)
        layer.apply(*layer.init(key, x), x, train=True)
    assert said in str(caught.value)
