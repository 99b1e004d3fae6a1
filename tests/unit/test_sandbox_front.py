# SPDX-License-Identifier: Apache-2.0
"""What the sandbox answers: discovery, tables, core events, refusals in sentences; in virtual time and without sockets."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Any

import pytest

from drover_operator.api.crd import MANAGED_SERVICE
from drover_operator.kube.transport import APPLY_PATCH, JSON, MERGE_PATCH, Reply, Request
from drover_operator.testing import SimulatedCluster, virtualtime
from drover_operator.testing.kinds import BUILT_IN, KINDS
from drover_operator.testing.sandbox import discovery, furniture, openapi, tables
from drover_operator.testing.sandbox.columns import BUILT_IN as COLUMNS
from drover_operator.testing.sandbox.columns import Seen
from drover_operator.testing.sandbox.front import Front, Watching
from drover_operator.testing.sandbox.machines import Machines
from drover_operator.testing.sandbox.offers import OFFERS

TABLE = {"Accept": "application/json;as=Table;v=v1;g=meta.k8s.io,application/json"}
PODS = "/api/v1/namespaces/default/pods"
SERVICES = "/apis/drover.dev/v1alpha1/namespaces/default/managedservices"
EVENTS = "/api/v1/namespaces/default/events"


class Stage:
    """A cluster with two nodes behind a front; nobody acts before `act` is called."""

    def __init__(self) -> None:
        self.cluster = SimulatedCluster(nodes=0)
        self.machines = Machines(self.cluster)
        self.machines.follow()
        furniture.put_in(self.cluster, 2)
        self.front = Front(self.cluster.server, self.cluster.now)

    async def act(self) -> None:
        await self.cluster.start()
        self.task = asyncio.create_task(self.machines.run())

    def get(self, path: str, headers: dict[str, str] | None = None, **query: str) -> Any:
        reply = self.front.handle(Request(method="GET", path=path, query=query, headers=headers or {}))
        return json.loads(reply.body)

    def send(self, method: str, path: str, body: Any = None, content_type: str = JSON, **query: str) -> Reply:
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        return self.front.handle(Request(method=method, path=path, query=query, body=data, headers={"Content-Type": content_type}))

    def table(self, path: str, **query: str) -> tuple[list[str], list[list[Any]]]:
        """Names of the columns, and the cells."""
        body = self.get(path, TABLE, **query)
        assert body["kind"] == "Table", body
        return [each["name"] for each in body["columnDefinitions"]], [row["cells"] for row in body["rows"]]

    def watch(self, path: str, headers: dict[str, str] | None = None, **query: str) -> Watching:
        opened = self.front.watch(Request(method="GET", path=path, query={"watch": "true", **query}, headers=headers or {}))
        assert isinstance(opened, Watching), opened
        return opened


def play(scenario: Callable[[Stage], Awaitable[None]]) -> None:
    async def main() -> None:
        stage = Stage()
        await scenario(stage)
        await stage.cluster.stop()
        if hasattr(stage, "task"):
            stage.task.cancel()

    virtualtime.run(main)


def at_once(look: Callable[[Stage], None]) -> None:
    async def scenario(stage: Stage) -> None:
        look(stage)

    play(scenario)


def pod(name: str = "p", **spec: Any) -> dict[str, Any]:
    container = {"name": "c", "image": "i:1"}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "labels": {"app": "x"}}, "spec": {"containers": [container], **spec}}


def service(**spec: Any) -> dict[str, Any]:
    template = {"spec": {"containers": [{"name": "c", "image": "i:1"}]}}
    wanted = {"criticality": "Normal", "replicas": 2, "template": template, **spec}
    return {"apiVersion": "drover.dev/v1alpha1", "kind": "ManagedService", "metadata": {"name": "web"}, "spec": wanted}


def event(called: str, **about: str) -> dict[str, Any]:
    regarding = {"kind": "Pod", "namespace": "default", "name": "p", "uid": "u-1", **about}
    told = {"note": "all is well", "reason": "Well", "type": "Normal", "reportingController": "drover.dev/operator", "eventTime": "2026-01-01T00:00:00.000000Z"}
    told |= {"reportingInstance": "drover-0", "action": "Look"}
    return {"apiVersion": "events.k8s.io/v1", "kind": "Event", "metadata": {"name": called, "namespace": "default"}, "regarding": regarding, **told}


# --- discovery


def test_every_kind_of_the_simulator_is_offered():
    """A kind that is added to the simulator must not stay hidden from kubectl."""
    assert {offer.kind for offer in OFFERS} >= set(KINDS)


def test_aggregated_discovery_tells_of_our_kind_and_its_scale():
    def look(stage: Stage) -> None:
        reply = stage.front.handle(Request(method="GET", path="/apis", headers={"Accept": discovery.AGGREGATED + ",application/json"}))
        assert reply.headers["Content-Type"] == discovery.AGGREGATED
        group = next(each for each in json.loads(reply.body)["items"] if each["metadata"]["name"] == "drover.dev")
        known = {each["resource"]: each for each in group["versions"][0]["resources"]}
        assert {name: {below["subresource"] for below in each.get("subresources", ())} for name, each in known.items()} == {
            "managedservices": {"status", "scale"},
            "releasegates": set(),
            "maintenancewindows": set(),
        }, "nobody tells anything of gates and windows: they have no status"
        resource = known["managedservices"]
        assert (resource["resource"], resource["scope"], resource["shortNames"], resource["categories"]) == (
            "managedservices",
            "Namespaced",
            ["msvc"],
            ["drover"],
        )
        below = {each["subresource"]: each["responseKind"]["kind"] for each in resource["subresources"]}
        assert below == {"status": "ManagedService", "scale": "Scale"}

    at_once(look)


def test_old_discovery_says_the_same():
    def look(stage: Stage) -> None:
        groups = [each["name"] for each in stage.get("/apis")["groups"]]
        assert groups == sorted({offer.kind.group for offer in OFFERS} - {""})
        assert stage.get("/api")["versions"] == ["v1"]
        names = {each["name"] for each in stage.get("/api/v1")["resources"]}
        assert names >= {"pods", "pods/eviction", "pods/status", "events", "nodes", "namespaces"}
        assert stage.get("/apis/apps")["preferredVersion"]["groupVersion"] == "apps/v1"
        assert stage.get("/apis/nope")["reason"] == "NotFound"

    at_once(look)


def test_custom_resource_definitions_can_be_read_and_are_established():
    def look(stage: Stage) -> None:
        path = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions/managedservices.drover.dev"
        conditions = {each["type"]: each["status"] for each in stage.get(path)["status"]["conditions"]}
        assert conditions == {"NamesAccepted": "True", "Established": "True"}
        refused = json.loads(stage.send("DELETE", path).body)
        assert (refused["code"], refused["message"]) == (
            405,
            "the CustomResourceDefinitions of Drover are there already, and the sandbox serves no others",
        )

    at_once(look)


def test_every_document_of_openapi_is_complete():
    """`kubectl explain` follows the references: each must lead somewhere."""

    def look(stage: Stage) -> None:
        places = stage.get("/openapi/v3")["paths"]
        assert len(places) == len({(offer.kind.group, offer.kind.version) for offer in OFFERS})
        for place in places.values():
            text = json.dumps(found := stage.get(place["serverRelativeURL"]))
            named = {part.split('"')[0] for part in text.split("#/components/schemas/")[1:]}
            assert named <= set(found["components"]["schemas"]), place

    at_once(look)


def test_openapi_has_our_fields_and_says_that_the_server_checks_them():
    def look(stage: Stage) -> None:
        found = stage.get("/openapi/v3/apis/drover.dev/v1alpha1")
        schema = found["components"]["schemas"]["dev.drover.v1alpha1.ManagedService"]
        assert schema["properties"]["spec"]["properties"]["replicas"]["type"] == "integer"
        patch = found["paths"]["/apis/drover.dev/v1alpha1/namespaces/{namespace}/managedservices/{name}"]["patch"]
        assert "fieldValidation" in {each["name"] for each in patch["parameters"]}

    at_once(look)


def test_old_openapi_is_an_empty_document_and_no_error():
    """Without it kubectl says that it cannot download a schema, where it should say that there is no such kind."""
    at_once(lambda stage: _check_empty(stage.front.handle(Request(method="GET", path=openapi.OLD))))


def _check_empty(reply: Reply) -> None:
    assert reply.headers["Content-Type"] == openapi.OLD_MEDIA_TYPE
    assert reply.body[:5] == b"\n\x032.0"
    assert reply.body[6] == len(reply.body) - 7  # the second field, which is the last one, ends where the document ends


# --- tables


def test_our_kind_has_the_columns_of_its_definition():
    async def scenario(stage: Stage) -> None:
        assert stage.send("POST", SERVICES, service()).status == 201
        await asyncio.sleep(90)
        columns, rows = stage.table(SERVICES)
        assert columns == ["Name", *(column.name for column in MANAGED_SERVICE.columns)]
        assert [{name: cell for name, cell in zip(columns, row, strict=True) if cell is not None} for row in rows] == [
            {"Name": "web", "Criticality": "Normal", "Age": "90s"}
        ], "what nobody has told is empty"

    play(scenario)


@pytest.mark.parametrize("kind", BUILT_IN, ids=lambda kind: kind.resource)
def test_every_built_in_kind_has_columns(kind: Any):
    """A kind that is added to the simulator would else show only NAME and AGE."""
    assert kind.resource in COLUMNS


def job(name: str, **status: Any) -> dict[str, Any]:
    spec = {"template": {"spec": {"containers": [{"name": "one", "image": "test:1"}, {"name": "two", "image": "test:2"}]}}}
    return {"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": name, "namespace": "default"}, "spec": spec, "status": status}


def ended(kind: str) -> list[dict[str, Any]]:
    return [{"type": kind, "status": "True"}]


# Why, changes of the Job, and its cells after the name: status, completions, duration.
JOBS: list[tuple[str, dict[str, Any], tuple[str, str, str]]] = [
    ("one that has just been made", job("a"), ("Running", "0/1", "")),
    ("one that runs for a while", job("a", startTime="2026-01-01T00:00:00Z"), ("Running", "0/1", "60s")),
    (
        "one that has ended well: its time does not go on",
        job("a", startTime="2026-01-01T00:00:00Z", completionTime="2026-01-01T00:00:12Z", succeeded=1, conditions=ended("Complete")),
        ("Complete", "1/1", "12s"),
    ),
    ("one that has failed has no time of completion", job("a", startTime="2026-01-01T00:00:00Z", conditions=ended("Failed")), ("Failed", "0/1", "60s")),
    ("one that is about to fail", job("a", conditions=ended("FailureTarget")), ("FailureTarget", "0/1", "")),
    ("one that waits", job("a", conditions=ended("Suspended")), ("Suspended", "0/1", "")),
    ("one that is being deleted", {**job("a"), "metadata": {"name": "a", "deletionTimestamp": "2026-01-01T00:00:00Z"}}, ("Terminating", "0/1", "")),
    (
        "one that ended and is being deleted: how it ended says more",
        {**job("a", conditions=ended("Failed")), "metadata": {"name": "a", "deletionTimestamp": "2026-01-01T00:00:00Z"}},
        ("Failed", "0/1", ""),
    ),
    ("several completions", {**job("a", succeeded=2), "spec": {**job("a")["spec"], "completions": 3, "parallelism": 2}}, ("Running", "2/3", "")),
    ("several at once, one of which is enough", {**job("a"), "spec": {**job("a")["spec"], "parallelism": 2}}, ("Running", "0/1 of 2", "")),
]


@pytest.mark.parametrize(("why", "item", "cells"), JOBS, ids=[row[0] for row in JOBS])
def test_a_job_in_a_table(why: str, item: dict[str, Any], cells: tuple[str, str, str]):
    """As `printJob` of Kubernetes 1.31 and later has it."""
    columns = COLUMNS["jobs.batch"]
    assert [each.name for each in columns if not each.wide] == ["Name", "Status", "Completions", "Duration", "Age"]
    seen = Seen(item, datetime(2026, 1, 1, 0, 1, tzinfo=UTC).timestamp())
    found = {each.name: each.cell(seen) for each in columns}
    assert (found["Status"], found["Completions"], found["Duration"]) == cells, why
    assert (found["Containers"], found["Images"], found["Selector"]) == ("one,two", "test:1,test:2", "<none>")


@pytest.mark.parametrize(("spec", "cell"), [({"hostnames": ["a.example", "b.example"]}, '["a.example","b.example"]'), ({}, "")], ids=["two", "none"])
def test_the_hosts_of_a_route_in_a_table(spec: dict[str, Any], cell: str):
    """A column of its definition, whose value is a list: the API server shows it as JSON."""
    seen = Seen({"metadata": {"name": "a"}, "spec": spec}, 0.0)
    assert {each.name: each.cell(seen) for each in COLUMNS["httproutes.gateway.networking.k8s.io"]} == {"Name": "a", "Hostnames": cell, "Age": "<unknown>"}


def test_pods_in_a_table():
    async def scenario(stage: Stage) -> None:
        await stage.act()
        stage.send("POST", PODS, pod("good"))
        broken = pod("crashing")
        broken["metadata"]["annotations"] = {"drover.dev/simulate": "crash"}
        stage.send("POST", PODS, broken)
        stage.send("POST", PODS, pod("gated", readinessGates=[{"conditionType": "a/b"}]))
        stage.send("POST", PODS, pod("lonely", nodeSelector={"disk": "big"}))
        await asyncio.sleep(10)
        columns, rows = stage.table(PODS)
        assert columns == ["Name", "Ready", "Status", "Restarts", "Age", "IP", "Node", "Nominated Node", "Readiness Gates"]
        assert {row[0]: (row[1], row[2], row[8]) for row in rows} == {
            "good": ("1/1", "Running", "<none>"),
            "crashing": ("0/1", "CrashLoopBackOff", "<none>"),
            "gated": ("1/1", "Running", "0/1"),
            "lonely": ("0/1", "Pending", "<none>"),
        }
        assert rows[0][3] == "1 (7s ago)"
        assert {row[6] for row in rows} == {"simulated-1", "simulated-2", "<none>"}
        stage.send("DELETE", f"{PODS}/good")
        assert {row[0]: row[2] for row in stage.table(PODS)[1]}["good"] == "Terminating"

    play(scenario)


def test_nodes_in_a_table():
    async def scenario(stage: Stage) -> None:
        await stage.act()
        stage.send("PATCH", "/api/v1/nodes/simulated-2", {"spec": {"unschedulable": True}}, MERGE_PATCH)
        await asyncio.sleep(1)
        _, rows = stage.table("/api/v1/nodes")
        assert [row[:2] + row[4:5] for row in rows] == [
            ["simulated-1", "Ready", "v1.35.0+drover-simulated"],
            ["simulated-2", "Ready,SchedulingDisabled", "v1.35.0+drover-simulated"],
        ]

    play(scenario)


def test_a_table_of_one_object_and_of_a_chunk():
    def look(stage: Stage) -> None:
        for name in ("a", "b", "c"):
            stage.send("POST", PODS, pod(name))
        assert [row[0] for row in stage.table(f"{PODS}/b")[1]] == ["b"]
        chunk = stage.get(PODS, TABLE, limit="2")
        assert [row["cells"][0] for row in chunk["rows"]] == ["a", "b"]
        rest = stage.get(PODS, TABLE, limit="2", **{"continue": chunk["metadata"]["continue"]})
        assert [row["cells"][0] for row in rest["rows"]] == ["c"]

    at_once(look)


INCLUDED = [
    ("what kubectl needs for labels and namespaces", {}, "PartialObjectMetadata"),
    ("what it needs to sort", {"includeObject": "Object"}, "Pod"),
    ("nothing, for those who want only cells", {"includeObject": "None"}, None),
]


@pytest.mark.parametrize(("why", "query", "kind"), INCLUDED, ids=[row[0] for row in INCLUDED])
def test_what_a_row_carries(why: str, query: dict[str, str], kind: str | None):
    def look(stage: Stage) -> None:
        stage.send("POST", PODS, pod())
        carried = stage.get(PODS, TABLE, **query)["rows"][0]["object"]
        assert (carried and carried["kind"]) == kind, why
        assert carried is None or carried["metadata"]["labels"] == {"app": "x"}

    at_once(look)


def test_an_error_is_no_table():
    at_once(lambda stage: _check_missing(stage.get(f"{PODS}/nope", TABLE)))


def _check_missing(found: dict[str, Any]) -> None:
    assert (found["kind"], found["reason"], found["message"]) == ("Status", "NotFound", 'pods "nope" not found')


def test_a_cell_that_cannot_be_made_spoils_no_table():
    """An object of somebody's own making, such as a slice without addresses."""
    request = Request(method="GET", path="/")
    kind = next(each for each in KINDS if each.plural == "endpointslices")
    shown = tables.table([{"metadata": {"name": "s"}, "endpoints": [{}]}], {}, request, kind, 0.0)
    assert shown["rows"][0]["cells"] == ["s", "", "<unset>", "<unknown>", "<unknown>"]


