# SPDX-License-Identifier: Apache-2.0
"""Deleting: preconditions, finalizers, the two phases of pods, and what the answer is."""

from tests.conformance.cases._bodies import config, lease, owned, pod, revision, running_pod, service
from tests.conformance.room import CODE, Json, Room

MARKS = "metadata.deletionTimestamp metadata.deletionGracePeriodSeconds metadata.finalizers metadata.resourceVersion metadata.generation"
OTHER_UID = "11111111-2222-3333-4444-555555555555"
NO_KUBELET = {"nodeName": "no-such-node"}  # bound, so deletion is graceful, and nobody ever confirms it


async def the_answer_to_a_delete(room: Room) -> None:
    """Most kinds are answered with a Status that has the uid, pods and Services with their last state."""
    spec = {"selector": {"app": "web"}, "ports": [{"port": 80}]}
    bodies: list[tuple[str, Json]] = [
        ("configmaps", config("x")),
        ("managedservices", service("x")),
        ("controllerrevisions", revision("x")),
        ("leases", lease("x")),
        ("pods", pod("x")),
        ("services", {"metadata": {"name": "x"}, "spec": spec}),
    ]
    for plural, body in bodies:
        await room.post(plural, body, show="metadata.uid")
        await room.delete(f"{plural}/x", show="kind status details metadata.uid metadata.deletionTimestamp metadata.deletionGracePeriodSeconds")
        await room.get(f"{plural}/x")


async def preconditions_of_a_delete(room: Room) -> None:
    """The operator deletes what it has looked at, and nothing that came later under the same name."""
    for plural, body in (("configmaps", config("x")), ("pods", pod("x")), ("managedservices", service("x"))):
        created = await room.post(plural, body, show="metadata.uid metadata.resourceVersion")
        uid, version = created["metadata"]["uid"], created["metadata"]["resourceVersion"]
        await room.delete(f"{plural}/x", {"preconditions": {"uid": OTHER_UID}})
        await room.delete(f"{plural}/x", {"preconditions": {"resourceVersion": "1"}})
        await room.delete(f"{plural}/x", {"preconditions": {"uid": OTHER_UID, "resourceVersion": "1"}})
        await room.merge(f"{plural}/x", {"metadata": {"labels": {"a": "b"}}}, show="metadata.resourceVersion")
        await room.delete(f"{plural}/x", {"preconditions": {"uid": uid, "resourceVersion": version}})
        await room.delete(f"{plural}/x", {"preconditions": {"uid": uid}}, show="kind status")


async def a_finalizer_holds_an_object(room: Room) -> None:
    """The service's own finalizer: marked first, gone when the last one is taken away, and no write in between is lost."""
    await room.post("managedservices", service(finalizers=["drover.dev/a", "drover.dev/b"]), show=MARKS)
    await room.delete("managedservices/web", show=MARKS)
    await room.delete("managedservices/web", show=MARKS)
    await room.merge("managedservices/web", {"metadata": {"finalizers": ["drover.dev/a", "drover.dev/b", "drover.dev/c"]}})
    await room.merge("managedservices/web", {"metadata": {"finalizers": ["drover.dev/b"]}}, show=MARKS)
    await room.merge("managedservices/web/status", {"status": {"phase": "Destroy"}}, show="status.phase metadata.deletionTimestamp")
    await room.post("managedservices", service())
    await room.merge("managedservices/web", {"metadata": {"finalizers": None}}, show=MARKS)
    await room.get("managedservices/web")
    await room.post("managedservices", service(), show=MARKS)


async def a_finalizer_holds_built_in_kinds(room: Room) -> None:
    """Somebody else's finalizer on our pods and revisions: we wait, and create no other object of that name."""
    for plural, body in (("configmaps", config("x", finalizers=["drover.dev/a"])), ("pods", pod("x", finalizers=["drover.dev/a"]))):
        await room.post(plural, body, show=MARKS)
        await room.delete(f"{plural}/x", show=MARKS)
        await room.delete(f"{plural}/x", show=MARKS)
        await room.post(plural, body)
        await room.merge(f"{plural}/x", {"metadata": {"labels": {"a": "b"}}}, show="metadata.labels")
        await room.merge(f"{plural}/x", {"metadata": {"finalizers": ["drover.dev/a", "drover.dev/b"]}})
        await room.merge(f"{plural}/x", {"metadata": {"finalizers": []}}, show="metadata.labels metadata.finalizers metadata.deletionTimestamp")
        await room.get(f"{plural}/x")


