# SPDX-License-Identifier: Apache-2.0
"""What happens besides declaring: children edited or deleted by hand, status and finalizers touched, scaling, deletion, lost machines.

An act marked `trouble` may cost a rollout its deadline, so that a revision is given up that would have come up in peace.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import msgspec
from scenarios.fuzz.arena import FOREIGN_BACKEND, FURNITURE, NAME, ROUTE, STEADY, WINDOW, Arena, Json, Moot, most_of
from scenarios.invariants import GATE, NAMESPACE, leaving

from drover_controllers.service import naming
from drover_operator.api.meta import utc
from drover_operator.api.rollout import FROZEN, THAWED
from drover_operator.kube.errors import NotFound, api_error
from drover_operator.kube.transport import JSON, MERGE_PATCH, Request

FOREIGN = "fuzz.example/keep"  # a finalizer of somebody else
PATH = f"/apis/drover.dev/v1alpha1/namespaces/{NAMESPACE}/managedservices/{NAME}"
MSVC = ("managedservices", NAMESPACE, NAME)


@dataclass(frozen=True)
class Act:
    """One act; `do` raises Moot when there is nothing to do it to."""

    name: str
    do: Callable[[Arena], Any]
    trouble: bool = False


ACTS: dict[str, Act] = {}


def act(name: str, *, trouble: bool = False) -> Callable[[Callable[[Arena], Any]], Callable[[Arena], Any]]:
    """Register a function as an act."""

    def register(do: Callable[[Arena], Any]) -> Callable[[Arena], Any]:
        ACTS[name] = Act(name, _on_something(do), trouble)
        return do

    return register


def _on_something(do: Callable[[Arena], Any]) -> Callable[[Arena], Any]:
    def tried(arena: Arena) -> None:
        try:
            do(arena)
        except NotFound as error:
            raise Moot(str(error)) from None

    return tried


def first_pod(arena: Arena, *, live: bool = True) -> Json:
    """The first pod by name."""
    found = [pod for pod in arena.cluster.objects("pods", NAMESPACE) if not (live and leaving(pod))]
    if not found:
        raise Moot("no pod")
    return found[0]


def first_revision(arena: Arena) -> Json:
    """The recorded revision that the status names as target, else the first."""
    found = arena.cluster.objects("controllerrevisions", NAMESPACE)
    target = arena.status().get("targetRevision")
    if not found:
        raise Moot("no revision")
    return next((each for each in found if each["metadata"]["name"] == target), found[0])


def edit(resource: str, name: str, change: Json, subresource: str = "") -> Callable[[Arena], Any]:
    """Merge-patch one object of the namespace."""
    return lambda arena: arena.cluster.patch(resource, NAMESPACE, name, change, subresource)


def edit_pod(change: Json) -> Callable[[Arena], Any]:
    """Merge-patch the first live pod."""
    return lambda arena: arena.cluster.patch("pods", NAMESPACE, first_pod(arena)["metadata"]["name"], change)


def edit_revision(change: Json) -> Callable[[Arena], Any]:
    """Merge-patch the target's record."""
    return lambda arena: arena.cluster.patch("controllerrevisions", NAMESPACE, first_revision(arena)["metadata"]["name"], change)


def note(key: str, text: str | None) -> Json:
    """A patch of one annotation."""
    return {"metadata": {"annotations": {key: text}}}


def _sent(arena: Arena, method: str, path: str, body: Json, content: str) -> None:
    """One request as the API server gets it; raises the refusal."""
    request = Request(method=method, path=path, body=msgspec.json.encode(body), headers={"Content-Type": content})
    reply = arena.cluster.server.handle(request, "fuzz")
    if reply.status >= 400:
        raise api_error(reply.status, reply.body)


NO_LABELS = {"metadata": {"labels": dict.fromkeys((naming.SERVICE_LABEL, naming.REVISION_LABEL, naming.SLOT_LABEL, naming.MANAGED_BY_LABEL))}}
NO_OWNER = {"metadata": {"ownerReferences": None}}


