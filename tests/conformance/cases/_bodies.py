# SPDX-License-Identifier: Apache-2.0
"""The objects that cases begin with: as small as the servers allow."""

from typing import Any

Json = dict[str, Any]
IMAGE = "registry.example/app:1"


def meta(name: str, **more: Any) -> Json:
    """An object that has nothing but metadata."""
    return {"metadata": {"name": name, **more}}


def config(name: str = "a", data: dict[str, str] | None = None, **more: Any) -> Json:
    """A ConfigMap; `more` is metadata."""
    return {"apiVersion": "v1", "kind": "ConfigMap", **meta(name, **more), **({"data": data} if data else {})}


def pod(name: str = "p", spec: Json | None = None, **more: Any) -> Json:
    """A pod that nobody schedules; `more` is metadata."""
    return running_pod(name, {"schedulerName": "nobody", **(spec or {})}, **more)


def running_pod(name: str = "p", spec: Json | None = None, **more: Any) -> Json:
    """A pod that is scheduled and run."""
    return {"apiVersion": "v1", "kind": "Pod", **meta(name, **more), "spec": {"containers": [{"name": "app", "image": IMAGE}], **(spec or {})}}


def service(name: str = "web", spec: Json | None = None, **more: Any) -> Json:
    """A ManagedService; `more` is metadata."""
    template = {"spec": {"containers": [{"name": "app", "image": IMAGE}]}}
    return {
        "apiVersion": "drover.dev/v1alpha1",
        "kind": "ManagedService",
        **meta(name, **more),
        "spec": {"criticality": "Normal", "template": template, **(spec or {})},
    }


def revision(name: str = "r", number: int = 1, **more: Any) -> Json:
    """A ControllerRevision; `more` is metadata."""
    return {"apiVersion": "apps/v1", "kind": "ControllerRevision", **meta(name, **more), "revision": number, "data": {"a": 1}}


def budget(name: str = "b", spec: Json | None = None, **more: Any) -> Json:
    """A PodDisruptionBudget of pods with the label app=web; `more` is metadata."""
    chosen = {"selector": {"matchLabels": {"app": "web"}}, **({"minAvailable": 1} if spec is None else spec)}
    return {"apiVersion": "policy/v1", "kind": "PodDisruptionBudget", **meta(name, **more), "spec": chosen}


def lease(name: str = "l", spec: Json | None = None) -> Json:
    """A Lease."""
    return {"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", **meta(name), "spec": {"holderIdentity": "me"} if spec is None else spec}


def owned(by: Json, *, block: bool | None = True) -> Json:
    """Metadata: an owner reference to an object as the server answered it."""
    reference = {"apiVersion": by["apiVersion"], "kind": by["kind"], "name": by["metadata"]["name"], "uid": by["metadata"]["uid"]}
    return {"ownerReferences": [reference | ({} if block is None else {"blockOwnerDeletion": block})]}
