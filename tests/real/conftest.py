# SPDX-License-Identifier: Apache-2.0
"""The tier on real nodes: kubelets, containers, networks; one cluster of two nodes for the session, a namespace and a steady load for each test."""

import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from api.conftest import Crew
from api.harness.operators import Operator
from api.harness.plane import LEASE, SYSTEM, Plane
from api.harness.plane import plane as brought_up
from api.harness.waiting import until
from real.harness.away import Away
from real.harness.load import Load
from real.harness.space import NODES, RealSpace

from tools.cluster import real_nodes_lack, router_lacks
from tools.images import AGENT, sample
from tools.images import agent as agent_image
from tools.images import operator as operator_image

PREFIX = "test-real-"
DISK = "64M"  # of each node
FIRST = "test_leaves_nothing.py"  # before the session has nodes of its own
LAST = "test_control_plane_away.py"  # it waits for what is played beside the others


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark everything here, and skip it with the reason where there can be no real nodes; the time limit leaves out fixtures."""
    ours = [item for item in items if "tests/real/" in item.path.as_posix()]
    lacks = real_nodes_lack(disk=True) if ours else []
    for item in ours:
        item.add_marker(pytest.mark.real)
        item.add_marker(pytest.mark.timeout(240, func_only=True))
        if lacks:
            item.add_marker(pytest.mark.skip(reason="no real nodes here: " + "; ".join(lacks)))
    items.sort(key=lambda item: (item.path.name != FIRST or item not in ours, item.path.name == LAST))


@pytest.fixture(scope="session")
def images() -> list[Path]:
    """Archives of the images that nodes have."""
    return [sample(print), operator_image(print), agent_image(print)]


@pytest.fixture(scope="session")
def away(request: pytest.FixtureRequest, images: list[Path], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Away]:
    """What is played beside the other tests, if a test asks what became of it."""
    found = Away(tmp_path_factory.mktemp("away"), images, _without_the_installed_operator)
    wanted = any(item.path.name == LAST for item in request.session.items)
    if wanted:
        found.begin()
    yield found
    if wanted:
        found.end()


@pytest.fixture(scope="session")
def plane(away: Away, images: list[Path], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Plane]:
    """Two real nodes, with Drover's manifests."""
    with brought_up(
        tmp_path_factory.mktemp("real"), prefix=PREFIX, kwok_nodes=0, nodes=NODES, fast=True, images=images, disk=DISK, router=not router_lacks()
    ) as found:
        _without_the_installed_operator(found)
        yield found


def _without_the_installed_operator(plane: Plane) -> None:
    """The operator of most tests is a process that a test can freeze."""
    plane.kubectl("delete", "deployment", "--all", "-n", SYSTEM)
    until(lambda: not plane.kube.list("pods", SYSTEM) and not _held(plane), "the installed operator has gone, and its Lease with it", seconds=60)


def _held(plane: Plane) -> bool:
    """Whether the Lease names a holder whose time is not over; one that was killed is named on."""
    lease = plane.kube.find("leases", SYSTEM, LEASE)
    if lease is None or not lease["spec"].get("holderIdentity"):
        return False
    renewed = datetime.fromisoformat(lease["spec"]["renewTime"])
    return datetime.now(tz=UTC) < renewed + timedelta(seconds=lease["spec"]["leaseDurationSeconds"])


@pytest.fixture(scope="session")
def crew(plane: Plane) -> Iterator[Crew]:
    """The operators of the session; none is left behind."""
    found = Crew(plane)
    try:
        yield found
    finally:
        for each in found.running:
            each.kill()


@pytest.fixture
def operator(crew: Crew) -> Operator:
    """The one operator, leading."""
    return crew.one()


@pytest.fixture
def with_agent(crew: Crew, monkeypatch: pytest.MonkeyPatch) -> Iterator[Operator]:
    """An operator that was given the agent's image; the next test gets one that was not."""
    crew.stop()
    monkeypatch.setenv("DROVER_AGENT_IMAGE", AGENT)
    yield crew.one()
    crew.stop()


@pytest.fixture
def whole(plane: Plane) -> Iterator[None]:
    """Every test leaves the cluster whole: what it switched off or cut is on again, and both nodes are ready."""
    yield
    status = plane.cluster.status()
    for name, process in status.processes.items():
        if not process.alive:
            plane.cluster.start(name)
    for name in status.real:
        plane.cluster.node(name).heal()
    RealSpace(plane, "default").nodes_ready(NODES)


@pytest.fixture
def space(plane: Plane, whole: None, request: pytest.FixtureRequest) -> Iterator[RealSpace]:
    """A namespace of the test's own."""
    name = re.sub(r"[^a-z0-9]+", "-", request.node.name.removeprefix("test_").lower())[:50].strip("-")
    plane.kube.call("post", "/api/v1/namespaces", {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})
    yield RealSpace(plane, name)
    plane.kube.call("delete", f"/api/v1/namespaces/{name}")


@pytest.fixture
def load(space: RealSpace) -> Iterator[Load]:
    """A steady load that a test starts when its service serves."""
    found = Load(space)
    yield found
    found.stop()
