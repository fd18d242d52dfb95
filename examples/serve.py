# SPDX-License-Identifier: Apache-2.0
"""Serve a network over HTTP: requests that arrive together are answered by one call.

A convolutional network learns the bundled 8x8 digits in seconds and is written as an
exported program (`nn.io.export`), which needs JAX and no longer jaxnn. The server reads
it back and compiles it for batches of 1, 8 and 32 before the first request: nothing is
compiled while it serves. A request waits at most `--wait` milliseconds for others; all
that came in that time are one batch, padded to the next of those sizes.

    python examples/serve.py
    curl localhost:8000
    curl localhost:8000/predict --data "$(python examples/serve.py --example)"

`--load FILE` serves any exported program from images `[N, H, W, C]` of pixels from 0 to
1 to logits. `--bench` measures latency against the number of clients, with batches and
without, and ends. It is a server of Python's standard library: put a proxy before it
if strangers can reach it.
"""

import argparse
import json
import multiprocessing
import re
import sys
import threading
import time
import traceback
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import contextmanager
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
import optax

import jaxnn as nn

SIZES = (1, 8, 32)  # the batches that the program is compiled for
LONGEST = 4 * 2**20  # bytes of a request
CLIENTS = (1, 8, 32)  # that the benchmark has

net = nn.Sequential(
    *(nn.Conv(32, 3, bias=False), nn.BatchNorm(), jax.nn.relu),
    *(nn.Conv(64, 3, bias=False), nn.MaxPool(2), nn.BatchNorm(), jax.nn.relu),
    *(nn.Flatten(), nn.Dropout(0.3), nn.Dense(10)),
)


def main(argv: Sequence[str] | None = None) -> dict[str, Any]:
    """Train or load, then measure or serve; returns what was measured."""
    args = parse(argv)
    if args.example:
        (images, _), _ = nn.data.digits()
        print(json.dumps({"images": images[:1, ..., 0].tolist()}))
        return {}
    path = args.load or train(args)
    program = Program(path.read_bytes())
    height, width, channels = program.shape
    print(
        f"{path}: images of {height}x{width}x{channels}, compiled for batches of "
        f"{', '.join(map(str, SIZES))}"
    )
    if args.bench or args.small:
        return bench(program, args)
    with served(program, port=args.port, wait=args.wait / 1000) as server:
        print(f"serving at {address(server)}; Ctrl-C ends it", flush=True)
        try:
            threading.Event().wait()
        except KeyboardInterrupt:
            pass
    print(f"{program.images:,} images in {program.calls:,} calls of the program")
    return {"images": program.images, "calls": program.calls}


def train(args: argparse.Namespace) -> Path:
    """Learn the bundled digits; returns the file of the exported program."""
    digits, test = nn.data.digits()
    state, _ = nn.fit(
        net,
        digits,
        loss=nn.losses.softmax_cross_entropy,
        optimizer=optax.adam(0.002),
        epochs=2 if args.small else 10,
        batch_size=32,
        key=jax.random.key(args.seed),
        metrics={"accuracy": nn.metrics.accuracy},
        progress=True,
    )
    right = nn.evaluate(net, state, test, metrics={"accuracy": nn.metrics.accuracy})
    print(f"test accuracy {right['accuracy']:.2%}")
    args.out.mkdir(parents=True, exist_ok=True)
    path = args.out / "digits.bin"
    path.write_bytes(nn.io.export(net, state, test[0][:1]))
    return path


# ---- the program ----


class Program:
    """An exported network, compiled for a few sizes of batches.

    Args:
        data: the bytes of `nn.io.export`.
        sizes: the batches, in rising order; a smaller one is padded.
    """

    def __init__(self, data: bytes, sizes: Sequence[int] = SIZES) -> None:
        exported = jax.export.deserialize(bytearray(data))
        (x,) = exported.in_avals
        if len(x.shape) != 4:
            raise SystemExit(f"the program must take images [N, H, W, C], not {x}")
        self.shape = tuple(map(int, x.shape[1:]))
        shapes = {n: jax.ShapeDtypeStruct((n, *self.shape), x.dtype) for n in sizes}
        call = jax.jit(exported.call)
        self.compiled = {n: call.lower(shape).compile() for n, shape in shapes.items()}
        self.most = max(sizes)
        self.calls = self.images = 0

    def __call__(self, images: np.ndarray) -> np.ndarray:
        """Probabilities `[N, classes]` of images `[N, H, W, C]`, N at most `most`."""
        size = next(size for size in self.compiled if size >= len(images))
        batch = np.zeros((size, *self.shape), np.float32)
        batch[: len(images)] = images
        logits = np.asarray(self.compiled[size](batch))[: len(images)]
        self.calls += 1
        self.images += len(images)
        powers = np.exp(logits - logits.max(-1, keepdims=True))
        return powers / powers.sum(-1, keepdims=True)


