# SPDX-License-Identifier: Apache-2.0
"""Disruption budgets in the simulator: a status that a controller keeps, late, and evictions that go by nothing else."""

import asyncio
from typing import Any

import pytest
from unit.simulated import BUDGETS, PODS, SERVICES, Api, Json, pod, service, simulate

from drover_operator.testing import BEHAVIOUR_ANNOTATION

LABELS = {"app": "web"}


def budget(**spec: Any) -> Json:
    return {"metadata": {"name": "b"}, "spec": {"selector": {"matchLabels": LABELS}, **spec}}


def status(api: Api) -> Json:
    return dict(api.cluster.get("poddisruptionbudgets", "shop", "b")["status"])


def numbers(api: Api) -> tuple[int, int, int, int]:
    found = status(api)
    return found["expectedPods"], found["currentHealthy"], found["desiredHealthy"], found["disruptionsAllowed"]


async def evict(api: Api, name: str, **query: str) -> tuple[int, str]:
    code, answer = await api("POST", f"{PODS}/{name}/eviction", {"kind": "Eviction", "apiVersion": "policy/v1", "metadata": {"name": name}}, **query)
    causes = (answer.get("details") or {}).get("causes") or [{"message": answer.get("message", "")}]
    return code, causes[0]["message"]


async def running(api: Api, *names: str, owner: Json | None = None, sick: tuple[str, ...] = ()) -> None:
    """Pods that are ready, or not; of an owner with a scale if one is given."""
    for name in names:
        body = pod(name, labels=LABELS)
        if name in sick:
            body["metadata"]["annotations"] = {BEHAVIOUR_ANNOTATION: "never-ready"}
        if owner:
            meta = owner["metadata"]
            reference = {"apiVersion": owner["apiVersion"], "kind": owner["kind"], "name": meta["name"], "uid": meta["uid"], "controller": True}
            body["metadata"]["ownerReferences"] = [reference]
        assert (await api("POST", PODS, body))[0] == 201
    await asyncio.sleep(2)


async def service_of(api: Api, replicas: int) -> Json:
    _, made = await api("POST", SERVICES, service(replicas=replicas))
    return made


COUNTS: list[tuple[Json, tuple[int, int, int, int], str]] = [
    ({"maxUnavailable": 1}, (5, 3, 4, 0), "of the scale of their controller, though two are not there"),
    ({"maxUnavailable": 3}, (5, 3, 2, 1), "three may be missing, two are"),
    ({"maxUnavailable": "25%"}, (5, 3, 3, 0), "a percentage is rounded up"),
    ({"maxUnavailable": 9}, (5, 3, 0, 3), "more than there are"),
    ({"minAvailable": 2}, (3, 3, 2, 1), "a whole number asks nobody for a scale"),
    ({"minAvailable": "50%"}, (5, 3, 3, 0), "a percentage does"),
    ({}, (0, 3, 0, 0), "a budget that says nothing allows nothing"),
]


@pytest.mark.parametrize("spec, expected, why", COUNTS, ids=[row[2] for row in COUNTS])
def test_the_numbers_of_a_budget(spec: Json, expected: tuple[int, int, int, int], why: str) -> None:
    async def scenario(api: Api) -> None:
        await running(api, "a", "b", "c", owner=await service_of(api, 5))
        _, made = await api("POST", BUDGETS, budget(**spec))
        assert made["status"].get("observedGeneration", 0) == 0
        await asyncio.sleep(0.3)
        assert (numbers(api), status(api)["observedGeneration"]) == (expected, 1), why
        (told,) = status(api)["conditions"]
        word = ("True", "SufficientPods") if expected[3] else ("False", "InsufficientPods")
        assert (told["type"], told["status"], told["reason"], told["observedGeneration"]) == ("DisruptionAllowed", *word, 1)

    simulate(scenario, start=True)


