# SPDX-License-Identifier: Apache-2.0
"""ResourceQuota in the simulator: charged at once, in the words of the real server, and given back late."""

import asyncio

import pytest
from unit.simulated import CONFIGS, PODS, QUOTAS, SERVICES, Api, Json, config, pod, service, simulate

from drover_operator.testing.quota import Amount


def quota(**hard: str) -> Json:
    return {"metadata": {"name": "q"}, "spec": {"hard": {name.replace("__", "/").replace("_", "."): amount for name, amount in hard.items()}}}


async def with_quota(api: Api, **hard: str) -> None:
    status, _ = await api("POST", QUOTAS, quota(**hard))
    assert status == 201
    await asyncio.sleep(1)


def used(api: Api) -> dict[str, str]:
    return dict(api.cluster.get("resourcequotas", "shop", "q")["status"]["used"])


def test_a_quota_that_nobody_has_counted_yet_refuses_nothing() -> None:
    async def scenario(api: Api) -> None:
        await api("POST", QUOTAS, quota(pods="0"))
        assert (await api("POST", PODS, pod()))[0] == 201
        await asyncio.sleep(1)
        assert api.cluster.get("resourcequotas", "shop", "q")["status"] == {"hard": {"pods": "0"}, "used": {"pods": "1"}}
        assert (await api("POST", PODS, pod("b")))[0] == 403

    simulate(scenario, start=True)


REFUSED: list[tuple[dict[str, str], Json, str, str]] = [
    ({"pods": "2"}, pod("x"), "exceeded quota: q, requested: pods=1, used: pods=2, limited: pods=2", "pods"),
    ({"count__pods": "2"}, pod("x"), "exceeded quota: q, requested: count/pods=1, used: count/pods=2, limited: count/pods=2", "pods as objects"),
    (
        {"pods": "2", "requests_cpu": "1", "requests_memory": "1Gi"},
        pod("x", requests={"cpu": "600m", "memory": "600Mi"}),
        (
            "exceeded quota: q, requested: pods=1,requests.cpu=600m,requests.memory=600Mi, used: pods=2,requests.cpu=1,requests.memory=1Gi,"
            " limited: pods=2,requests.cpu=1,requests.memory=1Gi"
        ),
        "all that is exceeded, sorted, in canonical amounts",
    ),
    ({"requests_cpu": "2"}, pod("x"), "failed quota: q: must specify requests.cpu for: main", "a pod must say what it needs"),
    (
        {"cpu": "2", "requests_memory": "2Gi"},
        pod("x"),
        "failed quota: q: must specify cpu for: main; requests.memory for: main",
        "all that it must say, by both names",
    ),
]


@pytest.mark.parametrize("hard, body, why_not, why", REFUSED, ids=[row[3] for row in REFUSED])
def test_refusals_have_the_words_of_the_real_server(hard: dict[str, str], body: Json, why_not: str, why: str) -> None:
    async def scenario(api: Api) -> None:
        for name in ("a", "b"):
            await api("POST", PODS, pod(name, requests={"cpu": "500m", "memory": "512Mi"}))
        await with_quota(api, **hard)
        for dry_run in ({}, {"dryRun": "All"}):
            status, answer = await api("POST", PODS, body, **dry_run)
            assert (status, answer["reason"], answer["message"]) == (403, "Forbidden", f'pods "x" is forbidden: {why_not}'), why
        assert answer["details"] == {"name": "x", "kind": "pods"}

    simulate(scenario, start=True)


def test_other_objects_are_counted_by_resource_and_group() -> None:
    async def scenario(api: Api) -> None:
        await with_quota(api, count__configmaps="1", count__managedservices_drover_dev="0")
        assert (await api("POST", CONFIGS, config()))[0] == 201
        _, answer = await api("POST", CONFIGS, config("d"))
        words = 'configmaps "d" is forbidden: exceeded quota: q, requested: count/configmaps=1, used: count/configmaps=1, limited: count/configmaps=1'
        assert answer["message"] == words
        status, answer = await api.apply(f"{SERVICES}/web", service())
        assert (status, "requested: count/managedservices.drover.dev=1" in answer["message"]) == (403, True), "apply makes objects too"
        assert (await api("POST", PODS, pod()))[0] == 201, "what is not limited is free"

    simulate(scenario, start=True)


def test_room_comes_back_late() -> None:
    async def scenario(api: Api) -> None:
        await with_quota(api, pods="1")
        await api("POST", PODS, pod("a"))
        assert used(api) == {"pods": "1"}, "charged at admission, not by the controller"
        await asyncio.sleep(3)
        api.cluster.delete("pods", "shop", "a", grace=0)
        assert api.cluster.find("pods", "shop", "a") is None
        assert (await api("POST", PODS, pod("b")))[0] == 403
        await asyncio.sleep(4.5)
        assert (await api("POST", PODS, pod("b")))[0] == 403
        await asyncio.sleep(1)
        assert used(api) == {"pods": "0"}
        assert (await api("POST", PODS, pod("b")))[0] == 201

    simulate(scenario, start=True)


