# SPDX-License-Identifier: Apache-2.0
"""Bad input is refused by the API server itself, and the message names the field and the value. The bounds themselves are accepted."""

from collections.abc import Iterator
from copy import deepcopy
from typing import Any

import pytest
from api.harness.kube import JSON_PATCH, Body, Refused, path
from api.harness.plane import Plane
from api.harness.space import Space, service

HTTP = {"http": {"port": 8080}}


@pytest.fixture(scope="module")
def room(plane: Plane) -> Iterator[Space]:
    """One namespace for all refusals: nothing of them is ever stored."""
    plane.kube.call("post", "/api/v1/namespaces", {"metadata": {"name": "refusals"}})
    yield Space(plane, "refusals")
    plane.kube.call("delete", "/api/v1/namespaces/refusals")


def changed(where: str, value: Any) -> Body:
    """A good service with one field set; `...` removes it."""
    body = deepcopy(service("good"))
    *way, last = where.split(".")
    node = body
    for step in way:
        node = node[int(step)] if isinstance(node, list) else node.setdefault(step, {})
    if value is ...:
        del node[last]
    else:
        node[last] = value
    return body


def check(**fields: Any) -> Body:
    return {**HTTP, **fields}


def canary(*steps: Body) -> Body:
    return {"type": "Canary", "canary": {"steps": list(steps)}}


def colours(**fields: Any) -> Body:
    return {"type": "BlueGreen", "blueGreen": fields}


def rolling(**fields: Any) -> Body:
    return {"type": "Rolling", "rolling": fields}


