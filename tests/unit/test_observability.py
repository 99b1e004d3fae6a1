# SPDX-License-Identifier: Apache-2.0
"""Dashboard and alerts: every query parses by Prometheus' own grammar, names only what the page has, and alerts fire when they should.

A small evaluator runs the alerts on one moment's samples; the sample of a counter stands for its rate or increase.
"""

import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import promql_parser as promql
import pytest
import yaml

from drover_operator.observe import catalogue as c
from drover_operator.observe.alerts import ALERTS, Alert, rules
from drover_operator.observe.catalogue import EVERY, Metric
from drover_operator.observe.dashboard import ROWS, dashboard
from drover_operator.observe.queries import Queries

ROOT = Path(__file__).parents[2]
BY_SERIES = {name: metric for metric in EVERY for name in metric.series}
OF_THE_SCRAPE = {"job", "instance", "le"}
PANELS = [(panel.title, query) for row in ROWS for panel in row.panels for query, _ in panel.queries]
PAGE = (ROOT / "docs/how-to/observe.md").read_text()
ON_THE_PAGE = [
    (question.strip(), query.replace("\\|", "|")) for question, query in re.findall(r"^\| ([^|`]+) \| `(.+?)`[^`]*\|$", PAGE, re.MULTILINE) if "_" in query
]
QUERIES = [*ON_THE_PAGE, *((alert.name, alert.expression) for alert in ALERTS), *PANELS]


def parts(query: str) -> list[Any]:
    """Every node of a parsed query."""
    found: list[Any] = []
    promql.walk(promql.parse(query), found.append)
    return found


def complaints(query: str) -> list[str]:
    """What a query names that the page does not have."""
    nodes = parts(query)
    used = [node for node in nodes if isinstance(node, promql.VectorSelector)]
    found = [f"no series {each.name}" for each in used if each.name not in BY_SERIES]
    for each in used:
        if each.name in BY_SERIES:
            found += [why for matcher in each.matchers.matchers for why in strangers(BY_SERIES[each.name], matcher.name, matcher.value)]
    known = {label.name for each in used if each.name in BY_SERIES for label in BY_SERIES[each.name].labels} | OF_THE_SCRAPE
    grouped = [name for node in nodes if isinstance(node, promql.AggregateExpr) and node.modifier for name in node.modifier.labels]
    return found + [f"no label {name} to group by" for name in grouped if name not in known]


def strangers(metric: Metric, label: str, value: str) -> list[str]:
    if label in OF_THE_SCRAPE:
        return []
    there = {each.name: each.values for each in metric.labels}
    if label not in there:
        return [f"{metric.name} has no label {label}"]
    return [f"{label} is never {each}" for each in value.split("|") if there[label] and each not in there[label]]


@pytest.mark.parametrize("name, query", QUERIES, ids=[f"{name} {n}" for n, (name, _) in enumerate(QUERIES)])
def test_queries_parse_and_name_only_what_there_is(name: str, query: str) -> None:
    assert complaints(query) == []


def test_the_page_has_queries_and_a_configuration_that_can_be_read() -> None:
    assert len(ON_THE_PAGE) == 5
    (block,) = re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)
    (job,) = yaml.safe_load(block)["scrape_configs"]
    assert job["job_name"] == "drover-operator"
    kept = {each["regex"] for each in job["relabel_configs"] if each.get("action") == "keep"}
    operator = yaml.safe_load((ROOT / "manifests/base/operator.yaml").read_text())["spec"]["template"]
    assert kept == {operator["metadata"]["labels"]["app.kubernetes.io/name"], operator["spec"]["containers"][0]["ports"][0]["name"]}


WRONG = (
    ("sum(rate(drover_write_total[5m]))", ["no series drover_write_total"], "a misspelled metric"),
    ("workqueue_queue_duration_seconds", ["no series workqueue_queue_duration_seconds"], "a histogram has no series of its name"),
    ('drover_objects{phase="Running"}', ["phase is never Running"], "a value that there never is"),
    ('drover_objects{state="Run"}', ["drover_objects has no label state"], "a label of another metric"),
    ("max by (state) (drover_objects)", ["no label state to group by"], "grouped by a label of another metric"),
)


