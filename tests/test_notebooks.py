# SPDX-License-Identifier: Apache-2.0
"""Every notebook runs from top to bottom, and is committed without its outputs."""

import ast
import functools
import json
import os
import re
import sys
from pathlib import Path

import matplotlib
import nbformat
import pytest

ROOT = Path(__file__).parents[1]
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
FIRST = ROOT / "notebooks" / "03_first_network.ipynb"
RECIPE = ROOT / "notebooks" / "04_recipe.ipynb"
CONVOLUTION = ROOT / "notebooks" / "05_convolution.ipynb"
INSIDE = ROOT / "notebooks" / "06_looking_inside.ipynb"
SEQUENCES = ROOT / "notebooks" / "07_sequences.ipynb"
ATTENTION = ROOT / "notebooks" / "08_attention.ipynb"
KERNEL = "jaxnn-tests"  # not "python3", which may be another Python of the machine
SECONDS_A_CELL = 300
NOWHERE = "http://127.0.0.1:9"  # a proxy that refuses: nothing is downloaded

# What the tools that run notebooks warn of is not ours to mend.
pytestmark = [
    # Windows: its default event loop lacks what zmq waits with
    pytest.mark.filterwarnings("ignore:Proactor event loop:RuntimeWarning"),
    # jupyter_core before 6, until the user has chosen where its folders are
    pytest.mark.filterwarnings("ignore:Jupyter is migrating:DeprecationWarning"),
]


def read(path):
    return nbformat.read(path, as_version=4)


def code_cells(notebook):
    return {cell.id: cell for cell in notebook.cells if cell.cell_type == "code"}


@pytest.fixture(params=NOTEBOOKS, ids=lambda path: path.stem)
def committed(request):
    """A notebook as it is in the repository."""
    return read(request.param)


def test_the_chapters_are_numbered():
    assert FIRST in NOTEBOOKS
    numbers = [int(path.name.split("_")[0]) for path in NOTEBOOKS]
    assert numbers == [*range(1, len(NOTEBOOKS) + 1)]


def test_every_chapter_ends_with_solved_exercises(committed):
    """The solutions assert what they claim, and stay closed until asked for."""
    cells = code_cells(committed)
    solutions = [cell for name, cell in cells.items() if name.startswith("solution-")]
    assert len(solutions) in (2, 3)
    text = "".join(c.source for c in committed.cells if c.cell_type == "markdown")
    assert text.count("**Exercise ") == len(solutions)
    for cell in solutions:
        assert "assert " in cell.source, cell.id
        assert cell.metadata["tags"] == ["hide-cell"], cell.id
        assert cell.metadata["jupyter"]["source_hidden"], cell.id


def test_committed_notebook_is_valid_and_has_no_outputs(committed):
    nbformat.validate(committed)
    for cell in code_cells(committed).values():
        assert cell.outputs == [] and cell.execution_count is None, cell.id


def test_cell_ids_are_names(committed):
    """Names, not random numbers: a cell that is edited keeps its id."""
    for cell in committed.cells:
        assert re.fullmatch(r"[a-z]+(-[a-z0-9]+)*", cell.id), cell.id
        assert not re.fullmatch(r"[0-9a-f]{8}", cell.id), cell.id


def test_kernel_is_any_python(committed):
    assert committed.metadata.kernelspec.name == "python3"
    assert "version" not in committed.metadata.language_info


def kernel(folder):
    """Make the running Python a kernel, by name, in a folder of Jupyter's path."""
    place = folder / "kernels" / KERNEL
    place.mkdir(parents=True)
    spec = {
        "argv": [sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}"],
        "display_name": KERNEL,
        "language": "python",
    }
    (place / "kernel.json").write_text(json.dumps(spec))


