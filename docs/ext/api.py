# SPDX-License-Identifier: Apache-2.0
"""The pages of the API, from the public names and their docstrings."""

import ast
import inspect
import textwrap
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jaxnn as nn
from ext.docstrings import escaped, markdown


@dataclass(frozen=True)
class Page:
    """One page: its title, and its names, in order, as users write them after `nn.`."""

    slug: str
    title: str
    names: str = ""
    #: All names of this module that no page has listed.
    module: str = ""
    intro: str = ""


PAGES = (
    Page(
        "training",
        "Training",
        "fit evaluate predict train_state TrainState train_step TrainStep train_epoch"
        " train.run train.epoch_order History NonFiniteError EarlyStopping Plateau"
        " freeze_statistics find_learning_rate RangeTest cache"
        " keep_memory",
        intro="From one call to its parts: `nn.fit` trains, `nn.train_step` is one step"
        " of it, a pure function.",
    ),
    Page(
        "callbacks",
        "Callbacks",
        module="callbacks",
        intro="What happens between epochs: checkpoints, trackers, TensorBoard.",
    ),
    Page(
        "players",
        "Several players, many networks",
        "train.players train.Player ensemble Ensemble member sweep cross_validate",
        module="search",
        intro="Players train against one another; ensembles and sweeps side by side.",
    ),
    Page(
        "core",
        "Writing layers",
        "Layer Composite Run Function Parameter Scale Bias",
        intro="The two classes from which everything is built.",
    ),
    Page(
        "combining",
        "Combining layers",
        "Sequential Residual Concat Sum Repeat Remat Mixed Frozen Identity",
    ),
    Page(
        "dense",
        "Dense layers, shapes and noise",
        "Dense Flatten Reshape Pad Maxout PReLU step Dropout AlphaDropout"
        " SpatialDropout GaussianNoise",
    ),
    Page(
        "convolution",
        "Convolution and pooling",
        "Conv ConvTranspose SeparableConv SqueezeExcite MaxPool AvgPool GlobalMaxPool"
        " GlobalAvgPool AdaptiveMaxPool AdaptiveAvgPool MaxPoolIndices MaxUnpool"
        " Upsample PixelShuffle PixelUnshuffle",
    ),
    Page(
        "normalization",
        "Normalization",
        "BatchNorm LayerNorm GroupNorm InstanceNorm RMSNorm LocalResponseNorm"
        " WeightNorm SpectralNorm",
    ),
    Page(
        "recurrence",
        "Recurrence",
        "rnn gru lstm LastStep Sequences Recurrent Bidirectional RecurrentStack RNNCell"
        " GRUCell LSTMCell ConvLSTMCell stateful zero_carry",
    ),
    Page(
        "attention",
        "Embeddings and attention",
        "Embed TiedOutput LearnedPositions SinusoidalPositions MultiHeadAttention"
        " Attend AdditiveAttention AttentiveRecurrent FeedForward EncoderBlock"
        " DecoderBlock TransformerEncoder TransformerDecoder",
    ),
    Page(
        "conditioning",
        "Layers for generation",
        "Sample TimeEmbedding FiLM MinibatchStd CosineLogits",
    ),
    Page("losses", "Losses", module="losses"),
    Page("metrics", "Metrics", module="metrics"),
    Page(
        "optimizers",
        "Optimizers and freezing",
        "freeze partition",
        module="optimizers",
        intro="Optimizers are Optax's. These functions wrap one.",
    ),
    Page("schedules", "Learning rate schedules", module="schedules"),
    Page("initializers", "Initializers", module="initializers"),
    Page("models", "Models", module="models"),
    Page("data", "Data", module="data"),
    Page("augment", "Augmentation", module="data.augment"),
    Page("boxes", "Boxes in pictures", module="data.boxes"),
    Page("text", "Text", module="data.text"),
    Page("decode", "Generation of sequences", module="decode"),
    Page("diffusion", "Diffusion and flows", module="diffusion"),
    Page("rl", "Agents, games and tree search", module="rl"),
    Page("files", "Files, PyTorch and ONNX", "save load", module="io"),
    Page("doctor", "The doctor", "diagnose", module="doctor"),
    Page("pictures", "Pictures", module="pictures"),
    Page("looking", "Looking inside", "summary edit Tap layer_paths"),
    Page("devices", "Many devices", "Layout fsdp tensor_parallel"),
    Page("trees", "Trees of parameters", module="trees"),
    Page("sklearn", "scikit-learn", module="sklearn"),
)