# --- watches


async def heard(watch: Watching, count: int) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    async for chunk in watch.lines:
        found += [json.loads(line) for line in chunk.splitlines()]
        if len(found) >= count:
            break
    watch.close()
    return found


def test_a_watch_as_tables():
    async def scenario(stage: Stage) -> None:
        version = stage.get(PODS, TABLE)["metadata"]["resourceVersion"]
        watch = stage.watch(PODS, TABLE, resourceVersion=version, allowWatchBookmarks="true")
        stage.send("POST", PODS, pod())
        stage.send("DELETE", f"{PODS}/p", {"gracePeriodSeconds": 0})
        found = await heard(watch, 4)
        assert [each["type"] for each in found] == ["ADDED", "MODIFIED", "DELETED", "BOOKMARK"]
        assert {each["object"]["kind"] for each in found} == {"Table"}
        assert [[row["cells"][2] for row in each["object"]["rows"]] for each in found] == [["Pending"], ["Terminating"], ["Terminating"], []]
        assert int(found[-1]["object"]["metadata"]["resourceVersion"]) > int(version)

    play(scenario)


def test_a_watch_from_a_forgotten_version_says_so_in_a_table_too():
    async def scenario(stage: Stage) -> None:
        stage.cluster.compact()
        (found,) = await heard(stage.watch(PODS, TABLE, resourceVersion="1"), 1)
        assert (found["type"], found["object"]["code"]) == ("ERROR", 410)

    play(scenario)


