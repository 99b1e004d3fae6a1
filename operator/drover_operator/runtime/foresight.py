# SPDX-License-Identifier: Apache-2.0
"""What the operator would do next about one object, pass by pass, without doing it.

A pass may only ask the server something, or only remember something in the status; people want the whole next step. So these passes
are gone through as the engine would, up to the first plan that has effects, or has none at all. Everything is shared with the engine: the
caches and their snapshot, the controller, the executor's answer to a question, and what is learned from it. Rejected: a second
implementation that simulates the effects too (it would say more, and nobody could prove it).
"""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import msgspec

from drover_operator.api.meta import Object
from drover_operator.core.plan import Action, Plan, Verdict
from drover_operator.kube.cache import Cache
from drover_operator.runtime.executor import Result, learned
from drover_operator.runtime.registry import Controller, Report
from drover_operator.runtime.snapshot import NO_NAMES, Snapshot

MOST_PASSES = 10  # of a controller that asks or remembers for ever
Ask = Callable[[Action], Awaitable[Result]]


@dataclass(frozen=True, kw_only=True)
class World:
    """What is decided by: caches by the name of their resource, and the time in seconds since the epoch; `names` as in `Snapshot`."""

    caches: Mapping[str, Cache[Object]]
    now: float
    names: Mapping[str, str] = field(default_factory=lambda: NO_NAMES)


@dataclass(frozen=True, kw_only=True)
class Pass:
    """One pass: its plan, the answers to what it asks, and what it would tell."""

    plan: Plan
    answers: tuple[Result, ...] = ()
    report: Report


async def foresee(controller: Controller, item: Object, world: World, ask: Ask) -> tuple[Pass, ...]:
    """The passes up to the next one that acts, or that has nothing to do; none when there is nothing to decide.

    `ask` answers the actions of a plan that only asks; where it has no answer (an error), the engine would try again later, and the
    foresight ends there.
    """
    known: dict[str, Verdict] = {}
    passes: list[Pass] = []
    while len(passes) < MOST_PASSES:
        facts = controller.gather(item, Snapshot(world.now, world.caches, known, world.names))
        if facts is None:
            break
        plan = controller.decide(facts)
        answers = [await ask(action) for action in plan.actions] if plan.question else []
        report = controller.report(facts, plan)
        passes.append(Pass(plan=plan, answers=tuple(answers), report=report))
        known = learned(known, plan, answers)
        if plan.write_ahead:
            item = _remembering(item, report.status)
        elif not plan.question or any(answer.verdict is None for answer in answers):
            break
    return tuple(passes)


def _remembering(item: Any, status: Any) -> Any:
    """The object after its status was stored; which version that gives it is not known."""
    return msgspec.structs.replace(item, status=status, metadata=msgspec.structs.replace(item.metadata, resource_version=""))
