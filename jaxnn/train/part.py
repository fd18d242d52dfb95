# SPDX-License-Identifier: Apache-2.0
"""A part of a network's parameters, as one of several players has them."""

from typing import Any

import jax
import optax

from jaxnn import trees
from jaxnn.spec import Spec


class Part(Spec):
    """The parameters and statistics whose paths match one player's patterns.

    Args:
        own: its patterns, as in `nn.freeze`.
        every: those of all players.
    """

    own: tuple[str, ...]
    every: tuple[str, ...]

    def of(self, params: Any) -> Any:
        """The parameters, with an empty node in place of those of others."""

        def one(path, leaf):
            return leaf if trees.matches_any(self.own, path) else optax.MaskedNode()

        return trees.map_paths(one, params)

    def put(self, params: Any, own: Any) -> Any:
        """All parameters, with this part's replaced by `own`."""

        def one(leaf, new):
            return leaf if isinstance(new, optax.MaskedNode) else new

        return jax.tree.map(one, params, own)

    def at_rest(self, state: Any) -> tuple[str, ...]:
        """The statistics that are no player's: they are frozen."""
        return tuple(
            p for p in trees.paths(state) if not trees.matches_any(self.every, p)
        )
