# SPDX-License-Identifier: Apache-2.0
"""The networks in Keras, each with its layers in the order of the weights."""

import keras
import numpy as np
from keras import layers

from contenders import networks


def network(weights, shape):
    """`(net, layers)` that belong to some weights."""
    residual = isinstance(weights, networks.Residual)
    return (residual_net if residual else plain)(weights, shape)


def plain(weights, shape):
    """Convolutions with ReLU and pooling, then dense layers."""
    made, stack = [], [keras.Input(shape)]
    for i, (w, b) in enumerate(weights):
        activation = None if i == len(weights) - 1 else "relu"
        if w.ndim == 4:
            made += [
                layers.Conv2D(len(b), w.shape[0], padding="same", activation=activation)
            ]
            stack += [made[-1], layers.MaxPooling2D(2)]
            continue
        if i and weights[i - 1][0].ndim == 4:
            stack += [layers.Flatten()]
        made += [layers.Dense(len(b), activation=activation)]
        stack += [made[-1]]
    return keras.Sequential(stack), made


def residual_net(weights, shape):
    """A ResNet with projections where the width grows."""
    made = []

    def unit(part, x, stride=1):
        kernel, features = part.w.shape[0], part.w.shape[-1]
        padding = "same"
        if stride > 1 and kernel > 1:  # "same" would pad one side only
            x, padding = layers.ZeroPadding2D((kernel - 1) // 2)(x), "valid"
        conv = layers.Conv2D(features, kernel, stride, padding, use_bias=False)
        norm = layers.BatchNormalization(
            epsilon=networks.EPS, momentum=networks.MOMENTUM
        )
        made.extend([conv, norm])
        return norm(conv(x))

    image = keras.Input(shape)
    x = layers.ReLU()(unit(weights.stem, image))
    for block in weights.blocks:
        stride = networks.stride(block)
        y = unit(block.second, layers.ReLU()(unit(block.first, x, stride)))
        x = unit(block.shortcut, x, stride) if block.shortcut else x
        x = layers.ReLU()(layers.Add()([y, x]))
    made.append(layers.Dense(len(weights.head[1])))
    x = made[-1](layers.GlobalAveragePooling2D()(x))
    return keras.Model(image, x), made


def set_weights(made, weights):
    """Give every layer its weights, and batch norm its first statistics."""
    left = iter(networks.leaves(weights))
    for layer in made:
        own = [next(left) for _ in layer.trainable_weights]
        if isinstance(layer, layers.BatchNormalization):
            own += [np.zeros_like(own[0]), np.ones_like(own[0])]
        layer.set_weights(own)
