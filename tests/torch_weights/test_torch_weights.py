# SPDX-License-Identifier: Apache-2.0
"""Weights from PyTorch: the same logits, and clear refusals of other networks."""

import functools
import json
import pickle
import subprocess
import sys
import zlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import safetensors.numpy

import jaxnn as nn
from jaxnn import core
from jaxnn.messages.phrases import describe

torch = pytest.importorskip("torch")
from oracles import networks  # noqa: E402 - needs torch

from_torch, to_torch, models = nn.io.from_torch, nn.io.to_torch, nn.models


def slow(*parameters):
    return pytest.param(*parameters, marks=pytest.mark.slow, id=parameters[0])


def quick(*parameters):
    return pytest.param(*parameters, id=parameters[0])


def randomized(model, seed=0):
    """A PyTorch network in evaluation, with random running statistics."""
    rng = np.random.default_rng(seed)
    with torch.no_grad():
        for name, buffer in model.named_buffers():
            if name.endswith(("mean", "var")):
                low, high = (-0.2, 0.2) if name.endswith("mean") else (0.5, 1.5)
                buffer.copy_(torch.tensor(rng.uniform(low, high, buffer.shape)))
    return model.eval()


def images(shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def channels_first(x):
    return torch.tensor(np.moveaxis(x, -1, 1).copy())


def logits_of(model, x):
    with torch.no_grad():
        y = model(channels_first(x)).numpy()
    return np.moveaxis(y, 1, -1)


def close(ours, theirs, tolerance=1e-4):
    """Equal relative to the largest number."""
    scale = np.abs(theirs).max()
    np.testing.assert_allclose(ours, theirs, rtol=0, atol=tolerance * scale)


# Every network

SMALL = {"width": 8, "hidden": 32}
NETWORKS = [
    quick("lenet5", models.lenet5(), networks.lenet5, (28, 28, 1)),
    quick(
        "alexnet",
        models.alexnet(10, **SMALL),
        functools.partial(networks.alexnet, 10, **SMALL),
        (67, 75, 3),
    ),
    quick(
        "alexnet_2012",
        models.alexnet(10, original=True, **SMALL),
        functools.partial(networks.alexnet_2012, 10, **SMALL),
        (67, 67, 3),
    ),
    *(
        (quick if (depth, batch_norm) in ((11, True), (16, False)) else slow)(
            f"vgg{depth}{'_bn' * batch_norm}",
            models.vgg(depth, 10, batch_norm=batch_norm, **SMALL),
            functools.partial(networks.vgg, depth, 10, batch_norm, **SMALL),
            (36, 32, 3),
        )
        for depth in networks.VGG
        for batch_norm in (False, True)
    ),
    quick(
        "googlenet",
        models.googlenet(10, width=8),
        functools.partial(networks.googlenet, 10, 8),
        (64, 60, 3),
    ),
    *(
        (quick if depth == 18 else slow)(
            f"resnet{depth}",
            models.resnet(depth, 10, width=8),
            functools.partial(networks.resnet, depth, 10, 8),
            (37, 32, 3),
        )
        for depth in networks.RESNET
    ),
    quick(
        "resnet50_repeat",
        models.resnet(50, 10, width=8, repeat=True),
        functools.partial(networks.resnet, 50, 10, 8),
        (32, 32, 3),
    ),
    quick(
        "cifar20",
        models.cifar_resnet(20),
        functools.partial(networks.cifar_resnet, 20),
        (33, 32, 3),
    ),
    slow(
        "cifar20_projection",
        models.cifar_resnet(20, shortcut="projection", repeat=True),
        functools.partial(networks.cifar_resnet, 20, projected=True),
        (32, 32, 3),
    ),
    quick(
        "unet",
        models.unet(2, depth=2, width=4),
        functools.partial(networks.unet, 2, 1, 2, 4),
        (16, 24, 1),
    ),
    slow(
        "unet_bn",
        models.unet(2, depth=3, width=4, batch_norm=True),
        functools.partial(networks.unet, 2, 1, 3, 4, True),
        (16, 24, 1),
    ),
]


@pytest.mark.parametrize(("name", "net", "build", "shape"), NETWORKS)
def test_logits_are_pytorchs(name, net, build, shape):
    """In evaluation, with random weights and random running statistics."""
    torch.manual_seed(0)
    model, x = randomized(build()), images((2, *shape))
    params, state = from_torch(net, x, model.state_dict())
    close(jax.jit(net.apply)(params, state, x)[0], logits_of(model, x))


@pytest.mark.parametrize(("name", "net", "build", "shape"), NETWORKS)
def test_there_and_back(name, net, build, shape):
    """The trees have the network's shapes; PyTorch takes them back as they were."""
    torch.manual_seed(1)
    model, x = randomized(build(), 1), images((1, *shape))
    before = {k: v.clone() for k, v in model.state_dict().items()}
    naming = {}
    if name in ("lenet5", "alexnet_2012") or name.startswith("unet"):  # in order
        modules = dict.fromkeys(k.rpartition(".")[0] for k in before)
        layers = [call.path for call in core.trace(net, x) if call.params]
        naming = dict(zip(layers, modules, strict=True))
    trees_ = from_torch(net, x, before)
    expected = jax.eval_shape(net.init, jax.random.key(0), images((2, *shape)))
    for got, want in zip(trees_, expected, strict=True):
        assert jax.tree.map(describe, got) == jax.tree.map(describe, want)
    arrays = to_torch(net, trees_, names=naming)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.zero_()
    tensors = {k: torch.from_numpy(v) for k, v in arrays.items()}
    model.load_state_dict(tensors, strict=True)
    for k, v in model.state_dict().items():
        assert torch.equal(v, before[k]), k
    if name in ("lenet5", "alexnet", "vgg11_bn", "resnet18"):
        again = to_torch(net, trees_, x=x, names=naming)
        assert arrays.keys() == again.keys()
        assert all(np.array_equal(again[k], v) for k, v in arrays.items())


#: CRC-32 of names and shapes in torchvision 0.29's own networks.
TORCHVISION = {
    "alexnet": 2623943554,
    "vgg11": 2264834632,
    "vgg13": 2699935759,
    "vgg16": 350835225,
    "vgg19": 329761292,
    "vgg11_bn": 543565470,
    "vgg13_bn": 2517592074,
    "vgg16_bn": 2421549666,
    "vgg19_bn": 2907419670,
    "googlenet": 2293210494,
    "resnet18": 442917775,
    "resnet34": 1721937824,
    "resnet50": 3042914701,
    "resnet101": 1735726632,
    "resnet152": 1783617989,
}
BUILD = {
    "alexnet": networks.alexnet,
    "googlenet": networks.googlenet,
    **{f"resnet{d}": functools.partial(networks.resnet, d) for d in networks.RESNET},
    **{f"vgg{d}": functools.partial(networks.vgg, d) for d in networks.VGG},
    **{
        f"vgg{d}_bn": functools.partial(networks.vgg, d, batch_norm=True)
        for d in networks.VGG
    },
}


@pytest.mark.parametrize("name", TORCHVISION)
def test_the_oracles_have_torchvisions_names_and_shapes(name):
    with torch.device("meta"):
        tensors = BUILD[name]().state_dict()
    entries = sorted((k, list(v.shape)) for k, v in tensors.items())
    assert zlib.crc32(json.dumps(entries).encode()) == TORCHVISION[name]


# Training

RESNET18 = models.resnet(18, 6, width=8)


def test_resnet18s_gradients_and_running_statistics_are_pytorchs():
    """One training step on the same images: every gradient, every statistic."""
    torch.manual_seed(2)
    model, x = randomized(networks.resnet(18, 6, 8)), images((4, 64, 64, 3))
    weights = images((4, 6), 1)
    params, state = from_torch(RESNET18, x, model.state_dict())

    @functools.partial(jax.jit, static_argnums=2)
    def slopes(params, state, train):
        def objective(params):
            y, after = RESNET18.apply(params, state, x, train=train)
            return (y * weights).sum(), after

        return jax.grad(objective, has_aux=True)(params)

    for train in (False, True):
        model.train(train).zero_grad()
        (model(channels_first(x)) * torch.tensor(weights)).sum().backward()
        grads, after = slopes(params, state, train)
        ours = to_torch(RESNET18, (grads, after))
        for name, parameter in model.named_parameters():
            close(ours[name], parameter.grad.numpy(), 1e-3 if train else 1e-4)
        for name, buffer in model.named_buffers():
            if not name.endswith("num_batches_tracked"):
                close(ours[name], buffer.numpy(), 1e-5)


def test_googlenets_auxiliary_logits_are_pytorchs():
    torch.manual_seed(3)
    model = randomized(networks.googlenet(5, 8))
    net = models.googlenet(5, width=8, rate=0.0, auxiliary_rate=0.0)
    x = images((3, 64, 64, 3))
    params, state = from_torch(net, x, model.state_dict())
    y, _ = jax.jit(functools.partial(net.apply, train=True))(params, state, x)
    with torch.no_grad():
        theirs = model.train()(channels_first(x))
    for got, want in zip((y.main, *y.auxiliary), theirs, strict=True):
        close(got, want.numpy(), 1e-3)


# Custom networks

PLAIN = nn.Sequential(
    nn.Conv(4, 3, padding=1),
    nn.BatchNorm(),
    nn.PReLU(),
    nn.MaxPool(2),
    nn.Flatten(),
    nn.BatchNorm(),
    nn.Dense(5),
    nn.LayerNorm(),
    nn.PReLU(per_channel=True),
    nn.Dense(3),
)
IMAGES = images((4, 6, 8, 2))


def plain():
    torch.manual_seed(4)
    model = torch.nn.Sequential(
        torch.nn.Conv2d(2, 4, 3, padding=1),
        torch.nn.BatchNorm2d(4),
        torch.nn.PReLU(),
        torch.nn.MaxPool2d(2),
        torch.nn.Flatten(),
        torch.nn.BatchNorm1d(48),
        torch.nn.Linear(48, 5),
        torch.nn.LayerNorm(5),
        torch.nn.PReLU(5),
        torch.nn.Linear(5, 3),
    )
    return randomized(model)


@pytest.mark.parametrize("form", ["tensors", "arrays", "safetensors", "pth"])
def test_a_plain_network_from_any_form(form, tmp_path):
    """In order; a flattened picture's rows go with it, through a norm as well."""
    model = plain()
    state_dict = model.state_dict()
    arrays = {k: v.numpy().copy() for k, v in state_dict.items()}
    if form == "arrays":
        state_dict = arrays
    elif form == "safetensors":
        state_dict = tmp_path / "model.safetensors"
        safetensors.numpy.save_file(arrays, state_dict)
    elif form == "pth":
        state_dict = str(tmp_path / "model.pth")
        torch.save(model.state_dict(), state_dict)
    params, state = from_torch(PLAIN, IMAGES, state_dict)
    close(PLAIN.apply(params, state, IMAGES)[0], logits_of(model, IMAGES))


class Heads(nn.Composite):
    """Two layers on one flattened picture, with an activation of its own before one."""

    conv: nn.Layer = nn.Conv(3, 3)
    flat: nn.Layer = nn.Flatten()
    mean: nn.Layer = nn.Dense(2)
    spread: nn.Layer = nn.Dense(4)
    side: nn.Layer = nn.Dense(2)

    def forward(self, run, x):
        flat = run("flat", run("conv", x))
        mean = run("mean", flat)
        return jnp.concatenate([mean, run("spread", flat), run("side", mean)], 1)


class TorchHeads(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.conv, self.flat = torch.nn.Conv2d(2, 3, 3, padding=1), torch.nn.Flatten()
        self.mean, self.spread = torch.nn.Linear(36, 2), torch.nn.Linear(36, 4)
        self.side = torch.nn.Linear(2, 2)

    def forward(self, x):
        flat = self.flat(self.conv(x))
        mean = self.mean(flat)
        return torch.cat([mean, self.spread(flat), self.side(mean)], 1)


def test_several_layers_may_see_one_flattened_picture():
    model = randomized(TorchHeads())
    x = images((2, 3, 4, 2))
    params, state = from_torch(Heads(), x, model.state_dict())
    close(Heads().apply(params, state, x)[0], logits_of(model, x))
    arrays = to_torch(Heads(), (params, state), x=x)
    for name, tensor in model.state_dict().items():
        np.testing.assert_array_equal(arrays[name], tensor.numpy())


class Hidden(nn.Composite):
    """A network whose forward reshapes, or works between, on its own."""

    work: str
    conv: nn.Layer = nn.Conv(3, 3)
    flat: nn.Layer = nn.Flatten()
    body: nn.Layer = nn.Dense(36)
    fc: nn.Layer = nn.Dense(5)

    def forward(self, run, x):
        x = jax.nn.relu(run("conv", x))
        if self.work == "reshape":
            return run("fc", x.reshape(len(x), -1))
        x = run("flat", x)
        if self.work == "relu":
            return run("fc", jax.nn.relu(x))
        return run("fc", run("body", x) + x)


def test_a_picture_flattened_out_of_sight_is_refused_or_right():
    x = images((2, 3, 4, 2))
    layers = {"conv": torch.nn.Conv2d(2, 3, 3, padding=1), "fc": torch.nn.Linear(36, 5)}
    given = randomized(torch.nn.ModuleDict(layers)).state_dict()
    for work in ("reshape", "sum"):
        with pytest.raises(ValueError, match="in which order 'fc' gets the 36 numbers"):
            from_torch(Hidden(work), x, given)
    net = Hidden("relu")
    params, state = from_torch(net, x, given)
    conv = torch.relu(layers["conv"](torch.tensor(x).permute(0, 3, 1, 2)))
    expected = layers["fc"](conv.flatten(1)).detach().numpy()
    close(net.apply(params, state, x)[0], expected)


def test_a_safetensors_file_of_more_than_ten_layers_keeps_their_order(tmp_path):
    model = torch.nn.Sequential(*(torch.nn.Linear(3, 3) for _ in range(12)))
    net = nn.Sequential(*(nn.Dense(3) for _ in range(12)))
    arrays = {k: v.numpy() for k, v in model.state_dict().items()}
    safetensors.numpy.save_file(arrays, tmp_path / "x.safetensors")
    params, _ = from_torch(net, np.ones((1, 3), np.float32), tmp_path / "x.safetensors")
    np.testing.assert_array_equal(params["dense_11"]["w"].T, arrays["10.weight"])


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float64])
def test_other_precisions_become_that_of_the_parameters(dtype):
    model = plain().to(dtype)
    params, state = from_torch(PLAIN, IMAGES, model.state_dict())
    leaves = jax.tree.leaves((params, state))
    assert {leaf.dtype for leaf in leaves} == {jnp.dtype("float32")}
    want = model[6].bias.detach().float().numpy()
    np.testing.assert_array_equal(params["dense_1"]["b"], want)


