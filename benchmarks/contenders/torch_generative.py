# SPDX-License-Identifier: Apache-2.0
"""The generative networks in PyTorch, eager."""

import torch
from torch import nn
from torch.nn import functional

from contenders import Base, generative, networks
from contenders.torch_eager import device, optimizer
from contenders.torch_nets import dense, with_weights


class Contender(Base):
    """On the kind of device that JAX uses."""

    title = "eager, indexed tensor"

    def __init__(self, task):
        super().__init__(task)
        self.device = device(task.backend)
        inputs = torch.tensor(networks.chw(task.inputs), device=self.device)
        self.inputs = inputs.contiguous()
        self.noise = torch.tensor(task.labels, device=self.device)

    def start(self):
        weights = self.task.weights
        of_vae = isinstance(weights, generative.VAE)
        parts = [VAE(weights)] if of_vae else adversaries(weights)
        self.parts = [part.to(self.device) for part in parts]
        self.learn = learn_code if of_vae else play
        self.optimizers = [optimizer(self.task, part) for part in self.parts]
        self.orders = self.task.orders()

    def epoch(self):
        total = torch.zeros((), device=self.device)
        order = torch.tensor(next(self.orders), device=self.device, dtype=torch.int64)
        for rows in order:
            batch = self.inputs[rows], self.noise[rows]
            total += self.learn(self.parts, self.optimizers, *batch)
        if self.device == "cuda":
            torch.cuda.synchronize()
        return total.item() / self.task.steps

    def parameters(self):
        return sum(p.numel() for part in self.parts for p in part.parameters())

    def device_peak(self):
        return torch.cuda.max_memory_allocated() if self.device == "cuda" else None


def learn_code(parts, optimizers, x, noise):
    """One descent of the negative ELBO."""
    mean, log_variance, logits = parts[0](x, noise)
    error = functional.binary_cross_entropy_with_logits(logits, x, reduction="sum")
    kl = (log_variance.exp() + mean**2 - 1 - log_variance).sum() / 2
    return descend(optimizers[0], (error + kl) / len(x))


def play(parts, optimizers, real, noise):
    """The critic's turn, then the generator's; gives the critic's loss."""
    generator, critic = parts
    with torch.no_grad():
        fake = generator(noise[:, 0])
    losses = functional.softplus(-critic(real)) + functional.softplus(critic(fake))
    loss = descend(optimizers[1], losses.mean())
    critic.requires_grad_(False)  # its own gradients are no use in the other's turn
    fooled = functional.softplus(-critic(generator(noise[:, 1])))
    descend(optimizers[0], fooled.mean())
    critic.requires_grad_(True)
    return loss


def descend(rule, loss):
    """One step."""
    rule.zero_grad()
    loss.backward()
    rule.step()
    return loss.detach()


class VAE(nn.Module):
    """Dense layers there and back."""

    def __init__(self, weights):
        super().__init__()
        self.encoder, self.decoder = layers(weights.encoder), layers(weights.decoder)

    def forward(self, x, noise):
        mean, log_variance = self.encoder(x).chunk(2, -1)
        z = mean + torch.exp(log_variance / 2) * noise
        return mean, log_variance, self.decoder(z)


def layers(pairs):
    """ReLU between dense layers."""
    found = [part for w, b in pairs for part in (dense(w.T, b), nn.ReLU())]
    return nn.Sequential(*found[:-1])


def adversaries(weights):
    """The generator and the critic, channels first."""
    first, norm0, conv1, norm1, (image, offset) = weights.generator
    channels = len(norm0.scale)
    side = round((first.shape[1] // channels) ** 0.5)
    generator = nn.Sequential(
        linear(generative.by_channel(first, channels, 1).T),
        nn.Unflatten(1, (channels, side, side)),
        *(norm(norm0), nn.ReLU(), transposed(conv1), norm(norm1), nn.ReLU()),
        *(transposed(image, offset), nn.Tanh()),
    )
    part = weights.critic
    w, b = part.score
    critic = nn.Sequential(
        *(conv(*part.conv1), nn.LeakyReLU(generative.SLOPE)),
        *(conv(part.conv2), norm(part.norm2), nn.LeakyReLU(generative.SLOPE)),
        *(nn.Flatten(), dense(generative.by_channel(w, channels, 0).T, b)),
        nn.Flatten(0),
    )
    return generator, critic


def linear(w):
    """A dense layer without an offset."""
    f, c = w.shape
    return with_weights(nn.Linear(c, f, bias=False), w, None)


def transposed(w, b=None):
    """A transposed convolution of stride 2."""
    _, _, c, f = w.shape
    layer = nn.ConvTranspose2d(c, f, 4, 2, 1, bias=b is not None)
    return with_weights(layer, w.transpose(2, 3, 0, 1), b)


def conv(w, b=None):
    """A convolution of stride 2."""
    _, _, c, f = w.shape
    layer = nn.Conv2d(c, f, 4, 2, 1, bias=b is not None)
    return with_weights(layer, networks.oihw(w), b)


def norm(part):
    """Batch norm."""
    keep = 1 - networks.MOMENTUM
    layer = nn.BatchNorm2d(len(part.scale), eps=networks.EPS, momentum=keep)
    return with_weights(layer, part.scale, part.offset)
