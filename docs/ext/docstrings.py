# SPDX-License-Identifier: Apache-2.0
"""A docstring of this library as Markdown."""

import ast
import re

_HEADS = "Args|Attributes|Returns|Raises|Examples?|References?|Source"
#: A section begins with one of these words, or with several: `Returns, Raises:`.
_HEAD = re.compile(rf"^((?:{_HEADS})\b[^:]{{0,40}}):(?: +(.*))?$")
#: The sections that list names, `name: what it is`.
_LISTS = ("Args", "Attributes", "Raises")
_ENTRY = re.compile(r"^(\*{0,2}[A-Za-z_][\w.]*(?:, \*{0,2}[A-Za-z_][\w.]*)*): +(.*)$")


def markdown(doc: str) -> str:
    """The text of a docstring, as `inspect.getdoc` gives it, in Markdown."""
    return "\n\n".join(block for block in _sections(doc.splitlines()) if block)


def _sections(lines: list[str]) -> list[str]:
    found, rest = [], list(lines)
    while rest:
        if head := _HEAD.match(rest[0]):
            rest = rest[1:]
            size = _indented(rest)
            body, rest = rest[:size], rest[size:]
            if not body and head[2]:  # a reference goes on without indentation
                size = _rest_of_paragraph(rest)
                body, rest = rest[:size], rest[size:]
            found.append(_section(head[1], head[2] or "", body))
        else:
            size = max(
                1, next((i for i, x in enumerate(rest) if _HEAD.match(x)), 10**9)
            )
            found += _paragraphs(rest[:size])
            rest = rest[size:]
    return found


def _indented(lines: list[str]) -> int:
    """How many lines from the first belong to an indented body."""
    for i, line in enumerate(lines):
        if line and not line.startswith(" "):
            return i
    return len(lines)


def _rest_of_paragraph(lines: list[str]) -> int:
    ends = (i for i, line in enumerate(lines) if not line.strip() or _HEAD.match(line))
    return next(ends, len(lines))


def _section(head: str, first: str, body: list[str]) -> str:
    body = _dedented(body)
    if head in _LISTS and not first:
        return f"**{head}**\n\n{_entries(body)}"
    inline = bool(first)
    blocks = _paragraphs([first, *body] if inline else body)
    if blocks and not blocks[0].startswith(("```", "|")):
        return "\n\n".join([f"**{head}**: {blocks[0]}", *blocks[1:]])
    return "\n\n".join([f"**{head}**", *blocks])


def _dedented(lines: list[str]) -> list[str]:
    depth = min((len(x) - len(x.lstrip()) for x in lines if x.strip()), default=0)
    return [line[depth:] for line in lines]


def _entries(lines: list[str]) -> str:
    """`name: text`, with more text indented below, as the items of a list."""
    items: list[list[str]] = []
    for line in lines:
        if (line and not line.startswith(" ")) or not items:
            items.append([])
        items[-1].append(line)
    return "\n".join(_entry(item) for item in items)


def _entry(lines: list[str]) -> str:
    match = _ENTRY.match(lines[0])
    name, first = match.groups() if match else ("", lines[0])
    names = ", ".join(f"`{part}`" for part in name.split(", ")) if name else ""
    blocks = _paragraphs([first, *_dedented(lines[1:])])
    blocks[0] = f"{names}: {blocks[0]}" if names else blocks[0]
    return "- " + "\n\n".join(blocks).replace("\n", "\n  ").rstrip()


def _paragraphs(lines: list[str]) -> list[str]:
    """Paragraphs, examples and tables, each a block of Markdown."""
    groups: list[list[str]] = [[]]
    for line in lines:
        starts = line.startswith(">>>") and not _is_example(groups[-1])
        if not line.strip() or starts:
            groups.append([])
        if line.strip():
            groups[-1].append(line)
    return [_block(group) for group in groups if group]


def _is_example(lines: list[str]) -> bool:
    return bool(lines) and lines[0].lstrip().startswith(">>>")


def _block(lines: list[str]) -> str:
    if _is_example(lines):
        return "\n".join(["```pycon", *_dedented(lines), "```"])
    if lines[0].startswith("==="):
        return _table(lines)
    if all(line.startswith("    ") for line in lines):
        return "\n".join([f"```{_language(lines)}", *_dedented(lines), "```"])
    return escaped(" ".join(line.strip() for line in lines))


def _language(lines: list[str]) -> str:
    """Python, or what only looks like code: a formula on lines of its own."""
    try:
        ast.parse("\n".join(_dedented(lines)))
    except SyntaxError:
        return "text"
    return "python"


def _table(lines: list[str]) -> str:
    """A simple table of reStructuredText."""
    rows = [re.split(r"  +", line.strip()) for line in lines if line[0] != "="]
    width = max(map(len, rows))
    cells = [
        [escaped(cell) for cell in row] + [""] * (width - len(row)) for row in rows
    ]
    rule = ["---"] * width
    return "\n".join(
        "| " + " | ".join(row) + " |" for row in [cells[0], rule, *cells[1:]]
    )


def escaped(text: str) -> str:
    """Prose in which only backticks mean something."""
    parts = re.split(r"(`[^`]*`)", text)
    parts[::2] = [re.sub(r"([\\*_$<\[{|#])", r"\\\1", part) for part in parts[::2]]
    return re.sub(r"^(\d+)\. ", r"\1\\. ", "".join(parts))
