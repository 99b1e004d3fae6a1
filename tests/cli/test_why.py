# SPDX-License-Identifier: Apache-2.0
"""`why`: a table of typical troubles with what must be said about each, golden chains, and what is read for it."""

import asyncio
from datetime import timedelta
from typing import Any

import msgspec
import pytest
from cli.samples import NOW, ago, compare, condition, conditions, failed, healthy_service, rolled_back, service, updating
from cli.test_main import Api, Stub

from drover_operator.api.managedservice import ManagedService
from drover_operator.cli import inquiry
from drover_operator.cli.chain import Chain, chain
from drover_operator.cli.layout import Look
from drover_operator.cli.sightings import EventSeen, NodeSeen, PodSeen, Sightings
from drover_operator.cli.telling import document, lines
from drover_operator.core.reasons import Reason
from drover_operator.kube.client import Client

REVISION = "checkout-x2k9bcdf"
POD = f"{REVISION}-1-8k8z7"
RUNNING = {"running": {"startedAt": ago(minutes=4)}}


def decoded(wire: Any, model: Any) -> Any:
    return msgspec.json.decode(msgspec.json.encode(wire), type=model)


def container(name: str = "app", **status: Any) -> dict[str, Any]:
    return {"name": name, "image": "registry.example/checkout:1.3.0", "ready": False, "restartCount": 0, "state": {}, **status}


def waiting(reason: str, message: str = "", **more: Any) -> dict[str, Any]:
    return container(state={"waiting": {"reason": reason, "message": message}}, **more)


def ended(code: int, reason: str = "Error", seconds: float = 30) -> dict[str, Any]:
    return {"terminated": {"exitCode": code, "reason": reason, "finishedAt": ago(seconds=seconds)}}


def pod(*containers: dict[str, Any], name: str = POD, node: str = "node-1", phase: str = "Pending", spec: dict[str, Any] | None = None, **more: Any) -> PodSeen:
    meta = {
        "name": name,
        "namespace": "shop",
        "uid": f"uid-{name}",
        "labels": {"drover.dev/revision": name.rsplit("-", 2)[0]},
        "creationTimestamp": ago(minutes=5),
    }
    meta |= more.pop("metadata", {})
    status = {"phase": phase, "containerStatuses": list(containers), **more}
    return decoded({"metadata": meta, "spec": {"nodeName": node, **(spec or {})}, "status": status}, PodSeen)


def fact(kind: str, status: str, reason: str = "", message: str = "") -> dict[str, Any]:
    return {"type": kind, "status": status, "reason": reason, "message": message, "lastTransitionTime": ago(minutes=3)}


def well(slot: int = 0, revision: str = REVISION) -> PodSeen:
    name = f"{revision}-{slot}-8k8z7"
    ready = [fact("Ready", "True"), fact("ContainersReady", "True"), fact("drover.dev/in-service", "True")]
    return pod(container(ready=True, state=RUNNING), name=name, phase="Running", conditions=ready)


def event(reason: str, message: str, name: str = POD, seconds: float = 10, kind: str = "Warning") -> EventSeen:
    about = {"kind": "Pod", "name": name, "uid": f"uid-{name}"}
    return decoded(
        {"metadata": {"name": "e"}, "involvedObject": about, "reason": reason, "message": message, "type": kind, "lastTimestamp": ago(seconds=seconds)},
        EventSeen,
    )


def node(status: str, message: str = "") -> dict[str, NodeSeen]:
    return {"node-1": decoded({"metadata": {"name": "node-1"}, "status": {"conditions": [fact("Ready", status, "NodeStatusUnknown", message)]}}, NodeSeen)}


def starting(**status: Any) -> ManagedService:
    told = {"phase": "Ready", "summary": "WaitingForHealth", "ready": "2/3", "upToDate": "3/3", "targetRevision": REVISION, "rollout": {"target": REVISION}}
    told["versions"] = [{"revision": REVISION, "version": "1.3.0", "instances": 3}]
    told["instances"] = [{"name": POD, "state": "Starting", "revision": REVISION}]
    told["conditions"] = conditions(
        Ready=condition("Ready", "False", "WaitingForHealth"),
        Reconciling=condition("Reconciling", "True", "WaitingForHealth", "Instances have started and are not yet healthy and in discovery."),
    )
    return service(**{**told, **status})


