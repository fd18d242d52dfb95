"""What modules show: public names alone, each with a line in the module's help."""

import inspect
import pydoc
import subprocess
import sys

import pytest

import jaxnn as nn
from jaxnn import torch_weights

MODULES = [
    *(nn, nn.layers, nn.losses, nn.metrics, nn.initializers, nn.trees, nn.io),
    *(nn.data, nn.data.augment, nn.data.boxes, nn.models, nn.optimizers),
    *(nn.schedules, nn.pictures),
    *(
        nn.train,
        nn.callbacks,
        nn.search,
        nn.doctor,
        nn.decode,
        nn.diffusion,
        nn.rl,
        torch_weights,
    ),
]
every_module = pytest.mark.parametrize("module", MODULES, ids=lambda m: m.__name__)


@every_module
def test_dir_shows_what_is_public_and_nothing_else(module):
    assert dir(module) == sorted(module.__all__) and module.__all__
    for name in dir(module):
        value = getattr(module, name)
        home = value.__name__ if inspect.ismodule(value) else value.__module__
        assert home.startswith("jaxnn."), name
        assert not name.startswith("_") and inspect.getdoc(value), name


def test_all_public_modules_are_tested():
    found = {v for m in MODULES for n in dir(m) if inspect.ismodule(v := getattr(m, n))}
    assert found - {*MODULES} == {nn.data.text, nn.sklearn}


def test_what_a_file_uses_is_not_public():
    used = {"importlib", "Any", "annotations", "TYPE_CHECKING", "guard", "moved", "jax"}
    for module in MODULES:
        assert not used & {*dir(module)}, module.__name__
    assert {"fit", "Dense", "Embed", "callbacks", "train", "Layer"} <= {*dir(nn)}
    assert {"core", "spec", "checks", "files", "public"}.isdisjoint(dir(nn))
    assert dir(nn.schedules) == ["inverse_sqrt", "step_decay"]


@every_module
def test_help_lists_every_name_with_a_line(module):
    lines = {line.split()[0]: line for line in module.__doc__.splitlines() if line}
    for name in dir(module):
        value = getattr(module, name)
        own = vars(value) if inspect.ismodule(value) else {"__doc__": value.__doc__}
        assert lines[name].endswith(inspect.cleandoc(own["__doc__"]).splitlines()[0])


@pytest.mark.parametrize("module", [nn.schedules, nn.losses, nn.callbacks])
def test_help_works(module):
    text = pydoc.render_doc(module, renderer=pydoc.plaintext)
    first = module.__doc__.splitlines()[0]
    assert first in text and "_Shown" not in text
    for name in dir(module):
        assert text.count(name) > 1, name


def test_a_star_gives_all_names_and_the_import_makes_no_list():
    script = """
import sys, jaxnn as nn
assert "jaxnn.models" not in sys.modules and "jaxnn.train" not in sys.modules
from jaxnn.schedules import *
assert callable(step_decay) and "Any" not in globals()
from jaxnn import *
assert Dense is nn.Dense and callable(fit) and data is nn.data
assert "importlib" not in globals()
"""
    subprocess.run([sys.executable, "-c", script], check=True)


def test_names_are_completed_in_ipython():
    completer = pytest.importorskip("IPython.core.completer")
    names = {"nn": nn}
    for use_jedi in (False, True):
        found = completer.IPCompleter(namespace=names, use_jedi=use_jedi)
        with completer.provisionalcompleter():
            texts = [c.text for c in found.completions("nn.fi", 5)]
            assert any("fit" in text for text in texts)
            later = [c.text for c in found.completions("nn.data.au", 10)]
            assert any("augment" in text for text in later)


def test_what_is_missing_is_said():
    with pytest.raises(AttributeError, match="no attribute 'fitt'"):
        nn.fitt  # noqa: B018
