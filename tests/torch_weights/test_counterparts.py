# SPDX-License-Identifier: Apache-2.0
"""Every module with a counterpart: PyTorch's outputs, and its state_dict back."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from catalogue import CATALOGUE, example

import jaxnn as nn
from jaxnn import trees

torch = pytest.importorskip("torch")
from oracles.weights import first, numbers, randomized, refused, same  # noqa: E402 - needs torch

T = torch.nn
from_torch, to_torch = nn.io.from_torch, nn.io.to_torch
old_weight_norm = pytest.mark.filterwarnings("ignore:`torch.nn.utils.weight_norm`")


# Embeddings and positions

IDS = np.array([[0, 3, 3], [2, 0, 1]])


@pytest.mark.parametrize("padding", [None, 0])
def test_embedding(padding):
    """What `padding_idx` keeps at zero is a row like any other."""
    theirs = T.Embedding(5, 4, padding_idx=padding)
    params = same(nn.Embed(5, 4), theirs, IDS, lambda m: m(torch.tensor(IDS)))
    assert (padding is None) == bool(params["table"][0].any())
    params, state = nn.Embed(5, 4).init(jax.random.key(0), IDS)
    arrays = to_torch(nn.Embed(5, 4), (params, state))  # ids are all it can take
    assert arrays["weight"].shape == (5, 4)


class Positions(T.Module):
    """An embedding, and a vector for each position, from a table of either kind."""

    def __init__(self, bare):
        super().__init__()
        self.words, self.bare = T.Embedding(5, 4), bare
        if bare:
            self.places = T.Parameter(torch.zeros(bare))
        else:
            self.places = T.Embedding(6, 4)

    def forward(self, ids):
        steps = ids.shape[1]
        if not self.bare:
            return self.words(ids) + self.places(torch.arange(steps))
        return self.words(ids) + self.places.reshape(6, 4)[:steps]


TEXT = nn.Sequential(words=nn.Embed(5, 4), places=nn.LearnedPositions(6))


def test_learned_positions_are_an_embedding():
    model = randomized(Positions(None))
    same(TEXT, model, IDS, lambda m: m(torch.tensor(IDS)))


@pytest.mark.parametrize("shape", [(6, 4), (1, 6, 4)])
def test_learned_positions_are_a_bare_parameter(shape):
    model = randomized(Positions(shape))
    params, state = from_torch(TEXT, IDS, model.state_dict())
    expected = model(torch.tensor(IDS)).detach().numpy()
    np.testing.assert_allclose(TEXT.apply(params, state, IDS)[0], expected, atol=1e-6)
    transposed = {**model.state_dict(), "places": torch.zeros(4, 6)}
    refused(["places is [4,6]", "needs [6,4]"], from_torch, TEXT, IDS, transposed)


class Tied(T.Module):
    def __init__(self):
        super().__init__()
        self.embed, self.body = T.Embedding(5, 4), T.Linear(4, 4)
        self.head = T.Linear(4, 5, bias=False)
        self.head.weight = self.embed.weight

    def forward(self, ids):
        return self.head(self.body(self.embed(ids)))


def test_a_tied_output_layer_is_the_second_name_of_one_table():
    net, model = nn.TiedOutput(nn.Embed(5, 4), nn.Dense(4)), randomized(Tied())
    params, state = from_torch(net, IDS, model.state_dict())
    expected = model(torch.tensor(IDS)).detach().numpy()
    np.testing.assert_allclose(net.apply(params, state, IDS)[0], expected, atol=1e-5)
    arrays = {name: a.numpy() for name, a in model.state_dict().items()}
    from_torch(net, IDS, arrays)
    arrays["head.weight"] = arrays["head.weight"].copy()  # no longer the same
    refused(["unexpected: head.weight"], from_torch, net, IDS, arrays)


# Cells

KINDS = {"rnn": "RNNCell", "gru": "GRUCell", "lstm": "LSTMCell"}


def carries(kind, x):
    """A carry to start from, ours and theirs."""
    h, c = numbers(len(x), 3, seed=2), numbers(len(x), 3, seed=3)
    if kind == "lstm":
        return {"c": c, "h": h}, (torch.tensor(h), torch.tensor(c))
    return {"h": h}, torch.tensor(h)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("bias", [True, False])
def test_single_cells(kind, bias):
    x, name = numbers(2, 4), KINDS[kind]
    theirs = getattr(T, name)(4, 3, bias=bias)
    net = getattr(nn, name)(3, bias=bias)
    if kind != "gru" and bias:
        theirs.bias_hh.data.zero_()  # whose sum with the other ours is
    ours, carry = carries(kind, x)

    def call(model):
        y = model(torch.tensor(x), carry)
        return y[0] if kind == "lstm" else y

    same(net, theirs, (ours, x), call)
    variables = net.init(jax.random.key(0), (ours, x))
    assert to_torch(net, variables).keys() == theirs.state_dict().keys()


class Steps(nn.Composite):
    """Two cells by hand, one step each."""

    up: nn.Layer
    down: nn.Layer

    def forward(self, run, x):
        for name, cell in self.children().items():
            carry = jax.tree.map(jnp.ones_like, cell.zero_carry(x))
            _, x = run(name, (carry, x))
        return x


def test_cells_inside_a_network_in_order():
    model = T.ModuleDict({"up1": T.GRUCell(4, 3), "down1": T.GRUCell(3, 3)})
    x = numbers(2, 4)

    def call(model):
        y = model["up1"](torch.tensor(x), torch.ones(2, 3))
        return model["down1"](y, torch.ones(2, 3))

    back = {"up": "up1", "down": "down1"}
    same(Steps(nn.GRUCell(3), nn.GRUCell(3)), model, x, call, back=back)


def test_a_cell_that_pytorch_has_not_says_which_it_has():
    x = numbers(1, 2, 4)
    for cell, words in (
        (nn.LSTMCell(3, peepholes=True), "no counterpart in PyTorch: its LSTM has no"),
        (nn.ConvLSTMCell(3, (1,)), "its cells are RNNCell, GRUCell and LSTMCell"),
    ):
        given = x[:, :, None] if isinstance(cell, nn.ConvLSTMCell) else x
        words = [words, "at 'recurrent_1'"]
        net = nn.Sequential(nn.Recurrent(cell))
        refused(words, from_torch, net, given, {}, error=TypeError)
    theirs = T.LSTM(4, 3, proj_size=2)
    words = ["weight_hr_l0, of proj_size, which no layer here has"]
    refused(words, from_torch, nn.lstm(3), x, theirs.state_dict())


# Weight norm and spectral norm

WEIGHTED = {
    "dense": (nn.Dense(5), lambda: T.Linear(4, 5), (4,)),
    "no bias": (nn.Dense(5, bias=False), lambda: T.Linear(4, 5, bias=False), (4,)),
    "conv": (nn.Conv(5, 3, padding=1), lambda: T.Conv2d(4, 5, 3, padding=1), (6, 5, 4)),
    "groups": (
        nn.Conv(6, (3,), padding=1, groups=2),
        lambda: T.Conv1d(4, 6, 3, padding=1, groups=2),
        (6, 4),
    ),
    "transposed": (
        nn.ConvTranspose(5, (3, 2), stride=2, padding=0),
        lambda: T.ConvTranspose2d(4, 5, (3, 2), stride=2),
        (3, 4, 4),
    ),
}


def call_on(x):
    def call(model):
        return torch.movedim(model(first(x)), 1, -1)

    return call


@old_weight_norm
@pytest.mark.parametrize("api", ["utils", "parametrizations"])
@pytest.mark.parametrize("kind", WEIGHTED)
def test_weight_norm(kind, api):
    ours, theirs, shape = WEIGHTED[kind]
    norm = (
        T.utils.weight_norm if api == "utils" else T.utils.parametrizations.weight_norm
    )
    x, model = numbers(2, *shape), norm(theirs(), dim=int(kind == "transposed"))
    same(nn.WeightNorm(ours), randomized(model), x, call_on(x))


@pytest.mark.parametrize("kind", WEIGHTED)
def test_spectral_norm(kind):
    ours, theirs, shape = WEIGHTED[kind]
    x, model = numbers(2, *shape), T.utils.parametrizations.spectral_norm(theirs())
    same(nn.SpectralNorm(ours), model.eval(), x, call_on(x))


@pytest.mark.parametrize("kind", WEIGHTED)
def test_spectral_norm_of_the_older_api(kind):
    """Which `to_torch` does not write: both have the same arrays."""
    ours, theirs, shape = WEIGHTED[kind]
    x, model = numbers(2, *shape), T.utils.spectral_norm(theirs())
    net = nn.SpectralNorm(ours)
    params, state = from_torch(net, x, model.eval().state_dict())
    expected = call_on(x)(model).detach().numpy()
    y, _ = net.apply(params, state, x)
    np.testing.assert_allclose(y, expected, rtol=1e-5, atol=1e-5)
    arrays = to_torch(net, (params, state), x=x)
    old = {"weight_orig": "original", "weight_u": "0._u", "weight_v": "0._v"}
    for name, tensor in model.state_dict().items():
        new = f"parametrizations.weight.{old[name]}" if name in old else name
        np.testing.assert_array_equal(arrays[new], tensor.numpy())


def test_norms_of_weights_behind_a_flattened_picture():
    """A spectral norm has a number for each row of the weight, which all move."""
    norms = T.utils.parametrizations
    model = T.Sequential(
        norms.weight_norm(T.Conv2d(2, 3, 3, padding=1)),
        T.Flatten(),
        T.PReLU(),
        norms.spectral_norm(T.Linear(36, 36)),
        norms.weight_norm(T.Linear(36, 2)),
    )
    net = nn.Sequential(
        nn.WeightNorm(nn.Conv(3, 3, padding=1)),
        nn.Flatten(),
        nn.PReLU(),
        nn.SpectralNorm(nn.Dense(36)),
        nn.WeightNorm(nn.Dense(2)),
    )
    back = {"weight_norm_1": "0", "prelu_1": "2", "spectral_norm_1": "3"}
    back["weight_norm_2"] = "4"
    x = numbers(2, 3, 4, 2)
    same(net, model.eval(), x, lambda m: m(first(x)), back=back)


def test_norms_of_weights_that_pytorch_has_not_are_refused():
    x, words = numbers(2, 5, 4), "no counterpart in PyTorch"
    transposed = nn.ConvTranspose(4, (3,), groups=2)
    for layer in (
        nn.WeightNorm(transposed),
        nn.SpectralNorm(nn.WeightNorm(nn.Dense(3))),
        nn.WeightNorm(nn.LearnedPositions(5), name="table"),
    ):
        refused([words], from_torch, layer, x, {}, error=TypeError)
    model = T.utils.parametrizations.weight_norm(T.Linear(4, 3), dim=None)
    words = ["parametrizations.weight.original0 is [], scale needs [3,1]"]
    refused(words, from_torch, nn.WeightNorm(nn.Dense(3)), x[0], model.state_dict())


# Parts that are modules of their own


def test_squeeze_and_excitation_are_two_linear_layers():
    class Theirs(T.Module):
        def __init__(self):
            super().__init__()
            self.fc1, self.fc2 = T.Linear(6, 2), T.Linear(2, 6)

        def forward(self, x):
            gate = torch.sigmoid(self.fc2(torch.relu(self.fc1(x.mean((2, 3))))))
            return x * gate[..., None, None]

    x, net = numbers(2, 3, 4, 6), nn.SqueezeExcite(3)
    back = {"squeeze": "fc1", "excite": "fc2"}
    same(net, randomized(Theirs()), x, call_on(x), back=back)


def test_layers_without_arrays_take_no_place_in_the_order():
    model = T.Sequential(
        T.Linear(4, 3), T.LayerNorm(3, elementwise_affine=False), T.Linear(3, 3)
    )
    net = nn.Sequential(
        nn.Dense(3), nn.LayerNorm(scale=False, offset=False), nn.Dense(3)
    )
    x = numbers(2, 4)
    back = {"dense_1": "0", "dense_2": "2"}
    same(net, model, x, lambda m: m(torch.tensor(x)), back=back)


# Sequences and pictures


class Both(nn.Composite):
    """A text, and then a picture that only `flat` has seen."""

    words: nn.Layer = nn.Embed(5, 4)
    steps: nn.Layer = nn.Sequential(nn.Dense(3), nn.Flatten())
    flat: nn.Layer = nn.Flatten()
    head: nn.Layer = nn.Dense(2)

    def forward(self, run, x):
        ids, image = x
        text = run("steps", run("words", ids))
        return jnp.concatenate([run("head", run("flat", image)), text], 1)


def test_a_picture_next_to_a_text_flattens_as_pictures_do():
    class Theirs(T.Module):
        def __init__(self):
            super().__init__()
            self.words, self.steps = T.Embedding(5, 4), T.Linear(4, 3)
            self.head = T.Linear(24, 2)

        def forward(self, ids, image):
            text = self.steps(self.words(ids)).flatten(1)
            return torch.cat([self.head(image.flatten(1)), text], 1)

    image = numbers(2, 3, 4, 2)
    back = {"steps/dense_1": "steps"}

    def call(model):
        return model(torch.tensor(IDS), first(image))

    same(Both(), randomized(Theirs()), (IDS, image), call, back=back)


def test_a_sequence_behind_a_linear_layer_flattens_step_by_step():
    class Theirs(T.Module):
        def __init__(self):
            super().__init__()
            self.words, self.steps = T.Embedding(5, 4), T.Linear(4, 3)
            self.head = T.Linear(9, 2)

        def forward(self, ids):
            return self.head(self.steps(self.words(ids)).flatten(1))

    net = nn.Sequential(
        words=nn.Embed(5, 4), steps=nn.Dense(3), flat=nn.Flatten(), head=nn.Dense(2)
    )
    same(net, randomized(Theirs()), IDS, lambda m: m(torch.tensor(IDS)))


# All others

#: What PyTorch has not, or not with these options.
WITHOUT = {
    "attention": "rotary",
    "attentive_recurrent": "AttentiveRecurrent",
    "cells": "ConvLSTMCell",
    "ensemble": "Ensemble",
    "maxout": "Maxout",
    "recurrent_conv_lstm": "ConvLSTMCell",
    "recurrent_lstm_peepholes": "peepholes",
    "transformer_encoder": "rotary",
}


def test_every_other_layer_of_the_catalogue_has_a_counterpart():
    """Of arrays there, none is left over, and none is there twice."""
    without = {}
    for entry in CATALOGUE:
        x = example(entry)
        shapes = jax.eval_shape(entry.layer.init, jax.random.key(0), x)
        variables = jax.tree.map(lambda a: np.ones(a.shape, np.float32), shapes)
        try:
            arrays = to_torch(entry.layer, variables, x=x)
        except TypeError as error:
            without[entry.name] = str(error)
            continue
        counts = [a.size for n, a in arrays.items() if not n.endswith("tracked")]
        doubled = [a.size for n, a in arrays.items() if "bias_hh" in n and not a.any()]
        assert sum(counts) - sum(doubled) == trees.count(variables), entry.name
    assert without.keys() == WITHOUT.keys()
    for name, why in WITHOUT.items():
        assert why in without[name]
