# SPDX-License-Identifier: Apache-2.0
"""Samplers of diffusions: remove the noise of a schedule step by step."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxnn import checks
from jaxnn.diffusion.sampling import sample
from jaxnn.diffusion.schedules import Schedule, check_schedule
from jaxnn.keys import Key
from jaxnn.messages.phrases import nearest
from jaxnn.messages.tracebacks import entrance
from jaxnn.spec import Spec


@entrance
def ddpm(
    net: Any,
    variables: Any,
    start: Any,
    *,
    schedule: Schedule,
    key: Key,
    steps: int | None = None,
    predicts: str = "noise",
    clip: Any = None,
    condition: Any = None,
    null: Any = None,
    guidance: Any = None,
) -> jax.Array:
    """Sample a diffusion by its posterior: every step removes noise and adds a little.

        x_s ~ N(√ᾱ_s β/(1−ᾱ_t) x̂ + √α (1−ᾱ_s)/(1−ᾱ_t) x_t,  β (1−ᾱ_s)/(1−ᾱ_t))

    with α = ᾱ_t/ᾱ_s, β = 1 − α, and x̂ the data that the network predicts from x_t.

    Args:
        net: a network trained by `noise_objective` or `velocity_objective`, with inputs
            `(x, t)` or `(x, t, condition)`; or a function of these. t is `[N]`, 1 to 0.
        variables: its `(params, state)`, or a `TrainState`; None for a function.
        start: a shape `(N, ...)`, whose noise is drawn from `key` in float32; or the
            noise itself, floats `[N, ...]`.
        schedule: that of training.
        key: a random key.
        steps: how many of the schedule's steps to take, evenly spaced; None for all.
        predicts: what the network gives: "noise" or "velocity", as it was trained.
        clip: the largest absolute value of data, to which x̂ is clipped, such as 1 for
            pixels from -1 to 1; None for no limit. It keeps an imperfect network from
            diverging where x_t is almost all noise.
        condition, null, guidance: as for `nn.diffusion.euler`, for what the network
            predicts.

    Returns:
        Samples of `start`'s shape and dtype. The steps are computed in float32 at
        least.

    Raises:
        ValueError, TypeError: an argument is out of range or does not fit, or guidance
            is asked of a model without a condition.

    >>> import jax, jax.numpy as jnp, jaxnn as nn
    >>> schedule = nn.diffusion.cosine_schedule(20)
    >>> def noise(x, t):  # of data that are all 0
    ...     return x / schedule.noise(t)[:, None]
    >>> x = nn.diffusion.ddpm(
    ...     noise, None, (2, 3), schedule=schedule, key=jax.random.key(0)
    ... )
    >>> bool((abs(x) < 1e-5).all())
    True

    Reference: Ho et al., Denoising Diffusion Probabilistic Models, 2020; Nichol &
    Dhariwal, Improved Denoising Diffusion Probabilistic Models, 2021 (fewer steps).
    """
    _check("ddpm", schedule, steps, predicts, clip)
    return sample(
        "ddpm",
        net,
        variables,
        start,
        _Ddpm(predicts),
        _rows(schedule, steps),
        key=key,
        draws=True,
        condition=condition,
        null=null,
        guidance=guidance,
        clip=clip,
    )


@entrance
def ddim(
    net: Any,
    variables: Any,
    start: Any,
    *,
    schedule: Schedule,
    steps: int | None = None,
    eta: Any = 0.0,
    key: Key | None = None,
    predicts: str = "noise",
    clip: Any = None,
    condition: Any = None,
    null: Any = None,
    guidance: Any = None,
) -> jax.Array:
    """Sample a diffusion in few steps: the same noise throughout, with no more added.

        x_s = √ᾱ_s x̂ + √(1 − ᾱ_s − σ²) ε̂ + σ z,  σ² = η² (1−ᾱ_s)/(1−ᾱ_t) (1 − ᾱ_t/ᾱ_s)

    Args:
        net, variables, start, schedule, predicts, clip, condition, null, guidance: as
            for `ddpm`.
        steps: how many of the schedule's steps to take, evenly spaced; 20 to 100 are
            usual. None for all.
        eta: how much of the noise is drawn anew, η from 0 (none: the samples are a
            function of the start) to 1 (`ddpm`).
        key: a random key; only needed for a shape, or for eta above 0.

    Returns, Raises: as for `ddpm`.

    >>> import jax, jax.numpy as jnp, jaxnn as nn
    >>> schedule = nn.diffusion.cosine_schedule(1000)
    >>> def noise(x, t):  # of data that are all 0
    ...     return x / schedule.noise(t)[:, None]
    >>> x = nn.diffusion.ddim(noise, None, jnp.ones((2, 3)), schedule=schedule, steps=5)
    >>> bool((abs(x) < 1e-5).all())
    True

    Reference: Song et al., Denoising Diffusion Implicit Models, 2020.
    """
    _check("ddim", schedule, steps, predicts, clip)
    checks.probability("ddim", "eta", eta)
    return sample(
        "ddim",
        net,
        variables,
        start,
        _Ddim(predicts),
        _rows(schedule, steps),
        key=key,
        draws=not checks.is_zero(eta),
        condition=condition,
        null=null,
        guidance=guidance,
        clip=clip,
        eta=eta,
    )


class _Row(NamedTuple):
    """The numbers of each step from t to an earlier s, `[steps]`."""

    t: Any
    signal: Any  # √ᾱ_t
    noise: Any  # √(1 − ᾱ_t)
    next_signal: Any  # √ᾱ_s
    next_noise: Any  # √(1 − ᾱ_s)
    anew: Any  # √((1 − ᾱ_t/ᾱ_s) / (1 − ᾱ_t)): of the noise at s, new in the posterior
    keep: Any  # √α (1 − ᾱ_s) / (1 − ᾱ_t): of x_t, in the posterior's mean
    data: Any  # √ᾱ_s β / (1 − ᾱ_t): of x̂


def _rows(schedule: Schedule, steps: int | None) -> _Row:
    """The table of a schedule's steps, in float64 on the host."""
    n = schedule.steps if steps is None else int(steps)
    taken = np.round(np.linspace(schedule.steps, 0, n + 1)).astype(int)
    log = schedule.log_alpha_bars[taken]
    now, then = log[:-1], log[1:]
    beta, variance = -np.expm1(now - then), -np.expm1(now)
    share = -np.expm1(then) / variance
    return _Row(
        t=taken[:-1] / schedule.steps,
        signal=np.exp(now / 2),
        noise=np.sqrt(variance),
        next_signal=np.exp(then / 2),
        next_noise=np.sqrt(-np.expm1(then)),
        anew=np.where(then < 0, np.sqrt(beta / variance), 0),  # no noise is left at 0
        keep=np.exp((now - then) / 2) * share,
        data=np.exp(then / 2) * beta / variance,
    )