#: Under which other words search finds a name; most are other libraries'.
INDEX = {
    "fit": "train",
    "train_step": "training loop, GradientTape, train_on_batch",
    "EarlyStopping": "early stopping",
    "Plateau": "ReduceLROnPlateau",
    "callbacks.checkpoint": "ModelCheckpoint",
    "Conv": "Conv1D, Conv2D, Conv3D",
    "ConvTranspose": "Conv2DTranspose, deconvolution",
    "Dense": "Linear",
    "Embed": "Embedding",
    "losses.softmax_cross_entropy": "CrossEntropyLoss, SparseCategoricalCrossentropy",
    "save": "save model, load model",
}


def get(name: str) -> Any:
    """What stands under a public name such as `losses.huber`."""
    value: Any = nn
    for part in name.split("."):
        value = getattr(value, part)
    return value


def public_names() -> list[str]:
    """Every public name that is no module: `fit`, `train.fit`, `losses.huber`, ..."""
    found: list[str] = []

    def walk(module: Any, before: str) -> None:
        for name in dir(module):
            path = f"{before}{name}"
            value = getattr(module, name)
            if not inspect.ismodule(value):
                found.append(path)
            elif path != "train.callbacks":  # it is `nn.callbacks`
                walk(value, f"{path}.")

    walk(nn, "")
    return found


def listed() -> dict[Page, list[str]]:
    """The names of each page. Every object is on one page, under its shortest name.

    Raises:
        ValueError: a public name is on no page or on two, or is unknown.
    """
    names = public_names()
    shortest: dict[int, str] = {}
    for name in names:
        same = shortest.setdefault(id(get(name)), name)
        if name.count(".") < same.count("."):
            shortest[id(get(name))] = name
    left = dict.fromkeys(shortest.values())
    pages: dict[Page, list[str]] = {}
    for page in PAGES:
        pages[page] = page.names.split()
        for name in pages[page]:
            if name not in left:
                raise ValueError(f"docs/ext/api.py: {name} is unknown or on two pages")
            del left[name]
    for page in PAGES:
        inside = [
            n for n in left if page.module and n.rpartition(".")[0] == page.module
        ]
        pages[page] += sorted(inside, key=_order)
        for name in inside:
            del left[name]
    if left:
        raise ValueError(f"docs/ext/api.py: on no page: {', '.join(left)}")
    return pages


def _order(name: str) -> tuple[bool, str]:
    """Functions first, in the order of the alphabet, then classes."""
    return inspect.isclass(get(name)), name.lower()


def aliases() -> dict[str, list[str]]:
    """From the name under which an object is described to its others."""
    where = {id(get(name)): name for names in listed().values() for name in names}
    found: dict[str, list[str]] = {}
    for name in public_names():
        main = where[id(get(name))]
        if main != name:
            found.setdefault(main, []).append(name)
    return found


def write(folder: Path) -> None:
    """Write all pages into a folder; a page that is as it was is left alone."""
    folder.mkdir(exist_ok=True)
    made = {f"{page.slug}.md": _page(page, names) for page, names in listed().items()}
    for old in folder.glob("*.md"):
        if old.name not in made:
            old.unlink()
    for name, text in made.items():
        replace(folder / name, text)


def replace(path: Path, text: str) -> None:
    """Write a file unless it says that already: Sphinx goes by the time of a file."""
    if not path.exists() or path.read_text("utf8") != text:
        path.write_text(text, "utf8")


def _page(page: Page, names: list[str]) -> str:
    intro = page.intro
    if page.module:
        module = get(page.module)
        intro += "\n\n" + markdown(inspect.cleandoc(vars(module)["__doc__"]))
    lines = [f"- `nn.{name}`: {_first_line(get(name))}" for name in names]
    blocks = [f"# {page.title}", intro, "\n".join(lines), *map(_entry, names)]
    return "\n\n".join(block for block in blocks if block) + "\n"


def _first_line(value: Any) -> str:
    return escaped((inspect.getdoc(value) or "").split("\n\n")[0].replace("\n", " "))


