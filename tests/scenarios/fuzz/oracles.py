# SPDX-License-Identifier: Apache-2.0
"""What must hold when all is quiet again. Each finding begins with the name of its oracle, so that a smaller sequence can be known for
the same failure.
"""

import asyncio
from typing import Any

from scenarios.fuzz.arena import FLAPPING, IMAGES, NAME, SLOW, STEADY, TESTED, Arena, Json, demanded
from scenarios.invariants import GATE, NAMESPACE, kstatus

from drover_controllers.service import naming
from drover_controllers.service.build import DISRUPTION
from drover_operator.api.crd import MANAGED_SERVICE, schema
from drover_operator.core.clock import parse_duration
from drover_operator.core.reasons import Reason

QUIET, SHORT, PASSES = 60.0, 8.0, 60  # seconds without a write, at the end and on the way; and passes allowed in them
IN_USE = 3  # revisions that are kept whatever the limit: target, stable, wanted
LONGEST = 1200.0  # seconds that an end is waited for; who declares longer times is believed to be under way
_SPEC = schema(MANAGED_SERVICE)["properties"]["spec"]
STANDING = ("RouteNotFound", "RouteNotUsable", "RouteNotAccepted", "WindowNotFound", "WindowNeverOpens", "WaitsForPromotion")  # until a person comes
OBSTACLES = ("RolledBack", "InvalidTemplate", "PinNotFound", "RevisionCollision", *STANDING[:-1])  # the good revision must go on serving
CHILDREN = ("pods", "services", "poddisruptionbudgets", "controllerrevisions", "jobs")


def seconds(spec: Json, path: str) -> float:
    """A duration of the spec, or its default: `restart.settle`."""
    node: Json = _SPEC
    value: Any = spec
    for key in path.split("."):
        node, value = node["properties"][key], value.get(key, node["properties"][key].get("default", {}))
    return parse_duration(value)


def patience(spec: Json) -> float:
    """Seconds in which the spec is reached, or given up."""
    each = seconds(spec, "rollout.rolling.minReady") + min(seconds(spec, "restart.settle") + 2.0, seconds(spec, "restart.drainTimeout"))
    steps = _held(spec)
    return 180.0 + seconds(spec, "rollout.progressDeadline") * (1 + len(steps)) + each * (1 + demanded(spec)) * (1 + len(steps)) + sum(steps)


def _held(spec: Json) -> list[float]:
    """What the steps of a rollout wait for by themselves, in seconds: holds, the old set, a router, a test."""
    rollout, canary = spec.get("rollout", {}), spec.get("rollout", {}).get("canary", {})
    by_type: dict[str, list[str]] = {
        "Canary": [each.get("hold", "0s") for each in (*canary.get("steps", ()), *canary.get("cohorts", ()))],
        "BlueGreen": ["0s", rollout.get("blueGreen", {}).get("keepFor", "10m")],
        "ABTest": [rollout.get("abTest", {}).get("minDuration", "24h")],
    }
    test = rollout.get("mainFlowTest", {}).get("job")
    settle = [spec["traffic"].get("settle", "5s")] * 4 if "traffic" in spec else []
    settle += ["30s"] if _gates(spec) else []  # what the measurements of those that exist take
    return [parse_duration(each) for each in (*by_type.get(rollout.get("type", ""), ()), *settle, *([test.get("timeout", "10m")] if test else ()))]


def doomed(spec: Json) -> bool:
    """Whether a new revision cannot pass its gates: one does not exist or has no data, or its test fails."""
    test = spec.get("rollout", {}).get("mainFlowTest", {}).get("job")
    return any(name not in (STEADY, TESTED) for name in _gates(spec)) or (test is not None and not _passes(test))


def _gates(spec: Json) -> list[str]:
    """The gates that a spec names, with whatever strategy."""
    rollout = spec.get("rollout", {})
    canary = rollout.get("canary", {})
    rows = [rollout.get("gates", ()), rollout.get("blueGreen", {}).get("gates", ()), rollout.get("abTest", {}).get("gates", ())]
    rows += [each.get("gates", ()) for each in (*canary.get("steps", ()), *canary.get("cohorts", ()))]
    return [name for row in rows for name in row]


def _passes(test: Json) -> bool:
    image = test["template"]["spec"]["containers"][0]["image"]
    return image not in IMAGES and image != SLOW and parse_duration(test.get("timeout", "10m")) > 5.0


