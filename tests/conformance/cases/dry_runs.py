# SPDX-License-Identifier: Apache-2.0
"""Dry runs: judged like the real thing, and nothing of it stays. The operator asks so about a new revision before it begins."""

from tests.conformance.cases._bodies import config, pod, service
from tests.conformance.room import Room

ALL = {"dryRun": "All"}


async def a_create(room: Room) -> None:
    """The answer is the object as it would be stored, without a version."""
    await room.post("configmaps", config(), **ALL)
    await room.post("managedservices", service(), show="metadata", **ALL)
    await room.post("pods", pod(), show="metadata spec.dnsPolicy status.phase", **ALL)
    await room.get("configmaps/a")
    await room.post("pods", pod("p", {"containers": []}), **ALL)


async def a_create_of_a_taken_name(room: Room) -> None:
    """Names are checked too, or a dry run would promise what cannot come."""
    await room.post("configmaps", config(), show="metadata.name")
    await room.post("configmaps", config(), **ALL)
    await room.post("configmaps", config(namespace="elsewhere"), **ALL)
    await room.post("/api/v1/namespaces/nowhere/configmaps", config("b"), **ALL)


async def a_change(room: Room) -> None:
    """A patch and an update show what would be, with the version that is."""
    created = await room.post("managedservices", service(), show="metadata.generation metadata.resourceVersion")
    shown = "metadata.generation metadata.resourceVersion spec.replicas"
    await room.merge("managedservices/web", {"spec": {"replicas": 3}}, show=shown, **ALL)
    await room.put("managedservices/web", {**created, "spec": {**created["spec"], "replicas": 4}}, show=shown, **ALL)
    await room.merge("managedservices/web", {"spec": {"replicas": -1}}, show=shown, **ALL)
    await room.merge("managedservices/web", {"metadata": {"resourceVersion": "1"}, "spec": {"replicas": 3}}, show=shown, **ALL)
    await room.merge("managedservices/web/status", {"status": {"phase": "Run"}}, show="status", **ALL)
    await room.merge("managedservices/web/scale", {"spec": {"replicas": 3}}, show="spec", **ALL)
    await room.get("managedservices/web", show=f"{shown} status")


async def a_delete(room: Room) -> None:
    """By query or by body; finalizers or not, everything stays."""
    await room.post("configmaps", config(), show="metadata.name")
    await room.delete("configmaps/a", show="kind status details.name", **ALL)
    await room.delete("configmaps/a", {"dryRun": ["All"]}, show="kind status details.name")
    await room.delete("configmaps/a", {"preconditions": {"uid": "11111111-2222-3333-4444-555555555555"}}, **ALL)
    await room.post("configmaps", config("held", finalizers=["drover.dev/a"]), show="metadata.name")
    await room.delete("configmaps/held", show="kind metadata.name", **ALL)
    await room.post("pods", pod(), show="metadata.name")
    await room.delete("pods/p", show="kind metadata.name", **ALL)
    for where in ("configmaps/a", "configmaps/held", "pods/p"):
        await room.get(where, show="metadata.name metadata.deletionTimestamp")


async def a_removal_of_the_last_finalizer(room: Room) -> None:
    """Even a patch that would let an object go leaves it there."""
    await room.post("configmaps", config(finalizers=["drover.dev/a"]), show="metadata.name")
    await room.delete("configmaps/a", show="metadata.finalizers")
    await room.merge("configmaps/a", {"metadata": {"finalizers": None}}, show="metadata.finalizers", **ALL)
    await room.get("configmaps/a", show="metadata.finalizers")
    await room.merge("configmaps/a", {"metadata": {"finalizers": None}}, show="metadata.finalizers")


async def an_eviction(room: Room) -> None:
    """kubectl drain --dry-run=server asks so, and no pod may go by it."""
    await room.post("pods", pod(), show="metadata.name")
    body = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": "p"}}
    await room.post("pods/p/eviction", body, **ALL)
    await room.post("pods/p/eviction", {**body, "deleteOptions": {"dryRun": ["All"]}})
    await room.get("pods/p", show="metadata.name metadata.deletionTimestamp")


async def a_word_that_is_no_dry_run(room: Room) -> None:
    """A misspelled dry run must not become a real one."""
    await room.post("configmaps", config(), dryRun="Some")
    await room.post("configmaps", config(), show="metadata.name")
    await room.merge("configmaps/a", {"data": {"a": "1"}}, dryRun="Some")
    await room.delete("configmaps/a", dryRun="Some")
    await room.delete("configmaps/a", {"dryRun": ["Some"]})
    await room.get("configmaps/a", show="metadata.name data")
