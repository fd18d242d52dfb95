# SPDX-License-Identifier: Apache-2.0
"""Transfer learning: all weights but those of a new head."""

import functools

import jax
import numpy as np
import pytest

import jaxnn as nn

torch = pytest.importorskip("torch")
from oracles import networks, weights  # noqa: E402 - needs torch

from_torch = nn.io.from_torch
KEY, X = jax.random.key(3), np.ones((2, 8, 8, 3), np.float32)
NET = nn.models.cifar_resnet(8, 5, 4)


@functools.cache
def hundred():
    """The same network with 100 classes."""
    torch.manual_seed(0)
    return networks.cifar_resnet(8, 100, 4).state_dict()


def equal(one, other):
    jax.tree.map(np.testing.assert_array_equal, one, other)


def refused(words, *given, **options):
    weights.refused(words, from_torch, *given, **options)


def test_a_new_head_on_torchvisions_resnet18():
    """Its own names, and 1000 classes; narrow, to be quick."""
    given = networks.resnet(18, 1000, 8).state_dict()
    x = np.ones((1, 32, 32, 3), np.float32)
    whole, net = (nn.models.resnet(18, n, width=8) for n in (1000, 5))
    words = [
        "misshapen: fc.weight is [1000,64], head/w needs [5,64]",
        "To load all but head, pass skip='head' and key=jax.random.key(0)",
    ]
    refused(words, net, x, given)
    params, state = from_torch(net, x, given, skip="head", key=KEY)
    wanted, statistics = from_torch(whole, x, given)
    assert params["head"]["w"].shape == (64, 5)
    equal(params | {"head": 0}, wanted | {"head": 0})
    equal(state, statistics)


@pytest.mark.parametrize("skip", ["head", "head/*", ("head/w", "head/b")])
def test_a_new_head_has_its_own_initialization(skip):
    net, x = nn.Sequential(body=nn.Dense(3), head=nn.Dense(2)), X[:, 0, 0]
    given = {"body.weight": np.ones((3, 3)), "body.bias": np.ones(3)}
    params, _ = from_torch(net, x, given, skip=skip, key=KEY)
    assert params["body"]["w"].sum() == 9
    equal(params["head"], net.init(KEY, x)[0]["head"])


def test_a_head_of_several_layers_or_of_another_kind():
    """torchvision's names hold for the rest, even next to what PyTorch has not."""
    wanted, _ = from_torch(NET, X, hundred(), skip="head", key=KEY)
    for head in (
        nn.Sequential(nn.Dense(6), jax.nn.relu, nn.Dense(5)),
        nn.Maxout(5),
    ):
        net = nn.edit(NET, "head", head)
        params, _ = from_torch(net, X, hundred(), skip="head", key=KEY)
        equal(params | {"head": 0}, wanted | {"head": 0})
        assert params["head"].keys() & {"dense_1", "w"}


def test_a_network_without_a_head_does_not_load_one_unasked():
    net = nn.edit(NET, "head", nn.Identity())
    refused(["unexpected: fc.weight", "unexpected: fc.bias"], net, X, hundred())
    body = {name: a for name, a in hundred().items() if name[:2] != "fc"}
    from_torch(net, X, body)


@pytest.mark.parametrize("gone", [True, False])
def test_a_checkpoint_may_have_the_head_or_not(gone):
    given = {k: a for k, a in hundred().items() if not gone or k[:2] != "fc"}
    from_torch(NET, X, given, skip="head", key=KEY)


def test_what_is_not_skipped_must_fit():
    given = dict(hundred())
    del given["layer3.0.conv2.weight"]
    words = ["missing: layer3.0.conv2.weight"]
    refused(words, NET, X, given, skip="head", key=KEY)
    words = ["unexpected: extra.weight"]
    given = {**hundred(), "extra.weight": np.ones(3)}
    refused(words, NET, X, given, skip="head", key=KEY)


def test_in_order_the_skipped_layer_keeps_its_place():
    model = torch.nn.Sequential(
        torch.nn.Linear(4, 3), torch.nn.ReLU(), torch.nn.Linear(3, 9)
    )
    net = nn.Sequential(body=nn.Dense(3), act=jax.nn.relu, head=nn.Dense(2))
    x = np.ones((1, 4), np.float32)
    params, _ = from_torch(net, x, model.state_dict(), skip="head", key=KEY)
    np.testing.assert_array_equal(params["body"]["w"].T, model[0].weight.detach())
    assert params["head"]["w"].shape == (3, 2)


def test_a_skipped_batch_norm_keeps_its_first_statistics():
    net = nn.Sequential(body=nn.Dense(3), head=nn.BatchNorm())
    x = np.ones((2, 4), np.float32)
    given = {"body.weight": np.ones((3, 4)), "body.bias": np.ones(3)}
    params, state = from_torch(net, x, given, skip="head", key=KEY)
    assert params["body"]["b"].sum() == 3
    assert state["head"]["var"].tolist() == [1, 1, 1]


def test_a_wrong_skip_is_refused():
    given = hundred()
    words = ["skip must match paths of the network, got 'heed'", "nearest: 'head'"]
    refused(words, NET, X, given, skip="heed", key=KEY)
    refused(["pass key=jax.random.key(0)"], NET, X, given, skip="head")
    refused(["skip must be a path pattern"], NET, X, given, skip=(1,), error=TypeError)
    refused(["key must be"], NET, X, given, skip="head", key=3, error=TypeError)
