# SPDX-License-Identifier: Apache-2.0
"""The next step of one service as a value: what was foreseen, what it rests on, and both as JSON. Pure but for the question that is asked."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import msgspec

from drover_operator.api.managedservice import ManagedService
from drover_operator.cli.scene import Scene
from drover_operator.core.plan import Action, Create, Delete, Patch, Plan, TryOut, Verdict
from drover_operator.runtime.executor import Result
from drover_operator.runtime.foresight import Ask, Pass, foresee
from drover_operator.runtime.snapshot import NO_NAMES
from drover_operator.runtime.status import merge_patch

NO_WARNINGS: Mapping[str, str] = {}


@dataclass(frozen=True, kw_only=True)
class Forecast:
    """What would be done next for one service; `service` is as decided by, in seconds `now` since the epoch.

    `notes` say what the forecast rests on; `warnings` what is known about single actions, by their id.
    """

    service: ManagedService
    now: float
    passes: tuple[Pass, ...]
    wished: bool = False  # it is as it would be after the files were applied
    notes: tuple[str, ...] = ()
    warnings: Mapping[str, str] = field(default_factory=lambda: NO_WARNINGS)

    @property
    def last(self) -> Plan:
        """The plan that acts, or that has nothing to do."""
        return self.passes[-1].plan if self.passes else Plan()

    @property
    def idle(self) -> bool:
        """Whether nothing would be asked, remembered or done."""
        return not any(each.plan.stages or each.plan.write_ahead for each in self.passes)

    @property
    def actions(self) -> tuple[Action, ...]:
        """What would be done, without what is only asked."""
        return () if self.last.question else self.last.actions


async def forecast(scene: Scene, service: ManagedService, ask: Ask, names: Mapping[str, str] = NO_NAMES) -> Forecast:
    """What the operator would do next for the service in this scene.

    Raises:
        KubeError: a question had no answer.
    """
    passes = await foresee(scene.controller, service, scene.world(names), ask)
    for error in (answer.error for each in passes for answer in each.answers if answer.verdict is None):
        if error is not None:
            raise error
    return Forecast(service=service, now=scene.now, passes=passes)


def remembered(forecast: Forecast, at: int) -> dict[str, Any]:
    """What the pass of that number would change in the status before anything is done: its Memory, where it has one."""
    before: Any = next((each.report.status for each in reversed(forecast.passes[:at]) if each.plan.write_ahead), forecast.service.status)
    difference = merge_patch(msgspec.to_builtins(before), msgspec.to_builtins(forecast.passes[at].report.status))
    return {"rollout": difference["rollout"]} if "rollout" in difference else difference


def document(forecast: Forecast) -> dict[str, Any]:
    """The forecast as JSON, complete and stable: steps in their order, then what waits."""
    meta, plan = forecast.service.metadata, forecast.last
    return {
        "namespace": meta.namespace,
        "name": meta.name,
        "generation": meta.generation,
        "at": datetime.fromtimestamp(forecast.now, tz=UTC).isoformat().replace("+00:00", "Z"),
        "nothingToDo": forecast.idle,
        "stages": list(_stages(forecast)),
        "waits": [{"step": each.step, "reason": str(each.reason)} for each in plan.deferred],
        "wakeAfterSeconds": plan.wake_after,
        "notes": list(forecast.notes),
    }


def _stages(forecast: Forecast) -> Iterator[dict[str, Any]]:
    for at, each in enumerate(forecast.passes):
        if each.plan.question:
            yield {"does": "Ask", "actions": [{**action_document(answer.action), **_answer(answer)} for answer in each.answers]}
            continue
        if each.plan.write_ahead:
            yield {"does": "Remember", "status": remembered(forecast, at)}
        for stage in each.plan.stages:
            yield {"does": "Act", "actions": [_warned(action, forecast.warnings) for action in stage]}


def action_document(action: Action) -> dict[str, Any]:
    """One action as JSON; the version is left out where it is not known yet, because the status is written first."""
    told: dict[str, Any] = {
        "id": action.id,
        "kind": type(action).__name__,
        "step": action.step,
        "reason": str(action.reason),
        "resource": str(action.resource),
        "namespace": action.namespace,
        "name": action.name,
    }
    match action:
        case Create():
            return {**told, "body": action.body} | ({"status": action.status} if action.status is not None else {})
        case TryOut():
            return {**told, "body": action.body}
        case Patch():
            return {**told, **_seen(action), "subresource": action.subresource, "strategic": action.strategic, "body": action.body}
        case Delete():
            return {**told, **_seen(action)}


def _seen(action: Patch | Delete) -> dict[str, str]:
    return {"uid": action.uid} | ({"resourceVersion": action.version} if action.version else {})


def _answer(result: Result) -> dict[str, Any]:
    verdict = result.verdict or Verdict(at=0.0)
    return {"answer": {"accepted": not verdict.refused, "reason": verdict.reason, "message": verdict.message}}


def _warned(action: Action, warnings: Mapping[str, str]) -> dict[str, Any]:
    told = action_document(action)
    return {**told, "warning": warnings[action.id]} if action.id in warnings else told
