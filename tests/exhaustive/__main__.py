# SPDX-License-Identifier: Apache-2.0
"""Look through the small lives for as long as you like: every order of everything, or all of it up to a depth.

    python -m tests.exhaustive --minutes 10
    python -m tests.exhaustive --depth 12 --faults all
    python -m tests.exhaustive --scene "roll 2" --faults crash=1,fail=2

Each search has a share of the time that is left; what it did not get to is said. A search that went to its end says "whole".
"""

import argparse
import sys
import time
from multiprocessing import Pool
from pathlib import Path
from typing import NamedTuple

if __package__ != "exhaustive":  # started from the root of the project
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from exhaustive.scenes import ONE_OF_EACH, SCENES
from exhaustive.search import Found, Limits, Search
from exhaustive.setting import CALM, Faults, Rig

ALL = Faults(*(1 for _ in CALM))
LOSS = Faults(crash=2, depose=1, lost=2, late=1)
PAIRS = {
    "crash, lost": Faults(crash=1, lost=1),
    "crash, fail": Faults(crash=1, fail=1),
    "lost, tick": Faults(lost=1, tick=1),
    "fail, tick": Faults(fail=1, tick=1),
    "lost, fail": Faults(lost=1, fail=1),
    "sick, fail": Faults(sick=1, fail=1),
    "crash twice": Faults(crash=2),
    "fail twice": Faults(fail=2),
}
FAULTS = {"none": CALM, **ONE_OF_EACH, **PAIRS, "loss": LOSS, "all": ALL}
MOST = 3_000_000  # states of one search: about a gigabyte


class Task(NamedTuple):
    """One search; `rank` of `count` in the row, which ends at `until` and is worked on by `jobs` processes."""

    scene: str
    faults: str
    prompt: bool
    depth: int
    rank: int
    count: int
    until: float
    jobs: int


def faults_of(text: str) -> Faults:
    """A name of the list, or "crash=1,fail=2"."""
    if text in FAULTS:
        return FAULTS[text]
    return Faults(**{name: int(number) for name, _, number in (each.partition("=") for each in text.split(","))})


def look(task: Task) -> tuple[Task, Found]:
    """Search as long as the share of this task allows. Only what arrives late is not held against its sender."""
    faults = faults_of(task.faults)
    left = max(0.2, task.until - time.time())
    share = min(left, 3 * left * task.jobs / (task.count - task.rank))  # most are over long before their share is
    lenient = bool(faults.late)
    space, start = SCENES[task.scene].space(faults, Rig(prompt=task.prompt, lenient=lenient))
    return task, Search(space, start, Limits(task.depth, MOST, share)).run()


def say(task: Task, found: Found) -> None:
    """One line, and the story if something is wrong."""
    reach = "whole" if found.whole else f"to depth {found.depth}"
    discovery = "with pods" if task.prompt else "lagging"
    rate = found.states / max(found.seconds, 1e-6)
    print(f"{task.scene:16} {task.faults:14} {discovery:9} {found.states:>9,} states {reach:12} {rate:>8,.0f} states/s", flush=True)
    if found.wrong:
        print(found.story(), flush=True)


def row(options: argparse.Namespace) -> list[Task]:
    """All searches that were asked for, in turn through the faults, so that a short run sees each scene."""
    scenes, kinds = options.scene or list(SCENES), options.faults or list(FAULTS)
    names = [(scene, kind, prompt) for kind in kinds for prompt in (True, False) for scene in scenes]
    until = time.time() + 60 * options.minutes
    return [Task(*each, options.depth, rank, len(names), until, options.jobs) for rank, each in enumerate(names)]


def main() -> int:
    """Parse the command line and search."""
    parser = argparse.ArgumentParser(prog="exhaustive", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--depth", type=int, default=10**6, help="so many moves from the beginning (default: to the end)")
    parser.add_argument("--minutes", type=float, default=2.0, help="for about so long (default 2)")
    parser.add_argument("--scene", action="append", choices=SCENES, help="only this one; may be repeated")
    parser.add_argument("--faults", action="append", help=f"only these; may be repeated: {', '.join(FAULTS)}; or such as crash=1,fail=2")
    parser.add_argument("--jobs", type=int, default=2, help="processes (default 2)")
    options = parser.parse_args()
    tasks, begun = row(options), time.monotonic()
    with Pool(options.jobs, maxtasksperchild=8) as pool:
        done = [found for task, found in pool.imap(look, tasks) if say(task, found) is None]
    return total(done, time.monotonic() - begun)


def total(done: list[Found], seconds: float) -> int:
    """The last line; 1 if anything was wrong."""
    whole, wrong = sum(each.whole for each in done), sum(bool(each.wrong) for each in done)
    states, moves = sum(each.states for each in done), sum(each.moves for each in done)
    print(
        f"{len(done)} searches, {whole} of them whole: {states:,} states, {moves:,} moves, {wrong} violations, {seconds:.0f} s, {states / seconds:,.0f} states/s"
    )
    return int(wrong > 0)


if __name__ == "__main__":
    sys.exit(main())