REFUSED: list[tuple[str, Any, tuple[str, ...]]] = [
    ("spec.replica", 3, ('unknown field "spec.replica"',)),
    ("spec.rollout", {"typo": 1}, ('unknown field "spec.rollout.typo"',)),
    ("spec.healthCheck", check(thresold=1), ('unknown field "spec.healthCheck.thresold"',)),
    ("spec.criticality", ..., ("spec.criticality", "Required")),
    ("spec.criticality", "Critical", ("spec.criticality", '"Critical"', '"Vital"', '"Expendable"')),
    ("spec.template", ..., ("spec.template", "Required")),
    ("spec.template.spec.containers", [], ("spec.template.spec.containers", "at least 1")),
    ("spec.template.spec.containers.0.image", ..., ("spec.template.spec.containers[0].image", "Required")),
    ("spec.template.spec.restartPolicy", "Never", ("spec.template.spec.restartPolicy", '"Never"', '"Always"')),
    ("spec.template.metadata", {"labels": {"drover.dev/slot": "1"}}, ("spec.template.metadata.labels", "drover.dev/", "must not use")),
    ("spec.replicas", -1, ("spec.replicas", "-1", "greater than or equal to 0")),
    ("spec.replicas", 5001, ("spec.replicas", "5001", "less than or equal to 5000")),
    ("spec.replicas", "3", ("spec.replicas", '"string"', "integer")),
    ("spec.healthCheck", check(unhealthyThreshold=1), ("spec.healthCheck.unhealthyThreshold", "1", "greater than or equal to 2")),
    ("spec.healthCheck", check(unhealthyThreshold=11), ("spec.healthCheck.unhealthyThreshold", "11", "less than or equal to 10")),
    ("spec.healthCheck", check(healthyThreshold=1), ("spec.healthCheck.healthyThreshold", "1", "greater than or equal to 2")),
    ("spec.healthCheck", check(healthyThreshold=11), ("spec.healthCheck.healthyThreshold", "11", "less than or equal to 10")),
    ("spec.healthCheck", check(interval="1s"), ("spec.healthCheck.interval must be between 2s and 60s, not 1s",)),
    ("spec.healthCheck", check(interval="61s"), ("spec.healthCheck.interval must be between 2s and 60s, not 61s",)),
    ("spec.healthCheck", check(interval="soon"), ("spec.healthCheck.interval", '"soon"', "should match")),
    ("spec.healthCheck", check(timeout="4s"), ("spec.healthCheck.timeout must be between 5s and 300s, not 4s",)),
    ("spec.healthCheck", check(timeout="301s"), ("spec.healthCheck.timeout must be between 5s and 300s, not 301s",)),
    ("spec.healthCheck", check(tcp={"port": 8080}), ("spec.healthCheck must have exactly one of",)),
    ("spec.healthCheck", {"interval": "5s"}, ("spec.healthCheck must have exactly one of",)),
    ("spec.healthCheck", {"http": {"port": 0}}, ("spec.healthCheck.http.port", "0", "greater than or equal to 1")),
    ("spec.healthCheck", {"http": {"port": 8080, "path": "healthz"}}, ("spec.healthCheck.http.path", '"healthz"', "should match")),
    ("spec.healthCheck", {"exec": {"command": []}}, ("spec.healthCheck.exec.command", "at least 1")),
    ("spec.rollout", rolling(maxSurge=0, maxUnavailable=0), ("maxSurge", "maxUnavailable", "must not both be 0")),
    ("spec.rollout", rolling(maxSurge="0%", maxUnavailable="0%"), ("maxSurge", "maxUnavailable", "must not both be 0")),
    ("spec.rollout", rolling(maxSurge=0), ("maxSurge", "maxUnavailable", "must not both be 0")),
    ("spec.rollout", rolling(maxSurge="101%"), ("spec.rollout.rolling.maxSurge", '"101%"')),
    ("spec.rollout", rolling(maxSurge="half"), ("spec.rollout.rolling.maxSurge", '"half"')),
    ("spec.rollout", rolling(maxUnavailable=-1), ("spec.rollout.rolling.maxUnavailable", "-1")),
    ("spec.rollout", rolling(maxUnavailable="25"), ("spec.rollout.rolling.maxUnavailable", '"25"')),
    ("spec.rollout", rolling(minReady="61m"), ("spec.rollout.rolling.minReady must be between 0s and 1h, not 61m",)),
    ("spec.rollout", {"progressDeadline": "30s", **rolling(minReady="30s")}, ("minReady must be shorter than", "progressDeadline", "30s against 30s")),
    ("spec.rollout", {"type": "Magic"}, ("spec.rollout.type", '"Magic"', '"Rolling"')),
    ("spec.rollout", {"type": "Recreate", "recreate": {}}, ("spec.rollout.recreate.acknowledge", "Required")),
    ("spec.rollout", {"type": "Recreate", "recreate": {"acknowledge": ""}}, ("spec.rollout.recreate.acknowledge", "at least 1")),
    ("spec.rollout", {"type": "Canary"}, ("spec.rollout.type is Canary", "spec.rollout.canary")),
    ("spec.rollout", canary(), ("spec.rollout.canary.steps", "at least 1")),
    ("spec.rollout", canary({"weight": 0}), ("spec.rollout.canary.steps[0].weight", "0", "greater than or equal to 1")),
    ("spec.rollout", canary({"weight": 50}, {"weight": 100}), ("spec.rollout.canary.steps[1].weight", "100", "less than or equal to 99")),
    ("spec.rollout", canary({"weight": 50}, {"pause": {}}, {"weight": 20}), ("must not fall from one step to the next",)),
    ("spec.rollout", canary({"weight": 50, "pause": {}}), ("must have either a `pause`, or `weight`, `match` or both",)),
    ("spec.rollout", canary({}), ("must have either a `pause`, or `weight`, `match` or both",)),
    ("spec.rollout", canary({"pause": {}, "hold": "5m"}), ("hold goes with `weight` or `match`",)),
    ("spec.rollout", canary({"weight": 5, "hold": "169h"}), ("must be between 0s and 168h, not 169h",)),
    ("spec.rollout", canary({"weight": 5, "hold": "later"}), ("spec.rollout.canary.steps[0].hold", '"later"', "should match")),
    ("spec.rollout", canary(*[{"weight": 5}] * 21), ("spec.rollout.canary.steps", "at most 20")),
    ("spec.rollout", {"mainFlowTest": {}}, ("spec.rollout.mainFlowTest must have exactly one of `job` and `waived`",)),
    ("spec.rollout", {"mainFlowTest": {"waived": ""}}, ("spec.rollout.mainFlowTest.waived", "at least 1")),
    ("spec.rollout", colours(keepFor="169h"), ("spec.rollout.blueGreen.keepFor must be between 0s and 168h, not 169h",)),
    ("spec.rollout", {"gates": ["a", "a"]}, ("spec.rollout.gates[1]", "Duplicate value", '"a"')),
    ("spec.rollout", {"gates": ["a.b"]}, ("spec.rollout.gates[0]", '"a.b"', "should match")),
    ("spec.traffic", {}, ("spec.traffic.route", "Required")),
    ("spec.traffic", {"route": {"name": "a"}, "settle": "11m"}, ("spec.traffic.settle must be between 0s and 10m, not 11m",)),
    ("spec.rollout", {"progressDeadline": "9s"}, ("spec.rollout.progressDeadline must be between 10s and 24h, not 9s",)),
    ("spec.rollout", {"progressDeadline": "25h"}, ("spec.rollout.progressDeadline must be between 10s and 24h, not 25h",)),
    ("spec.restart", {"drainTimeout": "61m"}, ("spec.restart.drainTimeout must be between 0s and 1h, not 61m",)),
    ("spec.restart", {"drainTimeout": "30"}, ("spec.restart.drainTimeout", '"30"', "should match")),
    ("spec.restart", {"settle": "6m"}, ("spec.restart.settle must be between 0s and 5m, not 6m",)),
    ("spec.restart", {"activeRequests": {"port": 80}}, ("spec.restart.activeRequests needs spec.healthCheck with http or tcp",)),
    ("spec.restart", {"activeRequests": {"port": 0}}, ("spec.restart.activeRequests.port", "0")),
    ("spec.scaling", {"min": 3, "max": 9}, ("spec.replicas must be from 3 to 9", "not 2")),
    ("spec.scaling", {"max": 1}, ("spec.replicas must be from 0 to 1", "not 2")),
    ("spec.scaling", {"min": 2, "max": 1}, ("spec.scaling.min must not be greater than spec.scaling.max: 2 > 1",)),
    ("spec.mode", "Pet", ("spec.mode 'Pet' is not supported",)),
    ("spec.mode", "Cow", ("spec.mode", '"Cow"', '"Cattle"')),
    ("spec.environment", "Prod", ("spec.environment", '"Prod"', '"Production"')),
    ("spec.environment", "Test", ("spec.environment is Test", "drover.dev/environment", "not set")),
    ("spec.environment", "Production", ("spec.environment is Production", "spec.rollout.mainFlowTest.job", "`waived`")),
    ("spec.ports", [{"name": "a", "port": 1}, {"name": "a", "port": 2}], ("spec.ports[1]", "Duplicate value", '"a"')),
    ("spec.ports", [{"name": "UPPER", "port": 1}], ("spec.ports[0].name", '"UPPER"', "should match")),
    ("spec.ports", [{"name": "a", "port": 70000}], ("spec.ports[0].port", "70000", "65535")),
    ("spec.ports", [{"name": "a", "port": 1, "targetPort": 0}], ("spec.ports[0].targetPort", "0")),
    ("spec.revisionHistoryLimit", 0, ("spec.revisionHistoryLimit", "0", "greater than or equal to 1")),
    ("spec.pin", {"revision": ""}, ("spec.pin.revision",)),
    ("spec.version", "", ("spec.version",)),
    ("metadata.name", "a" * 41, ("metadata.name must be a DNS label of at most 40 characters, not " + "a" * 41,)),
    ("metadata.name", "a.b", ("metadata.name must be a DNS label of at most 40 characters, not a.b",)),
]

