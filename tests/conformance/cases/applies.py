# SPDX-License-Identifier: Apache-2.0
"""Server-side apply: fields have owners. The operator builds its pods' Services, budgets and revisions with it."""

from tests.conformance.cases._bodies import config, pod, service
from tests.conformance.room import CODE, Json, Room

OWNERS = "data metadata.labels metadata.resourceVersion metadata.managedFields"


async def it_creates_what_is_not_there(room: Room) -> None:
    """Create and update are one request, unless a uid was expected."""
    await room.apply("configmaps/a", config(data={"k": "1"}), "one", show=OWNERS)
    await room.apply("managedservices/web", service(), "one", show="metadata.generation metadata.managedFields spec.replicas status")
    gone = config("b", uid="11111111-2222-3333-4444-555555555555")
    await room.apply("configmaps/b", gone, "one")
    await room.apply("configmaps/c", config("other"), "one")
    await room.apply("configmaps/d", {"apiVersion": "v1", "kind": "ConfigMap"}, "one", show="metadata.name")


async def it_removes_what_it_owned_and_names_no_more(room: Room) -> None:
    """A field that a new version of the operator no longer sets must not stay for ever."""
    await room.apply("configmaps/a", config(data={"k": "1", "l": "2"}, labels={"x": "y"}), "one", show=OWNERS)
    await room.apply("configmaps/a", config(data={"k": "1"}), "one", show=OWNERS)
    await room.apply("configmaps/a", config(data={"k": "1"}), "one", show=OWNERS)


async def what_others_own_stays(room: Room) -> None:
    """Labels that a person set are theirs."""
    await room.apply("configmaps/a", config(data={"k": "1"}), "one", show="data")
    await room.merge("configmaps/a", {"data": {"mine": "2"}, "metadata": {"labels": {"x": "y"}}}, show="data", fieldManager="two")
    await room.apply("configmaps/a", config(data={"k": "3"}), "one", show=OWNERS)


async def a_conflict(room: Room) -> None:
    """Two managers want different values: 409 with a cause for each field, until one of them forces it."""
    await room.apply("configmaps/a", config(data={"k": "1", "l": "1"}), "one", show="data")
    await room.apply("configmaps/a", config(data={"k": "2", "l": "2"}), "two")
    await room.apply("configmaps/a", config(data={"k": "2"}), "two")
    await room.apply("configmaps/a", config(data={"k": "1"}), "two", show=OWNERS)
    await room.apply("configmaps/a", config(data={"k": "2"}), "two", show=OWNERS, force="true")
    await room.apply("configmaps/a", config(data={"l": "1"}), "one", show=OWNERS)


async def a_conflict_with_somebody_who_does_not_apply(room: Room) -> None:
    """kubectl edit and kubectl scale make owners too."""
    await room.apply("managedservices/web", service(spec={"replicas": 2}), "one", show="spec.replicas")
    await room.merge("managedservices/web", {"spec": {"replicas": 3}}, show="metadata.managedFields", fieldManager="kubectl-edit")
    await room.apply("managedservices/web", service(spec={"replicas": 2}), "one")
    await room.apply("managedservices/web", service(), "one", show="spec.replicas metadata.managedFields")


async def lists_with_keys_are_shared(room: Room) -> None:
    """Each entry has owners of its own: conditions of two writers stand side by side."""
    await room.apply("pods/p", pod(), "maker", show="metadata.name")

    def says(kind: str) -> Json:
        return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p"}, "status": {"conditions": [{"type": kind, "status": "True"}]}}

    await room.apply("pods/p/status", says("A"), "one", show="status.conditions")
    await room.apply("pods/p/status", says("B"), "two", show="status.conditions metadata.managedFields.*.manager")
    await room.apply("pods/p/status", says("C"), "one", show="status.conditions")


async def lists_without_keys_are_one_value(room: Room) -> None:
    """A list that is atomic belongs to one manager."""
    body = service(spec={"healthCheck": {"exec": {"command": ["a", "b"]}}})
    await room.apply("managedservices/web", body, "one", show="spec.healthCheck")
    body["spec"]["healthCheck"]["exec"]["command"] = ["a", "c"]
    await room.apply("managedservices/web", body, "two")
    await room.apply("managedservices/web", body, "one", show="spec.healthCheck")


