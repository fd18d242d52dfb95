# SPDX-License-Identifier: Apache-2.0
"""The core idea in one file: a layer is two pure functions over plain trees.

    params, state = layer.init(key, x)
    y, state = layer.apply(params, state, x, key=key, train=True)

A `Layer` is a *spec*: a frozen, hashable record of hyperparameters that holds no
arrays.  `params` and `state` are nested dicts of arrays.  A `Composite` is a layer
made of named children and a body `forward(run, x)` in which `run("name", x)` calls
one of them; everything else in the library is built from these two.

If the input is `(x, lengths)`, padded sequences, `Run` passes the lengths from layer to
layer; `inputs/steps.py` has the rules, and `inputs/errors.py` what an exception says of
the layer that it came from.
"""

import dataclasses
import functools
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple, NoReturn

import jax

from jaxnn.checks import only_shapes as only_shapes
from jaxnn.checks import tracing as tracing
from jaxnn.inputs import misuse
from jaxnn.inputs.entry import of_apply, of_init
from jaxnn.inputs.errors import Placed
from jaxnn.inputs.misuse import unknown_child as unknown_child
from jaxnn.inputs.outline import html_table
from jaxnn.inputs.passing import Passing
from jaxnn.inputs.steps import Steps, as_pair, handed, over_steps, plain, regained
from jaxnn.keys import Key as Key
from jaxnn.keys import check_key as check_key
from jaxnn.keys import fold_in as fold_in
from jaxnn.keys import needed_key as needed_key
from jaxnn.messages.arguments import explained
from jaxnn.messages.phrases import describe, shown
from jaxnn.spec import Spec, fields, show
from jaxnn.trees import abstract, get, replace

Params = dict[str, Any]
State = dict[str, Any]


class Layer(Spec):
    """A spec with two pure functions, `init` and `apply`.

    A subclass is final: a variant wraps a layer or is a separate layer.  The arrays in
    `x` are checked before they reach `init` and `apply`; in `apply` all are JAX arrays.

    A layer with parameters of its own writes both functions:

    >>> import jax, jax.numpy as jnp, jaxnn as nn
    >>> class Shift(nn.Layer):
    ...     start: float = 0.0
    ...     def init(self, key, x):
    ...         return {"b": jnp.full(x.shape[-1], self.start)}, {}
    ...     def apply(self, params, state, x, *, key=None, train=False):
    ...         return x + params["b"], state
    >>> net = nn.Sequential(nn.Dense(3), Shift(0.5))
    >>> net.init(jax.random.key(0), jnp.ones((2, 4)))[0]["shift_1"]["b"].tolist()
    [0.5, 0.5, 0.5]
    """

    #: How the layer takes sequences with lengths in a network; see `inputs/steps.py`.
    with_lengths = "unknown"
    #: Whether training leaves the layer's parameters alone; see `nn.Frozen`.
    at_rest = False

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        cls.__setattr__ = _assigned  # type: ignore[method-assign]
        wraps = {"__init__": explained, "init": of_init, "apply": of_apply}
        for name, wrapped in wraps.items():
            if name in vars(cls):
                setattr(cls, name, wrapped(vars(cls)[name]))

    if not TYPE_CHECKING:  # for which a layer has what its class says

        def __getattr__(self, name: str) -> NoReturn:
            raise misuse.layer_lacks(self, name)

    def __call__(self, *args: Any, **options: Any) -> NoReturn:
        """Layers are not called: see `apply`, and `run` in a `Composite`."""
        raise misuse.called(self)

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

    def _repr_html_(self) -> str | None:
        """The layers inside as a table, for notebooks."""
        return html_table(self, written)


def _assigned(self: Layer, name: str, value: Any) -> NoReturn:
    raise misuse.assigned(self, name, value)


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
    raise TypeError(
        f"{owner}: a layer must be an nn.Layer or a function, got {shown(x, 100)}"
    )


