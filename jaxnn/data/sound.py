# SPDX-License-Identifier: Apache-2.0
"""Spectrograms of sound on the mel scale, in JAX."""

from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from jaxnn.data.checks import first, integer, positive
from jaxnn.inputs.arrays import plain, to_jax

if TYPE_CHECKING:
    import jax


def log_mel(
    waves: "ArrayLike | jax.Array",
    rate: int,
    *,
    mels: int = 40,
    window: float = 0.025,
    hop: float = 0.010,
    low: float = 0.0,
    high: float | None = None,
    floor: float = 1e-8,
) -> "jax.Array":
    """Log-mel spectrograms: the log power in each mel band, frame by frame.

    `log max(M |FFT(w · frame)|², floor)`, in nats. Frame i starts at sample i · hop and
    is weighted by the periodic Hann window w; the last frame is padded with zeros. The
    FFT length is the smallest power of 2 that holds a frame. Band m of M is a triangle
    of height 1 over the frequencies, with corners equally spaced in mel =
    2595 log₁₀(1 + f / 700) (O'Shaughnessy's formula, as in HTK).

    Padding a wave with zeros does not change its `mel_frames(samples, rate)` frames:
    pad clips to one length, and use their numbers of frames as the sequence lengths.
    Silence is log floor.

    A pure function, compatible with jit and grad; all arguments but `waves` are
    constants.

    Args:
        waves: floats [..., T], from -1 to 1.
        rate: samples per second.
        mels: M, the number of bands.
        window, hop: the length of a frame, and the time between frames, in seconds.
        low, high: the lowest and the highest frequency in Hz; `high` is rate / 2 by
            default.
        floor: the minimum power, so that silence is finite.

    Returns:
        [..., frames, M], of the waves' dtype.

    Raises:
        TypeError: if waves are not floats.
        ValueError: if there are no samples, an option is out of range, or a band is so
            narrow that no frequency of the FFT lies in it.

    Example:
        >>> import numpy as np
        >>> from jaxnn.data import log_mel
        >>> tone = np.sin(2 * np.pi * 440 * np.arange(800) / 8000)
        >>> bands = log_mel(tone.astype(np.float32), 8000, mels=20)
        >>> bands.shape, int(bands.mean(0).argmax())
        ((9, 20), 4)

    Reference:
        Davis and Mermelstein, Comparison of parametric representations for
        monosyllabic word recognition, 1980.
    """
    import jax.numpy as jnp

    from jaxnn.ops.sound import log_bands

    x = to_jax("log_mel: waves", waves)
    if not jnp.issubdtype(x.dtype, jnp.floating):
        raise TypeError(
            f"log_mel: waves must be floats in -1 to 1, got {x.dtype}; of 16-bit "
            "samples take waves.astype('float32') / 2**15"
        )
    if not x.ndim or not x.shape[-1]:
        raise ValueError(f"log_mel: waves must be [..., T], got shape {x.shape}")
    if not floor > 0:
        raise ValueError(f"log_mel: floor must be positive, got {floor}")
    grid = _grid("log_mel", rate, window, hop)
    bank = mel_bank(rate, grid.fft, mels, low, high)
    return log_bands(x, *grid, bank, float(floor))


def griffin_lim(
    bands: "ArrayLike | jax.Array",
    rate: int,
    *,
    key: "jax.Array",
    steps: int = 60,
    window: float = 0.025,
    hop: float = 0.010,
    low: float = 0.0,
    high: float | None = None,
) -> "jax.Array":
    """Waves whose log-mel spectrograms come close to given ones.

    The inverse of `log_mel`, as far as there is one: a spectrogram says nothing of
    phases. They begin at random and become, step by step, those that frames which
    overlap can have together.

    A pure function, compiled once for each shape; all arguments but `bands` and `key`
    are constants.

    Args:
        bands: log-mel spectrograms [..., frames, M], floats, in nats.
        rate: samples per second.
        key: a random key, for the first phases.
        steps: how often the phases are adjusted, 0 or more.
        window, hop, low, high: as they were for `log_mel`; the window must be longer
            than the hop.

    Returns:
        [..., (frames − 1) · hop + window], of the bands' dtype. The scale is that of
        the waves; clip to −1 to 1 before you write a file.

    Raises:
        TypeError: if bands are not floats, or key is not a random key.
        ValueError: if there are no frames, an option is out of range, or frames do not
            overlap.

    Example:
        >>> import jax, numpy as np
        >>> from jaxnn.data import griffin_lim, log_mel
        >>> tone = np.sin(2 * np.pi * 440 * np.arange(800) / 8000).astype(np.float32)
        >>> wave = griffin_lim(log_mel(tone, 8000), 8000, key=jax.random.key(0))
        >>> wave.shape, int(abs(np.fft.rfft(wave)).argmax() * 8000 / len(wave))
        ((840,), 438)

    Reference:
        Griffin and Lim, Signal estimation from modified short-time Fourier transform,
        1984; Perraudin, Balazs and Søndergaard, A fast Griffin-Lim algorithm, 2013.
    """
    import jax.numpy as jnp

    from jaxnn.keys import check_key
    from jaxnn.ops.sound import waves_of_bands

    x = to_jax("griffin_lim: bands", bands)
    if not jnp.issubdtype(x.dtype, jnp.floating):
        raise TypeError(f"griffin_lim: bands must be floats, in nats, got {x.dtype}")
    if x.ndim < 2 or not x.shape[-2]:
        raise ValueError(
            f"griffin_lim: bands must be [..., frames, mels], got shape {x.shape}"
        )
    if (count := integer(steps)) is None or count < 0:
        raise ValueError(f"griffin_lim: steps must be an int of 0 or more, got {steps}")
    grid = _grid("griffin_lim", rate, window, hop)
    if grid.hop >= grid.window:
        raise ValueError(
            "griffin_lim: window must be longer than hop, so that frames overlap, got "
            f"{window} s and {hop} s"
        )
    check_key(key, "griffin_lim")
    bank = mel_bank(rate, grid.fft, x.shape[-1], low, high)
    return waves_of_bands(x, *grid, bank, count, key)