def test_a_plain_watch_is_passed_on():
    async def scenario(stage: Stage) -> None:
        watch = stage.watch(PODS, labelSelector="app=x")
        stage.send("POST", PODS, pod())
        (found,) = await heard(watch, 1)
        assert (found["object"]["kind"], found["object"]["metadata"]["name"]) == ("Pod", "p")

    play(scenario)


# --- events of core/v1

EVENT_SELECTORS = [
    ("what kubectl describe asks for", "involvedObject.name=p,involvedObject.uid=u-1", ["one"]),
    ("another object", "involvedObject.name=q", ["two"]),
    ("warnings only", "type=Warning", []),
    ("not this reason", "reason!=Well", []),
]


@pytest.mark.parametrize(("why", "selector", "names"), EVENT_SELECTORS, ids=[row[0] for row in EVENT_SELECTORS])
def test_core_events_by_field(why: str, selector: str, names: list[str]):
    def look(stage: Stage) -> None:
        for each in (event("one"), event("two", name="q")):
            assert stage.send("POST", "/apis/events.k8s.io/v1/namespaces/default/events", each).status == 201
        assert [each["metadata"]["name"] for each in stage.get(EVENTS, fieldSelector=selector)["items"]] == names, why

    at_once(look)


def test_core_events_have_the_old_names():
    def look(stage: Stage) -> None:
        stage.send("POST", "/apis/events.k8s.io/v1/namespaces/default/events", event("one"))
        found = stage.get(f"{EVENTS}/one")
        assert (found["apiVersion"], found["involvedObject"]["name"], found["message"], found["reportingComponent"]) == (
            "v1",
            "p",
            "all is well",
            "drover.dev/operator",
        )
        assert (found["firstTimestamp"], "note" in found, "regarding" in found) == (None, False, False)
        columns, rows = stage.table(EVENTS)
        assert columns[:5] == ["Last Seen", "Type", "Reason", "Object", "Message"]
        assert rows[0][1:5] == ["Normal", "Well", "pod/p", "all is well"]
        assert stage.send("DELETE", f"{EVENTS}/one").status == 200
        assert stage.get(EVENTS)["items"] == []
        assert stage.send("POST", EVENTS, {"metadata": {"name": "x"}}).status == 405

    at_once(look)


