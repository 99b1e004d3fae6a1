# SPDX-License-Identifier: Apache-2.0
"""The actors of the simulated cluster do what Drover must not be able to tell from scheduler, kubelets and controllers."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from drover_operator.kube.errors import TooManyRequests, api_error
from drover_operator.kube.transport import Request
from drover_operator.testing import BEHAVIOUR_ANNOTATION, READY_AFTER_ANNOTATION, SimulatedCluster
from drover_operator.testing.virtualtime import run

Json = dict[str, Any]
GATE = "drover.dev/in-service"


def simulate(scenario: Callable[[SimulatedCluster], Awaitable[None]], nodes: int = 3) -> None:
    async def main() -> None:
        cluster = SimulatedCluster(seed=1, nodes=nodes)
        await cluster.start()
        await scenario(cluster)
        await cluster.stop()

    run(main)


def pod(name: str = "p", annotations: dict[str, str] | None = None, image: str = "web:1", **spec: Any) -> Json:
    meta: Json = {"name": name, "namespace": "default", "labels": {"app": "web"}, "annotations": annotations or {}}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": meta, "spec": {"containers": [{"name": "main", "image": image}], **spec}}


def config(name: str, owner: Json | None = None, *, block: bool = False) -> Json:
    meta: Json = {"name": name, "namespace": "default"}
    if owner:
        reference = {"apiVersion": owner["apiVersion"], "kind": owner["kind"], "name": owner["metadata"]["name"], "uid": owner["metadata"]["uid"]}
        meta["ownerReferences"] = [{**reference, "controller": True, "blockOwnerDeletion": block}]
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": meta}


def condition(obj: Json, kind: str) -> Json:
    return next((each for each in obj["status"].get("conditions", ()) if each["type"] == kind), {"status": "missing"})


def ready(cluster: SimulatedCluster, name: str = "p") -> str:
    return str(condition(cluster.get("pods", "default", name), "Ready")["status"])


def names(cluster: SimulatedCluster, resource: str = "pods", namespace: str = "default") -> list[str]:
    return [obj["metadata"]["name"] for obj in cluster.objects(resource, namespace)]


def test_a_pod_starts_in_half_a_second_and_reports_itself() -> None:
    async def scenario(cluster: SimulatedCluster) -> None:
        cluster.apply(pod())
        assert await cluster.until(lambda: ready(cluster) == "True") < 0.8
        found = cluster.get("pods", "default", "p")
        assert (found["status"]["phase"], found["spec"]["nodeName"]) == ("Running", "node-1")
        assert {"podIP", "startTime"} <= found["status"].keys()
        assert [each["type"] for each in found["status"]["conditions"]] == ["PodScheduled", "Initialized", "ContainersReady", "Ready"]
        assert found["status"]["containerStatuses"][0]["restartCount"] == 0

    simulate(scenario)


MODES = [
    ("never-ready", "Running", "False", 0, "runs and never gets ready"),
    ("crash", "Running", "False", 3, "restarts at once, after 10 s, after 20 s ..."),
    ("flap", "Running", "False", 3, "is ready for 3 s between crashes"),
    ("fail", "Failed", "False", 0, "ends and keeps its name"),
    ("pull-error", "Pending", "False", 0, "has no image"),
    ("normal", "Running", "True", 0, "is fine"),
]


@pytest.mark.parametrize("row", MODES, ids=[row[0] for row in MODES])
@pytest.mark.parametrize("by", ["annotation", "image"])
def test_behaviours(by: str, row: tuple[str, str, str, int, str]) -> None:
    mode, phase, is_ready, restarts, why = row

    async def scenario(cluster: SimulatedCluster) -> None:
        cluster.set_image_behaviour("bad:1", mode)
        cluster.apply(pod(annotations={BEHAVIOUR_ANNOTATION: mode}) if by == "annotation" else pod(image="bad:1"))
        await asyncio.sleep(46.0)
        status = cluster.get("pods", "default", "p")["status"]
        found = (status["phase"], ready(cluster), status["containerStatuses"][0]["restartCount"])
        assert found == (phase, is_ready, restarts), why

    simulate(scenario)


def test_a_slow_start_is_ready_when_told() -> None:
    async def scenario(cluster: SimulatedCluster) -> None:
        cluster.apply(pod(annotations={READY_AFTER_ANNOTATION: "5s"}))
        assert 5.4 < await cluster.until(lambda: ready(cluster) == "True") < 5.8

    simulate(scenario)


def test_ready_waits_for_the_gate_and_keeps_it_over_a_container_restart() -> None:
    async def scenario(cluster: SimulatedCluster) -> None:
        cluster.apply(pod(readinessGates=[{"conditionType": GATE}]))
        await asyncio.sleep(3)
        assert (ready(cluster), condition(cluster.get("pods", "default", "p"), "Ready")["reason"]) == ("False", "ReadinessGatesNotReady")
        mine = {"type": GATE, "status": "True", "lastProbeTime": None, "lastTransitionTime": "2025-12-31T00:00:00Z"}
        conditions = cluster.get("pods", "default", "p")["status"]["conditions"]
        since = condition(cluster.get("pods", "default", "p"), "ContainersReady")["lastTransitionTime"]
        cluster.patch("pods", "default", "p", {"status": {"conditions": [*conditions, mine]}}, "status")
        assert await cluster.until(lambda: ready(cluster) == "True") < 0.2
        after = cluster.get("pods", "default", "p")
        assert condition(after, GATE) == mine, "foreign conditions keep their times"
        assert condition(after, "ContainersReady")["lastTransitionTime"] == since
        cluster.restart_containers("default", "p")
        assert await cluster.until(lambda: ready(cluster) == "False") < 0.2
        assert await cluster.until(lambda: ready(cluster) == "True") < 1
        after = cluster.get("pods", "default", "p")
        assert (condition(after, GATE), after["status"]["containerStatuses"][0]["restartCount"]) == (mine, 1)

    simulate(scenario)


def test_deletion_takes_until_the_kubelet_confirms() -> None:
    async def scenario(cluster: SimulatedCluster) -> None:
        cluster.apply(pod("waits", nodeSelector={"none": "such"}))
        sleep = {"lifecycle": {"preStop": {"sleep": {"seconds": 5}}}}
        cluster.apply(pod("slow", containers=[{"name": "main", "image": "web:1", **sleep}]))
        cluster.apply(pod("quick"))
        cluster.apply(pod("forced"))
        await asyncio.sleep(2)
        for name in ("waits", "slow", "quick"):
            cluster.delete("pods", "default", name)
        cluster.delete("pods", "default", "forced", grace=0)
        assert names(cluster) == ["quick", "slow"], "unscheduled and forced pods vanish at once"
        meta = cluster.get("pods", "default", "quick")["metadata"]
        assert (meta["deletionGracePeriodSeconds"], meta["deletionTimestamp"]) == (30, "2026-01-01T00:00:32Z")
        assert 0.9 < await cluster.until(lambda: names(cluster) == ["slow"]) < 1.2
        assert 4.5 < await cluster.until(lambda: names(cluster) == []) < 5.2, "after its preStop sleep"

    simulate(scenario)


def test_a_dead_node_freezes_its_pods() -> None:
    async def scenario(cluster: SimulatedCluster) -> None:
        cluster.apply(pod("p"))
        cluster.apply(pod("q"))
        await asyncio.sleep(2)
        cluster.node_down("node-1")
        cluster.node_down("node-2")
        await asyncio.sleep(39)
        assert ready(cluster) == "True", "for 40 s nobody knows"
        await asyncio.sleep(2)
        assert ready(cluster) == "False"
        assert condition(cluster.get("nodes", "", "node-1"), "Ready")["status"] == "Unknown"
        cluster.apply(pod("r"))
        await asyncio.sleep(2)
        assert cluster.get("pods", "default", "r")["spec"]["nodeName"] == "node-3"
        await asyncio.sleep(300)
        assert "deletionTimestamp" in cluster.get("pods", "default", "p")["metadata"], "evicted by taint after 300 s more"
        await asyncio.sleep(3600)
        assert names(cluster) == ["p", "q", "r"], "and Terminating for ever"
        cluster.node_up("node-1")
        await cluster.until(lambda: names(cluster) == ["q", "r"], 3)
        cluster.remove_node("node-2")
        await cluster.until(lambda: names(cluster) == ["r"], 45)

    simulate(scenario)


def test_a_node_that_returns_in_time_makes_its_pods_ready_again() -> None:
    async def scenario(cluster: SimulatedCluster) -> None:
        cluster.apply(pod())
        await asyncio.sleep(2)
        cluster.node_down("node-1")
        await asyncio.sleep(60)
        cluster.node_up("node-1", rebooted=True)
        await cluster.until(lambda: ready(cluster) == "True", 3)
        assert cluster.get("pods", "default", "p")["status"]["containerStatuses"][0]["restartCount"] == 1
        await asyncio.sleep(600)
        assert names(cluster) == ["p"], "nothing is evicted later"

    simulate(scenario)


def test_full_and_cordoned_nodes_take_no_pods() -> None:
    async def scenario(cluster: SimulatedCluster) -> None:
        cluster.add_node("small", pods=1)
        cluster.patch("nodes", "", "node-1", {"spec": {"unschedulable": True}})
        cluster.apply(pod("a"))
        cluster.apply(pod("b"))
        await asyncio.sleep(1)
        assert condition(cluster.get("pods", "default", "b"), "PodScheduled")["reason"] == "Unschedulable"
        cluster.patch("nodes", "", "node-1", {"spec": {"unschedulable": False}})
        await cluster.until(lambda: ready(cluster, "b") == "True", 2)

    simulate(scenario, nodes=1)


def test_an_evicted_pod_fails_and_keeps_its_name() -> None:
    async def scenario(cluster: SimulatedCluster) -> None:
        cluster.apply(pod())
        await asyncio.sleep(2)
        cluster.evict("default", "p")
        await asyncio.sleep(60)
        status = cluster.get("pods", "default", "p")["status"]
        assert (status["phase"], status["reason"], ready(cluster)) == ("Failed", "Evicted", "False")
        cluster.delete("pods", "default", "p")
        assert names(cluster) == [], "it runs nowhere: gone at once"

    simulate(scenario)


def test_endpoint_slices_follow_their_pods_a_little_later() -> None:
    async def scenario(cluster: SimulatedCluster) -> None:
        spec = {"selector": {"app": "web"}, "ports": [{"name": "http", "port": 80, "targetPort": 8080}]}
        meta = {"name": "web", "namespace": "default", "labels": {"drover.dev/service": "web"}}
        cluster.apply({"apiVersion": "v1", "kind": "Service", "metadata": meta, "spec": spec})
        cluster.apply(pod("p"))
        cluster.apply(pod("q", {BEHAVIOUR_ANNOTATION: "never-ready"}))
        await asyncio.sleep(3)
        (found,) = cluster.objects("endpointslices")
        assert found["metadata"]["labels"]["kubernetes.io/service-name"] == "web"
        assert found["metadata"]["labels"]["drover.dev/service"] == "web"
        assert found["ports"] == [{"name": "http", "port": 8080, "protocol": "TCP"}]
        assert [each["conditions"]["ready"] for each in found["endpoints"]] == [True, False]
        cluster.delete("pods", "default", "p")
        assert cluster.objects("endpointslices") == [found], "it lags"
        await asyncio.sleep(0.3)
        (found,) = cluster.objects("endpointslices")
        assert found["endpoints"][0]["conditions"] == {"ready": False, "serving": True, "terminating": True}
        for number in range(120):
            cluster.apply(pod(f"many-{number}"))
        await asyncio.sleep(3)
        assert [len(each["endpoints"]) for each in cluster.objects("endpointslices")] == [100, 21]
        cluster.delete("services", "default", "web")
        await cluster.until(lambda: cluster.objects("endpointslices") == [], 2)

    simulate(scenario)


OWNERSHIP = [
    ("Background", False, [], "dependents go after the owner"),
    ("Foreground", True, [], "dependents go first"),
    ("Foreground", False, [], "blockOwnerDeletion=false does not save a dependent, the owner only does not wait"),
    ("Orphan", True, ["child"], "dependents stay, without the reference"),
]


@pytest.mark.parametrize("propagation, block, left, why", OWNERSHIP, ids=[row[3] for row in OWNERSHIP])
def test_garbage_collection(propagation: str, block: bool, left: list[str], why: str) -> None:
    async def scenario(cluster: SimulatedCluster) -> None:
        owner = cluster.apply(config("owner"))
        child = cluster.apply(config("child", owner, block=block))
        cluster.apply(config("grandchild", child, block=block))
        cluster.apply(config("stranger"))
        cluster.delete("configmaps", "default", "owner", propagation=propagation)
        assert ("owner" in names(cluster, "configmaps")) == (propagation != "Background"), "finalizers hold the owner"
        await asyncio.sleep(3)
        kept = ["child", "grandchild"] if left else []
        assert names(cluster, "configmaps") == [*kept, "stranger"], why
        if left:
            assert "ownerReferences" not in cluster.get("configmaps", "default", "child")["metadata"]

    simulate(scenario)


def test_a_foreground_owner_waits_for_blocking_dependents_only() -> None:
    async def scenario(cluster: SimulatedCluster) -> None:
        for name, block in (("one", True), ("two", False)):
            owner = cluster.apply(config(name))
            held = config(f"{name}-child", owner, block=block)
            held["metadata"]["finalizers"] = ["drover.dev/held"]
            cluster.apply(held)
            cluster.delete("configmaps", "default", name, propagation="Foreground")
        await asyncio.sleep(3)
        assert names(cluster, "configmaps") == ["one", "one-child", "two-child"]
        cluster.patch("configmaps", "default", "one-child", {"metadata": {"finalizers": None}})
        await cluster.until(lambda: names(cluster, "configmaps") == ["two-child"], 2)

    simulate(scenario)


def test_an_object_created_for_an_owner_that_is_gone_is_collected() -> None:
    async def scenario(cluster: SimulatedCluster) -> None:
        owner = cluster.apply(config("owner"))
        cluster.delete("configmaps", "default", "owner")
        cluster.apply(config("owner"))
        cluster.apply(config("late", owner))
        await asyncio.sleep(1)
        assert names(cluster, "configmaps") == ["owner"], "the new owner of that name has another uid"

    simulate(scenario)


def test_a_namespace_is_emptied_and_removed() -> None:
    async def scenario(cluster: SimulatedCluster) -> None:
        cluster.apply(pod())
        cluster.apply(config("c"))
        await asyncio.sleep(2)
        cluster.delete("namespaces", "", "default")
        assert cluster.get("namespaces", "", "default")["status"]["phase"] == "Terminating"
        await cluster.until(lambda: cluster.find("namespaces", "", "default") is None, 5)
        assert names(cluster) == []

    simulate(scenario)


def test_evictions_respect_disruption_budgets() -> None:
    async def scenario(cluster: SimulatedCluster) -> None:
        budget = {"minAvailable": 2, "selector": {"matchLabels": {"app": "web"}}, "unhealthyPodEvictionPolicy": "AlwaysAllow"}
        meta = {"name": "web", "namespace": "default"}
        cluster.apply({"apiVersion": "policy/v1", "kind": "PodDisruptionBudget", "metadata": meta, "spec": budget})
        for name in ("a", "b"):
            cluster.apply(pod(name))
        cluster.apply(pod("sick", {BEHAVIOUR_ANNOTATION: "never-ready"}))
        await asyncio.sleep(2)
        transport = cluster.transport()

        async def evict(name: str) -> int:
            path = f"/api/v1/namespaces/default/pods/{name}/eviction"
            reply = await transport.send(Request(method="POST", path=path, body=b'{"kind":"Eviction","metadata":{"name":"%b"}}' % name.encode()))
            assert reply.status == 201 or isinstance(api_error(reply.status, reply.body), TooManyRequests)
            return reply.status

        assert [await evict(name) for name in ("a", "sick")] == [429, 201], "no healthy one can be spared; the sick one may go"
        cluster.apply(pod("c"))
        await asyncio.sleep(2)
        assert [await evict(name) for name in ("a", "b")] == [201, 429]

    simulate(scenario)
