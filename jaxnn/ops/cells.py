# SPDX-License-Identifier: Apache-2.0
"""Fast loops of the usual cells over all steps, time axis first.

They have their own gradient rules.  The tangents of a recurrence follow a linear one,
whose factors are computed here for all steps at once.  Autodiff transposes it into the
backward pass: one product per step, `dz w'`, and the gradient of the weights as one
product after the loop.  Measured on two CPU cores, a training step of an LSTM of 256
(T 64, N 64) in a scan: 45 ms with autodiff of the plain loop, 40 with this, 44 in
PyTorch.
"""

from collections.abc import Callable, Sequence
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from jaxnn.ops.dense import dense_over_time
from jaxnn.ops.norm import wide
from jaxnn.ops.recurrent import keep, scan

#: For σ σ tanh σ as one tanh, `tanh(z s) s + 1 - s`, as σ(z) = tanh(z / 2) / 2 + 1/2.
_SCALES = np.array([0.5, 0.5, 1.0, 0.5], np.float32)


def rnn(u, b, w, h, mask=None, *, activation=jnp.tanh, reverse=False):
    """`h[t] = activation(u[t] + b + h[t - 1] w)`.

    Args:
        u: `[T, N, H]`, the inputs times their weights.
        b: `[H]`, or None for no bias.
        w: `[H, H]`.
        h: `[N, H]`, h before the first step.
        mask: `[T, N]`, which steps are real; at the others h is kept.
        activation: an elementwise function.
        reverse: whether to run from the last step to the first.

    Returns:
        h after all steps, and h after each, `[T, N, H]`.
    """
    h, hs = _rnn(activation, reverse, u, b, w, h.astype(u.dtype), mask)
    return wide(h), hs


def _rnn_steps(activation, reverse, u, b, w, h, mask):
    def step(h, u):
        z = wide(u) + _row(b, u) + _times(h, w)
        return activation(z).astype(u.dtype), z, None

    return _overwrite(step, h, u, mask, reverse)


@partial(jax.custom_jvp, nondiff_argnums=(0, 1))
def _rnn(*args):
    h, _, hs, _ = _rnn_steps(*args)
    return h, hs


@_rnn.defjvp
def _rnn_jvp(activation, reverse, primals, tangents):
    u, _, w, h, mask = primals
    du, db, dw, dh, _ = tangents
    h_last, z, hs, _ = _rnn_steps(activation, reverse, *primals)
    _, slope = jax.jvp(activation, (wide(z),), (jnp.ones_like(wide(z)),))
    dz = wide(du) + _row(db, du) + _all_times(_before(h, hs, reverse), dw)
    times = _by_turned(w)

    def step(dh, part):
        dz, slope = part
        return (slope * (dz + times(dh))).astype(u.dtype)

    return (h_last, hs), _linear(step, dh, (dz, slope), mask, reverse)


def lstm(u, b, w, h, c, mask=None, *, reverse=False):
    """`c = σ(f) c + σ(i) tanh(g)`, `h = σ(o) tanh(c)` with i f g o `= u + b + h w`.

    Args:
        u: `[T, N, 4 H]`, the inputs times their weights.
        b: `[4 H]`, or None for no bias.
        w: `[H, 4 H]`.
        h, c: `[N, H]`, h and c before the first step.
        mask: `[T, N]`, which steps are real; at the others h and c are kept.
        reverse: whether to run from the last step to the first.

    Returns:
        `(h, c)` after all steps, and h after each, `[T, N, H]`.
    """
    (h, c), hs = _lstm(reverse, u, b, w, h.astype(u.dtype), wide(c), mask)
    return (wide(h), c), hs


def _lstm_steps(reverse, u, b, w, h, c, mask):
    scales = np.repeat(_SCALES, h.shape[-1])

    def step(carry, u):
        h, c = carry
        z = wide(u) + _row(b, u) + _times(h, w)
        scale = _row(scales, z)
        gates = jnp.tanh(z * scale) * scale + (1 - scale)
        i, f, g, o = _parts(gates, 4)
        c = f * c + i * g
        return ((o * jnp.tanh(c)).astype(u.dtype), c), gates, None

    return _overwrite(step, (h, c), u, mask, reverse)


@partial(jax.custom_jvp, nondiff_argnums=(0,))
def _lstm(*args):
    carry, _, (hs, _), _ = _lstm_steps(*args)
    return carry, hs