async def finalizers_are_a_set(room: Room) -> None:
    """Two controllers hold one object, each with a finalizer of its own."""
    await room.apply("configmaps/a", config(finalizers=["drover.dev/a"]), "one", show="metadata.finalizers")
    await room.apply("configmaps/a", config(finalizers=["drover.dev/b"]), "two", show="metadata.finalizers metadata.managedFields")
    await room.apply("configmaps/a", config(), "one", show="metadata.finalizers")
    await room.apply("configmaps/a", config(), "two", show="metadata.finalizers")


async def requests_that_are_refused(room: Room) -> None:
    """What is no apply configuration, and who has no name."""
    await room.send("PATCH", "configmaps/a", config(), "application/apply-patch+yaml")
    await room.apply("configmaps/a", config(resourceVersion="5"), "one")
    await room.apply("configmaps/a", {"kind": "ConfigMap", "metadata": {"name": "a"}}, "one")
    await room.apply("configmaps/a", {**config(), "kind": "Secret"}, "one")
    await room.apply("managedservices/web", {**service(), "speck": {}}, "one")
    await room.apply("configmaps/a", config(data={"k": "1"}), "m" * 129)
    await room.apply("configmaps/a", config(managedFields=[]), "one", show=OWNERS)
    await room.apply("configmaps/a", config(managedFields=[{"manager": "x"}]), "one")
    await room.merge("configmaps/a", {"data": {"k": "1"}}, force="true", show="data")


async def preconditions(room: Room) -> None:
    """A version or a uid in the configuration must be the present one."""
    created = await room.apply("configmaps/a", config(data={"k": "1"}), "one", show="data")
    version, uid = created["metadata"]["resourceVersion"], created["metadata"]["uid"]
    await room.apply("configmaps/a", config(data={"k": "2"}, resourceVersion=version, uid=uid), "one", show="data")
    await room.apply("configmaps/a", config(data={"k": "3"}, resourceVersion=version), "one", show="data")
    await room.apply("configmaps/a", config(data={"k": "3"}, uid="11111111-2222-3333-4444-555555555555"), "one", show="data")


async def the_status_of_a_custom_resource(room: Room) -> None:
    """Through its own door, with owners of its own."""
    await room.apply("managedservices/web", service(), "maker", show="metadata.name")
    body = {"apiVersion": "drover.dev/v1alpha1", "kind": "ManagedService", "metadata": {"name": "web"}, "status": {"phase": "Run"}}
    await room.apply("managedservices/web/status", body, "one", show="status metadata.generation metadata.managedFields")
    await room.apply("managedservices/web/status", {**body, "status": {"ready": "1/1"}}, "one", show="status")
    await room.apply("managedservices/none/status", {**body, "metadata": {"name": "none"}}, "one")


async def an_object_that_was_made_otherwise(room: Room) -> None:
    """What was there before the first apply belongs to others, and a different value is a conflict."""
    await room.post("configmaps", config(data={"k": "1", "l": "1"}), show="data", fieldManager="maker")
    await room.apply("configmaps/a", config(data={"k": "1"}), "one", show="data")
    await room.apply("configmaps/a", config(data={"k": "2"}), "one", show=CODE)
    await room.apply("configmaps/a", config(data={"k": "2"}), "one", show="data", force="true")
    await room.apply("configmaps/a", config(), "one", show="data")


async def owners_of_plain_writes(room: Room) -> None:
    """Every write leaves its manager's name, by default that of the program."""
    await room.post("configmaps", config(data={"k": "1"}), show="metadata.managedFields", fieldManager="creator")
    await room.merge("configmaps/a", {"data": {"k": "2"}}, show="metadata.managedFields", fieldManager="patcher")
    await room.merge("configmaps/a", {"data": {"k": None}}, show="metadata.managedFields", fieldManager="remover")
    await room.merge("configmaps/a", {"metadata": {"managedFields": [{}]}}, show="metadata.managedFields", fieldManager="cleaner")


async def a_dry_run(room: Room) -> None:
    """What would come, and nothing stored."""
    await room.apply("configmaps/a", config(data={"k": "1"}), "one", show="data metadata.resourceVersion", dryRun="All")
    await room.get("configmaps/a")
    await room.apply("configmaps/a", config(data={"k": "1"}), "one", show="data")
    await room.apply("configmaps/a", config(data={"k": "2"}), "one", show="data", dryRun="All")
    await room.get("configmaps/a", show="data")
