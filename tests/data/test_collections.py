# SPDX-License-Identifier: Apache-2.0
"""Texts and time series: small ones from a server and from disk, and the real ones."""

import gzip
import io
import json
import sys
from hashlib import sha256
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from jaxnn import data
from jaxnn.data import corpora, emojis, measurements
from jaxnn.data.published import Collection

TEXTS = {"de": ["Ein Hund.", "Zwei \x85 Hunde."], "en": ["A dog.", "Two dogs."]}
SERIES = b'"Time","A"\r\n"1981-01-01",20.7\r\n"1981-01-02",3'


def gz(lines):
    return gzip.compress("".join(f"{line}\n" for line in lines).encode())


def sheet():
    """A sheet of emoji with one place, which is empty."""
    content = io.BytesIO()
    Image.new("RGBA", (66, 66)).save(content, "PNG")
    return content.getvalue()


ENTRY = {"name": "RED CIRCLE", "category": "Symbols", "has_img_google": True}


HOSTS = (
    "https://raw.githubusercontent.com/",
    *("https://cdn.jsdelivr.net/npm/", "https://unpkg.com/"),
)


#: For each loader: where its collection is, small files by name, and what they give.
CASES = {
    "tiny_shakespeare": (
        (corpora, "TINY_SHAKESPEARE"),
        {"input.txt": b"First Citizen:\r\nSpeak.\n"},
        (),
        "First Citizen:\nSpeak.\n",
    ),
    "rt_polarity": (
        (corpora, "RT_POLARITY"),
        {"rt-polarity.neg": b" dull . \n", "rt-polarity.pos": "süß .\nfun\n".encode()},
        (),
        (["dull .", "süß .", "fun"], np.array([0, 1, 1], np.int32)),
    ),
    "multi30k": (
        (corpora, "MULTI30K"),
        {
            f"{name}.{language}.gz": gz([*lines, name])
            for name in ("train", "val", "test_2016_flickr")
            for language, lines in TEXTS.items()
        },
        (),
        {
            split: ([*TEXTS["de"], name], [*TEXTS["en"], name])
            for split, name in (
                ("train", "train"),
                ("val", "val"),
                ("test", "test_2016_flickr"),
            )
        },
    ),
    "airline_passengers": (
        (measurements, "SERIES"),
        {"airline-passengers.csv": b'"Month","P"\r\n"1949-01",112\r\n"1949-02",118'},
        (),
        (
            np.array(["1949-01", "1949-02"], "datetime64[M]"),
            np.array([112, 118], np.float32),
        ),
    ),
    "melbourne_temperatures": (
        (measurements, "SERIES"),
        {"daily-min-temperatures.csv": SERIES},
        (),
        (
            np.array(["1981-01-01", "1981-01-02"], "datetime64[D]"),
            np.array([20.7, 3], np.float32),
        ),
    ),
    "etth1": (
        (measurements, "SERIES"),
        {
            "ETTh1.csv": b"date,A,OT\n2016-07-01 00:00:00,5.8,30.5\n"
            b"2016-07-01 01:00:00,-1,2\n"
        },
        (),
        (
            np.array(["2016-07-01T00", "2016-07-01T01"], "datetime64[h]"),
            np.array([[5.8, 30.5], [-1, 2]], np.float32),
        ),
    ),
    "beijing_pm25": (
        (measurements, "SERIES"),
        {
            "pollution.csv": b"No,year,month,day,hour,pm2.5,DEWP,TEMP,PRES,cbwd,Iws,"
            b"Is,Ir\n1,2010,12,31,23,NA,-21,-11,1021,NW,1.79,0,0\n"
            b"2,2011,1,1,0,129,-16,-4,1020,cv,0.89,0,1\n"
        },
        (),
        (
            np.array(["2010-12-31T23", "2011-01-01T00"], "datetime64[h]"),
            np.array(
                [
                    [np.nan, -21, -11, 1021, 1.79, 0, 0, 0, 1, 0, 0],
                    [129, -16, -4, 1020, 0.89, 0, 1, 0, 0, 0, 1],
                ],
                np.float32,
            ),
        ),
    ),
    "emoji": (
        (emojis, "EMOJI"),
        {
            "emoji.json": json.dumps([ENTRY | {"sheet_x": 0, "sheet_y": 0}]).encode(),
            "img/google/sheets/64.png": sheet(),
        },
        (),
        (np.ones((1, 48, 48, 3), np.float32), ["red circle"]),
    ),
    "nab": (
        (measurements, "NAB"),
        {
            "data/realTraffic/speed_7578.csv": b"timestamp,value\n"
            b"2015-09-08 11:39:00,73\n2015-09-08 11:44:00,62\n2015-09-08 11:49:00,6.5",
            "labels/combined_windows.json": json.dumps(
                {
                    "realTraffic/speed_7578.csv": [
                        ["2015-09-08 11:44:00.000000", "2015-09-08 11:46:00.000000"]
                    ]
                }
            ).encode(),
        },
        ("speed_7578",),
        measurements.Anomalies(
            np.array(
                ["2015-09-08T11:39:00", "2015-09-08T11:44:00", "2015-09-08T11:49:00"],
                "datetime64[s]",
            ),
            np.array([73, 62, 6.5], np.float32),
            np.array([False, True, False]),
            np.array([["2015-09-08T11:44:00", "2015-09-08T11:46:00"]], "datetime64[s]"),
        ),
    ),
}