def _entry(name: str) -> str:
    value = get(name)
    module, _, own = f"jaxnn.{name}".rpartition(".")
    kind = _kind(value)
    body = [markdown(inspect.getdoc(value) or "")]
    if inspect.isclass(value):
        body += [_member(value, member) for member in _members(value)]
    words = ", ".join(f"! {word}" for word in INDEX.get(name, "").split(", "))
    index = f"```{{index}} {words}\n```\n" if name in INDEX else ""
    return (
        f"{index}:::::{{py:{kind}}} {own}{_signature(value)}\n:module: {module}\n\n"
        + "\n\n".join(body)
        + "\n:::::"
    )


def _kind(value: Any) -> str:
    if inspect.isclass(value):
        return "exception" if issubclass(value, BaseException) else "class"
    return "function" if callable(value) else "data"


def _members(cls: type) -> list[str]:
    """The methods and properties of its own that have a docstring."""
    return [
        name
        for name, value in vars(cls).items()
        if not name.startswith("_")
        and name != "with_lengths"
        and (inspect.isfunction(_plain(value)) or isinstance(value, property))
        and _plain(value).__doc__
    ]


def _plain(value: Any) -> Any:
    return value.__func__ if isinstance(value, classmethod | staticmethod) else value


def _member(cls: type, name: str) -> str:
    value = vars(cls)[name]
    if isinstance(value, property):
        head = f"{{py:property}} {name}"
    else:
        bound = getattr(cls, name) if isinstance(value, classmethod) else None
        shown = _signature(bound or _plain(value), drop_self=bound is None)
        kind = "classmethod" if isinstance(value, classmethod) else "method"
        head = f"{{py:{kind}}} {name}{shown}"
    doc = markdown(inspect.cleandoc(_plain(value).__doc__))
    return f"::::{head}\n\n{doc}\n::::"


def _signature(value: Any, drop_self: bool = False) -> str:
    """Arguments with their defaults, without types: the docstring says those."""
    if _kind(value) == "function" and not hasattr(value, "__name__"):
        return ""  # an object that can be called, such as `nn.metrics.perplexity`
    try:
        signature = inspect.signature(value)
    except (TypeError, ValueError):
        return ""
    if _abstract(value, signature):
        return ""
    parts, starred = [], False
    for i, (name, parameter) in enumerate(signature.parameters.items()):
        if i == 0 and drop_self and name == "self":
            continue
        if parameter.kind is parameter.VAR_POSITIONAL:
            name, starred = f"*{name}", True
        elif parameter.kind is parameter.VAR_KEYWORD:
            name = f"**{name}"
        elif parameter.kind is parameter.KEYWORD_ONLY and not starred:
            parts.append("*")
            starred = True
        if parameter.default is not parameter.empty:
            name += f"={_default(value, parameter)}"
        parts.append(name)
    return f"({', '.join(parts)})"


def _abstract(value: Any, signature: inspect.Signature) -> bool:
    """Whether a class is not built from arguments of its own, such as `Layer`."""
    kinds = {p.kind for p in signature.parameters.values()}
    return inspect.isclass(value) and kinds == {
        inspect.Parameter.VAR_POSITIONAL,
        inspect.Parameter.VAR_KEYWORD,
    }


def _default(value: Any, parameter: inspect.Parameter) -> str:
    text = repr(parameter.default)
    if " at 0x" not in text and not text.startswith("<"):
        return text
    return _written(value, parameter.name) or "..."


def _written(value: Any, name: str) -> str:
    """A default as the source has it; nothing where that cannot be read."""
    try:
        tree = ast.parse(textwrap.dedent(inspect.getsource(value)))
    except (OSError, TypeError, SyntaxError):
        return ""
    for node in ast.walk(tree):
        if isinstance(node, ast.AnnAssign) and ast.unparse(node.target) == name:
            return ast.unparse(node.value) if node.value else ""
        if isinstance(node, ast.FunctionDef):
            arguments = [*node.args.args, *node.args.kwonlyargs]
            defaults = [*node.args.defaults, *node.args.kw_defaults]
            named = dict(zip(reversed(arguments), reversed(defaults), strict=False))
            for argument, default in named.items():
                if argument.arg == name and default is not None:
                    return ast.unparse(default)
    return ""
