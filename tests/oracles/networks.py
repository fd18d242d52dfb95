# SPDX-License-Identifier: Apache-2.0
"""The named networks in PyTorch, with the names that torchvision gives their layers.

Written for these tests, so that the models are held against another implementation
without torchvision. `width`, `hidden` and `classes` make them small.
"""

import torch
from torch import nn
from torch.nn import functional

VGG = {
    11: (1, 1, 2, 2, 2),
    13: (2, 2, 2, 2, 2),
    16: (2, 2, 3, 3, 3),
    19: (2, 2, 4, 4, 4),
}
RESNET = {
    18: (2, 2, 2, 2),
    34: (3, 4, 6, 3),
    50: (3, 4, 6, 3),
    101: (3, 4, 23, 3),
    152: (3, 8, 36, 3),
}


def lenet5(classes=10):
    """LeNet-5 as a plain row of modules, named by their places in it."""
    return nn.Sequential(
        *(nn.Conv2d(1, 6, 5, padding=2), nn.Tanh(), nn.AvgPool2d(2)),
        *(nn.Conv2d(6, 16, 5), nn.Tanh(), nn.AvgPool2d(2), nn.Flatten()),
        *(nn.Linear(400, 120), nn.Tanh(), nn.Linear(120, 84), nn.Tanh()),
        nn.Linear(84, classes),
    )


class Classifier(nn.Module):
    """Features, pooling to a fixed size, and dense layers."""

    def __init__(self, features, side, classifier):
        super().__init__()
        self.features, self.classifier = features, classifier
        self.pool = nn.AdaptiveAvgPool2d(side)

    def forward(self, x):
        return self.classifier(torch.flatten(self.pool(self.features(x)), 1))


def alexnet(classes=1000, width=64, hidden=4096):
    w, relu = width, nn.ReLU
    features = nn.Sequential(
        *(nn.Conv2d(3, w, 11, stride=4, padding=2), relu(), nn.MaxPool2d(3, 2)),
        *(nn.Conv2d(w, 3 * w, 5, padding=2), relu(), nn.MaxPool2d(3, 2)),
        *(nn.Conv2d(3 * w, 6 * w, 3, padding=1), relu()),
        *(nn.Conv2d(6 * w, 4 * w, 3, padding=1), relu()),
        *(nn.Conv2d(4 * w, 4 * w, 3, padding=1), relu(), nn.MaxPool2d(3, 2)),
    )
    classifier = nn.Sequential(
        *(nn.Dropout(), nn.Linear(36 * 4 * w, hidden), relu()),
        *(nn.Dropout(), nn.Linear(hidden, hidden), relu()),
        nn.Linear(hidden, classes),
    )
    return Classifier(features, 6, classifier)


