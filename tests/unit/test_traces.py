# SPDX-License-Identifier: Apache-2.0
"""Traces: the shape of a pass, what its spans say, what is sent, and that nothing is there where nobody asked."""

import asyncio
import logging
import subprocess
import sys
import threading
from collections.abc import Awaitable, Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from random import Random
from typing import Any

import pytest
import structlog
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import StatusCode

from drover_controllers.service import CONTROLLER
from drover_operator.__main__ import _traces
from drover_operator.kube.errors import ConfigurationError
from drover_operator.kube.transport import Reply, Request
from drover_operator.observe import traces as module
from drover_operator.observe.traces import Traces, connect
from drover_operator.runtime.engine import Engine
from drover_operator.runtime.process import Process, Settings
from drover_operator.testing import SimulatedCluster, refusal
from drover_operator.testing.virtualtime import run

Spans = tuple[ReadableSpan, ...]


@pytest.fixture(autouse=True)
def logs(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[dict[str, Any]]]:
    """The lines that were logged, with their context."""
    for name in module.ENDPOINTS:
        monkeypatch.delenv(name, raising=False)
    lines: list[dict[str, Any]] = []

    def take(_: object, __: str, event: Any) -> Any:
        lines.append(dict(event))
        raise structlog.DropEvent

    structlog.configure(processors=[structlog.contextvars.merge_contextvars, take], wrapper_class=structlog.make_filtering_bound_logger(logging.INFO))
    yield lines
    structlog.reset_defaults()


def traced(scenario: Callable[[SimulatedCluster], Awaitable[None]], before: Callable[[Request], Reply | None] = lambda _: None) -> Spans:
    """The spans of an operator in a simulated cluster; `before` may answer in place of the server."""
    memory = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(memory))

    async def main() -> None:
        cluster = SimulatedCluster(nodes=2)
        await cluster.start()
        settings = Settings(identity="op-1", shell=False)
        transport = cluster.transport(user="operator")
        transport.faults.before = before
        process = Process(transport, (CONTROLLER,), settings, clock=cluster.now, random=Random(1), traces=Traces(provider))
        running = asyncio.create_task(process.run())
        await scenario(cluster)
        process.stop()
        await running
        await cluster.stop()

    run(main)
    return memory.get_finished_spans()


def put(cluster: SimulatedCluster, replicas: int = 2) -> None:
    spec = {"criticality": "Normal", "replicas": replicas, "template": {"spec": {"containers": [{"name": "main", "image": "app:1"}]}}}
    cluster.apply({"apiVersion": "drover.dev/v1alpha1", "kind": "ManagedService", "metadata": {"name": "web", "namespace": "default"}, "spec": spec})


async def settled(cluster: SimulatedCluster) -> None:
    put(cluster)
    await cluster.until(lambda: cluster.get("managedservices", "default", "web").get("status", {}).get("phase") == "Run", 60)


def children(spans: Spans, parent: ReadableSpan) -> list[ReadableSpan]:
    mine = [each for each in spans if each.parent is not None and each.parent.span_id == parent.context.span_id]
    return sorted(mine, key=lambda each: each.start_time or 0)


def passes(spans: Spans) -> list[ReadableSpan]:
    return [each for each in spans if each.name == "reconcile"]


def test_a_pass_is_a_trace_of_its_own_with_its_parts_as_children() -> None:
    spans = traced(settled)
    assert all(each.parent is None for each in passes(spans)), "parentless: a pass is set off by the state of the world"
    assert len({each.context.trace_id for each in passes(spans)}) == len(passes(spans))
    creates = [each for each in spans if each.name == "create pods"]
    assert len(creates) == 2, "one span for each action"
    execute = next(each for each in spans if each.context.span_id == creates[0].parent.span_id)
    acting = next(each for each in spans if each.context.span_id == execute.parent.span_id)
    assert [child.name for child in children(spans, acting)] == ["gather", "decide", "execute"], "it writes the service itself, and tells later"
    assert ["gather", "decide", "report"] in [[child.name for child in children(spans, each)] for each in passes(spans)]
    assert set(children(spans, execute)) >= set(creates)
    said = dict(creates[0].attributes or {})
    assert said["k8s.namespace.name"] == "default" and str(said["k8s.pod.name"]).startswith("web-")
    assert said["drover.action"] == "create" and said["drover.step"] and said["drover.reason"]


