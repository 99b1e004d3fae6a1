# SPDX-License-Identifier: Apache-2.0
"""The controllers of kube-controller-manager that Drover's work depends on: endpoint slices, garbage collection, namespaces."""

from drover_operator.testing.actors import Actor
from drover_operator.testing.apiserver import ApiServer
from drover_operator.testing.conditions import is_true
from drover_operator.testing.deletion import FOREGROUND, ORPHAN, finish_namespace
from drover_operator.testing.kinds import ENDPOINT_SLICES, KINDS, NAMESPACES, PODS, SERVICES
from drover_operator.testing.objects import Json, mapping
from drover_operator.testing.registry import Patch
from drover_operator.testing.storage import Change, Version

ENDPOINTS_PER_SLICE = 100
_SERVICE_LABEL = "kubernetes.io/service-name"


class EndpointSliceController(Actor):
    """Keeps the slices of each Service with a selector, a little after its pods."""

    user = "system:serviceaccount:kube-system:endpointslice-controller"
    kinds = (SERVICES, PODS, ENDPOINT_SLICES)

    def __init__(self, server: ApiServer, delay: float = 0.1) -> None:
        super().__init__(server, delay)

    def observe(self, change: Change) -> None:
        """The service itself, the services that select the pod or did, the service of a slice that somebody changed."""
        version = change.current
        if version.kind is SERVICES:
            self.mark(version.key)
        elif version.kind is ENDPOINT_SLICES:
            if name := version.labels.get(_SERVICE_LABEL):
                self.mark(f"{version.namespace}/{name}")
        else:
            both = [each.labels for each in (change.current, change.previous) if each]
            for service in self.storage.items(SERVICES, version.namespace):
                selector: Json = service.data["spec"].get("selector") or {}
                if selector and any(selector.items() <= labels.items() for labels in both):
                    self.mark(service.key)

    def sync(self, key: str) -> None:
        """Bring the slices of one service in line."""
        namespace, name = key.split("/")
        service = self.storage.get(SERVICES, namespace, name)
        if service is None or service.deleting or not service.data["spec"].get("selector"):
            return
        slices = [each for each in self.storage.labelled(ENDPOINT_SLICES, namespace, {_SERVICE_LABEL: name}) if not each.deleting]
        pods = self._pods(service)
        endpoints = _endpoints(service, pods)
        chunks = [endpoints[start : start + ENDPOINTS_PER_SLICE] for start in range(0, len(endpoints), ENDPOINTS_PER_SLICE)] or [[]]
        for index, chunk in enumerate(chunks):
            # As upstream: an empty slice has nulls where others have lists.
            content: Json = {"endpoints": chunk or None, "ports": _slice_ports(service, pods) if chunk else None}
            if index < len(slices):
                self.server.patch(slices[index], _content_patch(content, self._labels(service)), user=self.user)
            else:
                self._create(service, content)
        for extra in slices[len(chunks) :]:
            self.server.delete(extra, user=self.user)

    def _pods(self, service: Version) -> list[Version]:
        return self.storage.labelled(PODS, service.namespace, service.data["spec"]["selector"])

    def _labels(self, service: Version) -> dict[str, str]:
        headless = {"service.kubernetes.io/headless": ""} if service.data["spec"].get("clusterIP") == "None" else {}
        own = {"endpointslice.kubernetes.io/managed-by": "endpointslice-controller.k8s.io", _SERVICE_LABEL: service.name}
        return {**service.labels, **own, **headless}

    def _create(self, service: Version, content: Json) -> None:
        owner = {
            "apiVersion": "v1",
            "kind": "Service",
            "name": service.name,
            "uid": service.uid,
            "controller": True,
            "blockOwnerDeletion": True,
        }
        meta: Json = {
            "generateName": f"{service.name}-",
            "namespace": service.namespace,
            "labels": self._labels(service),
            "ownerReferences": [owner],
        }
        self.server.create(ENDPOINT_SLICES, {"metadata": meta, "addressType": "IPv4", **content}, user=self.user)


