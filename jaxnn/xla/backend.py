# SPDX-License-Identifier: Apache-2.0
"""Whether it is still time for settings that a back end takes when it opens."""


def is_open() -> bool:
    """Whether JAX has opened its back end, which it does for the first array."""
    from jax._src import xla_bridge  # (no public function tells)

    return xla_bridge.backends_are_initialized()