ACCEPTED: list[tuple[str, Any]] = [
    ("spec.replicas", 0),
    ("spec.replicas", 5000),
    ("spec.healthCheck", check(unhealthyThreshold=2, healthyThreshold=10, interval="2s", timeout="300s")),
    ("spec.healthCheck", check(unhealthyThreshold=10, healthyThreshold=2, interval="1m", timeout="5s")),
    ("spec.healthCheck", {"grpc": {"port": 65535, "service": "x"}}),
    ("spec.healthCheck", {"exec": {"command": ["true"]}}),
    ("spec.rollout", rolling(maxSurge=0, maxUnavailable=1)),
    ("spec.rollout", {"progressDeadline": "61m", **rolling(maxSurge="100%", maxUnavailable="100%", minReady="1h")}),
    ("spec.rollout", {"progressDeadline": "10s"}),
    ("spec.rollout", canary({"weight": 1, "hold": "0s"}, {"pause": {}}, {"weight": 1}, {"weight": 99, "hold": "168h"})),
    ("spec.rollout", {**canary({"weight": 5}), "type": "Rolling"}),
    ("spec.rollout", {"type": "Recreate"}),
    ("spec.rollout", {"type": "Recreate", "recreate": {"acknowledge": "announced for Sunday night"}}),
    ("spec.rollout", {"progressDeadline": "24h"}),
    ("spec.rollout", {"type": "BlueGreen"}),
    ("spec.rollout", {**colours(keepFor="168h", autoPromote=True, gates=["a"]), "gates": ["b"], "mainFlowTest": {"waived": "a table"}}),
    ("spec.traffic", {"route": {"name": "shop.example", "rule": "app"}, "settle": "0s"}),
    ("spec.restart", {"drainTimeout": "0s", "settle": "0s"}),
    ("spec.restart", {"drainTimeout": "1h", "settle": "5m"}),
    ("spec.scaling", {"min": 2, "max": 2}),
    ("spec.scaling", {"min": 0, "max": 5000}),
    ("spec.ports", [{"name": "a", "port": 1, "targetPort": "http"}, {"name": "b", "port": 65535, "protocol": "UDP"}]),
    ("spec.template.metadata", {"labels": {"app": "x", "drover.example/slot": "1"}, "annotations": {"drover.dev/simulate": "fail"}}),
    ("spec.revisionHistoryLimit", 100),
    ("metadata.name", "a" * 40),
]


