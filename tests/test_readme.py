# SPDX-License-Identifier: Apache-2.0
"""The Python of the README and of the docs runs in order, as it stands there."""

import re
import sys
from inspect import ismodule
from pathlib import Path
from types import SimpleNamespace

import jax
import pytest
from matplotlib import pyplot

import jaxnn as nn

ROOT = Path(__file__).parents[1]
KEY = jax.random.key(0)
README = (ROOT / "README.md").read_text("utf8")
#: What takes long in the docs, and what the test puts in its place; the README itself
#: runs as it stands.
SHORTER = {
    "README.md": {},
    "docs/index.md": {"epochs=10": "epochs=1"},
    "docs/custom.md": {},
    "docs/big_data.md": {"epochs=3": "epochs=1"},
    "docs/resume.md": {},
    "docs/transfer.md": {"epochs=40": "epochs=1", "epochs=80": "epochs=1"},
    "docs/pytorch_weights.md": {},
    "docs/nan.md": {},
    "docs/gan.md": {"epochs=200": "epochs=1"},
    "docs/errors.md": {},
    "docs/from_keras.md": {"epochs=20": "epochs=2"},
    "docs/from_pytorch.md": {},
    "docs/from_flax.md": {},
    "docs/objectives.md": {"epochs=5": "epochs=1"},
    "docs/devices.md": {"epochs=5": "epochs=1"},
    "docs/decisions.md": {"episodes=100": "episodes=4"},
    "docs/ecosystem.md": {},
    "docs/reliability.md": {"epochs=30": "epochs=1"},
    "docs/recipe.md": {
        "epochs=50": "epochs=3",
        "epochs=27": "epochs=3",
        "epochs=5,": "epochs=1,",
        "samples=27": "samples=3",
        "nn.ensemble(net, 8)": "nn.ensemble(net, 2)",
    },
    "docs/convolution.md": {
        "nn.Conv(32, 3)": "nn.Conv(4, 3)",
        "nn.Conv(64, 3)": "nn.Conv(4, 3)",
        "224, 224": "32, 32",
        "207": "7",
        "nn.models.resnet(50)": "nn.models.cifar_resnet(8, 10, 4)",
        '"stage4"': '"stage3"',
    },
    "docs/sequences.md": {
        "epochs=3,\n    batch_size=64": "epochs=1,\n    batch_size=8",
        "nn.lstm(256)": "nn.lstm(8)",
        "prompt, 300": "prompt, 20",
    },
}


#: What pages need beyond what the tests install.
NEEDED = {"docs/ecosystem.md": ("sklearn", "pandas", "optuna")}


def code(page: str) -> list[str]:
    source = (ROOT / page).read_text("utf8")
    source = "\x00".join(re.findall(r"^```python\n(.*?)^```$", source, re.M | re.S))
    for long, short in SHORTER[page].items():
        assert long in source, f"{page} has no {long!r} any more"
        source = source.replace(long, short)
    return source.split("\x00")


@pytest.mark.parametrize("page", SHORTER)
def test_the_code_runs_in_order(page, tmp_path, monkeypatch):
    for package in NEEDED.get(page, ()):
        pytest.importorskip(package)
    tracker = SimpleNamespace(init=dict, log=lambda numbers, step=None: 0, finish=dict)
    monkeypatch.setitem(sys.modules, "trackio", tracker)  # type: ignore[arg-type]
    train, test = nn.data.digits()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(
        nn.data, "mnist", lambda: ((train[0][:300], train[1][:300]), test)
    )
    monkeypatch.setattr(nn.data, "tiny_shakespeare", lambda: "ROMEO: o, JULIET. " * 99)
    real = nn.io.from_torch

    def from_torch(net, x, weights, **options):
        """Files are not there."""
        if isinstance(weights, str):
            return net.init(KEY, x)
        return real(net, x, weights, **options)

    monkeypatch.setattr(nn.io, "from_torch", from_torch)
    names: dict = {}
    # as users have it
    with jax.numpy_rank_promotion("allow"), jax.numpy_dtype_promotion("standard"):
        for block in code(page):
            exec(compile(block, page, "exec"), names)
    pyplot.close("all")


def test_every_page_with_python_is_run():
    pages = {str(path.relative_to(ROOT)) for path in (ROOT / "docs").glob("*.md")}
    with_code = {
        page for page in pages if "```python" in (ROOT / page).read_text("utf8")
    }
    assert with_code - {"docs/xla_cpu_ynn_reduce.md"} <= {*SHORTER}


def test_the_readme_is_short():
    assert len(README.split()) <= 900


@pytest.mark.parametrize(
    "page", ["README.md", *(f"docs/{p.name}" for p in (ROOT / "docs").glob("*.md"))]
)
def test_the_files_that_a_page_names_exist(page):
    text = re.sub(
        r"^```.*?^```$", "", (ROOT / page).read_text("utf8"), flags=re.M | re.S
    )
    links = re.findall(r"\]\((?!http|#)([^)#]+)", text)
    place = (ROOT / page).parent
    assert [link for link in links if not (place / link).exists()] == []


def test_the_names_on_the_page_of_the_library_exist():
    page = (ROOT / "docs/library.md").read_text("utf8")
    found = re.findall(r"`([a-zA-Z_][\w.]*)`", page)
    assert len(found) > 100
    modules = [value for value in (getattr(nn, n) for n in dir(nn)) if ismodule(value)]
    places = [nn, *modules, nn.data.augment, nn.data.boxes, nn.data.text, jax]

    def exists_in(place, name: str) -> bool:
        first, _, rest = name.partition(".")
        if first not in dir(place):
            return False
        return not rest or exists_in(getattr(place, first), rest)

    def exists(name: str) -> bool:
        return any(
            exists_in(place, name.removeprefix("nn.").removeprefix("jax."))
            for place in places
        )

    assert [name for name in found if not exists(name)] == []