def _check(owner: str, schedule: Any, steps: Any, predicts: Any, clip: Any) -> None:
    """Raise unless the arguments that both samplers have are in range."""
    check_schedule(owner, schedule)
    if steps is not None:
        checks.positive_int(owner, "steps", steps)
        if steps > schedule.steps:
            raise ValueError(
                f"{owner}: steps must be at most the {schedule.steps} of the schedule, "
                f"got {steps}"
            )
    if predicts not in _PARTS:
        raise ValueError(
            f'{owner}: predicts must be "noise" or "velocity", got {predicts!r:.60}'
            f"{nearest(str(predicts), _PARTS)}"
        )
    if clip is not None:
        checks.positive(owner, "clip", clip)


def _of_noise(y, x, row):
    return (x - row.noise * y) / row.signal, y


def _of_velocity(y, x, row):
    return row.signal * x - row.noise * y, row.noise * x + row.signal * y


#: The data and the noise in x, by what the network predicts.
_PARTS = {"noise": _of_noise, "velocity": _of_velocity}


def _parts(predicts: str, model: Any, x: Any, row: _Row, options: dict):
    """The data and the noise that the network sees in x."""
    data, noise = _PARTS[predicts](model(x, row.t), x, row)
    if "clip" not in options:
        return data, noise
    data = jnp.clip(data, -options["clip"], options["clip"])
    return data, (x - row.signal * data) / row.noise


class _Ddpm(Spec):
    """One step of `ddpm`."""

    predicts: str

    def __call__(self, model, x, row, draw, options):
        data, _ = _parts(self.predicts, model, x, row, options)
        return row.data * data + row.keep * x + row.next_noise * row.anew * draw()


class _Ddim(Spec):
    """One step of `ddim`."""

    predicts: str

    def __call__(self, model, x, row, draw, options):
        data, noise = _parts(self.predicts, model, x, row, options)
        if draw is None:
            return row.next_signal * data + row.next_noise * noise
        anew = options["eta"] * row.anew
        noise = jnp.sqrt(1 - anew**2) * noise + anew * draw()
        return row.next_signal * data + row.next_noise * noise
