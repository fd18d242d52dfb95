# SPDX-License-Identifier: Apache-2.0
"""Keras 3 on JAX: `compile` for speed, and `fit`."""

import os

os.environ["KERAS_BACKEND"] = "jax"  # read once, when Keras is imported

import keras

from contenders import Base


class Contender(Base):
    """One call of `fit` on NumPy arrays, silent; several steps between callbacks."""

    title = "fit with jit_compile"

    def __init__(self, task):
        super().__init__(task)
        *hidden, last = [len(b) for _, b in task.weights]
        dense = keras.layers.Dense
        self.net = keras.Sequential(
            [
                keras.Input((task.images.shape[1],)),
                *[dense(width, activation="relu") for width in hidden],
                dense(last),
            ]
        )
        self.net.compile(
            optimizer=keras.optimizers.SGD(task.learning_rate),
            loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
            jit_compile=True,
            steps_per_execution=25,
        )

    def start(self):
        self.net.set_weights([a for pair in self.task.weights for a in pair])

    def run(self, epochs):
        history = self.net.fit(
            self.task.images,
            self.task.labels,
            batch_size=self.task.batch_size,
            epochs=epochs,
            shuffle=True,
            verbose=0,
        )
        return history.history["loss"]
