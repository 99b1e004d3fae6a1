# SPDX-License-Identifier: Apache-2.0
"""The CEL rules of our CRDs in the simulator: each refuses what it must in the words of the real server, and none can be forgotten."""

import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
import yaml
from structlog.testing import capture_logs
from style.source import ROOT
from unit.simulated import SERVICES, Api, Json, part, service, simulate

from drover_operator.testing import SimulatedCluster, rules
from drover_operator.testing.rules import Unsupported, formatted
from drover_operator.testing.ruletree import RuleTree
from drover_operator.testing.virtualtime import run

HTTP = {"http": {"port": 80}}
WAIVED = {"waived": "a table"}
MATCH = [{"name": "x-staff", "value": "yes"}]
ROUTED = {"route": {"name": "shop"}}
UNROUTED = "`match`, `replicas` and cohorts of spec.rollout.canary need a router: name its HTTPRoute in spec.traffic.route"
HEALTH = "spec.healthCheck must have exactly one of `http`, `tcp`, `grpc` and `exec`"
RESTARTS: Json = {"restarts": {}}
SERVER = "http://prometheus:9090"
JOB = {"template": {"spec": {"containers": [{"name": "test", "image": "test:1"}]}}}
LIMIT = {"atMost": "1"}
PRODUCTION = "spec.environment is Production: give a test of the main flow in spec.rollout.mainFlowTest.job, or say in `waived` why there is none"
TEST = "spec.rollout.mainFlowTest must have exactly one of `job` and `waived`"
MEASURE = "spec.measure must have exactly one of `prometheus`, `http`, `job` and `restarts`"
PAGE = "spec.measure.http needs spec.limit if it has a `field`, and must have none if the status alone counts"
QUERIES = "spec.measure.prometheus must have either `query`, or both `requests` and `failures`"


def gate(measure: Json, **spec: Any) -> Json:
    return {"apiVersion": "drover.dev/v1alpha1", "kind": "ReleaseGate", "metadata": {"name": "errors"}, "spec": {"measure": measure, **spec}}


NIGHT: Json = {"from": "22:00", "for": "6h"}


def window(*opens: Json, **spec: Any) -> Json:
    return {"apiVersion": "drover.dev/v1alpha1", "kind": "MaintenanceWindow", "metadata": {"name": "night"}, "spec": {"opens": [*opens] or [NIGHT], **spec}}


def labelled(key: str) -> Json:
    return {"spec": service()["spec"]["template"]["spec"], "metadata": {"labels": {key: "x"}}}


def named(name: str, **spec: Any) -> Json:
    return {**service(**spec), "metadata": {"name": name}}


