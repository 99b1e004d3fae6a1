# SPDX-License-Identifier: Apache-2.0
"""Blue-green, gates, tests of the main flow and freezes on a real API server, by the watch logs of discovery and by what the status tells."""

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from api.conftest import Crew
from api.harness.kube import Body, Recorder
from api.harness.operators import Operator
from api.harness.space import REVISION, Space, condition, image, replay, service, serving
from api.test_canary import ABORTED, note, promote

from drover_controllers.service import naming

COLOURS = {"type": "BlueGreen", "blueGreen": {"keepFor": "2s"}}
FRONT = "kubernetes.io/service-name"
TEST = {"job": {"template": {"spec": {"containers": [{"name": "test", "image": "registry.example/test:1"}]}}}}


def colours(pods: Recorder, slices: Recorder, services: Recorder) -> list[str]:
    """The revisions that the Service of clients showed, in the order in which they came; one at a time and never fewer than ten instances of it."""
    found: list[str] = []
    for change, (now, slices_now, _) in replay(pods, slices, services):
        fronts = [each for each in slices_now.values() if each["metadata"]["labels"].get(FRONT) == "shop"]
        listed = [now[uid]["metadata"]["labels"][REVISION] for uid in serving(fronts) if uid in now]
        if not listed:
            continue
        assert len(set(listed)) == 1, f"version {change.version}: two revisions serve"
        assert len(listed) >= 10, f"version {change.version}: only {len(listed)} in discovery"
        if found[-1:] != listed[:1]:
            found.append(listed[0])
    return found


def at_the_preview(space: Space) -> Body:
    return space.until("shop", lambda item: item["status"].get("summary") == "WaitsForPromotion", "the preview", seconds=40)


@pytest.mark.parametrize("end", ["promoted", "aborted after the switch"])
def test_one_colour_at_a_time(space: Space, operator: Operator, end: str) -> None:
    rollout = COLOURS if end == "promoted" else {**COLOURS, "blueGreen": {"keepFor": "1h"}}
    space.create(service("shop", replicas=10, rollout=rollout))
    first = space.converged("shop")["status"]["currentRevision"]
    with (
        space.kube.watch("pods", space.name) as pods,
        space.kube.watch("endpointslices", space.name) as slices,
        space.kube.watch("managedservices", space.name) as services,
    ):
        space.patch("shop", image("registry.example/app:2"))
        second = at_the_preview(space)["status"]["rollout"]["target"]
        promote(space, 1)
        if end != "promoted":
            space.until("shop", lambda item: item["status"].get("summary") == "HoldsAtStep", "the switch", seconds=40)
            note(space, ABORTED, second)
            space.until("shop", lambda item: (item["status"]["summary"], item["status"]["phase"]) == ("Aborted", "Run"), "it is back", seconds=40)
        else:
            space.converged("shop", seconds=60)
        pods.settle(), slices.settle(), services.settle()
    seen = colours(pods, slices, services)
    assert seen == ([first, second] if end == "promoted" else [first, second, first])


# --- gates


