# SPDX-License-Identifier: Apache-2.0
"""Phrases of error messages: what came, the nearest name, names in a list."""

import difflib
import inspect
from collections.abc import Callable, Iterable, Mapping
from fnmatch import fnmatchcase
from itertools import islice
from typing import Any

import numpy as np

LISTED = 20  # most names of one kind in an error message


def describe(x: Any) -> str:
    """Shapes and dtypes in brief, for messages; works for tracers and nested trees.

    >>> import jax, numpy as np
    >>> describe((np.zeros((8, 4), np.float32), {"label": np.zeros(8, np.int32)}))
    "(float32[8,4], {'label': int32[8]})"
    >>> describe(jax.random.key(0))
    'key<fry>[]'
    """
    if hasattr(x, "shape") and hasattr(x, "dtype"):
        dtype = getattr(x.dtype, "name", x.dtype)
        return f"{dtype}[{','.join(map(str, x.shape))}]"
    if isinstance(x, Mapping):
        return f"{{{', '.join(f'{k!r}: {describe(v)}' for k, v in x.items())}}}"
    if isinstance(x, tuple) and (fields := getattr(x, "_fields", ())):
        inner = (f"{k}={describe(v)}" for k, v in zip(fields, x, strict=True))
        return f"{type(x).__name__}({', '.join(inner)})"
    if isinstance(x, tuple):
        return f"({', '.join(map(describe, x))}{',' if len(x) == 1 else ''})"
    if isinstance(x, list):
        return f"[{', '.join(map(describe, x))}]"
    return "None" if x is None else type(x).__name__


def shown(value: Any, most: int = 60) -> str:
    """What came, in brief, for messages: arrays by shape, functions by name.

    No address in memory, and one line, whatever the value is.

    >>> import numpy as np
    >>> shown("adam"), shown(len), shown(object()), shown((np.zeros((2, 3)), 1))
    ("'adam'", 'the function len', 'object', '(float64[2,3], int)')
    """
    if isinstance(value, type):
        return f"the class {value.__name__}"
    if inspect.isroutine(value):
        return f"the function {value.__name__}"
    text = describe(value) if hasattr(value, "shape") else repr(value)
    if "\n" in text or " at 0x" in text or "array(" in text:
        text = describe(value)
    return text if len(text) <= most else f"{text[:most]}..."


def nearest(name: str, names: Iterable[str]) -> str:
    """The end of an error message: the name closest to a misspelled one, or nothing.

    Only the first thousand names are compared: each takes a few microseconds.

    >>> "no layer 'dense1'" + nearest("dense1", ["conv_1", "dense_1"])
    "no layer 'dense1' (nearest: 'dense_1')"
    """
    close = difflib.get_close_matches(name, list(islice(names, 1000)), n=1)
    return f" (nearest: {close[0]!r})" if close else ""


def place_of(bad: np.ndarray) -> str:
    """The position of the first True, such as `[3, 0]`."""
    place = np.unravel_index(int(bad.argmax()), bad.shape)
    return f"[{', '.join(map(str, place))}]"


def unmatched(pattern: str, names: Iterable[str], what: str = "parameter") -> str:
    """The error message for a pattern that matches none of the paths of leaves.

    >>> unmatched("stage?", ["stage1/w", "stage2/w"])
    "pattern 'stage?' matches no parameter, only stage1, stage2; write 'stage?/*'"
    """
    parts = [name.split("/") for name in names]
    known = {"/".join(p[:i]): None for p in parts for i in range(1, len(p) + 1)}
    folders = [name for name in known if fnmatchcase(name, pattern)]
    hint = nearest(pattern, known)
    if folders:
        more = ", ..." if len(folders) > 3 else ""
        hint = f", only {', '.join(folders[:3])}{more}; write {pattern + '/*'!r}"
    elif not hint:
        hint = f"; there are {', '.join(list(dict.fromkeys(p[0] for p in parts))[:8])}"
    return f"pattern {pattern!r} matches no {what}{hint}"


def listed(title: str, names: Iterable[str], text: Callable[[str], str]) -> list[str]:
    """Lines of an error message, one per name, for the first twenty names.

    >>> listed("missing", ["w", "b"], repr)
    ["missing: 'w'", "missing: 'b'"]
    """
    names = list(names)
    lines = [f"{title}: {text(name)}" for name in names[:LISTED]]
    more = len(names) - LISTED
    return [*lines, f"{title}: and {more} more"] if more > 0 else lines
