"""Sweeps: each trial is what `fit` gives; the best wins; bad input is refused early."""

import json
import math
import re
import subprocess
import sys
from functools import partial
from pathlib import Path
from xml.etree import ElementTree

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import jaxnn as nn
from jaxnn.search.groups import groups
from jaxnn.search.parts import Maker
from jaxnn.search.program import Program
from jaxnn.search.space import floats, read, settings_of
from jaxnn.search.tracing import stacked, tracing

RNG = np.random.default_rng(0)
X = RNG.standard_normal((50, 5)).astype(np.float32)
Y = (X @ RNG.standard_normal((5, 3))).argmax(1)
TRAIN, VALIDATION = (X[:40], Y[:40]), (X[40:], Y[40:])
KEY = jax.random.key(3)
LOSS = nn.losses.softmax_cross_entropy
COMMON = {"loss": LOSS, "epochs": 4, "batch_size": 10, "key": KEY, "shuffle": False}
RATES = [0.01, 0.1, 0.5, 1e38]


def net(width=8, dropout=0.0):
    return nn.Sequential(nn.Dense(width), jax.nn.relu, nn.Dropout(dropout), nn.Dense(3))


def sweep(over, network=net, **options):
    usual = {**COMMON, "validation": VALIDATION, "optimizer": optax.sgd}
    return nn.sweep(network, TRAIN, over=over, **{**usual, **options})


def fit(network, optimizer, data=TRAIN, **options):
    usual = {**COMMON, "validation": VALIDATION, "optimizer": optimizer}
    return nn.fit(network, data, **{**usual, **options})


def close(state, other):
    jax.tree.map(
        partial(np.testing.assert_allclose, rtol=2e-5, atol=2e-6),
        (state.params, state.opt_state),
        (other.params, other.opt_state),
    )


def find(result, **settings):
    """The one trial with these settings."""
    (trial,) = [t for t in result.trials if settings.items() <= t.settings.items()]
    return trial


@pytest.fixture(scope="module")
def grid():
    """Rates and dropout are traced, widths are not."""
    return sweep(
        {
            "learning_rate": RATES,
            "dropout": [0.0, 0.4],
            "width": [4, 8],
            "seed": range(2),
        },
        metrics={"accuracy": nn.metrics.accuracy},
        shuffle=True,
    )


@pytest.fixture(scope="module")
def line():
    """One name, every trial with the same key."""
    return sweep({"learning_rate": RATES})


@pytest.mark.quick
# --- A trial is a run of its own ---------------------------------------------------


@pytest.mark.quick
def test_a_grid_trains_in_a_program_for_each_shape(grid):
    assert len(grid.trials) == 32 and len(grid.rows) == 16
    assert len(grid.programs) == 2 and grid.traced == ["dropout", "learning_rate"]
    assert grid.logs["val_accuracy"].shape == (32, 4)
    assert grid.epochs == 32 * 4 and grid.seconds["compile"] > 0


def test_a_trial_is_the_fit_of_its_settings_and_key(grid):
    trial = find(grid, learning_rate=0.5, dropout=0.4, width=4, seed=1)
    key = jax.random.fold_in(KEY, 1)
    _, history = fit(net(4, 0.4), optax.sgd(0.5), key=key, shuffle=True)
    np.testing.assert_allclose(trial.logs["loss"], history["loss"], rtol=1e-5)
    np.testing.assert_allclose(trial.logs["val_loss"], history["val_loss"], rtol=1e-5)
    assert trial.score == pytest.approx(history["val_loss"][-1], rel=1e-5)


def test_without_seeds_all_trials_have_the_key_of_the_sweep(line):
    state, history = fit(net(), optax.sgd(line.best.settings["learning_rate"]))
    np.testing.assert_allclose(
        line.best.trial.logs["val_loss"], history["val_loss"], rtol=1e-5
    )
    close(line.state, state)


