# SPDX-License-Identifier: Apache-2.0
"""Names in the text that lead to their place in the API."""

import inspect
import re
from typing import Any

from docutils import nodes
from sphinx.addnodes import desc_addname, desc_signature
from sphinx.application import Sphinx
from sphinx.util.nodes import make_refnode

from ext import api

#: The page on which every name in backticks is a name of the library.
ALL_NAMES = "library"


def _note_aliases(app: Sphinx, document: Any) -> None:
    """The other names of an object are in the index of objects too."""
    domain = app.env.domains["py"]
    others = api.aliases()
    for node in document.findall(desc_signature):
        for alias in others.get(_full(node), ()):
            domain.note_object(f"jaxnn.{alias}", "function", node["ids"][0], True, node)


def _full(node: Any) -> str:
    return ".".join([*node.get("module", "").split(".")[1:], node.get("fullname", "")])


def _shorten(app: Sphinx, document: Any) -> None:
    """`nn.losses.huber`, as one writes it."""
    for node in document.findall(desc_addname):
        if node.astext().startswith("jaxnn."):
            text = node.astext().replace("jaxnn", "nn", 1)
            node.clear()
            node += nodes.Text(text)


def _link(app: Sphinx, document: Any, page: str) -> None:
    objects = app.env.domains["py"].objects
    for row in document.findall(nodes.row if page == ALL_NAMES else nodes.document):
        module = ""
        for literal in list(row.findall(nodes.literal)):
            text = literal.astext()
            if page == ALL_NAMES and (name := text.removeprefix("nn.")) in _modules():
                module = f"{name}."
            target = _target(text, module if page == ALL_NAMES else None, objects)
            if target and not _inside(literal):
                entry = objects[target]
                place = app.builder, page, entry.docname, entry.node_id
                literal.replace_self(make_refnode(*place, literal.deepcopy(), target))


def _target(text: str, module: str | None, objects: Any) -> str:
    """The object that a text such as `nn.fit(...)` names, if any."""
    match = re.match(r"(?:jax)?nn\.([A-Za-z_][\w.]*)", text)
    if match:
        names = [match[1]]
    elif module is not None and re.fullmatch(r"[A-Za-z_][\w.]*", text):
        names = [module + text, text]
    else:
        return ""
    return next((f"jaxnn.{n}" for n in names if f"jaxnn.{n}" in objects), "")


def _modules() -> set[str]:
    return {page.module for page in api.PAGES} | {
        name for name in dir(api.nn) if inspect.ismodule(getattr(api.nn, name))
    }


def _inside(node: Any) -> bool:
    """Whether a literal is in a link, a heading or a signature already."""
    kinds = nodes.reference, nodes.title, desc_signature
    while node is not None:
        if isinstance(node, kinds):
            return True
        node = node.parent
    return False


def setup(app: Sphinx) -> dict[str, bool]:
    """Called by Sphinx."""
    app.connect("doctree-read", _note_aliases)
    app.connect("doctree-read", _shorten)
    app.connect("doctree-resolved", _link)
    return {"parallel_read_safe": False}
