# SPDX-License-Identifier: Apache-2.0
"""How a forecast is made from a cluster: in pages, with what is doubtful said, with questions that may not be asked; in the simulator."""

import json
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any

import pytest
from cli.test_main import Api, api, refusal  # noqa: F401  a fixture
from scenarios.world import NAMESPACE, service

from drover_controllers.service import CONTROLLER
from drover_operator.api.resource import PODS
from drover_operator.cli.asking import foretold, stage
from drover_operator.cli.bundle import taken
from drover_operator.cli.forecast import Forecast
from drover_operator.cli.main import main
from drover_operator.cli.planning import service_of
from drover_operator.cli.scene import Scene, empty, listed, surround
from drover_operator.kube.client import Client
from drover_operator.kube.errors import OutcomeUnknown
from drover_operator.kube.transport import Reply, Request
from drover_operator.runtime.foresight import MOST_PASSES, World, foresee
from drover_operator.runtime.registry import Controller
from drover_operator.testing import SimulatedCluster, SimulatedTransport, times, virtualtime
from drover_operator.testing import refusal as refused

KEY = (NAMESPACE, "web")


class Place:
    """A cluster without actors and without an operator, and the command's way to it."""

    def __init__(self) -> None:
        self.cluster = SimulatedCluster(nodes=0)
        self.cluster.create_namespace(NAMESPACE)
        self.cluster.apply(service())
        self.transport: SimulatedTransport = self.cluster.transport()
        self.client = Client(self.transport)
        self.shown: list[int] = []

    async def scene(self) -> tuple[Scene, list[str]]:
        return await stage(self.client, [KEY], self.shown.append, self.cluster.now)

    async def forecast(self) -> Forecast:
        scene, _ = await self.scene()
        return await foretold(self.client, scene, service_of(scene, *KEY))

    def pods(self, count: int, owner: str) -> None:
        for at in range(count):
            meta = {"name": f"{owner}-{at}", "namespace": NAMESPACE, "labels": {"drover.dev/service": owner}}
            self.cluster.apply({"apiVersion": "v1", "kind": "Pod", "metadata": meta, "spec": {"containers": [{"name": "c", "image": "i"}]}})


def at(place: Callable[[Place], Awaitable[None]]) -> None:
    async def begin() -> None:
        here = Place()
        await place(here)
        await here.cluster.stop()

    virtualtime.run(begin)


def test_a_large_namespace_is_read_in_pages_and_only_what_belongs_is_kept() -> None:
    async def play(here: Place) -> None:
        here.pods(1150, "other")
        here.pods(3, "web")
        pages: list[Request] = []
        here.transport.faults.before = lambda request: pages.append(request) if request.path.endswith("/pods") else None
        scene, _ = await here.scene()
        assert [request.query["limit"] for request in pages] == ["500"] * 3
        assert all(request.query["labelSelector"] == CONTROLLER.watches[0].selector for request in pages)
        assert here.shown == [500, 1000, 0], "progress, and that it is over"
        assert len(scene.caches[str(PODS)]) == 3

    at(play)


def test_a_list_that_expires_is_read_anew() -> None:
    async def play(here: Place) -> None:
        here.pods(600, "web")
        here.transport.faults.before = times(1, lambda request: "continue" in request.query, refused(410, "Expired", "too old"))
        names = [json.loads(each)["metadata"]["name"] async for each in listed(here.client, PODS, NAMESPACE)]
        assert set(names) == {f"web-{each}" for each in range(600)}

    at(play)


def test_what_makes_a_forecast_doubtful_is_said() -> None:
    async def play(here: Place) -> None:
        notes = (await here.forecast()).notes
        assert notes == (
            "no operator has looked at this service yet; is it running?",
            "no operator holds a lease in namespace drover-system: nothing is done until one runs",
        )
        here.cluster.patch("managedservices", *KEY, {"status": {"phase": "Run", "observedGeneration": 1}}, "status")
        here.cluster.apply(service(replicas=9))
        lease = {"holderIdentity": "op", "renewTime": "2026-01-01T00:00:00.000000Z", "leaseDurationSeconds": 15}
        meta = {"name": "drover-operator-0", "namespace": "drover-system"}
        here.cluster.apply({"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": meta, "spec": lease})
        assert (await here.forecast()).notes == ("the operator has not looked at the last change yet (generation 2, seen 1); is it running?",)

    at(play)


def test_an_operator_that_is_away_is_told() -> None:
    async def play(here: Place) -> None:
        lease = {"holderIdentity": "op", "renewTime": "2025-12-31T23:50:00.000000Z", "leaseDurationSeconds": 15}
        meta = {"name": "drover-operator-0", "namespace": "drover-system"}
        here.cluster.apply({"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": meta, "spec": lease})
        assert "no operator has renewed its lease for 10m: nothing is done until one runs" in (await here.forecast()).notes

    at(play)


def is_question(request: Request) -> bool:
    return request.method == "POST" and "dryRun" in request.query


def test_who_may_not_ask_is_told_that_the_answer_is_assumed() -> None:
    async def play(here: Place) -> None:
        no = refused(403, "Forbidden", 'pods is forbidden: User "eve" cannot create resource "pods" in API group "" in the namespace "shop"')
        here.transport.faults.before = times(9, is_question, no)
        found = await here.forecast()
        assert any(each.startswith("you have no right to ask the API server to try revision web-") for each in found.notes)
        assert any(each.id.startswith("create pods/") for each in found.actions)

    at(play)


