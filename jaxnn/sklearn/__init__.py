# SPDX-License-Identifier: Apache-2.0
"""Networks as estimators of scikit-learn, for its pipelines, searches and scores."""

import importlib
from typing import TYPE_CHECKING, Any

from jaxnn.messages import public

if TYPE_CHECKING:
    from jaxnn.sklearn.estimators import Classifier as Classifier
    from jaxnn.sklearn.estimators import Regressor as Regressor

_NAMES = ("Classifier", "Regressor")


def __getattr__(name: str) -> Any:
    if name not in _NAMES:
        raise AttributeError(name)
    try:
        return getattr(importlib.import_module("jaxnn.sklearn.estimators"), name)
    except ImportError as error:
        raise ImportError(
            f"sklearn.{name} needs scikit-learn 1.6 or newer: "
            "python -m pip install scikit-learn"
        ) from error


public.show(__name__, _NAMES)
