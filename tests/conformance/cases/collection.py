# SPDX-License-Identifier: Apache-2.0
"""Garbage collection: what becomes of dependents in the three modes, and when the owner goes."""

from tests.conformance.cases._bodies import config, owned, pod, revision, service
from tests.conformance.room import Json, Room

LEFT = "metadata.finalizers metadata.deletionTimestamp metadata.ownerReferences"


def _waits(answer: Json) -> bool:
    return "deletionTimestamp" in answer.get("metadata", {})


async def background(room: Room) -> None:
    """The default of our kinds: the owner is gone at once, its pods and revisions follow."""
    owner = await room.post("managedservices", service(), show=LEFT)
    await room.post("controllerrevisions", revision("child", **owned(owner)), show=LEFT)
    await room.post("pods", pod("child", **owned(owner)), show=LEFT)
    await room.delete("managedservices/web", show="status details")
    await room.get("managedservices/web")
    await room.gone("controllerrevisions/child")
    await room.gone("pods/child")


async def background_in_words(room: Room) -> None:
    """The same, asked for by name, in the body or in the query."""
    for name, options, query in (("one", {"propagationPolicy": "Background"}, {}), ("two", None, {"propagationPolicy": "Background"})):
        owner = await room.post("configmaps", config(name), show=LEFT)
        await room.post("configmaps", config(f"{name}-child", **owned(owner)), show=LEFT)
        await room.delete(f"configmaps/{name}", options, show="status", **query)
        await room.gone(f"configmaps/{name}-child")


async def foreground_waits_for_those_that_block(room: Room) -> None:
    """A dependent with blockOwnerDeletion is gone before its owner; here a finalizer shows the wait."""
    owner = await room.post("configmaps", config("owner"), show=LEFT)
    await room.post("configmaps", config("child", finalizers=["drover.dev/a"], **owned(owner)), show=LEFT)
    await room.delete("configmaps/owner", {"propagationPolicy": "Foreground"}, show=LEFT)
    await room.until("configmaps/child", _waits, show=LEFT)
    await room.get("configmaps/owner", show=LEFT)
    await room.merge("configmaps/child", {"metadata": {"finalizers": None}}, show="metadata.finalizers")
    await room.gone("configmaps/owner")


async def foreground_does_not_wait_for_others(room: Room) -> None:
    """A dependent without blockOwnerDeletion is deleted too, but nobody waits for it."""
    for name, block in (("false", False), ("unset", None)):
        owner = await room.post("configmaps", config(name), show=LEFT)
        await room.post("configmaps", config(f"{name}-child", finalizers=["drover.dev/a"], **owned(owner, block=block)), show=LEFT)
        await room.delete(f"configmaps/{name}", {"propagationPolicy": "Foreground"}, show=LEFT)
        await room.gone(f"configmaps/{name}")
        await room.until(f"configmaps/{name}-child", _waits, show=LEFT)
        await room.merge(f"configmaps/{name}-child", {"metadata": {"finalizers": None}}, show="metadata.finalizers")
        await room.gone(f"configmaps/{name}-child")


async def foreground_of_a_custom_resource(room: Room) -> None:
    """kubectl delete --cascade=foreground: our finalizer and the collector's stand side by side."""
    owner = await room.post("managedservices", service(finalizers=["drover.dev/x"]), show=LEFT)
    await room.post("controllerrevisions", revision("child", **owned(owner)), show=LEFT)
    await room.delete("managedservices/web", {"propagationPolicy": "Foreground"}, show="metadata.finalizers metadata.generation")
    await room.gone("controllerrevisions/child")
    await room.until("managedservices/web", lambda each: len(each["metadata"].get("finalizers", ())) == 1, show="metadata.finalizers")
    await room.merge("managedservices/web", {"metadata": {"finalizers": None}}, show="metadata.finalizers")
    await room.get("managedservices/web")


