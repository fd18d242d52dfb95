# SPDX-License-Identifier: Apache-2.0
"""Inputs and outputs of recurrent layers: arrays, lengths, a carry to start from."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jaxnn import checks
from jaxnn.inputs.steps import Steps, check_lengths, check_steps


class Sequences(NamedTuple):
    """Sequences of different lengths, and the carry that a layer starts from.

    A recurrent layer or stack takes an array `x`, or `(x, lengths)`, and returns an
    array. Given `Sequences`, it returns `Sequences`: the outputs, the same lengths, and
    the carry of each example after its own last step.

    Attributes:
        x: `[N, T, ...]`, N examples of T steps; values past the end of an example are
            ignored.
        lengths: `[N]` ints from 1 to T, the number of real steps of each example; None
            if all are.
        carry: what to start from, as the layer returned it; None for zeros.

    >>> import jax, jax.numpy as jnp, jaxnn as nn
    >>> net, x = nn.lstm(8), jnp.ones((2, 5, 3))
    >>> params, state = net.init(jax.random.key(0), x)
    >>> (y, _, carry), _ = net.apply(params, state, nn.Sequences(x))
    >>> y.shape, carry["layer1"]["h"].shape
    ((2, 5, 8), (2, 8))
    """

    x: Any
    lengths: Any = None
    carry: Any = None


def unpack(owner: str, x: Any) -> Sequences:
    """`x`, `(x, lengths)` or `Sequences` as checked `Sequences`, lengths in int32."""
    if not isinstance(x, Sequences):
        pair = isinstance(x, Steps) or (type(x) is tuple and len(x) == 2)
        x = Sequences(*x) if pair else Sequences(x)
    checks.batch(owner, x.x, axes=3)
    check_steps(owner, x.x)
    check_lengths(owner, x.lengths, x.x)
    if x.lengths is None or isinstance(x.lengths, jax.ShapeDtypeStruct):
        return x
    return x._replace(lengths=jnp.asarray(x.lengths, jnp.int32))


def pack(given: Any, y: Any, sequences: Sequences, carry: Any) -> Any:
    """Outputs in the form of the input: `Sequences` for `Sequences`."""
    given_carry = isinstance(given, Sequences)
    return Sequences(y, sequences.lengths, carry) if given_carry else y