class Request(NamedTuple):
    """Images to be read, where the answer goes, and when they came."""

    images: np.ndarray
    answer: Future
    since: float


class Batches:
    """A thread that answers what arrives together by one call.

    Args:
        program: from images to probabilities, `program.most` images at a time.
        wait: seconds that a request waits for others; 0: each is a call of its own.
    """

    def __init__(self, program: Program, wait: float) -> None:
        self.program, self.wait = program, wait
        self.waiting: deque[Request] = deque()
        self.changed = threading.Condition()
        self.closed = False
        self.thread = threading.Thread(target=self._work, daemon=True)
        self.thread.start()

    def ask(self, images: np.ndarray) -> np.ndarray:
        """The probabilities of some images, at most `program.most`."""
        request = Request(images, Future(), time.monotonic())
        with self.changed:
            if self.closed:
                raise Refusal(503, "the server is ending")
            self.waiting.append(request)
            self.changed.notify()
        return request.answer.result()

    def close(self) -> None:
        """Answer what waits, and end."""
        with self.changed:
            self.closed = True
            self.changed.notify()
        self.thread.join()

    def _work(self) -> None:
        while batch := self._next():
            try:
                found = self.program(np.concatenate([one.images for one in batch]))
            except Exception as error:  # an answer of its own to each who asked
                for one in batch:
                    one.answer.set_exception(error)
                continue
            ends = np.cumsum([len(one.images) for one in batch])
            for one, rows in zip(batch, np.split(found, ends[:-1]), strict=True):
                one.answer.set_result(rows)

    def _next(self) -> list[Request]:
        """The oldest requests that fit into a call; none when all is answered."""
        with self.changed:
            self.changed.wait_for(lambda: self.waiting or self.closed)
            if self.wait and self.waiting:
                end = self.waiting[0].since + self.wait
                self.changed.wait_for(self._full, max(0, end - time.monotonic()))
            batch, free = [], self.program.most
            while self.waiting and len(self.waiting[0].images) <= free:
                batch.append(self.waiting.popleft())
                free -= len(batch[-1].images)
                if not self.wait:
                    break
        return batch

    def _full(self) -> bool:
        waiting = sum(len(one.images) for one in self.waiting)
        return self.closed or waiting >= self.program.most


# ---- the server ----


class Refusal(Exception):
    """Why a request is not answered: a status of HTTP and a sentence."""

    def __init__(self, status: int, sentence: str, **headers: str) -> None:
        super().__init__(sentence)
        self.status, self.sentence, self.headers = status, sentence, headers


def images_in(body: bytes, shape: Sequence[int], most: int) -> np.ndarray:
    """The images of a request, float32 `[N, H, W, C]`.

    Raises:
        Refusal: the body is not `{"images": [...]}` of such images, or holds too many.
    """
    height, width, channels = shape
    form = f"{height} rows of {width} numbers" + f" of {channels}" * (channels > 1)
    try:
        given = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise Refusal(400, f"the body must be JSON: {error}") from error
    if not isinstance(given, dict) or "images" not in given:
        raise Refusal(400, 'the body must be {"images": [image, ...]}')
    try:
        images = np.asarray(given["images"])
    except ValueError:  # rows of several lengths
        images = np.asarray(None)
    if images.dtype.kind not in "iuf":
        raise Refusal(400, f"each image must be {form}, nothing else")
    one = (height, width) if channels == 1 else (height, width, channels)
    if images.shape[1:] not in (one, tuple(shape)) or not len(images):
        size = "x".join(map(str, images.shape))
        found = f"{size} numbers" if size else "one number"
        raise Refusal(400, f"images must be a list, each {form}; got {found}")
    if len(images) > most:
        raise Refusal(413, f"at most {most} images a request, got {len(images)}")
    outside = images[~((images >= 0) & (images <= 1))]  # NaN is
    if outside.size:
        raise Refusal(400, f"pixels must be from 0 to 1, got {outside.flat[0]}")
    return images.reshape(-1, *shape).astype(np.float32)


