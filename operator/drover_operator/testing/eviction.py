# SPDX-License-Identifier: Apache-2.0
"""The eviction subresource of pods: a deletion that the pod's disruption budget must allow, judged by the budget's status.

As upstream: the budget is charged in its status before the pod goes, so that two evictions cannot both use what one may, and a status
that is behind the spec allows nothing. Whoever deletes pods asks no budget.
"""

from dataclasses import replace
from functools import lru_cache

from drover_operator.testing.conditions import condition, is_true, with_condition
from drover_operator.testing.deletion import DeleteOptions, delete
from drover_operator.testing.kinds import DISRUPTION_BUDGETS
from drover_operator.testing.objects import Json, mapping
from drover_operator.testing.refusal import Refused
from drover_operator.testing.registry import Call, Registry
from drover_operator.testing.selectors import LabelSelector
from drover_operator.testing.storage import Version

CONDITION = "DisruptionAllowed"
SYNC_FAILED = "SyncFailed"
_RETRY_SECONDS = 10
_TWO_BUDGETS = "This pod has more than one PodDisruptionBudget, which the eviction subresource does not support."


@lru_cache(maxsize=1024)
def selector_of(budget: Version) -> LabelSelector:
    """What a budget selects."""
    return LabelSelector.of(mapping(budget.data, "spec").get("selector"))


def verdict(allowed: int) -> Json:
    """The condition that goes with so many allowed disruptions."""
    word = {"status": "True", "reason": "SufficientPods"} if allowed > 0 else {"status": "False", "reason": "InsufficientPods"}
    return {"type": CONDITION, "message": "", **word}


def evict(registry: Registry, call: Call, options: DeleteOptions) -> Version:
    """Delete a pod if its disruption budget allows.

    Raises:
        Refused: 429 when it does not or is not up to date, 500 when there are two.
    """
    pod = registry.existing(call)
    if mapping(pod.data, "status").get("phase") not in ("Pending", "Succeeded", "Failed") and not pod.deleting:
        _ask(registry, call, pod)
    delete(registry, replace(call, dry_run=True), options)
    if call.dry_run:
        return pod
    target: Json = {"type": "DisruptionTarget", "status": "True", "reason": "EvictionByEvictionAPI", "message": "Eviction API: evicting"}
    _write_status(registry, call, pod, with_condition(pod.data["status"], target, registry.now()))
    return delete(registry, call, replace(options, resource_version=""))[0]


def _ask(registry: Registry, call: Call, pod: Version) -> None:
    """Charge the budget of a pod, if it has one."""
    budgets = [budget for budget in registry.storage.items(DISRUPTION_BUDGETS, call.namespace) if selector_of(budget).matches(pod.labels)]
    if len(budgets) > 1:
        raise Refused(500, "", _TWO_BUDGETS)
    for budget in budgets:
        if not _is_spare(pod, budget):
            status = _charged(registry, budget, pod)
            if not call.dry_run:
                _write_status(registry, call, budget, status)


def _is_spare(pod: Version, budget: Version) -> bool:
    """Whether a pod serves nobody and may go as long as the others are enough, or always if the budget says so."""
    if is_true(pod.data["status"], "Ready"):
        return False
    status = budget.data["status"]
    enough: bool = status["currentHealthy"] >= status["desiredHealthy"] > 0
    return enough or budget.data["spec"].get("unhealthyPodEvictionPolicy") == "AlwaysAllow"


def _charged(registry: Registry, budget: Version, pod: Version) -> Json:
    """The status of a budget with one disruption less.

    Raises:
        Refused: 429 when there is none.
    """
    status: Json = budget.data["status"]
    if status.get("observedGeneration", 0) < budget.meta["generation"]:
        raise _too_many(f"The disruption budget {budget.name} is still being processed by the server.", _RETRY_SECONDS)
    left: int = status["disruptionsAllowed"] - 1
    if left < 0:
        raise _too_many(_why_not(budget.name, status))
    status = {**status, "disruptionsAllowed": left, "disruptedPods": mapping(status, "disruptedPods") | {pod.name: registry.now()}}
    if left > 0:
        return status
    return with_condition(status, {**verdict(left), "observedGeneration": status["observedGeneration"]}, registry.now())


def _why_not(name: str, status: Json) -> str:
    told = condition(status, CONDITION)
    if told and told["status"] == "False" and told["reason"] == SYNC_FAILED:
        return f"The disruption budget {name} does not allow evicting pods currently because it failed sync: {told['message']}"
    if status["currentHealthy"] <= status["desiredHealthy"]:
        return f"The disruption budget {name} needs {status['desiredHealthy']} healthy pods and has {status['currentHealthy']} currently"
    return f"The disruption budget {name} does not allow evicting pods currently"


def _too_many(why: str, seconds: int = 0) -> Refused:
    details: Json = {"causes": [{"reason": "DisruptionBudget", "message": why}]} | ({"retryAfterSeconds": seconds} if seconds else {})
    return Refused(429, "TooManyRequests", "Cannot evict pod as it would violate the pod's disruption budget.", details)


def _write_status(registry: Registry, call: Call, version: Version, status: Json) -> None:
    write = Call(verb="update", kind=version.kind, namespace=version.namespace, name=version.name, subresource="status", user=call.user)
    registry.update(write, lambda old: {**old, "status": status})