def _condition(kind: str, status: str) -> Callable[[Arena], Any]:
    def set_it(arena: Arena) -> None:
        pod = first_pod(arena)
        others = [each for each in pod["status"].get("conditions", ()) if each["type"] != kind]
        change = {"status": {"conditions": [*others, {"type": kind, "status": status, "lastTransitionTime": "2026-01-01T00:00:00Z"}]}}
        arena.cluster.patch("pods", NAMESPACE, pod["metadata"]["name"], change, "status")

    return set_it


# -- pods by hand
act("pod: deleted")(lambda arena: arena.cluster.delete("pods", NAMESPACE, first_pod(arena)["metadata"]["name"]))
act("pod: deleted by force")(lambda arena: arena.cluster.delete("pods", NAMESPACE, first_pod(arena, live=False)["metadata"]["name"], grace=0))
act("pod: labels stripped")(edit_pod(NO_LABELS))
act("pod: another slot on its label")(edit_pod({"metadata": {"labels": {naming.SLOT_LABEL: "77"}}}))
act("pod: another revision on its label")(edit_pod({"metadata": {"labels": {naming.REVISION_LABEL: "web-fuzz"}}}))
act("pod: another service on its label")(edit_pod({"metadata": {"labels": {naming.SERVICE_LABEL: "fuzz"}}}))
act("pod: owner stripped")(edit_pod(NO_OWNER))
act("pod: annotations stripped")(edit_pod({"metadata": {"annotations": None}}))
act("pod: a foreign finalizer")(edit_pod({"metadata": {"finalizers": [FOREIGN]}}))
act("pod: gate closed by hand")(_condition(GATE, "False"))
act("pod: gate opened by hand")(_condition(GATE, "True"))
act("pod: gate of a wrong value")(_condition(GATE, "Fuzzed"))
act("pod: not ready by hand")(_condition("Ready", "False"))


@act("pod: ended by node pressure")
def _evict(arena: Arena) -> None:
    pod = first_pod(arena)
    if pod["status"].get("phase") != "Running":
        raise Moot("it does not run")
    arena.cluster.evict(NAMESPACE, pod["metadata"]["name"])


@act("pod: containers restart")
def _restart(arena: Arena) -> None:
    pod = first_pod(arena)
    if pod["status"].get("phase") != "Running":
        raise Moot("it does not run")
    arena.cluster.restart_containers(NAMESPACE, pod["metadata"]["name"])


@act("pod: evicted through the API")
def _evict_by_api(arena: Arena) -> None:
    """As a node drain does; the disruption budget may refuse it."""
    path = f"/api/v1/namespaces/{NAMESPACE}/pods/{first_pod(arena)['metadata']['name']}/eviction"
    body = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": path.split("/")[-2], "namespace": NAMESPACE}}
    _sent(arena, "POST", path, body, JSON)


@act("pods: all deleted")
def _delete_all(arena: Arena) -> None:
    for pod in arena.cluster.objects("pods", NAMESPACE):
        arena.cluster.delete("pods", NAMESPACE, pod["metadata"]["name"])


@act("pods: all labels stripped")
def _strip_all(arena: Arena) -> None:
    for pod in arena.cluster.objects("pods", NAMESPACE):
        arena.cluster.patch("pods", NAMESPACE, pod["metadata"]["name"], NO_LABELS)


@act("pod: a foreign one of the next name")
def _squat(arena: Arena) -> None:
    """Whoever takes the name of a pod first keeps it; ours waits and says so."""
    name = first_pod(arena)["metadata"]["name"]
    arena.cluster.delete("pods", NAMESPACE, name, grace=0)
    arena.cluster.apply({"apiVersion": "v1", "kind": "Pod", "metadata": _foreign(name), "spec": {"containers": [{"name": "a", "image": "app:1.0"}]}})


def _foreign(name: str) -> Json:
    return {"name": name, "namespace": NAMESPACE, "labels": {"fuzz": "foreign"}}


# -- what is owned beside pods
for _kind, _plural in (("Service", "services"), ("budget", "poddisruptionbudgets")):
    act(f"{_kind}: deleted")(lambda arena, plural=_plural: arena.cluster.delete(plural, NAMESPACE, NAME))
    act(f"{_kind}: labels stripped")(edit(_plural, NAME, NO_LABELS))
    act(f"{_kind}: owner stripped")(edit(_plural, NAME, NO_OWNER))
