# SPDX-License-Identifier: Apache-2.0
"""Watches: where they begin, which events they show, and how they end."""

from drover_operator.kube.transport import METADATA_LIST
from tests.conformance.case import alone
from tests.conformance.cases._bodies import config, pod, revision, service
from tests.conformance.room import Room

SEEN = "metadata.name metadata.labels metadata.resourceVersion spec.replicas"


async def a_watch_goes_on_from_a_version(room: Room) -> None:
    """Resuming after a broken connection: what came after that version, in order, and nothing twice."""
    first = await room.post("managedservices", service("a"), show=SEEN)
    await room.post("managedservices", service("b"), show=SEEN)
    async with room.watch("managedservices", show=SEEN, resourceVersion=first["metadata"]["resourceVersion"]) as watch:
        await watch.take(1)
        await room.merge("managedservices/a", {"spec": {"replicas": 2}}, show=SEEN)
        await room.delete("managedservices/b", show="status")
        await watch.take(2)


async def a_watch_without_a_version_begins_with_what_is_there(room: Room) -> None:
    """Every object comes as ADDED, in the order of the keys."""
    for name in ("b", "a"):
        await room.post("configmaps", config(name, labels={"app": "web"}), show=SEEN)
    for version in ("", "0"):
        query = {"resourceVersion": version} if version else {}
        async with room.watch("configmaps", show=SEEN, labelSelector="app=web", **query) as watch:
            await watch.take(2, by_object=True)


async def initial_events_end_with_a_bookmark(room: Room) -> None:
    """The streaming list: the annotation on the bookmark says that the cache is complete."""
    for name in ("a", "b"):
        await room.post("managedservices", service(name), show=SEEN)
    query = {"sendInitialEvents": "true", "resourceVersionMatch": "NotOlderThan", "allowWatchBookmarks": "true"}
    async with room.watch("managedservices", **query) as watch:
        await watch.take(3)
        await room.merge("managedservices/a", {"spec": {"replicas": 2}}, show=SEEN)
        await watch.take(1)


async def initial_events_that_are_refused(room: Room) -> None:
    """A combination of parameters that makes no sense is told at once."""
    async with room.watch("configmaps", sendInitialEvents="true"):
        pass
    async with room.watch("configmaps", sendInitialEvents="true", resourceVersionMatch="Exact", resourceVersion="1"):
        pass
    async with room.watch("configmaps", resourceVersionMatch="NotOlderThan", resourceVersion="1"):
        pass
    await room.get("configmaps", sendInitialEvents="true", resourceVersionMatch="NotOlderThan")


async def an_object_leaves_a_label_selector(room: Room) -> None:
    """To that watch it is deleted: the last state that matched, at the version of the change."""
    created = await room.post("configmaps", config("a", labels={"app": "web"}), show=SEEN)
    query = {"resourceVersion": created["metadata"]["resourceVersion"], "labelSelector": "app=web"}
    async with room.watch("configmaps", show=SEEN, **query) as watch:
        await room.merge("configmaps/a", {"metadata": {"labels": {"app": "db"}}}, show=SEEN)
        await room.merge("configmaps/a", {"metadata": {"labels": {"more": "x"}}}, show=SEEN)
        await room.merge("configmaps/a", {"metadata": {"labels": {"app": "web"}}}, show=SEEN)
        await room.delete("configmaps/a", show="status")
        await watch.take(3)


async def an_object_leaves_a_field_selector(room: Room) -> None:
    """As with labels; of a custom resource only the fields that its definition names can be selected."""
    created = await room.post("managedservices", service(), show="spec.criticality metadata.resourceVersion")
    query = {"resourceVersion": created["metadata"]["resourceVersion"], "fieldSelector": "spec.criticality=Normal"}
    async with room.watch("managedservices", show="spec.criticality metadata.resourceVersion", **query) as watch:
        await room.merge("managedservices/web", {"spec": {"criticality": "Vital"}}, show="spec.criticality metadata.resourceVersion")
        await room.merge("managedservices/web", {"spec": {"criticality": "Normal"}}, show="spec.criticality metadata.resourceVersion")
        await watch.take(2)


async def a_watch_on_one_name(room: Room) -> None:
    """The operator watches its own Lease so."""
    for name in ("a", "b"):
        await room.post("configmaps", config(name), show="metadata.name")
    async with room.watch("configmaps", show=SEEN, fieldSelector="metadata.name=b") as watch:
        await watch.take(1)
        await room.merge("configmaps/a", {"data": {"k": "1"}}, show="data")
        await room.merge("configmaps/b", {"data": {"k": "1"}}, show="data")
        await watch.take(1)


async def a_watch_of_pods_through_their_life(room: Room) -> None:
    """Status writes, and those of the other door, are one stream of versions."""
    created = await room.post("pods", pod(labels={"app": "web"}), show=SEEN)
    shown = "metadata.name metadata.resourceVersion metadata.labels status.message"
    async with room.watch("pods", show=shown, resourceVersion=created["metadata"]["resourceVersion"]) as watch:
        await room.merge("pods/p/status", {"status": {"message": "one"}}, show=shown)
        await room.merge("pods/p/status", {"status": {"message": "one"}}, show=shown)
        await room.merge("pods/p", {"metadata": {"labels": {"app": "db"}}}, show=shown)
        await watch.take(2)


async def a_watch_of_metadata(room: Room) -> None:
    """The proof of a cache asks for metadata only, and the events carry no more."""
    created = await room.post("controllerrevisions", revision(labels={"app": "web"}), show=SEEN)
    query = {"resourceVersion": created["metadata"]["resourceVersion"]}
    accept = {"Accept": METADATA_LIST.replace("PartialObjectMetadataList", "PartialObjectMetadata")}
    async with room.watch("controllerrevisions", headers=accept, **query) as watch:
        await room.merge("controllerrevisions/r", {"revision": 2}, show="revision")
        await watch.take(1)


async def a_watch_ends_after_its_time(room: Room) -> None:
    """The client asks for a time limit; the end is no error."""
    async with room.watch("configmaps", labelSelector="app=none", timeoutSeconds="1") as watch:
        await watch.end()


async def versions_that_are_refused(room: Room) -> None:
    """Not a number: a bug of the client, which must not be retried for ever."""
    async with room.watch("configmaps", resourceVersion="abc"):
        pass
    async with room.watch("managedservices", resourceVersion="abc"):
        pass
    async with room.watch("configmaps", labelSelector="a b"):
        pass
    async with room.watch("configmaps", fieldSelector="spec.nothing=1"):
        pass
    async with room.watch("/apis/nowhere.dev/v1/things"):
        pass


@alone
async def a_watch_from_a_forgotten_version(room: Room) -> None:
    """410 comes as an ERROR event inside a 200, and the reflector must list again. Our kinds are never as old as the cluster."""
    await room.post("managedservices", service(), show=SEEN)
    await room.backend.forget()
    async with room.watch("managedservices", resourceVersion="1") as watch:
        await watch.take(1)
        await watch.end()
