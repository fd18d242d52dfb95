# SPDX-License-Identifier: Apache-2.0
"""The totals of an interrupted epoch, kept so that it can be finished later."""

from functools import partial
from typing import Any

import jax
import numpy as np

from jaxnn.train.epoch import AnyStep, Stats, Totals, zero_totals


def note(epoch: int, names: list[str], parts: list[Totals]) -> dict[str, Any]:
    """What the history keeps of an unfinished epoch.

    Args:
        epoch: its number, from 0.
        names: the names of the statistics.
        parts: the totals of its earlier pieces, on the host.
    """
    leaves = [jax.tree.leaves(part) for part in parts]
    return {"epoch": epoch, "step": 0, "names": names, "parts": leaves}


def add(noted: dict[str, Any], step: int, part: Totals) -> None:
    """Add one more piece, after which `step` steps have been taken in total."""
    noted["step"] = step
    noted["parts"].append(jax.tree.leaves(part))


def parts(
    noted: dict[str, Any] | None, taken: int, step: AnyStep, stats: Stats
) -> list[Totals]:
    """The pieces of an epoch to continue; none if it does not belong to this run.

    Args:
        noted: what `note` returned.
        taken: the steps that the state has seen.
        step, stats: the step and the shapes of its statistics.
    """
    if noted is None or noted["step"] != taken or noted["names"] != sorted(stats):
        return []
    empty = jax.eval_shape(partial(zero_totals, step, stats, 1, 1))
    structure = jax.tree.structure(empty)
    if any(len(part) != structure.num_leaves for part in noted["parts"]):
        return []
    found = [jax.tree.unflatten(structure, part) for part in noted["parts"]]
    return found if all(_kinds(part) == _kinds(empty) for part in found) else []


def _kinds(totals: Totals) -> list:
    """The dtypes of totals, and the shapes of what they hold per step or example."""
    rows = [totals.means, *jax.tree.leaves(totals.stacks)]
    sums = jax.tree.leaves(totals.sums)
    return [
        *((a.shape[1:], np.dtype(a.dtype)) for a in rows),
        *((a.shape, np.dtype(a.dtype)) for a in sums),
    ]


def split(found: list[Totals]) -> tuple[list[Totals], Any]:
    """The pieces, and the sums with which the interrupted piece continues.

    Float sums depend on their order, so a continued piece adds to its own sums.
    """
    if not found:
        return [], None
    *whole, last = found
    nothing = jax.tree.map(np.zeros_like, last.sums)
    return [*whole, last._replace(sums=nothing)], last.sums
