"""Names and arguments of other libraries are answered with what to write here."""

import dataclasses
import functools
import inspect

import jax
import jax.numpy as jnp
import optax
import pytest

import jaxnn as nn
from jaxnn.messages import elsewhere, elsewhere_calls

MODULES = {
    "jaxnn": nn,
    "jaxnn.layers": nn.layers,
    "jaxnn.losses": nn.losses,
    "jaxnn.metrics": nn.metrics,
    "jaxnn.optimizers": nn.optimizers,
    "jaxnn.schedules": nn.schedules,
    "jaxnn.data": nn.data,
    "jaxnn.train.callbacks": nn.callbacks,
    "jaxnn.initializers": nn.initializers,
}


@pytest.mark.parametrize("module", elsewhere.NAMES)
def test_every_answer_is_code_that_runs(module):
    for name, (code, note) in elsewhere.NAMES[module].items():
        assert code or note, name
        if code:
            eval(code, {"nn": nn, "jax": jax, "optax": optax, "functools": functools})


@pytest.mark.parametrize("module", elsewhere.NAMES)
def test_no_answer_hides_a_name_that_exists(module):
    for name, (code, note) in elsewhere.NAMES[module].items():
        with pytest.raises(AttributeError) as caught:
            getattr(MODULES[module], name)
        assert (code or note) in str(caught.value), name


@pytest.mark.parametrize(
    ("module", "name", "said"),
    [
        (nn, "Linear", "write nn.Dense(10) (the input size is found by `init`)"),
        (nn, "Conv2D", "write nn.Conv(32, kernel=3)"),
        (nn, "LSTM", "write nn.lstm(64)"),
        (nn, "relu", "write jax.nn.relu"),
        (nn, "ReLU", "write jax.nn.relu"),
        (nn, "CrossEntropyLoss", "write nn.losses.softmax_cross_entropy"),
        (nn, "Adam", "write optax.adam(1e-3)"),
        (nn, "ModuleList", "a field that is a tuple"),
        (nn.schedules, "cosine", "write optax.cosine_decay_schedule(1e-3, 1000)"),
        (nn.schedules, "warmup_cosine", "write optax.warmup_cosine_decay_schedule("),
        (nn.schedules, "ExponentialDecay", "write optax.exponential_decay(1e-3"),
        (nn.schedules, "step_decai", "(nearest: 'step_decay')"),
        (nn.optimizers, "clip", "write optax.clip_by_global_norm(1.0)"),
        (nn.losses, "mse", "write nn.losses.mean_squared_error"),
        (nn.metrics, "AUC", "write nn.metrics.RocAuc()"),
        (nn.data, "DataLoader", "any iterable of batches"),
        (nn, "Denes", "(nearest: 'Dense')"),
        (nn.losses, "hubber", "(nearest: 'huber')"),
        (nn.optimizers, "freese", "(nearest: 'freeze')"),
    ],
)
def test_a_name_from_elsewhere_is_answered(module, name, said):
    with pytest.raises(AttributeError) as caught:
        getattr(module, name)
    assert said in str(caught.value)
    assert caught.value.name == name
    assert not hasattr(module, name)


def test_every_argument_from_elsewhere_is_none_of_ours():
    """An answer `write kernel` is of use where a layer takes `kernel`."""
    kinds = [getattr(nn.layers, name) for name in dir(nn.layers)]
    kinds = [k for k in kinds if isinstance(k, type) and issubclass(k, nn.Layer)]
    kinds += [nn.fit, nn.cross_validate]
    kinds += [nn.Layer.apply, nn.metrics.F1, nn.data.split, nn.data.windows]
    ours = {name for kind in kinds for name in inspect.signature(kind).parameters}
    for every in elsewhere_calls.ARGUMENTS.values():
        for advice in every.split(" | "):
            word = advice.removeprefix("write ").partition("=")[0]
            assert not word.isidentifier() or word in ours, advice


