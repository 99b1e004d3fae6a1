# SPDX-License-Identifier: Apache-2.0
"""Changing: preconditions, generations, the status, and what may not be changed."""

from typing import Any

from tests.conformance.cases._bodies import budget, config, lease, pod, revision, service
from tests.conformance.room import Json, Room

GENERATION = "metadata.generation metadata.resourceVersion"
OTHER_UID = "11111111-2222-3333-4444-555555555555"


async def _slice(room: Room, show: str | None = GENERATION) -> Json:
    body = {"metadata": {"name": "s"}, "addressType": "IPv4", "endpoints": [{"addresses": ["192.0.2.7"]}], "ports": []}
    return await room.post("endpointslices", body, show=show)


async def generation_of_custom_resources(room: Room) -> None:
    """observedGeneration rests on it: the spec raises it, metadata and status do not, and a deletion timestamp does."""
    await room.post("managedservices", service(finalizers=["drover.dev/x"]), show=GENERATION)
    await room.merge("managedservices/web", {"spec": {"replicas": 2}}, show=GENERATION)
    await room.merge("managedservices/web", {"metadata": {"labels": {"a": "b"}}}, show=GENERATION)
    await room.merge("managedservices/web/status", {"status": {"phase": "Run"}}, show=GENERATION)
    await room.merge("managedservices/web", {"spec": {"replicas": 2}}, show=GENERATION)
    await room.delete("managedservices/web", show=GENERATION)
    await room.delete("managedservices/web", show=GENERATION)
    await room.merge("managedservices/web", {"spec": {"replicas": 3}}, show=GENERATION)
    await room.merge("managedservices/web", {"metadata": {"finalizers": None}}, show=GENERATION)


async def generation_of_pods(room: Room) -> None:
    """Pods have one since 1.33; the image raises it, labels and status do not, a deletion timestamp does."""
    await room.post("pods", pod(finalizers=["drover.dev/x"]), show=GENERATION)
    await room.merge("pods/p", {"metadata": {"labels": {"a": "b"}}}, show=GENERATION)
    await room.strategic("pods/p", {"spec": {"containers": [{"name": "app", "image": "registry.example/app:2"}]}}, show=GENERATION)
    await room.strategic("pods/p/status", {"status": {"conditions": [{"type": "drover.dev/in-service", "status": "True"}]}}, show=GENERATION)
    await room.delete("pods/p", show=GENERATION)
    await room.merge("pods/p", {"metadata": {"finalizers": None}}, show=GENERATION)


async def generation_of_disruption_budgets(room: Room) -> None:
    """The eviction API refuses while the status is of an older generation."""
    await room.post("poddisruptionbudgets", budget(finalizers=["drover.dev/x"]), show="metadata.generation")
    await room.merge("poddisruptionbudgets/b", {"spec": {"minAvailable": 2}}, show="metadata.generation")
    await room.merge("poddisruptionbudgets/b", {"metadata": {"labels": {"a": "b"}}}, show="metadata.generation")
    await room.delete("poddisruptionbudgets/b", show="metadata.generation")
    await room.merge("poddisruptionbudgets/b", {"metadata": {"finalizers": None}}, show="metadata.generation")


async def generation_of_other_kinds(room: Room) -> None:
    """Whoever waits for a generation must know which kinds have none."""
    await _slice(room)
    await room.merge("endpointslices/s", {"metadata": {"labels": {"a": "b"}}}, show=GENERATION)
    await room.merge("endpointslices/s", {"metadata": {"annotations": {"a": "b"}}}, show=GENERATION)
    await room.merge("endpointslices/s", {"endpoints": [{"addresses": ["192.0.2.8"]}]}, show=GENERATION)
    await room.post("configmaps", config(), show=GENERATION)
    await room.post("controllerrevisions", revision(), show=GENERATION)
    await room.post("leases", lease(), show=GENERATION)
    spec = {"selector": {"app": "web"}, "ports": [{"port": 80}]}
    await room.post("services", {"metadata": {"name": "s"}, "spec": spec}, show=GENERATION)


