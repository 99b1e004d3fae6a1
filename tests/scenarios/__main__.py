# SPDX-License-Identifier: Apache-2.0
"""Play schedules by their seeds: one with all that happens in it, or thousands of them on all cores.

`make scenario SEED=17` and `make scenarios-long SEEDS=10000 FIRST=1000` call it. `--specs 10000` compares plans with deeds instead, one random
service after the other.
"""

import argparse
import os
import sys
import time
import traceback
from collections import Counter
from multiprocessing import Pool
from typing import NamedTuple

from scenarios.foresight import by_wish
from scenarios.schedules import run, schedule
from scenarios.world import World


class Outcome(NamedTuple):
    """How one seed ended; no problem is a good end."""

    seed: int
    instants: int
    problem: str


def played(seed: int) -> Outcome:
    """Play one seed."""
    try:
        return Outcome(seed, run(schedule(seed)).watcher.instants, "")
    except Exception as error:  # noqa: BLE001  whatever it is, the seed is named and the others go on
        return Outcome(seed, 0, f"{type(error).__name__}: {error}"[:1000])


def show(seed: int) -> int:
    """Play one seed and print what the operators wrote."""
    print(schedule(seed))
    worlds: list[World] = []
    problem = ""
    try:
        run(schedule(seed), worlds.append)
    except Exception:  # noqa: BLE001  shown after the history that led to it
        problem = traceback.format_exc()
    for write in worlds[0].cluster.writes:
        if write.user.startswith(("drover", "kubectl")) and write.changed:
            print(f"{write.time % 86400:9.3f} s  {write.user:20} {write.status} {write.verb} {write.resource}/{write.subresource} {write.name}")
    print(problem or "it ended well")
    return int(bool(problem))


def play_all(first: int, count: int) -> int:
    """Play many; print the failures with the command that plays each again, and the counts."""
    begun, instants, failed = time.monotonic(), 0, 0
    with Pool(os.cpu_count()) as pool:
        for number, outcome in enumerate(pool.imap_unordered(played, range(first, first + count), chunksize=5), 1):
            instants += outcome.instants
            if outcome.problem:
                failed += 1
                print(f"FAILED {schedule(outcome.seed)}\n  {outcome.problem}\n  replay: make scenario SEED={outcome.seed}", flush=True)
            if number % 500 == 0:
                print(f"{number} of {count} schedules, {failed} failed, {60 * number / (time.monotonic() - begun):.0f} a minute", flush=True)
    print(f"{count} schedules, {failed} failed, invariants asked at {instants} instants, {time.monotonic() - begun:.0f} s")
    return int(failed > 0)


def foreseen(seed: int) -> tuple[int, Counter[str], str]:
    """Compare plans and deeds along one seed; the last of the answer is what was wrong."""
    try:
        return seed, by_wish(seed), ""
    except Exception as error:  # noqa: BLE001  as above
        return seed, Counter(), f"{type(error).__name__}: {error}"[:1000] + "".join(f"\n  {note}" for note in error.__notes__)


def foresee_all(first: int, count: int, jobs: int) -> int:
    """Compare along many seeds; print what differs, and how much was compared."""
    begun, failed, tally = time.monotonic(), 0, Counter[str]()
    with Pool(jobs) as pool:
        for seed, met, problem in pool.imap_unordered(foreseen, range(first, first + count), chunksize=5):
            tally += met
            if problem:
                failed += 1
                print(f"DIFFERS {problem}\n  replay: PYTHONPATH=tests python -m scenarios --specs 1 --first {seed}", flush=True)
            if tally["seeds"] % 500 == 0:
                print(f"{tally['seeds']} of {count} seeds, {failed} differ, {time.monotonic() - begun:.0f} s", flush=True)
    for kind, number in sorted(tally.items()):
        print(f"  {number:>9,} {kind}")
    plans, last = tally["scenarios"], first + count - 1
    print(f"seeds {first} to {last}: {tally['specs']:,} specs, {plans:,} plans compared with what was done, {failed} differ, {time.monotonic() - begun:.0f} s")
    return int(failed > 0)


def main() -> int:
    """Parse the command line."""
    parser = argparse.ArgumentParser(prog="scenarios", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    which = parser.add_mutually_exclusive_group(required=True)
    which.add_argument("--seed", type=int, help="play this one and print what was written")
    which.add_argument("--seeds", type=int, help="play so many")
    which.add_argument("--specs", type=int, help="compare plans with deeds for so many random services")
    parser.add_argument("--first", type=int, default=0, help="the first of them (default 0)")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="processes of --specs (default: all cores)")
    options = parser.parse_args()
    if options.specs is not None:
        return foresee_all(options.first, options.specs, options.jobs)
    return show(options.seed) if options.seed is not None else play_all(options.first, options.seeds)


if __name__ == "__main__":
    sys.exit(main())