@_lstm.defjvp
def _lstm_jvp(reverse, primals, tangents):
    u, _, w, h, c, mask = primals
    du, db, dw, dh, dc, _ = tangents
    carry, gates, (hs, cs), _ = _lstm_steps(reverse, *primals)
    i, f, g, o = _parts(wide(gates), 4)
    tanh_c = jnp.tanh(cs)
    # Separate arrays: joined into one [T, N, 4 H], they are copied once more, 10 ms.
    by_z = (
        _slope(i) * g,
        _slope(f) * _before(c, cs, reverse),
        i * (1 - g * g),
        _slope(o) * tanh_c,
    )
    dz = wide(du) + _row(db, du) + _all_times(_before(h, hs, reverse), dw)
    times = _by_turned(w)

    def step(carry, part):
        (dh, dc), (dz, by_z, f, by_c) = carry, part
        di, df, dg, do = map(jnp.multiply, by_z, _parts(dz + times(dh), 4))
        dc = f * dc + di + df + dg
        return (do + by_c * dc).astype(u.dtype), dc

    parts = (dz, by_z, f, o * (1 - tanh_c * tanh_c))
    return (carry, hs), _linear(step, (dh, dc), parts, mask, reverse)


def lstm_by(
    times: Callable[[jax.Array], jax.Array],
    u,
    b,
    h,
    c,
    mask=None,
    peephole=None,
    *,
    reverse,
):
    """`lstm` with any function in place of `h w`, by a plain loop.

    Args:
        times: maps h `[N, ..., H]` to `[N, ..., 4 H]`.
        u, b, h, c, mask, reverse: as for `lstm`, with any axes between N and H.
        peephole: `[3 H]`, weights by which the gates i, f and o also see the cell
            state c, or None.
    """

    def step(carry, u):
        h, c = carry
        i, f, g, o = _parts(wide(u) + _row(b, u) + wide(times(h.astype(u.dtype))), 4)
        pi, pf, po = _parts(_row(peephole, jnp.concatenate([c, c, c], -1)), 3)
        c = _sigmoid(f + pf * c) * c + _sigmoid(i + pi * c) * jnp.tanh(g)
        h = (_sigmoid(o + po * c) * jnp.tanh(c)).astype(u.dtype)
        return (wide(h), c), h

    return scan(step, (wide(h), wide(c)), u, mask, reverse=reverse)


def gru(u, b, w, b_recurrent, h, mask=None, *, reverse=False):
    """A gated recurrent unit with the reset after the product.

    With three parts each of `v = h[t - 1] w + b_recurrent` and u: `r = σ(u_r + v_r)`,
    `z = σ(u_z + v_z)`, `n = tanh(u_n + r v_n)` and `h[t] = (1 - z) n + z h[t - 1]`.

    Args:
        u: `[T, N, 3 H]`, the inputs times their weights.
        b: `[3 H]`, added to u, or None for no bias.
        w: `[H, 3 H]`.
        b_recurrent: `[3 H]`, or None for no bias.
        h: `[N, H]`, h before the first step.
        mask: `[T, N]`, which steps are real; at the others h is kept.
        reverse: whether to run from the last step to the first.

    Returns:
        h after all steps, and h after each, `[T, N, H]`.
    """
    h, hs = _gru(reverse, u, b, w, b_recurrent, h.astype(u.dtype), mask)
    return wide(h), hs


def _gru_steps(reverse, u, b, w, b_recurrent, h, mask):
    def step(h, u):
        H = h.shape[-1]
        x = wide(u) + _row(b, u)
        v = _times(h, w) + _row(b_recurrent, u)
        gates = _sigmoid(x[..., : 2 * H] + v[..., : 2 * H])
        r, z = _parts(gates, 2)
        n = jnp.tanh(x[..., 2 * H :] + r * v[..., 2 * H :])
        h = (n + z * (wide(h) - n)).astype(u.dtype)
        return h, jnp.concatenate([gates, n], axis=-1), v[..., 2 * H :]

    return _overwrite(step, h, u, mask, reverse)


@partial(jax.custom_jvp, nondiff_argnums=(0,))
def _gru(*args):
    h, _, hs, _ = _gru_steps(*args)
    return h, hs


