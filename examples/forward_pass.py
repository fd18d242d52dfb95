# SPDX-License-Identifier: Apache-2.0
"""A network by hand: every number of a forward pass, and the activation functions.

A neuron computes z = a·w + b and puts out σ(z). A layer does so for all its neurons at
once: z = xW + b for a row x (the same as Wᵀx + b for a column). The network here has
three layers of two sigmoid neurons,

    W1 = [[1, −1], [−2, 1]]     b1 = [1, 0]
    W2 = [[2, −2], [−1, −1]]    b2 = [0, 0]
    W3 = [[3, −1], [−1, 4]]     b3 = [−2, 2]

and maps [1, −1] to [0.62, 0.83] and [0, 0] to [0.51, 0.85]. Nothing is trained: the
parameters are a dict that is written down, and `nn.Tap` shows what happens inside.

The second picture has the activations of the course with their derivatives, which
`jax.grad` finds and `jax.vmap` computes for a whole axis of numbers.
"""

import argparse
from functools import partial
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from matplotlib.figure import Figure

import jaxnn as nn

net = nn.Sequential(
    nn.Dense(2),
    jax.nn.sigmoid,
    nn.Dense(2),
    jax.nn.sigmoid,
    nn.Dense(2),
    jax.nn.sigmoid,
)
PARAMS = {
    "dense_1": {"w": jnp.array([[1.0, -1], [-2, 1]]), "b": jnp.array([1.0, 0])},
    "dense_2": {"w": jnp.array([[2.0, -2], [-1, -1]]), "b": jnp.array([0.0, 0])},
    "dense_3": {"w": jnp.array([[3.0, -1], [-1, 4]]), "b": jnp.array([-2.0, 2])},
}


def on_one_number(layer, params):
    """A layer as a function of one number, so that it can be drawn and derived."""
    return lambda x: layer.apply(params, {}, x[None, None])[0][0, 0]


two_lines = {"w": jnp.array([[[-0.5]], [[1.0]]]), "b": jnp.array([[0.0], [-1.0]])}
ACTIVATIONS = {
    "step": nn.step,
    "identity": lambda x: x,
    "sigmoid": jax.nn.sigmoid,
    "tanh": jnp.tanh,
    "ReLU": jax.nn.relu,
    "leaky ReLU, slope 0.1": partial(jax.nn.leaky_relu, negative_slope=0.1),
    "PReLU, learned slope 0.25": on_one_number(nn.PReLU(), {"scale": jnp.array(0.25)}),
    "maxout of -x/2 and x-1": on_one_number(nn.Maxout(1), two_lines),
    "ELU": jax.nn.elu,
    "SELU": jax.nn.selu,
    "softplus": jax.nn.softplus,
    "softmax of [x, 0, 0], first": lambda x: jax.nn.softmax(jnp.array([x, 0, 0]))[0],
}


def forward(x):
    """The outputs for one row, and what each layer inside puts out."""
    tapped = nn.Tap(net, ("dense_*", "sigmoid_*"))
    (y, inside), _ = tapped.apply(PARAMS, {}, x[None])
    return y[0], {path: np.asarray(value[0]) for path, value in inside.items()}


def explain(x, inside):
    """Print a forward pass step by step."""
    a = np.asarray(x)
    print(f"input x = {a}")
    for i in (1, 2, 3):
        z, out = inside[f"dense_{i}"], inside[f"sigmoid_{i}"]
        print(f"  layer {i}: z = {a.round(2)} W{i} + b{i} = {z.round(2)}", end="")
        print(f"  ->  sigmoid(z) = {out.round(2)}")
        a = out


