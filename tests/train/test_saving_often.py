"""Checkpoints by steps, the last few, and the best."""

import threading
import time

import chex
import jax
import numpy as np
import pytest
from common import KEY, NET, SGD, X, Y, fit
from test_checkpoints import METRICS, Asks, same_history

import jaxnn as nn
from jaxnn.files import tree_files
from jaxnn.layout import FIRST

same = chex.assert_trees_all_equal
checkpoint = nn.callbacks.checkpoint


def steps_of(path):
    return nn.io.header(path)["step"]


@pytest.mark.parametrize("batches", ["arrays", "stream"])
def test_a_run_goes_on_from_a_save_in_the_middle_of_an_epoch(tmp_path, batches):
    """From each of them it is the uninterrupted run, the epochs' numbers included."""
    kw = {"metrics": METRICS, "validation": (X[:9], Y[:9]), "epochs": 3}
    if batches == "stream":
        data = [(X[i : i + 10], Y[i : i + 10]) for i in range(0, 70, 10)]
        kw |= {"data": data, "batch_size": None}
    path = tmp_path / "run-{step}"
    whole, history = fit(callbacks=[checkpoint(path, every_steps=3)], **kw)
    files = sorted(tmp_path.glob("run-*"), key=steps_of)
    total = int(whole.step)
    assert [steps_of(file) for file in files] == list(range(3, total + 1, 3))
    like = nn.train_state(NET, SGD, X[:1], key=KEY)
    for file in files:
        saving = [checkpoint(file)]
        state, again = fit(state=nn.load(file, like=like), callbacks=saving, **kw)
        same(state, whole)
        same_history(again, history)


def test_an_ended_run_is_saved_where_it_ended(tmp_path):
    path = tmp_path / "run"
    state, _ = fit(epochs=2, callbacks=[checkpoint(path, every_steps=5)])
    last = int(state.step) // 5 * 5
    assert 0 < steps_of(path) == last


