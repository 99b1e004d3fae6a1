# SPDX-License-Identifier: Apache-2.0
"""The real `gather`, `decide` and `report`, asked and answered in the values of the small world.

They are pure, so each different set of facts is decided once. Typed objects are made from JSON as the reflector does, each once.
Nothing here decides anything: what comes back is translated by uid and name, and a plan that names an object in a version that was
not shown to it, or a pod without its owner, is an error at once.
"""

from collections.abc import Mapping
from datetime import datetime
from functools import lru_cache
from itertools import count
from typing import Any

from exhaustive.values import FRESH, IN, NONE, Action, Decision, Memory, Pod, Revision, Service, Spec, Stages, Told, Uid, Verdict, World
from tables.world import LONG, NAME, NOW, UID, FakeView, at, revision, spec_of, template, typed

from drover_controllers.service import build, naming
from drover_controllers.service.decide import decide
from drover_controllers.service.gather import gather, spec_digest
from drover_controllers.service.report import report
from drover_controllers.service.values import Facts, ServicePlan
from drover_operator.api import builtin
from drover_operator.api.managedservice import ManagedService, ManagedServiceSpec
from drover_operator.api.resource import CONTROLLER_REVISIONS, DISRUPTION_BUDGETS, ENDPOINT_SLICES, PODS, SERVICES
from drover_operator.core import plan as real

LETTERS = {revision(each): each for each in "ABC"}
DIGITS = naming.ALPHABET[:8]


class Wrong(AssertionError):
    """Something that must never happen, in a sentence."""


