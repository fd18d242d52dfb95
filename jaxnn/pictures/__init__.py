# SPDX-License-Identifier: Apache-2.0
"""Plots of a network and its training; the numbers behind each are available too.

Each plot is a matplotlib `Figure`, and is also written to a file if a path is given:
`decision_boundary(net, state, data, "boundary.png")`.
"""

from jaxnn.messages import public
from jaxnn.pictures.activations import Activation as Activation
from jaxnn.pictures.activations import activation_statistics as activation_statistics
from jaxnn.pictures.activations import activations as activations
from jaxnn.pictures.boundary import Decisions as Decisions
from jaxnn.pictures.boundary import decision_boundary as decision_boundary
from jaxnn.pictures.boundary import decision_grid as decision_grid
from jaxnn.pictures.confusion import confusion_matrix as confusion_matrix
from jaxnn.pictures.feature_maps import filters_picture as filters_picture
from jaxnn.pictures.feature_maps import grad_cam as grad_cam
from jaxnn.pictures.feature_maps import maps_picture as maps_picture
from jaxnn.pictures.feature_maps import saliency as saliency
from jaxnn.pictures.gradients import compare_gradients as compare_gradients
from jaxnn.pictures.gradients import gradient_norms as gradient_norms
from jaxnn.pictures.gradients import gradients as gradients
from jaxnn.pictures.roc import Roc as Roc
from jaxnn.pictures.roc import roc_curve as roc_curve
from jaxnn.pictures.roc import roc_points as roc_points
from jaxnn.pictures.surface import Surface as Surface
from jaxnn.pictures.surface import filter_normalized as filter_normalized
from jaxnn.pictures.surface import loss_grid as loss_grid
from jaxnn.pictures.surface import loss_line as loss_line
from jaxnn.pictures.surface import loss_surface as loss_surface
from jaxnn.pictures.surface import losses_between as losses_between

public.show(__name__)
