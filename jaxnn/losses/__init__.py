# SPDX-License-Identifier: Apache-2.0
"""Losses: `loss(outputs, targets) -> [N]`, one value per example.

=======================  ====================  =======
loss                     outputs               targets
=======================  ====================  =======
mean_squared_error       any                   numbers
sum_squared_error        any                   numbers
mean_absolute_error      any                   numbers
sum_absolute_error       any                   numbers
root_mean_squared_error  any                   numbers
huber, log_cosh          any                   numbers
softmax_cross_entropy    logits                classes
cross_entropy            probabilities         classes
likelihood               probabilities         classes
negative_log_likelihood  log probabilities     classes
kl_divergence            log probabilities     classes
sigmoid_cross_entropy    binary logits         binary
binary_cross_entropy     binary probabilities  binary
hinge                    binary logits         binary
ctc                      logits                classes
=======================  ====================  =======

A loss averages over all axes after the first, or sums if its name says sum; the trainer
averages over the examples. With an `ignore_label`, such as padding, each example is
weighted by its number of other labels, so that the trainer's mean is the mean over
those labels. Shapes must be equal: nothing broadcasts. Class labels are integers `[N]`
(`[N, T]` for outputs `[N, T, C]`), or one-hot or soft rows of the outputs' shape. An
integer label outside 0 to C - 1, or an integer binary target other than 0 and 1, gives
NaN. Losses are computed in at least float32 and returned in the outputs' dtype.
Logarithms are natural: losses are in nats; divide by log 2 for bits.
"""

from jaxnn.losses.classification import binary_cross_entropy as binary_cross_entropy
from jaxnn.losses.classification import cross_entropy as cross_entropy
from jaxnn.losses.classification import hinge as hinge
from jaxnn.losses.classification import kl_divergence as kl_divergence
from jaxnn.losses.classification import likelihood as likelihood
from jaxnn.losses.classification import (
    negative_log_likelihood as negative_log_likelihood,
)
from jaxnn.losses.classification import sigmoid_cross_entropy as sigmoid_cross_entropy
from jaxnn.losses.classification import softmax_cross_entropy as softmax_cross_entropy
from jaxnn.losses.contracts import Contract as Contract
from jaxnn.losses.contracts import contract_of as contract_of
from jaxnn.losses.contracts import example_weights as example_weights
from jaxnn.losses.contracts import expects as expects
from jaxnn.losses.contracts import ignored_label as ignored_label
from jaxnn.losses.regression import huber as huber
from jaxnn.losses.regression import log_cosh as log_cosh
from jaxnn.losses.regression import mean_absolute_error as mean_absolute_error
from jaxnn.losses.regression import mean_squared_error as mean_squared_error
from jaxnn.losses.regression import root_mean_squared_error as root_mean_squared_error
from jaxnn.losses.regression import sum_absolute_error as sum_absolute_error
from jaxnn.losses.regression import sum_squared_error as sum_squared_error
from jaxnn.losses.sequence import ctc as ctc
