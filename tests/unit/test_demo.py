# SPDX-License-Identifier: Apache-2.0
"""The demonstration of a delivery without a cluster: the server that stands in for Prometheus, the order of the story, and its ends."""

import json
import socket
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import pytest
import yaml

from tools.cluster import Cluster
from tools.demo import __main__ as program
from tools.demo import delivery, figures
from tools.demo.stage import Demo, DemoError

Json = dict[str, Any]
ADDRESS = "http://127.0.0.1:9"
LIMIT = 0.02


def pod(image: str = "r/tickets:1.0.0", *, ready: bool = True, leaving: bool = False) -> Json:
    meta = {"deletionTimestamp": "2026-01-01T00:00:00Z"} if leaving else {}
    conditions = [{"type": "Ready", "status": "True" if ready else "False"}]
    return {"metadata": meta, "spec": {"containers": [{"image": image}]}, "status": {"conditions": conditions}}


# --- the numbers


def test_the_gate_asks_where_the_numbers_are() -> None:
    gate = next(each for each in yaml.safe_load_all(delivery.manifests(ADDRESS)) if each["metadata"]["name"] == "errors")
    assert gate["spec"]["measure"]["http"] == {"url": f"{ADDRESS}/statistics?revision=$revision", "field": "/errorRate"}
    assert float(gate["spec"]["limit"]["atMost"]) == LIMIT


@pytest.mark.parametrize("second", range(14))
def test_a_good_version_is_good_at_any_size_and_a_leaky_one_only_at_the_first_share(second: int) -> None:
    assert all(0 < figures.error_rate("r/tickets:2.0.0", count, second) <= LIMIT for count in range(1, 20))
    assert figures.error_rate("r/tickets:1-leaky", 2, second) <= LIMIT
    assert all(figures.error_rate("r/tickets:1-leaky", count, second) > LIMIT for count in range(4, 14))
    assert figures.error_rate("r/leaky/tickets:1", 9, second) <= LIMIT, "it is the tag that counts"


def test_the_number_follows_from_the_image_and_from_instances_that_serve() -> None:
    found = [pod("r/tickets:2-leaky"), pod("r/tickets:2-leaky"), pod(ready=False), pod(leaving=True)]
    status, body = figures.answer("/statistics?revision=tickets-a", lambda _: found, 3.0)
    assert (status, body["instances"], body["image"]) == (200, 2, "r/tickets:2-leaky")
    assert body["errorRate"] == figures.error_rate("r/tickets:2-leaky", 2, 3.0)
    assert "made up" in body["note"]


@pytest.mark.parametrize("found", [None, [], [pod(ready=False)], [pod(leaving=True)]])
def test_where_nothing_serves_there_is_no_number(found: list[Json] | None) -> None:
    status, body = figures.answer("/statistics?revision=tickets-a", lambda _: found, 0.0)
    assert status == 200
    assert "errorRate" not in body
    assert body["error"]


@pytest.mark.parametrize(("target", "status"), [("/", 404), ("/statistics", 400), ("/statistics?revision=A", 400), ("/statistics?revision=a%26b", 400)])
def test_other_questions_never_reach_the_cluster(target: str, status: int) -> None:
    def never(_: str) -> list[Json]:
        raise AssertionError

    assert figures.answer(target, never, 0.0)[0] == status


@pytest.fixture
def served() -> Iterator[str]:
    listening = socket.create_server(("127.0.0.1", 0))
    with figures.server(listening, lambda revision: [pod()] if revision == "tickets-a" else None) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"
        server.shutdown()
        thread.join()


def test_it_answers_over_http(served: str) -> None:
    with urllib.request.urlopen(f"{served}/statistics?revision=tickets-a", timeout=5) as reply:
        assert reply.headers["Content-Type"] == "application/json"
        assert 0 < json.load(reply)["errorRate"] <= LIMIT
    with pytest.raises(urllib.error.HTTPError) as caught:
        urllib.request.urlopen(f"{served}/metrics", timeout=5)
    with caught.value as error:
        assert error.code == 404


# --- the story


def seen(image: str, steps: int = 0, *, reached: str = "", failed: bool = False, over: bool = False, left: bool = False) -> Json:
    """A service of which a status tells that much."""
    check = {"gate": "errors", "step": 2, "state": "Failed", "message": "bad", "samples": [{"at": "t", "quality": "Bad", "value": "0.03", "message": "more"}]}
    revision = "old" if failed else "new"
    rollout = {"stable": revision if over else "old", "target": revision, "step": steps, "reachedAt": reached, "checks": [check] if failed else []}
    stalled = {"type": "Stalled", "status": str(failed), "reason": "RolledBack", "message": "it failed"}
    return {
        "metadata": {"name": "tickets", "generation": 1},
        "spec": {"rollout": {"canary": {"steps": [{"weight": 20}, {"weight": 40}]}}},
        "status": {
            "observedGeneration": 1,
            "phase": "Run" if over else "Update",
            "summary": "RolledBack" if failed else "Healthy",
            "ready": "10/10",
            "targetRevision": revision,
            "rollout": {**rollout, "blockedRevision": "new" if failed else ""},
            "versions": [{"version": image, "instances": 4, "revision": "new"}],
            "instances": [{"revision": "other"}] if left else [],
            "conditions": [{"type": "Ready", "status": str(over and not failed)}, stalled],
        },
    }


