# SPDX-License-Identifier: Apache-2.0
"""Weights of transformers as they are published, whose modules are not PyTorch's own.

GPT-2 and BERT as in Hugging Face's files, Vision Transformers as in torchvision's. Each
is a table from our paths to their names; where they keep queries, keys and values in
one tensor, ours are thirds of it.
"""

import re
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from jaxnn.messages.phrases import listed, nearest
from jaxnn.torch_weights.problems import by
from jaxnn.torch_weights.read import Given, as_array
from jaxnn.torch_weights.skipping import Skip


class Rule(NamedTuple):
    """Where one kind of our arrays is in a file."""

    path: str  # a pattern of our paths
    name: str  # their name; {0} is the first group of the path, {block} counts from 0
    turned: bool = False  # whether the axes of matrices are the other way round


class Format(NamedTuple):
    """A published format."""

    mark: str  # a name that only it has, after any prefix
    rules: tuple[Rule, ...]
    ignored: str = r"(?!)"  # a pattern of names that are no weights of the network


def _ends(ours: str, theirs: str) -> tuple[tuple[str, str], ...]:
    return tuple(zip(ours.split(), theirs.split(), strict=True))


def _pairs(path: str, name: str, turned: bool = True) -> tuple[Rule, ...]:
    """Rules for the matrix and the bias of a dense layer."""
    ends = _ends("w b", "weight bias")
    return tuple(Rule(f"{path}/{o}", f"{name}.{t}", turned) for o, t in ends)


def _norms(path: str, name: str) -> tuple[Rule, ...]:
    """Rules for a normalization."""
    ends = _ends("scale offset", "weight bias")
    return tuple(Rule(f"{path}/{o}", f"{name}.{t}") for o, t in ends)


_GPT2_BLOCK, _HERE = "h.{block}.", r"body/encoder/block(?P<block>\d+)/"
GPT2 = Format(
    "h.0.attn.c_attn.weight",
    (
        Rule("embed/table", "wte.weight"),
        Rule("body/positions/table", "wpe.weight"),
        *_pairs(_HERE + "attention/qkv", _GPT2_BLOCK + "attn.c_attn", False),
        *_pairs(_HERE + "attention/out", _GPT2_BLOCK + "attn.c_proj", False),
        *_pairs(_HERE + "mlp/up", _GPT2_BLOCK + "mlp.c_fc", False),
        *_pairs(_HERE + "mlp/down", _GPT2_BLOCK + "mlp.c_proj", False),
        *_norms(_HERE + "norm1", _GPT2_BLOCK + "ln_1"),
        *_norms(_HERE + "norm2", _GPT2_BLOCK + "ln_2"),
        *_norms("body/encoder/norm", "ln_f"),
    ),
    r"h\.\d+\.attn\.(masked_)?bias|lm_head\.weight",  # masks, and the tied table
)

_BERT_BLOCK, _BLOCK = "encoder.layer.{block}.", r"encoder/block(?P<block>\d+)/"
BERT = Format(
    "encoder.layer.0.attention.self.query.weight",
    (
        Rule("embed/table", "embeddings.word_embeddings.weight"),
        Rule("positions/table", "embeddings.position_embeddings.weight"),
        Rule("segments/table", "embeddings.token_type_embeddings.weight"),
        *_norms("norm", "embeddings.LayerNorm"),
        *_pairs(_BLOCK + "attention/query", _BERT_BLOCK + "attention.self.query"),
        *_pairs(_BLOCK + "attention/key", _BERT_BLOCK + "attention.self.key"),
        *_pairs(_BLOCK + "attention/value", _BERT_BLOCK + "attention.self.value"),
        *_pairs(_BLOCK + "attention/out", _BERT_BLOCK + "attention.output.dense"),
        *_pairs(_BLOCK + "mlp/up", _BERT_BLOCK + "intermediate.dense"),
        *_pairs(_BLOCK + "mlp/down", _BERT_BLOCK + "output.dense"),
        *_norms(_BLOCK + "norm1", _BERT_BLOCK + "attention.output.LayerNorm"),
        *_norms(_BLOCK + "norm2", _BERT_BLOCK + "output.LayerNorm"),
        *_pairs("pooler", "pooler.dense"),
    ),
    r"embeddings\.position_ids|cls\..*",  # heads of its pre-training
)

_VIT_BLOCK = "encoder.layers.encoder_layer_{block}."
_VIT_ATTENTION = _VIT_BLOCK + "self_attention."
VIT = Format(
    "encoder.layers.encoder_layer_0.ln_1.weight",
    (
        Rule("token/w", "class_token"),
        Rule("positions/table", "encoder.pos_embedding"),
        *_pairs("patches", "conv_proj"),
        Rule(_BLOCK + "attention/qkv/w", _VIT_ATTENTION + "in_proj_weight", True),
        Rule(_BLOCK + "attention/qkv/b", _VIT_ATTENTION + "in_proj_bias"),
        *_pairs(_BLOCK + "attention/out", _VIT_ATTENTION + "out_proj"),
        *_pairs(_BLOCK + "mlp/up", _VIT_BLOCK + "mlp.0"),
        *_pairs(_BLOCK + "mlp/down", _VIT_BLOCK + "mlp.3"),
        *_norms(_BLOCK + "norm1", _VIT_BLOCK + "ln_1"),
        *_norms(_BLOCK + "norm2", _VIT_BLOCK + "ln_2"),
        *_norms("encoder/norm", "encoder.ln"),
        *_pairs("head", "heads.head"),
    ),
)
FORMATS = (GPT2, BERT, VIT)
#: What older files call the arrays of norms.
_OLDER = {".gamma": ".weight", ".beta": ".bias"}
_THIRDS = {"query": 0, "key": 1, "value": 2}
_THIRD = re.compile(r"attention/(query|key|value)/")


