# SPDX-License-Identifier: Apache-2.0
"""What `--for` waits for: never an old status, and no waiting for what cannot come."""

from datetime import UTC, datetime
from typing import Any, get_args

import msgspec
import pytest
from cli.samples import condition, conditions, failed, healthy_service, many, rolled_back, service, updating

from drover_operator.api.managedservice import ManagedService, Phase
from drover_operator.cli.goal import STATES, goal, judge
from drover_operator.cli.outcome import Failure

GONE = None
DELETED_AT = datetime(2026, 3, 1, tzinfo=UTC)
STALLED = {"Stalled": condition("Stalled", "True", "NameConflict", "Service 'x' is not ours"), "Ready": condition("Ready", "False", "NameConflict")}


def deleting(shown: ManagedService) -> ManagedService:
    return msgspec.structs.replace(shown, metadata=msgspec.structs.replace(shown.metadata, deletion_timestamp=DELETED_AT, finalizers=("drover.dev/drain",)))


def behind(**status: Any) -> ManagedService:
    return service(generation=5, **status)


# why, goal, service, reached, a part of what is missing, a part of why waiting does not help ("" for: it may help)
VERDICTS = [
    ("it runs, whole", "run", healthy_service(), True, "", ""),
    ("the change that was just applied has not been looked at: all that is good is old", "run", behind(), False, "generation 5, seen 4", ""),
    ("the same for a condition", "ready", behind(), False, "is it running?", ""),
    ("the same for a phase", "update", behind(phase="Update"), False, "is it running?", ""),
    ("a failure of the spec before is no failure of this one", "run", behind(phase="Failed", conditions=conditions(**STALLED)), False, "seen 4", ""),
    ("it is being rolled out", "run", updating(), False, "phase Update, 3/3 in service, RollingOut", ""),
    ("Run with instances missing is not whole, and is repaired", "run", many(), False, "InstancesMissing", ""),
    ("Run without a condition Ready, as from an operator that has not said", "run", service(conditions=[]), False, "phase Run", ""),
    ("rolled back: phase Run, and not what was wanted", "run", rolled_back(), False, "RolledBack", "Next: Change the template"),
    ("failed, with the next step", "run", failed(), False, "phase Failed", "ProgressDeadlineExceeded: revision 'checkout-m42ndlfs' made"),
    ("Failed without a condition, as from an older operator", "run", service(phase="Failed", conditions=[]), False, "phase Failed", "phase Failed"),
    ("a reason of a newer operator has no next step", "run", service(conditions=conditions(Stalled=condition("Stalled", "True", "New", "x"))), False, "", "New: x"),
    ("no operator", "run", service(phase=None), False, "no operator has looked", ""),
    ("gone", "run", GONE, False, "it is gone", "it was deleted"),
    ("on its way out", "run", deleting(healthy_service()), False, "it is being deleted", "it is being deleted"),
    ("ready is the condition", "ready", healthy_service(), True, "", ""),
    ("not ready", "READY", updating(), False, "Ready=False, phase Update", ""),
    ("a phase", "Update", updating(), True, "", ""),
    ("another phase", "scale", updating(), False, "phase Update", ""),
    ("to wait for trouble is no mistake: failed", "failed", rolled_back(), False, "phase Run", ""),
    ("nor rollback", "rollback", failed(), False, "phase Failed", ""),
    ("a condition as kubectl wait writes it", "condition=Stalled", rolled_back(), True, "", ""),
    ("with a status", "condition=stalled=false", healthy_service(), True, "", ""),
    ("a stalled service does not stop being so by itself", "condition=Stalled=False", rolled_back(), False, "Stalled=True", "RolledBack"),
    ("trouble that is waited for and is not there yet", "condition=Degraded", rolled_back(), False, "Degraded=False", ""),
    ("a condition that nobody sets", "condition=Nonsense", healthy_service(), False, "no condition Nonsense", ""),
    ("deleted", "deleted", GONE, True, "", ""),
    ("not deleted by anybody yet", "deleted", healthy_service(), False, "nobody has deleted it", ""),
    ("being deleted, instances drain", "deleted", deleting(healthy_service()), False, "3 instances are left", ""),
    ("being deleted, no instance left", "delete", deleting(service(counts={})), False, "its finalizers are left: drover.dev/drain", ""),
    ("the phase of the deletion", "destroy", deleting(service(phase="Destroy")), True, "", ""),
    ("spec.paused keeps it from getting on", "run", service(phase="Update", conditions=conditions(Progressing=condition("Progressing", "Unknown", "Paused"))), False, "spec.paused is set", ""),
]  # fmt: skip


@pytest.mark.parametrize(("why", "text", "shown", "reached", "missing", "stuck"), VERDICTS, ids=[row[0] for row in VERDICTS])
def test_verdicts(why: str, text: str, shown: ManagedService | None, reached: bool, missing: str, stuck: str) -> None:
    verdict = judge(goal(text), shown)
    assert verdict.reached is reached, why
    assert missing in verdict.missing, why
    assert stuck in verdict.stuck and bool(stuck) == bool(verdict.stuck), why


def test_what_was_applied_counts_even_before_the_watch_shows_it() -> None:
    """The answer to the apply named generation 6; a list from a moment before has 4, looked at and healthy."""
    assert judge(goal("run"), healthy_service(), least=6).missing.endswith("(generation 6, seen 4); is it running?")


def test_a_condition_of_an_older_look_does_not_count() -> None:
    old = {**condition("Ready", "True", "Healthy"), "observedGeneration": 3}
    assert not judge(goal("ready"), service(conditions=[old])).reached
    assert judge(goal("ready"), service(conditions=[{**old, "observedGeneration": 4}])).reached


@pytest.mark.parametrize("text", STATES)
def test_every_state_that_is_offered_is_one(text: str) -> None:
    assert goal(text).text == text


def test_the_states_are_all_phases() -> None:
    assert {each.lower() for each in get_args(Phase)} <= set(STATES)


@pytest.mark.parametrize("text", ["", "runn", "condition", "condition=", "condition=Ready=Maybe", "jsonpath={.status}"])
def test_nonsense_is_wrong_usage(text: str) -> None:
    with pytest.raises(Failure, match="is nothing to wait for: it can be run, ready, deleted, provision") as raised:
        goal(text)
    assert raised.value.code == 4
