# SPDX-License-Identifier: Apache-2.0
"""The simulated API server answers as the real one does: each row says why it matters to Drover."""

import asyncio
from typing import Any

import msgspec
import pytest
from unit.simulated import CONFIGS, PODS, REVISIONS, SERVICES, Api, Json, service, simulate

from drover_operator.kube.errors import OutcomeUnknown, Unsent
from drover_operator.kube.transport import APPLY_PATCH, JSON_PATCH, MERGE_PATCH, METADATA_LIST, STRATEGIC_PATCH, Reply, Request
from drover_operator.testing import SimulatedCluster, refusal, times
from drover_operator.testing.kinds import BUILT_IN, Kind
from drover_operator.testing.virtualtime import run

LEASES = "/apis/coordination.k8s.io/v1/namespaces/drover-system/leases"


def pod(name: str = "p", **spec: Any) -> Json:
    return {"metadata": {"name": name}, "spec": {"containers": [{"name": "main", "image": "web:1"}], **spec}}


def without(obj: Json, field: str) -> Json:
    return {**obj, "spec": {key: value for key, value in obj["spec"].items() if key != field}}


SCHEMA = [
    (without(service(), "criticality"), 422, "spec.criticality: Required value", "people read this sentence after kubectl apply"),
    (service(criticality="Huge"), 422, 'spec.criticality: Unsupported value: "Huge": supported values: "Expendable", "Important", "Normal", "Vital"', "enum"),
    (service(replicas="two"), 422, 'spec.replicas: Invalid value: "string": spec.replicas in body must be of type integer: "string"', "type"),
    (service(replicas=-1), 422, "spec.replicas: Invalid value: -1: spec.replicas in body should be greater than or equal to 0", "minimum"),
    (service(replicas=5001), 422, "spec.replicas: Invalid value: 5001: spec.replicas in body should be less than or equal to 5000", "maximum"),
    (service(version=""), 422, 'spec.version: Invalid value: "": spec.version in body should be at least 1 chars long', "minLength"),
    (service(version="v" * 129), 422, "spec.version: Too long: may not be more than 128 bytes", "maxLength"),
    (service(restart={"settle": "5 s"}), 422, "spec.restart.settle in body should match", "pattern"),
    (service(template={"spec": {"containers": []}}), 422, "spec.template.spec.containers in body should have at least 1 items", "minItems"),
    (service(ports=[{"name": "a", "port": 1}, {"name": "a", "port": 2}]), 422, 'spec.ports[1]: Duplicate value: {"name":"a"}', "list map keys"),
    (service(ports=[{"name": "a"}]), 422, "spec.ports[0].port: Required value", "required below a list"),
    (service(replicas=True), 422, "must be of type integer", "a boolean is no integer, though Python thinks so"),
    ({**service(), "metadata": {"name": "Web"}}, 422, "metadata.name: Invalid value", "names are DNS subdomains"),
    ({**service(), "apiVersion": "drover.dev/v1"}, 400, "does not match", "a body of another version"),
]


@pytest.mark.parametrize("body, status, message, why", SCHEMA, ids=[row[3] for row in SCHEMA])
def test_the_schema_of_the_crd_is_enforced_in_the_words_of_the_real_server(body: Json, status: int, message: str, why: str) -> None:
    async def scenario(api: Api) -> None:
        got, answer = await api("POST", SERVICES, body)
        assert (got, answer["code"], answer["kind"]) == (status, status, "Status"), why
        assert message in answer["message"]
        if status == 422:
            assert answer["message"].startswith(f'ManagedService.drover.dev "{body["metadata"]["name"]}" is invalid: ')

    simulate(scenario)


