# SPDX-License-Identifier: Apache-2.0
"""Lists: selectors, chunks, versions, and the metadata-only form."""

import base64
import json

from drover_operator.kube.transport import METADATA_LIST
from tests.conformance.case import alone
from tests.conformance.cases._bodies import pod, revision, service
from tests.conformance.room import Room

NAMES = "metadata.name"


async def _five(room: Room) -> None:
    for number in range(1, 6):
        await room.post("controllerrevisions", revision(f"r{number}", number, labels={"n": str(number), "odd": str(number % 2)}), show=NAMES)


async def a_whole_list(room: Room) -> None:
    """Items of built-in kinds carry no kind of their own, those of our kinds do."""
    await room.get("managedservices")
    await room.post("managedservices", service(), show=NAMES)
    await room.post("controllerrevisions", revision(), show=NAMES)
    await room.get("managedservices")
    await room.get("controllerrevisions")


async def chunks_show_one_version(room: Room) -> None:
    """A chunked list is a snapshot: what changes between two chunks is not in the later one."""
    await _five(room)
    first = await room.get("controllerrevisions", limit="2", show=NAMES)
    await room.delete("controllerrevisions/r4", show="status")
    await room.post("controllerrevisions", revision("r6"), show=NAMES)
    token = first["metadata"]["continue"]
    second = await room.get("controllerrevisions", **{"limit": "2", "continue": token}, show=NAMES)
    same = first["metadata"]["resourceVersion"] == second["metadata"]["resourceVersion"]
    room.note({"fact": "both chunks name one version", "is": same})
    await room.get("controllerrevisions", **{"limit": "2", "continue": second["metadata"]["continue"]}, show=NAMES)
    await room.get("controllerrevisions", show=NAMES)


async def chunks_of_a_selection(room: Room) -> None:
    """With a selector nobody knows how many remain."""
    await _five(room)
    first = await room.get("controllerrevisions", limit="2", labelSelector="odd=1", show=NAMES)
    await room.get("controllerrevisions", **{"limit": "2", "labelSelector": "odd=1", "continue": first["metadata"]["continue"]}, show=NAMES)
    await room.get("controllerrevisions", limit="5", show=NAMES)
    await room.get("controllerrevisions", limit="0", show=NAMES)


async def label_selectors(room: Room) -> None:
    """Every form that kubectl and our client write."""
    await _five(room)
    for selector in (
        "n=3",
        "n==3",
        "n!=3",
        "n in (1,2)",
        "n notin (1,2)",
        "n",
        "!n",
        "n in (1,2),odd=1",
        "none",
        "none!=1",
        "n=",
        "odd notin (0), n in (5 ,1)",
    ):
        await room.get("controllerrevisions", labelSelector=selector, show=NAMES)


async def field_selectors(room: Room) -> None:
    """Names everywhere; the node and the phase of pods; of our kinds what the definition names."""
    await room.post("pods", pod("a"), show=NAMES)
    await room.post("managedservices", service(), show=NAMES)
    for selector in ("metadata.name=a", "metadata.name!=a", "spec.nodeName=", "status.phase=Pending", "status.phase!=Pending,metadata.name=a"):
        await room.get("pods", fieldSelector=selector, show=NAMES)
    for selector in ("metadata.name=web", "spec.criticality=Normal", "spec.criticality!=Normal", "status.phase=", "metadata.namespace=elsewhere"):
        await room.get("managedservices", fieldSelector=selector, show=NAMES)


async def selectors_that_are_refused(room: Room) -> None:
    """A selector that cannot be read must not select everything."""
    for selector in ("n in", "n in (1", "=1", "a=b=c", "-n", "n=-x"):
        await room.get("controllerrevisions", labelSelector=selector)
    for plural, selector in (("pods", "spec.nothing=1"), ("managedservices", "spec.replicas=1"), ("configmaps", "data.a=1"), ("configmaps", "metadata.name")):
        await room.get(plural, fieldSelector=selector)


async def versions_of_lists(room: Room) -> None:
    """Unset is the truth, 0 is whatever the cache has, Exact is the past."""
    first = await room.post("controllerrevisions", revision("a"), show=NAMES)
    second = await room.post("controllerrevisions", revision("b"), show=NAMES)
    version = first["metadata"]["resourceVersion"]
    await room.get("controllerrevisions", show=NAMES)
    await room.get("controllerrevisions", resourceVersion=version, resourceVersionMatch="Exact", show=NAMES)
    await room.get("controllerrevisions", resourceVersion=second["metadata"]["resourceVersion"], resourceVersionMatch="NotOlderThan", show=NAMES)
    await room.get("controllerrevisions/a", resourceVersion=version, show=NAMES)