async def foreground_goes_down_the_tree(room: Room) -> None:
    """A grandchild holds the child, which holds the owner."""
    owner = await room.post("configmaps", config("owner"), show=LEFT)
    child = await room.post("configmaps", config("child", **owned(owner)), show=LEFT)
    await room.post("configmaps", config("grandchild", finalizers=["drover.dev/a"], **owned(child)), show=LEFT)
    await room.delete("configmaps/owner", {"propagationPolicy": "Foreground"}, show="metadata.finalizers")
    await room.until("configmaps/grandchild", _waits, show=LEFT)
    await room.get("configmaps/child", show="metadata.finalizers")
    await room.get("configmaps/owner", show="metadata.finalizers")
    await room.merge("configmaps/grandchild", {"metadata": {"finalizers": None}}, show="metadata.finalizers")
    await room.gone("configmaps/child")
    await room.gone("configmaps/owner")


async def foreground_without_dependents(room: Room) -> None:
    """It is answered with the object, as nobody knows yet that nothing depends on it."""
    await room.post("configmaps", config("owner"), show=LEFT)
    await room.delete("configmaps/owner", {"propagationPolicy": "Foreground"}, show="kind metadata.finalizers metadata.deletionTimestamp")
    await room.gone("configmaps/owner")


async def orphan(room: Room) -> None:
    """kubectl delete --cascade=orphan: the dependents stay and forget their owner."""
    owner = await room.post("managedservices", service(), show=LEFT)
    await room.post("controllerrevisions", revision("child", **owned(owner)), show=LEFT)
    await room.delete("managedservices/web", {"propagationPolicy": "Orphan"}, show="kind metadata.finalizers")
    await room.gone("managedservices/web")
    await room.get("controllerrevisions/child", show=LEFT)


async def orphan_after_background(room: Room) -> None:
    """A held object can be told otherwise by a second delete."""
    await room.post("configmaps", config("owner", finalizers=["drover.dev/a"]), show=LEFT)
    await room.delete("configmaps/owner", show="metadata.finalizers")
    await room.delete("configmaps/owner", {"propagationPolicy": "Orphan"}, show="metadata.finalizers")
    await room.until("configmaps/owner", lambda each: each["metadata"]["finalizers"] == ["drover.dev/a"], show="metadata.finalizers")
    await room.merge("configmaps/owner", {"metadata": {"finalizers": None}}, show="metadata.finalizers")


async def one_owner_of_two_goes(room: Room) -> None:
    """A revision that two share lives on and forgets the one that is gone."""
    first = await room.post("configmaps", config("first"), show="metadata.uid")
    second = await room.post("configmaps", config("second"), show="metadata.uid")
    both = owned(first, block=None)["ownerReferences"] + owned(second, block=None)["ownerReferences"]
    await room.post("configmaps", config("child", ownerReferences=both), show=LEFT)
    await room.delete("configmaps/first", show="status")
    await room.until("configmaps/child", lambda each: len(each["metadata"].get("ownerReferences", ())) == 1, show=LEFT)


async def an_owner_that_never_was(room: Room) -> None:
    """A pod made for a service that was deleted meanwhile is collected: a late create leaves nothing behind."""
    ghost = {"apiVersion": "drover.dev/v1alpha1", "kind": "ManagedService", "metadata": {"name": "web", "uid": "11111111-2222-3333-4444-555555555555"}}
    await room.post("controllerrevisions", revision("child", **owned(ghost)), show=LEFT)
    await room.gone("controllerrevisions/child")


async def an_owner_that_was_recreated(room: Room) -> None:
    """The name is the same, the uid is not: dependents of the old one go."""
    old = await room.post("managedservices", service(), show="metadata.uid")
    await room.delete("managedservices/web", show="status")
    await room.post("managedservices", service(), show="metadata.uid")
    await room.post("controllerrevisions", revision("child", **owned(old)), show=LEFT)
    await room.gone("controllerrevisions/child")
    await room.get("managedservices/web", show="metadata.uid")
