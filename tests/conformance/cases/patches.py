# SPDX-License-Identifier: Apache-2.0
"""The patch types: what each does to maps, lists and nothing at all, and how a bad one is refused."""

from tests.conformance.cases._bodies import config, pod, service
from tests.conformance.room import CODE, Json, Room

DATA = {"a": "1", "b": "2"}


async def a_merge_patch(room: Room) -> None:
    """The patch that the operator sends: null removes, lists are replaced whole."""
    await room.post("configmaps", config(data=DATA, labels={"l": "1"}), show="data")
    await room.merge("configmaps/a", {"data": {"a": None, "c": "3"}}, show="data")
    await room.merge("configmaps/a", {"data": None}, show="data metadata.labels")
    await room.merge("configmaps/a", {"metadata": {"labels": {"l": None}, "annotations": {"x": "y"}}}, show="metadata.labels metadata.annotations")
    await room.merge("configmaps/a", {}, show="metadata.annotations")
    await room.merge("configmaps/a", {"metadata": {"labels": {"l": 1}}})


async def a_merge_patch_of_a_custom_resource(room: Room) -> None:
    """Defaults come back where a field is removed, and what the schema does not know is dropped."""
    port = {"name": "http", "port": 80}
    await room.post("managedservices", service(spec={"replicas": 3, "ports": [port]}), show="spec")
    await room.merge("managedservices/web", {"spec": {"replicas": None}}, show="spec.replicas")
    await room.merge("managedservices/web", {"spec": {"ports": [{"name": "grpc", "port": 90}]}}, show="spec.ports")
    await room.merge("managedservices/web", {"spec": {"nonsense": 1, "rollout": {}}}, show="spec.nonsense spec.rollout")
    await room.merge("managedservices/web", {"spec": {"template": {"spec": {"containers": None}}}})
    await room.merge("managedservices/web", {"spec": None})


async def a_json_patch(room: Room) -> None:
    """All of it or nothing; a failed test refuses the whole."""
    await room.post("configmaps", config(data=DATA), show="data")
    await room.json("configmaps/a", {"op": "test", "path": "/data/a", "value": "1"}, {"op": "remove", "path": "/data/a"}, show="data")
    await room.json("configmaps/a", {"op": "test", "path": "/data/b", "value": "9"}, {"op": "remove", "path": "/data/b"})
    await room.json("configmaps/a", {"op": "add", "path": "/data/x~1y", "value": "3"})
    await room.json(
        "configmaps/a", {"op": "add", "path": "/metadata/annotations", "value": {}}, {"op": "add", "path": "/metadata/annotations/x~1y", "value": "3"}
    )
    await room.json("configmaps/a", {"op": "add", "path": "/data/c", "value": "3"}, {"op": "copy", "from": "/data/c", "path": "/data/d"}, show="data")
    await room.json("configmaps/a", {"op": "move", "from": "/data/d", "path": "/data/e"}, {"op": "replace", "path": "/data/b", "value": "5"}, show="data")
    await room.get("configmaps/a", show="data")


async def json_patches_that_are_refused(room: Room) -> None:
    """A path that is not there is a refusal of the request, not a missing object."""
    await room.post("configmaps", config(data=DATA), show="data")
    await room.json("configmaps/a", {"op": "remove", "path": "/data/none"})
    await room.json("configmaps/a", {"op": "replace", "path": "/data/none", "value": "1"})
    await room.json("configmaps/a", {"op": "add", "path": "/none/deep", "value": "1"})
    await room.json("configmaps/a", {"op": "explode", "path": "/data"})
    await room.send("PATCH", "configmaps/a", {"op": "remove"}, "application/json-patch+json", show=CODE)
    await room.json("configmaps/a", {"op": "test", "path": "/metadata/uid", "value": "other"})


async def a_json_patch_of_lists(room: Room) -> None:
    """Finalizers are removed by index after a test of what stands there."""
    await room.post("configmaps", config(finalizers=["drover.dev/a", "drover.dev/b"]), show="metadata.finalizers")
    await room.json("configmaps/a", {"op": "add", "path": "/metadata/finalizers/-", "value": "drover.dev/c"}, show="metadata.finalizers")
    await room.json("configmaps/a", {"op": "add", "path": "/metadata/finalizers/0", "value": "drover.dev/0"}, show="metadata.finalizers")
    first = {"op": "test", "path": "/metadata/finalizers/0", "value": "drover.dev/0"}
    await room.json("configmaps/a", first, {"op": "remove", "path": "/metadata/finalizers/0"}, show="metadata.finalizers")
    await room.json("configmaps/a", {"op": "remove", "path": "/metadata/finalizers/9"})
    await room.json("configmaps/a", {"op": "remove", "path": "/metadata/finalizers"}, show="metadata.finalizers")


