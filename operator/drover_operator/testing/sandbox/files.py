# SPDX-License-Identifier: Apache-2.0
"""The files of a sandbox: its kubeconfig and a sample on the way out, the user's manifests on the way in."""

import json
import os
import shlex
import shutil
import socket
import tempfile
from collections.abc import Generator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from urllib.parse import urlsplit

import yaml

from drover_operator.api.meta import API_VERSION
from drover_operator.cli.manifests import Manifest
from drover_operator.cli.outcome import Failure
from drover_operator.kube.transport import JSON, MERGE_PATCH, Request
from drover_operator.testing.kinds import KINDS, NAMESPACES, Kind
from drover_operator.testing.rules import are_evaluated
from drover_operator.testing.sandbox.front import Front
from drover_operator.testing.sandbox.server import HOST

NAME = "drover-sandbox"
LAST_APPLIED = "kubectl.kubernetes.io/last-applied-configuration"
SAMPLE = f"""\
# A service of three instances. Change the image and apply it again to see an update. With the line on metadata too, the
# update fails, and after the progress deadline the service goes back.
apiVersion: {API_VERSION}
kind: ManagedService
metadata:
  name: hello
spec:
  criticality: Normal
  replicas: 3
  ports:
  - {{name: http, port: 80, targetPort: 8080}}
  rollout: {{progressDeadline: 30s}}
  template:
    # metadata: {{annotations: {{drover.dev/simulate: crash}}}}
    spec:
      containers:
      - name: server
        image: registry.example/hello:1.0.0
"""


@dataclass(frozen=True)
class Place:
    """Where the files of a sandbox are."""

    kubeconfig: Path
    sample: Path


@contextmanager
def place(kubeconfig: str, port: int) -> Generator[Place]:
    """Write the files; they are removed at the end.

    Raises:
        Failure: there is a file in the place of the kubeconfig that no sandbox wrote, or it cannot be written.
    """
    with tempfile.TemporaryDirectory(prefix=f"{NAME}-") as folder:
        found = Place(Path(kubeconfig).absolute() if kubeconfig else Path(folder) / "config", Path(folder) / "hello.yaml")
        found.sample.write_text(SAMPLE)
        _write(found.kubeconfig, port)
        try:
            yield found
        finally:
            if _port(found.kubeconfig) == port:
                found.kubeconfig.unlink()


def _write(path: Path, port: int) -> None:
    """Write a kubeconfig that the user alone can read; JSON is YAML too."""
    try:
        if path.exists():
            _check_left_behind(path)
            path.unlink()
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as stream:
            json.dump(_kubeconfig(port), stream, indent=1)
    except OSError as error:
        raise Failure(f"cannot write the kubeconfig {path}: {error.strerror}") from error


def _check_left_behind(path: Path) -> None:
    """Refuse to replace a file, unless it was left behind by a sandbox that was killed."""
    port = _port(path)
    if port is None:
        raise Failure(f"{path} is there already and no sandbox wrote it: give the name of a new file")
    with suppress(OSError), socket.create_connection((HOST, port), timeout=1.0):
        raise Failure(f"{path} belongs to a sandbox that is running: give the name of another file")


def _port(path: Path) -> int | None:
    """The port of the sandbox that a kubeconfig is of; None when it is of none, or of other clusters too. kubectl may have rewritten it."""
    try:
        config = yaml.safe_load(path.read_text())
        (cluster,) = config["clusters"]
        return urlsplit(cluster["cluster"]["server"]).port if cluster["name"] == config["current-context"] == NAME else None
    except (OSError, ValueError, TypeError, KeyError, yaml.YAMLError):
        return None


def _kubeconfig(port: int) -> Manifest:
    return {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": NAME,
        "contexts": [{"name": NAME, "context": {"cluster": NAME, "user": NAME, "namespace": "default"}}],
        "clusters": [{"name": NAME, "cluster": {"server": f"http://{HOST}:{port}"}}],
        "users": [{"name": NAME, "user": {}}],
    }


UNRULED = "Rules between fields (CEL) are not checked here; for that: pip install 'drover-operator[testing]'\n"


def welcome(found: Place, objects: list[Manifest]) -> str:
    """The three lines that a user sees first; a fourth when it would take what a real cluster refuses."""
    if shutil.which("kubectl") is None:
        first = "kubectl-drover status -A   # there is no kubectl on the PATH: what is to run must be given with -f at the start"
    elif objects:
        first = "kubectl get pods,managedservices -A"
    else:
        first = f"kubectl apply -f {shlex.quote(str(found.sample))} && kubectl get managedservices --watch"
    return (
        "This is a simulated cluster with Drover in it: nothing really runs, nothing is stored. Ctrl-C ends it. In another terminal:\n"
        f"  export KUBECONFIG={shlex.quote(str(found.kubeconfig))}\n"
        f"  {first}\n"
    ) + ("" if are_evaluated() else UNRULED)


def apply(front: Front, objects: list[Manifest]) -> None:
    """Create the objects, namespaces first, as `kubectl apply` would; what is there already is changed.

    Raises:
        Failure: one is refused, or is of a kind that is not simulated.
    """
    for item in sorted(objects, key=lambda each: each["kind"] != NAMESPACES.kind):
        kind = _kind(item)
        create, change = _requests(kind, item)
        reply = front.handle(create)
        if reply.status == 409:
            reply = front.handle(change)
        if reply.status >= 400:
            raise Failure(f"-f: {json.loads(reply.body)['message']}")


def _kind(item: Manifest) -> Kind:
    for kind in KINDS:
        if (kind.api_version, kind.kind) == (item["apiVersion"], item["kind"]):
            return kind
    hint = "; `kubectl drover import` makes a ManagedService of it" if item["kind"] in ("Deployment", "StatefulSet") else ""
    raise Failure(f"-f: {item['kind']} of {item['apiVersion']} is not simulated{hint}")


def _requests(kind: Kind, item: Manifest) -> tuple[Request, Request]:
    """The requests that create an object and change it; with the annotation that a later `kubectl apply` looks for."""
    meta = item.get("metadata") or {}
    where = f"namespaces/{meta.get('namespace') or 'default'}/" if kind.namespaced else ""
    annotations = {**(meta.get("annotations") or {}), LAST_APPLIED: json.dumps(item, separators=(",", ":")) + "\n"}
    body = {**item, "metadata": {**meta, "annotations": annotations}}
    path = f"{f'/apis/{kind.group}' if kind.group else '/api'}/{kind.version}/{where}{kind.plural}"
    query = {"fieldValidation": "Strict", "fieldManager": "kubectl-client-side-apply"}
    create = Request(method="POST", path=path, query=query, body=json.dumps(body).encode(), headers={"Content-Type": JSON})
    return create, replace(create, method="PATCH", path=f"{path}/{meta.get('name')}", headers={"Content-Type": MERGE_PATCH})