class Statistics(ThreadingHTTPServer):
    """What an application would tell of itself: `rates` by revision, else `usual`; None: it answers with an error."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Page)
        self.usual: float | None = 0.001
        self.asked: list[str] = []

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class _Page(BaseHTTPRequestHandler):
    server: Statistics

    def do_GET(self) -> None:
        self.server.asked.append(self.path)
        body = json.dumps({"errors": {"rate": self.server.usual}}).encode()
        self.send_response(503 if self.server.usual is None else 200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        """Nothing: the test looks at what was asked."""


@pytest.fixture
def statistics(monkeypatch: pytest.MonkeyPatch) -> Iterator[Statistics]:
    with Statistics() as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        monkeypatch.setenv("DROVER_MEASURE", server.address)
        yield server
        server.shutdown()


@pytest.fixture
def measuring(statistics: Statistics, alone: Crew) -> Iterator[Operator]:
    """An operator that may ask the statistics; no other test gets it."""
    yield alone.one()
    alone.stop()


def gate(statistics: Statistics, **spec: Any) -> Body:
    measure = {"http": {"url": f"{statistics.address}/statistics?revision=$revision", "field": "/errors/rate"}}
    wish = {"measure": measure, "limit": {"atMost": "0.01"}, "interval": "1s", "samples": 2, **spec}
    return {"apiVersion": "drover.dev/v1alpha1", "kind": "ReleaseGate", "metadata": {"name": "errors"}, "spec": wish}


GATED = {"type": "Canary", "progressDeadline": "20s", "canary": {"steps": [{"weight": 25, "gates": ["errors"]}, {"weight": 50}]}}


def test_a_gate_lets_a_good_version_through_and_takes_a_bad_one_back(space: Space, statistics: Statistics, measuring: Operator) -> None:
    space.kube.create("releasegates", space.name, gate(statistics))
    space.create(service("shop", replicas=4, rollout=GATED))
    space.converged("shop")
    space.patch("shop", image("registry.example/app:2"))
    good = space.converged("shop", seconds=60)["status"]
    (check,) = good["rollout"]["checks"]
    assert (check["state"], check["good"]) == ("Passed", 2)
    assert all(good["currentRevision"] in path for path in statistics.asked)
    statistics.usual = 0.2
    space.patch("shop", image("registry.example/app:3"))
    back = space.until("shop", lambda item: (item["status"]["summary"], item["status"]["phase"]) == ("RolledBack", "Run"), "it is back", seconds=60)
    (check,) = back["status"]["rollout"]["checks"]
    assert (check["state"], check["samples"][-1]["value"]) == ("Failed", "0.2")
    assert "failed the gate 'errors'" in condition(back, "Stalled")["message"]
    assert back["status"]["currentRevision"] == good["currentRevision"]


def test_no_data_is_no_pass(space: Space, statistics: Statistics, measuring: Operator) -> None:
    elsewhere = {"http": {"url": "http://127.0.0.1:1/x", "field": "/errors/rate"}}
    space.kube.create("releasegates", space.name, gate(statistics, measure=elsewhere))
    space.create(service("shop", replicas=2, rollout=GATED))
    space.converged("shop")
    space.patch("shop", image("registry.example/app:2"))
    back = space.until("shop", lambda item: (item["status"]["summary"], item["status"]["phase"]) == ("RolledBack", "Run"), "it is back", seconds=90)
    assert "no verdict of the gate 'errors'" in condition(back, "Stalled")["message"]
    (check,) = back["status"]["rollout"]["checks"]
    assert check["missing"] > 0
    assert "was not started with --measure" in check["samples"][-1]["message"], "an address that the operator was not allowed is none"


def test_the_main_flow_is_tested_by_a_job_of_the_service(space: Space, operator: Operator) -> None:
    space.create(service("shop", replicas=2, rollout={"mainFlowTest": TEST}))
    first = space.converged("shop", seconds=60)
    assert [each["state"] for each in first["status"]["rollout"]["checks"]] == ["Passed"], "the first version was tested too"
    (job,) = space.kube.list("jobs", space.name)
    env = {each["name"]: each.get("value", "") for each in job["spec"]["template"]["spec"]["containers"][0]["env"]}
    assert env["DROVER_CANDIDATE"] == f"{naming.candidate('shop')}.{space.name}.svc"
    assert env["DROVER_REVISION"] == first["status"]["currentRevision"]


def test_a_freeze_holds_an_update_and_its_end_lets_it_go(space: Space, operator: Operator) -> None:
    space.create(service("shop"))
    space.converged("shop")
    always = {"opens": [{"from": "00:00", "for": "744h"}], "purpose": "Freeze", "reason": "stocktaking"}
    window = {"apiVersion": "drover.dev/v1alpha1", "kind": "MaintenanceWindow", "metadata": {"name": "freeze"}, "spec": always}
    space.kube.create("maintenancewindows", space.name, window)
    space.patch("shop", image("registry.example/app:2"))
    item = space.until("shop", lambda item: item["status"]["summary"] == "Frozen", "it is frozen")
    assert "stocktaking" in condition(item, "Reconciling")["message"]
    space.kube.delete("maintenancewindows", space.name, "freeze")
    assert space.converged("shop")["status"]["version"] == "2"
