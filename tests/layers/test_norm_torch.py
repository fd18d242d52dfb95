"""PyTorch as the oracle of normalization: outputs, gradients, running statistics."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxnn as nn

torch = pytest.importorskip("torch")

DTYPES = ["float32", "float64"]
TOLERANCE = {"float32": (2e-4, 2e-5), "float64": (1e-9, 1e-10)}
STEPS = 3


def numbers(seed, shape, dtype):
    return np.random.default_rng(seed).standard_normal(shape).astype(dtype)


def first(a):
    """Channels second, as PyTorch has them."""
    return torch.tensor(np.moveaxis(np.asarray(a), -1, 1).copy())


def last(a):
    return np.moveaxis(a.detach().numpy(), 1, -1)


def same(ours, theirs, dtype):
    rtol, atol = TOLERANCE[dtype]
    np.testing.assert_allclose(ours, theirs, rtol=rtol, atol=atol)


def step(layer, train, params, state, x, c):
    """Outputs, new state, and the gradients of Σ c·y by parameters and inputs."""

    def loss(params, x):
        y, after = layer.apply(params, state, x, train=train)
        return (c * y).sum(), (y, after)

    gradients, aux = jax.grad(loss, argnums=(0, 1), has_aux=True)(params, x)
    return *aux, *gradients


def jitted(layer, train):
    return jax.jit(partial(step, layer, train))


def torch_step(theirs, x, c):
    """Outputs and the gradient by the inputs; the parameters' stay in the module."""
    theirs.zero_grad()
    x.requires_grad_(True)
    y = theirs(x)
    (c * y).sum().backward()
    return y, x.grad


def give(theirs, params):
    """A torch module the scale and offset of ours."""
    with torch.no_grad():
        for name, ours in (("weight", "scale"), ("bias", "offset")):
            if ours in params:
                getattr(theirs, name).copy_(torch.tensor(np.array(params[ours])))


def random_affine(layer, x, dtype):
    params, state = layer.init(jax.random.key(0), x)
    for seed, name in enumerate(params):
        params[name] = jnp.asarray(1 + numbers(seed + 5, params[name].shape, dtype))
    return params, state


def check_affine(layer, theirs, shape, dtype, into=first, back=last):
    """The same outputs and gradients; there is no state."""
    with jax.enable_x64(dtype == "float64"):
        x, c = (jnp.asarray(numbers(s, shape, dtype) * 2 + 1) for s in (1, 2))
        params, state = random_affine(layer, x, dtype)
        theirs = theirs.to(getattr(torch, dtype))
        give(theirs, params)
        for train in (True, False):
            theirs.train(train)
            y, _, by_params, by_x = jitted(layer, train)(params, state, x, c)
            expected, slope = torch_step(theirs, into(x), into(c))
            same(y, back(expected), dtype)
            same(by_x, back(slope), dtype)
            for name, attribute in (("scale", "weight"), ("offset", "bias")):
                if name in params:
                    same(by_params[name], getattr(theirs, attribute).grad, dtype)


BATCH_NORMS = [
    ((7, 3), {}, torch.nn.BatchNorm1d),
    ((4, 5, 3), {"eps": 1e-2}, torch.nn.BatchNorm1d),
    ((2, 3, 4, 5), {"momentum": 0.7}, torch.nn.BatchNorm2d),
    ((3, 4, 2, 3), {"scale": False, "offset": False}, torch.nn.BatchNorm2d),
    ((2, 2, 3, 2, 4), {}, torch.nn.BatchNorm3d),
]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("shape", "options", "kind"), BATCH_NORMS)
def test_batch_norm(shape, options, kind, dtype):
    """Three steps of training and an evaluation: all that there is to compare."""
    layer = nn.BatchNorm(**options)
    theirs = kind(
        shape[-1],
        eps=layer.eps,
        momentum=1 - layer.momentum,
        affine=layer.scale,
        dtype=getattr(torch, dtype),
    )
    with jax.enable_x64(dtype == "float64"):
        x, c = (jnp.asarray(numbers(s, shape, dtype)) for s in (1, 2))
        params, state = random_affine(layer, x, dtype)
        give(theirs, params)
        training, evaluation = jitted(layer, True), jitted(layer, False)
        for i in range(STEPS + 1):
            train = i < STEPS
            run = training if train else evaluation
            theirs.train(train)
            given = x * (i + 1) + i
            y, state, by_params, by_x = run(params, state, given, c)
            expected, slope = torch_step(theirs, first(given), first(c))
            same(y, last(expected), dtype)
            same(by_x, last(slope), dtype)
            if params:
                same(by_params["scale"], theirs.weight.grad, dtype)
                same(by_params["offset"], theirs.bias.grad, dtype)
            same(state["mean"], theirs.running_mean, dtype)
            same(state["var"], theirs.running_var, dtype)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", [(4, 6), (3, 2, 5), (2, 3, 2, 4)])