def test_results_are_a_few_lines(grid, line):
    head, best, last = repr(line).splitlines()
    assert head.startswith("SweepResult: sweep of 4 settings: 16 epochs in 1 program")
    assert best.startswith("best val_loss 0.") and "learning_rate=" in best
    assert last == "print(result) shows a table of them"
    score = rf"learning_rate={line.best.settings['learning_rate']}: 0\.\d+"
    assert re.fullmatch(rf"Row\({score}, 1 trial\)", repr(line.rows[0]))
    assert re.fullmatch(rf"Best\({score}, Sequential\(.*\)", repr(line.best))
    every = ", ".join(f"{n}={v:.4g}" for n, v in grid.rows[0].settings.items())
    assert re.fullmatch(rf"Row\({every}: .* ± .*, 2 trials\)", repr(grid.rows[0]))
    assert list(grid.logs) == ["loss", "accuracy", "val_loss", "val_accuracy"]


def test_a_notebook_shows_the_table_of_a_sweep(grid):
    table = ElementTree.fromstring(grid._repr_html_())
    rows = [[*row.itertext()] for row in table.iter("tr")]
    assert rows[0][:3] == ["learning_rate", "dropout", "width"]  # (the first is empty)
    assert len(rows) == 17 and "sweep of 16 settings x 2 seeds" in table[0].text
    assert [" ".join(row).split() for row in rows[:2]] == [
        line.split() for line in grid.table().splitlines()[:2]
    ]


def test_the_best_goes_on_like_any_state(line):
    """Predicts, evaluates and trains on with the network and optimizer of `best`."""
    best, state = line.best, line.state
    measured = nn.evaluate(best.net, state, VALIDATION, loss=best.loss)
    assert measured["loss"] == pytest.approx(best.score, rel=1e-5)
    longer, _ = fit(best.net, best.optimizer, state=state, epochs=5)
    assert int(longer.step) == 20
    np.testing.assert_array_equal(
        jax.random.key_data(longer.key), jax.random.key_data(KEY)
    )


def test_trials_in_turns_are_those_side_by_side(line):
    turns = sweep({"learning_rate": RATES}, at_once=3)
    assert turns.programs == ["2 networks at once"]  # two and two, not three and one
    np.testing.assert_allclose(
        turns.logs["val_loss"][:3], line.logs["val_loss"][:3], rtol=1e-5
    )
    close(turns.state, line.state)


def test_an_optimizer_that_keeps_its_settings_begins_with_them():
    """Its first state depends on what is traced; batch sizes have a program each."""
    optimizer = optax.inject_hyperparams(optax.sgd)
    result = sweep(
        {"rate": [1e-9, 0.2], "batch_size": [10, 20]},
        net(),
        optimizer=lambda rate: optimizer(learning_rate=rate),
        batch_size=None,
        epochs=2,
        metrics={"accuracy": nn.metrics.accuracy},
        monitor="val_accuracy",
        mode="max",
    )
    assert len(result.programs) == 2
    best = result.best
    assert best.score == max(row.score for row in result.rows)
    assert best.settings["rate"] == 0.2
    size = best.settings["batch_size"]
    state, _ = fit(net(), best.optimizer, batch_size=size, epochs=2)
    assert float(result.state.opt_state.hyperparams["learning_rate"]) == np.float32(
        best.settings["rate"]
    )
    close(result.state, state)


@pytest.mark.slow
def test_early_stopping_and_plateaus_are_each_trials_own():
    options = {
        "early_stopping": nn.EarlyStopping(patience=1),
        "plateau": nn.Plateau(patience=1),
        "epochs": 6,
    }
    result = sweep({"learning_rate": [0.1, 3.0]}, **options)
    for rate, trial in zip([0.1, 3.0], result.trials, strict=True):
        state, history = fit(net(), optax.sgd(rate), **options)
        assert trial.epochs == len(history)
        np.testing.assert_allclose(
            trial.logs["val_loss"][: len(history)], history["val_loss"], rtol=1e-4
        )
        if trial is result.best.trial:
            close(result.state, state)
    assert result.trials[1].epochs < 6  # it was stopped, and the other was not
    assert trial.score == pytest.approx(min(history["val_loss"]), rel=1e-4)


# --- Halving and folds ----------------------------------------------------------------