def stalled(reason: str, message: str) -> ManagedService:
    told = conditions(Stalled=condition("Stalled", "True", reason, message), Ready=condition("Ready", "False", reason, message))
    return starting(phase="Failed", summary=reason, conditions=told)


def refused() -> ManagedService:
    message = 'pods "checkout-x2k9bcdf-1-8k8z7" is forbidden: exceeded quota: small, requested: cpu=2, used: cpu=3, limited: cpu=4'
    told = conditions(Ready=condition("Ready", "False", "Refused", message), Reconciling=condition("Reconciling", "True", "Refused", message))
    return starting(summary="Refused", conditions=told)


def paused(**status: Any) -> ManagedService:
    told = conditions(Ready=condition("Ready", "False", "Paused"), Reconciling=condition("Reconciling", "True", "Paused"))
    return starting(phase="Update", summary="Paused", conditions=told, spec={"paused": True}, **status)


def dying(shown: ManagedService, minutes: float = 5, *finalizers: str) -> ManagedService:
    meta = msgspec.structs.replace(shown.metadata, deletion_timestamp=NOW - timedelta(minutes=minutes), finalizers=finalizers)
    return msgspec.structs.replace(shown, metadata=meta)


def terminating(minutes: float, *finalizers: str) -> PodSeen:
    return pod(container(ready=True, state=RUNNING), phase="Running", metadata={"deletionTimestamp": ago(minutes=minutes), "finalizers": list(finalizers)})


def seen(shown: ManagedService, *pods: PodSeen, **more: Any) -> Sightings:
    return Sightings(service=shown, now=NOW, pods=pods, **more)


OTHERS = (well(0), well(2))
BLOCKED_WARNING = event("BackOff", "Back-off restarting failed container app in pod", name=f"{REVISION}-2-8k8z7")
PLAN = [
    {"step": f"create {REVISION}-1-8k8z7", "state": "Waiting", "reason": "BackOff"},
    {"step": "put in service x", "state": "Running", "reason": "EntersService"},
]
PROBE = "Readiness probe failed: HTTP probe failed with statuscode: 503"
MOUNT = 'MountVolume.SetUp failed for volume "data": secret "tls" not found'
NO_ROOM = "0/3 nodes are available: 3 Insufficient cpu."
UNBOUND = "0/3 nodes are available: pod has unbound immediate PersistentVolumeClaims."

