# SPDX-License-Identifier: Apache-2.0
"""Whatever a user writes into an object, the simulated cluster lives on: slips at random places, from seeds, with all actors at work."""

import asyncio
import copy
import json
from collections.abc import Iterator
from random import Random
from typing import Any

import pytest

from drover_operator.kube.transport import APPLY_PATCH, JSON, MERGE_PATCH, STRATEGIC_PATCH, Request
from drover_operator.testing import SimulatedCluster, virtualtime
from drover_operator.testing.sandbox import furniture
from drover_operator.testing.sandbox.front import Front
from drover_operator.testing.sandbox.machines import Machines

SLIPS: tuple[Any, ...] = ("x", 5, None, [], {}, "1s", True, {"a": 1}, [1], -1, "", [{}], [None], {"b": {}}, "abc-1", 3.5)
SELECTOR = {"matchLabels": {"a": "b"}, "matchExpressions": [{"key": "a", "operator": "In", "values": ["b"]}]}
OWNER = {"uid": "x", "kind": "A", "apiVersion": "v1", "name": "n", "controller": True}
CONTAINER = {
    "name": "c",
    "image": "i:1",
    "ports": [{"containerPort": 80, "name": "http"}],
    "resources": {"limits": {"cpu": "1"}, "requests": {"cpu": "1"}},
    "lifecycle": {"preStop": {"sleep": {"seconds": 1}}},
    "readinessProbe": {"httpGet": {"port": 1}},
    "volumeMounts": [{"name": "v", "mountPath": "/v"}],
    "env": [{"name": "A", "value": "b"}],
}
POD_SPEC = {
    "containers": [CONTAINER],
    "initContainers": [{"name": "i", "image": "c", "restartPolicy": "Always"}],
    "readinessGates": [{"conditionType": "x/y"}],
    "nodeSelector": {"kubernetes.io/hostname": "simulated-1"},
    "tolerations": [{"key": "a"}],
    "volumes": [{"name": "v", "emptyDir": {}}],
    "terminationGracePeriodSeconds": 5,
}
ANNOTATIONS = {"drover.dev/simulate": "crash", "drover.dev/simulate-ready-after": "1s"}
META = {"name": "p", "labels": {"a": "b"}, "annotations": ANNOTATIONS, "ownerReferences": [OWNER], "finalizers": ["a/b"]}
BUDGET = {"maxUnavailable": "25%", "selector": SELECTOR}
SERVICE = {"selector": {"a": "b"}, "ports": [{"port": 80, "targetPort": "http", "name": "n"}], "clusterIP": "None"}
TEMPLATE = {"metadata": {"annotations": ANNOTATIONS}, "spec": POD_SPEC}
PORTS = [{"name": "http", "port": 80, "targetPort": 8080}]
NODE_STATUS = {"allocatable": {"pods": "3"}, "conditions": [{"type": "Ready", "status": "True"}]}
IN = "namespaces/default"
KINDS: dict[str, tuple[str, dict[str, Any]]] = {
    "Pod": (f"/api/v1/{IN}/pods", {"spec": POD_SPEC, "status": {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]}}),
    "Service": (f"/api/v1/{IN}/services", {"spec": SERVICE}),
    "ConfigMap": (f"/api/v1/{IN}/configmaps", {"data": {"a": "b"}}),
    "Node": ("/api/v1/nodes", {"spec": {"unschedulable": False}, "status": NODE_STATUS}),
    "Namespace": ("/api/v1/namespaces", {}),
    "PodDisruptionBudget": (f"/apis/policy/v1/{IN}/poddisruptionbudgets", {"spec": BUDGET}),
    "EndpointSlice": (f"/apis/discovery.k8s.io/v1/{IN}/endpointslices", {"addressType": "IPv4", "endpoints": [{"addresses": ["192.0.2.1"]}], "ports": []}),
    "ControllerRevision": (f"/apis/apps/v1/{IN}/controllerrevisions", {"revision": 1, "data": {"a": 1}}),
    "Lease": (f"/apis/coordination.k8s.io/v1/{IN}/leases", {"spec": {"holderIdentity": "x"}}),
    "ResourceQuota": (f"/api/v1/{IN}/resourcequotas", {"spec": {"hard": {"pods": "9", "requests.cpu": "1"}}}),
    "ManagedService": (
        f"/apis/drover.dev/v1alpha1/{IN}/managedservices",
        {"spec": {"criticality": "Normal", "replicas": 2, "ports": PORTS, "template": TEMPLATE}},
    ),
}
PATCHES = (MERGE_PATCH, STRATEGIC_PATCH, APPLY_PATCH)
SEEDS, STEPS = range(30), 30


