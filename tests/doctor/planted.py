# SPDX-License-Identifier: Apache-2.0
"""The half of the doctor's bench that its thresholds were chosen on."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
from runs import (
    Case,
    blobs,
    convolutional,
    dense,
    digits,
    fitted,
    mapped,
    rings,
    split,
    table,
    wave,
    words,
)

import jaxnn as nn

CROSS_ENTROPY = nn.losses.softmax_cross_entropy
SQUARES = nn.losses.mean_squared_error
ACCURACY = {"accuracy": nn.metrics.accuracy}
MLP = dense(32, 10)


def on_digits(net=MLP, optimizer=None, epochs=10, loss=CROSS_ENTROPY, **options):
    """A run on digits in rows of 64."""
    train, validation = digits(flat=True)
    optimizer = optimizer or optax.adam(2e-3)
    return fitted(net, train, validation, loss, optimizer, epochs, **options)


def on_table(net, optimizer, epochs=20, **options):
    """A run on numbers from eight features."""
    train, validation = table(**options)
    return fitted(net, train, validation, SQUARES, optimizer, epochs)


def wide_on_few_noisy_rows():
    return on_table(
        dense(128, 128, 1), optax.adam(3e-3), 120, examples=300, noise=1.2, seed=1
    )


def wide_on_blurred_rings():
    train, validation = rings(400, noise=0.6, seed=2)
    net = dense(128, 128, 128, 2)
    return fitted(net, train, validation, CROSS_ENTROPY, optax.adam(3e-3), 150)


def plane_on_a_bent_surface():
    return on_table(nn.Dense(1), optax.adam(2e-2), 60, seed=3, noise=0.05, features=3)


def line_on_exclusive_or():
    rng = np.random.default_rng(4)
    x = rng.uniform(-1, 1, size=(600, 2)).astype(np.float32)
    y = (x[:, 0] * x[:, 1] > 0).astype(np.int32)
    return fitted(nn.Dense(2), *split(x, y), CROSS_ENTROPY, optax.adam(2e-2), 50)


def too_fast_on_digits():
    return on_digits(optimizer=optax.sgd(15.0), epochs=10)


def too_fast_until_nan():
    return on_table(dense(32, 1), optax.sgd(3.0), seed=5)


def too_fast_adam():
    return on_digits(dense(64, 64, 10), optax.adam(0.5), 15)


def too_slow_on_digits():
    return on_digits(optimizer=optax.sgd(1e-3), epochs=8)


def too_slow_on_a_wave():
    train, validation = wave(seed=6)
    net = dense(32, 32, 1, act=jax.nn.tanh)
    return fitted(net, train, validation, SQUARES, optax.adam(1e-5), 20)


def seven_sigmoid_layers():
    return on_digits(dense(*[32] * 7, 10, act=jax.nn.sigmoid), optax.sgd(0.5), 10)


def steps_without_slope():
    return on_digits(dense(32, 32, 10, act=nn.step), optax.sgd(0.5), 10, seed=3)


def weights_that_grow_the_signal():
    train, validation = blobs(classes=4, seed=7)
    net = dense(*[32] * 8, 4, act=jax.nn.leaky_relu, w_init=nn.initializers.normal(0.9))
    return fitted(net, train, validation, CROSS_ENTROPY, optax.sgd(1e-3), 10)


def biases_far_below_zero():
    net = dense(32, 32, 10, b_init=nn.initializers.constant(-6.0))
    return on_digits(net, optax.adam(1e-3), 8)


def sigmoids_driven_flat():
    net = dense(32, 32, 10, act=jax.nn.sigmoid, w_init=nn.initializers.normal(6.0))
    return on_digits(net, optax.sgd(0.01), 10)


def softmax_with_squares():
    train, validation = digits(flat=True)
    train, validation = (
        (x, np.eye(10, dtype=np.float32)[y]) for x, y in (train, validation)
    )
    net = dense(32, 32, 10, act=jax.nn.sigmoid, end=jax.nn.softmax)
    return fitted(net, train, validation, SQUARES, optax.sgd(0.1), 10)


def _own_cross_entropy(outputs, targets):
    return optax.softmax_cross_entropy_with_integer_labels(outputs, targets)


def two_softmaxes():
    net = dense(32, 10, end=jax.nn.softmax)
    return on_digits(net, optax.adam(2e-3), 10, loss=_own_cross_entropy)


def relu_for_negative_numbers():
    return on_table(dense(32, 1, end=jax.nn.relu), optax.adam(1e-2), 30, seed=8)


def sigmoid_with_squares():
    train, validation = rings(seed=9)
    train, validation = (
        (x, y[:, None].astype(np.float32)) for x, y in (train, validation)
    )
    net = dense(16, 1, end=jax.nn.sigmoid)
    return fitted(net, train, validation, SQUARES, optax.sgd(0.1), 30)


def one_in_thirty():
    train, validation = blobs(
        1600, 5, classes=2, spread=1.5, seed=10, shares=[0.965, 0.035]
    )
    return fitted(dense(16, 2), train, validation, CROSS_ENTROPY, optax.adam(3e-3), 20)


def pixels_to_255():
    train, validation = (mapped(lambda x: 255 * x, p) for p in digits(flat=True))
    return fitted(MLP, train, validation, CROSS_ENTROPY, optax.sgd(0.1), 10)


def table_in_thousands():
    train, validation = (mapped(lambda x: 3000 * x + 8000, p) for p in table(seed=11))
    return fitted(dense(32, 1), train, validation, SQUARES, optax.sgd(0.01), 20)


def label_in_a_corner_pixel():
    def leak(pair):
        x, y = pair
        x[:, 0, 0, 0] = y / 9
        return x, y

    train, validation = map(leak, digits())
    return fitted(
        convolutional(8), train, validation, CROSS_ENTROPY, optax.adam(2e-3), 10
    )


def answer_in_a_column():
    def leak(pair):
        return np.concatenate([pair[0], 3 * pair[1] + 2], 1), pair[1]

    train, validation = map(leak, table(seed=12, noise=0.5))
    return fitted(dense(32, 1), train, validation, SQUARES, optax.adam(1e-2), 30)


def a_column_that_stands_still():
    train, validation = blobs(seed=13)
    for x in (train[0], validation[0]):
        x[:, 3] = 2.5
    return fitted(dense(16, 3), train, validation, CROSS_ENTROPY, optax.adam(1e-2), 30)


def validation_from_training():
    train, _ = table(seed=14)
    validation = train[0][::3], train[1][::3]
    return fitted(dense(32, 1), train, validation, SQUARES, optax.adam(1e-2), 40)


def labels_shuffled_apart():
    rng = np.random.default_rng(15)
    (x, y), (u, v) = digits(flat=True)
    train, validation = (x, rng.permutation(y)), (u, rng.permutation(v))
    return fitted(
        dense(128, 10), train, validation, CROSS_ENTROPY, optax.adam(3e-3), 40
    )


def a_third_of_labels_wrong():
    rng = np.random.default_rng(16)

    def noisy(pair):
        wrong = rng.uniform(size=len(pair[1])) < 0.35
        drawn = rng.integers(5, size=len(pair[1]))
        return pair[0], np.where(wrong, drawn, pair[1]).astype(np.int32)

    train, validation = map(noisy, blobs(classes=5, seed=16))
    return fitted(dense(64, 5), train, validation, CROSS_ENTROPY, optax.adam(5e-3), 40)


def split_in_order_of_class():
    (x, y), (u, v) = blobs(classes=4, seed=17)
    x, y = np.concatenate([x, u]), np.concatenate([y, v])
    order = np.argsort(y)
    train, validation = split(x[order], y[order])
    return fitted(dense(16, 4), train, validation, CROSS_ENTROPY, optax.adam(1e-2), 20)


def statistics_that_lag():
    train, validation = blobs(seed=18)
    train, validation = (mapped(lambda x: x + 4, p) for p in (train, validation))
    net = nn.Sequential(
        nn.Dense(32), nn.BatchNorm(momentum=0.999), jax.nn.relu, nn.Dense(3)
    )
    return fitted(net, train, validation, CROSS_ENTROPY, optax.adam(1e-2), 10)


def twenty_rows():
    train, validation = table(seed=19, noise=0.2)
    train = train[0][:20], train[1][:20]
    return fitted(dense(64, 1), train, validation, SQUARES, optax.adam(1e-2), 100, 20)


def decayed_to_nothing():
    return on_digits(optimizer=optax.adamw(1e-2, weight_decay=20.0), epochs=10)


def four_epochs():
    return on_digits(optimizer=optax.adam(1e-3), epochs=4)


def all_weights_zero():
    net = dense(32, 32, 10, w_init=nn.initializers.zeros())
    return on_digits(net, optax.adam(2e-3), 10)


def prices_in_full():
    (x, y), (u, v) = table(seed=20)
    train, validation = (x, 5e4 * y + 2e5), (u, 5e4 * v + 2e5)
    return fitted(dense(32, 1), train, validation, SQUARES, optax.adam(1e-2), 20)


def healthy_digits():
    return on_digits(optimizer=optax.adam(3e-3), epochs=25, metrics=ACCURACY)


def healthy_pictures():
    train, validation = digits()
    net = convolutional(8, 12)
    return fitted(net, train, validation, CROSS_ENTROPY, optax.adam(3e-3), 20)


def healthy_wave():
    train, validation = wave(seed=21)
    net = dense(32, 32, 1, act=jax.nn.tanh)
    return fitted(net, train, validation, SQUARES, optax.adam(1e-2), 80)


def healthy_blurred_rings():
    train, validation = rings(1200, noise=0.35, seed=22)
    return fitted(dense(16, 2), train, validation, CROSS_ENTROPY, optax.adam(1e-2), 30)


def healthy_numbers():
    return on_table(
        dense(32, 1), optax.adam(1e-2), 40, examples=1600, noise=0.3, seed=23
    )


def healthy_bytes():
    (x, y), (u, v) = digits(flat=True)
    train, validation = (((255 * a).astype(np.uint8), b) for a, b in ((x, y), (u, v)))
    net = nn.Sequential(_to_unit, nn.Dense(32), jax.nn.relu, nn.Dense(10))
    return fitted(net, train, validation, CROSS_ENTROPY, optax.adam(3e-3), 25)


def _to_unit(x):
    return x.astype(jnp.float32) / 255


def healthy_autoencoder():
    (x, _), (u, _) = digits(flat=True)
    net = dense(32, 16, 32, 64, end=jax.nn.sigmoid)
    return fitted(net, (x, x), (u, u), SQUARES, optax.adam(3e-3), 40)


def healthy_attention():
    train, validation = words(seed=24)
    block = nn.EncoderBlock(nn.MultiHeadAttention(2), nn.FeedForward(32))
    net = nn.Sequential(nn.Embed(50, 16), nn.Repeat(block, 2), _mean, nn.Dense(2))
    return fitted(net, train, validation, CROSS_ENTROPY, optax.adam(3e-3), 12)


def _mean(x):
    return x.mean(1)


def healthy_dropout():
    net = nn.Sequential(nn.Dense(64), jax.nn.relu, nn.Dropout(0.5), nn.Dense(10))
    return on_digits(net, optax.adam(3e-3), 25)


PLANTED = [
    Case("few noisy rows, wide net", "overfitting", wide_on_few_noisy_rows),
    Case("blurred rings, wide net", "overfitting", wide_on_blurred_rings),
    Case("bent surface by a plane", "underfitting", plane_on_a_bent_surface),
    Case("exclusive or by a line", "underfitting", line_on_exclusive_or),
    Case("digits, SGD 15", "learning rate too large", too_fast_on_digits),
    Case("SGD 3, NaN", "learning rate too large", too_fast_until_nan),
    Case("Adam 0.5", "learning rate too large", too_fast_adam),
    Case("digits, SGD 1e-3", "learning rate too small", too_slow_on_digits),
    Case("wave, Adam 1e-5", "learning rate too small", too_slow_on_a_wave),
    Case("7 sigmoid layers", "vanishing gradients", seven_sigmoid_layers),
    Case("threshold units", "vanishing gradients", steps_without_slope),
    Case("8 layers that grow", "exploding gradients", weights_that_grow_the_signal),
    Case("biases -6", "dead ReLUs", biases_far_below_zero),
    Case("sigmoids driven flat", "saturated units", sigmoids_driven_flat),
    Case("softmax with squares", "wrong output/loss pair", softmax_with_squares),
    Case("two softmaxes", "wrong output/loss pair", two_softmaxes),
    Case(
        "ReLU for negative numbers", "wrong output/loss pair", relu_for_negative_numbers
    ),
    Case("sigmoid with squares", "wrong output/loss pair", sigmoid_with_squares),
    Case("one positive in thirty", "labels out of balance", one_in_thirty),
    Case("pixels 0 to 255", "inputs not scaled", pixels_to_255),
    Case("table in thousands", "inputs not scaled", table_in_thousands),
    Case("label in a corner pixel", "leaking features", label_in_a_corner_pixel),
    Case("answer in a column", "leaking features", answer_in_a_column),
    Case("a column stands still", "constant features", a_column_that_stands_still),
    Case("validation from training", "overlapping sets", validation_from_training),
    Case("labels shuffled apart", "noisy labels", labels_shuffled_apart),
    Case("a third of labels wrong", "noisy labels", a_third_of_labels_wrong),
    Case("split in order of class", "sets that differ", split_in_order_of_class),
    Case("batch statistics lag", "stale batch statistics", statistics_that_lag),
    Case("20 rows", "too few examples", twenty_rows),
    Case("weight decay 20", "too much regularization", decayed_to_nothing),
    Case("4 epochs of Adam 1e-3", "too few epochs", four_epochs),
    Case("all weights zero", "equal initial values", all_weights_zero),
    Case("prices in full", "targets not scaled", prices_in_full),
]
HEALTHY = [
    Case("MLP on digits", None, healthy_digits),
    Case("CNN on digits", None, healthy_pictures),
    Case("a wave", None, healthy_wave),
    Case("blurred rings, small net", None, healthy_blurred_rings),
    Case("numbers from a table", None, healthy_numbers),
    Case("bytes scaled in the net", None, healthy_bytes),
    Case("autoencoder", None, healthy_autoencoder),
    Case("transformer on ids", None, healthy_attention),
    Case("dropout", None, healthy_dropout),
]
