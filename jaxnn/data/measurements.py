# SPDX-License-Identifier: Apache-2.0
"""Published time series: passengers, temperatures, electricity, air, anomalies."""

from pathlib import Path
from typing import NamedTuple

import numpy as np

from jaxnn.data.published import Collection, Published, github, obtain
from jaxnn.messages.phrases import nearest

Series = tuple[np.ndarray, np.ndarray]

SERIES = Collection(
    "Time series",
    "time-series",
    (
        *github(
            "jbrownlee/Datasets", "d20fcb6402ae34e653d4513b00f39257bb37ed7f", "master"
        ),
        *github(
            "zhouhaoyi/ETDataset",
            "1d16c8f4f943005d613b5bc962e9eeb06058cf07",
            "main",
            folder="ETT-small/",
        ),
    ),
)
NAB = Collection(
    "NAB",
    "nab",
    github("numenta/NAB", "ea702d75cc2258d9d7dd35ca8e5e2539d71f3140", "master"),
)
_LABELS = "labels/combined_windows.json"
#: The columns of `etth1`: loads (high, middle, low; useful, useless), oil temperature.
ETTH1_COLUMNS = ("HUFL", "HULL", "MUFL", "MULL", "LUFL", "LULL", "OT")
_WINDS = ("NE", "NW", "SE", "cv")
#: The columns of `beijing_pm25`: the dust to be forecast, dew point, temperature, air
#: pressure, wind speed, hours of snow and of rain, and where the wind comes from.
BEIJING_COLUMNS = ("pm2.5", "DEWP", "TEMP", "PRES", "Iws", "Is", "Ir", *_WINDS)


def airline_passengers() -> Series:
    """Monthly passengers of international airlines, from 1949 to 1960.

    The file `airline-passengers.csv` is looked up in `$JAXNN_DATA/time-series`, then in
    the user's cache; otherwise it is downloaded into the cache. It is checked by
    SHA-256.

    Returns:
        `(months, passengers)`: datetime64[M] [144]; float32 [144], in thousands.

    Raises:
        FileNotFoundError: if the file is not found; the error lists every place
            searched and what to do.
        ValueError: if the file in `$JAXNN_DATA` is not what was published.

    Example:
        >>> from jaxnn.data import airline_passengers
        >>> months, passengers = airline_passengers()  # doctest: +SKIP
        >>> passengers[:3], str(months[-1])  # doctest: +SKIP
        (array([112., 118., 132.], dtype=float32), '1960-12')

    Reference:
        Box and Jenkins, Time series analysis: forecasting and control, 1976.
    """
    months, passengers = _columns(SERIES.file("airline-passengers.csv"), "M")
    return months, passengers[:, 0]


def melbourne_temperatures() -> Series:
    """Daily minimum temperatures in Melbourne, from 1981 to 1990.

    The last days of 1984 and 1988 are missing: ten years of 365 days.  The file
    `daily-min-temperatures.csv` is found or downloaded as in `airline_passengers`.

    Returns:
        `(days, temperatures)`: datetime64[D] [3650]; float32 [3650], in degrees
        Celsius, 0.0 to 26.3.

    Raises:
        FileNotFoundError: if the file is not found; the error lists every place
            searched and what to do.
        ValueError: if the file in `$JAXNN_DATA` is not what was published.

    Example:
        >>> from jaxnn.data import melbourne_temperatures
        >>> days, temperatures = melbourne_temperatures()  # doctest: +SKIP
        >>> str(days[0]), temperatures[0]  # doctest: +SKIP
        ('1981-01-01', 20.7)
    """
    days, temperatures = _columns(SERIES.file("daily-min-temperatures.csv"), "D")
    return days, temperatures[:, 0]


def etth1() -> Series:
    """Hourly measurements of an electricity transformer, July 2016 to June 2018.

    Six loads and, last, the oil temperature, which is to be forecast; their names are
    `nn.data.measurements.ETTH1_COLUMNS`.  By convention, the first 12 months (of 30
    days) are for training, the next 4 for validation, and 4 for the test, ending at
    rows 8640, 11520 and 14400.  The file `ETTh1.csv` is found or downloaded (2.6 MB) as
    in `airline_passengers`.

    Returns:
        `(hours, values)`: datetime64[h] [17420]; float32 [17420, 7].

    Raises:
        FileNotFoundError: if the file is not found; the error lists every place
            searched and what to do.
        ValueError: if the file in `$JAXNN_DATA` is not what was published.

    Example:
        >>> from jaxnn.data import etth1
        >>> hours, values = etth1()  # doctest: +SKIP
        >>> values.shape, str(hours[0])  # doctest: +SKIP
        ((17420, 7), '2016-07-01T00')

    Reference:
        Zhou et al., Informer: beyond efficient transformer for long sequence
        time-series forecasting, AAAI 2021 (CC BY-ND 4.0).
    """
    return _columns(SERIES.file("ETTh1.csv"), "h")