# Where the rule stands in the schema, its number there, a body that breaks it alone, the field, the message, and why the row is there.
BROKEN: list[tuple[str, int, Json, str, str, str]] = [
    ("", 0, named("a" * 41), "<nil>", "Invalid value: metadata.name must be a DNS label of at most 40 characters, not " + "a" * 41, "too long by one"),
    ("", 0, named("a.b"), "<nil>", "Invalid value: metadata.name must be a DNS label of at most 40 characters, not a.b", "a subdomain is no label"),
    (
        "",
        1,
        service(replicas=2, scaling={"min": 3, "max": 9}),
        "<nil>",
        "Invalid value: spec.replicas must be from 3 to 9 as spec.scaling says, not 2",
        "below",
    ),
    (
        "",
        1,
        service(replicas=2, scaling={"max": 1}),
        "<nil>",
        "Invalid value: spec.replicas must be from 0 to 1 as spec.scaling says, not 2",
        "above; min by default",
    ),
    (
        "spec.template.metadata.labels",
        0,
        service(template=labelled("drover.dev/slot")),
        "spec.template.metadata.labels",
        "Invalid value: spec.template.metadata.labels must not use keys under drover.dev/",
        "our keys are ours",
    ),
    (
        "spec.mode",
        1,
        service(mode="Pet"),
        "spec.mode",
        "Invalid value: \"Pet\": spec.mode 'Pet' is not supported by this version of Drover: use 'Cattle'",
        "pets",
    ),
    ("spec.healthCheck", 0, service(healthCheck={}), "spec.healthCheck", f"Invalid value: {HEALTH}", "none"),
    ("spec.healthCheck", 0, service(healthCheck={**HTTP, "tcp": {"port": 1}}), "spec.healthCheck", f"Invalid value: {HEALTH}", "two"),
    (
        "spec.healthCheck.interval",
        0,
        service(healthCheck={**HTTP, "interval": "1s"}),
        "spec.healthCheck.interval",
        'Invalid value: "1s": spec.healthCheck.interval must be between 2s and 60s, not 1s',
        "too often",
    ),
    (
        "spec.healthCheck.timeout",
        0,
        service(healthCheck={**HTTP, "timeout": "301s"}),
        "spec.healthCheck.timeout",
        'Invalid value: "301s": spec.healthCheck.timeout must be between 5s and 300s, not 301s',
        "too long",
    ),
    (
        "spec.rollout.progressDeadline",
        0,
        service(rollout={"progressDeadline": "25h"}),
        "spec.rollout.progressDeadline",
        'Invalid value: "25h": spec.rollout.progressDeadline must be between 10s and 24h, not 25h',
        "hours",
    ),
    (
        "spec.rollout.rolling.minReady",
        0,
        service(rollout={"rolling": {"minReady": "61m"}}),
        "spec.rollout.rolling.minReady",
        'Invalid value: "61m": spec.rollout.rolling.minReady must be between 0s and 1h, not 61m',
        "minutes",
    ),
    (
        "spec.rollout.rolling",
        0,
        service(rollout={"rolling": {"maxSurge": "0%", "maxUnavailable": 0}}),
        "spec.rollout.rolling",
        "Invalid value: spec.rollout.rolling.maxSurge and spec.rollout.rolling.maxUnavailable must not both be 0: no instance could ever be replaced",
        "a number and a text are both nothing",
    ),
    (
        "spec.rollout",
        0,
        service(rollout={"progressDeadline": "30s", "rolling": {"minReady": "30s"}}),
        "spec.rollout",
        "Invalid value: spec.rollout.rolling.minReady must be shorter than spec.rollout.progressDeadline: no instance could ever count in time (30s against 30s)",
        "two durations against each other",
    ),
    (
        "",
        3,
        service(environment="Production", rollout={"type": "Recreate", "mainFlowTest": WAIVED}),
        "<nil>",
        "Invalid value: spec.rollout.type Recreate is a downtime, and spec.environment is Production: say who knows of it in spec.rollout.recreate.acknowledge",
        "a downtime that nobody was told of",
    ),
    (
        "spec.rollout",
        1,
        service(rollout={"type": "Canary"}),
        "spec.rollout",
        "Invalid value: spec.rollout.type is Canary: give its steps in spec.rollout.canary",
        "a strategy without its settings",
    ),
    (
        "spec",
        0,
        service(environment="Production"),
        "spec",
        f"Invalid value: {PRODUCTION}",
        "Production without a test, and without a word on why",
    ),
    (
        "spec",
        0,
        service(environment="Production", rollout={"type": "Rolling"}),
        "spec",
        f"Invalid value: {PRODUCTION}",
        "a rollout that says nothing of tests",
    ),
    ("spec.rollout.mainFlowTest", 0, service(rollout={"mainFlowTest": {}}), "spec.rollout.mainFlowTest", f"Invalid value: {TEST}", "neither"),
    ("spec.rollout.mainFlowTest", 0, service(rollout={"mainFlowTest": {**WAIVED, "job": JOB}}), "spec.rollout.mainFlowTest", f"Invalid value: {TEST}", "both"),
    (
        "spec.rollout.mainFlowTest.job.timeout",
        0,
        service(rollout={"mainFlowTest": {"job": {**JOB, "timeout": "999ms"}}}),
        "spec.rollout.mainFlowTest.job.timeout",
        'Invalid value: "999ms": timeout of a Job must be between 1s and 6h, not 999ms',
        "no test is so fast",
    ),
    (
        "spec.rollout.mainFlowTest.job.template.metadata.labels",
        0,
        service(rollout={"mainFlowTest": {"job": {"template": labelled("drover.dev/service")}}}),
        "spec.rollout.mainFlowTest.job.template.metadata.labels",
        "Invalid value: labels of a Job's pod must not use keys under drover.dev/",
        "a test that would get requests",
    ),
    (
        "spec.rollout.blueGreen.keepFor",
        0,
        service(rollout={"type": "BlueGreen", "blueGreen": {"keepFor": "169h"}}),
        "spec.rollout.blueGreen.keepFor",
        'Invalid value: "169h": spec.rollout.blueGreen.keepFor must be between 0s and 168h, not 169h',
        "an old set for ever",
    ),
    (
        "spec.traffic.settle",
        0,
        service(traffic={"route": {"name": "shop"}, "settle": "11m"}),
        "spec.traffic.settle",
        'Invalid value: "11m": spec.traffic.settle must be between 0s and 10m, not 11m',
        "a router that never acts",
    ),
    (
        "spec",
        1,
        service(rollout={"type": "ABTest", "abTest": {"match": MATCH}}),
        "spec",
        "Invalid value: spec.rollout.type ABTest tells requests apart by their headers: name the HTTPRoute that does in spec.traffic.route",
        "two revisions, and nobody who tells their users apart",
    ),
    (
        "spec.rollout",
        2,
        service(rollout={"type": "ABTest"}, traffic=ROUTED),
        "spec.rollout",
        "Invalid value: spec.rollout.type is ABTest: say who gets the new revision in spec.rollout.abTest",
        "another strategy without its settings",
    ),
    *(
        ("spec", 2, service(rollout={"canary": {"steps": [{"weight": 5}], **canary}}), "spec", f"Invalid value: {UNROUTED}", why)
        for why, canary in {
            "a step that matches requests": {"steps": [{"match": MATCH}]},
            "a step with a number of its own": {"steps": [{"weight": 5, "replicas": 3}]},
            "cohorts": {"cohorts": [{"name": "all"}]},
        }.items()
    ),
    *(
        (
            "spec.rollout.canary.cohorts",
            0,
            service(rollout={"canary": {"steps": [{"weight": 5}], "cohorts": cohorts}}, traffic=ROUTED),
            "spec.rollout.canary.cohorts",
            "Invalid value: one of spec.rollout.canary.cohorts must have no `match`",
            why,
        )
        for why, cohorts in {
            "nobody is everybody else": [{"name": "staff", "match": MATCH}],
            "everybody else is twice": [{"name": "one"}, {"name": "two"}],
        }.items()
    ),
    (
        "spec.rollout.canary.cohorts[].hold",
        0,
        service(rollout={"canary": {"steps": [{"weight": 5}], "cohorts": [{"name": "all", "hold": "169h"}]}}, traffic=ROUTED),
        "spec.rollout.canary.cohorts[0].hold",
        'Invalid value: "169h": spec.rollout.canary.cohorts[].hold must be between 0s and 168h, not 169h',
        "a cohort that waits for ever",
    ),
    (
        "spec.rollout.abTest.minDuration",
        0,
        service(rollout={"type": "ABTest", "abTest": {"match": MATCH, "minDuration": "2161h"}}, traffic=ROUTED),
        "spec.rollout.abTest.minDuration",
        'Invalid value: "2161h": spec.rollout.abTest.minDuration must be between 0s and 2160h, not 2161h',
        "more than 90 days",
    ),
    (
        "spec.rollout.canary.steps[]",
        0,
        service(rollout={"canary": {"steps": [{"weight": 5, "pause": {}}]}}),
        "spec.rollout.canary.steps[0]",
        "Invalid value: each of spec.rollout.canary.steps must have either a `pause`, or `weight`, `match` or both",
        "both at once",
    ),
    (
        "spec.rollout.canary.steps[]",
        1,
        service(rollout={"canary": {"steps": [{"weight": 5}, {"pause": {}, "hold": "5m"}]}}),
        "spec.rollout.canary.steps[1]",
        "Invalid value: spec.rollout.canary.steps[].hold goes with `weight` or `match`; a pause has no end",
        "a pause that would end",
    ),
    (
        "spec.rollout.canary.steps",
        0,
        service(rollout={"canary": {"steps": [{"weight": 50}, {"pause": {}}, {"weight": 20}]}}),
        "spec.rollout.canary.steps",
        "Invalid value: weights of spec.rollout.canary.steps must not fall from one step to the next",
        "back and forth",
    ),
    (
        "spec.rollout.canary.steps[].hold",
        0,
        service(rollout={"canary": {"steps": [{"weight": 5, "hold": "169h"}]}}),
        "spec.rollout.canary.steps[0].hold",
        'Invalid value: "169h": spec.rollout.canary.steps[].hold must be between 0s and 168h, not 169h',
        "more than a week",
    ),
    (
        "",
        2,
        service(restart={"activeRequests": {"port": 80}}),
        "<nil>",
        "Invalid value: spec.restart.activeRequests needs spec.healthCheck with http or tcp: the agent that asks for them probes as well",
        "nobody would ask",
    ),
    (
        "spec.restart.drainTimeout",
        0,
        service(restart={"drainTimeout": "61m"}),
        "spec.restart.drainTimeout",
        'Invalid value: "61m": spec.restart.drainTimeout must be between 0s and 1h, not 61m',
        "drain",
    ),
    (
        "spec.restart.settle",
        0,
        service(restart={"settle": "5m1ms"}),
        "spec.restart.settle",
        'Invalid value: "5m1ms": spec.restart.settle must be between 0s and 5m, not 5m1ms',
        "a duration of two parts",
    ),
    (
        "spec.scaling",
        0,
        service(replicas=0, scaling={"min": 2, "max": 1}),
        "spec.scaling",
        "Invalid value: spec.scaling.min must not be greater than spec.scaling.max: 2 > 1",
        "the wrong way round",
    ),
]
# The same of ReleaseGates.
GATES: list[tuple[str, int, Json, str, str, str]] = [
    (
        "",
        0,
        {**gate(RESTARTS), "metadata": {"name": "a.b"}},
        "<nil>",
        "Invalid value: metadata.name must be a DNS label of at most 63 characters, not a.b",
        "a subdomain is no label",
    ),
    (
        "spec",
        0,
        gate(RESTARTS, compare={}),
        "spec",
        "Invalid value: spec.compare goes with spec.measure.prometheus: nothing else measures the old revision",
        "restarts against nothing",
    ),
    (
        "spec",
        1,
        gate({"prometheus": {"address": SERVER, "query": "up"}}),
        "spec",
        "Invalid value: spec.measure.prometheus gives a number: say what is good in spec.limit or spec.compare",
        "a number that nobody judges",
    ),
    ("spec", 2, gate({"http": {"url": SERVER, "field": "/a"}}), "spec", f"Invalid value: {PAGE}", "a number that nobody judges, of a page"),
    ("spec", 2, gate({"http": {"url": SERVER}}, limit=LIMIT), "spec", f"Invalid value: {PAGE}", "a limit of no number"),
    ("spec", 3, gate({"job": JOB}, limit=LIMIT), "spec", "Invalid value: spec.measure.job is good or bad: it must have no spec.limit", "a limit of no number"),
    ("spec.measure", 0, gate({}), "spec.measure", f"Invalid value: {MEASURE}", "none"),
    ("spec.measure", 0, gate({**RESTARTS, "job": JOB}), "spec.measure", f"Invalid value: {MEASURE}", "two"),
    ("spec.measure.prometheus", 0, gate({"prometheus": {"address": SERVER}}, limit=LIMIT), "spec.measure.prometheus", f"Invalid value: {QUERIES}", "no query"),
    (
        "spec.measure.prometheus",
        0,
        gate({"prometheus": {"address": SERVER, "query": "a", "failures": "b"}}, limit=LIMIT),
        "spec.measure.prometheus",
        f"Invalid value: {QUERIES}",
        "a number and a half of counts",
    ),
    (
        "spec.measure.prometheus",
        0,
        gate({"prometheus": {"address": SERVER, "requests": "a"}}, limit=LIMIT),
        "spec.measure.prometheus",
        f"Invalid value: {QUERIES}",
        "failures are missing",
    ),
    (
        "spec.measure.job.template.metadata.labels",
        0,
        gate({"job": {"template": labelled("drover.dev/service")}}),
        "spec.measure.job.template.metadata.labels",
        "Invalid value: labels of a Job's pod must not use keys under drover.dev/",
        "a test that would get requests",
    ),
    (
        "spec.measure.job.timeout",
        0,
        gate({"job": {**JOB, "timeout": "7h"}}),
        "spec.measure.job.timeout",
        'Invalid value: "7h": timeout of a Job must be between 1s and 6h, not 7h',
        "a day's work",
    ),
    ("spec.limit", 0, gate(RESTARTS, limit={}), "spec.limit", "Invalid value: spec.limit must have `atMost`, `atLeast` or both", "no bound at all"),
    (
        "spec.interval",
        0,
        gate(RESTARTS, interval="61m"),
        "spec.interval",
        'Invalid value: "61m": spec.interval must be between 1s and 1h, not 61m',
        "too seldom",
    ),
    (
        "spec.timeout",
        0,
        gate(RESTARTS, timeout="61s"),
        "spec.timeout",
        'Invalid value: "61s": spec.timeout must be between 1s and 1m, not 61s',
        "too patient",
    ),
]
# Each rule of a window once, in the words that the real server tells them in; all that it refuses is in test_maintenance_window.py.
WINDOWS: list[tuple[str, int, Json, str, str, str]] = [
    (
        "spec.opens[].from",
        0,
        window(NIGHT | {"from": "24:00"}),
        "spec.opens[0].from",
        'Invalid value: "24:00": spec.opens[].from must be a time from 00:00 to 23:59, not 24:00',
        "no such hour",
    ),
    (
        "spec.opens[].for",
        0,
        window(NIGHT, NIGHT | {"for": "59s"}),
        "spec.opens[1].for",
        'Invalid value: "59s": spec.opens[].for must be between 1m and 744h, not 59s',
        "too short",
    ),
    (
        "spec.opens[].date",
        0,
        window(NIGHT | {"date": "2026-02-30"}),
        "spec.opens[0].date",
        'Invalid value: "2026-02-30": spec.opens[].date must be a day of the calendar such as 2026-12-23, not 2026-02-30',
        "no such day",
    ),
    (
        "spec.opens[]",
        0,
        window(NIGHT | {"date": "2026-12-23", "days": ["Sat"]}),
        "spec.opens[0]",
        "Invalid value: each of spec.opens must have at most one of `days` and `date`, not both as the one with the date 2026-12-23",
        "each week and once",
    ),
    (
        "spec",
        0,
        window(services={"matchLabels": {"app": "shop"}}),
        "spec",
        "Invalid value: spec.services goes with spec.purpose Freeze, not Allow: services name the window that allows them",
        "who is allowed is said by the services",
    ),
]
# Rules about a change need an object that is there.
CHANGED: list[tuple[str, int, Json, str, str, str]] = [
    (
        "spec.mode",
        0,
        {"spec": {"mode": "Pet"}},
        "spec.mode",
        'Invalid value: "Pet": spec.mode must not change (from Cattle to Pet): create a new service',
        "cattle stays cattle",
    ),
]


