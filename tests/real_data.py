# SPDX-License-Identifier: Apache-2.0
"""Where the real data sets are on this machine, for the tests that need them.

`from real_data import find, needs_mnist` works in every test: pytest puts this folder,
which holds `conftest.py`, on the path.
"""

import os
from pathlib import Path

import pytest

_BESIDE = Path(__file__).resolve().parents[2] / "shared" / "data"


def find(name: str) -> Path | None:
    """The folder of a data set, in `$JAXNN_DATA` or in `../shared/data`."""
    roots = [os.environ.get("JAXNN_DATA"), _BESIDE]
    folders = [Path(root).expanduser() / name for root in roots if root]
    return next((folder for folder in folders if folder.is_dir()), None)


def needs(name: str) -> pytest.MarkDecorator:
    """Skips a test, and says so, where a data set is absent."""
    reason = f"needs the folder {name} in $JAXNN_DATA or in ../shared/data"
    return pytest.mark.skipif(find(name) is None, reason=reason)


needs_mnist = needs("mnist")
needs_fashion_mnist = needs("fashion-mnist")
