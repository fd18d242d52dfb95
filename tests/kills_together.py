"""Kills processes that train together at random moments and compares what came of it.

    python tests/kills_together.py 20
    python tests/kills_together.py 20 --processes 4 --stream

Several processes, which `jax.distributed` connects, train one network whose parameters
are split over them, and save every three steps, in the foreground or the background.
One of them or all are ended by SIGKILL that many times, also inside saves; those that
are left end by themselves, or are ended after a while; then all go on from the file.
When the run is done its parameters, state, optimizer state and history must be those of
a run that nobody killed, and no other file may be left. It prints what it found and
exits with 1 if not.
"""

import argparse
import os
import random
import signal
import socket
import sys
import tempfile
import time
import traceback
import warnings
from pathlib import Path
from typing import NamedTuple

import jax
import numpy as np
import optax
from kills import _alike

import jaxnn as nn
from jaxnn.files import tensor_files

EPOCHS, PACE = 18, 3  # of a run's 90 steps, saves included
PATIENCE = 10.0  # seconds that a process may outlive another that was killed
CLOSE = 1e-5  # the largest difference, should the runs not be equal bit for bit
net = nn.Sequential(
    nn.Dense(8), nn.BatchNorm(), jax.nn.relu, nn.Dropout(0.2), nn.Dense(4)
)
optimizer = optax.adam(1e-2)
images = np.random.default_rng(0).standard_normal((80, 6)).astype(np.float32)
labels = images[:, :4].argmax(1)
metrics = {"accuracy": nn.metrics.accuracy, "matrix": nn.metrics.ConfusionMatrix(4)}


class Death(NamedTuple):
    """When processes are killed, and which."""

    writes: int  # after so many writes have begun, 0 for the birth
    moment: float  # and so many seconds
    victims: list[int]


def run(file: Path, seed: int, options: argparse.Namespace) -> None:
    """The resume of docs/resume.md; what `fit` returns goes into a file beside."""
    mesh = jax.make_mesh((jax.device_count(),), ("data",))
    layout = nn.Layout(mesh, params=(("*", nn.fsdp("data")),))
    key, state = jax.random.key(seed), None
    if file.exists():
        state = nn.train_state(net, optimizer, images[:1], key=key)
        state = nn.load(file, like=layout.shapes(state))
    pace = {"every_steps": PACE, "background": options.background}
    state, history = nn.fit(
        net,
        own_rows() if options.stream else (images, labels),
        loss=nn.losses.softmax_cross_entropy,
        optimizer=optimizer,
        epochs=EPOCHS,
        batch_size=None if options.stream else 16,
        key=key,
        state=state,
        validation=(images[:8], labels[:8]),
        metrics=metrics,
        callbacks=[nn.callbacks.checkpoint(file, **pace)],
        layout=layout,
        progress=False,
    )
    nn.callbacks.checkpoint(end_of(file))(EPOCHS, state, history)


def end_of(file: Path) -> Path:
    """The file of what `fit` returned."""
    return file.with_name("end.safetensors")


def own_rows() -> list:
    """The batches of a stream, of which each process has its own rows."""
    size = 16 // jax.process_count()
    first = [batch + size * jax.process_index() for batch in range(0, 80, 16)]
    return [(images[i : i + size], labels[i : i + size]) for i in first]


def born(file: Path, seed: int, options: argparse.Namespace) -> tuple[list[int], int]:
    """The processes of a run, and where the one that writes tells of its writes."""
    ears, mouth = os.pipe()
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    children = []
    for i in range(options.processes):
        child = os.fork()
        if not child:
            os.close(ears)
            live(file, seed, mouth, options, (address, options.processes, i))
        children.append(child)
    os.close(mouth)
    return children, ears


def live(file: Path, seed: int, mouth: int, options, place: tuple) -> None:
    """What a process does; its warnings and errors go to a file in `said`."""
    write = tensor_files.write

    def slowly(*args):
        os.write(mouth, b".")
        write(*args)
        time.sleep(0.05)  # a file this small is written before the parent has heard

    tensor_files.write = slowly
    try:
        said = file.parent / "said" / str(place[2])
        said.parent.mkdir(exist_ok=True)
        with said.open("wb") as to:
            os.dup2(to.fileno(), 1)
            os.dup2(to.fileno(), 2)
        jax.distributed.initialize(*place)
        run(file, seed, options)
        jax.distributed.shutdown()
    except BaseException:
        traceback.print_exc()
        os._exit(1)
    os._exit(0)


