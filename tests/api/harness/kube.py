# SPDX-License-Identifier: Apache-2.0
"""The independent client: the official `kubernetes` package, with plain dictionaries, so that nothing of Drover judges Drover."""

import json
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import urllib3
from api.harness.waiting import until
from kubernetes import client, config
from kubernetes.dynamic import DynamicClient

Body = dict[str, Any]
MERGE, JSON_PATCH, STRATEGIC, APPLY = (
    "application/merge-patch+json",
    "application/json-patch+json",
    "application/strategic-merge-patch+json",
    "application/apply-patch+yaml",
)
PATHS = {
    "pods": "api/v1",
    "services": "api/v1",
    "configmaps": "api/v1",
    "serviceaccounts": "api/v1",
    "resourcequotas": "api/v1",
    "endpointslices": "apis/discovery.k8s.io/v1",
    "controllerrevisions": "apis/apps/v1",
    "poddisruptionbudgets": "apis/policy/v1",
    "events": "apis/events.k8s.io/v1",
    "leases": "apis/coordination.k8s.io/v1",
    "jobs": "apis/batch/v1",
    "managedservices": "apis/drover.dev/v1alpha1",
    "releasegates": "apis/drover.dev/v1alpha1",
    "maintenancewindows": "apis/drover.dev/v1alpha1",
}


def path(plural: str, namespace: str, name: str = "", sub: str = "") -> str:
    """The path of a collection, an object or a subresource."""
    return "/" + "/".join(part for part in (PATHS[plural], "namespaces", namespace, plural, name, sub) if part)


class Refused(Exception):
    """The API server said no."""

    def __init__(self, code: int, status: Body) -> None:
        super().__init__(status.get("message", f"{code}"))
        self.code = code
        self.reason = status.get("reason", "")


class Kube:
    """One connection to the API server as one user."""

    def __init__(self, kubeconfig: Path) -> None:
        configuration = client.Configuration()
        config.load_kube_config(str(kubeconfig), client_configuration=configuration)
        configuration.retries = urllib3.Retry(total=None, connect=3, read=0, status=0, other=0, backoff_factor=0.3)
        self._api = client.ApiClient(configuration)
        self._dynamic = DynamicClient(self._api)

    def close(self) -> None:
        """Close its connections."""
        self._api.rest_client.pool_manager.clear()
        self._api.close()

    def call(
        self, method: str, where: str, body: Any = None, *, query: Mapping[str, Any] | None = None, content: str = "", headers: Mapping[str, str] | None = None
    ) -> Body:
        """One request; the answer as it came.

        Raises:
            Refused: the status was not 2xx.
        """
        answer = self._raw(method, where, body, query=query, content=content, headers=headers)
        return dict(json.loads(answer.data))

    def _raw(
        self, method: str, where: str, body: Any = None, *, query: Mapping[str, Any] | None = None, content: str = "", headers: Mapping[str, str] | None = None
    ) -> Any:
        more = {"content_type": content} if content else {}
        try:
            return self._dynamic.request(
                method, where, body=body, serialize=False, query_params=list((query or {}).items()), header_params=dict(headers or {}), **more
            )
        except client.ApiException as error:
            text = error.body.decode() if isinstance(error.body, bytes) else error.body
            try:
                status = json.loads(text or "{}")
            except ValueError:
                status = {"message": text}
            raise Refused(int(error.status or 0), status) from None

    def get(self, plural: str, namespace: str, name: str) -> Body:
        """One object."""
        return self.call("get", path(plural, namespace, name))

    def find(self, plural: str, namespace: str, name: str) -> Body | None:
        """One object, or None when there is none."""
        try:
            return self.get(plural, namespace, name)
        except Refused as error:
            if error.code == 404:
                return None
            raise

    def list(self, plural: str, namespace: str, selector: str = "") -> list[Body]:
        """All objects of a namespace, or those that a label selector takes."""
        return list(self.call("get", path(plural, namespace), query={"labelSelector": selector} if selector else {})["items"])

    def create(self, plural: str, namespace: str, body: Body, *, strict: bool = False) -> Body:
        """Create an object."""
        return self.call("post", path(plural, namespace), body, query={"fieldValidation": "Strict"} if strict else {})

    def patch(self, plural: str, namespace: str, name: str, body: Any, *, sub: str = "", content: str = MERGE) -> Body:
        """Patch an object; a merge patch unless `content` says otherwise."""
        return self.call("patch", path(plural, namespace, name, sub), body, content=content)

    def delete(self, plural: str, namespace: str, name: str) -> None:
        """Delete an object."""
        self.call("delete", path(plural, namespace, name), {"apiVersion": "v1", "kind": "DeleteOptions"})

    @contextmanager
    def watch(self, plural: str, namespace: str) -> Iterator["Recorder"]:
        """Record every change in a namespace from now on."""
        recorder = Recorder(self, plural, namespace)
        try:
            yield recorder
        finally:
            recorder.stop()

    def stream(self, where: str, version: str) -> Any:
        """An open watch."""
        return self._raw("get", where, query={"watch": "true", "resourceVersion": version, "timeoutSeconds": 600})


