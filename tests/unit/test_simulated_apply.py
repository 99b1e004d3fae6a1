# SPDX-License-Identifier: Apache-2.0
"""Server-side apply in the simulator: what is owned, by whom, and what becomes of it. Every expectation was taken from a real 1.35."""

import asyncio
from typing import Any

import pytest
from unit.simulated import CONFIGS, PLAIN_SERVICES, PODS, REVISIONS, SERVICES, Api, Json, config, owners, part, pod, service, simulate

from drover_operator.kube.transport import APPLY_PATCH, JSON_PATCH, STRATEGIC_PATCH

OTHER = {("other", "Apply", ""): {"f:data": {"f:a": {}}}}
MADE = {"f:data": {"f:a": {}, "f:b": {}}}


def test_apply_makes_an_object_and_owns_what_it_said() -> None:
    async def scenario(api: Api) -> None:
        status, made = await api.apply(f"{CONFIGS}/c", config(a="1", b="2"))
        assert status == 201
        (entry,) = made["metadata"]["managedFields"]
        assert entry == {
            "manager": "me",
            "operation": "Apply",
            "apiVersion": "v1",
            "time": "2026-01-01T00:00:00Z",
            "fieldsType": "FieldsV1",
            "fieldsV1": MADE,
        }

    simulate(scenario)


def test_applying_the_same_again_changes_nothing_and_tells_nobody() -> None:
    async def scenario(api: Api) -> None:
        _, made = await api.apply(f"{CONFIGS}/c", config(a="1"))
        await asyncio.sleep(5)
        revision = api.cluster.server.storage.revision
        status, again = await api.apply(f"{CONFIGS}/c", config(a="1"))
        assert (status, again) == (200, made), "not even the time of the entry"
        assert (api.cluster.server.storage.revision, api.cluster.writes[-1].changed) == (revision, False)

    simulate(scenario)


def test_a_dry_run_judges_and_stores_nothing() -> None:
    async def scenario(api: Api) -> None:
        assert (await api.apply(f"{CONFIGS}/c", config(a="1"), dryRun="All"))[0] == 201
        assert api.cluster.find("configmaps", "shop", "c") is None
        await api.apply(f"{CONFIGS}/c", config(a="1"), "other")
        assert (await api.apply(f"{CONFIGS}/c", config(a="2"), dryRun="All"))[0] == 409
        _, forced = await api.apply(f"{CONFIGS}/c", config(a="2"), dryRun="All", force="true")
        assert forced["data"] == {"a": "2"}
        assert api.cluster.get("configmaps", "shop", "c")["data"] == {"a": "1"}

    simulate(scenario)


CONFLICTS: list[tuple[Json, str, list[tuple[str, str]], str]] = [
    (config(b="9"), 'Apply failed with 1 conflict: conflict with "first": .data.b', [('conflict with "first"', ".data.b")], "one field of one owner"),
    (
        config(b="9", c="9"),
        'Apply failed with 2 conflicts: conflicts with "first":\n- .data.b\n- .data.c',
        [('conflict with "first"', ".data.b"), ('conflict with "first"', ".data.c")],
        "two fields of one owner",
    ),
    (
        config(a="9", c="9"),
        'Apply failed with 3 conflicts: conflicts with "first":\n- .data.a\n- .data.c\nconflicts with "second":\n- .data.a',
        [('conflict with "first"', ".data.a"), ('conflict with "first"', ".data.c"), ('conflict with "second"', ".data.a")],
        "two owners of one field",
    ),
    (
        config(u="9"),
        'Apply failed with 1 conflict: conflict with "updater" using v1: .data.u',
        [('conflict with "updater" using v1', ".data.u")],
        "who wrote without apply is named with the version",
    ),
]


@pytest.mark.parametrize("body, message, causes, why", CONFLICTS, ids=[row[3] for row in CONFLICTS])
def test_conflicts_are_told_as_the_real_server_tells_them(body: Json, message: str, causes: list[tuple[str, str]], why: str) -> None:
    async def scenario(api: Api) -> None:
        await api.apply(f"{CONFIGS}/c", config(a="1", b="2", c="3"), "first")
        await api.apply(f"{CONFIGS}/c", config(a="1"), "second")
        await api.merge(f"{CONFIGS}/c", {"data": {"u": "1"}}, "updater")
        before = api.cluster.get("configmaps", "shop", "c")
        status, answer = await api.apply(f"{CONFIGS}/c", body)
        assert (status, answer["reason"], answer["message"]) == (409, "Conflict", message), why
        assert answer["details"]["causes"] == [{"reason": "FieldManagerConflict", "message": words, "field": field} for words, field in causes]
        assert api.cluster.get("configmaps", "shop", "c") == before, "nothing is applied, not even the fields without a conflict"

    simulate(scenario)