def test_custom_resources_are_defaulted_and_pruned_or_refused_when_strict() -> None:
    async def scenario(api: Api) -> None:
        body = service(nonsense=1, rollout={}, template={"spec": {"containers": [{"name": "main", "image": "a", "tty": True}]}})
        status, answer = await api("POST", SERVICES, body, fieldValidation="Strict")
        assert (status, answer["reason"]) == (400, "BadRequest")
        assert answer["message"].endswith('strict decoding error: unknown field "spec.nonsense"')
        status, answer = await api("POST", SERVICES, {**body, "status": {"phase": "Run"}})
        assert status == 201
        assert "nonsense" not in answer["spec"]
        assert answer["spec"]["replicas"] == 1
        assert answer["spec"]["rollout"]["progressDeadline"] == "10m", "defaults below an object that is there"
        assert "restart" not in answer["spec"], "and none below one that is not"
        assert answer["spec"]["template"]["spec"]["containers"][0]["tty"], "the template keeps unknown fields"
        assert answer.get("status", {}).get("phase") is None, "a status cannot be created"

    simulate(scenario)


def test_generation_follows_the_spec_and_status_goes_through_its_subresource() -> None:
    async def scenario(api: Api) -> None:
        _, first = await api("POST", SERVICES, service())
        assert first["metadata"]["generation"] == 1
        _, spec = await api.patch(f"{SERVICES}/web", {"spec": {"replicas": 2}, "status": {"phase": "Run"}})
        assert (spec["metadata"]["generation"], spec.get("status", {}).get("phase")) == (2, None)
        _, status = await api.patch(f"{SERVICES}/web/status", {"spec": {"replicas": 9}, "status": {"phase": "Run"}})
        assert (status["metadata"]["generation"], status["status"]["phase"], status["spec"]["replicas"]) == (2, "Run", 2)
        _, label = await api.patch(f"{SERVICES}/web", {"metadata": {"labels": {"a": "b"}, "finalizers": ["drover.dev/x"]}})
        assert label["metadata"]["generation"] == 2, "metadata is no spec"
        _, gone = await api("DELETE", f"{SERVICES}/web")
        assert gone["metadata"]["generation"] == 3, "a deletion timestamp raises generation"

    simulate(scenario)


def test_a_no_op_write_keeps_the_version_and_tells_nobody() -> None:
    async def scenario(api: Api) -> None:
        await api("POST", SERVICES, service())
        _, first = await api.patch(f"{SERVICES}/web/status", {"status": {"phase": "Run"}})
        revision = api.cluster.server.storage.revision
        status, second = await api.patch(f"{SERVICES}/web", {"spec": {"replicas": 1}})
        assert (status, second) == (200, first)
        assert api.cluster.server.storage.revision == revision
        assert [write.changed for write in api.cluster.writes[-2:]] == [True, False]

    simulate(scenario)


def test_preconditions_of_a_patch() -> None:
    async def scenario(api: Api) -> None:
        _, created = await api("POST", PODS, pod())
        version, uid = created["metadata"]["resourceVersion"], created["metadata"]["uid"]
        for meta in ({"resourceVersion": "1"}, {"resourceVersion": "1", "uid": "another"}):
            status, answer = await api.patch(f"{PODS}/p", {"metadata": {**meta, "labels": {"a": "b"}}})
            assert (status, answer["reason"]) == (409, "Conflict")
            assert answer["message"] == (
                'Operation cannot be fulfilled on pods "p": the object has been modified; please apply your changes to the latest version and try again'
            )
        status, answer = await api.patch(f"{PODS}/p", {"metadata": {"uid": "another", "labels": {"a": "b"}}})
        assert (status, answer["reason"]) == (422, "Invalid"), "as 1.35 does: another uid alone is no conflict but an attempt to change it"
        assert answer["message"] == 'Pod "p" is invalid: metadata.uid: Invalid value: "another": field is immutable'
        status, _ = await api.patch(f"{PODS}/p", {"metadata": {"uid": uid, "resourceVersion": version, "labels": {"a": "b"}}})
        assert status == 200

    simulate(scenario)


