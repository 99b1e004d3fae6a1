# SPDX-License-Identifier: Apache-2.0
"""A namespace of one test, and the questions that tests ask about the services in it."""

from dataclasses import dataclass
from typing import Any

from api.harness.kstatus import kstatus
from api.harness.kube import Body, Change, Recorder
from api.harness.plane import Plane
from api.harness.waiting import until

SERVICE, REVISION, SLOT, GATE = "drover.dev/service", "drover.dev/revision", "drover.dev/slot", "drover.dev/in-service"


def service(name: str, image: str = "registry.example/app:1", *, replicas: int = 2, annotations: Body | None = None, **spec: Any) -> Body:
    """A small ManagedService; drains take no time, so that tests need none."""
    meta = {"metadata": {"annotations": annotations}} if annotations else {}
    return {
        "apiVersion": "drover.dev/v1alpha1",
        "kind": "ManagedService",
        "metadata": {"name": name},
        "spec": {
            "criticality": "Normal",
            "replicas": replicas,
            "ports": [{"name": "http", "port": 80, "targetPort": 8080}],
            "restart": {"settle": "0s", "drainTimeout": "5s"},
            "template": {**meta, "spec": {"containers": [{"name": "app", "image": image, "ports": [{"containerPort": 8080}]}]}},
            **spec,
        },
    }


def image(name: str, **more: Any) -> Body:
    """A merge patch that changes the image of the template, and annotations where given (None removes them)."""
    return {"spec": {"template": {**more, "spec": {"containers": [{"name": "app", "image": name, "ports": [{"containerPort": 8080}]}]}}}}


NEVER_READY = {"metadata": {"annotations": {"drover.dev/simulate": "never-ready"}}}
NO_ANNOTATIONS = {"metadata": None}


def condition(item: Body, kind: str) -> Body:
    """One condition of an object; {} when it has none of that type."""
    found: list[Body] = [each for each in item.get("status", {}).get("conditions", ()) if each["type"] == kind]
    return found[0] if found else {}


def is_true(item: Body, kind: str) -> bool:
    """Whether the condition is True."""
    return condition(item, kind).get("status") == "True"


def live(pod: Body) -> bool:
    """Whether a pod fills its slot: not leaving, not ended."""
    leaving = condition(pod, GATE).get("status") == "False"
    return not pod["metadata"].get("deletionTimestamp") and not leaving and pod.get("status", {}).get("phase") not in ("Failed", "Succeeded")


def serving(slices: list[Body]) -> set[str]:
    """Uids of the pods that EndpointSlices name as ready."""
    return {
        endpoint["targetRef"]["uid"]
        for each in slices
        for endpoint in each.get("endpoints") or ()
        if endpoint.get("conditions", {}).get("ready") is not False and endpoint.get("targetRef")
    }


def history(item: Body) -> list[tuple[str | None, str]]:
    """The changes of phase that a status tells."""
    return [(each.get("from"), each["to"]) for each in item.get("status", {}).get("history", ())]


