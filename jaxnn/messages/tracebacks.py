# SPDX-License-Identifier: Apache-2.0
"""Short tracebacks: an error that leaves the library shows the user's own code.

As JAX does with its own frames; JAX's switch shows those of this library too:
`JAX_TRACEBACK_FILTERING=off` in the environment, or
`jax.config.update("jax_traceback_filtering", "off")`.
"""

import functools
import opcode
import sys
import warnings
from collections.abc import Callable, Iterator
from types import FrameType, TracebackType
from typing import Any, TypeVar

Function = TypeVar("Function", bound=Callable[..., Any])

#: Packages whose frames an error loses, `contextlib` standing between ours.
_CUT = ("jaxnn", "jax", "jaxlib", "contextlib")
#: How JAX says that it shortened a traceback, which this library does anyway.
_JAX_NOTE = "For simplicity, JAX has removed its internal frames"
_RAISE = opcode.opmap["RAISE_VARARGS"]


def entrance(function: Function) -> Function:
    """Decorate a public function: its errors show the caller's code, not the library's.

    >>> @entrance
    ... def half(x):
    ...     return x / 2
    >>> half(3)
    1.5
    """

    @functools.wraps(function)
    def enter(*args, **options):
        try:
            return function(*args, **options)
        except Exception as error:
            shorten(error)
            raise

    return enter  # type: ignore[return-value]


def warn(message: str, category: type[Warning] = UserWarning) -> None:
    """Warn at the user's line: that of the innermost frame outside the library."""
    frames = enumerate(_callers(sys._getframe(1)), 2)
    level = next((n for n, frame in frames if _package(frame) != "jaxnn"), 2)
    warnings.warn(message, category, stacklevel=level)


def shorten(error: BaseException) -> None:
    """Cut the library's frames from an error, if it leaves the library here.

    Call it where a public function catches an error, and follow it by a bare `raise`,
    which adds no frame. The frames of the user's functions stay, whether the library
    called them or they called the library. So does the library's innermost frame,
    unless it is a `raise` statement, whose message says all there is to say.
    """
    jax = sys.modules.get("jax")  # (`nn.data` works without it)
    if jax is not None and jax.config.jax_traceback_filtering == "off":
        return
    assert error.__traceback__ is not None  # it begins with the frame that caught it
    callers = _callers(error.__traceback__.tb_frame.f_back)
    if any(_package(frame) == "jaxnn" for frame in callers):
        return  # the library catches it, or cuts it further out
    for one in _chain(error):
        _drop_note(one)
        one.__traceback__ = _shortened(one.__traceback__)


def _drop_note(error: BaseException) -> None:
    """Drop JAX's note on its own frames from an error that this library raises."""
    last = error.__traceback__
    while last is not None and last.tb_next is not None:
        last = last.tb_next
    if last is not None and _package(last.tb_frame) == "jaxnn":
        for note in [n for n in getattr(error, "__notes__", ()) if _JAX_NOTE in n]:
            error.__notes__.remove(note)


def _chain(error: BaseException) -> list[BaseException]:
    """An error, its cause, the cause of that and so on, as Python prints them."""
    found, last = [], error
    while last is not None and last not in found:
        found.append(last)
        last = last.__cause__ or (
            None if last.__suppress_context__ else last.__context__
        )
    return found


def _callers(frame: FrameType | None) -> Iterator[FrameType]:
    while frame is not None:
        yield frame
        frame = frame.f_back


def _package(frame: FrameType) -> str:
    return str(frame.f_globals.get("__name__")).partition(".")[0]


def _shortened(traceback: TracebackType | None) -> TracebackType | None:
    links = []
    while traceback is not None:
        links.append(traceback)
        traceback = traceback.tb_next
    kept = [link for link in links if _package(link.tb_frame) not in _CUT]
    ours = [link for link in links if _package(link.tb_frame) not in _CUT[1:]]
    # (An error in the entrance itself is a wrong call of the function that it wraps.)
    if ours and ours[-1] not in (*kept[-1:], links[0]) and not _is_raised_by(ours[-1]):
        kept.append(ours[-1])
    made = None
    for link in reversed(kept):
        made = TracebackType(made, link.tb_frame, link.tb_lasti, link.tb_lineno)
    return made


def _is_raised_by(link: TracebackType) -> bool:
    """Whether a frame ended in a `raise` statement, not in an operation that failed."""
    return link.tb_frame.f_code.co_code[link.tb_lasti] == _RAISE
