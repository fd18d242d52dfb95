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

matplotlib.use("Agg")  # pictures go to files: no test opens a window
jax.config.update("jax_numpy_rank_promotion", "raise")
jax.config.update("jax_numpy_dtype_promotion", "strict")


@pytest.fixture
def key():
    """A fixed random key."""
    return jax.random.key(0)


@pytest.fixture(scope="module", autouse=True)
def forget_programs():
    """Let go of a module's compiled programs.

    Those of all tests together take more memory mappings than Linux gives a process
    (65,530), and the compiler crashes; the cache on disk keeps what modules share.
    """
    yield
    jax.clear_caches()
