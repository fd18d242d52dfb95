# SPDX-License-Identifier: Apache-2.0
"""Translate German to English: a transformer, and a GRU with attention.

Both read the German sentence into a memory, a vector for each piece of a word, and
write the English one piece after the other, each time asking the memory. The GRU asks
by addition (Bahdanau, Cho and Bengio, 2014), once a step; `attention.png` shows where
it looks. The transformer (Vaswani et al., 2017) asks in every layer.

Words are cut into pieces by byte-pair encoding, so that no word is unknown. Sentences
of like length go into a batch; padding counts for nothing. In training the network sees
the true beginning of the sentence and says what comes next. To translate, it gets its
own words back: greedy search takes the likeliest piece each time, beam search keeps the
five best beginnings. Quality is BLEU (Papineni et al., 2002) as the package sacrebleu
computes it: how many groups of one to four words are those of a human translation, of
whole texts in their usual spelling; 100 is the very same text.

The data are the 29,000 descriptions of photographs of Multi30k. The epoch is chosen by
the loss on its validation part; the test part, that of 2016, is translated once, at the
end. `--recipe cpu` is for two cores: 128 wide, two layers, four epochs. `--recipe full`
is for an accelerator: 256 wide, four layers, thirty epochs. Neither was tuned.
"""

import argparse
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from matplotlib.figure import Figure

import jaxnn as nn

Texts = tuple[list[str], list[str]]  # German, English

BEAMS = 5


class Recipe(NamedTuple):
    """Two networks and how to train them."""

    pieces: int  # of words, in each language; 0 takes whole words
    width: int
    layers: int  # of the transformer's encoder, and of its decoder
    heads: int
    dropout: float
    smoothing: float  # of the labels
    batch_size: int
    buckets: int
    epochs: int
    learning_rate: float  # the highest


FULL = Recipe(8000, 256, 4, 8, 0.3, 0.1, 128, 6, 30, 1e-3)
CPU = Recipe(4000, 128, 2, 4, 0.1, 0.0, 64, 4, 4, 3e-3)
SMALL = Recipe(0, 32, 1, 2, 0.0, 0.0, 32, 1, 8, 1e-2)


class Decoder(nn.Composite):
    """From `(ids [N, T], (memory, lengths))` to logits of each next id `[N, T, V]`.

    The table that reads the ids before is the one that weighs the next.
    """

    embed: nn.Embed
    body: nn.Layer  # on an `Attend`

    def forward(self, run, x):
        ids, (memory, lengths) = x
        vectors = run("embed", ids)
        y = run("body", nn.Attend(vectors, memory, memory_lengths=lengths))
        return self.embed.attend(run.params["embed"], y)


class Translator(nn.Composite):
    """From `((source, lengths), target)`, ids, to logits of each next target id."""

    encoder: nn.Layer  # from (ids [N, S], lengths) to a memory [N, S, M]
    decoder: Decoder

    def forward(self, run, x):
        source, target = x
        memory = run("encoder", source)
        return run("decoder", (target, (memory, source[1])))


def networks(recipe: Recipe, german: int, english: int) -> dict[str, Translator]:
    """Both translators, for vocabularies of that many ids."""
    width, drop = recipe.width, nn.Dropout(recipe.dropout)
    source, target = nn.Embed(german, width), nn.Embed(english, width)
    options = {"dropout": recipe.dropout, "rotary": True}
    encoder = nn.TransformerEncoder(recipe.layers, recipe.heads, **options)
    decoder = nn.TransformerDecoder(recipe.layers, recipe.heads, **options)
    attend = nn.AttentiveRecurrent(nn.GRUCell(2 * width), nn.AdditiveAttention(width))
    body = nn.Sequential(attend=attend, drop=drop, down=nn.Dense(width))
    return {
        "transformer": Translator(
            nn.Sequential(embed=source, body=encoder), Decoder(target, decoder)
        ),
        "GRU": Translator(
            nn.Sequential(embed=source, body=nn.gru(width, bidirectional=True)),
            Decoder(target, body),
        ),
    }


