# SPDX-License-Identifier: Apache-2.0
"""Losses of embeddings, by their angles and distances: `loss(...) -> [N]`."""

import math
import numbers
from typing import Any

import jax
import jax.numpy as jnp
import optax
from jax.typing import ArrayLike

from jaxnn import checks
from jaxnn.losses.classification import softmax_cross_entropy
from jaxnn.losses.contracts import expects
from jaxnn.losses.pairs import (
    class_pair,
    examples,
    mean_each,
    number_pair,
    one_array,
    several,
)
from jaxnn.messages.phrases import describe


@expects(outputs="embeddings", targets="numbers")
def cosine_distance(outputs: ArrayLike, targets: ArrayLike) -> jax.Array:
    """One minus the cosine of the angle: 1 − y · t / (‖y‖ ‖t‖), averaged.

    Args: outputs y (floats) and targets t, both [N, D] or [N, ..., D]. A norm below
        1e-8 is treated as 1e-8.
    Returns: [N], 0 to 2. Raises: ValueError if the shapes differ or have no axis D.
    Example:
        >>> y, t = jnp.array([[1.0, 0], [1, 0]]), jnp.array([[2.0, 0], [0, 3]])
        >>> print(cosine_distance(y, t))
        [0. 1.]
    """
    y, t, dtype = number_pair("cosine_distance", outputs, targets)
    _check_vectors("cosine_distance", y)
    return mean_each(1 - _cosine(y, t), dtype)


@expects(outputs="embeddings", targets="signs")
def cosine_embedding(
    outputs: tuple[ArrayLike, ArrayLike], targets: ArrayLike, *, margin: float = 0.0
) -> jax.Array:
    """Make the embeddings of like things parallel, and those of unlike things not.

    1 − cos(a, b) for a positive target, else max(0, cos(a, b) − m).

    Args:
        outputs: `(a, b)`, floats [N, D] or [N, ..., D].
        targets: [N] or [N, ...], 1 where a and b are alike, else −1 or 0.
        margin: m, the largest cosine of unlike things that costs nothing, −1 to 1.
    Returns: [N].
    Raises: TypeError if the outputs are not a pair; ValueError if the shapes do not
        match or the margin is out of range.
    Example:
        >>> a, b = jnp.array([[1.0, 0.0], [1.0, 0.0]]), jnp.array([[1.0, 1.0]] * 2)
        >>> print(cosine_embedding((a, b), jnp.array([1, -1])).round(4))
        [0.2929 0.7071]

    Reference: Hadsell, Chopra & LeCun, Dimensionality Reduction by Learning an
    Invariant Mapping, 2006 (with distances).
    """
    name = "cosine_embedding"
    if not isinstance(margin, numbers.Real) or not -1 <= margin <= 1:
        raise ValueError(f"{name}: margin must be from -1 to 1, got {margin!r:.60}")
    a, b = several(name, outputs, ("a", "b"))
    a, b, dtype = number_pair(name, a, b)
    _check_vectors(name, a)
    t = one_array(name, "targets", targets)
    if t.shape != a.shape[:-1]:
        raise ValueError(
            f"{name}: targets must be one for each pair of vectors, got "
            f"{describe(t)} for {describe(a)}"
        )
    cosine, alike = _cosine(a, b), t.astype(a.dtype) > 0
    values = jnp.where(alike, 1 - cosine, jax.nn.relu(cosine - margin))
    return mean_each(values, dtype)


@expects(outputs="embeddings", targets="none")
def triplet_margin(
    outputs: tuple[ArrayLike, ArrayLike, ArrayLike],
    targets: Any = None,
    *,
    margin: float = 1.0,
    power: float = 2.0,
    swap: bool = False,
) -> jax.Array:
    """Bring an anchor nearer to a positive than to a negative, by a margin.

    max(0, d(a, p) − d(a, n) + m), with d(x, y) = ‖x − y + ε‖ and ε = 1e-6, as in
    PyTorch.

    Args:
        outputs: `(a, p, n)`, floats [N, D] or [N, ..., D].
        targets: nothing; `fit` takes None for them.
        margin: m, above 0.
        power: of the norm, 1 or more; 2 is the Euclidean distance.
        swap: whether the negative is held against whichever of the anchor and the
            positive it is nearer to.
    Returns: [N].
    Raises: TypeError if the outputs are not three; ValueError if their shapes differ or
        an option is out of range.
    Example:
        >>> a, p, n = jnp.zeros((1, 2)), jnp.array([[0.0, 1]]), jnp.array([[3.0, 4]])
        >>> print(triplet_margin((a, p, n)), triplet_margin((a, n, p)).round(2))
        [0.] [5.]

        A network of three inputs and one encoder:

        >>> import jaxnn as nn
        >>> class Triplets(nn.Composite):
        ...     encoder: nn.Layer
        ...     def forward(self, run, x):
        ...         return tuple(run("encoder", each) for each in x)

    Reference: Schroff, Kalenichenko & Philbin, FaceNet, 2015; Balntas et al., Learning
    Shallow Convolutional Feature Descriptors with Triplet Losses, 2016 (swap).
    """
    name = "triplet_margin"
    checks.positive(name, "margin", margin)
    if not isinstance(power, numbers.Real) or not power >= 1:
        raise ValueError(f"{name}: power must be 1 or more, got {power!r:.60}")
    checks.switches(name, swap=swap)
    a, p, n = several(name, outputs, ("anchor", "positive", "negative"))
    a, p, dtype = number_pair(name, a, p)
    a, n, _ = number_pair(name, a, n)
    _check_vectors(name, a)
    near, far = (_distance(a, other, power) for other in (p, n))
    if swap:
        far = jnp.minimum(far, _distance(p, n, power))
    return mean_each(jax.nn.relu(near - far + margin), dtype)


