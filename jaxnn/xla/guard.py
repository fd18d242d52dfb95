# SPDX-License-Identifier: Apache-2.0
"""Guard against XLA's CPU compiler, some of whose fused reductions are wrong.

In jaxlib 0.10.2 to 0.12.0.1, on a CPU, XLA hands reductions to a library (YNNPACK)
together with the operations that they sum over. Three such fusions are wrong. A sum
over a matrix product silently yields garbage, as in
`((a @ jnp.full_like(b, 0.5)) * c).sum()`; so does a window over dilated inputs; and a
sum of a product with seven axes ends the process. Of 630 random programs, none was
wrong in another way. `docs/xla_cpu_ynn_reduce.md` has the details.

`import jaxnn` therefore sets an XLA flag that leaves reductions to XLA itself, in all
programs of the process. jaxnn's own programs (`train/programs.py`) ask for the fused
reductions, are checked, and are compiled without them if one is wrong: that keeps the
training of an LSTM 1.25 times faster than under the flag.

`JAXNN_XLA_GUARD=0` turns all of this off; your own flag in `XLA_FLAGS` is kept.
"""

import functools
import math
import os
import re
import warnings
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxlib import version

from jaxnn.xla.backend import is_open

#: The first and the last jaxlib known to be wrong. Older ones reject the flag.
FIRST, LAST = (0, 10, 2), (0, 12, 0, 1)
OPTION = "xla_cpu_experimental_ynn_fusion_type"
FLAG = f"--{OPTION}=-reduce"
#: Options of one program: XLA's default, and without reductions.
FAST = {OPTION: "LIBRARY_FUSION_TYPE_INDIVIDUAL_DOT,LIBRARY_FUSION_TYPE_REDUCE"}
SAFE = {OPTION: "LIBRARY_FUSION_TYPE_INDIVIDUAL_DOT"}


def protect() -> None:
    """Set the flag for this process, if its jaxlib needs it and it is not too late."""
    flags = os.environ.get("XLA_FLAGS", "")
    if FLAG in flags or not _is_on() or not FIRST <= jaxlib_version() <= LAST:
        return
    if is_open():
        _warn("JAX had made its first array before `import jaxnn`")
    else:
        os.environ["XLA_FLAGS"] = f"{flags} {FLAG}".strip()


@functools.cache
def is_needed() -> bool:
    """Whether compiled programs are checked; called when there is a first one."""
    if not _is_on() or jax.default_backend() != "cpu" or jaxlib_version() < FIRST:
        return False
    if jaxlib_version() <= LAST:
        if FLAG not in os.environ.get("XLA_FLAGS", "") and not _warned:
            _warn("XLA_FLAGS has lost the flag that `import jaxnn` put there")
        return True
    found = wrong_patterns()
    if found:
        _warn(f"it is newer than this jaxnn knows, and it fails at {'; '.join(found)}")
    return bool(found)


def said() -> str:
    """What the guard does in this process, in words; nothing is compiled."""
    if os.environ.get("JAXNN_XLA_GUARD") == "0":
        return "off: JAXNN_XLA_GUARD=0"
    if not _is_on():
        return f"off: XLA_FLAGS sets {OPTION}"
    if jaxlib_version() < FIRST:
        return "not needed for this jaxlib"
    if jaxlib_version() > LAST:
        return "tries this newer jaxlib before the first program on a CPU"
    flagged = FLAG in os.environ.get("XLA_FLAGS", "")
    return f"on: {FLAG}" if flagged else "too late: the flag is not in XLA_FLAGS"


def is_wrong(program: str) -> bool:
    """Whether a compiled program, as text, has a fusion that XLA computes wrongly.

    >>> is_wrong(jax.jit(lambda x: x + 1).lower(1.0).compile().as_text())
    False
    """
    if "__ynn_fusion" not in program:
        return False
    names = re.findall(r"calls=%?([\w.-]+)[^\n]*__ynn_fusion", program)
    return any(_is_wrong_fusion(_body(program, name)) for name in set(names))