class Server(ThreadingHTTPServer):
    """A thread for each connection; one for the program."""

    request_queue_size = 128  # connections that wait to be taken: 5 are the default

    def __init__(self, program: Program, port: int, wait: float) -> None:
        super().__init__(("127.0.0.1", port), Handler)
        self.program, self.batches = program, Batches(program, wait)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that went away is no error of the server."""
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)


class Handler(BaseHTTPRequestHandler):
    """Answers the requests of a connection, one after the other."""

    server: Server
    protocol_version = "HTTP/1.1"  # connections stay open
    timeout = 30  # seconds that a client may be silent
    disable_nagle_algorithm = True  # which would hold small answers back, for 40 ms

    def do_GET(self) -> None:
        self._answered(self._get)

    def do_POST(self) -> None:
        self._answered(self._post)

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing: a line a request is much."""

    def _answered(self, method: Callable[[], tuple[str, str]]) -> None:
        """Send what a method gives, or why it gives nothing."""
        status, headers = 200, {}
        try:
            kind, text = method()
        except (ConnectionError, TimeoutError):  # nobody is there
            raise
        except Exception as error:
            if not isinstance(error, Refusal):
                traceback.print_exc()
                error = Refusal(500, "the network failed; the server has printed why")
            status, headers = error.status, error.headers
            kind, text = "application/json", json.dumps({"error": error.sentence})
        data = (text + "\n").encode()
        self.send_response(status)
        lines = {"Content-Type": kind, "Content-Length": str(len(data)), **headers}
        for name, value in lines.items():
            self.send_header(name, value)
        if self.close_connection:
            self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(data)

    def _get(self) -> tuple[str, str]:
        program = self.server.program
        if self.path == "/":
            height, width, channels = program.shape
            return "text/plain; charset=utf-8", (
                f'POST /predict {{"images": [...]}}, at most {program.most} of '
                f"{height}x{width}x{channels} pixels from 0 to 1, gives "
                '{"classes": [...], "probabilities": [[...], ...]}; GET /health'
            )
        if self.path == "/health":
            counts = {"images": program.images, "calls": program.calls}
            return "application/json", json.dumps({"status": "ok", **counts})
        raise self._elsewhere("POST")

    def _post(self) -> tuple[str, str]:
        body = self._body()
        if self.path != "/predict":
            raise self._elsewhere("GET")
        program = self.server.program
        images = images_in(body, program.shape, program.most)
        found = self.server.batches.ask(images)
        answer = {
            "classes": found.argmax(-1).tolist(),
            "probabilities": found.astype(float).round(6).tolist(),
        }
        return "application/json", json.dumps(answer)

    def _elsewhere(self, allowed: str) -> Refusal:
        """The answer where there is nothing, or nothing for this method."""
        if self.path in {"GET": ("/", "/health"), "POST": ("/predict",)}[allowed]:
            return Refusal(405, f"{self.path} is for {allowed}", Allow=allowed)
        return Refusal(404, f"there is no {self.path}; / says what there is")

    def _body(self) -> bytes:
        """What was sent; too much of it is read and forgotten, up to a limit."""
        length = self.headers.get("Content-Length", "")
        if not re.fullmatch("[0-9]{1,15}", length):
            self.close_connection = True  # where the body ends is not known
            raise Refusal(411, "a header Content-Length must say how many bytes follow")
        if int(length) <= LONGEST:
            return self.rfile.read(int(length))
        self.close_connection = True
        left = min(int(length), 16 * LONGEST)  # who still sends does not read an answer
        while left > 0 and (part := self.rfile.read(min(left, 2**16))):
            left -= len(part)
        raise Refusal(413, f"at most {LONGEST:,} bytes a request, got {int(length):,}")


@contextmanager
def served(program: Program, *, port: int = 0, wait: float) -> Iterator[Server]:
    """A server in threads of its own, at this machine's own address; port 0: any."""
    server = Server(program, port, wait)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
        server.batches.close()
        thread.join()


def address(server: Server) -> str:
    """Where a server answers."""
    return f"http://127.0.0.1:{server.server_address[1]}"


# ---- the benchmark ----


class Row(NamedTuple):
    """What a number of clients measured."""

    clients: int
    wait: float  # milliseconds
    p50: float  # milliseconds
    p99: float
    rate: float  # requests a second
    batch: float  # images a call, on average


