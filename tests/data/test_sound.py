# SPDX-License-Identifier: Apache-2.0
"""Spectrograms against SciPy, bands against a loop; silence, short clips, padding."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxnn.data import griffin_lim, log_mel, mel_frames, pad, spoken_digits
from jaxnn.data.sound import mel_bank

RATE = 8000


def noise(*shape, seed=0):
    return np.random.default_rng(seed).uniform(-1, 1, shape).astype(np.float32)


def bands_by_loop(rate, fft, mels, low, high):
    """The filter bank, weight by weight, from its definition."""
    mel = lambda f: 2595 * np.log10(1 + f / 700)  # noqa: E731
    corners = [
        mel(low) + (mel(high) - mel(low)) * i / (mels + 1) for i in range(mels + 2)
    ]
    hertz = [700 * (10 ** (m / 2595) - 1) for m in corners]
    bank = np.zeros((mels, fft // 2 + 1))
    for m in range(mels):
        for k in range(fft // 2 + 1):
            f = k * rate / fft
            if hertz[m] < f <= hertz[m + 1]:
                bank[m, k] = (f - hertz[m]) / (hertz[m + 1] - hertz[m])
            elif hertz[m + 1] < f < hertz[m + 2]:
                bank[m, k] = (hertz[m + 2] - f) / (hertz[m + 2] - hertz[m + 1])
    return bank


@pytest.mark.parametrize(
    ("rate", "fft", "mels", "low", "high"),
    [(8000, 256, 40, 0.0, 4000.0), (16_000, 512, 26, 80.0, 7600.0)],
)
def test_bands_are_those_of_the_definition(rate, fft, mels, low, high):
    want = bands_by_loop(rate, fft, mels, low, high)
    np.testing.assert_allclose(mel_bank(rate, fft, mels, low, high), want, atol=1e-9)
    np.testing.assert_array_equal(want.max(1) <= 1, True)


@pytest.mark.parametrize("samples", [1, 199, 200, 201, 1000])
def test_spectrograms_are_those_of_scipy(samples):
    signal = pytest.importorskip("scipy.signal")
    wave = noise(samples)
    frames = int(mel_frames(samples, RATE))
    padded = np.pad(wave.astype(np.float64), (0, 200 + 80 * (frames - 1) - samples))
    # SciPy's window sums to 1; ours has height 1, so that its scale is the window's sum
    window = signal.get_window("hann", 200, fftbins=True)
    _, _, spectrum = signal.stft(
        padded, RATE, window, 200, 120, nfft=256, boundary=None, padded=False
    )
    power = np.abs(spectrum * window.sum()).T ** 2
    want = np.log(np.maximum(power @ bands_by_loop(RATE, 256, 40, 0, 4000).T, 1e-8))
    got = log_mel(wave, RATE)
    assert got.shape == (frames, 40) and got.dtype == jnp.float32
    np.testing.assert_allclose(got, want, rtol=1e-4, atol=1e-4)


def test_a_batch_is_its_waves_and_jit_changes_nothing():
    waves = noise(2, 3, 900)
    got = jax.jit(lambda x: log_mel(x, RATE, mels=20))(waves)
    assert got.shape == (2, 3, 10, 20)
    np.testing.assert_allclose(
        got[1, 2], log_mel(waves[1, 2], RATE, mels=20), rtol=1e-5
    )


def test_padding_changes_nothing():
    clips = [noise(n, seed=n) for n in (150, 200, 431, 1000)]
    waves, lengths = pad(clips)
    together, frames = log_mel(waves, RATE), mel_frames(lengths, RATE)
    for row, count, clip in zip(together, frames, clips, strict=True):
        alone = log_mel(clip, RATE)
        assert len(alone) == count
        np.testing.assert_allclose(row[:count], alone, rtol=1e-5, atol=1e-5)
        # frames that begin behind the end hear nothing
        silent = row[-(-len(clip) // 80) :]
        np.testing.assert_array_equal(silent, np.float32(np.log(1e-8)))


def test_a_tone_is_heard_in_its_band():
    time = np.arange(2000) / RATE
    corners = 700 * (
        10 ** (np.linspace(0, 2595 * np.log10(1 + 4000 / 700), 22) / 2595) - 1
    )
    for band in (3, 10, 18):
        tone = np.sin(2 * np.pi * corners[band + 1] * time).astype(np.float32)
        assert (log_mel(tone, RATE, mels=20)[:-1].argmax(-1) == band).all()


def test_silence_is_finite_and_so_is_its_gradient():
    silence = jnp.zeros(500)
    value, grad = jax.value_and_grad(lambda x: log_mel(x, RATE).sum())(silence)
    np.testing.assert_allclose(value, 5 * 40 * np.log(1e-8), rtol=1e-6)
    np.testing.assert_array_equal(grad, 0)
    loud = jax.grad(lambda x: log_mel(x, RATE).sum())(noise(500))
    assert np.isfinite(loud).all() and np.abs(loud).max() > 0


def test_narrow_floats_stay_narrow():
    wave = noise(400)
    got = log_mel(wave.astype(jnp.bfloat16), RATE)
    assert got.dtype == jnp.bfloat16
    want = log_mel(wave.astype(jnp.bfloat16).astype(jnp.float32), RATE)
    np.testing.assert_allclose(got.astype(jnp.float32), want, rtol=0.01)


@pytest.mark.parametrize(
    ("waves", "options", "error", "message"),
    [
        (np.ones(99, np.int16), {}, TypeError, r"got int16; .*astype\('float32'\)"),
        (np.ones((3, 0)), {}, ValueError, r"must be \[\.\.\., T\], got shape \(3, 0\)"),
        (np.ones(9), {"rate": 0}, ValueError, "rate must be a positive int, got 0"),
        (
            np.ones(9),
            {"window": 0.0},
            ValueError,
            "window must last at least one sample",
        ),
        (
            np.ones(9),
            {"hop": 1e-5},
            ValueError,
            "hop must last at least one sample, .* in seconds",
        ),
        (np.ones(9), {"mels": 0}, ValueError, "mels must be a positive int"),
        (np.ones(9), {"mels": 200}, ValueError, "band 0 of 200 lies between"),
        (np.ones(9), {"high": 4001.0}, ValueError, "high <= rate / 2 = 4000 Hz"),
        (np.ones(9), {"low": 4000.0}, ValueError, "low < high"),
        (np.ones(9), {"floor": 0.0}, ValueError, "floor must be positive, got 0.0"),
    ],
)
def test_log_mel_refuses(waves, options, error, message):
    with pytest.raises(error, match=f"log_mel: .*{message}"):
        log_mel(waves, **({"rate": RATE} | options))


@pytest.mark.needs("fsdd")
def test_real_digits_are_heard():
    digits = spoken_digits()
    chosen = [digits.clips[i] for i in range(0, 3000, 250)]
    bands = log_mel(pad(chosen).values, digits.rate)
    assert np.isfinite(bands).all() and bands.max() > 0 > bands.min()


def test_waves_of_a_spectrogram_have_that_spectrogram():
    t = np.arange(2000) / RATE
    chirp = np.sin(2 * np.pi * (300 * t + 2000 * t**2)).astype(np.float32)
    options = {"window": 0.032, "hop": 0.008}
    bands = log_mel(np.stack([chirp, 0.1 * chirp]), RATE, **options)
    waves = griffin_lim(bands, RATE, key=jax.random.key(0), **options)
    assert waves.shape == (2, (bands.shape[1] - 1) * 64 + 256)
    assert waves.dtype == jnp.float32
    once = griffin_lim(bands, RATE, key=jax.random.key(0), steps=0, **options)
    bands = np.asarray(bands)[:, 4:-4]  # whole frames
    loud = bands > bands.max((1, 2), keepdims=True) - 4

    def apart(waves):
        return np.abs(np.asarray(log_mel(waves, RATE, **options))[:, 4:-4] - bands)

    assert apart(waves)[loud].mean() < 0.35
    assert apart(once)[loud].mean() > 1.5 * apart(waves)[loud].mean()


def test_silence_is_quiet():
    silence = griffin_lim(
        np.full((3, 40), -60.0, np.float32), RATE, key=jax.random.key(0)
    )
    assert float(jnp.abs(silence).max()) < 1e-6


@pytest.mark.parametrize(
    ("bands", "options", "message"),
    [
        (np.ones((3, 4), np.int32), {}, "bands must be floats"),
        (np.ones(4, np.float32), {}, r"bands must be \[..., frames, mels\]"),
        (np.ones((0, 4), np.float32), {}, r"bands must be \[..., frames, mels\]"),
        (np.ones((3, 4), np.float32), {"steps": -1}, "steps must be an int of 0"),
        (np.ones((3, 4), np.float32), {"hop": 0.025}, "window must be longer than hop"),
        (np.ones((3, 4), np.float32), {"key": 0}, "key must be a random key"),
    ],
)
def test_what_is_no_spectrogram_is_refused(bands, options, message):
    with pytest.raises((TypeError, ValueError), match=f"griffin_lim: {message}"):
        griffin_lim(bands, RATE, **{"key": jax.random.key(0), **options})