def hasty(spec: Json) -> bool:
    """Whether the deadline is shorter than a healthy instance needs, so that an update is given up and a first deployment is not."""
    return seconds(spec, "rollout.progressDeadline") <= seconds(spec, "rollout.rolling.minReady") + 15.0


async def settle(arena: Arena, quiet: float = QUIET) -> list[str]:
    """Wait until so many seconds have passed without a write and the end is reached, or its time is over."""
    now = asyncio.get_running_loop().time
    begun = since = now()
    seen, passes, within = arena.writes(), _passes(arena), LONGEST
    while now() - since < quiet or (now() - begun < within and not _ended(arena)):
        await asyncio.sleep(1.0)
        if (writes := arena.writes()) != seen:
            seen, since, passes = writes, now(), _passes(arena)
        found = arena.object
        within = min(LONGEST, patience(found["spec"])) if found and not _drains(found) else LONGEST
        if now() - begun > within + 700.0:
            return [f"quiet: it still writes after {now() - begun:.0f} s, {arena.status().get('summary')}"]
    spent = _passes(arena) - passes
    return [f"quiet: {spent} passes in {now() - since:.0f} quiet seconds"] if spent > PASSES + (now() - since - quiet) else []


def _ended(arena: Arena) -> bool:
    found = arena.object
    if found is None:
        return True
    return kstatus(found) in ("Current", "Failed") and found["status"]["phase"] in ("Run", "Failed") and not _drains(found)


def _drains(found: Json | None) -> bool:
    """Whether instances are still being ended, as slowly as they were told to when they were made."""
    return bool(found and found.get("status", {}).get("counts", {}).get("draining"))


def _passes(arena: Arena) -> int:
    return sum(engine._passes for each in arena.operators for life in each.lives if life.process is not None for engine in life.process.engines)


def judge(arena: Arena) -> list[str]:
    """Whether the declared state is there, or the status says why not."""
    found = arena.object
    if found is None:
        return ["gone: the service vanished"]
    status = found.get("status", {})
    if status.get("observedGeneration") != found["metadata"]["generation"]:
        return [f"silent: the status is of generation {status.get('observedGeneration')}, not {found['metadata']['generation']}"]
    words = {each["reason"] for each in status["conditions"]} | {status["summary"]}
    problems = [f"told: '{word}' is no reason of the catalogue" for word in sorted(words - {*Reason})]
    if kstatus(found) == "Current":
        return problems + reached(arena, found)
    return problems + _excused(arena, found)


def _excused(arena: Arena, found: Json) -> list[str]:
    """What is not reached must say why, and what served before must go on."""
    status, spec = found["status"], found["spec"]
    by = {each["type"]: each for each in status["conditions"]}
    if kstatus(found) == "InProgress" and not _under_way(spec, by["Reconciling"]["reason"]):
        return [f"silent: still {by['Reconciling']['reason']} when every deadline is over"]
    telling = [by[kind] for kind in ("Stalled", "Reconciling", "Degraded") if by[kind]["status"] == "True"]
    problems = [] if telling else [f"silent: not ready, and nothing says why: {status['summary']}"]
    problems += [f"silent: {each['type']} {each['reason']} without a word" for each in telling if each["type"] != "Reconciling" and not each.get("message")]
    serving, good = demanded(spec), status["currentRevision"]
    held_up = by["Reconciling"]["reason"] == Reason.REFUSED and by["Stalled"]["status"] == "False" and status["phase"] == "Run"
    if held_up and len(arena.rules.live()) != serving:
        problems.append(f"obstacle: a refusal holds up {serving - len(arena.rules.live())} instances")
    if status["summary"] in OBSTACLES and status["phase"] == "Run" and good and arena.rules.serving(good) != serving:
        problems.append(f"obstacle: {status['summary']}, and {arena.rules.serving(good)} of {serving} serve at {good}")
    return problems


def _under_way(spec: Json, reason: str) -> bool:
    """Whether it may still be under way: paused, held up in the server's words, by a person, by a program that comes and goes, or for longer than we wait."""
    flaps = any(container["image"] == FLAPPING for container in spec["template"]["spec"]["containers"])
    return spec["paused"] or reason in (Reason.REFUSED, Reason.WAITS_FOR_PROMOTION) or flaps or patience(spec) > LONGEST