PATCHES: list[tuple[str, Any, int, Any, str]] = [
    (MERGE_PATCH, {"data": {"a": None, "c": "3"}}, 200, {"b": "2", "c": "3"}, "null removes"),
    (JSON_PATCH, [{"op": "test", "path": "/data/a", "value": "1"}, {"op": "remove", "path": "/data/a"}], 200, {"b": "2"}, "test, then remove"),
    (JSON_PATCH, [{"op": "test", "path": "/data/a", "value": "9"}, {"op": "remove", "path": "/data/a"}], 422, None, "a failed test applies nothing"),
    (JSON_PATCH, [{"op": "add", "path": "/data/x~0y", "value": "3"}], 422, None, "an escaped pointer, and a key that no ConfigMap takes"),
    (JSON_PATCH, [{"op": "move", "from": "/data/a", "path": "/data/z"}], 200, {"b": "2", "z": "1"}, "move"),
    (APPLY_PATCH, {"apiVersion": "v1", "kind": "ConfigMap", "data": {"c": "3"}}, 200, {"a": "1", "b": "2", "c": "3"}, "apply takes nothing away from others"),
    ("text/plain", {}, 415, None, "no patch type"),
]


@pytest.mark.parametrize("content, body, status, data, why", PATCHES, ids=[row[4] for row in PATCHES])
def test_patch_types(content: str, body: Any, status: int, data: Any, why: str) -> None:
    async def scenario(api: Api) -> None:
        await api("POST", CONFIGS, {"metadata": {"name": "c"}, "data": {"a": "1", "b": "2"}})
        got, _ = await api("PATCH", f"{CONFIGS}/c", body, content, fieldManager="t")
        assert got == status, why
        assert api.cluster.get("configmaps", "shop", "c")["data"] == (data or {"a": "1", "b": "2"})

    simulate(scenario)


def test_a_strategic_patch_merges_conditions_by_type_but_not_on_custom_resources() -> None:
    async def scenario(api: Api) -> None:
        await api("POST", PODS, pod())
        for kind, status in (("A", "True"), ("B", "True"), ("A", "False")):
            body = {"status": {"conditions": [{"type": kind, "status": status}]}}
            _, answer = await api("PATCH", f"{PODS}/p/status", body, STRATEGIC_PATCH)
        times = {"lastProbeTime": None, "lastTransitionTime": None}
        assert answer["status"]["conditions"] == [{"type": "B", "status": "True", **times}, {"type": "A", "status": "False", **times}], "new ones come first"
        await api("POST", SERVICES, service())
        status_code, _ = await api("PATCH", f"{SERVICES}/web", {}, STRATEGIC_PATCH)
        assert status_code == 415

    simulate(scenario)


def test_apply_creates_what_is_not_there_unless_a_uid_was_expected() -> None:
    async def scenario(api: Api) -> None:
        body: Json = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "c", "uid": "gone"}}
        assert (await api("PATCH", f"{CONFIGS}/c", body, APPLY_PATCH, fieldManager="t"))[0] == 409
        assert (await api("PATCH", f"{CONFIGS}/c", {**body, "metadata": {"name": "c"}}, APPLY_PATCH, fieldManager="t"))[0] == 201
        assert (await api("PATCH", f"{CONFIGS}/d", body, APPLY_PATCH))[0] == 422, "a field manager is required"
        assert (await api.patch(f"{CONFIGS}/d", {}))[0] == 404, "other patches create nothing"

    simulate(scenario)


CREATES: list[tuple[str, Json, int, str, str]] = [
    (PODS, pod("taken"), 409, 'pods "taken" already exists', "a repeated create"),
    ("/api/v1/namespaces/none/pods", pod(), 404, 'namespaces "none" not found', "the namespace must be there"),
    (PODS, {"spec": {}}, 422, "name or generateName is required", "nameless"),
    (PODS, pod(containers=[]), 422, "spec.containers: Required value", "a pod without containers"),
    (PODS, pod(containers=[{"name": "a"}]), 422, "spec.containers[0].image: Required value", "no image"),
    (PODS, pod(containers=[{"name": "a", "image": "i"}] * 2), 422, 'spec.containers[1].name: Duplicate value: "a"', "two of a name"),
    (PODS, pod(restartPolicy="Never again"), 422, "spec.restartPolicy: Unsupported value", "enum"),
    (
        PODS,
        pod(containers=[{"name": "a", "image": "i", "resources": {"limits": {"cpu": "lots"}}}]),
        400,
        "quantities must match the regular expression",
        "an unreadable quantity is no object at all",
    ),
    (
        PODS,
        pod(containers=[{"name": "a", "image": "i", "resources": {"limits": {"cpu": "1"}, "requests": {"cpu": "1100m"}}}]),
        422,
        "must be less than or equal to cpu limit of 1",
        "request above limit",
    ),
    (PODS, {**pod(), "metadata": {"name": "p", "labels": {"a": "x" * 64}}}, 422, "must be no more than 63 bytes", "labels have 63 bytes"),
    (REVISIONS, {"metadata": {"name": "r"}, "revision": 1}, 422, "data is mandatory", "a revision without data"),
    (PODS, {**pod(), "metadata": {"name": "p", "resourceVersion": "5"}}, 500, "resourceVersion should not be set", "no version on create: a 500 upstream"),
]