# why, what was seen, whether something is wrong, what the chain says in this order, what is next
CASES: list[tuple[str, Sightings, bool, list[str], str]] = [
    ("healthy", seen(healthy_service(), well(0)), False, ["service checkout: Healthy: 3/3 in service at revision checkout-m42ndlfs (version 1.2.0)"], ""),
    ("image cannot be pulled", seen(starting(), *OTHERS, pod(waiting("ImagePullBackOff", "Back-off pulling image")), events=(event("Failed", "Failed to pull image: not found"),)), True,
     ["WaitingForHealth", f"revision {REVISION}: wanted (version 1.3.0): 2 of 3 in service", f"instance {POD}: Starting on node node-1, 5m old", "container app: its image registry.example/checkout:1.3.0 cannot be had: ImagePullBackOff", "it says: Failed to pull image: not found"], "correct the image, or the pull secret"),
    ("image cannot be pulled, Events may not be read", seen(starting(), pod(waiting("ErrImagePull", "manifest unknown"))), True, ["ErrImagePull", "it says: manifest unknown"], "correct the image"),
    ("crash loop", seen(starting(), *OTHERS, pod(waiting("CrashLoopBackOff", restartCount=7, lastState=ended(1)), phase="Running")), True,
     ["container app: in CrashLoopBackOff: last exit code 1 30s ago, restarted 7 times"], f"kubectl logs {POD} -n shop -c app --previous"),
    ("it has just crashed and is not in the loop yet", seen(starting(), pod(container(state=ended(127)), phase="Running")), True,
     ["container app: it ended: last exit code 127 (there is no such command) 30s ago"], f"kubectl logs {POD} -n shop -c app"),
    ("it runs again after a crash and is not ready", seen(starting(), pod(container(state=RUNNING, restartCount=2, lastState=ended(139)), phase="Running")), True,
     ["last exit code 139 (segmentation fault) 30s ago, restarted 2 times"], "--previous"),
    ("killed by its liveness probe", seen(starting(), pod(waiting("CrashLoopBackOff", restartCount=3, lastState=ended(137)), phase="Running"), events=(event("Unhealthy", "Liveness probe failed: timeout"),)), True,
     ["last exit code 137 (killed)", "it says: Liveness probe failed: timeout"], "--previous"),
    ("OOMKilled", seen(starting(), pod(waiting("CrashLoopBackOff", restartCount=3, lastState=ended(137, "OOMKilled")), phase="Running")), True,
     ["in CrashLoopBackOff: it used more memory than its limit and was killed (OOMKilled) 30s ago, restarted 3 times"], "raise resources.limits.memory of container app"),
    ("readiness fails", seen(starting(), *OTHERS, pod(container(state=RUNNING, started=True), phase="Running"), events=(event("Unhealthy", PROBE), event("Unhealthy", "older", seconds=300))), True,
     ["container app: it runs for 4m and is not ready: its readiness probe does not succeed", f"it says: {PROBE}"], "the check is spec.healthCheck"),
    ("an Event of another pod proves nothing", seen(starting(), pod(container(state={"running": {"startedAt": ago(seconds=5)}}), phase="Running"), events=(event("Unhealthy", PROBE, name="other"),)), False,
     ["it runs for 5s and is not ready"], "spec.healthCheck"),
    ("startup fails", seen(starting(), pod(container(state=RUNNING, started=False), phase="Running")), True, ["its startup probe does not succeed"], "startupProbe"),
    ("no node has room", seen(starting(), pod(node="", conditions=[fact("PodScheduled", "False", "Unschedulable", NO_ROOM)])), True, [f"scheduling: no node takes it for 3m: {NO_ROOM}"], "lower resources.requests"),
    ("no node fits", seen(starting(), pod(node="", conditions=[fact("PodScheduled", "False", "Unschedulable", "3 node(s) didn't match Pod's node affinity/selector")])), True, ["node affinity/selector"], "compare nodeSelector"),
    ("a claim is pending", seen(starting(), pod(node="", conditions=[fact("PodScheduled", "False", "Unschedulable", UNBOUND)])), True, [UNBOUND], "kubectl get pvc -n shop"),
    ("a gate of the scheduler", seen(starting(), pod(node="", conditions=[fact("PodScheduled", "False", "SchedulingGated")])), True, ["no node takes it for 3m: SchedulingGated"], "kubectl describe pod"),
    ("a volume cannot be mounted", seen(starting(), pod(waiting("ContainerCreating")), events=(event("FailedMount", MOUNT),)), True, [f"volumes: they cannot be mounted: {MOUNT}"], "kubectl get pvc,secrets,configmaps -n shop"),
    ("the network of the node", seen(starting(), pod(waiting("ContainerCreating")), events=(event("FailedCreatePodSandBox", "plugin is down"),)), True, ["its node cannot set it up: plugin is down"], "kubectl describe node node-1"),
    ("a ConfigMap is missing", seen(starting(), pod(waiting("CreateContainerConfigError", 'configmap "settings" not found'))), True, ['CreateContainerConfigError: configmap "settings" not found'], "create the configmap or correct its name in the template: kubectl get configmaps -n shop"),
    ("a command that cannot start", seen(starting(), pod(waiting("RunContainerError", "exec: no such file"))), True, ["RunContainerError: exec: no such file"], "kubectl describe pod"),
    ("a node is not ready", seen(starting(), *OTHERS, pod(container(ready=True, state=RUNNING), phase="Running", conditions=[fact("Ready", "False")]), nodes=node("Unknown", "Kubelet stopped posting node status.")), True,
     ["node node-1: not ready for 3m: Kubelet stopped posting node status."], "kubectl describe node node-1; if it will not come back: kubectl delete node node-1"),
    ("a ready node is no trouble", seen(starting(), pod(waiting("CrashLoopBackOff", lastState=ended(1))), nodes=node("True")), True, ["CrashLoopBackOff"], "--previous"),
    ("an init container fails", seen(starting(), pod(waiting("PodInitializing"), initContainerStatuses=[{**waiting("CrashLoopBackOff", restartCount=2, lastState=ended(3)), "name": "migrate"}])), True,
     ["init container migrate: in CrashLoopBackOff: last exit code 3 30s ago, restarted 2 times"], f"kubectl logs {POD} -n shop -c migrate --previous"),
    ("an init container takes its time", seen(starting(), pod(waiting("PodInitializing"), initContainerStatuses=[{**container(state={"running": {"startedAt": ago(seconds=90)}}), "name": "migrate"}])), False,
     ["init container migrate: it runs for 90s and has not ended"], "kubectl logs"),
    ("a sidecar never ends, and that is right", seen(starting(), pod(waiting("CrashLoopBackOff", lastState=ended(1)), spec={"initContainers": [{"name": "proxy", "restartPolicy": "Always"}]}, initContainerStatuses=[{**container(state=RUNNING, ready=True), "name": "proxy"}])), True,
     ["container app: in CrashLoopBackOff"], "-c app --previous"),
    ("evicted", seen(starting(), pod(phase="Failed", reason="Evicted", message="The node was low on resource: memory.")), True, ["pod: Evicted: The node was low on resource: memory."], "kubectl describe pod"),
    ("it has ended and is not restarted", seen(starting(), pod(container(state=ended(2)), phase="Failed")), True, ["container app: it has ended: last exit code 2 30s ago"], "kubectl logs"),
    ("a readiness gate of somebody else", seen(starting(), pod(container(ready=True, state=RUNNING), phase="Running", conditions=[fact("ContainersReady", "True")], spec={"readinessGates": [{"conditionType": "lb.example/ready"}, {"conditionType": "drover.dev/in-service"}]})), True,
     ["readiness gates: nobody has set lb.example/ready to True"], "find out who sets them"),
    ("the operator's turn", seen(starting(), pod(container(ready=True, state=RUNNING), phase="Running", conditions=[fact("ContainersReady", "True")], spec={"readinessGates": [{"conditionType": "drover.dev/in-service"}]})), False,
     ["it is healthy and the operator has not put it in service yet"], ""),
    ("it only starts", seen(starting(plan=PLAN), pod(waiting("ContainerCreating"), metadata={"creationTimestamp": ago(seconds=8)})), False,
     ["pod: its containers are being created for 8s", "operator: it waits to create checkout-x2k9bcdf-1-8k8z7 (BackOff: Instances of this slot failed soon after their start; the next one waits.)"], ""),
    ("it starts for very long", seen(starting(), pod(waiting("ContainerCreating"))), True, ["its containers are being created for 5m"], "kubectl describe pod"),
    ("nobody is ill: what the operator does", seen(updating(), well(0)), False, ["RollingOut", "operator: it waits to drain checkout-m42ndlfs-1-8k8z7 (WaitsForBudget: Acting now", "operator: it does now: wait for"], ""),
    ("several with different troubles", seen(starting(), *(pod(waiting("CrashLoopBackOff", lastState=ended(1)), name=f"{REVISION}-{slot}-8k8z7") for slot in range(3)), pod(phase="Failed", reason="Evicted", name=f"{REVISION}-4-8k8z7")), True,
     ["; 2 more like it, 1 more with Evicted"], "--previous"),
    ("an old revision's trouble comes after that of the wanted one", seen(starting(), pod(waiting("CrashLoopBackOff", lastState=ended(1)), name="checkout-m42ndlfs-0-8k8z7"), pod(waiting("ErrImagePull"))), True, [f"revision {REVISION}", "ErrImagePull"], "correct the image"),
    ("refused by a quota", seen(refused(), *OTHERS), True, ["Refused: pods", "exceeded quota: small"], "Read the message: a quota"),
    ("the template is refused", seen(stalled("InvalidTemplate", 'unknown field "spec.containers[0].nonsense"')), True, ['InvalidTemplate: unknown field "spec.containers[0].nonsense"'], "Correct the field"),
    ("a name is taken", seen(stalled("NameConflict", "Service 'checkout' is not Drover's")), True, ["NameConflict: Service 'checkout' is not Drover's"], "Rename one of the two"),
    ("a pin to nothing", seen(stalled("PinNotFound", "spec.pin.revision 'x' is not recorded")), True, ["PinNotFound"], "kubectl get controllerrevisions -l drover.dev/service=checkout"),
    ("the namespace goes", seen(stalled("NamespaceTerminating", "namespace shop is being terminated")), True, ["NamespaceTerminating: namespace shop is being terminated"], ""),
    ("given up, nothing to go back to", seen(failed(), pod(waiting("CrashLoopBackOff", restartCount=12, lastState=ended(1)), name="checkout-m42ndlfs-1-8k8z7")), True,
     ["ProgressDeadlineExceeded: revision 'checkout-m42ndlfs' made no progress", "revision checkout-m42ndlfs: wanted (version 1.2.0): 0 of 3 in service", "restarted 12 times"], "--previous"),
    ("given up, no pods to look at", seen(failed()), True, ["ProgressDeadlineExceeded"], "Look at the instances in status"),
    ("rolled back", seen(rolled_back(), well(0, "checkout-m42ndlfs"), events=(BLOCKED_WARNING, event("Other", "of another service", name="till-x-0"))), True,
     ["RolledBack", f"revision {REVISION}: no more of its instances came into service for 10m", "its instances said: BackOff: Back-off restarting failed container", "revision checkout-m42ndlfs: the service went back to it (version 1.2.0): 3/3 in service"], "Change the template"),
    ("paused on the way", seen(paused()), False, ["Paused"], "Set spec.paused to false"),
    ("paused and well", seen(service(spec={"paused": True})), False, ["Healthy", "spec.paused: The rollout is frozen"], "Set spec.paused to false"),
    ("pinned and well", seen(service(spec={"pin": {"revision": "checkout-old"}})), False, ["Healthy", "spec.pin: it holds the service at checkout-old"], "Remove spec.pin"),
    ("scaled to zero", seen(service(summary="ScaledToZero", ready="0/0", conditions=conditions(Ready=condition("Ready", "True", "ScaledToZero")))), False, ["ScaledToZero"], "kubectl scale msvc/checkout --replicas=1"),
    ("degraded", seen(service(summary="InstancesMissing", conditions=conditions(Degraded=condition("Degraded", "True", "InstancesMissing"), Ready=condition("Ready", "False", "InstancesMissing", "2 of 3 in service"))), well(0)), True, ["InstancesMissing: 2 of 3 in service"], ""),
    ("no operator, from the start", seen(service(phase=None), changed=NOW - timedelta(minutes=3)), True, ["no operator has looked at it, 3m after it was made", "the operator is not running"], "kubectl get lease,pods -n drover-system"),
    ("no operator since the last change", seen(service(generation=9), changed=NOW - timedelta(minutes=3)), True, ["the last change of its spec has not been looked at (generation 9)", "what status says is of generation 4"], "kubectl get lease,pods"),
    ("it was changed just now", seen(service(generation=9), changed=NOW - timedelta(seconds=2)), False, ["has not been looked at (generation 9), 2s after"], "wait a moment"),
    ("a deletion that nobody looks at; that its instance has no node is of no account any more", seen(dying(service(generation=5), 1, "drover.dev/drain"), pod(node="", conditions=[fact("PodScheduled", "False", "Unschedulable", NO_ROOM)])), True, ["being deleted for 60s", "operator: it is not running, or does not reach the API server: it has not looked at the deletion"], "kubectl get lease,pods"),
    ("the same, just now", seen(dying(service(generation=5), 0.1, "drover.dev/drain"), well(0)), False, ["1 instance is left, it drains and ends"], ""),
    ("an end that goes well", seen(dying(healthy_service(), 1, "drover.dev/drain"), terminating(0.1)), False, ["being deleted for 60s", "1 instance is left, it drains and ends"], ""),
    ("a pod that is held by a finalizer", seen(dying(healthy_service(), 5, "drover.dev/drain"), terminating(4, "example.com/hold")), True, ["it should have ended 4m ago and is held by its finalizers: example.com/hold"], "ask whoever set the finalizer"),
    ("a pod whose node does not answer", seen(dying(healthy_service(), 5, "drover.dev/drain"), terminating(4), nodes=node("Unknown", "gone")), True, ["node node-1: not ready for 3m: gone"], "kubectl delete node node-1"),
    ("a pod whose kubelet does not confirm", seen(dying(healthy_service(), 5, "drover.dev/drain"), terminating(4)), True, ["its kubelet has not confirmed it"], "kubectl describe node node-1"),
    ("the service is held by somebody else's finalizer", seen(dying(healthy_service(), 5, "example.com/hold")), True, ["finalizers: others than Drover hold it: example.com/hold"], "ask whoever set them"),
    ("no operator to end it", seen(dying(healthy_service(), 5, "drover.dev/drain")), True, ["operator: no instance is left, and it has not removed its finalizer"], "kubectl get lease,pods"),
    ("pods may not be read", Sightings(service=failed(), now=NOW, pods=None), True, ["instance checkout-m42ndlfs-0-8k8z7: Lost on node node-0: Evicted"], "ask for the right to list pods in namespace shop"),
    ("pods may not be read, and nothing is known", Sightings(service=starting(instances=[]), now=NOW, pods=None), False, ["0 of 3 in service"], ""),
]  # fmt: skip