def test_force_takes_the_field_and_the_loser_no_longer_owns_it() -> None:
    async def scenario(api: Api) -> None:
        await api.apply(f"{CONFIGS}/c", config(a="1", b="2"), "other")
        status, answer = await api.apply(f"{CONFIGS}/c", config(b="9"), force="true")
        assert (status, answer["data"]) == (200, {"a": "1", "b": "9"})
        assert owners(answer) == OTHER | {("me", "Apply", ""): {"f:data": {"f:b": {}}}}
        _, answer = await api.apply(f"{CONFIGS}/c", config(a="1"), "other")
        assert answer["data"] == {"a": "1", "b": "9"}, "what it lost it does not remove either"

    simulate(scenario)


def test_what_the_applier_alone_owned_and_no_longer_says_is_removed() -> None:
    async def scenario(api: Api) -> None:
        await api.apply(f"{CONFIGS}/c", config(a="1", b="2", c="3"))
        _, answer = await api.apply(f"{CONFIGS}/c", config(a="1"), "other")
        assert owners(answer)["other", "Apply", ""] == {"f:data": {"f:a": {}}}, "the same value is shared without a conflict"
        await api.merge(f"{CONFIGS}/c", {"data": {"c": "4", "x": "5"}})
        _, answer = await api.apply(f"{CONFIGS}/c", config())
        assert answer["data"] == {"a": "1", "c": "4", "x": "5"}, "a is shared, c was taken over, x is another's"
        _, answer = await api.apply(f"{CONFIGS}/c", config(), "other")
        assert answer["data"] == {"c": "4", "x": "5"}, "the last owner gone, the field goes"
        assert owners(answer) == {("someone", "Update", ""): {"f:data": {"f:c": {}, "f:x": {}}}} | {
            (who, "Apply", ""): {"f:data": {}} for who in ("me", "other")
        }

    simulate(scenario)


UPDATES: list[tuple[str, Any, str, str]] = [
    ("application/merge-patch+json", {"data": {"a": "9", "n": "1"}}, "someone", "merge patch"),
    (STRATEGIC_PATCH, {"data": {"a": "9", "n": "1"}}, "someone", "strategic merge patch"),
    (JSON_PATCH, [{"op": "replace", "path": "/data/a", "value": "9"}, {"op": "add", "path": "/data/n", "value": "1"}], "someone", "JSON patch"),
    ("application/json", config(a="9", b="2", n="1"), "someone", "whole update"),
]


@pytest.mark.parametrize("content, body, manager, why", UPDATES, ids=[row[3] for row in UPDATES])
def test_other_writes_take_over_what_they_change(content: str, body: Any, manager: str, why: str) -> None:
    async def scenario(api: Api) -> None:
        await api.apply(f"{CONFIGS}/c", config(a="1", b="2"))
        method = "PUT" if content == "application/json" else "PATCH"
        status, answer = await api(method, f"{CONFIGS}/c", body, content, fieldManager=manager)
        assert (status, answer["data"]) == (200, {"a": "9", "b": "2", "n": "1"}), why
        assert owners(answer) == {("me", "Apply", ""): {"f:data": {"f:b": {}}}, (manager, "Update", ""): {"f:data": {"f:a": {}, "f:n": {}}}}

    simulate(scenario)


def test_a_writer_without_a_name_is_known_by_its_program_else_by_its_user() -> None:
    async def scenario(api: Api) -> None:
        await api.apply(f"{CONFIGS}/c", config(a="1"))
        api.cluster.patch("configmaps", "shop", "c", {"data": {"a": "2"}})
        assert owners(api.cluster.get("configmaps", "shop", "c")) == {("kubectl", "Update", ""): {"f:data": {"f:a": {}}}}, "a person, in the process"
        _, answer = await api("PATCH", f"{CONFIGS}/c", {"data": {"a": "3"}}, "application/merge-patch+json")
        assert list(owners(answer)) == [("admin", "Update", "")]

    simulate(scenario)


