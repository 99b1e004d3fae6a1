# SPDX-License-Identifier: Apache-2.0
"""The tier on a real API server: one control plane for the session, one namespace for each test, the operator as a process."""

import re
from collections.abc import Generator, Iterator

import pytest
from api.harness.operators import Operator
from api.harness.plane import Plane
from api.harness.plane import plane as brought_up
from api.harness.space import Space

LAST = ("test_idle.py", "test_rights.py")  # they judge the whole session


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark everything here; the time limit leaves out fixtures, because the first one may have to build Kubernetes."""
    ours = [item for item in items if "tests/api/" in item.path.as_posix()]
    for item in ours:
        item.add_marker(pytest.mark.api)
        item.add_marker(pytest.mark.timeout(150, func_only=True))
    items.sort(key=lambda item: item.path.name in LAST and item in ours)


class Crew:
    """All operators of the session."""

    def __init__(self, plane: Plane) -> None:
        self.plane = plane
        self.members: list[Operator] = []

    @property
    def running(self) -> list[Operator]:
        """Those that have not ended."""
        return [each for each in self.members if each.running]

    def start(self, *program: str) -> Operator:
        """Start one more."""
        operator = Operator(self.plane, program) if program else Operator(self.plane)
        self.members.append(operator)
        return operator

    def one(self) -> Operator:
        """Exactly one, which leads; the running one where there is one."""
        first, *others = self.running or [self.start()]
        for each in others:
            each.stop()
        return first.leads()

    def stop(self) -> None:
        """End all."""
        for each in self.running:
            each.stop()

    def tail(self, namespace: str = "") -> str:
        """The ends of the logs of the last two, as far as they are about a namespace."""
        heads = [f"--- {each.file.name}, {'running' if each.running else f'ended with {each.process.returncode}'}" for each in self.members]
        return "\n".join(f"{head}\n{each.tail(namespace=namespace)}" for head, each in list(zip(heads, self.members, strict=True))[-2:])


@pytest.fixture(scope="session")
def plane(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Plane]:
    """The control plane with Drover's manifests."""
    with brought_up(tmp_path_factory.mktemp("plane")) as found:
        yield found


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
def alone(crew: Crew) -> Iterator[Crew]:
    """No operator at first: the test starts its own."""
    crew.stop()
    yield crew
    if len(crew.running) > 1 or any(each.process.args[1:2] != ["-m"] for each in crew.running):  # type: ignore[index]
        crew.stop()


@pytest.fixture
def space(plane: Plane, request: pytest.FixtureRequest) -> Iterator[Space]:
    """A namespace of the test's own; its deletion goes on behind the next test."""
    name = re.sub(r"[^a-z0-9]+", "-", request.node.name.removeprefix("test_").lower())[:50].strip("-")
    yield from _namespace(plane, name)


def _namespace(plane: Plane, name: str) -> Iterator[Space]:
    plane.kube.call("post", "/api/v1/namespaces", {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})
    yield Space(plane, name)
    plane.kube.call("delete", f"/api/v1/namespaces/{name}")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """With a failure, show what the operator and the services said last."""
    report = yield
    fixtures = getattr(item, "funcargs", {})
    if report.when == "call" and report.failed:
        space = fixtures.get("space")
        if isinstance(crew := getattr(item.session, "_drover_crew", None), Crew):
            report.sections.append(("operator logs", crew.tail(space.name if isinstance(space, Space) else "")))
        if isinstance(space, Space):
            names = [each["metadata"]["name"] for each in space.kube.list("managedservices", space.name)]
            report.sections.append(("services", "\n".join(space.show(name) for name in names)))
    return report


@pytest.fixture(scope="session", autouse=True)
def _remembered(crew: Crew, request: pytest.FixtureRequest) -> None:
    """Where the report of a failure finds the operators."""
    request.session._drover_crew = crew  # type: ignore[attr-defined]
