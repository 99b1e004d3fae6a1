# SPDX-License-Identifier: Apache-2.0
"""What runs already becomes Drover's: from files and from the cluster, and without a moment in which nobody serves.

The commands of docs/how-to/import.md are run as they stand there, with the namespace of the test in the place of `shop`.
"""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from api.harness.kube import Body, Recorder
from api.harness.operators import Operator
from api.harness.space import SERVICE, Space, is_true, live, replay, serving
from api.harness.waiting import until

from drover_operator.cli.importing import convert
from drover_operator.cli.manifests import read

ROOT = Path(__file__).resolve().parents[2]
BOUTIQUE = ROOT / "tests/data/online-boutique"
PAGE = (ROOT / "docs/how-to/import.md").read_text()
# What of Online Boutique a ManagedService cannot say: what a person has to look at, complete.
FROM_FILES = [
    "warning: service/frontend-external: metadata.name is not that of deployment/frontend, whose pods it selects; the Service is kept as it was and goes on selecting them",
    "warning: managedservice/*: spec.criticality was assumed to be Normal for 12; set it with --criticality or the annotation drover.dev/criticality",
]
SLOW = {"drover.dev/simulate-ready-after": "1s"}
TEMPLATE = {
    "metadata": {"labels": {"app": "web"}, "annotations": SLOW},
    "spec": {"containers": [{"name": "main", "image": "registry.example/web:1", "ports": [{"containerPort": 8080}]}]},
}
SHOP: list[Body] = [
    {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "web"},
        "spec": {"replicas": 3, "selector": {"matchLabels": {"app": "web"}}, "template": TEMPLATE},
    },
    {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "web"},
        "spec": {"selector": {"app": "web"}, "ports": [{"name": "http", "port": 80, "targetPort": 8080}]},
    },
    {
        "apiVersion": "policy/v1",
        "kind": "PodDisruptionBudget",
        "metadata": {"name": "web"},
        "spec": {"minAvailable": 2, "selector": {"matchLabels": {"app": "web"}}},
    },
]


def commands(heading: str) -> list[str]:
    """What stands after `$` in the console block of a section."""
    section = re.split(r"^#+ ", PAGE.partition(f"# {heading}\n")[2], maxsplit=1, flags=re.MULTILINE)[0]
    block = re.search(r"^```console\n(.*?)^```", section, re.MULTILINE | re.DOTALL)
    assert block, heading
    return [line.removeprefix("$ ") for line in block[1].splitlines() if line.startswith("$ ")]


class Shell:
    """A person's shell: kubectl with its plugin on the PATH, and the cluster in KUBECONFIG."""

    def __init__(self, space: Space, folder: Path) -> None:
        self.space, self.folder = space, folder
        path = os.pathsep.join((str(Path(sys.executable).parent), str(space.plane.cluster.bin), os.environ["PATH"]))
        self.environ = {**os.environ, "PATH": path, "KUBECONFIG": str(space.plane.cluster.kubeconfig)}

    def __call__(self, command: str) -> subprocess.CompletedProcess[str]:
        """Run one line, of which each command must succeed; `-n shop` means the namespace of the test."""
        line = command.replace("-n shop", f"-n {self.space.name}")
        shell = ["bash", "-o", "pipefail", "-c", line]
        done = subprocess.run(shell, cwd=self.folder, env=self.environ, capture_output=True, text=True, timeout=90, check=False)
        assert done.returncode == 0, f"{line}\n{done.stdout}{done.stderr}"
        return done


@pytest.fixture
def shell(space: Space, tmp_path: Path) -> Shell:
    return Shell(space, tmp_path)


def fewest_serving(pods: Recorder, slices: Recorder) -> int:
    """The smallest number of ready pods behind the Service `web`, whosever they are, since the watches began."""
    lows: list[int] = []
    for _, (pods_now, slices_now) in replay(pods, slices):
        named = serving([each for each in slices_now.values() if each["metadata"]["labels"]["kubernetes.io/service-name"] == "web"])
        lows.append(sum(1 for uid in named if uid in pods_now and is_true(pods_now[uid], "Ready")))
    return min(lows)


def open_shop(shell: Shell) -> None:
    """A Deployment that serves, with its Service and its budget."""
    (shell.folder / "shop.yaml").write_text(yaml.safe_dump_all(SHOP))
    (shell.folder / "service.yaml").write_text(yaml.safe_dump(SHOP[1]))
    shell("kubectl apply -n shop -f shop.yaml")
    until(lambda: len(shell.space.serving("web")) == 3, "the Deployment serves")


def theirs(space: Space) -> set[str]:
    """Uids of the pods of the Deployment."""
    return {each["metadata"]["uid"] for each in space.kube.list("pods", space.name, f"app=web,!{SERVICE}")}