def test_core_events_can_be_watched_by_field_and_as_tables():
    async def scenario(stage: Stage) -> None:
        watch = stage.watch(EVENTS, TABLE, fieldSelector="involvedObject.name=q")
        for each in (event("one"), event("two", name="q")):
            stage.send("POST", "/apis/events.k8s.io/v1/namespaces/default/events", each)
        (found,) = await heard(watch, 1)
        assert found["object"]["rows"][0]["cells"][3] == "pod/q"

    play(scenario)


# --- refusals

REFUSALS = [
    ("logs", "GET", f"{PODS}/p/log", 501, "this is the Drover sandbox, a simulation without containers: there are no logs"),
    ("exec", "POST", f"{PODS}/p/exec", 501, "this is the Drover sandbox, a simulation without containers: there is nothing to run a command in"),
    ("port-forward", "GET", f"{PODS}/p/portforward", 501, "this is the Drover sandbox, a simulation without containers: nothing listens on any port"),
    (
        "debug",
        "PATCH",
        f"{PODS}/p/ephemeralcontainers",
        501,
        "this is the Drover sandbox, a simulation without containers: there is nothing to run a command in",
    ),
    ("the proxy of a node", "GET", "/api/v1/nodes/n/proxy/x", 501, "this is the Drover sandbox, a simulation without containers: nothing listens on any port"),
    (
        "a kind that is not simulated",
        "POST",
        "/apis/apps/v1/namespaces/default/deployments",
        404,
        "the Drover sandbox does not simulate deployments; `kubectl api-resources` lists what it has",
    ),
    (
        "the same in a group that is served",
        "POST",
        "/api/v1/namespaces/default/secrets",
        404,
        "the Drover sandbox does not simulate secrets; `kubectl api-resources` lists what it has",
    ),
    ("no API at all", "GET", "/nope", 404, "the Drover sandbox does not simulate /nope; `kubectl api-resources` lists what it has"),
    ("a method of other servers", "OPTIONS", PODS, 405, "OPTIONS is no method of this API"),
]