def test_a_create_that_fails_after_it_was_charged_uses_its_share_up() -> None:
    """Seen on a real cluster: retried creates of names that are taken fill a quota until the next full count."""

    async def scenario(api: Api) -> None:
        await with_quota(api, pods="3")
        await api("POST", PODS, pod("a"))
        assert (await api("POST", PODS, pod("a")))[0] == 409
        assert used(api) == {"pods": "2"}
        assert (await api("POST", PODS, pod("b"), dryRun="All"))[0] == 201
        assert used(api) == {"pods": "2"}, "a dry run is not charged"
        await asyncio.sleep(301)
        assert used(api) == {"pods": "1"}

    simulate(scenario, start=True)


def test_a_full_quota_hides_that_a_name_is_taken() -> None:
    async def scenario(api: Api) -> None:
        await with_quota(api, pods="1")
        await api("POST", PODS, pod("a"))
        assert (await api("POST", PODS, pod("a")))[0] == 403, "an idempotent create must not take this for a free name"

    simulate(scenario, start=True)


def test_pods_that_have_ended_or_should_have_do_not_count() -> None:
    async def scenario(api: Api) -> None:
        api.cluster.set_image_behaviour("web:1", "fail")
        await with_quota(api, pods="1", count__pods="9")
        await api("POST", PODS, pod("a"))
        await asyncio.sleep(9)
        assert api.cluster.get("pods", "shop", "a")["status"]["phase"] == "Failed"
        assert used(api) == {"count/pods": "1", "pods": "0"}, "it is an object still"
        api.cluster.set_image_behaviour("web:1")
        await api("POST", PODS, pod("b"))
        await asyncio.sleep(3)
        api.cluster.node_down(api.cluster.get("pods", "shop", "b")["spec"]["nodeName"])
        api.cluster.delete("pods", "shop", "b")
        await asyncio.sleep(20)
        assert used(api)["pods"] == "1", "it may be running yet"
        await asyncio.sleep(330)
        assert api.cluster.get("pods", "shop", "b")["metadata"]["deletionTimestamp"]
        assert used(api)["pods"] == "0"

    simulate(scenario, start=True)


def test_a_changed_quota_is_counted_soon() -> None:
    async def scenario(api: Api) -> None:
        await with_quota(api, pods="1")
        await api("POST", PODS, pod("a"))
        await api.merge(f"{QUOTAS}/q", {"spec": {"hard": {"pods": "2"}}})
        assert (await api("POST", PODS, pod("b")))[0] == 403, "admission goes by status"
        await asyncio.sleep(0.5)
        assert (await api("POST", PODS, pod("b")))[0] == 201
        api.cluster.delete("resourcequotas", "shop", "q")
        assert (await api("POST", PODS, pod("c")))[0] == 201
        await asyncio.sleep(700)

    simulate(scenario, start=True)


def test_the_larger_of_init_containers_and_the_rest_is_what_a_pod_asks_for() -> None:
    async def scenario(api: Api) -> None:
        await with_quota(api, requests_cpu="10")

        def container(name: str, cpu: str, **more: str) -> Json:
            return {"name": name, "image": "i", "resources": {"requests": {"cpu": cpu}}, **more}

        first = [container("i", "3"), container("s", "200m", restartPolicy="Always")]
        status, answer = await api("POST", PODS, pod("a", initContainers=first, containers=[container("m", "1"), container("n", "500m")]))
        assert status == 201, answer
        assert used(api) == {"requests.cpu": "3"}
        await api("POST", PODS, pod("b", initContainers=first[1:], containers=[container("m", "1"), container("n", "500m")]))
        assert used(api) == {"requests.cpu": "4700m"}
        limited = {"name": "m", "image": "i", "resources": {"limits": {"cpu": "1"}}}
        await api("POST", PODS, pod("c", containers=[limited]))
        assert used(api) == {"requests.cpu": "5700m"}, "a limit is a request where there is none"

    simulate(scenario, start=True)


AMOUNTS = [
    ("0", "0"),
    ("1000m", "1"),
    ("0.5", "500m"),
    ("1500", "1500"),
    ("2000", "2k"),
    ("1e3", "1k"),
    ("1024Ki", "1Mi"),
    ("1.5Gi", "1536Mi"),
    ("1000Ki", "1000Ki"),
    ("0.1Ki", "102400m"),
    ("3n", "3n"),
    ("-1", "-1"),
]


@pytest.mark.parametrize("text, canonical", AMOUNTS)
def test_amounts_are_canonical(text: str, canonical: str) -> None:
    assert str(Amount.read(text)) == canonical


def test_sums_are_written_like_their_first_part() -> None:
    assert str(Amount.read("1Gi").plus(Amount.read("1"))) == "1073741825"
    assert str(Amount.read("0").plus(Amount.read("512Mi"))) == "512Mi"
    assert str(Amount.read("1k").plus(Amount.read("24"))) == "1024"
    with pytest.raises(ValueError, match="no quantity"):
        Amount.read("lots")