def reached(arena: Arena, found: Json) -> list[str]:
    """What the declared state lacks, by the objects alone."""
    spec, uid = found["spec"], found["metadata"]["uid"]
    target = found["status"]["targetRevision"]
    lacks = [
        *_pods(arena, uid, target, demanded(spec)),
        *_record(arena, spec, target),
        *_front(arena, spec, uid, target),
        *_beside(arena, spec, uid),
        *_budget(arena, spec),
    ]
    kept = len(arena.cluster.objects("controllerrevisions", NAMESPACE))
    if kept > spec["revisionHistoryLimit"] + IN_USE:
        lacks.append(f"{kept} revisions are kept")
    lacks += _numbers(found["status"], demanded(spec))
    if naming.FINALIZER not in found["metadata"].get("finalizers", ()):
        lacks.append("no finalizer")
    return [f"reached: Current, but {each}" for each in lacks]


def _numbers(status: Json, count: int) -> list[str]:
    """What people and autoscalers read there."""
    wanted = {"replicas": count, "ready": f"{count}/{count}", "upToDate": f"{count}/{count}"}
    lacks = [f"status.{name} is {status[name]}, not {value}" for name, value in wanted.items() if status[name] != value]
    counts = {name: number for name, number in status["counts"].items() if number}
    lacks += [f"status.counts is {counts}"] if counts != ({"inService": count} if count else {}) else []
    return lacks if len(status["instances"]) == min(count, 100) else [*lacks, f"{len(status['instances'])} instances in the status"]


def _pods(arena: Arena, uid: str, target: str, count: int) -> list[str]:
    pods = [pod for pod in arena.cluster.objects("pods", NAMESPACE) if _owner(pod) == uid]
    lacks = [f"{len(pods)} pods, not {count}"] if len(pods) != count else []
    for pod in pods:
        revision, slot = naming.place_of(pod["metadata"]["name"]) or ("", -1)
        open_gate = {each["type"]: each["status"] for each in pod["status"].get("conditions", ())}
        gated = any(each.get("conditionType") == GATE for each in pod["spec"].get("readinessGates", ()))  # none where nothing is drained
        if revision != target or (gated and open_gate.get(GATE) != "True") or open_gate.get("Ready") != "True":
            lacks.append(f"{pod['metadata']['name']} of {revision}: gate {open_gate.get(GATE)}, ready {open_gate.get('Ready')}")
        if not naming.identity_labels(NAME, revision, slot).items() <= pod["metadata"].get("labels", {}).items():
            lacks.append(f"{pod['metadata']['name']} has lost labels")
    return lacks


def _owner(item: Json) -> str:
    return next((each["uid"] for each in item["metadata"].get("ownerReferences", ()) if each.get("controller")), "")


def _record(arena: Arena, spec: Json, target: str) -> list[str]:
    record = arena.cluster.find("controllerrevisions", NAMESPACE, target)
    if demanded(spec) == 0 and record is None:
        return []  # nothing runs, so that nothing was tried
    if record is None:
        return [f"revision {target} is not recorded"]
    wanted = spec["pin"]["revision"] == target if "pin" in spec else spec["paused"] or record["data"]["template"] == spec["template"]
    return [] if wanted else [f"revision {target} is not what is declared"]


def _beside(arena: Arena, spec: Json, uid: str) -> list[str]:
    """At rest requests go through our Service alone, and there are no others of ours but the one for tests."""
    known = (NAME, naming.candidate(NAME))
    extra = [each["metadata"]["name"] for each in arena.cluster.objects("services", NAMESPACE) if _owner(each) == uid and each["metadata"]["name"] not in known]
    lacks = [f"Services {extra} of rollouts that are over"] if extra else []
    if "traffic" not in spec or _strategy(spec) not in ("Canary", "ABTest"):
        return lacks
    route = arena.cluster.find("httproutes", NAMESPACE, spec["traffic"]["route"]["name"])
    named = {each["name"] for rule in route["spec"]["rules"] for each in rule["backendRefs"]} if route is not None else {NAME}
    return lacks if named == {NAME} else [*lacks, f"a route to {sorted(named)}"]


def _strategy(spec: Json) -> str:
    return str(spec.get("rollout", {}).get("type", "Rolling"))


