# SPDX-License-Identifier: Apache-2.0
"""Keras 3 on JAX: `compile` for speed, and `fit`."""

import os

os.environ["KERAS_BACKEND"] = "jax"  # read once, when Keras is imported

import keras

from contenders import Base, nets


class Contender(Base):
    """One call of `fit` on NumPy arrays, silent; several steps between callbacks."""

    title = "fit with jit_compile"

    def __init__(self, task):
        super().__init__(task)
        shape = task.inputs.shape[1:]
        self.nets = nets("keras", task.weights)
        self.net, self.layers = self.nets.network(task.weights, shape)
        self.net.compile(
            optimizer=optimizer(task),
            loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
            jit_compile=True,
            steps_per_execution=25,
        )

    def start(self):
        self.nets.set_weights(self.layers, self.task.weights)
        for variable in self.net.optimizer.variables:
            if variable.name != "learning_rate":
                variable.assign(0 * variable.value)

    def run(self, epochs):
        history = self.net.fit(
            self.task.inputs,
            self.task.labels,
            batch_size=self.task.batch_size,
            epochs=epochs,
            shuffle=self.task.shuffle,
            verbose=0,
        )
        return history.history["loss"]

    def parameters(self):
        return sum(int(v.value.size) for v in self.net.trainable_variables)


def optimizer(task):
    """Adam, or gradient descent with momentum or without."""
    if task.adam:
        return keras.optimizers.Adam(task.learning_rate, epsilon=1e-8)
    return keras.optimizers.SGD(task.learning_rate, task.momentum)