def words(told: Chain) -> str:
    return "\n".join(f"{each.subject}: {each.what}" for each in told.links)


@pytest.mark.parametrize(("why", "sight", "wrong", "said", "step"), CASES, ids=[row[0] for row in CASES])
def test_cases(why: str, sight: Sightings, wrong: bool, said: list[str], step: str) -> None:
    told = chain(sight)
    text, at = words(told), 0
    for each in said:
        assert each in text[at:], f"{why}: {text}"
        at = text.index(each, at) + len(each)
    assert told.wrong is wrong, why
    assert (step in told.steps[0]) if step else not told.steps, f"{why}: {told.steps}"
    assert told.links[0].subject == "service checkout", why


@pytest.mark.parametrize("reason", Reason)
def test_every_reason_of_a_standstill_has_a_chain(reason: Reason) -> None:
    told = chain(seen(stalled(reason, "words")))
    assert reason in words(told) and told.wrong


GOLDEN = [
    ("crash", CASES[3]),
    ("readiness", CASES[8]),
    ("rolled-back", next(row for row in CASES if row[0] == "rolled back")),
    ("operator-away", next(row for row in CASES if row[0] == "no operator since the last change")),
]


@pytest.mark.parametrize("width", [80, 120])
@pytest.mark.parametrize(("name", "row"), GOLDEN, ids=[row[0] for row in GOLDEN])
def test_golden(name: str, row: tuple[str, Sightings, bool, list[str], str], width: int) -> None:
    shown = lines(chain(row[1]), Look(width=width))
    compare(f"why-{name}-{width}", shown)
    assert max(map(len, shown)) <= width


