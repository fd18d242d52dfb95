# SPDX-License-Identifier: Apache-2.0
"""The example of serving: real requests, batches, bad input, the end."""

import http.client
import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from urllib.error import HTTPError

import jax
import numpy as np
import pytest
import serve
from example import EXAMPLES, drawn

import jaxnn as nn

LONG = 60.0  # seconds: a batch that waits so long is answered because it is full
net = nn.Sequential(nn.Flatten(), nn.Dense(10))


@pytest.fixture(scope="module")
def variables():
    return net.init(jax.random.key(0), np.zeros((1, 8, 8, 1), np.float32))


@pytest.fixture(scope="module")
def data(variables):
    x = jax.ShapeDtypeStruct((1, 8, 8, 1), np.float32)
    return nn.io.export(net, variables, x, platforms=("cpu",))


@pytest.fixture
def program(data):
    return serve.Program(data, (1, 4, 8))


@pytest.fixture
def images():
    return np.random.default_rng(0).uniform(size=(8, 8, 8, 1)).astype(np.float32)


def post(server, body, path="/predict"):
    """The answer to a body: bytes, or what is sent as JSON."""
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    with urllib.request.urlopen(serve.address(server) + path, data, 30) as answer:
        return json.load(answer)


def get(server, path):
    with urllib.request.urlopen(serve.address(server) + path, timeout=30) as answer:
        return answer.read().decode()


def refused(call, *arguments):
    """The status and the sentence of a refusal."""
    with pytest.raises(HTTPError) as refusal:
        call(*arguments)
    with refusal.value as answer:
        return answer.code, json.load(answer)["error"]


def test_answers_are_the_networks(program, variables, images):
    expected = jax.nn.softmax(net.apply(*variables, images)[0])
    with serve.served(program, wait=0) as server:
        for some in (images, images[..., 0]):  # the channel may be left out
            answer = post(server, {"images": some.tolist()})
            np.testing.assert_allclose(answer["probabilities"], expected, atol=2e-6)
            assert answer["classes"] == expected.argmax(-1).tolist()


def test_requests_that_come_together_are_one_call(program, images):
    with serve.served(program, wait=LONG) as server, ThreadPoolExecutor(8) as clients:
        ask = [{"images": [image.tolist()]} for image in images]
        answers = list(clients.map(lambda body: post(server, body), ask))
    assert (program.calls, program.images) == (1, 8)
    expected = program(images)  # each client has its own answer
    for answer, row in zip(answers, expected, strict=True):
        np.testing.assert_allclose(answer["probabilities"], [row], atol=2e-6)


def test_without_waiting_each_request_is_a_call(program, images):
    with serve.served(program, wait=0) as server, ThreadPoolExecutor(8) as clients:
        ask = [{"images": [image.tolist()]} for image in images]
        list(clients.map(lambda body: post(server, body), ask))
    assert (program.calls, program.images) == (8, 8)


def test_a_request_waits_for_others_only_so_long(program, images):
    with serve.served(program, wait=0.01) as server:
        post(server, {"images": images[:1].tolist()})
    assert (program.calls, program.images) == (1, 1)


def test_a_batch_holds_no_more_than_the_program_takes(program, images):
    """Requests of 3 images: two of them fit into a batch of 8, the third waits."""
    batches = serve.Batches(program, wait=LONG)
    with ThreadPoolExecutor(3) as clients:
        answers = [clients.submit(batches.ask, images[:3]) for _ in range(3)]
        while sum(answer.done() for answer in answers) < 2:
            pass  # 9 images wait, more than a batch: two requests are a call
        batches.close()  # the third is answered before the end
        expected = program(images[:3])
        for answer in answers:
            np.testing.assert_allclose(answer.result(30), expected, atol=1e-6)
    assert program.calls - 1 == 2


def test_nothing_is_compiled_while_serving(program, images, compiled):
    with serve.served(program, wait=0) as server:
        for count in range(1, 9):
            post(server, {"images": images[:count].tolist()})
    assert program.calls == 8 and compiled == []