async def a_strategic_patch(room: Room) -> None:
    """kubectl and kwok send it: lists with keys are merged entry by entry."""
    two = [{"name": "app", "image": "i:1", "env": [{"name": "A", "value": "1"}]}, {"name": "side", "image": "s:1"}]
    await room.post("pods", pod("p", {"containers": two}), show="spec.containers.*.image")
    await room.strategic("pods/p", {"spec": {"containers": [{"name": "side", "image": "s:2"}]}}, show="spec.containers.*.image")
    await room.strategic("pods/p", {"metadata": {"finalizers": ["drover.dev/a"]}}, show="metadata.finalizers")
    await room.strategic("pods/p", {"metadata": {"finalizers": ["drover.dev/b"]}}, show="metadata.finalizers")
    await room.strategic("pods/p", {"metadata": {"$deleteFromPrimitiveList/finalizers": ["drover.dev/a"]}}, show="metadata.finalizers")
    await room.strategic("pods/p", {"metadata": {"finalizers": None}}, show="metadata.finalizers")
    for kind, value in (("A", "True"), ("B", "True"), ("A", "False")):
        await room.strategic("pods/p/status", {"status": {"conditions": [{"type": kind, "status": value}]}}, show="status.conditions")
    await room.strategic("pods/p/status", {"status": {"conditions": [{"type": "A", "$patch": "delete"}]}}, show="status.conditions")
    await room.strategic("pods/p/status", {"status": {"conditions": [{"$patch": "replace"}, {"type": "C", "status": "True"}]}}, show="status.conditions")


async def a_strategic_patch_of_owners_and_maps(room: Room) -> None:
    """Owners are merged by uid; a map can be replaced whole."""
    owners = [{"apiVersion": "v1", "kind": "ConfigMap", "name": f"o{digit}", "uid": f"{digit * 8}-1111-1111-1111-111111111111"} for digit in "12"]
    await room.post(
        "poddisruptionbudgets", {"metadata": {"name": "b"}, "spec": {"minAvailable": 1, "selector": {"matchLabels": {"a": "1", "b": "2"}}}}, show="spec"
    )
    await room.strategic("poddisruptionbudgets/b", {"spec": {"$patch": "replace", "minAvailable": 2}}, show="spec")
    await room.strategic("poddisruptionbudgets/b", {"spec": {"minAvailable": None, "maxUnavailable": "50%"}}, show="spec")
    # The owners do not exist: the collector takes the object soon, so both are asked for in one dry run each.
    await room.strategic("poddisruptionbudgets/b", {"metadata": {"ownerReferences": owners}}, show="metadata.ownerReferences", dryRun="All")


async def a_strategic_patch_of_a_custom_resource_is_refused(room: Room) -> None:
    """The server does not know the lists of our kinds: a client that tries must be told to send another type."""
    await room.post("managedservices", service(), show="metadata.name")
    await room.strategic("managedservices/web", {"spec": {"replicas": 2}})


async def patches_of_no_known_type(room: Room) -> None:
    """The message lists what the server takes."""
    await room.post("configmaps", config(), show="metadata.name")
    await room.post("managedservices", service(), show="metadata.name")
    await room.send("PATCH", "configmaps/a", {}, "application/json", show=CODE)
    await room.send("PATCH", "managedservices/web", {}, "text/plain")


async def patches_that_cannot_be_read(room: Room) -> None:
    """A truncated patch is a bad request and changes nothing."""
    await room.post("configmaps", config(data=DATA), show="metadata.name")
    await room.post("managedservices", service(), show="metadata.name")
    for where in ("configmaps/a", "managedservices/web"):
        for body in (b'{"data": ', b"[]", b'"text"'):
            await room.send("PATCH", where, body, "application/merge-patch+json", show=CODE)
        await room.send("PATCH", where, b'[{"op": ', "application/json-patch+json", show=CODE)


async def a_patch_can_make_an_object_invalid(room: Room) -> None:
    """The whole result is judged, and nothing of it is stored."""
    await room.post("managedservices", service(), show="metadata.name")
    await room.json("managedservices/web", {"op": "replace", "path": "/spec/replicas", "value": "two"})
    await room.json("managedservices/web", {"op": "remove", "path": "/spec/criticality"})
    await room.json("managedservices/web", {"op": "add", "path": "/spec/rollout", "value": {"progressDeadline": "1s"}})
    await room.merge("managedservices/web", {"kind": "Other"})
    await room.get("managedservices/web", show="spec.replicas spec.criticality metadata.generation")


async def patches_of_a_whole_status(room: Room) -> None:
    """What the status writer does: conditions of a custom resource are one list, replaced whole."""
    condition: Json = {
        "type": "Ready",
        "status": "True",
        "reason": "Healthy",
        "message": "",
        "lastTransitionTime": "2026-01-01T00:00:00Z",
        "observedGeneration": 1,
    }
    await room.post("managedservices", service(), show="status")
    await room.merge("managedservices/web/status", {"status": {"observedGeneration": 1, "conditions": [condition]}}, show="status")
    await room.merge("managedservices/web/status", {"status": {"conditions": [{**condition, "type": "Stalled"}]}}, show="status")
    await room.json("managedservices/web/status", {"op": "add", "path": "/status/conditions/-", "value": condition}, show="status.conditions.*.type")
    await room.merge("managedservices/web/status", {"status": {"conditions": [condition, condition]}})
    await room.merge("managedservices/web/status", {"status": {"conditions": [{"type": "Ready"}]}})
