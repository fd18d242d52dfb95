"""PyTorch as the oracle of recurrence: outputs, carries, gradients, weights."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxnn as nn

torch = pytest.importorskip("torch")

LENGTHS = np.array([5, 2, 1])
X = np.random.default_rng(0).standard_normal((3, 5, 4)).astype(np.float32)
KINDS = {"rnn": torch.nn.RNN, "gru": torch.nn.GRU, "lstm": torch.nn.LSTM}


def close(ours, theirs):
    theirs = theirs.detach().numpy() if hasattr(theirs, "detach") else theirs
    np.testing.assert_allclose(ours, theirs, rtol=2e-5, atol=2e-6)


def module(kind, **options):
    torch.manual_seed(1)
    return KINDS[kind](4, 3, batch_first=True, **options)


def arrays(net):
    return {name: a.detach().numpy().copy() for name, a in net.state_dict().items()}


def packed(theirs, x):
    pack = torch.nn.utils.rnn.pack_padded_sequence
    y, carry = theirs(pack(x, torch.tensor(LENGTHS), batch_first=True))
    return torch.nn.utils.rnn.pad_packed_sequence(y, batch_first=True)[0], carry


@pytest.mark.parametrize("kind", KINDS)
def test_a_stack_in_both_directions_is_pytorchs(kind):
    """Of padded sequences: outputs, final carries, gradients by inputs and weights."""
    theirs = module(kind, num_layers=2, bidirectional=True)
    net = getattr(nn, kind)(3, layers=2, bidirectional=True)
    params, state = nn.io.from_torch(net, X, theirs.state_dict())
    c = np.random.default_rng(1).standard_normal((3, 5, 6)).astype(np.float32)

    @jax.jit
    def step(params, x):
        def loss(params, x):
            out, _ = net.apply(params, state, nn.Sequences(x, jnp.array(LENGTHS)))
            y, _, carry = out
            return (c * y).sum() + sum(map(jnp.sum, jax.tree.leaves(carry))), out

        return jax.grad(loss, argnums=(0, 1), has_aux=True)(params, x)

    (by_params, by_x), (y, _, carry) = step(params, X)
    x = torch.tensor(X, requires_grad=True)
    y_there, carry_there = packed(theirs, x)
    carries = carry_there if kind == "lstm" else (carry_there,)
    (sum(a.sum() for a in carries) + (torch.tensor(c) * y_there).sum()).backward()

    close(y, y_there)
    close(by_x, x.grad)
    for name, a in zip(("h", "c"), carries, strict=False):
        ways = [(i, way) for i in (1, 2) for way in ("forward", "backward")]
        ours = [carry[f"layer{i}"][way][name] for i, way in ways]
        close(np.stack(ours), a)
    gradients = nn.io.to_torch(net, (by_params, state))
    for name, a in theirs.named_parameters():
        if not name.startswith("bias_hh") or kind == "gru":  # elsewhere a sum
            close(gradients[name], a.grad)


@pytest.mark.parametrize("kind", KINDS)
def test_weights_go_to_pytorch_and_back(kind):
    net = nn.Sequential(body=getattr(nn, kind)(3, layers=2), head=nn.Dense(2))
    params, state = net.init(jax.random.key(0), X)
    given = nn.io.to_torch(net, (params, state))
    theirs = torch.nn.ModuleDict(
        {"body": module(kind, num_layers=2), "head": torch.nn.Linear(3, 2)}
    )
    theirs.load_state_dict({name: torch.from_numpy(a) for name, a in given.items()})
    y = theirs["head"](theirs["body"](torch.tensor(X))[0])
    close(net.apply(params, state, X)[0], y)
    back, _ = nn.io.from_torch(net, X, given)
    jax.tree.map(np.testing.assert_array_equal, back, params)


def test_a_single_layer_loads_in_order_and_without_bias():
    theirs = torch.nn.Sequential(module("lstm", bias=False))
    layer = nn.Recurrent(nn.LSTMCell(3, bias=False))
    params, _ = nn.io.from_torch(nn.Sequential(memory=layer), X, theirs.state_dict())
    assert list(params["memory"]["input"]) == ["w"]
    y, _ = layer.apply(params["memory"], {}, X)
    close(y, theirs(torch.tensor(X))[0])


def test_a_relu_network_and_a_carry_to_start_from():
    theirs = module("rnn", nonlinearity="relu")
    layer = nn.Recurrent(nn.RNNCell(3, activation=jax.nn.relu))
    params, _ = nn.io.from_torch(layer, X, theirs.state_dict())
    h = np.ones((3, 3), np.float32)
    out, _ = layer.apply(params, {}, nn.Sequences(X, carry={"h": h}))
    y, last = theirs(torch.tensor(X), torch.tensor(h)[None])
    close(out.x, y)
    close(out.carry["h"], last[0])


def test_a_flattened_sequence_keeps_its_order():
    class Theirs(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.memory, self.head = module("gru"), torch.nn.Linear(15, 2)

        def forward(self, x):
            return self.head(self.memory(x)[0].flatten(1))

    theirs = Theirs()
    net = nn.Sequential(memory=nn.gru(3), flat=nn.Flatten(), head=nn.Dense(2))
    params, state = nn.io.from_torch(net, X, theirs.state_dict())
    close(net.apply(params, state, X)[0], theirs(torch.tensor(X)))


@pytest.mark.parametrize(
    "cell", [nn.LSTMCell(3, peepholes=True), nn.ConvLSTMCell(3, (1,))]
)
def test_a_cell_that_pytorch_has_not_is_refused(cell):
    net, x = nn.Recurrent(cell), np.ones((1, 2, 4), np.float32)
    x = x[:, :, None] if isinstance(cell, nn.ConvLSTMCell) else x
    with pytest.raises(TypeError, match="no counterpart in PyTorch"):
        nn.io.from_torch(net, x, {})
