# SPDX-License-Identifier: Apache-2.0
"""The executor: carries out the actions of a plan, each with its preconditions, and reports what became of them.

It decides nothing. A stage runs concurrently; the first refusal keeps the later stages from running. An unknown outcome is not an
error to be hidden: the pass ends, and the next one looks at the world. A busy server refuses nothing: what of the stage has not gone out
stays, and nothing is learned of the object.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass

from drover_operator.core.plan import Action, Create, Delete, Found, Patch, Plan, Stage, TryOut, Verdict
from drover_operator.kube.client import MUTATIONS_AT_ONCE, Client, Written
from drover_operator.kube.errors import AlreadyExists, ApiError, Conflict, Fenced, Forbidden, KubeError, NotFound, TooManyRequests


@dataclass(frozen=True)
class Result:
    """What became of one action: `written` on success, `verdict` on a refusal or a dry run, `error` when nothing is known."""

    action: Action
    written: Written | None = None
    verdict: Verdict | None = None
    error: KubeError | None = None

    @property
    def ok(self) -> bool:
        """Whether the action has its effect."""
        return self.error is None and not (self.verdict and self.verdict.refused)


Carry = Callable[[Client, Action, float], Awaitable[Result]]


async def execute(client: Client, plan: Plan, now: float, carry: Carry | None = None) -> list[Result]:
    """Carry out the plan, stage by stage, until one of its actions has no effect; `carry` stands in for `carry_out`."""
    results: list[Result] = []
    carry = carry or carry_out
    for stage in plan.stages:
        done = await _together(stage, lambda action: carry(client, action, now))
        results += done
        if not all(result.ok for result in done):
            break
    return results


async def _together(stage: Stage, carry: Callable[[Action], Awaitable[Result]]) -> list[Result]:
    """The results of a stage in its order, without the actions that were kept back because the server is busy."""
    slots, busy = asyncio.Semaphore(MUTATIONS_AT_ONCE), False

    async def one(action: Action) -> Result | None:
        nonlocal busy
        async with slots:
            if busy:
                return None
            result = await carry(action)
            busy = busy or isinstance(result.error, TooManyRequests)
            return result

    return [result for result in await asyncio.gather(*map(one, stage)) if result is not None]


def learned(before: Mapping[str, Verdict], plan: Plan, results: Iterable[Result]) -> dict[str, Verdict]:
    """The verdicts that the next look at the same key knows, by the id of the action: those that the plan holds, and the new ones."""
    held = {each: before[each] for each in plan.held if each in before}
    return held | {result.action.id: result.verdict for result in results if result.verdict is not None}


async def carry_out(client: Client, action: Action, now: float) -> Result:
    """Carry out one action; raises only what is no KubeError, such as the loss of leadership."""
    try:
        return await _carry_out(client, action, now)
    except (Conflict, Fenced, NotFound, TooManyRequests) as error:
        return Result(action, error=error)  # the cache was behind, we are deposed or came too soon: look again
    except ApiError as error:
        return Result(action, verdict=_refusal(error, now), error=error if error.retryable else None)
    except KubeError as error:
        return Result(action, error=error)


async def _carry_out(client: Client, action: Action, now: float) -> Result:
    match action:
        case Create():
            return await _create(client, action, now)
        case Patch():
            return Result(action, await _patch(client, action))
        case Delete():
            return Result(action, await client.delete(action.resource, action.namespace, action.name, uid=action.uid, version=action.version))
        case TryOut():
            await client.create(action.resource, action.namespace, action.body, dry_run=True)
            return Result(action, verdict=Verdict(at=now))


async def _patch(client: Client, action: Patch) -> Written:
    conditions = {"uid": action.uid} | ({"resourceVersion": action.version} if action.version else {})
    body = {**action.body, "metadata": {**action.body.get("metadata", {}), **conditions}}
    return await client.patch(action.resource, action.namespace, action.name, body, subresource=action.subresource, strategic=action.strategic)


async def _create(client: Client, action: Create, now: float) -> Result:
    try:
        if action.status is None:
            return Result(action, await client.create(action.resource, action.namespace, action.body))
        async with client.turn() as turn:
            return await _with_status(turn, action, await turn.create(action.resource, action.namespace, action.body))
    except AlreadyExists as error:
        return await _met(client, action, error, now)


async def _with_status(turn: Client, action: Create, made: Written) -> Result:
    """What was made gets its status; it is made all the same where that fails, and the next look sees what is missing."""
    body = {"metadata": {"uid": made.uid}, "status": action.status}
    try:
        return Result(action, await turn.patch(action.resource, action.namespace, action.name, body, subresource="status", strategic=True))
    except KubeError as error:
        return Result(action, made, error=error)


async def _met(client: Client, action: Create, error: AlreadyExists, now: float) -> Result:
    """An object of that name is there: success only if it is the very one that was wanted."""
    there = (await client.get(action.resource, action.namespace, action.name)).metadata
    found = Found(
        uid=there.uid,
        version=there.resource_version,
        owner_uid=there.controller_uid(),
        labels=tuple(there.labels.items()),
        deleting=there.deletion_timestamp is not None,
    )
    if found.owner_uid != action.owner_uid:
        return Result(action, verdict=Verdict(at=now, reason="NameConflict", message=_whose(action, found), found=found))
    if found.deleting:
        return Result(action, error=error)  # its name is free again soon
    if not set(action.labels) <= set(found.labels):
        return Result(action, verdict=Verdict(at=now, reason="LabelsChanged", message=f"{action.name} lost labels of ours", found=found))
    return Result(action, Written(there.uid, there.version))


def _whose(action: Create, found: Found) -> str:
    owner = "controlled by another owner" if found.owner_uid else "controlled by nobody"
    return f"{action.resource.kind} '{action.name}' exists and is {owner}; rename one of them" + ("" if found.owner_uid else ", or set spec.adopt")


def _refusal(error: ApiError, now: float) -> Verdict:
    terminating = isinstance(error, Forbidden) and error.namespace_terminating
    reason = "NamespaceTerminating" if terminating else (error.status.reason or "Refused")
    fields = error.code in (400, 422)
    return Verdict(at=now, reason=reason, message=str(error), retryable=not fields)
