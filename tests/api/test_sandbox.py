# SPDX-License-Identifier: Apache-2.0
"""`kubectl drover sandbox` with the real kubectl: what a newcomer types. No control plane is needed, only the binary."""

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from tools.cluster import binaries

PROGRAM = [sys.executable, "-m", "drover_operator.cli.main", "sandbox"]
SERVICE = """
apiVersion: drover.dev/v1alpha1
kind: ManagedService
metadata: {name: web}
spec:
  criticality: Normal
  replicas: 3
  rollout: {progressDeadline: 10s}
  ports: [{name: http, port: 80, targetPort: 8080}]
  template:
    metadata: {annotations: {}}
    spec:
      terminationGracePeriodSeconds: 1
      containers: [{name: server, image: "registry.example/web:1.0.0"}]
"""
ROW = re.compile(r" {2,}")


@pytest.fixture(scope="session", autouse=True)
def _remembered() -> None:
    """Instead of that of the tier, which would bring a control plane up."""


class Sandbox:
    """A running sandbox, and kubectl on it in one namespace."""

    def __init__(self, kubectl: Path, kubeconfig: Path, namespace: str = "") -> None:
        self.kubectl, self.kubeconfig, self.namespace = kubectl, kubeconfig, namespace

    def command(self, *words: str) -> list[str]:
        where = [f"--namespace={self.namespace}"] if self.namespace else []
        return [str(self.kubectl), f"--kubeconfig={self.kubeconfig}", *where, *words]

    def run(self, *words: str, stdin: str = "", editor: str = "") -> subprocess.CompletedProcess[str]:
        environ = {**os.environ, "KUBE_EDITOR": editor}
        return subprocess.run(self.command(*words), input=stdin, capture_output=True, text=True, timeout=60, check=False, env=environ)

    def __call__(self, *words: str, stdin: str = "", editor: str = "") -> str:
        """What it prints, when it succeeds without a word on stderr."""
        done = self.run(*words, stdin=stdin, editor=editor)
        assert (done.returncode, done.stderr) == (0, ""), f"kubectl {' '.join(words)}: {done}"
        return done.stdout

    def refused(self, *words: str, stdin: str = "") -> str:
        """What it complains of, when it fails."""
        done = self.run(*words, stdin=stdin)
        assert done.returncode == 1, f"kubectl {' '.join(words)}: {done}"
        return done.stderr

    def rows(self, *words: str) -> list[list[str]]:
        """A table with its head."""
        return [ROW.split(line.strip()) for line in self("get", *words).splitlines()]

    def applied(self, text: str = SERVICE) -> None:
        self("apply", "-f", "-", stdin=text)
        self("wait", "msvc/web", "--for=condition=Ready", "--timeout=50s")


