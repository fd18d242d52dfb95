# SPDX-License-Identifier: Apache-2.0
"""Where the files of a data set can be: the user's own folder, or the cache."""

import os
import sys
from pathlib import Path


def own_folder(folder: str) -> Path | None:
    """The folder in `$JAXNN_DATA` where users can put a data set's files."""
    root = os.environ.get("JAXNN_DATA")
    return Path(root).expanduser() / folder if root else None


def cache_folder(folder: str) -> Path:
    """The folder for a data set's downloads, by the system's conventions."""
    if sys.platform == "win32":
        root, usual = os.environ.get("LOCALAPPDATA"), "~/AppData/Local"
    else:
        root, usual = os.environ.get("XDG_CACHE_HOME"), "~/.cache"
    return Path(root or usual).expanduser() / "jaxnn" / folder
