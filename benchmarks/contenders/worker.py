# SPDX-License-Identifier: Apache-2.0
"""A contender in a process of its own, so that its memory is its own too.

A worker reads one JSON object a line and answers with one: first what it is to be, then
requests. Between them it waits for the next line, and takes nothing from the others.
"""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, NoReturn

ENVIRONMENT = {
    "JAX_ENABLE_COMPILATION_CACHE": "false",  # compile for real
    "XLA_PYTHON_CLIENT_PREALLOCATE": "false",  # several processes share a device
}


class Worker:
    """The parent's end of a worker.

    Args:
        kind: what it serves, `train`, `generate` or `first-call`.
        facts: what that needs to begin.
    """

    def __init__(self, kind: str, facts: dict[str, Any]):
        self.label = f"{facts['name']}, {facts['work']}"
        self.process = subprocess.Popen(
            [sys.executable, *warning_options(), "-m", "contenders.worker"],
            cwd=Path(__file__).parents[1],
            env=os.environ | ENVIRONMENT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.ready = self.ask({"kind": kind, **facts})

    def ask(self, request: Any) -> Any:
        """Send a request and wait for the answer."""
        assert self.process.stdin and self.process.stdout
        try:
            self.process.stdin.write(json.dumps(request) + "\n")
            self.process.stdin.flush()
        except BrokenPipeError:
            self.fail()
        return json.loads(self.process.stdout.readline() or self.fail())

    def fail(self) -> NoReturn:
        """Its own words stand above: it writes errors where the parent does."""
        self.close()
        code = self.process.returncode
        raise SystemExit(f"{self.label}: its process ended with {code}")

    def close(self) -> None:
        """Let it go, and wait until it has gone."""
        with suppress(BrokenPipeError), self.process:
            pass  # closes both pipes, which ends its loop


def warning_options() -> list[str]:
    """The `-W` of this process, for another."""
    return [f"-W{option}" for option in sys.warnoptions]


def main() -> None:
    """Serve; what libraries print goes to where errors go."""
    with os.fdopen(os.dup(1), "w") as answers:
        os.dup2(2, 1)
        facts = json.loads(sys.stdin.readline())
        serve = SERVED[facts["kind"]](facts)
        print(json.dumps({"memory": memory()}), file=answers, flush=True)
        for line in sys.stdin:
            print(json.dumps(serve(json.loads(line))), file=answers, flush=True)


def serve_training(facts: dict[str, Any]) -> Callable[[str], Any]:
    """A contender that trains; its library is imported when this returns."""
    import contenders
    from contenders import turns, works

    work, seed = works.find(facts["work"], facts["small"]), facts["seed"]
    kind = contenders.load(facts["name"], work.family)
    made = {}

    def probe() -> dict[str, Any]:
        """Some steps twice over: what the first call takes, and what it learns."""
        clock = time.perf_counter()
        task = work.task(facts["probe_steps"], seed, False, facts["backend"])
        contender = kind(task)
        contender.start()
        build, (first, *_) = time.perf_counter() - clock, timed(contender.run, 2)
        warm, _, losses = turns.take_turn(contender, 2)
        return {
            "build": build,
            "first": first,
            "warm": warm,
            "losses": losses,
            "parameters": contender.parameters(),
            "version": contenders.version(facts["name"]),
            "how": contender.title,
        }

    def warm_up() -> dict[str, Any]:
        """Compile for the whole data."""
        made["it"] = kind(work.task(facts["steps"], seed, True, facts["backend"]))
        made["it"].start()
        return {"losses": made["it"].run(1)}

    def turn() -> dict[str, Any]:
        seconds, inside, losses = turns.take_turn(made["it"], facts["epochs"])
        return {"seconds": seconds, "inside": inside, "losses": losses}

    def peak() -> dict[str, Any]:
        return {"memory": memory(), "device_memory": made["it"].device_peak()}

    requests = {"probe": probe, "warm up": warm_up, "turn": turn, "peak": peak}
    return lambda request: requests[request]()


def serve_generation(facts: dict[str, Any]) -> Callable[[str], Any]:
    """A language model that writes, in batches of several sizes."""
    import contenders
    from contenders import generate, sequence_works, turns

    kind, tokens = generate.load(facts["name"]), facts["tokens"]
    works = sequence_works.SMALL if facts["small"] else sequence_works.FULL
    work = works[facts["work"]]
    made = kind(work.weights(facts["seed"]), facts["backend"])
    prompts = {str(n): work.prompt(n, facts["seed"]) for n in generate.BATCH_SIZES}

    def probe() -> dict[str, Any]:
        """The first call and a later one for each batch size, and what it wrote."""
        first, found = {}, {}
        for n, prompt in prompts.items():
            first[n], found[n] = timed(made.generate, prompt, tokens)
        warm = {n: timed(made.generate, p, tokens)[0] for n, p in prompts.items()}
        return {
            "first": first,
            "warm": warm,
            "tokens": {n: ids.tolist() for n, ids in found.items()},
            "version": contenders.version(facts["name"]),
            "how": made.title,
        }

    def turn() -> dict[str, Any]:
        """Seconds of a call, for each batch size."""
        time.sleep(turns.PAUSE)
        return {n: seconds(prompt) for n, prompt in prompts.items()}

    def seconds(prompt: Any) -> float:
        clock = time.perf_counter()
        for _ in range(facts["calls"]):
            made.generate(prompt, tokens)
        return (time.perf_counter() - clock) / facts["calls"]

    def nothing() -> None:
        """The probe has compiled all."""

    requests = {"probe": probe, "warm up": nothing, "turn": turn}
    requests["peak"] = lambda: {"memory": memory()}
    return lambda request: requests[request]()


def serve_first_call(facts: dict[str, Any]) -> Callable[[str], Any]:
    """A deep network; the only request is to build it and to call it."""
    from contenders import first_call

    kind = first_call.load(facts["work"], facts["name"])

    def measure(_: str) -> dict[str, Any]:
        build, deep = timed(kind, facts["size"], facts["batch_size"], facts["seed"])
        calls = [timed(deep.call) for _ in range(facts["calls"])]
        return {
            "build": build,
            "first": calls[0][0],
            "warm": min(seconds for seconds, _ in calls[1:]),
            "losses": [loss for _, loss in calls],
            "parameters": deep.parameters(),
            "inside": deep.inside,
            "how": deep.title,
            "version": first_call.version(facts["name"]),
            "memory": memory(),
        }

    return measure


def serve_agents(facts: dict[str, Any]) -> Callable[[dict], Any]:
    """An agent that trains; a request is a run, or several seeds in one program."""
    from contenders import agents

    made = agents.load(facts["name"])

    def answer(request: dict[str, Any]) -> Any:
        if "seeds" in request:
            return made.seeds(request["kind"], request["steps"], request["seeds"])
        train = getattr(made, request["kind"])
        run = train(request["steps"], request["seed"])
        return run._asdict() | {"title": made.TITLE}

    return answer


SERVED = {
    "agents": serve_agents,
    "train": serve_training,
    "generate": serve_generation,
    "first-call": serve_first_call,
}


def timed(function: Callable[..., Any], *args: Any) -> tuple[float, Any]:
    """The seconds of a call, and what it gives."""
    clock = time.perf_counter()
    result = function(*args)
    return time.perf_counter() - clock, result


def memory() -> int | None:
    """The most bytes of main memory that this process held at a time.

    Linux tells it for the program alone; `getrusage` counts the parent's with it.
    """
    status = Path("/proc/self/status")
    if status.exists():
        lines = status.read_text().splitlines()
        peak = next(line for line in lines if line.startswith("VmHWM"))
        return 1024 * int(peak.split()[1])
    if sys.platform != "darwin":
        return None
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


if __name__ == "__main__":
    main()
