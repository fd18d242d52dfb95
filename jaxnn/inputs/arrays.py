# SPDX-License-Identifier: Apache-2.0
"""Arrays from the user: converted for JAX without changing a value, or rejected.

Everything from outside passes through here: the data of `fit`, `evaluate` and
`predict`, the inputs of `init` and `apply`, the arguments of `nn.data`. Only NumPy is
imported, since `nn.data` works without JAX.
"""

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from jaxnn.messages.phrases import place_of

if TYPE_CHECKING:
    import jax

#: What to do with arrays that hold no numbers, by the kind of their dtype.
_INSTEAD = {
    "O": "make numbers of it with a.astype('float32')",
    "S": "number its words with np.unique(a, return_inverse=True)[1]",
    "U": "number its words with np.unique(a, return_inverse=True)[1]",
    "T": "number its words with np.unique(a, return_inverse=True)[1]",
    "M": "count from a start, such as (a - a.min()) / np.timedelta64(1, 'D')",
    "m": "divide by a unit, such as a / np.timedelta64(1, 's')",
    "V": "take one field of it, a['name']",
}


def native(what: str, a: Any) -> np.ndarray:
    """A NumPy array with the same values, in a dtype that JAX also has.

    Args:
        what: what to call the array in messages, after its owner: `fit: data inputs`.
        a: whatever `np.asarray` takes.

    Raises:
        TypeError: if it is sparse, or holds no numbers.
        ValueError: if an element is masked, or a long double does not fit a double.

    >>> native("x", np.array([1, 2], ">i4")).dtype
    dtype('int32')
    """
    found = plain(what, a)
    dtype = found.dtype
    # (The dtypes of ml_dtypes, such as bfloat16, are of kind V too.)
    if dtype.kind not in "biufcV" or dtype.type is np.void:
        if is_frame(a):
            raise TypeError(f"{what} {_wrong_columns(a)}")
        kind = "U" if _is_text(found) else dtype.kind
        raise TypeError(
            f"{what} must hold numbers, got an array of {dtype!s:.60}; "
            f"{_INSTEAD.get(kind, 'make numbers of it')}"
        )
    return found


def is_frame(a: Any) -> bool:
    """Whether `a` is a table with named columns, such as a DataFrame of pandas."""
    return hasattr(a, "columns") and hasattr(a, "to_numpy")


def _wrong_columns(frame: Any) -> str:
    """The error message for a frame that does not become an array of numbers."""
    columns = zip(frame.columns, frame.dtypes, strict=True)
    wrong = [f"{name!r} ({d})" for name, d in columns if not _is_plain_number(d)]
    return (
        f"must hold numbers, got a {type(frame).__name__} with "
        f"{', '.join(wrong[:8])}; df.to_numpy('float32') makes numbers of it, once "
        "text is encoded, as by df = pd.get_dummies(df)"
    )


def _is_plain_number(dtype: Any) -> bool:
    return isinstance(dtype, np.dtype) and dtype.kind in "iuf"


def _is_text(a: np.ndarray) -> bool:
    """Whether an array of objects holds text alone."""
    return a.dtype == object and all(isinstance(value, str) for value in a.flat)


def plain(what: str, a: Any) -> np.ndarray:
    """A NumPy array of the same values, whether they are numbers or not.

    Big-endian numbers are byte-swapped; a long double becomes a double if it is exact.

    Args, Raises: as for `native`.
    """
    if is_sparse(a):
        raise TypeError(
            f"{what} must be a dense array, got a sparse {type(a).__name__}; its "
            "toarray() or todense() makes one"
        )
    if isinstance(a, np.ma.MaskedArray):
        _check_unmasked(what, a)
    try:
        found = np.asarray(a)
    except Exception as error:
        raise TypeError(
            f"{what} must become a NumPy array, got {type(a).__name__} ({error})"
        ) from error
    dtype = found.dtype
    if dtype.kind in "fc" and dtype.itemsize > (8 if dtype.kind == "f" else 16):
        return _double(what, found)
    return found if dtype.isnative else found.astype(dtype.newbyteorder("="))


def is_sparse(a: Any) -> bool:
    """Whether `a` is a sparse matrix of SciPy, JAX or another library."""
    return hasattr(a, "todense")


