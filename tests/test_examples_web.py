# SPDX-License-Identifier: Apache-2.0
"""The page that reads drawn digits, in a real browser, against Python's onnxruntime.

The browser is that of `browser.py`; the runtime comes by `npm install` in
`examples/web`.
"""

import json

import numpy as np
import pytest
from browser import chromium, needed, served, wait
from example import drawn, load

import jaxnn as nn

web = load("web")
RUNTIME = web.PAGE / "node_modules" / "onnxruntime-web" / "dist"


def session(path):
    """onnxruntime's function from images to logits."""
    runtime = pytest.importorskip("onnxruntime")
    found = runtime.InferenceSession(path)
    name = found.get_inputs()[0].name
    return lambda images: found.run(None, {name: images})[0]


@pytest.mark.needs("mnist")
def test_the_kept_network_is_good_and_small():
    path = web.PAGE / "digits.onnx"
    assert path.stat().st_size < 400_000
    images, labels = nn.data.mnist()[1]
    wrong = (session(path)(images).argmax(-1) != labels).sum()
    assert wrong <= 70  # 99.3 % are right


@pytest.mark.slow
def test_web_in_small_mode(offline, tmp_path):
    pytest.importorskip("jax2onnx")
    result = web.main(["--small", "--epochs", "5", "--out", str(tmp_path)])
    assert result["accuracy"] > 0.85
    for name in ("augmented", "learning_curves", "predictions"):
        assert drawn(tmp_path / f"{name}.png")
    for name in ("index.html", "page.css", "page.js", "package.json"):
        assert (tmp_path / name).read_bytes() == (web.PAGE / name).read_bytes()
    (images, labels) = web.enlarged_digits()[1]
    logits = session(tmp_path / "digits.onnx")(images)
    accuracy = (logits.argmax(-1) == labels).mean()
    assert accuracy == pytest.approx(result["accuracy"], abs=0.01)


def test_npm_and_the_page_take_the_same_onnxruntime_web():
    package = json.loads((web.PAGE / "package.json").read_text("utf8"))
    version = package["dependencies"]["onnxruntime-web"]
    assert f'VERSION = "{version}"' in (web.PAGE / "page.js").read_text("utf8")


def test_enlarged_digits_have_the_border_of_mnists():
    for images, labels in web.enlarged_digits():
        assert images.shape == (len(labels), 28, 28, 1)
        assert 0.9 < images.max() <= 1 and images.min() == 0
        assert not images[:, :4].any() and not images[:, :, 24:].any()


# ---- in the browser ----


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    """The page in a browser, when its network is loaded."""
    needed()
    if not RUNTIME.is_dir():
        pytest.skip("needs onnxruntime-web: npm install, in examples/web")
    data = tmp_path_factory.mktemp("chromium")
    with served(web.PAGE) as address, chromium(data) as driver:
        driver.set_window_size(900, 800)
        driver.get(address)
        wait(driver, "return session !== null")
        yield driver


def put(driver, image):
    """MNIST's image `[28, 28, 1]` on the paper, ten times as large."""
    pixels = np.kron(np.round(255 * image[..., 0]), np.ones((10, 10)))
    driver.execute_script(
        "const image = new ImageData(280, 280);"
        "arguments[0].forEach((value, i) => (image.data[4 * i + 3] = value));"
        "ink.putImageData(image, 0, 0); read();",
        pixels.astype(int).ravel().tolist(),
    )
    wait(driver, "return !busy && !changed")


def seen(driver):
    """The image `[28, 28, 1]` that the page makes of the drawing."""
    values = driver.execute_script("return Array.from(likeMnist(drawing(), 280, 280))")
    return np.array(values, np.float32).reshape(28, 28, 1)


def shown(driver):
    """The answer on the page, and the percents of its bars."""
    answer = driver.execute_script("return $('answer').value")
    rows = "return [...document.querySelectorAll('.share')].map(e => e.textContent)"
    return answer, [float(text.split()[0]) for text in driver.execute_script(rows)]