@pytest.mark.parametrize(("why", "method", "path", "code", "message"), REFUSALS, ids=[row[0] for row in REFUSALS])
def test_what_cannot_be_done_is_said_in_a_sentence(why: str, method: str, path: str, code: int, message: str):
    def look(stage: Stage) -> None:
        found = json.loads(stage.send(method, path).body)
        assert (found["code"], found["message"]) == (code, message), why

    at_once(look)


FORMS = [
    ("a number for a text", {"metadata": {"name": "p", "labels": {"a": 1}}}, "$.metadata.labels[...]"),
    ("a text for a list", {"spec": {"containers": "c"}}, "$.spec.containers"),
    ("deep in a container", {"spec": {"containers": [{"name": "c", "image": "i", "lifecycle": {"preStop": {"sleep": {"seconds": "1"}}}}]}}, "seconds"),
    ("a map for the whole", {"spec": [1]}, "$.spec"),
]


@pytest.mark.parametrize(("why", "slip", "where"), FORMS, ids=[row[0] for row in FORMS])
def test_a_slip_in_the_form_is_refused_at_once(why: str, slip: dict[str, Any], where: str):
    """The actors of the simulator take well-formed objects for granted; one slip of a user would end them."""

    def look(stage: Stage) -> None:
        found = json.loads(stage.send("POST", PODS, {**pod(), **slip}).body)
        assert found["code"] == 400 and where in found["message"], (why, found)

    at_once(look)