ROW = [0.5] * 8
IMAGE = [ROW] * 8
BAD = {
    "not JSON": (b"digits", 400, "the body must be JSON: Expecting value"),
    "no text": (b"\xff\xfe\xff", 400, "the body must be JSON"),
    "nested too deeply": (b"[" * 100_000, 400, "the body must be JSON"),
    "a list": ([IMAGE], 400, r'must be \{"images": \[image, ...\]\}'),
    "another key": ({"image": IMAGE}, 400, r'must be \{"images"'),
    "no image": ({"images": []}, 400, "a list, each 8 rows of 8 numbers; got 0 numb"),
    "a single image": ({"images": IMAGE}, 400, "got 8x8 numbers"),
    "a number": ({"images": 1}, 400, "got one number"),
    "small images": ({"images": [[[0, 1]]]}, 400, "got 1x1x2 numbers"),
    "uneven rows": ({"images": [[ROW, [1]]]}, 400, "must be 8 rows of 8 numbers, noth"),
    "text": ({"images": [[["1"] * 8] * 8]}, 400, "must be 8 rows of 8 numbers"),
    "null": ({"images": None}, 400, "must be 8 rows of 8 numbers"),
    "true": ({"images": [[[True] * 8] * 8]}, 400, "must be 8 rows of 8 numbers"),
    "NaN": ({"images": [[[float("nan")] * 8] * 8]}, 400, "from 0 to 1, got nan"),
    "infinite": (
        b'{"images": [%s]}' % json.dumps([[2] * 8] * 8).replace("2", "1e999").encode(),
        *(400, "from 0 to 1, got inf"),
    ),
    "pixels to 255": ({"images": [[[255] * 8] * 8]}, 400, "from 0 to 1, got 255"),
    "huge": ({"images": [[[10**30] * 8] * 8]}, 400, "must be 8 rows of 8 numbers"),
    "too many": ({"images": [IMAGE] * 9}, 413, "at most 8 images a request, got 9"),
    "too large": (b" " * (serve.LONGEST + 1), 413, "at most 4,194,304 bytes"),
}


def test_bad_input_is_answered_and_the_server_goes_on(program, capfd):
    with serve.served(program, wait=0) as server:
        for name, (body, status, sentence) in BAD.items():
            found, said = refused(post, server, body)
            assert found == status and re.search(sentence, said), (name, found, said)
            assert json.loads(get(server, "/health"))["status"] == "ok"
        assert len(post(server, {"images": [IMAGE] * 8})["classes"]) == 8
    assert (program.calls, program.images) == (1, 8)
    assert capfd.readouterr().err == ""


def test_other_places_and_methods_are_answered(program):
    with serve.served(program, wait=0) as server:
        assert get(server, "/").startswith('POST /predict {"images": [...]}')
        assert get(server, "/").count("\n") == 1
        assert refused(get, server, "/digits")[0] == 404
        assert refused(get, server, "/predict") == (405, "/predict is for POST")
        assert refused(post, server, {}, "/health") == (405, "/health is for GET")
        assert refused(post, server, {}, "/digits")[0] == 404


def test_a_body_of_unknown_length_is_refused(program):
    with serve.served(program, wait=0) as server:
        port = server.server_address[1]
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
        connection.request("POST", "/predict", iter([b"{}"]), encode_chunked=True)
        answer = connection.getresponse()
        assert answer.status == 411 and "Content-Length" in answer.read().decode()
        connection.close()


def test_a_client_that_goes_away_harms_nobody(program, capfd):
    with serve.served(program, wait=0) as server:
        for sent in (b"", b"POST /predict HTTP/1.1\r\nContent-Length: 500\r\n\r\n{"):
            with socket.create_connection(server.server_address[:2]) as gone:
                gone.sendall(sent)
        assert post(server, {"images": [IMAGE]})["classes"]
    assert "Traceback" not in capfd.readouterr().err