def test_actors_respect_owners_too() -> None:
    """The kubelet's status of an applied pod is the kubelet's, and applying it is a conflict."""

    async def scenario(api: Api) -> None:
        await api.apply(f"{PODS}/p", pod())
        await asyncio.sleep(3)
        found = owners(api.cluster.get("pods", "shop", "p"))
        assert {key[1:] for key in found if key[0].startswith("system:")} == {("Update", "status"), ("Update", "binding")}
        mine = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p"}, "status": {"phase": "Failed"}}
        status, answer = await api.apply(f"{PODS}/p/status", mine)
        assert (status, answer["message"]) == (
            409,
            'Apply failed with 1 conflict: conflict with "system:nodes" with subresource "status" using v1: .status.phase',
        )

    simulate(scenario, start=True)


def test_status_is_owned_by_itself() -> None:
    async def scenario(api: Api) -> None:
        await api.apply(f"{SERVICES}/web", service(replicas=2))
        _, answer = await api.apply(f"{SERVICES}/web/status", part(status={"phase": "Run"}, spec={"replicas": 7}), "reporter")
        assert (answer["spec"]["replicas"], answer["status"]["phase"]) == (2, "Run"), "a spec is not written through status"
        assert owners(answer)["reporter", "Apply", "status"] == {"f:status": {}}, "a status is one field: it has one writer"
        _, answer = await api.apply(f"{SERVICES}/web", {**service(replicas=2), "status": {"phase": "Ready"}})
        assert answer["status"]["phase"] == "Run", "nor a status through the object"
        assert "f:status" not in owners(answer)["me", "Apply", ""]
        status, answer = await api.apply(f"{SERVICES}/web/status", part(status={"phase": "Ready"}))
        assert (status, answer["message"]) == (409, 'Apply failed with 1 conflict: conflict with "reporter" with subresource "status": .status')
        _, answer = await api.apply(f"{SERVICES}/web/status", part(status={}), "reporter")
        assert "phase" not in answer["status"]

    simulate(scenario)


def test_scaling_takes_the_replicas_and_only_them() -> None:
    async def scenario(api: Api) -> None:
        await api.apply(f"{SERVICES}/web", service(replicas=2))
        await api.merge(f"{SERVICES}/web/scale", {"spec": {"replicas": 4}}, "autoscaler")
        entry = next(each for each in api.cluster.get("managedservices", "shop", "web")["metadata"]["managedFields"] if each["manager"] == "autoscaler")
        assert (entry["operation"], entry["subresource"], entry["fieldsV1"]) == ("Update", "scale", {"f:spec": {"f:replicas": {}}})
        status, answer = await api.apply(f"{SERVICES}/web", service(replicas=2))
        words = 'conflict with "autoscaler" with subresource "scale" using drover.dev/v1alpha1: .spec.replicas'
        assert (status, answer["message"]) == (409, f"Apply failed with 1 conflict: {words}")
        _, answer = await api.apply(f"{SERVICES}/web", service())
        assert answer["spec"]["replicas"] == 4, "a manifest without replicas leaves them to the autoscaler"

    simulate(scenario)


def test_an_object_is_followed_from_its_first_apply_on() -> None:
    """Tracking every pod would cost every write; what was there before belongs to nobody by name."""

    async def scenario(api: Api) -> None:
        _, made = await api("POST", SERVICES, service(replicas=2))
        await api.merge(f"{SERVICES}/web/status", {"status": {"phase": "Run"}})
        assert "managedFields" not in made["metadata"]
        status, answer = await api.apply(f"{SERVICES}/web", part(spec={"replicas": 3}))
        assert (status, answer["message"]) == (
            409,
            'Apply failed with 1 conflict: conflict with "before-first-apply" using drover.dev/v1alpha1: .spec.replicas',
        )
        _, answer = await api.apply(f"{SERVICES}/web", part(spec={"replicas": 2}))
        assert set(owners(answer)) == {("me", "Apply", ""), ("before-first-apply", "Update", ""), ("before-first-apply", "Update", "status")}
        assert "f:status" not in owners(answer)["before-first-apply", "Update", ""]
        _, answer = await api.apply(f"{SERVICES}/web", part())
        assert answer["spec"]["replicas"] == 2, "nobody removes what was there before"

    simulate(scenario)