def run(notebook, folder, **environment):
    """Execute a notebook's cells, with nothing of this machine's Jupyter or data."""
    from nbclient import NotebookClient

    kernel(folder)
    path = [str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
    settings = {
        "JUPYTER_PATH": str(folder),
        "JUPYTER_CONFIG_DIR": str(folder / "config"),
        "JUPYTER_RUNTIME_DIR": str(folder / "runtime"),
        "IPYTHONDIR": str(folder / "ipython"),
        "PYTHONPATH": os.pathsep.join(path),  # so that nothing is ever installed
        "MPLCONFIGDIR": matplotlib.get_configdir(),  # its font cache takes long to make
        "https_proxy": NOWHERE,
        "http_proxy": NOWHERE,
        "XDG_CACHE_HOME": str(folder / "cache"),
        "LOCALAPPDATA": str(folder / "cache"),
        **environment,
    }
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("MPLBACKEND", raising=False)  # pictures go into the notebook
        patch.delenv("JAXNN_DATA", raising=False)
        for name, value in settings.items():
            patch.setenv(name, value)
        client = NotebookClient(
            notebook,
            kernel_name=KERNEL,
            timeout=SECONDS_A_CELL,
            resources={"metadata": {"path": str(ROOT / "notebooks")}},
        )
        client.execute()
    return notebook


@pytest.fixture(scope="module")
def executed(tmp_path_factory):
    """From a notebook's path to its code cells, run without network or data."""

    @functools.cache
    def execute(path):
        return code_cells(run(read(path), tmp_path_factory.mktemp("jupyter")))

    return execute


@pytest.fixture
def first(executed):
    """The executed code cells of the first notebook, by id."""
    return executed(FIRST)


def text(cell):
    """What a cell printed, and its value as text."""
    parts = [o.text for o in cell.outputs if o.get("name") == "stdout"]
    parts += [o.data["text/plain"] for o in cell.outputs if "data" in o]
    return "".join(parts)


def pictures(cell):
    return sum("image/png" in o.get("data", {}) for o in cell.outputs)


@pytest.mark.slow
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_notebook_runs_from_top_to_bottom(executed, path):
    cells = executed(path).values()
    assert [cell.execution_count for cell in cells] == [*range(1, len(cells) + 1)]


@pytest.mark.slow
def test_first_network_learns(first):
    by_hand = [
        float(line.split()[-1]) for line in text(first["hand-train"]).split("\n")[:-1]
    ]
    assert by_hand[-1] > 0.85
    assert ast.literal_eval(text(first["evaluate"]))["accuracy"] > 0.9
    assert "epoch 20/20" in text(first["fit"])
    assert "epoch 25/25" in text(first["resume"])


@pytest.mark.slow
def test_first_network_draws(first):
    drawn = [name for name, cell in first.items() if pictures(cell)]
    assert drawn == ["show-digits", "curve", "predict", "mistakes", "ensemble"]


@pytest.mark.slow
def test_first_network_shows_errors(first):
    assert "fit: data targets must be a class from 0 to 9" in text(
        first["error-labels"]
    )
    shown = text(first["error-shape"])
    assert "must have 64 features" in shown and "in dense_1: Dense(32)" in shown


@pytest.mark.slow
def test_first_network_survives_a_file(first):
    assert "the same numbers as before: True" in text(first["save"])


@pytest.mark.slow
def test_first_network_skips_mnist_politely(first):
    assert "skipped" in text(first["mnist-data"])
    assert first["mnist"].outputs == []


@pytest.mark.slow
@pytest.mark.needs("mnist")
def test_first_network_trains_on_mnist(real_data, tmp_path):
    notebook = read(FIRST)
    needed = ("install", "import", "loss", "mnist-data", "mnist")
    notebook.cells = [cell for cell in notebook.cells if cell.id in needed]
    cells = code_cells(run(notebook, tmp_path, JAXNN_DATA=str(real_data.parent)))
    last = text(cells["mnist"]).strip().splitlines()[-1]
    assert ast.literal_eval(last)["accuracy"] > 0.96


@pytest.fixture
def convolution(executed):
    """The executed code cells of the notebook on convolution, by id."""
    return executed(CONVOLUTION)


@pytest.mark.slow
def test_convolution_by_hand(convolution):
    assert text(convolution["slide"]).split() == "[[4 3 4] [2 4 3] [2 3 4]]".split()
    assert "[[4. 3. 4.]\n [2. 4. 3.]\n [2. 3. 4.]]" in text(convolution["conv"])
    channels = text(convolution["channels"])
    assert "[ 308 -498  164] and with a bias of 1: -25" in channels
    assert "nn.Conv: [[-25.]]" in channels
    assert "(5, 5) framed with zeros is (7, 7)" in text(convolution["padding"])
    assert "[[6., 5.],\n       [2., 9.]]" in text(convolution["pool"])


@pytest.mark.slow
def test_convolution_learns(convolution):
    assert "digits of 8x8 instead" in text(convolution["data"])
    assert ast.literal_eval(text(convolution["evaluate"]))["accuracy"] > 0.95
    assert "in conv_2: Conv(8, kernel=5" in text(convolution["error"])


@pytest.mark.slow
def test_convolution_draws(convolution):
    drawn = [name for name, cell in convolution.items() if pictures(cell)]
    assert drawn == ["slide-picture", "edges", "curve"]


@pytest.fixture
def inside(executed):
    """The executed code cells of the notebook that looks inside, by id."""
    return executed(INSIDE)


@pytest.mark.slow
def test_looking_inside_shows_where_it_looked(inside):
    assert ast.literal_eval(text(inside["fit"]))["accuracy"] > 0.95
    for name in ("saliency", "cam"):
        assert "gives the same: True" in text(inside[name])


@pytest.mark.slow
def test_looking_inside_draws(inside):
    drawn = [name for name, cell in inside.items() if pictures(cell)]
    asked = ["solution-occlusion", "solution-dream"]
    assert drawn == ["filters", "maps", "evidence", "wrong", *asked]


@pytest.fixture
def sequences(executed):
    """The executed code cells of the notebook on sequences, by id."""
    return executed(SEQUENCES)


@pytest.mark.slow
def test_sequences_by_hand_are_those_of_the_layers(sequences):
    assert "the same: True" in text(sequences["rnn"])
    padded = text(sequences["lengths"])
    assert "as if it were alone: True" in padded
    assert "past its end: [[0.0, 0.0, 0.0, 0.0], [0.0, 0.0, 0.0, 0.0]]" in padded


@pytest.mark.slow
def test_sequences_are_learned_and_written(sequences):
    plain, lstm = (
        float(line.split()[3].rstrip(";"))
        for line in text(sequences["adding"]).splitlines()
    )
    assert lstm < 0.02 < 0.1 < plain
    assert "a sonnet instead" in text(sequences["text"])
    assert float(text(sequences["model"]).split("loss ")[-1].split(";")[0]) < 1.5
    for name in ("write", "sample"):  # words of the sonnet, not only its letters
        assert {"the", "to", "and", "of"} & {*text(sequences[name]).lower().split()}


@pytest.mark.slow
def test_sequences_draws(sequences):
    drawn = [name for name, cell in sequences.items() if pictures(cell)]
    assert drawn == ["lstm"]


@pytest.fixture
def attention(executed):
    """The executed code cells of the notebook on attention, by id."""
    return executed(ATTENTION)


@pytest.mark.slow
def test_attention_by_hand_is_that_of_the_layer(attention):
    assert "the same: True" in text(attention["weights"])
    assert "ahead of a step: 0.0" in text(attention["causal"])
    assert "ids must be from 0 to" in text(attention["error"])


@pytest.mark.slow
def test_attention_reverses_and_writes(attention):
    assert float(text(attention["reverse"]).split("%")[0]) > 95
    loss = float(text(attention["transformer"]).split("loss ")[-1].split(";")[0])
    assert loss < 1.5
    known = {*attention["transformer"].source.split()}
    written = text(attention["write"]).split()
    assert sum(word in known for word in written) > len(written) / 2


@pytest.mark.slow
def test_attention_draws(attention):
    drawn = [name for name, cell in attention.items() if pictures(cell)]
    assert drawn == ["weights", "causal"]


@pytest.fixture
def recipe(executed):
    """The executed code cells of the notebook on the recipe, by id."""
    return executed(RECIPE)


@pytest.mark.slow
def test_recipe_makes_a_bad_network_good_on_its_training_data(recipe):
    said = text(recipe["doctor"])
    assert "1. vanishing gradients (very likely)" in said and "nn.Residual" in said
    assert float(text(recipe["relu"]).split()[1].rstrip(",")) > 0.9
    slopes = [float(w.strip("[]")) for w in text(recipe["mse"]).split() if "." in w]
    assert abs(slopes[0]) < 0.001 < 0.9 < abs(slopes[2])
    assert "learning rate 0.0" in text(recipe["rate"])
    assert text(recipe["adagrad"]).count("[ 0.22 22.36]") == 2
    for line in text(recipe["momentum"]).splitlines():
        by_hand, in_optax = line.split("by hand ")[1].split(", Optax ")
        assert by_hand == in_optax
    plain, *others = (
        float(line.split()[-1])
        for line in text(recipe["optimizers"]).splitlines()
        if "accuracy in training" in line
    )
    assert all(plain + 0.1 < other for other in others)


@pytest.mark.slow
def test_recipe_makes_it_good_on_new_data(recipe):
    assert "too few examples" in text(recipe["few"])
    assert "not better for 15 epochs" in text(recipe["stop"])
    decay, l1 = (
        int(line.split()[-1].rstrip("%"))
        for line in text(recipe["weights"]).splitlines()
        if "zero" in line
    )
    assert decay == 0 and l1 > 10
    table = {
        line[:30].strip(): [float(number) for number in line[30:].split()]
        for line in text(recipe["table"]).splitlines()[1:]
    }
    loss, accuracy, moved = table["nothing"]
    assert all(row[0] < loss for name, row in table.items() if name != "nothing")
    best = table["an ensemble of four"]
    assert best[1] > accuracy + 0.03 and best[2] > moved + 0.4
    before, after = (
        float(line.split()[-1]) for line in text(recipe["test"]).splitlines()
    )
    assert after > before + 0.03
    assert "sweep of 24 settings: 480 epochs in 1 program" in text(recipe["sweep"])


@pytest.mark.slow
def test_recipe_draws(recipe):
    drawn = [name for name, cell in recipe.items() if pictures(cell)]
    assert drawn == [
        *("data", "bad", "vanish", "relu", "rate", "optimizers", "few-curve"),
        *("augment", "sweep", "moons", "boundary", "surface", "line"),
    ]


@pytest.mark.slow
def test_recipe_shows_errors(recipe):
    said = text(recipe["error"])
    assert "matches no parameter (nearest: 'dense_1')" in said
    assert "images must be floats" in said and "patience must be 1 or more" in said


@pytest.mark.slow
def test_the_first_figure_of_a_notebook_is_shown(tmp_path):
    """Also where nothing has been drawn with pyplot before, which sets Jupyter up."""
    draw = "nn.pictures.compare_gradients({'net': {'dense_1': 0.1, 'dense_2': 1.0}})"
    cell = nbformat.v4.new_code_cell(f"import jaxnn as nn\n{draw}")
    run(nbformat.v4.new_notebook(cells=[cell]), tmp_path)
    assert pictures(cell) == 1


def test_every_notebook_installs_alike(committed):
    assert code_cells(committed)["install"] == code_cells(read(FIRST))["install"]


def installed(cell, *, absent, monkeypatch):
    """What the magic commands of a cell ask for, with jaxnn there or not."""
    from IPython.core.inputtransformer2 import TransformerManager

    asked = []

    class Shell:
        def run_line_magic(self, name, line):
            asked.append((name, line.split()))

    if absent:
        monkeypatch.setitem(sys.modules, "jaxnn", None)  # import then fails
    code = TransformerManager().transform_cell(cell.source)
    exec(code, {"get_ipython": Shell})
    return asked


@pytest.mark.parametrize("absent", [True, False], ids=["absent", "there"])
def test_the_install_cell_installs_only_what_is_absent(absent, monkeypatch):
    cell = code_cells(read(FIRST))["install"]
    asked = installed(cell, absent=absent, monkeypatch=monkeypatch)
    assert asked == ([("pip", ["install", "-q", ".."])] if absent else [])
    assert (FIRST.parent / ".." / "pyproject.toml").exists()


def test_the_install_cell_is_short(committed):
    assert len(code_cells(committed)["install"].source.splitlines()) <= 4
