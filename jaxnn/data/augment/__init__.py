# SPDX-License-Identifier: Apache-2.0
"""Image augmentation: random changes to images that keep their class.

An augmentation is a frozen record of its parameters: `rotate(15)` equals `rotate(15)`,
so a training step with either is compiled once. Called with a random key and images
`[N, H, W, C]`, it returns images of the same shape and dtype. It is a pure function
that draws independently for each image, for use inside a compiled step, as in
`nn.fit(..., augment=augment.chain(augment.rotate(15), augment.shift(2)))`.

=============================================  ======================================
geometry                                       shift crop rotate scale shear elastic
pixel values                                   brightness contrast noise
mirroring and masking                          flip cutout
mixing two examples, including their targets   mixup cutmix
several of these in sequence                   chain
plotting originals next to augmented images    show
=============================================  ======================================

Images are floats, or integers if you give the range of their values, `range=(0, 255)`.
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
from jaxnn.messages import public

public.show(__name__)
