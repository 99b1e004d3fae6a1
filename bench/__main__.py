# SPDX-License-Identifier: Apache-2.0
"""`python -m bench [GROUP ...]`: measure, print a table, write `bench/out/latest.json`. A goal that is missed is told and fails nothing."""

import argparse
import os
import platform
import signal
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec

from bench import table
from bench.rows import NotMeasured, groups, rows
from drover_operator.observe import logs

OUT = Path(__file__).parent / "out" / "latest.json"


def main(arguments: list[str] | None = None) -> int:
    """Run the groups asked for, all of them by default; 2 when there is none of that name, 1 when something could not be measured."""
    parser = argparse.ArgumentParser(prog="bench", description=__doc__)
    parser.add_argument("groups", nargs="*", metavar="GROUP", help=f"one of {', '.join(groups())}; all by default")
    asked: list[str] = parser.parse_args(arguments).groups or [*groups()]
    if unknown := [name for name in asked if name not in groups()]:
        print(f"error: there is no group '{unknown[0]}'; choose from {', '.join(groups())}", file=sys.stderr)
        return 2
    logs.configure("console", "critical")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))  # control planes are taken down on the way out
    try:
        run = _run(asked)
    except NotMeasured as why:
        print(f"error: {why}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("interrupted: nothing is written", file=sys.stderr)
        return 128 + signal.SIGINT
    OUT.parent.mkdir(exist_ok=True)
    OUT.write_bytes(msgspec.json.format(msgspec.json.encode(run), indent=2) + b"\n")
    print(f"\n{table.verdict(run['rows'])}; load {run['load_after'][0]:.2f} now; bench/out/latest.json")
    return 0


def _run(asked: list[str]) -> dict[str, Any]:
    """Measure every row of the groups, printing each as it comes."""
    cores, load = len(os.sched_getaffinity(0)), os.getloadavg()
    print(f"Python {platform.python_version()} on {cores} cores, load {load[0]:.2f}: above {cores} the machine is shared, and figures are worse\n")
    print(table.header())
    results: list[dict[str, Any]] = []
    for each in (row for name in asked for row in rows(name)):
        results.append(each.result(each.measure()))
        print(table.line(results[-1]), flush=True)
    return {
        "at": datetime.now(tz=UTC).isoformat(timespec="seconds"),
        "python": platform.python_version(),
        "cores": cores,
        "load_before": load,
        "load_after": os.getloadavg(),
        "rows": results,
    }


if __name__ == "__main__":
    sys.exit(main())
