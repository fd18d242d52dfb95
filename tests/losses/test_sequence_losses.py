# SPDX-License-Identifier: Apache-2.0
"""Losses of sequences: padding counts nowhere, means are per label, CTC, perplexity."""

import functools
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import jaxnn as nn
from jaxnn import losses, metrics

part = functools.partial
ENTROPY = part(losses.softmax_cross_entropy, ignore_label=0)
RNG = np.random.default_rng(0)
LOGITS = RNG.normal(size=(5, 4, 6)).astype(np.float32)
LABELS = np.array(
    [[1, 2, 3, 4], [5, 1, 0, 0], [2, 0, 0, 0], [0, 0, 0, 0], [3, 3, 3, 0]], np.int32
)
REAL = LABELS != 0


def nats(logits, labels):
    """The cross-entropy of each position, in float64."""
    z = logits.astype(np.float64)
    z = z - np.log(np.exp(z).sum(-1, keepdims=True))
    return -np.take_along_axis(z, labels[..., None], -1)[..., 0]


class Given(nn.Composite):
    """A network whose outputs are its inputs plus a parameter."""

    layer: nn.Layer = nn.Dense(6)

    def forward(self, run, x):
        return x + run("layer", jnp.zeros_like(x[..., :1]))


@pytest.fixture(scope="module")
def trained():
    net = Given()
    return net, net.init(jax.random.key(0), jnp.asarray(LOGITS))


# --- padding ---


@jax.jit
def entropy_and_gradient(logits, labels):
    loss = part(ENTROPY, label_smoothing=0.1)
    values, pull = jax.vjp(lambda z: loss(z, labels), logits)
    return values, pull(jnp.ones_like(values))[0]


def test_padding_changes_no_value_and_no_gradient():
    """Whatever the logits behind the end are: NaN, infinite, or more of them."""
    values, grads = entropy_and_gradient(LOGITS, LABELS)
    for bad in (np.nan, np.inf, -np.inf, 1e30):
        spoilt = np.where(REAL[..., None], LOGITS, np.float32(bad))
        got, grad = entropy_and_gradient(spoilt, LABELS)
        np.testing.assert_array_equal(got, values)
        np.testing.assert_array_equal(grad, grads)
    wider = np.pad(LOGITS, [(0, 0), (0, 3), (0, 0)]), np.pad(LABELS, [(0, 0), (0, 3)])
    got, grad = entropy_and_gradient(*wider)
    np.testing.assert_allclose(got, values, rtol=1e-6)
    np.testing.assert_allclose(grad[:, :4], grads, rtol=1e-6)
    np.testing.assert_array_equal(grad[~np.pad(REAL, [(0, 0), (0, 3)])], 0)
    assert values[3] == 0  # a row of padding alone


def test_the_mean_is_over_labels():
    """... of the batch, as PyTorch has it, and not over the means of sequences."""
    values = np.asarray(jax.jit(ENTROPY)(LOGITS, LABELS))
    counts = np.asarray(losses.example_weights(ENTROPY, LABELS))
    np.testing.assert_array_equal(counts, REAL.sum(1))
    want = nats(LOGITS, LABELS)[REAL].mean()
    np.testing.assert_allclose((values * counts).sum() / counts.sum(), want, rtol=1e-6)
    torch = pytest.importorskip("torch")
    theirs = torch.nn.functional.cross_entropy(
        torch.tensor(LOGITS).swapaxes(1, 2), torch.tensor(LABELS).long(), ignore_index=0
    )
    np.testing.assert_allclose(want, theirs.numpy(), rtol=1e-6)