@dataclass(frozen=True)
class Space:
    """One namespace."""

    plane: Plane
    name: str

    @property
    def kube(self) -> Any:
        """The administrator's client."""
        return self.plane.kube

    def create(self, body: Body) -> Body:
        """Create a service, with every field checked."""
        return dict(self.kube.create("managedservices", self.name, body, strict=True))

    def get(self, name: str) -> Body:
        """The service as it is."""
        return dict(self.kube.get("managedservices", self.name, name))

    def patch(self, name: str, body: Body) -> Body:
        """Merge-patch the service."""
        return dict(self.kube.patch("managedservices", self.name, name, body))

    def pods(self, name: str) -> list[Body]:
        """All its pods."""
        return list(self.kube.list("pods", self.name, f"{SERVICE}={name}"))

    def serving(self, name: str) -> set[str]:
        """Uids of its pods that discovery names."""
        return serving(self.kube.list("endpointslices", self.name, f"kubernetes.io/service-name={name}"))

    def revisions(self, name: str) -> list[Body]:
        """Its recorded revisions, oldest first."""
        found = self.kube.list("controllerrevisions", self.name, f"{SERVICE}={name}")
        return sorted(found, key=lambda each: int(each["revision"]))

    def show(self, name: str) -> str:
        """The status in short, for messages."""
        item = self.kube.find("managedservices", self.name, name)
        if item is None:
            return f"{name}: there is no such service"
        status = item.get("status", {})
        conditions = [f"  {c['type']}={c['status']} {c['reason']}: {c.get('message', '')}" for c in status.get("conditions", ())]
        head = f"{name}: generation {item['metadata']['generation']}, observed {status.get('observedGeneration')}, phase {status.get('phase')}, "
        counts = f"ready {status.get('ready')}, up to date {status.get('upToDate')}, counts {status.get('counts')}, rollout {status.get('rollout')}"
        plan = [f"  plan: {step['step']} {step['state']} {step.get('reason', '')}" for step in status.get("plan", ())]
        return "\n".join([head + counts, *conditions, *plan])

    def until(self, name: str, look: Any, what: str, *, seconds: float = 30.0) -> Body:
        """Wait until `look(service)` holds, and return the service."""

        def check() -> Body | None:
            item = self.get(name)
            return item if look(item) else None

        return until(check, f"{name}: {what}", seconds=seconds, seen=lambda: self.show(name)) or {}

    def converged(self, name: str, *, seconds: float = 30.0) -> Body:
        """Wait until it is in Run, and everything that it says is so."""

        def look() -> Body:
            item = self.get(name)
            replicas = item["spec"]["replicas"]
            assert kstatus(item) == "Current" and item.get("status", {}).get("phase") == "Run"
            pods = [each for each in self.pods(name) if live(each)]
            assert len(pods) == replicas, f"{len(pods)} live pods"
            assert {each["metadata"]["labels"][REVISION] for each in pods} <= {item["status"]["targetRevision"]}
            if item["spec"].get("ports"):
                assert self.serving(name) == {each["metadata"]["uid"] for each in pods}
            return item

        return until(look, f"{name} converges", seconds=seconds, seen=lambda: self.show(name))

    def phase(self, name: str, phase: str, *, seconds: float = 30.0) -> Body:
        """Wait for a phase of the present generation."""
        return self.until(
            name,
            lambda item: item.get("status", {}).get("phase") == phase and item["status"]["observedGeneration"] == item["metadata"]["generation"],
            f"phase {phase}",
            seconds=seconds,
        )

    def stalled(self, name: str, reason: str, *, seconds: float = 30.0) -> Body:
        """Wait until it is Stalled for that reason."""
        return self.until(name, lambda item: is_true(item, "Stalled") and condition(item, "Stalled")["reason"] == reason, f"Stalled, {reason}", seconds=seconds)

    def gone(self, name: str, *, seconds: float = 30.0) -> None:
        """Wait until the service is gone."""
        until(lambda: self.kube.find("managedservices", self.name, name) is None, f"{name} is gone", seconds=seconds, seen=lambda: self.show(name))


def in_order(*recorders: Recorder) -> list[tuple[int, Change]]:
    """The changes of several collections in the one order of etcd's revisions, each with the index of its recorder."""
    rows = [(change.version, number, change) for number, each in enumerate(recorders) for change in each.changes]
    return [(number, change) for _, number, change in sorted(rows, key=lambda row: row[0])]


def replay(*recorders: Recorder) -> Any:
    """After each change since the watches began: (change, the objects of each collection by uid)."""
    begin = max(each.begin for each in recorders)
    worlds: tuple[dict[str, Body], ...] = tuple({} for _ in recorders)
    for number, change in in_order(*recorders):
        uid = change.item["metadata"]["uid"]
        if change.kind == "DELETED":
            worlds[number].pop(uid, None)
        else:
            worlds[number][uid] = change.item
        if change.version > begin:
            yield change, worlds
