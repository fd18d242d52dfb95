# SPDX-License-Identifier: Apache-2.0
"""The site: every page is reached, every name is there, and search finds its page."""

import importlib
import json
import re
import subprocess
import sys
import urllib.parse
import zlib
from pathlib import Path

import jax
import pytest
from browser import chromium, served, wait

import jaxnn as nn

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
EXTRA = ("sphinx", "myst_nb", "furo", "sphinx_copybutton", "sphinx_design")
#: What one may search for, and what comes first.
FIRST = {
    "fit": "api/training.html#jaxnn.fit",
    "conv": "api/convolution.html#jaxnn.Conv",
    "resume": "resume.html",
    "GAN": "gan.html",
    "DataLoader": "big_data.html",
    "Linear": "api/dense.html#jaxnn.Dense",
    "ModelCheckpoint": "api/callbacks.html#jaxnn.callbacks.checkpoint",
}
#: A page of each kind.
PAGES = (
    *("index", "learn", "learn/03_first_network", "learn/09_generation", "gan"),
    *("errors", "examples", "gallery/digits", "library", "api/training"),
    *("genindex", "from_keras"),
)


@pytest.fixture
def ext(monkeypatch):
    """What the site is made by, as modules; those that need no Sphinx."""
    monkeypatch.syspath_prepend(str(DOCS))

    def module(name):
        return importlib.import_module(f"ext.{name}")

    return module


def contents(text):
    """The pages in the tables of contents of a page."""
    found = re.findall(r"^```\{toctree\}\n(.*?)^```$", text, re.M | re.S)
    lines = "\n".join(found).splitlines()
    return {line for line in lines if line and not line.startswith(":")}


def test_every_page_is_in_a_table_of_contents(ext):
    pages = {path.stem: path.read_text("utf8") for path in DOCS.glob("*.md")}
    listed = {name for text in pages.values() for name in contents(text)}
    api = {f"api/{page.slug}" for page in ext("api").PAGES}
    assert {name for name in listed if name.startswith("api/")} == api
    assert set(pages) - listed == {"README", "index"}
    assert {*listed} - {*pages} - api == {"learn/*"}


def test_every_chapter_is_on_the_page_of_the_course():
    page = (DOCS / "learn.md").read_text("utf8")
    named = re.findall(r"^\d+\. \[.*\]\(\.\./notebooks/(.*\.ipynb)\)", page, re.M)
    assert named == sorted(path.name for path in (ROOT / "notebooks").glob("*.ipynb"))


def test_every_example_is_in_the_gallery(ext):
    scripts = {path.stem for path in (ROOT / "examples").glob("*.py")}
    assert {*ext("pages").examples()} == scripts - {"pictures", "look_inside"}


def test_every_picture_of_the_gallery_is_there_and_small(ext):
    drawn = {path.stem: path.stat().st_size for path in DOCS.glob("pictures/*.webp")}
    assert {*drawn} == {*ext("pictures").PICTURES}
    assert max(drawn.values(), default=0) <= 60_000
    assert sum(drawn.values()) <= 2_000_000


def test_every_public_name_is_on_a_page(ext):
    pytest.importorskip("sklearn")  # its estimators have a page too
    api = ext("api")
    on_pages = [name for names in api.listed().values() for name in names]
    others = [alias for names in api.aliases().values() for alias in names]
    assert sorted(on_pages + others) == sorted(api.public_names())
    assert {"fit", "train.fit", "Dense", "losses.huber", "rl.dqn"} <= {
        *others,
        *on_pages,
    }


def test_a_name_that_no_page_lists_is_an_error(ext, monkeypatch):
    pytest.importorskip("sklearn")
    api = ext("api")
    pages = tuple(page for page in api.PAGES if page.slug != "schedules")
    monkeypatch.setattr(api, "PAGES", pages)
    with pytest.raises(ValueError, match=r"on no page: schedules\.inverse_sqrt"):
        api.listed()


def test_a_docstring_becomes_markdown(ext):
    text = ext("docstrings").markdown(
        "Add, `y = x * w`, at a * b.\n\nArgs:\n    x: numbers\n        `[N]`.\n"
        "Returns: [N].\nRaises: ValueError\n    always.\n\n>>> 1 + 1\n2"
    )
    assert text.split("\n\n") == [
        "Add, `y = x * w`, at a \\* b.",
        "**Args**",
        "- `x`: numbers `[N]`.",
        "**Returns**: \\[N].",
        "**Raises**: ValueError always.",
        "```pycon\n>>> 1 + 1\n2\n```",
    ]


