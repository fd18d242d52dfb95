# SPDX-License-Identifier: Apache-2.0
"""The core idea in one file: a layer is two pure functions over plain trees.

    params, state = layer.init(key, x)
    y, state = layer.apply(params, state, x, key=key, train=True)

A `Layer` is a *spec*: a frozen, hashable record of hyperparameters that holds no
arrays.  `params` and `state` are nested dicts of arrays.  A `Composite` is a layer
made of named children and a body `forward(run, x)` in which `run("name", x)` calls
one of them; everything else in the library is built from these two.

If the input is `(x, lengths)`, padded sequences, `Run` passes the lengths from layer to
layer; `inputs/steps.py` has the rules.
"""

import dataclasses
from collections.abc import Callable, Mapping
from contextvars import ContextVar
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jaxnn.inputs.entry import is_of_inputs, of_apply, of_init
from jaxnn.inputs.steps import (
    Steps,
    alike,
    as_pair,
    blank,
    handed,
    over_steps,
    plain,
    regained,
    said,
)
from jaxnn.keys import Key as Key
from jaxnn.keys import check_key as check_key
from jaxnn.keys import fold_in as fold_in
from jaxnn.keys import needed_key as needed_key
from jaxnn.spec import Spec, fields, show
from jaxnn.trees import describe, nearest, put

Params = dict[str, Any]
State = dict[str, Any]


class Layer(Spec):
    """A spec with two pure functions, `init` and `apply`.

    A subclass is final: a variant wraps a layer or is a separate layer.  The arrays in
    `x` are checked before they reach `init` and `apply`; in `apply` all are JAX arrays.
    """

    #: How the layer takes sequences with lengths in a network; see `inputs/steps.py`.
    with_lengths = "unknown"

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        for name, entered in (("init", of_init), ("apply", of_apply)):
            if name in vars(cls):
                setattr(cls, name, entered(vars(cls)[name]))

    def init(self, key: Key, x: Any) -> tuple[Params, State]:
        """Create the parameters and the state for inputs like `x`.

        Args:
            key: a random key, `jax.random.key(seed)`.
            x: an example batch `[N, ...]`, or just its `jax.ShapeDtypeStruct`.

        Returns:
            `(params, state)`, nested dicts of arrays; `{}` if there are none.
        """
        del key, x
        return {}, {}

    def apply(
        self,
        params: Params,
        state: State,
        x: Any,
        *,
        key: Key | None = None,
        train: bool = False,
    ) -> tuple[Any, State]:
        """Compute the outputs for a batch.

        Args:
            params: the parameters, from `init` or from training.
            state: running statistics and the like, which `apply` takes and returns.
            x: a batch `[N, ...]`, or any pytree of arrays that the layer accepts.
            key: a random key; needed only by random layers in training.
            train: True in training. Static under `jax.jit`.

        Returns:
            `(y, state)`: the outputs, and the state after this call.
        """
        raise NotImplementedError(f"{type(self).__name__} does not define apply")

    def children(self) -> dict[str, "Layer"]:
        """The layers inside this one by name, in order."""
        return {}

    def with_child(self, name: str, layer: "Layer") -> "Layer":
        """A copy of this layer with the child `name` replaced by `layer`."""
        raise KeyError(unknown_child(self, name))


class Function(Layer):
    """A plain function as a layer without parameters.

    Wherever a layer is expected, you can pass `jax.nn.relu` or any other function. For
    sequences with lengths, it receives the array, with zeros past each end, and must
    return what it would return for each sequence alone; a function that takes a pair
    receives `(x, lengths)`.

    Raises:
        ValueError: padding would change the output, as with `lambda x: x[:, -1]`.
    """

    function: Callable[..., Any]
    with_lengths = "carries"

    def apply(self, params, state, x, *, key=None, train=False):
        if isinstance(x, Steps):
            return over_steps(self.function, x), state
        return self.function(x), state


def written(layer: Layer) -> str:
    """A child as written in code: a plain function without its `Function` wrapper."""
    return show(layer.function) if isinstance(layer, Function) else repr(layer)


def as_layer(x: Any, owner: str) -> Layer:
    """`x` itself if it is a layer; wrapped in a `Function` if it is a function."""
    if isinstance(x, Layer):
        return x
    if isinstance(x, type) and issubclass(x, Layer):
        raise TypeError(
            f"{owner}: {x.__name__} is a class; build a layer with {x.__name__}(...)"
        )
    if callable(x):
        return Function(x)
    raise TypeError(f"{owner}: a child must be a layer or a function, got {x!r:.100}")