@pytest.mark.parametrize(
    ("build", "said"),
    [
        (
            lambda: nn.Dense(32, activation="relu"),
            "Dense: activation is not an argument, got 'relu'; write it as the next "
            "layer: nn.Sequential(..., jax.nn.relu)",
        ),
        (
            lambda: nn.Dense(64, 32),
            "Dense: only features may come without a name, got 64, 32; the size of the "
            "input is found by init",
        ),
        (
            lambda: nn.BatchNorm(64),
            "BatchNorm: arguments are given by name, got 64",
        ),
        (lambda: nn.Dense(), "Dense: features must be given; it takes features"),
        (lambda: nn.Conv(8), "Conv: kernel must be given; it takes features, kernel"),
        (
            lambda: nn.Conv(8, kernel_size=3),
            "Conv: kernel_size is not an argument, got 3; write kernel",
        ),
        (lambda: nn.Dropout(p=0.5), "got 0.5; write rate"),
        (lambda: nn.Flatten(units=3), "got 3; it takes no arguments"),
        (
            lambda: nn.Dense(3, feature=3),
            "feature is not an argument, got 3; it takes features, bias, w_init, "
            "b_init (nearest: 'features')",
        ),
        (
            lambda: nn.MultiHeadAttention(num_heads=3),
            "num_heads is not an argument, got 3; write heads",
        ),
    ],
)
def test_a_wrong_argument_is_answered(build, said):
    with pytest.raises(TypeError) as caught:
        build()
    assert said in str(caught.value)


def test_a_type_error_from_inside_a_constructor_stays():
    class Adds(nn.Layer):
        size: int

        def __post_init__(self):
            self.size + "1"

    with pytest.raises(TypeError, match="unsupported operand"):
        Adds(3)


def test_signatures_stay():
    assert list(inspect.signature(nn.Conv).parameters)[:3] == [
        "features",
        "kernel",
        "stride",
    ]


def test_calling_a_layer_says_what_to_write():
    for call in (lambda: nn.Dense(3)(jnp.ones((2, 3))), lambda: nn.Sequential()()):
        with pytest.raises(TypeError) as caught:
            call()
        assert "a layer holds no weights and is not called; write" in str(caught.value)
        assert 'run("name", x)' in str(caught.value)

    class Called(nn.Composite):
        fc: nn.Layer = nn.Dense(3)

        def forward(self, run, x):
            return self.fc(x)

    with pytest.raises(TypeError, match="Dense: a layer holds no weights"):
        Called().init(jax.random.key(0), jnp.ones((2, 3)))


def test_assigning_a_field_says_how_to_declare_it():
    class Torch(nn.Composite):
        def __init__(self):
            super().__init__()
            self.fc = nn.Dense(3)

    with pytest.raises(dataclasses.FrozenInstanceError) as caught:
        Torch()
    assert "class Torch(nn.Composite):\n        fc: nn.Layer = nn.Dense(3)" in str(
        caught.value
    )

    class Array(nn.Composite):
        def __init__(self):
            self.w = jnp.ones((2, 3))

    with pytest.raises(AttributeError, match=r"w: nn.Layer = nn.Parameter\(\(2, 3\)\)"):
        Array()
    with pytest.raises(dataclasses.FrozenInstanceError, match="features cannot be"):
        nn.Dense(3).features = 4


@pytest.mark.parametrize("name", elsewhere_calls.METHODS)
def test_a_method_of_other_libraries_is_answered(name):
    with pytest.raises(AttributeError) as caught:
        getattr(nn.Sequential(nn.Dense(3)) if name != "bias" else nn.Flatten(), name)
    assert elsewhere_calls.METHODS[name] in str(caught.value)