@pytest.mark.parametrize("path, body, status, message, why", CREATES, ids=[row[4] for row in CREATES])
def test_refused_creates(path: str, body: Json, status: int, message: str, why: str) -> None:
    async def scenario(api: Api) -> None:
        await api("POST", PODS, pod("taken"))
        got, answer = await api("POST", path, body)
        assert (got, message in answer["message"]) == (status, True), (why, answer)
        assert api.cluster.writes[-1].status == status, "refusals are on record too"

    simulate(scenario)


def test_a_strict_dry_run_judges_a_pod_and_stores_nothing() -> None:
    async def scenario(api: Api) -> None:
        status, answer = await api("POST", PODS, pod(foo=1), dryRun="All", fieldValidation="Strict")
        assert status == 400
        assert answer["message"].endswith('strict decoding error: unknown field "spec.foo"')
        status, answer = await api("POST", PODS, pod(foo=1), dryRun="All")
        assert (status, "foo" in answer["spec"], "resourceVersion" in answer["metadata"]) == (201, False, False)
        assert api.cluster.objects("pods") == []
        assert [write.dry_run for write in api.cluster.writes[-2:]] == [True, True]

    simulate(scenario)


def test_what_is_stored_differs_from_what_was_sent() -> None:
    async def scenario(api: Api) -> None:
        _, stored = await api("POST", PODS, {**pod(), "status": {"phase": "Running"}})
        assert stored["status"]["phase"] == "Pending", "a status cannot be created"
        assert stored["spec"]["dnsPolicy"] == "ClusterFirst"
        assert len(stored["spec"]["tolerations"]) == 2
        assert stored["spec"]["containers"][0]["volumeMounts"][0]["name"].startswith("kube-api-access-")
        status, answer = await api.patch(f"{PODS}/p", {"spec": {"priority": 5}})
        assert (status, answer["reason"]) == (422, "Invalid"), "a pod's spec is fixed but for its images"
        await api("POST", REVISIONS, {"metadata": {"name": "r"}, "revision": 1, "data": {"a": 1}})
        assert (await api.patch(f"{REVISIONS}/r", {"data": {"a": 2}}))[0] == 422
        assert (await api.patch(f"{REVISIONS}/r", {"revision": 2}))[0] == 200

    simulate(scenario)


def test_deletion_has_preconditions_finalizers_and_two_kinds_of_answer() -> None:
    async def scenario(api: Api) -> None:
        _, config = await api("POST", CONFIGS, {"metadata": {"name": "c", "finalizers": ["drover.dev/x"]}})
        for conditions in ({"uid": "other"}, {"resourceVersion": "1"}):
            status, answer = await api("DELETE", f"{CONFIGS}/c", {"preconditions": conditions})
            assert (status, "in the precondition" in answer["message"]) == (409, True)
        _, held = await api("DELETE", f"{CONFIGS}/c", {"preconditions": {"uid": config["metadata"]["uid"]}})
        assert (held["kind"], "deletionTimestamp" in held["metadata"]) == ("ConfigMap", True)
        status, answer = await api.patch(f"{CONFIGS}/c", {"metadata": {"finalizers": ["drover.dev/x", "drover.dev/y"]}})
        assert (status, "no new finalizers can be added" in answer["message"]) == (422, True)
        assert (await api.patch(f"{CONFIGS}/c", {"metadata": {"finalizers": None}}))[0] == 200
        assert (await api("GET", f"{CONFIGS}/c"))[0] == 404, "the last finalizer lets it go"
        _, other = await api("POST", CONFIGS, {"metadata": {"name": "d"}})
        _, gone = await api("DELETE", f"{CONFIGS}/d")
        assert (gone["kind"], gone["status"], gone["details"]["uid"]) == ("Status", "Success", other["metadata"]["uid"])
        await api("POST", PODS, pod())
        _, gone = await api("DELETE", f"{PODS}/p")
        assert (gone["kind"], api.cluster.objects("pods")) == ("Pod", []), "an unscheduled pod is gone at once, yet answered with the pod"

    simulate(scenario)