def test_nothing_is_shared_with_the_tensors():
    model = plain()
    params, _ = from_torch(PLAIN, IMAGES, model.state_dict())
    before = np.array(params["conv_1"]["b"])
    with torch.no_grad():
        model[0].bias.add_(1)
    np.testing.assert_array_equal(params["conv_1"]["b"], before)


def test_bfloat16_parameters_go_to_torch_as_float32():
    params, state = from_torch(PLAIN, IMAGES, plain().state_dict())
    narrow = jax.tree.map(lambda a: a.astype(jnp.bfloat16), params)
    arrays = to_torch(PLAIN, (narrow, state), x=IMAGES)
    assert {a.dtype.name for a in arrays.values()} == {"float32", "int64"}
    assert all(a.flags.writeable and a.flags.c_contiguous for a in arrays.values())


@pytest.mark.parametrize(
    ("ours", "theirs", "shape"),
    [
        (nn.Conv(4, (3,), padding=1), torch.nn.Conv1d(6, 4, 3, padding=1), (5, 6)),
        (
            nn.Conv(4, (3, 1, 2), groups=2, padding="VALID", bias=False),
            torch.nn.Conv3d(6, 4, (3, 1, 2), groups=2, bias=False),
            (4, 3, 5, 6),
        ),
        (nn.GroupNorm(3), torch.nn.GroupNorm(3, 6), (4, 3, 6)),
        (nn.Remat(nn.Dense(4)), torch.nn.Linear(6, 4), (6,)),
    ],
    ids=["conv1d", "conv3d", "groupnorm", "remat"],
)
def test_single_layers(ours, theirs, shape):
    torch.manual_seed(5)
    x = images((3, *shape))
    params, state = from_torch(ours, x, theirs.state_dict())
    close(ours.apply(params, state, x)[0], logits_of(theirs, x))