def every_rule() -> Iterator[tuple[str, str, int]]:
    """All rules of all CRDs, by resource, place in the schema and number there."""
    for file in sorted((ROOT / "crds").glob("*.yaml")):
        for definition in yaml.safe_load_all(file.read_text()):
            for version in definition["spec"]["versions"]:
                found = _rules_in(version["schema"]["openAPIV3Schema"], "")
                yield from ((definition["spec"]["names"]["plural"], *each) for each in found)


def _rules_in(node: Json, path: str) -> Iterator[tuple[str, int]]:
    yield from ((path, number) for number, _ in enumerate(node.get("x-kubernetes-validations", ())))
    for name, child in node.get("properties", {}).items():
        yield from _rules_in(child, f"{path}.{name}".lstrip("."))
    for key in ("items", "additionalProperties"):
        if isinstance(node.get(key), dict):
            yield from _rules_in(node[key], f"{path}[]")


def test_every_rule_of_every_definition_is_broken_by_a_row() -> None:
    """Whoever adds a definition, or a rule, is told here to add a row."""
    rows = {"managedservices": (*BROKEN, *CHANGED), "releasegates": GATES, "maintenancewindows": WINDOWS}
    assert {(plural, *row[:2]) for plural, table in rows.items() for row in table} == set(every_rule())


