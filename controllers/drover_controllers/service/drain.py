# SPDX-License-Identifier: Apache-2.0
"""How an instance enters and leaves service.

Entering: the gate says that the instance is wanted in service, never that it is healthy, so that it is opened right after the pod is
made. Opened only when the containers are ready, each instance cost the kubelet a write and us a pass more, and its way to its first
request a round trip; none entered while the operator was away.
Where drainTimeout is 0 nothing is ever drained: pods that are made then have no gate, which spares a write for each of them. They stay
without one when a time is given later: no word of ours could keep their kubelet from calling them ready.

Leaving: gate False and Ready False in one patch (the kubelet of a cut-off node cannot say the latter for us) -> gone from discovery
-> settle, because proxies lag -> deleted. Which of these steps is next is read from the pod itself, never from a flag of ours.
"""

from dataclasses import replace
from functools import lru_cache
from math import ceil
from typing import Any

from drover_controllers.service.naming import GATE
from drover_controllers.service.values import Instance, Wait
from drover_operator.api.builtin import Pod
from drover_operator.api.managedservice import Restart
from drover_operator.api.meta import utc
from drover_operator.api.resource import PODS
from drover_operator.core.clock import parse_duration
from drover_operator.core.plan import Delete, Patch
from drover_operator.core.reasons import Reason


def possible(restart: Restart) -> bool:
    """Whether instances are drained at all, so that they need a gate."""
    return bool(parse_duration(restart.drain_timeout))


def gated(pod: Pod) -> bool:
    """Whether its readiness asks for our word."""
    return any(gate.condition_type == GATE for gate in pod.spec.readiness_gates)


def may_enter(pod: Pod) -> bool:
    """Whether the gate is to be opened: at once for a new instance, so that it serves as soon as its kubelet finds it ready, without a word of ours.

    One that was taken out must be ready first: what is opened then is seen as serving at once.
    """
    gate = pod.status.condition(GATE)
    return gated(pod) and (gate is None or (gate.status != "True" and pod.status.is_true("ContainersReady")))


def enter(instance: Instance, now: float) -> Patch:
    """Want an instance in service that is not yet, or not any more.

    A new one in whatever version it has by now, because its scheduler and its kubelet write at the same time.

    A late word harms nobody: an instance that came back by it is met by an end that names an older version, and is drained again.
    """
    patch = _gate(instance, [_condition(GATE, "True", "InService", int(now))], "put in service", Reason.HEALTHY_ENTERS)
    return replace(patch, version="") if instance.pod.status.condition(GATE) is None else patch


def entering(now: float) -> dict[str, Any]:
    """The status of an instance that is wanted in service from the start."""
    return {"conditions": [_condition(GATE, "True", "InService", int(now))]}


def leave(instance: Instance, now: float, reason: Reason) -> Patch:
    """Take an instance out of service. The time is rounded up, so that a settle of 2 s never is 1.1 s."""
    at = ceil(now)
    return _gate(instance, [_condition(GATE, "False", "Draining", at), _condition("Ready", "False", "Draining", at)], "take out of service", reason)


def end(instance: Instance, reason: Reason, *, step: str = "end") -> Delete:
    """Delete the pod that was seen."""
    meta = instance.pod.metadata
    return Delete(
        resource=PODS, namespace=meta.namespace, name=meta.name, uid=meta.uid, version=meta.resource_version, step=f"{step} {meta.name}", reason=reason
    )


def serves(instance: Instance) -> bool:
    """Whether somebody may still send requests to it, so that it must be drained before it ends."""
    return instance.listed or instance.state == "InService" or instance.pod.status.is_true("Ready")


def wanted(instance: Instance, restart: Restart) -> bool:
    """Whether it must be drained before it ends: not one that never served, nor where no time is, or was, given for it."""
    return possible(restart) and gated(instance.pod) and (serves(instance) or instance.state == "Suspect")


def drained(instance: Instance, restart: Restart, now: float) -> Wait | None:
    """What the leaving instance still waits for; None when it may be ended."""
    step = f"drain {instance.name}"
    deadline = instance.since + parse_duration(restart.drain_timeout)
    if now >= deadline:
        return None
    if instance.listed:
        return Wait(step=step, reason=Reason.ENDPOINT_LISTED, seconds=deadline - now)
    settled = instance.since + parse_duration(restart.settle)
    if parse_duration(restart.settle) and now < settled:
        return Wait(step=step, reason=Reason.SETTLING, seconds=min(settled, deadline) - now)
    return None


def _gate(instance: Instance, conditions: list[dict[str, Any]], step: str, reason: Reason) -> Patch:
    meta = instance.pod.metadata
    return Patch(
        resource=PODS,
        namespace=meta.namespace,
        name=meta.name,
        uid=meta.uid,
        version=meta.resource_version,
        subresource="status",
        strategic=True,
        body={"status": {"conditions": conditions}},
        step=f"{step} {meta.name}",
        reason=reason,
    )


def _condition(kind: str, status: str, reason: str, at: int) -> dict[str, Any]:
    return {"type": kind, "status": status, "reason": reason, "lastTransitionTime": _stamp(at)}


@lru_cache(maxsize=64)
def _stamp(at: int) -> str:
    return utc(at).strftime("%Y-%m-%dT%H:%M:%SZ")