@pytest.mark.parametrize("groups", [1, 2])
def test_transposed_convolution(groups):
    torch.manual_seed(6)
    theirs = torch.nn.ConvTranspose2d(6, 4, (3, 2), stride=2, groups=groups)
    ours = nn.ConvTranspose(4, (3, 2), stride=2, padding=0, groups=groups)
    x = images((3, 4, 5, 6))
    params, state = from_torch(ours, x, theirs.state_dict())
    close(ours.apply(params, state, x)[0], logits_of(theirs, x))
    back = to_torch(ours, (params, state), x=x)
    np.testing.assert_array_equal(back["weight"], theirs.weight.detach().numpy())


def test_separable_convolution():
    torch.manual_seed(8)
    theirs = torch.nn.Sequential(
        torch.nn.Conv2d(3, 6, 3, padding=1, groups=3, bias=False),
        torch.nn.Conv2d(6, 4, 1),
    )
    ours, x = nn.SeparableConv(4, 3, padding=1, multiplier=2), images((2, 5, 6, 3))
    params, state = from_torch(ours, x, theirs.state_dict())
    close(ours.apply(params, state, x)[0], logits_of(theirs, x))


def test_repeated_blocks_of_ones_own():
    torch.manual_seed(7)
    model = torch.nn.Sequential(*(torch.nn.Linear(4, 4) for _ in range(3)))
    net, x = nn.Repeat(nn.Repeat(nn.Dense(4), 3), 1), images((2, 4))
    params, state = from_torch(net, x, model.state_dict())
    assert params["block"]["block"]["w"].shape == (1, 3, 4, 4)
    close(net.apply(params, state, x)[0], logits_of(model, x))


