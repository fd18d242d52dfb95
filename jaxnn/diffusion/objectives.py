# SPDX-License-Identifier: Apache-2.0
"""What a model of noise learns: losses of a model function, and objectives of `fit`.

Each draws a time and noise for every example, and compares what the model says of the
noisy x_t with what was done to x.
"""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jaxnn import checks
from jaxnn.diffusion.model import Model, called, check_condition, check_null, dropped
from jaxnn.diffusion.schedules import (
    Flow,
    Schedule,
    check_schedule,
    flow,
    noised,
    wide,
)
from jaxnn.keys import Key, check_key, fold_in
from jaxnn.losses import mean_squared_error
from jaxnn.messages.phrases import describe
from jaxnn.messages.tracebacks import entrance


@entrance
def noise_loss(
    model: Model, x: Any, *, schedule: Schedule, key: Key, condition: Any = None
) -> jax.Array:
    """The mean squared error of predicted noise: ‖ε̂(x_t, t) − ε‖² / D.

    Args:
        model: a function of `(x_t, t)` or `(x_t, t, condition)` that gives an array of
            x's shape; t is `[N]`, from 0 to 1.
        x: data, floats `[N, ...]`, of a scale near 1.
        schedule: a `Schedule`.
        key: a random key for the times and the noise.
        condition: a tree of arrays `[N, ...]` that the model gets, or None.

    Returns:
        `[N]`, one value per example.

    Raises:
        ValueError, TypeError: an argument or the model's output does not fit.

    >>> import jax, jax.numpy as jnp, jaxnn as nn
    >>> schedule = nn.diffusion.cosine_schedule(10)
    >>> noise_loss(
    ...     lambda x, t: x, jnp.ones((4, 2)), schedule=schedule, key=jax.random.key(0)
    ... ).shape
    (4,)

    Reference: Ho et al., Denoising Diffusion Probabilistic Models, 2020.
    """
    check_schedule("noise_loss", schedule)
    drawn = _drawn("noise_loss", schedule, x, key)
    return _error("noise_loss", model, drawn, condition, drawn.noise)


@entrance
def velocity_loss(
    model: Model, x: Any, *, schedule: Schedule, key: Key, condition: Any = None
) -> jax.Array:
    """The mean squared error of v = √ᾱ ε − √(1 − ᾱ) x, learnable at every time.

    Args, Returns, Raises: as for `noise_loss`.

    >>> import jax, jax.numpy as jnp, jaxnn as nn
    >>> schedule = nn.diffusion.cosine_schedule(10)
    >>> velocity_loss(
    ...     lambda x, t: x, jnp.ones((4, 2)), schedule=schedule, key=jax.random.key(0)
    ... ).shape
    (4,)

    Reference: Salimans & Ho, Progressive Distillation for Fast Sampling of Diffusion
    Models, 2022.
    """
    check_schedule("velocity_loss", schedule)
    drawn = _drawn("velocity_loss", schedule, x, key)
    # (v is x_t for data of minus the noise and noise of the data)
    v = noised(schedule, -drawn.x, drawn.noise, drawn.t)
    return _error("velocity_loss", model, drawn, condition, v)


@entrance
def flow_loss(model: Model, x: Any, *, key: Key, condition: Any = None) -> jax.Array:
    """The mean squared error of the velocity ε − x on the line (1 − t) x + t ε.

    Args:
        model: a function of `(x_t, t)` or `(x_t, t, condition)` that gives an array of
            x's shape; t is `[N]`, uniform from 0 to 1.
        x: data, floats `[N, ...]`, of a scale near 1.
        key: a random key for the times and the noise.
        condition: a tree of arrays `[N, ...]` that the model gets, or None.

    Returns, Raises: as for `noise_loss`.

    >>> import jax, jax.numpy as jnp, jaxnn as nn
    >>> x = jnp.ones((4, 2))
    >>> flow_loss(lambda x, t: x, x, key=jax.random.key(0)).shape
    (4,)

    Reference: Lipman et al., Flow Matching for Generative Modeling, 2022.
    """
    drawn = _drawn("flow_loss", flow, x, key)
    return _error("flow_loss", model, drawn, condition, drawn.noise - drawn.x)