class Composite(Layer):
    """A layer made of named children: subclass it, list them, write `forward`.

    >>> import jax, jaxnn as nn
    >>> class Residual(nn.Composite):
    ...     body: nn.Layer
    ...     def forward(self, run, x):
    ...         return x + run("body", x)
    >>> net = Residual(nn.Dense(3))
    >>> params, state = net.init(jax.random.key(0), jax.numpy.ones((2, 3)))
    >>> params["body"]["w"].shape
    (3, 3)
    """

    with_lengths = "forward"

    def forward(self, run: "Run", x: Any) -> Any:
        """The body: call children with `run("name", x)` and combine their outputs."""
        raise NotImplementedError(f"{type(self).__name__} does not define forward")

    def children(self) -> dict[str, Layer]:
        values = fields(self).items()
        return {
            n: as_layer(v, n) for n, v in values if isinstance(v, Layer) or callable(v)
        }

    def with_child(self, name: str, layer: Layer) -> Layer:
        if name not in self.children():
            raise KeyError(unknown_child(self, name))
        return dataclasses.replace(self, **{name: layer})  # type: ignore[type-var]

    def init(self, key, x):
        check_key(key, f"{type(self).__name__}.init")
        params, state = {}, {}
        for call in trace(self, x):
            if call.first:
                new_params, new_state = _init_at(call, key)
                for tree, part in ((params, new_params), (state, new_state)):
                    if part:
                        put(tree, call.path, part)
        return params, state

    def apply(self, params, state, x, *, key=None, train=False):
        run = Run(self, params, state, key, train)
        return run.forward(x), run.state


class Run:
    """What `forward` gets: it calls children by name, with their params and state.

    Attributes:
        params: the composite's parameters; tied weights read them, as in
            `run.params["embed"]["w"]`.
        key: the composite's own random key, or None.
        train: whether this is a training call.
    """

    def __init__(self, layer: Layer, params, state, key: Key | None, train: bool):
        name = type(layer).__name__
        if key is not None:
            check_key(key, name)
        for kind, tree in (("params", params), ("state", state)):
            if not isinstance(tree, Mapping):
                raise TypeError(
                    f"{name}: {kind} must be a dict as init returns it, got "
                    f"{describe(tree):.200}; it returns two: params, state"
                )
        self.params, self.state = params, dict(state)
        self.key, self.train = key, train
        self._layer, self._children = layer, layer.children()
        self._counts: dict[str, int] = {}
        self._start(None)

    def forward(self, x: Any) -> Any:
        """Call the layer's `forward`; inputs with lengths give outputs with lengths."""
        layer: Any = self._layer
        own = pair = as_pair(x)
        self._start(None)
        if isinstance(pair, Steps) and layer.with_lengths == "forward":
            self._start(pair)
            own = blank(*pair) if self._known else tuple(pair)
        y = self._with_lengths(layer.forward(self, own))
        return y if isinstance(x, Steps) else plain(y)

    def _start(self, given: Steps | None) -> None:
        """Remember the input if it is sequences with lengths."""
        self._given: Any = given
        self._known = type(given) is Steps  # for a pair, only its use decides
        self._seen: dict[int, Steps] = {}  # children's outputs, by array

    def __call__(self, name: str, x: Any) -> Any:
        """Call child `name` on `x` and keep its new state."""
        if not isinstance(name, str):
            raise TypeError(
                f"{type(self._layer).__name__}: run takes the name of a child, "
                f'run("name", x), got {name!r:.60}'
            )
        child = self._children.get(name)
        if child is None:
            raise KeyError(unknown_child(self._layer, name))
        x = self._with_lengths(as_pair(x))
        with place(name, child, x), jax.named_scope(name):
            y = self._call(name, child, handed(child, x))
        return self._own_form(regained(child, x, y))

    def _with_lengths(self, x: Any) -> Any:
        """`x` as `Steps`, if it is known to be an array of sequences."""
        if id(x) in self._seen:
            return self._seen[id(x)]
        if self._known and alike(x, self._given.x):
            return Steps(x, self._given.lengths)
        return x

    def _own_form(self, y: Any) -> Any:
        """A child's output as a custom `forward` receives it: arrays and pairs."""
        if not isinstance(y, Steps) or self._layer.with_lengths == "carries":
            return y
        if self._given is not None and y.lengths is self._given.lengths:
            self._known = True
        if type(y) is Steps:
            self._seen[id(y.x)] = y
        return plain(y)

    def _call(self, name: str, child: Layer, x: Any) -> Any:
        params, state = self.params.get(name, {}), self.state.get(name, {})
        key = self._child_key(name, child)
        made = child.apply(params, state, x, key=key, train=self.train)
        y, state = _pair(child, "apply", made)
        if state:
            self.state[name] = state
        return y

    def _child_key(self, name: str, child: Layer) -> Key | None:
        """A key derived from the child's name and the number of its earlier calls."""
        count = self._counts[name] = self._counts.get(name, 0) + 1
        if self.key is None or isinstance(child, Function):
            return None
        return fold_in(self.key, name if count == 1 else f"{name}#{count}")


class Call(NamedTuple):
    """One call of a layer as `trace` recorded it, with shapes in place of arrays."""

    path: str
    layer: Layer
    x: Any
    y: Any
    params: Params
    first: bool
    takes: int  # identifies the input array; 0 for any other input
    gives: int