def test_halving_keeps_the_best_and_they_go_on_as_if_alone(line):
    result = sweep({"learning_rate": RATES}, halving=2)
    assert [tuple(rung) for rung in result.rungs] == [(4, 1), (2, 2), (1, 4)]
    assert result.epochs == 4 * 1 + 2 * 1 + 1 * 2
    assert "4 to epoch 1, 2 to epoch 2, 1 to epoch 4; 16 epochs" in str(result)
    first = np.nan_to_num(line.logs["val_loss"][:, 0], nan=np.inf)
    second = sorted(np.argsort(first)[:2], key=lambda i: line.logs["val_loss"][i, 1])
    assert result.best.settings["learning_rate"] == RATES[second[0]]
    ran = [find(result, learning_rate=rate).epochs for rate in RATES]
    assert sorted(ran) == [1, 1, 2, 4] and ran[second[1]] == 2
    for trial, alone in zip(result.trials, line.logs["val_loss"], strict=True):
        np.testing.assert_allclose(
            trial.logs["val_loss"], alone[: trial.epochs], rtol=1e-5
        )
    if second[0] == RATES.index(line.best.settings["learning_rate"]):
        close(result.state, line.state)


def test_folds_train_without_what_they_hold_out():
    """Folds of 14, 13 and 13 rows: two programs, and each the fit of its rows."""
    options = {"epochs": 2, "shuffle": True}
    result = sweep({"learning_rate": [0.1, 0.5]}, folds=3, validation=None, **options)
    assert len(result.programs) == 2 and len(result.trials) == 6
    for fold, (rows, held_out) in enumerate(nn.search.fold_rows(KEY, 40, 3)):
        assert set(rows) | set(held_out) == set(range(40))
        trial = [t for t in result.trials if t.fold == fold][1]
        if fold == 2:
            _, history = fit(
                net(),
                optax.sgd(0.5),
                (X[rows], Y[rows]),
                validation=(X[held_out], Y[held_out]),
                **options,
            )
            np.testing.assert_allclose(
                trial.logs["val_loss"], history["val_loss"], rtol=1e-5
            )
    row = result.rows[0]
    scores = [t.score for t in row.trials]
    assert row.score == pytest.approx(np.mean(scores))
    assert row.spread == pytest.approx(np.std(scores, ddof=1))
    assert result.best.score == row.score


def test_a_batch_size_beyond_the_data_takes_them_all():
    over = {"learning_rate": [0.1], "batch_size": [40, 1000]}
    with pytest.warns(UserWarning, match="sweep: batch_size 1000 .* 40 ex") as caught:
        result = sweep(over, batch_size=None, epochs=2)
    assert len(caught) == 1 and caught[0].filename == __file__
    whole, all_of_it = (t.logs["val_loss"] for t in result.trials)
    np.testing.assert_array_equal(whole, all_of_it)
    assert result.rows[0].score == result.rows[1].score


# --- The table, the winner, and trials that diverge --------------------------------


def test_rows_are_means_over_seeds_best_first(grid):
    scores = [row.score for row in grid.rows if not row.diverged]
    assert scores == sorted(scores) and len(scores) == 12
    row = grid.rows[0]
    assert row.score == pytest.approx(np.mean([t.score for t in row.trials]))
    assert grid.best.trial.score == min(t.score for t in row.trials)
    assert "seed" not in row.settings and "seed" in grid.best.settings


def test_the_table_shows_the_best_first_and_what_diverged(grid):
    lines = grid.table(None).splitlines()
    assert lines[0].split()[:3] == ["learning_rate", "dropout", "width"]
    assert len(lines) == 17 and "±" in lines[1]
    assert [line.split()[-2] for line in lines[-4:]] == ["diverged"] * 4
    assert {line.split()[1] for line in lines[-4:]} == {"1e+38"}
    assert grid.table(3).endswith("... 13 more: result.table(None)")
    text = str(grid)
    assert text.startswith("sweep of 16 settings x 2 seeds: 128 epochs in 2 programs")
    assert f"best val_loss {grid.best.score:.4g}" in text and "±" in text


def test_all_diverged_is_said_with_what_to_do():
    with pytest.raises(FloatingPointError) as error:
        sweep({"learning_rate": [1e37, 1e38]}, epochs=1)
    assert "all 2 trials diverged" in str(error.value)
    assert "smallest values tried were learning_rate 1e+37" in str(error.value)


