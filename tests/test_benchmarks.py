# SPDX-License-Identifier: Apache-2.0
"""The benchmark runs, does the same work with every contender, and says what it did.

Times are never looked at, except that there are some.
"""

import argparse
import importlib.util
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

FOLDER = Path(__file__).parents[1] / "benchmarks"
SCRIPT, PICTURES = FOLDER / "train_mlp.py", FOLDER / "train_cnn.py"
TEXT = FOLDER / "train_sequences.py"
GENERATIVE = FOLDER / "train_generative.py"
SCALE, PRECISION = FOLDER / "scale.py", FOLDER / "precision.py"
OWN = ["jaxnn", "raw-step", "raw-scan"]  # those that need no other library
PEERS = ["flax", "equinox", "haiku", "keras", "torch"]


def run(*arguments, script=SCRIPT, warnings="error", **environment):
    """A script in a Python of its own."""
    return subprocess.run(
        [sys.executable, "-W", warnings, str(script), *map(str, arguments)],
        env=os.environ | environment,
        capture_output=True,
        text=True,
        timeout=600,
    )


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    """What a small run prints, and what it writes."""
    out = tmp_path_factory.mktemp("benchmarks")
    done = run("--small", "--only", *OWN, "--out", out)
    assert done.returncode == 0, done.stderr
    return done.stdout, json.loads((out / "train_mlp.json").read_text())


def test_table_has_a_row_for_each_contender(small):
    printed, report = small
    rows = [line.split() for line in printed.splitlines()]
    for result in report["results"]:
        row = next(r for r in rows if r[:2] == list(first_cells(result)))
        median = f"{result['ms_a_step']['median']:.3f}"
        assert median in row
    assert "ms/step" in printed and "compile s" in printed


def first_cells(result):
    return result["contender"], result["version"]


def test_every_round_and_step_is_accounted_for(small):
    _, report = small
    task = report["task"]
    assert [r["contender"] for r in report["results"]] == OWN
    for result in report["results"]:
        steps = task["epochs"] * task["examples"] // result["batch_size"]
        assert result["steps_a_turn"] == steps
        assert len(result["losses"]) == task["epochs"]
        times = result["ms_a_step"]
        assert len(times["rounds"]) == task["rounds"]
        assert 0 < times["min"] <= times["median"]
        assert result["compile_seconds"] >= 0


def test_ratios_are_to_jaxnn(small):
    _, report = small
    by_name = {r["contender"]: r for r in report["results"]}
    assert by_name["jaxnn"]["ratio_to_jaxnn"] == 1
    own = by_name["jaxnn"]["ms_a_step"]["rounds"]
    for r in report["results"]:
        pairs = zip(r["ms_a_step"]["rounds"], own, strict=True)
        ratios = [time / reference for time, reference in pairs]
        assert min(ratios) <= r["ratio_to_jaxnn"] <= max(ratios)


def test_jaxnn_tells_what_its_own_steps_took(small):
    _, report = small
    inside = {r["contender"]: r["inside_ms_a_step"] for r in report["results"]}
    assert 0 < inside["jaxnn"]
    assert inside["raw-step"] is None and inside["raw-scan"] is None


def test_all_do_the_same_work(small):
    """The two of raw JAX take the same batches, jaxnn those of another order."""
    _, report = small
    losses = {r["contender"]: r["losses"] for r in report["results"]}
    assert losses["raw-step"] == pytest.approx(losses["raw-scan"], rel=1e-4)
    assert losses["jaxnn"] == pytest.approx(losses["raw-scan"], rel=0.05)
    assert losses["jaxnn"] != losses["raw-scan"]
    assert losses["jaxnn"][-1] < losses["jaxnn"][0]