async def a_finalizer_is_removed_before_anything_is_deleted(room: Room) -> None:
    """Taking a finalizer away deletes only what is marked."""
    await room.post("configmaps", config(finalizers=["drover.dev/a"]), show=MARKS)
    await room.merge("configmaps/a", {"metadata": {"finalizers": None}}, show=MARKS)
    await room.get("configmaps/a", show=MARKS)


async def a_deletion_as_a_watch_sees_it(room: Room) -> None:
    """The cache drops an object at DELETED, whose version is the deletion's own."""
    held = await room.post("configmaps", config("held", finalizers=["drover.dev/a"], labels={"app": "web"}), show=MARKS)
    query = {"resourceVersion": held["metadata"]["resourceVersion"], "labelSelector": "app=web"}
    async with room.watch("configmaps", show=f"metadata.name {MARKS}", **query) as watch:
        await room.delete("configmaps/held", show=MARKS)
        await room.merge("configmaps/held", {"metadata": {"finalizers": None}}, show=MARKS)
        await room.post("configmaps", config("free", labels={"app": "web"}), show="metadata.resourceVersion")
        await room.delete("configmaps/free", show="status")
        await watch.take(4)


async def an_unscheduled_pod_vanishes_at_once(room: Room) -> None:
    """Nothing runs that could be ended gracefully; a watch still sees it Terminating first."""
    created = await room.post("pods", pod(), show=MARKS)
    async with room.watch("pods", show=f"metadata.name {MARKS}", resourceVersion=created["metadata"]["resourceVersion"]) as watch:
        await room.delete("pods/p", show=MARKS)
        await room.get("pods/p")
        await room.post("pods", pod(), show="metadata.name")
        await watch.take(3)


async def a_scheduled_pod_waits_for_its_kubelet(room: Room) -> None:
    """A pod on a dead node stays Terminating, and its name stays taken, until it is deleted without grace."""
    created = await room.post("pods", running_pod("p", NO_KUBELET), show=MARKS)
    async with room.watch("pods", show=f"metadata.name {MARKS}", resourceVersion=created["metadata"]["resourceVersion"]) as watch:
        await room.delete("pods/p", show=MARKS)
        await room.delete("pods/p", show=MARKS)
        await room.post("pods", running_pod("p", NO_KUBELET))
        await room.delete("pods/p", {"gracePeriodSeconds": 60}, show=MARKS)
        await room.delete("pods/p", {"gracePeriodSeconds": 10}, show=MARKS)
        await room.delete("pods/p", {"gracePeriodSeconds": 0}, show=MARKS)
        await room.get("pods/p")
        await room.post("pods", pod("next"), show="metadata.name")
        await watch.take(4)


async def the_grace_of_a_pod(room: Room) -> None:
    """From the spec, or from the request, by body or by query; a negative one is one second."""
    for name, options, query in (
        ("a", None, {}),
        ("b", {"gracePeriodSeconds": 20}, {}),
        ("c", None, {"gracePeriodSeconds": "20"}),
        ("d", {"gracePeriodSeconds": -5}, {}),
    ):
        await room.post("pods", running_pod(name, {**NO_KUBELET, "terminationGracePeriodSeconds": 40}), show=MARKS)
        await room.delete(f"pods/{name}", options, show=MARKS, **query)
    for name in "abcd":
        await room.delete(f"pods/{name}", {"gracePeriodSeconds": 0}, show=MARKS)
    await room.post("pods", running_pod("e", NO_KUBELET), show=MARKS)
    await room.delete("pods/e", {"gracePeriodSeconds": 0}, show=MARKS)
    await room.get("pods/e")


