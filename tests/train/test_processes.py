"""Two processes with two devices each compute what one device does."""

import os
import signal
import socket
import subprocess
import sys
import time

import chex
import jax
import numpy as np
import optax
import pytest

import jaxnn as nn

pytestmark = pytest.mark.slow
PROGRAM = """
import sys
import jax
import numpy as np
import optax
import jaxnn as nn

from jax.experimental import multihost_utils

process, address, folder, kind = int(sys.argv[1]), *sys.argv[2:5]
gather, gathered = multihost_utils.process_allgather, []


def counted(a, tiled=False):
    if not tiled:  # (JAX itself compares what each process puts on all devices)
        gathered.append(np.size(a))
    return gather(a, tiled=tiled)


multihost_utils.process_allgather = counted
jax.distributed.initialize(address, num_processes=2, process_id=process)
x = np.random.default_rng(0).standard_normal((72, 6, 4)).astype(np.float32)
y = x[:, 0].argmax(1)
net = nn.Sequential(
    nn.Flatten(), nn.Dense(16), nn.BatchNorm(), nn.Dropout(0.2), nn.Dense(4)
)
optimizer = optax.sgd(0.1, momentum=0.9)
layout = nn.Layout(jax.make_mesh((4,), ("data",)), params=(("*", nn.fsdp("data")),))
kw = dict(loss=nn.losses.softmax_cross_entropy, optimizer=optimizer, epochs=3)
kw |= dict(key=jax.random.key(0), batch_size=16, layout=layout)
path = f"{folder}/state"
callbacks = [nn.callbacks.checkpoint(path)]
if kind in ("stream", "odd", "fewer"):
    ends = [(i, i + 16) for i in range(0, 64, 16)] + [(64, 72)]
    parts = [np.arange(*end).reshape(2, -1)[process] for end in ends]
    if kind == "odd":
        parts[-1] = parts[-1][:3]
    if kind == "fewer" and process:
        parts.pop()
    batches = [(x[rows], y[rows]) for rows in parts]
    data = (lambda: iter(batches)) if kind == "fewer" else batches
    kw["batch_size"] = None
elif kind == "host":
    x.tofile(f"{folder}/x{process}")
    data = np.memmap(f"{folder}/x{process}", x.dtype, "r", shape=x.shape), y
elif kind == "lengths":
    data = x[: 72 - process], y[: 72 - process]
else:
    data = x, y
if kind == "own":  # the first process logs
    callbacks = [nn.callbacks.checkpoint(path, keep=2)]
    callbacks += [print] if process == 0 else []
if kind == "paces":
    callbacks = [nn.callbacks.checkpoint(path, every_steps=2 + process)]
if kind == "long":
    kw |= {"epochs": 10**6, "chunk_seconds": 0.05, "progress": False}
state = None
if kind == "resumed":
    like = layout.shapes(nn.train_state(net, optimizer, x, key=jax.random.key(0)))
    state = nn.load(path, like=like)
    kw["epochs"] = 5
if kind == "steps":
    state = nn.train_state(net, optimizer, x, key=jax.random.key(0))
    state = state._replace(step=state.step + process)
state, history = nn.fit(net, data, state=state, callbacks=callbacks, **kw)
found = nn.evaluate(net, state, (x, y), loss=kw["loss"], layout=layout)["loss"]
outputs = np.asarray(nn.predict(net, state, x, layout=layout))
assert max(gathered) < 10, gathered  # numbers to agree on, and no examples
print("RESULT", found, float(outputs.sum()), history.epochs, history.stopped)
"""
CARRIED = """
import sys
import jax
import numpy as np
import optax
import jaxnn as nn

process, address, folder, _ = int(sys.argv[1]), *sys.argv[2:5]
jax.distributed.initialize(address, num_processes=2, process_id=process)
x = np.random.default_rng(0).standard_normal((72, 6, 4)).astype(np.float32)
x, y = x[:8], (x[:8].cumsum(1)[..., 0] > 0).astype(np.int32)
rows = slice(4 * process, 4 * process + 4)
nn.fit(
    nn.stateful(nn.Sequential(nn.lstm(8), nn.Dense(2))),
    [(x[rows, i : i + 2], y[rows, i : i + 2]) for i in (0, 2, 4)],
    loss=nn.losses.softmax_cross_entropy,
    optimizer=optax.sgd(0.1),
    epochs=2,
    key=jax.random.key(0),
    layout=nn.Layout(jax.make_mesh((4,), ("data",))),
    callbacks=[nn.callbacks.checkpoint(f"{folder}/state")],
)
"""
X = np.random.default_rng(0).standard_normal((72, 6, 4)).astype(np.float32)
Y = X[:, 0].argmax(1)
NET = nn.Sequential(
    nn.Flatten(), nn.Dense(16), nn.BatchNorm(), nn.Dropout(0.2), nn.Dense(4)
)
SGD = optax.sgd(0.1, momentum=0.9)