@pytest.mark.parametrize("query, found, why", WRONG, ids=[why for *_, why in WRONG])
def test_the_check_finds_what_it_looks_for(query: str, found: list[str], why: str) -> None:
    assert complaints(query) == found, why


REFUSED: tuple[tuple[Callable[[Queries], str], str, str], ...] = (
    (lambda q: q.most(c.OBJECTS, phase="Running"), "label 'phase' is never 'Running'", "a value that there never is"),
    (lambda q: q.most(c.OBJECTS, state="Run"), "drover_objects has no label 'state'", "a label of another metric"),
    (lambda q: q.most(c.OBJECTS, c.STATE), "drover_objects has no label 'state'", "grouped by a label of another metric"),
    (lambda q: q.series(c.TOOK), "has no series 'controller_runtime_reconcile_time_seconds'", "a histogram has no series of its name"),
    (lambda q: q.quantile(0.9, c.DEPTH), "workqueue_depth has no series 'workqueue_depth_bucket'", "a gauge has no buckets"),
)


@pytest.mark.parametrize("make, words, why", REFUSED, ids=[why for *_, why in REFUSED])
def test_a_query_that_names_something_else_cannot_be_made(make: Callable[[Queries], str], words: str, why: str) -> None:
    with pytest.raises(LookupError, match=re.escape(words)):
        make(Queries())


# --- the files


def test_every_alert_has_a_runbook_a_severity_and_a_time() -> None:
    for rule in rules()["groups"][0]["rules"]:
        page = ROOT / rule["annotations"]["runbook_url"]
        assert page.is_file(), rule["alert"]
        assert rule["labels"]["severity"] in ("critical", "warning")
        assert re.fullmatch(r"\d+m", rule["for"])
        assert page.name in (ROOT / "docs/failures/README.md").read_text()


def test_labels_in_the_words_of_an_alert_are_those_of_its_query() -> None:
    for alert in ALERTS:
        grouped = {name for node in parts(alert.expression) if isinstance(node, promql.AggregateExpr) and node.modifier for name in node.modifier.labels}
        assert set(re.findall(r"\$labels\.(\w+)", alert.summary + alert.description)) <= grouped, alert.name


def test_the_object_for_the_prometheus_operator_holds_the_same_rules() -> None:
    folder = ROOT / "manifests/observability"
    plain, wrapped = (yaml.safe_load((folder / name).read_text()) for name in ("rules.yaml", "prometheusrule.yaml"))
    assert wrapped["spec"] == plain == rules()
    assert json.loads((folder / "dashboard.json").read_text()) == dashboard()


def test_the_kustomization_names_files_that_are_there() -> None:
    folder = ROOT / "manifests/observability"
    body = yaml.safe_load((folder / "kustomization.yaml").read_text())
    files = [*body["resources"], *(file for each in body["configMapGenerator"] for file in each["files"])]
    assert [file for file in files if not (folder / file).is_file()] == []


def test_the_pod_monitor_selects_the_operator_and_its_port() -> None:
    monitor = yaml.safe_load((ROOT / "manifests/observability/podmonitor.yaml").read_text())
    operator = yaml.safe_load((ROOT / "manifests/base/operator.yaml").read_text())
    pod = operator["spec"]["template"]
    assert monitor["spec"]["selector"]["matchLabels"].items() <= pod["metadata"]["labels"].items()
    ports = {port["name"] for port in pod["spec"]["containers"][0]["ports"]}
    assert {each["port"] for each in monitor["spec"]["podMetricsEndpoints"]} <= ports
    assert monitor["metadata"]["namespace"] == operator["metadata"]["namespace"]