def causes(answer: Json) -> list[tuple[str, str]]:
    return [(cause["field"], cause["message"]) for cause in answer["details"]["causes"]]


EVERY = (*BROKEN, *GATES, *WINDOWS)


@pytest.mark.parametrize("row", EVERY, ids=[f"{row[2]['kind']} {row[0] or 'root'}: {row[5]}" for row in EVERY])
def test_a_broken_rule_refuses_a_new_object(row: tuple[str, int, Json, str, str, str]) -> None:
    _, _, body, field, message, why = row

    async def scenario(api: Api) -> None:
        where = SERVICES.replace("managedservices", f"{body['kind'].lower()}s")
        status, answer = await api("POST", where, body)
        assert (status, answer["reason"]) == (422, "Invalid"), (why, answer)
        assert (field, message) in causes(answer), why
        text = f"{field}: {message}"
        assert answer["message"].startswith(f'{body["kind"]}.drover.dev "{body["metadata"]["name"]}" is invalid: ')
        assert text in answer["message"]
        assert (await api("POST", where, body, dryRun="All"))[0] == 422, "a dry run is judged as well"

    simulate(scenario)


@pytest.mark.parametrize("row", CHANGED, ids=[row[5] for row in CHANGED])
def test_a_broken_rule_refuses_a_change(row: tuple[str, int, Json, str, str, str]) -> None:
    _, _, change, field, message, why = row

    async def scenario(api: Api) -> None:
        await api("POST", SERVICES, service())
        status, answer = await api.merge(f"{SERVICES}/web", change)
        assert (status, causes(answer)[0]) == (422, (field, message)), why
        assert (await api.merge(f"{SERVICES}/web/scale", {"spec": {"replicas": 2}}))[0] == 200, "and nothing else"

    simulate(scenario)