@pytest.fixture(scope="module")
def served() -> Iterator[Sandbox]:
    """One sandbox for all tests here."""
    kubectl = binaries.ensure(print) / "kubectl"
    process = subprocess.Popen([*PROGRAM, "--nodes", "4"], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    lines = [process.stdout.readline() for _ in range(3)]
    yield Sandbox(kubectl, Path(lines[1].strip().removeprefix("export KUBECONFIG=")))
    process.send_signal(signal.SIGINT)
    out, _ = process.communicate(timeout=30)
    assert (process.returncode, out) == (0, "\nStopped: the simulated cluster is gone, and everything in it.\n")


@pytest.fixture
def sandbox(served: Sandbox, request: pytest.FixtureRequest) -> Sandbox:
    """A namespace of the test's own, made as people make it: kubectl sends that in binary."""
    name = re.sub(r"[^a-z0-9]+", "-", request.node.name.removeprefix("test_").lower())[:50].strip("-")
    assert served("create", "namespace", name) == f"namespace/{name} created\n"
    return Sandbox(served.kubectl, served.kubeconfig, name)


def test_the_life_of_a_service(sandbox: Sandbox):
    sandbox.applied()
    head, row = sandbox.rows("msvc")
    assert head == ["NAME", "PHASE", "READY", "UP-TO-DATE", "VERSION", "STATUS", "AGE"]
    assert row[:6] == ["web", "Run", "3/3", "3/3", "1.0.0", "Healthy"]
    assert sandbox("scale", "msvc/web", "--replicas=5") == "managedservice.drover.dev/web scaled\n"
    sandbox("wait", "msvc/web", "--for=jsonpath={.status.ready}=5/5", "--timeout=50s")
    assert "configured" in sandbox("apply", "-f", "-", stdin=SERVICE.replace("1.0.0", "1.1.0").replace("replicas: 3", "replicas: 5"))
    sandbox("wait", "msvc/web", "--for=jsonpath={.status.version}=1.1.0", "--timeout=50s")
    assert sandbox("delete", "msvc/web") == f'managedservice.drover.dev "web" deleted from {sandbox.namespace} namespace\n'
    assert sandbox("get", "msvc", "-o", "name") == ""


def test_an_edit_with_an_editor(sandbox: Sandbox):
    sandbox.applied()
    assert sandbox("edit", "msvc/web", editor="sed -i s/web:1.0.0/web:2.0.0/") == "managedservice.drover.dev/web edited\n"
    sandbox("wait", "msvc/web", "--for=jsonpath={.status.version}=2.0.0", "--timeout=50s")


def test_a_watch_prints_rows_as_they_change(sandbox: Sandbox):
    watch = subprocess.Popen(sandbox.command("get", "msvc", "--watch"), stdout=subprocess.PIPE, text=True)
    try:
        sandbox.applied()
        assert watch.stdout is not None
        seen = [ROW.split(watch.stdout.readline().strip())]
        while seen[-1][1] != "Run":
            seen.append(ROW.split(watch.stdout.readline().strip()))
    finally:
        watch.terminate()
        watch.communicate(timeout=30)
    assert seen[0][:2] == ["NAME", "PHASE"]
    assert seen[-1][:3] == ["web", "Run", "3/3"]


def test_outputs(sandbox: Sandbox):
    sandbox.applied()
    assert sandbox("get", "msvc", "-o", "name") == "managedservice.drover.dev/web\n"
    assert yaml.safe_load(sandbox("get", "msvc/web", "-o", "yaml"))["spec"]["replicas"] == 3
    assert json.loads(sandbox("get", "drover", "-o", "json"))["items"][0]["status"]["phase"] == "Run"
    assert sandbox.rows("msvc", "-o", "wide")[0][6:11] == ["STEP", "WEIGHT", "CRITICALITY", "REVISION", "TARGET"]
    pods = sandbox.rows("pods", "-l", "drover.dev/service=web", "-o", "wide")
    assert [row[1:3] for row in pods[1:]] == [["1/1", "Running"]] * 3
    assert pods[0][-1] == "READINESS GATES" and {row[-1] for row in pods[1:]} == {"1/1"}
    assert {row[6] for row in pods[1:]} <= {f"simulated-{number}" for number in range(1, 5)}
    assert sandbox.rows("pods", "--show-labels")[0][-1] == "LABELS"
    assert sandbox.rows("pods", "--sort-by=.metadata.name")[1][0].startswith("web-")
    everywhere = sandbox.rows("msvc", "-A")
    assert everywhere[0][0] == "NAMESPACE" and sandbox.namespace in {row[0] for row in everywhere}
    assert "pod/web-" in sandbox("get", "all") and "service/web" in sandbox("get", "all")


def test_labels_annotations_and_patches(sandbox: Sandbox):
    sandbox.applied()
    assert sandbox("label", "msvc/web", "team=a") == "managedservice.drover.dev/web labeled\n"
    assert sandbox("annotate", "msvc/web", "note=b") == "managedservice.drover.dev/web annotated\n"
    assert sandbox("patch", "msvc/web", "--type=merge", "-p", '{"spec": {"replicas": 2}}') == "managedservice.drover.dev/web patched\n"
    assert sandbox("patch", "msvc/web", "--type=json", "-p", '[{"op": "replace", "path": "/spec/replicas", "value": 1}]').endswith("patched\n")
    found = yaml.safe_load(sandbox("get", "msvc/web", "-o", "yaml"))
    assert (found["metadata"]["labels"], found["metadata"]["annotations"]["note"], found["spec"]["replicas"]) == ({"team": "a"}, "b", 1)


def test_server_side_apply(sandbox: Sandbox):
    for _ in range(2):
        sandbox("apply", "--server-side", "-f", "-", stdin=SERVICE)
    assert sandbox("apply", "--server-side", "--dry-run=server", "-f", "-", stdin=SERVICE).endswith("(server dry run)\n")
    sandbox("wait", "msvc/web", "--for=condition=Ready", "--timeout=50s")


WRONG = [
    ("a misspelled field", SERVICE.replace("replicas:", "replica:"), 'unknown field "spec.replica"'),
    ("a number out of bounds", SERVICE.replace("replicas: 3", "replicas: -1"), "spec.replicas: Invalid value: -1"),
    ("a word that is none of those known", SERVICE.replace("Normal", "Huge"), 'Unsupported value: "Huge": supported values:'),
    ("a container without an image", SERVICE.replace("image:", "imag:"), "spec.template.spec.containers[0].image: Required value"),
    ("a kind that is not simulated", "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: x}\n", 'no matches for kind "Deployment"'),
    ("no YAML", "a: [", "error converting YAML to JSON"),
]


@pytest.mark.parametrize(("why", "text", "message"), WRONG, ids=[row[0] for row in WRONG])
def test_wrong_input_is_refused_with_a_message(why: str, text: str, message: str, served: Sandbox):
    assert message in served.refused("apply", "-f", "-", stdin=text), why


SIMULATION = "this is the Drover sandbox, a simulation without containers: "
CONTAINERS = [
    ("logs", ["logs", "POD"], SIMULATION + "there are no logs"),
    ("exec", ["exec", "POD", "--", "ls"], SIMULATION + "there is nothing to run a command in"),
    ("port-forward", ["port-forward", "POD", ":80"], SIMULATION + "nothing listens on any port"),
]


def test_what_needs_containers_says_so(sandbox: Sandbox):
    sandbox.applied()
    pod = sandbox("get", "pods", "-o", "name").split()[0]
    for why, words, message in CONTAINERS:
        complaint = sandbox.refused(*(pod if word == "POD" else word for word in words))
        assert complaint.splitlines()[-1].endswith(message), (why, complaint)


def test_descriptions_and_events(sandbox: Sandbox):
    sandbox.applied()
    told = sandbox("describe", "msvc/web")
    assert "Kind:         ManagedService" in told and re.search(r"Normal +Run +.* +drover\.dev/operator.* +Ready -> Run", told)
    assert "Controlled By:  ManagedService/web" in sandbox("describe", "pods")
    assert re.search(r"Kubelet Version: +v1.35.0\+drover-simulated", sandbox("describe", "nodes"))
    assert re.search(r"Normal +Run +managedservice/web +Ready -> Run", sandbox("get", "events"))
    assert "Provision" in sandbox("events", "--for=msvc/web")


def test_explanations_and_discovery(served: Sandbox):
    assert "Instances above `replicas` during an update" in served("explain", "msvc.spec.rollout.rolling")
    assert "KIND:       Pod" in served("explain", "pods")
    resources = {line.split()[0]: line for line in served("api-resources").splitlines()}
    assert re.search(r"msvc +drover.dev/v1alpha1 +true +ManagedService", resources["managedservices"])
    assert {"v1", "drover.dev/v1alpha1", "policy/v1"} <= set(served("api-versions").split())
    assert "Server Version: v1.35.0+drover-simulated" in served("version")
    assert served("auth", "can-i", "create", "pods") == "yes\n"
    assert "condition met" in served("wait", "crd/managedservices.drover.dev", "--for=condition=Established")


def test_objects_that_kubectl_sends_in_binary(sandbox: Sandbox):
    sandbox("create", "configmap", "c", "--from-literal=a=b")
    sandbox("create", "service", "clusterip", "s", "--tcp=80:8080")
    sandbox("create", "poddisruptionbudget", "b", "--min-available=1", "--selector=app=x")
    assert sandbox("get", "configmap/c", "-o", "jsonpath={.data.a}") == "b"
    assert sandbox("get", "service/s", "-o", "jsonpath={.spec.ports[0].targetPort}") == "8080"
    assert sandbox.rows("pdb/b")[1][:3] == ["b", "1", "N/A"]
    assert "does not simulate deployments" in sandbox.refused("create", "deployment", "d", "--image=i")


def test_trouble_on_demand_and_a_rollback(sandbox: Sandbox):
    """A new version that crashes: after its deadline the service is back at the version before."""
    sandbox.applied()
    bad = SERVICE.replace("annotations: {}", "annotations: {drover.dev/simulate: crash}").replace("1.0.0", "1.1.0")
    sandbox("apply", "-f", "-", stdin=bad)
    sandbox("wait", "msvc/web", "--for=jsonpath={.status.summary}=RolledBack", "--timeout=50s")
    row = sandbox.rows("msvc/web")[1]
    assert (row[2], row[4]) == ("3/3", "1.0.0")
    assert 'Unsupported value: "crahs"' in sandbox.refused("annotate", "pods", "--all", "drover.dev/simulate=crahs")


def test_a_drain_and_a_node_that_goes(sandbox: Sandbox, served: Sandbox):
    sandbox.applied()
    node = sandbox("get", "pods", "-o", "jsonpath={.items[0].spec.nodeName}")
    drained = sandbox.run("drain", node)  # it tells on stderr whom it evicts
    assert drained.returncode == 0 and f"node/{node} drained" in drained.stdout, drained
    assert node not in sandbox("get", "pods", "-o", "jsonpath={.items[*].spec.nodeName}").split()
    assert sandbox.rows("nodes", node)[1][1] == "Ready,SchedulingDisabled"
    served("delete", "node", node)
    assert node not in served("get", "nodes", "-o", "name")


def test_a_command_with_the_cluster(served: Sandbox, tmp_path: Path):
    """`kubectl drover sandbox -f FILE -- kubectl wait ...`, as scripts use it."""
    (tmp_path / "web.yaml").write_text(SERVICE)
    wait = [str(served.kubectl), "wait", "msvc/web", "--for=condition=Ready", "--timeout=50s"]
    done = subprocess.run([*PROGRAM, "-f", str(tmp_path), "--", *wait], capture_output=True, text=True, timeout=90, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "managedservice.drover.dev/web condition met\n", "")


def test_a_namespace_goes_with_all_that_is_in_it(sandbox: Sandbox, served: Sandbox):
    sandbox.applied()
    served("delete", "namespace", sandbox.namespace, "--timeout=50s")
    assert sandbox("get", "pods,msvc,services", "-o", "name") == ""