@dataclass(frozen=True)
class Change:
    """One event of a watch. `version` is the revision of etcd, so changes of several resources can be put in one order."""

    kind: str
    version: int
    at: float
    item: Body = field(repr=False)


class Recorder:
    """Every state that one collection went through, as far as the API server tells; goes on after its restart."""

    def __init__(self, kube: Kube, plural: str, namespace: str) -> None:
        self._kube, self._where = kube, path(plural, namespace)
        first = kube.call("get", self._where)
        self._version = str(first["metadata"]["resourceVersion"])
        self.begin = int(self._version)
        self.changes = [Change("ADDED", int(each["metadata"]["resourceVersion"]), time.monotonic(), each) for each in first["items"]]
        self.changes.sort(key=lambda change: change.version)
        self._stop = False
        self._answer: Any = None
        self.error = ""
        self._thread = threading.Thread(target=self._run, name=f"watch {self._where}", daemon=True)
        self._thread.start()

    def states(self) -> list[Body]:
        """All versions of all objects in the order in which they came; deletions are left out."""
        return [change.item for change in self.changes if change.kind != "DELETED"]

    def settle(self) -> "Recorder":
        """Wait until everything that has happened so far is recorded."""

        def caught_up() -> bool:
            there = {each["metadata"]["uid"]: each["metadata"]["resourceVersion"] for each in self._kube.call("get", self._where)["items"]}
            seen: dict[str, str] = {}
            for change in list(self.changes):
                if change.kind == "DELETED":
                    seen.pop(change.item["metadata"]["uid"], None)
                else:
                    seen[change.item["metadata"]["uid"]] = change.item["metadata"]["resourceVersion"]
            return seen == there

        until(caught_up, f"the watch of {self._where} catches up", seconds=15, seen=lambda: self.error)
        return self

    def stop(self) -> None:
        """End the watch."""
        self._stop = True
        answer = self._answer
        if answer is not None:
            with suppress(Exception):
                answer.shutdown()
        self._thread.join(5)

    def _run(self) -> None:
        while not self._stop:
            try:
                self._answer = self._kube.stream(self._where, self._version)
                try:
                    self._read(self._answer)
                finally:
                    self._answer.close()
            except Refused as error:
                self.error = str(error)
                time.sleep(0.1)
                if error.code == 410:
                    self._again()
            except (urllib3.exceptions.HTTPError, OSError, ValueError) as error:
                self.error = str(error)
                time.sleep(0.1)

    def _again(self) -> None:
        """An API server that was started again does not know the past: go on from a list."""
        with suppress(Refused, urllib3.exceptions.HTTPError, OSError):
            fresh = self._kube.call("get", self._where)
            held: dict[str, Body] = {}
            for change in self.changes:
                held.pop(change.item["metadata"]["uid"], None) if change.kind == "DELETED" else held.update({change.item["metadata"]["uid"]: change.item})
            there = {each["metadata"]["uid"]: each for each in fresh["items"]}
            version = int(fresh["metadata"]["resourceVersion"])
            lost = [Change("DELETED", version, time.monotonic(), item) for uid, item in held.items() if uid not in there]
            news = [each for uid, each in there.items() if uid not in held or held[uid]["metadata"]["resourceVersion"] != each["metadata"]["resourceVersion"]]
            kinds = ("ADDED" if each["metadata"]["uid"] not in held else "MODIFIED" for each in news)
            found = [Change(kind, int(each["metadata"]["resourceVersion"]), time.monotonic(), each) for kind, each in zip(kinds, news, strict=True)]
            self.changes += sorted([*found, *lost], key=lambda change: change.version)
            self._version = str(version)

    def _read(self, answer: Any) -> None:
        rest = b""
        for chunk in answer.stream(amt=None, decode_content=False):
            *lines, rest = (rest + chunk).split(b"\n")
            for line in lines:
                self._take(json.loads(line))
            if self._stop:
                return

    def _take(self, event: Body) -> None:
        item = event["object"]
        if event["type"] == "ERROR":
            raise Refused(int(item.get("code", 500)), item)
        self._version = item["metadata"]["resourceVersion"]
        self.changes.append(Change(event["type"], int(self._version), time.monotonic(), item))
