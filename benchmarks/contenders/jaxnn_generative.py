# SPDX-License-Identifier: Apache-2.0
"""jaxnn: `fit` with an objective, and with two players."""

import jax
import jax.numpy as jnp
import optax

import jaxnn as nn
from contenders import Base, generative
from contenders.jaxnn_nets import hang


class Contender(Base):
    """The clock runs over the whole call of `fit`."""

    title = "nn.fit"

    def __init__(self, task):
        super().__init__(task)
        self.data = jnp.array(task.inputs), jnp.array(task.labels)
        of_vae = isinstance(task.weights, generative.VAE)
        self.part = "loss" if of_vae else "critic_loss"
        self.net = (vae if of_vae else dcgan)(task)
        self.step = (elbo_step if of_vae else players)(self.net, task.learning_rate)

    def start(self):
        params = with_weights(self.task.weights)
        _, z = self.data
        first = (self.data[0] if self.part == "loss" else z[:, 0])[:1]
        key = jax.random.key(self.task.seed)
        fresh = self.first_state(first, key)
        self.state = fresh._replace(params=params)

    def first_state(self, x, key):
        """A state whose parameters are replaced: both optimizers begin with zeros."""
        if self.part == "loss":
            return nn.train_state(self.net, self.optimizer(), x, key=key)
        return self.step.start(x, key=key)

    def optimizer(self):
        """Adam."""
        return optax.adam(self.task.learning_rate)

    def run(self, epochs):
        state, history = nn.fit(
            self.step,
            self.data,
            epochs=epochs,
            batch_size=self.task.batch_size,
            state=self.state,
            shuffle=self.task.shuffle,
            progress=False,
        )
        jax.block_until_ready(state)
        self.inside = history.seconds["run"]
        return history[self.part]

    def parameters(self):
        return sum(leaf.size for leaf in jax.tree.leaves(self.state.params))


def vae(task):
    """The library's own."""
    code, pixels = task.labels.shape[1], task.inputs.shape[1]
    sizes = [len(b) for _, b in task.weights.encoder[:-1]]
    return nn.models.vae(code, (pixels,), sizes=sizes)


def elbo_step(net, rate):
    """A step of the objective, with the noise of the batch."""

    def objective(run, batch):
        x, noise = batch
        mean, log_variance = jnp.split(run("encoder", x), 2, axis=-1)
        logits = run("decoder", mean + jnp.exp(log_variance / 2) * noise)
        kl = nn.losses.normal_kl(mean, log_variance)
        return nn.losses.bernoulli_negative_log_likelihood(logits, x) + kl

    return nn.train_step(net, objective=objective, optimizer=optax.adam(rate))


def dcgan(task):
    """The library's own."""
    return nn.models.dcgan(task.inputs.shape[1], 1, width=len(task.weights[1].conv1[1]))


def players(net, rate):
    """The critic's turn, then the generator's."""

    def critic(run, batch):
        real, z = batch
        fake = run("generator", z[:, 0])
        return nn.losses.critic_classic(run("critic", real), run("critic", fake))

    def generator(run, batch):
        fake = run("generator", batch[1][:, 1])
        return nn.losses.generator_classic(run("critic", fake))

    return nn.train.players(
        net,
        critic=nn.train.Player(critic, optax.adam(rate), params="critic"),
        generator=nn.train.Player(generator, optax.adam(rate), params="generator"),
    )


def with_weights(weights):
    """The parameters."""
    params = {}
    if isinstance(weights, generative.VAE):
        for part, layers in weights._asdict().items():
            for i, (w, b) in enumerate(layers, 1):
                hang(params, f"{part}/dense{i}", {"w": jnp.array(w), "b": jnp.array(b)})
        return params
    for part, layers in weights._asdict().items():
        for name, leaves in layers._asdict().items():
            hang(params, f"{part}/{name}", by_name(leaves))
    return params


def by_name(leaves):
    """A layer's parameters."""
    if isinstance(leaves, generative.Norm):
        return jax.tree.map(jnp.array, leaves._asdict())
    if isinstance(leaves, tuple):
        return dict(zip("wb", map(jnp.array, leaves), strict=True))
    return {"w": jnp.array(leaves)}
