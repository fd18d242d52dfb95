# SPDX-License-Identifier: Apache-2.0
"""The README's Python runs as it stands there, on smaller data and for fewer epochs."""

import re
from inspect import ismodule
from pathlib import Path

import jax
import numpy as np
import optax
import pytest

import jaxnn as nn

README = (Path(__file__).parents[1] / "README.md").read_text("utf8")
#: What takes long, and what the test puts in its place.
SHORTER = {
    "epochs=30": "epochs=2",
    "epochs=50": "epochs=3",
    "epochs=27": "epochs=3",
    "samples=27": "samples=3",
    "epochs=3,\n    batch_size=64": "epochs=1,\n    batch_size=8",
    "nn.Conv(32, 3)": "nn.Conv(4, 3)",
    "nn.Conv(64, 3)": "nn.Conv(4, 3)",
    "nn.models.resnet(50)": "nn.models.cifar_resnet(8, 10, 4)",
    '"stage4"': '"stage3"',
    "nn.ensemble(net, 8)": "nn.ensemble(net, 2)",
    "nn.lstm(256)": "nn.lstm(8)",
    "prompt, 300": "prompt, 20",
}


@pytest.fixture(scope="module")
def blocks() -> list[str]:
    source = "\x00".join(re.findall(r"^```python\n(.*?)^```$", README, re.M | re.S))
    for long, short in SHORTER.items():
        assert long in source, f"the README has no {long!r} any more"
        source = source.replace(long, short)
    return source.split("\x00")


def test_the_code_runs(blocks, tmp_path, monkeypatch, capsys):
    train, test = nn.data.digits()
    train = train[0][:300], train[1][:300]
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(nn.data, "mnist", lambda: (train, test))
    monkeypatch.setattr(nn.data, "tiny_shakespeare", lambda: "ROMEO: o, JULIET. " * 99)
    monkeypatch.setattr(nn.io, "from_torch", lambda net, x, path: net.init(key, x))
    key = jax.random.key(0)
    names = {
        "Path": Path,
        "key": key,
        "keys": jax.random.split(key, 2),
        "x": test[0][:4],
        "label": 3,
        "images": test[0],
        "held_out": test,
        "loss": nn.losses.softmax_cross_entropy,
        "optimizer": optax.sgd(0.1),
    }
    assert len(blocks) == 7
    for block in blocks:
        exec(compile(block, "README.md", "exec"), names)
    assert {path.name for path in tmp_path.iterdir()} == {
        "curves.png",
        "run.safetensors",
    }
    assert str(names["result"]) in capsys.readouterr().out
    assert np.isfinite(names["history"]["loss"]).all()


def test_the_files_that_it_names_exist():
    root = Path(__file__).parents[1]
    links = re.findall(r"\]\((?!http|#)([^)#]+)", README)
    assert len(links) > 20
    assert [link for link in links if not (root / link).exists()] == []


def test_the_names_on_its_page_exist():
    page = README.split("## The library on a page")[1].split("\n## ")[0]
    found = re.findall(r"`([a-zA-Z_][\w.]*)`", page)
    assert len(found) > 100
    modules = [value for value in (getattr(nn, n) for n in dir(nn)) if ismodule(value)]
    places = [nn, *modules, nn.data.augment, nn.data.text]

    def exists(name: str) -> bool:
        for place in places:
            for part in name.removeprefix("nn.").split("."):
                place = getattr(place, part, None)
            if place is not None:
                return True
        return False

    assert [name for name in found if not exists(name)] == []
