# SPDX-License-Identifier: Apache-2.0
"""Reports hold no secret, wherever one stands and however it looks; and what Drover decides by stays as it is.

That a redacted report decides the same plan is proved in tests/scenarios/test_foresight.py.
"""

import base64
import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from drover_controllers.service import build, sidecar
from drover_controllers.service.gather import wanted_revision
from drover_operator.api.resource import CONTROLLER_REVISIONS, DISRUPTION_BUDGETS, MANAGED_SERVICES, PODS, SERVICES
from drover_operator.cli.redaction import HIDDEN, Redactor, scrubbed

Json = dict[str, Any]
LETTERS = st.text("abcdefghjkmnpqrstuvwxyzABCDEFGHJKMNPQRSTUVWXYZ23456789", min_size=6, max_size=40).map("Q7".__add__)  # no word that is in any object
SHAPES: dict[str, Callable[[str], str]] = {
    "plain": lambda core: core,
    "with signs": lambda core: f"{core[:4]}$%&{core[4:]}",
    "with spaces": lambda core: f"{core} {core[::-1]}",
    "base64": lambda core: base64.b64encode(core.encode()).decode(),
    "JWT": lambda core: f"eyJhbGciOi{core}.eyJ{core}.{core}",
    "PEM": lambda core: f"-----BEGIN PRIVATE KEY-----\n{core}\n-----END PRIVATE KEY-----",
    "several lines": lambda core: f"user: root\npass: {core}\n",
    "AWS": lambda core: "AKIA" + (core.upper() * 3)[:16],
    "address": lambda core: f"postgres://admin:{core}@db.shop:5432/orders",
    "JSON": lambda core: json.dumps({"private_key": core}),
}


def container(**more: Any) -> Json:
    return {"name": "server", "image": "registry.example/app:1.2.0", "ports": [{"containerPort": 8080}], **more}


def template(**spec: Any) -> Json:
    return {"metadata": {"labels": {"team": "a"}}, "spec": {"containers": [container()], **spec}}


def service(**more: Any) -> tuple[Any, Json]:
    spec = {"criticality": "Normal", "replicas": 3, "template": template(), **more.pop("spec", {})}
    return MANAGED_SERVICES, {"metadata": {"name": "web", "namespace": "shop", "uid": "u", **more.pop("metadata", {})}, "spec": spec, **more}


def of_template(found: Json) -> tuple[Any, Json]:
    return service(spec={"template": found})


def pod(**more: Any) -> tuple[Any, Json]:
    return PODS, {"metadata": {"name": "web-x-0", "namespace": "shop", **more.pop("metadata", {})}, **more}


