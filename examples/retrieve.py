# SPDX-License-Identifier: Apache-2.0
"""Find a picture by words: two networks that meet, as CLIP in small.

One network turns a picture into a vector, another a text; they learn together that a
picture and its name lie close, and all other pictures and names of the batch further
away (Radford et al., 2021). The pictures are the emoji of `caption.py`, and so is the
split: of each name in five skin tones one is left out, so that "woman astronaut, dark
skin tone" has to be put together from words seen apart.

The test asks for each of these names and ranks all 3,511 pictures, those of training
among them: how often is one of that name the first (recall at 1), and among the first
ten (recall at 10)? Network and schedule were not searched.

The data are looked for in $JAXNN_DATA, else downloaded once. `--small` is for made
pictures: shapes in colors.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from caption import Split, changed, combinations, encoded, load, part_of, seer
from matplotlib.figure import Figure

import jaxnn as nn


class Recipe(NamedTuple):
    """Two networks and how to train them."""

    width: int
    size: int  # of the vectors
    batch_size: int
    epochs: int
    learning_rate: float


REAL = Recipe(24, 128, 256, 60, 2e-3)
SMALL = Recipe(8, 16, 36, 40, 1e-2)


class Towers(nn.Composite):
    """From `(images, (ids, lengths))` to vectors of both, `[N, D]` each.

    Args:
        pictures, words: the two networks.
        scale: the logarithm of 1 / temperature, learned.
    """

    pictures: nn.Layer
    words: nn.Layer
    scale: nn.Layer = nn.Parameter((), w_init=nn.initializers.constant(2.66))

    def forward(self, run, x):
        images, texts = x
        own = run("pictures", images), run("words", texts)
        return *own, run("scale")


def towers(words: int, recipe: Recipe) -> Towers:
    """Both networks for a vocabulary of so many words."""
    width, size = recipe.width, recipe.size
    pictures = nn.Sequential(
        body=seer(width),
        pool=nn.GlobalAvgPool(),
        drop=nn.Dropout(0.2),
        out=nn.Dense(size),
    )
    texts = nn.Sequential(
        embed=nn.Embed(words, 2 * size),
        drop=nn.Dropout(0.2),
        body=nn.gru(2 * size),
        last=nn.LastStep(),
        out=nn.Dense(size),
    )
    return Towers(pictures, texts)


def objective(run: Any, batch: tuple) -> jax.Array:
    """How surprising it is which picture belongs to which text, both ways."""
    images, ids, lengths = batch
    images, _ = changed(run.key, (images, ids))
    a, b, scale = run((images, (ids, lengths)))
    # (as in CLIP the temperature goes down to 1/100 at most)
    temperature = jnp.exp(-jnp.minimum(scale, 4.6))
    return nn.losses.info_nce(a, b, temperature)


def main(argv: Sequence[str] | None = None) -> dict[str, float]:
    """Train, ask for the names left out, draw; returns the recalls."""
    args = parse(argv)
    recipe = SMALL if args.small else REAL
    recipe = recipe._replace(epochs=args.epochs or recipe.epochs)
    images, captions = load(args.small)
    vocabulary = nn.data.text.words(captions)
    ids = encoded(vocabulary, captions)
    lengths = (ids != 0).sum(1).astype(np.int32)
    split = combinations(captions, args.seed)
    print(f"{len(split.train):,} pictures to train on, {len(vocabulary):,} words")
    net = towers(len(vocabulary), recipe)
    state, history = learn(net, (images, ids, lengths), split, recipe, args.seed)
    history.plot(args.out / "learning_curves.png")
    pictures = unit(nn.predict(net.pictures, part_of(state, "pictures"), images))
    texts = unit(nn.predict(net.words, part_of(state, "words"), (ids, lengths)))
    result: dict[str, float] = {}
    for name in ("train", "held", "test"):
        ranks = rank(texts, pictures, captions, getattr(split, name))
        for k in (1, 10):
            result[f"{name}, {k}"] = float((ranks < k).mean())
        print(
            f"{name}: {len(ranks)} names asked among {len(images):,} pictures: recall "
            f"at 1 {result[f'{name}, 1']:.1%}, at 10 {result[f'{name}, 10']:.1%}"
        )
    draw(args.out / "found.png", images, captions, texts @ pictures.T, split)
    for name in ("learning_curves", "found"):
        print(f"wrote {args.out / name}.png")
    print(
        f"unseen combinations found by their names: recall at 1 "
        f"{result['test, 1']:.1%}, at 10 {result['test, 10']:.1%}"
    )
    return result


def learn(
    net: nn.Layer, data: tuple, split: Split, recipe: Recipe, seed: int
) -> tuple[nn.TrainState, nn.History]:
    """Train both networks together."""
    steps = recipe.epochs * -(-len(split.train) // recipe.batch_size)
    rate = optax.cosine_onecycle_schedule(steps, recipe.learning_rate, 0.15)
    adamw = optax.adamw(rate, weight_decay=1e-2)
    images, ids, lengths = data
    state = nn.train_state(
        net, adamw, (images[:1], (ids[:1], lengths[:1])), key=jax.random.key(seed)
    )
    return nn.fit(
        nn.train_step(net, objective=objective, optimizer=adamw),
        tuple(a[split.train] for a in data),
        state=state,
        epochs=recipe.epochs,
        batch_size=recipe.batch_size,
        progress=True,
    )


def unit(vectors: Any) -> np.ndarray:
    """Vectors with a length of 1."""
    vectors = np.asarray(vectors)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def rank(
    texts: np.ndarray, pictures: np.ndarray, captions: Sequence[str], rows: np.ndarray
) -> np.ndarray:
    """For each row's text, how many pictures come before the first of that name."""
    likeness = texts[rows] @ pictures.T
    names = np.array(captions)
    right = names[rows][:, None] == names[None]
    best = np.where(right, likeness, -np.inf).max(1, keepdims=True)
    return (likeness > best).sum(1)


def draw(
    path: Path,
    images: np.ndarray,
    captions: Sequence[str],
    likeness: np.ndarray,
    split: Split,
) -> None:
    """Queries for combinations never seen, and the six pictures found for each."""
    rows = split.test[np.linspace(0, len(split.test) - 1, 6).astype(int)]
    figure = Figure(figsize=(10, 10), layout="constrained")
    for line, i in zip(figure.subplots(len(rows), 7), rows, strict=True):
        line[0].text(
            1, 0.5, captions[i].replace(", ", ",\n"), ha="right", va="center", size=9
        )
        line[0].axis("off")
        for axes, found in zip(line[1:], np.argsort(-likeness[i])[:6], strict=True):
            axes.imshow(images[found])
            axes.set(xticks=[], yticks=[])
            right = captions[found] == captions[i]
            for side in axes.spines.values():
                side.set(color="tab:green" if right else "0.85", linewidth=3)
    figure.suptitle("Asked for names never seen, and found first (right: green)")
    figure.savefig(path, dpi=90)


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    """The arguments of the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add = parser.add_argument
    add("--epochs", type=int, help=f"default {REAL.epochs}")
    add("--seed", type=int, default=0)
    add("--out", type=Path, default=Path("out/retrieve"))
    add("--small", action="store_true", help="seconds: made pictures of shapes")
    args = parser.parse_args(argv)
    args.out.mkdir(parents=True, exist_ok=True)
    return args


if __name__ == "__main__":
    main()