def test_a_change_that_leads_to_a_wrong_form_is_refused_and_changes_nothing():
    def look(stage: Stage) -> None:
        stage.send("POST", PODS, pod())
        refused = stage.send("PATCH", f"{PODS}/p", {"metadata": {"annotations": {"drover.dev/simulate": 5}}}, MERGE_PATCH)
        assert refused.status == 422
        assert "annotations" not in stage.get(f"{PODS}/p")["metadata"]

    at_once(look)


ANNOTATIONS = [
    ("a mode that is mistyped", {"drover.dev/simulate": "crahs"}, 'Unsupported value: "crahs": supported values: "normal", "never-ready"'),
    ("a time that is none", {"drover.dev/simulate-ready-after": "soon"}, 'Invalid value: "soon": seconds from 0 to 86400, such as 5s'),
    ("a time that never ends", {"drover.dev/simulate-ready-after": "inf"}, 'Invalid value: "inf"'),
]


@pytest.mark.parametrize(("why", "annotations", "message"), ANNOTATIONS, ids=[row[0] for row in ANNOTATIONS])
def test_annotations_of_the_simulation_are_checked(why: str, annotations: dict[str, str], message: str):
    """Nobody else would tell: an unknown annotation is without effect."""

    def look(stage: Stage) -> None:
        body = pod()
        body["metadata"]["annotations"] = annotations
        found = json.loads(stage.send("POST", PODS, body).body)
        assert found["code"] == 422 and message in found["message"], (why, found)

    at_once(look)