# Where a secret may stand: the object that holds it.
PLACES: dict[str, Callable[[str], tuple[Any, Json]]] = {
    "variable": lambda s: of_template(template(containers=[container(env=[{"name": "A", "value": s}])])),
    "variable of an init container": lambda s: of_template(template(initContainers=[container(env=[{"name": "DB_PASSWORD", "value": s}])])),
    "flag with =": lambda s: of_template(template(containers=[container(args=["serve", f"--password={s}"])])),
    "argument after a flag": lambda s: of_template(template(containers=[container(args=["--token", s])])),
    "short flag": lambda s: of_template(template(containers=[container(command=["mysql", f"-p{s}"])])),
    "script": lambda s: of_template(template(containers=[container(command=["/bin/sh", "-c", f"export X='{s}'; run"])])),
    "only command": lambda s: of_template(template(containers=[container(command=[f"run {s}"])])),
    "header of a probe": lambda s: of_template(
        template(containers=[container(livenessProbe={"httpGet": {"path": "/", "port": 1, "httpHeaders": [{"name": "Authorization", "value": s}]}})])
    ),
    "query of a probe": lambda s: of_template(template(containers=[container(readinessProbe={"httpGet": {"path": f"/health?t={s}", "port": 1}})])),
    "command of a probe": lambda s: of_template(template(containers=[container(startupProbe={"exec": {"command": ["check", s]}})])),
    "hook": lambda s: of_template(template(containers=[container(lifecycle={"preStop": {"exec": {"command": ["bye", s]}}})])),
    "volume": lambda s: of_template(template(volumes=[{"name": "v", "csi": {"driver": "d", "volumeAttributes": {"key": s}}}])),
    "host alias": lambda s: of_template(template(hostAliases=[{"ip": "10.0.0.1", "hostnames": [s]}])),
    "field of tomorrow": lambda s: of_template(template(somethingNew={"deep": [{"er": s}]})),
    "field of tomorrow in a container": lambda s: of_template(template(containers=[container(somethingNew=s)])),
    "field of tomorrow in a template": lambda s: of_template({**template(), "somethingNew": s}),
    "annotation of a template": lambda s: of_template({**template(), "metadata": {"annotations": {"vault.example/role": s}}}),
    "field of tomorrow in a service": lambda s: service(spec={"somethingNew": s}),
    "annotation": lambda s: service(metadata={"annotations": {"example.dev/note": s}}),
    "last applied": lambda s: service(metadata={"annotations": {"kubectl.kubernetes.io/last-applied-configuration": json.dumps({"spec": s})}}),
    "managed fields": lambda s: service(metadata={"managedFields": [{"manager": s, "fieldsV1": {f"v:{s}": {}}}]}),
    "health check command": lambda s: service(spec={"healthCheck": {"exec": {"command": ["check", f"--key={s}"]}}}),
    "health check query": lambda s: service(spec={"healthCheck": {"http": {"port": 80, "path": f"/health?key={s}"}}}),
    "recorded revision": lambda s: (
        CONTROLLER_REVISIONS,
        {"metadata": {"name": "web-x"}, "data": {"template": template(containers=[container(env=[{"name": "A", "value": s}])]), "healthCheck": None}},
    ),
    "pod": lambda s: pod(spec={"containers": [container(env=[{"name": "A", "value": s}], args=[s])], "nodeName": "n"}),
    "annotation of a pod": lambda s: pod(metadata={"annotations": {"example.dev/x": s}}),
    "how a container ended": lambda s: pod(
        spec={"containers": [container()]}, status={"containerStatuses": [{"name": "server", "lastState": {"terminated": {"exitCode": 1, "message": s}}}]}
    ),
    "annotation of a Service": lambda s: (SERVICES, {"metadata": {"name": "web", "annotations": {"lb.example/key": s}}, "spec": {"ports": []}}),
}


def encoded(found: Any) -> str:
    return msgspec.json.encode(found).decode()


def pieces(secret: str) -> list[str]:
    """What must not be found: the secret as JSON has it, and each of its words that is long enough to be one."""
    return [encoded(secret)[1:-1], *(word for word in secret.replace("\n", " ").split() if len(word) >= 8 and not word.startswith("-"))]


