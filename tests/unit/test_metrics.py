# SPDX-License-Identifier: Apache-2.0
"""The catalogue and the page are the same, whatever happens; what is read at a scrape is right, bounded, and cheap."""

import asyncio
import re
import time
from typing import Any, get_args

import msgspec
import pytest
from prometheus_client.parser import text_string_to_metric_families

from drover_operator.api.managedservice import InstanceState, ManagedService, Phase
from drover_operator.observe import catalogue
from drover_operator.observe.catalogue import CATALOGUE, EVERY, FOREIGN, Label, Metric
from drover_operator.observe.metrics import Histogram, Metrics
from drover_operator.runtime.measures import conditions, instances, phases


def families(page: str) -> dict[str, Any]:
    """What a page shows, by the name of the family as the catalogue writes it."""
    return {family.name + ("_total" if family.type == "counter" else ""): family for family in text_string_to_metric_families(page)}


def test_the_page_is_the_catalogue() -> None:
    """A metric that nobody counts yet is on the page by name, so that a missing name is a mistake and not a quiet hour."""
    shown = families(Metrics(own=True).text())
    assert {name: family.type for name, family in shown.items()} == {each.name: each.kind for each in EVERY}


def test_what_the_client_gathers_has_the_labels_that_we_say() -> None:
    shown = families(Metrics(own=True).text())
    for each in FOREIGN:
        for sample in shown[each.name].samples:
            assert set(sample.labels) == {label.name for label in each.labels}, each.name


@pytest.mark.parametrize("metric", CATALOGUE, ids=lambda each: each.name)
def test_names_follow_the_conventions(metric: Metric) -> None:
    assert re.fullmatch(r"(workqueue|controller_runtime|rest_client|leader_election|drover)_[a-z_]+[a-z]", metric.name)
    assert metric.name.endswith("_total") == (metric.kind == "counter")
    assert bool(metric.buckets) == (metric.kind == "histogram") and metric.buckets == tuple(sorted(metric.buckets))
    assert metric.help.endswith(".")
    assert metric.kind != "histogram" or metric.name.endswith("_seconds"), "durations are in seconds"


@pytest.mark.parametrize("metric", EVERY, ids=lambda each: each.name)
def test_every_label_says_what_bounds_it_and_none_names_an_object(metric: Metric) -> None:
    for label in metric.labels:
        assert bool(label.values) != bool(label.bound), label.name
        assert label.name not in ("namespace", "pod", "uid", "key", "service", "node")


def test_every_name_is_there_once() -> None:
    assert len({each.name for each in EVERY}) == len(EVERY)


WORDS = (
    (catalogue.PHASE, {*get_args(Phase), "None", "other"}, "phases, before the first one, and of a kind that has others"),
    (catalogue.STATE, set(get_args(InstanceState)), "states of an instance"),
)


@pytest.mark.parametrize("label, words, why", WORDS, ids=[why for *_, why in WORDS])
def test_the_bounded_labels_are_what_the_api_has(label: Label, words: set[str], why: str) -> None:
    """`observe` imports nothing of ours, so its lists are held against the types here."""
    assert set(label.values) == words, why


def test_a_histogram_counts_as_prometheus_does() -> None:
    times = Histogram((0.1, 1.0))
    for seconds in (0.05, 0.1, 0.5, 3.0):
        times.observe(seconds)
    assert times.buckets() == [("0.1", 2), ("1.0", 3), ("+Inf", 4)], "a bound belongs to its bucket"
    assert times.sum == pytest.approx(3.65)


def test_counted_asked_and_timed() -> None:
    metrics = Metrics()
    mine = metrics.of("service")
    mine.waited.observe(0.002)
    mine.passed("success")
    mine.wrote("create", "done")
    mine.wrote("create", "done")
    metrics.ask(catalogue.DEPTH, lambda: [(("service",), 3.0)])
    lines = metrics.text().splitlines()
    for expected in (
        'workqueue_depth{name="service"} 3.0',
        'workqueue_queue_duration_seconds_bucket{le="0.001",name="service"} 0.0',
        'workqueue_queue_duration_seconds_bucket{le="0.005",name="service"} 1.0',
        'workqueue_queue_duration_seconds_count{name="service"} 1.0',
        'workqueue_queue_duration_seconds_sum{name="service"} 0.002',
        'controller_runtime_reconcile_total{controller="service",result="success"} 1.0',
        'controller_runtime_reconcile_total{controller="service",result="error"} 0.0',
        'controller_runtime_reconcile_errors_total{controller="service"} 0.0',
        'drover_writes_total{action="create",controller="service",result="done"} 2.0',
    ):
        assert expected in lines, expected


def test_a_wrong_number_of_labels_is_a_mistake() -> None:
    with pytest.raises(ValueError, match="drover_writes_total has 3 labels, not 1"):
        Metrics().counter(catalogue.WRITES, "service")


