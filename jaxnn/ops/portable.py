# SPDX-License-Identifier: Apache-2.0
"""Operations in JAX's own primitives alone, for programs that other tools convert."""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

_PORTABLE = ContextVar("portable", default=False)


@contextmanager
def portable() -> Iterator[None]:
    """Around a trace: no primitive of jaxnn's, and nothing chosen by platform.

    >>> with portable():
    ...     is_portable()
    True
    """
    token = _PORTABLE.set(True)
    try:
        yield
    finally:
        _PORTABLE.reset(token)


def is_portable() -> bool:
    """Whether operations are to use JAX's own primitives alone."""
    return _PORTABLE.get()
