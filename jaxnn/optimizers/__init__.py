# SPDX-License-Identifier: Apache-2.0
"""Additions to optimizers; everything here returns plain Optax objects.

Penalties and limits act on `kernels`, the weights that multiply inputs; biases and the
scales and offsets of norms are left alone. To choose other parameters, give path
patterns, which include everything below a path: `l1(optimizer, 1e-4, "head")`, or
`"head/w"`. The masks `kernels` and `only("head/*")` work wherever Optax takes a mask.

Optax itself has the rest. Gradient clipping:
`optax.chain(optax.clip_by_global_norm(1.0), optimizer)`. Gradient accumulation, one
update from the mean gradient of k batches: `optax.MultiSteps(optimizer, k)`, with a
`batch_size` that divides the number of examples, so that every batch counts equally.
One optimizer per group: `nn.partition`. Frozen parameters: `nn.freeze`, wrapped around
everything else, or weight decay moves what is frozen. Adagrad as originally published:
`optax.adagrad(rate, initial_accumulator_value=0.0, eps=0.0)`. Label smoothing belongs
to the loss: `functools.partial(nn.losses.softmax_cross_entropy, label_smoothing=0.1)`.
"""

from jaxnn.messages import public
from jaxnn.optimizers.averages import average as average
from jaxnn.optimizers.averages import averaged as averaged
from jaxnn.optimizers.averages import ema as ema
from jaxnn.optimizers.averages import swa as swa
from jaxnn.optimizers.groups import freeze as freeze
from jaxnn.optimizers.groups import kernels as kernels
from jaxnn.optimizers.groups import only as only
from jaxnn.optimizers.groups import partition as partition
from jaxnn.optimizers.max_norm import max_norm as max_norm
from jaxnn.optimizers.penalties import l1 as l1
from jaxnn.optimizers.penalties import l2 as l2
from jaxnn.optimizers.penalties import weight_decay as weight_decay
from jaxnn.optimizers.statistics import refresh_statistics as refresh_statistics

public.show(__name__)
