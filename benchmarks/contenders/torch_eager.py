# SPDX-License-Identifier: Apache-2.0
"""PyTorch, eager: batches are rows of one tensor, threads as they come."""

import torch
from torch.nn import functional

from contenders import Base, nets, networks


class Contender(Base):
    """On the kind of device that JAX uses, so that like is compared with like."""

    title = "eager, indexed tensor"

    def __init__(self, task):
        super().__init__(task)
        self.device = device(task.backend)
        inputs = torch.tensor(networks.chw(task.inputs), device=self.device)
        self.inputs = inputs.contiguous()
        self.labels = torch.tensor(task.labels, device=self.device, dtype=torch.int64)

    def start(self):
        weights = self.task.weights
        self.net = nets("torch", weights).network(weights).to(self.device)
        self.optimizer = optimizer(self.task, self.net)
        self.orders = self.task.orders()

    def epoch(self):
        total = torch.zeros((), device=self.device)
        order = torch.tensor(next(self.orders), device=self.device, dtype=torch.int64)
        for rows in order:
            logits, labels = self.net(self.inputs[rows]), self.labels[rows]
            loss = functional.cross_entropy(logits.flatten(0, -2), labels.flatten())
            self.optimizer.zero_grad()
            loss.backward()
            self.optimizer.step()
            total += loss.detach()
        if self.device == "cuda":
            torch.cuda.synchronize()
        return total.item() / self.task.steps

    def parameters(self):
        return sum(p.numel() for p in self.net.parameters() if p.requires_grad)

    def device_peak(self):
        return torch.cuda.max_memory_allocated() if self.device == "cuda" else None


def optimizer(task, net):
    """Adam in one kernel, or gradient descent with momentum or without."""
    params, rate = [p for p in net.parameters() if p.requires_grad], task.learning_rate
    if task.adam:
        return torch.optim.Adam(params, lr=rate, fused=True)
    return torch.optim.SGD(params, lr=rate, momentum=task.momentum)


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
