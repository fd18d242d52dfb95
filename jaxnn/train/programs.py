# SPDX-License-Identifier: Apache-2.0
"""`jax.jit` for the library's own programs: checked, and bounded in memory."""

import functools
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.core import Tracer

from jaxnn.xla import guard

#: How many sets of static arguments a program stays compiled for, the latest used.
#: Otherwise, creating a new loss for every call would fill the memory, 4 MB per call.
KEPT = 32


class Program:
    """A function compiled once for each set of static arguments and shapes.

    It differs from `jax.jit` in two ways: the least recently used programs are dropped,
    and on a CPU the compiled text is searched for reductions that XLA gets wrong (see
    `xla/guard.py`). Inside another program it is the plain function.

    Args:
        function: positional arguments are arrays, keyword arguments static.
        donate: the positions of arguments whose buffers the program may reuse.

    >>> scaled = Program(lambda x, *, scale: x * scale)
    >>> scaled(jnp.ones(2), scale=3.0).tolist()
    [3.0, 3.0]
    """

    def __init__(self, function: Callable[..., Any], donate: tuple[int, ...] = ()):
        functools.update_wrapper(self, function)
        self.function, self.donate = function, donate
        self._versions = functools.lru_cache(KEPT)(self._make)

    def __call__(self, *args: Any, **static: Any) -> Any:
        inside = isinstance(jnp.zeros(()), Tracer)
        if inside or any(isinstance(leaf, Tracer) for leaf in jax.tree.leaves(args)):
            return self.function(*args, **static)
        return self.prepare(*args, **static).call(*args)

    def prepare(
        self,
        *args: Any,
        on: Callable[[str], AbstractContextManager] = nullcontext,
        **static: Any,
    ) -> "Prepared":
        """Trace and compile for these arguments if needed; return what to call.

        Args:
            args, static: as for a call.
            on: a context manager for "trace" and "compile", such as a clock's.
        """
        return self._versions(**static).right_one(args, on)

    def _make(self, **static: Any) -> "_Versions":
        return _Versions(self.function, self.donate, static)


def program(**options: Any) -> Callable[[Callable[..., Any]], Program]:
    """A decorator that makes a function a `Program`."""
    return lambda function: Program(function, **options)


def compiled_right(lowered: Any) -> Any:
    """Compile what `jax.jit(...).lower(...)` returned, avoiding XLA's wrong code."""
    if not guard.is_needed():
        return lowered.compile()
    compiled = lowered.compile(guard.FAST)
    wrong = guard.is_wrong(compiled.as_text())
    return lowered.compile(guard.SAFE) if wrong else compiled


class Prepared(NamedTuple):
    """A function compiled for given arguments."""

    call: Callable[..., Any]
    memory: int  # bytes a device: arguments, results and temporaries; 0 if unknown


class _Versions:
    """A function with its static arguments: fast, and a safe version if needed."""

    def __init__(self, function: Callable[..., Any], donate: tuple, static: dict):
        guarded = guard.is_needed()
        self.fast = _jit(function, donate, static, guard.FAST if guarded else None)
        self.safe = _jit(function, donate, static, guard.SAFE) if guarded else None
        self._chosen: dict[Any, tuple[Any, Prepared]] = {}

    def right_one(self, args: tuple, on: Callable) -> Prepared:
        """The version for these arguments, compiled."""
        with on("trace"):
            traced = self.fast.trace(*args)
        # (jit caches its trace: the same object for the same shapes. What is compiled
        # for it also depends on where the arrays are.)
        places = (getattr(a, "sharding", None) for a in jax.tree.leaves(args))
        key = (id(traced.jaxpr), *places)
        if key not in self._chosen:
            self._chosen[key] = traced.jaxpr, self._choose(traced, args, on)
        return self._chosen[key][1]

    def _choose(self, traced: Any, args: tuple, on: Callable) -> Prepared:
        compiled = _compile(traced, on)
        if self.safe is None or not guard.is_wrong(compiled.as_text()):
            return Prepared(self.fast, _memory(compiled))
        with on("trace"):
            traced = self.safe.trace(*args)
        return Prepared(self.safe, _memory(_compile(traced, on)))


def _memory(compiled: Any) -> int:
    """The bytes that a compiled program takes on a device, 0 where XLA does not say."""
    found = compiled.memory_analysis()
    if found is None:
        return 0
    results = found.output_size_in_bytes - found.alias_size_in_bytes
    return found.argument_size_in_bytes + results + found.temp_size_in_bytes


def _jit(function, donate, static, options) -> Any:
    """A separate jit, whose compiled programs are freed with it."""
    bound = functools.update_wrapper(functools.partial(function, **static), function)
    return jax.jit(bound, donate_argnums=donate, compiler_options=options)


def _compile(traced: Any, on: Callable) -> Any:
    with on("trace"):
        lowered = traced.lower()
    with on("compile"):
        return lowered.compile()