def alone(data=(X, Y), **more):
    """The run on one device."""
    kw = dict(loss=nn.losses.softmax_cross_entropy, optimizer=SGD, epochs=3)
    kw |= dict(key=jax.random.key(0), batch_size=16) | more
    return nn.fit(NET, data, **kw)


def start(folder, kind, program=PROGRAM):
    """Two processes that run the program."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    flags = "--xla_force_host_platform_device_count=2"
    environment = os.environ | {"XLA_FLAGS": flags}
    return [
        subprocess.Popen(
            [
                sys.executable,
                "-W",
                "ignore",
                "-c",
                program,
                str(i),
                address,
                folder,
                kind,
            ],
            env=environment,
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        for i in range(2)
    ]


def ended(processes):
    """What the processes printed, to both streams."""
    try:
        return [process.communicate(timeout=240) for process in processes]
    finally:
        for process in processes:
            process.kill()


def loaded(folder, **more):
    like = nn.train_state(NET, SGD, X, key=jax.random.key(0))
    return nn.load(folder / "state", like=like)


def alike(ours, theirs):
    ours, theirs = (s._replace(key=None) for s in (ours, theirs))
    chex.assert_trees_all_close(ours, theirs, rtol=1e-4, atol=1e-5)


def test_two_processes_train_as_one_device_and_a_resume_goes_on(tmp_path):
    (first, _), (second, said) = ended(start(str(tmp_path), "arrays"))
    state, history = alone()
    alike(loaded(tmp_path), state)
    saved = nn.History.load(tmp_path / "state")
    np.testing.assert_allclose(saved["loss"], history["loss"], rtol=1e-5)
    line = next(line for line in first.splitlines() if line.startswith("RESULT"))
    assert line in second  # evaluate and predict agree
    assert "epoch 3/3" in first and "epoch" not in second + said
    ended(start(str(tmp_path), "resumed"))
    alike(loaded(tmp_path), alone(epochs=5)[0])


def test_each_process_brings_its_own_rows_of_a_stream(tmp_path):
    said = ended(start(str(tmp_path), "stream"))
    assert all("RESULT" in out for out, _ in said), said
    batches = [(X[i : i + 16], Y[i : i + 16]) for i in range(0, 72, 16)]
    alike(loaded(tmp_path), alone(batches, batch_size=None)[0])


def test_the_carry_of_a_stateful_network_is_that_of_all_rows(tmp_path):
    said = ended(start(str(tmp_path), "carried", CARRIED))
    net, x = nn.stateful(nn.Sequential(nn.lstm(8), nn.Dense(2))), X[:8]
    y, sgd = (x.cumsum(1)[..., 0] > 0).astype(np.int32), optax.sgd(0.1)
    batches = [(x[:, i : i + 2], y[:, i : i + 2]) for i in (0, 2, 4)]
    kw = {"loss": nn.losses.softmax_cross_entropy, "optimizer": sgd, "epochs": 2}
    state, _ = nn.fit(net, batches, **kw, key=jax.random.key(0))
    like = nn.train_state(net, sgd, x[:, :2], key=jax.random.key(0))
    assert (tmp_path / "state").exists(), said
    alike(nn.load(tmp_path / "state", like=like), state)


def test_arrays_in_files_are_sent_by_every_process_to_its_devices(tmp_path):
    said = ended(start(str(tmp_path), "host"))
    assert all("RESULT" in out for out, _ in said), said
    alike(loaded(tmp_path), alone(on_device=False)[0])


def test_rows_of_a_process_that_its_devices_do_not_divide_are_an_error(tmp_path):
    for _, said in ended(start(str(tmp_path), "odd")):
        assert "the size of batch 4 must be a multiple of the 2 devices that" in said


def test_fewer_batches_in_one_process_are_an_error_in_both(tmp_path):
    for _, said in ended(start(str(tmp_path), "fewer")):
        assert "every process must give as many batches an epoch as the others" in said
        assert "[1, 8], [0, 0]" in said


@pytest.mark.parametrize(
    "kind, fact",
    [
        ("lengths", "number of examples"),
        ("paces", "callbacks that save, by every_steps"),
        ("steps", "state: number of steps taken"),
    ],
)
def test_what_is_another_in_one_process_is_an_error_in_both(tmp_path, kind, fact):
    for _, said in ended(start(str(tmp_path), kind)):
        assert f"every process must give the same {fact}; process" in said


def test_a_process_may_have_callbacks_of_its_own(tmp_path):
    """And older files are set aside once, not by each process."""
    for said, _ in ended(start(str(tmp_path), "own")):
        assert "RESULT" in said
    assert sorted(p.name for p in tmp_path.iterdir()) == ["state", "state.1"]
    for name, step in (("state", 15), ("state.1", 10)):
        assert nn.io.header(tmp_path / name)["step"] == step


def test_a_signal_to_one_process_ends_both_with_a_saved_state(tmp_path):
    processes = start(str(tmp_path), "long")
    deadline = time.monotonic() + 120
    while not (tmp_path / "state").exists() and time.monotonic() < deadline:
        time.sleep(0.2)
    processes[1].send_signal(signal.SIGTERM)
    (first, _), (second, _) = ended(processes)
    assert "another process" in first and "SIGTERM" in second
    assert int(loaded(tmp_path).step) > 0


KILLED = """
import os, signal, sys
import jax
import numpy as np
import optax
import jaxnn as nn