act("Service: another selector")(edit("services", NAME, {"spec": {"selector": {naming.SERVICE_LABEL: "fuzz", "fuzz": "1"}}}))
act("Service: other ports")(edit("services", NAME, {"spec": {"ports": [{"name": "fuzz", "port": 9, "protocol": "TCP"}]}}))
act("budget: another number")(edit("poddisruptionbudgets", NAME, {"spec": {"maxUnavailable": 0}}))
act("budget: another selector")(edit("poddisruptionbudgets", NAME, {"spec": {"selector": {"matchLabels": {naming.SERVICE_LABEL: "fuzz"}}}}))
act("budget: the other field")(edit("poddisruptionbudgets", NAME, {"spec": {"maxUnavailable": None, "minAvailable": 1}}))


@act("Service: a foreign one in its place")
def _foreign_service(arena: Arena) -> None:
    arena.cluster.delete("services", NAMESPACE, NAME)
    spec = {"selector": {"app": "legacy"}, "ports": [{"port": 80}]}
    arena.cluster.apply({"apiVersion": "v1", "kind": "Service", "metadata": _foreign(NAME), "spec": spec})


@act("budget: a foreign one in its place")
def _foreign_budget(arena: Arena) -> None:
    arena.cluster.delete("poddisruptionbudgets", NAMESPACE, NAME)
    body = {"apiVersion": "policy/v1", "kind": "PodDisruptionBudget", "metadata": _foreign(NAME)}
    arena.cluster.apply({**body, "spec": {"minAvailable": 1, "selector": {"matchLabels": {"app": "legacy"}}}})


@act("slices: deleted")
def _slices(arena: Arena) -> None:
    for each in arena.cluster.objects("endpointslices", NAMESPACE):
        arena.cluster.delete("endpointslices", NAMESPACE, each["metadata"]["name"])


# -- records of revisions
act("revision: deleted")(lambda arena: arena.cluster.delete("controllerrevisions", NAMESPACE, first_revision(arena)["metadata"]["name"]))
act("revision: labels stripped")(edit_revision(NO_LABELS))
act("revision: owner stripped")(edit_revision(NO_OWNER))
act("revision: builder no number")(edit_revision(note(naming.BUILDER, "fuzz")))
act("revision: builder of a later release")(edit_revision(note(naming.BUILDER, "99")))
act("revision: annotations stripped")(edit_revision({"metadata": {"annotations": None}}))
act("revision: blocked by hand", trouble=True)(edit_revision(note(naming.BLOCKED, "fuzz")))
act("revision: stable before of nothing")(edit_revision(note(naming.STABLE_BEFORE, "fuzz")))
act("revision: version too long")(edit_revision(note(naming.VERSION, "v" * 300)))
act("revision: another number")(edit_revision({"revision": 4711}))


@act("revisions: all deleted")
def _forget_all(arena: Arena) -> None:
    for each in arena.cluster.objects("controllerrevisions", NAMESPACE):
        arena.cluster.delete("controllerrevisions", NAMESPACE, each["metadata"]["name"])


# -- the service itself
act("status: cleared", trouble=True)(edit("managedservices", NAME, {"status": None}, "status"))
act("status: memory cleared", trouble=True)(edit("managedservices", NAME, {"status": {"rollout": None}}, "status"))
act("finalizer: removed")(edit("managedservices", NAME, {"metadata": {"finalizers": None}}))
act("finalizer: a foreign one")(edit("managedservices", NAME, {"metadata": {"finalizers": [FOREIGN, naming.FINALIZER]}}))
act("finalizer: a foreign one instead")(edit("managedservices", NAME, {"metadata": {"finalizers": [FOREIGN]}}))
act("deleted")(lambda arena: arena.cluster.delete(*MSVC))
act("deleted in the foreground")(lambda arena: arena.cluster.delete(*MSVC, propagation="Foreground"))
act("deleted, children orphaned")(lambda arena: arena.cluster.delete(*MSVC, propagation="Orphan"))
act("namespace: deleted", trouble=True)(lambda arena: arena.cluster.delete("namespaces", "", NAMESPACE))


@act("deleted, finalizer torn off")
def _tear(arena: Arena) -> None:
    arena.cluster.delete(*MSVC)
    arena.cluster.patch(*MSVC, {"metadata": {"finalizers": None}})