class Place(NamedTuple):
    """Where one of our arrays is in a file."""

    name: str
    turned: bool
    third: int | None


def published(
    given: Mapping[str, Given], shapes: Mapping[Any, Any], source: str, skip: Skip
) -> dict[Any, np.ndarray] | None:
    """Our arrays from a published file; None if it is of another format or network.

    Args:
        given: the tensors by name.
        shapes: the shapes of our arrays by (kind, path).
        source: what messages call the file.
        skip: the paths that are not loaded.

    Raises:
        ValueError: names or shapes differ; all of them are listed.
    """
    for form in FORMATS:
        prefix = _prefix(given, form.mark)
        places = _places(form, [path for _, path in shapes])
        if prefix is not None and places is not None:
            own = {_own_name(name, prefix): tensor for name, tensor in given.items()}
            return _read(form, own, places, shapes, source, skip)
    return None


def _prefix(given: Mapping[str, Given], mark: str) -> str | None:
    """What stands before the names of a format; None for another one."""
    found = [name for name in given if f".{name}".endswith(f".{mark}")]
    return found[0].removesuffix(mark) if found else None


def _own_name(name: str, prefix: str) -> str:
    name = name.removeprefix(prefix)
    for old, new in _OLDER.items():
        name = name.removesuffix(old) + new if name.endswith(old) else name
    return name


def _places(form: Format, paths: list[str]) -> dict[str, Place] | None:
    """Where each of our arrays is; None if the network has others."""
    found = {path: _place(form, path) for path in paths}
    return None if None in found.values() else found  # type: ignore[return-value]


def _place(form: Format, path: str) -> Place | None:
    whole = _THIRD.sub("attention/qkv/", path)
    for rule in form.rules:
        for one in dict.fromkeys((path, whole)):
            if match := re.fullmatch(rule.path, one):
                block = int(match.groupdict().get("block") or 1) - 1
                third = _THIRD.search(path) if one != path else None
                part = None if third is None else _THIRDS[third[1]]
                return Place(rule.name.format(block=block), rule.turned, part)
    return None


def _read(
    form: Format,
    given: Mapping[str, Given],
    places: Mapping[str, Place],
    shapes: Mapping[Any, Any],
    source: str,
    skip: Skip,
) -> dict[Any, np.ndarray]:
    used = {place.name for place in places.values()}
    loaded = {at: places[at[1]] for at in shapes if not skip.has(at[1])}
    extra = [n for n in given if n not in used and not re.fullmatch(form.ignored, n)]
    absent = dict.fromkeys(p.name for p in loaded.values() if p.name not in given)
    other = {
        place.name: f"{place.name} is {by(given[place.name].shape)}, "
        f"{at[1]} needs {by(_theirs(shapes[at].shape, place))}"
        for at, place in loaded.items()
        if place.name in given
        and not _fits(given[place.name].shape, shapes[at].shape, place)
    }
    problems = [
        *listed("missing", list(absent), lambda name: name + nearest(name, extra)),
        *listed("unexpected", extra, lambda name: name + nearest(name, absent)),
        *listed("of another shape", other, other.__getitem__),
    ]
    if problems:
        raise ValueError(
            "\n  ".join([f"from_torch: {source} does not fit the network:", *problems])
        )
    arrays = {}
    for at, place in loaded.items():
        tensor = as_array(given[place.name], shapes[at].dtype)
        arrays[at] = _ours(tensor, shapes[at].shape, place)
    return arrays


def _theirs(shape: tuple[int, ...], place: Place) -> tuple[int, ...]:
    """The shape of the tensor that holds one of our arrays."""
    if place.third is not None:
        shape = (*shape[:-1], 3 * shape[-1])
    if place.turned and len(shape) > 1:
        *spatial, inputs, outputs = shape
        return (outputs, inputs, *spatial)
    return shape


def _fits(has: tuple[int, ...], ours: tuple[int, ...], place: Place) -> bool:
    """Whether a tensor has the right shape, but for axes of size 1 in front."""
    wants = _theirs(ours, place)
    return has == wants or has == (1, *wants)


def _ours(tensor: np.ndarray, shape: tuple[int, ...], place: Place) -> np.ndarray:
    """One of our arrays from the tensor that holds it."""
    if place.turned and tensor.ndim > 1:
        tensor = np.moveaxis(tensor, (1, 0), (-2, -1))
    if place.third is not None:
        size = tensor.shape[-1] // 3
        tensor = tensor[..., place.third * size : (place.third + 1) * size]
    return np.ascontiguousarray(tensor).reshape(shape)
