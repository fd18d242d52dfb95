# SPDX-License-Identifier: Apache-2.0
"""The site: `sphinx-build -W docs docs/_build/html` makes it, without a network."""

import hashlib
import os
import shutil
import sys
from pathlib import Path

DOCS = Path(__file__).parent
ROOT = DOCS.parent
sys.path[:0] = [str(ROOT), str(DOCS)]

from ext import api, pages  # noqa: E402

import jaxnn  # noqa: E402

project = "jaxnn"
author = "the authors of jaxnn"
project_copyright = author
version = release = jaxnn.__version__
language = "en"
smartquotes = False  # "SAME" is a string

extensions = [
    "myst_nb",
    "sphinx_copybutton",
    "sphinx_design",
    "sphinx.ext.viewcode",
    "ext.index",
    "ext.links",
    "ext.mathml",
    "ext.pages",
]
exclude_patterns = ["_build", "README.md"]
nitpicky = True

# What is made of the sources: it changes only where they do.
api.write(DOCS / "api")
pages.copy_chapters(DOCS / "learn")
pages.write_examples(DOCS / "gallery")

myst_enable_extensions = ["colon_fence", "dollarmath"]
myst_heading_anchors = 3

# Notebooks and the Python of the pages run once, and again when the library changes.
_library = sorted((ROOT / "jaxnn").rglob("*.py"))
_digest = hashlib.sha256(b"".join(path.read_bytes() for path in _library)).hexdigest()
_cache = DOCS / "_build" / f"notebooks-{_digest[:12]}"
for _old in (DOCS / "_build").glob("notebooks-*"):
    if _old != _cache:
        shutil.rmtree(_old)
nb_execution_mode = "cache"
nb_execution_cache_path = str(_cache)
nb_execution_in_temp = True
nb_execution_timeout = 1800  # a busy machine
nb_execution_raise_on_error = True
nb_execution_show_tb = True
nb_merge_streams = True
nb_scroll_outputs = True
nb_code_prompt_show = "Solution"
nb_code_prompt_hide = "Hide the solution"

# Nothing is downloaded, and nothing of this machine's data is shown.
os.environ.pop("JAXNN_DATA", None)
os.environ["XDG_CACHE_HOME"] = os.environ["LOCALAPPDATA"] = str(
    DOCS / "_build" / "data"
)
os.environ["http_proxy"] = os.environ["https_proxy"] = "http://127.0.0.1:9"
os.environ["PYTHONPATH"] = os.pathsep.join(
    [str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
)
# (of the compiler and of multiprocessing, not of what a page shows)
os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"

html_theme = "furo"
html_title = f"jaxnn {version}"
html_static_path = ["static"]
html_css_files = ["site.css"]
html_js_files = ["search.js"]
html_favicon = "static/icon.svg"
html_math_renderer = "mathml"
html_show_sphinx = False
html_copy_source = False
html_theme_options = {
    "light_css_variables": {
        "color-brand-primary": "#0b6e99",
        "color-brand-content": "#0b6e99",
    },
    "dark_css_variables": {
        "color-brand-primary": "#58b8e0",
        "color-brand-content": "#58b8e0",
    },
    "navigation_with_keys": True,
}
pygments_style = "friendly"
toc_object_entries_show_parents = "hide"
python_maximum_signature_line_length = 88
copybutton_prompt_text = r">>> |\.\.\. "
copybutton_prompt_is_regexp = True
viewcode_line_numbers = False