class GarbageCollector(Actor):
    """Deletes what nobody owns any more, and carries out foreground and orphan deletions.

    A foreground deletion takes every dependent with it; blockOwnerDeletion only says whether the owner waits for it.
    """

    user = "system:serviceaccount:kube-system:generic-garbage-collector"
    kinds = KINDS

    def __init__(self, server: ApiServer, delay: float = 0.2) -> None:
        super().__init__(server, delay)
        self._dependents: dict[str, dict[str, None]] = {}

    def observe(self, change: Change) -> None:
        """Keep the graph of owners; mark what lost an owner, and owners that wait."""
        version = change.current
        if change.previous:
            self._unlink(change.previous)
        if change.deleted:
            self.mark(version.uid)
            return
        for reference in _owners(version):
            self._dependents.setdefault(reference["uid"], {})[version.uid] = None
            if self.storage.by_uid(reference["uid"]) is None:
                self.mark(version.uid)
        if version.deleting:
            self.mark(version.uid)

    def _unlink(self, version: Version) -> None:
        for reference in _owners(version):
            self._dependents.get(reference["uid"], {}).pop(version.uid, None)
            owner = self.storage.by_uid(reference["uid"])
            if owner and owner.deleting:
                self.mark(owner.uid)

    def sync(self, key: str) -> None:
        """Look at one object, there or gone."""
        version = self.storage.by_uid(key)
        dependents = [each for uid in list(self._dependents.get(key, {})) if (each := self.storage.by_uid(uid))]
        finalizers: list[str] = (version.meta.get("finalizers") or []) if version else []
        if version is None:
            self._dependents.pop(key, None)
            for dependent in dependents:
                self._collect(dependent)
        elif version.deleting and FOREGROUND in finalizers:
            self._delete_foreground(version, dependents)
        elif version.deleting and ORPHAN in finalizers:
            for dependent in dependents:
                self._drop_references(dependent, [key])
            self._drop_finalizer(version, ORPHAN)
        else:
            self._collect(version)

    def _delete_foreground(self, owner: Version, dependents: list[Version]) -> None:
        blocking = [d for d in dependents if any(r["uid"] == owner.uid and r.get("blockOwnerDeletion") for r in _owners(d))]
        if not blocking:
            self._drop_finalizer(owner, FOREGROUND)
        for dependent in dependents:
            self._collect(dependent)

    def _collect(self, version: Version) -> None:
        """Delete an object that has owners but none that stays."""
        references = _owners(version)
        gone = [reference["uid"] for reference in references if not self._stays(reference["uid"])]
        if version.deleting or not gone:
            return
        if len(gone) < len(references):
            self._drop_references(version, gone)
            return
        waiting = any(self.storage.by_uid(uid) for uid in gone) and self._dependents.get(version.uid)
        self.server.delete(version, user=self.user, propagation="Foreground" if waiting else "Background")

    def _stays(self, uid: str) -> bool:
        owner = self.storage.by_uid(uid)
        return owner is not None and not (owner.deleting and FOREGROUND in (owner.meta.get("finalizers") or ()))

    def _drop_references(self, version: Version, uids: list[str]) -> None:
        left = [reference for reference in _owners(version) if reference["uid"] not in uids]
        self.server.patch(version, {"metadata": {"ownerReferences": left or None}}, user=self.user)

    def _drop_finalizer(self, version: Version, finalizer: str) -> None:
        left = [item for item in version.meta.get("finalizers") or () if item != finalizer]
        self.server.patch(version, {"metadata": {"finalizers": left or None}}, user=self.user)


class NamespaceController(Actor):
    """Empties a namespace that is being deleted, then removes it."""

    user = "system:serviceaccount:kube-system:namespace-controller"
    kinds = (NAMESPACES,)

    def __init__(self, server: ApiServer, delay: float = 0.1) -> None:
        super().__init__(server, delay)

    def observe(self, change: Change) -> None:
        """Namespaces that are being deleted."""
        if change.current.deleting and not change.deleted:
            self.mark(change.current.name)

    def sync(self, key: str) -> None:
        """Delete what is left and look again, until nothing is."""
        namespace = self.storage.get(NAMESPACES, "", key)
        if namespace is None:
            return
        content = [version for kind in KINDS if kind.namespaced for version in self.storage.items(kind, key)]
        for version in content:
            if not version.deleting:
                self.server.delete(version, user=self.user)
        if content:
            self.later(0.5, key)
        else:
            finish_namespace(self.server.registry, namespace)


def _owners(version: Version) -> list[Json]:
    return version.meta.get("ownerReferences") or []


def _endpoints(service: Version, pods: list[Version]) -> list[Json]:
    always = bool(service.data["spec"].get("publishNotReadyAddresses"))
    statuses = [(pod, pod.data["status"]) for pod in pods]
    return [_endpoint(pod, always=always) for pod, status in statuses if status.get("podIP") and status["phase"] not in ("Succeeded", "Failed")]


def _endpoint(pod: Version, *, always: bool) -> Json:
    ready = is_true(pod.data["status"], "Ready")
    conditions = {"ready": always or (ready and not pod.deleting), "serving": ready, "terminating": pod.deleting}
    target = {"kind": "Pod", "name": pod.name, "namespace": pod.namespace, "uid": pod.uid}
    return {
        "addresses": [pod.data["status"]["podIP"]],
        "conditions": conditions,
        "nodeName": pod.data["spec"]["nodeName"],
        "targetRef": target,
    }


def _slice_ports(service: Version, pods: list[Version]) -> list[Json]:
    ports: list[Json] = []
    for port in service.data["spec"].get("ports", ()):
        number = port.get("targetPort", port["port"])
        if isinstance(number, str):
            number = _named_port(number, pods)
        if number:
            ports.append({"name": port.get("name", ""), "port": number, "protocol": port.get("protocol", "TCP")})
    return ports


def _named_port(name: str, pods: list[Version]) -> int | None:
    """The number behind a port name, as the first pod that knows it says."""
    for pod in pods:
        for container in pod.data["spec"]["containers"]:
            for port in container.get("ports", ()):
                if port.get("name") == name:
                    return int(port["containerPort"])
    return None


def _content_patch(content: Json, labels: dict[str, str]) -> Patch:
    return lambda old: {**old, **content, "metadata": {**old["metadata"], "labels": {**mapping(old["metadata"], "labels"), **labels}}}