@pytest.fixture(params=CASES)
def small(request, server, tmp_path, monkeypatch):
    """A loader whose collection is small files on the test server."""
    (module, name), files, arguments, expected = CASES[request.param]
    collection = getattr(module, name)
    sums = tmp_path / "sums.sha256"
    sums.write_text(
        "".join(
            f"{sha256(content).hexdigest()}  {collection.folder}/{file}\n"
            for file, content in files.items()
        )
    )
    mirrors = (server.mirror("good"),)
    collection = collection._replace(sums=sums, mirrors=mirrors)
    monkeypatch.setattr(module, name, collection)
    server.files.update(files)
    load = getattr(data, request.param)
    return lambda: load(*arguments), collection, files, expected


def assert_same(got, expected):
    if isinstance(expected, dict):
        assert list(got) == list(expected)
        got, expected = tuple(got.values()), tuple(expected.values())
    if isinstance(expected, tuple):
        assert len(got) == len(expected)
        for one, other in zip(got, expected, strict=True):
            assert_same(one, other)
    elif isinstance(expected, np.ndarray):
        np.testing.assert_array_equal(got, expected, strict=True)
    else:
        assert got == expected


def test_files_are_downloaded_once(small, nowhere, server):
    load, collection, files, expected = small
    for _ in range(2):
        assert_same(load(), expected)
    assert len(server.seen) == len(files)
    folder = nowhere[1] / collection.folder
    assert all((folder / name).read_bytes() == files[name] for name in files)


def test_files_of_the_user_come_first(small, nowhere, server):
    load, collection, files, expected = small
    for name, content in files.items():
        path = nowhere[0] / collection.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    assert_same(load(), expected)
    assert server.seen == []


def test_a_changed_file_of_the_user_is_refused(small, nowhere):
    load, collection, files, _ = small
    for name, content in files.items():
        path = nowhere[0] / collection.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content + b" ")
    with pytest.raises(
        ValueError, match=f"{collection.title}: .* is not the file mean"
    ):
        load()


def test_a_file_nowhere_is_asked_for(small, server):
    load, collection, files, _ = small
    server.files.clear()
    with pytest.raises(FileNotFoundError, match="is nowhere to be had") as caught:
        load()
    assert any(f"    {collection.folder}/{name}" in str(caught.value) for name in files)


def test_an_unknown_series_of_nab_is_named():
    with pytest.raises(ValueError, match=r"nab: name .* \(nearest: 'nyc_taxi'\)"):
        data.nab("taxi")


def test_every_collection_has_a_case():
    modules = [m for name, m in sys.modules.items() if name.startswith("jaxnn.data.")]
    found = {c for m in modules for c in vars(m).values() if isinstance(c, Collection)}
    assert found == {getattr(module, name) for (module, name), *_ in CASES.values()}


