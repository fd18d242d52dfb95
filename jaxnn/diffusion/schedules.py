# SPDX-License-Identifier: Apache-2.0
"""How data become noise: x_t = a(t) x + b(t) ε, from t = 0 (data) to t = 1 (noise).

A `Schedule` does it in steps, as diffusion models do; `flow` in a straight line. Models
get the time t, from 0 to 1, whichever it is.
"""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxnn import checks
from jaxnn.keys import Key, check_key
from jaxnn.messages.phrases import describe
from jaxnn.spec import Spec


def linear_betas(steps: int) -> np.ndarray:
    """β_i from 0.0001 to 0.02 for 1000 steps, `[steps]`; fewer have larger ones.

    They are scaled by 1000 / steps, so that the last step is as noisy for any number
    of them, and at most 0.999.
    """
    scale = 1000 / steps
    return np.minimum(np.linspace(scale * 0.02, scale * 1e-4, steps)[::-1], 0.999)


def cosine_betas(steps: int) -> np.ndarray:
    """β_i of ᾱ(t) = cos²(π/2 · (t + 0.008) / 1.008), at most 0.999; `[steps]`."""
    t = np.arange(steps + 1) / steps
    alpha_bar = np.cos(np.pi / 2 * (t + 0.008) / 1.008) ** 2
    return np.minimum(1 - alpha_bar[1:] / alpha_bar[:-1], 0.999)


class Schedule(Spec):
    """The noise of each step of a diffusion: x_t = √ᾱ_t x + √(1 − ᾱ_t) ε.

        ᾱ_0 = 1,  ᾱ_i = Π_{j ≤ i} (1 − β_j)

    Args:
        steps: the number of steps T, 1 or more.
        betas: a function from T to β_1, ..., β_T, `[T]`, each between 0 and 1.

    The methods take a time t of any shape: integers are steps, 0 to T, and floats are
    shares of them, 0.0 to 1.0, between which log ᾱ is linear. They return an array of
    t's shape and dtype, float32 at least.

    Raises:
        ValueError: an argument, or a time that is known, is out of range.

    >>> schedule = Schedule(4, betas=lambda steps: np.full(steps, 0.5))
    >>> schedule.alpha_bar(2).item(), schedule.alpha_bar(0.5).item()
    (0.25, 0.25)

    Reference: Ho et al., Denoising Diffusion Probabilistic Models, 2020.
    """

    steps: int
    betas: Callable[[int], Any]

    def __post_init__(self):
        checks.positive_int("Schedule", "steps", self.steps)
        if not callable(self.betas):
            raise TypeError(
                "Schedule: betas must be a function from the number of steps to them, "
                f"got {describe(self.betas):.100}"
            )
        found = np.asarray(self.betas(self.steps), np.float64)
        if found.shape != (self.steps,) or not ((0 < found) & (found < 1)).all():
            raise ValueError(
                f"Schedule: betas must give [{self.steps}] numbers above 0 and below "
                f"1, got {describe(found)} of {_range(found)}"
            )

    @functools.cached_property
    def log_alpha_bars(self) -> np.ndarray:
        """log ᾱ_i for steps 0 to T, `[T + 1]`, float64 on the host."""
        betas = np.asarray(self.betas(self.steps), np.float64)
        return np.append(0.0, np.cumsum(np.log1p(-betas)))

    def alpha_bar(self, t: Any) -> jax.Array:
        """ᾱ(t), the share of the variance that is still data: from 1 to almost 0."""
        return jnp.exp(self._log_alpha_bar(t))

    def signal(self, t: Any) -> jax.Array:
        """√ᾱ(t), the coefficient of the data."""
        return jnp.exp(self._log_alpha_bar(t) / 2)

    def noise(self, t: Any) -> jax.Array:
        """√(1 − ᾱ(t)), the coefficient of the noise."""
        return jnp.sqrt(-jnp.expm1(self._log_alpha_bar(t)))

    def random_times(self, key: Key, n: int, dtype: Any = jnp.float32) -> jax.Array:
        """Times of n examples, each of steps 1 to T as likely, `[n]`."""
        steps = jax.random.randint(key, (n,), 1, self.steps + 1)
        return steps.astype(dtype) / self.steps

    def _log_alpha_bar(self, t: Any) -> jax.Array:
        t = _time("Schedule", t, self.steps)
        if jnp.issubdtype(t.dtype, jnp.integer):
            return jnp.asarray(self.log_alpha_bars, jnp.float32)[t]
        place = t.astype(wide(t.dtype)) * self.steps
        table = jnp.asarray(self.log_alpha_bars, place.dtype)
        before = jnp.clip(jnp.floor(place), 0, self.steps - 1)
        step = before.astype(jnp.int32)
        return table[step] + (place - before) * (table[step + 1] - table[step])


def linear_schedule(steps: int = 1000) -> Schedule:
    """A schedule whose β grows linearly: from 0.0001 to 0.02 in 1000 steps.

    Args:
        steps: the number of steps T, 1 or more; for another number than 1000, β is
            scaled by 1000 / T, and at most 0.999.

    Returns:
        A `Schedule`.

    Raises:
        ValueError: steps is not a positive int.

    >>> schedule = linear_schedule()
    >>> [f"{schedule.alpha_bar(t):.4g}" for t in (1, 500, 1.0)]
    ['0.9999', '0.07859', '4.036e-05']

    Reference: Ho et al., Denoising Diffusion Probabilistic Models, 2020.
    """
    return Schedule(steps, linear_betas)


