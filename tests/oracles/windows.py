# SPDX-License-Identifier: Apache-2.0
"""Where the windows of convolutions and pooling lie, by trying."""


def same_pads(size, kernel, stride, dilation):
    """What "SAME" means: the least padding that gives ceil(size / stride) windows."""
    span, windows = (kernel - 1) * dilation + 1, -(-size // stride)
    total = 0
    while (size + total - span) // stride + 1 < windows:
        total += 1
    return total // 2, total - total // 2