def triplet_hard(
    embeddings: ArrayLike, labels: ArrayLike, *, margin: float = 1.0
) -> jax.Array:
    """`triplet_margin` of each example with the hardest two of its batch.

    max(0, d(a, p) − d(a, n) + m), where p is the farthest example of a's label, and n
    the nearest of another. Batches need several examples of each of several labels.

    Args:
        embeddings: floats [N, D].
        labels: integers [N], any.
        margin: m, above 0.
    Returns: [N]; 0 for an example without p or n.
    Raises: TypeError if labels are no integers; ValueError if the shapes do not match
        or the margin is out of range.
    Example:
        >>> x = jnp.array([[0.0], [1.0], [3.0], [5.0]])
        >>> print(triplet_hard(x, jnp.array([0, 0, 1, 1])).round(2))
        [0. 0. 1. 0.]

    Reference: Hermans, Beyer & Leibe, In Defense of the Triplet Loss for Person
    Re-Identification, 2017.
    """
    name = "triplet_hard"
    checks.positive(name, "margin", margin)
    x, dtype = examples(name, "embeddings", embeddings)
    labels = one_array(name, "labels", labels)
    if x.ndim != 2 or labels.shape != x.shape[:1]:
        raise ValueError(
            f"{name}: embeddings must be [N, D], and labels [N], got {describe(x)} and "
            f"{describe(labels)}"
        )
    if not jnp.issubdtype(labels.dtype, jnp.integer):
        raise TypeError(f"{name}: labels must be integers, got {describe(labels)}")
    alike = labels[:, None] == labels[None]
    others = alike & ~jnp.eye(len(x), dtype=bool)
    squares = jnp.square(x).sum(1)
    far = squares[:, None] + squares[None] - 2 * x @ x.T
    p = jnp.where(others, far, -jnp.inf).argmax(1)
    n = jnp.where(alike, jnp.inf, far).argmin(1)
    values = triplet_margin((x, x[p], x[n]), margin=margin)
    found = others.any(1) & ~alike.all(1)
    return jnp.where(found, values, 0).astype(dtype)


@expects(outputs="logits", targets="classes")
def arc_face(
    cosines: ArrayLike, labels: ArrayLike, *, margin: float = 0.5, scale: float = 64.0
) -> jax.Array:
    """Cross-entropy of cosines, with an angle added to that of the label, in nats.

    −log softmax(s c')_t, where c' is c except at the label t: c'_t = cos(θ_t + m), with
    θ_t = arccos c_t. For θ_t > π − m, where cos(θ + m) would rise again, it is c_t − m
    sin m, as in the authors' code. Embeddings of a class thus come together.

    Args:
        cosines: c, floats [N, C] or [N, ..., C], as from `nn.CosineLogits`. One beyond
            −1 to 1 by more than rounding gives NaN.
        labels: t, integers [N, ...], or one-hot rows of the cosines' shape.
        margin: m, from 0 to π, in radians.
        scale: s, above 0.
    Returns: [N], the mean over positions.
    Raises: TypeError for float labels [N, ...]; ValueError if the shapes do not match
        or an option is out of range.
    Example:
        >>> cosines, labels = jnp.array([[0.8, 0.6], [0.0, 1.0]]), jnp.array([0, 1])
        >>> print(arc_face(cosines, labels, margin=0.5, scale=4.0).round(2))
        [1.13 0.03]

        The layers that embed are all but the last, `net[:-1]`:

        >>> import jaxnn as nn
        >>> net = nn.Sequential(nn.Dense(64), jax.nn.relu, nn.CosineLogits(10))

    Reference: Deng et al., ArcFace: Additive Angular Margin Loss for Deep Face
    Recognition, 2019.
    """
    name = "arc_face"
    if not isinstance(margin, numbers.Real) or not 0 <= margin <= math.pi:
        raise ValueError(f"{name}: margin must be from 0 to π, got {margin!r:.60}")
    checks.positive(name, "scale", scale)
    c, labels, dtype = class_pair(name, cosines, labels)
    c = jnp.where(jnp.abs(c) <= 1.01, c, jnp.nan)
    own = labels
    if labels.ndim < c.ndim:
        own = jax.nn.one_hot(labels, c.shape[-1])
    moved = jnp.where(own.astype(bool), _turned(c, margin), c)
    return softmax_cross_entropy(scale * moved, labels).astype(dtype)


def _turned(cosine: jax.Array, margin: float) -> jax.Array:
    """cos(θ + m) from cos θ, with a finite gradient everywhere."""
    # sin θ has an infinite slope at ±1: nearer than rounding it counts as constant.
    least = jnp.finfo(cosine.dtype).eps
    sine = jnp.sqrt(jnp.maximum((1 - cosine) * (1 + cosine), least))
    turned = cosine * math.cos(margin) - sine * math.sin(margin)
    rises = cosine < -math.cos(margin)
    return jnp.where(rises, cosine - margin * math.sin(margin), turned)


def _cosine(a: jax.Array, b: jax.Array) -> jax.Array:
    return optax.losses.cosine_similarity(a, b, epsilon=1e-16)  # of squares


def _distance(a: jax.Array, b: jax.Array, power: float) -> jax.Array:
    return jnp.linalg.norm(a - b + 1e-6, ord=power, axis=-1)


def _check_vectors(name: str, a: jax.Array) -> None:
    if a.ndim < 2 or not a.shape[-1]:
        raise ValueError(f"{name}: embeddings must be [N, ..., D], got {describe(a)}")
