# SPDX-License-Identifier: Apache-2.0
"""Given facts in one line each, and plans in words.

Instances are written as `REVISION-SLOT:STATE@SECONDS`, for example "A-0 A-1:Draining@1 B-0:Starting". Without a state the instance is
InService; SECONDS is how long ago the state began. A dash after the slot is a successor: "A-0'" stands where "A-0" failed or died.
Revisions are single letters; letter X is the template with image app:X, recorded with number 1 for A, 2 for B...

Facts are made by the real `gather`, from objects, so that names, digests and labels are the real ones; `words` turns them back.
"""

import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import msgspec

from drover_controllers.service import build, naming
from drover_controllers.service.gather import gather, spec_digest, wanted_revision
from drover_controllers.service.values import Facts, ServicePlan
from drover_operator.api.builtin import ControllerRevision, EndpointSlice, Pod, PodDisruptionBudget, Service
from drover_operator.api.managedservice import ManagedService, ManagedServiceSpec
from drover_operator.api.resource import CONTROLLER_REVISIONS, DISRUPTION_BUDGETS, ENDPOINT_SLICES, PODS, SERVICES
from drover_operator.core.plan import Action, Answer, Create, Delete, Found, Patch, TryOut, Verdict

NOW = 1_800_000_000.0
LONG = 1000.0  # seconds; a time at which nothing is young any more
UID = "uid-of-web"
NAME = "web"
Body = dict[str, Any]

STATES: dict[str, tuple[str, dict[str, str], bool]] = {
    # state: (pod phase, conditions, listed in discovery)
    "New": ("Pending", {}, False),
    "Pending": ("Pending", {naming.GATE: "True"}, False),
    "Starting": ("Running", {"ContainersReady": "False", naming.GATE: "True", "Ready": "False"}, False),
    "Ready": ("Running", {"ContainersReady": "True", "Ready": "False"}, False),
    "ReadyListed": ("Running", {"ContainersReady": "True", "Ready": "True"}, True),
    "Entering": ("Running", {"ContainersReady": "True", naming.GATE: "True", "Ready": "True"}, False),
    "InService": ("Running", {"ContainersReady": "True", naming.GATE: "True", "Ready": "True"}, True),
    "Suspect": ("Running", {"ContainersReady": "False", naming.GATE: "True", "Ready": "False"}, False),
    "SuspectListed": ("Running", {"ContainersReady": "False", naming.GATE: "True", "Ready": "False"}, True),
    "Draining": ("Running", {"ContainersReady": "True", naming.GATE: "False", "Ready": "False"}, False),
    "DrainingListed": ("Running", {"ContainersReady": "True", naming.GATE: "False", "Ready": "False"}, True),
    "DrainingSick": ("Running", {"ContainersReady": "False", naming.GATE: "False", "Ready": "False"}, False),
    "Dying": ("Running", {"ContainersReady": "True", naming.GATE: "False", "Ready": "False"}, False),
    "DyingListed": ("Running", {"ContainersReady": "True", naming.GATE: "True", "Ready": "True"}, True),
    "Failed": ("Failed", {naming.GATE: "True", "Ready": "False"}, False),
    "FailedListed": ("Failed", {naming.GATE: "True", "Ready": "False"}, True),
}
_POD = re.compile(r"(?P<revision>[A-Z])-(?P<slot>\d+)(?P<dashes>'*)(?::(?P<state>\w+))?(?:@(?P<age>[\d.]+))?(?P<marks>[!~=]*)$")


def at(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, tz=UTC).isoformat().replace("+00:00", "Z")


def typed(body: Any, kind: type) -> Any:
    return msgspec.json.decode(msgspec.json.encode(body), type=kind)


def template(letter: str) -> Body:
    return {"spec": {"containers": [{"name": "server", "image": f"app:{letter}"}]}}


def spec_of(wanted: str = "A", **more: Any) -> ManagedServiceSpec:
    base = {"criticality": "Normal", "replicas": 3, "ports": [{"name": "http", "port": 80}], "template": template(wanted)}
    return typed({**base, **more}, ManagedServiceSpec)


