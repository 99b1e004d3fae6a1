# SPDX-License-Identifier: Apache-2.0
"""The control plane of the tier: a cluster of its own, Drover's manifests in it, and an audit log of all that the operator asks for.

The audit log is the API server's own view: who, as whom, which verb on which object, and with what result. Writes are counted in it.
"""

import json
import os
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import yaml
from api.harness.kube import Kube, Refused
from api.harness.waiting import until

from tools.cluster import Cluster, names

ROOT = Path(__file__).resolve().parents[3]
SYSTEM = "drover-system"
ACCOUNT = f"system:serviceaccount:{SYSTEM}:drover-operator"
WRITER = "drover:operator:0"
PREFIX = "test-api-"
LEASE = "drover-operator-0"
WRITES = ("create", "update", "patch", "delete", "deletecollection")
POLICY = {
    "apiVersion": "audit.k8s.io/v1",
    "kind": "Policy",
    "omitStages": ["RequestReceived", "ResponseStarted"],
    "rules": [{"level": "Request", "users": [ACCOUNT]}, {"level": "None"}],
}


@dataclass(frozen=True)
class Entry:
    """One request of the operator as the API server saw it."""

    verb: str
    resource: str
    namespace: str
    name: str
    code: int
    user: str
    dry: bool
    forbidden: bool
    at: datetime
    body: Any
    message: str

    def __str__(self) -> str:
        return f"{self.verb} {self.resource} {self.namespace}/{self.name} -> {self.code}{' (dry run)' if self.dry else ''} {self.message}".rstrip()

    @property
    def writes(self) -> bool:
        """Whether it asked for a change."""
        return self.verb in WRITES

    @property
    def counted(self) -> bool:
        """Whether it is one of the writes that the promise is about: Events and leases are told apart."""
        return self.writes and self.resource not in ("events", "leases", "configmaps")


class Audit:
    """Reads the audit log; a mark is a position in it."""

    def __init__(self, file: Path) -> None:
        self.file = file

    def mark(self) -> int:
        """The position now."""
        return self.file.stat().st_size if self.file.exists() else 0

    def since(self, mark: int = 0, namespace: str = "") -> list[Entry]:
        """What the operator asked for since the mark, in one namespace or in all."""
        with self.file.open("rb") as stream:
            stream.seek(mark)
            lines = stream.read().split(b"\n")[:-1]  # the last one may be half written
        entries = [_entry(json.loads(line)) for line in lines]
        return [each for each in entries if not namespace or each.namespace == namespace]


def _entry(raw: dict[str, Any]) -> Entry:
    target, status = raw.get("objectRef", {}), raw.get("responseStatus", {})
    return Entry(
        verb=raw["verb"],
        resource=target.get("resource", "") + (f"/{target['subresource']}" if target.get("subresource") else ""),
        namespace=target.get("namespace", ""),
        name=target.get("name", ""),
        code=status.get("code", 0),
        user=raw.get("impersonatedUser", raw["user"])["username"],
        dry="dryRun=All" in raw["requestURI"],
        forbidden=raw.get("annotations", {}).get("authorization.k8s.io/decision") == "forbid",
        at=datetime.fromisoformat(raw["stageTimestamp"]),
        body=raw.get("requestObject"),
        message=status.get("message", ""),
    )