def test_the_scale_subresource_is_checked_by_the_schema() -> None:
    async def scenario(api: Api) -> None:
        await api("POST", SERVICES, service(replicas=3))
        status, scale = await api("GET", f"{SERVICES}/web/scale")
        assert (status, scale["kind"], scale["spec"]["replicas"]) == (200, "Scale", 3)
        _, scale = await api.patch(f"{SERVICES}/web/scale", {"spec": {"replicas": 4}})
        assert scale["spec"]["replicas"] == 4
        assert (await api.patch(f"{SERVICES}/web/scale", {"spec": {"replicas": 5001}}))[0] == 422
        assert api.cluster.get("managedservices", "shop", "web")["metadata"]["generation"] == 2
        assert (await api("GET", f"{PODS}/p/scale"))[0] == 404

    simulate(scenario)


def test_a_namespace_being_deleted_takes_nothing_new() -> None:
    async def scenario(api: Api) -> None:
        api.cluster.delete("namespaces", "", "shop")
        status, answer = await api("POST", PODS, pod())
        assert (status, answer["reason"]) == (403, "Forbidden")
        assert answer["details"]["causes"][0]["reason"] == "NamespaceTerminating"
        assert answer["message"].endswith("because it is being terminated")

    simulate(scenario)


def test_leases_have_plain_optimistic_concurrency() -> None:
    async def scenario(api: Api) -> None:
        _, lease = await api("POST", LEASES, {"metadata": {"name": "drover-operator-0"}, "spec": {"holderIdentity": "a"}})
        version = lease["metadata"]["resourceVersion"]
        body = {"metadata": {"resourceVersion": version}, "spec": {"holderIdentity": "b"}}
        assert [(await api.patch(f"{LEASES}/drover-operator-0", body))[0] for _ in range(2)] == [200, 409]

    simulate(scenario)


FENCE = [
    ("3", "me", "POST", PODS, 201, "the leader writes"),
    ("2", "me", "POST", PODS, 422, "an old epoch does not"),
    ("3", "you", "POST", PODS, 422, "nor another holder of the same epoch"),
    ("3", "me", "GET", PODS, 200, "reads are free"),
    ("2", "me", "GET", PODS, 200, "even for the deposed"),
    ("2", "me", "POST", LEASES, 201, "leases are not fenced: they decide who leads"),
]


@pytest.mark.parametrize("row", FENCE, ids=[row[5] for row in FENCE])
def test_the_epoch_fence(row: tuple[str, str, str, str, int, str]) -> None:
    epoch, holder, method, path, status, why = row

    async def scenario(api: Api) -> None:
        headers = {
            "impersonate-user": "drover:operator:0",
            "Impersonate-Extra-Drover.dev%2Fepoch": epoch,
            "Impersonate-Extra-drover.dev%2fholder": holder,
        }
        body = pod() if method == "POST" else None
        if path == PODS and method == "POST":
            got, _ = await api(method, path, body, headers=headers, dryRun="All")
            assert got == 201, "no lease, no policy: failurePolicy is Ignore, else nobody could write any more"
        await api("POST", LEASES, {"metadata": {"name": "drover-operator-0"}, "spec": {"holderIdentity": "me", "leaseTransitions": 3}})
        got, answer = await api(method, path, body, headers=headers)
        assert (got, api.cluster.writes[-1].user) == (status, "drover:operator:0" if method == "POST" else "admin"), (why, answer)
        if status == 422:
            assert f"epoch {epoch} of {holder} is over" in answer["message"]
            assert (await api(method, path, body, headers=headers, dryRun="All"))[0] == 422, "dry runs too"

    simulate(scenario)


