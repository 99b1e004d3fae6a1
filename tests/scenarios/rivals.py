# SPDX-License-Identifier: Apache-2.0
"""What rivals' bugs need of the world: their troubles, and the list of bugs that concern parts which do not exist yet.

A bug is named by its repository and number, as in `argoproj/argo-rollouts#3316`. Those that concern what exists have a scenario each in
`test_rivals`, with both in its name. Rejected: a table of rows for all of them, which would hide how different the roads to a bug are.
"""

import re
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from scenarios.world import GATE, NAMESPACE, Life, Trouble, World, is_effect

from drover_operator.kube.transport import Reply, Request
from drover_operator.testing import Deliver, WatchEvent, refusal
from drover_operator.testing.faults import DEFAULT_LATENCY, Delivery

Json = dict[str, Any]
REPOSITORIES = {
    "argo_rollouts": "argoproj/argo-rollouts",
    "flagger": "fluxcd/flagger",
    "gateway_plugin": "argoproj-labs/rollouts-plugin-trafficrouter-gatewayapi",
    "keda": "kedacore/keda",
    "knative": "knative/serving",
    "kruise": "openkruise/kruise",
    "kruise_rollouts": "openkruise/rollouts",
    "kubernetes": "kubernetes/kubernetes",
    "kubevela": "kubevela/kubevela",
}
_NAME = re.compile(rf"^test_({'|'.join(sorted(REPOSITORIES, key=len, reverse=True))})_((?:[0-9]+_)+)")


def bugs_of(test: str) -> list[str]:
    """The bugs that a test is about, by its name; none when it is no scenario of a rival's bug."""
    match = _NAME.match(test)
    return [f"{REPOSITORIES[match[1]]}#{number}" for number in match[2].strip("_").split("_")] if match else []


# -- troubles
def door(request: Request) -> str:
    """The way that a write takes, without names: `PATCH pods/status`."""
    parts = request.path.split("/")
    at = parts.index("namespaces") + 2 if "namespaces" in parts else 3
    return f"{request.method} {'/'.join(parts[at : at + 1] + parts[at + 2 :])}"


class Hidden(Trouble):
    """Changes of these resources happen, and nobody is told."""

    def __init__(self, *resources: str) -> None:
        self.hidden = 0
        self._resources = resources

    def event(self, life: Life, resource: str, event: WatchEvent) -> Delivery:
        if event.type != "MODIFIED" or resource.partition(".")[0] not in self._resources:
            return Deliver.NOW
        self.hidden += 1
        return Deliver.DROP


class Conflicts(Trouble):
    """Somebody else has always been faster: writes through each door are refused for so many seconds from the first on."""

    def __init__(self, world: World, seconds: float) -> None:
        self.refused: Counter[str] = Counter()
        self._since: dict[str, float] = {}
        self._now, self._seconds = world.cluster.now, seconds

    def before(self, life: Life, request: Request) -> Reply | BaseException | None:
        way, now = door(request), self._now()
        if not is_effect(request) or request.query.get("dryRun") or now - self._since.setdefault(way, now) > self._seconds:
            return None
        self.refused[way] += 1
        return refusal(409, "AlreadyExists" if request.method == "POST" else "Conflict", "the object has been modified; please apply your changes again")


class Interjection(Trouble):
    """Once, while the answer to a write through that door is on its way, somebody does something."""

    def __init__(self, way: str, act: Callable[[], object]) -> None:
        self.done = False
        self._way, self._act = way, act

    def after(self, life: Life, request: Request, reply: Reply) -> Reply | BaseException:
        if not self.done and door(request) == self._way and reply.status < 300:
            self.done = True
            self._act()
        return reply


class Slow(Trouble):
    """Writes that count take so many seconds, of all processes or of one."""

    def __init__(self, seconds: float, identity: str = "") -> None:
        self._seconds, self._identity = seconds, identity

    def latency(self, life: Life, request: Request) -> float:
        return self._seconds if is_effect(request) and self._identity in ("", life.identity) else DEFAULT_LATENCY


class NoQuorum(Trouble):
    """etcd elects a leader: reads fail, while writes find one."""

    def before(self, life: Life, request: Request) -> Reply | BaseException | None:
        return None if request.mutating or "leases" in request.path else refusal(500, "InternalError", "etcdserver: leader changed")


@dataclass(frozen=True)
class Arrival:
    """One write of an operator at the API server; the epoch is the one that it was decided in."""

    time: float
    life: str
    epoch: int
    code: int


class Postmark(Trouble):
    """Notes every write that counts: when it was sent and arrived, in which epoch it was decided, and what was answered."""

    def __init__(self, world: World) -> None:
        self.arrivals: list[Arrival] = []
        self.sent: Counter[str] = Counter()
        self._now = world.cluster.now

    def latency(self, life: Life, request: Request) -> float:
        self.sent[life.identity] += is_effect(request)
        return DEFAULT_LATENCY

    def after(self, life: Life, request: Request, reply: Reply) -> Reply | BaseException:
        if is_effect(request):
            epoch = int(request.headers.get("Impersonate-Extra-drover.dev%2Fepoch", -1))
            self.arrivals.append(Arrival(self._now(), life.identity, epoch, reply.status))
        return reply

    def under_way(self, life: str) -> int:
        """How many writes of that process have left it and not arrived."""
        return self.sent[life] - sum(each.life == life for each in self.arrivals)

    @property
    def accepted(self) -> list[Arrival]:
        return [each for each in self.arrivals if each.code < 400]