def test_clients_may_have_owners_forgotten_or_rewrite_them() -> None:
    async def scenario(api: Api) -> None:
        await api.apply(f"{CONFIGS}/c", config(a="1"))
        mine: Json = {"manager": "new", "operation": "Update", "apiVersion": "v1", "fieldsType": "FieldsV1", "fieldsV1": {"f:data": {"f:a": {}}}}
        _, answer = await api.merge(f"{CONFIGS}/c", {"metadata": {"managedFields": [mine]}})
        assert owners(answer) == {("new", "Update", ""): {"f:data": {"f:a": {}}}}, "as kubectl does when it changes to server-side apply"
        _, answer = await api.merge(f"{CONFIGS}/c", {"metadata": {"managedFields": [{"manager": "half"}]}})
        assert list(owners(answer)) == [("new", "Update", "")], "what makes no sense is passed over"
        for nothing in ([], [{}]):
            await api.apply(f"{CONFIGS}/c", config(a="1"))
            _, answer = await api.merge(f"{CONFIGS}/c", {"metadata": {"managedFields": nothing}})
            assert "managedFields" not in answer["metadata"]

    simulate(scenario)


def at(obj: Json, *path: str) -> Json:
    for step in path:
        obj = obj[step]
    return obj


SHAPES: list[tuple[str, Json, tuple[str, ...], Json, str]] = [
    (
        f"{PODS}/p",
        pod(containers=[{"name": "a", "image": "i", "ports": [{"containerPort": 80}], "env": [{"name": "X", "value": "1"}]}], tolerations=[{"key": "k"}]),
        ("f:spec",),
        {
            "f:containers": {
                'k:{"name":"a"}': {
                    ".": {},
                    "f:env": {'k:{"name":"X"}': {".": {}, "f:name": {}, "f:value": {}}},
                    "f:image": {},
                    "f:name": {},
                    "f:ports": {'k:{"containerPort":80,"protocol":"TCP"}': {".": {}, "f:containerPort": {}}},
                }
            },
            "f:tolerations": {},
        },
        "containers, env and ports by their keys, with the default of a key; tolerations as a whole",
    ),
    (
        f"{PODS}/p",
        {
            **pod(),
            "metadata": {
                "name": "p",
                "labels": {"a": "b"},
                "finalizers": ["x.dev/a"],
                "ownerReferences": [{"uid": "1", "name": "n", "kind": "k", "apiVersion": "v1"}],
            },
        },
        ("f:metadata",),
        {"f:labels": {"f:a": {}}, "f:finalizers": {'v:"x.dev/a"': {}}, "f:ownerReferences": {'k:{"uid":"1"}': {}}},
        "labels one by one, finalizers as a set, an owner as a whole",
    ),
    (
        f"{PLAIN_SERVICES}/s",
        {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "s"}, "spec": {"selector": {"a": "b"}, "ports": [{"port": 80}]}},
        ("f:spec",),
        {"f:ports": {'k:{"port":80,"protocol":"TCP"}': {".": {}, "f:port": {}}}, "f:selector": {}},
        "ports of a Service by other keys than those of a pod; a selector as a whole",
    ),
    (
        f"{REVISIONS}/r",
        {"apiVersion": "apps/v1", "kind": "ControllerRevision", "metadata": {"name": "r"}, "data": {"a": {"b": 1}}, "revision": 1},
        (),
        {"f:data": {}, "f:revision": {}},
        "the data of a revision is one leaf",
    ),
    (
        f"{SERVICES}/web",
        service(template={"spec": {"containers": [{"name": "m", "image": "i", "env": [{"name": "X"}], "resources": {"limits": {"cpu": "1"}}}]}}),
        ("f:spec", "f:template", "f:spec", "f:containers"),
        {'k:{"name":"m"}': {".": {}, "f:env": {}, "f:image": {}, "f:name": {}, "f:resources": {"f:limits": {".": {}, "f:cpu": {}}}}},
        "a custom resource by its schema: what it does not know has maps with parts, and lists that are leaves",
    ),
    (
        f"{SERVICES}/web",
        service(ports=[{"name": "a", "port": 1}]),
        ("f:spec", "f:ports"),
        {'k:{"name":"a"}': {".": {}, "f:name": {}, "f:port": {}}},
        "defaults belong to nobody",
    ),
]


