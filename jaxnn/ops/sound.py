# SPDX-License-Identifier: Apache-2.0
"""Power in frequency bands, frame by frame; `nn.data.log_mel`."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike


@partial(jax.jit, static_argnames=("window", "hop", "fft", "floor"))
def log_bands(
    waves: jax.Array, window: int, hop: int, fft: int, bank: ArrayLike, floor: float
) -> jax.Array:
    """`log max(bank |FFT(hann · frame)|², floor)` of each frame, zeros past the end.

    Args:
        waves: floats [..., T].
        window, hop, fft: samples in a frame, from frame to frame, and in its FFT.
        bank: weights [bands, fft / 2 + 1] of frequencies in bands.
        floor: the minimum power.
    Returns: [..., frames, bands], in the dtype of the waves.
    """
    wide = waves if waves.dtype.itemsize >= 4 else waves.astype(jnp.float32)
    spectrum = jnp.fft.rfft(_frames(wide, window, hop), fft)
    power = jnp.square(spectrum.real) + jnp.square(spectrum.imag)
    bands = power @ jnp.asarray(bank).T.astype(power.dtype)
    return jnp.log(jnp.maximum(bands, floor)).astype(waves.dtype)


def _frames(waves: jax.Array, window: int, hop: int) -> jax.Array:
    """Frames [..., frames, window] under the periodic Hann window."""
    samples = waves.shape[-1]
    count = -(-max(samples - window, 0) // hop) + 1
    fill = (count - 1) * hop + window - samples
    waves = jnp.pad(waves, [(0, 0)] * (waves.ndim - 1) + [(0, max(fill, 0))])
    at = np.arange(count)[:, None] * hop + np.arange(window)[None]
    hann = np.square(np.sin(np.pi * np.arange(window) / window))
    return waves[..., at] * jnp.asarray(hann, waves.dtype).reshape(
        (1,) * waves.ndim + (-1,)
    )