def main(argv: Sequence[str] | None = None) -> dict[str, float]:
    """Train, translate the test part, draw; returns the BLEU of each way."""
    args, recipe = parse(argv)
    title, data = load_data(args.small)
    both = [vocabulary(texts, recipe.pieces) for texts in data["train"]]
    parts = {name: batches(recipe, data[name], both, args.seed) for name in data}
    print(f"{title}: {len(data['train'][0]):,} pairs of sentences to train on")
    result, histories, written = {}, {}, {}
    for name, net in networks(recipe, *map(len, both)).items():
        if args.only not in (None, name):
            continue
        params, histories[name] = learn(net, name, recipe, parts, args)
        for way, beams in (("greedy", 1), (f"beam {BEAMS}", BEAMS)):
            texts = translate(net, params, data["test"][0], both, beams)
            written[f"{name}, {way}"] = texts
            result[f"{name}, {way}"] = bleu(texts, data["test"][1])
            print(f"{name}, {way}: BLEU {result[f'{name}, {way}']:.1f}")
        if name == "GRU":
            pairs = list(zip(data["test"][0], written["GRU, greedy"], strict=True))[:2]
            save_attention(args.out / "attention.png", net, params, pairs, both)
            print(f"wrote {args.out / 'attention.png'}")
    save_samples(args.out / "samples.txt", data["test"], written)
    save_curves(args.out / "learning_curves.png", histories)
    for name in ("samples.txt", "learning_curves.png"):
        print(f"wrote {args.out / name}")
    said = ", ".join(f"{name} {value:.1f}" for name, value in result.items())
    print(f"{title}: BLEU on {len(data['test'][0]):,} test sentences: {said}")
    return result


# ---- from texts to batches ----


def vocabulary(texts: list[str], pieces: int) -> nn.data.text.Vocabulary:
    """Pieces of words, or whole words where `pieces` is 0."""
    if pieces:
        return nn.data.text.byte_pairs(texts, pieces)
    return nn.data.text.words(texts)


def batches(recipe: Recipe, texts: Texts, both: Sequence[Any], seed: int) -> Any:
    """Batches `(((source, lengths), target), next target)`, padded to few lengths."""
    german = [both[0].encode(text, end=True) for text in texts[0]]
    english = [both[1].encode(text, begin=True, end=True) for text in texts[1]]

    def make(source, target):
        inputs = (tuple(source), target.values[:, :-1])
        return inputs, target.values[:, 1:]

    return nn.data.length_buckets(
        (german, english),
        recipe.batch_size,
        seed=seed,
        buckets=recipe.buckets,
        make=make,
    )


# ---- training ----


def learn(
    net: nn.Layer, name: str, recipe: Recipe, parts: dict, args: argparse.Namespace
) -> tuple[Any, nn.History]:
    """The weights after the epoch with the lowest validation loss."""
    loss = partial(  # 0 is padding; each piece that is none counts the same
        nn.losses.softmax_cross_entropy,
        ignore_label=0,
        label_smoothing=recipe.smoothing,
    )
    steps = recipe.epochs * len(parts["train"])
    rate = optax.cosine_onecycle_schedule(steps, recipe.learning_rate, 0.15)
    optimizer = optax.chain(optax.clip_by_global_norm(1.0), optax.adam(rate, b2=0.98))
    best: dict[str, Any] = {"loss": np.inf}

    def keep(epoch: int, state: nn.TrainState, history: nn.History) -> None:
        now = history["val_loss"][-1]
        if now < best["loss"]:
            best.update(loss=now, params=state.params)

    print(f"{name}: {recipe.epochs} epochs of {len(parts['train'])} steps")
    _, history = nn.fit(
        net,
        parts["train"],
        loss=loss,
        optimizer=optimizer,
        epochs=recipe.epochs,
        key=jax.random.key(args.seed),
        validation=parts["val"],
        callbacks=[keep],
        progress=True,
    )
    history.to_csv(args.out / f"{name}.csv")
    return best["params"], history


