# SPDX-License-Identifier: Apache-2.0
"""What `--for` waits for, and how near a service is to it. Pure: a service in, a verdict out.

An old status never counts: whatever it says of an earlier generation of the spec, the goal is judged by the generation that is wanted.
"""

import re
from dataclasses import dataclass
from typing import Literal, get_args

from drover_operator.api.managedservice import ManagedService, ManagedServiceStatus, Phase
from drover_operator.api.meta import Condition
from drover_operator.cli.outcome import Exit, Failure
from drover_operator.cli.tree import healthy
from drover_operator.core.reasons import MEANING, Reason

PHASES = {each.lower(): each for each in get_args(Phase)}
STATES = ("run", "ready", "deleted", *(each for each in PHASES if each not in ("run", "ready")))
CONDITION = re.compile(r"condition=([A-Za-z]+)(?:=(True|False|Unknown))?", re.IGNORECASE)
# What a service that stands still can come to all the same; everything else it cannot be waited for.
TROUBLE = ("Failed", "Rollback", "Destroy")
GOOD = ("Ready", "Available", "Progressing")


@dataclass(frozen=True)
class Goal:
    """A state to wait for; `text` is how it was asked for, `name` a phase or the type of a condition."""

    text: str
    kind: Literal["run", "deleted", "phase", "condition"]
    name: str = ""
    status: str = "True"


@dataclass(frozen=True)
class Verdict:
    """Whether the goal is reached; if not, what is `missing`, and in `stuck` why waiting does not help, if it does not."""

    reached: bool = False
    missing: str = ""
    stuck: str = ""


def goal(text: str) -> Goal:
    """The goal that `--for` names.

    Raises:
        Failure: it names none.
    """
    word = text.lower()
    if word == "run":
        return Goal(text, "run")
    if word == "ready":
        return Goal(text, "condition", "Ready")
    if word in ("delete", "deleted"):
        return Goal(text, "deleted")
    if word in PHASES:
        return Goal(text, "phase", PHASES[word])
    if match := CONDITION.fullmatch(text):
        return Goal(text, "condition", match[1], (match[2] or "True").capitalize())
    raise Failure(f"--for={text} is nothing to wait for: it can be {', '.join(STATES)}, or condition=TYPE[=STATUS]", Exit.USAGE)


def judge(wanted: Goal, service: ManagedService | None, least: int = 0) -> Verdict:
    """How near the service is to the goal; None is one that is gone. `least` is the generation that it must have at least."""
    if service is None:
        return Verdict(reached=True) if wanted.kind == "deleted" else Verdict(missing="it is gone", stuck="it was deleted")
    status, generation = service.status, max(service.metadata.generation, least)
    if wanted.kind == "deleted":
        return Verdict(missing=_deleting(service))
    if service.metadata.deletion_timestamp is not None and (wanted.kind, wanted.name) != ("phase", "Destroy"):
        return Verdict(missing="it is being deleted", stuck="it is being deleted")
    if status.phase is None:
        return Verdict(missing="no operator has looked at this service; is it running?")
    if status.observed_generation < generation:
        seen = f"generation {generation}, seen {max(0, status.observed_generation)}"
        return Verdict(missing=f"the operator has not looked at the last change yet ({seen}); is it running?")
    missing = _missing(wanted, service)
    return Verdict(missing=missing, stuck=_stuck(service) if _is_good(wanted) else "") if missing else Verdict(reached=True)


def _missing(wanted: Goal, service: ManagedService) -> str:
    """What keeps the goal from being reached, "" when nothing does."""
    status = service.status
    if wanted.kind == "phase":
        return "" if status.phase == wanted.name else _state(status)
    if wanted.kind == "condition":
        found = _condition(status, wanted.name)
        if found is not None and found.status == wanted.status and found.observed_generation in (0, status.observed_generation):
            return ""
        return f"{found.type}={found.status}, {_state(status)}" if found else f"no condition {wanted.name}, {_state(status)}"
    ready = _condition(status, "Ready")
    whole = status.phase == "Run" and healthy(service) and ready is not None and ready.status == "True"
    return "" if whole else _state(status)


def _state(status: ManagedServiceStatus) -> str:
    parts = [f"phase {status.phase}", f"{status.ready} in service" if status.ready else "", status.summary]
    text = ", ".join(each for each in parts if each)
    paused = _condition(status, "Progressing")
    return f"{text}; spec.paused is set" if paused is not None and paused.reason == Reason.PAUSED and status.summary != Reason.PAUSED else text


def _is_good(wanted: Goal) -> bool:
    """Whether it is something that trouble keeps from being reached, and not the trouble itself."""
    if wanted.kind == "condition":
        return (wanted.name.capitalize() in GOOD) == (wanted.status == "True")
    return wanted.name not in TROUBLE


def _stuck(service: ManagedService) -> str:
    """Why nothing will change until somebody changes something, in the words of the condition and with the next step."""
    stalled = _condition(service.status, "Stalled")
    if stalled is None or stalled.status != "True":
        return "phase Failed" if service.status.phase == "Failed" else ""
    meaning = MEANING.get(Reason(stalled.reason)) if stalled.reason in set(Reason) else None
    text = f"{stalled.reason}: {stalled.message}" if stalled.message else stalled.reason
    step = meaning.next_step.replace("NAME", service.metadata.name) if meaning else ""
    return f"{text}. Next: {step}" if step else text


def _deleting(service: ManagedService) -> str:
    if service.metadata.deletion_timestamp is None:
        return "nobody has deleted it"
    left = sum((service.status.counts.in_service, service.status.counts.ready, service.status.counts.starting, service.status.counts.draining))
    return f"{left} instances are left" if left else "its finalizers are left: " + ", ".join(service.metadata.finalizers)


def _condition(status: ManagedServiceStatus, kind: str) -> Condition | None:
    return next((each for each in status.conditions if each.type.lower() == kind.lower()), None)