@pytest.mark.parametrize("path, body, where, fields, why", SHAPES, ids=[row[4] for row in SHAPES])
def test_fields_are_named_as_in_the_real_managed_fields(path: str, body: Json, where: tuple[str, ...], fields: Json, why: str) -> None:
    async def scenario(api: Api) -> None:
        status, answer = await api.apply(path, body)
        assert status == 201, answer
        assert at(owners(answer)["me", "Apply", ""], *where) == fields, why

    simulate(scenario)


def test_entries_of_a_list_are_owned_one_by_one_and_keep_a_sensible_order() -> None:
    async def scenario(api: Api) -> None:
        def ports(*names: str) -> list[Json]:
            return [{"name": name, "port": number} for number, name in enumerate(names, 1)]

        async def names(body: Json, who: str) -> list[str]:
            status, answer = await api.apply(f"{SERVICES}/web", body, who, force="true")
            assert status in (200, 201), answer
            return [each["name"] for each in answer["spec"]["ports"]]

        assert await names(service(ports=ports("a", "b")), "me") == ["a", "b"]
        assert await names(part(spec={"ports": ports("c", "a")}), "you") == ["c", "a", "b"], "yours in your order, the others where they stood"
        assert await names(service(ports=ports("b")), "me") == ["c", "a", "b"], "a is yours now"
        assert await names(service(), "me") == ["c", "a"]
        assert await names(part(spec={}), "you") == [], "the default of the list, as nothing is left of it"

    simulate(scenario)


def test_an_atomic_list_changes_hands_as_a_whole() -> None:
    async def scenario(api: Api) -> None:
        def check(*command: str) -> Json:
            return part(spec={"healthCheck": {"exec": {"command": list(command)}}})

        await api.apply(f"{SERVICES}/web", service(healthCheck={"exec": {"command": ["a", "b"]}}))
        status, answer = await api.apply(f"{SERVICES}/web", check("a"), "you")
        assert (status, answer["message"]) == (409, 'Apply failed with 1 conflict: conflict with "me": .spec.healthCheck.exec.command')
        _, answer = await api.apply(f"{SERVICES}/web", check("a"), "you", force="true")
        assert answer["spec"]["healthCheck"]["exec"]["command"] == ["a"]

    simulate(scenario)


def test_a_null_is_a_default_or_a_mistake() -> None:
    """A trap of apply: what a merge patch takes for removal is refused where it is no value."""

    async def scenario(api: Api) -> None:
        status, answer = await api.apply(f"{SERVICES}/web", service(version=None))
        assert (status, 'spec.version: Invalid value: "null": spec.version in body must be of type string: "null"' in answer["message"]) == (422, True)
        _, answer = await api.apply(f"{SERVICES}/web", service(replicas=None))
        assert (answer["spec"]["replicas"], "f:replicas" in owners(answer)["me", "Apply", ""]["f:spec"]) == (1, True)
        labels = {"metadata": {"labels": {"a": "b"}}, "spec": service()["spec"]["template"]["spec"]}
        await api.apply(f"{SERVICES}/web", service(template=labels))
        status, answer = await api.apply(f"{SERVICES}/web", service(template={**labels, "metadata": {}}))
        assert (status, "spec.template.metadata in body must be of type object" in answer["message"]) == (422, True), "1.35 makes an emptied map null"

    simulate(scenario)


