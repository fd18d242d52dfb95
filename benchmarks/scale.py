# SPDX-License-Identifier: Apache-2.0
"""Does a step of training split evenly over devices? Counted, on a CPU as eight.

For 1, 2, 4 and 8 virtual devices, with data parallelism and with `nn.fsdp`:

- difference: the largest between a parameter after an epoch of four steps and the same
  on one device;
- FLOPs and state: those of one device, as a share of what one device alone has. The
  operations are counted from the text of the compiled step (see `hlo.py`); the state is
  parameters, momentum and running statistics;
- collectives: how often a step exchanges data, and the bytes of the results.

Virtual devices share the cores of one machine, so no speed is measured. `predicted` is
a model of the time on real devices, from these counts: a step takes

    FLOPs / peak + bytes sent / bandwidth,

where a device of n in a ring sends 2(n - 1)/n of the bytes of an all-reduce and half as
much of any other exchange. The efficiency is the time of one device over that of n,
which do n times the work: `--per-device` examples on each. Exchanges are taken not to
overlap with computing and to have no latency, and the arithmetic to run at its peak;
their bytes are those counted with a batch of 296.

The defaults are those of a TPU v5e: 197e12 FLOP/s in bfloat16, and of the 200 GB/s each
way of its four links, the 100 GB/s of the two along one axis of the torus. (Google
Cloud, "TPU v5e", 2026: 197 TFLOPs, bidirectional bandwidth 400 GBps a chip, 2D torus.)
"""

import argparse
import os
from collections import Counter
from pathlib import Path
from typing import Any, NamedTuple

os.environ["XLA_FLAGS"] = " ".join(
    [os.environ.get("XLA_FLAGS", ""), "--xla_force_host_platform_device_count=8"]
)

import hlo
import jax
import numpy as np
import optax
import reports

import jaxnn as nn

LOSS = nn.losses.softmax_cross_entropy
OPTIMIZER = optax.sgd(0.1, momentum=0.9)
STEPS = 4
#: Examples of a step. Its factor 37 is in no other size, and so shows in the shapes of
#: a program what is data: see `gathers_data`.
BATCH = 8 * 37
PARAMS = {"data parallel": (), "fsdp": (("*", nn.fsdp("data")),)}
FARTHER = 64  # devices, for which the model has no counts of its own
#: What is required on eight devices.
MOST_FLOPS = MOST_STATE = 0.15
MOST_DIFFERENCE = 1e-5


class Work(NamedTuple):
    """A network and the shape of an example."""

    net: nn.Layer
    shape: tuple[int, ...]


WORKS = {
    "mlp": Work(
        nn.Sequential(
            *(nn.Dense(256), jax.nn.relu, nn.Dense(256), jax.nn.relu, nn.Dense(10))
        ),
        (64,),
    ),
    "cnn": Work(
        nn.Sequential(
            *(nn.Conv(16, 3), nn.BatchNorm(), jax.nn.relu, nn.MaxPool(2)),
            *(nn.Conv(32, 3), nn.BatchNorm(), jax.nn.relu, nn.MaxPool(2)),
            *(nn.Flatten(), nn.Dropout(0.3), nn.Dense(10)),
        ),
        (16, 16, 3),
    ),
    "lstm": Work(nn.Sequential(nn.lstm(64), nn.LastStep(), nn.Dense(10)), (32, 16)),
    "transformer": Work(
        nn.Sequential(
            *(nn.Dense(64), nn.TransformerEncoder(2, 4)),
            *(nn.GlobalAvgPool(), nn.Dense(10)),
        ),
        (32, 16),
    ),
}


