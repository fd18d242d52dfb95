"""The same checks for every layer in the catalogue."""

import io as python_io
import re
from functools import partial

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from catalogue import (
    CATALOGUE,
    Asks,
    Blocks,
    Cells,
    Entry,
    Halves,
    OnIds,
    Scaled,
    Told,
    Twice,
    Unpools,
    example,
)
from jax.test_util import check_grads

import jaxnn as nn
from jaxnn import trees

each = pytest.mark.parametrize("entry", CATALOGUE, ids=lambda e: e.name)
#: Layers that give the numbers of what they are given, not of fewer bits.
each_exact = pytest.mark.parametrize(
    "entry", [e for e in CATALOGUE if not e.rounds], ids=lambda e: e.name
)
each_with_state = pytest.mark.parametrize(
    "entry", [e for e in CATALOGUE if e.state], ids=lambda e: e.name
)
PUBLIC = {name: getattr(nn, name) for name in dir(nn)}  # layers come when asked for
NAMESPACE = {
    **PUBLIC,
    "jax": jax,
    "functools": __import__("functools"),
    "Asks": Asks,
    "Blocks": Blocks,
    "Cells": Cells,
    "Halves": Halves,
    "OnIds": OnIds,
    "Scaled": Scaled,
    "Told": Told,
    "Twice": Twice,
    "Unpools": Unpools,
}


def built(entry: Entry, dtype=jnp.float32):
    x = example(entry, dtype)
    return (*entry.layer.init(jax.random.key(1), x), x)


def options(entry: Entry, key) -> dict:
    return {"key": key, "train": True} if entry.random else {"train": True}


def kinds_within(layer: nn.Layer) -> set[type]:
    """The type of a layer and of all layers inside it."""
    return {type(layer)}.union(*map(kinds_within, layer.children().values()))


def test_every_public_layer_is_in_the_catalogue():
    """One that is missing would be tested by nothing here."""
    listed = set().union(*(kinds_within(entry.layer) for entry in CATALOGUE))
    public = {v for v in (getattr(nn.layers, n) for n in dir(nn.layers)) if _is_kind(v)}
    abstract = {"Layer", "Composite", "Cell"}
    assert {kind.__name__ for kind in public - listed} <= abstract


def _is_kind(value) -> bool:
    return isinstance(value, type) and issubclass(value, nn.Layer)


@each
def test_init_gives_its_abstract_shapes(entry, key):
    x = example(entry)
    abstract = jax.eval_shape(lambda k: entry.layer.init(k, x), key)
    chex.assert_trees_all_equal_shapes_and_dtypes(entry.layer.init(key, x), abstract)


@each
def test_init_from_a_shape_is_init_from_an_array(entry, key):
    x = example(entry)
    shape = jax.ShapeDtypeStruct(x.shape, x.dtype)
    chex.assert_trees_all_equal(entry.layer.init(key, x), entry.layer.init(key, shape))


@each
def test_parameter_paths_are_stable(entry):
    params, state, _ = built(entry)
    assert tuple(sorted(trees.paths(params))) == entry.paths
    assert tuple(sorted(trees.paths(state))) == entry.state