def test_an_api_server_that_trails_lets_a_deposed_leader_write_and_answers_old_reads_but_no_consistent_one() -> None:
    async def scenario(api: Api) -> None:
        await api("POST", LEASES, {"metadata": {"name": "drover-operator-0"}, "spec": {"holderIdentity": "me", "leaseTransitions": 3}})
        await asyncio.sleep(10)
        await api.patch(f"{LEASES}/drover-operator-0", {"spec": {"holderIdentity": "you", "leaseTransitions": 4}})
        old = {
            "impersonate-user": "drover:operator:0",
            "Impersonate-Extra-drover.dev%2fepoch": "3",
            "Impersonate-Extra-drover.dev%2fholder": "me",
        }
        api.transport.faults.lag = 5.0
        assert (await api("POST", PODS, pod(), headers=old))[0] == 201
        assert [len((await api("GET", PODS, resourceVersion=version))[1]["items"]) for version in ("0", "")] == [0, 1]
        await asyncio.sleep(5)
        assert (await api("POST", PODS, pod(), headers=old))[0] == 422
        assert len((await api("GET", PODS, resourceVersion="0"))[1]["items"]) == 1
        api.transport.faults.rewind = lambda _: 60.0
        assert (await api("GET", PODS))[1]["items"] == []

    simulate(scenario)


LISTED: dict[str, Json] = {
    "namespaces": {},
    "nodes": {"spec": {}},
    "pods": {"spec": {"containers": [{"name": "main", "image": "web:1"}]}},
    "services": {"spec": {"ports": [{"port": 80}]}},
    "configmaps": {"data": {"a": "1"}},
    "controllerrevisions": {"data": {"a": 1}, "revision": 1},
    "endpointslices": {"addressType": "IPv4", "endpoints": []},
    "poddisruptionbudgets": {"spec": {"maxUnavailable": 1}},
    "jobs": {"spec": {"template": {"spec": {"containers": [{"name": "test", "image": "test:1"}]}}}},
    "httproutes": {"spec": {"rules": [{"backendRefs": [{"name": "web", "port": 80, "weight": 1}]}]}},
    "leases": {"spec": {"holderIdentity": "me"}},
    "resourcequotas": {"spec": {"hard": {"pods": "9"}}},
    "events": {
        "eventTime": "2026-01-01T00:00:00.000000Z",
        "reportingController": "x.io/y",
        "reportingInstance": "y-0",
        "action": "Act",
        "reason": "Because",
        "type": "Normal",
        "regarding": {"namespace": "shop"},
    },
    "customresourcedefinitions": {"spec": {"group": "x.io"}},
}


@pytest.mark.parametrize("kind", BUILT_IN, ids=[kind.plural for kind in BUILT_IN])
def test_the_items_of_a_list_are_whole_in_whatever_order_their_fields_are_stored(kind: Kind) -> None:
    """They were cut by the length of a type that came first; an event begins with its old times, and a PUT stores the order of its sender."""

    async def listed(api: Api, path: str) -> Json:
        _, answer = await api("GET", path)
        (found,) = (each for each in answer["items"] if each["metadata"]["name"] == "a")
        return found

    async def scenario(api: Api) -> None:
        place = "/namespaces/shop" if kind.namespaced else ""
        path = f"{'/apis' if kind.group else '/api'}/{kind.api_version}{place}/{kind.plural}"
        status, made = await api("POST", path, {**LISTED[kind.plural], "metadata": {"name": "a"}, "kind": kind.kind, "apiVersion": kind.api_version})
        assert status == 201, made
        assert await listed(api, path) == {name: made[name] for name in made if name not in ("apiVersion", "kind")}
        labelled = {**made["metadata"], "labels": {"new": "1"}}
        status, changed = await api("PUT", f"{path}/a", dict(reversed(({**made, "metadata": labelled}).items())))
        assert (status, changed["metadata"]["labels"]["new"]) == (200, "1"), changed
        assert await listed(api, path) == {name: changed[name] for name in changed if name not in ("apiVersion", "kind")}

    simulate(scenario)


