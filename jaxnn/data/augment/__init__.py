# SPDX-License-Identifier: Apache-2.0
"""More pictures from those that there are: changed at random, the class kept.

An augmentation is a frozen record of its amounts: `rotate(15)` equals `rotate(15)`, so
that a training step with either is compiled once. Called with a random key and pictures
`[N, H, W, C]` it gives pictures of the same shape and dtype: a pure function that draws
for each of them on its own, made for the inside of a compiled step, as in
`nn.fit(..., augment=augment.chain(augment.rotate(15), augment.shift(2)))`.

=============================================  ======================================
where a picture's points come from             shift crop rotate scale shear elastic
what its values are                            brightness contrast noise
which of them are seen                         flip cutout
pictures of two examples in one, targets too   mixup cutmix
all of these, one after the other              chain
originals beside what becomes of them          show
=============================================  ======================================

Pictures are floats; with `range=(0, 255)`, what values they have, integers too.
"""

from jaxnn.data.augment.base import Augmentation as Augmentation
from jaxnn.data.augment.chain import chain as chain
from jaxnn.data.augment.cover import cutout as cutout
from jaxnn.data.augment.cover import flip as flip
from jaxnn.data.augment.elastic import elastic as elastic
from jaxnn.data.augment.geometric import crop as crop
from jaxnn.data.augment.geometric import rotate as rotate
from jaxnn.data.augment.geometric import scale as scale
from jaxnn.data.augment.geometric import shear as shear
from jaxnn.data.augment.geometric import shift as shift
from jaxnn.data.augment.mix import cutmix as cutmix
from jaxnn.data.augment.mix import mixup as mixup
from jaxnn.data.augment.show import show as show
from jaxnn.data.augment.values import brightness as brightness
from jaxnn.data.augment.values import contrast as contrast
from jaxnn.data.augment.values import noise as noise
