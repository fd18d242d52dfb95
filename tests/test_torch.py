"""PyTorch as the oracle of layers and of whole training runs."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import jaxnn as nn
from jaxnn import trees

torch = pytest.importorskip("torch")

X = np.random.default_rng(0).standard_normal((12, 5)).astype(np.float32)
Y = np.random.default_rng(1).integers(0, 3, 12)


def linear(params):
    """A torch layer with the weights of a Dense; its matrix is transposed."""
    layer = torch.nn.Linear(*params["w"].shape)
    with torch.no_grad():
        layer.weight.copy_(torch.tensor(np.asarray(params["w"]).T.copy()))
        layer.bias.copy_(torch.tensor(np.array(params["b"])))
    return layer


def compare(layer, theirs, params):
    """Outputs and the gradients by the input agree."""
    x = torch.tensor(X, requires_grad=True)
    y = theirs(x)
    (y**2).sum().backward()
    ours, _ = layer.apply(params, {}, jnp.asarray(X))
    chex.assert_trees_all_close(ours, y.detach().numpy(), rtol=1e-5, atol=1e-6)
    slope = jax.grad(lambda x: (layer.apply(params, {}, x)[0] ** 2).sum())(
        jnp.asarray(X)
    )
    chex.assert_trees_all_close(slope, x.grad.numpy(), rtol=1e-4, atol=1e-5)


def test_dense(key):
    params, _ = nn.Dense(7).init(key, X)
    params["b"] = jnp.arange(7.0)
    compare(nn.Dense(7), linear(params), params)


@pytest.mark.parametrize("per_channel", [False, True])
def test_prelu(per_channel, key):
    layer = nn.PReLU(0.3, per_channel=per_channel)
    params, _ = layer.init(key, X)
    theirs = torch.nn.PReLU(5 if per_channel else 1, init=0.3)
    compare(layer, theirs, params)


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        (jax.nn.relu, torch.nn.ReLU()),
        (jax.nn.sigmoid, torch.nn.Sigmoid()),
        (jnp.tanh, torch.nn.Tanh()),
        (jax.nn.elu, torch.nn.ELU()),
        (jax.nn.selu, torch.nn.SELU()),
        (jax.nn.softplus, torch.nn.Softplus()),
        (jax.nn.leaky_relu, torch.nn.LeakyReLU()),
        (jax.nn.softmax, torch.nn.Softmax(dim=-1)),
        (nn.Flatten(), torch.nn.Flatten()),
    ],
    ids=lambda value: getattr(value, "__name__", repr(value)),
)
def test_activations(ours, theirs):
    net = nn.Sequential(ours)
    compare(net, theirs, {})


@pytest.mark.parametrize(
    ("optimizer", "theirs"),
    [
        (optax.sgd(0.1), lambda p: torch.optim.SGD(p, 0.1)),
        (optax.sgd(0.1, momentum=0.9), lambda p: torch.optim.SGD(p, 0.1, momentum=0.9)),
        (optax.adam(0.01), lambda p: torch.optim.Adam(p, 0.01)),
        (
            optax.adagrad(0.1, initial_accumulator_value=0.0, eps=1e-10),
            lambda p: torch.optim.Adagrad(p, 0.1),
        ),
    ],
    ids=["sgd", "momentum", "adam", "adagrad"],
)
def test_fit_is_torchs_training_loop(optimizer, theirs, key):
    """Three epochs of mini-batches in order: the same parameters in the end."""
    net = nn.Sequential(nn.Dense(8), jnp.tanh, nn.Dense(3))
    start = nn.train_state(net, optimizer, X, key=key)
    first, second = (linear(start.params[f"dense_{i}"]) for i in (1, 2))
    model = torch.nn.Sequential(first, torch.nn.Tanh(), second)
    descent, loss = theirs(model.parameters()), torch.nn.CrossEntropyLoss()
    losses = []
    for _ in range(3):
        for i in range(0, 12, 5):  # batches of 5, 5 and 2
            descent.zero_grad()
            x, y = torch.tensor(X[i : i + 5]), torch.tensor(Y[i : i + 5])
            value = loss(model(x), y)
            value.backward()
            descent.step()
            losses.append(value.item())
    state, history = nn.fit(
        net,
        (X, Y),
        loss=nn.losses.softmax_cross_entropy,
        optimizer=optimizer,
        epochs=3,
        batch_size=5,
        state=start,
        shuffle=False,
    )
    np.testing.assert_allclose(history.step_losses, losses, rtol=1e-4)
    trained = trees.paths(state.params)
    for i, layer in enumerate((first, second), 1):
        w = layer.weight.detach().numpy().T
        np.testing.assert_allclose(trained[f"dense_{i}/w"], w, rtol=1e-3, atol=1e-5)
