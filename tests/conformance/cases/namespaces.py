# SPDX-License-Identifier: Apache-2.0
"""Namespaces: what they are made of, and what happens in one that is being deleted."""

from tests.conformance.cases._bodies import config, pod, revision, service
from tests.conformance.room import Json, Room


def _space(name: str) -> Json:
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}


async def a_namespace_is_completed(room: Room) -> None:
    """Policies select namespaces by the label that the server sets."""
    other = f"{room.namespace}-other"
    await room.post("namespaces", _space(other))
    await room.post("namespaces", _space(other))
    await room.post("namespaces", _space("Not_A_Name"))
    await room.delete(f"namespaces/{other}", show="metadata.deletionTimestamp status.phase spec")
    await room.gone(f"namespaces/{other}")


async def a_namespace_takes_its_content_with_it(room: Room) -> None:
    """Everything in it is deleted, and it is gone when nothing is left."""
    other = f"{room.namespace}-other"
    inside = f"/api/v1/namespaces/{other}"
    await room.post("namespaces", _space(other), show="status.phase")
    await room.settled(other)
    await room.post(f"{inside}/configmaps", config(), show="metadata.name")
    await room.post(f"{inside}/pods", pod(), show="metadata.name")
    await room.post(f"/apis/drover.dev/v1alpha1/namespaces/{other}/managedservices", service(), show="metadata.name")
    await room.delete(f"namespaces/{other}", show="status.phase")
    await room.gone(f"namespaces/{other}")
    await room.get(f"{inside}/configmaps/a")
    await room.get(f"/apis/drover.dev/v1alpha1/namespaces/{other}/managedservices/web")


async def a_namespace_that_is_being_deleted(room: Room) -> None:
    """Nothing new is taken: the operator must not try for ever. What is there can still be changed, or nothing could let go."""
    other = f"{room.namespace}-other"
    inside = f"/api/v1/namespaces/{other}"
    services = f"/apis/drover.dev/v1alpha1/namespaces/{other}/managedservices"
    await room.post("namespaces", _space(other), show="status.phase")
    await room.post(services, service(finalizers=["drover.dev/x"]), show="metadata.finalizers")
    await room.delete(f"namespaces/{other}", show="kind status.phase metadata.deletionTimestamp")
    await room.post(f"{inside}/configmaps", config())
    await room.post(services, service("two"))
    await room.post(f"/apis/apps/v1/namespaces/{other}/controllerrevisions", revision(), dryRun="All")
    await room.until(f"{services}/web", lambda each: "deletionTimestamp" in each["metadata"], show="metadata.deletionTimestamp metadata.finalizers")
    await room.delete(f"namespaces/{other}", show="-")
    await room.merge(f"{services}/web/status", {"status": {"phase": "Destroy"}}, show="status.phase")
    await room.merge(f"{services}/web", {"metadata": {"finalizers": None}}, show="metadata.finalizers")
    await room.gone(f"namespaces/{other}")