def _front(arena: Arena, spec: Json, uid: str, target: str) -> list[str]:
    found = arena.cluster.find("services", NAMESPACE, NAME)
    if not spec["ports"]:
        return ["a Service without ports to serve"] if found is not None and _owner(found) == uid else []
    if found is None or _owner(found) != uid:
        return ["no Service of its own"]
    wanted = [(each["name"], each["port"], each.get("targetPort", each["port"]), each["protocol"]) for each in spec["ports"]]
    have = [(each.get("name"), each["port"], each.get("targetPort"), each.get("protocol")) for each in found["spec"]["ports"]]
    lacks = [f"a Service with ports {have}, not {wanted}"] if have != wanted else []
    if demanded(spec) and found["spec"]["selector"] != naming.selector(NAME, target if _strategy(spec) == "BlueGreen" else ""):  # of nobody any is right
        lacks.append(f"a Service that selects {found['spec']['selector']}")
    listed, pods = sorted(arena.rules.ready_endpoints()), sorted(each["metadata"]["uid"] for each in arena.rules.live())
    return lacks if listed == pods else [*lacks, f"{len(listed)} endpoints for {len(pods)} pods"]


def _budget(arena: Arena, spec: Json) -> list[str]:
    found = arena.cluster.find("poddisruptionbudgets", NAMESPACE, NAME)
    wanted = {"maxUnavailable": DISRUPTION[spec["criticality"]], "unhealthyPodEvictionPolicy": "AlwaysAllow"}
    wanted["selector"] = {"matchLabels": naming.selector(NAME)}
    have = found and found["spec"]
    return [] if have == wanted else [f"a disruption budget of {have}, not {wanted}"]


def shape(arena: Arena) -> Json:
    """What must not depend on the path. Left out, and why:

    slots and names of pods (which of many equals stays is nobody's business), uids, versions and times, history, revisions that do not
    serve and their numbers, what pods carry of settings that name no revision (priority class, preStop: they follow with the next
    revision), messages (they may name what was), labels of the Service that were once declared and are not any more (nobody can tell
    them from somebody else's).
    """
    found = arena.object or {"status": {}}
    status, meta = found["status"], found["metadata"]
    revisions = [naming.place_of(pod["metadata"]["name"]) for pod in arena.rules.pods()]
    told = ("phase", "ready", "upToDate", "summary", "currentRevision", "targetRevision", "counts", "version", "versions", "replicas", "selector")
    memory = ("target", "stable", "paused", "settledReplicas", "progressed", "blockedRevision", "weight")
    return {
        "pods": sorted(place[0] for place in revisions if place),
        "services": [_service(each, meta.get("labels", {})) for each in arena.cluster.objects("services", NAMESPACE)],
        "budgets": [each["spec"] for each in arena.cluster.objects("poddisruptionbudgets", NAMESPACE)],
        "finalizers": meta.get("finalizers"),
        "status": {name: _bare(status.get(name)) for name in told},
        "memory": {name: _bare(status.get("rollout", {}).get(name)) for name in memory},
        "conditions": {each["type"]: (each["status"], each["reason"]) for each in status.get("conditions", ())},
    }


def _bare(value: Any) -> Any:
    """A field of the status that is missing means its empty value."""
    if isinstance(value, dict):
        return {key: inner for key, each in value.items() if (inner := _bare(each))}
    return ([_bare(each) for each in value] if isinstance(value, list) else value) or None


def _service(item: Json, labels: dict[str, str]) -> Json:
    ours = (*labels, naming.SERVICE_LABEL, naming.MANAGED_BY_LABEL)
    kept = {key: value for key, value in item["metadata"].get("labels", {}).items() if key in ours}
    return {"ports": item["spec"]["ports"], "selector": item["spec"]["selector"], "labels": kept}


def differences(one: Any, other: Any, path: str = "") -> list[str]:
    """Where two shapes differ."""
    if isinstance(one, dict) and isinstance(other, dict):
        return [line for key in sorted({*one, *other}) for line in differences(one.get(key), other.get(key), f"{path}.{key}".lstrip("."))]
    return [] if one == other else [f"{path} is {other}, not {one}"]


def left_behind(arena: Arena) -> list[str]:
    """Objects that outlive their service."""
    return [f"gone: {plural}/{each['metadata']['name']} is left" for plural in CHILDREN for each in arena.cluster.objects(plural, NAMESPACE)]