async def a_scheduled_pod_with_a_finalizer(room: Room) -> None:
    """Both must be gone, the kubelet's confirmation and the finalizer; a forced delete does not take the finalizer away."""
    await room.post("pods", running_pod("p", NO_KUBELET, finalizers=["drover.dev/a"]), show=MARKS)
    await room.delete("pods/p", show=MARKS)
    await room.delete("pods/p", {"gracePeriodSeconds": 0}, show=MARKS)
    await room.get("pods/p", show=MARKS)
    await room.merge("pods/p", {"metadata": {"finalizers": None}}, show=MARKS)
    await room.get("pods/p")


async def a_finished_pod_vanishes_at_once(room: Room) -> None:
    """A failed instance is replaced under its own name, which must be free soon."""
    await room.post("pods", running_pod("p", NO_KUBELET), show=MARKS)
    await room.merge("pods/p/status", {"status": {"phase": "Failed"}}, show="status.phase")
    await room.delete("pods/p", show=MARKS)
    await room.get("pods/p")


async def a_pod_that_ends_while_it_is_terminating(room: Room) -> None:
    """Another delete does not hurry it: only its kubelet's confirmation, or one without grace, takes it away."""
    await room.post("pods", running_pod("p", NO_KUBELET), show=MARKS)
    await room.delete("pods/p", show=MARKS)
    await room.merge("pods/p/status", {"status": {"phase": "Succeeded"}}, show="status.phase")
    await room.delete("pods/p", show=MARKS)
    await room.get("pods/p", show=MARKS)
    await room.delete("pods/p", {"gracePeriodSeconds": 0}, show=MARKS)
    await room.get("pods/p")


async def a_pod_that_runs_is_ended(room: Room) -> None:
    """The whole way with a kubelet: marked, ended, gone."""
    created = await room.post("pods", running_pod("p", {"terminationGracePeriodSeconds": 2}), show=MARKS)
    await room.until("pods/p", lambda each: each.get("status", {}).get("phase") == "Running", show="status.phase")
    async with room.watch("pods", show="metadata.name", resourceVersion=created["metadata"]["resourceVersion"]) as watch:
        await room.delete("pods/p", show="metadata.deletionTimestamp metadata.deletionGracePeriodSeconds")
        await watch.until(lambda event: event["type"] == "DELETED")
    await room.gone("pods/p")


async def delete_options_that_are_refused(room: Room) -> None:
    """A misspelled policy must not become a deletion of another kind."""
    await room.post("configmaps", config(), show="metadata.name")
    await room.delete("configmaps/a", {"propagationPolicy": "Sideways"})
    await room.delete("configmaps/a", {"propagationPolicy": "Orphan", "orphanDependents": True})
    await room.delete("configmaps/a", propagationPolicy="Sideways")
    await room.send("DELETE", "configmaps/a", b'{"preconditions": ', show=CODE)
    await room.get("configmaps/a", show="metadata.name")


async def a_collection_is_deleted(room: Room) -> None:
    """kubectl delete --all sends it; a selector restricts it."""
    for name, labels in (("a", {"app": "web"}), ("b", {"app": "web"}), ("c", {"app": "db"})):
        await room.post("controllerrevisions", revision(name, labels=labels), show="metadata.name")
    await room.send("DELETE", "controllerrevisions", query={"labelSelector": "app=web"}, show="metadata.name")
    await room.get("controllerrevisions", show="metadata.name")


async def owners_may_be_named_twice_but_control_once(room: Room) -> None:
    """Two controllers of one object would fight: the server refuses the second."""
    owner = await room.post("configmaps", config("owner"), show="metadata.name")
    reference = owned(owner)["ownerReferences"][0]
    other = {**reference, "name": "other", "uid": OTHER_UID}
    await room.post("configmaps", config("x", ownerReferences=[{**reference, "controller": True}, {**other, "controller": True}]))
    await room.post("configmaps", config("x", ownerReferences=[{**reference, "controller": True}, other]), dryRun="All", show="metadata.ownerReferences")
