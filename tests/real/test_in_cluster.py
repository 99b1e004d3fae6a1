# SPDX-License-Identifier: Apache-2.0
"""The operator as it is installed: a Deployment of two, from an image of ours, with the account and the rights of the manifests."""

import time

import pytest
from api.conftest import Crew
from api.harness.plane import LEASE, ROOT, SYSTEM
from api.harness.waiting import until
from real.harness.space import RealSpace, service

INSIDE = """
import errno, os
print(os.getuid())
try: open("/x", "w")
except OSError as error: print(errno.errorcode[error.errno])
print(next(line.split()[1] for line in open("/proc/1/status") if line.startswith("CapEff")))
"""
TAKE_OVER = 17.0  # seconds, for lease times of 15/10/2


@pytest.fixture
def installed(space: RealSpace, crew: Crew):
    """Nobody else leads; the Deployment of the manifests does, and goes afterwards."""
    crew.stop()
    space.plane.kubectl("apply", "-f", str(ROOT / "manifests/base/operator.yaml"))
    try:
        space.plane.kubectl("rollout", "status", "deployment/drover-operator", "-n", SYSTEM, "--timeout=50s")
        until(lambda: leader(space), "a pod leads", seconds=40)
        yield
    finally:
        space.plane.kubectl("delete", "-f", str(ROOT / "manifests/base/operator.yaml"))
        until(lambda: not operators(space), "the installed operator has gone", seconds=60)


def leader(space: RealSpace) -> dict:
    """The pod that the Lease names, or nothing."""
    lease = space.kube.find("leases", SYSTEM, LEASE)
    holder = (lease or {"spec": {}})["spec"].get("holderIdentity") or ""
    return next((each for each in operators(space) if each["metadata"]["name"] in holder), {})


def operators(space: RealSpace) -> list[dict]:
    """The operator's pods."""
    return list(space.kube.list("pods", SYSTEM, "app.kubernetes.io/name=drover-operator"))


def test_it_runs_as_it_is_installed(space: RealSpace, installed: None) -> None:
    """Not root, on a read-only root file system; a service comes up, is updated and goes; nothing that it asked for was forbidden."""
    mark = space.plane.audit.mark()
    inside = space.plane.kubectl("exec", "-n", SYSTEM, leader(space)["metadata"]["name"], "--", "python3", "-c", INSIDE)
    assert inside.split() == ["65532", "EROFS", "0000000000000000"], "user, what writing comes to, and capabilities"
    space.create(service("shop", replicas=2))
    space.converged("shop", seconds=60)
    space.version("shop", "1.1")
    assert space.converged("shop", seconds=60)["status"]["version"] == "1.1"
    space.kube.delete("managedservices", space.name, "shop")
    space.gone("shop", seconds=60)
    assert [str(each) for each in space.plane.audit.since(mark) if each.forbidden] == []


def test_the_standby_takes_over_from_a_killed_leader(space: RealSpace, installed: None) -> None:
    """SIGKILL of the leader's process on its node, at the default lease times: the other leads within 17 s, and the dead one comes back as standby."""
    first = leader(space)
    node = space.plane.cluster.node(first["spec"]["nodeName"])
    container = first["status"]["containerStatuses"][0]["containerID"].removeprefix("containerd://")
    node.run("ctr", "--namespace", "k8s.io", "tasks", "kill", "--signal", "SIGKILL", container)
    killed = time.monotonic()
    until(lambda: leader(space).get("metadata", {}).get("name") not in (None, first["metadata"]["name"]), "another leads", seconds=30)
    took = time.monotonic() - killed
    print(f"take-over after SIGKILL at 15/10/2: {took:.1f} s")
    assert took <= TAKE_OVER
    space.create(service("shop", replicas=2))
    space.converged("shop", seconds=60)
    until(lambda: len([each for each in operators(space) if each["status"]["containerStatuses"][0]["ready"]]) == 2, "both are ready", seconds=60)