def test_names_of_ones_own():
    """Where a module is called otherwise; and back, under its name."""
    x = np.ones((1, 3), np.float32)
    net = nn.Sequential(a=nn.Dense(3), b=nn.Dense(3))
    w = np.arange(9.0).reshape(3, 3)
    given = {"second.weight": w, "second.bias": w[0]}
    given |= {"first.weight": -w, "first.bias": -w[0]}
    names = {"a": "first", "b": "second"}
    params, state = from_torch(net, x, given, names=names)
    np.testing.assert_array_equal(params["a"]["w"], -w.T)
    back = to_torch(net, (params, state), names=names)
    assert back.keys() == given.keys()
    with pytest.raises(ValueError, match=r"layers with arrays, got 'bb'.*nearest: 'b'"):
        from_torch(net, x, given, names={"bb": "second"})


def test_our_own_paths_come_back():
    """What `to_torch` names by paths, `from_torch` finds by them, in any order."""
    net, x = nn.Sequential(a=nn.Dense(3), b=nn.Dense(3)), np.ones((1, 3), np.float32)
    params, state = net.init(jax.random.key(0), x)
    arrays = to_torch(net, (params, state))
    turned = dict(reversed(arrays.items()))
    again, _ = from_torch(net, x, turned)
    np.testing.assert_array_equal(again["a"]["w"], params["a"]["w"])


