# SPDX-License-Identifier: Apache-2.0
"""Module names from version 0.1, which work with a warning until version 0.3."""

import importlib
import sys
import warnings
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType

MOVED = {
    "jaxnn.arrays": "jaxnn.inputs.arrays",
    "jaxnn.combine": "jaxnn.layers.combine",
    "jaxnn.compile_cache": "jaxnn.xla.compile_cache",
    "jaxnn.contracts": "jaxnn.losses.contracts",
    "jaxnn.feature_maps": "jaxnn.pictures.feature_maps",
    "jaxnn.figures": "jaxnn.files.figures",
    "jaxnn.freezing": "jaxnn.optimizers.groups",
    "jaxnn.pairs": "jaxnn.losses.pairs",
    "jaxnn.signatures": "jaxnn.checks",
    "jaxnn.train.outputs": "jaxnn.train.facts",
    "jaxnn.train.shapes": "jaxnn.train.traced_once",
    "jaxnn.train.updates": "jaxnn.train.step",
    "jaxnn.train.watch": "jaxnn.train.early_stopping",
    "jaxnn.train.weights": "jaxnn.train.example_weights",
    "jaxnn.transformer": "jaxnn.layers.transformer",
}


class _Moved(MetaPathFinder, Loader):
    """Finds the modules in `MOVED`; each takes its names from the new module."""

    def find_spec(self, fullname, path=None, target=None) -> ModuleSpec | None:
        return ModuleSpec(fullname, self) if fullname in MOVED else None

    def exec_module(self, module: ModuleType) -> None:
        old, new = module.__name__, MOVED[module.__name__]
        warnings.warn(
            f"{old} is now {new}; the old name will be removed in version 0.3",
            FutureWarning,
            stacklevel=2,
        )
        target = importlib.import_module(new)
        module.__doc__ = target.__doc__
        module.__getattr__ = lambda name: getattr(target, name)  # type: ignore


sys.meta_path.append(_Moved())
