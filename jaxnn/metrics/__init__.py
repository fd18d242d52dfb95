# SPDX-License-Identifier: Apache-2.0
"""Metrics, of three kinds.

Functions `metric(outputs, targets) -> [N]` give one value per example, whose mean over
a data set is exact however it is batched: `accuracy`, `top_k_accuracy`,
`binary_accuracy`, `multi_label_accuracy`, `mean_absolute_error`, `mean_squared_error`
and every loss.

Metrics that are not such a mean are frozen dataclasses with two pure functions,
`update` (from a batch to its statistics) and `compute` (from statistics to the value):
`ConfusionMatrix`, `Precision`, `Recall`, `F1`, `RocAuc`, `RootMeanSquaredError`, `R2`,
`MeanAveragePrecision` and `Perplexity` (`perplexity` is an instance that ignores no
label); `Mean` wraps a function. All of them run inside jit, scan and vmap.

Functions of whole sets are the third kind, for generative models:
`frechet_distance`, `inception_score` and `precision_recall` take the features or
probabilities of all samples and give floats, outside of jit (see
`metrics/generated.py`).

The value is NaN, not zero, if there are no examples or an output that counts is NaN.
With a loss that ignores a label, `fit` and `evaluate` make every metric that can
ignore it do so too (see `beside`).
"""

from jaxnn.losses import mean_absolute_error as mean_absolute_error
from jaxnn.losses import mean_squared_error as mean_squared_error
from jaxnn.messages import public
from jaxnn.metrics.classes import F1 as F1
from jaxnn.metrics.classes import ConfusionMatrix as ConfusionMatrix
from jaxnn.metrics.classes import Precision as Precision
from jaxnn.metrics.classes import Recall as Recall
from jaxnn.metrics.detection import MeanAveragePrecision as MeanAveragePrecision
from jaxnn.metrics.examples import accuracy as accuracy
from jaxnn.metrics.examples import binary_accuracy as binary_accuracy
from jaxnn.metrics.examples import multi_label_accuracy as multi_label_accuracy
from jaxnn.metrics.examples import top_k_accuracy as top_k_accuracy
from jaxnn.metrics.generated import PrecisionRecall as PrecisionRecall
from jaxnn.metrics.generated import frechet_distance as frechet_distance
from jaxnn.metrics.generated import inception_score as inception_score
from jaxnn.metrics.generated import precision_recall as precision_recall
from jaxnn.metrics.metric import Mean as Mean
from jaxnn.metrics.metric import Metric as Metric
from jaxnn.metrics.metric import Stats as Stats
from jaxnn.metrics.metric import as_metric as as_metric
from jaxnn.metrics.metric import beside as beside
from jaxnn.metrics.select import beside_each as beside_each
from jaxnn.metrics.select import select as select
from jaxnn.metrics.whole import R2 as R2
from jaxnn.metrics.whole import Perplexity as Perplexity
from jaxnn.metrics.whole import RocAuc as RocAuc
from jaxnn.metrics.whole import RootMeanSquaredError as RootMeanSquaredError
from jaxnn.metrics.whole import perplexity as perplexity

public.show(__name__)
