# SPDX-License-Identifier: Apache-2.0
"""Everything that can happen in a small world, to a stated depth or to the end: each order of writes, watches, faults and edits."""

from collections.abc import Callable, Iterator

import pytest
from exhaustive.scenes import HARMED, ONE_OF_EACH, SCENES
from exhaustive.search import Found, Limits, Search
from exhaustive.setting import CALM, Faults, Rig
from scenarios.ledger import tally

ENOUGH = Limits(states=1200)  # for each search of the fast tier; `python -m tests.exhaustive` goes to the end
Record = Callable[[str, object], None]


def searched(name: str, faults: Faults, rig: Rig, limits: Limits = ENOUGH) -> Found:
    """All states of a scene within the limits; none of them may be wrong."""
    found = Search(*SCENES[name].space(faults, rig), limits).run()
    tally(states=found.states)
    assert not found.wrong, f"{name}, {faults}, {rig}: {found.story()}"
    return found


def rigs(faults: Faults) -> Iterator[Rig]:
    """Both ways in which discovery may be learned of; only what arrives late is not held against its sender."""
    strict = not faults.late
    for prompt in (True, False):
        yield Rig(prompt=prompt, lenient=not strict)


@pytest.mark.parametrize("name", SCENES)
def test_one_fault_at_any_moment(name: str, record_property: Record):
    """No fault, and one of each kind: budgets, slots, drains and the story hold at every step, and from each state it ends well."""
    rows = {kind: [searched(name, faults, rig) for rig in rigs(faults)] for kind, faults in {"none": CALM, **ONE_OF_EACH}.items()}
    told = {kind: " + ".join(f"{each.states} states" + ("" if each.whole else f" to depth {each.depth}") for each in row) for kind, row in rows.items()}
    for kind, text in told.items():
        record_property(kind, text)
    record_property("states", sum(each.states for row in rows.values() for each in row))
    assert all(each.whole or each.depth >= 7 for row in rows.values() for each in row), told


TWO_FAULTS = {
    "a crash and a lost answer": Faults(crash=1, lost=1),
    "a crash and a failed pod": Faults(crash=1, fail=1),
    "a sick pod and the deadline": Faults(sick=1, tick=1),
    "two crashes and a deposition": Faults(crash=2, depose=1),
}


@pytest.mark.parametrize("faults", TWO_FAULTS.values(), ids=TWO_FAULTS.keys())
@pytest.mark.parametrize("name", ["roll 1", "roll bad", "delete", "in"])
def test_faults_together(name: str, faults: Faults):
    searched(name, faults, Rig(lenient=False))


@pytest.mark.parametrize("name", ["roll 2", "in 3", "back 2"])
def test_the_younger_pod_has_the_lesser_name(name: str):
    """Times of creation are equal to the second, so that names decide: the other order is tried too."""
    found = Search(*SCENES[name].space(Faults(fail=1), descending=True), ENOUGH).run()
    assert not found.wrong, found.story()


def test_settling_takes_time():
    """With a settle time nothing ends in the moment in which it left discovery; it does once that is over."""
    found = Search(*SCENES["in"].space(Faults(tick=2), settle="2s")).run()
    assert found.whole, found.story()
    kept = Search(*SCENES["in"].space(Faults(tick=0), settle="2s")).run()
    assert kept.whole
    assert kept.states < found.states


@pytest.mark.parametrize("name", sorted(HARMED))
def test_a_lost_answer_would_do_harm_if_the_caches_were_not_proved(name: str):
    """A write is carried out, its answer is lost, the user changes the spec, and the watch of what was written lags: then too much is made or
    taken, unless the caches are proved before the next decision."""
    without = Search(*SCENES[name].space(Faults(lost=1), Rig(lenient=False, proves=False)), Limits(states=10_000)).run()
    assert without.wrong, "no harm any more: take the scene out of HARMED"
    searched(name, Faults(lost=1), Rig(lenient=False), Limits(states=2500))


def test_a_lost_answer_needs_no_user_to_do_harm():
    """A pod fails, its successor is made and the answer lost; the roll goes on with a cache that lacks it."""
    faults = Faults(lost=1, fail=1)
    without = Search(*SCENES["roll bare"].space(faults, Rig(lenient=False, proves=False)), Limits(states=6000)).run()
    assert without.wrong == "2 instances, at most 1"
    searched("roll bare", faults, Rig(lenient=False), Limits(states=9000))


def test_a_good_revision_would_be_blocked_by_a_write_whose_answer_was_lost():
    """The deadline passes, the block is written and its answer lost; meanwhile the revision makes it. It would serve, and nobody could come
    back to it."""
    faults = Faults(lost=1, tick=1)
    without = Search(*SCENES["roll 1"].space(faults, Rig(lenient=False, proves=False)), Limits(states=6000)).run()
    assert without.wrong == "the stable revision B is blocked"
    searched("roll 1", faults, Rig(lenient=False), Limits(states=6000))
