# SPDX-License-Identifier: Apache-2.0
"""Forecasts as lines for people: what is asked, remembered and done, in order and with reasons, then what waits. Pure: values in, lines out."""

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from itertools import groupby
from typing import Any, TypeVar

from drover_operator.api.managedservice import ManagedService
from drover_operator.cli.forecast import Forecast, remembered
from drover_operator.cli.layout import WHOLE, Cell, Look, age, clean, columns, fold, paint
from drover_operator.core.plan import Action, Plan, Verdict
from drover_operator.core.reasons import MEANING, Reason
from drover_operator.runtime.executor import Result
from drover_operator.runtime.foresight import Pass

MOST_ALIKE = 12  # actions of one kind and reason that are shown one by one
KIND_COLOUR = {"Create": "green", "Delete": "red", "Patch": "yellow", "TryOut": "cyan"}
MORE = "... and {} more of the kind; -o json has all"
QUIET = ("rollout.weight.",)
Rows = list[tuple[Cell, ...]]
T = TypeVar("T")


def told(forecast: Forecast, look: Look) -> list[str]:
    """One forecast."""
    parts = (_head(forecast, look), _steps(forecast, look), _waits(forecast.last, look), _why(forecast, look), _then(forecast, look))
    lines: list[str] = []
    for part in parts:
        lines += ["", *part] if part and lines else part
    return lines


def _head(forecast: Forecast, look: Look) -> list[str]:
    meta = forecast.service.metadata
    about = f"{meta.name} in namespace {meta.namespace}"
    if forecast.wished:
        about += ", once this is applied" if meta.resource_version else ", once this is created"
    if forecast.idle:
        waiting = len(forecast.last.deferred)
        words = f"Nothing to do for {about} just now: {waiting} step{'s wait' if waiting > 1 else ' waits'}." if waiting else f"Nothing to do for {about}."
        first, *rest = fold(words, look)
        lines = [first.replace("Nothing to do", paint("Nothing to do", "green", look), 1), *rest]
        lines += fold(f"What holds: {_holds(forecast)}.", look)
    else:
        lines = fold(f"Plan for {about}: {_size(forecast)}.", look)
    for note in forecast.notes:
        lines += [paint(line, "yellow", look) for line in fold(f"Note: {note}" if note.endswith("?") else f"Note: {note}.", look, indent="      ")]
    return lines


def _holds(forecast: Forecast) -> str:
    service: ManagedService = forecast.service
    status = service.status
    if status.phase is None:
        return "no operator has told anything about it yet"
    since = f" for {age(forecast.now - status.phase_since.timestamp())}" if status.phase_since else ""
    counts = f"; {status.ready} in service, {status.up_to_date} up to date, version {clean(status.version) or '-'}" if status.ready else ""
    return f"{status.phase}{since}: {clean(status.summary) or 'no summary'}{counts}"


def _size(forecast: Forecast) -> str:
    actions, stages = len(forecast.actions), len(forecast.last.stages)
    if not actions:
        refused = any(answer.verdict and answer.verdict.refused for each in forecast.passes for answer in each.answers)
        return "the API server refuses what it is asked, so nothing is done" if refused else "something is remembered, and nothing done"
    return f"{actions} action{'s' * (actions > 1)}" + (f" in {stages} stages, one after the other" if stages > 1 else "")


def _steps(forecast: Forecast, look: Look) -> list[str]:
    lines: list[str] = []
    for number, (title, rows, details) in enumerate(_titled(forecast), 1):
        lines.append(paint(f"{number}. {title}", "bold", look))
        for line, detail in zip(columns(rows, look, indent="   ", least={0: 30, 1: WHOLE}), details, strict=True):
            lines += [line, *(fold(detail, look, first="     ", indent="     ") if detail else [])]
    return lines


