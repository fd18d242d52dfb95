# SPDX-License-Identifier: Apache-2.0
"""Any function with one wide hidden layer; with fewer parameters if it is deep.

One hidden layer with enough neurons comes as close as one likes to any continuous
function on a closed interval (Cybenko, 1989; Hornik, 1991). The first part measures it:
networks of 2 to 32 hidden neurons fit sin(3πx) + x/2 on [−1, 1]. The theorem says that
good weights exist, not that descent finds them: the error stops falling where it is
training, and no longer the number of neurons, that limits it.

That a shallow network can does not mean that it should. The second part compares
shallow-fat (one hidden layer) with deep-thin (four) at equal numbers of parameters, on
rings around the origin, cos(3π |x|), x in the plane. Rings are a function of a
function, the cosine of the radius, and a deep network can compute one after the other.

Each network is trained from several seeds and with several learning rates, all of them
in one compiled program: `jax.vmap` over `nn.train_epoch`. The error is the root mean
square on points that were not trained on; that of a network is the median over seeds at
its best rate. What is printed is what was measured; by theory the advantage of depth
depends on the function, and for some there is none.
"""

import argparse
from functools import partial
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax
from matplotlib.figure import Figure

import jaxnn as nn

RATES = jnp.array([0.01, 0.03, 0.1])


def wave(x):
    """A continuous function of one number, [N, 1] to [N, 1]."""
    return jnp.sin(3 * jnp.pi * x) + x / 2


def rings(x):
    """A continuous function of the plane, [N, 2] to [N, 1]."""
    return jnp.cos(3 * jnp.pi * jnp.linalg.norm(x, axis=1, keepdims=True))


def mlp(depth, width):
    """A network with `depth` hidden layers of `width` neurons."""
    # Large first weights spread the bends of tanh over the domain. The shallow network
    # gains most by it: with the usual ones the comparison would be unfair to it.
    spread = nn.initializers.normal(2.0)
    first = nn.Dense(width, w_init=spread, b_init=spread)
    hidden = [nn.Dense(width), jnp.tanh] * (depth - 1)
    return nn.Sequential(first, jnp.tanh, *hidden, nn.Dense(1))


def width_for(depth, inputs, size):
    """The width at which the number of parameters is nearest to `size`."""
    sizes = {
        w: (inputs + 2) * w + (depth - 1) * (w * w + w) + 1 for w in range(1, size)
    }
    return min(sizes, key=lambda width: abs(sizes[width] - size))