X, Y = jnp.ones((4, 3)), jnp.zeros(4, int)
NET = nn.Sequential(nn.Dense(3))


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda: nn.fit(NET, X, Y), "several arrays are one tuple, (x, y)"),
        (lambda: nn.fit(NET, (X, Y), epochs=1, validation_data=0), "write validation"),
        (lambda: nn.fit(NET, (X, Y), epochs=1, lr=0.1), "optax.adam(1e-3)"),
        (lambda: nn.predict(NET, X), "it takes net, state, inputs, batch_size"),
        (lambda: nn.lstm(16, num_layers=2), "write layers"),
        (lambda: nn.cross_validate(NET, (X, Y), cv=3), "write folds"),
        (lambda: nn.summary(NET), "summary: x must be given"),
        (lambda: nn.data.split((X, Y), test_size=0.1), "write fraction"),
        (lambda: nn.data.split((X, Y), random_state=1), "got 1; write seed"),
        (lambda: nn.fit(NET, (X, Y), random_state=1), "write key=jax.random.key(0)"),
        (lambda: nn.data.windows(X, window=3), "write length"),
        (lambda: nn.data.windows(X, 3, target=1), "write horizon"),
        (lambda: nn.data.pad([[1], [2, 3]], maxlen=3), "write length"),
        (lambda: nn.load("x", strict=False), "load: strict is not an argument"),
        (lambda: nn.load("x", skip="head"), "nn.io.from_torch(net, x, path, skip="),
        (lambda: nn.models.resnet(18, pretrained=True), "nn.io.from_torch(net, x, pat"),
        (lambda: nn.models.vgg(11, num_classes=3), "write classes"),
        (
            lambda: nn.predict(NET, ({}, {}), X, inputs=Y),
            "inputs is given twice, got float32[4,3] by its place and "
            "inputs=int32[4]; several arrays are one tuple",
        ),
        (
            lambda: nn.EarlyStopping("val_accuracy", patience=2),
            "EarlyStopping: patience is given twice, got 'val_accuracy' by its place "
            "and patience=2; write names, as in nn.EarlyStopping(monitor=",
        ),
    ],
)
def test_a_wrong_argument_of_a_function_is_answered(call, said):
    with pytest.raises(TypeError) as caught:
        call()
    assert said in str(caught.value)


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (
            lambda: nn.metrics.top_k_accuracy(k=5),
            "top_k_accuracy: outputs and labels must be given; to set options alone, "
            "write functools.partial(nn.metrics.top_k_accuracy, k=5)",
        ),
        (
            lambda: nn.losses.softmax_cross_entropy(label_smoothing=0.1),
            "functools.partial(nn.losses.softmax_cross_entropy, label_smoothing=0.1)",
        ),
        (
            lambda: nn.losses.huber(),
            "huber: it is given without a call, nn.losses.huber, not nn.losses.huber()",
        ),
        (
            lambda: nn.losses.huber(X, X, reduction="mean"),
            "huber: reduction is not an argument, got 'mean'; leave it out; a loss",
        ),
        (lambda: nn.losses.huber(X), "huber: targets must be given; it takes outputs"),
        (
            lambda: nn.metrics.ConfusionMatrix(),
            "ConfusionMatrix: classes must be given; it takes classes, threshold",
        ),
        (lambda: nn.metrics.F1(), "F1: classes must be given; it takes classes, aver"),
        (lambda: nn.metrics.Recall(num_classes=3), "got 3; write classes"),
    ],
)
def test_a_loss_or_a_metric_that_is_called_without_arrays(call, said):
    with pytest.raises(TypeError) as caught:
        call()
    assert said in str(caught.value)


def test_an_exact_answer_is_all_there_is_and_arrays_are_shapes():
    with pytest.raises(TypeError) as caught:
        nn.fit(NET, (X, Y), validation_data=(X, Y))
    assert str(caught.value) == (
        "fit: validation_data is not an argument, got (float32[4,3], int32[4]); write "
        "validation"
    )
    with pytest.raises(TypeError) as caught:
        nn.fit(NET, (X, Y), weights=X)
    assert "got float32[4,3]; it takes net_or_step, data" in str(caught.value)