# Order, where names do not decide

ROW = np.ones((1, 3), np.float32)
TWO = nn.Sequential(nn.Dense(3), nn.Dense(3))
DECIDED = {  # in the order of definition
    "of Sequential": ["0", "2"],
    "from ten on": ["9", "10"],
    "numbered": ["fc1", "fc2"],
    "numbered from the second on": ["fc", "fc2"],
    "blocks": ["trunk.block.0.fc", "trunk.block.1.fc"],
    "words of the layers": ["net_dense.1", "net_dense.2"],
}
UNCLEAR = {
    "words": ["encoder", "decoder"],
    "letters": ["fc_a", "fc_b"],
    "numbered the other way": ["fc2", "fc1"],
    "numbers the other way": ["1", "0"],
    "words before numbers": ["up1", "down2"],
    "the layers' names crossed": ["one.dense_2", "other.dense_1"],
}


def filled(modules, width=3):
    """Arrays of equal shapes, the n-th module's full of n."""
    arrays = {}
    for n, module in enumerate(modules):
        arrays[f"{module}.weight"] = np.full((width, width), n, np.float32)
        arrays[f"{module}.bias"] = np.full(width, n, np.float32)
    return arrays


def first_numbers(params):
    return [int(layer["b"][0]) for layer in params.values()]