@pytest.mark.slow
def test_installed_peers_do_the_same_work(tmp_path):
    peers = [name for name in PEERS if importlib.util.find_spec(name)]
    if not peers:
        pytest.skip(f"none of {', '.join(PEERS)} is installed")
    arguments = ["--small", "--only", "raw-scan", *peers, "--out", tmp_path]
    done = run(*arguments, warnings="default")  # a peer may warn when it is imported
    assert done.returncode == 0, done.stderr
    report = json.loads((tmp_path / "train_mlp.json").read_text())
    losses = {r["contender"]: r["losses"] for r in report["results"]}
    for name in peers:
        rel = 0.05 if name == "keras" else 1e-3  # Keras draws an order of its own
        assert losses[name] == pytest.approx(losses["raw-scan"], rel=rel), name


def test_machine_and_versions_are_written(small):
    import jax

    _, report = small
    machine = report["machine"]
    assert machine["cpu"] and machine["cores"] >= 1
    assert machine["versions"]["jax"] == jax.__version__
    assert report["absent"] == []


def test_an_absent_library_is_listed_and_left_out(tmp_path):
    """A `sitecustomize` makes Haiku unfindable, whether or not it is installed."""
    (tmp_path / "sitecustomize.py").write_text(HIDE)
    arguments = ["--small", "--rounds", 1, "--epochs", 1, "--out", tmp_path]
    path = os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")])
    done = run(*arguments, "--only", "raw-scan", "haiku", PYTHONPATH=path)
    assert done.returncode == 0, done.stderr
    assert "not installed: haiku" in done.stdout
    report = json.loads((tmp_path / "train_mlp.json").read_text())
    assert report["absent"] == ["haiku"]
    assert [r["contender"] for r in report["results"]] == ["raw-scan"]
    assert report["results"][0]["ratio_to_jaxnn"] is None


HIDE = """\
import importlib.util

find = importlib.util.find_spec
importlib.util.find_spec = lambda name, *a: None if name == "haiku" else find(name, *a)
"""


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--batch-sizes", 7], "7 does not divide 640"),
        (["--rounds", 0], "--rounds and --epochs must be 1 or more"),
        (["--only", "nothing"], "invalid choice"),
    ],
)
def test_wrong_arguments_are_refused(arguments, said):
    done = run("--small", *arguments)
    assert done.returncode == 2
    assert said in done.stderr


OWN_ON_PICTURES = ["jaxnn", "jaxnn-step", "raw-step", "raw-scan"]


def train_pictures(out, work, names, warnings="error"):
    """A small run on pictures: what it prints, and what it writes."""
    arguments = ["--small", "--work", work, "--only", *names, "--out", out]
    done = run(*arguments, script=PICTURES, warnings=warnings)
    assert done.returncode == 0, done.stderr
    return done.stdout, json.loads((out / "train_cnn.json").read_text())


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    out = tmp_path_factory.mktemp("pictures")
    printed, report = train_pictures(out, "cnn", OWN_ON_PICTURES)
    return printed, report, (out / "train_cnn.md").read_text()


@pytest.mark.slow
def test_pictures_are_reported_as_a_table_too(pictures):
    printed, report, table = pictures
    assert table in printed
    rows = [line.split("|")[1:-1] for line in table.splitlines() if "|" in line]
    assert len({len(row) for row in rows}) == 1
    for result, row in zip(report["results"], rows[2:], strict=True):
        cells = [cell.strip() for cell in row]
        assert cells[:3] == [*first_cells(result), result["how"]]
        assert f"{result['ms_a_step']['median']:.2f}" in cells


@pytest.mark.slow
def test_every_contender_trains_the_same_network_on_pictures(pictures):
    _, report, _ = pictures
    results = report["results"]
    assert [r["contender"] for r in results] == OWN_ON_PICTURES
    assert len({r["parameters"] for r in results}) == 1
    reference = results[0]["probe_losses"]
    assert reference[1] < reference[0]
    for r in results:
        assert r["probe_losses"] == pytest.approx(reference, rel=1e-4)