def mel_frames(
    samples: ArrayLike, rate: int, *, window: float = 0.025, hop: float = 0.010
) -> np.ndarray:
    """The number of frames that `log_mel` computes from a number of samples.

    `⌈max(samples − window, 0) / hop⌉ + 1`, all in samples.

    Args:
        samples: lengths of clips, integers of 1 or more, of any shape.
        rate, window, hop: as for `log_mel`.

    Returns:
        int32, of the same shape.

    Example:
        >>> from jaxnn.data import mel_frames
        >>> mel_frames([100, 201, 800], 8000)
        array([1, 2, 9], dtype=int32)
    """
    grid = _grid("mel_frames", rate, window, hop)
    given = plain("mel_frames: samples", samples)
    if given.dtype.kind not in "iu":
        raise TypeError(f"mel_frames: samples must be integers, got {given.dtype}")
    beyond = np.maximum(given.astype(np.int64) - grid.window, 0)
    frames = np.asarray(-(-beyond // grid.hop) + 1)
    if (large := frames > np.iinfo(np.int32).max).any():
        raise ValueError(
            "mel_frames: samples must make fewer than 2**31 frames, got "
            f"{first(large, given, 'samples')}"
        )
    return frames.astype(np.int32)


class _Grid(NamedTuple):
    """The lengths of a frame, of the hop and of the FFT, in samples."""

    window: int
    hop: int
    fft: int


def _grid(owner: str, rate: int, window: float, hop: float) -> _Grid:
    count = positive(owner, "rate", rate)
    sizes = {"window": round(window * count), "hop": round(hop * count)}
    for name, size in sizes.items():
        if size < 1:
            raise ValueError(
                f"{owner}: {name} must last at least one sample, 1 / {count} s, got "
                f"{window if name == 'window' else hop} s; it is in seconds"
            )
    return _Grid(**sizes, fft=1 << (sizes["window"] - 1).bit_length())


@lru_cache
def mel_bank(
    rate: int, fft: int, mels: int, low: float = 0.0, high: float | None = None
) -> np.ndarray:
    """The weight of each frequency of an FFT in each mel band; see `log_mel`.

    Args:
        rate: samples per second.
        fft: samples of the FFT.
        mels: the number of bands.
        low, high: the lowest and the highest frequency in Hz; `high` is rate / 2 by
            default.

    Returns:
        float64 [mels, fft / 2 + 1].

    Raises:
        ValueError: if an option is out of range, or no frequency lies in a band.

    Example:
        >>> from jaxnn.data.sound import mel_bank
        >>> mel_bank(8, 8, 1).round(2)  # 0, 1, 2, 3 and 4 Hz
        array([[0. , 0.5, 1. , 0.5, 0. ]])
    """
    top = rate / 2 if high is None else high
    if not 0 <= low < top <= rate / 2:
        raise ValueError(
            f"log_mel: low and high must be 0 <= low < high <= rate / 2 = {rate / 2:g} "
            f"Hz, got {low} and {top}"
        )
    mel = np.linspace(_mel(low), _mel(top), positive("log_mel", "mels", mels) + 2)
    corners = 700 * (10 ** (mel / 2595) - 1)
    frequencies = np.arange(fft // 2 + 1) * rate / fft
    left, peak, right = (corners[i : mels + i, None] for i in range(3))
    rising = (frequencies[None] - left) / (peak - left)
    falling = (right - frequencies[None]) / (right - peak)
    bank = np.maximum(np.minimum(rising, falling), 0)
    if not (heard := bank.any(1)).all():
        band = int(heard.argmin())
        raise ValueError(
            f"log_mel: band {band} of {mels} lies between two frequencies of the FFT, "
            f"which are {rate / fft:.3g} Hz apart; take fewer mels or a longer window"
        )
    return bank


def _mel(frequency: float) -> float:
    return 2595 * np.log10(1 + frequency / 700)