@act("deleted, finalizer torn off, declared again at once")
def _replace(arena: Arena) -> None:
    wanted = arena.wish()
    _tear(arena)
    arena.declare(wanted, ruled=False)


def _scale(replicas: Any) -> Callable[[Arena], Any]:
    def send(arena: Arena) -> None:
        _sent(arena, "PATCH", f"{PATH}/scale", {"spec": {"replicas": replicas}}, MERGE_PATCH)
        arena.rules.most = max(arena.rules.most, most_of(arena.cluster.get(*MSVC)))

    return send


for _count in (0, 1, 2, 7, -1, 5001, "3", 1.5):
    act(f"scale subresource: {_count!r}")(_scale(_count))


# -- what rollouts are judged and held by
act("gate: deleted", trouble=True)(lambda arena: arena.cluster.delete("releasegates", NAMESPACE, STEADY))
act("gate: what nobody passes", trouble=True)(edit("releasegates", STEADY, {"spec": {"limit": {"atLeast": "5"}}}))
act("gate: another interval")(edit("releasegates", STEADY, {"spec": {"interval": "3s"}}))
act("gate: another measure", trouble=True)(edit("releasegates", STEADY, {"spec": {"measure": {"restarts": None, "http": {"url": "http://fuzz.example/"}}}}))
act("window: deleted")(lambda arena: arena.cluster.delete("maintenancewindows", NAMESPACE, WINDOW))
act("window: past")(edit("maintenancewindows", WINDOW, {"spec": {"opens": [{"from": "00:00", "for": "1h", "date": "2020-01-01"}]}}))
act("window: a zone that nobody knows")(edit("maintenancewindows", WINDOW, {"spec": {"timeZone": "Fuzz/Fuzz"}}))
act("window: of the other purpose")(edit("maintenancewindows", WINDOW, {"spec": {"purpose": "Freeze"}}))
act("frozen by hand: no time at all")(edit("managedservices", NAME, note(FROZEN, "fuzz")))


@act("frozen by the calendar")
def _freeze_all(arena: Arena) -> None:
    wanted = FURNITURE[f"maintenancewindows/{WINDOW}"]
    arena.cluster.apply({**wanted, "metadata": {**wanted["metadata"], "name": "freeze"}, "spec": {**wanted["spec"], "purpose": "Freeze", "reason": "fuzz"}})


def _until(key: str, seconds: float) -> Callable[[Arena], Any]:
    def send(arena: Arena) -> None:
        arena.cluster.patch("managedservices", NAMESPACE, NAME, note(key, utc(arena.cluster.now() + seconds).isoformat()))

    return send


act("frozen by hand")(_until(FROZEN, 20.0))
act("frozen by hand, and over")(_until(FROZEN, -20.0))
act("thawed by hand")(_until(THAWED, 20.0))


def first_job(arena: Arena) -> str:
    """The name of a Job of ours."""
    found = arena.cluster.objects("jobs", NAMESPACE)
    if not found:
        raise Moot("no Job")
    return str(found[0]["metadata"]["name"])


act("job: deleted")(lambda arena: arena.cluster.delete("jobs", NAMESPACE, first_job(arena)))


@act("job: failed by hand", trouble=True)
def _fail_job(arena: Arena) -> None:
    condition = {"type": "Failed", "status": "True", "reason": "Fuzzed", "message": "x" * 2000, "lastTransitionTime": "2026-01-01T00:00:00Z"}
    arena.cluster.patch("jobs", NAMESPACE, first_job(arena), {"status": {"conditions": [condition]}}, "status")


# -- the route
act("route: deleted", trouble=True)(lambda arena: arena.cluster.delete("httproutes", NAMESPACE, ROUTE))
act("route: other backends", trouble=True)(edit("httproutes", ROUTE, {"spec": {"rules": [{"backendRefs": [{"name": FOREIGN_BACKEND, "port": 80}]}]}}))
act("route: no rules", trouble=True)(edit("httproutes", ROUTE, {"spec": {"rules": [{"name": "fuzz", "backendRefs": [{"name": FOREIGN_BACKEND}]}]}}))
act("route: another weight")(edit("httproutes", ROUTE, {"spec": {"rules": [{"name": "fuzz", "backendRefs": [{"name": NAME, "port": 80, "weight": 7}]}]}}))
act("route: annotations stripped")(edit("httproutes", ROUTE, {"metadata": {"annotations": None}}))
act("route: not accepted", trouble=True)(lambda arena: arena.accept_routes(accepts=False))
act("Service of the candidate: deleted")(lambda arena: arena.cluster.delete("services", NAMESPACE, naming.candidate(NAME)))
act("Service of the candidate: another selector")(edit("services", naming.candidate(NAME), {"spec": {"selector": {"fuzz": "1"}}}))


