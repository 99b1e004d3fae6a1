# SPDX-License-Identifier: Apache-2.0
"""Gates in a rollout: which are open, what they ask, what came of it, and whether the rollout may go on.

A gate of a step is begun when the step is reached. One of the whole rollout (step 0) is begun with it, goes on until its end, and lets no step
pass before it has as many good measurements as it asks for, and a good last one. Silence is never consent: a gate without data holds the step
up until the progress deadline takes the revision back.

Rejected: judging in the background and rolling on meanwhile. What an update of ten has replaced in the minute that a measurement takes is all of it.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from fractions import Fraction

import msgspec

from drover_controllers.service import naming
from drover_controllers.service.rollout.measure import Measured, asked, measured, questions
from drover_controllers.service.rollout.steps import MAIN_FLOW
from drover_controllers.service.rollout.verdict import judged, lack
from drover_controllers.service.values import Course, Facts, Memory, Place, Roster, Wait
from drover_operator.api.meta import seconds_of, utc
from drover_operator.api.releasegate import Check, JobMeasure, Measure, ReleaseGateSpec
from drover_operator.core.clock import parse_duration
from drover_operator.core.plan import Ask
from drover_operator.core.reasons import Reason

MOST_CHECKS = 40
LONGEST_ANSWER = 60.0  # seconds
WHOLE_SECOND = 1.0


@dataclass(frozen=True, kw_only=True)
class Open:
    """A check that is not decided, and the gate that it is of: None where there is no gate of that name."""

    check: Check
    gate: ReleaseGateSpec | None


def followed(facts: Facts, memory: Memory, way: Course, at: Place | None, roster: Roster) -> Memory:
    """The Memory with every open check begun, and judged by what is known now."""
    if at is None:
        return memory
    checks = {(each.gate, each.step): each for each in memory.checks}
    for name, step in _wanted(facts, memory, at):
        check, gate = checks.get((name, step)), gate_of(facts, name)
        if check is None or (check.state == "Measuring" and gate is not None and check.digest != _digest(gate)):
            check = _begun(facts, way, Check(gate=name, step=step, begun_at=utc(facts.now)), gate)
        checks[name, step] = check if gate is None or check.state != "Measuring" else _looked(facts, way, roster, check, gate)
    known = tuple(checks.values())
    return memory if known == memory.checks else msgspec.structs.replace(memory, checks=known[-MOST_CHECKS:])


def _begun(facts: Facts, way: Course, check: Check, gate: ReleaseGateSpec | None) -> Check:
    """A check without samples. It is begun anew when its gate is changed: what was counted by other rules says nothing."""
    if gate is None:
        return check
    return msgspec.structs.replace(check, digest=_digest(gate), query=asked(gate, _places(facts, way)))


def _digest(gate: ReleaseGateSpec) -> str:
    return naming.digest(msgspec.json.encode(gate), 8)


def _places(facts: Facts, way: Course) -> dict[str, str]:
    meta = facts.service.metadata
    return {"revision": way.target, "stable": way.stable, "service": meta.name, "namespace": meta.namespace}


def _wanted(facts: Facts, memory: Memory, at: Place) -> Iterable[tuple[str, int]]:
    for name in facts.service.spec.rollout.gates:
        if at.weight or not _of_traffic(facts, name):
            yield name, 0
    if memory.reached_at is not None:
        for name in at.step.gates:
            yield name, at.number


def _of_traffic(facts: Facts, name: str) -> bool:
    """Whether a gate looks at what requests come to: there are none while nobody is sent to the new revision."""
    gate = gate_of(facts, name)
    return gate is not None and gate.measure.prometheus is not None


def gate_of(facts: Facts, name: str) -> ReleaseGateSpec | None:
    """What a gate says; the main-flow test is one whose Job stands in the service itself."""
    if name != MAIN_FLOW:
        return facts.gates.get(name)
    test = facts.service.spec.rollout.main_flow_test
    return ReleaseGateSpec(measure=Measure(job=test.job)) if test is not None and test.job is not None else None


def still_open(facts: Facts, memory: Memory, at: Place | None) -> tuple[Open, ...]:
    """The checks of this place that have no verdict yet."""
    if at is None:
        return ()
    wanted = set(_wanted(facts, memory, at))
    return tuple(Open(check=each, gate=gate_of(facts, each.gate)) for each in memory.checks if (each.gate, each.step) in wanted and each.state == "Measuring")


def passed(facts: Facts, memory: Memory, at: Place | None) -> bool:
    """Whether no gate holds the present step up."""
    if at is None:
        return True
    checks = {(each.gate, each.step): each for each in memory.checks}
    return all(_good(checks.get(key), gate_of(facts, key[0])) for key in _wanted(facts, memory, at)) and (memory.reached_at is not None or not at.step.gates)


def _good(check: Check | None, gate: ReleaseGateSpec | None) -> bool:
    if check is None or gate is None:
        return False
    if check.step:
        return check.state == "Passed"
    return check.state != "Failed" and not lack(gate, check) and check.samples[-1].quality == "Good"


def failed(memory: Memory, target: str) -> Check | None:
    """The gate that the target failed, if it failed one; what was taken back keeps its verdicts, and they are none on who serves then."""
    if memory.target != target or target == memory.stable:
        return None
    return next((each for each in memory.checks if each.state == "Failed"), None)


def due(check: Check, gate: ReleaseGateSpec) -> float:
    """When the next measurement is to be made, in seconds since the epoch.

    What looks back over a window has a whole one behind it first, and a second more, because times are kept in whole seconds.
    """
    interval = parse_duration(gate.interval) + (WHOLE_SECOND if gate.measure.prometheus is not None else 0.0)
    if check.samples:
        return seconds_of(check.samples[-1].at) + interval
    return seconds_of(check.begun_at) + (interval if gate.measure.prometheus is not None or gate.measure.restarts is not None else 0.0)


def _looked(facts: Facts, way: Course, roster: Roster, check: Check, gate: ReleaseGateSpec) -> Check:
    """The check after what is known: the answers to its questions, its Job, or the instances."""
    if gate.measure.job is not None:
        return _by_job(facts, check, gate)
    if facts.now < due(check, gate):
        return check
    if gate.measure.restarts is not None:
        count = sum(c.restart_count for each in roster if each.revision == way.target for c in each.pod.status.container_statuses)
        return judged(gate, check, facts.now, Measured(value=Fraction(count)))
    known = {ask.id.rpartition("/")[2]: facts.answers.get(ask.id) for ask in _questions(facts, way, check, gate)}
    answers = {name: answer for name, answer in known.items() if answer is not None and answer.at >= due(check, gate)}
    if len(answers) < len(known):
        return check
    return judged(gate, check, max(answer.at for answer in answers.values()), measured(gate, answers))


def _by_job(facts: Facts, check: Check, gate: ReleaseGateSpec) -> Check:
    job = facts.jobs.get(job_name(facts, check))
    if job is None:
        return check
    if job.status.condition("Complete") is not None:
        return judged(gate, check, facts.now, Measured(good=True))
    if (bad := job.status.condition("Failed")) is not None:
        return judged(gate, check, facts.now, Measured(good=False, message=f"Job {job.metadata.name}: {bad.message or bad.reason}"))
    return check


def job_name(facts: Facts, check: Check) -> str:
    """Name of the Job that makes the next measurement: the same for whoever looks, another for each."""
    memory = facts.service.status.rollout
    text = f"{memory.target}/{memory.begun_at}/{check.gate}/{check.step}/{check.good + check.bad}"
    return f"{facts.service.metadata.name}-test-{naming.digest(text.encode(), 8)}"


def jobs_due(facts: Facts, memory: Memory, at: Place | None) -> list[tuple[str, JobMeasure]]:
    """Names and settings of the Jobs that should be there now and are not."""
    rows = [
        (job_name(facts, each.check), each.gate.measure.job)
        for each in still_open(facts, memory, at)
        if each.gate is not None and each.gate.measure.job is not None and facts.now >= due(each.check, each.gate)
    ]
    return [(name, job) for name, job in rows if name not in facts.jobs]


def asks(facts: Facts, memory: Memory, way: Course, at: Place | None) -> tuple[Ask, ...]:
    """The questions of all open checks, each with the time from which an answer is wanted."""
    return tuple(ask for each in still_open(facts, memory, at) if each.gate is not None for ask in _questions(facts, way, each.check, each.gate))


def _questions(facts: Facts, way: Course, check: Check, gate: ReleaseGateSpec) -> list[Ask]:
    places = _places(facts, way)
    timeout, at = min(parse_duration(gate.timeout), LONGEST_ANSWER), due(check, gate)
    rows = questions(gate, places, {**places, "revision": way.stable})
    return [Ask(id=f"{check.gate}/{check.step}/{name}", url=url, at=at, timeout=timeout) for name, url in rows]


def waits(facts: Facts, memory: Memory, at: Place | None) -> list[Wait]:
    """When to look again, and what is missing."""
    found: list[Wait] = []
    for each in still_open(facts, memory, at):
        step = f"pass gate {each.check.gate}"
        if each.gate is None:
            found.append(Wait(step=step, reason=Reason.GATE_NOT_FOUND))
            continue
        silent = bool(each.check.samples) and each.check.samples[-1].quality == "NoData"
        if silent:
            found.append(Wait(step=step, reason=Reason.GATE_WITHOUT_DATA))
        if each.gate.measure.job is None:
            left = due(each.check, each.gate) - facts.now
            found += [Wait(step="", reason=Reason.MEASURING, seconds=left)] if left > 0 else []
    return found


def allowance(facts: Facts, memory: Memory, at: Place | None) -> float:
    """Seconds that open gates need at least; so much longer no progress is no fault."""
    return max((_needs(each.gate) for each in still_open(facts, memory, at) if each.gate is not None), default=0.0)


def _needs(gate: ReleaseGateSpec) -> float:
    once = parse_duration(gate.measure.job.timeout) if gate.measure.job is not None else parse_duration(gate.interval)
    return once * gate.samples