@each
def test_jit_is_eager(entry, key):
    params, state, x = built(entry)
    kw = options(entry, key)
    train = kw.pop("train")
    jitted = jax.jit(entry.layer.apply, static_argnames="train")
    eager = entry.layer.apply(params, state, x, train=train, **kw)
    again = jitted(params, state, x, train=train, **kw)
    chex.assert_trees_all_close(eager, again, rtol=1e-5, atol=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize(
    "entry", [e for e in CATALOGUE if not e.mixes], ids=lambda e: e.name
)
def test_vmap_over_examples_is_the_batch(entry):
    params, state, x = built(entry)
    one = jax.vmap(lambda x: entry.layer.apply(params, state, x[None])[0][0])
    chex.assert_trees_all_close(
        one(x), entry.layer.apply(params, state, x)[0], rtol=1e-5, atol=1e-6
    )


@each_exact
def test_gradients_agree_with_finite_differences_in_float64(entry, key):
    with jax.enable_x64(True):
        params, state, x = built(entry, jnp.float64)
        chex.assert_trees_all_equal_dtypes(params, jax.tree.map(jnp.float64, params))
        kw = options(entry, key)

        def f(params, x):
            return entry.layer.apply(params, state, x, **kw)[0]

        f, args = (partial(f, params), (x,)) if entry.frozen else (f, (params, x))
        check_grads(jax.jit(f), args, order=1, modes=["fwd", "rev"], eps=1e-6)


@each_with_state
def test_gradients_in_evaluation_agree_with_finite_differences_too(entry, key):
    with jax.enable_x64(True):
        params, state, x = built(entry, jnp.float64)
        chex.assert_trees_all_equal_dtypes(state, jax.tree.map(jnp.float64, state))

        def f(params, x):
            return entry.layer.apply(params, state, x)[0]

        check_grads(jax.jit(f), (params, x), order=1, modes=["fwd", "rev"], eps=1e-6)


@pytest.mark.slow
@each_exact
def test_bfloat16_inputs_give_bfloat16_outputs_over_float32_parameters(entry, key):
    params, state, x = built(entry, jnp.bfloat16)
    y, after = entry.layer.apply(params, state, x, **options(entry, key))
    assert y.dtype == jnp.bfloat16
    kept = jax.tree.leaves((params, state, after))
    assert all(p.dtype == jnp.float32 for p in kept)
    y, _ = entry.layer.apply(params, state, x)
    assert y.dtype == jnp.bfloat16


@each
def test_evaluation_is_deterministic_and_leaves_state_alone(entry):
    params, state, x = built(entry)
    y, after = entry.layer.apply(params, state, x)
    again, _ = entry.layer.apply(params, state, x, key=jax.random.key(5))
    chex.assert_trees_all_equal((y, state), (again, after))


@each_with_state
def test_training_changes_state_and_keeps_its_structure(entry, key):
    params, state, x = built(entry)
    _, after = entry.layer.apply(params, state, x + 1, **options(entry, key))
    chex.assert_trees_all_equal_shapes_and_dtypes(state, after)
    assert list(trees.paths(state)) == list(trees.paths(after))
    was = trees.paths(state)
    for path, now in trees.paths(after).items():
        assert not np.array_equal(was[path], now), path


@each_with_state
def test_a_scan_carries_the_state_of_training(entry, key):
    params, state, x = built(entry)
    batches = jnp.stack([x, 2 * x + 1, x - 3])

    def body(state, x):
        y, state = entry.layer.apply(params, state, x, **options(entry, key))
        return state, y

    carried, ys = jax.lax.scan(body, state, batches)
    for y, x in zip(ys, batches, strict=True):
        state, expected = body(state, x)
        chex.assert_trees_all_close(y, expected, rtol=1e-5, atol=1e-5)
    chex.assert_trees_all_close(carried, state, rtol=1e-5, atol=1e-6)


@each
def test_the_same_key_gives_the_same_outputs_and_another_key_others(entry, key):
    params, state, x = built(entry)
    apply = entry.layer.apply
    y, _ = apply(params, state, x, key=key, train=True)
    again, _ = apply(params, state, x, key=key, train=True)
    other, _ = apply(params, state, x, key=jax.random.key(99), train=True)
    chex.assert_trees_all_equal(y, again)
    assert np.array_equal(y, other) != entry.random


@each
def test_a_random_layer_in_training_without_a_key_raises(entry):
    params, state, x = built(entry)
    if entry.random:
        with pytest.raises(TypeError, match="key"):
            entry.layer.apply(params, state, x, train=True)
    else:
        entry.layer.apply(params, state, x, train=True)


@pytest.mark.parametrize(
    "entry", [e for e in CATALOGUE if e.wrong], ids=lambda e: e.name
)
def test_wrong_input_raises_with_path_and_shapes(entry):
    params, state, _ = built(entry)
    net = nn.Sequential(inner=entry.layer)
    with pytest.raises(ValueError, match="in inner") as caught:
        net.apply({"inner": params}, {"inner": state}, jnp.ones(entry.wrong))
    said = str(caught.value) + "".join(caught.value.__notes__)
    assert ",".join(map(str, entry.wrong[1:])) in said
    assert sum(note.startswith("in ") for note in caught.value.__notes__) == 1


@each
def test_repr_evaluates_to_an_equal_layer(entry):
    again = eval(repr(entry.layer), NAMESPACE)
    assert again == entry.layer
    assert hash(again) == hash(entry.layer)
    assert repr(again) == repr(entry.layer)


@each
def test_an_equal_layer_compiles_once(entry):
    params, state, x = built(entry)

    @chex.assert_max_traces(n=1)
    def apply(layer, params, x):
        return layer.apply(params, state, x)[0]

    chex.clear_trace_counter()
    jitted = jax.jit(apply, static_argnums=0)
    jitted(entry.layer, params, x)
    jitted(eval(repr(entry.layer), NAMESPACE), params, x)


@pytest.mark.slow
@each
def test_inside_a_scan_is_outside(entry):
    params, state, x = built(entry)

    def body(state, x):
        y, state = entry.layer.apply(params, state, x)
        return state, y

    _, ys = jax.lax.scan(body, state, jnp.stack([x, x + 1]))
    for y, given in zip(ys, (x, x + 1), strict=True):
        expected, _ = entry.layer.apply(params, state, given)
        chex.assert_trees_all_close(y, expected, rtol=1e-5, atol=1e-6)


@pytest.mark.slow
@each
def test_lowers_for_every_platform(entry, key):
    params, state, x = built(entry)

    def loss(params, x):
        y, after = entry.layer.apply(params, state, x, key=key, train=True)
        return y.sum(), after

    exported = jax.export.export(
        jax.jit(jax.grad(loss, has_aux=True)), platforms=("cpu", "cuda", "tpu")
    )
    assert set(exported(params, x).platforms) == {"cpu", "cuda", "tpu"}


@each
def test_saves_and_loads(entry, tmp_path):
    params, state, x = built(entry)
    _, state = entry.layer.apply(params, state, x, key=jax.random.key(0), train=True)
    nn.save(tmp_path / "net", {"params": params, "state": state})
    back = nn.load(tmp_path / "net", like={"params": params, "state": state})
    chex.assert_trees_all_equal(back, {"params": params, "state": state})


@pytest.mark.parametrize(
    "entry", [e for e in CATALOGUE if not e.frozen], ids=lambda e: e.name
)
def test_no_parameter_is_idle(entry, key):
    """Every parameter has a gradient that is not zero for some output."""
    params, state, x = built(entry)

    def loss(params):
        y, _ = entry.layer.apply(params, state, x, key=key, train=True)
        return (y * jnp.arange(1.0, y.size + 1).reshape(y.shape)).sum()

    for path, gradient in trees.paths(jax.jit(jax.grad(loss))(params)).items():
        assert jnp.abs(gradient).max() > 0, path


@each
def test_an_empty_batch_gives_an_empty_result_and_no_gradient(entry):
    params, state, x = built(entry)

    def loss(params, x):
        y, _ = entry.layer.apply(params, state, x)
        return y.sum(), y

    slope = jax.jit(jax.grad(loss, argnums=(0, 1), has_aux=True))
    (by_params, by_x), y = slope(params, x[:0])
    whole, _ = jax.eval_shape(entry.layer.apply, params, state, x)
    assert y.shape == (0, *whole.shape[1:]) and by_x.shape == (0, *x.shape[1:])
    assert not any(a.any() for a in jax.tree.leaves(by_params))


@pytest.mark.parametrize(
    "entry", [e for e in CATALOGUE if len(e.shape) > 2], ids=lambda e: e.name
)
def test_no_steps_give_an_empty_result_or_a_clear_error(entry):
    params, state, x = built(entry)
    try:
        y, _ = entry.layer.apply(params, state, x[:, :0])
    except ValueError as error:
        assert re.match(r"[A-Z]\w+: ", str(error)), error
    else:
        assert y.size == 0


def test_every_layer_is_in_the_catalogue():
    public = {
        value
        for value in PUBLIC.values()
        if isinstance(value, type) and issubclass(value, nn.Layer)
    }
    listed = {type(layer) for e in CATALOGUE for layer in everything(e.layer)}
    assert public - listed == {nn.Layer, nn.Composite, nn.Tap}  # Tap: test_surgery.py


def everything(layer):
    return [layer, *nn.layer_paths(layer).values()]


def test_reprs_are_short():
    shown = python_io.StringIO()
    for entry in CATALOGUE:
        print(entry.layer, file=shown)
    assert "0x" not in shown.getvalue()
    assert max(map(len, shown.getvalue().splitlines())) < 100