async def a_no_op_write_is_no_write(room: Room) -> None:
    """An idle operator costs nothing only if a write that changes nothing keeps the version and tells nobody."""
    await room.post("managedservices", service(labels={"a": "b"}), show=GENERATION)
    first = await room.merge("managedservices/web/status", {"status": {"phase": "Run"}}, show=GENERATION)
    async with room.watch("managedservices", show=GENERATION, resourceVersion=first["metadata"]["resourceVersion"]) as watch:
        await room.merge("managedservices/web", {"spec": {"replicas": 1}, "metadata": {"labels": {"a": "b"}}}, show=GENERATION)
        await room.put("managedservices/web", first, show=GENERATION)
        await room.json("managedservices/web", {"op": "replace", "path": "/spec/replicas", "value": 1}, show=GENERATION)
        await room.merge("managedservices/web/status", {"status": {"phase": "Run"}}, show=GENERATION)
        await room.merge("managedservices/web", {"metadata": {"labels": {"a": "c"}}}, show=GENERATION)
        await watch.take(1)


async def the_first_write_stores_the_default_of_the_status(room: Room) -> None:
    """Until then it is only shown: a write of nothing makes one new version, and no second one."""
    first = await room.post("managedservices", service(), show=f"{GENERATION} status")
    async with room.watch("managedservices", show=GENERATION, resourceVersion=first["metadata"]["resourceVersion"]) as watch:
        for _ in range(2):
            await room.merge("managedservices/web", {"spec": {"replicas": 1}}, show=f"{GENERATION} status")
        await room.merge("managedservices/web", {"spec": {"replicas": 2}}, show=GENERATION)
        await watch.take(2)


async def a_no_op_write_of_the_scale(room: Room) -> None:
    """An oddity of the real server: each makes a new version, so that whoever watches is woken for nothing."""
    await room.post("managedservices", service(), show=GENERATION)
    for _ in range(2):
        await room.merge("managedservices/web/scale", {"spec": {"replicas": 1}}, show="metadata.resourceVersion spec.replicas")


async def a_no_op_write_of_built_in_kinds(room: Room) -> None:
    """As for our own kind: pods and Services are written with all their defaults left out."""
    await room.post("pods", pod(labels={"a": "b"}), show=GENERATION)
    await room.merge("pods/p", {"metadata": {"labels": {"a": "b"}}}, show=GENERATION)
    await room.strategic("pods/p", {"spec": {"containers": [{"name": "app", "image": "registry.example/app:1"}]}}, show=GENERATION)
    spec = {"selector": {"app": "web"}, "ports": [{"port": 80}]}
    created = await room.post("services", {"metadata": {"name": "s"}, "spec": spec}, show=GENERATION)
    await room.merge("services/s", {"spec": {"selector": {"app": "web"}}}, show=GENERATION)
    await room.merge("services/s", {"spec": spec}, show=GENERATION)
    await room.put("services/s", created, show=GENERATION)


async def a_whole_update_and_its_version(room: Room) -> None:
    """Some kinds take an update that does not say what it is based on, and some refuse it."""
    bodies: list[tuple[str, Json]] = [
        ("configmaps", config("x")),
        ("managedservices", service("x")),
        ("leases", lease("x")),
        ("controllerrevisions", revision("x")),
        ("poddisruptionbudgets", budget("x")),
        ("pods", pod("x")),
    ]
    for plural, body in bodies:
        await room.post(plural, body, show="metadata.name")
        await room.put(f"{plural}/x", {**body, "metadata": {"name": "x", "labels": {"a": "b"}}}, show="metadata.labels")


async def a_whole_update_of_an_old_version(room: Room) -> None:
    """Two writers must not undo each other: the second one is told, and reads again."""
    for plural, body in (("configmaps", config("x")), ("managedservices", service("x")), ("pods", pod("x"))):
        first = await room.post(plural, body, show=GENERATION)
        await room.merge(f"{plural}/x", {"metadata": {"labels": {"a": "b"}}}, show=GENERATION)
        await room.put(f"{plural}/x", first, show=GENERATION)