BOUNDS: list[tuple[Json, str]] = [
    (service(healthCheck={**HTTP, "interval": "2s", "timeout": "300s"}), "both ends of a bound are inside"),
    (service(healthCheck={**HTTP, "interval": "1m", "timeout": "5s"}), "the other ends, in another unit"),
    (service(rollout={"progressDeadline": "24h", "rolling": {"maxSurge": 0, "maxUnavailable": 1, "minReady": "1h"}}), "one of two may be nothing"),
    (service(restart={"drainTimeout": "0s", "settle": "0s"}), "nothing at all"),
    (service(replicas=2, scaling={"min": 2, "max": 2}), "no room"),
    (service(template=labelled("drover.example/slot")), "a key that only looks like ours"),
    (named("a" * 40), "the longest name"),
]


@pytest.mark.parametrize("body, why", BOUNDS, ids=[row[1] for row in BOUNDS])
def test_what_the_rules_allow(body: Json, why: str) -> None:
    async def scenario(api: Api) -> None:
        status, answer = await api("POST", SERVICES, body)
        assert status == 201, (why, answer)

    simulate(scenario)


def test_rules_are_not_tried_after_an_error_that_blocks_them() -> None:
    async def scenario(api: Api) -> None:
        _, answer = await api("POST", SERVICES, service(criticality="Huge", mode="Pet"))
        assert [field for field, _ in causes(answer)] == ["spec.criticality", "<nil>"]
        assert "some validation rules were not checked" in answer["message"]
        _, answer = await api("POST", SERVICES, service(replicas=-1, mode="Pet"))
        assert [field for field, _ in causes(answer)] == ["spec.replicas", ".spec.replicas", "spec.mode"], "a bound blocks nothing"
        _, answer = await api("POST", SERVICES, service(healthCheck={**HTTP, "interval": "soon"}))
        assert [message for _, message in causes(answer)] == [
            "Invalid value: \"soon\": spec.healthCheck.interval in body should match '^([0-9]+(ms|s|m|h))+$'"
        ], "what the pattern refuses the rule passes over"

    simulate(scenario)


