"""Bad input to fit: said before anything is compiled, and nothing is lost."""

import functools
import re
from pathlib import Path

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from common import CROSS_ENTROPY, KEY, NET, SGD, X, Y, fit

import jaxnn as nn
from jaxnn.train.gradients import loss_gradients


def changed(a, index, value):
    a = np.array(a)
    a[index] = value
    return a


class Foreign:
    """An array of another library: it has a shape, and a dtype that is not NumPy's."""

    shape, ndim, dtype = (70, 6), 2, "foreign.float32"


class Several(nn.Composite):
    """Returns a dict of outputs."""

    digit: nn.Layer = nn.Dense(3)
    ink: nn.Layer = nn.Dense(1)

    def forward(self, run, x):
        return {"digit": run("digit", x), "ink": run("ink", x)}


def several(metrics):
    losses = {"digit": CROSS_ENTROPY, "ink": MSE}
    data = X, {"digit": Y, "ink": X[:, :1]}
    return fit(data, net=Several(), loss=losses, metrics=metrics)


class Hooked:
    """A callback as Keras has it."""

    def on_epoch_end(self, epoch, logs=None):
        pass


class HookedToo(nn.callbacks.Callback):  # type: ignore[misc]
    def on_train_end(self, logs=None):
        pass


class Reader(nn.Composite):
    """Reads one entry of a dict."""

    body: nn.Layer

    def forward(self, run, x):
        return run("body", x["left"])


def deleted(a):
    a = jnp.asarray(a)
    a.delete()
    return a


SOFTMAX = nn.Sequential(nn.Dense(3), jax.nn.softmax)
ONE = nn.Sequential(nn.Dense(1))
BINARY = (Y == 0).astype(np.float32)[:, None]
MSE = nn.losses.mean_squared_error

