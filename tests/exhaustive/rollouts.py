# SPDX-License-Identifier: Apache-2.0
"""Rollouts as a small game against the world, with time: the real `gather`, `decide` and `report`, in rounds of five seconds.

In each round the world moves first: whoever was ended is gone, and each instance of a version of which nothing is promised may become healthy, stay
as it is, or sicken. Then discovery has heard of it, and the operator goes on until it has nothing to do. All that is told by times is told by
ages in rounds, and whatever is older than anything that counts is of one age: so there are finitely many situations, and all are looked at.

The Memory is kept as it is stored, whatever its fields are: a strategy that remembers more needs nothing here.
"""

import json
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime
from functools import cache
from itertools import count, product
from typing import Any, NamedTuple

import msgspec
from tables.world import NAME, NOW, UID, FakeView, at, recorded, service_of, spec_of, typed

from drover_controllers.service import build, naming
from drover_controllers.service.decide import decide
from drover_controllers.service.gather import gather
from drover_controllers.service.report import report
from drover_operator.api import builtin
from drover_operator.api.managedservice import ManagedService, ManagedServiceSpec, ManagedServiceStatus
from drover_operator.api.resource import CONTROLLER_REVISIONS, DISRUPTION_BUDGETS, ENDPOINT_SLICES, PODS, SERVICES
from drover_operator.core.plan import Action, Create, Delete, Patch, TryOut, Verdict
from drover_operator.runtime.executor import Result, learned

Json = dict[str, Any]
ROUND = 5.0  # seconds
DEADLINE = 20.0
HOLD = 10.0
OLDEST = 10  # rounds; a pod may be ready again one deadline after it was made, and be given up after another one
MOST_PASSES = 40
WELL, DOUBTFUL, NEVER, FAILS = "becomes healthy and stays so", "may become healthy, or not, and may sicken", "never is healthy", "ends soon after its start"
Ages = tuple[tuple[str, Any], ...]


class Pod(NamedTuple):
    """One pod; ages are in rounds. `gate` is True in service, False on the way out."""

    name: str
    uid: str
    revision: str
    slot: int
    image: str
    born: int = 0
    phase: str = "Pending"
    healthy: bool = False
    since: int = 0  # its health
    gate: bool = True
    left: int = 0
    dying: bool = False


class State(NamedTuple):
    """A situation between two rounds."""

    spec: str  # JSON
    notes: tuple[tuple[str, Any], ...]
    pods: tuple[Pod, ...]
    revisions: tuple[tuple[str, int], ...]  # JSON and age
    memory: Ages
    phase: str
    summary: str
    fronts: tuple[str, ...]  # our Services, in JSON
    acts: tuple[str, ...]  # that people may still do
    sick: int  # how often something healthy may yet sicken


class Turn(NamedTuple):
    """What the last pass of a round told."""

    state: State
    status: ManagedServiceStatus


