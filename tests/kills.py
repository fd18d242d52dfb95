"""Kills a training run at random moments and compares what came of it.

    python tests/kills.py 200
    python tests/kills.py 200 players
    python tests/kills.py 200 background

trains with the README's own lines, or two adversaries, or saves in the background, ends
the process by SIGKILL that many times, also inside saves, and goes on each time from
the file. When the run is done its parameters, state, optimizer state and history must
be those of a run that nobody killed, bit for bit, and no other file may be left. It
prints what it found and exits with 1 if not.
"""

import os
import random
import select
import signal
import sys
import tempfile
import time
import traceback
import warnings
from functools import partial
from pathlib import Path

import jax
import numpy as np
import optax

import jaxnn as nn

EPOCHS = 40  # of a run; there are as many runs as the kills need
net = nn.Sequential(
    nn.Dense(8), nn.BatchNorm(), jax.nn.relu, nn.Dropout(0.2), nn.Dense(3)
)
optimizer = optax.adam(1e-2)
loss = nn.losses.softmax_cross_entropy
stop = nn.EarlyStopping(patience=100)
images = np.random.default_rng(0).standard_normal((70, 6)).astype(np.float32)
train = images, images[:, :3].argmax(1)
metrics = {"accuracy": nn.metrics.accuracy, "matrix": nn.metrics.ConfusionMatrix(3)}


class Game(nn.Composite):
    """A generator and its critic."""

    generator: nn.Layer = nn.Sequential(nn.Dense(8), nn.BatchNorm(), nn.Dense(6))
    critic: nn.Layer = nn.Sequential(nn.Dense(8), jax.nn.relu, nn.Dense(1))

    def forward(self, run, x):
        return run("critic", run("generator", x))


def critic(run, real):
    """The critic's objective."""
    fake = run("generator", jax.random.normal(run.key, (len(real), 4)))
    return nn.losses.critic_hinge(run("critic", real), run("critic", fake))


def generator(run, real):
    """The generator's objective."""
    z = jax.random.normal(run.key, (len(real), 4))
    return nn.losses.generator_hinge(run(z))


players = nn.train.players(
    Game(),
    critic=nn.train.Player(critic, optimizer, params="critic"),
    generator=nn.train.Player(
        generator, nn.optimizers.ema(optimizer, 0.9), params="generator", every=3
    ),
)


def play(file: Path, seed: int, epochs: int = EPOCHS, told=lambda *_: None):
    """Two adversaries, one of which moves in every third step."""
    state = players.start(np.zeros((1, 4), np.float32), key=jax.random.key(seed))
    if file.exists():
        state = nn.load(file, like=state)
    options = {"batch_size": 16, "callbacks": [nn.callbacks.checkpoint(file), told]}
    return nn.fit(players, images, epochs=epochs, state=state, **options)


def run(file: Path, seed: int, epochs: int = EPOCHS, told=lambda *_: None, **saving):
    """The README's resume, with all that a file can hold."""
    key = jax.random.key(seed)
    state = nn.train_state(net, optimizer, train[0][:1], key=key, early_stopping=stop)
    if file.exists():
        state = nn.load(file, like=state)
    return nn.fit(
        net,
        train,
        loss=loss,
        optimizer=optimizer,
        epochs=epochs,
        batch_size=16,
        state=state,
        validation=(train[0][:9], train[1][:9]),
        metrics=metrics,
        early_stopping=stop,
        callbacks=[nn.callbacks.checkpoint(file, **saving), told],
    )


def life(run, file: Path, seed: int, moment: float, from_start: bool) -> bool:
    """A process that trains until it is done or killed; whether it was killed.

    Args:
        run: what it does.
        file: its checkpoint.
        seed: of the run.
        moment: seconds until it is killed.
        from_start: whether those count from its birth, or from its first save.
    """
    ears, mouth = os.pipe()
    child = os.fork()
    if not child:
        try:
            os.close(ears)
            run(file, seed, told=lambda *_: os.write(mouth, b"."))
        except BaseException:
            traceback.print_exc()
            os._exit(1)
        os._exit(0)
    os.close(mouth)
    if not from_start:
        os.read(ears, 1)  # the first save is done (or the child is)
    end = time.monotonic() + moment
    while (left := end - time.monotonic()) > 0:
        if select.select([ears], [], [], left)[0] and not os.read(ears, 4096):
            break  # it is done
    os.kill(child, signal.SIGKILL)
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    os.close(ears)
    if status > 0:
        sys.exit(f"the run failed after it was killed: see above ({file})")
    return status < 0


def difference(run, file: Path, seed: int) -> list[str]:
    """What is not as in a run that nobody killed; it runs in a process of its own."""
    with tempfile.TemporaryDirectory() as folder:
        state, history = run(Path(folder) / "run", seed)
    found = nn.load(file, like=state)
    told = nn.History.load(file)
    problems = [
        name
        for name, part in zip(
            state._fields, zip(state, found, strict=True), strict=True
        )
        if not all(map(_alike, *map(jax.tree.leaves, part)))
    ]
    if told.epochs != history.epochs or told.keys() != history.keys():
        problems.append(f"history: {told.epochs} with {told.keys()}")
    problems += [n for n in history if not np.array_equal(told[n], history[n])]
    if told.step_losses != history.step_losses:
        problems.append("step_losses")
    left = sorted(path.name for path in file.parent.iterdir())
    return problems + ([f"files: {left}"] if left != [file.name] else [])


def _alike(a, b) -> bool:
    if jax.dtypes.issubdtype(a.dtype, jax.dtypes.prng_key):
        a, b = jax.random.key_data(a), jax.random.key_data(b)
    return a.dtype == b.dtype and np.asarray(a).tobytes() == np.asarray(b).tobytes()


def compare(run, file: Path, seed: int) -> None:
    """Exit with a message if the finished run is not the one that nobody killed."""
    child = os.fork()
    if not child:
        problems = difference(run, file, seed)
        print(f"run {seed}: {'; '.join(problems) or 'equal'}", flush=True)
        os._exit(bool(problems))
    if os.waitpid(child, 0)[1]:
        sys.exit(1)


def main(kills: int, run=run) -> None:
    """Kill so often, in as many runs as that takes."""
    warnings.filterwarnings("ignore", message=".*fork.*")  # no back end is open here
    luck, killed, left_behind, seed = random.Random(time.time()), 0, 0, 0
    while killed < kills:
        with tempfile.TemporaryDirectory() as folder:
            file, done = Path(folder) / "run.safetensors", False
            while not done:
                start = luck.random() < 0.2
                moment = luck.uniform(0, 1.5) if start else luck.uniform(0, 0.06)
                moment = moment if killed < kills else 1e9
                done = not life(run, file, seed, moment, start)
                killed += not done
                left_behind += any(Path(folder).glob(".jaxnn-*"))
            compare(run, file, seed)
        seed += 1
    print(f"{killed} kills in {seed} runs, {left_behind} of them inside a save")


if __name__ == "__main__":
    if "JAX_COMPILATION_CACHE_DIR" not in os.environ:
        nn.cache()
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0)
    runs = {"players": play, "background": partial(run, background=True)}
    numbers = [int(arg) for arg in sys.argv[1:] if arg.isdecimal()]
    chosen = next((runs[arg] for arg in sys.argv if arg in runs), run)
    main(numbers[0] if numbers else 200, chosen)
