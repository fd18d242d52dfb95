# SPDX-License-Identifier: Apache-2.0
"""Is a sentence of a film review for the film or against it? Three ways to read it.

1. A bag of words: the mean of the words' vectors, whatever their order.
2. A convolutional network (Kim, 2014): windows of three, four and five words slide over
   the sentence, and of each of their features the largest value counts.
3. An LSTM in both directions, and again the largest value of each feature.

And all three together, by the mean of what they give as probabilities.

There are 10,662 sentences, as many for as against: few for so many words. So half of
all numbers are dropped in training, some words are replaced by the unknown one, and of
all epochs the one with the lowest validation loss is kept. No vectors from elsewhere
are used. A tenth of the sentences is the test, the same for every seed, and a tenth of
the rest is for validation, by which all options were chosen. On a thousand sentences
1.3 points are one standard error: differences below that mean little.

`words.png` shows some test sentences and how much each word speaks for the film: by how
much the networks' log-odds fall when it is replaced by the unknown word.
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

Part = tuple[Any, np.ndarray]  # sentences and labels

loss = nn.losses.softmax_cross_entropy
metrics = {"accuracy": nn.metrics.accuracy}


class Recipe(NamedTuple):
    """The networks and how to train them."""

    width: int  # of a word's vector
    features: int  # of each window, and of the LSTM in each direction
    windows: tuple[int, ...]  # words in each
    drop: float  # of numbers
    unknown: float  # of words
    decay: float  # of the weights
    epochs: dict[str, int]
    learning_rate: float
    buckets: tuple[int, ...]  # words to which sentences are padded


REAL = Recipe(
    *(64, 64, (3, 4, 5), 0.5, 0.1, 0.3),
    {"bag": 16, "cnn": 8, "lstm": 8},
    *(1e-3, (16, 26, 64)),
)
SMALL = Recipe(
    *(8, 8, (2, 3), 0.1, 0.05, 0.0),
    {"bag": 10, "cnn": 6, "lstm": 6},
    *(2e-2, (16,)),
)


class DropWords(nn.Layer):
    """In training, replaces words at random by the unknown one."""

    rate: float
    unknown: int

    def apply(self, params, state, x, *, key=None, train=False):
        ids, lengths = x
        if train:
            dropped = jax.random.bernoulli(key, self.rate, ids.shape)
            ids = jnp.where(dropped, self.unknown, ids)
        return (ids, lengths), state


def networks(recipe: Recipe, words: nn.data.text.Vocabulary) -> dict[str, nn.Layer]:
    """All networks by name."""

    def reader(*features):
        return nn.Sequential(
            DropWords(recipe.unknown, words.unknown),
            nn.Embed(len(words), recipe.width),
            nn.Dropout(recipe.drop),
            *features,  # over the words, then one number each; all know the lengths
            nn.Dropout(recipe.drop),
            nn.Dense(2),
        )

    windows = {
        f"window{k}": nn.Sequential(nn.Conv(recipe.features, (k,)), jax.nn.relu)
        for k in recipe.windows
    }
    lstm = nn.lstm(recipe.features, bidirectional=True)
    return {
        "bag": reader(nn.GlobalAvgPool()),
        "cnn": reader(nn.Concat(**windows), nn.GlobalMaxPool()),
        "lstm": reader(lstm, nn.GlobalMaxPool()),
    }


def main(argv: Sequence[str] | None = None) -> dict[str, float]:
    """Train, test, draw; returns the test accuracy of each network and of all."""
    args, recipe = parse(argv)
    title, parts = load_data(args.small)
    words = nn.data.text.words(
        parts["training"][0], min_count=2, pattern=r"\S+", specials=("pad", "unknown")
    )
    counts = ", ".join(f"{len(part[0]):,} for {name}" for name, part in parts.items())
    print(f"{title}: sentences: {counts}; {len(words):,} words")
    train = batches(parts["training"], words, recipe, args.seed)
    validation = batches(parts["validation"], words, recipe, None)
    nets, trained, histories = networks(recipe, words), {}, {}
    for name, net in nets.items():
        state, histories[name] = learn(net, name, recipe, train, validation, args.seed)
        histories[name].to_csv(args.out / f"{name}.csv")
        trained[name] = net, state
    texts, labels = parts["test"]
    odds = read(trained, words, recipe, texts)
    result = {name: float(np.mean((o > 0) == labels)) for name, o in odds.items()}
    save_curves(args.out / "learning_curves.png", histories)
    shown = np.linspace(0, len(texts) - 1, 8).astype(int)
    effects = [word_effects(trained, words, recipe, texts[i]) for i in shown]
    save_words(args.out / "words.png", effects, odds["all"][shown], labels[shown])
    for name in ("learning_curves", "words"):
        print(f"wrote {args.out / name}.png")
    said = ", ".join(f"{name} {value:.1%}" for name, value in result.items())
    print(f"{title}: accuracy on {len(texts):,} test sentences: {said}")
    return result


def batches(part: Part, words: Any, recipe: Recipe, seed: int | None) -> Any:
    """Batches of sentences as ids and their labels, padded to few lengths."""
    ids = [words.encode(text) for text in part[0]]
    return nn.data.length_buckets((ids, part[1]), 50, seed=seed, buckets=recipe.buckets)


def learn(
    net: nn.Layer, name: str, recipe: Recipe, train: Any, validation: Any, seed: int
) -> tuple[Any, nn.History]:
    """`(params, state)` after the epoch with the lowest validation loss."""
    best: dict[str, Any] = {"loss": np.inf}

    def keep(epoch: int, state: nn.TrainState, history: nn.History) -> None:
        now = history["val_loss"][-1]
        if now < best["loss"]:
            best.update(loss=now, variables=(state.params, state.state))

    print(f"{name}:")
    _, history = nn.fit(
        net,
        train,
        loss=loss,
        optimizer=optax.adamw(recipe.learning_rate, weight_decay=recipe.decay),
        epochs=recipe.epochs[name],
        key=jax.random.key(seed),
        validation=validation,
        metrics=metrics,
        callbacks=[keep],
        progress=True,
    )
    return best["variables"], history


def read(
    trained: dict[str, Any], words: Any, recipe: Recipe, texts: Sequence[str]
) -> dict[str, np.ndarray]:
    """Log-odds that a sentence is for the film, `[N]`, by each network and by all."""
    ids = [words.encode(text) for text in texts]
    x = tuple(nn.data.pad(ids, recipe.buckets[-1]))
    odds = {}
    for name, (net, variables) in trained.items():
        logits = np.asarray(nn.predict(net, variables, x))
        odds[name] = logits[:, 1] - logits[:, 0]
    chance = np.mean([1 / (1 + np.exp(-o)) for o in odds.values()], axis=0)
    return {**odds, "all": np.log(chance) - np.log1p(-chance)}


def word_effects(
    trained: dict[str, Any], words: Any, recipe: Recipe, text: str
) -> list[tuple[str, float]]:
    """Each word, and by how much the log-odds of all fall when it becomes unknown."""
    split = text.split()
    changed = [" ".join([*split[:i], "\0", *split[i + 1 :]]) for i in range(len(split))]
    odds = read(trained, words, recipe, [text, *changed])["all"]
    return list(zip(split, odds[0] - odds[1:], strict=True))


# ---- data ----


def load_data(small: bool) -> tuple[str, dict[str, Part]]:
    """The title of the data; sentences to train on, to choose by and to test on."""
    if small:
        print("--small: made-up sentences, a stand-in for reviews and much easier")
    texts, labels = made_up(1500) if small else nn.data.rt_polarity()
    rest, test = nn.data.split((np.array(texts), labels), 0.1, seed=0, stratify=True)
    train, validation = nn.data.split(rest, 0.1, seed=1, stratify=True)
    title = "made-up reviews" if small else "rt-polarity"
    return title, {"training": train, "validation": validation, "test": test}


def made_up(count: int) -> tuple[list[str], np.ndarray]:
    """Sentences in which "not" turns a word's meaning around: a bag cannot tell."""
    rng = np.random.default_rng(0)
    texts, labels = [], rng.integers(0, 2, count, dtype=np.int32)
    good, bad = ["witty", "moving", "fresh"], ["dull", "flat", "silly"]
    for label in labels:
        turned = rng.random() < 0.5
        first = rng.choice(good if label != turned else bad)
        other = rng.choice(bad if label != turned else good)
        text = f"the {rng.choice(['plot', 'cast'])} is {'not ' * turned}{first} "
        texts.append(text + f"and {'' if turned else 'not '}{other}")
    return texts, labels


