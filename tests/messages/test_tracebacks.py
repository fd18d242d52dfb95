"""Errors end in the user's own code: no frames of the library, all of the user's."""

import inspect
import subprocess
import sys
import traceback
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import jaxnn as nn

X, Y = jnp.ones((4, 8)), jnp.zeros((4, 1))
IMAGES = jnp.ones((4, 8, 8, 1))
TOO_LARGE = nn.Sequential(nn.Conv(2, 3), nn.MaxPool(9, padding="VALID"))
HERE = Path(__file__).name
ROOT = Path(nn.__file__).parents[1]


def fit(net=None, **options):
    usual = {
        "loss": nn.losses.mean_squared_error,
        "optimizer": optax.sgd(0.1),
        "epochs": 1,
        "batch_size": 2,
        "key": jax.random.key(0),
        "progress": False,
    }
    return nn.fit(nn.Dense(1) if net is None else net, (X, Y), **usual | options)


def places(error):
    """The file and function of each frame, from the test on."""
    frames = traceback.extract_tb(error.__traceback__)
    return [(Path(frame.filename).name, frame.name) for frame in frames]


def raised(function):
    """The error, and where its frames below this function are."""
    with pytest.raises(Exception) as info:
        function()
    own, caller, *rest = places(info.value)
    assert own[1] == "raised" and caller[0] == HERE
    return info.value, rest


def state_of(net, x=X):
    return net.init(jax.random.key(0), x)


MISTAKES = {
    "init": lambda: state_of(TOO_LARGE, IMAGES),
    "apply": lambda: nn.Dense(1).apply(*state_of(nn.Dense(1)), X[:, 1:]),
    "jit": lambda: jax.jit(nn.Dense(1).apply)(*state_of(nn.Dense(1)), X[:, 1:]),
    "grad": lambda: jax.grad(lambda x: TOO_LARGE.init(jax.random.key(0), x))(IMAGES),
    "build": lambda: nn.Conv(-1, 3),
    "class": lambda: nn.Sequential(nn.Dense(3), nn.BatchNorm),
    "stopping": lambda: nn.EarlyStopping(patience=0),
    "fit": lambda: fit(epochs=0),
    "fit deep inside": lambda: fit(nn.Sequential(TOO_LARGE, nn.Flatten())),
    "evaluate": lambda: nn.evaluate(nn.Dense(1), state_of(nn.Dense(1)), (X, Y)),
    "predict": lambda: nn.predict(nn.Dense(1), state_of(nn.Dense(1)), X[:, 1:]),
    "summary": lambda: nn.summary(TOO_LARGE, IMAGES),
    "edit": lambda: nn.edit(TOO_LARGE, "conv_9", lambda layer: layer),
    "optimizer": lambda: nn.optimizers.l1(optax.sgd(0.1), -1.0),
    "step": lambda: nn.train_step(nn.Dense(1), None, optax.sgd(0.1)),
    "load": lambda: nn.load("/nowhere/at.all"),
    "decode": lambda: nn.decode.greedy(nn.Embed(3, 3), ({}, {}), jnp.ones(3), 2),
    "saliency": lambda: nn.pictures.saliency(nn.Dense(1), (X, X, X), X),
    "wrong call": lambda: nn.fit(nn.Dense(1)),
    "wrong build": lambda: nn.Conv(),
    "name": lambda: nn.Linear,
    "name in a module": lambda: nn.losses.mse,
    "wrong call by variables": lambda: nn.pictures.saliency(nn.Dense(1)),
    "wrong call of nothing": lambda: nn.io.to_torch(),
    "loss without arrays": lambda: nn.losses.huber(delta=2.0),
    "wrong call of apply": lambda: nn.Dense(1).apply({}, X, training=True),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_a_mistake_shows_no_frame_of_the_library(name):
    _, below = raised(MISTAKES[name])
    assert {file for file, _ in below} <= {HERE}, below


def test_notes_stay():
    error, _ = raised(MISTAKES["init"])
    assert "in max_pool_1: MaxPool(9" in error.__notes__[-1] + error.__notes__[0]


def test_an_operation_that_fails_in_the_library_shows_its_place():
    net = nn.Sequential(nn.Flatten(), nn.Dense(3))
    error, below = raised(lambda: net.apply({}, {}, X))
    assert isinstance(error, KeyError) and below == [("dense.py", "apply")]


def test_the_frames_of_a_users_layer_stay():
    class Mine(nn.Composite):
        body: nn.Layer

        def forward(self, run, x):
            return mix(run("body", x))

    def mix(y):
        return y @ y

    net = nn.Sequential(Mine(nn.Dense(3)), nn.Dense(1))
    for function in (lambda: state_of(net), lambda: fit(net)):
        _, below = raised(function)
        own = [name for file, name in below if file == HERE]
        assert own[-2:] == ["forward", "mix"]
        assert {file for file, _ in below} == {HERE}


def test_the_frames_of_a_users_loss_stay():
    def loss(outputs, targets):
        return helper(outputs, targets)

    def helper(outputs, targets):
        raise RuntimeError("mine")

    error, below = raised(lambda: fit(loss=loss))
    assert below == [(HERE, "fit"), (HERE, "loss"), (HERE, "helper")]
    assert str(error) == "mine"


def test_the_frames_of_a_users_callback_stay():
    def callback(epoch, state, history):
        nn.Dense(-1)

    error, below = raised(lambda: fit(callbacks=[callback]))
    assert below == [(HERE, "fit"), (HERE, "callback")]
    assert error.history.epochs == [1] and "learned before" in error.__notes__[-1]


def test_an_error_that_a_callback_catches_is_left_alone():
    """It is cut only where it leaves the library, and there it did not."""
    seen = []

    def callback(epoch, state, history):
        try:
            nn.predict(nn.Dense(1), state, X[:, 1:])
        except ValueError as error:
            seen.append(error)

    fit(callbacks=[callback])
    assert places(seen[0])[0] == (HERE, "callback") and len(places(seen[0])) > 1


def test_causes_stay_without_the_frames_of_the_library():
    error, below = raised(lambda: fit(optimizer=optax.sgd("0.1")))
    assert below == [(HERE, "fit")] and isinstance(error.__cause__, TypeError)
    files = {file for file, _ in places(error.__cause__)}
    assert files and not files & {"step.py", "fit.py", "contextlib.py", "api.py"}


def test_the_switch_of_jax_shows_everything():
    with switched("off"):
        _, below = raised(MISTAKES["fit deep inside"])
    assert len(below) > 15 and below[-1][0] not in (HERE,)


class switched:
    """JAX's switch, set for a while."""

    def __init__(self, value):
        self.value, self.before = value, jax.config.jax_traceback_filtering

    def __enter__(self):
        jax.config.update("jax_traceback_filtering", self.value)

    def __exit__(self, *_):
        jax.config.update("jax_traceback_filtering", self.before)


@pytest.mark.parametrize("mode", ["tracebackhide", "remove_frames"])
def test_errors_are_short_in_every_mode_of_jax(mode):
    with switched(mode):
        _, below = raised(MISTAKES["init"])
    assert {file for file, _ in below} <= {HERE}


def test_decorated_functions_look_as_written():
    assert nn.fit.__name__ == "fit" and nn.fit.__module__ == "jaxnn.train.fit"
    assert list(inspect.signature(nn.fit).parameters)[:2] == ["net_or_step", "data"]
    assert next(iter(inspect.signature(nn.Dense).parameters)) == "features"


SCRIPT = """
import jax, jax.numpy as jnp, jaxnn as nn
net = nn.Sequential(nn.Conv(4, 3), nn.MaxPool(9, padding="VALID"))
"""


def test_a_cell_of_a_notebook_shows_a_few_lines(tmp_path):
    """What Jupyter shows, too: both print what IPython makes of the traceback."""
    pytest.importorskip("IPython")
    cell = f"{SCRIPT}net.init(jax.random.key(0), jnp.ones((4, 8, 8, 1)))"
    program = f"""
from IPython.core.interactiveshell import InteractiveShell
InteractiveShell.instance(colors="nocolor", history_length=0).run_cell({cell!r})
"""
    run = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        cwd=ROOT,
        env={"IPYTHONDIR": str(tmp_path), "PATH": "", "HOME": str(tmp_path)},
    )
    shown = run.stdout.splitlines()
    assert len(shown) <= 12, run.stdout + run.stderr
    assert "in max_pool_1: MaxPool(9)" in run.stdout and "---->" in run.stdout


