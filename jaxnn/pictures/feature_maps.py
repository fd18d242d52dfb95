# SPDX-License-Identifier: Apache-2.0
"""What a convolutional network looks at: saliency, Grad-CAM, filters as images.

Pure functions of a network and its trees: `jax.jit` and `jax.vmap` apply, with the
network and the path static.
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer

from jaxnn import checks
from jaxnn.core import Layer, as_layer, trace
from jaxnn.inputs.entry import on_device
from jaxnn.inputs.variables import in_one
from jaxnn.inputs.variables import variables as parts_of
from jaxnn.messages.phrases import describe, nearest
from jaxnn.messages.tracebacks import entrance
from jaxnn.ops.grids import filters_grid, maps_grid
from jaxnn.surgery import Tap, edit, layer_paths


@in_one
def saliency(net: Layer, variables: Any, x: Any, target: Any = None) -> jax.Array:
    """Saliency: the gradient of a class score with respect to the image.

    `g = ∂ y[target] / ∂ x` for each image separately, in evaluation mode. To display
    it, draw `|g|`, the largest over the color channels: `jnp.abs(g).max(-1)`.

    Args:
        net: a network that outputs class scores, the logits, `[N, classes]`.
        variables: its `(params, state)`, or a `TrainState`.
        x: images `[N, H, W, C]`, or any other batch of floats.
        target: a class, or one for each image `[N]`; None for the highest score.

    Returns:
        The gradient, with the shape of `x`.

    Raises:
        ValueError: the network does not output class scores, or has no such class.

    Reference: Simonyan et al., Deep Inside Convolutional Networks, 2014.

    >>> import jax.numpy as jnp, jaxnn as nn
    >>> params, x = {"w": jnp.array([[1.0, 5], [2, 6], [3, 7]])}, jnp.ones((1, 3))
    >>> nn.pictures.saliency(nn.Dense(2, bias=False), (params, {}), x, 0).tolist()
    [[1.0, 2.0, 3.0]]
    """
    net, (params, state) = as_layer(net, "saliency"), parts_of(variables, "saliency")
    x = on_device("saliency: x", x)
    checks.batch("saliency", x)

    def score(x):
        scores, _ = net.apply(params, state, x)
        return _pick("saliency", scores, target).sum()

    return jax.grad(score)(x)


@in_one
def grad_cam(
    net: Layer,
    variables: Any,
    x: Any,
    path: str,
    target: Any = None,
    *,
    enlarge: bool = True,
) -> jax.Array:
    """Grad-CAM: where in each image one layer finds evidence for a class.

    `relu(sum over k of a[k] A[k])` for the layer's maps A, each weighted by its mean
    gradient, `a[k] = mean over positions of ∂ y[target] / ∂ A[k]`.

    Args:
        net: a network that outputs class scores, the logits, `[N, classes]`.
        variables: its `(params, state)`, or a `TrainState`.
        x: images `[N, H, W, C]`.
        path: an inner layer that outputs maps `[N, h, w, K]`; usually the last one.
        target: a class, or one for each image `[N]`; None for the highest score.
        enlarge: whether to interpolate to the size of the images.

    Returns:
        One nonnegative map for each image, `[N, H, W]` or `[N, h, w]`.

    Raises:
        KeyError: there is no layer at `path`; the message suggests the nearest path.
        ValueError: that layer does not output maps, or is called several times; the
            network does not output class scores, or has no such class.

    Reference: Selvaraju et al., Grad-CAM, 2017.

    >>> import jax, jax.numpy as jnp, jaxnn as nn
    >>> net = nn.Sequential(nn.Conv(8, 3, stride=2), nn.GlobalAvgPool(), nn.Dense(10))
    >>> x = jnp.ones((2, 28, 28, 1))
    >>> variables = net.init(jax.random.key(0), x)
    >>> nn.pictures.grad_cam(net, variables, x, "conv_1", target=3).shape
    (2, 28, 28)
    """
    net, (params, state) = as_layer(net, "grad_cam"), parts_of(variables, "grad_cam")
    x = on_device("grad_cam: x", x)
    checks.batch("grad_cam", x, axes=4)
    _check_path(net, path)
    _, taps = jax.eval_shape(Tap(net, path).apply, params, state, x)[0]
    maps = _check_maps(net, path, x, taps.get(path))

    def score(nudge):
        nudged = edit(net, path, lambda layer: _Nudged(layer, nudge))
        (scores, taps), _ = Tap(nudged, path).apply(params, state, x)
        return _pick("grad_cam", scores, target).sum(), taps[path]

    nothing = jnp.zeros(maps.shape, maps.dtype)
    slopes, activations = jax.grad(score, has_aux=True)(nothing)
    weights = slopes.mean((1, 2))
    heat = jax.nn.relu(jnp.einsum("nhwk,nk->nhw", activations, weights))
    return jax.image.resize(heat, x.shape[:3], "bilinear") if enlarge else heat


@entrance
def filters_picture(
    w: Any, *, columns: int | None = None, gap: int = 1, background: float = 1.0
) -> jax.Array:
    """The filters of a first convolution in a grid, as an image.

    Gray, 0.5, is a weight of 0; each filter is scaled by its own largest weight.

    Args:
        w: the weights `[h, w, C, F]` of `nn.Conv` on images with 1 or 3 channels.
        columns: filters per row; None for about as many as rows.
        gap: pixels between filters.
        background: the value in the gaps: 1 for white, 0 for black, NaN for nothing.

    Returns:
        An image `[height, width, C]` in 0 to 1.

    Raises:
        ValueError: `w` does not have these axes, or not 1 or 3 input channels.

    >>> import jax.numpy as jnp, jaxnn as nn
    >>> nn.pictures.filters_picture(jnp.ones((3, 3, 1, 8))).shape
    (11, 11, 1)
    """
    if getattr(w, "ndim", 0) != 4 or w.shape[2] not in (1, 3):
        raise ValueError(
            "filters_picture: w must be the weights [h, w, C, F] of a convolution on "
            f"images of 1 or 3 colors, got {describe(w)}; of a deeper one, draw a "
            "single input channel, w[:, :, :1]"
        )
    _check_spacing("filters_picture", columns, gap)
    return filters_grid(w, columns, gap, background)


@entrance
def maps_picture(
    maps: Any, *, columns: int | None = None, gap: int = 1, background: float = 1.0
) -> jax.Array:
    """The feature maps of one image in a grid, as a grayscale image.

    Black is a map's smallest value and white its largest, for each map separately.

    Args:
        maps: a layer's output for one image, `[h, w, K]`; see `nn.Tap`.
        columns: maps per row; None for about as many as rows.
        gap: pixels between maps.
        background: the value in the gaps: 1 for white, 0 for black, NaN for nothing.

    Returns:
        An image `[height, width, 1]` in 0 to 1.

    Raises:
        ValueError: `maps` does not have these axes.

    >>> import jax.numpy as jnp, jaxnn as nn
    >>> nn.pictures.maps_picture(jnp.ones((14, 14, 6)), columns=6, gap=2).shape
    (14, 94, 1)
    """
    if getattr(maps, "ndim", 0) != 3:
        raise ValueError(
            "maps_picture: maps must be those of one image, [h, w, K], got "
            f"{describe(maps)}; of a batch take one, maps[0]"
        )
    _check_spacing("maps_picture", columns, gap)
    return maps_grid(maps, columns, gap, background)


class _Nudged(Layer):
    """A layer with `nudge` added to its output, to take the gradient there."""

    layer: Layer
    nudge: Any  # an array, inside one call only

    def children(self):
        return self.layer.children()

    def apply(self, params, state, x, *, key=None, train=False):
        y, state = self.layer.apply(params, state, x, key=key, train=train)
        return y + self.nudge, state


def _pick(owner: str, scores: Any, target: Any) -> jax.Array:
    """The score of the target class of each image, `[N]`."""
    if len(getattr(scores, "shape", ())) != 2:
        raise ValueError(
            f"{owner}: the network must give class scores [N, classes], got "
            f"{describe(scores):.100}"
        )
    images, classes = scores.shape
    target = scores.argmax(-1) if target is None else _check_target(owner, target)
    if jnp.shape(target) not in ((), (images,)):
        raise ValueError(
            f"{owner}: target must be one class, or one for each of the {images} "
            f"images, [{images}], got {describe(target)}"
        )
    if not isinstance(target, Tracer):
        _check_range(owner, np.asarray(target), classes)
    target = jnp.broadcast_to(jnp.asarray(target), (images,))
    return jnp.take_along_axis(scores, target[:, None], axis=1)[:, 0]


def _check_target(owner: str, target: Any) -> Any:
    target = target if hasattr(target, "dtype") else np.asarray(target)
    if not jnp.issubdtype(target.dtype, jnp.integer):
        raise TypeError(
            f"{owner}: target must be a class, an int, or one for each image, got "
            f"{describe(target)}"
        )
    return target


def _check_range(owner: str, target: np.ndarray, classes: int) -> None:
    outside = target[(target < 0) | (target >= classes)]
    if outside.size:
        raise ValueError(
            f"{owner}: target must be a class from 0 to {classes - 1}, got "
            f"{outside.flat[0]}"
        )


def _check_path(net: Layer, path: Any) -> None:
    everything = layer_paths(net)
    if path not in everything:
        raise KeyError(
            f"grad_cam: no layer at {path!r}{nearest(str(path), everything)}; the "
            f"network has {', '.join(everything) or 'no children'}"
        )


def _check_maps(net: Layer, path: str, x: Any, maps: Any) -> Any:
    """Return the maps of a layer, which must output maps and be called once."""
    if isinstance(maps, tuple):
        raise ValueError(
            f"grad_cam: the layer at {path!r} is called {len(maps)} times; take one "
            "that is called once"
        )
    shape = getattr(maps, "shape", ())
    if len(shape) == 4 and shape[0] == x.shape[0]:
        return maps
    calls = trace(net, jax.ShapeDtypeStruct(x.shape, x.dtype))
    last = [c.path for c in calls if len(getattr(c.y, "shape", ())) == 4][-1:]
    advice = f"; the last that does is {last[0]!r}" if last else ""
    raise ValueError(
        f"grad_cam: the layer at {path!r} must give feature maps [N, h, w, K], it "
        f"gives {describe(maps):.100}{advice}"
    )


def _check_spacing(owner: str, columns: Any, gap: Any) -> None:
    if columns is not None:
        checks.positive_int(owner, "columns", columns)
    if gap != 0:
        checks.positive_int(owner, "gap", gap)
