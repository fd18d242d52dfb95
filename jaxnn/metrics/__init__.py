# SPDX-License-Identifier: Apache-2.0
"""Metrics, of two kinds.

Functions `metric(outputs, targets) -> [N]` give one value per example, whose mean over
a data set is exact in any batches: `accuracy`, `top_k_accuracy`, `binary_accuracy`,
`multi_label_accuracy`, `mean_absolute_error`, `mean_squared_error` and every loss.

Metrics that are no such mean are frozen dataclasses with two pure functions, `update`
(a batch to its statistics) and `compute` (statistics to the value): `ConfusionMatrix`,
`Precision`, `Recall`, `F1`, `RocAuc`, `RootMeanSquaredError`, `R2` and `Perplexity`
(`perplexity` is one that ignores no label); `Mean` makes one of a function. All of them
run inside jit, scan and vmap.

What is not counted is not zero: the value of no examples, and of outputs that are NaN
where they count, is NaN. Beside a loss that ignores a label, `fit` and `evaluate` let
every metric that can ignore it too (see `beside`).
"""

from jaxnn.losses import mean_absolute_error as mean_absolute_error
from jaxnn.losses import mean_squared_error as mean_squared_error
from jaxnn.metrics.classes import F1 as F1
from jaxnn.metrics.classes import ConfusionMatrix as ConfusionMatrix
from jaxnn.metrics.classes import Precision as Precision
from jaxnn.metrics.classes import Recall as Recall
from jaxnn.metrics.examples import accuracy as accuracy
from jaxnn.metrics.examples import binary_accuracy as binary_accuracy
from jaxnn.metrics.examples import multi_label_accuracy as multi_label_accuracy
from jaxnn.metrics.examples import top_k_accuracy as top_k_accuracy
from jaxnn.metrics.metric import Mean as Mean
from jaxnn.metrics.metric import Metric as Metric
from jaxnn.metrics.metric import Stats as Stats
from jaxnn.metrics.metric import as_metric as as_metric
from jaxnn.metrics.metric import beside as beside
from jaxnn.metrics.whole import R2 as R2
from jaxnn.metrics.whole import Perplexity as Perplexity
from jaxnn.metrics.whole import RocAuc as RocAuc
from jaxnn.metrics.whole import RootMeanSquaredError as RootMeanSquaredError
from jaxnn.metrics.whole import perplexity as perplexity
