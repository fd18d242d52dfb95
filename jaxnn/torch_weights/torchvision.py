# SPDX-License-Identifier: Apache-2.0
"""What torchvision calls the layers of the networks in `models`, by path."""

import re
from collections.abc import Callable, Iterable, Sequence

Rules = Iterable[tuple[str, str | Callable[[re.Match], str]]]


def rename(path: str, rules: Rules) -> str:
    """A path with patterns replaced one after the other, as by `re.sub`.

    >>> rename("stage1/conv2", [(r"stage(\\d)", r"layer\\1"), ("/", ".")])
    'layer1.conv2'
    """
    for pattern, name in rules:
        path = re.sub(pattern, name, path)
    return path


ALEXNET = {
    "conv1": "features.0",
    "conv2": "features.3",
    "conv3": "features.6",
    "conv4": "features.8",
    "conv5": "features.10",
    "dense1": "classifier.1",
    "dense2": "classifier.4",
    "head": "classifier.6",
}


def alexnet(paths: Sequence[str]) -> dict[str, str]:
    """torchvision's names of the layers, by path; `{}` for any other network."""
    return ALEXNET if set(paths) == set(ALEXNET) else {}


#: From our paths to torchvision's names, in order.
GOOGLENET = (
    (r"auxiliary(\d)/dense1", r"aux\1.fc1"),
    (r"auxiliary(\d)/head", r"aux\1.fc2"),
    (r"auxiliary", "aux"),
    (r"branch([23])/conv(\d)", lambda m: f"branch{m[1]}.{int(m[2]) - 1}"),
    (r"branch4/conv", "branch4.1"),
    (r"norm", "bn"),
    (r"head", "fc"),
    (r"/", "."),
)


def googlenet(paths: Sequence[str]) -> dict[str, str]:
    """torchvision's names of the layers, by path; `{}` for any other network.

    >>> googlenet(["inception3a/branch2/conv1/norm", "head"])
    {'inception3a/branch2/conv1/norm': 'inception3a.branch2.0.bn', 'head': 'fc'}
    """
    known = r"head|(conv\d|inception\d\w|auxiliary\d)/.+"
    return _renamed(paths, known, GOOGLENET)


#: From our paths to torchvision's names, in order.
RESNET = (
    (r"stage(\d+)/block(\d+)", lambda m: f"layer{m[1]}.{int(m[2]) - 1}"),
    (r"stage(\d+)/rest/block(\d+)", lambda m: f"layer{m[1]}.{m[2]}"),
    (r"norm(\d)", r"bn\1"),
    (r"shortcut/conv", "downsample.0"),
    (r"shortcut/norm", "downsample.1"),
    (r"head", "fc"),
    (r"/", "."),
)


def resnet(paths: Sequence[str]) -> dict[str, str]:
    """torchvision's names of the layers, by path; `{}` for any other network.

    >>> resnet(["stage2/block3/conv1", "head"])
    {'stage2/block3/conv1': 'layer2.2.conv1', 'head': 'fc'}
    """
    known = r"(conv|norm)1|head|stage\d+/(rest/)?block\d+/.+"
    return _renamed(paths, known, RESNET)


def _renamed(paths: Sequence[str], known: str, rules: Rules) -> dict[str, str]:
    """The paths renamed by the rules, if all are known and one is the head."""
    ours = "head" in paths and all(re.fullmatch(known, path) for path in paths)
    return {path: rename(path, rules) for path in paths} if ours else {}


VGG_CLASSIFIER = {
    "dense1": "classifier.0",
    "dense2": "classifier.3",
    "head": "classifier.6",
}
VGG_FEATURE = re.compile(r"stage(?P<stage>\d)/(?P<kind>conv|norm)\d")


def vgg(paths: Sequence[str]) -> dict[str, str]:
    """torchvision's names of the layers, by path; `{}` for any other network.

    There, the layers of all stages are numbered in one sequence, ReLU and pooling
    included.

    >>> paths = ["stage1/conv1", "stage2/conv1", "dense1", "dense2", "head"]
    >>> vgg(paths)["stage2/conv1"]
    'features.3'
    """
    matches = [m for m in map(VGG_FEATURE.fullmatch, paths) if m]
    if {*paths} != {*VGG_CLASSIFIER, *(m[0] for m in matches)}:
        return {}
    names, number, stage = dict(VGG_CLASSIFIER), 0, "1"
    normed = any(m["kind"] == "norm" for m in matches)
    for m in matches:
        number, stage = number + (m["stage"] != stage), m["stage"]  # for its pooling
        names[m[0]] = f"features.{number}"
        number += 1 if normed and m["kind"] == "conv" else 2  # for its ReLU
    return names


#: From the paths of a network to torchvision's names; `{}` for any other network.
NAMINGS = (alexnet, googlenet, resnet, vgg)
