# SPDX-License-Identifier: Apache-2.0
"""Real data sets, and the steps that make arrays ready for training: NumPy throughout.

Every data set is two pairs, `(images, labels)` to train on and `(images, labels)` to
test on. Nothing here imports JAX or touches a device.
"""

from jaxnn.data.digits import digits as digits
from jaxnn.data.mnist import fashion_mnist as fashion_mnist
from jaxnn.data.mnist import mnist as mnist
from jaxnn.data.prepare import Standardizer as Standardizer
from jaxnn.data.prepare import from_one_hot as from_one_hot
from jaxnn.data.prepare import one_hot as one_hot
from jaxnn.data.prepare import split as split
from jaxnn.data.prepare import standardize as standardize
from jaxnn.data.prepare import standardizer as standardizer