# -- what is looked at besides
@dataclass
class Departures:
    """When each instance left service and when its deletion was asked for, in seconds."""

    world: World
    left: dict[str, float] = field(default_factory=dict[str, float])
    ended: dict[str, float] = field(default_factory=dict[str, float])

    def __post_init__(self) -> None:
        self.world.cluster.on_change("pods", self._look)

    def _look(self) -> None:
        now = self.world.cluster.now()
        for pod in self.world.pods():
            conditions = {each["type"]: each["status"] for each in pod.get("status", {}).get("conditions", ())}
            if conditions.get(GATE) == "False":
                self.left.setdefault(pod["metadata"]["uid"], now)
            if "deletionTimestamp" in pod["metadata"]:
                self.ended.setdefault(pod["metadata"]["uid"], now)

    def drains(self) -> dict[str, float]:
        """Seconds between both, of the instances that have ended."""
        return {uid: at - self.left[uid] for uid, at in self.ended.items() if uid in self.left}


def at_every_change(world: World, resource: str, holds: Callable[[Json], bool], text: str) -> None:
    """An invariant of this scenario: it must hold for each object of the resource at every instant."""

    def look() -> None:
        for each in world.cluster.objects(resource, NAMESPACE):
            if not holds(each):
                world.watcher.problem(f"{resource} {each['metadata']['name']}: {text}")

    world.cluster.on_change(resource, look)


# -- bugs of parts that do not exist yet
DELIVERY = "delivery strategies and gates"
SCALING = "autoscaling"
PETS = "pets and volumes"
GROUPS = "groups and architecture"
CONFIG = "configuration"
FIGURES = "figures"
PARTS = (DELIVERY, SCALING, PETS, GROUPS, CONFIG, FIGURES)


def _pending(repository: str, part: str, what: str, *numbers: int) -> dict[str, str]:
    return {f"{repository}#{number}": f"{part}: {what}" for number in numbers}


ARGO, FLAGGER = REPOSITORIES["argo_rollouts"], REPOSITORIES["flagger"]
KUBERNETES, KUBEVELA = REPOSITORIES["kubernetes"], REPOSITORIES["kubevela"]
PENDING: dict[str, str] = {
    **_pending(FLAGGER, GROUPS, "a cluster that is built anew from its declarations gets what was promoted, which the active revision records.", 1577),
    **_pending(KUBEVELA, GROUPS, "a dependency that has failed ends the wait for it, with its name.", 6673),
    **_pending(ARGO, DELIVERY, "the old colour that is kept for going back can be made smaller.", 2167),
    **_pending(ARGO, SCALING, "a candidate under way scales nothing before the threshold is reached.", 4369),
    **_pending(ARGO, SCALING, "the load is judged for each revision, not by the mean of both.", 4607),
    **_pending(ARGO, SCALING, "the settings of the autoscaler are part of the revision.", 4380, 4347),
    **_pending(KUBERNETES, PETS, "one volume never has two writers, nor is it detached from one that lives.", 61832, 65392, 120328, 120344, 106710),
    **_pending(KUBERNETES, PETS, "volume templates can change.", 68737, 69041),
    **_pending(KUBERNETES, PETS, "a node under a service of one instance can be drained: the next one comes first.", 66811, 114877, 140599),
    **_pending(ARGO, PETS, "pets are delivered step by step too.", 1635, 4387),
    **_pending(FLAGGER, PETS, "pets are delivered step by step too.", 410),
    **_pending("medik8s/self-node-remediation", PETS, "an isolated node of the control plane is proved dead like any other.", 325),
    **_pending(ARGO, GROUPS, "services in lockstep: one failure turns all, one word promotes all.", 4778, 2088, 2737, 3770, 451, 2005),
    **_pending(FLAGGER, GROUPS, "several rollouts have an order.", 1700),
    **_pending("argoproj/argo-cd", GROUPS, "the order holds when several look at once.", 12325, 14946, 29347, 29410),
    **_pending(KUBERNETES, GROUPS, "several objects are one update.", 72652),
    **_pending("kubernetes-sigs/application", GROUPS, "several objects are one update.", 6),
    **_pending(ARGO, CONFIG, "configuration is rolled out and back with the code.", 1297, 2669, 2675),
    **_pending(KUBERNETES, CONFIG, "configuration is rolled out and back with the code.", 22368, 20200),
    **_pending(ARGO, FIGURES, "memory and speed with ten thousand services.", 2855, 3112),
    **_pending(ARGO, FIGURES, "memory after months.", 4571),
    **_pending(ARGO, DELIVERY, "the dashboard asks who somebody is, and can pause.", 1323, 4413),
    **_pending(FLAGGER, DELIVERY, "a command line for people who deliver.", 724),
    **_pending(ARGO, DELIVERY, "undo is one word, and works for blue and green.", 3712, 3304),
}