def _body(program: str, name: str) -> str:
    """The instructions of one computation of a program."""
    start = re.search(rf"^%?{re.escape(name)} \(", program, re.MULTILINE)
    if start is None:
        return ""
    return program[start.start() : program.find("\n}", start.start())]


def _is_wrong_fusion(body: str) -> bool:
    dot, reduced = " dot(" in body, " reduce(" in body or " reduce-window(" in body
    seven_axes = re.search(r"\[\d+(,\d+){6,}\]", body)  # ends the process at run time
    return (dot and reduced) or "lhs_dilate=" in body or seven_axes is not None


class Pattern(NamedTuple):
    """A sum that some versions of XLA get wrong, and its right value by NumPy."""

    name: str
    shape: tuple[int, ...]  # of its input
    program: Callable[[jax.Array], jax.Array]
    value: Callable[[np.ndarray], np.ndarray]


_MATRIX = np.arange(9, dtype=np.float32).reshape(3, 3) / 4


def _batch_of_products(a: jax.Array) -> jax.Array:
    x = jnp.broadcast_to(a[..., None], (2, 200, 64))
    y = x @ jnp.full((2, 64, 200), 0.5, a.dtype)
    return (y + y).sum(2)


def _windows(a: jax.Array) -> jax.Array:
    """Sums over pairs of rows; the columns have holes between them."""
    zero, pair, add = jnp.zeros((), a.dtype), (2, 1), jax.lax.add
    return jax.lax.reduce_window(
        a, zero, add, pair, pair, "VALID", base_dilation=(1, 2)
    )


def _windows_by_hand(a: np.ndarray) -> np.ndarray:
    sums = np.zeros((len(a) // 2, 2 * a.shape[1] - 1))
    sums[:, ::2] = a[::2] + a[1::2]
    return sums


#: What the probe of an unknown jaxlib and the tests try: each is wrong without the flag
#: in the versions from `FIRST` to `LAST`, the third only in 0.10.2.
PATTERNS = (
    Pattern(
        "a product with one number, broadcast, times another, summed",
        (64, 64),
        lambda a: ((a @ jnp.full(a.shape, 0.5, a.dtype)) * a).sum(1),
        lambda a: 0.5 * a.sum(1) ** 2,
    ),
    Pattern(
        "a batch of such products, summed",
        (2, 1),
        _batch_of_products,
        lambda a: np.tile(64 * 200 * a, 200),
    ),
    Pattern(
        "squares of many short products, summed",
        (40_000, 3),
        jax.vmap(lambda row: jnp.square(_MATRIX @ row).sum()),
        lambda a: np.square(a @ _MATRIX.T).sum(1),
    ),
    Pattern("windows over dilated inputs", (64, 128), _windows, _windows_by_hand),
)


def wrong_patterns(options: dict[str, str] | None = None) -> list[str]:
    """The names of the patterns that this XLA computes wrongly under `jax.jit`.

    Args:
        options: compiler options; None for those of the process.

    >>> wrong_patterns()
    []
    """
    found = []
    for name, shape, program, value in PATTERNS:
        a = np.linspace(-1, 2, math.prod(shape), dtype=np.float32).reshape(shape)
        got = jax.jit(program, compiler_options=options)(a)
        if not np.allclose(got, value(a.astype(np.float64)), rtol=1e-3, atol=1e-3):
            found.append(name)
    return found


_warned: list[str] = []


def _warn(what: str) -> None:
    _warned.append(what)
    warnings.warn(
        f"jaxlib {version.__version__} computes some sums wrongly on a CPU, and jaxnn "
        f"cannot protect your own jax.jit: {what}. Import jaxnn before the first array "
        f"is made, or set the environment variable XLA_FLAGS={FLAG} before Python "
        "starts. JAXNN_XLA_GUARD=0 turns this warning off",
        RuntimeWarning,
        stacklevel=3,
    )


def _is_on() -> bool:
    """Whether the choice is left to jaxnn: the user has not made one."""
    others = os.environ.get("XLA_FLAGS", "").replace(FLAG, "")
    return os.environ.get("JAXNN_XLA_GUARD") != "0" and OPTION not in others


def jaxlib_version() -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"\d+", version.__version__)[:4])
