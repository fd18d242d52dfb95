"""Draw `docs/architecture.png` from the imports: `python docs/architecture.py`.

A room is a file or a folder of `jaxnn/`; it stands on the highest room that it imports.
Of the arrows only those are drawn that no longer way implies.
"""

import ast
from collections.abc import Iterator
from pathlib import Path

from matplotlib.figure import Figure

HERE = Path(__file__).parent
PACKAGE = HERE.parent / "jaxnn"
COLORS = "#56B4E9 #009E73 #E69F00 #F0E442 #CC79A7 #0072B2 #D55E00".split()


def imported(tree: ast.AST) -> Iterator[str]:
    """The rooms that a file imports, lazily too; not those for type checkers."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            continue
        if isinstance(node, ast.ImportFrom) and (node.module or "") == "jaxnn":
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module.startswith("jaxnn."):
            yield node.module.split(".")[1]
        yield from imported(node)


def rooms() -> dict[str, set[str]]:
    """From each room to those it imports."""
    found: dict[str, set[str]] = {}
    for path in sorted(PACKAGE.rglob("*.py")):
        room = path.relative_to(PACKAGE).with_suffix("").parts[0]
        if room not in ("__init__", "moved"):
            tree = ast.parse(path.read_text("utf8"))
            found.setdefault(room, set()).update(set(imported(tree)) - {room})
    return {room: {r for r in below if r in found} for room, below in found.items()}


def floors(below: dict[str, set[str]]) -> dict[str, int]:
    """How high each room stands, from 1."""
    found: dict[str, int] = {}

    def floor(room):
        if room not in found:
            found[room] = 1 + max(map(floor, below[room]), default=0)
        return found[room]

    for room in below:
        floor(room)
    return found


def without_implied(below: dict[str, set[str]]) -> list[tuple[str, str]]:
    """The arrows that no way over other rooms implies."""

    def reach(room):
        return below[room].union(*map(reach, below[room]))

    return [
        (room, other)
        for room in below
        for other in below[room]
        if not any(other in reach(between) for between in below[room])
    ]


def place(below: dict[str, set[str]], height: dict[str, int]) -> dict[str, float]:
    """Where each room stands on its floor: near the rooms it imports."""
    across: dict[str, float] = {}
    for number in range(1, max(height.values()) + 1):
        own = [room for room in below if height[room] == number]

        def middle(room):
            near = [across[r] for r in below[room] if height[r] == height[room] - 1]
            return sum(near) / len(near) if near else 0.5

        for i, room in enumerate(sorted(own, key=middle)):
            across[room] = (i + 0.5) / len(own)
    return across


def main() -> None:
    below = rooms()
    height = floors(below)
    across = place(below, height)
    figure = Figure(figsize=(11, 8), layout="constrained")
    axes = figure.subplots()
    boxes = {}
    for room, number in height.items():
        name = f"{room}/" if (PACKAGE / room).is_dir() else room
        color = COLORS[(number - 1) % len(COLORS)]
        look = {"boxstyle": "round,pad=0.5", "fc": "white", "ec": color, "lw": 2}
        spot = across[room], number
        text = axes.text(
            *spot, name, ha="center", va="center", bbox=look, size=12, zorder=3
        )
        boxes[room] = text.get_bbox_patch()
    for room, other in without_implied(below):
        style = {"arrowstyle": "-|>", "color": "0.6", "shrinkA": 0, "shrinkB": 1}
        style |= {"patchA": boxes[room], "patchB": boxes[other]}
        ends = [(across[r], height[r]) for r in (room, other)]
        axes.annotate("", xy=ends[1], xytext=ends[0], arrowprops=style, zorder=1)
    top = max(height.values())
    axes.set(xlim=(0, 1), ylim=(0.5, top + 0.5), xticks=[])
    axes.set_yticks(range(1, top + 1), [f"floor {i}" for i in range(1, top + 1)])
    axes.spines[:].set_visible(False)
    axes.tick_params(length=0)
    axes.set_title("The rooms of jaxnn: a room imports from lower floors only")
    figure.savefig(HERE / "architecture.png", dpi=110)
    arrows = sum(map(len, below.values()))
    print(f"{len(below)} rooms on {top} floors, {arrows} imports between them")


if __name__ == "__main__":
    main()