@pytest.mark.parametrize("width", [1, 10, 30])
def test_a_narrow_terminal_garbles_nothing(width: int) -> None:
    for row in CASES:
        assert lines(chain(row[1]), Look(width=width, unicode=True, colour=True))


def test_foreign_words_cannot_steer_the_terminal() -> None:
    evil = pod(waiting("CreateContainerError", "one\n\x1b[2Jtwo"))
    text = "\n".join(lines(chain(seen(starting(), evil)), Look(width=200)))
    assert "one ?[2Jtwo" in text and "\x1b" not in text


def test_json() -> None:
    told = document(chain(CASES[3][1]), "shop", "checkout")
    assert told["healthy"] is False
    assert [each["reason"] for each in told["chain"]] == ["WaitingForHealth", "", "Starting", "CrashLoopBackOff"]
    assert told["next"] == [f"kubectl logs {POD} -n shop -c app --previous"]


# --- what is read


class Shop(Api):
    """Pods with troubles, their Events and Nodes; what is in `forbidden` may not be read."""

    def __init__(self, pods: list[Any], forbidden: tuple[str, ...] = ()) -> None:
        super().__init__([])
        self.pods = pods
        self.forbidden = forbidden
        self.asked_for: list[str] = []

    def answer(self, path: str, query: Any) -> tuple[int, Any]:
        kind = path.split("/")[-2] if "/nodes/" in path else path.rpartition("/")[2]
        self.asked_for.append(f"{kind} {query.get('fieldSelector', query.get('labelSelector', ['']))[0]}".strip())
        if kind in self.forbidden:
            return 403, {"kind": "Status", "code": 403, "reason": "Forbidden", "message": "no"}
        if kind == "nodes":
            return 200, {"metadata": {"name": "node-1"}, "status": {"conditions": [fact("Ready", "False", "", "it is off")]}}
        found = self.pods if kind == "pods" else [{"metadata": {"name": "e"}, "reason": "Unhealthy", "message": "told"}]
        return 200, {"metadata": {}, "items": found}


