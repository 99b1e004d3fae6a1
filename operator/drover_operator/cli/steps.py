# SPDX-License-Identifier: Apache-2.0
"""Where a rollout with steps is, as the status shows it: all its steps in one line, what the present one waits for, and the verdicts of its gates. Pure."""

from datetime import datetime

from drover_operator.api.managedservice import ManagedService
from drover_operator.api.meta import seconds_of
from drover_operator.api.releasegate import Check
from drover_operator.api.rollout import BlueGreen, Pause, Rollout, Step
from drover_operator.cli.layout import age
from drover_operator.core.clock import parse_duration

ALL = 100  # percent


def steps(service: ManagedService, now: datetime) -> dict[str, str]:
    """Lines by name; none where no rollout with steps is under way, nor one with gates was taken back."""
    memory, known = service.status.rollout, _known(service.spec.rollout)
    gates = {"Gates": "; ".join(_verdict(each) for each in memory.checks)} if memory.checks else {}
    if not known or not memory.stable or memory.target == memory.stable:
        return gates if memory.blocked_revision or any(each.state == "Failed" for each in memory.checks) else {}
    if service.spec.rollout.type == "ABTest" or (service.spec.rollout.canary is not None and service.spec.rollout.canary.cohorts):
        weight = f"{memory.weight.wanted}% wanted, {memory.weight.actual}% in service"
        return {"Steps": f"{min(memory.step + 1, memory.steps)} of {memory.steps}: {service.status.summary}", "Weight": weight, **gates}
    named = [_name(each, service.spec.rollout) for each in known] + ["all"]
    here = min(memory.step, len(known))
    named[here] = f"[{named[here]}]"
    weight = f"{memory.weight.wanted}% wanted, {memory.weight.actual}% in service"
    return {"Steps": ", ".join(named), "Weight": f"{weight}; {_waits(service, known, now)}", **gates}


def _known(rollout: Rollout) -> tuple[Step, ...]:
    """The steps that people know of a strategy."""
    if rollout.type == "BlueGreen":
        settings = rollout.blue_green or BlueGreen()
        return (Step(pause=None if settings.auto_promote else Pause()), Step(weight=ALL, hold=settings.keep_for))
    if rollout.ab_test is not None and rollout.type == "ABTest":
        return (Step(match=rollout.ab_test.match, hold=rollout.ab_test.min_duration),)
    return rollout.canary.steps if rollout.type == "Canary" and rollout.canary is not None else ()


def _name(step: Step, rollout: Rollout) -> str:
    if rollout.type == "BlueGreen":
        return "preview" if step.weight is None else f"switched, old set kept for {step.hold}"
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
    measured = any(each.state == "Measuring" and each.step in (0, memory.step + 1) for each in memory.checks)
    return "waits for its gates" if measured and left <= 0 else f"held for {age(left)} more"


def _verdict(check: Check) -> str:
    """One gate in a few words: its verdict, and the last number that it rests on."""
    last = check.samples[-1] if check.samples else None
    if last is not None and last.quality == "NoData" and not check.message:
        return f"{check.gate}{f' at step {check.step}' if check.step else ''} {check.state} (no data: {last.message})"
    seen = f"last {last.value or last.quality}" + (f" against {last.against}" if last.against else "") if last is not None else "nothing measured yet"
    place = f" at step {check.step}" if check.step else ""
    return f"{check.gate}{place} {check.state} ({check.message or seen})"