CASES = {
    "label -1": (
        lambda: fit((X, changed(Y, 12, -1))),
        [r"\[12\] is -1", "ignore_label"],
    ),
    "label too large": (
        lambda: fit((X, changed(Y, 37, 3))),
        [r"\[37\] is 3", "0 to 2"],
    ),
    "labels of more classes": (
        lambda: fit((X, Y + 5), net=nn.Dense(5)),
        ["but [0] is", "; for 8 classes end in nn.Dense(8)"],
    ),
    "labels from 1": (
        lambda: fit((X, Y + 1)),
        ["a class from 0 to 2", "; classes count from 0: targets - 1"],
    ),
    "outputs with more axes": (
        lambda: fit((np.zeros((70, 5, 4), np.float32), Y), net=nn.Dense(3)),
        [
            "class labels [N, 5] for outputs [N, 5, 3], got int64[70]; a layer such as "
            "nn.Flatten(), nn.GlobalAvgPool() or, after recurrence, nn.LastStep() is"
        ],
    ),
    "numbers with more axes": (
        lambda: fit((np.zeros((70, 5, 4)), X[:, 0]), net=nn.Dense(1), loss=MSE),
        ["outputs, [N, 5, 1], got float32[70]; a layer such as nn.Flatten()"],
    ),
    "many": (lambda: fit((X, Y - 1)), ["such labels"]),
    "float labels": (lambda: fit((X, Y.astype(np.float32))), ["integers", "astype"]),
    "one-hot ints": (lambda: fit((X, np.eye(3, dtype=int)[Y])), ["astype"]),
    "column labels": (lambda: fit((X, Y[:, None])), [r"targets\[..., 0\]"]),
    "negative soft label": (
        lambda: fit((X, changed(np.eye(3, dtype=np.float32)[Y], (4, 1), -0.5))),
        [r"\[4, 1\] is -0.5"],
    ),
    "nan": (
        lambda: fit((changed(X, (41, 3), np.nan), Y)),
        ["inputs", r"\[41, 3\] is nan"],
    ),
    "inf": (lambda: fit((changed(X, (5, 0), np.inf), Y)), [r"\[5, 0\] is inf"]),
    "nan target": (
        lambda: fit((X, changed(X, (2, 2), np.nan)), net=nn.Dense(6), loss=MSE),
        ["targets", r"\[2, 2\]"],
    ),
    "lengths": (
        lambda: fit((X, Y[:-1])),
        ["fit: data must", "got 70 in inputs, 69 in targets"],
    ),
    "empty": (
        lambda: fit((X[:0], Y[:0])),
        ["fit: data must hold examples, got (float32[0,6], int"],
    ),
    "a last batch of one": (
        lambda: fit(net=nn.Sequential(nn.Dense(3), nn.BatchNorm()), batch_size=23),
        ["in batch_norm_1", "the last batch of an epoch has 1 example"],
    ),
    "zero batch": (lambda: fit(batch_size=0), ["positive int"]),
    "float batch": (lambda: fit(batch_size=8.0), ["positive int"]),
    "no batch size": (lambda: fit(batch_size=None), ["fit: batch_size is needed"]),
    "zero epochs": (
        lambda: fit(epochs=0),
        ["fit: epochs must be a positive int, got 0"],
    ),
    "negative epochs": (lambda: fit(epochs=-3), ["got -3"]),
    "no key": (lambda: fit(key=None), ["jax.random.key", "no default seed"]),
    "old key": (lambda: fit(key=jax.random.PRNGKey(0)), ["wrap_key_data"]),
    "keys": (lambda: fit(key=jax.random.split(KEY)), ["one random key"]),
    "softmax": (lambda: fit(net=SOFTMAX), ["already ends in softmax", "cross_entropy"]),
    "hidden softmax": (
        lambda: fit(net=nn.Sequential(nn.Remat(SOFTMAX), nn.Reshape((3,)))),
        ["already ends in softmax"],
    ),
    "sigmoid": (
        lambda: fit(
            (X, BINARY),
            net=nn.Sequential(ONE, jax.nn.sigmoid),
            loss=nn.losses.sigmoid_cross_entropy,
        ),
        ["already ends in sigmoid", "binary_cross_entropy"],
    ),
    "raw": (
        lambda: fit(net=nn.Sequential(nn.Dense(3)), loss=nn.losses.cross_entropy),
        ["raw outputs", "jax.nn.softmax"],
    ),
    "raw binary": (
        lambda: fit((X, BINARY), net=ONE, loss=nn.losses.binary_cross_entropy),
        ["raw outputs", "jax.nn.sigmoid"],
    ),
    "targets flat": (
        lambda: fit((X, X[:, 0]), net=ONE, loss=MSE),
        [r"\[N, 1\]", r"targets\[:, None\]"],
    ),
    "binary range": (
        lambda: fit((X, 2 * BINARY), net=ONE, loss=nn.losses.sigmoid_cross_entropy),
        ["from 0 to 1", "is 2.0"],
    ),
    "reduced loss": (
        lambda: fit(loss=lambda o, t: CROSS_ENTROPY(o, t).mean()),
        ["one value per example"],
    ),
    "no loss": (lambda: fit(loss=None), ["loss is needed"]),
    "no optimizer": (lambda: fit(optimizer=None), ["optimizer is needed"]),
    "not a net": (lambda: nn.fit(3, (X, Y), epochs=1), ["a layer or a step"]),
    "a class": (lambda: nn.fit(nn.Flatten, (X, Y), epochs=1), ["a layer or a step"]),
    "lists": (lambda: fit(([1.0, 2.0], [0, 1])), ["must be an array", "np.asarray"]),
    "list of arrays": (
        lambda: fit([X, Y]),
        ["fit: data must be", "write (inputs, targets)"],
    ),
    "only inputs": (lambda: fit((X,)), ["(inputs, targets)"]),
    "validation labels": (
        lambda: fit(validation=(X, Y + 1)),
        ["validation targets", "is 3"],
    ),
    "validation width": (
        lambda: fit(validation=(X[:, :2], Y)),
        ["must have 6 features", "in the inputs of validation"],
    ),
    "validation list": (
        lambda: fit(validation=[X, Y]),
        ["fit: validation must be", "got a list of arrays"],
    ),
    "no validation batch": (
        lambda: fit(validation=[]),
        ["fit: validation must hold batches, got an empty list"],
    ),
    "validation of a state": (
        lambda: fit(validation=lambda state: {}),
        [
            "fit: validation must be a function without arguments",
            "this one takes state",
        ],
    ),
    "a step and its loss": (
        lambda: fit(net=nn.train_step(NET, CROSS_ENTROPY, SGD)),
        ["loss belongs to the step"],
    ),
    "foreign arrays": (
        lambda: fit((Foreign(), Y)),
        ["fit: data inputs must be an array of NumPy or JAX", "Foreign", "np.asarray"],
    ),
    "named classes": (lambda: fit(class_weight={"cat": 2.0}), ["which are ints"]),
    "class weight in words": (
        lambda: fit(class_weight={0: "heavy"}),
        ["fit: class_weight[0] must be a number, got 'heavy'"],
    ),
    "two weights of a class": (
        lambda: fit(class_weight={0: [1.0, 2.0]}),
        ["fit: class_weight[0] must be a number, got [1.0, 2.0]"],
    ),
    "one class weight": (lambda: fit(class_weight=2.0), ["a list of weights"]),
    "patience": (
        lambda: fit(early_stopping=nn.EarlyStopping(min_delta="0.1")),
        ["EarlyStopping: min_delta must be a number 0 or more, got '0.1'"],
    ),
    "factor": (
        lambda: fit(plateau=nn.Plateau(factor="0.1")),
        ["Plateau: factor must be a number above 0, below 1, got '0.1'"],
    ),
    "checkpoints": (
        lambda: fit(callbacks=[nn.callbacks.checkpoint("x", every="1")]),
        ["every must be 1 or more epochs, got '1'"],
    ),
    "callbacks": (lambda: fit(callbacks=3), ["must be a list of functions"]),
    "a path for callbacks": (
        lambda: fit(callbacks="run.safetensors"),
        ["got 'run.safetensors'; to save there, nn.callbacks.checkpoint(path)"],
    ),
    "a path among callbacks": (
        lambda: fit(callbacks=[Path("run.safetensors")]),
        ["run.safetensors')", "nn.callbacks.checkpoint(path)"],
    ),
    "a callback of Keras": (
        lambda: fit(callbacks=[Hooked()]),
        ["on_epoch_end of Hooked would never be called; write def callback(epoch, st"],
    ),
    "a class of nn.callbacks.Callback with hooks": (
        lambda: fit(callbacks=[HookedToo]),
        ["on_train_end of HookedToo would never be called", "a class with __call__"],
    ),
    "a callback without a name": (
        lambda: fit(callbacks=[object()]),
        [r"callback\(epoch, state, history\), got object$"],
    ),
    "early stopping among callbacks": (
        lambda: fit(callbacks=[nn.EarlyStopping(2)]),
        ["got EarlyStopping(2); give it as early_stopping=nn.EarlyStopping(...)"],
    ),
    "a plateau as callbacks": (
        lambda: fit(callbacks=nn.Plateau(patience=2)),
        ["give it as plateau=nn.Plateau(...)"],
    ),
    "a monitor in place of patience": (
        lambda: nn.EarlyStopping("val_loss"),
        ["patience must be 1 or more epochs, got 'val_loss'; write monitor='val_loss'"],
    ),
    "a callback's class": (
        lambda: fit(callbacks=[Foreign]),
        ["and Foreign is a class; give an instance, Foreign(...)"],
    ),
    "a callback that is not made": (
        lambda: fit(callbacks=[nn.callbacks.checkpoint]),
        ["checkpoint takes (path, every, ", "it makes a callback, nn.callbacks.ch"],
    ),
    "tensorboard that is not made": (
        lambda: fit(callbacks=[nn.callbacks.tensorboard]),
        ["tensorboard takes (folder, ", "makes a callback, nn.callbacks.tensorboard"],
    ),
    "a callback of two": (
        lambda: fit(callbacks=[lambda epoch, logs: None]),
        ["callback(epoch, state, history), and <lambda> takes (epoch, logs)"],
    ),
    "a callback of four": (
        lambda: fit(callbacks=[lambda a, b, c, d: None]),
        ["<lambda> takes (a, b, c, d)"],
    ),
    "a method of one": (
        lambda: fit(callbacks=[[].append]),
        ["append takes (object)"],
    ),
    "sample weights": (lambda: fit(sample_weight=np.ones(3)), ["[70]"]),
    "negative weight": (
        lambda: fit(sample_weight=changed(np.ones(70), 3, -1)),
        [r"\[3\] is -1"],
    ),
    "class weight": (
        lambda: fit(class_weight={7: 2.0}),
        ["fit: class_weight must name classes of the targets, got [7]"],
    ),
    "weights for a stream": (
        lambda: fit([(X, Y)], class_weight={0: 2.0}),
        ["iterable"],
    ),
    "weights column": (lambda: fit((X, Y, np.ones((70, 1)))), ["data weights", "[70]"]),
    "weights below 0": (lambda: fit((X, Y, -np.ones(70))), ["0 or more", "[0] is -1"]),
    "weights all 0": (
        lambda: fit((X, Y, np.zeros(70))),
        ["fit: data weights must not all be zero"],
    ),
    "metrics list": (lambda: fit(metrics=[nn.metrics.accuracy]), ["dict from names"]),
    "the name of an optimizer": (
        lambda: fit(optimizer="adam"),
        ["got 'adam'; write optax.adam(1e-3)"],
    ),
    "an optimizer that is not made": (
        lambda: fit(optimizer=optax.lamb),
        [r"got the function lamb; write optax.lamb\(1e-3\)$"],
    ),
    "a rate for an optimizer": (
        lambda: fit(optimizer=0.01),
        ["got 0.01; write optax.adam(0.01)"],
    ),
    "a list of optimizers": (
        lambda: fit(optimizer=[optax.clip(1.0), optax.adam(1e-3)]),
        ["got [GradientTransformation", "; write optax.chain(...)"],
    ),
    "the name of a loss": (
        lambda: fit(loss="sparse_categorical_crossentropy"),
        ["; write nn.losses.softmax_cross_entropy (on logits;"],
    ),
    "the name of a loss of ours": (
        lambda: nn.evaluate(ONE, ONE.init(KEY, X), (X, X), loss="huber"),
        ["evaluate: loss must be a function of outputs", "; write nn.losses.huber"],
    ),
    "a misspelled loss": (lambda: fit(loss="hubber"), ["(nearest: 'huber')"]),
    "a list of losses": (
        lambda: fit(loss=[CROSS_ENTROPY, MSE]),
        ["got [function, function]; several are a dict"],
    ),
    "an objective as loss": (
        lambda: fit(loss=lambda run, batch: run(batch[0]).mean(-1)),
        ["got the function <lambda> of run and batch; give it as objective="],
    ),
    "the name of a metric": (
        lambda: fit(metrics={"a": "f1"}),
        ["got 'f1'; write nn.metrics.F1(10) (with the number of classes)"],
    ),
    "a metric alone": (
        lambda: fit(metrics=nn.metrics.accuracy),
        ["got the function accuracy"],
    ),
    "groups of rates": (
        lambda: nn.partition({"head": 1e-3}),
        ["partition: groups['head'] must be an Optax", "write optax.adam(0.001)"],
    ),
    "a default rate": (
        lambda: nn.partition({"head": optax.adam(0.1)}, default=optax.sgd),
        ["partition: default must be an Optax", "write optax.sgd(0.1, momentum=0.9)"],
    ),
    "groups by name": (
        lambda: nn.partition(optax.adam(0.1)),
        ["partition: groups must be a dict from patterns to optimizers"],
    ),
    "a metric of several outputs": (
        lambda: several({"digit": nn.metrics.accuracy}),
        [
            "fit: metrics['digit'] must be of one entry of the outputs, a dict of "
            "'digit', 'ink'; write nn.metrics.select('digit', nn.metrics.accuracy)"
        ],
    ),
    "a streaming metric of several outputs": (
        lambda: several({"f1": nn.metrics.F1(3)}),
        ["write nn.metrics.select('digit', nn.metrics.F1(classes=3"],
    ),
    "an entry of a tuple": (
        lambda: nn.metrics.select(0, nn.metrics.accuracy),
        ["select: name must be a key of the outputs, which must be a dict", "got 0"],
    ),
    "weights of losses": (
        lambda: fit(loss_weights={"digit": 1.0}),
        ["write pairs (scale, loss): loss={"],
    ),
    "optimizer class": (lambda: fit(optimizer=optax.sgd), ["Optax optimizer"]),
    "loss name": (lambda: fit(loss="mse"), ["fit: loss must be a function"]),
    "callback": (lambda: fit(callbacks=[3]), ["list of functions"]),
    "history dict": (lambda: fit(history={}), ["must be a History"]),
    "chunks": (lambda: fit(chunk_seconds="1"), ["chunk_seconds"]),
    "strings": (lambda: fit((X, Y.astype(str))), ["must hold numbers"]),
    "one array": (lambda: fit(data=X.reshape(70, 6)), ["fit: data must be a tuple"]),
    "almost balanced": (
        lambda: fit(class_weight="balance"),
        ["fit: class_weight must be 'balanced', a dict", "(nearest: 'balanced')"],
    ),
    "balanced numbers": (
        lambda: fit((X, X[:, :1]), net=ONE, loss=MSE, class_weight="balanced"),
        ["fit: class_weight needs targets that are class numbers [N] or [N, 1]"],
    ),
    "balanced stream": (
        lambda: fit([(X, Y)], class_weight="balanced"),
        ["fit: sample_weight and class_weight need arrays"],
    ),
    "longer loss": (
        lambda: fit((X, X[:, :3]), loss=lambda o, t: ((o - t) ** 2).reshape(-1)),
        ["one value per example, [16]", "[48]"],
    ),
    "metric named loss": (
        lambda: fit(metrics={"loss": CROSS_ENTROPY}),
        ["loss's own name"],
    ),
    "metric named epoch": (
        lambda: fit(metrics={"epoch": nn.metrics.accuracy}),
        ["fit: metrics must not use a name of the history's own", "got 'epoch'"],
    ),
    "metric named rate_scale": (
        lambda: fit(metrics={"rate_scale": nn.metrics.accuracy}),
        ["fit: metrics must not use a name", "got 'rate_scale'"],
    ),
    "metric named val_loss": (
        lambda: fit(metrics={"val_loss": nn.metrics.accuracy}),
        ["fit: metrics must not use a name", "got 'val_loss'"],
    ),
    "metric without a name": (
        lambda: fit(metrics={1: nn.metrics.accuracy}),
        ["fit: metrics must have strings as names, got 1"],
    ),
    "a log named epoch": (
        lambda: nn.fit(
            lambda state, batch: (state, {"epoch": jnp.float32(1)}),
            (X, Y),
            epochs=1,
            batch_size=10,
            state={"n": jnp.int32(0)},
            key=KEY,
        ),
        ["step: logs must not use a name", "got 'epoch'"],
    ),
    "rate in quotes": (
        lambda: fit(optimizer=optax.sgd("0.1")),
        ["learning rate", "must be numbers or schedules"],
    ),
    "rate None": (
        lambda: fit(optimizer=optax.sgd(None)),
        ["must not give the gradient itself", "not None"],
    ),
    "rates": (
        lambda: fit(optimizer=optax.sgd(jnp.ones((1, 1, 3))), net=nn.Dense(3)),
        ["learning rate"],
    ),
    "a dict for an optimizer": (
        lambda: fit(optimizer={}),
        ["fit: optimizer must be an Optax optimizer"],
    ),
    "optimizer of a state": (
        lambda: nn.train_state(NET, "sgd", X, key=KEY),
        ["train_state: optimizer must be an Optax optimizer", "'sgd'"],
    ),
    "loss class": (
        lambda: fit(loss=Foreign),
        ["fit: loss must be a function, got the class Foreign; build one"],
    ),
    "loss pair": (
        lambda: fit(loss=lambda y, t: (CROSS_ENTROPY(y, t),) * 2),
        [
            "train_step: loss must give one value per example, [16], got (float32[16], "
            "float32[16])"
        ],
    ),
    "loss of ints": (
        lambda: fit(loss=lambda y, t: (y.argmax(-1) == t).astype(jnp.int32)),
        ["train_step: loss must give floating-point numbers, got int32[16]"],
    ),
    "loss name, evaluated": (
        lambda: nn.evaluate(ONE, ONE.init(KEY, X), (X, Y), loss="mse"),
        ["evaluate: loss must be a function"],
    ),
    "metric class": (
        lambda: fit(metrics={"f1": nn.metrics.F1}),
        ["fit: a metric must not be a class, got F1"],
    ),
    "metric pair": (
        lambda: fit(metrics={"two": lambda y, t: (y, y)}),
        ["one value per example", "in metric 'two'"],
    ),
    "metric of a dict": (
        lambda: fit(
            net=nn.Sequential(nn.Dense(3), lambda y: {"a": y, "b": y}),
            loss=lambda y, t: CROSS_ENTROPY(y["a"], t),
            metrics={"f1": nn.metrics.F1(3)},
        ),
        ["F1: outputs must be one array, got {'a': float32[16,3]", "in metric 'f1'"],
    ),
    "class weight of a name": (
        lambda: fit(class_weight={0: "a"}),
        ["fit: class_weight[0] must be a number, got 'a'"],
    ),
    "class weights of numbers": (
        lambda: fit((X, X[:, :1]), net=ONE, loss=MSE, class_weight={0: 2.0}),
        ["fit: class_weight needs targets that are class numbers [N] or [N, 1]"],
    ),
    "weights of words": (
        lambda: fit(sample_weight=["a"] * 70),
        ["fit: sample_weight must hold numbers"],
    ),
    "tiny weights": (
        lambda: fit(sample_weight=np.full(70, 1e-38)),
        ["fit: sample_weight must be 0, or from 1e-20 to 1e+20", "divide them"],
    ),
    "huge weights": (
        lambda: fit((X, Y, np.full(70, 1e38))),
        ["fit: data weights must be 0, or from 1e-20", "divide them"],
    ),
    "weights beyond float32": (
        lambda: fit(class_weight={0: 1e39}),
        ["fit: class_weight must fit float32"],
    ),
    "uint8": (lambda: fit((X.astype(np.uint8), Y)), ["floating-point", "255"]),
    "no targets": (
        lambda: fit((X, None)),
        ["fit: data targets must be an array for softmax_cross_entropy, got None"],
    ),
    "no validation targets": (
        lambda: fit(validation=(X, None)),
        [
            "fit: validation targets must be an array for softmax_cross_entropy, "
            "got None"
        ],
    ),
    "no inputs": (lambda: fit((None, Y)), ["fit: data inputs must be arrays [N, ...]"]),
    "inputs of nothing": (lambda: fit(({}, Y)), ["fit: data inputs must be", "got {}"]),
    "no features": (
        lambda: fit((X[:, :0], Y)),
        ["fit: data inputs must have features"],
    ),
    "no outputs": (
        lambda: fit((X, X[:, :0])),
        ["fit: data targets must have features"],
    ),
    "deleted": (lambda: fit((deleted(X), Y)), ["fit: data inputs must still exist"]),
    "deleted state": (
        lambda: fit(state=jax.tree.map(deleted, {"params": X})),
        ["fit: state params must still exist, but this jax.Array was deleted"],
    ),
    "an int": (lambda: fit((X, 3)), ["fit: data targets must be an array, got int"]),
    "a word": (lambda: fit(("abc", Y)), ["fit: data inputs must be an array, got str"]),
    "a number": (
        lambda: fit(net=NET, data=np.float32(3)),
        ["fit: data must be a tuple"],
    ),
    "a bare word": (lambda: fit("abc"), ["fit: data must be arrays", "got 'abc'"]),
    "int64": (
        lambda: fit((X, X.astype(int) + 3_000_000_000), net=nn.Dense(6), loss=MSE),
        [
            "fit: data targets must fit int32",
            "[0, 0] is 3000000000",
            "(420 such numbers)",
        ],
    ),
    "milliseconds": (
        lambda: fit((1_700_000_000_000 + np.zeros((70, 6), int), Y)),
        ["fit: data inputs must fit int32", "subtract an offset"],
    ),
    "validation int64": (
        lambda: fit(validation=(X, Y + 2**32)),
        ["fit: validation targets must fit int32"],
    ),
    "float64": (
        lambda: fit((changed(X.astype(float), (3, 1), 1e300), Y)),
        ["fit: data inputs must fit float32", "[3, 1] is 1e+300", "jax_enable_x64"],
    ),
    "complex targets": (
        lambda: fit((X, X + 1j), net=nn.Dense(6), loss=MSE),
        ["fit: data targets must be real numbers, got complex64[70,6]"],
    ),
    "complex weights": (
        lambda: fit((X, Y, np.ones(70) + 1j)),
        ["fit: data weights must be real numbers"],
    ),
    "complex sample weights": (
        lambda: fit(sample_weight=np.ones(70) + 1j),
        ["fit: sample_weight must be real numbers"],
    ),
    "sample weights in words": (
        lambda: fit(sample_weight=np.ones(70).astype(str)),
        ["fit: sample_weight must hold numbers"],
    ),
    "masked": (
        lambda: fit((np.ma.masked_array(X, X > 2), Y)),
        ["fit: data inputs must not be masked", "filled"],
    ),
    "masked weights": (
        lambda: fit(sample_weight=np.ma.masked_array(np.ones(70), X[:, 0] > 1)),
        ["fit: sample_weight must not be masked"],
    ),
    "objects": (
        lambda: fit((X.astype(object), Y)),
        ["fit: data inputs must hold numbers"],
    ),
    "width of the net": (
        lambda: fit(net=nn.Sequential(a=nn.Reshape((5,)), b=nn.Dense(3))),
        ["in a: Reshape"],
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_bad_input_is_named_before_compiling(case, monkeypatch):
    def compiled(*args, **kwargs):
        raise AssertionError("something was compiled or run")

    monkeypatch.setattr("jaxnn.train.loop.run_steps", compiled)
    call, words = CASES[case]
    with pytest.raises((ValueError, TypeError)) as caught:
        call()
    said = str(caught.value) + "".join(getattr(caught.value, "__notes__", []))
    for word in words:
        assert re.search(word if "\\" in word else re.escape(word), said), said


def wrong_shape(outputs, targets):
    return (outputs[:, :2] - targets) ** 2


def in_numpy(outputs, targets):
    return np.log(outputs).mean(-1)


def in_python(outputs, targets):
    return float(outputs.mean()) + targets


def objective_in_numpy(run, batch):
    return np.log(run(batch[0])).mean(-1)


TRACED = "use jax.numpy, not float() or numpy, on traced values"


@pytest.mark.parametrize(
    ("options", "notes"),
    [
        (
            {"loss": wrong_shape},
            ["in the loss wrong_shape(outputs, targets): outputs come first"],
        ),
        (
            {"loss": functools.partial(in_numpy)},
            ["in the loss in_numpy(outputs, targets): outputs come first", TRACED],
        ),
        (
            {"metrics": {"acc": in_python}},
            ["in metric 'acc' in_python(outputs, targets): outputs come first", TRACED],
        ),
        (
            {"loss": None, "objective": objective_in_numpy},
            ["in the objective objective_in_numpy(run, batch)", TRACED],
        ),
        ({"metrics": {"top": nn.metrics.top_k_accuracy}}, ["in metric 'top'"]),
    ],
)
def test_an_error_in_a_function_of_the_user_says_where_and_what_comes_first(
    options, notes
):
    with pytest.raises(Exception) as caught:
        fit(**options)
    own = [note for note in caught.value.__notes__ if note.startswith(("in ", "use "))]
    assert own == notes


@pytest.mark.parametrize(
    "given", [object(), [object()], {"a": object()}, [optax.adam, 3]]
)
@pytest.mark.parametrize(
    "name", ["net", "loss", "optimizer", "metrics", "callbacks", "augment", "objective"]
)
def test_no_message_shows_an_address(name, given):
    options = {"loss": None} if name == "objective" else {}
    with pytest.raises((TypeError, ValueError)) as caught:
        fit(**options, **{name: given})
    assert "0x" not in str(caught.value)


def test_a_metric_that_is_a_mean_is_named():
    def share_right(outputs, targets):
        return (outputs.argmax(-1) == targets).mean()

    with pytest.raises(ValueError, match="must give one value") as caught:
        fit(metrics={"acc": share_right})
    assert str(caught.value) == (
        "metric: share_right must give one value per example, [16], got float32[]; "
        "leave the mean over examples to the trainer"
    )


def test_callbacks_may_be_methods_objects_and_functions_of_anything():
    seen = []

    class Called:
        def __call__(self, epoch, state, history, *, more=0):
            seen.append(("object", epoch, more))

        def method(self, *given):
            seen.append(("method", *given[:1]))

    kept = functools.partial(lambda tag, *given: seen.append((tag, given[0])), "part")
    fit(callbacks=iter([Called(), Called().method, kept]), epochs=1)
    assert seen == [("object", 1, 0), ("method", 1), ("part", 1)]
    assert len(fit(callbacks=None, epochs=1)[1]) == 1


def test_a_state_of_another_network_or_optimizer():
    state, _ = fit(epochs=1)
    with pytest.raises(
        ValueError, match="fit: state must hold the params of this network"
    ) as caught:
        fit(net=nn.Sequential(nn.Dense(9), nn.Dense(3)), state=state)
    assert "dense_1/w" in str(caught.value)
    with pytest.raises(ValueError, match="must hold the opt_state of this optimizer"):
        fit(optimizer=optax.adam(0.1), state=state)
    with pytest.raises(TypeError, match="TrainState"):
        fit(state=state.params)


def test_ignored_labels_and_weights_change_the_loss_as_they_say():
    labels = changed(Y, slice(0, 35), -1)
    loss = functools.partial(CROSS_ENTROPY, ignore_label=-1)
    kw = {"batch_size": 70, "net": nn.Dense(3), "epochs": 2}
    a, ha = fit((X, labels), loss=loss, **kw)
    weights = changed(np.ones(70, np.float32), slice(0, 35), 0)
    b, hb = fit((X, Y), sample_weight=weights, **kw)
    c, _ = fit((X, Y, weights), **kw)
    chex.assert_trees_all_close(a.params, b.params, rtol=1e-5, atol=1e-6)
    chex.assert_trees_all_equal(b.params, c.params)
    np.testing.assert_allclose(ha["loss"], hb["loss"], rtol=1e-5)
    half, _ = fit((X[35:], Y[35:]), **{**kw, "batch_size": 35})
    chex.assert_trees_all_close(b.params, half.params, rtol=1e-4, atol=1e-5)


def test_class_weights_are_weights_of_the_examples():
    kw = {"batch_size": 70, "net": nn.Dense(3), "epochs": 2}
    a, _ = fit(class_weight={1: 5.0}, **kw)
    b, _ = fit(class_weight=[1.0, 5.0, 1.0], **kw)
    c, _ = fit(sample_weight=np.where(Y == 1, 5.0, 1.0), **kw)
    chex.assert_trees_all_equal(a.params, b.params, c.params)
    assert not np.array_equal(a.params["w"], fit(**kw)[0].params["w"])


def test_class_weights_of_a_column_are_those_of_its_classes():
    kw = {"batch_size": 70, "net": ONE, "loss": nn.losses.sigmoid_cross_entropy}
    a, _ = fit((X, BINARY), class_weight={1: 5.0}, **kw)
    b, _ = fit((X, BINARY), sample_weight=np.where(BINARY[:, 0] == 1, 5.0, 1.0), **kw)
    chex.assert_trees_all_equal(a.params, b.params)


@pytest.mark.parametrize("members", [1, 2])
def test_a_statistic_that_is_at_fault_is_named(members):
    """The variance overflows; outputs and parameters stay finite, and learn nothing."""
    net = nn.Sequential(norm=nn.BatchNorm(), fc=nn.Dense(3))
    net = nn.ensemble(net, 2) if members == 2 else net
    with pytest.raises(nn.NonFiniteError, match="the statistic norm/var") as caught:
        fit((changed(X, 40, 1e20), Y), net, shuffle=False)
    error = caught.value
    assert (error.path, error.epoch, error.step) == ("norm/var", 1, 2)
    assert np.isfinite(np.asarray(error.state.state["norm"]["var"])).all()
    assert "Scale the inputs" in str(error)


def explode(**options):
    net = nn.Sequential(fc1=nn.Dense(8), act=jax.nn.relu, fc2=nn.Dense(3))
    with pytest.raises(nn.NonFiniteError) as caught:
        fit(net=net, **{"epochs": 9, **options})
    return caught.value


def test_a_non_finite_loss_stops_the_run_where_it_began():
    """The learning rate goes mad at step 7; all before is there to use."""
    rates = optax.sgd(lambda step: jnp.where(step < 7, 0.1, jnp.inf))
    error = explode(optimizer=rates)
    assert (error.epoch, error.step) == (2, 7)
    assert "update of parameter" in str(error)
    assert error.history.stopped.startswith("training became ")
    assert error.history.stopped.endswith(" in epoch 2")
    assert error.path.startswith(("fc1", "fc2"))
    assert int(error.state.step) == 7
    assert len(error.history) == 1
    net = nn.Sequential(fc1=nn.Dense(8), act=jax.nn.relu, fc2=nn.Dense(3))
    good, _ = fit(net=net, optimizer=optax.sgd(lambda step: jnp.float32(0.1)), epochs=1)
    first = {
        "net": net,
        "optimizer": optax.sgd(lambda step: jnp.where(step < 7, 0.1, 0.1)),
    }
    again, _ = fit(**first, epochs=1)
    chex.assert_trees_all_close(good.params, again.params)
    assert np.isfinite(np.asarray(error.state.params["fc1"]["w"])).all()


@pytest.mark.parametrize("chunk_seconds", [0.0, 1e9])
def test_the_layer_and_the_examples_are_named(chunk_seconds):
    """One row of huge numbers overflows where it is squared."""
    x = changed(X, 44, 1e30)
    net = nn.Sequential(fc1=nn.Dense(8), act=jnp.square, fc2=nn.Dense(3))
    with pytest.raises(nn.NonFiniteError) as caught:
        fit((x, Y), net=net, shuffle=False, chunk_seconds=chunk_seconds)
    error = caught.value
    assert error.path == "act"
    assert error.examples == [44]
    assert (error.epoch, error.step) == (1, 2)
    assert int(error.state.step) == 2
    assert "output of" in str(error)
    assert "learning rate" in str(error)


def test_a_loss_that_is_at_fault_is_named():
    def loss(outputs, targets):
        return jnp.where(targets == 1, jnp.nan, CROSS_ENTROPY(outputs, targets))

    error = explode(loss=loss, shuffle=False)
    assert "the loss" in str(error) and "Look at the targets" in str(error)
    assert error.path is None
    assert error.examples == [i for i in range(16) if Y[i] == 1]


@pytest.mark.parametrize("net", [ONE, nn.ensemble(ONE, 2)])
def test_a_rate_that_is_too_large_is_not_blamed_on_the_targets(net):
    """Squared outputs overflow long before they do."""
    with pytest.raises(nn.NonFiniteError, match=r"the largest is \S+e\+") as caught:
        fit((X, BINARY), net, loss=MSE, optimizer=optax.sgd(2.0), epochs=99)
    assert "Try a smaller learning rate" in str(caught.value)


def test_a_metric_may_be_infinite_whatever_its_name():
    def log_loss(outputs, targets):
        return jnp.where(targets == 0, jnp.inf, 1.0)

    _, history = fit(metrics={"log_loss": log_loss})
    assert history["log_loss"] == [np.inf] * 3


def test_the_validation_of_a_step_of_ones_own_gives_a_dict():
    def step(state, batch):
        return state, {"loss": jnp.float32(1)}

    with pytest.raises(TypeError, match="fit: validation must give a dict of numbers"):
        nn.fit(
            *(step, (X, Y)),
            **{"epochs": 1, "batch_size": 20, "state": {"n": jnp.int32(0)}},
            validation=lambda state: 0.5,
            key=KEY,
        )


def test_a_gradient_that_is_at_fault_is_named():
    @jax.custom_jvp
    def broken(x):
        return x

    broken.defjvp(lambda primals, tangents: (primals[0], tangents[0] * jnp.nan))
    net = nn.Sequential(fc1=nn.Dense(8), broken=broken, fc2=nn.Dense(3))
    with pytest.raises(nn.NonFiniteError, match="the gradient of parameter fc1/"):
        fit(net=net)


def test_without_replay_the_error_still_says_when():
    error = explode(optimizer=optax.sgd(1e30), replay=False)
    assert error.state is None
    assert "replay=False" in str(error)


def test_a_non_finite_step_of_ones_own():
    def step(state, batch):
        loss = jnp.where(state["n"] == 5, jnp.nan, 1.0)
        return {"n": state["n"] + 1}, {"loss": loss}

    with pytest.raises(nn.NonFiniteError, match="epoch 2, step 5"):
        nn.fit(
            step, (X, Y), epochs=3, batch_size=20, state={"n": jnp.int32(0)}, key=KEY
        )


@pytest.mark.parametrize(
    "name", ["int64", "float64", "masked", "deleted", "no features"]
)
def test_evaluate_and_predict_and_a_range_test_say_the_same(name):
    state = NET.init(KEY, X)
    x, words = {
        "int64": (np.full((70, 6), 3_000_000_000), "fit int32"),
        "float64": (np.full((70, 6), 1e300), "fit float32"),
        "masked": (np.ma.masked_array(X, X > 2), "not be masked"),
        "deleted": (deleted(X), "this jax.Array was deleted"),
        "no features": (X[:, :0], "have features"),
    }[name]
    for owner, call in {
        "evaluate: data inputs": lambda: nn.evaluate(
            NET, state, (x, Y), loss=CROSS_ENTROPY
        ),
        "predict: inputs": lambda: nn.predict(NET, state, x),
        "find_learning_rate: data inputs": lambda: nn.find_learning_rate(
            NET, (x, Y), loss=CROSS_ENTROPY, batch_size=10, key=KEY
        ),
        "loss_gradients: batch inputs": lambda: loss_gradients(
            NET, state, (x, Y), CROSS_ENTROPY, key=KEY
        ),
        "gradients: batch inputs": lambda: nn.pictures.gradient_norms(
            NET, state, (x, Y), CROSS_ENTROPY, key=KEY
        ),
        "sweep: data inputs": lambda: nn.sweep(
            NET,
            (x, Y),
            over={"learning_rate": [0.1]},
            optimizer=optax.sgd,
            loss=CROSS_ENTROPY,
            epochs=1,
            batch_size=10,
            key=KEY,
        ),
    }.items():
        if owner == "predict: inputs" and name == "no features":
            owner = "Dense: x"  # a network without a Dense might take them
        with pytest.raises(ValueError, match=f"^{owner} must .*{words}"):
            call()


def test_a_key_that_a_dict_of_inputs_lacks_is_named():
    net = Reader(nn.Dense(3))
    state = net.init(KEY, {"left": X})
    bad = {"right": X}, Y
    for call in (
        lambda: fit(bad, net=net),
        lambda: fit(({"left": X}, Y), net=net, validation=bad),
        lambda: nn.evaluate(net, state, bad, loss=CROSS_ENTROPY),
    ):
        with pytest.raises(KeyError, match="left") as caught:
            call()
        assert "x is a dict of 'right', without 'left'" in caught.value.__notes__


def test_what_is_exact_is_trained_on_as_it_is():
    expected, history = fit(validation=(X, Y), sample_weight=np.ones(70))
    for x, y, w in (
        (X.astype(">f4"), Y.astype(">i8"), np.ones(70, ">f8")),
        (X.astype(np.longdouble), Y.astype(np.uint64), np.ones(70, bool)),
        (np.ma.masked_array(X, np.zeros_like(X)), Y.astype(np.int8), [1] * 70),
    ):
        found, its_history = fit((x, y), validation=(x, y), sample_weight=w)
        chex.assert_trees_all_equal(found, expected)
        assert its_history.logs == history.logs
    on_host, _ = fit((X.astype(">f8"), Y.astype(">i2")), on_device=False)
    chex.assert_trees_all_equal(on_host, fit()[0])


def test_targets_of_several_steps_for_one_output_are_told_the_layer(key):
    net = nn.Sequential(nn.lstm(4), nn.LastStep(), nn.Dense(1))
    data = jnp.ones((8, 5, 1)), jnp.ones((8, 3, 1))
    with pytest.raises(ValueError, match=r"end in nn.Dense\(3\), targets\[..., 0\]"):
        nn.fit(
            net,
            data,
            loss=nn.losses.mean_squared_error,
            optimizer=optax.sgd(0.1),
            epochs=1,
            batch_size=4,
            key=key,
        )
