# SPDX-License-Identifier: Apache-2.0
"""The small world by itself: equal situations are one, writes meet their preconditions, searches stop where they should."""

import subprocess
import sys
from pathlib import Path

import pytest
from exhaustive import process, server
from exhaustive.scenes import SCENES
from exhaustive.search import Limits, Search
from exhaustive.server import CONFLICT, DONE, EXISTS, GONE
from exhaustive.setting import CALM, Faults, Rig
from exhaustive.space import Space, told
from exhaustive.values import IN, OUT, Action, Pod, Revision, Service, World

POD = Pod("A", 0, phase="Running", healthy=True, gate=IN, ready=True)
WORLD = World(pods=(POD,), listed=(POD.uid,), revisions=(Revision("A", 1),))


def after(space: Space, here: int, *words: str) -> int:
    """The situation after the moves that begin with these words."""
    for word in words:
        here = next(new for label, new, _ in space.moves(here) if told(label).startswith(word))
    return here


def test_the_order_of_what_does_not_touch_is_forgotten():
    space, start = SCENES["roll 2"].space(Faults(sick=1))
    one = after(space, start, "A-1#0 becomes unhealthy", "the user wants", "its cache sees the service")
    two = after(space, start, "the user wants", "its cache sees the service", "A-1#0 becomes unhealthy")
    assert one == two
    assert one != after(space, start, "the user wants", "A-1#0 becomes unhealthy")


def at_rest(space: Space, here: int) -> int:
    while (move := space.quiet(here)) is not None:
        here = move[1]
    return here


def test_uids_that_nobody_remembers_are_given_again():
    """The name of a pod remembers the uid of the one before it, and nobody remembers more: three are enough for ever."""
    space, here = SCENES["in"].space(Faults(fail=7))
    seen: list[int] = []
    for _ in range(7):
        victim = next(pod for pod in space.world(here).pods if pod.slot == 0)
        seen.append(victim.n)
        here = at_rest(space, after(space, here, f"{victim} fails"))
    assert seen == [0, 1, 2, 0, 1, 2, 0]


WRITES = {
    "a pod in the version that is there": (Action("leave", seen=POD), DONE),
    "a pod that has changed since": (Action("leave", seen=POD._replace(ready=False)), CONFLICT),
    "a pod that came back the same, a turn later": (Action("leave", seen=POD._replace(turn=1)), CONFLICT),
    "a pod that is gone": (Action("end", seen=POD._replace(slot=1)), GONE),
    "a pod of that name, another uid": (Action("end", seen=POD._replace(n=1)), CONFLICT),
    "a new pod": (Action("create", "A", 1), DONE),
    "a pod that is there": (Action("create", "A", 0), EXISTS),
    "its successor": (Action("create", "A", 0, former=0), DONE),
    "a revision": (Action("record", "B", value=(2, "A")), DONE),
    "a revision that is recorded": (Action("record", "A", value=(2, "A")), EXISTS),
    "a block on it": (Action("block", seen=Revision("A", 1), value="digest"), DONE),
    "a block on what was blocked since": (Action("block", seen=Revision("A", 1, blocked="other"), value="digest"), CONFLICT),
    "the finalizer": (Action("finalizer", seen=Service(), value=True), DONE),
    "the finalizer of an older service": (Action("finalizer", seen=Service(index=-1), value=True), CONFLICT),
    "the Service": (Action("front"), EXISTS),
    "a trial": (Action("try", "B"), DONE),
}


@pytest.mark.parametrize("what", WRITES)
def test_a_write_meets_what_is_there(what: str):
    action, answer = WRITES[what]
    outcome, world = server.Server().take(WORLD, action, 7)
    assert outcome == answer
    assert (world == WORLD) == (outcome != DONE or action.verb == "try")


def test_what_a_write_does():
    take = server.Server().take
    left = take(WORLD, Action("leave", seen=POD), 0)[1].pods[0]
    assert (left.gate, left.ready, left.live) == (OUT, False, False)
    back = take(WORLD._replace(pods=(left,)), Action("enter", seen=left), 0)[1].pods[0]
    assert back == left._replace(gate=IN, turn=1), "another version than before it left"
    dying = take(WORLD, Action("end", seen=POD), 0)[1].pods[0]
    assert dying.dying
    assert take(WORLD._replace(pods=(dying,)), Action("create", "A", 0), 1)[0] == CONFLICT, "the name of one that is dying"
    failed = POD._replace(phase="Failed")
    assert take(WORLD._replace(pods=(failed,)), Action("end", seen=failed), 0)[1].pods == (), "nobody has to confirm the end of a failed one"
    leaving = Service(finalizer=True, deleting=True)
    assert take(WORLD._replace(service=leaving), Action("finalizer", seen=leaving, value=False), 0)[1].service is None


def test_the_guard_waits_for_what_the_cache_lacks_and_for_nothing_else():
    create, end = Action("create", "A", 0), Action("end", seen=POD)
    assert process.unseen(create, DONE, WORLD, WORLD), "an event that has just happened is in no cache"
    assert not process.unseen(create, EXISTS, WORLD, WORLD)
    assert process.unseen(create, EXISTS, WORLD, WORLD._replace(pods=()))
    assert process.unseen(end, GONE, WORLD._replace(pods=()), WORLD)
    assert not process.unseen(end, GONE, WORLD._replace(pods=()), WORLD._replace(pods=()))


def test_a_search_says_how_far_it_came():
    whole = Search(*SCENES["roll 1"].space()).run()
    assert (whole.whole, whole.states) == (True, 91)
    shallow = Search(*SCENES["roll 1"].space(), Limits(depth=12)).run()
    assert (shallow.whole, shallow.depth) == (False, 12)
    assert shallow.states < whole.states
    few = Search(*SCENES["roll 1"].space(), Limits(states=40)).run()
    assert not few.whole
    assert 40 <= few.states < 50
    assert few.depth < whole.depth
    late = Search(*SCENES["roll 1"].space(), Limits(seconds=0)).run()
    assert (late.whole, late.depth) == (False, 0)


def test_a_trace_can_be_followed():
    space, start = SCENES["change of mind"].space(CALM, Rig(guard=False))
    found = Search(space, start).run()
    *way, last = map(told, found.trace)
    here = after(space, start, *way)
    assert [wrong for label, _, wrong in space.moves(here) if told(label) == last] == [found.wrong]
    assert found.story().splitlines()[-1].endswith(last)


def test_the_command_line_searches_and_counts():
    command = [sys.executable, "-m", "tests.exhaustive", "--scene", "roll bad", "--faults", "none", "--faults", "crash=1,tick=1", "--jobs", "1"]
    done = subprocess.run(command, cwd=Path(__file__).resolve().parents[2], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    rows = done.stdout.splitlines()
    assert len(rows) == 5
    assert all("whole" in each for each in rows)
    assert rows[-1].startswith("4 searches, 4 of them whole: ")
    assert " 0 violations" in rows[-1]
