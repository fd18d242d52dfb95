# SPDX-License-Identifier: Apache-2.0
"""Remember over a hundred steps: a plain recurrent network fails, an LSTM does not.

The adding problem of Hochreiter and Schmidhuber, 1997: a sequence of random numbers
from 0 to 1, two of them marked, one in either half. What is the sum of these two? The
answer is due after the last step; so the network must keep the first number for fifty
steps and more, and let none of the others disturb it.

Who remembers nothing does best to always say 1, the mean of the sum. The squared error
of that is the variance of the sum of two uniform numbers, 2 / 12 = 0.1667 (often quoted
as 0.1767, which is a slip). A network that gets no lower has not learned to remember.

Why the plain network fails can be seen. How much does the loss depend on the state at
step t? Back-propagation multiplies by one matrix a step, so that this slope shrinks by
a factor a step: what the first steps should do differently does not get through. The
LSTM's cell has a path without a matrix, c = f c + ..., on which the slope survives
while the forget gate f is near 1; gates learn when to write and when to keep.

Both have the same task, optimizer and number of steps. Learning rates of 0.003 and 0.01
were tried for either, with other random sequences than those that give the result: the
plain network fails with both, the LSTM finds the answer sooner with the larger.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from matplotlib.figure import Figure

import jaxnn as nn

loss = nn.losses.mean_squared_error
BASELINE = 2 / 12  # the squared error of always saying 1
COLORS = {"RNN": "#d62728", "LSTM": "#1f77b4"}
Examples = tuple[np.ndarray, np.ndarray]


class Recipe(NamedTuple):
    """A task and how to train for it."""

    steps: int  # of a sequence
    features: int
    sequences: int
    epochs: int
    learning_rate: float


FULL = Recipe(100, 64, 10_000, 16, 0.01)
SMALL = Recipe(20, 16, 2_000, 8, 0.02)


def main(argv: Sequence[str] | None = None) -> dict[str, float]:
    """Train both, test, draw; returns the squared errors and how slopes fade."""
    args = parse(argv)
    recipe = SMALL if args.small else FULL
    recipe = recipe._replace(
        steps=args.steps or recipe.steps, epochs=args.epochs or recipe.epochs
    )
    train, validation, test = (adding(args.seed + i, recipe) for i in range(3))
    cells = {"RNN": nn.RNNCell(recipe.features), "LSTM": nn.LSTMCell(recipe.features)}
    result, curves, before, after = {"baseline": BASELINE}, {}, {}, {}
    for name, cell in cells.items():
        print(f"{name}: {recipe.steps} steps, {recipe.features} features")
        net = network(cell)
        key = jax.random.key(args.seed)
        params, _ = net.init(key, train[0][:1])
        before[name] = slopes(cell, params, test)
        state, history = learn(net, recipe, train, validation, key)
        after[name] = slopes(cell, state.params, test)
        curves[name] = history["val_loss"]
        result[name] = nn.evaluate(net, state, test, loss=loss)["loss"]
        result[f"{name}_fades"] = float(after[name][0] / after[name][-1])
    save_curves(args.out / "learning.png", curves, recipe)
    save_slopes(args.out / "slopes.png", before, after)
    for name in ("learning", "slopes"):
        print(f"wrote {args.out / name}.png")
    print(
        f"adding two numbers of {recipe.steps}, squared error: always saying 1 "
        f"{BASELINE:.4f}, RNN {result['RNN']:.4f}, LSTM {result['LSTM']:.4f}"
    )
    return result


def adding(seed: int, recipe: Recipe) -> Examples:
    """Numbers and marks `[N, T, 2]`, and the sum of the two marked numbers `[N, 1]`."""
    rng = np.random.default_rng(seed)
    count, steps = recipe.sequences, recipe.steps
    numbers = rng.uniform(size=(count, steps)).astype(np.float32)
    marks, rows = np.zeros_like(numbers), np.arange(count)
    marks[rows, rng.integers(0, steps // 2, count)] = 1
    marks[rows, rng.integers(steps // 2, steps, count)] = 1
    return np.stack([numbers, marks], -1), (numbers * marks).sum(1, keepdims=True)


def network(cell: nn.Layer) -> nn.Layer:
    """The cell over time; a number from what it puts out at the end."""
    return nn.Sequential(memory=nn.Recurrent(cell), last=last, answer=nn.Dense(1))


def last(outputs: jax.Array) -> jax.Array:
    """The outputs of the last step."""
    return outputs[:, -1]


def learn(
    net: nn.Layer, recipe: Recipe, train: Examples, validation: Examples, key: jax.Array
) -> tuple[nn.TrainState, nn.History]:
    """Train with clipped gradients: now and then one of them explodes."""
    return nn.fit(
        net,
        train,
        loss=loss,
        optimizer=optax.chain(
            optax.clip_by_global_norm(1.0), optax.adam(recipe.learning_rate)
        ),
        epochs=recipe.epochs,
        batch_size=50,
        key=key,
        validation=validation,
        progress=True,
    )


def slopes(cell: Any, params: Any, data: Examples, count: int = 200) -> np.ndarray:
    """How much the loss depends on the state after each step: `[T]`.

    Add to the state after each step a nudge, which is zero, and derive by the nudges:
    the length of an example's slope, on average over examples.
    """
    x, y = (jnp.asarray(part[:count]) for part in data)
    start = cell.zero_carry(x[:, 0])

    def total(nudges):
        def step(carry, part):
            x, nudge = part
            (carry, _), _ = cell.apply(params["memory"], {}, (carry, x))
            return jax.tree.map(jnp.add, carry, nudge), None

        carry, _ = jax.lax.scan(step, start, (x.swapaxes(0, 1), nudges))
        guess, _ = nn.Dense(1).apply(params["answer"], {}, carry["h"])
        return loss(guess, y).sum()

    zeros = jax.tree.map(lambda a: jnp.zeros((x.shape[1], *a.shape), a.dtype), start)
    found = jax.tree.leaves(jax.jit(jax.grad(total))(zeros))
    squares = sum(jnp.square(leaf).sum(-1) for leaf in found)
    return np.asarray(jnp.sqrt(squares).mean(1))


# ---- pictures ----


def save_curves(path: Path, curves: dict[str, list[float]], recipe: Recipe) -> None:
    """Draw the squared error of either network over the epochs."""
    figure = Figure(figsize=(7.5, 4.6), layout="constrained")
    axes = figure.subplots()
    for name, errors in curves.items():
        epochs = range(1, len(errors) + 1)
        axes.semilogy(epochs, errors, "o-", color=COLORS[name], label=name)
    axes.axhline(BASELINE, color="gray", linestyle="--", label="always saying 1")
    axes.set(
        xlabel="epoch",
        ylabel="squared error on new sequences",
        title=f"The sum of two marked numbers of {recipe.steps}",
    )
    axes.legend()
    axes.grid(alpha=0.3)
    figure.savefig(path, dpi=110)


def save_slopes(path: Path, before: dict, after: dict) -> None:
    """Draw how much the loss depends on the state at each step, for either network."""
    figure = Figure(figsize=(11, 4.6), layout="constrained")
    figure.suptitle("How much the loss depends on the state after step t")
    for axes, when, found in zip(
        figure.subplots(1, 2, sharey=True),
        ("before training", "after training"),
        (before, after),
        strict=True,
    ):
        for name, norms in found.items():
            axes.semilogy(
                range(1, len(norms) + 1), norms, color=COLORS[name], label=name
            )
        axes.set(xlabel="step t (the answer is due after the last)", title=when)
        axes.legend()
        axes.grid(alpha=0.3)
    figure.axes[0].set_ylabel("length of the gradient")
    figure.savefig(path, dpi=110)


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--small", action="store_true", help="20 steps and a small network: seconds")
    add("--steps", type=int, help=f"of a sequence; default: {FULL.steps}")
    add("--epochs", type=int, help=f"default: {FULL.epochs}")
    add("--seed", type=int, default=0, help="default: %(default)s")
    add("--out", type=Path, default=Path("out/remember"), help="folder to write to")
    args = parser.parse_args(argv)
    args.out.mkdir(parents=True, exist_ok=True)
    return args


if __name__ == "__main__":
    nn.cache()  # the second run finds its programs compiled
    main()
