"""The layout holds: imports go downwards only, and `import jaxnn` stays light."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import jaxnn as nn

ROOT = Path(nn.__file__).parent
#: From the bottom up; a module imports from its own row or those before it.
LEVELS = [
    ["trees", "spec", "signatures", "keys", "data", "ops", "figures", "compile_cache"],
    ["checks", "contracts", "initializers", "losses", "metrics", "pairs"],
    ["core"],
    ["layers"],
    ["combine", "stateful", "transformer"],
    ["surgery"],
    ["freezing"],
    ["feature_maps"],
    ["torch_weights"],
    ["io"],
    ["train"],
    ["doctor"],
    ["pictures"],
    ["optimizers", "schedules"],
    ["search"],
    ["decode"],
    ["models"],
]
LEVEL = {name: level for level, names in enumerate(LEVELS) for name in names}
HEAVY = ["matplotlib", "scipy.optimize", "pandas", "safetensors", "urllib.request"]


def imports(path: Path) -> set[str]:
    """What a file imports of jaxnn when it is itself imported."""
    found = set()
    for node in ast.parse(path.read_text("utf8")).body:
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("jaxnn"):
            inside = node.module.split(".")[1:]
            found |= {inside[0]} if inside else {alias.name for alias in node.names}
        if isinstance(node, ast.Import):
            assert not any(a.name.startswith("jaxnn") for a in node.names), path
    return found


@pytest.mark.quick
@pytest.mark.parametrize(
    "path", sorted(ROOT.rglob("*.py")), ids=lambda p: str(p.relative_to(ROOT))
)
def test_imports_go_downwards(path):
    own = path.relative_to(ROOT).with_suffix("").parts[0]
    if own == "__init__":
        return
    for name in imports(path):
        assert LEVEL[name] <= LEVEL[own], f"{own} imports {name}, which is above it"
    if own == "data":
        assert imports(path) <= {"data", "ops"}
    if own == "ops":
        assert imports(path) <= {"ops"}
    if own == "train":
        assert not imports(path) & {"layers", "combine", "models"}


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