def read(shop: Shop, shown: ManagedService) -> Sightings:
    return asyncio.run(inquiry._sightings(Client(Stub(shop)), shown, b'{"metadata": {"managedFields": [{"time": "2026-03-01T00:00:00Z"}, {"time": "2026-03-02T00:00:00Z", "subresource": "status"}]}}'))  # fmt: skip


def wired(name: str, *, ready: bool = False, uid: str = "") -> dict[str, Any]:
    owners = [{"uid": uid, "controller": True}] if uid else []
    return {"metadata": {"name": name, "namespace": "shop", "uid": f"uid-{name}", "ownerReferences": owners}, "spec": {"nodeName": "node-1"},
            "status": {"phase": "Running", "conditions": [fact("Ready", str(ready)), fact("ContainersReady", str(ready))], "containerStatuses": [waiting("CrashLoopBackOff", lastState=ended(1)) if not ready else container(ready=True, state=RUNNING)]}}  # fmt: skip


def test_only_what_adds_to_the_answer_is_asked_for() -> None:
    """Events of three pods that are ill, not of fifty that are well; a Node once."""
    shop = Shop([wired(f"well-{number}", ready=True) for number in range(50)] + [wired(f"ill-{number}") for number in range(5)])
    sight = read(shop, starting())
    assert shop.asked_for == ["pods drover.dev/service=checkout", "nodes", *(f"events involvedObject.uid=uid-ill-{number}" for number in range(3))]
    assert sight.pods is not None and len(sight.pods) == 55 and sight.nodes["node-1"].ready is not None
    assert sight.changed is not None and sight.changed.day == 1, "a status that was written is no change of the spec"


