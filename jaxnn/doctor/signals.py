# SPDX-License-Identifier: Apache-2.0
"""Checks inside the network: vanishing or exploding gradients, useless units."""

from collections.abc import Iterator

import jax
import numpy as np

from jaxnn import trees
from jaxnn.doctor.case import Case
from jaxnn.doctor.report import Finding, finding

#: A layer's gradient this much smaller than the largest layer's has vanished; three
#: sigmoid layers in a row keep about 1/50.
VANISHED = 1e-3
#: A gradient this many times the norm of all parameters has exploded; healthy networks
#: start with about 0.01 to 3 times.
EXPLODED = 30.0
#: A layer in which this fraction of ReLUs never fires carries little information.
DEAD = 0.5
#: Sigmoids and tanhs saturated this often before training: a bad initialization.
FLAT_START = 0.4
#: ... and after training, in a network that has not learned.
FLAT_END = 0.7


def check_gradients(case: Case) -> Iterator[Finding]:
    """The norm of the gradient, layer by layer."""
    inside = case.inside
    if inside is None or not inside.gradients:
        return
    start = np.array([g[0] for g in inside.gradients.values()])
    end = np.array([g[1] for g in inside.gradients.values()])
    yield from _exploded(case, start, end)
    if case.bad and len(start) > 1:
        yield from _vanished(case, start, end)


def _exploded(case: Case, start: np.ndarray, end: np.ndarray) -> Iterator[Finding]:
    inside = case.inside
    assert inside is not None
    size = inside.sizes[0] or 1.0
    total = float(np.sqrt((start**2).sum())) if np.isfinite(start).all() else np.inf
    if total > EXPLODED * size:
        words = (
            f"at the start the gradient's norm is {total:.3g}, "
            f"{total / size:.3g} times that of the parameters; by layer: "
            f"{_listed(case, 0)}"
        )
        yield finding("exploding gradients", 0.9, words, norm=total, ratio=total / size)


def _vanished(case: Case, start: np.ndarray, end: np.ndarray) -> Iterator[Finding]:
    if not (np.isfinite(start).all() and np.isfinite(end).all()):
        return
    ratios = [a.min() / a.max() if a.max() else 0.0 for a in (start, end)]
    if start.max() == 0 or max(ratios) > VANISHED:
        return
    words = f"the gradient's norm by layer: {_listed(case, 0)}"
    numbers = {"ratio": float(ratios[0]), "at_end": float(ratios[1])}
    yield finding("vanishing gradients", 0.88, words, **numbers)


def _listed(case: Case, side: int) -> str:
    """The norms of the layers in order; only the first and last ones if many."""
    assert case.inside is not None
    shown = [f"{p} {g[side]:.2g}" for p, g in case.inside.gradients.items()]
    return ", ".join(shown if len(shown) <= 8 else [*shown[:4], "...", *shown[-3:]])


def check_units(case: Case) -> Iterator[Finding]:
    """ReLUs that never fire, sigmoids and tanhs that are saturated."""
    if case.inside is None:
        return
    dead = [u for u in case.inside.units if u[1].kind == "relu" and u[1].silent >= DEAD]
    if dead and case.bad and case.finite:
        worst = max(dead, key=lambda u: u[1].silent)
        begun = max(u[0].silent for u in dead)
        numbers = {"share": worst[1].silent, "layer": worst[1].path}
        words = ", ".join(f"{u[1].silent:.0%} of {u[1].path}" for u in dead[:5])
        words = (
            f"units that are 0 for every example: {words} (at the start {begun:.0%})"
        )
        yield finding("dead ReLUs", 0.9, words, at_start=begun >= DEAD, **numbers)
    yield from _saturated(case)


def _saturated(case: Case) -> Iterator[Finding]:
    assert case.inside is not None
    bent = [u for u in case.inside.units if u[0].kind != "relu"]
    begun = [u for u in bent if u[0].flat >= FLAT_START]
    ended = (
        [u for u in bent if u[1].flat >= FLAT_END] if case.bad and case.finite else []
    )
    if not begun and not ended:
        return
    shown = begun or ended
    side = 0 if begun else 1
    words = ", ".join(
        f"{u[side].flat:.0%} of {u[0].path} ({u[0].kind})" for u in shown[:5]
    )
    when = "at the start" if begun else "at the end"
    share = max(u[side].flat for u in shown)
    words = f"outputs at a flat end of their activation {when}: {words}"
    sure = 0.88 if begun else 0.75
    yield finding("saturated units", sure, words, share=share, at_start=bool(begun))


def check_start(case: Case) -> Iterator[Finding]:
    """Weights initialized to the same value: units that start equal stay equal."""
    if not case.bad or case.inside is None:
        return
    params = trees.paths(case.start[0])
    alike = [p for p, w in params.items() if _is_alike(p, w)]
    if len(alike) and len(case.inside.gradients) > 1:
        words = f"all weights equal at the start: {', '.join(alike[:5])}"
        yield finding("equal initial values", 0.93, words, parameters=alike)


def _is_alike(path: str, w: jax.Array) -> bool:
    """Whether a matrix or kernel with several outputs has only one value."""
    if w.ndim < 2 or w.shape[-1] < 2 or path.rpartition("/")[2] != "w":
        return False
    return bool((w == w.ravel()[0]).all())
