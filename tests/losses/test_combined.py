"""One loss of several outputs."""

import functools

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import jaxnn as nn

RNG = np.random.default_rng(0)
X = RNG.normal(size=(40, 5)).astype(np.float32)
TARGETS = {"kind": (X.sum(1) > 0).astype(int), "size": X[:, :1]}
CROSS_ENTROPY, HUBER = nn.losses.softmax_cross_entropy, nn.losses.huber
LOSSES = {"kind": CROSS_ENTROPY, "size": (0.1, HUBER)}


class Two(nn.Composite):
    kind: nn.Layer = nn.Dense(2)
    size: nn.Layer = nn.Dense(1)

    def forward(self, run, x):
        return {"kind": run("kind", x), "size": run("size", x)}


RUN = {
    "optimizer": optax.sgd(0.1),
    "epochs": 3,
    "batch_size": 16,
    "key": jax.random.key(0),
}


def fit(loss=LOSSES, net=None, targets=TARGETS, **options):
    return nn.fit(net or Two(), (X, targets), loss=loss, **{**RUN, **options})


def test_it_is_the_weighted_sum():
    outputs = {"kind": jnp.ones((2, 2)), "size": jnp.ones((2, 1)), "more": 1}
    targets = {"kind": jnp.array([0, 1]), "size": jnp.zeros((2, 1))}
    loss = nn.losses.combine(**LOSSES)
    want = CROSS_ENTROPY(outputs["kind"], targets["kind"])
    want += 0.1 * HUBER(outputs["size"], targets["size"])
    np.testing.assert_allclose(loss(outputs, targets), want, rtol=1e-6)
    same = nn.losses.combine(**LOSSES)
    assert (loss, hash(loss)) == (same, hash(same))


@pytest.mark.quick
def test_the_history_has_every_part_and_a_dict_of_losses_is_the_same():
    metrics = {"accuracy": nn.metrics.select("kind", nn.metrics.accuracy)}
    state, history = fit(metrics=metrics, validation=(X, TARGETS))
    names = ["loss", "kind_loss", "size_loss", "accuracy"]
    assert list(history) == [*names, *(f"val_{name}" for name in names)]
    for at in ("", "val_"):
        total = np.add(
            history[f"{at}kind_loss"], 0.1 * np.array(history[f"{at}size_loss"])
        )
        np.testing.assert_allclose(history[f"{at}loss"], total, rtol=1e-5)
    same, _ = fit(nn.losses.combine(**LOSSES))
    chex.assert_trees_all_equal(same, state)
    told = nn.evaluate(Two(), state, (X, TARGETS), loss=LOSSES, metrics=metrics)
    assert list(told) == names
    outputs = nn.predict(Two(), state, X)
    right = (outputs["kind"].argmax(-1) == TARGETS["kind"]).mean()
    assert told["accuracy"] == pytest.approx(float(right))


@pytest.mark.slow
def test_whole_runs_sweeps_and_ensembles_take_one():
    state, history = fit(validation=(X, TARGETS))
    step = nn.train_step(Two(), LOSSES, RUN["optimizer"])
    first = nn.train_state(Two(), RUN["optimizer"], X, key=RUN["key"])
    options = {"epochs": 3, "batch_size": 16, "validation": (X, TARGETS)}
    found, logs = nn.train.run(step, first, (X, TARGETS), **options)
    chex.assert_trees_all_close(found.params, state.params, rtol=1e-5)
    for name in history:
        np.testing.assert_allclose(logs[name], history[name], rtol=1e-4)
    result = nn.sweep(
        lambda width: Two(kind=nn.Dense(2, init=width)) if width else Two(),
        (X, TARGETS), over={"width": [None]}, loss=LOSSES, monitor="kind_loss", **RUN,
    )  # fmt: skip
    assert result.trials[0].score == pytest.approx(history["kind_loss"][-1], rel=1e-4)
    _, many = fit(net=nn.ensemble(Two(), 2))
    assert set(many) == {"loss", "kind_loss", "size_loss"}


def test_a_metric_of_an_entry_stands_beside_its_loss():
    """What the entry's loss ignores, its metric ignores."""
    targets = {**TARGETS, "kind": np.where(np.arange(40) < 8, -1, TARGETS["kind"])}
    loss = functools.partial(CROSS_ENTROPY, ignore_label=-1)
    state, _ = fit()
    for metric in (nn.metrics.accuracy, nn.metrics.F1(2)):
        chosen = nn.metrics.select("kind", metric)
        found = nn.evaluate(
            Two(), state, (X, targets), loss={"kind": loss}, metrics={"m": chosen}
        )
        outputs = nn.predict(Two(), state, X)["kind"]
        one = nn.evaluate(
            nn.Identity(), ({}, {}), (outputs[8:], targets["kind"][8:]),
            loss=CROSS_ENTROPY, metrics={"m": metric},
        )  # fmt: skip
        assert found["m"] == pytest.approx(one["m"])


@pytest.mark.parametrize(
    ("loss", "message"),
    [
        ({"kinds": CROSS_ENTROPY}, r"'kinds'.*'kind', 'size' \(nearest: 'kind'\)"),
        ({"kind": 3}, r"kind must be a loss or \(scale, loss\), got 3"),
        ({"kind": ("a", HUBER)}, "the scale of kind must be a number of 0 or more"),
        ({3: HUBER}, "dict of losses by output, got the key 3"),
        ({}, "losses must be given by output"),
    ],
)
def test_losses_that_do_not_fit(loss, message):
    with pytest.raises((TypeError, ValueError), match=message):
        fit(loss)


def test_each_part_is_checked_before_compiling():
    wrong = {**TARGETS, "kind": TARGETS["kind"] + 1}
    with pytest.raises(ValueError, match=r"targets\['kind'\] must be a class from 0"):
        fit(targets=wrong)
    soft = Two(kind=nn.Sequential(nn.Dense(2), jax.nn.softmax))
    with pytest.raises(ValueError, match="already ends in softmax"):
        fit(net=soft)
    with pytest.raises(TypeError, match="targets must be a dict with 'kind'"):
        fit(targets=TARGETS["kind"])


@pytest.mark.parametrize(
    ("name", "metric", "message"),
    [
        (3, nn.metrics.accuracy, "name must be a key"),
        ("kind", 3, "a metric must be a function"),
        ("kinds", nn.metrics.accuracy, r"a dict with 'kinds'.*nearest: 'kind'"),
    ],
)
def test_metrics_that_do_not_fit(name, metric, message):
    with pytest.raises((TypeError, ValueError), match=message):
        fit(metrics={"m": nn.metrics.select(name, metric)})
