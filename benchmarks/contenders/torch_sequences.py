# SPDX-License-Identifier: Apache-2.0
"""The language models in PyTorch."""

import torch
from torch import nn
from torch.nn import functional

from contenders import sequences
from contenders.torch_nets import dense, with_weights


def network(weights):
    """The network that belongs to some weights."""
    recurrent = isinstance(weights, sequences.LSTM)
    return (LSTM if recurrent else Transformer)(weights)


class LSTM(nn.Module):
    """PyTorch's own layer; the second of its two biases is no use and stays 0."""

    def __init__(self, weights):
        super().__init__()
        self.embed, self.head = embed(weights.table), affine(weights.head)
        self.body = nn.LSTM(len(weights.w), len(weights.u), batch_first=True)
        put(self.body.weight_ih_l0, weights.w.T)
        put(self.body.weight_hh_l0, weights.u.T)
        put(self.body.bias_ih_l0, weights.b)
        put(self.body.bias_hh_l0, 0 * weights.b)
        self.body.bias_hh_l0.requires_grad_(False)

    def forward(self, ids):
        return self.head(self.body(self.embed(ids))[0])

    def step(self, ids, carry=None):
        """Logits for the token after these, `[N, V]`, and the carry."""
        y, carry = self.body(self.embed(ids), carry)
        return self.head(y[:, -1]), carry


class Transformer(nn.Module):
    """Causal attention, with learned positions."""

    def __init__(self, weights):
        super().__init__()
        self.embed, self.positions = embed(weights.table), embed(weights.positions)
        self.blocks = nn.ModuleList([Block(block) for block in weights.blocks])
        self.norm, self.head = norm(weights.norm), affine(weights.head)

    def forward(self, ids):
        x = self.embed(ids) + self.positions.weight[: ids.shape[1]]
        for block in self.blocks:
            x = block(x)
        return self.head(self.norm(x))

    def step(self, ids, caches, start):
        """Logits for the token after these, which stand at `start`, `[N, V]`."""
        x = self.embed(ids) + self.positions.weight[start : start + ids.shape[1]]
        for block, cache in zip(self.blocks, caches, strict=True):
            x = block(x, cache, start)
        return self.head(self.norm(x[:, -1]))


class Block(nn.Module):
    """Attention, and two dense layers; all three projections are one product."""

    def __init__(self, part):
        super().__init__()
        self.norm1, self.norm2 = norm(part.norm1), norm(part.norm2)
        three = zip(part.query, part.key, part.value, strict=True)
        w, b = (torch.cat([torch.tensor(a) for a in each], -1) for each in three)
        self.project, self.out = dense(w.T.numpy(), b.numpy()), affine(part.out)
        self.up, self.down = affine(part.up), affine(part.down)

    def forward(self, x, cache=None, start=0):
        x = x + self.attend(self.norm1(x), cache, start)
        y = functional.gelu(self.up(self.norm2(x)), approximate="tanh")
        return x + self.down(y)

    def attend(self, x, cache, start):
        """Over x, or over what is in the cache and x."""
        n, t, c = x.shape
        parts = self.project(x).view(n, t, 3, sequences.HEADS, c // sequences.HEADS)
        q, k, v = parts.permute(2, 0, 3, 1, 4)
        if cache is not None:
            cache[0][:, :, start : start + t] = k
            cache[1][:, :, start : start + t] = v
            k, v = (a[:, :, : start + t] for a in cache)
        causal = start == 0 and t > 1  # one step may see all that came before it
        y = functional.scaled_dot_product_attention(q, k, v, is_causal=causal)
        return self.out(y.transpose(1, 2).reshape(n, t, c))


def affine(pair):
    """A dense layer."""
    w, b = pair
    return dense(w.T, b)


def embed(table):
    """A vector for each id."""
    return with_weights(nn.Embedding(*table.shape), table, None)


def norm(part):
    """Layer norm."""
    layer = nn.LayerNorm(len(part.scale), eps=sequences.EPS)
    return with_weights(layer, part.scale, part.offset)


def put(parameter, values):
    """Give a parameter its values."""
    with torch.no_grad():
        parameter.copy_(torch.tensor(values))
