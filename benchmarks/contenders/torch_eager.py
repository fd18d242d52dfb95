# SPDX-License-Identifier: Apache-2.0
"""PyTorch, eager: batches are rows of one tensor, threads as they come."""

import jax
import torch
from torch.nn import functional

from contenders import Base


class Contender(Base):
    """On the kind of device that JAX uses, so that like is compared with like."""

    title = "eager, indexed tensor"

    def __init__(self, task):
        super().__init__(task)
        self.device = "cuda" if jax.default_backend() == "gpu" else "cpu"
        self.images = torch.tensor(task.images, device=self.device)
        self.labels = torch.tensor(task.labels, device=self.device, dtype=torch.int64)

    def start(self):
        layers = []
        for w, b in self.task.weights:
            linear = torch.nn.Linear(*w.shape, device=self.device)
            with torch.no_grad():
                linear.weight.copy_(torch.tensor(w.T))
                linear.bias.copy_(torch.tensor(b))
            layers += [linear, torch.nn.ReLU()]
        self.net = torch.nn.Sequential(*layers[:-1])
        self.optimizer = torch.optim.SGD(
            self.net.parameters(), lr=self.task.learning_rate
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