def test_pictures_by_the_number_of_names(grid, line, tmp_path):
    from matplotlib.image import imread

    figure = grid.plot(tmp_path / "deep" / "three.png")
    labels = [text.get_text() for text in figure.axes[0].get_xticklabels()]
    assert labels[:3] == ["learning_rate", "dropout", "width"]
    assert len(figure.axes[0].lines) >= 16  # one for each of the settings
    assert imread(tmp_path / "deep" / "three.png")[..., :3].std() > 0.03
    (axes,) = line.plot().axes
    assert axes.get_xscale() == "log" and axes.get_xlabel() == "learning_rate"


def test_pictures_of_two_names(grid):
    rows = grid.rows
    grid.over.pop("width")
    try:
        grid.rows = [row for row in rows if row.settings["width"] == 4]
        axes = grid.plot().axes[0]
        written = [text.get_text() for text in axes.texts]
        assert len(written) == 8 and written.count("diverged") == 2
        grid.rows = grid.rows[:5]  # no whole grid: points
        assert grid.plot().axes[0].get_xscale() == "log"
    finally:
        grid.rows, grid.over["width"] = rows, [4, 8]


# --- What is traced, and what is not ------------------------------------------------


def grouped(network, optimizer, over, **options):
    over = read(over)
    maker = Maker(network, optimizer, options.get("loss", LOSS), None, over)
    works = tracing(maker, None, TRAIN, 10)
    return groups(settings_of(over, None, KEY), floats(over), works)


def test_floats_are_traced_and_what_looks_at_its_value_is_not():
    """A network that asks whether a rate is 0 gets a program for each."""

    def branching(width, dropout, slope):
        del slope
        layers = [nn.Dense(width)] + ([nn.Dropout(dropout)] if dropout else [])
        return nn.Sequential(*layers, nn.Dense(3))

    over = {"learning_rate": [0.1, 1], "width": [4, 8], "dropout": [0, 0.5]}
    found = grouped(partial(branching, slope=1), optax.sgd, over)
    assert [group.traced for group in found] == [["learning_rate"]] * 4
    assert [len(group.members) for group in found] == [2] * 4
    assert found[1].fixed == {"width": 4, "dropout": 0.5}
    (one,) = grouped(net, optax.sgd, {"learning_rate": [0.1, 1.0], "dropout": [0, 0.5]})
    assert one.traced == ["learning_rate", "dropout"]


def test_functions_strings_and_tuples_have_a_program_each():
    def network(kernel, activation, kind):
        act = {"relu": jax.nn.relu, "tanh": jnp.tanh}[kind]
        return nn.Sequential(nn.Dense(kernel[0]), activation, act, nn.Dense(3))

    over = {
        "kernel": [(3, 3), (5, 5)],
        "activation": [jax.nn.relu, jnp.tanh],
        "kind": ["relu", "tanh"],
        "learning_rate": [0.1, 0.2],
    }
    found = grouped(network, optax.sgd, over)
    assert len(found) == 8 and {len(group.members) for group in found} == {2}


