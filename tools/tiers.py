# SPDX-License-Identifier: Apache-2.0
"""Run test tiers one after the other and say at the end which ran, with how many tests, and what was skipped and why."""

import argparse
import re
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
TIERS = {
    "fast": (
        "unit, tables, properties, scenarios, exhaustive, conformance, cli, style: no cluster",
        ["-n", "auto", "--dist", "worksteal", "-m", "not api and not real"],
    ),
    "scenarios": ("the suites in the simulator, a part of fast", ["-n", "auto", "--dist", "worksteal", "tests/scenarios", "tests/exhaustive"]),
    "api": ("real kube-apiserver, etcd, controller manager, scheduler; pods on kwok nodes", ["-m", "api"]),
    "real": ("real nodes: kubelets, containers, networks, under load and damage; as root", ["-m", "real"]),
}
SUMMARY = re.compile(r"^=+ (?P<counts>.*(?:passed|failed|error|skipped|no tests ran).*) in [0-9.]+s")


@dataclass(frozen=True)
class Outcome:
    """How one tier ended."""

    tier: str
    code: int
    counts: str
    seconds: float


def run(tier: str, extra: list[str]) -> Outcome:
    """Run one tier, showing its output as it comes."""
    what, selection = TIERS[tier]
    print(f"--- tier {tier}: {what}", flush=True)
    started, counts = time.monotonic(), "no summary"
    command = [sys.executable, "-m", "pytest", "-q", *selection, *extra]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        for line in process.stdout or ():
            print(line, end="", flush=True)
            if match := SUMMARY.match(line.strip()) or re.match(r"^(?P<counts>[0-9]+ (?:passed|failed).*) in [0-9.]+s", line):
                counts = match["counts"]
    return Outcome(tier, process.returncode, counts, time.monotonic() - started)


def main() -> int:
    """Run the tiers asked for; the exit code is 1 if any failed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("tiers", nargs="+", choices=sorted(TIERS))
    options, extra = parser.parse_known_args()
    outcomes = [run(tier, extra) for tier in options.tiers]
    print()
    for each in outcomes:
        print(f"tier {each.tier}: {'ok' if each.code == 0 else 'FAILED'}: {each.counts}, {each.seconds:.0f} s")
    for tier in sorted(set(TIERS) - set(options.tiers) - ({"scenarios"} if "fast" in options.tiers else set())):
        print(f"tier {tier}: not asked for")
    return max(min(each.code, 1) for each in outcomes)


if __name__ == "__main__":
    sys.exit(main())