async def a_whole_update_of_another_object(room: Room) -> None:
    """A recreated object has the name of the old one; an update meant for the old one must not change it."""
    for plural, body in (("configmaps", config("x")), ("managedservices", service("x"))):
        first = await room.post(plural, body, show="metadata.name")
        version = first["metadata"]["resourceVersion"]
        await room.put(f"{plural}/x", {**body, "metadata": {"name": "x", "uid": OTHER_UID, "resourceVersion": version}})
        await room.put(f"{plural}/x", {**body, "metadata": {"name": "y", "resourceVersion": version}})
        await room.put(f"{plural}/x", {**body, "metadata": {"name": "x", "namespace": "elsewhere", "resourceVersion": version}})
        await room.put(f"{plural}/x", {**body, "metadata": {"resourceVersion": version}})
        await room.put(f"{plural}/none", {**body, "metadata": {"name": "none", "resourceVersion": version}})
        await room.put(f"{plural}/none", {**body, "metadata": {"name": "none"}})


async def preconditions_of_a_patch(room: Room) -> None:
    """Every patch of the operator names uid and version; which of the two is wrong must not matter to what it does then."""
    for plural, body in (("pods", pod("x")), ("managedservices", service("x")), ("configmaps", config("x"))):
        created = await room.post(plural, body, show=GENERATION)
        version, uid = created["metadata"]["resourceVersion"], created["metadata"]["uid"]
        change: Json = {"labels": {"a": "b"}}
        await room.merge(f"{plural}/x", {"metadata": {**change, "resourceVersion": "1"}})
        await room.merge(f"{plural}/x", {"metadata": {**change, "uid": OTHER_UID}})
        await room.merge(f"{plural}/x", {"metadata": {**change, "uid": OTHER_UID, "resourceVersion": "1"}})
        await room.merge(f"{plural}/x", {"metadata": {**change, "uid": OTHER_UID, "resourceVersion": version}})
        await room.merge(f"{plural}/x", {"metadata": {**change, "uid": uid, "resourceVersion": version}}, show="metadata.labels")
        await room.merge(f"{plural}/x", {"metadata": {**change, "uid": uid, "resourceVersion": version}}, show="metadata.labels")
        await room.merge(f"{plural}/x", {"metadata": {"name": "y"}})
        await room.merge(f"{plural}/x", {"metadata": {"namespace": "elsewhere"}})
        await room.merge(f"{plural}/x", {"metadata": {**change, "resourceVersion": "abc"}})


async def preconditions_of_a_status_patch(room: Room) -> None:
    """The status writer names both too, and must not write into a service of the same name that came later."""
    for plural, body, status in (("pods", pod("x"), {"message": "m"}), ("managedservices", service("x"), {"phase": "Run"})):
        created = await room.post(plural, body, show="metadata.name")
        version, uid = created["metadata"]["resourceVersion"], created["metadata"]["uid"]
        await room.merge(f"{plural}/x/status", {"metadata": {"resourceVersion": "1"}, "status": status})
        await room.merge(f"{plural}/x/status", {"metadata": {"uid": OTHER_UID}, "status": status}, show="status.phase status.message")
        await room.merge(f"{plural}/x/status", {"metadata": {"uid": uid, "resourceVersion": version}, "status": status}, show="status.phase status.message")
        await room.merge(f"{plural}/none/status", {"status": status})