# --- what is read from the cache


def service(number: int = 0, **status: Any) -> ManagedService:
    wire = {"metadata": {"name": f"s{number}", "namespace": "shop"}, "spec": {"criticality": "Normal", "template": {}}, "status": status}
    return msgspec.json.decode(msgspec.json.encode(wire), type=ManagedService)


def condition(kind: str, status: str) -> dict[str, str]:
    return {"type": kind, "status": status, "reason": "Healthy"}


def told(samples: list[tuple[tuple[str, ...], float]]) -> dict[tuple[str, ...], float]:
    return {labels[1:]: value for labels, value in samples if value}


def test_objects_are_counted_by_phase_and_condition_and_their_instances_by_state() -> None:
    items = [
        service(1, phase="Run", counts={"inService": 3}, conditions=[condition("Ready", "True")]),
        service(2, phase="Run", counts={"inService": 1, "lost": 2}, conditions=[condition("Ready", "False"), condition("Degraded", "True")]),
        service(3),
    ]
    assert told(phases("service", items)) == {("Run",): 2, ("None",): 1}
    assert {labels[1] for labels, _ in phases("service", items)} == set(catalogue.PHASE.values), "a phase that nobody is in shows 0"
    assert told(conditions("service", items)) == {("Ready", "True"): 1, ("Ready", "False"): 1, ("Degraded", "True"): 1}
    assert told(instances("service", items)) == {("InService",): 4, ("Lost",): 2}


def test_what_somebody_writes_into_a_status_makes_no_series() -> None:
    items = [service(n, conditions=[condition(f"Invented{n}", "True")]) for n in range(50)]
    assert told(conditions("service", items)) == {("other", "True"): 50}


def test_a_kind_without_such_a_status_is_left_out() -> None:
    class Plain:
        pass

    assert (phases("x", [Plain()]), conditions("x", [Plain()]), instances("x", [Plain()])) == ([], [], [])


def test_reading_ten_thousand_services_is_cheap() -> None:
    """The loop stands still meanwhile. The bound is five times what it takes on an idle machine, so that only a change of its nature fails."""
    kinds = ("Ready", "Reconciling", "Stalled", "Available", "Progressing", "Degraded", "NeedsHuman")
    items = [service(n, phase="Run", counts={"inService": 3}, conditions=[condition(kind, "True") for kind in kinds]) for n in range(10_000)]

    def once() -> float:
        begun = time.process_time()
        phases("service", items), conditions("service", items), instances("service", items)
        return time.process_time() - begun

    assert min(once() for _ in range(3)) < 0.25


def test_the_page_of_a_whole_process_names_no_object() -> None:
    """The one test of bounds that counts: a label may say where a number comes from, never of which object it is."""
    from drover_operator.runtime.process import Process, Settings
    from drover_operator.testing import SimulatedCluster
    from drover_operator.testing.virtualtime import run

    async def main() -> None:
        from drover_controllers.service import CONTROLLER

        cluster = SimulatedCluster(nodes=2)
        await cluster.start()
        process = Process(cluster.transport(user="operator"), (CONTROLLER,), Settings(identity="op-1", shell=False), clock=cluster.now)
        running = asyncio.create_task(process.run())
        body = {"apiVersion": "drover.dev/v1alpha1", "kind": "ManagedService", "metadata": {"name": "zebra", "namespace": "default"}}
        spec = {"criticality": "Normal", "replicas": 2, "template": {"spec": {"containers": [{"name": "main", "image": "app:1"}]}}}
        cluster.apply({**body, "spec": spec})
        await cluster.until(lambda: cluster.get("managedservices", "default", "zebra").get("status", {}).get("phase") == "Run", 60)
        await asyncio.sleep(5)
        page = process.metrics.text()
        process.stop()
        await running
        await cluster.stop()
        assert "zebra" not in page
        for expected in (
            'drover_objects{controller="service",phase="Run"} 1.0',
            'drover_instances{controller="service",state="InService"} 2.0',
            'drover_object_conditions{controller="service",status="True",type="Ready"} 1.0',
            'leader_election_master_status{name="drover-operator-0"} 1.0',
            "drover_leader_epoch 1.0",
            'drover_cache_objects{resource="pods"} 2.0',
            'drover_relists_total{reason="start",resource="pods"} 1.0',
            'rest_client_requests_total{code="201",method="POST"}',
            'rest_client_request_duration_seconds_count{verb="GET"}',
            'drover_events_total{result="written"}',
            'drover_writes_total{action="create",controller="service",result="done"}',
            'drover_writes_total{action="status",controller="service",result="done"}',
            "drover_fence_refusals_total 0.0",
            'drover_cache_age_seconds{resource="pods"}',
            "drover_build_info{version=",
            'workqueue_adds_total{name="service"}',
            'workqueue_longest_running_processor_seconds{name="service"} 0.0',
        ):
            assert expected in page, expected

    run(main)