def test_a_question_without_an_answer_is_an_error() -> None:
    """Nothing is said that might be wrong."""

    async def play(here: Place) -> None:
        here.transport.faults.before = times(9, is_question, OutcomeUnknown("no answer"))
        with pytest.raises(OutcomeUnknown):
            await here.forecast()

    at(play)


def test_a_quota_that_says_no_is_an_answer() -> None:
    async def play(here: Place) -> None:
        no = refused(403, "Forbidden", 'pods "x" is forbidden: exceeded quota: few')
        here.transport.faults.before = times(9, is_question, no)
        found = await here.forecast()
        assert [answer.verdict.refused for each in found.passes for answer in each.answers if answer.verdict] == [True]
        assert not any("no right" in each for each in found.notes)

    at(play)


def test_a_name_that_is_taken_is_told() -> None:
    async def play(here: Place) -> None:
        meta = {"name": "web", "namespace": NAMESPACE}
        here.cluster.apply({"apiVersion": "v1", "kind": "Service", "metadata": meta, "spec": {"ports": [{"port": 80}]}})
        assert (await here.forecast()).warnings == {"create services/web": "Service web is there already and nobody controls it"}

    at(play)


def test_a_service_that_is_changed_all_the_time_is_told() -> None:
    async def play(here: Place) -> None:
        def touch(request: Request) -> Reply | None:
            if request.path.endswith("/pods"):
                here.cluster.patch("managedservices", *KEY, {"metadata": {"labels": {"x": str(here.cluster.server.storage.revision)}}})
            return None

        here.transport.faults.before = touch
        scene, notes = await here.scene()
        assert notes == ["web was changed while it was read, so this may be out of date already"]
        assert len(scene.caches[str(CONTROLLER.resource)]) == 1

    at(play)


def test_an_object_that_cannot_be_read_is_left_out_and_said() -> None:
    """The operator does the same: one strange object stops nobody."""

    async def play(here: Place) -> None:
        here.pods(2, "web")
        strange = {"metadata": {"name": "odd", "namespace": NAMESPACE, "labels": {"drover.dev/service": "web"}}, "status": {"phase": 7}}

        def with_it(request: Request, reply: Reply) -> Reply:
            if not request.path.endswith("/pods"):
                return reply
            found = json.loads(reply.body)
            return Reply(status=200, body=json.dumps({**found, "items": [*found["items"], strange]}).encode())

        here.transport.faults.after = with_it
        scene, notes = await here.scene()
        assert len(scene.caches[str(PODS)]) == 2
        assert len(notes) == 1
        assert notes[0].startswith("Pod odd cannot be read by this version (Expected `str`, got `int`")

    at(play)


def test_a_report_leaves_out_what_may_not_be_read_and_names_it() -> None:
    async def play(here: Place) -> None:
        no = refused(403, "Forbidden", 'nodes is forbidden: User "eve" cannot list resource "nodes"')
        here.transport.faults.before = times(9, lambda request: request.path.endswith(("/nodes", "/events")), no)
        found = await taken(here.client, [KEY], here.shown.append, here.cluster.now)
        assert [each.partition(":")[0] for each in found["missing"]] == ["events", "nodes"]
        assert (found["events"], found["nodes"]) == ([], [])

    at(play)


def test_a_controller_that_asks_for_ever_ends_all_the_same() -> None:
    """Somebody else's mistake must not hang the command."""

    async def play(here: Place) -> None:
        scene, _ = await here.scene()
        asked: list[Any] = []

        async def ask(action: Any) -> Any:
            asked.append(action)
            raise AssertionError

        endless = Controller(
            name="endless",
            resource=CONTROLLER.resource,
            watches=CONTROLLER.watches,
            access=(),
            gather=CONTROLLER.gather,
            decide=lambda facts: _remembering(CONTROLLER.decide(facts)),
            report=CONTROLLER.report,
        )
        passes = await foresee(endless, service_of(scene, *KEY), World(caches=scene.caches, now=scene.now), ask)
        assert (len(passes), asked) == (MOST_PASSES, [])

    at(play)


def _remembering(plan: Any) -> Any:
    return replace(plan, write_ahead=True, question=False, stages=())


def test_reading_stops_at_a_refusal() -> None:
    async def play(here: Place) -> None:
        no = refused(403, "Forbidden", "no")
        here.transport.faults.before = times(1, lambda request: request.path.endswith("/pods"), no)
        with pytest.raises(Exception, match="no"):
            await surround(empty(CONTROLLER, 0.0), here.client, [KEY], here.shown.append)
        assert here.shown == [0]

    at(play)


SAID = [
    ("no CRDs", (404, "404 page not found\n"), "Drover is not installed in this cluster: apply crds/ first"),
    ("no right", refusal(403, "Forbidden", "User 'eve' cannot get"), "no right to do this: User 'eve' cannot get"),
    ("a broken server", (500, "boom"), "the API server answered 500: boom"),
    ("not an API server", (200, "<html>"), "JSON is malformed"),
]


@pytest.mark.parametrize("verb", ["plan", "diff", "report"])
@pytest.mark.parametrize(("why", "always", "message"), SAID, ids=[row[0] for row in SAID])
def test_servers_that_say_no(
    verb: str,
    why: str,
    always: tuple[int, Any],
    message: str,
    api: Api,  # noqa: F811
    capsys: pytest.CaptureFixture[str],
) -> None:
    api.always = always
    assert main([verb, "web"]) == 1, why
    out, err = capsys.readouterr()
    assert (out, err.count("\n"), err[:7]) == ("", 1, "error: "), (why, err)
    assert message in err, why