def main(argv: list[str] | None = None) -> dict[str, Any]:
    """Count and print; gives what is written to the JSON file."""
    args = parse(argv)
    report: dict[str, Any] = {"machine": reports.machine(), "absent": [], "rows": []}
    report |= {"peak": args.peak, "bandwidth": args.bandwidth}
    report |= {"per_device": args.per_device}
    for name in args.only:
        alone, trained = measure(WORKS[name], None)
        report["rows"].append(row(name, "one device", 1, alone, alone, 0.0))
        for kind, params in PARAMS.items():
            for devices in args.devices:
                mesh = jax.make_mesh(
                    (devices,), ("data",), devices=jax.devices()[:devices]
                )
                own, again = measure(WORKS[name], nn.Layout(mesh, params=params))
                found = row(name, kind, devices, own, alone, apart(trained, again))
                report["rows"].append(found)
                print(f"{name}, {kind}, {devices} devices: counted", flush=True)
    model(report["rows"], args)
    lines = [*table(report["rows"]), "", *predictions(report), ""]
    lines += short(report["rows"]) or ["every requirement is met"]
    print("\n" + "\n".join(lines))
    reports.write(args.out, "scale", report, lines)
    print(f"\nwrote {args.out / 'scale'}.json and .md")
    return report


def parse(argv: list[str] | None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--only", nargs="+", choices=WORKS, default=list(WORKS))
    add("--devices", nargs="+", type=int, choices=(2, 4, 8), default=[2, 4, 8])
    add("--peak", type=float, default=197e12, help="FLOP/s of a device, %(default)g")
    add("--bandwidth", type=float, default=1e11, help="bytes/s it sends, %(default)g")
    add("--per-device", type=int, default=1024, help="examples, %(default)s")
    add("--small", action="store_true", help="the MLP on two devices")
    add("--out", type=Path, default=Path("out/benchmarks"), help="folder for the files")
    args = parser.parse_args(argv)
    if min(args.peak, args.bandwidth, args.per_device) <= 0:
        parser.error("--peak, --bandwidth and --per-device must be positive")
    if args.small:
        args.only, args.devices = ["mlp"], [2]
    return args


# ---- counting ----


def measure(work: Work, layout: nn.Layout | None) -> tuple[dict[str, Any], Any]:
    """What the compiled step does on one device, and the parameters after an epoch."""
    rng = np.random.default_rng(0)
    examples = STEPS * BATCH
    x = rng.standard_normal((examples, *work.shape)).astype(np.float32)
    data = x, x.reshape(examples, -1)[:, :10].argmax(1)
    state = nn.train_state(work.net, OPTIMIZER, x[:1], key=jax.random.key(0))
    step = nn.train_step(work.net, LOSS, OPTIMIZER, layout=layout)
    if layout is not None:
        state, data = layout.place(state), layout.replicate(data)

    def batch(i: int) -> Any:
        return jax.tree.map(lambda a: a[i * BATCH : (i + 1) * BATCH], data)

    compiled = jax.jit(step).lower(state, batch(0)).compile()
    counted = count(compiled) | {"state": state_bytes(state)}
    for i in range(STEPS):
        state, _ = compiled(state, batch(i))
    return counted, jax.device_get(state.params)


def count(compiled: Any) -> dict[str, Any]:
    """Operations and collectives of a compiled step on one device."""
    text = compiled.as_text()
    found = hlo.collectives(text)
    times, size = Counter(), Counter()
    for one in found:
        times[one.kind] += one.times
        size[one.kind] += one.times * one.bytes
    return {
        "flops": hlo.flops(text),
        "xla_flops": compiled.cost_analysis()["flops"],  # (loops counted once)
        "collectives": dict(times),
        "bytes": dict(size),
        "data_bytes": sum(i.times * i.bytes for i in found if gathers_data(i)),
    }


def gathers_data(one: hlo.Instruction) -> bool:
    """Whether a collective gives a device something of every example of the batch."""
    axes = {n for _, shape in one.arrays for n in shape}
    return one.kind == "all-gather" and any(n and n % BATCH == 0 for n in axes)


def state_bytes(state: nn.TrainState) -> int:
    """The bytes of the state on the first device."""
    arrays = jax.tree.leaves(state._replace(key=None))
    return sum(a.addressable_shards[0].data.nbytes for a in arrays)


def apart(ours: Any, theirs: Any) -> float:
    """The largest difference between two trees."""
    gaps = jax.tree.map(lambda a, b: np.abs(a - b).max(), ours, theirs)
    return float(max(jax.tree.leaves(gaps)))


def row(
    name: str, kind: str, devices: int, own: dict, alone: dict, difference: float
) -> dict[str, Any]:
    """A row of the table."""
    shares = {f"{what}_share": own[what] / alone[what] for what in ("flops", "state")}
    about = {"network": name, "layout": kind, "devices": devices}
    return about | own | shares | {"difference": difference}


# ---- the model of real devices ----


def model(rows: list[dict[str, Any]], args: argparse.Namespace) -> None:
    """Give each row its predicted efficiency, by the number of devices.

    The row of most devices also predicts for more of them.
    """
    alone = {r["network"]: r["flops"] for r in rows if r["devices"] == 1}
    for r in rows:
        least = alone[r["network"]] / BATCH * args.per_device / args.peak
        own = least * r["flops_share"] * r["devices"]
        farther = [FARTHER] if r["devices"] == max(args.devices) else []
        r["predicted"] = {
            n: least / (own + sent(r["bytes"], n) / args.bandwidth)
            for n in [r["devices"], *farther]
        }


def sent(size: dict[str, int], devices: int) -> float:
    """The bytes that a device sends, in rings."""
    share = (devices - 1) / devices
    factors = {"all-reduce": 2 * share, "reduce-scatter": devices - 1}
    return sum(factors.get(kind, share) * n for kind, n in size.items())


# ---- what is said ----


def table(rows: list[dict[str, Any]]) -> list[str]:
    """What was counted, as a Markdown table."""
    columns = ["network", "layout", "collectives of a step", "devices", "FLOPs"]
    columns += ["state", "difference"]
    return reports.markdown(
        columns,
        [
            [
                *(r["network"], r["layout"], exchanged(r), str(r["devices"])),
                *(f"{r['flops_share']:.3f}", f"{r['state_share']:.3f}"),
                f"{r['difference']:.1e}",
            ]
            for r in rows
        ],
    )


def exchanged(r: dict[str, Any]) -> str:
    """How often and how much, by kind."""
    return ", ".join(
        f"{times} {kind} ({r['bytes'][kind] / 1000:,.0f} kB)"
        for kind, times in r["collectives"].items()
    )


def predictions(report: dict[str, Any]) -> list[str]:
    """The model's efficiencies as a Markdown table."""
    found: dict[tuple[str, str], dict[int, float]] = {}
    for r in report["rows"]:
        if r["devices"] > 1:
            own = found.setdefault((r["network"], r["layout"]), {})
            own |= r["predicted"]
    counts = sorted({n for own in found.values() for n in own})
    columns = ["network", "layout", "examples a device", *map(str, counts)]
    return reports.markdown(
        columns,
        [
            [*names, f"{report['per_device']:,}", *(f"{own[n]:.0%}" for n in counts)]
            for names, own in found.items()
        ],
    )


def short(rows: list[dict[str, Any]]) -> list[str]:
    """What falls short of the requirements."""
    said = []
    for r in rows:
        where = f"{r['network']}, {r['layout']}, {r['devices']} devices"
        if r["data_bytes"]:
            size = f"{r['data_bytes'] / 1000:.1f} kB"
            said += [f"{where}: {size} of all examples are gathered"]
        if r["difference"] > MOST_DIFFERENCE:
            said += [f"{where}: parameters differ by {r['difference']:.1e}"]
        if r["devices"] == 8 and r["flops_share"] > MOST_FLOPS:
            said += [f"{where}: a device does {r['flops_share']:.3f} of the FLOPs"]
        split = r["devices"] == 8 and r["layout"] == "fsdp"
        if split and r["state_share"] > MOST_STATE:
            said += [f"{where}: a device holds {r['state_share']:.3f} of the state"]
    return said


if __name__ == "__main__":
    main()
