"""Comparisons of a network with the same one in PyTorch: outputs, and weights back."""

import jax
import numpy as np
import pytest
import torch

from jaxnn.io import from_torch, to_torch
from jaxnn.messages.phrases import describe


def numbers(*shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def randomized(model):
    """The module in evaluation, none of its numbers zero or one."""
    rng = np.random.default_rng(1)
    with torch.no_grad():
        for a in model.parameters():
            a.copy_(torch.tensor(0.5 * rng.standard_normal(a.shape)))
    return model.eval()


def first(x):
    """Channels first, as a tensor."""
    return torch.tensor(np.moveaxis(x, -1, 1).copy())


def same(net, model, x, call, *, names=None, back=None):
    """Equal outputs; `to_torch` gives what `from_torch` was given, bit for bit.

    `names` helps `from_torch`; `back` says what modules are called, where that was left
    to their order.
    """
    given = {name: a.clone() for name, a in model.state_dict().items()}
    params, state = from_torch(net, x, given, names=names)
    wanted = jax.eval_shape(net.init, jax.random.key(0), x)
    for tree, shapes in zip((params, state), wanted, strict=True):
        assert jax.tree.map(describe, tree) == jax.tree.map(describe, shapes)
    y = jax.tree.leaves(jax.jit(net.apply)(params, state, x)[0])[-1]
    with torch.no_grad():
        expected = call(model).numpy()
    np.testing.assert_allclose(y, expected, rtol=1e-5, atol=1e-5)
    arrays = to_torch(net, (params, state), x=x, names=names or back)
    with torch.no_grad():
        for a in [*model.parameters(), *model.buffers()]:
            a.zero_()
    model.load_state_dict({k: torch.from_numpy(v) for k, v in arrays.items()})
    for name, a in model.state_dict().items():
        assert torch.equal(a, given[name]), name
    return params


def refused(words, call, *args, error=ValueError, **options):
    with pytest.raises(error) as caught:
        call(*args, **options)
    for word in words:
        assert word in str(caught.value), f"{word!r} not in {caught.value}"