devices, pace, folder = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
x = np.random.default_rng(0).standard_normal((72, 6, 4)).astype(np.float32)
net = nn.Sequential(
    nn.Flatten(), nn.Dense(16), nn.BatchNorm(), nn.Dropout(0.2), nn.Dense(4)
)
optimizer, key = optax.sgd(0.1, momentum=0.9), jax.random.key(0)
mesh = jax.make_mesh((devices,), ("data",), devices=jax.devices()[:devices])
layout = nn.Layout(mesh, params=(("*", nn.fsdp("data")),))
path, state = f"{folder}/state", None
if os.path.exists(path):
    state = nn.train_state(net, optimizer, x, key=key)
    state = nn.load(path, like=layout.shapes(state))


class Kill:
    every_steps = pace

    def __call__(self, *_):
        pass

    def at_step(self, *_):
        os.kill(os.getpid(), signal.SIGKILL)


nn.fit(
    net,
    (x, x[:, 0].argmax(1)),
    loss=nn.losses.softmax_cross_entropy,
    optimizer=optimizer,
    epochs=3,
    batch_size=16,
    key=key,
    state=state,
    layout=layout,
    callbacks=[nn.callbacks.checkpoint(path, every_steps=pace), Kill()],
)
"""


def test_a_run_killed_on_eight_devices_goes_on_with_four_and_with_one(tmp_path):
    """Each time in the middle of an epoch of five steps."""
    flags = os.environ.get("XLA_FLAGS", "")
    flags += " --xla_force_host_platform_device_count=8"
    for devices, steps in ((8, 4), (4, 7)):
        given = map(str, (devices, steps, tmp_path))
        killed = subprocess.run(
            [sys.executable, "-W", "ignore", "-c", KILLED, *given],
            env=os.environ | {"XLA_FLAGS": flags},
        )
        assert killed.returncode == -signal.SIGKILL
        assert nn.io.header(tmp_path / "state")["step"] == steps
    saving = [nn.callbacks.checkpoint(tmp_path / "state")]
    state, history = alone(state=loaded(tmp_path), callbacks=saving)
    whole, uninterrupted = alone()
    assert history.epochs == [1, 2, 3] and len(history.step_losses) == 15
    ours, theirs = (s._replace(key=None) for s in (state, whole))
    chex.assert_trees_all_close(ours, theirs, rtol=0, atol=1e-5)
    np.testing.assert_allclose(history["loss"], uninterrupted["loss"], atol=1e-5)
    np.testing.assert_allclose(
        history.step_losses, uninterrupted.step_losses, rtol=0, atol=1e-5
    )