class Wrapper(Layer):
    """The abstract base class of layers around one layer; they define `apply`.

    The children are those of the layer inside, and so are the parameters and the state
    unless `init` adds to them: all keep their paths.
    """

    layer: Layer

    def __post_init__(self):
        object.__setattr__(self, "layer", as_layer(self.layer, type(self).__name__))

    @property
    def with_lengths(self):
        return self.layer.with_lengths

    @property
    def at_rest(self):
        return self.layer.at_rest

    def children(self):
        return self.layer.children()

    def with_child(self, name, layer):
        return dataclasses.replace(self, layer=self.layer.with_child(name, layer))

    def init(self, key, x):
        return self.layer.init(key, x)


class Composite(Layer):
    """A layer made of named children: subclass it, list them, write `forward`.

    Children in a field that is a tuple, a list or a dict are called by path:
    `run("blocks/0", x)`, and so are their parameters, `params["blocks"]["0"]`.

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

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        if "forward" in vars(cls):
            misuse.check_forward(cls)

    def forward(self, run: "Run", x: Any) -> Any:
        """The body: call children with `run("name", x)` and combine their outputs."""
        raise NotImplementedError(f"{type(self).__name__} does not define forward")

    def children(self) -> dict[str, Layer]:
        return {n: _child(n, v) for n, v in fields(self).items() if _is_child(v)}

    def with_child(self, name: str, layer: Layer) -> Layer:
        if name not in self.children():
            raise KeyError(unknown_child(self, name))
        return dataclasses.replace(self, **{name: _field(layer)})  # type: ignore

    def init(self, key, x):
        check_key(key, f"{type(self).__name__}.init")
        params, state, calls = {}, {}, {}
        for call in trace(self, x):
            calls.setdefault(call.path, call)
        for path, call in calls.items():
            for tree, part in zip((params, state), _init_at(call, key), strict=True):
                if part:
                    replace(tree, path, part)
        return params, state

    def apply(self, params, state, x, *, key=None, train=False):
        run = Run(self, params, state, key, train)
        return run.forward(x), run.state


class Group(Composite):
    """The layers in one field of a composite: a tuple, a list or a dict of layers."""

    members: Any

    def children(self):
        is_dict = isinstance(self.members, dict)
        pairs = self.members.items() if is_dict else enumerate(self.members)
        return {str(name): _child(str(name), member) for name, member in pairs}

    def with_child(self, name, layer):
        members = {n: _field(c) for n, c in {**self.children(), name: layer}.items()}
        kind = type(self.members)
        return Group(members if kind is dict else kind(members.values()))

    def forward(self, run, x):
        names = ", ".join(f'run(".../{name}", x)' for name in self.children())
        raise TypeError(f"Group: layers in a field are called one by one: {names}")


def _is_child(value: Any) -> bool:
    """Whether a field's value is a layer, a function, or a group of them."""
    if type(value) in (tuple, list, dict):
        members = value.values() if isinstance(value, dict) else value
        return bool(members) and all(map(_is_child, members))
    return isinstance(value, Layer) or callable(value)


def _field(layer: Layer) -> Any:
    """A child as its field holds it."""
    if isinstance(layer, Function):
        return layer.function
    return layer.members if isinstance(layer, Group) else layer


