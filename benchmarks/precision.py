# SPDX-License-Identifier: Apache-2.0
"""Does a network learn in bfloat16 what it learns in float32?

Three networks of the examples, each trained by its example's recipe, once as it is and
once as `nn.Mixed(net, jnp.bfloat16)`: the MLP of `digits.py` on the package's digits,
the CNN of `mnist_cnn.py` on MNIST and the LSTM of `char_lm.py` on tiny Shakespeare.
Both precisions get the same weights, order, dropout and augmentation. To save time, CNN
and LSTM train on fewer examples for fewer epochs than in the examples. The table has
the mean over the seeds of the accuracy (of the digits, or of the next character), in
percent, on examples held back.

Each bfloat16 state is saved and read back: its numbers must be float32 and those of the
state, bit for bit.
"""

import argparse
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

sys.path.insert(0, str(Path(__file__).parents[1] / "examples"))

import char_lm
import digits
import mnist_cnn
import reports

import jaxnn as nn

LOSS = nn.losses.softmax_cross_entropy
METRICS = {"accuracy": nn.metrics.accuracy}
TOLERANCE = 0.3  # points


class Work(NamedTuple):
    """A network, its data and how it is trained."""

    what: str
    net: nn.Layer
    train: tuple[Any, Any]
    test: tuple[Any, Any]
    epochs: int
    batch_size: int
    optimizer: Callable[[int], optax.GradientTransformation]  # of the number of steps
    augment: Any = None


def main(argv: list[str] | None = None) -> dict[str, Any]:
    """Train, test and print; gives what is written to the JSON file."""
    args = parse(argv)
    report: dict[str, Any] = {"machine": reports.machine(), "absent": [], "rows": []}
    print("\n".join(reports.machine_lines(report)), flush=True)
    for name in args.only:
        row = compare(name, WORKS[name](args.small), args.seeds[name], args.out)
        report["rows"].append(row)
    lines = table(report["rows"])
    print("\n" + "\n".join(lines))
    reports.write(args.out, "precision", report, lines)
    print(f"\nwrote {args.out / 'precision'}.json and .md")
    return report