@pytest.mark.parametrize("loader", CASES)
def test_each_file_that_is_read_has_a_digest_and_addresses(loader):
    (module, name), files, *_ = CASES[loader]
    collection = getattr(module, name)
    assert files.keys() <= collection.digests().keys(), "add to published.sha256"
    for file in map(collection.file, collection.digests()):
        assert len(file.sha256) == 64 and int(file.sha256, 16)
        assert len(file.urls) >= 2
        for url in file.urls:
            assert url.startswith(HOSTS)
            assert url.endswith(f"/{file.name}")


@pytest.mark.needs("tiny-shakespeare")
def test_the_real_shakespeare():
    text = data.tiny_shakespeare()
    assert len(text) == 1_115_394 and len(set(text)) == 65 and text.isascii()


@pytest.mark.needs("rt-polarity")
def test_the_real_reviews():
    texts, labels = data.rt_polarity()
    assert np.bincount(labels).tolist() == [5331, 5331] and len(texts) == 10_662
    assert texts[5331].startswith("the rock is destined to be the 21st century's new")
    assert all(texts)


@pytest.mark.needs("multi30k")
def test_the_real_translations():
    splits = data.multi30k()
    counts = {name: tuple(map(len, pair)) for name, pair in splits.items()}
    assert counts == {"train": (29_000,) * 2, "val": (1014,) * 2, "test": (1000,) * 2}
    german, english = splits["train"]
    assert (
        german[0] == "Zwei junge weiße Männer sind im Freien in der Nähe vieler Büsche."
    )
    assert english[-1].startswith("A man in shorts and a Hawaiian shirt leans")


@pytest.mark.needs("time-series")
def test_the_real_series():
    months, passengers = data.airline_passengers()
    assert str(months[-1]) == "1960-12" and passengers.sum() == 40_363
    days, temperatures = data.melbourne_temperatures()
    assert temperatures.shape == days.shape == (3650,)
    assert temperatures.min() == 0 and temperatures.max() == np.float32(26.3)
    hours, values = data.etth1()
    assert values.shape == (17_420, len(measurements.ETTH1_COLUMNS))
    assert np.unique(np.diff(hours)).astype(int).tolist() == [1]
    assert np.isfinite(values).all()


@pytest.mark.needs("time-series")
def test_the_real_dust_of_beijing():
    hours, values = data.beijing_pm25()
    assert values.shape == (43_824, len(measurements.BEIJING_COLUMNS))
    assert np.unique(np.diff(hours)).astype(int).tolist() == [1]
    assert str(hours[0]) == "2010-01-01T00" and str(hours[-1]) == "2014-12-31T23"
    missing = np.isnan(values)
    assert missing[:, 0].sum() == 2067 and not missing[:, 1:].any()
    assert np.isnan(values[:24, 0]).all() and values[24, 0] == 129
    np.testing.assert_array_equal(values[:, 7:].sum(1), 1)
    assert values[:, 7:].sum(0).tolist() == [4997, 14_150, 15_290, 9387]


#: The steps and the marked windows of each series of NAB that is published.
ANOMALIES = {
    "nyc_taxi": (10_320, 5),
    "ambient_temperature_system_failure": (7267, 2),
    "machine_temperature_system_failure": (22_695, 4),
    "ec2_request_latency_system_failure": (4032, 3),
    "ec2_cpu_utilization_5f5533": (4032, 2),
    "speed_7578": (1127, 4),
    "TravelTime_387": (2500, 3),
}


def test_each_series_of_nab_has_a_digest():
    series = [p for p in measurements.NAB.digests() if p.startswith("data/")]
    assert {Path(path).stem for path in series} == ANOMALIES.keys()


@pytest.mark.needs("nab")
@pytest.mark.parametrize("name", ANOMALIES)
def test_the_real_anomalies(name):
    (steps, windows), series = ANOMALIES[name], data.nab(name)
    assert series.times.shape == series.values.shape == (steps,)
    assert series.windows.shape == (windows, 2)
    begins = np.diff(series.anomalous.astype(int)) == 1
    assert begins.sum() == windows and 0.05 < series.anomalous.mean() < 0.15
