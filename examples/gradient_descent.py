# SPDX-License-Identifier: Apache-2.0
"""Gradient descent, θ ← θ − α ∂L/∂θ, and what goes wrong with it: five pictures.

1. Learning rate α: too small and it does not arrive, too large and it flies away. On a
   bowl the limit is 2 / λ, where λ is the largest eigenvalue of the Hessian.
2. Initial values: different starts reach different minima, and some are only local.
3. Batches: full batch, mini-batch and stochastic (one example), one epoch being every
   example once. Smaller batches take more, cheaper and noisier steps.
4. Momentum, the heavy ball: v ← βv + ∂L/∂θ, θ ← θ − αv gathers speed along a narrow
   valley in which plain steps creep (Polyak, 1964).
5. Vanishing gradient: σ' = σ(1 − σ) is at most 1/4, so each sigmoid layer shrinks what
   comes back through it; the first layers of a deep network hardly learn. ReLU, whose
   slope is 1 where it is on, does not shrink it.

Pictures 1 to 4 show networks with two parameters, w and b, so that the whole loss
surface can be drawn. A path is one compiled `jax.lax.scan` of `nn.train_step`.
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

line = nn.Sequential(nn.Dense(1))  # wx + b: its loss is a bowl
wave = nn.Sequential(nn.Dense(1), jnp.sin)  # sin(wx + b): its loss has many minima
loss = nn.losses.mean_squared_error
START = jnp.array([-1.0, 4.0])


def line_data(key, examples=32):
    """y = 2x − 1 with noise."""
    x = jnp.linspace(0, 2, examples)[:, None]
    return x, 2 * x - 1 + 0.3 * jax.random.normal(key, x.shape)


def params_at(point):
    """The parameters of either network from a point (w, b)."""
    return {"dense_1": {"w": point[:1, None], "b": point[1:]}}


def loss_at(net, data, point):
    """The loss over all data at a point (w, b)."""
    x, y = data
    return loss(net.apply(params_at(point), {}, x)[0], y).mean()


@partial(jax.jit, static_argnames="net")
def losses_at(points, data, *, net):
    """The losses over all data at many points [..., 2]."""
    at = jnp.vectorize(partial(loss_at, net, data), signature="(k)->()")
    return at(points)


@partial(jax.jit, static_argnames=("size", "epochs"))
def batches(data, size, epochs, key):
    """Mini-batches [steps, size, 1], each epoch in an order of its own."""
    order = partial(nn.train.epoch_order, key, examples=len(data[0]))
    rows = jax.vmap(order)(jnp.arange(epochs)).reshape(-1, size)
    return jax.tree.map(lambda a: a[rows], data)


@partial(jax.jit, static_argnames=("net", "momentum"))
def path(start, batches, rate, *, net, momentum=None):
    """The points (w, b) that gradient descent visits, [steps + 1, 2]."""
    optimizer = optax.sgd(rate, momentum)
    step, params = nn.train_step(net, loss, optimizer), params_at(start)
    state = nn.TrainState(
        params, {}, optimizer.init(params), jnp.int32(0), jax.random.key(0)
    )

    def advance(state, batch):
        state, _ = step(state, batch)
        return state, point_of(state.params)

    _, points = jax.lax.scan(advance, state, batches)
    return jnp.concatenate([start[None], points])


def point_of(params):
    """The point (w, b) of parameters."""
    return jnp.concatenate([params["dense_1"]["w"][0], params["dense_1"]["b"]])


def draw_surface(axes, net, data, title, reach):
    """Contours of the loss; `reach` is (least w, most w, least b, most b)."""
    w, b = np.linspace(reach[0], reach[1], 120), np.linspace(reach[2], reach[3], 120)
    grid = np.stack(np.meshgrid(w, b), -1).astype(np.float32)
    heights = losses_at(grid, data, net=net)
    levels = np.linspace(heights.min() ** 0.5, heights.max() ** 0.5, 20) ** 2
    axes.contour(w, b, heights, levels, colors="0.75", linewidths=0.8)
    axes.set(title=title, xlabel="w", ylabel="b", xlim=reach[:2], ylim=reach[2:])


def draw_path(axes, points, color="tab:red", name="descent"):
    """The points that a descent visited."""
    points = np.asarray(points)
    axes.plot(*points.T, ".-", color=color, markersize=4, linewidth=0.8, label=name)
    if "start" not in axes.get_legend_handles_labels()[1]:
        axes.plot(*points[0], "o", color="tab:blue", label="start", zorder=3)
    axes.legend(loc="upper right", fontsize=9)


def learning_rates(data, steps, file):
    """The same start with four rates; gives the loss at the end of each."""
    hessian = jax.hessian(partial(loss_at, line, data))(START)
    limit = 2 / float(jnp.linalg.eigvalsh(hessian)[-1])
    print(f"learning rate: the limit 2/λ is {limit:.3f}")
    figure = Figure(figsize=(14, 4), layout="constrained")
    full = batches(data, len(data[0]), steps, jax.random.key(0))
    best = np.polyfit(data[0][:, 0], data[1][:, 0], 1)  # a line, by least squares
    ends = {}
    for axes, (name, share) in zip(
        figure.subplots(1, 4),
        {"too small": 0.01, "right": 0.7, "large": 0.98, "too large": 1.05}.items(),
        strict=True,
    ):
        rate = share * limit
        points = path(START, full, rate, net=line)
        ends[name] = float(losses_at(points[-1], data, net=line))
        title = f"{name}: rate {rate:.3f}\nloss {ends[name]:.3g} after {steps} steps"
        draw_surface(axes, line, data, title, (-3, 6, -6, 6))
        draw_path(axes, points)
        axes.plot(*best, "k*", markersize=11, label="least loss", zorder=3)
        axes.legend(loc="upper right", fontsize=9)
        print(f"  {name:9} {rate:.3f}: loss {ends[name]:.4g}")
    figure.savefig(file, dpi=120)
    return ends


def starts(steps, key, file):
    """Many starts at once: `jax.vmap` over one compiled scan."""
    x = jnp.linspace(-2, 2, 32)[:, None]
    data = x, jnp.sin(3 * x + 0.5)
    full = batches(data, len(x), steps, key)
    low, high = jnp.array([-6.0, -3.0]), jnp.array([6.0, 3.0])
    first = jax.random.uniform(key, (60, 2)) * (high - low)[None] + low[None]
    descend = partial(path, batches=full, rate=0.05, net=wave)
    points = np.asarray(jax.vmap(descend)(first))
    ends = np.asarray(losses_at(points[:, -1], data, net=wave))
    good = ends < 0.01
    print(f"starts: {good.sum()} of 60 reach the loss 0, the others stay at", end=" ")
    print(", ".join(f"{e:.2f}" for e in np.unique(ends[~good].round(2))))
    figure = Figure(figsize=(9, 6), layout="constrained")
    axes = figure.subplots()
    title = (
        f"60 starts, {good.sum()} reach loss 0 (a fit of sin(3x + 0.5) by sin(wx + b))"
    )
    draw_surface(axes, wave, data, title, (-8, 8, -4, 5))
    for end, color, label in (
        (good, "tab:green", "ends at a global minimum"),
        (~good, "tab:red", "ends at a local minimum"),
    ):
        for way in points[end]:
            axes.plot(*way.T, color=color, linewidth=1, alpha=0.6)
        axes.plot(*points[end][:, -1].T, "*", color=color, markersize=12, label=label)
    axes.plot(*first.T, ".", color="tab:blue", label="start")
    axes.legend(loc="upper center", ncols=3)
    figure.savefig(file, dpi=120)
    return int(good.sum())


def batch_sizes(data, epochs, key, file):
    """Full batch, mini-batch and stochastic: as many epochs, other numbers of steps."""
    figure = Figure(figsize=(13.5, 4.4), layout="constrained")
    ends = {}
    for axes, (name, size) in zip(
        figure.subplots(1, 3),
        {"full batch": len(data[0]), "mini-batch of 8": 8, "stochastic": 1}.items(),
        strict=True,
    ):
        cut = batches(data, size, epochs, key)
        points = path(START, cut, 0.05, net=line)
        ends[name] = float(losses_at(points[-1], data, net=line))
        title = (
            f"{name}: {len(points) - 1} steps in {epochs} epochs\nloss {ends[name]:.3f}"
        )
        draw_surface(axes, line, data, title, (-2, 4, -3, 5))
        draw_path(axes, points)
        print(f"batches: {name:15} {len(points) - 1:4} steps, loss {ends[name]:.4f}")
    figure.savefig(file, dpi=120)
    return ends


def momentum(data, steps, file):
    """Plain descent and the heavy ball in a narrow valley."""
    figure = Figure(figsize=(12, 4.6), layout="constrained")
    left, right = figure.subplots(1, 2)
    draw_surface(left, line, data, "rate 0.05, the same start", (-2, 4, -3, 5))
    full = batches(data, len(data[0]), steps, jax.random.key(0))
    ends = {}
    for name, beta, color in (
        ("plain", None, "tab:red"),
        ("momentum 0.8", 0.8, "tab:green"),
    ):
        points = path(START, full, 0.05, net=line, momentum=beta)
        losses = losses_at(points, data, net=line)
        draw_path(left, points, color, name)
        right.semilogy(losses, color=color, label=name)
        ends[name] = float(losses[-1])
        print(f"momentum: {name:12} loss {ends[name]:.4f} after {steps} steps")
    right.set(title="loss", xlabel="step", ylabel="mean squared error")
    right.grid(alpha=0.3, which="both")
    right.legend()
    figure.savefig(file, dpi=120)
    return ends


def gradient_norms(activation, w_init, depth, key):
    """The norm of ∂L/∂W of each layer of a deep network at its start, [depth + 1]."""
    (images, labels), _ = nn.data.digits()
    x, t = images[:256], labels[:256]
    block = nn.Sequential(dense=nn.Dense(64, w_init=w_init), activation=activation)
    blocks, out = nn.Repeat(block, depth), nn.Dense(10, w_init=w_init)
    net = nn.Sequential(nn.Flatten(), blocks=blocks, out=out)
    params, _ = net.init(key, x)

    def total(params):
        return nn.losses.softmax_cross_entropy(net.apply(params, {}, x)[0], t).mean()

    gradients = jax.grad(total)(params)
    hidden = gradients["blocks"]["block"]["dense"]["w"]  # [depth, 64, 64]
    weights = [*hidden, gradients["out"]["w"]]
    return jnp.stack([jnp.linalg.norm(w) for w in weights])


def vanishing(depth, seeds, key, file):
    """Gradient norms by layer, the median over seeds, sigmoid against ReLU."""
    figure = Figure(figsize=(9, 4.4), layout="constrained")
    axes = figure.subplots()
    ratios, keys = {}, jax.random.split(key, seeds)
    for side, name, activation, w_init in (
        (-0.2, "sigmoid", jax.nn.sigmoid, nn.initializers.glorot_uniform()),
        (0.2, "ReLU", jax.nn.relu, nn.initializers.he_normal()),
    ):
        norms = jax.jit(jax.vmap(partial(gradient_norms, activation, w_init, depth)))
        middle = np.median(norms(keys), axis=0)
        axes.bar(np.arange(1, depth + 2) + side, middle, 0.4, label=name)
        ratios[name] = float(middle[0] / middle[-1])
        print(f"vanishing gradient: {name:7} first / last layer {ratios[name]:.2g}")
    axes.set(yscale="log", xlabel="layer", ylabel="norm of ∂L/∂W")
    axes.set(title=f"gradient by layer at the start, median of {seeds} networks")
    axes.set(xticks=range(1, depth + 2))
    axes.grid(alpha=0.3, axis="y")
    axes.set_ylim(top=30)  # room for the legend
    axes.legend(loc="upper center", ncols=2)
    figure.savefig(file, dpi=120)
    return ratios


def main(argv=None) -> dict[str, float]:
    """Run the example; gives the final numbers."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--small", action="store_true", help="fewer steps and layers")
    parser.add_argument("--out", type=Path, default=Path("out/gradient_descent"))
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args(argv)
    args.out.mkdir(parents=True, exist_ok=True)
    key, out, small = jax.random.key(args.seed), args.out, args.small

    data = line_data(key)
    rates = learning_rates(data, 40, out / "learning_rates.png")
    good = starts(200 if small else 2000, key, out / "starts.png")
    sizes = batch_sizes(data, 5 if small else 20, key, out / "batches.png")
    balls = momentum(data, 40, out / "momentum.png")
    ratios = vanishing(*((5, 2) if small else (10, 20)), key, out / "vanishing.png")
    for picture in sorted(out.glob("*.png")):
        print(picture)
    print(
        f"descent from {START.tolist()} with the right learning rate ends at "
        f"{rates['right']:.3f}, too small at {rates['too small']:.3f}, too large at "
        f"{rates['too large']:.3g}; {good} of 60 starts find a global minimum"
    )
    return {**rates, **sizes, **balls, **ratios, "good_starts": good}


if __name__ == "__main__":
    main()
