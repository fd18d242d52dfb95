# SPDX-License-Identifier: Apache-2.0
"""PyTorch, eager: batches are rows of one tensor, threads as they come."""

import torch
from torch.nn import functional

from contenders import Base, networks, torch_nets


class Contender(Base):
    """On the kind of device that JAX uses, so that like is compared with like."""

    title = "eager, indexed tensor"

    def __init__(self, task):
        super().__init__(task)
        self.device = device(task.backend)
        images = torch.tensor(networks.chw(task.images), device=self.device)
        self.images = images.contiguous()
        self.labels = torch.tensor(task.labels, device=self.device, dtype=torch.int64)

    def start(self):
        self.net = torch_nets.network(self.task.weights).to(self.device)
        self.optimizer = torch.optim.SGD(
            self.net.parameters(),
            lr=self.task.learning_rate,
            momentum=self.task.momentum,
        )
        self.orders = self.task.orders()

    def epoch(self):
        total = torch.zeros((), device=self.device)
        order = torch.tensor(next(self.orders), device=self.device, dtype=torch.int64)
        for rows in order:
            loss = functional.cross_entropy(
                self.net(self.images[rows]), self.labels[rows]
            )
            self.optimizer.zero_grad()
            loss.backward()
            self.optimizer.step()
            total += loss.detach()
        if self.device == "cuda":
            torch.cuda.synchronize()
        return total.item() / self.task.steps

    def parameters(self):
        return sum(p.numel() for p in self.net.parameters())

    def device_peak(self):
        return torch.cuda.max_memory_allocated() if self.device == "cuda" else None


def device(backend):
    """PyTorch's name of JAX's back end; JAX is loaded only if nobody has told it."""
    if not backend:
        import jax

        backend = jax.default_backend()
    if backend != "gpu":
        return "cpu"
    torch.backends.cudnn.benchmark = True  # the fastest of its convolutions
    torch.backends.cuda.matmul.allow_tf32 = True  # as in its convolutions, and in JAX
    return "cuda"
