# SPDX-License-Identifier: Apache-2.0
"""What each verb of the operator's hand changes in a service. Pure: the service as JSON and the order in, a merge patch and a sentence out.

A patch names the uid and the version of the object that it was made for, and says all that counts: to send it twice is no harm.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from drover_operator.api.rollout import ABORTED, FROZEN, PROMOTED, RETRIED, THAWED
from drover_operator.cli.layout import clean
from drover_operator.cli.objects import Manifest, mappings, part
from drover_operator.cli.outcome import Exit, Failure
from drover_operator.cli.revisions import Recorded, listed, named
from drover_operator.core.reasons import Reason

RESTARTED = "drover.dev/restartedAt"  # when, in the template
COMMAND = "drover.dev/command"  # the last verb, by whom, when and why
MOMENT = "%Y-%m-%dT%H:%M:%SZ"
FREEZING = ("pause", "resume", "freeze", "unfreeze")


@dataclass(frozen=True, kw_only=True)
class Order:
    """What was asked for; `revision` as somebody names it, `step` None where none is given."""

    verb: str
    revision: str = ""
    step: int | None = None
    full: bool = False
    seconds: float = 0.0  # how long, of freeze and unfreeze; 0 where no time is given
    reason: str = ""


@dataclass(frozen=True, kw_only=True)
class Change:
    """What becomes of it: a merge patch, and a sentence on what was done; `already` where there is nothing to do."""

    patch: Manifest
    sentence: str
    already: bool = False


@dataclass(frozen=True)
class _Outcome:
    """What a verb comes to: in the words of the record and of the answer, and what is set in spec and annotations."""

    record: str
    answer: str
    spec: Manifest = field(default_factory=dict[str, Any])
    notes: Manifest = field(default_factory=dict[str, Any])
    already: bool = False


@dataclass(frozen=True)
class _Case:
    """A service, the order for it, the moment, and its recorded revisions, oldest first."""

    service: Manifest
    order: Order
    moment: str
    known: Sequence[Recorded]

    @property
    def name(self) -> str:
        return str(self.service["metadata"]["name"])

    @property
    def spec(self) -> Manifest:
        return part(self.service, "spec")

    @property
    def notes(self) -> Manifest:
        return part(self.service, "metadata", "annotations")

    @property
    def rollout(self) -> Manifest:
        return part(self.service, "status", "rollout")

    @property
    def target(self) -> str:
        return str(self.rollout.get("target") or "")

    @property
    def stable(self) -> str:
        return str(self.rollout.get("stable") or "")

    @property
    def begun(self) -> str:
        return str(self.rollout.get("begunAt") or "")

    @property
    def pin(self) -> str:
        return str(part(self.spec, "pin").get("revision") or "")

    def command(self, verb: str) -> str:
        """The command for this service with another verb."""
        return f"kubectl drover {verb} {self.name} -n {self.service['metadata']['namespace']}"

    def refusal(self, why: str) -> Failure:
        """The order cannot be carried out."""
        return Failure(f"cannot {self.order.verb} '{self.name}': {why}", Exit.USAGE)


def change(service: Manifest, order: Order, *, now: datetime, user: str, known: Sequence[Recorded] = ()) -> Change:
    """What the order changes in that service; `known` are its recorded revisions, oldest first.

    Raises:
        Failure: the service is in no state for it, or the order names what is not there.
    """
    moment = now.strftime(MOMENT)
    case = _Case(service, order, moment, known)
    if service["metadata"].get("deletionTimestamp"):
        raise case.refusal("it is being deleted")
    outcome = RULES[order.verb](case)
    sentence = f"managedservice.drover.dev/{case.name} {outcome.answer}"
    if outcome.already:
        return Change(patch={}, sentence=sentence, already=True)
    record = f"{outcome.record} by {clean(user)} at {moment}" + (f": {order.reason}" if order.reason else "")
    return Change(patch=_patch(service, outcome, record), sentence=sentence + _frozen(case))


def _patch(service: Manifest, outcome: _Outcome, record: str) -> Manifest:
    meta = {each: service["metadata"][each] for each in ("uid", "resourceVersion")}
    patch: Manifest = {"metadata": {**meta, "annotations": {**outcome.notes, COMMAND: record}}}
    return {**patch, "spec": outcome.spec} if outcome.spec else patch


def _frozen(case: _Case) -> str:
    """What else somebody must know who waits for instances to move."""
    held = bool(case.spec.get("paused")) and case.order.verb not in (*FREEZING, "abort")
    return f"; spec.paused is true, so nothing moves before {case.command('resume')}" if held else ""


def _pause(case: _Case) -> _Outcome:
    already = bool(case.spec.get("paused"))
    return _Outcome("pause", "is already paused" if already else "paused", {"paused": True}, already=already)


def _resume(case: _Case) -> _Outcome:
    already = not case.spec.get("paused")
    return _Outcome("resume", "is not paused" if already else "resumed", {"paused": False}, already=already)


def _restart(case: _Case) -> _Outcome:
    _follows_template(case)
    already = part(case.spec, "template", "metadata", "annotations").get(RESTARTED) == case.moment
    answer = f"was already restarted at {case.moment}" if already else "restarted: a new revision replaces every instance"
    return _Outcome("restart", answer, {"template": {"metadata": {"annotations": {RESTARTED: case.moment}}}}, already=already)


def _follows_template(case: _Case) -> None:
    if case.pin:
        raise case.refusal(f"spec.pin.revision is '{case.pin}', and a pinned service follows no change of its template; first {case.command('unpin')}")


# --- to a recorded revision and back


def _rollback(case: _Case) -> _Outcome:
    revision = named(case.known, case.order.revision, case.name).name if case.order.revision else _previous(case)
    if revision == case.pin:
        return _Outcome("", f"is already pinned to {revision}", already=True)
    answer = f"goes to {revision} and stays there until {case.command('unpin')}"
    return _Outcome(f"rollback to {revision}", answer, {"pin": {"revision": revision}})


def _previous(case: _Case) -> str:
    """Where to go without a name: the last good revision if a newer one is being rolled out, else the newest before it that has not failed."""
    if not case.known:
        raise case.refusal("no revision of it is recorded yet")
    numbers = {each.name: each.number for each in case.known}
    serving = numbers.get(case.stable, 0)
    if case.stable in numbers and not case.pin and numbers.get(case.target, 0) > serving:
        return case.stable
    older = [each.name for each in case.known if each.number < serving and not {"blocked", "failed"} & set(each.marks)]
    if not older:
        why = f"no recorded revision is older than '{case.stable}', which serves, and has not failed" if case.stable else "no revision has served yet"
        raise case.refusal(f"{why}; recorded are {listed(case.known)}: name one with --to")
    return older[-1]


def _unpin(case: _Case) -> _Outcome:
    already = not case.pin
    return _Outcome("unpin", "is not pinned" if already else "unpinned: it follows its template again", {"pin": None}, already=already)


# --- a rollout that is under way


def _promote(case: _Case) -> _Outcome:
    _under_way(case)
    steps, passed = _count(case.rollout.get("steps")), _count(case.rollout.get("step"))
    if not steps:
        raise case.refusal(f"status.rollout.steps is 0, its strategy has no steps: the rollout to '{case.target}' goes on by itself")
    if case.notes.get(ABORTED) == case.target:
        raise case.refusal(f"the rollout to '{case.target}' is aborted; {case.command('retry')} begins it anew")
    wanted = _steps_wanted(case, passed, steps)
    there = max(passed, _promoted(case))
    if wanted <= there:
        return _Outcome("", f"is already promoted {_place(there, steps)} on the way to {case.target}", already=True)
    record = f"promote to step {wanted + 1}" if wanted < steps else "promote to full"
    return _Outcome(record, f"promoted {_place(wanted, steps)} on the way to {case.target}", notes={PROMOTED: f"{case.target}/{wanted}/{case.begun}"})


def _steps_wanted(case: _Case, passed: int, steps: int) -> int:
    """How many steps shall be passed."""
    step = case.order.step
    if step is None:
        return steps if case.order.full else min(passed + 1, steps)
    if not 1 <= step <= steps or step <= passed:
        why = f"--to-step {step} names no step ahead on the way to '{case.target}', which is at step {min(passed + 1, steps)} of {steps}"
        raise case.refusal(f"{why}; give {_ahead(passed, steps)}--full")
    return step - 1


def _ahead(passed: int, steps: int) -> str:
    first = passed + 2
    if first >= steps:
        return f"--to-step {first} or " if first == steps else ""
    return f"--to-step from {first} to {steps}, or "


def _place(passed: int, steps: int) -> str:
    return f"to step {passed + 1} of {steps}" if passed < steps else f"past all {steps} steps"


def _promoted(case: _Case) -> int:
    """How many steps somebody has already passed in this very rollout."""
    revision, _, rest = str(case.notes.get(PROMOTED) or "").partition("/")
    steps, _, begun = rest.partition("/")
    return int(steps) if (revision, begun) == (case.target, case.begun) and steps.isdecimal() else 0


def _abort(case: _Case) -> _Outcome:
    aborted = str(case.notes.get(ABORTED) or "")
    told = any(each.get("reason") == Reason.ABORTED for each in mappings(part(case.service, "status").get("conditions")))
    if aborted and not case.pin and (aborted == case.target != case.stable or (told and case.target == case.stable)):
        return _Outcome("", f"has already aborted the rollout to {aborted}", already=True)
    _under_way(case)
    return _Outcome(f"abort of {case.target}", f"aborted the rollout to {case.target}: {case.stable} serves again", notes={ABORTED: case.target})


def _under_way(case: _Case) -> None:
    """Refuse unless a revision is being rolled out in place of one that serves."""
    _follows_template(case)
    if not case.target:
        raise case.refusal("status.rollout.target is empty, no operator has looked at it yet; is it running?")
    if not case.stable:
        why = f"status.rollout.stable is empty, nothing has served before '{case.target}' that it could go back to"
        raise case.refusal(f"{why}; {case.command('why')} says what it waits for")
    if case.target == case.stable:
        why = f"status.rollout.target and stable are both '{case.target}', no rollout is under way{_behind(case)}"
        raise case.refusal(f"{why}; {case.command('status')} shows what runs")


def _behind(case: _Case) -> str:
    seen, last = _count(part(case.service, "status").get("observedGeneration")), _count(case.service["metadata"].get("generation"))
    return f" (the operator has not looked at the last change yet: generation {last}, seen {seen})" if seen < last else ""


def _retry(case: _Case) -> _Outcome:
    revision = str(case.notes.get(ABORTED) or case.rollout.get("blockedRevision") or "")
    if not revision:
        return _Outcome("", "has nothing to try again: no revision of it is blocked or aborted", already=True)
    return _Outcome(f"retry of {revision}", f"lets {revision} be tried again", notes={ABORTED: None, RETRIED: case.moment})


# --- freezes


def _freeze(case: _Case) -> _Outcome:
    until = _after(case, case.order.seconds)
    answer = f"is frozen until {until}: no update of it begins or goes on; repair, scaling and going back do"
    return _Outcome(f"freeze until {until}", answer, notes={FROZEN: until, THAWED: None})


def _unfreeze(case: _Case) -> _Outcome:
    """The freeze by hand is lifted at once; those of the calendar only for a time that is given, and for this service alone."""
    if case.order.seconds:
        until = _after(case, case.order.seconds)
        return _Outcome(f"unfreeze until {until}", f"heeds no freeze until {until}", notes={FROZEN: None, THAWED: until})
    if not case.notes.get(FROZEN):
        return _Outcome("", "is not frozen by hand; --for lifts the freezes of MaintenanceWindows for a while", already=True)
    return _Outcome("unfreeze", "is not frozen by hand any more", notes={FROZEN: None})


def _after(case: _Case, seconds: float) -> str:
    begin = datetime.strptime(case.moment, MOMENT).replace(tzinfo=UTC)
    return (begin + timedelta(seconds=seconds)).strftime(MOMENT)


def _count(value: object) -> int:
    return value if isinstance(value, int) else 0


RULES: Mapping[str, Callable[[_Case], _Outcome]] = {
    "pause": _pause,
    "resume": _resume,
    "restart": _restart,
    "rollback": _rollback,
    "unpin": _unpin,
    "promote": _promote,
    "abort": _abort,
    "retry": _retry,
    "freeze": _freeze,
    "unfreeze": _unfreeze,
}