def create(room: Space, body: Body) -> None:
    room.kube.call("post", path("managedservices", room.name), body, query={"fieldValidation": "Strict", "dryRun": "All"})


@pytest.mark.parametrize(("where", "value", "words"), REFUSED, ids=lambda value: str(value)[:60] if not isinstance(value, tuple) else "")
def test_refused(room: Space, where: str, value: Any, words: tuple[str, ...]) -> None:
    """422 (400 for an unknown field), and the words that a person needs."""
    with pytest.raises(Refused) as refusal:
        create(room, changed(where, value))
    assert refusal.value.code in (400, 422)
    missing = [word for word in words if word not in str(refusal.value)]
    assert not missing, f"{missing} not in: {refusal.value}"


@pytest.mark.parametrize(("where", "value"), ACCEPTED, ids=lambda value: str(value)[:60])
def test_accepted(room: Space, where: str, value: Any) -> None:
    """Exactly at a bound is inside."""
    create(room, changed(where, value))


def test_defaults(room: Space) -> None:
    """What is not said is the documented default; nothing of ours appears in the user's template."""
    body = service("defaults")
    for name in ("replicas", "ports", "restart"):
        del body["spec"][name]
    spec = room.kube.call("post", path("managedservices", room.name), body, query={"dryRun": "All"})["spec"]
    assert (spec["replicas"], spec["mode"], spec["adopt"], spec["paused"], spec["revisionHistoryLimit"]) == (1, "Cattle", False, False, 10)
    assert spec["template"] == body["spec"]["template"]
    body["spec"] |= {"rollout": {"rolling": {}}, "restart": {}, "healthCheck": HTTP}
    spec = room.kube.call("post", path("managedservices", room.name), body, query={"dryRun": "All"})["spec"]
    rolling = {"maxSurge": "25%", "maxUnavailable": 0, "minReady": "0s"}
    assert spec["rollout"] == {"type": "Rolling", "progressDeadline": "10m", "rolling": rolling, "gates": []}
    assert spec["restart"] == {"drainTimeout": "30s", "settle": "2s"}
    bounds = {"interval": "5s", "timeout": "5s", "unhealthyThreshold": 3, "healthyThreshold": 2}
    assert spec["healthCheck"] == {"http": {"port": 8080, "path": "/"}, **bounds}


