# SPDX-License-Identifier: Apache-2.0
"""The checker itself is tried: whatever is wrong on purpose must be found, with a trace that can be read."""

from dataclasses import dataclass
from importlib import import_module
from typing import Any

import pytest
from exhaustive.scenes import SCENES
from exhaustive.search import Found, Limits, Search
from exhaustive.setting import CALM, REAL, Faults, Rig

from drover_controllers.service import drain
from drover_controllers.service.failover import cattle

decide: Any = import_module("drover_controllers.service.decide")  # the package exports functions of these names
filling: Any = import_module("drover_controllers.service.filling")
report: Any = import_module("drover_controllers.service.report")
course: Any = import_module("drover_controllers.service.rollout.course")
ENOUGH = Limits(states=8000)


@dataclass(frozen=True)
class Mutant:
    """What is wrong, in which life it shows, and how it is told. `patch` replaces a name of a module of the real core."""

    scene: str
    says: str
    faults: Faults = CALM
    rig: Rig = REAL
    patch: tuple[Any, str, Any] | None = None


MUTANTS = {
    # the engine, the executor and the server
    "no versions: a write is taken whatever the object is by now": Mutant(
        "create 1", "after phase Provision comes", Faults(lost=1), Rig(versions=False, proves=False)
    ),
    "no names: a create that is repeated makes another pod": Mutant(
        "create 2", "a slot is filled twice", Faults(lost=1), Rig(names=False, lenient=False, proves=False)
    ),
    "no guard: decides on caches that lack its own writes": Mutant("change of mind", "3 instances, at most 2", rig=Rig(guard=False)),
    "no fence: a deposed process goes on writing": Mutant("create 1", "a write of a deposed process was taken", Faults(depose=1), Rig(fence=False)),
    "no barrier: a standby decides on old caches": Mutant("change of mind", "3 instances, at most 2", Faults(crash=1), Rig(barrier=False)),
    "no stop: creates although the leaving failed": Mutant("create, delete", "a pod of a service that is gone", rig=Rig(stops=False)),
    # the core
    "ends who serves": Mutant("in", "is in service and ends", patch=(drain, "leave", lambda instance, _now, reason: drain.end(instance, reason))),
    "does not wait for discovery": Mutant("in", "is still listed and ends", patch=(drain, "drained", lambda *_: None)),
    "no budget: all that is too many leaves at once": Mutant(
        "pause", "0 available, at least 1", patch=(filling, "_within_budget", lambda _draft, victims: victims)
    ),
    "no write-ahead": Mutant("create bad", "the goal is not reached", Faults(lost=1), patch=(decide, "_begins", lambda *_: False)),
    "the dead block the name": Mutant("roll 1", "the goal is not reached", Faults(fail=1), patch=(cattle, "predecessor", lambda *_: None)),
    "the dead are kept": Mutant("roll 1", "the goal is not reached", Faults(fail=1), patch=(cattle, "buried", lambda *_: [])),
    "no deadline": Mutant("roll bad", "the goal is not reached", patch=(decide, "overdue", lambda *_: None)),
    "no rollback": Mutant("roll bad", "the goal is not reached", patch=(course, "given_up", lambda *_: False)),
    "the finalizer goes first": Mutant("delete", "in service without a service", patch=(decide, "_given_up", lambda *_: True)),
    "phases leap": Mutant(
        "create refused", "after phase None comes None -> Failed", patch=(report, "path", lambda before, after: (after,) * (before != after))
    ),
}


def tried(mutant: Mutant, monkeypatch: pytest.MonkeyPatch) -> Found:
    if mutant.patch is not None:
        monkeypatch.setattr(*mutant.patch)
    return Search(*SCENES[mutant.scene].space(mutant.faults, mutant.rig), ENOUGH).run()


@pytest.mark.parametrize("name", MUTANTS)
def test_what_is_wrong_is_found(name: str, monkeypatch: pytest.MonkeyPatch):
    mutant = MUTANTS[name]
    found = tried(mutant, monkeypatch)
    assert mutant.says in found.wrong, f"not found in {found.states} states: {found.wrong}"
    print(f"{name}\n{found.story()}")
    assert 1 < len(found.trace) <= 60
    assert found.story().count("\n") == len(found.trace)


@pytest.mark.parametrize("name", [name for name, mutant in MUTANTS.items() if mutant.patch is not None])
def test_what_is_right_is_not(name: str):
    """The same search without the mistake."""
    mutant = MUTANTS[name]
    found = Search(*SCENES[mutant.scene].space(mutant.faults, mutant.rig), ENOUGH).run()
    assert not found.wrong, found.story()