class Plane:
    """The cluster with Drover's manifests in it."""

    def __init__(self, cluster: Cluster, folder: Path) -> None:
        self.cluster, self.folder = cluster, folder
        self.audit = Audit(cluster.audit_log)
        self.kube = Kube(cluster.kubeconfig)
        self.operator_kubeconfig = folder / "operator.kubeconfig"
        self.blind: list[tuple[datetime, datetime]] = []

    def kill_api_server(self) -> None:
        """SIGKILL, and start it again. It refuses everybody for a moment then, until it has read the roles."""
        begin = datetime.now(tz=UTC)
        self.cluster.restart("kube-apiserver", kill=True)
        self.blind.append((begin, datetime.now(tz=UTC) + timedelta(seconds=5)))

    def kubectl(self, *words: str, stdin: str = "", ok: bool = True) -> str:
        """What kubectl says, both streams; `ok` False for a command that must fail."""
        done = subprocess.run(
            [self.cluster.bin / "kubectl", f"--kubeconfig={self.cluster.kubeconfig}", *words],
            input=stdin,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert (done.returncode == 0) is ok, f"kubectl {' '.join(words)}: exit code {done.returncode}\n{done.stdout}{done.stderr}"
        return done.stdout + done.stderr

    def install(self) -> None:
        """CRDs, namespace, priority classes, RBAC and policies, as a person would apply them."""
        self.kubectl("apply", "-f", str(ROOT / "crds"))
        self.kubectl("apply", "-k", str(ROOT / "manifests/base"))
        self.kubectl("apply", "-f", str(ROOT / "manifests/policies"))
        self.kubectl("wait", "--for=condition=Established", "crd/managedservices.drover.dev", "--timeout=30s")
        # The disruption controller looks for new kinds only every 30 s; a budget needs the scale of ours.
        self.cluster.restart("kube-controller-manager")
        self._credentials()
        self._count_ours()
        until(self._fence_works, "the fence refuses a write without an epoch", seconds=30)

    def _credentials(self) -> None:
        """A kubeconfig with a token of the operator's own account: what RBAC does not give, it has not."""
        wish = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {"expirationSeconds": 7200}}
        token = self.kube.call("post", f"/api/v1/namespaces/{SYSTEM}/serviceaccounts/drover-operator/token", wish)["status"]["token"]
        admin = yaml.safe_load(self.cluster.kubeconfig.read_text())
        text = yaml.safe_dump({**admin, "users": [{"name": each["name"], "user": {"token": token}} for each in admin["users"]]})
        self.operator_kubeconfig.touch(mode=0o600)
        self.operator_kubeconfig.write_text(text)

    def _count_ours(self) -> None:
        """Wait until the quota controller has met our kind: before that it counts none, and takes back what admission has counted."""
        spec = {"criticality": "Normal", "replicas": 0, "template": {"spec": {"containers": [{"name": "a", "image": "b"}]}}}
        kind = "count/managedservices.drover.dev"
        self.kube.create(
            "managedservices", "default", {"apiVersion": "drover.dev/v1alpha1", "kind": "ManagedService", "metadata": {"name": "probe"}, "spec": spec}
        )
        self.kube.create(
            "resourcequotas", "default", {"apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "probe"}, "spec": {"hard": {kind: "9"}}}
        )

        def counted() -> bool:
            return self.kube.get("resourcequotas", "default", "probe").get("status", {}).get("used", {}).get(kind) == "1"

        until(counted, "the quota controller counts our kind", seconds=60)
        self.kube.delete("resourcequotas", "default", "probe")
        self.kube.delete("managedservices", "default", "probe")

    def _fence_works(self) -> bool:
        """Policies take a moment to be compiled; nothing may be tested before they count."""
        lease = {"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": {"name": "drover-operator-probe"}}
        with suppress(Refused):  # it is there from the look before
            self.kube.create("leases", SYSTEM, lease)
        try:
            self.kube.delete("leases", SYSTEM, "drover-operator-probe")
        except Refused as error:
            return "drover-keep-leases" in str(error)
        return False


@contextmanager
def plane(folder: Path, *, prefix: str = PREFIX, **wanted: Any) -> Iterator[Plane]:
    """Bring a cluster up as `wanted` (five fake nodes otherwise), install, and take it down whatever happens; DROVER_KEEP=1 leaves it up.

    Its name carries the process id, so that two sessions never share one; what a killed session left is cleared away.
    """
    for left in names():
        if left.startswith(prefix) and left.removeprefix(prefix).isdigit() and not Path(f"/proc/{left.removeprefix(prefix)}").exists():
            Cluster(left).down()
    name = f"{prefix}{os.getpid()}"
    cluster = Cluster(name)
    started = time.monotonic()
    try:
        policy = folder / "audit-policy.yaml"
        policy.write_text(yaml.safe_dump(POLICY))
        cluster.up(**{"kwok_nodes": 5, **wanted}, audit=policy, log=print)
        built = Plane(cluster, folder)
        try:
            built.install()
            print(f"control plane {name} and manifests: {time.monotonic() - started:.1f} s; logs in {folder}")
            yield built
        finally:
            built.kube.close()
    finally:
        if os.environ.get("DROVER_KEEP") == "1":
            print(f"cluster {name} is left up; end it with: make cluster-down NAME={name}")
        else:
            cluster.down()