def test_the_status_follows_pods_controllers_and_the_spec_a_little_late() -> None:
    async def scenario(api: Api) -> None:
        await running(api, "a", "b", owner=await service_of(api, 2))
        await api("POST", BUDGETS, budget(maxUnavailable=1))
        await asyncio.sleep(0.3)
        assert numbers(api) == (2, 2, 1, 1)
        await api.merge(f"{SERVICES}/web", {"spec": {"replicas": 3}})
        assert numbers(api) == (2, 2, 1, 1), "not at once"
        await asyncio.sleep(0.3)
        assert numbers(api) == (3, 2, 2, 0)
        await api.merge(f"{PODS}/a", {"metadata": {"labels": {"app": None}}})
        await asyncio.sleep(0.3)
        assert numbers(api) == (3, 1, 2, 0)
        await api.merge(f"{BUDGETS}/b", {"spec": {"maxUnavailable": 3}})
        assert status(api)["observedGeneration"] == 1
        assert (await evict(api, "b")) == (429, "The disruption budget b is still being processed by the server.")
        await asyncio.sleep(0.3)
        assert (numbers(api), status(api)["observedGeneration"]) == ((3, 1, 0, 1), 2)
        revision = api.cluster.server.storage.revision
        await asyncio.sleep(60)
        assert api.cluster.server.storage.revision == revision, "nothing is written when nothing is new"

    simulate(scenario, start=True)


def test_pods_that_nobody_controls_count_for_nothing() -> None:
    """A trap of upstream's: such a budget allows no eviction at all."""

    async def scenario(api: Api) -> None:
        await running(api, "a", "b")
        await api("POST", BUDGETS, budget(maxUnavailable=1))
        await asyncio.sleep(0.3)
        assert numbers(api) == (0, 2, 0, 0)
        assert await evict(api, "a") == (429, "The disruption budget b does not allow evicting pods currently")

    simulate(scenario, start=True)


def test_a_controller_without_a_scale_cannot_be_counted() -> None:
    async def scenario(api: Api) -> None:
        owner = api.cluster.apply({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "c", "namespace": "shop"}})
        await running(api, "a", owner=owner)
        await api("POST", BUDGETS, budget(maxUnavailable=1))
        await asyncio.sleep(0.3)
        (told,) = status(api)["conditions"]
        assert (told["status"], told["reason"], told["message"]) == ("False", "SyncFailed", 'found no controllers for pod "a"')
        assert (await evict(api, "a"))[0] == 429, "and its generation was never observed"

    simulate(scenario, start=True)


def test_an_eviction_is_charged_at_once_so_that_two_cannot_share_one_disruption() -> None:
    async def scenario(api: Api) -> None:
        await running(api, "a", "b", "c")
        await api("POST", BUDGETS, budget(minAvailable=2))
        await asyncio.sleep(0.3)
        assert await evict(api, "a", dryRun="All") == (201, "")
        assert (numbers(api), api.cluster.find("pods", "shop", "a")["metadata"].get("deletionTimestamp")) == ((3, 3, 2, 1), None)  # type: ignore[index]
        assert await evict(api, "a") == (201, "")
        assert (status(api)["disruptionsAllowed"], list(status(api)["disruptedPods"])) == (0, ["a"])
        assert status(api)["conditions"][0]["reason"] == "InsufficientPods"
        assert await evict(api, "b") == (429, "The disruption budget b does not allow evicting pods currently"), "the controller has not counted yet"
        await asyncio.sleep(0.3)
        assert await evict(api, "b") == (429, "The disruption budget b needs 2 healthy pods and has 2 currently")
        assert "disruptedPods" not in status(api), "a pod that is being deleted needs no note"

    simulate(scenario, start=True)


def test_an_evicted_pod_is_told_why_it_goes() -> None:
    async def scenario(api: Api) -> None:
        await running(api, "a")
        assert (await evict(api, "a"))[0] == 201
        found = api.cluster.get("pods", "shop", "a")
        target = next(each for each in found["status"]["conditions"] if each["type"] == "DisruptionTarget")
        assert (target["status"], target["reason"]) == ("True", "EvictionByEvictionAPI")
        assert found["metadata"]["deletionTimestamp"]

    simulate(scenario, start=True)