@pytest.mark.slow
def test_raw_scan_takes_fewer_steps_on_a_cpu_and_says_so(pictures):
    printed, report, _ = pictures
    by_name = {r["contender"]: r for r in report["results"]}
    few, many = by_name["raw-scan"], by_name["raw-step"]
    assert few["steps_a_turn"] < many["steps_a_turn"]
    assert few["rounds"] == 1 < many["rounds"] == report["task"]["rounds"]
    assert f"raw-scan took {few['steps_a_turn']} steps in 1 of the rounds" in printed
    own = by_name["jaxnn"]["ms_a_step"]["rounds"][0]
    time = few["ms_a_step"]["rounds"][0]
    assert few["ratio_to_jaxnn"] == pytest.approx(time / own)


@pytest.mark.slow
def test_memory_and_compiling_are_each_contenders_own(pictures):
    _, report, _ = pictures
    for r in report["results"]:
        assert r["compile_seconds"] >= 0
        assert 2**26 < r["memory_bytes"] < 2**34
        assert r["images_a_second"] == pytest.approx(
            1e3 * r["batch_size"] / r["ms_a_step"]["median"]
        )


@pytest.mark.slow
def test_residual_networks_and_peers_do_the_same_work(tmp_path):
    """The script itself raises where losses from the same weights differ."""
    peers = [name for name in PEERS if importlib.util.find_spec(name)]
    names = ["jaxnn", "raw-step", *peers]
    _, report = train_pictures(tmp_path, "both", names, warnings="default")
    assert [r["contender"] for r in report["results"]] == 2 * names


@pytest.mark.slow
def test_first_call_of_a_deep_network(tmp_path):
    arguments = ["--compile", "resnet50", "--only", "jaxnn", "--rounds", 1]
    arguments += ["--size", 32, "--out", tmp_path]
    done = run(*arguments, script=PICTURES)
    assert done.returncode == 0, done.stderr
    report = json.loads((tmp_path / "compile_resnet50.json").read_text())
    (result,) = report["results"]
    assert result["ratio_to_jaxnn"] == result["ratio_with_build"] == 1
    inside = result["inside_seconds"]
    assert inside["compile"] < result["first_call_seconds"]
    assert "first call s" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--steps", 0], "--steps must be 1 or more, got 0"),
        (["--work", "vgg"], "invalid choice"),
        (["--compile", "resnet50", "--only", "torch"], "torch is not among jaxnn"),
        (["--only", "jaxnn-repeat"], "jaxnn-repeat is not among jaxnn"),
    ],
)
def test_wrong_arguments_for_pictures_are_refused(arguments, said):
    done = run("--small", *arguments, script=PICTURES)
    assert done.returncode == 2
    assert said in done.stderr


@pytest.fixture
def benchmarks(monkeypatch):
    """The folder of the scripts can be imported from."""
    monkeypatch.syspath_prepend(str(FOLDER))


def test_networks_have_their_published_sizes(benchmarks):
    from contenders import networks, works

    cnn, resnet = (works.FULL[name].weights(0) for name in ("cnn", "resnet20"))
    assert networks.parameters(cnn) == 320 + 18_496 + 401_536 + 1_290
    projections = 16 * 32 + 2 * 32 + 32 * 64 + 2 * 64
    assert networks.parameters(resnet) == 269_722 + projections
    assert len(list(networks.units(resnet))) == 1 + 18 + 2


def test_operations_are_counted(benchmarks):
    from contenders import networks, works

    first, second = 28 * 28 * 9 * 32, 14 * 14 * 9 * 32 * 64
    dense = 7 * 7 * 64 * 128 + 128 * 10
    work = works.FULL["cnn"]
    counted = networks.flops(work.weights(0), work.image)
    assert counted == 2 * (2 * first + 3 * second + 3 * dense)
    work = works.FULL["resnet20"]
    macs = sum(networks.macs(work.weights(0), 32 * 32))
    stage1 = 1024 * 9 * (3 * 16 + 6 * 16 * 16)
    stage2 = 256 * (9 * (16 * 32 + 5 * 32 * 32) + 16 * 32)
    stage3 = 64 * (9 * (32 * 64 + 5 * 64 * 64) + 32 * 64)
    assert macs == stage1 + stage2 + stage3 + 64 * 10