def train(net, f, x, epochs, rate, key):
    """Parameters after training on f(x), and the error on points that are new."""
    schedule = optax.cosine_decay_schedule(1.0, epochs * -(-len(x) // 64))
    optimizer = optax.adam(lambda step: rate * schedule(step))
    step = nn.train_step(net, nn.losses.mean_squared_error, optimizer)
    state = nn.train_state(net, optimizer, x, key=key)

    def epoch(state, _):
        return nn.train_epoch(step, state, (x, f(x)), batch_size=64)

    state, _ = jax.lax.scan(epoch, state, None, length=epochs)
    new = jax.random.uniform(jax.random.key(1), (2000, x.shape[1]), minval=-1.0)
    error = net.apply(state.params, {}, new)[0] - f(new)
    return state.params, jnp.sqrt(jnp.square(error).mean())


def sweep(net, f, x, epochs, keys):
    """All rates and seeds in one program; parameters and errors at the best rate."""
    run = jax.vmap(partial(train, net, f, x, epochs), in_axes=(None, 0))  # seeds
    run = jax.vmap(run, in_axes=(0, None))  # rates
    params, errors = jax.jit(run)(RATES, keys)
    best = int(jnp.median(errors, axis=1).argmin())
    errors = np.asarray(errors[best])
    middle = int(np.argsort(errors)[len(errors) // 2])  # the picture shows this seed
    return jax.tree.map(lambda a: a[best, middle], params), errors


def measure(nets, f, x, epochs, keys):
    """Train each network; from its name to (network, size, parameters, errors)."""
    found = {}
    for name, net in nets.items():
        params, errors = sweep(net, f, x, epochs, keys)
        size = nn.trees.count(params)
        found[name] = (net, size, params, errors)
        spread = f"{errors.min():.4f} to {errors.max():.4f}"
        print(
            f"  {name:24} {size:4} parameters: error {np.median(errors):.4f} ({spread})"
        )
    return found


def draw_wave(found, path):
    """Fits of one hidden layer, narrow to wide."""
    figure = Figure(figsize=(13, 3.8), layout="constrained")
    x = jnp.linspace(-1, 1, 500)[:, None]
    panels = figure.subplots(1, len(found), sharey=True)
    for axes, (name, (net, _, params, errors)) in zip(
        panels, found.items(), strict=True
    ):
        axes.plot(x, wave(x), color="black", label="function", linewidth=1)
        axes.plot(x, nn.predict(net, (params, {}), x), label="network", linewidth=2)
        axes.set(title=f"{name}\nerror {np.median(errors):.3f}", xlabel="x")
        axes.grid(alpha=0.3)
    panels[0].set(ylabel="f(x)")
    panels[0].legend(loc="lower right")
    figure.savefig(path, dpi=120)


def draw_rings(shallow, deep, path):
    """Error against parameters, and the fits at the same size side by side."""
    figure = Figure(figsize=(14, 4), layout="constrained")
    panels = figure.subplots(1, 4, width_ratios=(1.5, 1, 1, 1))
    for kind, found, marker in (
        ("shallow-fat", shallow, "o"),
        ("deep-thin", deep, "s"),
    ):
        sizes = [size for _, size, _, _ in found.values()]
        errors = np.array([errors for *_, errors in found.values()])
        middle = np.median(errors, axis=1)
        bars = np.abs(np.stack([errors.min(1), errors.max(1)]) - middle)
        panels[0].errorbar(sizes, middle, bars, marker=marker, capsize=4, label=kind)
    panels[0].set(xscale="log", yscale="log", xlabel="parameters")
    panels[0].set(ylabel="root mean square error", title="median, best and worst seed")
    every = [size for found in (shallow, deep) for _, size, _, _ in found.values()]
    panels[0].set_xlim(0.75 * min(every), 1.35 * max(every))
    shown = [
        n for n in (50, 100, 200, 400, 800) if min(every) < 1.3 * n < 2 * max(every)
    ]
    panels[0].set_xticks(shown, labels=map(str, shown))
    panels[0].set_yticks(ticks := [0.02, 0.05, 0.1, 0.2, 0.5], labels=map(str, ticks))
    panels[0].minorticks_off()
    panels[0].grid(alpha=0.3)
    panels[0].legend()
    ticks = jnp.linspace(-1, 1, 120)
    grid = jnp.stack(jnp.meshgrid(ticks, ticks), -1).reshape(-1, 2)
    images = {"rings, the function": rings(grid)}
    for found in (shallow, deep):
        name = list(found)[len(found) // 2]
        net, size, params, _ = found[name]
        title = f"{name}\n{size} parameters"
        images[title] = nn.predict(net, (params, {}), grid)
    ends = {"vmin": -1, "vmax": 1, "extent": (-1, 1, -1, 1), "origin": "lower"}
    for axes, (title, image) in zip(panels[1:], images.items(), strict=True):
        drawn = axes.imshow(image.reshape(120, 120), cmap="RdBu_r", **ends)
        axes.set(title=title, xlabel="x1", xticks=[-1, 0, 1], yticks=[-1, 0, 1])
    panels[1].set_ylabel("x2")
    beside = panels[-1].inset_axes((1.06, 0, 0.06, 1))  # as tall as the picture
    figure.colorbar(drawn, cax=beside, label="output", ticks=[-1, -0.5, 0, 0.5, 1])
    figure.savefig(path, dpi=120)


def main(argv=None) -> dict[str, list[float]]:
    """Run the example; gives sizes and median errors."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--small", action="store_true", help="fewer sizes, seeds, epochs"
    )
    parser.add_argument("--out", type=Path, default=Path("out/universality"))
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args(argv)
    args.out.mkdir(parents=True, exist_ok=True)
    keys = jax.random.split(jax.random.key(args.seed), 2 if args.small else 5)

    print("one hidden layer on a wave:")
    widths, epochs = ((2, 8), 200) if args.small else ((2, 4, 8, 32), 1000)
    nets = {f"{width} hidden neurons": mlp(1, width) for width in widths}
    fits = measure(nets, wave, jnp.linspace(-1, 1, 256)[:, None], epochs, keys)
    draw_wave(fits, args.out / "wave.png")

    print("shallow-fat and deep-thin on rings:")
    sizes, epochs = ((100,), 30) if args.small else ((50, 100, 200, 400, 800), 300)
    x = jax.random.uniform(jax.random.key(0), (1024, 2), minval=-1.0)
    found = {}
    for depth in (1, 4):
        layers = [(depth, width_for(depth, 2, size)) for size in sizes]
        nets = {f"{d} x {w} hidden neurons": mlp(d, w) for d, w in layers}
        found[depth] = measure(nets, rings, x, epochs, keys)
    draw_rings(found[1], found[4], args.out / "rings.png")

    print(args.out / "wave.png", args.out / "rings.png", sep="\n")
    named = {"wave": fits, "shallow": found[1], "deep": found[4]}
    numbers = {
        name: [float(np.median(e)) for *_, e in f.values()] for name, f in named.items()
    }
    numbers |= {
        f"{name}_sizes": [n for _, n, _, _ in f.values()] for name, f in named.items()
    }
    print(conclusion(numbers))
    return numbers


def conclusion(numbers):
    """Which number of parameters the same error takes, shallow and deep."""
    best = min(numbers["shallow"])
    size = numbers["shallow_sizes"][numbers["shallow"].index(best)]
    pairs = zip(numbers["deep_sizes"], numbers["deep"], strict=True)
    enough = [size for size, error in pairs if error <= best]
    took = f"with {enough[0]}" if enough else "with none of the sizes tried"
    return (
        f"the error {best:.3f} that shallow-fat reached with {size} parameters, "
        f"deep-thin reached {took}"
    )


if __name__ == "__main__":
    main()