def bench(program: Program, args: argparse.Namespace) -> dict[str, Any]:
    """Measure with clients in another process; prints and draws the table."""
    requests = 64 if args.small else 4000
    images = np.zeros((1, *program.shape), np.float32)
    if not args.load:
        images = nn.data.digits()[1][0][:1]
    body = json.dumps({"images": images.round(3).tolist()}).encode()
    print("clients  waits for others      p50      p99  requests/s  images a call")
    rows = []
    spawn = multiprocessing.get_context("spawn")  # a fork of JAX's threads may hang
    with ProcessPoolExecutor(1, mp_context=spawn) as other:
        for wait in (0, args.wait):
            with served(program, wait=wait / 1000) as server:
                for clients in CLIENTS:
                    calls, seen = program.calls, program.images
                    port = server.server_address[1]
                    work = other.submit(load, port, body, clients, requests)
                    latencies, seconds = work.result()
                    p50, p99 = 1000 * np.quantile(latencies, (0.5, 0.99))
                    batch = (program.images - seen) / (program.calls - calls)
                    rate = len(latencies) / seconds
                    rows.append(Row(clients, wait, p50, p99, rate, batch))
                    print(
                        f"{clients:7}  {f'{wait:g} ms' if wait else 'no':>16} "
                        f"{p50:5.1f} ms {p99:5.1f} ms  {rate:10,.0f}  {batch:13.1f}"
                    )
    path = save_table(args.out / "latency.png", rows)
    print(f"wrote {path}")
    alone, together = (
        next(row for row in rows if row.wait == wait and row.clients == CLIENTS[-1])
        for wait in (0, args.wait)
    )
    print(
        f"{CLIENTS[-1]} clients: p50 {alone.p50:.1f} ms and {alone.rate:,.0f} requests "
        f"a second each alone, {together.p50:.1f} ms and {together.rate:,.0f} in "
        f"batches of {together.batch:.1f}"
    )
    return {"rows": rows}


def load(
    port: int, body: bytes, clients: int, requests: int
) -> tuple[list[float], float]:
    """Seconds of each request, and of all: so many clients ask one after the other."""
    ready = threading.Barrier(clients + 1, timeout=60)

    def client(_: int) -> list[float]:
        connection = HTTPConnection("127.0.0.1", port, timeout=60)
        ask(connection)  # which also connects
        ready.wait()
        taken = []
        for _ in range(requests // clients):
            start = time.perf_counter()
            ask(connection)
            taken.append(time.perf_counter() - start)
        connection.close()
        return taken

    def ask(connection: HTTPConnection) -> None:
        connection.request("POST", "/predict", body)
        answer = connection.getresponse()
        text = answer.read()
        if answer.status != 200:
            raise RuntimeError(f"the server answers {answer.status}: {text.decode()}")

    with ThreadPoolExecutor(clients) as threads:
        work = threads.map(client, range(clients))
        ready.wait()
        start = time.perf_counter()
        latencies = [seconds for taken in work for seconds in taken]
        return latencies, time.perf_counter() - start


def save_table(path: Path, rows: Sequence[Row]) -> Path:
    """Draw latency, and requests a second, against the number of clients."""
    from matplotlib.figure import Figure
    from matplotlib.ticker import NullLocator

    figure = Figure((8, 3.4), layout="constrained")
    left, right = figure.subplots(1, 2)
    for color, wait in enumerate(dict.fromkeys(row.wait for row in rows)):
        some = [row for row in rows if row.wait == wait]
        name = f"in batches, waiting {wait:g} ms" if wait else "each alone"
        clients = [row.clients for row in some]
        left.plot(clients, [row.p50 for row in some], "o-", c=f"C{color}", label=name)
        left.plot(clients, [row.p99 for row in some], "o:", c=f"C{color}", mfc="white")
        right.plot(clients, [row.rate for row in some], "o-", c=f"C{color}", label=name)
    left.set(yscale="log", ylabel="milliseconds", ylim=(0.3, None))
    left.set_title("latency: median, and 99 % (dotted)", fontsize=10)
    left.yaxis.set_major_formatter("{x:g}")
    left.grid(axis="y", alpha=0.3)
    right.set(ylabel="requests a second", ylim=(0, None))
    right.legend(fontsize=8)
    for axes in (left, right):
        axes.set(xscale="log", xlabel="clients")
        axes.set_xticks(CLIENTS, map(str, CLIENTS))
        axes.xaxis.set_minor_locator(NullLocator())
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=110)
    return path


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--load", type=Path, metavar="FILE", help="an exported program: no training")
    add("--port", type=int, default=8000, help="0: any; default: %(default)s")
    add("--wait", type=float, default=3, help="milliseconds; default: %(default)s")
    add("--bench", action="store_true", help="measure latency, and end")
    add("--example", action="store_true", help="print a request, and end")
    add("--small", action="store_true", help="2 epochs, a short benchmark: seconds")
    add("--seed", type=int, default=0, help="default: %(default)s")
    add("--out", type=Path, default="out/serve", help="default: %(default)s")
    return parser.parse_args(argv)


if __name__ == "__main__":
    nn.cache()  # the second run finds its programs compiled
    main()
