# SPDX-License-Identifier: Apache-2.0
"""Play schedules by their seeds: one with all that happens in it, or thousands of them on all cores.

`make scenario SEED=17` and `make scenarios-long SEEDS=10000 FIRST=1000` call it.
"""

import argparse
import os
import sys
import time
import traceback
from multiprocessing import Pool
from typing import NamedTuple

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


def main() -> int:
    """Parse the command line."""
    parser = argparse.ArgumentParser(prog="scenarios", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    which = parser.add_mutually_exclusive_group(required=True)
    which.add_argument("--seed", type=int, help="play this one and print what was written")
    which.add_argument("--seeds", type=int, help="play so many")
    parser.add_argument("--first", type=int, default=0, help="the first of them (default 0)")
    options = parser.parse_args()
    return show(options.seed) if options.seed is not None else play_all(options.first, options.seeds)


if __name__ == "__main__":
    sys.exit(main())
