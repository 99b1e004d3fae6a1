# SPDX-License-Identifier: Apache-2.0
"""The long run: python -m tests.scenarios.fuzz [--seeds 1000] [--from 0] [--minutes 10] [--alone] [--keep 2,5].

One line for each seed that fails, with the command that plays it again, and what is left of its operations when it is made small. Exit
code 1 if any did. `--keep` plays only those operations of the first seed, counted from 0. `--alone` plays every operation by itself, from
every first spec, before the seeds.
"""

import argparse
import sys
import time
from collections import Counter
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from scenarios.fuzz.operations import Step, operations, rounds, sequence
from scenarios.fuzz.specs import FIRST
from scenarios.fuzz.trial import Trial, of_seed, smaller, sweep, trial

MODULE = "python -m tests.scenarios.fuzz"
PAUSE, PAUSE_OF_ACTS = 3.0, 45.0  # seconds that an operation alone has before it is taken back


def main() -> int:
    """Play the seeds."""
    parser = argparse.ArgumentParser(prog=MODULE, description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=rounds(), help="how many; a round of all operations by default")
    parser.add_argument("--from", dest="first", type=int, default=0, help="the first seed")
    parser.add_argument("--minutes", type=float, default=0.0, help="stop after so many; 0: when all are played")
    parser.add_argument("--alone", action="store_true", help="play every operation by itself too")
    parser.add_argument("--keep", default="", help="only these operations of the first seed, such as 2,5")
    options = parser.parse_args()
    if options.keep:
        return _replay(options.first, [int(each) for each in options.keep.split(",")])
    failed = sum(_alone(first) for first in FIRST) if options.alone else 0
    return min(failed + _play(range(options.first, options.first + options.seeds), options.minutes * 60.0), 1)


def _alone(first: str) -> int:
    names = [each.name for each in operations().values() if each.expect != "refused" and not each.heavy]
    result = sweep(first, [Step(name, PAUSE if name.startswith(("spec.", "metadata.")) else PAUSE_OF_ACTS) for name in names])
    print(f"alone, from '{first}': {result.tally['accepted']} accepted, {result.tally['refused']} refused, {len(result.problems)} problems", flush=True)
    for each in dict.fromkeys(result.problems):
        print(f"    !! {each[:1000]}")
    return len(result.problems)


def _play(seeds: range, limit: float) -> int:
    tally, failed, begun = Counter[str](), 0, time.monotonic()
    for seed in seeds:
        result = of_seed(seed)
        tally.update(result.tally | Counter(seeds=1))
        if result.problems:
            failed += 1
            _show(smaller(result))
        if limit and time.monotonic() - begun > limit:
            break
    seconds, done = time.monotonic() - begun, tally["accepted"] + tally["refused"]
    print(
        f"{tally['seeds']} seeds from {seeds.start}: {done} operations of {len(operations())} kinds, {seconds:.0f} s, {done / seconds:.0f}/s, {failed} failed"
    )
    print(", ".join(f"{name} {count}" for name, count in sorted(tally.items())))
    return failed


def _replay(seed: int, keep: list[int]) -> int:
    first, steps = sequence(seed)
    result = trial(first, shortened(steps, keep), seed)
    _show(result)
    return min(len(result.problems), 1)


def shortened(steps: list[Step], keep: list[int]) -> list[Step]:
    """Those steps alone, each at its time."""
    kept, pause = list[Step](), 0.0
    for index, step in enumerate(steps):
        pause += step.pause
        if index in keep:
            kept.append(Step(step.name, pause))
            pause = 0.0
    return kept


def _show(result: Trial) -> None:
    """One line, then the operations that are left and what was found."""
    names = [step.name for step in sequence(result.seed)[1]]
    keep = ",".join(str(names.index(step.name)) for step in result.steps)
    verdict = f"FAIL seed {result.seed} ({', '.join(sorted(result.oracles))})" if result.problems else f"seed {result.seed} holds"
    print(f"{verdict}: {MODULE} --from {result.seed} --keep {keep}", flush=True)
    for line in (f"from '{result.first}'", *result.log, *(f"!! {each}" for each in dict.fromkeys(result.problems))):
        print(f"    {line[:1000]}")


if __name__ == "__main__":
    sys.exit(main())