def places(value: Any, way: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    if way:
        yield way
    if isinstance(value, dict | list):
        for key in value if isinstance(value, dict) else range(len(value)):
            yield from places(value[key], (*way, key))


def spoiled(random: Random, obj: dict[str, Any]) -> dict[str, Any]:
    """The object with a slip at one place or two."""
    result = copy.deepcopy(obj)
    for _ in range(random.choice((1, 1, 2))):
        *way, last = random.choice([each for each in places(result) if each[0] not in ("apiVersion", "kind")])
        target: Any = result
        for key in way:
            target = target[key]
        target[last] = copy.deepcopy(random.choice(SLIPS))
    return result


def request(random: Random) -> Request:
    """A write with a slip in it."""
    kind, (path, parts) = random.choice(list(KINDS.items()))
    version = path.split("/")[2:4] if path.startswith("/apis") else ["v1"]
    obj = spoiled(random, {"apiVersion": "/".join(version), "kind": kind, "metadata": META, **parts})
    match random.choice(("create", "create", "create", "patch", "status", "replace", "delete", "evict")):
        case "create":
            query = {"fieldValidation": random.choice(("Strict", "Ignore", "Warn"))}
            return _sent("POST", path, obj, JSON, query)
        case "patch":
            return _sent("PATCH", f"{path}/p", obj, random.choice(PATCHES), {"fieldManager": "me"})
        case "status":
            return _sent("PATCH", f"{path}/p/status", {"status": obj.get("status")}, MERGE_PATCH, {})
        case "replace":
            return _sent("PUT", f"{path}/p", obj, JSON, {})
        case "delete":
            return _sent("DELETE", f"{path}/p", spoiled(random, {"gracePeriodSeconds": 1, "preconditions": {"uid": "x"}}), JSON, {})
        case _:
            return _sent("POST", f"/api/v1/{IN}/pods/p/eviction", spoiled(random, {"deleteOptions": {"gracePeriodSeconds": 1}}), JSON, {})


def _sent(method: str, path: str, body: Any, content_type: str, query: dict[str, str]) -> Request:
    return Request(method=method, path=path, query=query, body=json.dumps(body).encode(), headers={"Content-Type": content_type})


@pytest.mark.parametrize("seed", SEEDS)
def test_no_slip_of_a_user_ends_an_actor(seed: int):
    """An actor that broke down would leave a sandbox half alive; a request must always be answered."""
    random = Random(seed)

    async def main() -> None:
        cluster = SimulatedCluster(nodes=0)
        machines = Machines(cluster)
        machines.follow()
        furniture.put_in(cluster, 2)
        front = Front(cluster.server, cluster.now)
        before = asyncio.all_tasks()
        await cluster.start()
        actors = [*(asyncio.all_tasks() - before), asyncio.create_task(machines.run())]
        for _ in range(STEPS):
            asked = request(random)
            reply = front.handle(asked)
            assert json.loads(reply.body), asked
            await asyncio.sleep(random.choice((0.01, 0.5, 5.0)))
            broken = [actor.exception() for actor in actors if actor.done()]
            assert broken == [], asked
        for actor in actors:
            actor.cancel()
        await asyncio.gather(*actors, return_exceptions=True)

    virtualtime.run(main)
