# SPDX-License-Identifier: Apache-2.0
"""Samplers of flows: integrate dx/dt = v(x, t) from noise, t = 1, to data, t = 0."""

from typing import Any, NamedTuple

import jax
import numpy as np

from jaxnn import checks
from jaxnn.diffusion.sampling import sample
from jaxnn.keys import Key
from jaxnn.messages.tracebacks import entrance


class _Row(NamedTuple):
    """The times before and after each step, `[steps]`."""

    t: Any
    next_t: Any


@entrance
def euler(
    net: Any,
    variables: Any,
    start: Any,
    *,
    steps: int,
    key: Key | None = None,
    condition: Any = None,
    null: Any = None,
    guidance: Any = None,
) -> jax.Array:
    """Sample a flow by Euler's method: x ← x + (s − t) v(x, t), one call a step.

    Args:
        net: a network of the velocity, trained by `flow_objective`, with inputs `(x,
            t)` or `(x, t, condition)`; or a function of these. t is `[N]`, 1 to 0.
        variables: its `(params, state)`, or a `TrainState`; None for a function.
        start: a shape `(N, ...)`, whose noise is drawn from `key` in float32; or the
            noise itself, floats `[N, ...]`.
        steps: how many steps of equal length, 1 or more.
        key: a random key; only needed for a shape.
        condition: a tree of arrays `[N, ...]` that the network gets, or None.
        null: what stood for a dropped condition in training; needed for guidance.
        guidance: how much to exaggerate the condition, w in v(∅) + w (v(condition) −
            v(∅)): 1 is none, 2 to 7 are usual. Both are computed in one call of a
            doubled batch. None leaves it out, for half of the cost.

    Returns:
        Samples of `start`'s shape and dtype. The steps are computed in float32 at
        least.

    Raises:
        ValueError, TypeError: an argument is out of range or does not fit, or guidance
            is asked of a model without a condition.

    >>> import jax, jax.numpy as jnp, jaxnn as nn
    >>> def to_two(x, t):  # the flow of data that are all 2
    ...     return (x - 2) / t[:, None]
    >>> nn.diffusion.euler(to_two, None, jnp.ones((1, 2)), steps=4).tolist()
    [[2.0, 2.0]]

    Reference: Lipman et al., Flow Matching for Generative Modeling, 2022; Ho &
    Salimans, Classifier-Free Diffusion Guidance, 2022.
    """
    return sample(
        "euler",
        net,
        variables,
        start,
        _euler,
        _rows("euler", steps),
        key=key,
        draws=False,
        condition=condition,
        null=null,
        guidance=guidance,
    )


@entrance
def heun(
    net: Any,
    variables: Any,
    start: Any,
    *,
    steps: int,
    key: Key | None = None,
    condition: Any = None,
    null: Any = None,
    guidance: Any = None,
) -> jax.Array:
    """Sample a flow by Heun's method: the mean velocity of both ends of each step.

        x' = x + (s − t) v(x, t),  x ← x + (s − t) (v(x, t) + v(x', s)) / 2

    Its error falls with the square of the step, for two calls of the network a step;
    they include one at t = 0.

    Args, Returns, Raises: as for `euler`.

    >>> import jax, jax.numpy as jnp, jaxnn as nn
    >>> def falling(x, t):  # from 1 to exp(-1), 0.3679
    ...     return x
    >>> x = jnp.ones((1, 1))
    >>> for sampler in (nn.diffusion.euler, nn.diffusion.heun):
    ...     print(round(sampler(falling, None, x, steps=10).item(), 4))
    0.3487
    0.3685

    Reference: Karras et al., Elucidating the Design Space of Diffusion-Based Generative
    Models, 2022 (the method for diffusion); Lipman et al., Flow Matching for Generative
    Modeling, 2022.
    """
    return sample(
        "heun",
        net,
        variables,
        start,
        _heun,
        _rows("heun", steps),
        key=key,
        draws=False,
        condition=condition,
        null=null,
        guidance=guidance,
    )


def _rows(owner: str, steps: Any) -> _Row:
    checks.positive_int(owner, "steps", steps)
    times = np.linspace(1, 0, int(steps) + 1)
    return _Row(times[:-1], times[1:])


def _euler(model, x, row, draw, options) -> jax.Array:
    del draw, options
    return x + (row.next_t - row.t) * model(x, row.t)


def _heun(model, x, row, draw, options) -> jax.Array:
    del draw, options
    before, length = model(x, row.t), row.next_t - row.t
    after = model(x + length * before, row.next_t)
    return x + length * (before + after) / 2
