# SPDX-License-Identifier: Apache-2.0
"""Losses: `loss(outputs, targets) -> [N]`, one value per example.

=================================  ====================  =======
loss                               outputs               targets
=================================  ====================  =======
mean_squared_error                 any                   numbers
sum_squared_error                  any                   numbers
mean_absolute_error                any                   numbers
sum_absolute_error                 any                   numbers
root_mean_squared_error            any                   numbers
huber, log_cosh                    any                   numbers
iou, generalized_iou               any                   numbers
gaussian_negative_log_likelihood   distribution          numbers
poisson_negative_log_likelihood    distribution          numbers
pinball                            distribution          numbers
normal_negative_log_likelihood     any                   numbers
softmax_cross_entropy              logits                classes
multi_margin                       logits                classes
cross_entropy                      probabilities         classes
likelihood                         probabilities         classes
negative_log_likelihood            log probabilities     classes
kl_divergence                      log probabilities     classes
sigmoid_cross_entropy              binary logits         binary
sigmoid_focal                      binary logits         binary
binary_cross_entropy               binary probabilities  binary
bernoulli_negative_log_likelihood  binary logits         binary
hinge                              binary logits         binary
arc_face                           logits                classes
ctc                                logits                classes
cosine_distance                    embeddings            numbers
cosine_embedding                   two embeddings        signs
triplet_margin                     three embeddings      none
=================================  ====================  =======

A loss averages over all axes after the first; it sums if its name says sum, and so do
`normal_` and `bernoulli_negative_log_likelihood`. The trainer averages over the
examples. With an `ignore_label`, such as padding, each example is weighted by its
number of other labels, so that the trainer's mean is the mean over those labels; with a
`class_weight`, by the sum of its labels' weights, so that it is their weighted mean.
Shapes must be equal: nothing broadcasts. Class labels are integers `[N]` (`[N, T]` for
outputs `[N, T, C]`), or one-hot or soft rows of the outputs' shape. An integer label
outside 0 to C - 1, or an integer binary target other than 0 and 1, gives NaN. Losses
are computed in at least float32 and returned in the outputs' dtype. Logarithms are
natural: losses are in nats; divide by log 2 for bits.

Terms of objectives (see `nn.train_step`) take other arguments, and give `[N]` too:
`normal_kl`; `critic_` and `generator_classic`, `_hinge` and `_wasserstein`;
`gradient_penalty` and `r1_penalty`; `info_nce` and `nt_xent`. `triplet_hard` takes
embeddings and any integer labels, `detection` a detector's outputs and boxes.
"""

from jaxnn.losses.boxes import detection as detection
from jaxnn.losses.boxes import generalized_iou as generalized_iou
from jaxnn.losses.boxes import iou as iou
from jaxnn.losses.classification import binary_cross_entropy as binary_cross_entropy
from jaxnn.losses.classification import cross_entropy as cross_entropy
from jaxnn.losses.classification import hinge as hinge
from jaxnn.losses.classification import kl_divergence as kl_divergence
from jaxnn.losses.classification import likelihood as likelihood
from jaxnn.losses.classification import multi_margin as multi_margin
from jaxnn.losses.classification import (
    negative_log_likelihood as negative_log_likelihood,
)
from jaxnn.losses.classification import sigmoid_cross_entropy as sigmoid_cross_entropy
from jaxnn.losses.classification import sigmoid_focal as sigmoid_focal
from jaxnn.losses.classification import softmax_cross_entropy as softmax_cross_entropy
from jaxnn.losses.combine import combine as combine
from jaxnn.losses.contracts import Contract as Contract
from jaxnn.losses.contracts import contract_of as contract_of
from jaxnn.losses.contracts import example_weights as example_weights
from jaxnn.losses.contracts import expects as expects
from jaxnn.losses.contracts import ignored_label as ignored_label
from jaxnn.losses.contrastive import info_nce as info_nce
from jaxnn.losses.contrastive import nt_xent as nt_xent
from jaxnn.losses.critics import critic_classic as critic_classic
from jaxnn.losses.critics import critic_hinge as critic_hinge
from jaxnn.losses.critics import critic_wasserstein as critic_wasserstein
from jaxnn.losses.critics import generator_classic as generator_classic
from jaxnn.losses.critics import generator_hinge as generator_hinge
from jaxnn.losses.critics import generator_wasserstein as generator_wasserstein
from jaxnn.losses.distributions import (
    gaussian_negative_log_likelihood as gaussian_negative_log_likelihood,
)
from jaxnn.losses.distributions import pinball as pinball
from jaxnn.losses.distributions import (
    poisson_negative_log_likelihood as poisson_negative_log_likelihood,
)
from jaxnn.losses.embeddings import arc_face as arc_face
from jaxnn.losses.embeddings import cosine_distance as cosine_distance
from jaxnn.losses.embeddings import cosine_embedding as cosine_embedding
from jaxnn.losses.embeddings import triplet_hard as triplet_hard
from jaxnn.losses.embeddings import triplet_margin as triplet_margin
from jaxnn.losses.gradient_penalties import gradient_penalty as gradient_penalty
from jaxnn.losses.gradient_penalties import r1_penalty as r1_penalty
from jaxnn.losses.regression import huber as huber
from jaxnn.losses.regression import log_cosh as log_cosh
from jaxnn.losses.regression import mean_absolute_error as mean_absolute_error
from jaxnn.losses.regression import mean_squared_error as mean_squared_error
from jaxnn.losses.regression import root_mean_squared_error as root_mean_squared_error
from jaxnn.losses.regression import sum_absolute_error as sum_absolute_error
from jaxnn.losses.regression import sum_squared_error as sum_squared_error
from jaxnn.losses.sequence import ctc as ctc
from jaxnn.losses.variational import (
    bernoulli_negative_log_likelihood as bernoulli_negative_log_likelihood,
)
from jaxnn.losses.variational import normal_kl as normal_kl
from jaxnn.losses.variational import (
    normal_negative_log_likelihood as normal_negative_log_likelihood,
)
from jaxnn.messages import public

public.show(__name__)
