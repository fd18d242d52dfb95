"""Strict flags for every test: nothing is promoted or broadcast in silence."""

import gc
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
    *("orl_faces", "bccd", "emoji", "beijing_pm25"),
    *("airline_passengers", "melbourne_temperatures", "etth1", "nab"),
)

#: A CPU as eight devices, for the tests of layouts.
EIGHT_DEVICES = "--xla_force_host_platform_device_count=8"
#: XLA's options for the thousands of small programs of the tests: two thirds of their
#: time was the compiler. Slow tests of whole programs run as users run them: examples,
#: notebooks and benchmarks, all of which are `tests/test_*.py`.
COMPILE_FAST = (
    "--xla_backend_optimization_level=0",
    "--xla_llvm_disable_expensive_passes=true",
    "--xla_cpu_parallel_codegen_split_count=1",
)
#: The older way to write the code of a fusion, without MLIR: half of the time again.
WITHOUT_MLIR = "--xla_cpu_use_fusion_emitters=false"


def pytest_configure(config):
    """Choose XLA's options before it starts."""
    options = [EIGHT_DEVICES]
    if config.option.markexpr in ("not slow", "quick") or parts_only(config):
        options += fast_options()
    os.environ["XLA_FLAGS"] = " ".join([os.environ.get("XLA_FLAGS", ""), *options])


def fast_options():
    """What makes XLA compile fast, of what this version knows."""
    options = [*COMPILE_FAST]
    if jax.version.__version_info__ < (0, 11):  # later ones know no such option
        options.append(WITHOUT_MLIR)
    return options


def parts_only(config):
    """Whether only tests of parts of the library were asked for: folders of `tests`."""
    tests, started = Path(__file__).parent, config.invocation_params.dir
    asked = [(started / arg.split("::")[0]).resolve() for arg in config.args]
    folders = [path if path.is_dir() else path.parent for path in asked]
    return all(tests in folder.parents for folder in folders)


# Tracing makes millions of short-lived objects: the collector took 7 % of the time.
gc.set_threshold(100_000, 50, 100)
matplotlib.use("Agg")  # pictures go to files: no test opens a window
jax.config.update("jax_numpy_rank_promotion", "raise")
jax.config.update("jax_numpy_dtype_promotion", "strict")


@pytest.fixture
def key():
    """A fixed random key."""
    return jax.random.key(0)


@pytest.fixture
def double():
    """float64 for the time of a test."""
    with jax.enable_x64(True):
        yield


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
