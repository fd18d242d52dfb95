# SPDX-License-Identifier: Apache-2.0
"""The rule of training as Optax has it, for the libraries that train with Optax."""

import optax


def optimizer(task):
    """Adam, or gradient descent with momentum or without."""
    if task.adam:
        return optax.adam(task.learning_rate)
    return optax.sgd(task.learning_rate, task.momentum or None)