def test_the_scale_subresource_and_applies_are_judged_too() -> None:
    async def scenario(api: Api) -> None:
        await api.apply(f"{SERVICES}/web", service(replicas=1, scaling={"min": 0, "max": 3}))
        for status, answer in (
            await api.merge(f"{SERVICES}/web/scale", {"spec": {"replicas": 4}}),
            await api.apply(f"{SERVICES}/web", part(spec={"replicas": 4}), "other", force="true"),
        ):
            assert (status, "spec.replicas must be from 0 to 3 as spec.scaling says, not 4" in answer["message"]) == (422, True)

    simulate(scenario)


def test_status_writes_cost_no_rule_but_those_about_a_change(monkeypatch: pytest.MonkeyPatch) -> None:
    """Rules look at spec and name; a status write changes neither, and there are many of them."""
    asked: list[str] = []
    real = rules._evaluated
    monkeypatch.setattr(rules, "_evaluated", lambda text, variables: asked.append(text) or real(text, variables))

    async def scenario(api: Api) -> None:
        await api("POST", SERVICES, service(healthCheck=HTTP, rollout={"rolling": {}}, scaling={"max": 9}))
        assert len(asked) > 5
        asked.clear()
        assert (await api.merge(f"{SERVICES}/web/status", {"status": {"phase": "Run", "replicas": 3}}))[0] == 200
        assert asked == ["self == oldSelf"]
        asked.clear()
        await api.merge(f"{SERVICES}/web", {"spec": {"healthCheck": {"interval": "9s"}}})
        assert len([text for text in asked if "duration" in text]) == 1, "of the parts only those that changed"

    simulate(scenario)


