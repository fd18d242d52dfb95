# SPDX-License-Identifier: Apache-2.0
"""Is the doctor right? Planted faults and healthy runs, really trained.

The cases are a table, `tests/doctor/cases.py`: one set is kept as tests, and two are
held out. A hit is a planted fault that `nn.diagnose` names first, or a healthy run that
it calls healthy.
"""

import argparse
import json
import sys
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import jax

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "doctor"))

import reports
from cases import SETS


def main(argv: list[str] | None = None) -> dict[str, Any]:
    """Run the bench; gives what is written to the JSON file."""
    args = parse(argv)
    chosen = [
        (half, case)
        for half in args.halves
        for case in SETS[half]
        if args.only.lower() in case.name.lower()
    ]
    if not chosen:
        raise SystemExit(f"no case has {args.only!r} in its name")
    rows = [
        one(half, case, args.verbose, number == 0 or number % 20 == 0)
        for number, (half, case) in enumerate(chosen)
    ]
    report = {"machine": reports.machine(), "rows": rows, "rates": rates(rows)}
    print("\n" + "\n".join(report["rates"].values()))
    path = Path(args.out, "doctor.json")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(report, indent=2) + "\n")
    print(f"\nwrote {path}")
    return report


def parse(argv: list[str] | None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    add = parser.add_argument
    add("--halves", nargs="+", choices=SETS, default=list(SETS))
    add("--only", default="", help="cases with this in their name")
    add("--verbose", action="store_true", help="print the report of every miss")
    add("--out", default="out/benchmarks")
    return parser.parse_args(argv)


def one(half: str, case: Any, verbose: bool, heading: bool) -> dict[str, Any]:
    """Train a case, ask the doctor and print a line."""
    run = case.run()
    begun = time.perf_counter()
    report = run.diagnose()
    seconds = time.perf_counter() - begun
    expected, said = case.expected or "healthy", [*report.names, "healthy"][0]
    row = {
        **{"half": half, "case": case.name, "expected": expected, "first": said},
        **{"hit": said == expected, "named": expected in (*report.names, said)},
        "seconds": seconds,
    }
    if heading:
        print(f"\n{'half':<9} {'case':<29} {'expected':<24} {'said first':<24} hit")
    word = "hit" if row["hit"] else "named" if row["named"] else "MISS"
    print(f"{half:<9} {case.name:<29} {expected:<24} {said:<24} {word}", flush=True)
    if verbose and not row["hit"]:
        print(report)
    jax.clear_caches()  # so many programs take more mappings than a process may have
    return row


def rates(rows: list[dict[str, Any]]) -> dict[str, str]:
    """Hits of each half, and false alarms, in words."""
    said = {}
    for half in SETS:
        sick = [r for r in rows if r["half"] == half and r["expected"] != "healthy"]
        well = [r for r in rows if r["half"] == half and r["expected"] == "healthy"]
        if not sick + well:
            continue
        alarms = sum(not r["hit"] for r in well)
        said[half] = (
            f"{half}: {_share(r['hit'] for r in sick)} named first, "
            f"{_share(r['named'] for r in sick)} named at all; {alarms} false alarms "
            f"on {len(well)} healthy runs"
        )
    return said


def _share(hits: Iterable[bool]) -> str:
    hits = list(hits)
    share = f" ({sum(hits) / len(hits):.0%})" if hits else ""
    return f"{sum(hits)} of {len(hits)}{share}"


if __name__ == "__main__":
    main()