SPARE: list[tuple[Json, int, str]] = [
    ({"minAvailable": 2}, 201, "the others are enough"),
    ({"minAvailable": 3}, 429, "they are not, and nothing is spared"),
    ({"minAvailable": 3, "unhealthyPodEvictionPolicy": "AlwaysAllow"}, 201, "a pod that serves nobody may always go"),
    ({"minAvailable": 0}, 201, "by the ordinary way: two may go"),
]


@pytest.mark.parametrize("spec, code, why", SPARE, ids=[row[2] for row in SPARE])
def test_an_unhealthy_pod(spec: Json, code: int, why: str) -> None:
    async def scenario(api: Api) -> None:
        await running(api, "a", "b", "sick", sick=("sick",))
        await api("POST", BUDGETS, budget(**spec))
        await asyncio.sleep(0.3)
        before = status(api)["disruptionsAllowed"]
        assert (await evict(api, "sick"))[0] == code, why
        assert status(api)["disruptionsAllowed"] == before - (spec["minAvailable"] == 0), "only the ordinary way is charged"

    simulate(scenario, start=True)


def test_pods_that_never_ran_or_have_ended_go_without_asking() -> None:
    async def scenario(api: Api) -> None:
        await running(api, "a")
        await api("POST", PODS, pod("waits", labels=LABELS, nodeSelector={"no": "where"}))
        await api("POST", BUDGETS, budget(minAvailable=9))
        await asyncio.sleep(0.3)
        assert (await evict(api, "waits"))[0] == 201
        assert (await evict(api, "a"))[0] == 429

    simulate(scenario, start=True)


def test_two_budgets_for_one_pod_are_an_error_of_the_server() -> None:
    async def scenario(api: Api) -> None:
        await running(api, "a")
        for name in ("b", "c"):
            await api("POST", BUDGETS, {**budget(minAvailable=0), "metadata": {"name": name}})
        await asyncio.sleep(0.3)
        words = "This pod has more than one PodDisruptionBudget, which the eviction subresource does not support."
        assert await evict(api, "a") == (500, words)

    simulate(scenario, start=True)


def test_an_eviction_names_its_pod_and_keeps_preconditions() -> None:
    async def scenario(api: Api) -> None:
        await running(api, "a")
        code, answer = await api("POST", f"{PODS}/a/eviction", {"kind": "Eviction", "metadata": {"name": "other"}})
        assert (code, answer["message"]) == (400, "name in URL does not match name in Eviction object")
        for conditions in ({"uid": "other"}, {"resourceVersion": "1"}):
            body = {"kind": "Eviction", "metadata": {"name": "a"}, "deleteOptions": {"preconditions": conditions}}
            assert (await api("POST", f"{PODS}/a/eviction", body))[0] == 409
        body = {"kind": "Eviction", "metadata": {"name": "a"}, "deleteOptions": {"dryRun": ["All"]}}
        assert (await api("POST", f"{PODS}/a/eviction", body))[0] == 201
        assert "deletionTimestamp" not in api.cluster.get("pods", "shop", "a")["metadata"]
        version = api.cluster.get("pods", "shop", "a")["metadata"]["resourceVersion"]
        body = {"kind": "Eviction", "metadata": {"name": "a"}, "deleteOptions": {"preconditions": {"resourceVersion": version}}}
        assert (await api("POST", f"{PODS}/a/eviction", body))[0] == 201, "the condition that eviction itself writes is no other version"

    simulate(scenario, start=True)


def test_a_pod_that_was_evicted_and_does_not_go_counts_again_in_two_minutes() -> None:
    async def scenario(api: Api) -> None:
        await running(api, "a", "b")
        await api("POST", BUDGETS, budget(minAvailable=1))
        await asyncio.sleep(0.3)
        noted = {"disruptedPods": {"a": "2026-01-01T00:00:02Z"}}
        await api.merge(f"{BUDGETS}/b/status", {"status": noted})
        await asyncio.sleep(0.3)
        assert numbers(api) == (2, 1, 1, 0)
        await asyncio.sleep(125)
        assert (numbers(api), "disruptedPods" in status(api)) == ((2, 2, 1, 1), False)

    simulate(scenario, start=True)
