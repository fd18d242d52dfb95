# SPDX-License-Identifier: Apache-2.0
"""The examples as modules, and whether a picture of theirs shows something."""

import importlib.util
from pathlib import Path
from types import ModuleType

EXAMPLES = Path(__file__).parents[1] / "examples"


def load(name: str) -> ModuleType:
    """An example, new at each call, as `python examples/NAME.py` would import it."""
    path = EXAMPLES / f"{name}.py"
    spec = importlib.util.spec_from_file_location(f"example_{name}", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def drawn(path: Path) -> bool:
    """Whether a picture shows something."""
    from matplotlib.image import imread

    return bool(imread(path)[..., :3].std() > 0.03)
