# SPDX-License-Identifier: Apache-2.0
"""The end of an error message: what to write in place of what came."""

import inspect
import numbers
import sys
from typing import Any

from jaxnn.messages.elsewhere import NAMES
from jaxnn.messages.phrases import nearest


def instead(module: str, name: str) -> str:
    """What to write for a name of another library, by `NAMES`; "" if unknown.

    >>> instead("jaxnn.losses", "BCELoss"), instead("jaxnn.losses", "no such loss")
    ('; write nn.losses.binary_cross_entropy (on probabilities)', '')
    """
    code, note = NAMES.get(module, {}).get(name, ("", ""))
    if code:
        return f"; write {code}" + (f" ({note})" if note else "")
    return f"; {note}" if note else ""


def instead_of_text(module: str, given: Any) -> str:
    """What to write in place of text that names a function of a module.

    Args:
        module: `jaxnn.losses` or another key of `NAMES`.
        given: what came; anything but text has no answer here.

    >>> import jaxnn as nn
    >>> instead_of_text("jaxnn.losses", "huber")
    '; write nn.losses.huber'
    """
    if not isinstance(given, str):
        return ""
    own = dir(sys.modules[module])
    if given in own:
        return f"; write {module.replace('jaxnn', 'nn')}.{given}"
    return instead(module, given) or nearest(given, own)


def instead_of_optimizer(given: Any) -> str:
    """What to write in place of what is no Optax optimizer.

    >>> instead_of_optimizer("adam"), instead_of_optimizer(0.01)
    ('; write optax.adam(1e-3)', '; write optax.adam(0.01)')
    """
    if isinstance(given, numbers.Real):
        return f"; write optax.adam({given})"
    if isinstance(given, list | tuple):
        return "; write optax.chain(...), which applies one after the other"
    name = given if isinstance(given, str) else getattr(given, "__name__", "")
    code, _ = NAMES["jaxnn.optimizers"].get(name, ("", ""))
    home = getattr(given, "__module__", "") if inspect.isfunction(given) else ""
    if not code and home.startswith("optax."):
        code = f"optax.{name}(1e-3)"
    return f"; write {code}" if code else ""