def noise_objective(
    schedule: Schedule, *, null: Any = None, drop: float = 0.0
) -> Callable[..., jax.Array]:
    """`noise_loss` as an objective of `fit`, `train_step`, `evaluate` and the rest.

    Args:
        schedule: a `Schedule`.
        null: what stands for no condition, for guidance: a number that is no label, or
            a tree like the condition of one example.
        drop: the probability in training, 0 to 1, that an example's condition is
            replaced by `null`; 0.1 is usual.

    Returns:
        `objective(run, batch) -> [N]` for batches x, of a network with inputs `(x, t)`,
        and for batches `(x, condition)`, of one with `(x, t, condition)`.

    Raises:
        ValueError, TypeError: an argument is out of range, or `drop` has no `null`.

    >>> import jax, jax.numpy as jnp, optax, jaxnn as nn
    >>> class Denoiser(nn.Composite):
    ...     body: nn.Layer = nn.Dense(2)
    ...     def forward(self, run, inputs):
    ...         x, t = inputs
    ...         return run("body", jnp.concatenate([x, t[:, None]], 1))
    >>> objective = noise_objective(nn.diffusion.cosine_schedule(100))
    >>> state, history = nn.fit(
    ...     Denoiser(), jnp.ones((8, 2)), objective=objective, epochs=1, batch_size=8,
    ...     optimizer=optax.adam(1e-3), key=jax.random.key(0), progress=False,
    ... )

    Reference: Ho et al., Denoising Diffusion Probabilistic Models, 2020; Ho & Salimans,
    Classifier-Free Diffusion Guidance, 2022 (dropped conditions).
    """
    check_schedule("noise_objective", schedule)
    loss = functools.partial(noise_loss, schedule=schedule)
    return _objective("noise_objective", loss, null, drop)


def velocity_objective(
    schedule: Schedule, *, null: Any = None, drop: float = 0.0
) -> Callable[..., jax.Array]:
    """`velocity_loss` as an objective of `fit`, `train_step`, `evaluate` and the rest.

    Args, Returns, Raises: as for `noise_objective`.

    >>> import jax, jax.numpy as jnp, jaxnn as nn
    >>> objective = velocity_objective(
    ...     nn.diffusion.cosine_schedule(100), null=10, drop=0.1
    ... )

    Reference: Salimans & Ho, Progressive Distillation for Fast Sampling of Diffusion
    Models, 2022.
    """
    check_schedule("velocity_objective", schedule)
    loss = functools.partial(velocity_loss, schedule=schedule)
    return _objective("velocity_objective", loss, null, drop)


def flow_objective(*, null: Any = None, drop: float = 0.0) -> Callable[..., jax.Array]:
    """`flow_loss` as an objective of `fit`, `train_step`, `evaluate` and the rest.

    Args:
        null, drop: as for `noise_objective`.

    Returns, Raises: as for `noise_objective`.

    >>> objective = flow_objective(null=10, drop=0.1)  # of labels 0 to 9

    Reference: Lipman et al., Flow Matching for Generative Modeling, 2022.
    """
    return _objective("flow_objective", flow_loss, null, drop)


def _objective(owner: str, loss: Callable[..., Any], null: Any, drop: Any):
    checks.probability(owner, "drop", drop)
    if null is None and not checks.is_zero(drop):
        raise ValueError(
            f"{owner}: drop must come with null, which stands for a dropped condition, "
            f"got drop={drop!r} alone; for labels 0 to 9 write null=10"
        )

    def objective(run, batch):
        x, condition = _parts(owner, batch)
        if run.train and not checks.is_zero(drop):
            if condition is None:
                raise ValueError(
                    f"{owner}: batch must be (x, condition) where conditions are "
                    f"dropped, got {describe(batch):.100}"
                )
            check_null(owner, null, condition)
            key = fold_in(run.key, "drop")
            condition = dropped(key, condition, null, drop)
        return loss(lambda *inputs: run(inputs), x, key=run.key, condition=condition)

    return objective


def _parts(owner: str, batch: Any) -> tuple[Any, Any]:
    """A batch as x and its condition, or None."""
    if not isinstance(batch, tuple):
        return batch, None
    if len(batch) != 2:
        raise ValueError(
            f"{owner}: batch must be x, or (x, condition), got {describe(batch):.100}"
        )
    return batch


class _Drawn(NamedTuple):
    """Data with what was drawn for them."""

    x: jax.Array
    noise: jax.Array
    t: jax.Array  # [N]
    x_t: jax.Array


def _drawn(owner: str, path: Schedule | Flow, x: Any, key: Key) -> _Drawn:
    checks.batch(owner, x, axes=1)
    check_key(key, owner)
    x = jnp.asarray(x)
    t = path.random_times(fold_in(key, "time"), len(x), wide(x.dtype))
    noise = jax.random.normal(fold_in(key, "noise"), x.shape, x.dtype)
    return _Drawn(x, noise, t, noised(path, noise, x, t))


def _error(owner: str, model: Model, drawn: _Drawn, condition: Any, target: Any):
    check_condition(owner, condition, len(drawn.x))
    outputs = called(owner, model, drawn.x_t, drawn.t, condition)
    return mean_squared_error(outputs, target.astype(outputs.dtype))