def test_channels_first_is_the_same_network(benchmarks):
    """A dense layer after a picture meets its channels in another order."""
    from contenders import networks

    rng = np.random.default_rng(0)
    weights = networks.plain((4, 4, 3), (5,), (6,), rng)
    (kernel, _), (matrix, _) = networks.of_chw(weights)
    assert kernel.shape == (5, 3, 3, 3) and matrix.shape == (6, 20)
    picture = rng.standard_normal((1, 2, 2, 5))
    flat = networks.chw(picture).reshape(1, -1)
    expected = picture.reshape(1, -1) @ weights[1][0]
    np.testing.assert_allclose(flat @ matrix.T, expected, rtol=1e-5)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"losses": [2.0, 1.9]}, "raw-step does other work than jaxnn"),
        ({"losses": [2.0, 2.1]}, "raw-step does not learn"),
        ({"losses": [2.0, float("nan")]}, "raw-step does not learn"),
        ({"parameters": 7}, "raw-step has 7 parameters for 1674"),
    ],
)
def test_other_work_is_refused(benchmarks, change, said):
    import rounds

    args = argparse.Namespace(small=True, backend="cpu")
    own = {"losses": [2.0, 1.5], "parameters": 1674}
    rounds.check_probes("cnn", {"jaxnn": own, "raw-step": own}, args)
    with pytest.raises(SystemExit, match=said):
        rounds.check_probes("cnn", {"jaxnn": own, "raw-step": own | change}, args)


def test_the_end_of_a_worker_is_told(benchmarks, capfd):
    from contenders.worker import Worker

    facts = {"name": "raw-step", "work": "none", "seed": 0, "small": True}
    with pytest.raises(SystemExit, match="raw-step, none: its process ended with 1"):
        Worker("train", facts)
    assert "KeyError: 'none'" in capfd.readouterr().err


def test_an_accelerator_adds_throughput(benchmarks):
    import reports

    result = {
        "contender": "jaxnn",
        "version": "1",
        "how": "nn.fit",
        "ms_a_step": {"median": 2.0, "min": 1.5},
        "inside_ms_a_step": None,
        "ratio_to_jaxnn": 1.0,
        "steps_a_turn": 8,
        "rounds": 2,
        "images_a_second": 32_000.0,
        "tflops": 12.5,
        "share_of_peak": 0.25,
        "compile_seconds": 1.0,
        "memory_bytes": 2**30,
        "device_memory_bytes": 2**29,
        "probe_losses": [2.3, 2.2],
    }
    printed = "\n".join(reports.step_lines([result], "a title"))
    assert "images/s" in printed and "32,000" in printed and "25.0%" in printed
    on_cpu = result | {"device_memory_bytes": None}
    assert "images/s" not in "\n".join(reports.step_lines([on_cpu], "a title"))


@pytest.fixture(scope="module")
def text(tmp_path_factory):
    """A small run on text: what it prints, what it writes, its tables."""
    out = tmp_path_factory.mktemp("text")
    arguments = ["--small", "--work", "lstm", "--generate", "lstm", "--rounds", 1]
    arguments += ["--only", "jaxnn", "raw-scan", "--out", out]
    done = run(*arguments, script=TEXT, JAXNN_DATA="")
    assert done.returncode == 0, done.stderr
    report = json.loads((out / "train_sequences.json").read_text())
    return done.stdout, report, (out / "train_sequences.md").read_text()


@pytest.mark.slow
def test_text_is_reported_as_tables(text):
    printed, report, tables = text
    assert tables in printed
    assert "text: random ids" in printed
    rows = [line.split("|")[1:-1] for line in tables.splitlines() if "|" in line]
    rows = [[cell.strip() for cell in row] for row in rows]
    for result in report["results"] + report["generation"]:
        (row,) = [
            row
            for row in rows
            if row[:3] == [*first_cells(result), result["how"]]
            and f"{result['tokens_a_second']:,.0f}" in row
        ]
        assert f"{result['compile_seconds']:.2f}" in row


