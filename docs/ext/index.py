# SPDX-License-Identifier: Apache-2.0
"""Words of the index lead to the text they stand above, not to an empty mark.

Sphinx's search shows the text at the place of a result, and fails where there is none.
"""

from typing import Any

from docutils import nodes
from sphinx.addnodes import desc, desc_signature, index
from sphinx.application import Sphinx
from sphinx.transforms import SphinxTransform


class _LeadToText(SphinxTransform):
    default_priority = 840  # Sphinx collects the index at 850

    def apply(self, **_: Any) -> None:
        for words in self.document.findall(index):
            if words["entries"][0][2].startswith("index-"):  # those of `{index}`
                words["entries"] = [
                    (kind, word, _place(words), main, key)
                    for kind, word, _, main, key in words["entries"]
                ]


def _place(node: Any) -> str:
    """The name of the API that comes next, else the page as a whole."""
    while isinstance(node, index | nodes.target):
        node = node.next_node(siblings=True, descend=False)
    if not isinstance(node, desc):
        return ""
    return next(node.findall(desc_signature))["ids"][0]


def setup(app: Sphinx) -> dict[str, bool]:
    """Called by Sphinx."""
    app.add_transform(_LeadToText)
    return {"parallel_read_safe": True}