@pytest.mark.parametrize("affine", [True, False])
def test_layer_norm(shape, affine, dtype):
    layer = nn.LayerNorm(scale=affine, offset=affine)
    theirs = torch.nn.LayerNorm(shape[-1], elementwise_affine=affine)
    to, back = (lambda a: torch.tensor(np.asarray(a))), (lambda a: a.detach().numpy())
    check_affine(layer, theirs, shape, dtype, to, back)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", [(4, 6), (3, 2, 5)])
def test_rms_norm(shape, dtype):
    layer = nn.RMSNorm(eps=1e-3)
    theirs = torch.nn.RMSNorm(shape[-1], eps=1e-3)
    to, back = (lambda a: torch.tensor(np.asarray(a))), (lambda a: a.detach().numpy())
    check_affine(layer, theirs, shape, dtype, to, back)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(
    ("shape", "groups", "affine"),
    [
        ((3, 6), 2, True),
        ((3, 5, 6), 3, True),
        ((2, 3, 4, 6), 1, False),
        ((2, 3, 4, 6), 2, True),
        ((2, 2, 2, 3, 4), 4, True),
    ],
)
def test_group_norm(shape, groups, affine, dtype):
    layer = nn.GroupNorm(groups, scale=affine, offset=affine)
    theirs = torch.nn.GroupNorm(groups, shape[-1], affine=affine)
    check_affine(layer, theirs, shape, dtype)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(
    ("shape", "kind", "affine"),
    [
        ((3, 5, 4), torch.nn.InstanceNorm1d, True),
        ((2, 3, 4, 3), torch.nn.InstanceNorm2d, False),
        ((2, 3, 2, 2, 3), torch.nn.InstanceNorm3d, True),
    ],
)
def test_instance_norm(shape, kind, affine, dtype):
    layer = nn.InstanceNorm(scale=affine, offset=affine)
    check_affine(layer, kind(shape[-1], affine=affine), shape, dtype)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(
    ("shape", "size", "options"),
    [
        ((2, 3, 4, 7), 5, {}),
        ((2, 3, 4, 7), 4, {"alpha": 0.5, "beta": 0.4, "k": 2.0}),
        ((3, 4, 2), 3, {"alpha": 2.0}),
        ((2, 2, 2, 3, 3), 2, {"beta": 1.0}),
    ],
)
def test_local_response_norm(shape, size, options, dtype):
    layer = nn.LocalResponseNorm(size, **options)
    check_affine(layer, torch.nn.LocalResponseNorm(size, **options), shape, dtype)


def our_weight(w):
    """PyTorch's `[F, C, ...]` as `[..., C, F]`."""
    return np.moveaxis(w, (0, 1), (-1, -2)) if w.ndim > 2 else w.T


def torch_weight(w):
    """`[..., C, F]` as PyTorch's `[F, C, ...]`."""
    w = np.asarray(w)
    return torch.tensor((np.moveaxis(w, (-1, -2), (0, 1)) if w.ndim > 2 else w.T) + 0)


WRAPPED = [
    (nn.Dense(4), lambda: torch.nn.Linear(3, 4), (5, 3)),
    (
        nn.Conv(4, 3, padding="VALID"),
        lambda: torch.nn.Conv2d(3, 4, 3),
        (2, 4, 5, 3),
    ),
]


def wrap(layer, make, x, dtype):
    """Our parameters and state, and a torch layer with the same weights."""
    params, state = layer.init(jax.random.key(0), x)
    theirs = make().to(getattr(torch, dtype))
    with torch.no_grad():
        theirs.weight.copy_(torch_weight(params["w"]))
        params["b"] = jnp.asarray(numbers(3, params["b"].shape, dtype))
        theirs.bias.copy_(torch.tensor(np.array(params["b"])))
    return params, state, theirs


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("inner", "make", "shape"), WRAPPED)
def test_weight_norm(inner, make, shape, dtype):
    layer = nn.WeightNorm(inner)
    with jax.enable_x64(dtype == "float64"):
        x = jnp.asarray(numbers(1, shape, dtype))
        params, state, theirs = wrap(layer, make, x, dtype)
        torch.nn.utils.parametrizations.weight_norm(theirs)
        weight = theirs.parametrizations.weight
        same(params["scale"], weight.original0.detach().ravel(), dtype)
        params["scale"] = jnp.asarray(numbers(4, params["scale"].shape, dtype))
        with torch.no_grad():
            own = torch.tensor(np.array(params["scale"]))
            weight.original0.copy_(own.reshape(weight.original0.shape))
        c = numbers(2, inner.apply(params, {}, x)[0].shape, dtype)
        y, _, by_params, by_x = jitted(layer, True)(params, state, x, jnp.asarray(c))
        expected, slope = torch_step(theirs, first(x), first(c))
        same(y, last(expected), dtype)
        same(by_x, last(slope), dtype)
        same(by_params["scale"], weight.original0.grad.ravel(), dtype)
        same(by_params["w"], our_weight(weight.original1.grad.numpy()), dtype)
        same(by_params["b"], theirs.bias.grad, dtype)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("iterations", [1, 3])
