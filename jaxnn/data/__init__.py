# SPDX-License-Identifier: Apache-2.0
"""Real data sets, and the steps that make arrays ready for training: NumPy throughout.

Every data set is two pairs, `(images, labels)` to train on and `(images, labels)` to
test on; `isbi_em` alone, of which the test labels are not public, is one pair. Nothing
here imports JAX or touches a device.
"""

from jaxnn.data.cifar10 import cifar10 as cifar10
from jaxnn.data.digits import digits as digits
from jaxnn.data.isbi_em import isbi_em as isbi_em
from jaxnn.data.mnist import fashion_mnist as fashion_mnist
from jaxnn.data.mnist import mnist as mnist
from jaxnn.data.prepare import Standardizer as Standardizer
from jaxnn.data.prepare import from_one_hot as from_one_hot
from jaxnn.data.prepare import one_hot as one_hot
from jaxnn.data.prepare import split as split
from jaxnn.data.prepare import standardize as standardize
from jaxnn.data.prepare import standardizer as standardizer