def test_without_the_library_it_is_said_once_and_can_be_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    async def scenario() -> tuple[bool, int]:
        cluster = SimulatedCluster(seed=1)
        cluster.create_namespace("shop")
        for name in ("one", "two"):
            cluster.apply({**named(name, mode="Pet"), "metadata": {"name": name, "namespace": "shop"}})
        return cluster.evaluates_rules, len(cluster.objects("managedservices"))

    monkeypatch.setitem(sys.modules, "cel", None)
    rules.are_evaluated.cache_clear()
    try:
        with capture_logs() as logs:
            assert run(scenario) == (False, 2)
    finally:
        rules.are_evaluated.cache_clear()
    (line,) = logs
    assert (line["log_level"], "not evaluated" in line["event"], line["install"]) == (
        "warning",
        True,
        "drover-operator[testing] (common-expression-language)",
    )
    monkeypatch.undo()
    assert rules.are_evaluated()


def broken(tree: Json, value: Any, old: Any = None) -> list[tuple[str, str]]:
    """The fields and messages of a schema with one field `f`, whose value is judged."""
    schema = {"type": "object", "properties": {"f": tree}}
    objects = [None if each is None else {"metadata": {"name": "x"}, "f": each} for each in (value, old)]
    return [(error.field, error.message) for error in RuleTree(schema).errors(objects[0] or {}, objects[1])]


def rule(text: str, **more: str) -> Json:
    return {"x-kubernetes-validations": [{"rule": text, **more}]}


