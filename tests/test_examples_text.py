# SPDX-License-Identifier: Apache-2.0
"""The examples on texts: they run, learn their stand-ins, write and draw."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from example import drawn, load

import jaxnn as nn

# ---- characters ----


@pytest.mark.slow
def test_both_language_models_learn_the_stand_in(offline, tmp_path, capsys):
    flags = ["--small", "--length", "60", "--out", str(tmp_path)]
    result = load("char_lm").main(flags)
    said = capsys.readouterr().out.splitlines()
    assert "stand-in" in said[0]
    # Of 14 nats a line three words are free: log 4 + log 3 + log 4 in 25 characters.
    for name in ("LSTM", "transformer"):
        assert 0.15 < result[name] < 0.6 * result["pairs"]
    assert f"of the LSTM {result['LSTM']:.3f}" in said[-1]
    text = (tmp_path / "samples.txt").read_text()
    assert all(f"---- {name}, after" in text for name in ("LSTM", "transformer"))
    assert text.count("the ") > 3
    for name in ("learning_curves", "loss_by_place"):
        assert drawn(tmp_path / f"{name}.png")


def test_the_table_of_pairs_is_the_one_by_hand():
    pair_loss = load("char_lm").pair_loss
    # 0 was followed by 1 twice, 1 by 0 once; each count begins at 1.
    loss = pair_loss(np.array([0, 1, 0, 1]), np.array([0, 1, 0]), 2)
    assert loss == pytest.approx(-np.log([3 / 4, 2 / 3]).mean())


def test_loss_by_place_has_the_losses_mean():
    net = nn.Sequential(nn.Embed(5, 4), nn.Dense(5))
    data = nn.data.next_tokens(np.arange(40) * 7 % 5, 6)
    variables = net.init(jax.random.key(0), data[0][:1])
    example = load("char_lm")
    places = example.loss_by_place(net, variables, data)
    whole = nn.evaluate(net, variables, data, loss=example.loss)["loss"]
    assert places.shape == (6,)
    assert places.mean() == pytest.approx(whole, rel=1e-5)


@pytest.mark.slow
@pytest.mark.needs("tiny-shakespeare")
def test_one_epoch_beats_the_table_of_pairs(tmp_path):
    flags = ["--recipe", "cpu", "--epochs", "1", "--out", str(tmp_path)]
    result = load("char_lm").main(flags)
    assert 2.3 < result["pairs"] < 2.6
    assert result["LSTM"] < 2.2 and result["transformer"] < 2.1


# ---- reviews ----


@pytest.mark.slow
def test_networks_of_order_beat_the_bag_on_the_stand_in(offline, tmp_path, capsys):
    result = load("sentiment").main(["--small", "--out", str(tmp_path)])
    said = capsys.readouterr().out.splitlines()
    assert "stand-in" in said[0]
    assert result["bag"] < 0.7  # what "not" turns around, a bag cannot know
    assert result["cnn"] > 0.9 and result["lstm"] > 0.9
    assert f"all {result['all']:.1%}" in said[-1]
    for name in ("learning_curves", "words"):
        assert drawn(tmp_path / f"{name}.png")


@pytest.mark.slow
def test_padding_changes_no_opinion():
    example = load("sentiment")
    texts = ["a fine film", "dull", "not a fine film at all"]
    words = nn.data.text.words(texts, specials=("pad", "unknown"))
    ids = [words.encode(text) for text in texts]
    for net in example.networks(example.SMALL, words).values():
        short, long = (tuple(nn.data.pad(ids, length)) for length in (6, 16))
        variables = jax.jit(net.init)(jax.random.key(0), short)
        narrow, _ = jax.jit(net.apply)(*variables, short)
        wide, _ = jax.jit(net.apply)(*variables, long)
        np.testing.assert_allclose(narrow, wide, atol=1e-6)


def test_words_are_dropped_in_training_only():
    layer, lengths = load("sentiment").DropWords(0.25, 1), jnp.array([1000])
    x = jnp.full((1, 1000), 7), lengths
    (same, _), _ = layer.apply({}, {}, x, key=jax.random.key(0))
    np.testing.assert_array_equal(same, x[0])
    (seen, _), _ = layer.apply({}, {}, x, key=jax.random.key(0), train=True)
    assert set(np.unique(seen)) == {1, 7}
    assert 0.2 < np.mean(np.asarray(seen) == 1) < 0.3


def test_the_split_of_reviews_does_not_depend_on_the_seed():
    example = load("sentiment")
    _, parts = example.load_data(True)
    sizes = {name: len(part[0]) for name, part in parts.items()}
    assert sizes == {"training": 1215, "validation": 135, "test": 150}
    again = example.load_data(True)[1]["test"]
    np.testing.assert_array_equal(parts["test"][0], again[0])


@pytest.mark.slow
@pytest.mark.needs("rt-polarity")
def test_reviews_are_told_apart(tmp_path):
    result = load("sentiment").main(["--out", str(tmp_path)])
    assert min(result["cnn"], result["lstm"]) > 0.74 and result["all"] > 0.76


# ---- translation ----


@pytest.mark.slow
def test_both_translators_learn_the_stand_in(offline, tmp_path, capsys):
    pytest.importorskip("sacrebleu")
    result = load("translate").main(["--small", "--out", str(tmp_path)])
    said = capsys.readouterr().out.splitlines()
    assert "stand-in" in said[0]
    assert {name.split(",")[0] for name in result} == {"transformer", "GRU"}
    assert len(result) == 4 and min(result.values()) > 90
    assert f"GRU, greedy {result['GRU, greedy']:.1f}" in said[-1]
    samples = (tmp_path / "samples.txt").read_text()
    assert samples.count("German: der") == 20
    for name in ("attention", "learning_curves"):
        assert drawn(tmp_path / f"{name}.png")


def test_gru_looks_at_each_place_with_weights_that_sum_to_one():
    example = load("translate")
    net = example.networks(example.SMALL, 9, 7)["GRU"]
    source, target = np.array([4, 5, 6, 3]), np.array([2, 4, 5, 3])
    x = (source[None], np.array([4], np.int32)), target[None, :-1]
    params, _ = jax.jit(net.init)(jax.random.key(0), x)
    weights = example.attention_weights(net, params, source, target)
    assert weights.shape == (3, 4)
    np.testing.assert_allclose(weights.sum(1), 1, rtol=1e-5)

    @jax.jit
    def used(params):
        """What the network saw of the memory, which stands behind its outputs."""
        memory, _ = net.encoder.apply(params["encoder"], {}, source[None])
        parts, decoder = params["decoder"], net.decoder
        vectors, _ = decoder.embed.apply(parts["embed"], {}, target[None, :-1])
        attend, own = decoder.body.children()["attend"], parts["body"]["attend"]
        outputs, _ = attend.apply(own, {}, nn.Attend(vectors, memory))
        return memory[0], outputs[0, :, -memory.shape[-1] :]

    memory, seen = used(params)
    np.testing.assert_allclose(weights @ memory, seen, atol=1e-5)


def test_bleu_of_the_same_text_is_100():
    pytest.importorskip("sacrebleu")
    bleu = load("translate").bleu
    true = ["A dog runs over the green grass.", "Two men sit on a bench."]
    assert bleu(true, true) == pytest.approx(100)
    assert bleu(["A cat.", "Nobody."], true) < 20


@pytest.mark.slow
@pytest.mark.needs("multi30k")
def test_one_epoch_translates_some_words(tmp_path):
    pytest.importorskip("sacrebleu")
    flags = ["--recipe", "cpu", "--epochs", "1", "--only", "GRU"]
    result = load("translate").main([*flags, "--out", str(tmp_path)])
    assert min(result.values()) > 3