def test_lists_select_chunk_and_reduce() -> None:
    async def scenario(api: Api) -> None:
        for number in range(5):
            await api("POST", PODS, {**pod(f"p{number}"), "metadata": {"name": f"p{number}", "labels": {"n": str(number)}}})

        async def names(**query: str) -> list[str]:
            return [item["metadata"]["name"] for item in (await api("GET", PODS, **query))[1]["items"]]

        assert await names(labelSelector="n in (1,3),n!=3") == ["p1"]
        assert await names(labelSelector="!n") == []
        assert await names(labelSelector="n notin (0,1,2,3)") == ["p4"]
        assert await names(fieldSelector="metadata.name=p2") == ["p2"]
        _, first = await api("GET", PODS, limit="2")
        assert first["metadata"]["remainingItemCount"] == 3
        await api("DELETE", f"{PODS}/p2")
        await api("POST", PODS, pod("p9"))
        _, second = await api("GET", PODS, **{"limit": "9", "continue": first["metadata"]["continue"]})
        assert [item["metadata"]["name"] for item in second["items"]] == ["p2", "p3", "p4"], "chunks show the version of the first"
        assert second["metadata"]["resourceVersion"] == first["metadata"]["resourceVersion"]
        api.cluster.compact()
        status, answer = await api("GET", PODS, **{"limit": "9", "continue": first["metadata"]["continue"]})
        assert (status, answer["reason"]) == (410, "Expired")
        _, partial = await api("GET", PODS, headers={"accept": METADATA_LIST})
        assert (partial["kind"], set(partial["items"][0])) == ("PartialObjectMetadataList", {"kind", "apiVersion", "metadata"})
        _, full = await api("GET", "/api/v1/pods")
        assert set(full["items"][0]) == {"metadata", "spec", "status"}, "items of built-in lists carry no kind"

    simulate(scenario)


def test_fault_hooks_act_before_or_after_the_write() -> None:
    async def scenario(api: Api) -> None:
        faults = api.transport.faults
        faults.before = times(1, lambda request: request.method == "POST", refusal(429, "TooManyRequests", retry_after=2))
        status, answer = await api("POST", PODS, pod("a"))
        assert (status, answer["details"]["retryAfterSeconds"], api.cluster.objects("pods")) == (429, 2, [])
        faults.after = lambda _request, _reply: OutcomeUnknown("the reply was lost")
        with pytest.raises(OutcomeUnknown):
            await api("POST", PODS, pod("a"))
        assert len(api.cluster.objects("pods")) == 1, "applied, though nobody was told"
        faults.clear()
        faults.latency = 40.0
        begin = asyncio.get_running_loop().time()
        with pytest.raises(OutcomeUnknown, match="no answer in 30 s"):
            await api("POST", PODS, pod("b"))
        assert asyncio.get_running_loop().time() - begin == pytest.approx(30.0)
        faults.clear()
        api.cluster.api_down = True
        with pytest.raises(Unsent):
            await api("GET", PODS)
        api.cluster.api_down = False
        assert (await api("GET", PODS))[0] == 200

    simulate(scenario)


@pytest.mark.parametrize("after, stored", [(0.0005, 0), (0.0015, 1)], ids=["on the way there", "on the way back"])
def test_a_cancelled_request_is_applied_or_not_but_never_half(after: float, stored: int) -> None:
    async def scenario(api: Api) -> None:
        task = asyncio.create_task(api("POST", PODS, pod()))
        await asyncio.sleep(after)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert len(api.cluster.objects("pods")) == stored

    simulate(scenario)


def test_one_seed_gives_one_history() -> None:
    def history(seed: int) -> bytes:
        async def main() -> bytes:
            cluster = SimulatedCluster(seed=seed)
            await cluster.start()
            transport = cluster.transport()
            for number in range(20):
                body = msgspec.json.encode({**pod(), "metadata": {"generateName": "p-", "labels": {"n": str(number)}}})
                reply: Reply = await transport.send(Request(method="POST", path="/api/v1/namespaces/default/pods", body=body))
                assert reply.status == 201
            await asyncio.sleep(5)
            await cluster.stop()
            return msgspec.json.encode([cluster.objects("pods"), cluster.writes])

        return run(main)

    assert history(1) == history(1)
    assert history(1) != history(2)
