# SPDX-License-Identifier: Apache-2.0
"""Keras 3 on JAX: `compile` for speed, and `fit`."""

import os

os.environ["KERAS_BACKEND"] = "jax"  # read once, when Keras is imported

import keras

from contenders import Base, keras_nets


class Contender(Base):
    """One call of `fit` on NumPy arrays, silent; several steps between callbacks."""

    title = "fit with jit_compile"

    def __init__(self, task):
        super().__init__(task)
        shape = task.images.shape[1:]
        self.net, self.layers = keras_nets.network(task.weights, shape)
        self.net.compile(
            optimizer=keras.optimizers.SGD(task.learning_rate, task.momentum),
            loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
            jit_compile=True,
            steps_per_execution=25,
        )

    def start(self):
        keras_nets.set_weights(self.layers, self.task.weights)
        for velocity in getattr(self.net.optimizer, "momentums", []):
            velocity.assign(0 * velocity.value)

    def run(self, epochs):
        history = self.net.fit(
            self.task.images,
            self.task.labels,
            batch_size=self.task.batch_size,
            epochs=epochs,
            shuffle=self.task.shuffle,
            verbose=0,
        )
        return history.history["loss"]

    def parameters(self):
        return sum(int(v.value.size) for v in self.net.trainable_variables)