@_gru.defjvp
def _gru_jvp(reverse, primals, tangents):
    u, _, w, _, h, mask = primals
    du, db, dw, db_recurrent, dh, _ = tangents
    h_last, saved, hs, vn = _gru_steps(reverse, *primals)
    r, z, n = _parts(wide(saved), 3)
    before = _before(h, hs, reverse)
    by_n = (1 - z) * (1 - n * n)
    by_r, by_z = by_n * vn * _slope(r), (wide(before) - n) * _slope(z)
    dx = _parts(wide(du) + _row(db, du), 3)
    dv = _parts(_all_times(before, dw) + _row(db_recurrent, du), 3)
    dr, dz, dn = dx[0] + dv[0], dx[1] + dv[1], dx[2] + r * dv[2]
    # One array per step, whose transpose is one [T, N, H], instead of three.
    direct = by_r * dr + by_z * dz + by_n * dn
    times = _by_turned(w)

    def step(dh, part):
        direct, z, (by_r, by_z, by_vn) = part
        vr, vz, vn = _parts(times(dh), 3)
        dh = direct + z * wide(dh) + by_r * vr + by_z * vz + by_vn * vn
        return dh.astype(u.dtype)

    parts = (direct, z, (by_r, by_z, by_n * r))
    return (h_last, hs), _linear(step, dh, parts, mask, reverse)


def _overwrite(
    step: Callable, carry, xs: jax.Array, mask: jax.Array | None, reverse: bool
):
    """A scan of `carry, a, extra = step(carry, x)` that writes `a` in the place of `x`.

    Returns the final carry, `a`, the carry after each step, and `extra`. A separate
    output of the scan would first be filled with zeros: 2.5 ms of the LSTM's 40.
    """

    def body(both, part):
        (carry, buffer), (t, real) = both, part
        x = lax.dynamic_index_in_dim(buffer, t, keepdims=False)
        after, a, extra = step(carry, x)
        after = keep(real, after, carry)
        a = a.astype(buffer.dtype)
        buffer = lax.dynamic_update_index_in_dim(buffer, a, t, 0)
        return (after, buffer), (after, extra)

    time = jnp.arange(xs.shape[0])
    (carry, a), (carries, extra) = lax.scan(
        body, (carry, xs), (time, mask), reverse=reverse
    )
    return carry, a, carries, extra


def _linear(step: Callable, carry, parts, mask: jax.Array | None, reverse: bool):
    """The tangents' scan of `carry = step(carry, part)`: the last one, and all of h."""

    def body(carry, both):
        part, real = both
        after = keep(real, step(carry, part), carry)
        return after, after[0] if isinstance(after, tuple) else after

    return lax.scan(body, carry, (parts, mask), reverse=reverse)


def _before(first: jax.Array, after: jax.Array, reverse: bool) -> jax.Array:
    """What each step started from: the first carry, then what the steps left."""
    first = first.astype(after.dtype)[None]
    if reverse:
        return jnp.concatenate([after[1:], first])
    return jnp.concatenate([first, after[:-1]])


def _times(h: jax.Array, w: jax.Array) -> jax.Array:
    """`h w` in the dtype of w; the result is wide."""
    return wide(jnp.dot(h.astype(w.dtype), w))


def _all_times(hs: jax.Array, w: jax.Array) -> jax.Array:
    """`h w` of all steps."""
    return wide(dense_over_time(hs.astype(w.dtype), w))


def _by_turned(w: jax.Array) -> Callable[[jax.Array], jax.Array]:
    """The function `h -> h w`, written such that its transpose is fast.

    The transpose multiplies by a `w'` that is already there (1.4 ms of the LSTM's 40).
    """
    turned = lax.optimization_barrier(w.T)
    both_last = (((1,), (1,)), ((), ()))
    return lambda h: wide(lax.dot_general(h.astype(w.dtype), turned, both_last))


def _row(b, like: jax.Array) -> jax.Array:
    """A bias `[F]` in the shape and (wide) dtype of `[..., F]`; None is zero."""
    dtype = wide(jnp.zeros((), like.dtype)).dtype
    b = jnp.zeros(like.shape[-1:]) if b is None else b
    return jnp.broadcast_to(jnp.asarray(b, dtype), like.shape)


def _parts(a: jax.Array, n: int) -> Sequence[jax.Array]:
    """The equal parts of the last axis."""
    return lax.split(a, [a.shape[-1] // n] * n, axis=-1)


def _sigmoid(z: jax.Array) -> jax.Array:
    return jnp.tanh(z * 0.5) * 0.5 + 0.5


def _slope(gate: jax.Array) -> jax.Array:
    """The derivative of σ, from its value."""
    return gate * (1 - gate)