@pytest.mark.parametrize(
    ("network", "x"),
    [
        (lambda rate: nn.Dropout(rate), jnp.ones((4, 6))),
        (lambda rate: nn.SpatialDropout(rate), jnp.ones((2, 3, 6))),
    ],
    ids=["dropout", "spatial"],
)
def test_traced_rates_drop_what_known_ones_drop(network, x):
    """... with finite gradients at 0 and at 1."""
    params, state = network(0.5).init(KEY, x)

    def total(x, rate):
        y, _ = network(rate).apply(params, state, x, key=KEY, train=True)
        return jnp.sum(jax.tree.leaves(y)[0])

    rates = [0.0, 0.25, 1.0]
    traced = jax.jit(jax.vmap(jax.value_and_grad(total), (None, 0)))(
        x, stacked([{"rate": rate} for rate in rates], ["rate"])["rate"]
    )
    for i, rate in enumerate(rates):
        value, gradient = jax.value_and_grad(total)(x, rate)
        np.testing.assert_allclose(traced[0][i], value, rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose(traced[1][i], gradient, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    "network",
    [
        lambda rate: nn.MultiHeadAttention(2, dropout=rate),
        lambda rate: nn.rnn(4, 2, dropout=rate),
        lambda rate: nn.TransformerEncoder(1, heads=2, dropout=rate),
        lambda rate: nn.LayerNorm(eps=rate),
    ],
    ids=["attention", "recurrent", "transformer", "norm"],
)
def test_layers_take_traced_numbers(network):
    def outputs(rate, x):
        params, state = network(rate).init(KEY, x)
        return network(rate).apply(params, state, x, key=KEY, train=True)[0]

    jax.eval_shape(outputs, 0.5, jnp.ones((2, 3, 4)))


def test_traced_numbers_promote_nothing():
    """They are as weak as Python's floats: bfloat16 stays bfloat16."""
    rate = stacked([{"rate": 0.5}, {"rate": 0.1}], ["rate"])["rate"]
    x = jnp.ones(3, jnp.bfloat16)
    assert jax.vmap(lambda rate: rate * x)(rate).dtype == jnp.bfloat16


def test_a_spec_of_traced_numbers_says_so():
    def hashed(rate):
        layer = nn.Dropout(rate)
        assert repr(layer) == "Dropout(<traced float32>)"
        return hash(layer)

    with pytest.raises(TypeError, match="Dropout: a layer is a spec without arrays"):
        jax.eval_shape(hashed, 0.5)


def test_losses_and_augmentations_may_be_made_from_names():
    def loss(label_smoothing):
        return partial(LOSS, label_smoothing=label_smoothing)

    def augment(scale):
        return lambda key, x: x + scale * jax.random.normal(key, x.shape)

    maker = Maker(net(), optax.sgd(0.1), loss, augment, ["label_smoothing", "scale"])
    parts = maker({"label_smoothing": 0.5, "scale": 0.1})
    assert parts.loss.keywords == {"label_smoothing": 0.5}
    assert parts.augment(KEY, jnp.zeros(2)).shape == (2,)
    over = {"label_smoothing": [0.0, 0.1], "learning_rate": [0.1, 0.2]}
    (group,) = grouped(net(), optax.sgd, over, loss=loss)
    assert group.traced == ["label_smoothing", "learning_rate"]
    fixed = Maker(net, optax.sgd(0.1), LOSS, None, ["width"])({"width": 2})
    assert fixed.loss is LOSS


# --- What is tried ------------------------------------------------------------------


def test_ranges_are_covered_evenly():
    over = read(
        {
            "a": nn.search.uniform(0.0, 1.0),
            "b": nn.search.log_uniform(1e-4, 1.0),
            "c": nn.search.integers(1, 3),
            "d": ["x", "y"],
            "e": nn.search.integers(8, 512, log=True),
        }
    )
    drawn = settings_of(over, 12, KEY)
    assert sorted(int(12 * s["a"]) for s in drawn) == list(range(12))
    shares = [12 * (math.log10(s["b"]) / 4 + 1) for s in drawn]
    assert sorted(map(int, shares)) == list(range(12))
    assert sorted(s["c"] for s in drawn) == [1] * 4 + [2] * 4 + [3] * 4
    assert [s["d"] for s in drawn].count("x") == 6
    assert all(type(s["e"]) is int and 8 <= s["e"] <= 512 for s in drawn)
    assert (
        drawn == settings_of(over, 12, KEY) != settings_of(over, 12, jax.random.key(0))
    )


def test_a_part_of_a_grid_has_no_setting_twice():
    over = read({"a": [1, 2, 3], "b": ["x", "y"]})
    drawn = settings_of(over, 6, KEY)
    assert sorted(map(str, drawn)) == sorted(map(str, settings_of(over, None, KEY)))


# --- Bad input: said before anything is compiled -----------------------------------

WRONG = [
    ({"over": {}}, TypeError, "^sweep: over must be a dict"),
    (
        {"over": {"learning_rate": []}},
        ValueError,
        r"^sweep: over\[\'learning_rate\'\] must hold at least one value",
    ),
    (
        {"over": {"learning_rate": 0.1}},
        TypeError,
        r"^sweep: over\[\'learning_rate\'\] must be a list of values or a range",
    ),
    (
        {"over": {"learning_rate": [0.1, 0.1]}},
        ValueError,
        "must hold each value once, got 0.1 twice",
    ),
    ({"over": {"learning_rat": [0.1]}}, ValueError, "nearest: 'learning_rate'"),
    (
        {"over": {"lr": [0.1]}},
        ValueError,
        r"got 'lr'; .*; loss is fixed: \w+ \(nearest: 'learning_rate'\)$",
    ),
    (
        {
            "net": lambda width: nn.Dense(width),
            "optimizer": lambda rate: optax.sgd(rate),
            "over": {"width": [3], "rate": [0.1], "zoom": [1]},
        },
        ValueError,
        r"got 'zoom'; net takes width; optimizer takes rate; loss is fixed: \w+$",
    ),
    (
        {"over": {"learning_rate": [0.1], "depth": [1]}},
        ValueError,
        "takes, got 'depth'; net takes width, dropout; optimizer takes learning",
    ),
    (
        {"over": {"width": [4]}},
        ValueError,
        "^sweep: optimizer needs learning_rate, which is not",
    ),
    (
        {"over": {"width": [4], "learning_rate": [0.1]}, "net": net()},
        ValueError,
        "net is fixed: Sequential.*lambda width: nn.Sequential",
    ),
    ({"optimizer": optax.sgd(0.1)}, ValueError, "optimizer=lambda learning_rate"),
    ({"net": nn.ensemble(nn.Dense(3), 2)}, TypeError, "give its network"),
    ({"net": 3}, TypeError, "net must be a layer or a function"),
    ({"optimizer": 0.1}, TypeError, "optimizer must be an Optax optimizer or a func"),
    ({"over": {"learning_rate": nn.search.uniform(0.0, 1.0)}}, ValueError, "samples="),
    ({"samples": 0}, ValueError, "^sweep: samples must be a positive int"),
    ({"samples": 9}, ValueError, "at most the number of settings, got 9 for 2"),
    ({"folds": 3}, ValueError, "^sweep: validation must be None with folds="),
    (
        {"folds": 1, "validation": None},
        ValueError,
        "^sweep: folds must be an int of 2 or more",
    ),
    (
        {"folds": 41, "validation": None},
        ValueError,
        "number of examples, got 41 for 40",
    ),
    ({"halving": 1}, ValueError, "^sweep: halving must be an int of 2 or more"),
    ({"halving": 3}, ValueError, "needs at least 3 settings and 3 epochs, got 2 and 4"),
    ({"monitor": "val_los"}, ValueError, "nearest: 'val_loss'"),
    ({"validation": None}, ValueError, "give validation= or folds="),
    (
        {"monitor": "val_accuracy", "metrics": {"accuracy": nn.metrics.accuracy}},
        ValueError,
        "^sweep: mode must say whether 'val_accuracy'",
    ),
    (
        {
            "monitor": "val_counts",
            "metrics": {"counts": nn.metrics.ConfusionMatrix(3)},
            "mode": "min",
        },
        ValueError,
        r"one number an epoch, but 'val_counts' is \w+\[3,3\]",
    ),
    ({"mode": "least"}, ValueError, "^sweep: mode must be 'min' or 'max'"),
    ({"at_once": 0}, ValueError, "^sweep: at_once must be a positive int"),
    ({"key": 3}, TypeError, "key must be a random key"),
    ({"batch_size": None}, TypeError, "^sweep: batch_size is needed"),
    ({"batch_size": 0}, ValueError, "^sweep: batch_size must be a positive int, got 0"),
    (
        {"over": {"learning_rate": [0.1], "batch_size": [5]}},
        ValueError,
        "^sweep: batch_size must be left out",
    ),
    ({"over": {"learning_rate": [0.1], "seed": [-1]}}, ValueError, "ints from 0 on"),
    ({"over": {"learning_rate": [0.1], "seed": [2**40]}}, ValueError, r"below 2\*\*32"),
    (
        {"over": {"learning_rate": [0.1], "delta": [1]}, "loss": nn.losses.huber},
        ValueError,
        "loss is fixed: huber.*loss=lambda delta: functools.partial",
    ),
    (
        {"validation": (np.array(["a"] * 10), Y[:10])},
        TypeError,
        "^sweep: validation inputs must hold numbers",
    ),
    (
        {"over": {"learning_rate": [0.1], "seed": nn.search.integers(0, 9)}},
        ValueError,
        r"over\[\'seed\'\] must be a list",
    ),
    (
        {"over": {"learning_rate": [0.1], "dropout": [0.5, 1.5]}},
        ValueError,
        "rate must be from 0 to 1, got 1.5",
    ),
    (
        {"loss": nn.losses.cross_entropy},
        ValueError,
        "^sweep: loss cross_entropy takes probabilities",
    ),
    ({"data": iter([TRAIN])}, TypeError, "^sweep: data must be arrays"),
    (
        {"data": (X, Y - 1)},
        ValueError,
        "^sweep: data targets must be a class from 0 to 2",
    ),
    ({"validation": (X[:, :3], Y)}, Exception, "3"),
    (
        {"early_stopping": nn.EarlyStopping(monitor="no_loss")},
        ValueError,
        "must monitor a",
    ),
]


@pytest.mark.parametrize(("wrong", "kind", "said"), WRONG, ids=lambda v: None)
def test_bad_input_is_refused_before_compiling(wrong, kind, said, monkeypatch):
    monkeypatch.setattr(
        "jaxnn.search.program.Program._compile", lambda *_: pytest.fail("compiled")
    )
    usual = {
        **COMMON,
        "net": net,
        "data": TRAIN,
        "optimizer": optax.sgd,
        "over": {"learning_rate": [0.1, 0.2]},
        "validation": VALIDATION,
    }
    given = {**usual, **wrong}
    with pytest.raises(kind, match=said):
        nn.sweep(given.pop("net"), given.pop("data"), **given)


def test_the_settings_of_a_bad_trial_are_named():
    with pytest.raises(ValueError, match="rate must be") as error:
        sweep({"learning_rate": [0.1], "dropout": [2.0]})
    assert error.value.__notes__ == [
        "in the sweep's trial with learning_rate=0.1, dropout=2.0"
    ]


@pytest.mark.parametrize("options", [{}, {"folds": 4, "validation": None}])
def test_a_last_batch_of_one_is_refused_before_compiling(options, monkeypatch):
    monkeypatch.setattr(
        "jaxnn.search.program.Program._compile", lambda *_: pytest.fail("compiled")
    )
    normed = nn.Sequential(nn.Dense(4), nn.BatchNorm(), nn.Dense(3))
    size = 13 if not options else 29
    with pytest.raises(ValueError) as error:
        sweep({"learning_rate": [0.1]}, normed, batch_size=size, **options)
    assert any("has 1 example: choose a batch_size" in n for n in error.value.__notes__)


@pytest.mark.slow
@pytest.mark.parametrize("kind", [KeyboardInterrupt, RuntimeError])
def test_what_is_done_is_not_lost(kind, monkeypatch):
    """An error in the midst has the sweep up to there."""
    compiled = Program._compile

    def stop(program, *args):
        if program.fixed["width"] == 6:
            raise kind
        return compiled(program, *args)

    monkeypatch.setattr(Program, "_compile", stop)
    over = {"width": [4, 6], "learning_rate": [0.1, 0.5]}
    with pytest.raises(kind) as error:
        sweep(over, epochs=1)
    result = error.value.result
    assert len(result.rows) == len(result.trials) == 2 and "width=4" in str(result)
    assert result.state.params["dense_1"]["w"].shape == (5, 4)
    notes = error.value.__notes__
    assert (
        "sweep: error.result holds the 2 of 4 settings that were trained" in notes[-1]
    )


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: nn.search.uniform(1.0, 0.0), "low must be below high"),
        (lambda: nn.search.log_uniform(0.0, 1.0), "low must be above 0"),
        (lambda: nn.search.integers(1, 2.5), "high must be an int"),
        (lambda: nn.search.uniform(0.0, math.inf), "high must be a number"),
    ],
)
def test_ranges_are_checked(make, said):
    with pytest.raises(ValueError, match=said):
        make()


@pytest.mark.slow
def test_the_benchmark_compares_what_is_equal(tmp_path):
    """It raises unless all ways come to the same losses."""
    script = Path(__file__).parents[2] / "benchmarks" / "sweep.py"
    command = [sys.executable, "-W", "error", str(script), "--small", "--out", tmp_path]
    done = subprocess.run(command, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr
    report = json.loads((tmp_path / "sweep.json").read_text())
    assert set(report["ratios"]) == {"fits", "fits, one program"}
    assert "sweep takes" in done.stdout