def test_a_running_service_moves_over_without_a_gap(space: Space, operator: Operator, shell: Shell) -> None:
    """At least three ready pods are behind the Service at every moment, and it keeps its address; the budget guards the old pods to the end."""
    open_shop(shell)
    old, address = theirs(space), space.kube.get("services", space.name, "web")["spec"]["clusterIP"]
    with (
        space.kube.watch("pods", space.name) as pods,
        space.kube.watch("endpointslices", space.name) as slices,
        space.kube.watch("services", space.name) as fronts,
        space.kube.watch("poddisruptionbudgets", space.name) as budgets,
    ):
        said = [shell(line) for line in commands("Move a running service")]
        until(lambda: not theirs(space), "the old pods are gone")
        item = space.converged("web")
        for each in (pods, slices, fronts, budgets):
            each.settle()
    assert [line for line in said[0].stderr.splitlines() if not line.startswith("next:")] == [
        "warning: poddisruptionbudget/web: spec is set anew from the criticality when Drover takes it over",
        "warning: managedservice/*: spec.criticality was assumed to be Normal for 1; set it with --criticality or the annotation drover.dev/criticality",
    ]
    assert [line.removeprefix("next: ") for line in said[0].stderr.splitlines() if line.startswith("next:")] == [
        f"kubectl -n {space.name} wait --for=condition=Ready --timeout=10m managedservice/web",
        f"kubectl -n {space.name} delete deployment/web",
    ]
    assert fewest_serving(pods, slices) >= 3
    front = space.kube.get("services", space.name, "web")
    assert (front["spec"]["clusterIP"], front["spec"]["selector"]) == (address, {SERVICE: "web"})
    assert item["status"]["phase"] == "Run" and len(space.pods("web")) == 3
    for turned in (first_ours(fronts, lambda each: each["spec"]["selector"]), first_ours(budgets, lambda each: each["spec"]["selector"]["matchLabels"])):
        ready = {pod["metadata"]["uid"] for change, (now,) in replay(pods) if change.version <= turned for pod in [*now.values()] if is_true(pod, "Ready")}
        assert len(ready - old) >= 3, "it is taken over when all new instances are ready, not before"


def first_ours(recorder: Recorder, selector: object) -> int:
    """The revision of etcd at which the object selected Drover's instances for the first time."""
    return next(change.version for change in recorder.changes if selector(change.item) == {SERVICE: "web"})  # type: ignore[operator]


def test_going_back_before_and_after_the_service_has_moved(space: Space, operator: Operator, shell: Shell) -> None:
    """Before: deleting the ManagedService leaves all as it was. After: the documented commands bring the Service back to the Deployment."""
    open_shop(shell)
    old = theirs(space)
    shell("kubectl drover import deployment/web -n shop --adopt > web.yaml")
    stuck = yaml.safe_load((shell.folder / "web.yaml").read_text())
    stuck["spec"]["template"]["metadata"]["annotations"] = {"drover.dev/simulate": "never-ready"}
    (shell.folder / "stuck.yaml").write_text(yaml.safe_dump(stuck))
    before = space.kube.get("services", space.name, "web")["metadata"]["resourceVersion"]
    shell("kubectl apply -f stuck.yaml")
    until(lambda: len([pod for pod in space.pods("web") if live(pod)]) == 3, "the new pods exist")
    assert space.serving("web") == old, "pods that are not ready are not served"
    shell("kubectl delete managedservice web -n shop")
    assert space.kube.get("services", space.name, "web")["metadata"]["resourceVersion"] == before and space.serving("web") == old
    shell("kubectl apply -f web.yaml")
    shell("kubectl wait -n shop --for=condition=Ready --timeout=1m managedservice/web")
    until(lambda: not space.serving("web") & old, "the Service has moved")
    for line in commands("Go back"):
        shell(line)
    until(lambda: space.serving("web") == old, "the Deployment serves again")
    assert theirs(space) == old, "no pod of the Deployment was touched"


def test_online_boutique_from_files(space: Space, operator: Operator, shell: Shell) -> None:
    """Eleven services and redis, written by others for Deployments, reach Run; the list of what was not carried over is complete."""
    said = shell(f"kubectl drover import -f {BOUTIQUE} | kubectl apply -n shop -f -")
    assert said.stderr.splitlines() == FROM_FILES
    names = [each["metadata"]["name"] for each in space.kube.list("managedservices", space.name)]
    assert len(names) == 12
    for name in names:
        space.converged(name, seconds=60)
    assert len(space.serving("frontend-external")) == 1, "the Service that was kept finds the pods by their labels"


def test_online_boutique_from_the_cluster_reads_like_its_files(space: Space, operator: Operator, shell: Shell) -> None:
    """Nothing that an API server fills in is left: what a live import prints is what the files give, without defaults that somebody wrote."""
    shell(f"kubectl apply -n shop -f {BOUTIQUE}")
    said = shell("kubectl drover import --all -n shop --adopt")
    assert [line for line in said.stderr.splitlines() if not line.startswith("next:")] == FROM_FILES
    found = {each["metadata"]["name"]: each for each in yaml.safe_load_all(said.stdout)}
    with (shell.folder / "nothing").open("wb+") as nothing:
        files = read([str(BOUTIQUE)], nothing)
    # As if they were live, so that a default which the files write out is left out of both.
    written = convert([{**each, "metadata": {**each["metadata"], "uid": "1"}} for each in files], adopt=True).services
    for each in written:
        name = each["metadata"]["name"]
        each["metadata"]["namespace"] = space.name
        assert found.pop(name) == each
    assert found == {}
