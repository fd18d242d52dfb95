# SPDX-License-Identifier: Apache-2.0
"""State dicts in files and in memory, plain and others: read rightly, or refused."""

import io
import pickle
import re
import warnings
import zipfile

import jax
import numpy as np
import pytest
import safetensors.numpy

import jaxnn as nn

torch = pytest.importorskip("torch")
from_torch = nn.io.from_torch

NET, X = nn.Dense(2), np.ones((1, 3), np.float32)
W = torch.arange(6.0).reshape(2, 3)
GOOD = {"weight": W, "bias": torch.ones(2)}


def refused(state_dict, words, error=ValueError, net=NET):
    """The one clear error: it names the file and says what to do."""
    with pytest.raises(error, match=r"^from_torch: ") as caught:
        from_torch(net, X, state_dict)
    for word in [words] if isinstance(words, str) else words:
        assert word in str(caught.value), f"{word!r} not in {caught.value}"
    return str(caught.value)


def taken(state_dict, net=NET):
    params, _ = from_torch(net, X, state_dict)
    (w,) = (leaf for leaf in jax.tree.leaves(params) if leaf.ndim == 2)
    np.testing.assert_array_equal(w, W.numpy().T)


# --- what a pickle can do ---


def doubled(times):
    """A tuple that holds one twice, which does as well, and so on."""
    value = (1,)
    for _ in range(times):
        value = (value, value)
    return value


class Doubled:
    """Pickled as bytes that are twice as long with each call."""

    def __init__(self, times):
        self.times = times

    def __reduce__(self):
        import _codecs

        return _codecs.encode, (Doubled(self.times - 1) if self.times else b"ab", "hex")


def deep(times):
    value = ()
    for _ in range(times):
        value = (value,)
    return value


def saved(path, value):
    torch.save(value, path)
    return path


def saved_as_before(path, value):
    torch.save(value, path, _use_new_zipfile_serialization=False)
    return path


@pytest.mark.parametrize("save", [saved, saved_as_before])
@pytest.mark.parametrize(
    "bomb",
    [
        {"weight": doubled(60)},
        {**GOOD, "extra": [doubled(40)]},
        {"weight": Doubled(50)},
        {"weight": deep(400)},
    ],
    ids=["tuples", "within", "bytes", "deep"],
)
def test_a_pickle_that_would_grow_without_end_is_refused_at_once(tmp_path, save, bomb):
    path = save(tmp_path / "bomb.pth", bomb)
    assert path.stat().st_size < 5000
    refused(path, ["bomb.pth", "no state_dict", "was not loaded"])


def test_a_name_that_would_be_hashed_without_end_is_refused_at_once(tmp_path):
    """`{t: 1}` for nested tuples, as no Python could have made it."""
    doubling = b"".join(b"h%ch%c\x86q%c" % (i, i, i + 1) for i in range(60))
    body = b"\x80\x02(K\x01tq\x00" + doubling + b"}h\x3cK\x01s."
    buffer = io.BytesIO()
    torch.save(GOOD, buffer)
    path = tmp_path / "bomb.pth"
    with zipfile.ZipFile(buffer) as source, zipfile.ZipFile(path, "w") as target:
        for name in source.namelist():
            pickled = name.endswith("data.pkl")
            target.writestr(name, body if pickled else source.read(name))
    refused(path, ["bomb.pth", "was not loaded"])


@pytest.mark.parametrize("save", [saved, saved_as_before])
def test_a_checkpoint_of_thousands_of_tensors_is_no_bomb(tmp_path, save):
    shared = (0.9, 0.999)
    groups = [{"params": [i], "betas": shared, "lr": 0.1} for i in range(2000)]
    state = {i: {"step": torch.ones(()), "mean": torch.ones(2)} for i in range(500)}
    whole = {"epoch": 3, "optimizer": {"state": state, "groups": [groups] * 3}}
    taken(save(tmp_path / "last.ckpt", {"state_dict": GOOD, **whole}))


def test_a_compressed_archive_is_refused_before_it_is_unpacked(tmp_path):
    path = tmp_path / "bomb.pth"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("bomb/data.pkl", pickle.dumps({}, 2))
        file.writestr("bomb/data/0", bytes(10_000_000))
    refused(path, ["bomb.pth", "compressed", "save model.state_dict() again"])