def test_unknown_fields_are_warned_of_as_by_a_real_server():
    def look(stage: Stage) -> None:
        stage.send("POST", SERVICES, service())
        reply = stage.send("PATCH", f"{SERVICES}/web", {"spec": {"replica": 1, "nope": {}}}, MERGE_PATCH)
        assert reply.status == 200
        assert reply.headers["Warning"] == '299 - "unknown field \\"spec.replica\\"", 299 - "unknown field \\"spec.nope\\""'
        assert "Warning" not in stage.send("PATCH", f"{SERVICES}/web", {"spec": {"replicas": 1}}, MERGE_PATCH).headers
        assert "Warning" not in stage.send("PATCH", f"{SERVICES}/web", {"spec": {"x": 1}}, MERGE_PATCH, fieldValidation="Ignore").headers
        assert stage.send("PATCH", f"{SERVICES}/web", {"spec": {"x": 1}}, MERGE_PATCH, fieldValidation="Strict").status == 422

    at_once(look)


def test_yaml_is_taken_where_clients_send_it():
    def look(stage: Stage) -> None:
        text = b"apiVersion: v1\nkind: ConfigMap\nmetadata: {name: c}\ndata: {a: b}\n"
        path = "/api/v1/namespaces/default/configmaps"
        assert stage.send("PATCH", f"{path}/c", text, APPLY_PATCH, fieldManager="me").status == 201
        assert stage.send("POST", path, text.replace(b"name: c", b"name: d"), "application/yaml").status == 201
        assert stage.get(f"{path}/d")["data"] == {"a": "b"}
        assert stage.send("POST", path, b"{a: [", "application/yaml").status == 400

    at_once(look)


