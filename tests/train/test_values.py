"""What layers ask of the values of their inputs, `fit` asks of the data."""

import jax
import numpy as np
import optax
import pytest

import jaxnn as nn

NET = nn.Sequential(nn.Embed(5, 4), nn.lstm(3), nn.Dense(2))
LABELS = np.zeros(8, int)
CROSS_ENTROPY = nn.losses.softmax_cross_entropy


class Classifier(nn.Composite):
    """Reads ids with their lengths; the last step decides."""

    def children(self):
        return {"embed": nn.Embed(5, 4), "lstm": nn.lstm(3), "out": nn.Dense(2)}

    def forward(self, run, x):
        y = run("lstm", run("embed", x))
        return run("out", y.sum(1))


def ids(**changes):
    x = np.arange(48).reshape(8, 6) % 5
    for place, value in changes.items():
        x[tuple(map(int, place[1:]))] = value
    return x


def fit(x, **options):
    given = {"epochs": 1, "batch_size": 4, "key": jax.random.key(0), **options}
    sgd = optax.sgd(0.1)
    return nn.fit(Classifier(), (x, LABELS), loss=CROSS_ENTROPY, optimizer=sgd, **given)


@pytest.mark.parametrize("bad", [-1, 5])
def test_an_unknown_id_is_named_before_training(bad):
    x, lengths = ids(p72=bad), np.full(8, 6)
    with pytest.raises(IndexError, match=rf"got {bad} at \[7, 2\]") as caught:
        fit((x, lengths))
    assert "in the inputs of data" in caught.value.__notes__
    with pytest.raises(IndexError, match=rf"got {bad} at \[7, 2\]"):
        nn.predict(NET, NET.init(jax.random.key(0), ids()), x)
    params = Classifier().init(jax.random.key(0), (ids(), lengths))
    with pytest.raises(IndexError, match=r"\[7, 2\]"):
        data = (x, lengths), LABELS
        nn.evaluate(Classifier(), params, data, loss=CROSS_ENTROPY)


def test_what_stands_in_the_padding_is_ignored():
    state, history = fit((ids(p72=-1), np.array([6] * 7 + [2])))
    assert np.isfinite(history["loss"][0])
    state_2, _ = fit((ids(p72=3), np.array([6] * 7 + [2])))
    assert all(
        np.array_equal(a, b)
        for a, b in zip(
            *map(jax.tree.leaves, (state.params, state_2.params)), strict=True
        )
    )


@pytest.mark.parametrize("bad", [0, 7, -2])
def test_a_length_out_of_range_is_named_before_training(bad):
    with pytest.raises(ValueError, match=f"got {bad} for example 5"):
        fit((ids(), np.array([6] * 5 + [bad] + [1] * 2)))


def test_batches_of_a_stream_are_asked_too():
    batches = [((ids()[:4], np.full(4, 6)), LABELS[:4])]
    batches.append(((ids(p02=9)[:4], np.full(4, 6)), LABELS[:4]))
    with pytest.raises(IndexError, match=r"got 9 at \[0, 2\]") as caught:
        nn.fit(
            Classifier(),
            batches,
            loss=CROSS_ENTROPY,
            optimizer=optax.sgd(0.1),
            epochs=1,
            key=jax.random.key(0),
        )
    assert "in the inputs of batch 1" in caught.value.__notes__


def test_batches_of_a_stream_may_have_different_lengths():
    batches = [((ids()[:4, :t], np.full(4, t)), LABELS[:4]) for t in (3, 6, 4)]
    state, _ = nn.fit(
        Classifier(),
        batches,
        loss=CROSS_ENTROPY,
        optimizer=optax.sgd(0.1),
        epochs=1,
        key=jax.random.key(0),
    )
    assert int(state.step) == 3


def test_ids_that_a_layer_has_made_are_found_by_the_replay():
    class Shifted(nn.Composite):
        body: nn.Layer

        def forward(self, run, x):
            return run("body", x + 1).mean(1)

    with pytest.raises((nn.NonFiniteError, IndexError)) as caught:
        nn.fit(
            Shifted(nn.Embed(5, 2)),
            (ids(), LABELS),
            loss=CROSS_ENTROPY,
            optimizer=optax.sgd(0.1),
            epochs=1,
            batch_size=4,
            key=jax.random.key(0),
        )
    assert "body" in str(caught.value) + str(getattr(caught.value, "__notes__", ""))