def test_nothing_unsaid_appears(room: Space) -> None:
    """Optional parts that were not given stay away."""
    spec = room.kube.call("post", path("managedservices", room.name), service("plain"), query={"dryRun": "All"})["spec"]
    assert not {"environment", "healthCheck", "scaling", "pin", "version"} & spec.keys()


def test_kubectl_apply_refuses_an_unknown_field(room: Space) -> None:
    """kubectl asks for strict validation by itself: a typo never goes unnoticed."""
    text = "apiVersion: drover.dev/v1alpha1\nkind: ManagedService\nmetadata: {name: x}\nspec: {criticality: Normal, replica: 3, template: {spec: {containers: [{name: a, image: b}]}}}"
    assert 'unknown field "spec.replica"' in room.plane.kubectl("apply", "-n", room.name, "-f", "-", stdin=text, ok=False)


def test_scale_stays_within_bounds(room: Space) -> None:
    """The scale subresource obeys spec.scaling too: an autoscaler cannot leave the bounds."""
    room.create({**service("bounded", replicas=0, scaling={"min": 0, "max": 3})})
    words = room.plane.kubectl("scale", "-n", room.name, "msvc/bounded", "--replicas=4", ok=False)
    assert "spec.replicas must be from 0 to 3 as spec.scaling says, not 4" in words
    with pytest.raises(Refused, match="spec.replicas must be from 0 to 3"):
        room.patch("bounded", {"spec": {"replicas": 4}})
    assert room.get("bounded")["spec"]["replicas"] == 0


def test_mode_never_changes(room: Space) -> None:
    """Cattle cannot become a pet: the message says what to do instead."""
    room.create(service("cattle", replicas=0))
    with pytest.raises(Refused, match=r"spec\.mode must not change \(from Cattle to Pet\): create a new service"):
        room.patch("cattle", {"spec": {"mode": "Pet"}})


def test_environment_repeats_the_namespace(room: Space) -> None:
    """One truth: what the namespace says may be repeated, and nothing else said."""
    room.kube.call("post", "/api/v1/namespaces", {"metadata": {"name": "labelled", "labels": {"drover.dev/environment": "Staging"}}})
    try:
        where, query = path("managedservices", "labelled"), {"dryRun": "All"}
        room.kube.call("post", where, service("a", environment="Staging"), query=query)
        with pytest.raises(Refused, match="spec.environment is Test, but the label drover.dev/environment of namespace labelled is Staging"):
            room.kube.call("post", where, service("a", environment="Test"), query=query)
    finally:
        room.kube.call("delete", "/api/v1/namespaces/labelled")


def test_status_is_not_written_through_the_object(room: Space) -> None:
    """Status is a subresource: what a manifest says there is dropped."""
    room.create({**service("liar", replicas=0), "status": {"phase": "Run"}})
    room.kube.patch("managedservices", room.name, "liar", [{"op": "add", "path": "/metadata/labels", "value": {"a": "b"}}], content=JSON_PATCH)
    assert room.get("liar").get("status", {}).get("phase") != "Run" or room.get("liar")["status"].get("ready") == "0/0"
