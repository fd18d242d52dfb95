# SPDX-License-Identifier: Apache-2.0
"""A folder served on this machine, and Chromium without a window to look at it.

The browser is Chromium with its driver; `pip install selenium`.
"""

import http.server
import shutil
import threading
from contextlib import contextmanager
from functools import partial

import pytest

FLAGS = (
    *("headless", "no-sandbox", "disable-gpu", "disable-quic", "no-first-run"),
    *("disable-background-networking", "disable-component-update", "disable-sync"),
)


class _Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_):
        pass


@contextmanager
def served(folder):
    """The address of a folder, while it is served."""
    handler = partial(_Quiet, directory=folder)
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()


def needed():
    """Skip where there is no browser; else selenium's module of drivers."""
    selenium = pytest.importorskip("selenium.webdriver")
    if not (shutil.which("chromium") and shutil.which("chromedriver")):
        pytest.skip("needs chromium and chromedriver")
    return selenium


@contextmanager
def chromium(data):
    """A browser that keeps its data in a folder, and the messages of its console."""
    selenium = needed()
    options = selenium.ChromeOptions()
    options.binary_location = shutil.which("chromium")
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    for flag in (*FLAGS, f"user-data-dir={data}"):
        options.add_argument(f"--{flag}")
    driver = selenium.Chrome(
        options, selenium.ChromeService(shutil.which("chromedriver"))
    )
    try:
        yield driver
    finally:
        driver.quit()


def wait(driver, condition):
    """Until a condition of the page holds."""
    from selenium.webdriver.support.ui import WebDriverWait

    WebDriverWait(driver, 30).until(lambda page: page.execute_script(condition))