def cosine_schedule(steps: int = 1000) -> Schedule:
    """A schedule that adds noise evenly: ᾱ(t) = cos²(π/2 · (t + s) / (1 + s)), s 0.008.

    It is divided by its value at t = 0, and each β is at most 0.999.

    Args:
        steps: the number of steps T, 1 or more.

    Returns:
        A `Schedule`.

    Raises:
        ValueError: steps is not a positive int.

    >>> f"{cosine_schedule().alpha_bar(0.5):.4f}"
    '0.4938'

    Reference: Nichol & Dhariwal, Improved Denoising Diffusion Probabilistic Models,
    2021.
    """
    return Schedule(steps, cosine_betas)


class Flow(Spec):
    """The straight line from data to noise: x_t = (1 − t) x + t ε.

    A model of its velocity ε − x carries noise to data: `flow_loss`, `euler`, `heun`.
    `nn.diffusion.flow` is the one there is.

    >>> print(flow.signal(0.25), flow.noise(0.25))
    0.75 0.25

    Reference: Lipman et al., Flow Matching for Generative Modeling, 2022; Liu et al.,
    Flow Straight and Fast, 2022 (rectified flow).
    """

    def signal(self, t: Any) -> jax.Array:
        """1 − t, the coefficient of the data, for times from 0.0 to 1.0."""
        return 1 - self.noise(t)

    def noise(self, t: Any) -> jax.Array:
        """t, the coefficient of the noise."""
        t = jnp.asarray(t)
        t = _time("Flow", t if checks.is_float(t) else t.astype(jnp.float32))
        return t.astype(wide(t.dtype))

    def random_times(self, key: Key, n: int, dtype: Any = jnp.float32) -> jax.Array:
        """Times of n examples, uniform from 0 to 1, `[n]`."""
        return jax.random.uniform(key, (n,), dtype)


flow = Flow()


def noised(schedule: Schedule | Flow, noise: Any, x: Any, t: Any) -> jax.Array:
    """Data with the noise of a time: x_t = a(t) x + b(t) ε.

    Args:
        schedule: a `Schedule`, or `flow`.
        noise: ε, standard normal numbers of x's shape; or a random key to draw them.
        x: data, floats `[N, ...]`.
        t: `[N]` or one for all, as the schedule takes it: a step from 0 to T, or a time
            from 0.0 to 1.0.

    Returns:
        x_t, of x's shape and dtype.

    Raises:
        ValueError, TypeError: an array has another shape or dtype, or a time is out of
            range.

    >>> x, noise = jnp.ones((2, 3)), jnp.zeros((2, 3))
    >>> noised(flow, noise, x, jnp.array([0.0, 0.5]))[:, 0].tolist()
    [1.0, 0.5]

    Reference: Ho et al., Denoising Diffusion Probabilistic Models, 2020.
    """
    check_schedule("noised", schedule, Schedule | Flow)
    checks.batch("noised", x, axes=1)
    x, t = jnp.asarray(x), jnp.asarray(t)
    if t.shape not in ((), x.shape[:1]):
        raise ValueError(
            f"noised: t must be one time, or one per example, [{len(x)}], got "
            f"{describe(t)}"
        )
    if hasattr(noise, "dtype") and jnp.issubdtype(noise.dtype, jax.dtypes.prng_key):
        check_key(noise, "noised")
        noise = jax.random.normal(noise, x.shape, x.dtype)
    if getattr(noise, "shape", None) != x.shape:
        raise ValueError(
            f"noised: noise must be a random key, or numbers of the shape of x, "
            f"{describe(x)}, got {describe(noise):.100}"
        )
    a, b = (_as_factor(c(t), x) for c in (schedule.signal, schedule.noise))
    made = a * x.astype(a.dtype) + b * jnp.asarray(noise).astype(b.dtype)
    return made.astype(x.dtype)


def check_schedule(owner: str, schedule: Any, kinds: Any = Schedule) -> None:
    """Raise unless this is a schedule."""
    if not isinstance(schedule, kinds):
        hint = "; euler and heun sample a flow" if isinstance(schedule, Flow) else ""
        raise TypeError(
            f"{owner}: schedule must be a schedule, such as "
            f"nn.diffusion.cosine_schedule(1000), got {schedule!r:.60}{hint}"
        )


def wide(*dtypes: Any) -> Any:
    """The dtype to compute in: float32 or wider, whatever the data are."""
    return jnp.float64 if jnp.float64 in dtypes else jnp.float32


def _as_factor(c: jax.Array, x: jax.Array) -> jax.Array:
    """Coefficients `[N]` or `[]` with axes for those of x `[N, ...]`."""
    c = c.astype(wide(c.dtype, x.dtype))
    return c.reshape(c.shape + (1,) * (x.ndim - 1)) if c.ndim else c


def _time(owner: str, t: Any, steps: int = 1) -> jax.Array:
    """Times as an array, in range if they are known."""
    t = jnp.asarray(t)
    whole = jnp.issubdtype(t.dtype, jnp.integer)
    if not whole and not checks.is_float(t):
        raise TypeError(f"{owner}: t must be a step or a time, got {describe(t)}")
    most = steps if whole else 1.0
    if (
        checks.is_known(t)
        and not ((np.asarray(t) >= 0) & (np.asarray(t) <= most)).all()
    ):
        raise ValueError(
            f"{owner}: t must be a step from 0 to {steps} or a time from 0.0 to 1.0, "
            f"got {_range(np.asarray(t))}"
        )
    return t


def _range(a: np.ndarray) -> str:
    """The smallest and the largest number, for messages."""
    return f"{a.min()} to {a.max()}" if a.size else "no numbers"