# -- machines
@act("node: down", trouble=True)
def _node_down(arena: Arena) -> None:
    arena.cluster.node_down(first_pod(arena)["spec"].get("nodeName") or "node-1")


@act("node: down and up", trouble=True)
def _node_blink(arena: Arena) -> None:
    name = first_pod(arena)["spec"].get("nodeName") or "node-1"
    arena.cluster.node_down(name)
    arena.cluster.node_up(name, rebooted=True)


@act("node: removed", trouble=True)
def _node_removed(arena: Arena) -> None:
    name = first_pod(arena)["spec"].get("nodeName") or "node-1"
    if arena.cluster.find("nodes", "", name) is None:
        raise Moot("it is gone")
    arena.cluster.remove_node(name)


@act("nodes: all cordoned", trouble=True)
def _cordon(arena: Arena) -> None:
    for node in arena.cluster.objects("nodes"):
        arena.cluster.patch("nodes", "", node["metadata"]["name"], {"spec": {"unschedulable": True}})


@act("API: down for a while", trouble=True)
def _away(arena: Arena) -> None:
    """For less than a lease lasts; nobody loses office by it."""
    arena.cluster.api_down = True
    asyncio.get_running_loop().call_later(4.0, lambda: setattr(arena.cluster, "api_down", False))


@act("API: history compacted")
def _compact(arena: Arena) -> None:
    arena.cluster.compact()


act("operator: dies before its next write", trouble=True)(lambda arena: arena.die("before"))
act("operator: dies after its next write", trouble=True)(lambda arena: arena.die("after"))
act("operator: a second one")(lambda arena: arena.operator())


def mend(arena: Arena) -> None:
    """Take away what stands in the way: dead nodes, foreign finalizers and objects, orphans, freezes. Then all must become well by itself.

    Pods without our label, or with another's, are not found under the service: they are taken back only when their name is wanted again.
    """
    for name in ("node-1", "node-2", "node-3"):
        if arena.cluster.find("nodes", "", name) is None:
            arena.cluster.add_node(name)
    for node in arena.cluster.objects("nodes"):
        arena.cluster.node_up(node["metadata"]["name"])
        arena.cluster.patch("nodes", "", node["metadata"]["name"], {"spec": {"unschedulable": None}})
    if arena.cluster.find("namespaces", "", NAMESPACE) is not None:
        arena.furnish()
    for pod in arena.cluster.objects("pods", NAMESPACE):
        if pod["metadata"].get("labels", {}).get(naming.SERVICE_LABEL) != NAME:
            arena.cluster.delete("pods", NAMESPACE, pod["metadata"]["name"], grace=0)
    for plural in ("managedservices", "pods", "services", "poddisruptionbudgets", "controllerrevisions"):
        for each in arena.cluster.objects(plural, NAMESPACE):
            _release(arena, plural, each)


def _release(arena: Arena, plural: str, item: Json) -> None:
    meta = item["metadata"]
    if FOREIGN in meta.get("finalizers", ()):
        left = [each for each in meta["finalizers"] if each != FOREIGN]
        arena.cluster.patch(plural, NAMESPACE, meta["name"], {"metadata": {"finalizers": left or None}})
    ours = arena.object
    owners = [owner["uid"] for owner in meta.get("ownerReferences", ())]
    recoverable = ours is not None and meta.get("annotations", {}).get(naming.SERVICE_UID) == ours["metadata"]["uid"]
    if plural != "managedservices" and not owners and not recoverable and arena.cluster.find(plural, NAMESPACE, meta["name"]):
        arena.cluster.delete(plural, NAMESPACE, meta["name"])
