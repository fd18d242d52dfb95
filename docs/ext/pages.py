# SPDX-License-Identifier: Apache-2.0
"""The pages for readers of the repository, as pages of the site."""

import itertools
import json
import re
from pathlib import Path
from typing import Any

from ext.api import replace
from ext.pictures import PICTURES

DOCS = Path(__file__).parents[1]
ROOT = DOCS.parent

#: Pages whose Python is not run by the site: it needs data sets, weights or packages
#: that a build does without. `tests/test_readme.py` runs it.
NOT_RUN = {"convolution", "ecosystem", "recipe", "sequences", "xla_cpu_ynn_reduce"}

#: Whose programs stand beside ours, in the order of a page's blocks.
BESIDE = {
    "from_keras": ("Keras",),
    "from_pytorch": ("PyTorch",),
    "from_flax": ("Flax NNX", "Equinox"),
}

#: What makes a page of Markdown a notebook.
NOTEBOOK = """---
file_format: mystnb
hide-toc: {wide}
kernelspec:
  name: python3
  display_name: Python 3
---
"""
#: The cells that a reader of the site does without.
HIDDEN = ("install", "import-text", "mctx")


def chapters() -> list[Path]:
    """The notebooks of the course, in order."""
    return sorted((ROOT / "notebooks").glob("*.ipynb"))


def copy_chapters(folder: Path) -> None:
    """Copy the notebooks, without what only Jupyter needs."""
    folder.mkdir(exist_ok=True)
    kept = {path.name for path in chapters()}
    for old in folder.glob("*.ipynb"):
        if old.name not in kept:
            old.unlink()
    for path in chapters():
        notebook = json.loads(path.read_text("utf8"))
        notebook["cells"] = [c for c in notebook["cells"] if c["id"] not in HIDDEN]
        replace(folder / path.name, json.dumps(notebook, indent=1, ensure_ascii=False))


def examples() -> dict[str, str]:
    """Each example and what `docs/examples.md` says of it."""
    page = (DOCS / "examples.md").read_text("utf8")
    return dict(re.findall(r"^\| \[(\w+)\.py\]\([^)]*\) \| (.*) \|$", page, re.M))


def write_examples(folder: Path) -> None:
    """A page for each example: what it shows, its picture, its source."""
    folder.mkdir(exist_ok=True)
    found = examples()
    for old in folder.glob("*.md"):
        if old.stem not in found:
            old.unlink()
    for name, row in found.items():
        blocks = [f"# {name}.py", _sentence(row), _picture(name)]
        blocks.append(f"```bash\npython examples/{name}.py\n```")
        blocks.append(f"```{{literalinclude}} ../../examples/{name}.py\n```")
        replace(folder / f"{name}.md", "\n\n".join(filter(None, blocks)) + "\n")


def _sentence(row: str) -> str:
    return row[0].upper() + row[1:] + ("" if row.endswith((".", "?")) else ".")


def _picture(name: str) -> str:
    if name not in PICTURES:
        return ""
    caption = PICTURES[name].caption
    return f":::{{figure}} ../pictures/{name}.webp\n:alt: {caption}\n\n{caption}\n:::"


def gallery() -> str:
    """The examples as cards, those with a picture first."""
    names = sorted(examples(), key=lambda name: name not in PICTURES)
    grid = ["::::{grid} 1 2 3 3", ":gutter: 3", *map(_card, names), "::::"]
    contents = ["", "```{toctree}", ":hidden:", ":glob:", "", "gallery/*", "```"]
    return "\n".join(grid + contents)


def _card(name: str) -> str:
    head = [
        f":::{{grid-item-card}} {name}.py",
        f":link: gallery/{name}",
        ":link-type: doc",
    ]
    if name in PICTURES:
        head += [
            f":img-top: pictures/{name}.webp",
            f":img-alt: {PICTURES[name].caption}",
        ]
    return "\n".join([*head, "", _sentence(examples()[name]), ":::"])


def read(app: Any, page: str, source: list[str]) -> None:
    """Called by Sphinx with the text of a page, which it may change."""
    path = Path(app.env.doc2path(page))
    if path.suffix != ".md":
        return
    text = source[0]
    if page == "examples":
        table = re.search(r"^\| script .*?(?=^$)", text, re.M | re.S)
        assert table, "docs/examples.md has no table any more"
        text = text.replace(table[0], gallery() + "\n")
    text = re.sub(r"\[([^\]]*)\]\(\.\./([^)#]*)(?:#[^)]*)?\)", _link, text)
    if "```python" in text and "/" not in page and page not in NOT_RUN:
        head = NOTEBOOK.format(wide=str(page in BESIDE).lower())
        text = head + text.replace("```python", "```{code-cell} python")
    names = itertools.cycle(BESIDE.get(page, ("",)))
    source[0] = re.sub("^```py$", lambda _: _captioned(next(names)), text, flags=re.M)


def _captioned(name: str) -> str:
    return "```{code-block} python" + f"\n:caption: {name}" * bool(name)


def _link(match: Any) -> str:
    """A link out of `docs/`, to the page that the site has of it; else its words."""
    words, inside = match.groups()
    if found := re.fullmatch(r"examples/(\w+)\.py", inside):
        return f"[{words}](gallery/{found[1]}.md)"
    if found := re.fullmatch(r"notebooks/(\w+\.ipynb)", inside):
        return f"[{words}](learn/{found[1]})"
    return words


def setup(app: Any) -> None:
    """Called by Sphinx."""
    app.connect("source-read", read)