def test_shapes_are_looked_at_before_numbers(tmp_path):
    """A tensor of four numbers in a file that claims to be of 4 TB."""
    wide = {"weight": torch.zeros(1).expand(1 << 20, 1 << 20), "bias": torch.ones(2)}
    words = "misshapen: weight is [1048576,1048576], w needs [2,3]"
    refused(wide, words)
    refused(saved(tmp_path / "wide.pth", wide), [words, "wide.pth"])
    broad = {"weight": np.broadcast_to(np.float32(0), (1 << 20, 1 << 20))}
    refused(broad, ["misshapen", "missing: bias [2]"])


@pytest.mark.parametrize("save", [saved, saved_as_before])
def test_damaged_files_have_one_error_that_names_them(tmp_path, save):
    """Cut anywhere, or with bytes changed: refused, or read without harm."""
    content = save(tmp_path / "x.pth", GOOD).read_bytes()
    rng = np.random.default_rng(0)
    for case in range(150):
        damaged = bytearray(content)
        if case % 3:
            for at in rng.integers(0, min(len(content), 700), 3):
                damaged[at] = rng.integers(256)
        else:
            damaged = damaged[: rng.integers(1, len(content))]
        (tmp_path / "x.pth").write_bytes(damaged)
        try:
            from_torch(NET, X, tmp_path / "x.pth")
        except (ValueError, TypeError) as error:
            assert str(error).startswith("from_torch: ")
            assert "x.pth" in str(error)


# --- files of other kinds ---


def test_files_that_are_no_state_dict_say_what_they_are(tmp_path):
    def file(name, content):
        (tmp_path / name).write_bytes(content)
        return tmp_path / name

    refused(file("a.pth", b""), ["a.pth is empty", "get it again"])
    refused(file("b.pth", b"<!DOCTYPE html><html>"), ["b.pth", "a web page"])
    lfs = b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n"
    refused(file("c.safetensors", lfs), ["c.safetensors", "`git lfs pull`"])
    refused(file("d.pt", b"epoch 1, loss 0.3\n" * 9), ["d.pt", "text"])
    refused(file("e.h5", b"\x89HDF\r\n\x1a\n"), ["e.h5", "Keras"])
    refused(file("f.pth", b"\x1f\x8b\x08\x00" + bytes(60)), ["f.pth", "gzip"])
    refused(file("g.pth", pickle.dumps({"weight": 1})), ["g.pth", "torch.save did not"])
    refused(file("h.safetensors", bytes(99)), ["h.safetensors"])
    refused(tmp_path / "i.pth", "i.pth is not there", FileNotFoundError)
    refused(tmp_path, "is a folder", FileNotFoundError)
    np.savez(tmp_path / "j.npz", **{k: v.numpy() for k, v in GOOD.items()})
    refused(tmp_path / "j.npz", "pass dict(np.load('j.npz'))")
    with zipfile.ZipFile(tmp_path / "k.pt", "w") as archive:
        archive.writestr("readme.txt", "hello")
    refused(tmp_path / "k.pt", ["k.pt", "zip archive that torch.save did not write"])


def test_a_torchscript_archive_says_how_to_take_its_weights(tmp_path):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.jit.script(torch.nn.Linear(3, 2)).save(tmp_path / "m.pt")
    refused(tmp_path / "m.pt", ["TorchScript", "torch.jit.load('m.pt').state_dict()"])


def test_a_whole_pickled_module_is_named_and_not_executed(tmp_path):
    torch.save(torch.nn.Linear(3, 2), tmp_path / "m.pth")
    words = ["m.pth holds more than tensors", "Linear", "Save model.state_dict() alone"]
    refused(tmp_path / "m.pth", words)


@pytest.mark.parametrize("name", ["w.bin", "w.weights", "w"])
def test_a_file_is_what_its_content_says(tmp_path, name):
    taken(saved(tmp_path / name, GOOD))
    arrays = {k: v.numpy() for k, v in GOOD.items()}
    safetensors.numpy.save_file(arrays, tmp_path / name)
    taken(tmp_path / name)


# --- checkpoints ---


def test_lightnings_checkpoint_is_read(tmp_path):
    """`state_dict` beside other things, all names behind that of the module."""
    behind = {f"model.net.{name}": value for name, value in GOOD.items()}
    whole = {"epoch": 3, "state_dict": behind, "optimizer_states": [{"state": {}}]}
    taken(saved(tmp_path / "last.ckpt", whole))
    taken(whole)


