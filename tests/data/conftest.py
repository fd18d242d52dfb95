# SPDX-License-Identifier: Apache-2.0
"""A local web server whose behavior is the first part of the address; no user data."""

import threading
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit

import pytest


class _Handler(BaseHTTPRequestHandler):
    """Serves `/behavior/name`, for each behavior that mirrors are known for."""

    def do_GET(self):
        path = urlsplit(self.path).path  # of a proxy the whole address is asked
        behavior, name = path.strip("/").split("/", 1)
        asked = self.headers.get("Range")
        self.server.seen.append((behavior, name, asked))
        content = self.server.files.get(name)
        if behavior == "missing" or content is None:
            return self.send_error(404)
        getattr(self, f"serve_{behavior}")(content, asked)

    def serve_good(self, content, asked):
        """Honors Range, as RFC 9110 has it."""
        start = int(asked.removeprefix("bytes=").removesuffix("-")) if asked else 0
        if start >= len(content):
            self.send_response(416)
            self.send_header("Content-Range", f"bytes */{len(content)}")
            self.send_header("Content-Length", "0")
            return self.end_headers()
        self.send_body(content[start:], start, len(content), 206 if asked else 200)

    def serve_plain(self, content, asked):
        """Knows no Range: always sends the whole."""
        self.send_body(content, 0, len(content), 200)

    def serve_cut(self, content, asked):
        """Promises the whole, and hangs up halfway."""
        self.send_headers(200, len(content))
        self.wfile.write(content[: len(content) // 2])

    def serve_stall(self, content, asked):
        """Sends half, and the rest when it is let go."""
        self.serve_cut(content, asked)
        self.wfile.flush()
        self.server.let_go.wait(60)
        with suppress(ConnectionError):  # the other side may have given up by now
            self.wfile.write(content[len(content) // 2 :])

    def serve_wrong(self, content, asked):
        """Sends a page where the file should be, as hotel networks do."""
        page = b"<html>Welcome! Please sign in.</html>"
        self.send_body(page, 0, len(page), 200)

    def serve_shifted(self, content, asked):
        """Answers a Range with another one."""
        self.send_body(content[1:], 1, len(content), 206)

    def serve_endless(self, content, asked):
        """Gives no length: the end of the connection is the end of the file."""
        self.send_response(200)
        self.end_headers()
        self.wfile.write(content)

    def serve_flood(self, content, asked):
        """Gives no length, and has no end but that of all patience."""
        self.send_response(200)
        self.end_headers()
        with suppress(ConnectionError):
            for _ in range(100):
                self.wfile.write(bytes(1_000_000))

    def serve_huge(self, content, asked):
        """Promises more than any disk holds."""
        self.send_headers(200, 10**13)

    def serve_drip(self, content, asked):
        """Sends a byte now and then."""
        self.send_headers(200, len(content))
        self.drip(content)

    def serve_drip_headers(self, content, asked):
        """Has not even sent its headers for a long time."""
        self.drip(b"HTTP/1.0 200 OK\r\nX-Long: " + bytes(1000))

    def serve_silent(self, content, asked):
        """Takes the request, and says nothing."""
        self.server.let_go.wait(60)

    def serve_moved(self, content, asked):
        self.send_headers(302, 0, Location=f"/good/{self.path.rpartition('/')[2]}")

    def serve_circle(self, content, asked):
        self.send_headers(302, 0, Location=self.path)

    def drip(self, content):
        with suppress(ConnectionError):
            for byte in content:
                self.wfile.write(bytes([byte]))
                if self.server.let_go.wait(0.03):
                    return

    def send_headers(self, status, length, **headers):
        self.send_response(status)
        self.send_header("Content-Length", str(length))
        for key, value in headers.items():
            self.send_header(key.replace("_", "-"), value)
        self.end_headers()

    def send_body(self, body, start, total, status):
        span = {"Content_Range": f"bytes {start}-{start + len(body) - 1}/{total}"}
        self.send_headers(status, len(body), **(span if status == 206 else {}))
        self.wfile.write(body)

    def log_message(self, format, *args):
        pass


class Server(ThreadingHTTPServer):
    """`files` to serve, by name; `seen`: each request as (behavior, name, Range)."""

    def __init__(self):
        super().__init__(("127.0.0.1", 0), _Handler)
        self.files, self.seen, self.let_go = {}, [], threading.Event()

    def mirror(self, behavior):
        return f"http://127.0.0.1:{self.server_port}/{behavior}/"

    def urls(self, name, *behaviors):
        return [f"{self.mirror(behavior)}{name}" for behavior in behaviors]


@pytest.fixture
def server(monkeypatch):
    """A running `Server`."""
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with Server() as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield server
        server.let_go.set()
        server.shutdown()
        thread.join()


@pytest.fixture(autouse=True)
def nowhere(real_data, tmp_path, monkeypatch):
    """An empty `$JAXNN_DATA` and an empty cache: the two folders."""
    data, cache = tmp_path / "data", tmp_path / "cache"
    if real_data is None:
        monkeypatch.setenv("JAXNN_DATA", str(data))
    for name in ("XDG_CACHE_HOME", "LOCALAPPDATA"):
        monkeypatch.setenv(name, str(cache))
    return data, cache / "jaxnn"
