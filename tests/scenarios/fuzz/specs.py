# SPDX-License-Identifier: Apache-2.0
"""Whole specs: those that sequences begin with, and changes that concern several fields at once."""

from collections.abc import Callable
from copy import deepcopy
from typing import Any

from scenarios.fuzz.arena import IMAGES, JOB, ROUTE, SILENT, SLOW, STEADY, TESTED, WINDOW, Arena, Moot
from scenarios.fuzz.walk import Json
from scenarios.invariants import NAMESPACE
from scenarios.world import service

QUICK = {"progressDeadline": "30s"}
Change = Callable[[Json, Arena], Any]


def _manifest(*, labels: dict[str, str] | None = None, **spec: Any) -> Json:
    return {"metadata": {"labels": labels} if labels else {}, "spec": service(**{"rollout": QUICK, **spec})["spec"]}


def _templated(**spec: Any) -> Json:
    """A template with a label, an annotation, a sidecar, a port and a probe of its own."""
    manifest = _manifest(**spec)
    template = manifest["spec"]["template"]
    template["metadata"] = {"labels": {"app": "web", "app.kubernetes.io/version": "7"}, "annotations": {"team": "a"}}
    template["spec"]["initContainers"] = [{"name": "sidecar", "image": "app:1.0", "restartPolicy": "Always"}]
    template["spec"]["containers"][0] |= {"ports": [{"containerPort": 8080, "name": "http"}], "readinessProbe": {"httpGet": {"path": "/", "port": 8080}}}
    return manifest


PORTS = [{"name": "http", "port": 80, "targetPort": 8080}, {"name": "admin", "port": 81}]
FIRST: dict[str, Json] = {
    "small": _manifest(replicas=2),
    "busy": _manifest(
        replicas=4, scaling={"min": 1, "max": 6}, ports=PORTS, healthCheck={"http": {"port": 8080}}, restart={"settle": "1s"}, labels={"team": "a"}
    ),
    "tight": _manifest(replicas=1, ports=[], criticality="Vital") | {},
    "rich": _templated(replicas=3, version="1.2.0", environment="Test", revisionHistoryLimit=2),
}
FIRST["tight"]["spec"]["rollout"] = {**QUICK, "rolling": {"maxSurge": 0, "maxUnavailable": 1}}


MATCH: list[Json] = [{"name": "x-fuzz", "value": "1"}]
# Services of every sort of rollout, as `FIRST` are; sequences come to them by changes.
SETTINGS: dict[str, Json] = {
    "canary by route": _manifest(
        traffic={"route": {"name": ROUTE}},
        environment="Production",
        rollout={
            **QUICK,
            "type": "Canary",
            "mainFlowTest": {"waived": "none"},
            "canary": {"steps": [{"weight": 20}, {"match": MATCH}], "cohorts": [{"name": "first", "match": MATCH}, {"name": "rest"}]},
        },
    ),
    "a cohort of all": _manifest(
        traffic={"route": {"name": ROUTE}}, rollout={**QUICK, "type": "Canary", "canary": {"steps": [{"weight": 20}], "cohorts": [{"name": "rest"}]}}
    ),
    "two at once": _manifest(traffic={"route": {"name": ROUTE}}, rollout={**QUICK, "type": "ABTest", "abTest": {"match": MATCH}}),
    "large": _manifest(
        replicas=5000,
        scaling={"min": 0, "max": 5000},
        healthCheck={"http": {"port": 8080}},
        rollout={"progressDeadline": "3h", "rolling": {"maxSurge": 1, "maxUnavailable": 1}},
    ),
    "none": _manifest(replicas=0, scaling={"min": 0, "max": 1}),
    "colours": _manifest(rollout={**QUICK, "type": "BlueGreen", "blueGreen": {"autoPromote": True}, "mainFlowTest": {"job": JOB}}),
}
# Gates and windows of every sort, by what is told apart: each field is at home in one of them.
GATES: dict[str, Json] = {
    "restarts": {"measure": {"restarts": {}}, "interval": "2s"},
    "restarts within a limit": {"measure": {"restarts": {}}, "limit": {"atMost": "1"}},
    "one query": {"measure": {"prometheus": {"address": "http://fuzz.example", "query": "up"}}, "limit": {"atMost": "1"}, "interval": "2s"},
    "shares": {"measure": {"prometheus": {"address": "http://fuzz.example", "requests": "a", "failures": "b"}}, "compare": {}, "limit": {"atMost": "1"}},
    "status": {"measure": {"http": {"url": "http://fuzz.example/"}}, "interval": "2s"},
    "field": {"measure": {"http": {"url": "http://fuzz.example/", "field": "/a"}}, "limit": {"atLeast": "1"}},
    "job": {"measure": {"job": JOB}},
}
WINDOWS: dict[str, Json] = {
    "always": {"opens": [{"from": "00:00", "for": "24h"}]},
    "a day": {"purpose": "Freeze", "opens": [{"from": "00:00", "for": "24h", "date": "2026-12-23"}], "services": {"matchLabels": {"team": "z"}}},
}