def parse(argv: list[str] | None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--only", nargs="+", choices=WORKS, default=list(WORKS))
    add("--seeds", type=int, metavar="N", help="of each; 10 (mlp) and 2")
    add("--small", action="store_true", help="seconds, to see that it works")
    add("--out", type=Path, default=Path("out/benchmarks"), help="folder for the files")
    args = parser.parse_args(argv)
    if args.seeds is not None and args.seeds < 1:
        parser.error(f"--seeds must be 1 or more, got {args.seeds}")
    usual = dict.fromkeys(WORKS, 1) if args.small else {"mlp": 10, "cnn": 2, "lstm": 2}
    args.seeds = {name: args.seeds or n for name, n in usual.items()}
    args.out.mkdir(parents=True, exist_ok=True)
    return args


def compare(name: str, work: Work, seeds: int, out: Path) -> dict[str, Any]:
    """Train a network in both precisions from each seed."""
    nets = {"float32": work.net, "bfloat16": nn.Mixed(work.net, jnp.bfloat16)}
    runs: dict[str, list[dict[str, float]]] = {precision: [] for precision in nets}
    for seed in range(seeds):
        for precision, net in nets.items():
            state, run = learn(work, net, seed)
            if precision == "bfloat16":
                check_masters(out / f"precision_{name}.safetensors", net, state)
            runs[precision].append(run)
            print(
                f"{name}, seed {seed}, {precision:<8}: accuracy {run['accuracy']:.2%}, "
                f"loss {run['loss']:.4f}, {run['seconds']:.0f} s",
                flush=True,
            )
    facts = {"name": name, "what": work.what, "epochs": work.epochs, "seeds": seeds}
    points = {p: [100 * run["accuracy"] for run in own] for p, own in runs.items()}
    losses = {p: statistics.mean(run["loss"] for run in own) for p, own in runs.items()}
    means = {p: statistics.mean(own) for p, own in points.items()}
    return {
        **facts,
        "runs": runs,
        "accuracy": means,
        "loss": losses,
        "spread": max(points["float32"]) - min(points["float32"]),
        "difference": means["bfloat16"] - means["float32"],
    }


def learn(work: Work, net: nn.Layer, seed: int) -> tuple[nn.TrainState, dict]:
    """One run, and the loss and accuracy on the examples held back."""
    begun = time.perf_counter()
    steps = work.epochs * -(-len(work.train[1]) // work.batch_size)
    state, _ = nn.fit(
        net,
        work.train,
        loss=LOSS,
        optimizer=work.optimizer(steps),
        epochs=work.epochs,
        batch_size=work.batch_size,
        key=jax.random.key(seed),
        augment=work.augment,
        progress=False,
    )
    found = nn.evaluate(net, state, work.test, loss=LOSS, metrics=METRICS)
    return state, {**found, "seconds": time.perf_counter() - begun}


def check_masters(path: Path, net: nn.Layer, state: nn.TrainState) -> None:
    """Stop unless a file holds the state's float32 numbers, bit for bit."""
    nn.save(path, state, spec=net)
    kept = nn.trees.paths(nn.load(path)["params"])
    for name, a in nn.trees.paths(state.params).items():
        held = np.asarray(kept[name])
        if held.dtype != np.float32 or held.tobytes() != np.asarray(a).tobytes():
            raise SystemExit(f"{path}: {name} is not the float32 array of the state")


def table(rows: list[dict[str, Any]]) -> list[str]:
    """The results as a Markdown table, and a line where a precision falls short."""
    columns = ["network", "data", "epochs", "seeds", "float32", "bfloat16"]
    columns += ["difference", "float32's spread", "loss", "loss in bfloat16"]
    lines = reports.markdown(columns, [cells(row) for row in rows])
    return lines + [
        f"\n{row['name']}: bfloat16 is more than {TOLERANCE} points from float32"
        for row in rows
        if abs(row["difference"]) > TOLERANCE
    ]


def cells(row: dict[str, Any]) -> list[str]:
    """One network's row."""
    return [
        *(row["name"], row["what"], str(row["epochs"]), str(row["seeds"])),
        *(f"{row['accuracy'][p]:.2f}" for p in ("float32", "bfloat16")),
        *(f"{row['difference']:+.2f}", f"{row['spread']:.2f}"),
        *(f"{row['loss'][p]:.4f}" for p in ("float32", "bfloat16")),
    ]


# ---- networks and their recipes ----


def mlp(small: bool) -> Work:
    """The recipe of `examples/digits.py`."""
    whole, test = nn.data.digits()
    train, _ = nn.data.split(whole, 0.1, seed=0, stratify=True)

    def optimizer(steps: int) -> optax.GradientTransformation:
        return optax.adam(0.002)

    what = f"{len(train[1]):,} digits"
    return Work(what, digits.net, train, test, 2 if small else 50, 32, optimizer)


def cnn(small: bool) -> Work:
    """The recipe of `examples/mnist_cnn.py`, on a fifth of MNIST."""
    train, test = nn.data.digits() if small else nn.data.mnist()
    train = train[0][:12_000], train[1][:12_000]
    augment = nn.data.augment.shift(1 if small else 2)

    def optimizer(steps: int) -> optax.GradientTransformation:
        return optax.adam(optax.cosine_onecycle_schedule(steps, 0.004))

    what, net = f"{len(train[1]):,} images", mnist_cnn.network()
    return Work(what, net, train, test, 1 if small else 2, 128, optimizer, augment)


def lstm(small: bool) -> Work:
    """The recipe of `examples/char_lm.py`, on a quarter of the text."""
    recipe = char_lm.SMALL if small else char_lm.CPU
    _, text = char_lm.load_data(small)
    vocabulary = nn.data.text.characters(text)
    ids = vocabulary.encode(text)
    train, rest = np.split(ids, [len(ids) * 9 // 10])
    data = nn.data.next_tokens(train[: len(train) // 4], recipe.window)

    def optimizer(steps: int) -> optax.GradientTransformation:
        rate = recipe.learning_rate["LSTM"]
        rate = optax.cosine_onecycle_schedule(steps, rate, 0.1)
        return optax.chain(optax.clip_by_global_norm(1.0), optax.adamw(rate, b2=0.99))

    return Work(
        f"{data[1].size:,} characters",
        char_lm.networks(recipe, len(vocabulary))["LSTM"],
        data,
        nn.data.next_tokens(rest, recipe.window),
        1 if small else 2,
        recipe.batch_size,
        optimizer,
    )


WORKS = {"mlp": mlp, "cnn": cnn, "lstm": lstm}

if __name__ == "__main__":
    nn.cache()  # the second run finds its programs compiled
    main()