@pytest.mark.slow
def test_every_contender_trains_the_same_network_on_text(text):
    _, report, _ = text
    own, raw = report["results"]
    assert [own["contender"], raw["contender"]] == ["jaxnn", "raw-scan"]
    assert own["parameters"] == raw["parameters"]
    assert own["probe_losses"] == pytest.approx(raw["probe_losses"], rel=1e-4)
    for r in (own, raw):
        tokens = r["batch_size"] * 12
        median = r["ms_a_step"]["median"]
        assert r["tokens_a_second"] == pytest.approx(1e3 * tokens / median)


@pytest.mark.slow
def test_generation_counts_the_tokens_of_all_rows(text):
    _, report, _ = text
    found = [(r["batch_size"], r["contender"]) for r in report["generation"]]
    assert found == [(n, name) for n in (1, 16) for name in ("jaxnn", "raw-scan")]
    for r in report["generation"]:
        assert r["memory_bytes"] > 2**26 and r["tokens_a_call"] == 8
        median = r["ms_a_token"]["median"]
        assert r["tokens_a_second"] == pytest.approx(1e3 * r["batch_size"] / median)
    ratios = [r["ratio_to_jaxnn"] for r in report["generation"]]
    assert ratios[0] == ratios[2] == 1


@pytest.mark.slow
@pytest.mark.parametrize("work", ["lstm", "transformer"])
def test_peers_do_the_same_work_on_text(tmp_path, work):
    """The script itself raises where losses or texts from the same weights differ."""
    peers = [name for name in PEERS if importlib.util.find_spec(name)]
    names = ["jaxnn", "jaxnn-step", "raw-step", "raw-scan", *peers]
    arguments = ["--small", "--rounds", 1, "--only", *names, "--out", tmp_path]
    arguments += ["--work", work, "--generate", work]
    done = run(*arguments, script=TEXT, warnings="default")
    assert done.returncode == 0, done.stderr
    report = json.loads((tmp_path / "train_sequences.json").read_text())
    assert [r["contender"] for r in report["results"]] == names
    written = [r["contender"] for r in report["generation"]]
    without = ["keras"] + ["equinox", "haiku"] * (work == "transformer")
    writers = [n for n in names if not n.endswith("-step") and n not in without]
    assert written == 2 * writers


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--calls", 0], "--calls must be 1 or more, got 0"),
        (["--work", "gru"], "invalid choice"),
        (["--tokens", 113], "--tokens must be 112 or less"),
        (["--generate", "lstm", "--only", "keras"], "--only: of jaxnn"),
    ],
)
def test_wrong_arguments_for_text_are_refused(arguments, said):
    done = run("--small", *arguments, script=TEXT)
    assert done.returncode == 2
    assert said in done.stderr


def test_language_models_have_their_known_sizes(benchmarks):
    from contenders import networks, works

    lstm, transformer = (works.find(n, False) for n in ("lstm", "transformer"))
    gates, head = (64 + 256 + 1) * 1024, 257 * 65
    assert lstm.parameters() == 65 * 64 + gates + head
    block = 4 * 257 * 256 + 257 * 1024 + 1025 * 256 + 4 * 256
    tables = (65 + 128) * 256
    assert transformer.parameters() == tables + 4 * block + 2 * 256 + head
    products = 64 * 1024 + 256 * 1024 + 256 * 65
    assert lstm.flops() == 64 * 64 * 6 * products
    products = 4 * (4 * 256 * 256 + 2 * 256 * 1024 + 2 * 128 * 256) + 256 * 65
    assert transformer.flops() == 16 * 128 * 6 * products
    assert len(networks.leaves(transformer.weights(0))) == 2 + 4 * 16 + 2 + 2