def _image(image: str) -> Change:
    def change(spec: Json, _: Arena) -> None:
        spec["template"]["spec"]["containers"][0]["image"] = image

    return change


def _set(**fields: Any) -> Change:
    return lambda spec, _: spec.update(fields)


def _rolling(**fields: Any) -> Change:
    return lambda spec, _: spec.setdefault("rollout", {}).setdefault("rolling", {}).update(fields)


def _canary(*steps: Json) -> Change:
    return lambda spec, _: spec.setdefault("rollout", {}).update(type="Canary", canary={"steps": list(steps)})


def _rollout(**fields: Any) -> Change:
    return lambda spec, _: spec.setdefault("rollout", {}).update(fields)


def _colours(**fields: Any) -> Change:
    return _rollout(type="BlueGreen", blueGreen={"keepFor": "5s", "autoPromote": True, **fields})


def _tested(image: str, **fields: Any) -> Change:
    job = {"template": {"spec": {"containers": [{"name": "test", "image": image}]}}, "timeout": "20s", **fields}
    return _rollout(mainFlowTest={"job": job})


def _routed(name: str, *steps: Json, **fields: Any) -> Change:
    return _both(_set(traffic={"route": {"name": name, **fields}, "settle": "1s"}, ports=[{"name": "http", "port": 80}]), _canary(*steps))


def _deadline(text: str) -> Change:
    return lambda spec, _: spec.setdefault("rollout", {}).update(progressDeadline=text)


def _label(key: str) -> Change:
    return lambda spec, _: spec["template"].setdefault("metadata", {}).setdefault("labels", {}).update({key: "fuzz"})


def _container(**fields: Any) -> Change:
    return lambda spec, _: spec["template"]["spec"]["containers"][0].update(fields)


def _pod(**fields: Any) -> Change:
    return lambda spec, _: spec["template"]["spec"].update(fields)


def _pin(pick: Callable[[list[str], str], str]) -> Change:
    """Pin to a recorded revision, picked from all by number and the one that serves."""

    def change(spec: Json, arena: Arena) -> None:
        found = sorted(arena.cluster.objects("controllerrevisions", NAMESPACE), key=lambda each: each.get("revision", 0))
        if not found:
            raise Moot("nothing is recorded")
        spec["pin"] = {"revision": pick([each["metadata"]["name"] for each in found], arena.status().get("currentRevision") or "none")}

    return change


def _both(*changes: Change) -> Change:
    def change(spec: Json, arena: Arena) -> None:
        for each in changes:
            each(spec, arena)

    return change


