# SPDX-License-Identifier: Apache-2.0
"""Waves to power in frequency bands and back; `nn.data.log_mel`, `griffin_lim`."""

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
    return waves[..., _places(count, window, hop)] * _hann(window, waves)


def _places(count: int, window: int, hop: int) -> np.ndarray:
    """The samples of each frame, [frames, window]."""
    return np.arange(count)[:, None] * hop + np.arange(window)[None]


def _hann(window: int, like: jax.Array) -> jax.Array:
    """The periodic Hann window, with as many axes as the frames of these waves."""
    return jnp.asarray(_window(window), like.dtype).reshape((1,) * like.ndim + (-1,))


def _window(window: int) -> np.ndarray:
    return np.square(np.sin(np.pi * np.arange(window) / window))


@partial(jax.jit, static_argnames=("window", "hop", "fft", "steps"))
def waves_of_bands(
    bands: jax.Array,
    window: int,
    hop: int,
    fft: int,
    bank: ArrayLike,
    steps: int,
    key: jax.Array,
) -> jax.Array:
    """Waves [..., T] of `log_bands` [..., frames, bands], by Griffin and Lim.

    The power of each frequency is the non-negative one whose bands come closest. The
    phases begin at random; each step takes those of the frames of the wave so far, with
    the momentum of Perraudin et al., 2013.
    """
    wide = bands if bands.dtype.itemsize >= 4 else bands.astype(jnp.float32)
    size = jnp.sqrt(_power(jnp.exp(wide), jnp.asarray(bank, wide.dtype)))

    def step(_, carry):
        spectrum, before = carry
        wave = _overlapped(spectrum, window, hop, fft)
        found = jnp.fft.rfft(_frames(wave, window, hop), fft)
        ahead = found + MOMENTUM * (found - before)
        return _of_size(ahead, size), found

    angles = jax.random.uniform(key, size.shape, size.dtype, maxval=2 * np.pi)
    first = jax.lax.complex(size * jnp.cos(angles), size * jnp.sin(angles))
    spectrum, _ = jax.lax.fori_loop(0, steps, step, (first, jnp.zeros_like(first)))
    return _overlapped(spectrum, window, hop, fft).astype(bands.dtype)


#: How far phases are carried on beyond those found, of Perraudin et al., 2013.
MOMENTUM = 0.99


def _of_size(spectrum: jax.Array, size: jax.Array) -> jax.Array:
    """The phases of a spectrum, with these sizes; 0 stays 0."""
    own = jnp.abs(spectrum)
    scale = size / jnp.where(own > 0, own, 1)
    return jax.lax.complex(spectrum.real * scale, spectrum.imag * scale)


def _power(bands: jax.Array, bank: jax.Array) -> jax.Array:
    """Powers [..., frequencies] >= 0 whose bands are these, by Lee and Seung, 2001."""
    aim = bands @ bank

    def step(_, power):
        return power * aim / jnp.maximum(power @ bank.T @ bank, 1e-12)

    return jax.lax.fori_loop(0, 50, step, aim)


def _overlapped(spectrum: jax.Array, window: int, hop: int, fft: int) -> jax.Array:
    """The wave whose frames come closest to those of a spectrum."""
    frames = jnp.fft.irfft(spectrum, fft)[..., :window]
    hann = _hann(window, frames[..., 0])
    count = frames.shape[-2]
    places = _places(count, window, hop)
    zeros = jnp.zeros((*frames.shape[:-2], int(places[-1, -1]) + 1), frames.dtype)
    wave = zeros.at[..., places].add(frames * hann)
    cover = np.zeros(zeros.shape[-1])
    np.add.at(cover, places, np.square(np.asarray(_window(window)))[None])
    known = cover > 1e-3
    scale = np.where(known, 1 / np.where(known, cover, 1), 0)
    return wave * jnp.asarray(scale, wave.dtype).reshape((1,) * (wave.ndim - 1) + (-1,))