class Game:
    """All rounds of one service; `health` says what is promised of each image."""

    def __init__(self, health: Mapping[str, str]) -> None:
        self._health = health
        self.decided = 0

    def begin(self, spec: Json, *, healthy: bool, acts: tuple[str, ...] = (), sick: int = 0) -> State:
        """A service that has served revision A for long, whose spec has just been changed."""
        first = recorded("A", 1, "")
        name, settled = first.metadata.name, OLDEST
        pods = tuple(
            Pod(naming.pod_name(name, slot, ""), f"uid-{slot}-0", name, slot, "app:A", settled, "Running", healthy, settled if healthy else 0)
            for slot in range(spec["replicas"])
        )
        memory = {"target": name, "stable": name, "progressed": spec["replicas"], "settledReplicas": spec["replicas"], "startedAt": at(NOW - OLDEST * ROUND)}
        front = typed({"metadata": {"name": NAME}, "spec": spec_of()}, ManagedService)
        return State(
            spec=_text(spec),
            notes=(),
            pods=pods,
            revisions=((_text(first), settled),),
            memory=_aged_fields(memory),
            phase="Run",
            summary="Healthy",
            fronts=(_text(build.front(front)),),
            acts=acts,
            sick=sick,
        )

    def anew(self, spec: Json, *, acts: tuple[str, ...] = ()) -> State:
        """A service that was never there."""
        return self.begin(spec, healthy=True, acts=acts)._replace(pods=(), revisions=(), memory=(), phase="", summary="")

    # -- the world
    def rounds(self, state: State) -> Iterator[State]:
        """All that the world may do in one round."""
        state = _older(state)
        rows = [self._fates(pod, state.sick) for pod in state.pods if not pod.dying]
        for fates in product(*rows):
            cost = sum(price for _, price in fates)
            if cost <= state.sick:
                yield state._replace(pods=tuple(pod for pod, _ in fates), sick=state.sick - cost)

    def _fates(self, pod: Pod, sick: int) -> list[tuple[Pod, int]]:
        promise = self._health.get(pod.image, WELL)
        running = pod._replace(phase="Running")
        if pod.healthy:
            return [(pod, 0), (pod._replace(healthy=False, since=0), 1)] if promise == DOUBTFUL and sick else [(pod, 0)]
        better = (running._replace(healthy=True, since=0), 0)
        ended = (pod._replace(phase="Failed"), 0)
        return {WELL: [better], NEVER: [(running, 0)], DOUBTFUL: [(running, 0), better], FAILS: [ended]}[promise]

    # -- the operator
    def rest(self, state: State) -> Turn:
        """What the operator makes of it, until it has nothing to do at this moment."""
        known: dict[str, Verdict] = {}
        for _ in range(MOST_PASSES):
            self.decided += 1
            facts = gather(_service(state), FakeView(_objects(state), known))
            plan = decide(facts)
            told = report(facts, plan).status
            assert isinstance(told, ManagedServiceStatus)
            memory, before = _aged_fields(msgspec.to_builtins(told.rollout)), state
            state = state._replace(memory=memory, phase=told.phase or "", summary=told.summary)
            results = [Result(action, verdict=Verdict(at=NOW)) for action in plan.actions if isinstance(action, TryOut)]
            for action in plan.actions:
                state = _carried_out(state, action)
            known = learned(known, plan, results)
            if state == before and not plan.question:
                return Turn(state, told)
        raise AssertionError(f"it never rests: {state}")


# -- what a write does
def _carried_out(state: State, action: Action) -> State:
    if isinstance(action, TryOut):
        return state
    if action.resource == PODS:
        return _made(state, action) if isinstance(action, Create) else state._replace(pods=tuple(_touched(pod, action) for pod in state.pods))
    if action.resource == CONTROLLER_REVISIONS:
        return state._replace(revisions=tuple(_records(state.revisions, action)))
    assert action.resource == SERVICES, f"nothing in this world calls for {action.id}"
    return state._replace(fronts=tuple(_fronted(state.fronts, action)))


def _fronted(rows: tuple[str, ...], action: Create | Patch | Delete) -> Iterator[str]:
    """The Services after a write."""
    for text in rows:
        body = json.loads(text)
        if body["metadata"]["name"] != action.name:
            yield text
        elif isinstance(action, Patch):
            yield _text(_merged(body, action.body))
    if isinstance(action, Create):
        yield _text(action.body)


def _touched(pod: Pod, action: Patch | Delete) -> Pod:
    if pod.uid != action.uid:
        return pod
    return pod._replace(dying=True) if isinstance(action, Delete) else _gated(pod, action)


def _records(rows: tuple[tuple[str, int], ...], action: Create | Patch | Delete) -> Iterator[tuple[str, int]]:
    """The recorded revisions after a write."""
    for text, age in rows:
        body = json.loads(text)
        if body["metadata"]["name"] != action.name:
            yield text, age
        elif isinstance(action, Patch):
            yield _text(_merged(body, action.body)), age
    if isinstance(action, Create):
        yield _text({**action.body, "metadata": {**action.body["metadata"], "uid": f"uid-{action.name}", "resourceVersion": "3"}}), 0


def _made(state: State, action: Create) -> State:
    if any(pod.name == action.name for pod in state.pods):
        return state
    labels, image = action.body["metadata"]["labels"], action.body["spec"]["containers"][0]["image"]
    revision, slot = labels[naming.REVISION_LABEL], int(labels[naming.SLOT_LABEL])
    taken = {pod.uid for pod in state.pods}
    uid = next(uid for n in count() if (uid := f"uid-{image}-{slot}-{n}") not in taken)
    return state._replace(pods=tuple(sorted((*state.pods, Pod(action.name, uid, revision, slot, image)))))


