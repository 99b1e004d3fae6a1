# SPDX-License-Identifier: Apache-2.0
"""Webhooks in the simulator: what is stored differs from what was sent, or is refused by somebody who is not Drover."""

import asyncio

import pytest
from unit.simulated import CONFIGS, PODS, SERVICES, Api, Json, config, owners, pod, service, simulate

DENIED = 'admission webhook "webhook.example.com" denied the request: '


def with_sidecar(_old: Json | None, new: Json) -> Json:
    """As a service mesh does."""
    spec = new["spec"]
    if any(each["name"] == "mesh" for each in spec["containers"]):
        return new
    return {**new, "spec": {**spec, "containers": [*spec["containers"], {"name": "mesh", "image": "mesh:1"}]}}


def annotated(_old: Json | None, new: Json) -> Json:
    meta = new["metadata"]
    return {**new, "metadata": {**meta, "annotations": {**(meta.get("annotations") or {}), "seen": "yes"}}}


def test_a_mutation_changes_what_is_stored_and_it_has_its_defaults() -> None:
    async def scenario(api: Api) -> None:
        remove = api.cluster.mutate("pods", with_sidecar)
        status, answer = await api("POST", PODS, pod())
        assert status == 201
        assert [each["name"] for each in answer["spec"]["containers"]] == ["main", "mesh"]
        mesh = answer["spec"]["containers"][1]
        assert mesh["terminationMessagePolicy"] == "File"
        assert mesh["volumeMounts"][0]["name"].startswith("kube-api-access-"), "the token too, as the plugin is asked again"
        remove()
        _, answer = await api("POST", PODS, pod("q"))
        assert [each["name"] for each in answer["spec"]["containers"]] == ["main"]

    simulate(scenario)


def test_a_mutation_is_asked_on_updates_and_dry_runs_but_not_about_subresources() -> None:
    async def scenario(api: Api) -> None:
        seen: list[tuple[bool, str]] = []

        def look(old: Json | None, new: Json) -> Json:
            seen.append((old is None, new["metadata"]["name"]))
            return new

        api.cluster.mutate("managedservices", look)
        await api("POST", SERVICES, service(), dryRun="All")
        await api("POST", SERVICES, service())
        await api.merge(f"{SERVICES}/web", {"spec": {"replicas": 2}})
        await api.merge(f"{SERVICES}/web/status", {"status": {"phase": "Run"}})
        await api("POST", CONFIGS, config("other"))
        assert seen == [(True, "web"), (True, "web"), (False, "web")]

    simulate(scenario)


def test_a_mutation_of_a_custom_resource_is_judged_like_what_was_sent() -> None:
    async def scenario(api: Api) -> None:
        api.cluster.mutate("managedservices", lambda _, new: {**new, "spec": {**new["spec"], "replicas": 9000, "nonsense": 1}})
        status, answer = await api("POST", SERVICES, service())
        assert (status, "spec.replicas in body should be less than or equal to 5000" in answer["message"]) == (422, True)
        assert (await api("POST", SERVICES, service(), fieldValidation="Strict"))[0] in (400, 422)

    simulate(scenario)


def test_a_mutation_cannot_rename_and_owns_nothing() -> None:
    async def scenario(api: Api) -> None:
        api.cluster.mutate("configmaps", annotated)
        api.cluster.mutate("configmaps", lambda _, new: {**new, "metadata": {**new["metadata"], "name": "other", "uid": "mine", "namespace": "default"}})
        _, made = await api.apply(f"{CONFIGS}/c", config(a="1"))
        assert (made["metadata"]["name"], made["metadata"]["annotations"]) == ("c", {"seen": "yes"})
        assert owners(made) == {("me", "Apply", ""): {"f:data": {"f:a": {}}}}
        status, again = await api.apply(f"{CONFIGS}/c", config(a="1"))
        assert (status, again) == (200, made), "and a second apply changes nothing"

    simulate(scenario)


