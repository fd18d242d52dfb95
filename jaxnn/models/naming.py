# SPDX-License-Identifier: Apache-2.0
"""Names of layers in PyTorch, from paths by rules."""

import re
from collections.abc import Callable, Iterable

Rules = Iterable[tuple[str, str | Callable[[re.Match], str]]]


def rename(path: str, rules: Rules) -> str:
    """A path with patterns replaced one after the other, as by `re.sub`.

    >>> rename("stage1/conv2", [(r"stage(\\d)", r"layer\\1"), ("/", ".")])
    'layer1.conv2'
    """
    for pattern, name in rules:
        path = re.sub(pattern, name, path)
    return path
