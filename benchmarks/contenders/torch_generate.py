# SPDX-License-Identifier: Apache-2.0
"""PyTorch, eager: the prompt at once, then a call a token, with a memory."""

import torch

from contenders import generate, sequences, torch_eager, torch_sequences


class Generator(generate.Generator):
    """Under `inference_mode`; tokens stay on the device until all are there."""

    def __init__(self, weights, backend):
        self.device = torch_eager.device(backend)
        self.net = torch_sequences.network(weights).to(self.device).eval()
        recurrent = isinstance(weights, sequences.LSTM)
        self.write = self.write_lstm if recurrent else self.write_transformer
        self.title = f"a call a token, {'carry' if recurrent else 'cache by hand'}"

    @torch.inference_mode()
    def generate(self, prompt, tokens):
        prompt = torch.tensor(prompt, device=self.device, dtype=torch.int64)
        return torch.cat(self.write(prompt, tokens), 1).cpu().numpy()

    def write_lstm(self, prompt, tokens):
        """Goes on from the carry of `nn.LSTM`."""
        found, token, carry = [], prompt, None
        for _ in range(tokens):
            logits, carry = self.net.step(token, carry)
            token = logits.argmax(-1, keepdim=True)
            found.append(token)
        return found

    def write_transformer(self, prompt, tokens):
        """Goes on from keys and values, in tensors as long as the text will be."""
        found, token, start = [], prompt, 0
        caches = self.empty(*prompt.shape, tokens)
        for _ in range(tokens):
            logits = self.net.step(token, caches, start)
            start += token.shape[1]
            token = logits.argmax(-1, keepdim=True)
            found.append(token)
        return found

    def empty(self, rows, start, tokens):
        """Keys and values of each block, `[N, H, T, D]`."""
        size = self.net.embed.embedding_dim // sequences.HEADS
        shape = rows, sequences.HEADS, start + tokens, size
        return [
            [torch.empty(shape, device=self.device) for _ in range(2)]
            for _ in self.net.blocks
        ]