class Judge:
    """Answers for one row of specs. `descending`: of two pods of one place the younger has the lesser name; times never tell them apart."""

    def __init__(self, specs: tuple[Spec, ...], *, descending: bool = False, settle: str = "0s") -> None:
        self._specs = [_spec(each, settle) for each in specs]
        self.digests = tuple(spec_digest(each) for each in self._specs)
        self._descending = descending
        self._versions = count(1)
        self._pods: dict[Pod, builtin.Pod] = {}
        self._services: dict[Service, ManagedService] = {}
        self._revisions: dict[Revision, builtin.ControllerRevision] = {}
        service = typed({"metadata": self._meta(NAME, UID), "spec": self._specs[0]}, ManagedService)
        self._front = _held(build.front(service), builtin.Service)
        self._budget = _held(build.disruption_budget(service), builtin.PodDisruptionBudget)
        self.asked = 0

    def __call__(self, cached: World, verdicts: tuple[Verdict, ...]) -> Decision:
        self.asked += 1
        service, pods, listed, revisions, owned = cached
        assert service is not None
        real_service = self._service(service)
        said = {f"try pods/{revision(each.letter)}": _verdict(each) for each in verdicts}
        objects: dict[str, tuple[Any, ...]] = {
            str(PODS): tuple(self._pod(each) for each in pods),
            str(CONTROLLER_REVISIONS): tuple(self._revision(each) for each in revisions),
            str(ENDPOINT_SLICES): (self._slice(listed),),
            str(SERVICES): (self._front,) if owned.front else (),
            str(DISRUPTION_BUDGETS): (self._budget,) if owned.budget else (),
        }
        facts = gather(real_service, FakeView(objects, said))
        plan = decide(facts)
        return self._decision(facts, plan, _Seen(self, cached), verdicts)

    # -- from small values to typed objects
    def uid(self, uid: Uid) -> str:
        """The uid in full. The digest of it stands in the name of the successor, whose order among names is chosen here."""
        letter, slot, n = uid
        return _uid(letter, slot, n, DIGITS[7 - n] if self._descending else DIGITS[n])

    def _pod(self, pod: Pod) -> builtin.Pod:
        if pod not in self._pods:
            self._pods[pod] = typed(self._pod_body(pod), builtin.Pod)
        return self._pods[pod]

    def name(self, letter: str, slot: int, former: int) -> str:
        return naming.pod_name(revision(letter), slot, self.uid((letter, slot, former)) if former != FRESH else "")

    def _pod_body(self, pod: Pod) -> dict[str, Any]:
        meta: dict[str, Any] = {
            **self._meta(self.name(*pod.name), self.uid(pod.uid)),
            "creationTimestamp": at(NOW - LONG),
            "labels": naming.identity_labels(NAME, revision(pod.letter), pod.slot),
            "annotations": {naming.SERVICE_UID: UID},
        }
        if pod.dying:
            meta["deletionTimestamp"] = _time(pod.age)
        rows = [] if pod.phase == "Pending" else [("ContainersReady", pod.healthy), ("Ready", pod.ready)]
        rows += [(naming.GATE, pod.gate == IN)] if pod.gate != NONE else []
        conditions = [{"type": kind, "status": str(holds), "lastTransitionTime": _time(pod.age)} for kind, holds in rows]
        status = {"phase": pod.phase, "startTime": at(NOW - 10 * LONG), "conditions": conditions}
        return {"metadata": meta, "spec": {"readinessGates": [{"conditionType": naming.GATE}]}, "status": status}

    def _meta(self, name: str, uid: str) -> dict[str, Any]:
        return {
            "name": name,
            "namespace": "shop",
            "uid": uid,
            "resourceVersion": str(next(self._versions)),
            "ownerReferences": [{"uid": UID, "controller": True}],
        }

    def _service(self, service: Service) -> ManagedService:
        if service not in self._services:
            meta = {**self._meta(NAME, UID), "generation": service.index + 1, "finalizers": [naming.FINALIZER] if service.finalizer else []}
            if service.deleting:
                meta["deletionTimestamp"] = at(NOW)
            status = {"phase": service.told.phase, "observedGeneration": service.told.observed + 1, "rollout": _rollout(service.told.memory)}
            self._services[service] = typed({"metadata": meta, "spec": self._specs[service.index], "status": status}, ManagedService)
        return self._services[service]

    def _revision(self, recorded: Revision) -> builtin.ControllerRevision:
        if recorded not in self._revisions:
            notes = {naming.BUILDER: "1", naming.VERSION: recorded.letter, naming.BLOCKED: recorded.blocked}
            notes[naming.STABLE_BEFORE] = revision(recorded.before) if recorded.before else ""
            meta = {**self._meta(revision(recorded.letter), f"uid-{recorded.letter}"), "annotations": notes, "creationTimestamp": _time(recorded.age)}
            body = {"metadata": meta, "revision": recorded.number, "data": {"template": template(recorded.letter), "healthCheck": None}}
            self._revisions[recorded] = typed(body, builtin.ControllerRevision)
        return self._revisions[recorded]

    def _slice(self, listed: tuple[Uid, ...]) -> builtin.EndpointSlice:
        return _slice(tuple(map(self.uid, listed)))

    # -- and back
    def _decision(self, facts: Facts, plan: ServicePlan, seen: "_Seen", verdicts: tuple[Verdict, ...]) -> Decision:
        told = report(facts, plan)
        stages: Stages = tuple(tuple(seen.action(each) for each in stage) for stage in plan.stages)
        status = told.status
        return Decision(
            stages=stages,
            write_ahead=plan.write_ahead,
            doubt=plan.doubt,
            question=plan.question,
            held=tuple(each for each in verdicts if f"try pods/{revision(each.letter)}" in plan.held),
            told=Told(_memory(status.rollout), status.phase, status.observed_generation - 1),
            path=tuple((each.source, each.to) for each in status.history),
            wakes=plan.wake_after is not None,
            last=told.last,
        )