def _gated(pod: Pod, action: Patch) -> Pod:
    opened = any(each["type"] == naming.GATE and each["status"] == "True" for each in action.body["status"]["conditions"])
    return pod if opened == pod.gate else pod._replace(gate=opened, left=0, since=0 if opened else pod.since)


def _merged(old: Any, change: Any) -> Any:
    if not isinstance(change, dict) or not isinstance(old, dict):
        return change
    both = {key: _merged(old.get(key), change[key]) if key in change else old[key] for key in {**old, **change}}
    return {key: value for key, value in both.items() if value is not None}


# -- as objects
def _objects(state: State) -> dict[str, tuple[Any, ...]]:
    return {
        str(PODS): tuple(map(_pod, state.pods)),
        str(CONTROLLER_REVISIONS): tuple(_revision(*each) for each in state.revisions),
        str(ENDPOINT_SLICES): tuple(_listing(each, state.pods) for each in state.fronts),
        str(SERVICES): tuple(map(_front, state.fronts)),
        str(DISRUPTION_BUDGETS): (_budget(),),
    }


def _listing(front: str, pods: tuple[Pod, ...]) -> builtin.EndpointSlice:
    """What discovery names for that Service."""
    body = json.loads(front)
    selector = body["spec"]["selector"].items()
    return _slice(body["metadata"]["name"], tuple(pod.uid for pod in pods if _serves(pod) and selector <= _labels(pod).items()))


def _serves(pod: Pod) -> bool:
    return pod.healthy and pod.gate and not pod.dying


def _labels(pod: Pod) -> dict[str, str]:
    return {naming.SERVICE_LABEL: NAME, **naming.identity_labels(NAME, pod.revision, pod.slot)}


@cache
def _pod(pod: Pod) -> builtin.Pod:
    meta: Json = {
        **_meta(pod.name, pod.uid),
        "creationTimestamp": _time(pod.born),
        "labels": _labels(pod),
        "annotations": {naming.SERVICE_UID: UID},
        **({"deletionTimestamp": _time(0)} if pod.dying else {}),
    }
    rows = [("ContainersReady", pod.healthy, pod.since), ("Ready", _serves(pod), pod.since if pod.gate else pod.left)] if pod.phase == "Running" else []
    rows.append((naming.GATE, pod.gate, pod.born if pod.gate else pod.left))
    conditions = [{"type": kind, "status": str(holds), "lastTransitionTime": _time(age)} for kind, holds, age in rows]
    status = {"phase": pod.phase, "startTime": _time(pod.born), "conditions": conditions}
    return typed({"metadata": meta, "spec": {"readinessGates": [{"conditionType": naming.GATE}]}, "status": status}, builtin.Pod)


@cache
def _revision(text: str, age: int) -> builtin.ControllerRevision:
    body = json.loads(text)
    meta = {**body["metadata"], "creationTimestamp": _time(age), "ownerReferences": [{"uid": UID, "controller": True}]}
    return typed({**body, "metadata": meta}, builtin.ControllerRevision)


@cache
def _front(text: str) -> builtin.Service:
    body = json.loads(text)
    meta = {**_meta(body["metadata"]["name"], f"uid-of-{body['metadata']['name']}"), "creationTimestamp": _time(1000)}
    return typed({**body, "metadata": {**body["metadata"], **meta}}, builtin.Service)


@cache
def _budget() -> builtin.PodDisruptionBudget:
    body = build.disruption_budget(typed({"metadata": {"name": NAME, "namespace": "shop", "uid": UID}, "spec": spec_of()}, ManagedService))
    return typed({**body, "metadata": {**body["metadata"], **_meta(NAME, "uid-of-budget")}}, builtin.PodDisruptionBudget)


@cache
def _slice(service: str, uids: tuple[str, ...]) -> builtin.EndpointSlice:
    meta = {"name": f"{service}-1", "labels": {"kubernetes.io/service-name": service}}
    return typed({"metadata": meta, "endpoints": [{"targetRef": {"uid": each}} for each in uids]}, builtin.EndpointSlice)


