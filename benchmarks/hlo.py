# SPDX-License-Identifier: Apache-2.0
"""What a compiled program does on one device, counted from its text.

XLA's own count, `compiled.cost_analysis()`, takes the body of a loop once, however
often it runs, so that of an LSTM it sees a single time step. Here each instruction
counts as often as the loops around it turn.
"""

import math
import re
from collections.abc import Iterator
from typing import NamedTuple

COLLECTIVES = (
    *("all-reduce", "all-gather", "reduce-scatter"),
    *("all-to-all", "collective-permute"),
)
#: One operation for each number of the result.
ELEMENTWISE = frozenset(
    "add subtract multiply divide maximum minimum negate power sqrt rsqrt tanh "
    "exponential exponential-minus-one log log-plus-one logistic sine cosine".split()
)
BYTES = {"pred": 1, "s8": 1, "u8": 1, "bf16": 2, "f16": 2, "s64": 8, "u64": 8, "f64": 8}

_COMPUTATION = re.compile(r"(ENTRY )?%(\S+) \(.*\{$")
_INSTRUCTION = re.compile(r"\s+(?:ROOT )?%(\S+) = (\(.*?\)|\S+) ([\w-]+)\((.*)$")
_ARRAY = re.compile(r"(\w+)\[([\d,]*)\]")

Shape = tuple[int, ...]


class Instruction(NamedTuple):
    """One instruction, and how often a call of the program runs it."""

    kind: str
    arrays: list[tuple[str, Shape]]  # dtypes and shapes of the results
    operands: list[Shape]  # of the first array of each
    text: str  # what stands behind the opening parenthesis
    times: int

    @property
    def bytes(self) -> int:
        """The size of the results."""
        return sum(BYTES.get(d, 4) * math.prod(shape) for d, shape in self.arrays)

    @property
    def flops(self) -> int:
        """Its floating-point operations."""
        dtype, shape = self.arrays[0] if self.arrays else ("", ())
        if not dtype.startswith(("f", "bf")):
            return 0
        if self.kind == "dot":
            axes = _ints(r"lhs_contracting_dims=\{([\d,]*)\}", self.text)
            return 2 * math.prod(shape) * math.prod(self.operands[0][i] for i in axes)
        if self.kind == "convolution":
            kernel = self.operands[1]
            labels = re.search(r"dim_labels=\w+_(\w+)->", self.text)
            assert labels is not None
            outputs = kernel[labels[1].index("o")]
            return 2 * math.prod(shape) * math.prod(kernel) // outputs
        if self.kind == "reduce":
            return math.prod(self.operands[0])
        return math.prod(shape) if self.kind in ELEMENTWISE else 0


def instructions(text: str) -> Iterator[Instruction]:
    """Every instruction that a program runs, inside fusions and loops too.

    Args:
        text: `compiled.as_text()`.

    Raises:
        ValueError: a loop does not say how often it turns.
    """
    bodies, entry = _computations(text)

    def inside(name: str, times: int) -> Iterator[Instruction]:
        shapes = {}
        for own, arrays, kind, rest in bodies[name]:
            shapes[own] = arrays[0][1] if arrays else ()
            given = re.findall(r"%([\w.-]+)", rest.split(")")[0])
            operands = [shapes[a] for a in given if a in shapes]
            yield Instruction(kind, arrays, operands, rest, times)
            for called in re.findall(r"(?:calls|body)=%([\w.-]+)", rest):
                yield from inside(called, times * _turns(kind, rest))
            if kind == "call":
                (called,) = re.findall(r"to_apply=%([\w.-]+)", rest)
                yield from inside(called, times)

    yield from inside(entry, 1)


def flops(text: str) -> int:
    """The floating-point operations of one device."""
    return sum(i.times * i.flops for i in instructions(text))


def collectives(text: str) -> list[Instruction]:
    """The instructions by which devices exchange data."""
    return [i for i in instructions(text) if i.kind in COLLECTIVES]


def _computations(text: str) -> tuple[dict[str, list[tuple]], str]:
    """The instructions of each computation, and the name of the first to run."""
    bodies, entry, current = {}, "", ""
    for line in text.splitlines():
        head, found = _COMPUTATION.match(line), _INSTRUCTION.match(line)
        if head:
            current = head[2]
            bodies[current] = []
            entry = current if head[1] else entry
        elif found:
            name, result, kind, rest = found.groups()
            arrays = [(dtype, _shape(axes)) for dtype, axes in _ARRAY.findall(result)]
            bodies[current].append((name, arrays, kind, rest))
    return bodies, entry


def _turns(kind: str, rest: str) -> int:
    """How often a loop turns; 1 for what is no loop."""
    if kind != "while":
        return 1
    known = re.search(r'"known_trip_count":\{"n":"(\d+)"\}', rest)
    if known is None:
        raise ValueError(f"a loop does not say how often it turns: {rest:.200}")
    return int(known[1])


def _ints(pattern: str, text: str) -> Shape:
    found = re.search(pattern, text)
    return _shape(found[1]) if found else ()


def _shape(axes: str) -> Shape:
    return tuple(map(int, filter(None, axes.split(","))))
