# SPDX-License-Identifier: Apache-2.0
"""Evictions and disruption budgets: how a drain asks, and how it is told to wait."""

from tests.conformance.cases._bodies import budget, pod, running_pod, service
from tests.conformance.room import Json, Room

WEB = {"app": "web"}
COUNTS = "status.disruptionsAllowed status.currentHealthy status.desiredHealthy status.expectedPods status.observedGeneration"


def _eviction(name: str, **options: object) -> Json:
    more = {"deleteOptions": options} if options else {}
    return {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": name}, **more}


def _is_ready(answer: Json) -> bool:
    conditions = answer.get("status", {}).get("conditions", ())
    return any(each["type"] == "Ready" and each["status"] == "True" for each in conditions)


async def _two_ready(room: Room, replicas: int = 0) -> None:
    """Two pods of nobody, or of a service of so many replicas."""
    meta: Json = {"labels": WEB}
    if replicas:
        owner = await room.post("managedservices", service(spec={"replicas": replicas}), show="spec.replicas")
        reference = {"apiVersion": "drover.dev/v1alpha1", "kind": "ManagedService", "name": "web", "uid": owner["metadata"]["uid"], "controller": True}
        meta["ownerReferences"] = [reference]
    for name in ("a", "b"):
        await room.post("pods", running_pod(name, {"terminationGracePeriodSeconds": 1}, **meta), show="metadata.name")
    for name in ("a", "b"):
        await room.until(f"pods/{name}", _is_ready, show="status.phase")


async def without_a_budget(room: Room) -> None:
    """It is a delete by another name; a pod that is not there is 404."""
    await room.post("pods", pod(), show="metadata.name")
    await room.post("pods/p/eviction", _eviction("p"))
    await room.get("pods/p")
    await room.post("pods/p/eviction", _eviction("p"))
    await room.post("pods", pod("q"), show="metadata.name")
    await room.post("pods/q/eviction", _eviction("q", preconditions={"uid": "11111111-2222-3333-4444-555555555555"}))
    await room.post("pods/q/eviction", _eviction("other"))


async def a_budget_with_room(room: Room) -> None:
    """One may go, and the next one must wait; the answer is 429, which a client repeats."""
    await _two_ready(room)
    await room.post("poddisruptionbudgets", budget(), show="spec")
    await room.until("poddisruptionbudgets/b", lambda each: each["status"].get("disruptionsAllowed") == 1, show=COUNTS)
    await room.post("pods/a/eviction", _eviction("a"))
    await room.gone("pods/a")
    await room.until("poddisruptionbudgets/b", lambda each: each["status"]["expectedPods"] == 1, show=COUNTS)
    await room.post("pods/b/eviction", _eviction("b"))
    await room.get("pods/b", show="metadata.deletionTimestamp status.phase")


async def a_budget_without_room(room: Room) -> None:
    """The cause names the budget and its numbers; a dry run is refused too."""
    await _two_ready(room, replicas=2)
    await room.post("poddisruptionbudgets", budget(spec={"maxUnavailable": 0}), show="spec")
    await room.until("poddisruptionbudgets/b", lambda each: each["status"].get("expectedPods") == 2, show=COUNTS)
    await room.post("pods/a/eviction", _eviction("a"))
    await room.post("pods/a/eviction", _eviction("a"), dryRun="All")


async def a_budget_of_pods_that_nobody_controls(room: Room) -> None:
    """maxUnavailable needs to know how many there should be; without a controller that is none, and nothing may go."""
    await _two_ready(room)
    await room.post("poddisruptionbudgets", budget(spec={"maxUnavailable": 1}), show="spec")
    await room.until("poddisruptionbudgets/b", lambda each: each["status"].get("currentHealthy") == 2, show=COUNTS)
    await room.post("pods/a/eviction", _eviction("a"))


async def a_budget_is_charged(room: Room) -> None:
    """The pod is marked as disrupted before it is deleted, and the budget remembers it."""
    await _two_ready(room, replicas=2)
    await room.post("poddisruptionbudgets", budget(spec={"maxUnavailable": 1}), show="spec")
    await room.until("poddisruptionbudgets/b", lambda each: each["status"].get("disruptionsAllowed") == 1, show=COUNTS)
    await room.merge("pods/a", {"metadata": {"finalizers": ["drover.dev/x"]}}, show="metadata.finalizers")
    await room.post("pods/a/eviction", _eviction("a"))
    answer = await room.get("pods/a", show="metadata.deletionGracePeriodSeconds")
    marks = [each for each in answer["status"]["conditions"] if each["type"] == "DisruptionTarget"]
    room.note({"fact": "the condition on the pod", "is": [{key: each[key] for key in ("status", "reason", "message")} for each in marks]})
    await room.merge("pods/a", {"metadata": {"finalizers": None}}, show="metadata.finalizers")


async def two_budgets_on_one_pod(room: Room) -> None:
    """The API refuses to choose."""
    await _two_ready(room, replicas=2)
    for name in ("one", "two"):
        await room.post("poddisruptionbudgets", budget(name, {"maxUnavailable": 1}), show="spec")
        await room.until(f"poddisruptionbudgets/{name}", lambda each: each["status"].get("disruptionsAllowed") == 1, show=COUNTS)
    await room.post("pods/a/eviction", _eviction("a"))


async def pods_that_are_not_ready(room: Room) -> None:
    """A broken pod may always go when the budget says so, and a pending one in any case."""
    await room.post("pods", running_pod("bad", labels=WEB, annotations={"drover.dev/simulate": "never-ready"}), show="metadata.name")
    await room.until("pods/bad", lambda each: each.get("status", {}).get("phase") == "Running", show="status.phase")
    await room.post("pods", pod("pending", labels=WEB), show="metadata.name")
    await room.post("poddisruptionbudgets", budget(), show="spec")
    await room.until("poddisruptionbudgets/b", lambda each: each["status"].get("observedGeneration") == 1, show=COUNTS)
    await room.post("pods/pending/eviction", _eviction("pending"))
    await room.post("pods/bad/eviction", _eviction("bad"))
    await room.merge("poddisruptionbudgets/b", {"spec": {"unhealthyPodEvictionPolicy": "AlwaysAllow"}}, show="metadata.generation")
    await room.until("poddisruptionbudgets/b", lambda each: each["status"].get("observedGeneration") == 2, show=COUNTS)
    await room.post("pods/bad/eviction", _eviction("bad"))


async def a_budget_counts_the_scale_of_its_service(room: Room) -> None:
    """Our pods belong to a ManagedService, so what is expected is its replicas and not the pods that happen to be there."""
    await _two_ready(room, replicas=5)
    await room.post("poddisruptionbudgets", budget(spec={"maxUnavailable": "60%"}), show="spec")
    await room.until("poddisruptionbudgets/b", lambda each: each["status"].get("currentHealthy") == 2, show=COUNTS)
    await room.post("pods/a/eviction", _eviction("a"))


async def the_status_of_a_budget(room: Room) -> None:
    """The condition says whether a disruption is allowed, and why not."""
    await room.post("poddisruptionbudgets", budget(), show="spec")
    shown = f"{COUNTS} status.conditions.*.type status.conditions.*.status status.conditions.*.reason"
    await room.until("poddisruptionbudgets/b", lambda each: each["status"].get("observedGeneration") == 1, show=shown)
    await _two_ready(room)
    await room.until("poddisruptionbudgets/b", lambda each: each["status"].get("disruptionsAllowed") == 1, show=shown)
