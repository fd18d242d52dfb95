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
        "learning_rates.png", "Learning rates: too small, right, large and too large."
    ),
    "universality": Picture(
        "wave.png", "A wave fitted with 2, 4, 8 and 32 hidden neurons."
    ),
    "mnist_mlp": Picture(
        "confusion.png", "Which of 10,000 test digits was taken for which."
    ),
    "serve": Picture(
        "latency.png", "Requests that are answered together, and each alone."
    ),
    "web": Picture(
        "predictions.png", "What the network in the page reads; in red its mistakes."
    ),
    "two_outputs": Picture(
        "predictions.png",
        "Turned digits, turned back by the angle that the network says.",
    ),
    "forecast": Picture(
        "forecasts.png", "Three series, what each model forecast and what came true."
    ),
    "anomaly": Picture(
        "machine_temperature_system_failure.png",
        "The temperature of a machine, the score of the forecasts, and the alarms.",
    ),
    "traffic": Picture(
        "speed_7578.png",
        "Forecasts of road speed with 80 % intervals, by three models.",
    ),
    "detect": Picture(
        "detections.png",
        "Cells found, missed and found by mistake in test photographs.",
    ),
    "caption": Picture(
        "combinations.png",
        "Where the network looked for each word of names never seen.",
    ),
    "retrieve": Picture("found.png", "The pictures found first for names never seen."),
    "transfer": Picture(
        "transfer.png",
        "Test accuracy by the number of pictures, after other classes or from nothing.",
    ),
    "speak_digits": Picture(
        "spoken.png", "Digits as pictures of sound: real recordings, and spoken ones."
    ),
    "decide": Picture(
        "orders.png",
        "Orders by day and stock: greedy, by tree search, and the optimum.",
    ),
    "optuna_search": Picture(
        "trials.png", "Validation accuracy of twenty trials; pruned ones are gray."
    ),
    "ensemble": Picture(
        "error_by_members.png", "Test error by the number of networks that vote."
    ),
    "mountain_car": Picture(
        "paths.png",
        "Position and speed of a car driven by each agent, and the top of the hill.",
    ),
    "arm": Picture(
        "paths.png", "Where the tip of the arm went: from the gray arm to the target."
    ),
    "cartpole": Picture(
        "returns.png", "Return of ten seeds of DQN and ten of PPO while they train."
    ),
    "restore": Picture(
        "noise.png", "Noise taken away by three filters and by the network."
    ),
}
