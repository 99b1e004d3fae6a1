# SPDX-License-Identifier: Apache-2.0
"""The eight phases and the only edges between them (requirement M2). A phase is a projection for people; it gates nothing.

Two looks may lie further apart than one edge: then the phases in between are passed through, so that the history is always a path in
the table.
"""

from collections import deque
from typing import get_args

from drover_controllers.service.rollout import gates
from drover_controllers.service.rollout.course import overdue
from drover_controllers.service.values import Facts, ServicePlan
from drover_operator.api.managedservice import Phase
from drover_operator.core.reasons import Reason

PHASES: tuple[Phase, ...] = get_args(Phase)
EDGES: dict[Phase | None, tuple[Phase, ...]] = {
    None: ("Provision",),
    "Provision": ("Ready", "Failed", "Destroy"),
    "Ready": ("Run", "Failed", "Destroy"),
    "Run": ("Update", "Scale", "Rollback", "Failed", "Destroy"),
    "Update": ("Run", "Rollback", "Failed", "Destroy"),
    "Scale": ("Run", "Failed", "Destroy"),
    "Rollback": ("Run", "Failed", "Destroy"),
    "Failed": ("Provision", "Update", "Rollback", "Scale", "Destroy"),
    "Destroy": (),
}


def phase(facts: Facts, plan: ServicePlan) -> Phase:
    """What the service is doing, by priority: Destroy, Failed, Rollback, Update, then Scale, Provision, Ready, Run."""
    if facts.service.metadata.deletion_timestamp is not None:
        return "Destroy"
    way, memory = plan.course, plan.memory
    if failed(facts, plan):
        return "Failed"
    if not plan.whole:
        if way.kind in ("Rollback", "Update"):
            return way.kind
        if way.kind == "Provision":
            return "Ready" if started(plan) else "Provision"
    return "Run" if memory.settled_replicas == plan.demand.replicas else "Scale"


def failed(facts: Facts, plan: ServicePlan) -> bool:
    """Whether nothing serves and nothing will without a person: no good revision, and the wanted one cannot or does not come up."""
    if plan.course.stable:
        return stuck(facts, plan) and not any(each.in_service for each in plan.population.values())
    if plan.course.problem in (Reason.INVALID_TEMPLATE, Reason.REVISION_COLLISION, Reason.PIN_NOT_FOUND):
        return True
    if gates.failed(plan.memory, plan.course.target) is not None:
        return True
    left = overdue(facts, plan.memory, plan.course)
    return left is not None and left <= 0 and not plan.whole


def stuck(facts: Facts, plan: ServicePlan) -> bool:
    """Whether the way back, or to a pin, makes no progress: nothing is left that could be done without a person. It is tried on all the same."""
    back = plan.course.kind == "Rollback" or (plan.course.kind == "Update" and facts.service.spec.pin is not None)
    others = sum(each.live for name, each in plan.population.items() if name != plan.course.target)
    arrived = not others and plan.memory.progressed > 0  # what is missing then is scaling, or repair
    if not back or plan.whole or arrived:
        return False
    left = overdue(facts, plan.memory, plan.course)
    return (left is not None and left <= 0) or gates.failed(plan.memory, plan.course.target) is not None


def started(plan: ServicePlan) -> bool:
    """Whether all wanted instances run, healthy or not."""
    running = sum(1 for each in plan.roster if each.live and each.pod.status.phase == "Running")
    return running >= plan.demand.replicas


def path(before: Phase | None, after: Phase) -> tuple[Phase, ...]:
    """The phases to pass through, `after` last; empty when nothing changes or there is no way.

    Failed is never passed through: it is reached only when it is true, and left only from there.
    """
    if before == after:
        return ()
    queue: deque[tuple[Phase, ...]] = deque((each,) for each in EDGES[before])
    seen: set[Phase] = set()
    while queue:
        row = queue.popleft()
        if row[-1] == after:
            return row
        if row[-1] in seen or row[-1] == "Failed":
            continue
        seen.add(row[-1])
        queue.extend((*row, each) for each in EDGES[row[-1]])
    return ()