def test_panels_do_not_overlap_and_every_metric_of_ours_is_charted() -> None:
    taken: set[tuple[int, int]] = set()
    for panel in dashboard()["panels"]:
        at = panel["gridPos"]
        cells = {(x, y) for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])}
        assert not taken & cells, panel["title"]
        assert max(x for x, _ in cells) < 24
        taken |= cells
    charted = {node.name for _, query in PANELS for node in parts(query) if isinstance(node, promql.VectorSelector)}
    told_elsewhere = {"workqueue_work_duration_seconds"}  # the same durations as controller_runtime_reconcile_time_seconds
    assert {each.name for each in c.CATALOGUE if not charted & set(each.series)} == told_elsewhere


# --- when alerts fire

Samples = dict[tuple[str, frozenset[tuple[str, str]]], float]
Vector = dict[frozenset[tuple[str, str]], float]


def sample(metric: Metric, value: float, **labels: str) -> Samples:
    return {(metric.name, frozenset(labels.items())): value}


def value_of(node: Any, samples: Samples) -> Vector | float:
    """What the query is at the moment of the samples; only as much of PromQL as the alerts use."""
    node = unwrapped(node)
    match node:
        case promql.NumberLiteral():
            return float(node.val)
        case promql.VectorSelector():
            return {labels: value for (name, labels), value in samples.items() if name == node.name and matches(labels, node.matchers.matchers)}
        case promql.Call() if node.func.name == "absent":
            return {} if value_of(node.args[0], samples) else {frozenset(): 1.0}
        case promql.AggregateExpr():
            return aggregated(node, samples)
        case promql.BinaryExpr():
            return combined(node, samples)
    raise AssertionError(f"the evaluator does not know {node}")


def unwrapped(node: Any) -> Any:
    """A node without what changes nothing here: parentheses, ranges, and the rate of what stands for a rate already."""
    while True:
        match node:
            case promql.ParenExpr():
                node = node.expr
            case promql.MatrixSelector():
                node = node.vector_selector
            case promql.Call() if node.func.name in ("rate", "increase"):
                node = node.args[0]
            case _:
                return node


def matches(labels: frozenset[tuple[str, str]], matchers: list[Any]) -> bool:
    held = dict(labels)
    return all(re.fullmatch(each.value, held.get(each.name, "")) for each in matchers)


def aggregated(node: Any, samples: Samples) -> Vector:
    inner = value_of(node.expr, samples)
    assert isinstance(inner, dict)
    by = node.modifier.labels if node.modifier else []
    groups: dict[frozenset[tuple[str, str]], list[float]] = {}
    for labels, value in inner.items():
        groups.setdefault(frozenset(each for each in labels if each[0] in by), []).append(value)
    work = {"sum": sum, "max": max}[str(node.op)]
    return {labels: work(values) for labels, values in groups.items()}


def combined(node: Any, samples: Samples) -> Vector:
    left, right = value_of(node.lhs, samples), value_of(node.rhs, samples)
    assert isinstance(left, dict)
    if str(node.op) == "or":
        assert isinstance(right, dict)
        return right | left
    works: dict[str, Callable[[float, float], float | None]] = {
        ">": lambda a, b: a if a > b else None,
        "<": lambda a, b: a if a < b else None,
        "==": lambda a, b: a if a == b else None,
        "/": lambda a, b: a / b,
    }
    others = right if isinstance(right, dict) else dict.fromkeys(left, right)
    results = {labels: works[str(node.op)](value, others[labels]) for labels, value in left.items() if labels in others}
    return {labels: value for labels, value in results.items() if value is not None}


def fires(name: str, *seen: Samples) -> bool:
    alert = next(each for each in ALERTS if each.name == name)
    return bool(value_of(promql.parse(alert.expression), {key: value for each in seen for key, value in each.items()}))


def leading(value: float, pod: str, lease: str = "drover-operator-0") -> Samples:
    return sample(c.LEADING, value, name=lease, instance=pod)


