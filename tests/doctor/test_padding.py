"""The doctor sees that a network reads padding as data."""

import jax
import numpy as np
import optax
import pytest

import jaxnn as nn

RNG = np.random.default_rng(0)
LENGTHS = RNG.integers(2, 13, 96)
STEPS = np.arange(12)
REAL = STEPS < LENGTHS[:, None]
IDS = np.where(REAL, RNG.integers(1, 5, REAL.shape), 0)
VECTORS = np.where(REAL[..., None], RNG.normal(size=(*REAL.shape, 2)), 0)
VECTORS = VECTORS.astype(np.float32)
LABELS = (LENGTHS > 6).astype(int)
READ = nn.Sequential(nn.lstm(4), nn.LastStep(), nn.Dense(2))
EMBED = nn.Sequential(nn.Embed(5, 3), nn.GlobalAvgPool(), nn.Dense(2))


def findings(net, x):
    run = dict(loss=nn.losses.softmax_cross_entropy, optimizer=optax.adam(1e-2))
    state, history = nn.fit(
        net, (x, LABELS), epochs=2, batch_size=32, key=jax.random.key(0),
        progress=False, **run,
    )  # fmt: skip
    return nn.diagnose(net, state, history, (x, LABELS), **run)


@pytest.mark.parametrize(("net", "x"), [(READ, VECTORS), (EMBED, IDS)])
def test_padding_that_is_read_is_found(net, x):
    found = findings(net, x)["padding read as data"]
    assert "of 12, and their outputs change" in found.words
    assert "(x, lengths)" in found.remedy


@pytest.mark.parametrize(
    ("net", "x"),
    [
        (READ, (VECTORS, LENGTHS)),
        (nn.Sequential(nn.Flatten(), nn.Dense(2)), VECTORS),
        (READ, VECTORS + REAL.all(1)[:, None, None] + 1),
    ],
    ids=["lengths given", "made for 12 steps", "not padded"],
)
def test_nothing_is_found_where_none_is_read(net, x):
    x = jax.tree.map(lambda a: np.asarray(a, a.dtype), x)
    assert findings(net, x)["padding read as data"] is None