def test_training_and_evaluation_take_the_mean_over_labels(trained):
    net, (params, state) = trained
    outputs, _ = net.apply(params, state, jnp.asarray(LOGITS))
    each = nats(np.asarray(outputs), LABELS)
    right = np.asarray(outputs).argmax(-1) == LABELS
    measures = {
        "accuracy": part(metrics.accuracy, ignore_label=0),
        "perplexity": metrics.Perplexity(ignore_label=0),
    }
    step = nn.train_step(net, ENTROPY, optax.sgd(0.1), metrics=measures)
    train_state = nn.TrainState(
        params, state, optax.sgd(0.1).init(params), jnp.int32(0), jax.random.key(0)
    )
    _, logs = jax.jit(step)(train_state, (LOGITS, LABELS))
    want = {
        "loss": each[REAL].mean(),
        "accuracy": right[REAL].mean(),
        "perplexity": np.exp(each[REAL].mean()),
    }
    assert {k: float(v) for k, v in logs.items()} == pytest.approx(want, rel=1e-5)
    for size in (2, 5):
        got = nn.evaluate(
            net,
            (params, state),
            (LOGITS, LABELS),
            loss=ENTROPY,
            metrics=measures,
            batch_size=size,
        )
        assert got == pytest.approx(want, rel=1e-5)
    alone = nn.evaluate(net, (params, state), (LOGITS, LABELS), metrics=measures)
    assert alone == pytest.approx({k: want[k] for k in measures}, rel=1e-5)


def test_weights_multiply_labels(trained):
    net, variables = trained
    weights = np.array([1, 0, 2, 1, 0.5], np.float32)
    outputs, _ = net.apply(*variables, jnp.asarray(LOGITS))
    each = nats(np.asarray(outputs), LABELS)
    full = weights[:, None] * REAL
    got = nn.evaluate(
        net,
        variables,
        (LOGITS, LABELS, weights),
        loss=ENTROPY,
        metrics={"accuracy": part(metrics.accuracy, ignore_label=0)},
    )
    assert got["loss"] == pytest.approx((each * full).sum() / full.sum(), rel=1e-5)
    kept = REAL & (weights > 0)[:, None]  # a metric leaves out what weighs nothing
    right = np.asarray(outputs).argmax(-1) == LABELS
    assert got["accuracy"] == pytest.approx(right[kept].mean())


def test_a_batch_of_padding_alone_trains_nothing(trained):
    net, (params, state) = trained
    step = nn.train_step(net, ENTROPY, optax.sgd(0.1))
    start = nn.TrainState(
        params, state, optax.sgd(0.1).init(params), jnp.int32(0), jax.random.key(0)
    )
    end, logs = jax.jit(step)(start, (LOGITS, np.zeros_like(LABELS)))
    assert logs["loss"] == 0
    jax.tree.map(np.testing.assert_array_equal, end.params, params)


# --- perplexity ---


def test_perplexity_is_exact_in_any_batches():
    metric = metrics.Perplexity(ignore_label=0)
    update, compute = jax.jit(metric.update), jax.jit(metric.compute)
    logits, labels = (
        np.pad(a, [(0, 1)] + [(0, 0)] * (a.ndim - 1)) for a in (LOGITS, LABELS)
    )
    logits[5], labels[5], weights = np.nan, 1, np.float32([1, 1, 1, 1, 1, 0])
    parts = [
        update(logits[i : i + 2], labels[i : i + 2], weights[i : i + 2])
        for i in (0, 2, 4)
    ]
    stats = jax.tree.map(lambda *a: np.concatenate(a), *parts)
    want = np.exp(nats(LOGITS, LABELS)[REAL].mean())
    np.testing.assert_allclose(compute(stats), want, rtol=1e-6)


def test_perplexity_counts_every_label_if_none_is_ignored():
    want = np.exp(nats(LOGITS, LABELS).mean())
    value = jax.jit(metrics.perplexity)
    np.testing.assert_allclose(value(LOGITS, LABELS), want, rtol=1e-6)
    np.testing.assert_allclose(value(np.zeros_like(LOGITS), LABELS), 6, rtol=1e-6)
    assert metrics.Perplexity() == metrics.perplexity and hash(metrics.perplexity)


