# SPDX-License-Identifier: Apache-2.0
"""What an exception says of the layer and the inputs that it came from."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from jaxnn.inputs.steps import said
from jaxnn.messages.phrases import nearest


class Placed:
    """Adds the path of the failing layer to an exception; outer layers extend it.

    Args:
        name: the layer's name in the one around it.
        written: gives the layer as written in code; called only for an exception.
        x: the layer's input.
    """

    def __init__(self, name: str, written: Callable[[], str], x: Any):
        self.name, self.written, self.x = name, written, x

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind, error, traceback) -> None:
        if not isinstance(error, Exception):
            return
        path, what, note = getattr(error, "_place", ("", "", ""))
        if not path:
            what = f"{self.written():.200} on {said(self.x)}"
            if isinstance(error, KeyError) and not is_of_inputs(error, self.x):
                what += " (are params and state from this network's init?)"
        elif note in error.__notes__:
            error.__notes__.remove(note)
        path = f"{self.name}/{path}".rstrip("/")
        note = f"in {path}: {what}"
        error._place = (path, what, note)  # type: ignore[attr-defined]
        error.add_note(note)


@contextmanager
def reading(x: Any) -> Iterator[None]:
    """Inspect a `KeyError` that a layer raises on the inputs `x`."""
    try:
        yield
    except KeyError as error:
        is_of_inputs(error, x)
        raise


def is_of_inputs(error: KeyError, x: Any) -> bool:
    """Whether a key is missing in a layer's inputs `x`, a dict, not in its parameters.

    The answer is stored on the error: that of the layer that raised it holds for all.
    """
    found = getattr(error, "_of_inputs", None)
    if found is None:
        name = error.args[0] if error.args else None
        found = error._of_inputs = isinstance(x, Mapping) and name not in x  # type: ignore
        if found:
            near = nearest(str(name), map(str, x))
            names = ", ".join(map(repr, x))
            error.add_note(f"x is a dict of {names}, without {name!r}{near}")
    return found
