# SPDX-License-Identifier: Apache-2.0
"""Where a rollout with steps is, as the status shows it: all its steps in one line, and what the present one waits for. Pure."""

from datetime import datetime

from drover_operator.api.managedservice import ManagedService
from drover_operator.api.meta import seconds_of
from drover_operator.api.rollout import Step
from drover_operator.cli.layout import age
from drover_operator.core.clock import parse_duration


def steps(service: ManagedService, now: datetime) -> dict[str, str]:
    """Lines by name; none where no rollout with steps is under way."""
    rollout, memory = service.spec.rollout, service.status.rollout
    known = rollout.canary.steps if rollout.type == "Canary" and rollout.canary is not None else ()
    if not known or not memory.stable or memory.target == memory.stable:
        return {}
    named = [_name(each) for each in known] + ["all"]
    here = min(memory.step, len(known))
    named[here] = f"[{named[here]}]"
    weight = f"{memory.weight.wanted}% wanted, {memory.weight.actual}% in service"
    return {"Steps": ", ".join(named), "Weight": f"{weight}; {_waits(service, known, now)}"}


def _name(step: Step) -> str:
    if step.pause is not None:
        return "pause"
    return f"{step.weight}%" + (f" for {step.hold}" if step.hold else "")


def _waits(service: ManagedService, known: tuple[Step, ...], now: datetime) -> str:
    memory = service.status.rollout
    if memory.step >= len(known):
        return "the rest is rolled"
    if memory.reached_at is None:
        return "on the way"
    step = known[memory.step]
    if step.pause is not None:
        return f"waits for kubectl drover promote {service.metadata.name}"
    left = seconds_of(memory.reached_at) + parse_duration(step.hold or "0s") - now.timestamp()
    return f"held for {age(left)} more"
