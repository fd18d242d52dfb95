# SPDX-License-Identifier: Apache-2.0
"""Spoken digits from an archive, from a packed file; and what is refused."""

import numpy as np
import pytest
from packing import tar_gz, wav

from jaxnn.data import spoken_digits as load_published
from jaxnn.data.spoken_digits import (
    FSDD,
    PACKED,
    SPEAKERS,
    _digest,
    _Packed,
    load,
)

KEYS = [(0, "george", 7), (0, "theo", 0), (3, "george", 12)]  # in the order published


@pytest.fixture
def places(nowhere):
    """The folder of the set in an empty `$JAXNN_DATA` and in an empty cache."""
    data, cache = nowhere
    return data / "fsdd", cache / "fsdd"


def archive(files):
    return tar_gz(files, "free-spoken-digit-dataset-26eb9aa/")


@pytest.fixture
def clips():
    rng = np.random.default_rng(0)
    return [rng.integers(-(2**15), 2**15, n).astype("<i2") for n in (5, 1, 8)]


@pytest.fixture
def content(clips):
    recordings = {
        f"recordings/{digit}_{speaker}_{take}.wav": wav(samples)
        for (digit, speaker, take), samples in zip(KEYS, clips, strict=True)
    }
    return archive({"README.md": b"words", **dict(reversed(recordings.items()))})


@pytest.fixture
def packed(clips):
    digits, speakers, takes = zip(*KEYS, strict=True)
    return _Packed(
        np.concatenate(clips),
        np.array([0, 5, 6, 14]),
        np.array(digits, np.uint8),
        np.array([SPEAKERS.index(s) for s in speakers], np.uint8),
        np.array(takes, np.uint8),
    )


@pytest.fixture
def small(content, packed, server):
    server.files[FSDD.name] = content
    urls = tuple(server.urls(FSDD.name, "good"))
    return FSDD._replace(sha256=_digest(packed), urls=urls)


def assert_loaded(digits, clips):
    assert len(digits.clips) == 3
    for clip, samples in zip(digits.clips, clips, strict=True):
        expected = samples.astype(np.float32) / 32768
        np.testing.assert_array_equal(clip, expected, strict=True)
    assert [(d, SPEAKERS[s], t) for d, s, t in zip(*digits[1:4], strict=True)] == KEYS
    assert all(a.dtype == np.int32 for a in digits[1:4])
    assert digits.rate == 8000 and digits.names == SPEAKERS


def test_the_archive_is_downloaded_once(small, clips, places, server):
    for _ in range(2):
        assert_loaded(load(small), clips)
    assert len(server.seen) == 1 and (places[1] / FSDD.name).is_file()


def test_an_archive_packed_anew_holds_the_same(small, clips, server):
    """GitHub packs archives when asked, and their bytes have changed before."""
    names = [
        f"recordings/{digit}_{speaker}_{take}.wav" for digit, speaker, take in KEYS
    ]
    server.files[FSDD.name] = archive(
        {name: wav(samples) for name, samples in zip(names, clips, strict=True)}
    )
    assert_loaded(load(small), clips)


@pytest.mark.parametrize("name", [PACKED, FSDD.name])
def test_the_users_file_comes_first(
    name, small, clips, content, packed, places, server
):
    places[0].mkdir(parents=True)
    if name == PACKED:
        np.savez(places[0] / name, **packed._asdict())
    else:
        (places[0] / name).write_bytes(content)
    assert_loaded(load(small), clips)
    assert server.seen == []


def test_a_changed_sample_is_found(small, packed, places):
    packed.samples[3] += 1
    places[0].mkdir(parents=True)
    np.savez(places[0] / PACKED, **packed._asdict())
    with pytest.raises(ValueError, match="does not hold the recordings meant: 3 of"):
        load(small)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"labels": np.array([{}] * 3)}, "cannot be read: Object arrays"),
        ({"takes": None}, "cannot be read: .*takes"),
    ],
    ids=["pickled", "incomplete"],
)
def test_a_spoilt_packed_file_is_named(change, message, small, packed, places):
    arrays = {k: v for k, v in (packed._asdict() | change).items() if v is not None}
    places[0].mkdir(parents=True)
    np.savez(places[0] / PACKED, **arrays)
    with pytest.raises(ValueError, match=f"Spoken Digit Dataset: .*{message}"):
        load(small)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"junk", "cannot be read: Not a gzipped file"),
        (
            archive({"recordings/1_theo_2.wav": b"RIFF"}),
            "cannot be read: .*",
        ),
        (
            archive({"recordings/1_theo_2.wav": wav(np.zeros(4, "<i2"), rate=16_000)}),
            r"a WAV file has \(1, 2, 16000\) channels, bytes and rate",
        ),
        (archive({"recordings/1_nobody_2.wav": wav(np.zeros(4, "<i2"))}), "cannot be"),
        (archive({"README.md": b""}), "does not hold the recordings meant: 0 of them"),
    ],
    ids=["junk", "cut", "rate", "speaker", "empty"],
)
def test_a_wrong_archive_is_named(content, message, small, places):
    places[0].mkdir(parents=True)
    (places[0] / FSDD.name).write_bytes(content)
    with pytest.raises(ValueError, match=message):
        load(small)


@pytest.mark.needs("fsdd")
def test_the_real_recordings():
    digits = load_published()
    counts = np.unique(np.stack(digits[1:4]), axis=1).shape[1]
    assert len(digits.clips) == counts == 3000  # each digit, speaker and take once
    lengths = [len(clip) for clip in digits.clips]
    assert min(lengths) == 1148 and max(lengths) == 18_262
    assert np.median(lengths) == pytest.approx(3358, abs=1)
    assert all(np.abs(clip).max() <= 1 for clip in digits.clips)
    assert (digits.takes < 5).sum() == 300
