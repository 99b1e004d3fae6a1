# SPDX-License-Identifier: Apache-2.0
"""The status that a kubelet writes for a pod, from what it knows about the containers."""

from dataclasses import dataclass

from drover_operator.testing.conditions import is_true, with_condition
from drover_operator.testing.objects import Json, mapping
from drover_operator.testing.storage import Version


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """The containers of a pod at one moment; all of them live and die together here."""

    ip: str
    start_time: str
    started_at: str
    ended_at: str
    running: bool
    ready: bool
    restarts: int
    crashed: bool
    failure: str
    stopped: bool
    pull_error: bool


def reported(pod: Version, facts: Facts, now: str) -> Json:
    """The new status; conditions of others stay as they are."""
    status: Json = {**pod.data["status"], "phase": _phase(facts), "startTime": facts.start_time, "hostIP": "192.0.2.1"}
    if facts.started_at:
        status |= {"podIP": facts.ip, "podIPs": [{"ip": facts.ip}]}
    if facts.failure == "Evicted":
        status |= {"reason": "Evicted", "message": "The node was low on resource: memory."}
    status["containerStatuses"] = [_container_status(pod, container, facts) for container in pod.data["spec"]["containers"]]
    sidecars = [container for container in pod.data["spec"].get("initContainers", ()) if container.get("restartPolicy") == "Always"]
    if sidecars:
        status["initContainerStatuses"] = [_container_status(pod, container, facts) for container in sidecars]
    status = with_condition(status, {"type": "Initialized", "status": "True"}, now)
    status = with_condition(status, _containers_ready(pod, facts), now)
    return with_condition(status, _ready(pod, status, facts), now)


def pre_stop_seconds(pod: Version) -> float:
    """The longest preStop sleep of its containers."""
    hooks: list[Json] = [mapping(mapping(container, "lifecycle"), "preStop") for container in pod.data["spec"]["containers"]]
    return max((float(hook["sleep"].get("seconds", 0)) for hook in hooks if "sleep" in hook), default=0.0)


def _phase(facts: Facts) -> str:
    if facts.failure:
        return "Failed"
    if facts.stopped:
        return "Succeeded"
    return "Running" if facts.started_at else "Pending"


def _container_status(pod: Version, container: Json, facts: Facts) -> Json:
    status: Json = {
        "name": container["name"],
        "image": container["image"],
        "imageID": f"simulated://{container['image']}",
        "ready": facts.ready,
        "started": facts.running,
        "restartCount": facts.restarts,
        "state": _state(facts),
        "lastState": {"terminated": _terminated(facts, 1)} if facts.crashed and not facts.stopped else {},
    }
    if facts.started_at:
        status["containerID"] = f"simulated://{pod.uid}/{container['name']}/{facts.restarts}"
    return status


def _state(facts: Facts) -> Json:
    if facts.failure or facts.stopped:
        return {"terminated": _terminated(facts, 0 if facts.stopped and not facts.failure else 1)}
    if facts.running:
        return {"running": {"startedAt": facts.started_at}}
    if facts.pull_error:
        return {"waiting": {"reason": "ImagePullBackOff", "message": "Back-off pulling image"}}
    if facts.crashed:
        return {"waiting": {"reason": "CrashLoopBackOff", "message": "back-off restarting failed container"}}
    return {"waiting": {"reason": "ContainerCreating"}}


def _terminated(facts: Facts, code: int) -> Json:
    ended: Json = {"exitCode": code, "reason": "Completed" if code == 0 else "Error", "finishedAt": facts.ended_at}
    return ended | ({"startedAt": facts.started_at} if facts.started_at else {})


def _containers_ready(pod: Version, facts: Facts) -> Json:
    if facts.ready:
        return {"type": "ContainersReady", "status": "True"}
    if facts.failure or facts.stopped:
        return {"type": "ContainersReady", "status": "False", "reason": "PodFailed" if facts.failure else "PodCompleted"}
    names = " ".join(container["name"] for container in pod.data["spec"]["containers"])
    return {
        "type": "ContainersReady",
        "status": "False",
        "reason": "ContainersNotReady",
        "message": f"containers with unready status: [{names}]",
    }


def _ready(pod: Version, status: Json, facts: Facts) -> Json:
    """Ready = ContainersReady and every readiness gate."""
    if not facts.ready:
        return {**_containers_ready(pod, facts), "type": "Ready"}
    gates: list[str] = [gate["conditionType"] for gate in pod.data["spec"].get("readinessGates") or ()]
    closed = [gate for gate in gates if not is_true(status, gate)]
    if not closed:
        return {"type": "Ready", "status": "True"}
    known = {each["type"]: None for each in status["conditions"]}
    messages = [
        f'the status of pod readiness gate "{gate}" is not "True", but False'
        if gate in known
        else f'corresponding condition of pod readiness gate "{gate}" does not exist.'
        for gate in closed
    ]
    return {"type": "Ready", "status": "False", "reason": "ReadinessGatesNotReady", "message": ", ".join(messages)}