PARAMS, STATE = NET.init(jax.random.key(0), X)
TRAINED = nn.train_state(NET, optax.sgd(0.1), X, key=jax.random.key(0))
STEP = nn.train_step(NET, nn.losses.softmax_cross_entropy, optax.sgd(0.1))
APPLY = (
    "Sequential: apply takes params, state, x, and by name key= and train=; params and "
    "state both come from init; got {'dense_1': {"
)


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda: NET.apply(PARAMS, X), APPLY),
        (lambda: NET.apply(PARAMS, STATE, X, True), APPLY),
        (lambda: NET.apply(PARAMS, STATE, X, jax.random.key(0)), ", key<fry>[]"),
        (lambda: NET.apply({"params": PARAMS}, X, train=True), ", train=True"),
        (lambda: jax.jit(NET.apply)(PARAMS, X), "got {'dense_1': {"),
        (
            lambda: NET.apply(PARAMS, STATE, X, training=True),
            "Sequential: training= is not an argument of apply; write train",
        ),
        (
            lambda: NET.apply(PARAMS, STATE, X, rngs={}),
            "rngs= is not an argument of apply; leave it out; init and apply take",
        ),
        (lambda: NET.apply(PARAMS, STATE, X, trian=True), "(nearest: 'train')"),
        (
            lambda: NET.init(X),
            "Sequential: init takes key, x, as in params, state = net.init("
            "jax.random.key(0), x); got float32[4,3]",
        ),
        (
            lambda: STEP(TRAINED, X, Y),
            "train_step: a step takes the state and one batch, step(state, (x, y)), "
            "got TrainState, float32[4,3], int32[4]",
        ),
        (
            lambda: jax.jit(STEP)(PARAMS, (X, Y)),
            "train_step: state must be a TrainState, as fit and train_state return it",
        ),
    ],
)
def test_a_wrong_call_of_a_layer_or_a_step_is_answered(call, said):
    with pytest.raises(TypeError) as caught:
        call()
    assert said in str(caught.value)


def test_a_layer_of_ones_own_may_take_more():
    class Scaled(nn.Layer):
        def apply(self, params, state, x, *, key=None, train=False, scale=1.0):
            return scale * x, state

    assert Scaled().apply({}, {}, x=X, scale=3.0)[0].max() == 3


class Tied(nn.Composite):
    """Reads parameters by a name, before the child is called or under none at all."""

    enc: nn.Layer
    name: str

    def forward(self, run, x):
        return x @ run.params[self.name]["w"]


@pytest.mark.parametrize(
    ("name", "said"),
    [
        (
            "enc",
            "run.params has no 'enc' yet: run('enc', x) makes them at init, so call",
        ),
        ("encoder", "run.params has those of enc (nearest: 'enc')"),
    ],
)
def test_parameters_that_a_child_does_not_have_yet(name, said):
    with pytest.raises(KeyError) as caught:
        Tied(nn.Dense(3), name).init(jax.random.key(0), X)
    assert any(note.startswith(said) for note in caught.value.__notes__)


def test_weights_of_a_field_are_in_run_params():
    with pytest.raises(AttributeError, match=r"run.params\['name'\]\['w'\]"):
        Tied(nn.Dense(3), "enc").enc.w  # noqa: B018


@pytest.mark.parametrize("name", elsewhere_calls.SCALERS)
def test_a_method_of_a_scaler_is_answered(name):
    scaler = nn.data.standardizer(jnp.ones((3, 2)))
    with pytest.raises(AttributeError) as caught:
        getattr(scaler, name)
    assert elsewhere_calls.SCALERS[name] in str(caught.value)


def test_run_answers_attributes_and_forward_has_one_form():
    class Dotted(nn.Composite):
        fc: nn.Layer = nn.Dense(3)

        def forward(self, run, x):
            return run.fc(x)

    with pytest.raises(AttributeError, match=r'a child is called by run\("fc", x\)'):
        Dotted().init(jax.random.key(0), X)
    for forward in (lambda self, x: x, lambda self, run, x, y: x):
        with pytest.raises(TypeError, match=r"def forward\(self, run, x\)"):
            type("Wrong", (nn.Composite,), {"forward": forward})
    with pytest.raises(ValueError, match="must be a tuple in place of a list"):
        type(
            "Wrong",
            (nn.Composite,),
            {"__annotations__": {"blocks": list}, "blocks": [nn.Dense(3)]},
        )


@pytest.mark.parametrize(
    ("name", "said"),
    [("trainable", r"nn.Frozen\(layer\)"), ("training", "train=True to apply")],
)
def test_a_switch_of_other_libraries_is_answered(name, said):
    with pytest.raises(dataclasses.FrozenInstanceError, match=said):
        setattr(nn.Dense(3), name, False)