def revision(letter: str) -> str:
    """Full name of the revision of that letter; a name of another form is returned as it is."""
    return wanted_revision(spec_of(letter), NAME).name if len(letter) == 1 else letter


def pod_name(alias: str) -> str:
    """Full name of the pod, from "A-0" or "A-0'"."""
    place, _, _ = alias.partition("'")
    letter, slot = place.split("-")
    return naming.pod_name(revision(letter), int(slot), f"uid-{alias[:-1]}" if alias.endswith("'") else "")


def service_of(
    spec: ManagedServiceSpec, *, rollout: Body, status: Body, deleted: float | None, finalizers: Sequence[str], labels: Body, notes: Body | None = None
) -> ManagedService:
    meta: Body = {
        "name": NAME,
        "namespace": "shop",
        "uid": UID,
        "resourceVersion": "7",
        "generation": 2,
        "finalizers": list(finalizers),
        "labels": labels,
        "annotations": notes or {},
    }
    if deleted is not None:
        meta["deletionTimestamp"] = at(NOW - deleted)
    return typed({"metadata": meta, "spec": spec, "status": {"observedGeneration": 2, **status, "rollout": rollout}}, ManagedService)


def pod_of(text: str) -> tuple[Pod, bool]:
    """The pod, and whether discovery lists it. "!" after it: its labels were edited; "~": its owner was removed; "=": it has no gate."""
    match = _POD.match(text)
    assert match, f"'{text}' is no instance"
    alias = f"{match['revision']}-{match['slot']}{match['dashes']}"
    state, age = match["state"] or "InService", float(match["age"] or LONG)
    phase, conditions, listed = STATES[state]
    name, slot = pod_name(alias), int(match["slot"])
    labels = naming.identity_labels(NAME, revision(match["revision"]), slot)
    if "!" in match["marks"]:
        labels[naming.SLOT_LABEL] = "99"
    meta: Body = {
        "name": name,
        "namespace": "shop",
        "uid": f"uid-{alias}",
        "resourceVersion": "5",
        "creationTimestamp": at(NOW - (age if state.startswith("Failed") else LONG)),
        "labels": labels,
        "annotations": {naming.SERVICE_UID: UID},
        "ownerReferences": [] if "~" in match["marks"] else [{"uid": UID, "controller": True}],
    }
    if state.startswith("Dying"):
        meta["deletionTimestamp"] = at(NOW - age)
    gates = [] if "=" in match["marks"] else [{"conditionType": naming.GATE}]
    told = {kind: status for kind, status in conditions.items() if gates or kind != naming.GATE}
    rows = [{"type": kind, "status": status, "lastTransitionTime": at(NOW - age)} for kind, status in told.items()]
    started = at(NOW - age - (LONG if state.startswith("Suspect") else 0.0))
    return typed({"metadata": meta, "spec": {"readinessGates": gates}, "status": {"phase": phase, "startTime": started, "conditions": rows}}, Pod), listed


def recorded(letter: str, number: int, blocked: str, stable_before: str = "", age: float = LONG) -> ControllerRevision:
    wanted = wanted_revision(spec_of(letter), NAME)
    notes = {naming.BUILDER: "1", naming.VERSION: letter, naming.STABLE_BEFORE: stable_before, naming.BLOCKED: blocked}
    meta = {
        "name": wanted.name,
        "namespace": "shop",
        "uid": f"uid-{letter}",
        "resourceVersion": "3",
        "creationTimestamp": at(NOW - age),
        "annotations": notes,
        "ownerReferences": [{"uid": UID, "controller": True}],
    }
    return typed({"metadata": meta, "revision": number, "data": {"template": template(letter), "healthCheck": None}}, ControllerRevision)


