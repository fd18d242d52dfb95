# SPDX-License-Identifier: Apache-2.0
"""Search for hyperparameters: many runs as a few compiled programs."""

from jaxnn.messages import public
from jaxnn.search.cross_validate import CrossValidation as CrossValidation
from jaxnn.search.cross_validate import Fold as Fold
from jaxnn.search.cross_validate import cross_validate as cross_validate
from jaxnn.search.result import Best as Best
from jaxnn.search.result import Row as Row
from jaxnn.search.result import SweepResult as SweepResult
from jaxnn.search.rungs import rungs as rungs
from jaxnn.search.search import Trial as Trial
from jaxnn.search.space import Range as Range
from jaxnn.search.space import integers as integers
from jaxnn.search.space import log_uniform as log_uniform
from jaxnn.search.space import uniform as uniform
from jaxnn.search.splits import fold_rows as fold_rows
from jaxnn.search.sweep import sweep as sweep

public.show(__name__)
