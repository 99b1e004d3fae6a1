# SPDX-License-Identifier: Apache-2.0
"""Deletion in two phases: marked first, gone when finalizers are removed and, for a pod, its kubelet has confirmed."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from drover_operator.testing.kinds import NAMESPACES, PODS, Kind
from drover_operator.testing.objects import Json
from drover_operator.testing.refusal import unmet
from drover_operator.testing.registry import Call, Registry
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


def _check_preconditions(call: Call, version: Version, options: DeleteOptions) -> None:
    if options.uid and options.uid != version.uid:
        why = (
            f"the UID in the precondition ({options.uid}) does not match the UID in record ({version.uid})."
            " The object might have been deleted and then recreated"
        )
        raise unmet(call.kind, call.name, why)
    if options.resource_version and options.resource_version != str(version.revision):
        why = (
            f"the ResourceVersion in the precondition ({options.resource_version}) does not match the ResourceVersion in record"
            f" ({version.revision}). The object might have been modified"
        )
        raise unmet(call.kind, call.name, why)


def _grace(kind: Kind, version: Version, options: DeleteOptions) -> int:
    """Seconds that a pod gets; pods that run nowhere get none, and a second delete can only shorten it."""
    if kind is not PODS:
        return 0
    asked = None if options.grace is None else options.grace if options.grace >= 0 else 1
    if version.deleting:
        left: int = version.meta["deletionGracePeriodSeconds"]
        return left if asked is None else min(asked, left)
    spec: Json = version.data["spec"]
    if not spec.get("nodeName") or version.data["status"].get("phase") in ("Succeeded", "Failed"):
        return 0
    return int(spec.get("terminationGracePeriodSeconds", 30)) if asked is None else asked


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
        changes |= {"deletionTimestamp": _due(registry, version, grace), "deletionGracePeriodSeconds": None if version.kind is NAMESPACES else grace}
    if version.kind is NAMESPACES:
        version = Version(NAMESPACES, {**version.data, "status": {"phase": "Terminating"}}, version.revision)
    return registry.replace_meta(version, changes)


def _due(registry: Registry, version: Version, grace: int) -> str:
    """When a deletion is due: so long after it was first asked for."""
    if not version.deleting:
        return registry.stamp(grace)
    sooner = version.meta.get("deletionGracePeriodSeconds", 0) - grace
    return (datetime.fromisoformat(version.meta["deletionTimestamp"]) - timedelta(seconds=sooner)).strftime("%Y-%m-%dT%H:%M:%SZ")