FIRING: tuple[tuple[str, tuple[Samples, ...], bool, str], ...] = (
    ("DroverNoLeader", (leading(1, "a"), leading(0, "b")), False, "one leads, one stands by"),
    ("DroverNoLeader", (leading(0, "a"), leading(0, "b")), True, "both stand by"),
    ("DroverNoLeader", (), True, "nobody can be scraped"),
    ("DroverNoLeader", (leading(1, "a"), leading(0, "b", "drover-operator-1")), True, "one shard has a leader and hides nothing of the other"),
    ("DroverPassesFail", (sample(c.FAILED, 0.5, controller="s"), sample(c.PASSES, 1, controller="s", result="success")), True, "half of the passes fail"),
    (
        "DroverPassesFail",
        (
            sample(c.FAILED, 0.05, controller="s"),
            sample(c.PASSES, 0.9, controller="s", result="success"),
            sample(c.PASSES, 0.05, controller="s", result="error"),
        ),
        False,
        "one in twenty: it is tried again",
    ),
    ("DroverPassesFail", (sample(c.FAILED, 0, controller="s"),), False, "no passes at all are nothing to divide by"),
    ("DroverPassStuck", (sample(c.LONGEST, 301, name="s"),), True, "five minutes in one pass"),
    ("DroverPassStuck", (sample(c.LONGEST, 20, name="s"),), False, "a busy API server"),
    ("DroverQueueOld", (sample(c.OLDEST, 61, controller="s"),), True, "a key that nobody looks at"),
    ("DroverQueueOld", (sample(c.OLDEST, 5, controller="s"),), False, "a rush"),
    (
        "DroverCacheStale",
        (sample(c.CACHE_AGE, 20, resource="pods", instance="a"), sample(c.CACHE_AGE, 400, resource="pods", instance="b")),
        True,
        "one process",
    ),
    ("DroverCacheStale", (sample(c.CACHE_AGE, 69, resource="pods"),), False, "between two bookmarks"),
    ("DroverListsFail", (sample(c.RELISTS, 4, resource="pods", reason="error"), sample(c.RELISTS, 2, resource="pods", reason="gap")), True, "six in a while"),
    ("DroverListsFail", (sample(c.RELISTS, 9, resource="pods", reason="expired"),), False, "too old to watch from: nothing is wrong"),
    ("DroverFenceAbsent", (sample(c.FENCE, 0, instance="a"),), True, "the leader's probe was let through"),
    ("DroverFenceAbsent", (sample(c.FENCE, 1, instance="a"),), False, "it was refused"),
    ("DroverFenceAbsent", (), False, "nobody leads, or no fence is wanted"),
    ("DroverWritesFenced", (sample(c.FENCED, 11),), True, "more than a take-over makes"),
    ("DroverWritesFenced", (sample(c.FENCED, 3),), False, "a take-over"),
    ("DroverServiceFailed", (sample(c.OBJECTS, 1, controller="s", phase="Failed"),), True, "one service"),
    ("DroverServiceFailed", (sample(c.OBJECTS, 0, controller="s", phase="Failed"), sample(c.OBJECTS, 9, controller="s", phase="Run")), False, "none"),
    ("DroverServiceStalled", (sample(c.CONDITIONS, 1, controller="s", type="Stalled", status="True"),), True, "one service"),
    ("DroverServiceStalled", (sample(c.CONDITIONS, 1, controller="s", type="Stalled", status="False"),), False, "not stalled"),
    ("DroverServiceDegraded", (sample(c.CONDITIONS, 2, controller="s", type="Degraded", status="True"),), True, "two services"),
    ("DroverServiceDegraded", (sample(c.CONDITIONS, 2, controller="s", type="Stalled", status="True"),), False, "another condition"),
)


@pytest.mark.parametrize("name, seen, expected, why", FIRING, ids=[f"{name}: {why}" for name, *_, why in FIRING])
def test_alerts_fire_when_they_should(name: str, seen: tuple[Samples, ...], expected: bool, why: str) -> None:
    assert fires(name, *seen) is expected, why


def test_every_alert_is_seen_firing_and_silent() -> None:
    seen: Iterator[Alert] = iter(ALERTS)
    for alert in seen:
        assert {expected for name, _, expected, _ in FIRING if name == alert.name} == {True, False}, alert.name