class Stage(Demo):
    """A demonstration whose cluster is a list of what will be seen."""

    def __init__(self, *rows: Json) -> None:
        super().__init__(Cluster("test-demo"), delivery.NAMESPACE)
        self.rows = list(rows)
        self.deeds: list[str] = []

    def kubectl(self, *words: str, stdin: str | None = None, show: bool = False) -> str:
        self.deeds.append(words[0] + (f" {json.loads(words[-1])[0]['value']}" if words[0] == "patch" else ""))
        assert stdin is None or ADDRESS in stdin
        return "managedservice.drover.dev/tickets\n" if words[0] == "get" else ""

    def install(self, measure: str = "") -> None:
        self.deeds.append(f"install {measure}")

    def check(self) -> None:
        pass

    def settled(self) -> None:
        self.deeds.append("settled")

    def drover(self, *words: str) -> list[str]:
        return ["printf", "Gates: %s\\n\\nmore", words[-1]]

    def service(self, name: str) -> Json:
        return self.rows.pop(0)


def watched(demo: Stage, name: str) -> AbstractContextManager[None]:
    demo.deeds.append(f"look at {name}")
    return nullcontext()


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(delivery, "live", watched)
    monkeypatch.setattr("tools.demo.live.POLL", 0.0)
    monkeypatch.setattr(figures, "start", lambda *_: ADDRESS)


GOOD = [seen("2.0.0"), seen("2.0.0", reached="t"), seen("2.0.0", 1), seen("2.0.0", 2, over=True, left=True), seen("2.0.0", 2, over=True)]
BAD_ROWS = [GOOD[-1], seen("2.1.0-leaky", 1, reached="t"), seen("2.1.0-leaky", failed=True), seen("2.1.0-leaky", failed=True, over=True)]


@pytest.mark.usefixtures("quick")
def test_the_story_is_told_in_order(capsys: pytest.CaptureFixture[str]) -> None:
    demo = Stage(*GOOD, *BAD_ROWS)
    hints = delivery.run(demo, real=False)
    assert demo.deeds == [
        f"install {ADDRESS}",
        *("get", "delete", "apply", "settled"),
        *("look at tickets", "patch registry.example/tickets:2.0.0"),
        *("look at tickets", "patch registry.example/tickets:2.1.0-leaky"),
    ]
    told = capsys.readouterr().out
    parts = ["stands in for Prometheus", "made up", "Applying tickets", "A good version", "20 % reached", "20 % passed", delivery.PROMOTED, delivery.ENDED]
    parts += ["to promoted:", "A bad version", "40 % failed by the gate 'errors', with 0.03", delivery.WHOLE, "to the old version whole:"]
    parts += ["kubectl drover status tickets", "Gates: tickets", "errors at step 2, Failed: bad", "Stalled, RolledBack: it failed"]
    places = [told.find(each) for each in parts]
    assert -1 not in places
    assert places == sorted(places)
    assert "more\n" not in told.split("Gates: tickets")[1].splitlines()[1], "only the head of the status is quoted"
    assert any(ADDRESS in each for each in hints)


@pytest.mark.usefixtures("quick")
def test_a_version_that_ends_otherwise_is_told() -> None:
    with pytest.raises(DemoError, match=r"2\.0\.0 ended otherwise than it should: 20 % passed; .*40 % failed by the gate"):
        delivery.run(Stage(GOOD[0], *BAD_ROWS[1:]), real=False)


def test_real_nodes_of_another_demonstration_are_refused() -> None:
    with pytest.raises(DemoError, match="make demo-down"):
        delivery.run(Stage(), real=True)


# --- the program


def test_the_stand_in_is_the_module_that_is_started() -> None:
    assert figures.__name__ == figures.MODULE


def test_demonstrations_exclude_each_other(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        program.main(["--canary", "--damage"])
    assert "not allowed with" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("fault", "code", "line"),
    [(KeyboardInterrupt(), 130, "\ninterrupted; stop what was started with: make demo-down\n"), (DemoError("it ended"), 1, "error: it ended\n")],
)
def test_how_it_ends(fault: BaseException, code: int, line: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def play(*_: Any) -> list[str]:
        raise fault

    monkeypatch.setattr(program, "play", play)
    assert program.main(["--canary"]) == code
    assert capsys.readouterr().err == line