def test_what_a_pass_says_of_itself(logs: list[dict[str, Any]]) -> None:
    spans = traced(settled)
    by_trace = {f"{each.context.trace_id:032x}": each for each in passes(spans)}
    done = [line for line in logs if line["event"] == "done"]
    assert done
    for line in done:
        said = dict(by_trace[line["trace"]].attributes or {})
        assert said["drover.controller"] == "service" and said["k8s.managedservice.name"] == "web" and said["k8s.namespace.name"] == "default"
        assert {name: said[f"drover.{name}"] for name in ("reconcile", "epoch", "generation", "change")} == {
            name: line[name] for name in ("reconcile", "epoch", "generation", "change")
        }, "the same words as in the log"
        assert said["drover.result"] in ("success", "requeue", "requeue_after")


def test_a_refused_action_is_an_error_and_no_other_span_is() -> None:
    async def scenario(cluster: SimulatedCluster) -> None:
        put(cluster)
        await asyncio.sleep(3)

    def refuse(request: Request) -> Reply | None:
        made = request.method == "POST" and request.path.endswith("/pods") and "dryRun" not in request.query
        return refusal(403, "Forbidden", "exceeded quota") if made else None

    spans = traced(scenario, refuse)
    failed = {each.name for each in spans if each.status.status_code is StatusCode.ERROR}
    assert failed == {"create pods"}
    assert {each.status.description for each in spans if each.name == "create pods"} == {"Forbidden"}


def test_without_traces_there_is_nothing_of_them() -> None:
    """Not even an import: this is what everybody pays for who does not use it."""
    code = (
        "import sys, asyncio\n"
        "from drover_operator.__main__ import main\n"
        "from drover_operator.runtime import process, health\n"
        "print([name for name in sys.modules if name.startswith(('opentelemetry', 'google.protobuf'))])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout == "[]\n"
    assert _traces("", Settings()) is None


@pytest.fixture
def missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "opentelemetry.sdk.trace", None)


def test_asked_for_without_the_extra_is_said_in_one_line(missing: None) -> None:
    with pytest.raises(ConfigurationError, match=r"^traces need the extra drover-operator\[traces\]: "):
        _traces("http://127.0.0.1:1", Settings())


def test_a_variable_for_everybody_is_no_reason_not_to_start(missing: None, monkeypatch: pytest.MonkeyPatch, logs: list[dict[str, Any]]) -> None:
    """Clusters set OTEL_EXPORTER_OTLP_ENDPOINT for all pods."""
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:1")
    assert _traces("", Settings()) is None
    assert [line["event"] for line in logs] == ["no traces"]


ENDPOINTS = (
    ("http://collector:4318", "http://collector:4318/v1/traces", "only a host: the path of OTLP is added"),
    ("http://collector:4318/", "http://collector:4318/v1/traces", "a slash is no path"),
    ("https://vendor/otlp/v1/traces", "https://vendor/otlp/v1/traces", "a path is taken as it is"),
)


@pytest.mark.parametrize("url, endpoint, why", ENDPOINTS, ids=[why for *_, why in ENDPOINTS])
def test_where_spans_go(url: str, endpoint: str, why: str) -> None:
    assert module._endpoint(url) == endpoint, why


def test_spans_reach_a_collector() -> None:
    """Over a real socket, in the wire format that collectors read."""
    received: list[tuple[str, bytes]] = []

    class Collector(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            received.append((self.path, self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Collector)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        sending = connect(f"http://127.0.0.1:{server.server_port}", {"service.name": "drover-operator", "service.version": "1"})
        with sending.span("reconcile", {"drover.controller": "service"}):
            pass
        sending.close()
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
    ((path, body),) = received
    assert path == "/v1/traces"
    (sent,) = ExportTraceServiceRequest.FromString(body).resource_spans
    assert {each.key: each.value.string_value for each in sent.resource.attributes}["service.name"] == "drover-operator"
    assert [span.name for scope in sent.scope_spans for span in scope.spans] == ["reconcile"]


def test_an_engine_without_traces_is_the_plain_one() -> None:
    async def main() -> None:
        cluster = SimulatedCluster()
        process = Process(cluster.transport(user="operator"), (CONTROLLER,), Settings(shell=False), clock=cluster.now)
        assert [type(engine) for engine in process.engines] == [Engine]
        await cluster.stop()

    run(main)