# ---- train under jit ----


@pytest.mark.parametrize(
    "net",
    [nn.Dropout(0.5), nn.Sequential(nn.Flatten(), nn.Dropout(0.5)), nn.Dense(3)],
    ids=["layer", "network", "without train"],
)
def test_train_must_be_static(net):
    params, state = state_of(net)
    key = jax.random.key(0)
    with pytest.raises(
        TypeError, match=r'jax\.jit\(net\.apply, static_argnames="train"'
    ):
        jax.jit(net.apply)(params, state, X, key=key, train=True)
    right = jax.jit(net.apply, static_argnames="train")
    for train in (True, False, np.True_):
        right(params, state, X, key=key, train=bool(train))
        net.apply(params, state, X, key=key, train=train)


def test_another_traced_choice_is_still_jaxs_error():
    net = nn.Sequential(lambda x: x if x.sum() > 0 else -x)
    with pytest.raises(jax.errors.TracerBoolConversionError):
        jax.jit(net.apply, static_argnames="train")({}, {}, X, train=True)


def test_a_warning_is_at_the_users_line():
    with pytest.warns(UserWarning, match="more than the 4 examples") as caught:
        nn.fit(
            nn.Dense(1), (X, Y), loss=nn.losses.mean_squared_error, epochs=1,
            optimizer=optax.sgd(0.1), batch_size=50, key=jax.random.key(0),
            progress=False,
        )  # fmt: skip
    assert caught[0].filename == __file__


@pytest.mark.parametrize("name", ["fit deep inside", "predict", "summary"])
def test_an_error_of_the_library_has_no_note_on_frames_of_jax(name):
    error, _ = raised(MISTAKES[name])
    assert not any("JAX has removed" in note for note in error.__notes__)


def test_an_error_of_the_user_keeps_it():
    error, _ = raised(lambda: fit(loss=lambda outputs, targets: outputs @ targets))
    assert any("JAX has removed" in note for note in error.__notes__)
