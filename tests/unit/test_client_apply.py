# SPDX-License-Identifier: Apache-2.0
"""`Client.apply`: by server-side apply and by merge patch, for real and as a dry run; and what is learned from answers."""

import json
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from drover_operator.api.resource import MANAGED_SERVICES
from drover_operator.core.plan import Plan, TryOut, Verdict
from drover_operator.kube.client import Client
from drover_operator.kube.errors import Invalid, NotFound, OutcomeUnknown
from drover_operator.runtime.executor import Result, learned
from drover_operator.testing import SimulatedCluster
from drover_operator.testing.virtualtime import run

KEY = ("default", "web")


def body(**spec: Any) -> dict[str, Any]:
    template = {"spec": {"containers": [{"name": "c", "image": "i:1"}]}}
    meta = {"name": "web", "namespace": "default"}
    return {"apiVersion": "drover.dev/v1alpha1", "kind": "ManagedService", "metadata": meta, "spec": {"criticality": "Normal", "template": template, **spec}}


def on_a_cluster(play: Callable[[SimulatedCluster, Client], Awaitable[None]]) -> None:
    async def begin() -> None:
        cluster = SimulatedCluster(nodes=0)
        await play(cluster, Client(cluster.transport()))
        await cluster.stop()

    run(begin)


async def applied(client: Client, wanted: dict[str, Any], **more: Any) -> dict[str, Any]:
    return json.loads(await client.apply(MANAGED_SERVICES, *KEY, wanted, manager="me", **more))


def test_a_dry_run_says_what_would_be_stored_and_stores_nothing() -> None:
    async def play(cluster: SimulatedCluster, client: Client) -> None:
        found = await applied(client, body(), dry_run=True)
        assert found["spec"]["replicas"] == 1, "with defaults"
        assert found["metadata"]["uid"]
        assert cluster.find("managedservices", *KEY) is None
        cluster.apply(body(replicas=4))
        assert (await applied(client, body(replicas=5), dry_run=True))["metadata"]["generation"] == 2
        assert cluster.get("managedservices", *KEY)["spec"]["replicas"] == 4

    on_a_cluster(play)


def test_it_takes_over_what_others_own() -> None:
    """Without force this would be a conflict."""

    async def play(cluster: SimulatedCluster, client: Client) -> None:
        await client.apply(MANAGED_SERVICES, *KEY, body(replicas=2), manager="other")
        assert (await applied(client, body(replicas=3)))["spec"]["replicas"] == 3
        assert cluster.get("managedservices", *KEY)["spec"]["replicas"] == 3

    on_a_cluster(play)


def test_a_merge_patch_removes_by_null() -> None:
    async def play(cluster: SimulatedCluster, client: Client) -> None:
        cluster.apply(body(paused=True))
        assert (await applied(client, {"spec": {"paused": None}}, merge=True, dry_run=True))["spec"]["paused"] is False
        assert cluster.get("managedservices", *KEY)["spec"]["paused"] is True

    on_a_cluster(play)


def test_refusals_are_errors_of_the_tree() -> None:
    async def play(cluster: SimulatedCluster, client: Client) -> None:
        with pytest.raises(Invalid, match="revisionHistoryLimit"):
            await applied(client, body(revisionHistoryLimit=0), dry_run=True)
        with pytest.raises(OutcomeUnknown, match="noSuchField: field not declared"):  # a 500, as upstream
            await applied(client, body(noSuchField=1), dry_run=True)
        with pytest.raises(NotFound):
            await client.apply(MANAGED_SERVICES, "nowhere", "web", {**body(), "metadata": {"name": "web", "namespace": "nowhere"}}, manager="me")

    on_a_cluster(play)


def question(name: str) -> TryOut:
    return TryOut(resource=MANAGED_SERVICES, namespace="default", name=name, body={}, step="ask", reason="Missing")


def test_what_is_held_stays_known_what_is_answered_is_new_and_the_rest_is_forgotten() -> None:
    """The engine and the foresight learn by the same lines."""
    old = {question(name).id: Verdict(at=1.0, reason="Old") for name in "abc"}
    plan = Plan(held=(question("a").id, question("b").id, "never seen"))
    found = learned(old, plan, [Result(question("b"), verdict=Verdict(at=2.0)), Result(question("d"))])
    assert found == {question("a").id: Verdict(at=1.0, reason="Old"), question("b").id: Verdict(at=2.0)}
