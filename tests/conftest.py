"""Strict flags for every test: nothing is promoted or broadcast in silence."""

import os
import tempfile
from pathlib import Path

# One compilation cache for all test runs of a machine: most of a test's time is XLA.
os.environ.setdefault(
    "JAX_COMPILATION_CACHE_DIR", str(Path(tempfile.gettempdir()) / "jaxnn-test-cache")
)
os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0")
os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES", "-1")

import jax
import matplotlib
import pytest

import jaxnn as nn

BESIDE = Path(__file__).resolve().parents[2] / "shared" / "data"
PUBLISHED = (
    *("mnist", "fashion_mnist", "cifar10", "isbi_em", "spoken_digits"),
    *("tiny_shakespeare", "rt_polarity", "multi30k"),
    *("airline_passengers", "melbourne_temperatures", "etth1", "nab"),
)

matplotlib.use("Agg")  # pictures go to files: no test opens a window
jax.config.update("jax_numpy_rank_promotion", "raise")
jax.config.update("jax_numpy_dtype_promotion", "strict")


@pytest.fixture
def key():
    """A fixed random key."""
    return jax.random.key(0)


@pytest.fixture
def compiled():
    """The names of the programs that are compiled."""
    names = []

    def listen(name, seconds, fun_name="", **_):
        if "backend_compile" in name:
            names.append(fun_name)

    jax.monitoring.register_event_duration_secs_listener(listen)
    yield names
    jax.monitoring.unregister_event_duration_listener(listen)


@pytest.fixture(scope="module", autouse=True)
def forget_programs():
    """Let go of a module's compiled programs.

    Those of all tests together take more memory mappings than Linux gives a process
    (65,530), and the compiler crashes; the cache on disk keeps what modules share.
    """
    yield
    jax.clear_caches()


@pytest.fixture(autouse=True)
def real_data(request, monkeypatch) -> Path | None:
    """The folder of the real data set that a test is marked to need, or a skip.

    It is looked for in `$JAXNN_DATA`, which then names its parent, and in a folder
    `shared/data` beside the checkout.
    """
    mark = request.node.get_closest_marker("needs")
    if not mark:
        return None
    (name,) = mark.args
    roots = [os.environ.get("JAXNN_DATA"), BESIDE]
    folders = [Path(root).expanduser() / name for root in roots if root]
    folder = next((folder for folder in folders if folder.is_dir()), None)
    if folder is None:
        pytest.skip(f"needs the folder {name} in $JAXNN_DATA")
    monkeypatch.setenv("JAXNN_DATA", str(folder.parent))
    return folder


@pytest.fixture
def offline(monkeypatch):
    """Any use of published data is a failure."""

    def refuse(*_):
        pytest.fail("--small must run on a machine without the data")

    for name in PUBLISHED:
        monkeypatch.setattr(nn.data, name, refuse)