SEMANTICS: list[tuple[Json, Any, Any, list[tuple[str, str]], str]] = [
    (rule("self > 1"), 1, None, [("f", "Invalid value: 1: failed rule: self > 1")], "without a message the rule itself is shown"),
    (rule("self > 1", message="no"), 1, 1, [], "what was so before is forgiven"),
    (rule("self > oldSelf", message="grow"), 1, 1, [("f", "Invalid value: 1: grow")], "but not by a rule about changes"),
    (rule("self > oldSelf", message="grow"), 1, None, [], "which says nothing of a new value"),
    (
        {"type": "object"} | rule("self.a > 1", message="no"),
        {},
        None,
        [("f", 'Invalid value: "object": no such key: a evaluating rule: no')],
        "a field that is not there",
    ),
    (rule("has(self.a) && self.a > 1", fieldPath=".a", reason="FieldValueForbidden", message="no"), {"a": 1}, None, [("f.a", "Forbidden: no")], "reason, path"),
    (rule("self > 1", reason="FieldValueRequired", message="no"), 1, None, [("f", "Required value: no")], "another reason"),
    (rule("self > 1", message="m", messageExpression="'not ' + string(self)"), 1, None, [("f", "Invalid value: 1: not 1")], "an expression wins"),
    (rule("self > 1", message="m", messageExpression="self"), 1, None, [("f", "Invalid value: 1: 1")], "whatever it says"),
    (rule("self > 1", message="m", messageExpression="' '"), 1, None, [("f", "Invalid value: 1: m")], "unless it says nothing"),
    (rule("self > 1", message="m", messageExpression="self.x"), 1, None, [("f", "Invalid value: 1: m")], "or fails"),
    (
        {"type": "string", "format": "date-time"} | rule("self > timestamp('2026-01-01T00:00:00Z')", message="old"),
        "2025-01-01T00:00:00Z",
        None,
        [("f", 'Invalid value: "2025-01-01T00:00:00Z": old')],
        "times are times",
    ),
    ({"type": "number"} | rule("self > 1.5", message="small"), 1, None, [("f", "Invalid value: 1: small")], "numbers are floating point"),
    ({"type": "array", "items": rule("self > 1", message="no")}, [2, 1], None, [("f[1]", "Invalid value: 1: no")], "entries of a list"),
    (
        {"type": "object", "additionalProperties": rule("self > 1", message="no")},
        {"a": 2, "b": 1},
        None,
        [("f[b]", "Invalid value: 1: no")],
        "entries of a map",
    ),
    (
        {"type": "array", "x-kubernetes-list-map-keys": ["n"], "items": {"properties": {"n": {}, "v": rule("self >= oldSelf", message="no")}}},
        [{"n": "b", "v": 1}, {"n": "a", "v": 1}],
        [{"n": "a", "v": 2}, {"n": "b", "v": 1}],
        [("f[1].v", "Invalid value: 1: no")],
        "entries with keys are compared with themselves, wherever they stood",
    ),
    ({"type": "array", "items": rule("self >= oldSelf", message="no")}, [1], [2], [], "entries without keys have no old self"),
]


@pytest.mark.parametrize("tree, value, old, expected, why", SEMANTICS, ids=[row[4] for row in SEMANTICS])
def test_rules_in_general(tree: Json, value: Any, old: Any, expected: list[tuple[str, str]], why: str) -> None:
    """Beyond the rules of today: what the next CRD may need."""
    assert broken(tree, value, old) == expected, why


def test_a_function_that_cannot_read_its_argument_refuses() -> None:
    ((field, message),) = broken({"type": "string"} | rule("duration(self) > duration('1s')", message="m"), "soon")
    assert (field, message.startswith('Invalid value: "string": '), message.endswith("evaluating rule: m")) == ("f", True, True)


@pytest.mark.parametrize(
    "text, why",
    [("self.indexOf('a') > 0", "a function of Kubernetes' own"), ("cel.bind(x, 1, x > self)", "an extension"), ("self.?a.hasValue()", "optional fields")],
    ids=["indexOf", "bind", "optional"],
)
def test_a_rule_that_cannot_be_evaluated_never_passes_in_silence(text: str, why: str) -> None:
    with pytest.raises(Unsupported, match="indexOf|bind|'x'|parse"):
        broken(rule(text), [1])


def test_optional_old_values_are_not_there() -> None:
    with pytest.raises(Unsupported, match="optionalOldSelf"):
        broken({"x-kubernetes-validations": [{"rule": "oldSelf.hasValue()", "optionalOldSelf": True}]}, 1)


FORMATS: list[tuple[str, list[Any], str]] = [
    ("%d of %d", [1, 2], "1 of 2"),
    ("%s is %s", ["a", True], "a is true"),
    ("%.2f", [1.234], "1.23"),
    ("%x and %b and %o", [255, 5, 8], "ff and 101 and 10"),
    ("100%%", [], "100%"),
]


@pytest.mark.parametrize("template, values, text", FORMATS, ids=[row[0] for row in FORMATS])
def test_format(template: str, values: list[Any], text: str) -> None:
    assert formatted(template, values) == text


@pytest.mark.parametrize("template, values", [("%d", ["x"]), ("%d", []), ("%s", [[1]])], ids=["type", "count", "lists are not shown"])
def test_format_refuses_what_does_not_fit(template: str, values: list[Any]) -> None:
    with pytest.raises(ValueError, match="could not convert|out of range"):
        formatted(template, values)


def test_a_moment_is_seen_by_rules_as_the_real_server_shows_it() -> None:
    tree = RuleTree({"type": "string", "format": "date-time"})
    assert tree.exposed("2026-01-01T00:00:00Z") == datetime(2026, 1, 1, tzinfo=UTC)
