# SPDX-License-Identifier: Apache-2.0
"""The language models in Haiku."""

import haiku as hk
import jax
import jax.numpy as jnp
import numpy as np

from contenders import sequences
from contenders.haiku_nets import pair


def network(weights):
    """The network that belongs to some weights, transformed."""
    recurrent = isinstance(weights, sequences.LSTM)
    forward = (lstm_of if recurrent else transformer_of)(weights)
    return hk.without_apply_rng(hk.transform_with_state(forward))


def lstm_of(weights):
    """`hk.LSTM` over time."""

    def forward(ids):
        x, core = hk.Embed(*weights.table.shape, name="embed")(ids), core_of(weights)
        first = core.initial_state(len(ids))
        y, _ = hk.dynamic_unroll(core, x, first, time_major=False)
        return dense(weights.head, "head")(y)

    return forward


def lstm_step_of(weights):
    """One step of it, transformed: `(carry, token)` to `(carry, logits)`.

    `(None, rows)` gives the first carry.
    """

    def forward(carry, token):
        core = core_of(weights)
        if carry is None:
            return core.initial_state(token)
        x = hk.Embed(*weights.table.shape, name="embed")(token)
        y, carry = core(x, carry)
        return carry, dense(weights.head, "head")(y)

    return hk.without_apply_rng(hk.transform(forward))


def core_of(weights):
    """The recurrent core."""
    return hk.LSTM(len(weights.u), name="lstm")


def transformer_of(weights):
    """Causal attention, with learned positions."""
    width, shape = weights.table.shape[1], weights.positions.shape

    def forward(ids):
        x = hk.Embed(*weights.table.shape, name="embed")(ids)
        x += hk.get_parameter("positions", shape, init=jnp.zeros)[: ids.shape[1]]
        mask = jnp.tril(jnp.ones((1, 1, ids.shape[1], ids.shape[1]), bool))
        for i, block in enumerate(weights.blocks):
            y = norm(f"norm1_{i}")(x)
            attention = hk.MultiHeadAttention(
                sequences.HEADS,
                width // sequences.HEADS,
                w_init=hk.initializers.VarianceScaling(),
                name=f"attention_{i}",
            )
            x += attention(y, y, y, mask)
            y = jax.nn.gelu(dense(block.up, f"up_{i}")(norm(f"norm2_{i}")(x)))
            x += dense(block.down, f"down_{i}")(y)
        return dense(weights.head, "head")(norm("norm")(x))

    return forward


def dense(part, name):
    """A dense layer."""
    return hk.Linear(len(part[1]), name=name)


def norm(name):
    """Layer norm."""
    return hk.LayerNorm(-1, True, True, sequences.EPS, name=name)


def with_weights(weights):
    """The parameters and the state in Haiku's names."""
    recurrent = isinstance(weights, sequences.LSTM)
    params = {"embed": {"embeddings": jnp.array(weights.table)}}
    params["head"] = pair(*weights.head)
    return params | (lstm_weights if recurrent else block_weights)(weights), {}


def lstm_weights(weights):
    """One matrix for input and memory, another order of gates, a bias of f + 1."""
    turned, b = sequences.reordered(weights, "igfo"), np.split(weights.b, 4)
    b[1] = b[1] - 1
    b = np.concatenate([b[0], b[2], b[1], b[3]])
    return {"lstm/linear": pair(np.concatenate([turned.w, turned.u]), b)}


def block_weights(weights):
    """Of positions, blocks and the last norm."""
    params = {"~": {"positions": jnp.array(weights.positions)}}
    for i, block in enumerate(weights.blocks):
        for name, part in block._asdict().items():
            if name in ("query", "key", "value", "out"):
                own = "linear" if name == "out" else name
                params[f"attention_{i}/{own}"] = pair(*part)
            else:
                kind = scales if name.startswith("norm") else pair
                params[f"{name}_{i}"] = kind(*part)
    return params | {"norm": scales(*weights.norm)}


def scales(scale, offset):
    """Of layer norm."""
    return {"scale": jnp.array(scale), "offset": jnp.array(offset)}
