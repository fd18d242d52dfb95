# SPDX-License-Identifier: Apache-2.0
"""Linear regression by gradient descent, beside the least squares solution.

Five people's three test scores, X [5, 3], and the final score y that they reached:

    prediction  xW + b, W [3, 1], b [1]       loss  1/5 Σ (prediction − y)²
    descent     θ ← θ − α ∂L/∂θ               α = 1e-6, 2,000 steps over all five rows

It is a network of one `Dense` layer without an activation. With two outputs W is
[3, 2]; the second target, 2y − 10, is made up for the purpose.

The least squares solution is the minimum of the same loss, so every step gets closer to
it. In the space of predictions this is Pythagoras: loss = (distance to the least
squares predictions)² / 5 + least squares loss. Two thousand steps do not arrive: the
three scores are much alike, and along their small differences the loss is nearly flat.
"""

import argparse
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax
from matplotlib.figure import Figure

import jaxnn as nn

X = np.array(
    [[73, 80, 75], [93, 88, 93], [89, 91, 90], [96, 98, 100], [73, 66, 70]], np.float64
)
Y = np.array([[152], [185], [180], [196], [142]], np.float64)
TWO = np.concatenate([Y, 2 * Y - 10], axis=1)  # the second target is made up
RATE = 1e-6


def descend(net, targets, steps, key):
    """The predictions after each step, [steps, 5, outputs]."""
    weights = []
    nn.fit(
        net,
        (X, targets),
        loss=nn.losses.mean_squared_error,
        optimizer=optax.sgd(RATE),
        epochs=steps,
        batch_size=len(X),  # the full batch: an epoch is one step
        key=key,
        callbacks=[lambda epoch, state, history: weights.append(state.params)],
        progress=False,  # a line for each of 2,000 epochs would be too much
    )
    stacked = jax.tree.map(lambda *leaves: np.stack(leaves), *weights)
    predict = jax.vmap(lambda params: net.apply(params, {}, jnp.asarray(X))[0])
    return np.asarray(predict(stacked))


def least_squares(targets):
    """The predictions that no W and b can improve on."""
    with_one = np.concatenate([X, np.ones((len(X), 1))], axis=1)  # 1 · b
    solution = np.linalg.lstsq(with_one, targets, rcond=None)[0]
    return with_one @ solution


def report(name, losses, distances, best_loss):
    """A few lines of a run: the loss, and the way that is left."""
    print(f"{name}: loss and distance to the least squares predictions")
    for step in sorted({1, 10, 100, 1000, len(losses)} & set(range(len(losses) + 1))):
        loss, distance = losses[step - 1], distances[step - 1]
        print(f"  step {step:5,d}: loss {loss:12.4f}  distance {distance:9.4f}")
    print(f"  least squares: loss {best_loss:.4f}")


def draw(losses, distances, fitted, best, path):
    """Loss and distance by step, and the predictions against the targets."""
    figure = Figure(figsize=(13.5, 4.2), layout="constrained")
    left, middle, right = figure.subplots(1, 3)
    steps = np.arange(1, len(losses) + 1)
    left.loglog(steps, losses, label="gradient descent")
    floor = np.square(best - Y).mean()
    left.axhline(floor, color="black", linestyle="--", label="least squares")
    left.set(title="mean squared error", xlabel="step", ylabel="points²")
    middle.loglog(steps, distances)
    middle.set(title="distance to the least squares predictions")
    middle.set(xlabel="step", ylabel="points")
    right.plot([135, 200], [135, 200], color="gray", label="prediction = target")
    right.scatter(Y, fitted, 70, label=f"after {len(losses):,} steps")
    right.scatter(Y, best, 70, marker="x", color="black", label="least squares")
    right.set(title="final score", xlabel="target, points", ylabel="prediction, points")
    left.legend()
    right.legend()
    for axes in (left, middle, right):
        axes.grid(alpha=0.3, which="both" if axes is not right else "major")
    figure.savefig(path, dpi=120)


def main(argv=None) -> dict[str, float]:
    """Run the example; gives the final numbers."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--small", action="store_true", help="200 steps, not 2,000")
    parser.add_argument("--out", type=Path, default=Path("out/linear_regression"))
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args(argv)
    args.out.mkdir(parents=True, exist_ok=True)
    steps, key = (200 if args.small else 2000), jax.random.key(args.seed)

    numbers = {}
    for name, net, targets in (("one", nn.Dense(1), Y), ("two", nn.Dense(2), TWO)):
        # The last steps are smaller than what float32 can tell apart.
        with jax.enable_x64(True):
            predictions = descend(net, targets, steps, key)
        best = least_squares(targets)
        losses = np.square(predictions - targets).mean((1, 2))
        distances = np.sqrt(np.square(predictions - best).sum((1, 2)))
        best_loss = np.square(best - targets).mean()
        report(f"{name} output{'s' * (name == 'two')}", losses, distances, best_loss)
        for target, prediction in zip(targets.T, predictions[-1].T, strict=True):
            print("  targets    ", target)
            print("  predictions", prediction.round(1))
        numbers[f"{name}_loss"] = float(losses[-1])
        numbers[f"{name}_best_loss"] = float(best_loss)
        numbers[f"{name}_distance"] = float(distances[-1])
        numbers[f"{name}_always_down"] = bool(np.all(np.diff(losses) < 0))
        numbers[f"{name}_always_closer"] = bool(np.all(np.diff(distances) < 0))
        if name == "one":
            draw(losses, distances, predictions[-1], best, args.out / "descent.png")
    print(args.out / "descent.png")
    print(
        f"after {steps:,} steps the loss is {numbers['one_loss']:.2f} (least squares "
        f"{numbers['one_best_loss']:.2f}), it went down at every step: "
        f"{numbers['one_always_down']}"
    )
    return numbers


if __name__ == "__main__":
    main()
