# SPDX-License-Identifier: Apache-2.0
"""What one neuron can learn, what it cannot, and the hidden layer that can.

A perceptron puts out f(x) = 1 if w·x + b > 0, else 0: a straight line with one class on
each side. Its learning rule (Rosenblatt, 1958) moves the line only after a mistake:

    w ← w + rate · (t − y) x        b ← b + rate · (t − y)

AND and OR are separable by a line and are learned within a few epochs; the rule stops
at the first line that works, however close it runs to an example. XOR is not: no
line has (0,1) and (1,0) on one side and (0,0) and (1,1) on the other, so the rule makes
mistakes for ever (Minsky and Papert, 1969). A hidden layer bends the border. With
weights set by hand, σ the sigmoid,

    h1 = σ(20 x1 + 20 x2 − 10)      "x1 or x2"
    h2 = σ(−20 x1 − 20 x2 + 30)     "not both"
    y  = σ(20 h1 + 20 h2 − 30)      "h1 and h2", which is XOR

and gradient descent finds such weights by itself.
"""

import argparse
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax
from matplotlib.figure import Figure

import jaxnn as nn

INPUTS = jnp.array([[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]])
GATES = {
    "AND": jnp.array([[0.0], [0.0], [0.0], [1.0]]),
    "OR": jnp.array([[0.0], [1.0], [1.0], [1.0]]),
    "XOR": jnp.array([[0.0], [1.0], [1.0], [0.0]]),
}
RATE = 0.1

perceptron = nn.Sequential(nn.Dense(1), nn.step)

fixed = nn.Sequential(nn.Dense(2), jax.nn.sigmoid, nn.Dense(1), jax.nn.sigmoid)
FIXED_PARAMS = {
    "dense_1": {
        "w": jnp.array([[20.0, -20.0], [20.0, -20.0]]),
        "b": jnp.array([-10.0, 30.0]),
    },
    "dense_2": {"w": jnp.array([[20.0], [20.0]]), "b": jnp.array([-30.0])},
}


def perceptron_step(params, batch):
    """The perceptron rule. `fit` trains with any `step(state, batch)`."""
    x, t = batch
    y, _ = perceptron.apply(params, {}, x)
    mistake = t - y  # 0 where the answer is right: then nothing moves
    w = params["dense_1"]["w"] + RATE * x.T @ mistake
    b = params["dense_1"]["b"] + RATE * mistake.sum(0)
    return {"dense_1": {"w": w, "b": b}}, {"errors": jnp.abs(mistake).mean()}


def learn_gate(targets, epochs, key):
    """Parameters, and the mistakes out of four made in each epoch."""
    start, _ = perceptron.init(key, INPUTS)
    params, history = nn.fit(
        perceptron_step,
        (INPUTS, targets),
        state=start,
        epochs=epochs,
        batch_size=1,  # the rule looks at one example at a time
        key=key,
        progress=False,  # a line an epoch would be too much
    )
    return params, 4 * np.array(history["errors"])


def learn_xor(epochs, key):
    """A network with one hidden layer, trained on XOR by gradient descent."""
    net = nn.Sequential(nn.Dense(8), jnp.tanh, nn.Dense(1))
    state, history = nn.fit(
        net,
        (INPUTS, GATES["XOR"]),
        loss=nn.losses.sigmoid_cross_entropy,
        optimizer=optax.adam(0.05),
        epochs=epochs,
        batch_size=4,
        key=key,
        progress=False,
    )
    # Training works on logits, before the sigmoid; probabilities need it on top.
    return nn.Sequential(net=net, out=jax.nn.sigmoid), {"net": state.params}, history