def _meta(name: str, uid: str) -> Json:
    return {"name": name, "namespace": "shop", "uid": uid, "resourceVersion": "5", "ownerReferences": [{"uid": UID, "controller": True}]}


def _service(state: State) -> ManagedService:
    notes = {key: _told(value) for key, value in state.notes}
    memory = {key: _told(value) for key, value in state.memory}
    return service_of(
        _spec(state.spec), rollout=memory, status={"phase": state.phase or None}, deleted=None, finalizers=[naming.FINALIZER], labels={}, notes=notes
    )


@cache
def _spec(text: str) -> ManagedServiceSpec:
    return typed(json.loads(text), ManagedServiceSpec)


# -- time
class Age(NamedTuple):
    """A moment, in rounds before now; `text` is what stands before it."""

    rounds: int
    text: str = ""


def _told(value: Any) -> Any:
    if isinstance(value, Age):
        return value.text + _time(value.rounds)
    return json.loads(value[1]) if isinstance(value, tuple) and value[0] == "json" else value


def _time(age: int) -> str:
    return at(NOW - age * ROUND)


def _aged_fields(fields: Json) -> Ages:
    """Fields with their moments as ages, in a fixed order; what is composed is kept as JSON. Shares are for people, and would tell alike situations apart."""
    rows = {key: _value(value) for key, value in fields.items() if value is not None and key != "weight"}
    return tuple(sorted(rows.items()))


def _value(value: Any) -> Any:
    if isinstance(value, (dict, list)):
        return ("json", _text(value))
    if not isinstance(value, str) or "T" not in value or not value.endswith("Z"):
        return value
    return Age(min(OLDEST, round((NOW - datetime.fromisoformat(value).timestamp()) / ROUND)))


def _older(state: State) -> State:
    return state._replace(
        pods=tuple(_older_pod(pod) for pod in state.pods),
        revisions=tuple((text, min(OLDEST, age + 1)) for text, age in state.revisions),
        memory=tuple((key, _older_value(value)) for key, value in state.memory),
        notes=tuple((key, _older_value(value)) for key, value in state.notes),
    )


def _older_pod(pod: Pod) -> Pod:
    left = min(OLDEST, pod.left + 1) if not pod.gate else 0
    return pod._replace(born=min(OLDEST, pod.born + 1), since=min(OLDEST, pod.since + 1), left=left)


def _older_value(value: Any) -> Any:
    return value._replace(rounds=min(OLDEST, value.rounds + 1)) if isinstance(value, Age) else value


def _text(body: Any) -> str:
    return json.dumps(json.loads(msgspec.json.encode(body)), sort_keys=True)


# -- what people do
def changed(**fields: Any) -> Callable[[State], State]:
    return lambda state: state._replace(spec=_text(_merged(json.loads(state.spec), fields)))


def _promote(state: State) -> State:
    memory = dict(state.memory)
    begun = memory.get("begunAt", Age(OLDEST))
    return _note(state, "promoted", begun._replace(text=f"{memory['target']}/{memory.get('step', 0) + 1}/"))


def _note(state: State, key: str, value: Any) -> State:
    notes = {**dict(state.notes), f"drover.dev/{key}": value}
    return state._replace(notes=tuple(sorted((name, each) for name, each in notes.items() if each is not None)))


def image(letter: str) -> Json:
    return {"spec": {"containers": [{"name": "server", "image": f"app:{letter}"}]}}


ACTS: dict[str, Callable[[State], State]] = {
    "promote": _promote,
    "abort": lambda state: _note(state, "aborted", dict(state.memory)["target"]),
    "retry": lambda state: _note(_note(state, "aborted", None), "retried", "now"),
    "pause": changed(paused=True),
    "resume": changed(paused=False),
    "pin to the first": lambda state: changed(pin={"revision": json.loads(state.revisions[0][0])["metadata"]["name"]})(state),
    "pin to the last": lambda state: changed(pin={"revision": json.loads(state.revisions[-1][0])["metadata"]["name"]})(state),
    "no pin": changed(pin=None),
    "another version": changed(template=image("C")),
    "the old version": changed(template=image("A")),
    "one more": lambda state: changed(replicas=json.loads(state.spec)["replicas"] + 1)(state),
}
