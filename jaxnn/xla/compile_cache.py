# SPDX-License-Identifier: Apache-2.0
"""Keep compiled programs from one run of Python to the next."""

import os
from pathlib import Path

import jax

from jaxnn.files.places import place


def cache(folder: str | Path | None = None) -> Path:
    """Keep compiled programs on disk, so that the next run of a script starts quickly.

    Call it before the first array is created.

    Args:
        folder: where to keep them; by default `jaxnn/xla` in the user's cache folder
            (`$XDG_CACHE_HOME` or `~/.cache`).

    Returns:
        The folder.
    """
    home = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    folder = place(folder or Path(home) / "jaxnn" / "xla", "cache").absolute()
    folder.mkdir(parents=True, exist_ok=True)
    jax.config.update("jax_compilation_cache_dir", str(folder))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.1)
    return folder