def test_a_silent_client_is_hung_up_on(program, monkeypatch, capfd):
    monkeypatch.setattr(serve.Handler, "timeout", 0.2)
    with serve.served(program, wait=0) as server:
        with socket.create_connection(server.server_address[:2]) as silent:
            silent.sendall(b"POST /predict HTTP/1.1\r\nContent-Length: 500\r\n\r\n{")
            silent.settimeout(30)
            assert silent.recv(100) == b""
    assert capfd.readouterr().err == ""


def test_a_connection_stays_open_over_an_error(program):
    with serve.served(program, wait=0) as server:
        port = server.server_address[1]
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
        for body, status in ((b"no", 400), (json.dumps({"images": [IMAGE]}), 200)):
            connection.request("POST", "/predict", body)
            held = connection.sock
            answer = connection.getresponse()
            answer.read()
            assert answer.status == status and connection.sock is held is not None
        connection.close()


def test_a_failing_network_is_answered(program, monkeypatch, capsys):
    def fail(_):
        raise RuntimeError("no memory")

    with serve.served(program, wait=0) as server:
        good = program.compiled
        program.compiled = {1: fail}
        assert refused(post, server, {"images": [IMAGE]})[0] == 500
        assert "no memory" in capsys.readouterr().err
        program.compiled = good
        assert post(server, {"images": [IMAGE]})["classes"]


def test_the_end_leaves_no_thread_and_answers_what_waits(program, images):
    before = threading.active_count()
    with ThreadPoolExecutor(1) as client:
        with serve.served(program, wait=LONG) as server:
            asked = client.submit(post, server, {"images": images[:1].tolist()})
            while not server.batches.waiting:
                pass
        assert asked.result(30)["classes"]
    with pytest.raises(serve.Refusal, match="ending"):
        server.batches.ask(images[:1])
    with pytest.raises(OSError):
        get(server, "/health")
    assert threading.active_count() <= before + 1  # the client's connection


def test_a_program_of_other_than_images_is_refused():
    dense = nn.Dense(2)
    x = np.zeros((1, 3), np.float32)
    data = nn.io.export(dense, dense.init(jax.random.key(0), x), x)
    with pytest.raises(SystemExit, match="must take images"):
        serve.Program(data)


@pytest.mark.slow
def test_serve_in_small_mode(offline, tmp_path, capsys):
    rows = serve.main(["--small", "--out", str(tmp_path)])["rows"]
    assert [(row.clients, row.wait) for row in rows] == [
        (clients, wait) for wait in (0, 3) for clients in (1, 8, 32)
    ]
    assert all(0 < row.p50 <= row.p99 for row in rows)
    assert [row.batch for row in rows[:3]] == [1, 1, 1] and rows[-1].batch > 1
    assert drawn(tmp_path / "latency.png")
    assert capsys.readouterr().out.splitlines()[-1].startswith("32 clients: p50 ")


@pytest.mark.slow
def test_the_command_serves_until_it_is_interrupted(data, tmp_path):
    path = tmp_path / "net.bin"
    path.write_bytes(data)
    command = [sys.executable, "-u", EXAMPLES / "serve.py", "--load", path]
    with subprocess.Popen(
        [*command, "--port", "0"],
        stdout=subprocess.PIPE,
        text=True,
        env=os.environ | {"XDG_CACHE_HOME": str(tmp_path)},
    ) as server:
        lines = iter(server.stdout.readline, "")
        found = (re.search(r"http://\S+\d", line) for line in lines)
        url = next(filter(None, found))[0]
        body = json.dumps({"images": [IMAGE]}).encode()
        with urllib.request.urlopen(f"{url}/predict", body, 30) as answer:
            assert len(json.load(answer)["classes"]) == 1
        server.send_signal(signal.SIGINT)
        assert "1 images in 1 calls" in server.stdout.read()
    assert server.returncode == 0