OTHERS = {
    "from_keras": ("keras",),
    "from_pytorch": ("torch",),
    "from_flax": ("flax", "equinox", "orbax.checkpoint"),
}


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # what other libraries warn of is theirs
@pytest.mark.parametrize("page", OTHERS)
def test_the_programs_of_other_libraries_run(page, tmp_path, monkeypatch):
    for package in OTHERS[page]:
        pytest.importorskip(package)
    monkeypatch.setenv("KERAS_BACKEND", "jax")
    monkeypatch.chdir(tmp_path)
    text = (DOCS / f"{page}.md").read_text("utf8")
    first = re.search(r"^```python\n(.*?)^```$", text, re.M | re.S)
    assert first
    theirs = re.findall(r"^```py\n(.*?)^```$", text, re.M | re.S)
    names: dict = {}
    with jax.numpy_rank_promotion("allow"), jax.numpy_dtype_promotion("standard"):
        for block in (first[1], *theirs):
            exec(compile(block, page, "exec"), names)


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """The folder of the built site; what the notebooks gave is kept between builds."""
    for package in EXTRA:
        pytest.importorskip(package)
    out = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "sphinx", "-q", "-W", "--keep-going", "-E"]
    done = subprocess.run(
        [*command, str(DOCS), str(out)], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr[-4000:]
    return out


@pytest.mark.slow
def test_the_site_has_every_public_name(site, ext):
    written = (site / "objects.inv").read_bytes()
    lines = zlib.decompress(written.split(b"\n", 4)[4]).decode().splitlines()
    found = {line.split()[0] for line in lines}
    wanted = {f"jaxnn.{name}" for name in ext("api").public_names()}
    assert len(wanted) > 500
    assert wanted - found == set()


@pytest.mark.slow
def test_words_of_the_index_come_first_in_search(site):
    """Sphinx puts those that are not main last; each is of a page or of a name."""
    script = (site / "searchindex.js").read_text("utf8")
    index = json.loads(script.removeprefix("Search.setIndex(").removesuffix(")"))
    for word, page in FIRST.items():
        if word in ("fit", "conv"):
            continue  # names of the library need no word
        name, _, place = page.partition(".html#")
        name = name.removesuffix(".html")
        [(number, anchor, main)] = index["indexentries"][word.lower()]
        assert (index["docnames"][number], anchor, main) == (name, place, True), word


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    """Chromium, before anything is built for it."""
    with chromium(tmp_path_factory.mktemp("chromium")) as driver:
        yield driver


def said(driver):
    """What a page reported to the console since the last call."""
    return [m["message"] for m in driver.get_log("browser") if m["level"] == "SEVERE"]


@pytest.mark.slow
def test_search_finds_the_page_that_one_asks_for(browser, site):
    with served(site) as address:
        for word, page in FIRST.items():
            browser.get(f"{address}/search.html?q={word}")
            wait(browser, "return Search.status?.innerText")
            links = browser.find_elements("css selector", "#search-results li > a")
            found = [link.get_attribute("href") for link in links]
            assert found[0].removeprefix(f"{address}/") == page, word
            # Sphinx fetches the text of each result, and fails where there is none.
            texts = "#search-results li:not(.kind-object)"
            wait(
                browser,
                f"return [...document.querySelectorAll('{texts}')]"
                ".every(result => result.querySelector('p'))",
            )
            assert said(browser) == [], word


@pytest.mark.slow
def test_a_message_in_search_leads_to_the_page_of_errors(browser, site):
    with served(site) as address:
        message = "TypeError: fit: batch_size is needed to train on arrays, got None"
        browser.get(f"{address}/search.html?q={urllib.parse.quote(message)}")
        wait(browser, "return Search.status?.innerText")
        links = browser.find_elements("css selector", "#search-message a")
        found = [
            link.get_attribute("href").removeprefix(f"{address}/") for link in links
        ]
        assert found == ["errors.html", "search.html?q=fit"]
        assert said(browser) == []


@pytest.mark.slow
def test_no_page_reports_an_error(browser, site):
    with served(site) as address:
        for page in PAGES:
            browser.get(f"{address}/{page}.html")
            assert browser.find_element("css selector", "h1").text
            assert said(browser) == [], page


@pytest.mark.slow
def test_the_site_needs_no_network(site):
    """No page asks another machine for a script, a style, a font or a picture."""
    for path in site.rglob("*.html"):
        text = path.read_text("utf8")
        asked = re.findall(r"<(?:script|img|iframe)[^>]*src=\"(https?:[^\"]*)", text)
        asked += re.findall(r"<link[^>]*stylesheet[^>]*href=\"(https?:[^\"]*)", text)
        assert asked == [], path
    for path in site.rglob("*.css"):
        assert "url(http" not in path.read_text("utf8"), path


def test_the_version_is_the_package_s():
    assert "version = release = jaxnn.__version__" in (DOCS / "conf.py").read_text()
    assert re.fullmatch(r"\d+\.\d+\.\d+\S*", nn.__version__)