def test_what_all_names_begin_with_does_not_hide_them():
    """Else `b` would come first, by order, and the two be swapped."""
    net = nn.Sequential(a=nn.Dense(3), b=nn.Dense(3))
    arrays = {
        f"_orig_mod.module.{k}.weight": np.full((3, 3), i) for i, k in enumerate("ba")
    }
    arrays |= {f"_orig_mod.module.{k}.bias": np.zeros(3) for k in "ba"}
    params, _ = from_torch(net, X, arrays)
    assert params["a"]["w"][0, 0] == 1 and params["b"]["w"][0, 0] == 0


def test_other_checkpoints_say_what_to_pass(tmp_path):
    whole = {"epoch": 3, "model": GOOD, "ema": GOOD}
    words = ["'model'", "a dict of its own", "weights_only=True"]
    refused(saved(tmp_path / "c.pth", whole), ["c.pth", *words], TypeError)
    optimizer = torch.optim.Adam([torch.nn.Parameter(W)]).state_dict()
    words = "that of an optimizer; pass model.state_dict()"
    refused(optimizer, words, TypeError)
    refused(saved(tmp_path / "o.pth", optimizer), ["o.pth", words], TypeError)
    refused(saved(tmp_path / "l.pth", [W]), ["l.pth", "got list"], TypeError)
    refused(saved(tmp_path / "t.pth", W), ["t.pth", "Tensor"], TypeError)


def test_names_that_are_no_strings_and_no_names_at_all():
    refused({0: W}, "names in the state_dict must be strings, got int 0", TypeError)
    refused({b"weight": W}, "got bytes b'weight'", TypeError)
    refused({doubled(3): W}, "got tuple", TypeError)
    refused({}, ["does not fit the network", "missing: weight [2,3]"])
    refused({"²": W, "a..b": W}, ["unexpected: ²", "unexpected: a..b"])


# --- tensors of other kinds ---


def kinds():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield "sparse", W.to_sparse()
        yield "csr", W.to_sparse_csr()
        yield "quantized", torch.quantize_per_tensor(W, 1.0, 0, torch.qint8)
        yield "float8", W.to(torch.float8_e4m3fn)
        yield "bfloat16", W.bfloat16()
        yield "integers", W.long()
        yield "parameter", torch.nn.Parameter(W)
        yield "negated", torch.complex(W, -W).conj().imag
        yield "strided", W.T.contiguous().T
        yield "numpy bfloat16", W.numpy().astype("bfloat16")
        yield "big-endian", W.numpy().astype(">f8")
        yield "jax", jax.numpy.asarray(W.numpy())


@pytest.mark.parametrize(("kind", "tensor"), list(kinds()))
def test_tensors_of_any_exact_kind_are_taken(kind, tensor):
    taken({**GOOD, "weight": tensor})


def test_one_storage_under_two_names_is_two_arrays(tmp_path):
    net = nn.Sequential(nn.Dense(3), nn.Dense(3))
    w = torch.arange(9.0).reshape(3, 3)
    shared = {"0.weight": w, "0.bias": w[0], "1.weight": w, "1.bias": w[1]}
    params, _ = from_torch(net, X, saved(tmp_path / "s.pth", shared))
    np.testing.assert_array_equal(params["dense_1"]["w"], w.numpy().T)
    np.testing.assert_array_equal(params["dense_2"]["b"], w[1].numpy())


@pytest.mark.parametrize(
    ("tensor", "words", "error"),
    [
        (W.to("meta"), "has no numbers to take", TypeError),
        (torch.nn.UninitializedParameter(), "must be a tensor", TypeError),
        (W.to(torch.complex64), "real numbers, got complex64", TypeError),
        (W.numpy().astype(object), "real numbers, got object", TypeError),
        (W.numpy().astype("U3"), "real numbers, got <U", TypeError),
        (np.ma.masked_array(W.numpy(), W.numpy() > 3), "masked array", TypeError),
        (np.zeros((2, 3), [("a", "f4")]), "real numbers", TypeError),
        (jax.ShapeDtypeStruct((2, 3), "float32"), "real numbers", TypeError),
        (W.double() * 1e300, "numbers that float32 cannot", ValueError),
        (W.long() + 2**24, "16777217 (int64)", ValueError),
        ([[1.0]], "must be a tensor, got list", TypeError),
        (None, "must be a tensor, got NoneType", TypeError),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_tensors_without_numbers_of_use_are_named(tensor, words, error):
    text = refused({**GOOD, "weight": tensor}, [words, "'weight'"], error)
    assert re.search("^from_torch", text)