def test_text_is_cut_into_pieces_and_what_follows(benchmarks, tmp_path, monkeypatch):
    from contenders import works

    work = works.find("lstm", True)
    monkeypatch.delenv("JAXNN_DATA", raising=False)
    inputs, labels = work.data(3, seed=0)
    assert inputs.shape == labels.shape == (3, 12)
    whole = np.concatenate([inputs.ravel(), labels[-1, -1:]])
    np.testing.assert_array_equal(whole[1:], labels.ravel())
    assert set((labels - inputs).ravel() % 65) <= set(range(1, 9))
    (tmp_path / "tiny-shakespeare").mkdir()
    (tmp_path / "tiny-shakespeare" / "input.txt").write_text("cab")
    monkeypatch.setenv("JAXNN_DATA", str(tmp_path))
    np.testing.assert_array_equal(work.data(1, 0)[0], [[2, 0, 1] * 4])
    assert work.prompt(2, 0).shape == (2, 12)


def test_gates_and_heads_in_another_order(benchmarks):
    from contenders import sequences

    weights = sequences.lstm(5, 2, 3, np.random.default_rng(0))
    turned = sequences.reordered(weights, "igfo")
    np.testing.assert_array_equal(turned.b, np.repeat([0, 0, 1, 0], 3))
    np.testing.assert_array_equal(turned.u[:, 3:6], weights.u[:, 6:9])
    pair = sequences.affine(8, 8, np.random.default_rng(0))
    x = np.ones((5, 8), np.float32)
    apart, _ = sequences.by_head(pair)
    together, _ = sequences.by_head(pair, merge=True)
    heads = np.einsum("nc,chd->nhd", x, apart)
    np.testing.assert_allclose(heads.reshape(5, 8), x @ pair[0], rtol=1e-5)
    parts = x.reshape(5, 4, 2)
    merged = np.einsum("nhd,hdc->nc", parts, together)
    np.testing.assert_allclose(merged, x @ pair[0], rtol=1e-5)


@pytest.mark.parametrize(
    ("backend", "other", "accepted"),
    [("cpu", 1, True), ("cpu", 0, False), ("gpu", 0, True), ("gpu", None, False)],
)
def test_other_text_is_refused(benchmarks, backend, other, accepted):
    """Of two rows one may differ where products have fewer bits."""
    import rounds

    args = argparse.Namespace(backend=backend)
    own = [[1] * 20, [1] * 20]
    row = [1] * 16 + [7] * 4 if other else [1] * 15 + [7] * 5
    theirs = [row, row if other is None else own[1]]
    probes = {
        "jaxnn": {"tokens": {"2": own}},
        "torch": {"tokens": {"2": theirs}},
    }
    if accepted:
        return rounds.check_tokens("lstm", probes, args)
    with pytest.raises(SystemExit, match="torch writes other text than jaxnn"):
        rounds.check_tokens("lstm", probes, args)


@pytest.mark.slow
def test_generative_networks_and_peers_do_the_same_work(tmp_path):
    """The script itself raises where losses from the same weights differ."""
    names = [
        "jaxnn",
        *[peer for peer in ("flax", "torch") if importlib.util.find_spec(peer)],
    ]
    arguments = ["--small", "--rounds", 1, "--only", *names, "--out", tmp_path]
    done = run(*arguments, script=GENERATIVE, warnings="default")
    assert done.returncode == 0, done.stderr
    report = json.loads((tmp_path / "train_generative.json").read_text())
    assert [r["contender"] for r in report["results"]] == 3 * names
    assert [r["work"] for r in report["results"][:: len(names)]] == [
        "vae",
        "deep_vae",
        "dcgan",
    ]
    assert (tmp_path / "train_generative.md").read_text() in done.stdout