# --- CTC ---

CTC = jax.jit(losses.ctc, static_argnames="blank")


@jax.jit
def ctc_and_gradient(logits, targets):
    values, pull = jax.vjp(lambda z: losses.ctc(z, targets), logits)
    return values, pull(jnp.ones_like(values))[0]


def by_all_alignments(logits, labels, blank=0):
    """−log of the sum over every path of classes that reads as the labels."""
    steps, classes = logits.shape
    z = logits.astype(np.float64)
    p = np.exp(z - np.log(np.exp(z).sum(-1, keepdims=True)))
    total = 0.0
    for path in itertools.product(range(classes), repeat=steps):
        merged = [c for c, _ in itertools.groupby(path)]
        if [c for c in merged if c != blank] == list(labels):
            total += np.prod(p[range(steps), path])
    return -np.log(total) if total else np.inf


@pytest.mark.parametrize("blank", [0, 2])
def test_ctc_sums_over_all_alignments(blank):
    logits = RNG.normal(size=(4, 5, 3)).astype(np.float32)
    first, second = (c for c in range(3) if c != blank)
    texts = [[first, second], [first, first], [second], []]
    labels = np.array([t + [blank] * (2 - len(t)) for t in texts])
    want = [by_all_alignments(z, t, blank) for z, t in zip(logits, texts, strict=True)]
    np.testing.assert_allclose(CTC(logits, labels, blank=blank), want, rtol=1e-5)


def cases():
    """Logits [N, T, C], labels, and lengths that leave parts of both unused."""
    rng = np.random.default_rng(1)
    logits = rng.normal(size=(5, 9, 6)).astype(np.float32)
    labels = rng.integers(1, 6, (5, 4))
    labels[0, :2] = 3  # a repeat needs a blank between
    return logits, (labels, np.array([4, 2, 1, 3, 0]), np.array([9, 7, 3, 8, 5]))


def test_ctc_is_that_of_pytorch_with_its_gradient():
    torch = pytest.importorskip("torch")
    logits, (labels, label_lengths, lengths) = cases()
    z = torch.tensor(logits, dtype=torch.float64, requires_grad=True)
    want = torch.nn.functional.ctc_loss(
        z.log_softmax(-1).swapaxes(0, 1),
        torch.tensor(labels),
        torch.tensor(lengths),
        torch.tensor(label_lengths),
        reduction="none",
    )
    want.sum().backward()
    got, grad = ctc_and_gradient(logits, (labels, label_lengths, lengths))
    np.testing.assert_allclose(got, want.detach().numpy(), rtol=1e-5)
    np.testing.assert_allclose(grad, z.grad.numpy(), rtol=1e-4, atol=1e-5)


def test_ctc_does_not_see_what_is_behind_the_ends():
    logits, (labels, label_lengths, lengths) = cases()
    want, grads = ctc_and_gradient(logits, (labels, label_lengths, lengths))
    behind = np.arange(9)[None] >= lengths[:, None]
    np.testing.assert_array_equal(grads[behind], 0)
    spoilt = np.where(behind[..., None], np.float32(np.nan), logits)
    other = np.where(np.arange(4)[None] < label_lengths[:, None], labels, -7)
    got, grad = ctc_and_gradient(spoilt, (other, label_lengths, lengths))
    np.testing.assert_array_equal(got, want)
    np.testing.assert_array_equal(grad, grads)


def test_ctc_of_impossible_and_of_empty_sequences():
    """Two equal labels need three steps; nothing on no steps is certain."""
    logits, _ = cases()
    labels = np.array([[2, 2], [2, 2], [1, 2], [0, 0], [3, 4]])
    labels = np.pad(labels, [(0, 0), (0, 2)])
    counts, lengths = np.array([2, 2, 2, 0, 1]), np.array([3, 2, 1, 0, 0])
    value, grad = ctc_and_gradient(logits, (labels, counts, lengths))
    assert np.isfinite(value[0]) and value[3] == 0
    np.testing.assert_array_equal(value[jnp.array([1, 2, 4])], np.inf)
    np.testing.assert_array_equal(grad[1:], 0)
    assert np.isfinite(grad).all() and np.abs(grad[0]).max() > 0