@pytest.mark.parametrize("names", DECIDED.values(), ids=DECIDED)
def test_an_order_with_which_names_agree_is_believed(names):
    params, _ = from_torch(TWO, ROW, filled(names))
    assert first_numbers(params) == [0, 1]


@pytest.mark.parametrize("names", UNCLEAR.values(), ids=UNCLEAR)
def test_layers_of_equal_shapes_are_never_told_apart_by_order_alone(names):
    """A class may define its layers in another order than it calls them in."""
    one, two = names
    guess = {"dense_1": one, "dense_2": two}
    words = [
        "by shape more than one assignment fits",
        f"dense_1, dense_2 may be any of {one}, {two} (weight [3,3], bias [3])",
        f"names={guess}",
    ]
    refused(words, from_torch, TWO, ROW, filled(names))
    params, _ = from_torch(TWO, ROW, filled(names), names=guess)
    assert first_numbers(params) == [0, 1]
    params, _ = from_torch(TWO, ROW, filled(names), names={"dense_1": two})
    assert first_numbers(params) == [1, 0]


def test_a_class_that_calls_in_another_order_than_it_defines():
    """The fault: logits of swapped layers, without a word."""

    class Turned(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.out, self.hidden = torch.nn.Linear(3, 3), torch.nn.Linear(3, 3)

        def forward(self, x):
            return self.out(torch.tanh(self.hidden(x)))

    model = Turned()
    net = nn.Sequential(nn.Dense(3), jnp.tanh, nn.Dense(3))
    given = model.state_dict()
    refused(["dense_1, dense_2 may be any of"], from_torch, net, ROW, given)
    names = {"dense_1": "hidden", "dense_2": "out"}
    params, state = from_torch(net, ROW, given, names=names)
    expected = model(torch.tensor(ROW)).detach().numpy()
    close(net.apply(params, state, ROW)[0], expected)


def test_words_that_are_in_the_layers_names_decide():
    net = nn.Sequential(encoder=nn.Dense(3), decoder=nn.Dense(3))
    params, _ = from_torch(net, ROW, filled(["encoder.fc", "decoder.fc"]))
    assert [params[name]["b"][0] for name in ("encoder", "decoder")] == [0, 1]
    turned = filled(["decoder.fc", "encoder.fc"])
    refused(["encoder, decoder may be any of"], from_torch, net, ROW, turned)


def test_a_name_that_only_one_layer_and_one_module_have_decides():
    """As a transformer's last `norm` behind those of its numbered blocks."""
    blocks = {name: nn.Sequential(fc=nn.Dense(3)) for name in ("one", "two")}
    net = nn.Sequential(**blocks, norm=nn.Dense(3))
    params, _ = from_torch(net, ROW, filled(["b.0.fc", "b.1.fc", "norm"]))
    found = params["one"]["fc"], params["two"]["fc"], params["norm"]
    assert [layer["b"][0] for layer in found] == [0, 1, 2]
    turned = filled(["norm", "b.0.fc", "b.1.fc"])
    refused(["one/fc, two/fc, norm may be any of"], from_torch, net, ROW, turned)


def test_layers_of_other_shapes_need_no_names():
    net = nn.Sequential(nn.Dense(3), nn.Dense(2), nn.LayerNorm())
    arrays = filled(["stem"]) | {
        "head.weight": np.ones((2, 3)),
        "head.bias": np.ones(2),
    }
    arrays |= {"norm.weight": np.ones(2), "norm.bias": np.ones(2)}
    params, _ = from_torch(net, ROW, arrays)
    assert params["dense_2"]["w"].shape == (3, 2)


def test_to_torch_refuses_one_name_for_two_layers():
    params, state = TWO.init(jax.random.key(0), ROW)
    names = {"dense_1": "fc", "dense_2": "fc"}
    refused(["fc.weight", "of its own"], to_torch, TWO, (params, state), names=names)


# Refusals


def refused(words, call, *args, error=ValueError, **kwargs):
    with pytest.raises(error) as caught:
        call(*args, **kwargs)
    for word in words:
        assert word in str(caught.value), f"{word!r} not in {caught.value}"
    return str(caught.value)


def test_every_missing_unexpected_and_misshapen_name_is_listed():
    x, arrays = images((1, 32, 32, 3)), networks.resnet(18, 6, 8).state_dict()
    del arrays["layer1.0.conv1.weight"]
    arrays["layer1.0.konv1.weight"] = torch.zeros(1)
    arrays["fc.bias"] = torch.zeros(7)
    words = [
        "missing: layer1.0.conv1.weight [8,8,3,3] for stage1/block1/conv1/w",
        "nearest: 'layer1.0.konv1.weight'",
        "unexpected: layer1.0.konv1.weight",
        "misshapen: fc.bias is [7], head/b needs [6]",
    ]
    text = refused(words, from_torch, RESNET18, x, arrays)
    assert len(text.splitlines()) == 4


@pytest.mark.parametrize(
    ("net", "model"),
    [
        (RESNET18, functools.partial(networks.resnet, 50, 6, 8)),
        (models.resnet(34, 6, width=8), functools.partial(networks.resnet, 18, 6, 8)),
        (RESNET18, functools.partial(networks.vgg, 11, 6, True, **SMALL)),
        (RESNET18, functools.partial(networks.resnet, 18, 6, 16)),
        (RESNET18, lambda: torch.nn.Sequential()),
        (
            models.vgg(11, 6, **SMALL),
            functools.partial(networks.vgg, 11, 6, True, **SMALL),
        ),
    ],
    ids=["resnet50", "resnet18", "vgg", "wider", "empty", "normed"],
)
def test_another_networks_state_dict_is_refused(net, model):
    words = ["from_torch: the state_dict does not fit the network"]
    refused(words, from_torch, net, images((1, 32, 32, 3)), model().state_dict())


def test_no_state_dict_at_all(tmp_path):
    x = np.ones((1, 3), np.float32)

    def check(state_dict, *words):
        refused(words, from_torch, nn.Dense(2), x, state_dict, error=TypeError)

    check(torch.nn.Linear(3, 2), "state_dict must map", "pass .state_dict()")
    check([1, 2], "state_dict must map names to tensors")
    check({"model": {"weight": torch.ones(2, 3)}}, "'model'", "dict of its own")
    check({"weight": "x"}, "'weight'", "must be a tensor")
    refused(["a"], from_torch, nn.Dense(2), x, tmp_path / "a.pth", error=OSError)


def test_a_pickle_is_never_executed(tmp_path):
    class Evil:
        def __reduce__(self):
            return (open, (str(tmp_path / "executed"), "w"))

    (tmp_path / "evil.pth").write_bytes(pickle.dumps({"weight": Evil()}, 2))
    x = np.ones((1, 3), np.float32)
    words = ["from_torch", "evil.pth", "nothing in it was executed"]
    refused(words, from_torch, nn.Dense(2), x, tmp_path / "evil.pth")
    assert not (tmp_path / "executed").exists()


def test_torch_is_only_needed_for_its_own_files(tmp_path):
    code = f"""
import sys; sys.modules["torch"] = None
import numpy as np, jaxnn as nn
x = np.ones((1, 3), np.float32)
nn.io.from_torch(nn.Dense(2), x, {{"weight": np.ones((2, 3)), "bias": np.ones(2)}})
try:
    nn.io.from_torch(nn.Dense(2), x, {str(tmp_path / "x.pth")!r})
except ImportError as error:
    print(error)
"""
    (tmp_path / "x.pth").write_bytes(b"")
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert "needs torch (pip install torch)" in run.stdout, run.stderr


def test_layers_without_a_counterpart_are_named():
    net, x = nn.Sequential(nn.Maxout(3)), np.ones((1, 3), np.float32)
    words = ["from_torch: Maxout(3) at 'maxout_1' has no counterpart"]
    refused(words, from_torch, net, x, {}, error=TypeError)


def test_to_torch_refuses_other_trees():
    net, x = nn.Sequential(nn.Dense(2)), np.ones((1, 3), np.float32)
    params, state = net.init(jax.random.key(0), x)
    wide = {"dense_1": {"w": jnp.ones((3, 4)), "b": jnp.ones(2)}}
    words = ["params/dense_1/w", "float32[3,4]", "float32[3,2]"]
    refused(words, to_torch, net, (wide, state), x=x)
    refused(["pass x="], to_torch, net, (wide, state))
    assert to_torch(net, (params, state))["dense_1.weight"].shape == (2, 3)