def draw_network(x, inside, path):
    """Neurons as boxes, weights on the arrows between them, biases from below."""
    figure = Figure(figsize=(12.5, 5.2), layout="constrained")
    axes = figure.subplots()
    columns = [[f"x{i + 1} = {value:g}" for i, value in enumerate(np.asarray(x))]]
    for i in (1, 2, 3):
        pairs = zip(inside[f"dense_{i}"], inside[f"sigmoid_{i}"], strict=True)
        columns.append([f"z = {z:.2f}\na = {a:.2f}" for z, a in pairs])
    for i, column in enumerate(columns):
        for j, text in enumerate(column):
            box = {
                "boxstyle": "round,pad=0.5",
                "facecolor": "#dbe9f6" if i else "#f3ead7",
            }
            axes.text(3 * i, -2 * j, text, ha="center", va="center", bbox=box, size=13)
    for i in (1, 2, 3):
        layer = PARAMS[f"dense_{i}"]
        for j in (0, 1):
            for k in (0, 1):
                draw_weight(axes, 3 * i - 3, -2 * j, -2 * k, layer["w"][j, k])
            bias = f"b = {layer['b'][j]:g}"
            axes.text(3 * i, -2 * j + 0.44, bias, ha="center", size=12, color="#8a2b0a")
        axes.text(3 * i, -2.75, f"layer {i}", ha="center", size=13)
    axes.text(0, -2.75, "input", ha="center", size=13)
    axes.set(xlim=(-0.8, 9.8), ylim=(-3, 0.9))
    axes.set_title("a forward pass: weights on the arrows, z = xW + b, a = sigmoid(z)")
    axes.axis("off")
    figure.savefig(path, dpi=120)


def draw_weight(axes, left, start, end, weight):
    """An arrow with its weight near its beginning, where arrows do not cross."""
    x = np.array([left + (0.45 if left else 0.36), left + 2.56])
    y = np.array([start, end])
    style = {"arrowstyle": "-|>", "color": "#555555"}
    axes.annotate("", (x[1], y[1]), (x[0], y[0]), arrowprops=style)
    at = 0.78 * np.array([x[0], y[0]]) + 0.22 * np.array([x[1], y[1]])
    box = {"facecolor": "white", "edgecolor": "none", "pad": 1.5}
    axes.text(*at, f"{weight:g}", ha="center", va="center", size=12, bbox=box)


def draw_activations(path):
    """Each activation and its derivative."""
    figure = Figure(figsize=(13, 8.6), layout="constrained")
    x = jnp.linspace(-4, 4, 401)
    for axes, (name, f) in zip(
        figure.subplots(3, 4).flat, ACTIVATIONS.items(), strict=True
    ):
        axes.plot(x, jax.vmap(f)(x), label="function", linewidth=2)
        axes.plot(x, jax.vmap(jax.grad(f))(x), "--", label="derivative", linewidth=2)
        axes.set(title=name, ylim=(-2.2, 3), xlabel="x")
        axes.grid(alpha=0.3)
    figure.axes[0].legend(loc="lower right")
    figure.savefig(path, dpi=120)


def main(argv=None) -> dict[str, list[float]]:
    """Run the example; gives the outputs."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--small", action="store_true", help="it is small already")
    parser.add_argument("--out", type=Path, default=Path("out/forward_pass"))
    parser.add_argument("--seed", type=int, default=0, help="nothing here is random")
    args = parser.parse_args(argv)
    args.out.mkdir(parents=True, exist_ok=True)

    numbers = {}
    for x in (jnp.array([1.0, -1.0]), jnp.array([0.0, 0.0])):
        y, inside = forward(x)
        explain(x, inside)
        numbers[f"f({x[0]:g}, {x[1]:g})"] = y.tolist()
        draw_network(x, inside, args.out / f"network_{x[0]:g}_{x[1]:g}.png")
    for scores in ([2.0, 1.0, 0.1], [1.2, 0.9, 0.4]):
        shares = jax.nn.softmax(jnp.array(scores))
        print(f"softmax of {scores} = {np.asarray(shares).round(3)}")
        numbers[f"softmax({scores})"] = shares.tolist()
    draw_activations(args.out / "activations.png")
    for picture in sorted(args.out.glob("*.png")):
        print(picture)
    results = [f"{name} = {np.round(y, 2)}" for name, y in numbers.items()]
    print("; ".join(results[:2]))
    return numbers


if __name__ == "__main__":
    main()