class FakeView:
    """The caches as a dict."""

    def __init__(self, objects: Mapping[str, tuple[Any, ...]], verdicts: Mapping[str, Verdict]) -> None:
        self.now = NOW
        self._objects = objects
        self._verdicts = verdicts

    def of(self, resource: Any, key: Any) -> tuple[Any, ...]:
        return self._objects.get(str(resource), ())

    def verdicts(self, key: Any) -> Mapping[str, Verdict]:
        return self._verdicts

    def answers(self, key: Any) -> Mapping[str, Answer]:
        return {}

    def name(self, derived: str) -> str:
        return derived


def given(
    pods: str = "",
    *,
    wanted: str = "A",
    replicas: int = 3,
    surge: int | str = 1,
    unavailable: int | str = 0,
    records: str = "A",
    blocked: Mapping[str, str] | None = None,
    before: Mapping[str, str] | None = None,
    record_age: float = LONG,
    memory: Body | None = None,
    status: Body | None = None,
    verdicts: Mapping[str, Verdict] | None = None,
    deleted: float | None = None,
    finalizers: Sequence[str] = (naming.FINALIZER,),
    labels: Body | None = None,
    notes: Body | None = None,
    front: Body | bool | None = True,
    budget: Body | bool | None = True,
    rolling: Body | None = None,
    rollout: Body | None = None,
    collide: str = "",
    **spec: Any,
) -> Facts:
    """Facts of a service that by default is settled at revision A with 3 replicas, surge 1, unavailable 0, all owned objects right.

    `memory` changes fields of status.rollout: letters stand for revisions there. `blocked` maps a letter to "now" (under this very
    spec) or another digest. `front` and `budget`: False is missing, a dict replaces the spec.
    """
    waves = {"type": "Rolling", "rolling": {"maxSurge": surge, "maxUnavailable": unavailable, **(rolling or {})}, **(rollout or {})}
    if isinstance(spec.get("pin"), str):
        spec["pin"] = {"revision": revision(spec["pin"])}
    wish = spec_of(wanted, replicas=replicas, rollout=waves, **spec)
    remembered: Body = {"target": "A", "stable": "A", "progressed": replicas, "settledReplicas": replicas, "startedAt": at(NOW - 10), **(memory or {})}
    for name in ("target", "stable"):
        remembered[name] = revision(remembered[name]) if remembered[name] else ""
    service = service_of(
        wish,
        rollout=remembered,
        status={"phase": "Run"} if status is None else status,
        deleted=deleted,
        finalizers=finalizers,
        labels=labels or {},
        notes=notes,
    )
    found = [pod_of(each) for each in pods.split()]
    assert len({pod.metadata.name for pod, _ in found}) == len(found), "two pods of one name"
    marks = {letter: spec_digest(wish) if mark == "now" else mark for letter, mark in (blocked or {}).items()}
    served = {letter: revision(each) for letter, each in (before or {}).items()}
    old = [recorded(each, ord(each) - ord("A") + 1, marks.get(each, ""), served.get(each, ""), record_age) for each in records]
    if collide:
        other = msgspec.Raw(msgspec.json.encode({"template": template("Z")}))
        old = [msgspec.structs.replace(each, data=other) if each.metadata.name == revision(collide) else each for each in old]
    objects: dict[str, tuple[Any, ...]] = {
        str(PODS): tuple(pod for pod, _ in found),
        str(CONTROLLER_REVISIONS): tuple(old),
        str(ENDPOINT_SLICES): (
            typed({"metadata": {"name": "web-1"}, "endpoints": [{"targetRef": {"uid": p.metadata.uid}} for p, listed in found if listed]}, EndpointSlice),
        ),
        str(SERVICES): _held(build.front(service), Service, front),
        str(DISRUPTION_BUDGETS): _held(build.disruption_budget(service), PodDisruptionBudget, budget),
    }
    return gather(service, FakeView(objects, verdicts or {}))


def _held(body: Body, kind: type, there: Body | bool | None) -> tuple[Any, ...]:
    if there is False:
        return ()
    meta = {**body["metadata"], "uid": f"uid-{kind.__name__}", "resourceVersion": "4"}
    change = there if isinstance(there, dict) else {}
    return (typed({**body, "metadata": {**meta, **change.get("metadata", {})}, "spec": {**body["spec"], **change.get("spec", {})}}, kind),)