class _Seen:
    """What a plan was made of, to name its objects by."""

    def __init__(self, judge: Judge, cached: World) -> None:
        self._judge = judge
        self._service, pods, _, revisions, _ = cached
        self._pods = {judge.uid(each.uid): each for each in pods}
        self._revisions = {f"uid-{each.letter}": each for each in revisions}
        self._names = {judge.name(each.letter, each.slot, each.n): each.n for each in pods}

    def action(self, action: real.Action) -> Action:
        match action:
            case real.Create():
                return self._create(action)
            case real.TryOut():
                return Action("try", LETTERS[action.name])
            case _ if action.resource == PODS:
                return Action(_on_pod(action), seen=self._pod(action))
            case _ if action.resource == CONTROLLER_REVISIONS:
                return self._on_revision(action)
            case real.Patch() if set(action.body["metadata"]) == {"finalizers"}:
                return Action("finalizer", seen=self._service, value=naming.FINALIZER in action.body["metadata"]["finalizers"])
        raise Wrong(f"nothing in this world calls for {action.id}")

    def _on_revision(self, action: real.Delete | real.Patch) -> Action:
        if isinstance(action, real.Delete):
            return Action("forget", seen=self._recorded(action))
        return Action("block", seen=self._recorded(action), value=action.body["metadata"]["annotations"][naming.BLOCKED] or "")

    def _create(self, action: real.Create) -> Action:
        if action.body["metadata"]["ownerReferences"][0]["uid"] != UID:
            raise Wrong(f"{action.id} without its owner")
        if action.resource == CONTROLLER_REVISIONS:
            before = action.body["metadata"]["annotations"][naming.STABLE_BEFORE]
            return Action("record", LETTERS[action.name], value=(action.body["revision"], LETTERS.get(before, "")))
        if action.resource != PODS:
            return Action("front" if action.resource == SERVICES else "budget")
        labels = action.body["metadata"]["labels"]
        letter, slot = LETTERS[labels[naming.REVISION_LABEL]], int(labels[naming.SLOT_LABEL])
        former = FRESH if action.name == self._judge.name(letter, slot, FRESH) else self._names.get(action.name)
        if former is None:
            raise Wrong(f"{action.id} is named after nobody that was seen")
        return Action("create", letter, slot, former)

    def _pod(self, action: real.Delete | real.Patch) -> Pod:
        pod = self._pods[action.uid]
        anyhow = isinstance(action, real.Patch) and pod.gate == NONE and _on_pod(action) == "enter"
        self._same(action, "" if anyhow else self._judge._pod(pod).metadata.resource_version)
        return pod

    def _recorded(self, action: real.Delete | real.Patch) -> Revision:
        recorded = self._revisions[action.uid]
        self._same(action, self._judge._revision(recorded).metadata.resource_version)
        return recorded

    def _same(self, action: real.Delete | real.Patch, version: str) -> None:
        if action.version != version:
            raise Wrong(f"{action.id} in version {action.version}, shown was {version}")


def _on_pod(action: real.Delete | real.Patch) -> str:
    """What is done to a pod: by the condition that is set."""
    if isinstance(action, real.Delete):
        return "end"
    if action.subresource != "status":
        raise Wrong(f"nobody touched what {action.id} restores")
    conditions = {each["type"]: each["status"] for each in action.body["status"]["conditions"]}
    return "enter" if conditions[naming.GATE] == "True" else "leave"


def _spec(spec: Spec, settle: str) -> ManagedServiceSpec:
    rollout = {"rolling": {"maxSurge": spec.surge, "maxUnavailable": spec.unavailable}, "progressDeadline": "10m"}
    return spec_of(spec.letter, replicas=spec.replicas, rollout=rollout, restart={"settle": settle}, paused=spec.paused)


def _time(age: int) -> str:
    return at(NOW - LONG * age)


def _age(moment: datetime | None) -> int | None:
    return None if moment is None else int(moment.timestamp() < NOW)


def _rollout(memory: Memory) -> dict[str, Any]:
    letters = (("target", memory.target), ("stable", memory.stable), ("blockedRevision", memory.blocked))
    names = {key: revision(letter) if letter else "" for key, letter in letters}
    times = {key: None if age is None else _time(age) for key, age in (("startedAt", memory.started), ("progressedAt", memory.progressed_at))}
    return {**names, **times, "progressed": memory.progressed, "settledReplicas": memory.settled, "paused": memory.paused}


def _memory(found: Any) -> Memory:
    return Memory(
        target=LETTERS.get(found.target, ""),
        stable=LETTERS.get(found.stable, ""),
        started=_age(found.started_at),
        progressed_at=_age(found.progressed_at),
        progressed=found.progressed,
        settled=found.settled_replicas,
        paused=found.paused,
        blocked=LETTERS.get(found.blocked_revision, ""),
    )


def _verdict(verdict: Verdict) -> real.Verdict:
    words: Mapping[str, Any] = {"reason": "Invalid", "message": "image: wrong", "retryable": False} if verdict.refused else {}
    return real.Verdict(at=NOW - LONG * verdict.age, **words)


@lru_cache
def _uid(letter: str, slot: int, n: int, first: str) -> str:
    """A uid whose digest begins with that letter."""
    return next(uid for salt in count() if naming.digest((uid := f"uid-{letter}-{slot}-{n}-{salt}").encode(), 5)[0] == first)


@lru_cache(maxsize=4096)
def _slice(uids: tuple[str, ...]) -> builtin.EndpointSlice:
    return typed({"metadata": {"name": "web-1"}, "endpoints": [{"targetRef": {"uid": each}} for each in uids]}, builtin.EndpointSlice)


def _held(body: dict[str, Any], kind: type) -> Any:
    return typed({**body, "metadata": {**body["metadata"], "uid": f"uid-{kind.__name__}", "resourceVersion": "4"}}, kind)
