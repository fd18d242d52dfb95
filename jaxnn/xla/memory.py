# SPDX-License-Identifier: Apache-2.0
"""Keep the memory of temporaries from one call of a compiled program to the next."""

import ctypes

import jax

from jaxnn.xla.backend import is_open

# Parameters of glibc's mallopt: at how much free memory it gives some back (-1: never),
# and how many blocks it asks the system for directly.
_TRIM_THRESHOLD, _MMAP_MAX = -1, -4

_kept: list[bool] = []  # what the first call returned


def keep_memory() -> bool:
    """Make steps that you call yourself as fast as those in `fit`, on a CPU with Linux.

    A compiled program asks the system for the memory of its temporaries at every call
    and then gives it back, which costs a page fault for each 4 KB: a `train_step` that
    is called in a loop of your own takes 1.15 to 1.35 times as long as in `fit`, whose
    loop is inside one program. After this call the C library (glibc) keeps that memory,
    and JAX runs programs in the thread that calls them, which the memory belongs to.

    The memory of large arrays, once used, then stays with the process, and a call on a
    CPU returns when its result is ready rather than before. Nothing else changes.

    Call it at the top of a program, before the first array is created.

    Returns:
        Whether the memory is kept: False on systems without glibc.

    Raises:
        RuntimeError: JAX has created its first array already.

    >>> import jaxnn as nn
    >>> nn.keep_memory()  # doctest: +SKIP
    True
    """
    if _kept:
        return _kept[0]
    if is_open():
        raise RuntimeError(
            "keep_memory: must be called before the first array is created; move it to "
            "the top of the program, right after the imports"
        )
    _kept.append(_keep())
    return _kept[0]


def _keep() -> bool:
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):  # another C library, or Windows
        return False
    # Large blocks then come from the main thread's heap, which is never trimmed. That
    # of another thread cannot hold blocks above 64 MB, hence the thread of the caller.
    # With one heap for all threads (M_ARENA_MAX) the loops of `fit` took 1.05 times as
    # long; like this they take 0.95 to 1.0.
    if not (mallopt(_MMAP_MAX, 0) and mallopt(_TRIM_THRESHOLD, -1)):
        return False
    jax.config.update("jax_cpu_enable_async_dispatch", False)
    return True