class _Values:
    """Numbers arrays from 1; the same array object always gets the same number."""

    def __init__(self):
        self._numbers: dict[int, tuple[int, Any]] = {}

    def number(self, x: Any) -> int:
        if not hasattr(x, "shape"):
            return 0
        new = len(self._numbers) + 1, x  # held, so that its id is not reused
        return self._numbers.setdefault(id(x), new)[0]


class _Plan(Run):
    """A run that creates missing parameters and records every call of a layer."""

    def __init__(
        self, layer: Layer, key: Key, calls: list[Call], values: _Values, path: str = ""
    ):
        super().__init__(layer, {}, {}, key, True)
        self._calls, self._values, self._path = calls, values, path
        self._plans: dict[str, _Plan] = {}

    def _call(self, name: str, child: Layer, x: Any) -> Any:
        path, first = f"{self._path}{name}", name not in self._counts
        if _is_plain(child):
            if name not in self._plans:
                inside = self._calls, self._values, f"{path}/"
                self._plans[name] = _Plan(child, self.key, *inside)  # type: ignore
            self.params[name] = self._plans[name].params
            return self._plans[name].forward(x)
        if first:
            key = fold_in(self.key, f"init {name}")  # type: ignore[arg-type]
            self.params[name], self.state[name] = _pair(
                child, "init", child.init(key, x)
            )
        y = super()._call(name, child, x)
        values = [self._values.number(plain(a)) for a in (x, y)]
        x, after, params = abstract((x, plain(y), self.params[name]))
        self._calls.append(Call(path, child, x, after, params, first, *values))
        return y


def trace(net: Layer, x: Any) -> list[Call]:
    """Every call of a layer in one training pass, traced without computing it."""
    calls: list[Call] = []
    net = net if isinstance(net, Composite) else _Only(as_layer(net, "trace"))

    def forward(key, x):
        _Plan(net, key, calls, _Values()).forward(x)

    token = _tracing.set(True)
    try:
        jax.eval_shape(forward, jax.eval_shape(lambda: jax.random.key(0)), x)
    finally:
        _tracing.reset(token)
    return calls


_tracing = ContextVar("tracing", default=False)


def only_shapes() -> bool:
    """Whether this call is part of `trace`, as in `init`, where nothing is computed.

    A layer then accepts what it rejects in training for numerical reasons, such as a
    batch of one example.
    """
    return _tracing.get()


class _Only(Composite):
    """A network of one layer, so that `trace` treats every network alike."""

    layer: Layer
    with_lengths = "carries"

    def forward(self, run, x):
        return run("layer", x)


def _is_plain(layer: Layer) -> bool:
    """Whether a layer consists of its `forward` alone, so that `trace` looks inside."""
    kind = type(layer)
    return kind.init is Composite.init and kind.apply is Composite.apply


def _init_at(call: Call, key: Key) -> tuple[Params, State]:
    for name in call.path.split("/"):
        key = fold_in(key, name)
    with place(call.path, call.layer, call.x):
        return call.layer.init(key, call.x)


def abstract(tree: Any) -> Any:
    """The same tree with shapes and dtypes in place of arrays and numbers."""

    def one(a):
        return jax.ShapeDtypeStruct(jnp.shape(a), jnp.result_type(a))

    return jax.tree.map(one, tree)


def _pair(layer: Layer, function: str, made: Any) -> tuple[Any, Any]:
    """What `init` or `apply` returned, after checking that it is two things."""
    # (A tapped layer's state is a tuple that holds its own; see surgery.py.)
    if type(made) is tuple and len(made) == 2 and isinstance(made[1], Mapping | tuple):
        return made
    gives = "(params, state)" if function == "init" else "(y, state)"
    raise TypeError(
        f"{type(layer).__name__}.{function} must return two things, {gives}, the state "
        f"being a dict ({{}} for none), got {describe(made):.100}"
    )


class place:
    """Adds the path of the failing layer to an exception; outer layers extend it."""

    def __init__(self, name: str, layer: Layer, x: Any):
        self.name, self.layer, self.x = name, layer, x

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind, error, traceback) -> None:
        if not isinstance(error, Exception):
            return
        path, what, note = getattr(error, "_place", ("", "", ""))
        if not path:
            what = f"{written(self.layer):.200} on {said(self.x)}"
            if isinstance(error, KeyError) and not is_of_inputs(error, self.x):
                what += " (are params and state from this network's init?)"
        elif note in error.__notes__:
            error.__notes__.remove(note)
        path = f"{self.name}/{path}".rstrip("/")
        note = f"in {path}: {what}"
        error._place = (path, what, note)  # type: ignore[attr-defined]
        error.add_note(note)


def unknown_child(layer: Layer, name: str) -> str:
    """The error message for a name that no child has."""
    names = list(layer.children())
    has = f"it has {', '.join(names)}" if names else "it has none"
    if isinstance(layer, Composite):
        has += "; a child is an annotated field of the class, `body: nn.Layer`"
    return f"{type(layer).__name__} has no child {name!r}; {has}{nearest(name, names)}"