def draw_regions(axes, title, net, params, targets):
    """Where a network says 1, in color, with the four examples on top."""
    ticks = jnp.linspace(-0.5, 1.5, 200)
    grid = jnp.stack(jnp.meshgrid(ticks, ticks), -1).reshape(-1, 2)
    y = nn.predict(net, (params, {}), grid).reshape(200, 200)
    shown = axes.contourf(ticks, ticks, y, np.linspace(0, 1, 11), cmap="RdBu_r")
    axes.contour(ticks, ticks, y, [0.5], colors="black")
    for value, marker in ((0, "o"), (1, "s")):
        x = INPUTS[targets[:, 0] == value]
        style = {"s": 110, "color": "white", "edgecolors": "black", "marker": marker}
        axes.scatter(x[:, 0], x[:, 1], label=f"t = {value}", **style)
    axes.set(title=title, xlabel="x1", ylabel="x2", xticks=[0, 1], yticks=[0, 1])
    axes.legend(loc="upper right")
    return shown


def draw(learned, xor_nets, path):
    """Decision regions of all networks, and the perceptron's mistakes by epoch."""
    figure = Figure(figsize=(12, 7.6), layout="constrained")
    panels = figure.subplots(2, 3)
    for axes, (gate, (params, _)) in zip(panels[0], learned.items(), strict=True):
        title = f"perceptron, {gate}"
        shown = draw_regions(axes, title, perceptron, params, GATES[gate])
    for axes, (title, (net, params)) in zip(panels[1], xor_nets.items(), strict=False):
        shown = draw_regions(axes, title, net, params, GATES["XOR"])
    figure.colorbar(shown, ax=panels[:, -1], label="output y", ticks=[0, 0.5, 1])
    axes, markers = panels[1, 2], ("s", "^", "o")
    for (gate, (_, mistakes)), marker in zip(learned.items(), markers, strict=True):
        axes.plot(range(1, 21), mistakes[:20], marker=marker, label=gate)
    axes.set(title="mistakes of the perceptron", xlabel="epoch", ylabel="out of 4")
    axes.set(xticks=[1, 5, 10, 15, 20], yticks=range(5))
    axes.grid(alpha=0.3)
    axes.legend()
    figure.savefig(path, dpi=120)


def main(argv=None) -> dict[str, float]:
    """Run the example; gives the final numbers."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--small", action="store_true", help="take a few seconds")
    parser.add_argument("--out", type=Path, default=Path("out/perceptron_xor"))
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args(argv)
    args.out.mkdir(parents=True, exist_ok=True)
    key = jax.random.key(args.seed)

    epochs = 100 if args.small else 1000
    learned = {gate: learn_gate(t, epochs, key) for gate, t in GATES.items()}
    for gate, (params, mistakes) in learned.items():
        w, b = params["dense_1"]["w"][:, 0], params["dense_1"]["b"][0]
        said = f"line {w[0]:.2f} x1 {w[1]:+.2f} x2 {b:+.2f} = 0"
        print(f"{gate:3}: {said}; fewest mistakes in an epoch: {mistakes.min():.0f}")

    outputs = nn.predict(fixed, (FIXED_PARAMS, {}), INPUTS)[:, 0]
    print("XOR, weights by hand:", np.asarray(outputs).round(4))
    net, params, history = learn_xor(200 if args.small else 1000, key)
    trained = nn.predict(net, (params, {}), INPUTS)[:, 0]
    print("XOR, trained network:", np.asarray(trained).round(4))

    xor_nets = {"XOR by hand": (fixed, FIXED_PARAMS), "XOR, trained": (net, params)}
    draw(learned, xor_nets, args.out / "regions.png")
    print(args.out / "regions.png")
    numbers = {
        f"{gate.lower()}_errors": float(mistakes.min())
        for gate, (_, mistakes) in learned.items()
    }
    numbers |= {
        "fixed_error": float(jnp.abs(outputs - GATES["XOR"][:, 0]).max()),
        "trained_error": float(jnp.abs(trained - GATES["XOR"][:, 0]).max()),
        "loss": history["loss"][-1],
    }
    print(
        f"the perceptron learns AND and OR; of XOR it gets {numbers['xor_errors']:.0f} "
        f"or more of 4 wrong in each of {epochs} epochs, and a network with a hidden "
        f"layer none (outputs within {numbers['trained_error']:.4f} of the targets)"
    )
    return numbers


if __name__ == "__main__":
    main()