def test_actors_meet_webhooks_too() -> None:
    """The endpoint slice controller's writes are requests like all others."""

    async def scenario(api: Api) -> None:
        api.cluster.mutate("endpointslices", annotated)
        spec = {"selector": {"app": "web"}, "ports": [{"port": 80}]}
        api.cluster.apply({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "web", "namespace": "shop"}, "spec": spec})
        await asyncio.sleep(1)
        (slice_,) = api.cluster.objects("endpointslices", "shop")
        assert slice_["metadata"]["annotations"] == {"seen": "yes"}

    simulate(scenario, start=True)


def test_a_refusal_is_a_403_in_the_words_of_the_webhook() -> None:
    async def scenario(api: Api) -> None:
        def judge(old: Json | None, new: Json | None) -> str | None:
            return "no odd numbers" if new and len(new["data"]) % 2 else None

        remove = api.cluster.refuse("configmaps", judge)
        for dry_run in ({}, {"dryRun": "All"}):
            status, answer = await api("POST", CONFIGS, config(a="1"), **dry_run)
            assert (status, answer["reason"], answer["message"]) == (403, "Forbidden", f"{DENIED}no odd numbers")
        assert (await api("POST", CONFIGS, config(a="1", b="2")))[0] == 201
        assert (await api.merge(f"{CONFIGS}/c", {"data": {"b": None}}))[0] == 403
        assert (await api("DELETE", f"{CONFIGS}/c"))[0] == 200, "deletes are asked only if the webhook says so"
        remove()
        assert (await api("POST", CONFIGS, config(a="1")))[0] == 201

    simulate(scenario)


def test_a_refusal_of_deletes_has_no_new_object() -> None:
    async def scenario(api: Api) -> None:
        api.cluster.refuse("configmaps", lambda old, new: f"{old['metadata']['name']} stays" if old and new is None else None, operations=("DELETE",))
        await api("POST", CONFIGS, config(a="1"))
        status, answer = await api("DELETE", f"{CONFIGS}/c")
        assert (status, answer["message"]) == (403, f"{DENIED}c stays")
        assert (await api.merge(f"{CONFIGS}/c", {"data": {"a": "2"}}))[0] == 200

    simulate(scenario)


def test_schema_first_then_webhooks_then_the_name() -> None:
    """Whoever reads the first error must read the one that the real server gives."""

    async def scenario(api: Api) -> None:
        await api("POST", SERVICES, service())
        api.cluster.refuse("managedservices", lambda _old, _new: "never", name="other.example.com")
        assert (await api("POST", SERVICES, service(criticality="Huge")))[0] == 422
        status, answer = await api("POST", SERVICES, service())
        assert (status, answer["message"]) == (403, 'admission webhook "other.example.com" denied the request: never'), "not: already exists"

    simulate(scenario)


def test_a_webhook_that_cannot_be_reached_fails_the_write() -> None:
    async def scenario(api: Api) -> None:
        repair = api.cluster.break_webhook("pods")
        status, answer = await api("POST", PODS, pod())
        assert (status, answer["reason"]) == (500, "InternalError")
        assert answer["message"].startswith('Internal error occurred: failed calling webhook "webhook.example.com": failed to call webhook: Post ')
        repair()
        assert (await api("POST", PODS, pod()))[0] == 201

    simulate(scenario)


@pytest.mark.parametrize("door", ["pods/status", "pods"], ids=["status", "pods"])
def test_a_webhook_of_a_subresource_is_asked_about_nothing_else(door: str) -> None:
    async def scenario(api: Api) -> None:
        api.cluster.refuse(door, lambda _old, _new: "no")
        made, _ = await api("POST", PODS, pod())
        assert made == (403 if door == "pods" else 201)
        if made == 201:
            body = {"status": {"reason": "x"}}
            assert (await api.merge(f"{PODS}/p/status", body))[0] == 403

    simulate(scenario)
