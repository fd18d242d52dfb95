"""A small problem that the training tests share."""

import jax
import jax.numpy as jnp
import numpy as np
import optax

import jaxnn as nn

RNG = np.random.default_rng(0)
X = RNG.standard_normal((70, 6)).astype(np.float32)
Y = (X @ RNG.standard_normal((6, 3))).argmax(1)
NET = nn.Sequential(nn.Dense(8), jax.nn.relu, nn.Dropout(0.2), nn.Dense(3))
SGD = optax.sgd(0.1, momentum=0.9)
CROSS_ENTROPY = nn.losses.softmax_cross_entropy
KEY = jax.random.key(3)


def fit(data=(X, Y), net=NET, **options):
    """`nn.fit` with the usual settings: 4 full batches and one of 6 an epoch."""
    usual = {
        "loss": CROSS_ENTROPY,
        "optimizer": SGD,
        "epochs": 3,
        "batch_size": 16,
        "key": KEY,
    }
    if not isinstance(data, tuple) and not hasattr(data, "shape"):
        usual["batch_size"] = None
    return nn.fit(net, data, **{**usual, **options})


def by_hand(epochs, x=X, y=Y, batch_size=16, shuffle=True):
    """The same run with a jitted call a step and nothing else of the trainer."""
    step = jax.jit(nn.train_step(NET, CROSS_ENTROPY, SGD))
    state = nn.train_state(NET, SGD, x[:batch_size], key=KEY)
    losses = []
    for epoch in range(epochs):
        order = np.arange(len(x))
        if shuffle:
            order = np.asarray(nn.train.epoch_order(KEY, epoch, len(x)))
        rows = []
        for start in range(0, len(x), batch_size):
            index = order[start : start + batch_size]
            state, logs = step(state, (jnp.asarray(x[index]), jnp.asarray(y[index])))
            rows.append((float(logs["loss"]), len(index)))
        losses.append(sum(v * n for v, n in rows) / len(x))
    return state, losses
