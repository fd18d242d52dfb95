# SPDX-License-Identifier: Apache-2.0
"""Embeddings: from ids to vectors, and back with the same table."""

import functools
from dataclasses import KW_ONLY
from typing import Any

import jax
import numpy as np

from jaxnn import checks, initializers
from jaxnn.core import Composite, Layer, Params
from jaxnn.inputs.steps import blank, check_integers, check_lengths
from jaxnn.layers.padding import unpack
from jaxnn.messages.phrases import describe
from jaxnn.ops.embed import embed, is_id, tied_logits


class Embed(Layer):
    """A vector for each id of a vocabulary, `y = table[id]`.

    It maps ids `[N, T]` (or of any shape) to `[N, T, F]`, and `(ids, lengths)` to
    `(vectors, lengths)`, with zeros past each end, where any id is allowed. An id
    outside 0 to V - 1 is an error; inside compiled code, where values are not known,
    its vector is NaN, so that `fit` detects it: it is never wrapped or clamped.
    Parameter: `table`, `[V, F]`.

    Args:
        vocabulary: the number of ids, V.
        features: the length of a vector, F.
        w_init: initializer of `table`.

    Raises:
        TypeError: the ids are not integers.
        IndexError: an id is not in the vocabulary; the message gives its value and
            position.

    >>> import jax, jax.numpy as jnp, jaxnn as nn
    >>> layer, ids = nn.Embed(65, 8), jnp.array([[3, 64, 3]])
    >>> params, state = layer.init(jax.random.key(0), ids)
    >>> layer.apply(params, state, ids)[0].shape
    (1, 3, 8)
    """

    with_lengths = "carries"
    vocabulary: int
    features: int
    _: KW_ONLY
    w_init: initializers.InitializerFunction = initializers.normal(0.1)

    def __post_init__(self):
        checks.positive_int("Embed", "vocabulary", self.vocabulary)
        checks.positive_int("Embed", "features", self.features)

    def init(self, key, x):
        self._check(x)
        shape = (self.vocabulary, self.features)
        dtype = jax.dtypes.canonicalize_dtype(float)
        return {"table": self.w_init(key, shape, dtype)}, {}

    def apply(self, params, state, x, *, key=None, train=False):
        self._check(x)
        ids, lengths, put_back = unpack(x)
        return put_back(blank(embed(params["table"], ids), lengths)), state

    def attend(self, params: Params, x: jax.Array) -> jax.Array:
        """Logits from the same table, `x tableᵀ`: `[..., F]` to `[..., V]`.

        In a `Composite`: `self.embed.attend(run.params["embed"], x)`.

        Args:
            params: the parameters of this layer.
            x: `[..., F]`.

        >>> import jax.numpy as jnp, jaxnn as nn
        >>> params = {"table": jnp.eye(3)}
        >>> nn.Embed(3, 3).attend(params, jnp.array([[0.0, 2.0, 1.0]])).tolist()
        [[0.0, 2.0, 1.0]]
        """
        checks.width("Embed.attend", x, self.features)
        return tied_logits(x, params["table"])

    def _check(self, x: Any) -> None:
        ids, lengths, _ = unpack(x)
        check_integers("Embed", "ids", ids)
        check_lengths("Embed", lengths, ids)
        check = functools.partial(check_ids, "Embed", vocabulary=self.vocabulary)
        checks.values(check, ids, lengths)


def check_ids(owner: str, ids: Any, lengths: Any = None, *, vocabulary: int) -> None:
    """Raise unless all known ids, up to each row's length, are in the vocabulary.

    Args:
        owner: the caller's name, for the message.
        ids: integers of any shape; at least `[N, T]` with lengths.
        lengths: `[N]` or None.
        vocabulary: the number of ids; each must be from 0 to `vocabulary - 1`.

    Raises:
        IndexError: an id is wrong; the message gives the first one, its position and
            the vocabulary.
    """
    ids = np.asarray(ids)
    wrong = ~is_id(ids, vocabulary)
    if lengths is not None:
        real = np.arange(ids.shape[1])[None] < np.asarray(lengths)[:, None]
        wrong &= real.reshape(real.shape + (1,) * (ids.ndim - 2))
    if wrong.any():
        place = tuple(int(i) for i in np.argwhere(wrong)[0])
        raise IndexError(
            f"{owner}: ids must be from 0 to {vocabulary - 1}, the vocabulary being "
            f"{vocabulary}, got {int(ids[place])} at {list(place)} of {describe(ids)}"
        )


class TiedOutput(Composite):
    """A network from ids to logits whose output layer reuses the embedding table.

    `y = body(table[ids]) tableᵀ`

    Args:
        embed: an `Embed` with V ids and F features.
        body: a layer from `[N, T, F]` to `[N, T, F]`.

    Reference: Press and Wolf, Using the Output Embedding to Improve Language Models,
    2017.

    >>> import jax, jax.numpy as jnp, jaxnn as nn
    >>> net, ids = nn.TiedOutput(nn.Embed(65, 8), nn.Dense(8)), jnp.array([[3, 64, 3]])
    >>> params, state = net.init(jax.random.key(0), ids)
    >>> net.apply(params, state, ids)[0].shape
    (1, 3, 65)
    """

    embed: Layer
    body: Layer

    def forward(self, run, x):
        y = run("body", run("embed", x))
        table = run.params["embed"]["table"]
        checks.width("TiedOutput", y, table.shape[1])
        return tied_logits(y, table)
