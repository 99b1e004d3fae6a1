# SPDX-License-Identifier: Apache-2.0
"""Which change a pass belongs to, in words that every operator process finds: log lines, Events and traces are tied together by them.

A rollout is named by where it came from and where it was meant to go, so that a pause, a scale in its midst, a take-over, a lost
Memory, a refusal and a rollback all stay part of its story. So does its last pass, because what was stable before that pass still
counts, and so do the ends of instances that drain after it. The same rollout made a second time has the same name: times tell them
apart. All else is named by the generation of the spec.
"""

from drover_controllers.service.values import Facts, ServicePlan


def change(facts: Facts, plan: ServicePlan) -> str:
    """What is being changed; "" when it is whatever the spec of this generation says."""
    way = plan.course
    if facts.service.metadata.deletion_timestamp is not None:
        return "deletion"
    goal = facts.wanted.name if facts.service.spec.pin is None else way.target
    source = way.stable if way.stable != goal else _left(facts, plan, goal)
    return "" if source == goal else f"rollout {source or 'of nothing'} to {goal}"


def _left(facts: Facts, plan: ServicePlan, goal: str) -> str:
    """Where a rollout came from whose last instances are still leaving; the goal itself when nothing is left of it."""
    others = {each.revision for each in plan.roster} - {goal}
    if not others:
        return goal
    recorded = facts.revisions.get(goal)
    before = recorded.stable_before if recorded is not None else ""
    return before if before in others else min(others)