@pytest.mark.parametrize(("inner", "make", "shape"), WRAPPED)
def test_spectral_norm(inner, make, shape, iterations, dtype):
    """Weights change from step to step; then an evaluation with the last u and v."""
    layer = nn.SpectralNorm(inner, iterations)
    with jax.enable_x64(dtype == "float64"):
        x = jnp.asarray(numbers(1, shape, dtype))
        params, state, theirs = wrap(layer, make, x, dtype)
        for seed, name in enumerate(("u", "v")):  # far from what they come to
            state[name] = jnp.asarray(numbers(seed + 5, state[name].shape, dtype))
            state[name] /= jnp.linalg.norm(state[name])
        torch.nn.utils.parametrizations.spectral_norm(
            theirs, n_power_iterations=iterations
        )
        weight = theirs.parametrizations.weight
        kernel = params["w"].shape[:-1]
        order = np.moveaxis(
            np.arange(np.prod(kernel)).reshape(kernel), -1, 0
        ).ravel()  # of PyTorch's v: channels before positions
        with torch.no_grad():
            weight[0]._u.copy_(torch.tensor(np.array(state["u"])))
            weight[0]._v.copy_(torch.tensor(np.array(state["v"])[order]))
        c = numbers(2, inner.apply(params, {}, x)[0].shape, dtype)
        training, evaluation = jitted(layer, True), jitted(layer, False)
        for i in range(STEPS + 1):
            train = i < STEPS
            run = training if train else evaluation
            theirs.train(train)
            y, state, by_params, by_x = run(params, state, x, jnp.asarray(c))
            expected, slope = torch_step(theirs, first(x), first(c))
            same(y, last(expected), dtype)
            same(by_x, last(slope), dtype)
            same(by_params["w"], our_weight(weight.original.grad.numpy()), dtype)
            same(state["u"], weight[0]._u, dtype)
            same(np.asarray(state["v"])[order], weight[0]._v, dtype)
            params["w"] = params["w"] - 0.1 * by_params["w"]
            with torch.no_grad():
                weight.original.copy_(torch_weight(params["w"]))


def test_spatial_dropout_in_evaluation_and_scale_in_training():
    """The masks are drawn otherwise; what is kept, and by how much, is the same."""
    x = numbers(1, (4, 3, 2, 30), "float32")
    ours, _ = nn.SpatialDropout(0.3).apply(
        {}, {}, jnp.asarray(x), key=jax.random.key(0), train=True
    )
    theirs = last(torch.nn.Dropout2d(0.3)(first(x)))
    for y in (np.asarray(ours), theirs):
        ratio = np.unique((y / x).round(4))
        np.testing.assert_allclose(ratio, [0, 1 / 0.7], atol=1e-4)
        kept = (y != 0).reshape(4, 6, 30)
        assert (kept == kept[:, :1]).all()


def test_squeeze_excite():
    """Against the same net of torch's layers, gradients too."""
    x, c = (numbers(s, (2, 3, 4, 6), "float32") for s in (1, 2))
    layer = nn.SqueezeExcite(2)
    params, state = layer.init(jax.random.key(0), x)
    first_linear, second_linear = torch.nn.Linear(6, 3), torch.nn.Linear(3, 6)
    with torch.no_grad():
        for linear, name in ((first_linear, "squeeze"), (second_linear, "excite")):
            linear.weight.copy_(torch_weight(params[name]["w"]))
            params[name]["b"] = params[name]["b"] + 0.5
            linear.bias.copy_(torch.tensor(np.array(params[name]["b"])))
    z = first(x).requires_grad_(True)
    gate = second_linear(torch.relu(first_linear(z.mean((2, 3))))).sigmoid()
    y = z * gate[:, :, None, None]
    (y * first(c)).sum().backward()
    ours, _, by_params, by_x = jitted(layer, True)(
        params, state, jnp.asarray(x), jnp.asarray(c)
    )
    same(ours, last(y), "float32")
    same(by_x, last(z.grad), "float32")
    for linear, name in ((first_linear, "squeeze"), (second_linear, "excite")):
        same(by_params[name]["w"], linear.weight.grad.numpy().T, "float32")
        same(by_params[name]["b"], linear.bias.grad, "float32")