TYPED = "failed to create typed patch object (/web; drover.dev/v1alpha1, Kind=ManagedService): "
REFUSED: list[tuple[str, Any, dict[str, str], int, str, str]] = [
    (SERVICES, service(), {}, 422, 'PatchOptions.meta.k8s.io "" is invalid: fieldManager: Required value: is required for apply patch', "no manager"),
    (SERVICES, service(), {"fieldManager": "x" * 129}, 422, "fieldManager: Too long: may not be more than 128 bytes", "the name has a limit"),
    (SERVICES, {**service(), "kind": "Other"}, {"fieldManager": "me"}, 400, "invalid object type: drover.dev/v1alpha1, Kind=Other", "another kind"),
    (SERVICES, {"spec": {}}, {"fieldManager": "me"}, 400, "invalid object type: /, Kind=", "no kind at all: other patches need none"),
    (SERVICES, part(metadata={"name": "other"}), {"fieldManager": "me"}, 400, "does not match the name on the URL (web)", "another name"),
    (
        SERVICES,
        part(metadata={"name": "web", "managedFields": []}),
        {"fieldManager": "me"},
        400,
        "metadata.managedFields must be nil",
        "owners are not applied",
    ),
    (SERVICES, part(metadata={"name": "web", "resourceVersion": "1"}), {"fieldManager": "me"}, 409, "the object has been modified", "a stale version"),
    (SERVICES, service(foo=1), {"fieldManager": "me"}, 500, TYPED + ".spec.foo: field not declared in schema", "a typo is a 500"),
    (
        SERVICES,
        service(ports=[{"name": "a", "port": 1}] * 2),
        {"fieldManager": "me"},
        500,
        TYPED + '.spec.ports: duplicate entries for key [name="a"]',
        "twice",
    ),
    (
        SERVICES,
        service(ports=[{"port": 1}]),
        {"fieldManager": "me"},
        500,
        '.spec.ports: element 0: associative list with keys has an element that omits all key fields ["name"]',
        "no key",
    ),
    (SERVICES, service(replicas="x"), {"fieldManager": "me"}, 500, TYPED + ".spec.replicas: expected numeric (int or float), got string", "a wrong scalar"),
    (SERVICES, service(rollout=1), {"fieldManager": "me"}, 500, TYPED + ".spec.rollout: expected map, got &{1}", "no map"),
    (SERVICES, service(ports={"a": 1}), {"fieldManager": "me"}, 500, TYPED + ".spec.ports: expected list, got &{map[a:1]}", "no list"),
    (SERVICES, service(criticality=1), {"fieldManager": "me"}, 500, ".spec.criticality: expected string, got &value.valueUnstructured{Value:1}", "no text"),
    (SERVICES, service(criticality="x"), {"fieldManager": "me"}, 422, "spec.criticality: Unsupported value", "then the schema is asked as ever"),
]


@pytest.mark.parametrize("path, body, query, status, message, why", REFUSED, ids=[row[5] for row in REFUSED])
def test_what_cannot_be_applied(path: str, body: Any, query: dict[str, str], status: int, message: str, why: str) -> None:
    async def scenario(api: Api) -> None:
        await api.apply(f"{path}/web", service(replicas=2))
        got, answer = await api("PATCH", f"{path}/web", body, APPLY_PATCH, **query)
        assert (got, message in answer["message"]) == (status, True), (why, answer)
        assert api.cluster.get("managedservices", "shop", "web")["spec"]["replicas"] == 2

    simulate(scenario)


def test_force_belongs_to_apply_alone() -> None:
    async def scenario(api: Api) -> None:
        await api.apply(f"{CONFIGS}/c", config(a="1"))
        status, answer = await api.merge(f"{CONFIGS}/c", {"data": {"a": "2"}}, force="true")
        assert status == 422
        assert answer["message"] == 'PatchOptions.meta.k8s.io "" is invalid: force: Forbidden: may not be specified for non-apply patch'

    simulate(scenario)


def test_a_new_object_has_no_version_to_differ_from_but_a_uid() -> None:
    async def scenario(api: Api) -> None:
        assert (await api.apply(f"{CONFIGS}/c", {**config(a="1"), "metadata": {"name": "c", "uid": "gone"}}))[0] == 409
        assert (await api.apply(f"{CONFIGS}/c", {**config(a="1"), "metadata": {"name": "c", "resourceVersion": "1"}}))[0] == 201
        assert (await api.apply(f"{SERVICES}/none/status", {**part(status={}), "metadata": {"name": "none"}}))[0] == 404, "a subresource makes nothing"

    simulate(scenario)


def test_times_have_one_second() -> None:
    async def scenario(api: Api) -> None:
        await asyncio.sleep(0.7)
        await api.apply(f"{CONFIGS}/c", config(a="1"))
        await asyncio.sleep(1.6)
        await api.merge(f"{CONFIGS}/c", {"data": {"b": "2"}})
        times = {each["manager"]: each["time"] for each in api.cluster.get("configmaps", "shop", "c")["metadata"]["managedFields"]}
        assert times == {"me": "2026-01-01T00:00:00Z", "someone": "2026-01-01T00:00:02Z"}

    simulate(scenario)