async def versions_of_lists_that_are_refused(room: Room) -> None:
    """A version that is none is a bad request."""
    await room.get("controllerrevisions", resourceVersion="abc")
    await room.get("managedservices", resourceVersion="abc")
    await room.get("controllerrevisions", resourceVersionMatch="Exact")
    await room.get("controllerrevisions", resourceVersion="0", resourceVersionMatch="Exact")
    await room.get("controllerrevisions", resourceVersion="1", resourceVersionMatch="Nearly")
    await room.get("controllerrevisions", resourceVersion="1", **{"continue": "abc"})
    await room.get("controllerrevisions", **{"continue": "abc"})
    await room.post("controllerrevisions", revision("a"), show=NAMES)
    await room.post("controllerrevisions", revision("b"), show=NAMES)
    first = await room.get("controllerrevisions", limit="1", show=NAMES)
    await room.get("controllerrevisions", resourceVersion="1", **{"continue": first["metadata"]["continue"]})


async def a_version_of_the_future(room: Room) -> None:
    """A cache that asks for more than the server has (a restored etcd) gets a time-out that says so."""
    await room.get("controllerrevisions", resourceVersion="999999999", resourceVersionMatch="NotOlderThan")
    await room.get("managedservices", resourceVersion="999999999")


async def metadata_alone(room: Room) -> None:
    """The proof of a cache lists metadata; each item says that it is only that."""
    await room.post("pods", pod(labels={"app": "web"}), show=NAMES)
    await room.get("pods", headers={"Accept": METADATA_LIST})
    await room.post("managedservices", service(), show=NAMES)
    await room.get("managedservices", headers={"Accept": METADATA_LIST})
    one = METADATA_LIST.replace("PartialObjectMetadataList", "PartialObjectMetadata")
    await room.get("pods/p", headers={"Accept": one})
    await room.get("pods/none", headers={"Accept": one})


async def the_whole_cluster(room: Room) -> None:
    """The operator lists and watches across namespaces, and is told which one an object is in."""
    await room.post("controllerrevisions", revision(labels={"here": room.namespace}), show=NAMES)
    await room.get("/apis/apps/v1/controllerrevisions", labelSelector=f"here={room.namespace}", show="metadata.name metadata.namespace")
    await room.get("/apis/apps/v1/controllerrevisions", fieldSelector=f"metadata.namespace={room.namespace}", show="metadata.name metadata.namespace")


async def an_empty_namespace_that_is_not_there(room: Room) -> None:
    """A list in a namespace that does not exist is empty and no error."""
    await room.get("/api/v1/namespaces/nowhere/configmaps", show=NAMES)
    await room.get("/apis/drover.dev/v1alpha1/namespaces/nowhere/managedservices", show=NAMES)


@alone
async def a_stale_continue_token(room: Room) -> None:
    """410 to the next chunk: the list must begin again, and the answer brings a token for those who need no snapshot."""
    for name in ("a", "b", "c", "d", "e"):
        await room.post("managedservices", service(name), show=NAMES)
    first = await room.get("managedservices", limit="2", show=NAMES)
    await room.delete("managedservices/d", show="status")
    await room.backend.forget()
    stale = await room.get("managedservices", **{"limit": "2", "continue": _older(first["metadata"]["continue"])})
    token = stale.get("metadata", {}).get("continue", "")
    room.note({"fact": "the refusal brings a token", "is": bool(token)})
    await room.get("managedservices", **{"limit": "2", "continue": token}, show=NAMES)


def _older(token: str) -> str:
    """The token of a list that began long ago: both servers write the version into it as `rv`."""
    content = json.loads(base64.urlsafe_b64decode(token + "=" * (-len(token) % 4)))
    return base64.urlsafe_b64encode(json.dumps({**content, "rv": 1}).encode()).decode().rstrip("=")


@alone
async def a_forgotten_version(room: Room) -> None:
    """An exact list of a version that is compacted is 410, and not an empty list."""
    await room.post("managedservices", service(), show=NAMES)
    await room.backend.forget()
    await room.get("managedservices", resourceVersion="1", resourceVersionMatch="Exact")