def _check_unmasked(what: str, a: np.ma.MaskedArray) -> None:
    mask = np.ma.getmaskarray(a)
    if mask.dtype == bool and mask.any():  # (that of records has fields)
        raise ValueError(
            f"{what} must not be masked, but {place_of(mask)} is ({int(mask.sum())} "
            f"of {mask.size} numbers); fill them with a.filled(value), or leave the "
            "examples out"
        )


def _double(what: str, a: np.ndarray) -> np.ndarray:
    """Long doubles as doubles, if no digit is lost."""
    with np.errstate(over="ignore"):
        found = a.astype(np.float64 if a.dtype.kind == "f" else np.complex128)
    bad = (found != a) & ~np.isnan(a)
    if bad.any():
        raise ValueError(
            f"{what} must fit {found.dtype}, but {place_of(bad)} has more digits "
            f"({int(bad.sum())} such numbers of {a.dtype}); where they do not matter, "
            f"convert them with a.astype('{found.dtype}')"
        )
    return found


def check_fits(what: str, a: np.ndarray) -> None:
    """Raise unless JAX's dtype for an array can hold each of its values.

    Without `jax_enable_x64`, int64 becomes int32, and float64 becomes float32, which
    rounds, but turns values above 3.4e38 into infinity.
    """
    import jax

    own = jax.dtypes.canonicalize_dtype(a.dtype)
    if own == a.dtype or not a.size:
        return
    if own.kind in "iu":
        limits = np.iinfo(own)
        low, high = limits.min, limits.max
        if low <= a.min() and a.max() <= high:
            return
        bad = (a < low) | (a > high)
        advice = "subtract an offset, or, where rounding is right, a.astype('float32')"
    else:
        with np.errstate(over="ignore", invalid="ignore"):
            if own.kind == "f" and np.isfinite(own.type([a.min(), a.max()])).all():
                return
            bad = np.isinf(a.astype(own)) & np.isfinite(a)
        advice = "scale it"
    if bad.any():
        where, count = place_of(bad), int(bad.sum())
        raise ValueError(
            f"{what} must fit {own}, which JAX makes of {a.dtype}, but {where} is "
            f"{a[bad][0]} ({count} such number{'s' if count > 1 else ''}); {advice}, "
            "or jax.config.update('jax_enable_x64', True)"
        )


def checked(what: str, a: Any) -> Any:
    """A JAX array as it is, any other by NumPy, if JAX can hold its values."""
    import jax
    from jax.core import Tracer

    if isinstance(a, jax.Array):
        if not isinstance(a, Tracer) and a.is_deleted():
            raise ValueError(
                f"{what} must still exist, but this jax.Array was deleted, as one that "
                "is donated to a jitted function is; give that function a copy, "
                "jnp.copy(a)"
            )
        return a
    found = native(what, a)
    check_fits(what, found)
    return found


def to_jax(what: str, a: Any) -> "jax.Array":
    """A JAX array that no one else can modify, copied once.

    On a CPU, JAX shares the memory of a NumPy array where it can; where it cannot, it
    copies it while the program continues. Either way it could read what the owner of
    the array writes next.
    """
    import jax

    found = checked(what, a)
    if isinstance(found, jax.Array):
        return found
    # (`jnp.asarray` compiles a program for each shape, and copies after it returns.)
    with jax.ensure_compile_time_eval():
        put = jax.block_until_ready(jax.device_put(found))
        if _may_share(put, found):
            own = zeros(found.shape, found.dtype)
            own[...] = found
            put = jax.device_put(own)
    return put


def _may_share(a: "jax.Array", b: np.ndarray) -> bool:
    """Whether a JAX array may share the memory of a NumPy array."""
    devices = a.devices()
    if not b.size or any(device.platform != "cpu" for device in devices):
        return False
    return len(devices) > 1 or a.unsafe_buffer_pointer() == b.ctypes.data


def zeros(shape: tuple[int, ...], dtype: Any) -> np.ndarray:
    """Zeros in memory aligned to 64 bytes, which JAX on a CPU takes as it is."""
    dtype = np.dtype(dtype)
    size = math.prod(shape) * dtype.itemsize
    room = np.zeros(size + 64, np.uint8)
    start = -room.ctypes.data % 64
    return room[start : start + size].view(dtype).reshape(shape)