def test_a_request_that_nobody_thought_of_gets_an_answer():
    def look(stage: Stage) -> None:
        assert stage.get(PODS, labelSelector="(((")["code"] == 400
        assert stage.get(PODS, limit="many")["code"] == 400
        assert json.loads(stage.send("DELETE", f"{PODS}/p", [1]).body)["code"] == 400
        refused = stage.front.watch(Request(method="GET", path=PODS, query={"watch": "true", "timeoutSeconds": "long"}))
        assert isinstance(refused, Reply) and refused.status == 400

    at_once(look)


def test_anybody_may_do_anything():
    def look(stage: Stage) -> None:
        answer = json.loads(
            stage.send("POST", "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews", b"k8s\0any", "application/vnd.kubernetes.protobuf").body
        )
        assert answer["status"]["allowed"] is True

    at_once(look)


# --- what the operator meets, and machines


def test_a_process_in_the_sandbox_gets_a_refusal_for_a_template_of_the_wrong_form():
    """In the transport an exception would leave the request without an answer for ever."""

    async def scenario(stage: Stage) -> None:
        transport = stage.cluster.transport("operator")
        transport.faults.before = stage.front.process("operator")
        body = json.dumps(pod(nodeSelector="x")).encode()
        reply = await transport.send(Request(method="POST", path=PODS, body=body, headers={"Content-Type": JSON}))
        assert (reply.status, "$.spec.nodeSelector" in reply.body.decode()) == (400, True)
        good = await transport.send(Request(method="POST", path=PODS, body=json.dumps(pod()).encode(), headers={"Content-Type": JSON}))
        assert good.status == 201
        async with transport.stream(Request(method="GET", path=PODS, query={"watch": "true"})) as (opened, lines):
            assert opened.status == 200
            assert b'"name":"p"' in await anext(lines)

    play(scenario)


def test_a_node_that_is_created_is_a_new_machine_and_an_annotation_switches_it_off():
    async def scenario(stage: Stage) -> None:
        await stage.act()
        stage.send("POST", "/api/v1/nodes", {"apiVersion": "v1", "kind": "Node", "metadata": {"name": "new"}})
        await asyncio.sleep(1)
        for _ in range(3):
            stage.send("POST", PODS, {**pod(), "metadata": {"generateName": "p-"}})
        await asyncio.sleep(5)
        assert "new" in {each["spec"]["nodeName"] for each in stage.get(PODS)["items"]}
        stage.send("PATCH", "/api/v1/nodes/new", {"metadata": {"annotations": {"drover.dev/simulate": "down"}}}, MERGE_PATCH)
        await asyncio.sleep(60)
        assert {row[0]: row[1] for row in stage.table("/api/v1/nodes")[1]}["new"] == "NotReady"
        stage.send("PATCH", "/api/v1/nodes/new", {"metadata": {"annotations": {"drover.dev/simulate": None}}}, MERGE_PATCH)
        await asyncio.sleep(1)
        assert {row[0]: row[1] for row in stage.table("/api/v1/nodes")[1]}["new"] == "Ready"

    play(scenario)