# -- plans in words
LETTERS = {revision(each): each for each in "ABCDEF"}


def _aliases(facts: Facts) -> dict[str, str]:
    """Names of pods, present and next, by their alias."""
    names: dict[str, str] = {}
    for pod in facts.pods:
        alias = pod.metadata.uid.removeprefix("uid-")
        names[pod.metadata.name] = alias
        letter, slot = alias.rstrip("'").split("-")
        names.setdefault(naming.pod_name(revision(letter), int(slot), pod.metadata.uid), alias + "'")
    return names


def _short(facts: Facts, text: str) -> str:
    for name, alias in _aliases(facts).items():
        text = text.replace(name, alias)
    for name, letter in LETTERS.items():
        text = re.sub(rf"{name}-(\d+)-{naming.digest(b'', 5)}", rf"{letter}-\1", text)
        text = text.replace(name, letter)
    return text


def said(facts: Facts, action: Action) -> str:
    """One action in words: what is really sent, not what its step says."""
    what = _short(facts, action.name)
    kind = {"ManagedService": "service", "PodDisruptionBudget": "budget", "Service": "front", "ControllerRevision": "revision"}.get(action.resource.kind, "")
    match action:
        case Create():
            opened = action.status is not None and [(each["type"], each["status"]) for each in action.status["conditions"]] == [(naming.GATE, "True")]
            assert opened is (not kind), f"{action.id}: a pod is wanted in service from the start, and nothing else has a status of ours"
            text = f"create {what}" if not kind else f"record {what}" if kind == "revision" else f"create {kind}"
        case Delete():
            text = f"delete {what}" if not kind else f"forget {what}"
        case TryOut():
            text = f"try {what}"
        case Patch():
            text = _patched(action, what, kind)
    return f"{text} [{action.reason}]"


def _patched(action: Patch, what: str, kind: str) -> str:
    if kind == "service":
        kept = naming.FINALIZER in action.body["metadata"]["finalizers"]
        return "finalizer on" if kept else "finalizer off"
    if kind == "revision":
        assert action.body["metadata"]["annotations"][naming.BLOCKED]
        return f"block {what}"
    if kind:
        return f"{'adopt' if action.step.startswith('adopt') else 'restore'} {kind}"
    if not action.subresource:
        return f"restore {'+'.join(sorted(action.body['metadata']))} of {what}"
    conditions = {each["type"]: each["status"] for each in action.body["status"]["conditions"]}
    assert conditions in ({naming.GATE: "True"}, {naming.GATE: "False", "Ready": "False"}), conditions
    return f"{'enter' if conditions[naming.GATE] == 'True' else 'leave'} {what}"


def words(facts: Facts, plan: ServicePlan) -> tuple[list[list[str]], list[str]]:
    """Stages and deferred steps of a plan."""
    stages = [[said(facts, action) for action in stage] for stage in plan.stages]
    return stages, [f"{_short(facts, each.step)} [{each.reason}]" for each in plan.deferred]


def accepted(letter: str, age: float = 1.0) -> dict[str, Verdict]:
    """The dry run of that revision was fine."""
    return {f"try pods/{revision(letter)}": Verdict(at=NOW - age)}


def refused(
    letter: str, age: float = 1.0, *, reason: str = "Invalid", message: str = "spec.containers[0].image: wrong", retryable: bool = False
) -> dict[str, Verdict]:
    """The dry run of that revision was refused."""
    return {f"try pods/{revision(letter)}": Verdict(at=NOW - age, reason=reason, message=message, retryable=retryable)}


def in_the_way(what: str = "services/web", *, owner: str = "", age: float = 1.0, reason: str = "NameConflict") -> dict[str, Verdict]:
    """An object that was met where ours should be created."""
    found = Found(uid="uid-theirs", version="9", owner_uid=owner, labels=())
    return {f"create {what}": Verdict(at=NOW - age, reason=reason, message=f"{what} exists", found=found)}