def stroke(driver, *points):
    """A stroke of the mouse through points of the paper, from 0 to 1."""
    from selenium.webdriver.common.action_chains import ActionChains

    paper = driver.find_element("id", "paper")
    width, height = paper.size["width"], paper.size["height"]
    places = [(round((x - 0.5) * width), round((y - 0.5) * height)) for x, y in points]
    mouse = ActionChains(driver, duration=10)
    mouse.move_to_element_with_offset(paper, *places[0]).click_and_hold()
    for place in places[1:]:
        mouse.move_to_element_with_offset(paper, *place)
    mouse.release().perform()
    wait(driver, "return !busy && !changed")


@pytest.mark.slow
@pytest.mark.needs("mnist")
def test_the_page_reads_mnist_as_python_does(page):
    network = session(web.PAGE / "digits.onnx")
    images, labels = (array[:40] for array in nn.data.mnist()[1])
    right = 0
    for image, label in zip(images, labels, strict=True):
        put(page, image)
        found = seen(page)
        np.testing.assert_allclose(found, image, atol=0.003)  # made as MNIST's were
        powers = np.exp(network(found[None])[0])
        answer, percents = shown(page)
        np.testing.assert_allclose(percents, 100 * powers / powers.sum(), atol=0.06)
        assert answer == str(powers.argmax())
        right += answer == str(label)
    assert right >= 39


DRAWN = {
    "1": [[(0.5, 0.15), (0.5, 0.85)]],
    "7": [[(0.25, 0.2), (0.75, 0.2), (0.45, 0.85)]],
    "4": [[(0.35, 0.15), (0.25, 0.55), (0.75, 0.55)], [(0.65, 0.2), (0.65, 0.9)]],
    "0": [
        [
            (0.5 + 0.22 * np.sin(turn), 0.5 - 0.35 * np.cos(turn))
            for turn in np.linspace(0, 2 * np.pi, 17)
        ]
    ],
    "3": [
        [
            *((0.3, 0.2), (0.5, 0.12), (0.68, 0.25), (0.65, 0.4), (0.48, 0.47)),
            *((0.68, 0.55), (0.72, 0.72), (0.55, 0.86), (0.3, 0.8)),
        ]
    ],
}


@pytest.mark.slow
def test_the_page_reads_what_the_mouse_draws(page):
    for digit, strokes in DRAWN.items():
        page.find_element("id", "clear").click()
        wait(page, "return !busy && !changed")
        assert page.execute_script("return $('answer').value") == "\N{EN DASH}"
        for points in strokes:
            stroke(page, *points)
        answer, percents = shown(page)
        assert answer == digit and max(percents) == percents[int(digit)] > 50
        mass = seen(page)[..., 0]
        rows = (mass.sum(1) * np.arange(28)).sum() / mass.sum()
        columns = (mass.sum(0) * np.arange(28)).sum() / mass.sum()
        assert abs(rows - 14) <= 0.51 and abs(columns - 14) <= 0.51


@pytest.mark.slow
def test_a_drawing_is_read_wherever_and_however_large_it_is(page):
    """A half as large in a corner: the same image, but for its stroke."""
    for scale, corner in ((1, 0.0), (0.6, 0.35)):
        page.find_element("id", "clear").click()
        for points in DRAWN["7"]:
            stroke(page, *((corner + scale * x, corner + scale * y) for x, y in points))
        ink = np.argwhere(seen(page)[..., 0] > 0)
        assert (ink.max(0) - ink.min(0) + 1).max() == 20
        assert shown(page)[0] == "7"


@pytest.mark.slow
def test_the_page_says_when_it_has_no_runtime(page):
    page.execute_cdp_cmd("Network.enable", {})
    page.execute_cdp_cmd("Network.setBlockedURLs", {"urls": ["*onnxruntime-web*"]})
    try:
        page.refresh()
        wait(page, "return !$('status').textContent.startsWith('Loading')")
        said = page.find_element("id", "status").text
        assert "neither in node_modules nor can it be downloaded" in said
    finally:
        page.execute_cdp_cmd("Network.setBlockedURLs", {"urls": []})
        page.refresh()
        wait(page, "return session !== null")