async def the_status_of_custom_resources_has_its_own_door(room: Room) -> None:
    """Main writes drop a status, status writes drop everything else: else a stale cache could undo a user's change."""
    shown = "metadata.generation metadata.labels metadata.finalizers metadata.annotations spec.replicas status"
    await room.post("managedservices", service(), show=shown)
    await room.merge("managedservices/web", {"spec": {"replicas": 2}, "status": {"phase": "Run"}}, show=shown)
    await room.merge("managedservices/web", {"status": {"phase": "Run"}}, show=shown)
    more: Json = {"labels": {"a": "b"}, "finalizers": ["drover.dev/x"], "annotations": {"c": "d"}}
    await room.merge("managedservices/web/status", {"metadata": more, "spec": {"replicas": 9}, "status": {"phase": "Run"}}, show=shown)
    await room.merge("managedservices/web/status", {"status": {"phase": "Sleep"}})
    await room.merge("managedservices/web/status", {"status": {"nonsense": 1, "ready": "1/1"}}, show=shown)
    await room.merge("managedservices/web/status", {"status": None}, show=shown)
    await room.get("managedservices/web/status", show=shown)


async def the_status_of_built_in_kinds_has_its_own_door(room: Room) -> None:
    """Gates are written through pods/status, and what else comes along there is kept for pods but not for our kinds."""
    shown = "metadata.labels metadata.finalizers metadata.annotations spec.activeDeadlineSeconds spec.minAvailable status.message status.disruptionsAllowed"
    more: Json = {"labels": {"a": "b"}, "annotations": {"c": "d"}, "finalizers": ["drover.dev/x"]}
    await room.post("pods", pod(), show=shown)
    await room.merge("pods/p", {"status": {"message": "main"}}, show=shown)
    await room.merge("pods/p/status", {"metadata": more, "spec": {"activeDeadlineSeconds": 9}, "status": {"message": "m"}}, show=shown)
    await room.merge("pods/p", {"metadata": {"finalizers": None}}, show=shown)
    await room.merge("pods/p/status", {"metadata": {"ownerReferences": [_owner()]}}, show="metadata.ownerReferences")
    await room.post("poddisruptionbudgets", budget(), show=shown)
    await room.merge(
        "poddisruptionbudgets/b/status", {"metadata": more, "spec": {"minAvailable": 9}}, show="metadata.labels metadata.finalizers spec.minAvailable"
    )
    await room.merge("poddisruptionbudgets/b", {"metadata": {"finalizers": None}}, show="metadata.labels")


def _owner() -> Json:
    return {"apiVersion": "v1", "kind": "ConfigMap", "name": "o", "uid": OTHER_UID}


async def conditions_of_pods_are_checked(room: Room) -> None:
    """The gate is a condition of ours in a status that the kubelet writes too."""
    await room.post("pods", pod("p", {"readinessGates": [{"conditionType": "drover.dev/in-service"}]}), show="status.phase")
    gate: Json = {"type": "drover.dev/in-service", "status": "False", "reason": "Starting", "lastTransitionTime": "2026-01-01T00:00:00Z"}
    await room.strategic(
        "pods/p/status", {"status": {"conditions": [gate]}}, show="status.conditions.*.type status.conditions.*.status status.conditions.*.reason"
    )
    await room.strategic("pods/p/status", {"status": {"conditions": [{**gate, "status": "True"}]}}, show="status.conditions.*.type status.conditions.*.status")
    await room.strategic("pods/p/status", {"status": {"conditions": [{**gate, "lastTransitionTime": "soon"}]}})
    await room.strategic("pods/p/status", {"status": {"conditions": [{"$patch": "delete", "type": "drover.dev/in-service"}]}}, show="status.conditions.*.type")


