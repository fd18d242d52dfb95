# SPDX-License-Identifier: Apache-2.0
"""The pictures of the gallery: where each comes from, and what it shows."""

from typing import NamedTuple


class Picture(NamedTuple):
    """One picture in `docs/pictures`, made by `docs/gallery.py`."""

    #: The file that the example writes into its folder.
    file: str
    caption: str


PICTURES = {
    "digits": Picture(
        "predictions.png", "Forty test digits and what the network says; mistakes red."
    ),
    "perceptron_xor": Picture(
        "regions.png",
        "Where each network says 1. A line does for AND and OR, never for XOR.",
    ),
    "forward_pass": Picture(
        "network_1_-1.png", "A forward pass, number by number, worked by hand."
    ),
    "linear_regression": Picture(
        "descent.png", "Gradient descent beside the least squares solution."
    ),
    "gradient_descent": Picture(
        "learning_rates.png",
        "Too small, right and too large a learning rate (small run).",
    ),
    "universality": Picture(
        "wave.png", "A wave fitted with two and with eight hidden neurons (small run)."
    ),
}