def test_a_healthy_service_costs_one_list() -> None:
    shop = Shop([wired("well", ready=True)])
    read(shop, healthy_service())
    assert shop.asked_for == ["pods drover.dev/service=checkout"]


def test_after_a_rollback_the_warnings_of_the_namespace_are_read() -> None:
    shop = Shop([])
    read(shop, rolled_back())
    assert shop.asked_for[-1] == "events involvedObject.kind=Pod,type=Warning"


@pytest.mark.parametrize("forbidden", ["pods", "events", "nodes"])
def test_what_may_not_be_read_is_left_out(forbidden: str) -> None:
    sight = read(Shop([wired("ill")], (forbidden,)), starting())
    assert chain(sight).links
    assert (sight.pods is None) == (forbidden == "pods")


def test_pods_of_an_earlier_service_of_the_name_are_not_looked_at() -> None:
    sight = read(Shop([wired("theirs", uid="another"), wired("stray")]), starting())
    assert sight.pods is not None and [each.metadata.name for each in sight.pods] == ["stray"]


def test_a_pod_of_another_shape_hides_no_other() -> None:
    sight = read(Shop([{"metadata": {"name": "odd"}, "status": {"phase": 3}}, wired("ill")]), starting())
    assert sight.pods is not None and [each.metadata.name for each in sight.pods] == ["ill"]
