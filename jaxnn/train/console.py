# SPDX-License-Identifier: Apache-2.0
"""Print lines for the user, whose terminal may be gone."""

import contextlib
import io
import numbers
from collections.abc import Mapping
from typing import Any


def say(line: str, stream: Any) -> None:
    """Print a line to a stream, if possible; a failure to print never ends a run.

    Under `pythonw` there is no stream; a terminal or a pipe may have been closed; and
    a signal may arrive while the same stream is being written to.
    """
    if stream is not None:
        with contextlib.suppress(OSError, ValueError, RuntimeError):
            print(line, file=stream, flush=True)


def is_live(stream: Any) -> bool:
    """Whether a stream is a terminal."""
    try:
        return bool(stream.isatty())
    except (AttributeError, OSError, ValueError):  # none, or closed
        return False


def is_captured(stream: Any) -> bool:
    """Whether a program, such as doctest, keeps in memory what is printed."""
    return isinstance(stream, io.StringIO)


def number(value: float) -> str:
    """A number for a table, with four digits after the point if they say something.

    >>> number(0.12345), number(12.5), number(1.2345e-5), number(0.0)
    ('0.1235', '12.5000', '1.234e-05', '0')
    """
    return f"{value:.4f}" if 1e-2 < abs(value) < 1e4 else f"{value:.4g}"


def measured(name: str, value: Any) -> str:
    """The value of a loss or a metric; that of an accuracy in percent.

    >>> measured("loss", 0.5), measured("val_accuracy", 0.961)
    ('0.5000', '96.1 %')
    """
    value = float(value)
    if "accuracy" in name and 0 <= value <= 1:
        return f"{100 * value:.1f} %"
    return number(value)


def said(logs: Mapping[str, Any]) -> str:
    """The numbers among logs, in their order: `loss 0.5000  accuracy 96.1 %`."""
    found = {name: value for name, value in logs.items() if is_number(value)}
    return "  ".join(f"{name} {measured(name, v)}" for name, v in found.items())


def is_number(value: Any) -> bool:
    """Whether this is one number, Python's or an array's."""
    return getattr(value, "shape", None) == () or isinstance(value, numbers.Real)


def duration(seconds: float) -> str:
    """Seconds in brief.

    >>> duration(0.0312), duration(1.23), duration(75.31)
    ('0.03 s', '1.2 s', '75.3 s')
    """
    return f"{seconds:.2f} s" if seconds < 1 else f"{seconds:,.1f} s"