def alexnet_2012(classes=1000, width=64, hidden=4096):
    """The form of 2012; torchvision does not have it."""
    w, relu = width, nn.ReLU

    def normalize():
        return nn.LocalResponseNorm(5, alpha=5e-4, beta=0.75, k=2.0)

    first = nn.Conv2d(3, 3 * w // 2, 11, stride=4, padding=2)
    second = nn.Conv2d(3 * w // 2, 4 * w, 5, padding=2, groups=2)
    features = nn.Sequential(
        *(first, relu(), normalize(), nn.MaxPool2d(3, 2)),
        *(second, relu(), normalize(), nn.MaxPool2d(3, 2)),
        *(nn.Conv2d(4 * w, 6 * w, 3, padding=1), relu()),
        *(nn.Conv2d(6 * w, 6 * w, 3, padding=1, groups=2), relu()),
        *(nn.Conv2d(6 * w, 4 * w, 3, padding=1, groups=2), relu()),
        nn.MaxPool2d(3, 2),
    )
    classifier = nn.Sequential(
        *(nn.Linear(36 * 4 * w, hidden), relu(), nn.Linear(hidden, hidden), relu()),
        nn.Linear(hidden, classes),
    )
    return Classifier(features, 6, classifier)


def vgg(depth, classes=1000, batch_norm=False, width=64, hidden=4096):
    layers, channels = [], 3
    for stage, convs in enumerate(VGG[depth]):
        for _ in range(convs):
            new = width * min(2**stage, 8)
            layers += [nn.Conv2d(channels, new, 3, padding=1)]
            layers += [nn.BatchNorm2d(new)] if batch_norm else []
            layers, channels = [*layers, nn.ReLU()], new
        layers.append(nn.MaxPool2d(2))
    classifier = nn.Sequential(
        *(nn.Linear(49 * channels, hidden), nn.ReLU(), nn.Dropout()),
        *(nn.Linear(hidden, hidden), nn.ReLU(), nn.Dropout()),
        nn.Linear(hidden, classes),
    )
    return Classifier(nn.Sequential(*layers), 7, classifier)


class Block(nn.Module):
    """A residual block of two or three convolutions."""

    def __init__(self, channels, width, stride, bottleneck, projected):
        super().__init__()
        out = width * (4 if bottleneck else 1)
        if bottleneck:
            sizes = ((channels, width, 1, 1), (width, width, 3, stride))
            sizes += ((width, out, 1, 1),)
        else:
            sizes = ((channels, width, 3, stride), (width, width, 3, 1))
        for i, (before, after, kernel, step) in enumerate(sizes, 1):
            conv = nn.Conv2d(before, after, kernel, step, kernel // 2, bias=False)
            self.add_module(f"conv{i}", conv)
            self.add_module(f"bn{i}", nn.BatchNorm2d(after))
        self.convs, self.downsample = len(sizes), None
        if projected and (stride > 1 or channels != out):
            conv = nn.Conv2d(channels, out, 1, stride, bias=False)
            self.downsample = nn.Sequential(conv, nn.BatchNorm2d(out))
        self.stride, self.padded = stride, 0 if projected else out - channels

    def forward(self, x):
        y = x
        for i in range(1, self.convs + 1):
            y = self.get_submodule(f"bn{i}")(self.get_submodule(f"conv{i}")(y))
            y = y if i == self.convs else torch.relu(y)
        if self.downsample is not None:
            x = self.downsample(x)
        elif self.stride > 1:
            half = self.padded // 2
            x = functional.pad(x[:, :, ::2, ::2], (0, 0, 0, 0, half, half))
        return torch.relu(y + x)


class ResNet(nn.Module):
    """Stages `layer1`, `layer2`, ... of residual blocks."""

    def __init__(self, stem, widths, counts, classes, bottleneck, projected):
        super().__init__()
        channels, kernel, self.large = stem, 7 if len(counts) == 4 else 3, len(counts)
        stride = 2 if len(counts) == 4 else 1
        self.conv1 = nn.Conv2d(3, stem, kernel, stride, kernel // 2, bias=False)
        self.bn1 = nn.BatchNorm2d(stem)
        for i, (width, count) in enumerate(zip(widths, counts, strict=True)):
            blocks = []
            for j in range(count):
                step = 2 if i and not j else 1
                blocks.append(Block(channels, width, step, bottleneck, projected))
                channels = width * (4 if bottleneck else 1)
            self.add_module(f"layer{i + 1}", nn.Sequential(*blocks))
        self.fc = nn.Linear(channels, classes)

    def forward(self, x):
        x = torch.relu(self.bn1(self.conv1(x)))
        if self.large == 4:
            x = functional.max_pool2d(x, 3, 2, 1)
        for i in range(self.large):
            x = self.get_submodule(f"layer{i + 1}")(x)
        return self.fc(x.mean((2, 3)))


def resnet(depth, classes=1000, width=64):
    widths = [width * 2**i for i in range(4)]
    return ResNet(width, widths, RESNET[depth], classes, depth >= 50, True)


def cifar_resnet(depth, classes=10, width=16, projected=False):
    widths, count = [width, 2 * width, 4 * width], (depth - 2) // 6
    return ResNet(width, widths, (count,) * 3, classes, False, projected)


class ConvNorm(nn.Module):
    """Convolution, batch norm, ReLU."""

    def __init__(self, channels, out, kernel, stride=1):
        super().__init__()
        self.conv = nn.Conv2d(channels, out, kernel, stride, kernel // 2, bias=False)
        self.bn = nn.BatchNorm2d(out, eps=0.001)

    def forward(self, x):
        return torch.relu(self.bn(self.conv(x)))


class Inception(nn.Module):
    """Four branches side by side."""

    def __init__(self, channels, one, before3, three, before5, five, pooled):
        super().__init__()
        self.branch1 = ConvNorm(channels, one, 1)
        self.branch2 = nn.Sequential(
            ConvNorm(channels, before3, 1), ConvNorm(before3, three, 3)
        )
        self.branch3 = nn.Sequential(
            ConvNorm(channels, before5, 1), ConvNorm(before5, five, 3)
        )
        pool = nn.MaxPool2d(3, stride=1, padding=1, ceil_mode=True)
        self.branch4 = nn.Sequential(pool, ConvNorm(channels, pooled, 1))
        self.out = one + three + five + pooled

    def forward(self, x):
        branches = (self.branch1, self.branch2, self.branch3, self.branch4)
        return torch.cat([branch(x) for branch in branches], 1)


class Auxiliary(nn.Module):
    """A classifier beside the row."""

    def __init__(self, channels, width, classes):
        super().__init__()
        self.conv = ConvNorm(channels, 2 * width, 1)
        self.fc1 = nn.Linear(32 * width, 16 * width)
        self.fc2 = nn.Linear(16 * width, classes)

    def forward(self, x):
        x = self.conv(functional.adaptive_avg_pool2d(x, 4))
        return self.fc2(torch.relu(self.fc1(torch.flatten(x, 1))))


class GoogLeNet(nn.Module):
    """Inception v1; without dropout, which is random."""

    SIZES = (
        ("3a", (64, 96, 128, 16, 32, 32)),
        ("3b", (128, 128, 192, 32, 96, 64)),
        ("4a", (192, 96, 208, 16, 48, 64)),
        ("4b", (160, 112, 224, 24, 64, 64)),
        ("4c", (128, 128, 256, 24, 64, 64)),
        ("4d", (112, 144, 288, 32, 64, 64)),
        ("4e", (256, 160, 320, 32, 128, 128)),
        ("5a", (256, 160, 320, 32, 128, 128)),
        ("5b", (384, 192, 384, 48, 128, 128)),
    )

    def __init__(self, classes, width):
        super().__init__()
        w = width
        self.conv1 = ConvNorm(3, w, 7, 2)
        self.conv2, self.conv3 = ConvNorm(w, w, 1), ConvNorm(w, 3 * w, 3)
        channels, seen = 3 * w, {}
        for name, sizes in self.SIZES:
            inception = Inception(channels, *(size * w // 64 for size in sizes))
            self.add_module(f"inception{name}", inception)
            channels = seen[name] = inception.out
        self.aux1 = Auxiliary(seen["4a"], w, classes)
        self.aux2 = Auxiliary(seen["4d"], w, classes)
        self.fc = nn.Linear(channels, classes)

    def forward(self, x):
        def pool(x, kernel=3):
            return functional.max_pool2d(x, kernel, 2, ceil_mode=True)

        x, auxiliary = pool(self.conv3(self.conv2(pool(self.conv1(x))))), []
        for name, _ in self.SIZES:
            x = self.get_submodule(f"inception{name}")(x)
            if name in ("4a", "4d"):
                aside = self.aux1 if name == "4a" else self.aux2
                auxiliary += [aside(x)] if self.training else []
            x = pool(x) if name == "3b" else pool(x, 2) if name == "4e" else x
        y = self.fc(x.mean((2, 3)))
        return (y, *auxiliary) if self.training else y


def googlenet(classes=1000, width=64):
    return GoogLeNet(classes, width)


class UNet(nn.Module):
    """U-Net; its layers are registered in the order in which they are called."""

    def __init__(self, channels, classes, depth, width, batch_norm):
        super().__init__()
        self.depth, sizes = depth, [width * 2**i for i in range(depth + 1)]
        for i, size in enumerate(sizes):
            before = channels if i == 0 else sizes[i - 1]
            self.add_module(f"down{i}", self.twice(before, size, batch_norm))
        for i in reversed(range(depth)):
            wide, size = sizes[i + 1], sizes[i]
            self.add_module(f"widen{i}", nn.ConvTranspose2d(wide, size, 2, 2))
            self.add_module(f"up{i}", self.twice(wide, size, batch_norm))
        self.head = nn.Conv2d(width, classes, 1)

    @staticmethod
    def twice(before, size, batch_norm):
        layers = []
        for channels in (before, size):
            conv = nn.Conv2d(channels, size, 3, padding=1, bias=not batch_norm)
            norm = [nn.BatchNorm2d(size)] if batch_norm else []
            layers += [conv, *norm, nn.ReLU()]
        return nn.Sequential(*layers)

    def forward(self, x):
        bridges = []
        for i in range(self.depth):
            bridges.append(self.get_submodule(f"down{i}")(x))
            x = functional.max_pool2d(bridges[-1], 2)
        x = self.get_submodule(f"down{self.depth}")(x)
        for i in reversed(range(self.depth)):
            wide = self.get_submodule(f"widen{i}")(x)
            x = self.get_submodule(f"up{i}")(torch.cat([bridges[i], wide], 1))
        return self.head(x)


def unet(classes, channels=1, depth=4, width=64, batch_norm=False):
    return UNet(channels, classes, depth, width, batch_norm)