def test_operations_of_generative_networks_are_counted(benchmarks):
    from contenders import generative_works, works

    vae = works.find("vae", small=True)
    assert vae.parameters() == 64 * 16 + 16 + 16 * 8 + 8 + 4 * 16 + 16 + 16 * 64 + 64
    assert vae.flops() == 16 * 6 * (64 * 16 + 16 * 8 + 4 * 16 + 16 * 64)
    dcgan = generative_works.SMALL["dcgan"]
    making = 8 * 4 * 8 + 4 * 16 * 8 * 4 + 16 * 16 * 4
    judging = 16 * 16 * 4 + 4 * 16 * 4 * 8 + 32
    assert dcgan.flops() == 16 * (8 * making + 16 * judging)


def test_rows_by_channel_are_those_of_a_transposed_picture(benchmarks):
    from contenders import generative

    rng = np.random.default_rng(0)
    picture, w = rng.standard_normal((2, 3, 3, 5)), rng.standard_normal((45, 4))
    flat = picture.transpose(0, 3, 1, 2).reshape(2, -1)
    np.testing.assert_allclose(
        flat @ generative.by_channel(w, 5, 0), picture.reshape(2, -1) @ w
    )


@pytest.mark.slow
def test_each_of_two_devices_does_half_of_a_step(tmp_path):
    done = run("--small", "--out", tmp_path, script=SCALE)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "scale.md").read_text() in done.stdout
    report = json.loads((tmp_path / "scale.json").read_text())
    one, parallel, split = report["rows"]
    # Without a loop, XLA's own count is right.
    assert one["flops"] == pytest.approx(one["xla_flops"], rel=0.02)
    assert not one["collectives"]
    for row in (parallel, split):
        assert 0.5 <= row["flops_share"] < 0.52
        assert row["difference"] < 1e-5
        assert row["collectives"]["all-reduce"] == 1
        assert row["data_bytes"] == 0
        assert 0 < row["predicted"]["64"] < row["predicted"]["2"] < 1
    assert parallel["state_share"] == 1 and 0.5 <= split["state_share"] < 0.51
    weights = 4 * (65 * 256 + 257 * 256 + 257 * 10)
    loss = 8  # its sum, and the sum of the weights
    assert weights <= parallel["bytes"]["all-reduce"] <= weights + loss


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--devices", 3], "invalid choice"),
        (["--peak", 0], "--peak, --bandwidth and --per-device must be positive"),
    ],
)
def test_wrong_arguments_for_scale_are_refused(arguments, said):
    done = run("--small", *arguments, script=SCALE)
    assert done.returncode == 2
    assert said in done.stderr


PROGRAM = """\
%body (p: (s32[], f32[4,8])) -> (s32[], f32[4,8]) {
  %p = (s32[], f32[4,8]{1,0}) parameter(0)
  %h = f32[4,8]{1,0} get-tuple-element(%p), index=1
  %w = f32[8,8]{1,0} constant({...})
  %d = f32[4,8]{1,0} dot(%h, %w), lhs_contracting_dims={1}, rhs_contracting_dims={0}
  ROOT %t = (s32[], f32[4,8]{1,0}) tuple(%h, %d)
}

%fused (a: f32[4,8]) -> f32[4,8] {
  %a = f32[4,8]{1,0} parameter(0)
  ROOT %e = f32[4,8]{1,0} tanh(%a)
}

ENTRY %main (x: f32[4,8]) -> f32[8] {
  %x = f32[4,8]{1,0} parameter(0)
  %f = f32[4,8]{1,0} fusion(%x), kind=kLoop, calls=%fused
  %l = (s32[], f32[4,8]{1,0}) while(%f), condition=%c, body=%body, LOOP
  %r = (f32[8]{0}, bf16[2,3]{1,0}) all-reduce(%f, %x), to_apply=%add
}
"""


