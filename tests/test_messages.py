# SPDX-License-Identifier: Apache-2.0
"""Every error says first whose it is: `fit: batch_size must be a positive int, got 0`.

The owner is the function that the user called, or the layer. An argument alone is none:
`batch_size: must be ...` is found here as well.
"""

import ast
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

import jaxnn

ROOT = Path(jaxnn.__file__).parent
KINDS = {"ValueError", "TypeError", "KeyError", "IndexError"}
#: An owner, or `{what}`, which is `fit: data` and begins with one already.
BEGINS = re.compile(
    r"([A-Za-z_][\w.]*|\{[^{}]+\}): (?!must |is |are |has |not )"
    r"|\{what\} |\{leaf_name\(what, path\)\} "
)
#: How many errors of a file are the end of a sentence that their caller begins: it
#: catches them, and raises `{owner}: {file} {error}; ...`.
FRAGMENTS = {
    "data/blood_cells.py": 2,  # of an archive that was found or downloaded
    "data/cifar10.py": 1,  # {message}, which begins with the archive's title
    "data/download.py": 4,  # DownloadError lists them, one mirror a line
    "data/emojis.py": 1,  # of a copy, by `emoji`
    "data/faces.py": 4,  # of an archive that was found or downloaded
    "data/mnist.py": 7,  # of a file that was found or downloaded
    "data/pictures.py": 1,  # of an image that cannot be read
    "data/published.py": 1,  # of a file that was found or downloaded
    "data/spoken_digits.py": 4,  # of an archive
    "data/text.py": 1,  # of a saved vocabulary
    "files/tensor_files.py": 4,  # of a safetensors file, by `load`
    "files/tree_files.py": 1,  # of the record in it, by `load`
    "rebuild.py": 2,  # of the text of a network
    "torch_weights/pickles.py": 1,  # of a file of torch.save
    "torch_weights/read.py": 1,  # of a tensor in it
}


def literal(node: ast.expr) -> str | None:
    """The text of a message with `{...}` for what is put in; None if it is computed."""
    if isinstance(node, ast.BinOp):
        return literal(node.left)
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return node.value
    if isinstance(node, ast.JoinedStr):
        return "".join(
            f"{{{ast.unparse(part.value)}}}"
            if isinstance(part, ast.FormattedValue)
            else str(getattr(part, "value", ""))
            for part in node.values
        )
    return None


def without_owner(source: str) -> Iterator[str]:
    """The messages of errors that do not begin with an owner."""
    for node in ast.walk(ast.parse(source)):
        made = getattr(node, "exc", None) if isinstance(node, ast.Raise) else None
        if not isinstance(made, ast.Call) or not made.args:
            continue
        text = literal(made.args[0]) if ast.unparse(made.func) in KINDS else None
        if text is not None and not BEGINS.match(text):
            yield text


def test_every_error_begins_with_its_owner():
    found = {
        path.relative_to(ROOT).as_posix(): list(without_owner(path.read_text("utf-8")))
        for path in ROOT.rglob("*.py")
    }
    said = {path: texts for path, texts in found.items() if texts}
    assert Counter({path: len(texts) for path, texts in said.items()}) == FRAGMENTS, {
        path: said.get(path)
        for path in said.keys() | FRAGMENTS.keys()
        if len(said.get(path, ())) != FRAGMENTS.get(path)
    }


@pytest.mark.parametrize(
    "text",
    [
        "'a metric must be a function'",
        "'batch_size: must be a positive int'",
        "f'{name}: must be an array, got {a}'",
        "f'{name} must be an array'",
        "'data targets: must be an array'",
        "'no pattern matches ' f'{name}'",
    ],
)
def test_a_message_without_an_owner_is_found(text):
    assert len(list(without_owner(f"def f():\n    raise ValueError({text})"))) == 1


@pytest.mark.parametrize(
    "text",
    [
        "'fit: batch_size must be a positive int'",
        "'callbacks.tensorboard: batch needs a network'",
        "f'{owner}: x must be an array, got ' f'{x}'",
        "f'{type(self).__name__}: a pair has no arithmetic'",
        "f'{what} must be an array' + hint",
        "unknown_child(self, name)",
    ],
)
def test_a_message_with_an_owner_is_not(text):
    assert not list(without_owner(f"def f():\n    raise TypeError({text})"))
