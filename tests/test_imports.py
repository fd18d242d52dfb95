"""The layout holds: imports go downwards only, and `import jaxnn` stays light."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import jaxnn as nn

ROOT = Path(nn.__file__).parent
#: From the bottom up: a room imports from lower floors only, and no room of its own
#: floor. `python tests/test_imports.py` prints the table in CONTRIBUTING.md.
FLOORS = [
    {
        "messages/": "what the library says: names, answers, errors, tables",
        "flops": "floating-point operations of a function",
        "ops/": "arrays in, arrays out; knows no dict and no layer",
    },
    {
        "checks": "the checks that layers share",
        "keys": "random keys",
        "spec": "frozen specs",
        "trees": "paths in trees",
    },
    {
        "files/": "trees, arrays and figures in files, each replaced in one piece",
        "initializers": "how parameters begin",
        "layout": "how batches and parameters lie on several devices",
        "inputs/": "the arrays that come in; sequences with their lengths",
        "losses/": "one family a file, and what a loss expects",
        "schedules": "learning rates over steps",
    },
    {
        "core": "`Layer`, `Composite`, `run`: the one file to read first",
        "data/": "real data sets, splitting, scaling, augmentation",
        "metrics/": "per example, streaming, and of generated sets",
        "xla/": "the guard against XLA's fault on CPUs; its cache and its memory",
    },
    {
        "layers/": "one concept a file over an op; combinators; transformer blocks",
        "surgery": "`edit`, `Tap`, `layer_paths`",
        "summary": "the table of a network",
    },
    {
        "models/": "one paper a file, returns a layer",
        "train/": "state, step, epoch, fit, evaluate; knows no layer",
        "torch_weights/": "weights from PyTorch and back",
        "export": "a network as a program that runs without jaxnn",
        "rebuild": "a network from the text that a file records of it",
    },
    {
        "optimizers/": "what the recipe adds to Optax",
        "decode": "generation, as one program",
        "diffusion/": "diffusion models and flows: schedules, objectives, samplers",
        "rl/": "environments, agents, games and tree search",
        "pictures/": "pictures of a network and its training",
        "doctor/": "what is wrong with a training run",
        "search/": "sweeps",
        "sklearn/": "networks as estimators of scikit-learn",
        "io": "the door to `files/` and `torch_weights/`",
    },
]
FLOOR = {
    room.strip("/"): number for number, rooms in enumerate(FLOORS, 1) for room in rooms
}
ENTRANCE = {"__init__", "__main__", "moved"}
HEAVY = ["matplotlib", "scipy.optimize", "pandas", "safetensors", "urllib.request"]


def taken(tree: ast.AST) -> Iterator[ast.AST]:
    """Every import of a file, lazy ones too; not those for type checkers."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            continue
        if isinstance(node, ast.Import | ast.ImportFrom):
            yield node
        yield from taken(node)


def imports(path: Path) -> set[str]:
    """The rooms of jaxnn that a file imports from."""
    found = set()
    for node in taken(ast.parse(path.read_text("utf8"))):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("jaxnn"):
            inside = node.module.split(".")[1:]
            found |= {inside[0]} if inside else {alias.name for alias in node.names}
        if isinstance(node, ast.Import):
            assert not any(a.name.startswith("jaxnn") for a in node.names), path
    return found


def table() -> str:
    """The floors as the table of CONTRIBUTING.md, from the bottom up."""
    lines = ["| floor | place | what |", "| --- | --- | --- |"]
    for number, rooms in enumerate(FLOORS, 1):
        for room, what in rooms.items():
            name = room if room.endswith("/") else f"{room}.py"
            lines.append(f"| {number} | `{name}` | {what} |")
    return "\n".join(lines)


@pytest.mark.quick
@pytest.mark.parametrize(
    "path", sorted(ROOT.rglob("*.py")), ids=lambda p: str(p.relative_to(ROOT))
)
def test_imports_go_downwards(path):
    own = path.relative_to(ROOT).with_suffix("").parts[0]
    if own in ENTRANCE:
        return
    for name in imports(path) - {own, "__version__"}:
        assert FLOOR[name] < FLOOR[own], f"{own} imports {name}, which is not below it"


def test_contributing_shows_these_floors():
    contributing = ROOT.parent / "CONTRIBUTING.md"
    if not contributing.exists():
        pytest.skip("jaxnn is installed without its checkout")
    assert table() in contributing.read_text("utf8")


def test_files_stay_short():
    """At most 400 lines of code a file: longer ones hold several concepts."""
    for path in ROOT.rglob("*.py"):
        tree = ast.parse(path.read_text("utf8"))
        documented = (ast.Module, ast.ClassDef, ast.FunctionDef)
        docs = [
            node.body[0]
            for node in ast.walk(tree)
            if isinstance(node, documented) and ast.get_docstring(node)
        ]
        words = sum(d.end_lineno - d.lineno + 1 for d in docs)
        lines = len(path.read_text("utf8").splitlines()) - words
        assert lines <= 400, f"{path}: {lines} lines beside docstrings"


@pytest.mark.quick
def test_import_pulls_in_nothing_heavy():
    script = f"import sys, jax, optax; before = set(sys.modules); import jaxnn; \
print([m for m in {HEAVY!r} if m in sys.modules and m not in before])"
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert run.stdout.strip() == "[]", run.stderr


def test_import_starts_no_backend():
    """Importing makes no array: `nn.cache()` and device settings come first."""
    script = "import jaxnn, jax; from jax._src import xla_bridge as b; \
print(b.backends_are_initialized())"
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert run.stdout.strip() == "False", run.stderr


@pytest.mark.quick
def test_everything_public_is_documented():
    for name in dir(nn):
        value = getattr(nn, name)
        if not name.startswith("_") and (isinstance(value, type) or callable(value)):
            assert (value.__doc__ or "").strip(), name


@pytest.mark.parametrize("package", [nn, nn.layers], ids=lambda p: p.__name__)
def test_names_found_later_are_those_that_type_checkers_see(package):
    body = ast.parse(Path(package.__file__).read_text("utf8")).body
    seen = {
        alias.asname
        for block in body
        if isinstance(block, ast.If)
        for line in block.body
        if isinstance(line, ast.ImportFrom)
        for alias in line.names
    }
    assert seen and seen <= set(dir(package))
    assert all(getattr(package, name) is not None for name in seen)
    later = set(package._LATER if package is nn.layers else package._LAYERS)
    assert later <= seen
    with pytest.raises(AttributeError, match="no attribute 'Densee'"):
        package.Densee  # noqa: B018


def test_modules_that_moved_answer_to_their_old_names():
    script = "import jaxnn as nn; from jaxnn.combine import Sequential; \
assert Sequential is nn.Sequential and nn.feature_maps.grad_cam is nn.pictures.grad_cam"
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert not run.returncode, run.stderr
    for old in ("combine", "feature_maps"):
        assert f"FutureWarning: jaxnn.{old} is now jaxnn." in run.stderr


if __name__ == "__main__":
    print(table())