def _child(name: str, value: Any) -> Layer:
    return Group(value) if type(value) in (tuple, list, dict) else as_layer(value, name)


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
        self._passing = Passing(layer)

    if not TYPE_CHECKING:

        def __getattr__(self, name: str) -> NoReturn:
            raise misuse.run_lacks(self.__dict__.get("_layer"), name)

    def forward(self, x: Any) -> Any:
        """Call the layer's `forward`; inputs with lengths give outputs with lengths."""
        layer: Any = self._layer
        passing = self._passing = Passing(layer, as_pair(x))
        with misuse.own_params(layer, self.params):
            y = passing.with_lengths(layer.forward(self, passing.entered()))
        return y if isinstance(x, Steps) else plain(y)

    def __call__(self, name: str, x: Any = None) -> Any:
        """Call child `name` on `x` and keep its new state."""
        if not isinstance(name, str):
            raise misuse.run_without_name(self._layer, name)
        return self.part(name, self.child(name), x)

    def part(self, name: str, child: Layer, x: Any) -> Any:
        """Call a child, perhaps in a wrapper, on `x` and keep its new state."""
        x = self._passing.with_lengths(as_pair(x))
        with place(name, child, x), jax.named_scope(name):
            y = self._call(name, child, handed(child, x))
        return self._passing.received(regained(child, x, y))

    def whole(self, net: Layer, x: Any, key: Key | None) -> Any:
        """Call a network that has the layer's own children, params and state."""
        own, self.key = self.key, key
        y = self._call("", net, x)
        self.key = own
        return y

    def child(self, name: str) -> Layer:
        """The child with this name, or at this path through groups."""
        children, found = self._children, None
        for part in name.split("/"):
            found = children.get(part)
            children = found.children() if isinstance(found, Group) else {}
        if found is None:
            raise KeyError(unknown_child(self._layer, name))
        return found

    def _call(self, name: str, child: Layer, x: Any) -> Any:
        params, state = get(self.params, name), get(self.state, name)
        key = self._child_key(name, child)
        made = child.apply(params, state, x, key=key, train=self.train)
        y, state = _pair(child, "apply", made)
        if state:
            replace(self.state, name, state)
        return y

    def _child_key(self, name: str, child: Layer) -> Key | None:
        """A key derived from the child's name and the number of its earlier calls."""
        count = self._counts[name] = self._counts.get(name, 0) + 1
        if self.key is None or isinstance(child, Function):
            return None
        if not name and count == 1:  # the whole network
            return self.key
        return fold_in(self.key, name if count == 1 else f"{name}#{count}")


class Call(NamedTuple):
    """One call of a layer as `trace` recorded it, with shapes in place of arrays."""

    path: str
    layer: Layer
    x: Any
    y: Any
    params: Params
    state: State  # before the call
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
                inside = self._calls, self._values, path and f"{path}/"
                self._plans[name] = _Plan(child, self.key, *inside)  # type: ignore
            replace(self.params, name, self._plans[name].params)
            return self._plans[name].forward(x)
        if first:
            key = fold_in(self.key, f"init {name}")  # type: ignore[arg-type]
            params, state = _pair(child, "init", child.init(key, x))
            replace(self.params, name, params)
            replace(self.state, name, state)
        own = get(self.params, name), get(self.state, name)
        y = super()._call(name, child, x)
        values = [self._values.number(plain(a)) for a in (x, y)]
        x, after, (params, state) = abstract((x, plain(y), own))
        call = Call(path, child, x, after, params, state, first, *values)
        self._calls.append(call)
        return y


def trace(net: Layer, x: Any) -> list[Call]:
    """Every call of a layer in one training pass, traced without computing it."""
    calls: list[Call] = []
    net = net if isinstance(net, Composite) else _Only(as_layer(net, "trace"))

    def forward(key, x):
        _Plan(net, key, calls, _Values()).forward(x)

    with tracing():
        jax.eval_shape(forward, jax.eval_shape(lambda: jax.random.key(0)), x)
    return calls


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
    for name in filter(None, call.path.split("/")):
        key = fold_in(key, name)
    with place(call.path, call.layer, call.x):
        return call.layer.init(key, call.x)


def _pair(layer: Layer, function: str, made: Any) -> tuple[Any, Any]:
    """What `init` or `apply` returned, after checking that it is two things."""
    # (A tapped layer's state is a tuple that holds its own; see surgery.py.)
    if type(made) is tuple and len(made) == 2 and isinstance(made[1], Mapping | tuple):
        return made
    gives = "(params, state)" if function == "init" else "(y, state)"
    raise TypeError(
        f"{type(layer).__name__}: {function} must return two things, {gives}, the "
        f"state being a dict ({{}} for none), got {describe(made):.100}"
    )


def place(name: str, layer: Layer, x: Any) -> Placed:
    """Adds the layer's path to an exception raised inside a `with` block."""
    return Placed(name, functools.partial(written, layer), x)