# By the property that they belong to most, so that they count for it.
CHANGES: dict[str, Change] = {
    **{f"spec.template.spec.containers[].image: {image}": _image(image) for image in (*IMAGES, SLOW, "app:3.0", "app@sha256:" + "a" * 64)},
    "spec.rollout.rolling: neither surge nor unavailable": _rolling(maxSurge=0, maxUnavailable=0),
    "spec.rollout.rolling: neither, in percent": _rolling(maxSurge="0%", maxUnavailable="0%"),
    "spec.rollout.rolling: neither, mixed": _rolling(maxSurge=0, maxUnavailable="0%"),
    "spec.rollout.rolling: a percentage that rounds to nothing": _rolling(maxSurge="0%", maxUnavailable="1%"),
    "spec.rollout.rolling: all at once": _rolling(maxSurge="100%", maxUnavailable="100%"),
    "spec.rollout.rolling.minReady: beyond the deadline": _both(_rolling(minReady="20s"), _deadline("10s")),
    "spec.rollout.rolling.minReady: just within the deadline": _both(_rolling(minReady="20s"), _deadline("40s")),
    "spec.rollout.rolling.minReady: hours, and a deadline beyond": _both(_rolling(minReady="1h"), _deadline("3h")),
    "spec.rollout.canary: two steps": _canary({"weight": 20}, {"weight": 60, "hold": "10s"}),
    "spec.rollout.canary: two steps, and a new template": _both(_canary({"weight": 25, "hold": "5s"}, {"weight": 50}), _image("app:4.1")),
    "spec.rollout.canary: weights that fall": _canary({"weight": 60}, {"weight": 20}),
    "spec.rollout.canary: without settings": lambda spec, _: spec.setdefault("rollout", {}).update(type="Canary"),
    "spec.rollout.canary.steps[].gates: one that is passed, and a new template": _both(
        _canary({"weight": 30, "gates": [STEADY, TESTED]}, {"weight": 60}), _image("app:4.3")
    ),
    "spec.rollout.canary.steps[].gates: one that is missing, and a new template": _both(_canary({"weight": 30, "gates": ["nowhere"]}), _image("app:4.4")),
    "spec.rollout.canary.steps[].pause: and a new template": _both(_canary({"weight": 30}, {"pause": {}}), _image("app:4.5")),
    "spec.rollout.gates: one that is passed, and a new template": _both(_rollout(gates=[STEADY]), _image("app:4.6")),
    "spec.rollout.gates: one that is missing, and a new template": _both(_rollout(gates=["nowhere"]), _image("app:4.7")),
    "spec.rollout.gates: one without data, and a new template": _both(_rollout(gates=[SILENT]), _image("app:4.8")),
    "spec.rollout.gates: removed": lambda spec, _: spec.get("rollout", {}).pop("gates", None),
    "spec.rollout.mainFlowTest: passed, and a new template": _both(_tested("app:1.0"), _image("app:4.9")),
    "spec.rollout.mainFlowTest: failed, and a new template": _both(_tested("app:fail"), _image("app:4.10")),
    "spec.rollout.mainFlowTest: late, and a new template": _both(_tested("app:never"), _image("app:4.11")),
    "spec.rollout.mainFlowTest: with Recreate": _both(_tested("app:1.0"), _rollout(type="Recreate"), _image("app:4.12")),
    "spec.rollout.blueGreen: and a new template": _both(_colours(), _image("app:4.13")),
    "spec.rollout.blueGreen: and a template that does not start": _both(_colours(), _image("app:never")),
    "spec.rollout.blueGreen: with a test, and a new template": _both(_colours(), _tested("app:1.0"), _image("app:4.14")),
    "spec.rollout.blueGreen: waits for a person, and a new template": _both(_colours(autoPromote=False), _image("app:4.15")),
    "spec.rollout.blueGreen.gates: passed, and a new template": _both(_colours(gates=[STEADY, TESTED]), _image("app:4.16")),
    "spec.rollout.blueGreen.keepFor: nothing, and a new template": _both(_colours(keepFor="0s"), _image("app:4.17")),
    "spec.rollout.recreate.window: open, and a new template": _both(
        _rollout(type="Recreate", recreate={"acknowledge": "fuzz", "window": WINDOW}), _image("app:4.18")
    ),
    "spec.rollout.recreate.window: nowhere, and a new template": _both(
        _rollout(type="Recreate", recreate={"acknowledge": "fuzz", "window": "nowhere"}), _image("app:4.19")
    ),
    "spec.traffic: a canary by route, and a new template": _both(_routed(ROUTE, {"weight": 30}, {"weight": 70, "hold": "3s"}), _image("app:4.20")),
    "spec.traffic: another canary by route": _both(_routed(ROUTE, {"weight": 50, "gates": [STEADY]}), _image("app:4.21")),
    "spec.traffic.route: nowhere, and a new template": _both(_routed("nowhere", {"weight": 50}), _image("app:4.22")),
    "spec.traffic.route.rule: nowhere, and a new template": _both(_routed(ROUTE, {"weight": 50}, rule="nowhere"), _image("app:4.23")),
    "spec.traffic: removed": lambda spec, _: spec.pop("traffic", None),
    "spec.environment: production, and a word on its test": _both(_set(environment="Production"), _rollout(mainFlowTest={"waived": "fuzz"})),
    "spec.environment: production, without a test": _both(_set(environment="Production"), lambda spec, _: spec.get("rollout", {}).pop("mainFlowTest", None)),
    "spec.rollout.type: recreate, and a new template": _both(lambda spec, _: spec.setdefault("rollout", {}).update(type="Recreate"), _image("app:4.2")),
    "spec.rollout.type: back to rolling": lambda spec, _: spec.setdefault("rollout", {}).update(type="Rolling"),
    "spec.scaling: min beyond max": _set(scaling={"min": 5, "max": 2}),
    "spec.scaling: replicas below": _set(scaling={"min": 5, "max": 6}, replicas=2),
    "spec.scaling: replicas above": _set(scaling={"min": 1, "max": 2}, replicas=5),
    "spec.scaling: one number": _set(scaling={"min": 3, "max": 3}, replicas=3),
    "spec.replicas: zero, and a new template": _both(_set(replicas=0, scaling={}), _image("app:4.0")),
    "spec.pin.revision: the first": _pin(lambda names, _: names[0]),
    "spec.pin.revision: the last": _pin(lambda names, _: names[-1]),
    "spec.pin.revision: the one that serves": _pin(lambda _, serving: serving),
    "spec.pin.revision: of another service": _set(pin={"revision": "other-bbbbbbbb"}),
    "spec.pin.revision: the first, and paused": _both(_pin(lambda names, _: names[0]), _set(paused=True)),
    "spec.pin.revision: the first, and a new template": _both(_pin(lambda names, _: names[0]), _image("app:5.0")),
    "spec.pin: removed": lambda spec, _: spec.pop("pin", None),
    "spec.ports: one number twice": _set(ports=[{"name": "a", "port": 80}, {"name": "b", "port": 80}]),
    "spec.ports: one number, two protocols": _set(ports=[{"name": "a", "port": 53}, {"name": "b", "port": 53, "protocol": "UDP"}]),
    "spec.ports: named targets": _set(ports=[{"name": "a", "port": 80, "targetPort": "http"}, {"name": "b", "port": 81, "targetPort": "nowhere"}]),
    "spec.ports: a target of digits": _set(ports=[{"name": "a", "port": 80, "targetPort": "8080"}]),
    "spec.ports: swapped": lambda spec, _: spec.update(ports=list(reversed(spec.get("ports", [])))),
    "spec.healthCheck: http beside a probe": _both(_set(healthCheck={"http": {"port": 9}}), _container(readinessProbe={"tcpSocket": {"port": 9}})),
    "spec.healthCheck: on the port of no container": _set(healthCheck={"tcp": {"port": 4711}}),
    "spec.healthCheck: all kinds": _set(
        healthCheck={"http": {"port": 1}, "tcp": {"port": 1}, "grpc": {"port": 1}, "exec": {"command": ["true"]}},
    ),
    "spec.healthCheck: fractions of a second": _set(healthCheck={"tcp": {"port": 8080}, "interval": "2500ms", "timeout": "5001ms"}),
    "spec.mode: Pet with a new template": _both(_set(mode="Pet"), _image("app:6.0")),
    "spec.paused: true, and a new template": _both(_set(paused=True), _image("app:7.0")),
    "spec.paused: false, and another template": _both(_set(paused=False), _image("app:8.0")),
    "spec.restart.settle: beyond the drain time-out": _set(restart={"settle": "20s", "drainTimeout": "5s"}),
    "spec.restart.settle: beyond the grace period": _both(_set(restart={"settle": "40s"}), _pod(terminationGracePeriodSeconds=10)),
    "spec.revisionHistoryLimit: one, and a new template": _both(_set(revisionHistoryLimit=1), _image("app:9.0")),
    "spec.template.metadata.labels: a key of ours": _label("drover.dev/service"),
    "spec.template.metadata.labels: our mark": _label("app.kubernetes.io/managed-by"),
    "spec.template.spec: no grace": _pod(terminationGracePeriodSeconds=0),
    "spec.template.spec: nowhere to run": _pod(nodeSelector={"fuzz": "nowhere"}),
    "spec.template.spec: a field of no pod": _pod(fuzzed=True),
    "spec.template.spec.containers: one name twice, beside an init container": _pod(initContainers=[{"name": "server", "image": "app:1.0"}]),
    "spec.template.spec.containers: more asked than allowed": _container(resources={"limits": {"cpu": "1"}, "requests": {"cpu": "2"}}),
}

# Those that only a rule in CEL refuses.
RULED = (
    "spec.rollout.rolling: neither surge nor unavailable",
    "spec.rollout.rolling: neither, in percent",
    "spec.rollout.rolling: neither, mixed",
    "spec.rollout.rolling.minReady: beyond the deadline",
    "spec.environment: production, without a test",
    "spec.scaling: min beyond max",
    "spec.scaling: replicas below",
    "spec.scaling: replicas above",
    "spec.healthCheck: all kinds",
    "spec.mode: Pet with a new template",
    "spec.template.metadata.labels: a key of ours",
)


def changed(manifest: Json, change: Change, arena: Arena) -> Json:
    """The manifest after a change; the old one stays as it is."""
    copy = deepcopy(manifest)
    change(copy["spec"], arena)
    return copy