def beijing_pm25() -> Series:
    """Hourly fine dust in Beijing and the weather, from 2010 to 2014.

    The names of the columns are `nn.data.measurements.BEIJING_COLUMNS`: PM2.5 in µg/m³,
    NaN in the 2,067 hours in which it is missing (the first day is one of them); dew
    point and temperature in °C, pressure in hPa, wind speed cumulated in m/s, hours of
    snow and rain cumulated; and the wind's direction as four columns, of which one is
    1: northeast, northwest, southeast, calm or variable.  The file `pollution.csv` is
    found or downloaded (2 MB) as in `airline_passengers`.

    Returns:
        `(hours, values)`: datetime64[h] [43824]; float32 [43824, 11].

    Raises:
        FileNotFoundError: if the file is not found; the error lists every place
            searched and what to do.
        ValueError: if the file in `$JAXNN_DATA` is not what was published.

    Example:
        >>> from jaxnn.data import beijing_pm25
        >>> hours, values = beijing_pm25()  # doctest: +SKIP
        >>> str(hours[24]), values[24, :3]  # doctest: +SKIP
        ('2010-01-02T00', array([129., -16.,  -4.], dtype=float32))

    Reference:
        Liang et al., Assessing Beijing's PM2.5 pollution: severity, weather impact,
        APEC and winter heating, Proceedings of the Royal Society A, 2015.
    """
    table = np.loadtxt(
        obtain(SERIES.file("pollution.csv")), str, delimiter=",", skiprows=1
    )
    year, month, day, hour = table[:, 1:5].astype(int).T
    months = (12 * (year - 1970) + month - 1).astype("datetime64[M]")
    hours = (months.astype("datetime64[D]") + day - 1).astype("datetime64[h]") + hour
    numbers = np.delete(table[:, 5:], 4, axis=1)  # all but the wind's direction
    numbers = np.where(numbers == "NA", "nan", numbers).astype(np.float32)
    winds = (table[:, 9:10] == _WINDS).astype(np.float32)
    return hours, np.hstack([numbers, winds])


class Anomalies(NamedTuple):
    """A series with anomalies labeled by people.

    Attributes:
        times: datetime64[s] [T].
        values: float32 [T].
        anomalous: bool [T], whether a time lies in a window.
        windows: datetime64[s] [W, 2], the first and the last time of each anomaly.
    """

    times: np.ndarray
    values: np.ndarray
    anomalous: np.ndarray
    windows: np.ndarray


def nab(name: str) -> Anomalies:
    """A real series of the Numenta Anomaly Benchmark, with its labeled anomalies.

    The names are `nyc_taxi`, `ambient_temperature_system_failure`,
    `machine_temperature_system_failure`, `ec2_request_latency_system_failure`,
    `ec2_cpu_utilization_5f5533`, `speed_7578` and `TravelTime_387`.  Its file, such as
    `data/realKnownCause/nyc_taxi.csv`, and `labels/combined_windows.json` are found or
    downloaded as in `airline_passengers`, in the folder `nab`.

    Returns:
        `(times, values, anomalous, windows)`; see `Anomalies`.

    Raises:
        FileNotFoundError: if a file is not found; the error lists every place searched
            and what to do.
        ValueError: if there is no such series, or a file in `$JAXNN_DATA` is not what
            was published.

    Example:
        >>> from jaxnn.data import nab
        >>> taxi = nab("nyc_taxi")  # doctest: +SKIP
        >>> taxi.values.shape, len(taxi.windows)  # doctest: +SKIP
        ((10320,), 5)

    Reference:
        Lavin and Ahmad, Evaluating real-time anomaly detection algorithms: the Numenta
        Anomaly Benchmark, 2015.
    """
    import json

    path = _series_path(name)
    labels = json.loads(obtain(NAB.file(_LABELS)).read_text("utf-8"))
    marked = labels[path.removeprefix("data/")]
    windows = np.array(marked, "datetime64[us]").reshape(-1, 2).astype("datetime64[s]")
    times, values = _columns(NAB.file(path), "s")
    inside = (times >= windows[:, :1]) & (times <= windows[:, 1:])
    return Anomalies(times, values[:, 0], np.any(inside, axis=0), windows)


def _series_path(name: str) -> str:
    """The path in the benchmark of a series that is given by its file name."""
    paths = {Path(path).stem: path for path in NAB.digests() if path.endswith(".csv")}
    if name not in paths:
        hint = nearest(str(name), paths)
        raise ValueError(f"nab: name must be one of {list(paths)}, got {name!r}{hint}")
    return paths[name]


def _columns(file: Published, unit: str) -> Series:
    """The times in the first column, in the given unit, and the other columns."""
    table = np.loadtxt(
        obtain(file), str, delimiter=",", skiprows=1, quotechar='"', encoding="utf-8"
    )
    times = table[:, 0].astype("datetime64[s]").astype(f"datetime64[{unit}]")
    return times, table[:, 1:].astype(np.float32)
