# SPDX-License-Identifier: Apache-2.0
"""What an epoch had added up when it was interrupted, so that it can be finished."""

from functools import partial
from typing import Any

import jax
import numpy as np

from jaxnn.train.epoch import AnyStep, Stats, Totals, zero_totals


def note(epoch: int, names: list[str], parts: list[Totals]) -> dict[str, Any]:
    """What the history keeps of an epoch that is not finished.

    Args:
        epoch: its number, from 0.
        names: of the statistics.
        parts: what its pieces added up before, on the host.
    """
    leaves = [jax.tree.leaves(part) for part in parts]
    return {"epoch": epoch, "step": 0, "names": names, "parts": leaves}


def add(noted: dict[str, Any], step: int, part: Totals) -> None:
    """Note one more piece, after which so many steps are taken, in all epochs."""
    noted["step"] = step
    noted["parts"].append(jax.tree.leaves(part))


def parts(
    noted: dict[str, Any] | None, taken: int, step: AnyStep, stats: Stats
) -> list[Totals]:
    """The pieces of an epoch that goes on; none where it is not that of this run.

    Args:
        noted: what `note` gave.
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
    """The dtypes of totals and the shapes of what they hold of each step or example."""
    rows = [totals.means, *jax.tree.leaves(totals.stacks)]
    sums = jax.tree.leaves(totals.sums)
    return [
        *((a.shape[1:], np.dtype(a.dtype)) for a in rows),
        *((a.shape, np.dtype(a.dtype)) for a in sums),
    ]


def split(found: list[Totals]) -> tuple[list[Totals], Any]:
    """The pieces, and the sums with which the one that was interrupted goes on.

    Sums of floats depend on their order: a piece that goes on adds to its own sums.
    """
    if not found:
        return [], None
    *whole, last = found
    nothing = jax.tree.map(np.zeros_like, last.sums)
    return [*whole, last._replace(sums=nothing)], last.sums
