"""Draw `docs/architecture.png` from the imports: `python docs/architecture.py`.

A room is a file or a folder of `jaxnn/`; `tests/test_imports.py` lists the floors. An
arrow is left out where a path over other rooms implies it.
"""

import sys
from pathlib import Path

from matplotlib.figure import Figure

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE.parent), str(HERE.parent / "tests")]

from test_imports import ENTRANCE, FLOOR, ROOT, imports  # noqa: E402

COLORS = "#56B4E9 #009E73 #E69F00 #F0E442 #CC79A7 #0072B2 #D55E00".split()


def rooms() -> dict[str, set[str]]:
    """From each room to those it imports."""
    found: dict[str, set[str]] = {}
    for path in sorted(ROOT.rglob("*.py")):
        room = path.relative_to(ROOT).with_suffix("").parts[0]
        if room not in ENTRANCE:
            found.setdefault(room, set()).update(imports(path) & set(FLOOR) - {room})
    return found


def without_implied(below: dict[str, set[str]]) -> list[tuple[str, str]]:
    """The arrows that no path over other rooms implies."""

    def reach(room):
        return below[room].union(*map(reach, below[room]))

    return [
        (room, other)
        for room in below
        for other in below[room]
        if not any(other in reach(between) for between in below[room])
    ]


def place(below: dict[str, set[str]]) -> dict[str, float]:
    """Where each room stands on its floor: near the rooms it imports."""
    across: dict[str, float] = {}
    for number in range(1, max(FLOOR.values()) + 1):
        own = [room for room in below if FLOOR[room] == number]

        def middle(room):
            near = [across[r] for r in below[room] if FLOOR[r] == FLOOR[room] - 1]
            return sum(near) / len(near) if near else 0.5

        for i, room in enumerate(sorted(own, key=middle)):
            across[room] = (i + 0.5) / len(own)
    return across


def main() -> None:
    below = rooms()
    across = place(below)
    figure = Figure(figsize=(11, 8), layout="constrained")
    axes = figure.subplots()
    boxes = {}
    for room in below:
        number = FLOOR[room]
        name = f"{room}/" if (ROOT / room).is_dir() else room
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
        ends = [(across[r], FLOOR[r]) for r in (room, other)]
        axes.annotate("", xy=ends[1], xytext=ends[0], arrowprops=style, zorder=1)
    top = max(FLOOR.values())
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
