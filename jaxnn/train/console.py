# SPDX-License-Identifier: Apache-2.0
"""Print lines for the user, whose terminal may be gone."""

import contextlib
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
