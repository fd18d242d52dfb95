# SPDX-License-Identifier: Apache-2.0
"""Boxes around objects in pictures: their geometry, arrays of them, augmentation.

A box is four numbers in pixels: x0, y0 (its upper left corner), x1, y1. The targets of
a batch are a dict, `{"boxes": float32 [N, M, 4], "classes": int32 [N, M]}`, with room
for M boxes in each picture; the class is -1 where there is none. `pad` makes them from
lists, `nn.models.detector` learns from them, and `nn.metrics.MeanAveragePrecision`
compares with them. `flip` and `mosaic` change pictures together with their boxes.
"""

from jaxnn.data.box_lists import pad as pad
from jaxnn.data.boxes.augment import flip as flip
from jaxnn.data.boxes.augment import mosaic as mosaic
from jaxnn.messages import public
from jaxnn.ops.boxes import area as area
from jaxnn.ops.boxes import generalized_iou as generalized_iou
from jaxnn.ops.boxes import iou as iou
from jaxnn.ops.boxes import non_maximum_suppression as non_maximum_suppression

public.show(__name__)