async def what_may_not_be_changed(room: Room) -> None:
    """Each of these makes the operator replace an object where it would else patch it for ever."""
    await room.post("pods", pod("p", {"readinessGates": [{"conditionType": "drover.dev/in-service"}]}), show="metadata.name")
    await room.merge("pods/p", {"spec": {"nodeName": "other"}})
    await room.merge("pods/p", {"spec": {"terminationGracePeriodSeconds": 5}})
    await room.strategic("pods/p", {"spec": {"containers": [{"name": "app", "image": "registry.example/app:2"}]}}, show="spec.containers.0.image")
    await room.strategic("pods/p", {"spec": {"containers": [{"name": "app", "image": ""}]}})
    await room.strategic("pods/p", {"spec": {"containers": [{"name": "more", "image": "i"}]}})
    await room.merge("pods/p", {"spec": {"activeDeadlineSeconds": 60}}, show="spec.activeDeadlineSeconds")
    await room.post("controllerrevisions", revision(), show="metadata.name")
    await room.merge("controllerrevisions/r", {"data": {"a": 2}})
    await room.merge("controllerrevisions/r", {"revision": 2}, show="revision")
    spec = {"selector": {"app": "web"}, "ports": [{"port": 80}]}
    await room.post("services", {"metadata": {"name": "s"}, "spec": spec}, show="metadata.name")
    await room.merge("services/s", {"spec": {"clusterIP": "10.96.0.77"}})
    await room.merge("services/s", {"spec": {"clusterIP": "None"}})
    await room.merge("services/s", {"spec": {"selector": {"app": "other"}}}, show="spec.selector")
    await room.post("configmaps", {**config(data={"k": "v"}), "immutable": True}, show="immutable")
    await room.merge("configmaps/a", {"data": {"k": "w"}})


async def metadata_that_may_not_be_changed(room: Room) -> None:
    """What the server owns: some of it is silently kept, some of it is refused."""
    for plural, body in (("configmaps", config("x")), ("managedservices", service("x"))):
        await room.post(plural, body, show="metadata.name")
        for field, value in _OWNED_BY_THE_SERVER:
            await room.merge(f"{plural}/x", {"metadata": {field: value}}, show="metadata.generation metadata.creationTimestamp metadata.deletionTimestamp")


_OWNED_BY_THE_SERVER: list[tuple[str, Any]] = [
    ("creationTimestamp", "2020-01-01T00:00:00Z"),
    ("deletionTimestamp", "2020-01-01T00:00:00Z"),
    ("generation", 99),
    ("generateName", "new-"),
    ("labels", {"a": "-b"}),
    ("finalizers", ["mine"]),
]


async def leases_are_optimistic(room: Room) -> None:
    """The election: two candidates read one version, one of them wins. Times have microseconds."""
    first = await room.post("leases", lease(spec={"holderIdentity": "a", "leaseTransitions": 0, "renewTime": "2026-01-01T00:00:00.123456Z"}))
    version = first["metadata"]["resourceVersion"]
    await room.merge("leases/l", {"metadata": {"resourceVersion": version}, "spec": {"holderIdentity": "b", "leaseTransitions": 1}}, show="spec")
    await room.merge("leases/l", {"metadata": {"resourceVersion": version}, "spec": {"holderIdentity": "c", "leaseTransitions": 1}}, show="spec")
    await room.put("leases/l", {**first, "spec": {"holderIdentity": "d"}}, show="spec")
    await room.merge("leases/l", {"spec": {"renewTime": "2026-01-01T00:00:00Z"}}, show="spec")
    await room.merge("leases/l", {"spec": {"leaseDurationSeconds": -1}}, show="spec")


async def the_scale_of_a_custom_resource(room: Room) -> None:
    """Autoscalers and `kubectl scale` come through it, and the disruption controller reads it."""
    await room.post("managedservices", service(spec={"replicas": 3}), show=GENERATION)
    scale = await room.get("managedservices/web/scale")
    await room.merge("managedservices/web/status", {"status": {"replicas": 2, "selector": "app=web"}}, show="status")
    await room.get("managedservices/web/scale", show="spec status")
    await room.merge("managedservices/web/scale", {"spec": {"replicas": 4}}, show="spec status")
    await room.put("managedservices/web/scale", scale)
    await room.put("managedservices/web/scale", {**scale, "metadata": {"name": "web"}, "spec": {"replicas": 5}}, show="spec status")
    await room.merge("managedservices/web/scale", {"spec": {"replicas": 5001}})
    await room.merge("managedservices/web/scale", {"spec": {"replicas": -1}})
    await room.get("managedservices/none/scale")
    await room.get("managedservices/web", show=f"{GENERATION} spec.replicas status")