@settings(max_examples=400, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(core=LETTERS, shape=st.sampled_from(list(SHAPES)), place=st.sampled_from(list(PLACES)), told=st.sampled_from(["{}", "value '{}' is wrong", "x={},y"]))
def test_no_planted_secret_is_in_a_report(core: str, shape: str, place: str, told: str) -> None:
    """Neither where it stands nor in what somebody else says about it."""
    secret = SHAPES[shape](core)
    redactor = Redactor()
    resource, body = PLACES[place](secret)
    shown = redactor.object(resource, msgspec.json.encode(body))
    event = redactor.text({"note": told.replace("{}", secret), "reason": "Failed"})
    hidden_there = place not in ("managed fields", "last applied", "how a container ended", "field of tomorrow in a service", "pod")
    for text in [encoded(shown), *([encoded(event)] if hidden_there else [])]:
        assert [each for each in pieces(secret) if each in text] == [], (place, shape)


@pytest.mark.parametrize("place", PLACES)
def test_what_was_hidden_keeps_its_shape(place: str) -> None:
    """The same redacted object reads as the original: types, entries and names of variables stay."""
    resource, body = PLACES[place]("a-secret-value")
    shown = Redactor().object(resource, msgspec.json.encode(body))
    resource.decoder.decode(msgspec.json.encode(shown))
    twice = Redactor().object(resource, msgspec.json.encode(shown))
    assert twice["metadata"] | {"annotations": 0} == shown["metadata"] | {"annotations": 0}
    assert {**twice, "metadata": 0} == {**shown, "metadata": 0}, "redacting twice changes nothing"


def test_what_support_needs_stays() -> None:
    env = [{"name": "LEVEL", "value": "debug"}, {"name": "PW", "valueFrom": {"secretKeyRef": {"name": "db", "key": "password"}}}]
    args = ["/bin/serve", "--port=80", "--verbose", "now"]
    resource, body = of_template(template(containers=[container(env=env, args=args, resources={"limits": {"cpu": "2"}})], terminationGracePeriodSeconds=9))
    shown = Redactor().object(resource, msgspec.json.encode(body))["spec"]["template"]["spec"]
    one = shown["containers"][0]
    assert (one["image"], one["ports"], one["resources"]) == ("registry.example/app:1.2.0", [{"containerPort": 8080}], {"limits": {"cpu": "2"}})
    assert one["env"] == [{"name": "LEVEL", "value": HIDDEN}, env[1]]
    assert one["args"] == ["/bin/serve", f"--port={HIDDEN}", "--verbose", HIDDEN]
    assert shown["terminationGracePeriodSeconds"] == 9


UID = "6f1c7b1e-0d7c-4f0e-9a58-2b3d1c5e7f90"


def with_agent() -> tuple[list[tuple[Any, Json]], str]:
    """A service and all that it owns, with the agent in its pod; and the agent's token."""
    resource, body = service(metadata={"uid": UID, "annotations": {}}, spec={"healthCheck": {"http": {"port": 8080}}})
    item = resource.decoder.decode(msgspec.json.encode(body))
    revision = replace(wanted_revision(item.spec, "web"), agent="drover-agent:1")
    record = build.controller_revision(item, revision, 1, "")
    owned = [(SERVICES, build.front(item)), (DISRUPTION_BUDGETS, build.disruption_budget(item)), (CONTROLLER_REVISIONS, record)]
    return [(resource, body), *owned, (PODS, build.pod(item, revision, 0, ""))], sidecar.token_of(UID, revision.name)


def test_the_token_of_the_agent_is_in_no_report_nor_what_it_is_made_of() -> None:
    """A report may end up with anybody, and it names the revisions: with the uid, the token could be worked out."""
    objects, token = with_agent()
    assert encoded(objects[-1][1]).count(token) == 2, "the agent and the hook have it"
    redactor = Redactor()
    shown = [redactor.object(resource, msgspec.json.encode(body)) for resource, body in objects]
    event = redactor.text({"note": f"uid {UID} is not {UID[::-1]}; refused: {encoded(objects[-1][1])}"})
    for each in (*shown, event):
        assert [secret for secret in (token, UID) if secret in encoded(each)] == []


def test_whom_an_object_belongs_to_is_still_told() -> None:
    """The operator compares uids; a pod that lost its owner is known by an annotation."""
    (first, *owned), _ = with_agent()
    stand_in = Redactor().object(first[0], msgspec.json.encode(first[1]))["metadata"]["uid"]
    for resource, body in owned:
        shown = Redactor().object(resource, msgspec.json.encode(body))
        assert resource.decoder.decode(msgspec.json.encode(shown)).metadata.controller_uid() == stand_in
        assert shown["metadata"].get("annotations", {}).get(build.naming.SERVICE_UID, stand_in) == stand_in
    assert shown["metadata"]["annotations"][build.naming.SERVICE_UID] == stand_in, "the last one is the pod"
    other = {"metadata": {"name": "web", "namespace": "shop", "uid": UID[::-1]}, "spec": first[1]["spec"]}
    assert Redactor().object(MANAGED_SERVICES, msgspec.json.encode(other))["metadata"]["uid"] != stand_in


SAID = [
    ("an address", "cannot reach https://me:pw12@host/x", "cannot reach https://***@host/x"),
    ("a telling word", "password=hunter2, user=me", "password=***, user=me"),
    ("a telling word with a colon", 'token: "abc def" refused', "token: *** refused"),
    ("a query", "GET /x?api_key=abc&page=2", "GET /x?api_key=***&page=2"),
    ("a header", "Authorization: Bearer abc.def", "Authorization: *** ***"),
    ("a JWT", "got eyJhbGciOi.eyJzdWIi.c2ln", "got ***"),
    ("a key of a cloud", "id AKIAABCDEFGHIJKLMNOP used", "id *** used"),
    ("nothing secret", "0/3 nodes are available: 3 Insufficient cpu.", "0/3 nodes are available: 3 Insufficient cpu."),
    ("a Secret that is missing", 'secret "db" not found', 'secret "db" not found'),
]


@pytest.mark.parametrize(("why", "said", "shown"), SAID, ids=[row[0] for row in SAID])
def test_what_others_say(why: str, said: str, shown: str) -> None:
    assert scrubbed(said) == shown, why