def test_the_last_saves_are_kept_beside_the_file(tmp_path):
    path = tmp_path / "run.safetensors"
    state, _ = fit(epochs=5, callbacks=[checkpoint(path, keep=3)])
    steps = int(state.step) // 5
    names = ["run.safetensors", "run.1.safetensors", "run.2.safetensors"]
    assert sorted(p.name for p in tmp_path.iterdir()) == sorted(names)
    assert [steps_of(tmp_path / name) // steps for name in names] == [5, 4, 3]
    like = nn.train_state(NET, SGD, X[:1], key=KEY)
    older = nn.load(tmp_path / names[2], like=like)
    again, history = fit(epochs=5, state=older, callbacks=[checkpoint(path, keep=3)])
    same(again, state)
    assert history.epochs == [1, 2, 3, 4, 5]  # it was found beside the file


def test_the_last_numbered_files_are_kept(tmp_path):
    saving = checkpoint(tmp_path / "run-{epoch}", keep=2)
    fit(epochs=11, callbacks=[saving])
    assert sorted(p.name for p in tmp_path.iterdir()) == ["run-10", "run-11"]


def test_only_the_best_epochs_are_saved(tmp_path):
    path, kw = tmp_path / "best", {"validation": (X[:9], Y[:9]), "metrics": METRICS}
    for best, pick in (("val_loss", np.argmin), (("val_accuracy", "max"), np.argmax)):
        saving = checkpoint(path, best=best)
        _, history = fit(epochs=6, callbacks=[saving], **kw)
        name = best if isinstance(best, str) else best[0]
        assert nn.History.load(path).epochs[-1] == pick(history[name]) + 1


def test_a_run_that_goes_on_does_not_forget_what_was_best(tmp_path):
    path, kw = tmp_path / "best", {"validation": (X[:9], Y[:9])}
    state, history = fit(epochs=4, callbacks=[checkpoint(path, best="val_loss")], **kw)
    saved = steps_of(path)
    history.logs["val_loss"][1] = -1.0  # better than anything to come
    saving = checkpoint(path, best="val_loss")
    fit(epochs=6, state=state, history=history, callbacks=[saving], **kw)
    assert steps_of(path) == saved


def test_a_value_that_is_not_logged_is_refused(tmp_path):
    with pytest.raises(ValueError, match="best must be a logged value, got 'val_loss'"):
        fit(epochs=1, callbacks=[checkpoint(tmp_path / "x", best="val_loss")])


@pytest.mark.parametrize(
    "given, text",
    [
        ({"every_steps": 0}, "every_steps must be 1 or more steps, got 0"),
        ({"keep": 0}, "keep must be 1 or more, got 0"),
        ({"keep": "all"}, "keep must be 1 or more, got 'all'"),
        ({"best": "accuracy"}, "give ('accuracy', 'max') or ('accuracy', 'min')"),
        ({"best": ("accuracy", "up")}, "best must be the name of a loss or a pair"),
        ({"best": 3}, "best must be the name of a loss or a pair"),
        ({"background": 1}, "background must be True or False, got 1"),
        ({"every_steps": 5, "best": "loss"}, "every_steps stands in place of every"),
        ({"every_steps": 5, "every": 2}, "got every too; use two callbacks"),
    ],
)
def test_bad_arguments_are_answered(tmp_path, given, text):
    with pytest.raises((TypeError, ValueError)) as caught:
        checkpoint(tmp_path / "x", **given)
    assert text in str(caught.value)


def test_one_device_or_eight_save_alike_in_the_middle_of_an_epoch(tmp_path):
    if len(jax.devices()) < 8 or jax.version.__version_info__ < FIRST:
        pytest.skip("needs eight devices, see conftest.py, and jax 0.10")
    mesh, path = jax.make_mesh((8,), ("data",)), tmp_path / "run-{step}"
    layout = nn.Layout(mesh, params=(("*", nn.fsdp("data")),))
    saving, kw = [checkpoint(path, every_steps=7)], {"epochs": 2, "batch_size": 8}
    whole, history = fit(layout=layout, callbacks=saving, **kw)
    like = layout.shapes(nn.train_state(NET, SGD, X[:1], key=KEY))
    state = nn.load(tmp_path / "run-7", like=like)
    again, second = fit(state=state, layout=layout, callbacks=saving, **kw)
    same(jax.device_get(again.params), jax.device_get(whole.params))
    same_history(second, history)


# In the background


class Slowly:
    """Makes each write begin late, and counts those under way."""

    def __init__(self, monkeypatch, error=None):
        self.now, self.most, self.error = 0, 0, error
        put = tree_files.put

        def late(*args, **kw):
            self.now += 1
            self.most = max(self.most, self.now)
            time.sleep(0.05)
            self.now -= 1
            if self.error is not None:
                raise self.error
            put(*args, **kw)

        monkeypatch.setattr(tree_files, "put", late)


@pytest.mark.quick
@pytest.mark.parametrize("pace", [{"every": 1}, {"every_steps": 3}])
def test_saves_in_the_background_are_those_of_the_foreground(
    tmp_path, monkeypatch, pace
):
    kw = {"metrics": METRICS, "validation": (X[:9], Y[:9])}
    fit(callbacks=[checkpoint(tmp_path / "a-{step}", **pace)], **kw)
    slowly = Slowly(monkeypatch)
    saving = checkpoint(tmp_path / "b-{step}", background=True, **pace)
    state, history = fit(callbacks=[saving], **kw)
    assert slowly.most == 1 and slowly.now == 0
    like = nn.train_state(NET, SGD, X[:1], key=KEY)
    files = sorted(tmp_path.glob("a-*"))
    for file in files:
        other = file.with_name(file.name.replace("a", "b"))
        same(nn.load(file, like=like), nn.load(other, like=like))
        same_history(*map(unfinished_aside, (file, other)))
    assert len(files) > 2 and len(list(tmp_path.iterdir())) == 2 * len(files)
    first = min(tmp_path.glob("b-*"), key=steps_of)
    saving = [checkpoint(first, background=True)]
    again, second = fit(state=nn.load(first, like=like), callbacks=saving, **kw)
    same(again, state)
    same_history(second, history)


def unfinished_aside(file):
    history = nn.History.load(file)
    history.unfinished = None
    return history


def test_training_goes_on_while_a_save_is_written(tmp_path, monkeypatch):
    begun, may = threading.Event(), threading.Event()

    def put(*args, **kw):
        begun.set()
        assert may.wait(20)

    monkeypatch.setattr(tree_files, "put", put)

    def release(epoch, state, history):
        if epoch == 2:
            assert begun.wait(20)  # by the save of epoch 1
            may.set()

    saving = checkpoint(tmp_path / "run", background=True)
    fit(epochs=2, callbacks=[release, saving])
    assert may.is_set()


@pytest.mark.parametrize("epochs", [1, 3])
def test_an_error_of_a_write_in_the_background_ends_the_run(
    tmp_path, monkeypatch, epochs
):
    """At the next save, or at the end if there is none."""
    Slowly(monkeypatch, OSError(28, "checkpoint: cannot write run: No space left"))
    saving = checkpoint(tmp_path / "run", background=True)
    with pytest.raises(OSError, match="No space left") as caught:
        fit(epochs=epochs, callbacks=[saving])
    assert caught.value.history.epochs == [1, 2][:epochs]
    monkeypatch.undo()
    fit(epochs=1, callbacks=[saving])
    assert nn.History.load(tmp_path / "run").epochs == [1]


def test_an_error_of_the_run_waits_for_the_write_and_notes_its_error(
    tmp_path, monkeypatch
):
    def fail(epoch, state, history):
        raise RuntimeError("the disk is away")

    for error in (None, OSError(28, "checkpoint: cannot write run: No space left")):
        slowly = Slowly(monkeypatch, error)
        saving = checkpoint(tmp_path / "run", background=True)
        with pytest.raises(RuntimeError, match="disk is away") as caught:
            fit(callbacks=[saving, fail])
        assert slowly.now == 0 and (tmp_path / "run").exists()
        noted = any("No space left" in note for note in caught.value.__notes__)
        assert noted == (error is not None)
        monkeypatch.undo()


def test_a_signal_waits_for_the_write_of_what_fit_returns(tmp_path, monkeypatch):
    Slowly(monkeypatch)
    saving = checkpoint(tmp_path / "run", background=True, every_steps=2)
    with Asks(8):
        state, history = fit(callbacks=[saving], chunk_seconds=0.0)
    assert int(state.step) == 8
    same(nn.load(tmp_path / "run", like=state), state)
    assert nn.History.load(tmp_path / "run").stopped == history.stopped


def test_older_files_are_set_aside_in_the_background_too(tmp_path):
    for name, keep in (("run.st", 3), ("run-{epoch}", 2)):
        folder = tmp_path / str(keep)
        fit(epochs=5, callbacks=[checkpoint(folder / name, keep=keep, background=True)])
        assert len(list(folder.iterdir())) == keep
