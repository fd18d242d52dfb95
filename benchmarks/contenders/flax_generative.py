# SPDX-License-Identifier: Apache-2.0
"""The generative networks in Flax NNX: `jax.jit` between split and merge."""

from functools import partial

import jax
import jax.numpy as jnp
import optax
from flax import nnx

from contenders import flax_nnx, generative, networks
from contenders.flax_nets import dense, with_weights


class Contender(flax_nnx.Contender):
    """It trains as the classifiers do, with other networks and another step."""

    def __init__(self, task):
        self.task = task
        self.data = jnp.array(task.inputs), jnp.array(task.labels)
        of_vae = isinstance(task.weights, generative.VAE)
        parts = (VAE(task.weights),) if of_vae else adversaries(task.weights)
        self.parts = parts
        rule = optax.adam(task.learning_rate)
        optimizers = [nnx.Optimizer(part, rule, wrt=nnx.Param) for part in parts]
        graph, self.first = nnx.split((parts, tuple(optimizers)))
        self.step = make_step(graph, learn_code if of_vae else play)

    def parameters(self):
        params = nnx.state(self.parts, nnx.Param)
        return sum(leaf.size for leaf in jax.tree.leaves(params))


def make_step(graph, learn):
    """A jitted step on some rows of the data."""

    @partial(jax.jit, donate_argnames=("state", "total"))
    def step(state, total, inputs, noise, rows):
        parts, optimizers = nnx.merge(graph, state)
        loss = learn(parts, optimizers, inputs[rows], noise[rows])
        return nnx.state((parts, optimizers)), total + loss

    return step


def learn_code(parts, optimizers, x, noise):
    """One descent of the negative ELBO."""

    def mean_loss(net):
        mean, log_variance, logits = net(x, noise)
        error = optax.sigmoid_binary_cross_entropy(logits, x).sum(-1)
        kl = (jnp.exp(log_variance) + mean**2 - 1 - log_variance).sum(-1) / 2
        return (error + kl).mean()

    loss, grads = nnx.value_and_grad(mean_loss)(parts[0])
    optimizers[0].update(parts[0], grads)
    return loss


def play(parts, optimizers, real, noise):
    """The critic's turn, then the generator's; gives the critic's loss."""
    generator, critic = parts

    def critic_loss(critic, generator):
        fake = jax.lax.stop_gradient(generator(noise[:, 0]))
        return (jax.nn.softplus(-critic(real)) + jax.nn.softplus(critic(fake))).mean()

    def generator_loss(generator, critic):
        return jax.nn.softplus(-critic(generator(noise[:, 1]))).mean()

    loss, grads = nnx.value_and_grad(critic_loss)(critic, generator)
    optimizers[1].update(critic, grads)
    _, grads = nnx.value_and_grad(generator_loss)(generator, critic)
    optimizers[0].update(generator, grads)
    return loss


class VAE(nnx.Module):
    """Dense layers there and back."""

    def __init__(self, weights):
        self.encoder = nnx.List([dense(*pair) for pair in weights.encoder])
        self.decoder = nnx.List([dense(*pair) for pair in weights.decoder])

    def __call__(self, x, noise):
        mean, log_variance = jnp.split(through(self.encoder, x), 2, axis=-1)
        z = mean + jnp.exp(log_variance / 2) * noise
        return mean, log_variance, through(self.decoder, z)


def through(layers, x):
    """ReLU between layers."""
    for layer in layers[:-1]:
        x = nnx.relu(layer(x))
    return layers[-1](x)


def adversaries(weights):
    """The generator and the critic."""
    return Generator(weights.generator), Critic(weights.critic)


class Generator(nnx.Module):
    """Flax turns the kernels of its transposed convolutions around."""

    def __init__(self, part):
        self.dense = linear(part.dense)
        self.norm0, self.norm1 = norm(part.norm0), norm(part.norm1)
        self.conv1, self.image = transposed(part.conv1), transposed(*part.image)

    def __call__(self, z):
        channels = self.norm0.num_features
        side = round((self.dense.out_features // channels) ** 0.5)
        x = self.dense(z).reshape(len(z), side, side, channels)
        x = self.conv1(nnx.relu(self.norm0(x)))
        return jnp.tanh(self.image(nnx.relu(self.norm1(x))))


class Critic(nnx.Module):
    """Convolutions of stride 2."""

    def __init__(self, part):
        self.conv1, self.conv2 = conv(*part.conv1), conv(part.conv2)
        self.norm2, self.score = norm(part.norm2), dense(*part.score)

    def __call__(self, x):
        x = nnx.leaky_relu(self.conv1(x), generative.SLOPE)
        x = nnx.leaky_relu(self.norm2(self.conv2(x)), generative.SLOPE)
        return self.score(x.reshape(len(x), -1))[:, 0]


def linear(w):
    """A dense layer without an offset."""
    layer = nnx.Linear(*w.shape, use_bias=False, rngs=nnx.Rngs(0))
    return with_weights(layer, w)


def transposed(w, b=None):
    """A transposed convolution."""
    options = {"strides": 2, "use_bias": b is not None, "rngs": nnx.Rngs(0)}
    layer = nnx.ConvTranspose(*w.shape[2:], w.shape[:2], **options)
    return with_weights(layer, w[::-1, ::-1], b)


def conv(w, b=None):
    """A convolution of stride 2."""
    options = {"strides": 2, "use_bias": b is not None, "rngs": nnx.Rngs(0)}
    return with_weights(nnx.Conv(*w.shape[2:], w.shape[:2], **options), w, b)


def norm(part):
    """Batch norm."""
    options = {"epsilon": networks.EPS, "momentum": networks.MOMENTUM}
    layer = nnx.BatchNorm(len(part.scale), **options, rngs=nnx.Rngs(0))
    layer.scale[...] = jnp.array(part.scale)
    layer.bias[...] = jnp.array(part.offset)
    return layer