def _titled(forecast: Forecast) -> Iterator[tuple[str, Rows, list[str]]]:
    """The steps: a title, rows, and what is to be said below each of them."""
    for at, each in enumerate(forecast.passes):
        if each.plan.question:
            yield "Ask the API server; nothing is stored", *_answered(each.answers)
            continue
        if each.plan.write_ahead:
            rows: Rows = [(Cell(line),) for line in _memory(remembered(forecast, at))]
            yield "Remember in the status, before anything is done", rows, [""] * len(rows)
        for stage in each.plan.stages:
            yield "At the same time" if len(stage) > 1 else "Do", *_stage(stage, forecast)


def _answered(answers: Sequence[Result]) -> tuple[Rows, list[str]]:
    verdicts = [each.verdict or Verdict(at=0.0) for each in answers]
    words = [Cell("refused", "red") if each.refused else Cell("accepted", "green") for each in verdicts]
    rows: Rows = [(Cell(each.action.step), Cell(str(each.action.reason)), word) for each, word in zip(answers, words, strict=True)]
    return rows, [each.message if each.refused else "" for each in verdicts]


def _memory(status: dict[str, Any]) -> list[str]:
    """What is new in it; shares and what is only taken back say nothing to people."""
    every = list(_flat(status))
    return [each for each in every if not each.startswith(QUIET) and not each.endswith(": gone")] or every


def _flat(value: Any, path: str = "") -> Iterator[str]:
    if isinstance(value, dict) and value:
        for key, child in value.items():
            yield from _flat(child, f"{path}.{key}" if path else key)
        return
    yield f"{path}: {'gone' if value is None else clean(str(value))}"


def _stage(stage: Sequence[Action], forecast: Forecast) -> tuple[Rows, list[str]]:
    """The actions of a stage, of many that are alike the first ones; and what is known against each."""
    rows, details = Rows(), list[str]()
    for (kind, reason), group in groupby(stage, key=lambda each: (type(each).__name__, str(each.reason))):
        alike = list(group)
        shown = _first(alike)
        rows += [(Cell(clean(each.step), KIND_COLOUR[kind]), Cell(reason)) for each in shown]
        details += [forecast.warnings.get(each.id, "") for each in shown]
        if left := len(alike) - len(shown):
            rows.append((Cell(MORE.format(left)), Cell(reason)))
            details.append("")
    return rows, details


def _first(alike: list[T]) -> list[T]:
    return alike if len(alike) <= MOST_ALIKE else alike[: MOST_ALIKE - 2]


def _waits(plan: Plan, look: Look) -> list[str]:
    rows: Rows = []
    for reason, group in groupby(plan.deferred, key=lambda each: str(each.reason)):
        alike = list(group)
        shown = _first(alike)
        rows += [(Cell(clean(each.step), "dim"), Cell(reason)) for each in shown]
        rows += [(Cell(MORE.format(len(alike) - len(shown))), Cell(reason))] if len(alike) > len(shown) else []
    return [paint("Waits", "bold", look), *columns(rows, look, indent="   ", least={0: 30, 1: WHOLE})] if rows else []


def _why(forecast: Forecast, look: Look) -> list[str]:
    """Each reason once, in the words of the catalogue."""
    named = [each.reason for each in _all_actions(forecast.passes)] + [each.reason for each in forecast.last.deferred]
    reasons = [Reason(each) for each in dict.fromkeys(map(str, named)) if each in set(Reason)]
    lines: list[str] = []
    for reason in reasons:
        lines += fold(f"{reason}: {MEANING[reason].what}", look, first="   ", indent="     ")
    return [paint("Why", "bold", look), *lines] if lines else []


def _all_actions(passes: Sequence[Pass]) -> Iterator[Action]:
    for each in passes:
        yield from each.plan.actions


def _then(forecast: Forecast, look: Look) -> list[str]:
    if not forecast.passes:
        return []
    after = forecast.last.wake_after
    when = f", and in {age(after)} at the latest" if after is not None and after >= 1 else ", and in less than a second" if after is not None else ""
    at = datetime.fromtimestamp(forecast.now, tz=UTC).strftime("%H:%M:%S")
    return fold(f"Decided for {at} UTC. The operator looks again at every change{when}.", look)
