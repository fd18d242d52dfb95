# SPDX-License-Identifier: Apache-2.0
"""Everything that training changes, as one record."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jaxnn import trees
from jaxnn.checks import is_known
from jaxnn.core import Params, State
from jaxnn.inputs.variables import variables as variables
from jaxnn.messages import tables
from jaxnn.messages.phrases import describe


class TrainState(NamedTuple):
    """The state of a training run; together with the data it determines the rest."""

    params: Params  # the network's parameters
    state: State  # the network's state: running statistics and the like
    opt_state: Any  # the optimizer's state
    step: jax.Array  # int32 [], steps taken so far
    key: jax.Array  # the run's random key; it never changes
    watch: dict[str, Any] = {}  # noqa: RUF012  what early stopping and plateaus remember

    def __repr__(self) -> str:
        rows = ([f"  {name}", size] for name, size in _sizes(self).items())
        return f"{_title(self)}\n{tables.text(rows, left=2)}"

    def _repr_html_(self) -> str:
        return tables.html(_title(self), ("part", "holds"), _sizes(self).items())


def check_state(owner: str, state: Any) -> None:
    """Raise unless this is a `TrainState`."""
    if not isinstance(state, TrainState):
        raise TypeError(
            f"{owner}: state must be a TrainState, as fit and train_state return it, "
            f"got {describe(state):.100}; from parameters, nn.train_state(net, "
            "optimizer, x, key=key, params=..., state=...) makes one"
        )


def check_parts(state: Any, shapes: TrainState) -> None:
    """Raise unless the parts of a state given to `fit` have these shapes."""
    check_state("fit", state)
    for part, made_by in (
        ("params", "network"),
        ("state", "network"),
        ("opt_state", "optimizer"),
    ):
        has, wants = (
            {p: describe(a) for p, a in trees.paths(getattr(of, part)).items()}
            for of in (state, shapes)
        )
        if has != wants:
            raise ValueError(
                f"fit: state must hold the {part} of this {made_by}; "
                + (_difference(has, wants) if part != "opt_state" else _START)
            )


_START = (
    "to start from its weights with this one: state=nn.train_state(net, optimizer, x, "
    "key=key, params=state.params, state=state.state)"
)


def _difference(has: dict[str, str], wants: dict[str, str]) -> str:
    """Describe what is missing, unexpected or of another shape."""
    missing, extra, other = trees.difference(has, wants)
    other = [f"{p} is {has[p]} for {wants[p]}" for p in other]
    said = [("missing", missing), ("unexpected", extra), ("of another shape", other)]
    return "; ".join(f"{name}: {', '.join(found[:8])}" for name, found in said if found)


def check_step_call(owner: str, state: Any, batch: Any, more: tuple) -> None:
    """Raise unless a step is called with a `TrainState` and one batch."""
    if more:
        given = (state, batch, *more)
        said = (describe(a) if hasattr(a, "shape") else type(a).__name__ for a in given)
        raise TypeError(
            f"{owner}: a step takes the state and one batch, step(state, (x, y)), got "
            f"{', '.join(said)}"
        )
    check_state(owner, state)


def steps_taken(state: Any) -> Any:
    """How many steps a state has seen; the same for all members of an ensemble."""
    step: Any = getattr(state, "step", 0)
    return step[0] if jnp.ndim(step) else step


@jax.jit
def copy(tree: Any) -> Any:
    """The same arrays in new buffers."""

    def one(a):
        if jnp.issubdtype(a.dtype, jax.dtypes.prng_key):
            data = jnp.copy(jax.random.key_data(a))
            return jax.random.wrap_key_data(data, impl=jax.random.key_impl(a))
        return jnp.copy(a)

    return jax.tree.map(one, tree)


def with_own_buffers(tree: Any) -> Any:
    """The same arrays, for a program that may use them up.

    Random keys, which others use too, are copied, and so is an array that shares its
    buffer with an earlier one: a program takes each buffer once.
    """
    seen: set[int] = set()

    def one(a):
        if jnp.issubdtype(a.dtype, jax.dtypes.prng_key):
            return copy(a)
        where = a.addressable_shards[0].data.unsafe_buffer_pointer()
        if where in seen:
            return copy(a)
        seen.add(where)
        return a

    return jax.tree.map(one, tree)


def _title(state: TrainState) -> str:
    """How far a state is, if that is known: not while it is traced."""
    step = state.step
    if not is_known(step) or getattr(step, "is_deleted", bool)():
        return f"TrainState, step {describe(step)}"
    members = f" of {len(step)} networks" if step.ndim else ""
    return f"TrainState{members} after {int(step.ravel()[0]):,} steps"


def _sizes(state: TrainState) -> dict[str, str]:
    """What each part of a state holds."""
    sizes = {name: _size(getattr(state, name)) for name in state._fields}
    sizes["params"] += _first_paths(state.params)
    del sizes["step"]
    return {name: size for name, size in sizes.items() if size}


def _size(tree: Any) -> str:
    """The numbers, arrays and bytes of a tree; or what else it is."""
    leaves = jax.tree.leaves(tree)
    if not leaves:
        return ""
    if len(leaves) == 1 or not all(hasattr(a, "dtype") for a in leaves):
        return f"{describe(tree):.60}"
    numbers, size = trees.count(leaves), tables.memory(trees.nbytes(leaves))
    return f"{numbers:,} numbers in {len(leaves)} arrays, {size}"


def _first_paths(tree: Any, most: int = 4) -> str:
    """The paths of the first arrays of a tree, after a colon."""
    found = jax.tree_util.tree_leaves_with_path(tree)
    names = [
        jax.tree_util.keystr(path, simple=True, separator="/")
        for path, _ in found[:most]
        if path
    ]
    names += ["..."] if len(found) > most else []
    return f": {', '.join(names)}" if names else ""
