# SPDX-License-Identifier: Apache-2.0
"""Small tables: aligned text for terminals, HTML for notebooks."""

from collections.abc import Iterable, Sequence

Rows = Iterable[Sequence[str]]


def text(rows: Rows, left: int = 0) -> str:
    """Rows of cells as aligned lines.

    Args:
        rows: the cells, equally many in each row.
        left: how many columns, from the first, are aligned to the left.

    >>> print(text([["epoch", "loss"], ["1", "0.25"]], left=1))
    epoch  loss
    1      0.25
    """
    rows = list(rows)
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]

    def line(row: Sequence[str]) -> str:
        cells = zip(row, widths, strict=True)
        aligned = (
            cell.ljust(width) if i < left else cell.rjust(width)
            for i, (cell, width) in enumerate(cells)
        )
        return "  ".join(aligned).rstrip()

    return "\n".join(map(line, rows))


def html(title: str, head: Sequence[str], rows: Rows, note: str = "") -> str:
    """Rows of cells as an HTML table, with all text escaped.

    Args:
        title: a line above it.
        head: the names of the columns.
        rows: the cells.
        note: a line below it.
    """
    from html import escape

    def line(cells: Sequence[str], tag: str) -> str:
        style = f'<{tag} style="text-align: left">'
        inside = "".join(f"{style}{escape(cell)}</{tag}>" for cell in cells)
        return f"<tr>{inside}</tr>"

    body = "".join(line(row, "td") for row in rows)
    return (
        f"<div><b>{escape(title)}</b>"
        f"<table><thead>{line(head, 'th')}</thead><tbody>{body}</tbody></table>"
        f"<small>{escape(note)}</small></div>"
    )


def memory(size: int) -> str:
    """A number of bytes in a fitting unit.

    >>> memory(60), memory(12_300), memory(1_100_000), memory(25_000_000_000)
    ('60 B', '12.3 kB', '1.1 MB', '25.0 GB')
    """
    for factor, unit in ((1e9, "GB"), (1e6, "MB"), (1e3, "kB")):
        if size >= factor:
            return f"{size / factor:.1f} {unit}"
    return f"{size} B"