def test_bad_labels_and_lengths_give_nan():
    bad = [
        ([1, 6, 0, 0], 2, 9),  # no such class
        ([1, -1, 0, 0], 2, 9),
        ([1, 0, 0, 0], 2, 9),  # a blank among the labels
        ([1, 2, 3, 4], 5, 9),  # more labels than there are
        ([1, 2, 3, 4], -1, 9),
    ]
    steps = [([1, 2, 3, 4], 4, 10), ([1, 2, 3, 4], 4, -1), ([1, 2, 3, 4], 4, 9)]
    logits, _ = cases()
    for rows in (bad, [*steps, *steps[:2]]):
        targets = tuple(map(np.array, zip(*rows, strict=True)))
        value, grad = ctc_and_gradient(logits, targets)
        good = np.array([row in steps[2:] for row in rows])
        np.testing.assert_array_equal(np.isnan(value), ~good)
        stepped = targets[2] > 0  # without a step there is nothing to spoil
        np.testing.assert_array_equal(np.isnan(grad).any((1, 2)), ~good & stepped)
    # without lengths, labels end at their padding: none may come behind a blank
    gap = np.array([[1, 0, 2, 0]] * 4)
    got = CTC(RNG.normal(size=(4, 5, 3)).astype(np.float32), gap, blank=0)
    assert np.isnan(got).all()


@pytest.mark.parametrize(
    ("logits", "targets", "options", "error", "message"),
    [
        ((2, 5), np.ones((2, 3), int), {}, ValueError, r"logits must be \[N, T, C\]"),
        ((2, 5, 4), np.ones(2, int), {}, ValueError, r"labels \[N, S\]"),
        ((2, 5, 4), np.ones((3, 2), int), {}, ValueError, r"and int32\[3,2\]"),
        ((2, 5, 4), np.ones((2, 0), int), {}, ValueError, r"and int32\[2,0\]"),
        (
            (2, 5, 4),
            (np.ones((2, 2), int), np.ones(3, int)),
            {},
            ValueError,
            "int32.3.",
        ),
        (
            (2, 5, 4),
            (np.ones((2, 2), int),) * 2,
            {},
            ValueError,
            r"int32\[2,2\], int32",
        ),
        ((2, 5, 4), np.ones((2, 2)), {}, TypeError, "must be integers, got float32"),
        (
            (2, 5, 4),
            np.ones((2, 2), int),
            {"blank": 4},
            ValueError,
            "from 0 to 3, got 4",
        ),
    ],
)
def test_ctc_refuses(logits, targets, options, error, message):
    with pytest.raises(error, match=f"ctc: .*{message}"):
        losses.ctc(jnp.zeros(logits), targets, **options)


def test_ctc_keeps_narrow_floats_and_declares_logits():
    logits, targets = cases()
    got = CTC(logits.astype(jnp.bfloat16), targets)
    assert got.dtype == jnp.bfloat16
    np.testing.assert_allclose(got.astype(jnp.float32), CTC(logits, targets), rtol=0.02)
    assert losses.contract_of(losses.ctc).outputs == "logits"


def test_ctc_trains():
    """`fit` takes its targets as a tuple, and the loss goes down."""
    logits, targets = cases()
    data = logits, targets
    _, history = nn.fit(
        nn.Dense(6),
        data,
        loss=losses.ctc,
        optimizer=optax.adam(0.1),
        epochs=5,
        batch_size=5,
        key=jax.random.key(0),
        progress=False,
    )
    assert history["loss"][-1] < 0.8 * history["loss"][0]
