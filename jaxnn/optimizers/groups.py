# SPDX-License-Identifier: Apache-2.0
"""Parameter groups: masks by path, one optimizer per group, and frozen parameters.

The optimizers that `freeze` and `partition` make keep the patterns of frozen parameters
in their state, without an array, so that they can be found inside any other optimizer.
"""

from collections.abc import Callable, Mapping
from typing import Any

import jax
import optax

from jaxnn import trees
from jaxnn.messages.phrases import shown, unmatched
from jaxnn.messages.tracebacks import entrance
from jaxnn.optimizers.checks import check_optimizer
from jaxnn.train import checks
from jaxnn.train.freezing import at_rest, resting

Mask = Callable[[Any], Any]

#: The names of the parameters that multiply the inputs.
KERNELS = ("w", "table")


def kernels(params: Any) -> Any:
    """A mask of the weights that multiply inputs: leaves named `w` or `table`.

    Biases, and the scales and offsets of norms, are left out: a penalty on them costs
    accuracy and hardly regularizes.

    Args:
        params: a tree of parameters.

    Returns:
        A tree of the same structure, True at kernels.

    Raises:
        ValueError: if there are parameters but none is a kernel.

    >>> import jaxnn as nn, optax
    >>> nn.optimizers.kernels({"dense_1": {"w": 1.0, "b": 0.0}})
    {'dense_1': {'b': False, 'w': True}}
    >>> optimizer = optax.adamw(1e-3, weight_decay=0.01, mask=nn.optimizers.kernels)
    """
    names = list(trees.paths(params))
    mask = trees.map_paths(lambda name, _: name.split("/")[-1] in KERNELS, params)
    if names and not any(jax.tree.leaves(mask)):
        raise ValueError(
            f"kernels: no parameter is named {' or '.join(KERNELS)}, there are "
            f"{', '.join(names[:8])}; name some: nn.optimizers.only({names[0]!r})"
        )
    return mask


def only(*patterns: str) -> Mask:
    """A function from parameters to the mask of those that match a pattern.

    Args:
        patterns: paths (with everything below them) or patterns, as in
            `nn.trees.matches`: `head`, `head/w`, `*/w`.

    Returns:
        A function for Optax's `mask=`. If a pattern matches no parameter, it raises a
        ValueError that names the nearest path.

    >>> import jaxnn as nn, optax
    >>> head = nn.optimizers.only("head/*")
    >>> head({"body": {"w": 1.0}, "head": {"w": 2.0, "b": 0.0}})
    {'body': {'w': False}, 'head': {'b': True, 'w': True}}
    >>> optimizer = optax.masked(optax.clip(1.0), head)
    """
    if not patterns:
        raise ValueError("only: name at least one pattern, as in only('head/*')")
    return choose("only", patterns)


def choose(owner: str, patterns: tuple[str, ...]) -> Mask:
    """The mask function for the patterns; without any, `kernels`."""
    for pattern in patterns:
        if not isinstance(pattern, str):
            raise TypeError(
                f"{owner}: patterns must be strings such as 'head/*', got "
                f"{pattern!r:.60}"
            )
    return (lambda params: _mask(owner, patterns, params)) if patterns else kernels


def _mask(owner: str, patterns: tuple[str, ...], params: Any) -> Any:
    names = list(trees.paths(params))
    for pattern in patterns:
        if names and not any(trees.matches(pattern, name) for name in names):
            raise ValueError(f"{owner}: {unmatched(pattern, names)}")
    return trees.map_paths(lambda name, _: trees.matches_any(patterns, name), params)


@entrance
def partition(
    groups: Mapping[str, optax.GradientTransformation],
    default: optax.GradientTransformation | None = None,
) -> optax.GradientTransformation:
    """One optimizer for each group of parameters, by path pattern.

    Args:
        groups: from a pattern (`head/*`, `*/b`, or a path, which includes everything
            below it) to the optimizer of the parameters that match.
        default: the optimizer of all others; without it, every parameter must match.

    A group with `optax.set_to_zero()` is frozen, including its running statistics: see
    `freeze`.

    Raises:
        ValueError: when the optimizer is initialized, if a parameter matches two
            patterns or none, or a pattern matches nothing.

    >>> import jax, jaxnn as nn, optax
    >>> optimizer = nn.partition({"head": optax.adam(1e-3)}, default=optax.sgd(0.1))
    """
    _check_groups(groups, default)
    optimizers = {
        str(i): at_rest(pattern) if _moves_nothing(optimizer) else optimizer
        for i, (pattern, optimizer) in enumerate(groups.items())
    }
    labels = {pattern: str(i) for i, pattern in enumerate(groups)}
    rest = {} if default is None else {"default": default}
    return optax.partition(
        {**optimizers, **rest},
        lambda params: trees.labels(params, labels, *rest, owner="partition"),
    )


def _check_groups(groups: Any, default: Any) -> None:
    """Raise unless there is an optimizer for each pattern."""
    if not isinstance(groups, Mapping):
        raise TypeError(
            "partition: groups must be a dict from patterns to optimizers, such as "
            f"{{'head': optax.adam(1e-3)}}, got {shown(groups)}"
        )
    for pattern, optimizer in groups.items():
        checks.check_optimizer("partition", optimizer, f"groups[{pattern!r}]")
    if default is not None:
        checks.check_optimizer("partition", default, "default")


def _moves_nothing(optimizer: Any) -> bool:
    code = getattr(getattr(optimizer, "update", None), "__code__", None)
    return code is optax.set_to_zero().update.__code__  # type: ignore[attr-defined]


@entrance
def freeze(
    optimizer: optax.GradientTransformation, *patterns: str
) -> optax.GradientTransformation:
    """Freeze everything that matches a pattern: parameters and running statistics.

    In a training step, layers whose state matches a pattern (`BatchNorm`,
    `SpectralNorm`) compute as in evaluation: `BatchNorm` normalizes by its running
    statistics and does not update them. The other layers thus learn from the same
    outputs that the frozen body gives in evaluation, whatever the batches. Dropout in a
    frozen body still drops, and a carry is still updated. For a custom loop, see
    `freeze_statistics`.

    Args:
        optimizer: the optimizer of the other parameters.
        patterns: paths (with everything below them) or patterns, as in `partition`.

    >>> import jaxnn as nn, optax
    >>> optimizer = nn.freeze(optax.sgd(0.1), "body", "head/b")
    """
    if not patterns or not all(isinstance(p, str) for p in patterns):
        raise ValueError(
            "freeze: name at least one pattern, each a string, as in "
            f"freeze(optimizer, 'body', 'head/b'), got {patterns!r:.60}"
        )
    check_optimizer("freeze", optimizer)

    def groups(params):
        frozen = [
            trees.labels(params, {p: "frozen"}, "trained", owner="freeze")
            for p in patterns
        ]
        return jax.tree.map(lambda *names: min(names), *frozen)  # frozen if any says so

    return resting(optimizer, patterns, groups)
