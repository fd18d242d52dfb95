# SPDX-License-Identifier: Apache-2.0
"""A layer that is not trained."""

import jax

from jaxnn.core import Wrapper


class Frozen(Wrapper):
    """A layer that is not trained: `y = layer(stop_gradient(params), x)`.

    The same parameter paths as the layer alone, so that pretrained weights fit. It
    computes as in evaluation even during training: its statistics stay, and its dropout
    drops nothing. No gradient flows into its parameters, and `train_step` keeps them
    from the optimizer altogether, weight decay included. Gradients pass through it to
    the layers before it.

    `nn.freeze` freezes by path patterns instead, and keeps dropout running.

    Args:
        layer: any layer or function.

    >>> import jax, jax.numpy as jnp, jaxnn as nn, optax
    >>> net = nn.Sequential(body=nn.Frozen(nn.Dense(8)), head=nn.Dense(2))
    >>> x, y, optimizer = jnp.ones((4, 3)), jnp.ones((4, 2)), optax.adamw(0.1)
    >>> state = nn.train_state(net, optimizer, x, key=jax.random.key(0))
    >>> step = nn.train_step(net, nn.losses.mean_squared_error, optimizer)
    >>> after, _ = step(state, (x, y))
    >>> same = jax.tree.map(jnp.array_equal, after.params, state.params)
    >>> bool(same["body"]["w"]), bool(same["head"]["w"])
    (True, False)
    """

    @property
    def at_rest(self):
        return True

    def apply(self, params, state, x, *, key=None, train=False):
        params = jax.lax.stop_gradient(params)
        return self.layer.apply(params, state, x, key=key, train=False)
