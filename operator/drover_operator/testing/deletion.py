# SPDX-License-Identifier: Apache-2.0
"""Deletion in two phases: marked first, gone when finalizers are removed and, for a pod, its kubelet has confirmed."""

from dataclasses import dataclass

from drover_operator.testing.conditions import is_true
from drover_operator.testing.kinds import DISRUPTION_BUDGETS, NAMESPACES, PODS, Kind
from drover_operator.testing.objects import Json
from drover_operator.testing.refusal import Refused, conflict
from drover_operator.testing.registry import Call, Registry
from drover_operator.testing.selectors import LabelSelector
from drover_operator.testing.storage import Version

FOREGROUND = "foregroundDeletion"
ORPHAN = "orphan"
_FINALIZERS = {"Foreground": FOREGROUND, "Orphan": ORPHAN}


@dataclass(frozen=True, slots=True, kw_only=True)
class DeleteOptions:
    """The part of DeleteOptions that has an effect here."""

    uid: str = ""
    resource_version: str = ""
    grace: int | None = None
    propagation: str = "Background"

    @classmethod
    def read(cls, body: Json, query: dict[str, str]) -> "DeleteOptions":
        """Options from a request; those in the body win."""
        conditions: Json = body.get("preconditions") or {}
        grace = body.get("gracePeriodSeconds", query.get("gracePeriodSeconds"))
        return cls(
            uid=conditions.get("uid") or "",
            resource_version=conditions.get("resourceVersion") or "",
            grace=None if grace is None else int(grace),
            propagation=body.get("propagationPolicy") or query.get("propagationPolicy") or "Background",
        )


def delete(registry: Registry, call: Call, options: DeleteOptions) -> tuple[Version, bool]:
    """Delete an object; answers its last state and whether it is gone."""
    version = registry.existing(call)
    _check_preconditions(call, version, options)
    grace = _grace(call.kind, version, options)
    finalizers = _finalizers(version, options)
    held = bool(finalizers) or grace > 0 or call.kind is NAMESPACES
    if call.dry_run:
        return version, not held
    version = _marked(registry, version, grace, finalizers, held=held)
    return (version, False) if held else (registry.storage.remove(version), True)


def finish_namespace(registry: Registry, version: Version) -> None:
    """Remove a namespace whose content is gone; only the namespace controller does this."""
    registry.storage.remove(version)


def evict(registry: Registry, call: Call, options: DeleteOptions) -> tuple[Version, bool]:
    """Delete a pod if its disruption budgets allow.

    Raises:
        Refused: 429 when a budget does not.
    """
    pod = registry.existing(call)
    for budget in registry.storage.items(DISRUPTION_BUDGETS, call.namespace):
        spec: Json = budget.data.get("spec", {})
        if not LabelSelector.of(spec.get("selector")).matches(pod.labels):
            continue
        healthy, allowed = _disruptions_allowed(registry, budget)
        spare = pod.uid not in healthy and (spec.get("unhealthyPodEvictionPolicy") == "AlwaysAllow" or allowed >= 0)
        if allowed <= 0 and not spare:
            cause = {"reason": "DisruptionBudget", "message": f"The disruption budget {budget.name} does not allow this disruption."}
            message = "Cannot evict pod as it would violate the pod's disruption budget."
            raise Refused(429, "TooManyRequests", message, {"causes": [cause]})
    return delete(registry, call, options)


def _disruptions_allowed(registry: Registry, budget: Version) -> tuple[dict[str, None], int]:
    """The healthy pods of a budget and how many of them may go: 3 expected, maxUnavailable 1, 2 healthy: none."""
    spec: Json = budget.data["spec"]
    selector = LabelSelector.of(spec.get("selector"))
    pods = [pod for pod in registry.storage.items(PODS, budget.namespace) if selector.matches(pod.labels)]
    healthy = {pod.uid: None for pod in pods if is_true(pod.data["status"], "Ready") and not pod.deleting}
    expected = _expected(registry, pods)
    least = spec.get("minAvailable")
    wanted = expected - _scaled(spec.get("maxUnavailable", 0), expected) if least is None else _scaled(least, expected)
    return healthy, len(healthy) - wanted


def _expected(registry: Registry, pods: list[Version]) -> int:
    """How many pods there should be: the scale of each controller that has one, and each pod without."""
    scales: dict[str, int] = {}
    for pod in pods:
        uid = next((owner["uid"] for owner in pod.meta.get("ownerReferences") or () if owner.get("controller")), "")
        owner = registry.storage.by_uid(uid)
        has_scale = owner is not None and owner.kind.scale
        scales[uid if has_scale else pod.uid] = int(owner.data["spec"].get("replicas", 0)) if owner and has_scale else 1
    return sum(scales.values())


def _scaled(value: int | str, total: int) -> int:
    """A number or a percentage of `total`, rounded up: 25% of 5 pods is 2."""
    return value if isinstance(value, int) else -(-int(value.rstrip("%")) * total // 100)


def _check_preconditions(call: Call, version: Version, options: DeleteOptions) -> None:
    if options.uid and options.uid != version.uid:
        why = (
            f"the UID in the precondition ({options.uid}) does not match the UID in record ({version.uid})."
            " The object might have been deleted and then recreated"
        )
        raise conflict(call.kind, call.name, why, call.kind.qualified_kind)
    if options.resource_version and options.resource_version != str(version.revision):
        why = (
            f"the ResourceVersion in the precondition ({options.resource_version}) does not match the ResourceVersion in record"
            f" ({version.revision}). The object might have been modified"
        )
        raise conflict(call.kind, call.name, why, call.kind.qualified_kind)


def _grace(kind: Kind, version: Version, options: DeleteOptions) -> int:
    """Seconds that a pod gets; pods that run nowhere get none, and a second delete can only shorten it."""
    if kind is not PODS:
        return 0
    spec: Json = version.data["spec"]
    if not spec.get("nodeName") or version.data["status"].get("phase") in ("Succeeded", "Failed"):
        return 0
    wanted = spec.get("terminationGracePeriodSeconds", 30) if options.grace is None else max(options.grace, 0)
    return min(wanted, version.meta["deletionGracePeriodSeconds"]) if version.deleting else wanted


def _finalizers(version: Version, options: DeleteOptions) -> list[str]:
    kept = [item for item in version.meta.get("finalizers") or () if item not in _FINALIZERS.values()]
    return [*kept, _FINALIZERS[options.propagation]] if options.propagation in _FINALIZERS else kept


def _marked(registry: Registry, version: Version, grace: int, finalizers: list[str], *, held: bool) -> Version:
    """Set the deletion timestamp. A pod gets it even when it goes at once, so that watchers see it Terminating first."""
    if not held and version.kind is not PODS:
        return version
    unchanged = version.deleting and version.meta.get("deletionGracePeriodSeconds", 0) == grace
    if unchanged and finalizers == (version.meta.get("finalizers") or []):
        return version
    changes: Json = {"finalizers": finalizers or None}
    if not unchanged:
        changes |= {"deletionTimestamp": registry.stamp(grace), "deletionGracePeriodSeconds": None if version.kind is NAMESPACES else grace}
    if version.kind is NAMESPACES:
        version = Version(NAMESPACES, {**version.data, "status": {"phase": "Terminating"}}, version.revision)
    return registry.replace_meta(version, changes)
