# SPDX-License-Identifier: Apache-2.0
"""Files of `torch.save`: inspected first, then read by torch.

`weights_only=True` executes nothing, yet a few hundred bytes can keep it busy forever:
tuples of tuples that hold each other twice, or a compressed archive of zeros.  So what
the instructions of a pickle build is added up first, without building it.
"""

import pickletools
import re
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any, BinaryIO

LEGACY = b"\x80\x02\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19."  # start of older files
_PICKLES = 5  # in such a file: three of its version, the object, the storages' names
_DEEPEST = 100  # containers within containers; a checkpoint of optimizers has about ten
_PARTS = 1_000_000  # allowed for any pickle, counted wherever they are referred to,
_PARTS_EACH = 1000  # and for each instruction; in a checkpoint each builds about twenty
_LETTERS = 64  # of a text that count as one part
_GROWS = ("APPEND", "APPENDS", "SETITEM", "SETITEMS", "ADDITEMS", "BUILD")


def import_torch(path: Path) -> Any:
    """Import torch, which is needed to read a file."""
    try:
        import torch  # pyright: ignore[reportMissingImports]
    except ImportError as error:
        raise ImportError(
            f"from_torch: reading {path.name} needs torch (pip install torch); or save "
            "the weights as a .safetensors file"
        ) from error
    return torch


class _Refusal(Exception):
    """Why a file is not loaded, and what to do."""


def read_pickled(path: Path) -> Any:
    """Read what `torch.save` wrote; raise a ValueError that says why if unusable."""
    torch = import_torch(path)
    try:
        for file in _pickles(path):
            _follow(file)
        return torch.load(path, map_location="cpu", weights_only=True)
    except _Refusal as error:
        raise ValueError(f"from_torch: {path} {error}") from error
    except Exception as error:  # a damaged file can end in any of them
        raise ValueError(
            f"from_torch: {path} {_reason(str(error))}; nothing in it was executed. "
            "Save model.state_dict() alone, or as safetensors; if it was downloaded, "
            "get it again"
        ) from error


def _reason(error: str) -> str:
    """Why torch refused a file."""
    if found := re.search(r"GLOBAL (\S+) was not an allowed global", error):
        return f"holds more than tensors ({found[1]})"
    return "holds more than tensors, or is damaged"


def _pickles(path: Path) -> Iterator[IO[bytes]]:
    """The pickles that torch will read, as open files."""
    with path.open("rb") as file:
        if file.read(2) == b"PK":
            yield from _zipped(path, file)
            return
        file.seek(0)
        if file.read(len(LEGACY)) != LEGACY:
            raise _Refusal(
                "is a pickle that torch.save did not write; nothing in it was "
                "executed. Save model.state_dict() by torch.save, or as safetensors"
            )
        file.seek(0)
        for _ in range(_PICKLES):
            yield file


def _zipped(path: Path, file: BinaryIO) -> Iterator[IO[bytes]]:
    from zipfile import ZIP_STORED, ZipFile

    with ZipFile(file) as archive:
        entries = archive.infolist()
        _check_kind(path, [entry.filename for entry in entries])
        packed = any(entry.compress_type != ZIP_STORED for entry in entries)
        if packed or sum(entry.file_size for entry in entries) > path.stat().st_size:
            raise _Refusal(
                "is compressed, which torch.save never does; save model.state_dict() "
                "again"
            )
        for entry in entries:
            if entry.filename.endswith(".pkl"):
                with archive.open(entry) as pickled:
                    yield pickled


def _check_kind(path: Path, names: list[str]) -> None:
    """Reject archives that torch.save did not write."""
    ends = {name.rpartition("/")[2] for name in names}
    if "constants.pkl" in ends:
        raise _Refusal(
            f"is a TorchScript archive; pass torch.jit.load({path.name!r}).state_dict()"
        )
    if any(name.endswith(".npy") for name in names):
        raise _Refusal(f"is a NumPy archive; pass dict(np.load({path.name!r}))")
    if "data.pkl" not in ends:
        raise _Refusal(
            "is a zip archive that torch.save did not write; pass a file of "
            "torch.save(model.state_dict(), path), or a .safetensors file"
        )


class _Part:
    """Something on a pickle's stack: how many parts it has, and how deep."""

    def __init__(self, size: int = 1, depth: int = 0):
        self.size, self.depth = size, depth

    def take(self, parts: list["_Part"]) -> None:
        """Add parts to its own."""
        self.size += sum(part.size for part in parts)
        self.depth = max([self.depth, *(part.depth + 1 for part in parts)])


def _follow(file: IO[bytes]) -> None:
    """Follow the instructions of a pickle; reject it if it builds more than it may.

    A list or dict in a tuple counts with its size at that time; what grows with each
    reference to it, hashes and copies, is made of tuples and texts, which never change.
    """
    stack: list[Any] = []
    marks: list[int] = []  # where in it
    memo: dict[Any, _Part] = {}
    work = 0
    for count, (op, argument, _) in enumerate(pickletools.genops(file)):
        if op.name in ("GET", "BINGET", "LONG_BINGET"):
            stack.append(memo[argument])
        elif op.name in ("PUT", "BINPUT", "LONG_BINPUT"):
            memo[argument] = stack[-1]
        elif op.name == "MEMOIZE":
            memo[len(memo)] = stack[-1]
        elif op.name == "MARK":
            marks.append(len(stack))
            stack.append(None)
        elif op.name == "DUP":
            stack.append(stack[-1])
        else:
            taken = _pop(stack, marks, op.stack_before)
            if op.name in _GROWS:
                made, taken = taken[0], taken[1:]
            else:
                text = len(argument) if isinstance(argument, str | bytes) else 0
                made = _Part(1 + text // _LETTERS)
            made.take(taken)
            if op.name == "REDUCE":  # some functions return their input twice
                made.take(taken)
            stack += [made] * len(op.stack_after)
            work += sum(part.size for part in taken)
            if made.depth > _DEEPEST or work > _PARTS + _PARTS_EACH * count:
                raise _Refusal(
                    "would build objects within objects without end: this is no "
                    "state_dict, and was not loaded"
                )


def _pop(stack: list[Any], marks: list[int], before: list[Any]) -> list[_Part]:
    """What an instruction takes from the stack, back to the mark where it says so."""
    above: list[_Part] = []
    count = len(before)
    if pickletools.markobject in before:
        at = marks.pop()
        above = stack[at + 1 :]
        del stack[at:]
        count = before.index(pickletools.markobject)
    start = len(stack) - count
    below = stack[start:]
    del stack[start:]
    if start < 0 or None in below or None in above:
        raise ValueError("the stack of the pickle is not as its instructions need it")
    return below + above