def test_operations_inside_a_loop_count_as_often_as_it_turns(benchmarks):
    import hlo

    known = 'backend_config={"known_trip_count":{"n":"5"}}'
    text = PROGRAM.replace("LOOP", known)
    assert hlo.flops(text) == 5 * 2 * 4 * 8 * 8 + 4 * 8
    (one,) = hlo.collectives(text)
    assert one.kind == "all-reduce" and one.bytes == 8 * 4 + 6 * 2
    with pytest.raises(ValueError, match="does not say how often it turns"):
        hlo.flops(PROGRAM.replace("LOOP", "backend_config={}"))


def test_a_convolution_counts_its_products(benchmarks):
    import hlo

    conv = hlo.Instruction(
        *("convolution", [("f32", (2, 8, 8, 5))], [(2, 8, 8, 3), (3, 3, 3, 5)]),
        *("%x, %w), window={size=3x3}, dim_labels=b01f_01io->b01f", 1),
    )
    assert conv.flops == 2 * (2 * 8 * 8 * 5) * (3 * 3 * 3)


def test_a_ring_sends_an_all_reduce_almost_twice(benchmarks):
    import scale

    assert scale.sent({"all-reduce": 800}, 8) == 1400
    assert scale.sent({"all-gather": 800, "all-to-all": 80}, 8) == 770
    assert scale.sent({"reduce-scatter": 100}, 8) == 700
    assert scale.sent({"all-reduce": 800}, 1) == 0


@pytest.mark.slow
def test_precisions_are_compared_from_the_same_start(tmp_path):
    done = run("--small", "--out", tmp_path, script=PRECISION)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "precision.md").read_text() in done.stdout
    report = json.loads((tmp_path / "precision.json").read_text())
    assert [row["name"] for row in report["rows"]] == ["mlp", "cnn", "lstm"]
    for row in report["rows"]:
        (plain,), (mixed,) = row["runs"]["float32"], row["runs"]["bfloat16"]
        assert plain["loss"] != mixed["loss"]  # else nothing was in bfloat16
        assert plain["loss"] == pytest.approx(mixed["loss"], rel=0.1)
        apart = 100 * (mixed["accuracy"] - plain["accuracy"])
        assert row["difference"] == pytest.approx(apart)
        assert (tmp_path / f"precision_{row['name']}.safetensors").exists()


def test_a_file_without_the_masters_is_refused(benchmarks, tmp_path, monkeypatch):
    import jax
    import optax
    import precision

    import jaxnn as nn

    net, x = nn.Mixed(nn.Dense(3)), np.ones((2, 4), np.float32)
    state = nn.train_state(net, optax.sgd(0.1), x, key=jax.random.key(0))
    precision.check_masters(tmp_path / "state", net, state)
    save = nn.save

    def rounded(path, state, **more):
        params = jax.tree.map(lambda a: a.astype("bfloat16"), state.params)
        save(path, state._replace(params=params), **more)

    monkeypatch.setattr(nn, "save", rounded)
    with pytest.raises(SystemExit, match="b is not the float32 array"):
        precision.check_masters(tmp_path / "state", net, state)


@pytest.mark.slow
def test_streams_are_told_beside_arrays():
    done = run("--steps", 2, "--rounds", 1, script=FOLDER / "stream.py")
    assert done.returncode == 0, done.stderr
    names = [line[:24].strip() for line in done.stdout.splitlines()]
    assert names[:4] == [
        "arrays",
        "arrays on the host",
        "arrays in files",
        "a function",
    ]


@pytest.mark.slow
def test_page_faults_end_where_memory_is_kept():
    given = "--only", "CNN", "--steps", 2, "--rounds", 1
    done = run(*given, script=FOLDER / "memory.py")
    assert done.returncode == 0, done.stderr
    (_, usual), (_, kept) = (
        (row[1], int(row[3].replace(",", "")))
        for row in map(str.split, done.stdout.splitlines())
        if row[0] == "CNN"
    )
    assert usual > 5_000 > 500 > kept
    sizes = dict(re.findall(r"^(.*\S) +([\d.]+) MB$", done.stdout, re.M))
    whole, pieces, remat = map(float, sizes.values())
    assert max(pieces, remat) < whole / 2