# ---- pictures ----


def save_curves(path: Path, histories: dict[str, nn.History]) -> None:
    """Draw the loss and the accuracy of each network after each epoch."""
    figure = Figure(figsize=(11, 4.4), layout="constrained")
    colors = {"bag": "#2ca02c", "cnn": "#1f77b4", "lstm": "#d62728"}
    for axes, measure in zip(figure.subplots(1, 2), ("loss", "accuracy"), strict=True):
        for name, history in histories.items():
            style = {"color": colors[name], "marker": "o", "markersize": 4}
            axes.plot(history.epochs, history[f"val_{measure}"], label=name, **style)
            axes.plot(history.epochs, history[measure], "--", alpha=0.5, **style)
        axes.set(xlabel="epoch", title=measure)
        axes.xaxis.get_major_locator().set_params(integer=True)
        axes.grid(alpha=0.3)
        axes.legend()
    figure.suptitle(
        "Solid: validation. Dashed: training, with words and numbers dropped"
    )
    figure.savefig(path, dpi=110)


def save_words(
    path: Path, effects: Sequence[list], odds: np.ndarray, labels: np.ndarray
) -> None:
    """Draw sentences, each word on the color of its effect: blue is for the film."""
    figure = Figure()
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set_axis_off()
    title = "How much each word speaks for the film (blue) or against it (orange)"
    axes.text(1, 0.8, title, fontsize=14, weight="bold")
    axes.text(149, 0.8, "left: what the networks say of the film", ha="right")
    strongest = max(abs(effect) for words in effects for _, effect in words)
    y = 2.2
    for words, odd, label in zip(effects, odds, labels, strict=True):
        verdict = "for" if odd > 0 else "against"
        verdict += ", right" if (odd > 0) == label else ", WRONG"
        axes.text(1, y, verdict, fontsize=10, weight="bold")
        x = 19.0
        for word, effect in words:
            if x + len(word) > 149:  # letters in a line
                x, y = 19.0, y + 1
            color = (0.34, 0.71, 0.91) if effect > 0 else (0.9, 0.5, 0.0)
            shade = (*color, (abs(effect) / strongest) ** 0.5)
            box = {"facecolor": shade, "edgecolor": "none", "pad": 1.5}
            axes.text(x, y, word, fontsize=10, family="monospace", bbox=box)
            x += len(word) + 1.2
        y += 1.5
    axes.set(xlim=(0, 150), ylim=(y, 0))
    figure.set_size_inches(13, 0.26 * y)
    figure.savefig(path, dpi=110)


def parse(argv: Sequence[str] | None) -> tuple[argparse.Namespace, Recipe]:
    """Read the command line; the recipe that it asks for."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--small", action="store_true", help="made-up sentences: seconds")
    add("--epochs", type=int, help="of each network; default: the recipe's")
    add("--seed", type=int, default=0, help="default: %(default)s")
    add("--out", type=Path, default=Path("out/sentiment"), help="folder to write to")
    args = parser.parse_args(argv)
    recipe = SMALL if args.small else REAL
    if args.epochs:
        recipe = recipe._replace(epochs=dict.fromkeys(recipe.epochs, args.epochs))
    args.out.mkdir(parents=True, exist_ok=True)
    return args, recipe


if __name__ == "__main__":
    nn.cache()  # the second run finds its programs compiled
    main()