# ---- translating ----


def translate(
    net: Translator, params: Any, texts: list[str], both: Sequence[Any], beams: int
) -> list[str]:
    """Each text in English, by greedy search for one beam."""
    german, english = both
    ids = [german.encode(text, end=True) for text in texts]
    order = np.argsort([len(one) for one in ids], kind="stable")
    written: dict[int, str] = {}
    for rows in np.array_split(order, max(1, len(order) // 100)):
        # Few lengths, so that few programs are compiled.
        longest = -(-max(len(ids[i]) for i in rows) // 20) * 20
        source = nn.data.pad([ids[i] for i in rows], longest)
        for i, new in zip(
            rows, search(net, params, source, english, beams), strict=True
        ):
            end = np.flatnonzero(new == english.end)
            written[i] = english.decode(new[: end[0]] if end.size else new)
    return [written[i] for i in range(len(texts))]


def search(
    net: Translator, params: Any, source: Any, english: Any, beams: int
) -> np.ndarray:
    """English ids `[N, tokens]` for padded German ones."""
    memory = nn.predict(net.encoder, (params["encoder"], {}), tuple(source))
    begin = np.full((len(memory), 1), english.begin, np.int32)
    tokens = source.values.shape[1] + 20
    variables = params["decoder"], {}
    options = {"end": english.end, "context": (memory, source.lengths)}
    if beams == 1:
        found = nn.decode.greedy(net.decoder, variables, begin, tokens, **options)
    else:
        found, _ = nn.decode.beam(
            net.decoder, variables, begin, tokens, beams=beams, **options
        )
        found = found[:, 0]  # the best one
    return np.asarray(found)


def bleu(written: list[str], true: list[str]) -> float:
    """BLEU from 0 to 100."""
    try:
        import sacrebleu
    except ImportError as error:
        raise ImportError(
            "translate needs sacrebleu: python -m pip install sacrebleu"
        ) from error
    return sacrebleu.corpus_bleu(written, [true]).score


# ---- data ----


def load_data(small: bool) -> tuple[str, dict[str, Texts]]:
    """The title of the data, and its parts."""
    if not small:
        return "Multi30k", nn.data.multi30k()
    print("--small: made-up sentences, a stand-in for Multi30k and much easier")
    rng = np.random.default_rng(0)
    counts = {"train": 1200, "val": 60, "test": 60}
    return "made-up sentences", {name: made_up(rng, n) for name, n in counts.items()}


def made_up(rng: np.random.Generator, count: int) -> Texts:
    """Sentences whose words stand in another order in English."""
    things = {"Hund": "dog", "Mann": "man", "Ball": "ball", "Baum": "tree"}
    deeds = {"gesehen": "seen", "gemalt": "painted", "gekauft": "bought"}
    german, english = [], []
    for _ in range(count):
        one, other = rng.choice([*things], 2)
        deed = rng.choice([*deeds])
        german.append(f"der {one} hat den {other} {deed}.")
        english.append(f"the {things[one]} has {deeds[deed]} the {things[other]}.")
    return german, english


# ---- pictures ----


@partial(jax.jit, static_argnames="net")
def attention_weights(
    net: Translator, params: Any, german: jax.Array, english: jax.Array
) -> jax.Array:
    """Where the GRU looked before it wrote each piece, `[T, S]`."""
    memory, _ = net.encoder.apply(params["encoder"], {}, german[None])
    params, decoder = params["decoder"], net.decoder
    vectors, _ = decoder.embed.apply(params["embed"], {}, english[None, :-1])
    attend, own = decoder.body.children()["attend"], params["body"]["attend"]
    outputs, _ = attend.apply(own, {}, nn.Attend(vectors, memory))
    width = outputs.shape[-1] - memory.shape[-1]  # behind it stands what was seen
    queries = jnp.pad(outputs[:, :-1, :width], ((0, 0), (1, 0), (0, 0)))
    asked = nn.Attend(queries, memory)
    (_, weights), _ = attend.attention.apply(own["attention"], {}, asked)
    return weights[0]


def save_attention(
    path: Path, net: Translator, params: Any, pairs: list, both: Sequence[Any]
) -> None:
    """Draw where the GRU looked while it wrote its own translations."""
    figure = Figure(figsize=(13, 6), layout="constrained")
    for axes, (source, target) in zip(
        figure.subplots(1, len(pairs)), pairs, strict=True
    ):
        german = both[0].encode(source, end=True)
        english = both[1].encode(target, begin=True, end=True)
        weights = attention_weights(net, params, german, english)
        picture = axes.imshow(weights, cmap="Blues", vmin=0, vmax=1, aspect="auto")
        shown = pieces(both[0], german), pieces(both[1], english[1:])
        axes.set_xticks(range(len(shown[0])), shown[0], rotation=60, ha="right")
        axes.set_yticks(range(len(shown[1])), shown[1])
        axes.set(xlabel="pieces read", ylabel="pieces written")
    figure.colorbar(picture, label="weight", shrink=0.6)
    figure.suptitle("Where the GRU looks when it writes a piece")
    figure.savefig(path, dpi=110)


def pieces(words: Any, ids: np.ndarray) -> list[str]:
    """Each id as text."""
    return ["(end)" if i == words.end else words.decode([i]).strip() for i in ids]


def save_samples(path: Path, test: Texts, written: dict[str, list[str]]) -> None:
    """Write some translations to a file; the first ones are printed as well."""
    lines = []
    for i in range(min(20, len(test[0]))):
        lines += [f"German: {test[0][i]}", f"human: {test[1][i]}"]
        lines += [f"{name}: {texts[i]}" for name, texts in written.items()] + [""]
        if i == 2:
            print("\n".join(lines))
    path.write_text("\n".join(lines), encoding="utf-8")


def save_curves(path: Path, histories: dict[str, nn.History]) -> None:
    """Draw the losses after each epoch."""
    figure = Figure(figsize=(8, 4.8), layout="constrained")
    axes = figure.subplots()
    colors = {"transformer": "#d62728", "GRU": "#1f77b4"}
    for name, history in histories.items():
        style = {"color": colors[name], "marker": "o"}
        for part, line, key in (
            ("validation", "-", "val_loss"),
            ("training", "--", "loss"),
        ):
            axes.plot(
                history.epochs, history[key], line, label=f"{name}, {part}", **style
            )
    axes.set(xlabel="epoch", ylabel="loss in nats per piece")
    axes.xaxis.get_major_locator().set_params(integer=True)
    axes.set_title("Learning to translate")
    axes.grid(alpha=0.3)
    axes.legend()
    figure.savefig(path, dpi=110)


def parse(argv: Sequence[str] | None) -> tuple[argparse.Namespace, Recipe]:
    """Read the command line; the recipe that it asks for."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--small", action="store_true", help="made-up sentences: seconds")
    add("--recipe", choices=("cpu", "full"), help="default: by the device at hand")
    add("--only", choices=("transformer", "GRU"), help="default: both")
    add("--epochs", type=int, help="default: the recipe's")
    add("--seed", type=int, default=0, help="default: %(default)s")
    add("--out", type=Path, default=Path("out/translate"), help="folder to write to")
    args = parser.parse_args(argv)
    on_cpu = jax.default_backend() == "cpu"
    recipe = {"cpu": CPU, "full": FULL}[args.recipe or ("cpu" if on_cpu else "full")]
    recipe = SMALL if args.small else recipe
    args.out.mkdir(parents=True, exist_ok=True)
    return args, recipe._replace(epochs=args.epochs or recipe.epochs)


if __name__ == "__main__":
    nn.cache()  # the second run finds its programs compiled
    main()