def life(file: Path, seed: int, death: Death | None, options) -> list[float] | None:
    """Processes that train until they are done or killed.

    Returns:
        None if they are done; otherwise how many seconds each survivor lived on, with
        infinity for those that had to be ended.
    """
    children, ears = born(file, seed, options)
    alive = all(os.read(ears, 1) for _ in range(death.writes if death else 10**9))
    if alive:
        time.sleep(death.moment)
        for i in death.victims:
            os.kill(children[i], signal.SIGKILL)
    killed, start = (
        {children[i] for i in death.victims} if alive else set(),
        time.time(),
    )
    left, survived = set(children), []
    while left:
        for child in [c for c in left if os.waitpid(c, os.WNOHANG)[0]]:
            left.remove(child)
            survived += [] if child in killed else [time.time() - start]
        if alive and time.time() - start > PATIENCE:
            for child in left:
                os.kill(child, signal.SIGKILL)
                os.waitpid(child, 0)
            survived += [np.inf] * len(left)
            left = set()
        time.sleep(0.02)
    os.close(ears)
    if not alive and not end_of(file).exists():
        said = [path.read_text()[-2000:] for path in (file.parent / "said").iterdir()]
        sys.exit("\n".join(["the run failed by itself:", *said]))
    return survived if alive else None


def difference(files: list[Path]) -> tuple[list[str], float]:
    """What is not bit for bit the same in two files, and by how much at most."""
    leaves = [jax.tree_util.tree_leaves_with_path(nn.load(file)) for file in files]
    histories = [nn.History.load(file) for file in files]
    for part, history in zip(leaves, histories, strict=True):
        part += [(name, np.asarray(history[name])) for name in sorted(history)]
        part += [("epochs", np.asarray(history.epochs))]
        part += [("step_losses", np.asarray(history.step_losses))]
    problems, most = [], 0.0
    for (name, a), (other, b) in zip(*leaves, strict=True):
        assert name == other
        if not _alike(a, b):
            problems.append(str(name))
            most = max(most, np.abs(np.subtract(a, b, dtype=np.float64)).max())
    return problems, most


def compare(file: Path, seed: int, options: argparse.Namespace) -> None:
    """Exit with a message if the finished run is not the one that nobody killed."""
    left = {path.name for path in file.parent.iterdir()} - {"said"}
    if left != {file.name, end_of(file).name}:
        sys.exit(f"files are left: {sorted(left)}")
    with tempfile.TemporaryDirectory() as folder:
        whole = Path(folder) / file.name
        life(whole, seed, None, options)
        child = os.fork()
        if not child:
            problems, most = difference([end_of(file), end_of(whole)])
            about = f"differs by {most:.1e} in {', '.join(problems)}"
            print(f"run {seed}: {about if problems else 'equal'}", flush=True)
            os._exit(most > CLOSE)
        if os.waitpid(child, 0)[1]:
            sys.exit(1)


def main(options: argparse.Namespace) -> None:
    """Kill so often, in as many runs as that takes."""
    luck, killed, left_behind, seed, survived = random.Random(time.time()), 0, 0, 0, []
    while killed < options.kills:
        with tempfile.TemporaryDirectory() as folder:
            file, done, known = Path(folder) / "run.safetensors", False, set()
            while not done:
                options.background = luck.random() < 0.5
                writes = luck.choice((0, 1, 2, 3, 4))
                moment = luck.random() * (luck.choice((0.01, 0.3)) if writes else 15)
                everyone = range(options.processes)
                victims = luck.sample(everyone, luck.choice((1, options.processes)))
                death = Death(writes, moment, victims)
                lived = life(
                    file, seed, death if killed < options.kills else None, options
                )
                done = lived is None
                killed, survived = killed + (not done), survived + (lived or [])
                found = set(Path(folder).glob(".jaxnn-*"))
                inside, known = not found <= known, found
                left_behind += inside
                if not done:
                    print(
                        f"kill {killed}: {death}, {'inside a save, ' * inside}"
                        f"survivors {[round(s, 1) for s in lived]}",
                        flush=True,
                    )
            compare(file, seed, options)
        seed += 1
    ended = [s for s in survived if np.isfinite(s)]
    print(
        f"of {len(survived)} survivors {len(ended)} ended by themselves, after "
        f"{max(ended, default=0):.1f} seconds at most; the others were ended after "
        f"{PATIENCE:g}"
    )
    print(f"{killed} kills in {seed} runs, {left_behind} of them inside a save")


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("kills", type=int, nargs="?", default=20)
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--devices", type=int, default=1, help="of each process")
    parser.add_argument("--stream", action="store_true")
    options = parser.parse_args()
    warnings.filterwarnings("ignore", message=".*fork.*")  # no back end is open here
    if "JAX_COMPILATION_CACHE_DIR" not in os.environ:
        nn.cache()
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0)
    os.environ["XLA_FLAGS"] = (
        os.environ.get("XLA_FLAGS", "")
        + f" --xla_force_host_platform_device_count={options.devices}"
    )
    main(options)
