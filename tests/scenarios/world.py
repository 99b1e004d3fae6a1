# SPDX-License-Identifier: Apache-2.0
"""A world for scenarios: the simulated cluster, the real operator in it, trouble on the way, and invariants at every instant."""

import asyncio
import copy
import logging
from collections import Counter
from collections.abc import Callable, Coroutine, MutableMapping
from random import Random
from typing import Any

import structlog
from scenarios.crew import TIMING, Life, Operator, Trouble
from scenarios.invariants import GATE, NAMESPACE, Invariants, Json, kstatus, leaving

from drover_operator.core.plan import Answer, Ask
from drover_operator.kube.transport import Reply, Request
from drover_operator.testing import Deliver, SimulatedCluster, WatchEvent, virtualtime
from drover_operator.testing.faults import DEFAULT_LATENCY, Delivery

__all__ = ["GATE", "NAMESPACE", "OPERATOR", "TIMING", "Life", "Operator", "Trouble", "World", "kstatus", "leaving", "play", "service", "state"]

OPERATOR = "drover:operator:0"
BOOKKEEPING = ("leases", "configmaps", "events")


def service(name: str = "web", *, replicas: int = 3, image: str = "app:1.0", **spec: Any) -> Json:
    """A small ManagedService with one port."""
    template = {"spec": {"containers": [{"name": "server", "image": image}]}}
    return {
        "apiVersion": "drover.dev/v1alpha1",
        "kind": "ManagedService",
        "metadata": {"name": name, "namespace": NAMESPACE},
        "spec": {"criticality": "Normal", "replicas": replicas, "ports": [{"name": "http", "port": 80}], "template": template, **spec},
    }


def is_effect(request: Request) -> bool:
    """Whether a request writes something that counts: no lease, no event."""
    return request.mutating and not any(each in request.path for each in BOOKKEEPING)


class World:
    """One cluster and any number of operators, one after the other or side by side."""

    def __init__(self, seed: int) -> None:
        self.cluster = SimulatedCluster(seed=seed, nodes=3)
        self.cluster.create_namespace(NAMESPACE)
        self.watcher = Invariants(self.cluster)
        self.operators: list[Operator] = []
        self.troubles: list[Trouble] = []
        self.write_points = 0
        self.crashed = 0
        self.patience = 1.0  # factor on all waits: what is refused for its fields is tried again after five minutes
        self.outside: Callable[[Ask], Answer] = lambda ask: Answer(at=ask.at, error="nobody there")
        self.asked: list[Ask] = []
        self._lag = 0.0
        self._random = Random(seed)
        self._crashes: dict[int, str] = {}

    # -- processes
    def operator(self, identity: str = "", *, rate: float = 1.0) -> Operator:
        """Start an operator; it is started anew when it crashes or loses its lease, as a kubelet would."""
        name = identity or f"op-{len(self.operators) + 1}"
        found = Operator(self.cluster, name, Random(self._random.random()), rate=rate, connect=self._connect, outside=self._asked)
        self.operators.append(found)
        return found

    @property
    def lives(self) -> list[Life]:
        """Every process that there ever was."""
        return [life for operator in self.operators for life in operator.lives]

    @property
    def leader(self) -> Life | None:
        """The process that believes that it leads, if there is exactly one."""
        leaders = [life for life in self.lives if life.leading and not life.over.is_set()]
        return leaders[0] if len(leaders) == 1 else None

    @property
    def lag(self) -> float:
        """Seconds by which what the processes see trails what is."""
        return self._lag

    @lag.setter
    def lag(self, seconds: float) -> None:
        self._lag = seconds
        for life in self.lives:
            life.transport.faults.lag = seconds
            life.transport.break_streams()

    async def _asked(self, ask: Ask) -> Answer:
        """What somebody outside answers, a tenth of a second later."""
        await asyncio.sleep(0.1)
        self.asked.append(ask)
        return self.outside(ask)

    def crash_at(self, point: int, when: str) -> None:
        """Kill the process at its n-th write that counts: `before` it arrives, or `after` it was applied and before the reply."""
        self._crashes[point] = when

    def _connect(self, life: Life) -> None:
        faults = life.transport.faults
        faults.lag = self._lag
        faults.before = lambda request: self._before(life, request)
        faults.after = lambda request, reply: self._after(life, request, reply)
        faults.event = lambda resource, event: self._event(life, resource, event)
        faults.latency = lambda request: max((each.latency(life, request) for each in self.troubles), default=DEFAULT_LATENCY)
        faults.rewind = lambda request: max((each.rewind(life, request) for each in self.troubles), default=0.0)

    def _before(self, life: Life, request: Request) -> Reply | BaseException | None:
        if is_effect(request):
            self.write_points += 1
            if self._crash(life, "before"):
                return ConnectionError("the process is dead")
        return next((outcome for each in self.troubles if (outcome := each.before(life, request)) is not None), None)

    def _after(self, life: Life, request: Request, reply: Reply) -> Reply | BaseException:
        if is_effect(request):
            self._crash(life, "after")
        for each in self.troubles:
            outcome = each.after(life, request, reply)
            if not isinstance(outcome, Reply):
                return outcome
            reply = outcome
        return reply

    def _event(self, life: Life, resource: str, event: WatchEvent) -> Delivery:
        verdicts = (each.event(life, resource, event) for each in self.troubles)
        return next((verdict for verdict in verdicts if verdict is not Deliver.NOW), Deliver.NOW)

    def _crash(self, life: Life, when: str) -> bool:
        if self._crashes.get(self.write_points) != when:
            return False
        del self._crashes[self.write_points]
        self.crashed += 1
        life.kill()  # the new process waits for the lease of the dead one, as in life
        return True

    # -- invariants
    @property
    def problems(self) -> list[str]:
        """What was seen that must never be."""
        return self.watcher.problems

    def bounds(self, fewest: int, most: int) -> None:
        """From now on: at least so many in discovery, at most so many instances."""
        self.watcher.floor, self.watcher.ceiling = (lambda: fewest), (lambda: most)

    # -- what is seen
    def pods(self, name: str = "web") -> list[Json]:
        return [p for p in self.cluster.objects("pods", NAMESPACE) if p["metadata"].get("labels", {}).get("drover.dev/service") == name]

    def live(self, name: str = "web") -> list[Json]:
        return [p for p in self.pods(name) if not leaving(p)]

    def status(self, name: str = "web") -> Json:
        found = self.cluster.find("managedservices", NAMESPACE, name)
        return (found or {}).get("status", {})

    def ready_endpoints(self) -> list[str]:
        return self.watcher.ready_endpoints()

    def condition(self, kind: str, name: str = "web") -> Json:
        return next((c for c in self.status(name).get("conditions", ()) if c["type"] == kind), {})

    def images(self, name: str = "web") -> dict[str, int]:
        return dict(Counter(pod["spec"]["containers"][0]["image"] for pod in self.live(name)))

    def converged(self, name: str = "web") -> bool:
        found = self.cluster.find("managedservices", NAMESPACE, name)
        if found is None:
            return False
        status = found.get("status", {})
        current = status.get("observedGeneration") == found["metadata"]["generation"]
        settled = len(self.pods(name)) == found["spec"]["replicas"] and not status.get("plan")
        return current and settled and status.get("phase") == "Run" and self.condition("Reconciling", name).get("status") == "False"

    async def until(self, holds: Callable[[], bool], within: float = 120.0) -> float:
        """Wait in virtual time; on a time-out show what is there."""
        try:
            took = await self.cluster.until(holds, within * self.patience)
        except TimeoutError:
            pods = [(p["metadata"]["name"], p.get("status", {}).get("phase"), leaving(p)) for p in self.pods()]
            raise AssertionError(f"not within {within} s; status: {self.status()}; pods: {pods}") from None
        assert not self.problems, self.problems[:3]
        return took

    def writes(self, *verbs: str) -> list[Any]:
        """The operator's own writes of objects, without leases and events."""
        mine = [w for w in self.cluster.writes if w.user.startswith("drover:operator") and w.resource not in ("leases", "events", "events.events.k8s.io")]
        return [w for w in mine if not verbs or w.verb in verbs]

    def effects(self) -> Counter[str]:
        """How often the operator created and ended what: the same in every run that ends well."""
        changed = [w for w in self.writes("create", "delete") if w.changed and not w.dry_run and w.resource != "configmaps"]
        return Counter(f"{write.verb} {write.resource}" for write in changed)

    async def end(self) -> None:
        for each in self.operators:
            await each.end()
        await self.cluster.stop()


_errors: list[str] = []


def _collect(_logger: object, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    _errors.append(f"{event.get('event')}: {event.get('exception', '')}")
    raise structlog.DropEvent


def listen_for_errors() -> None:
    """Only what is logged as an error is looked at: it is a bug. Everything else would take half of the time."""
    _errors.clear()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR), processors=[structlog.processors.format_exc_info, _collect])


def play(scenario: Callable[[World], Coroutine[Any, Any, None]], seed: int = 1, prepare: Callable[[World], None] = lambda _: None) -> World:
    """Run one scenario in virtual time from its seed; returns the world for more questions."""
    worlds: list[World] = []
    listen_for_errors()

    async def main() -> None:
        world = World(seed)
        worlds.append(world)
        prepare(world)
        await world.cluster.start()
        try:
            await scenario(world)
        finally:
            await world.end()

    virtualtime.run(main)
    assert not worlds[0].problems, (f"seed {seed}", worlds[0].problems[:3])
    assert not _errors, (f"seed {seed}", _errors[:1])
    return worlds[0]


def state(world: World, name: str = "web") -> Any:
    """What must be equal at the end of two runs: who runs what and what is owned, without times, uids and versions."""
    found = copy.deepcopy(world.cluster.find("managedservices", NAMESPACE, name) or {})
    status = found.get("status", {})
    return {
        "pods": sorted((p["metadata"]["labels"]["drover.dev/revision"], p["metadata"]["labels"]["drover.dev/slot"]) for p in world.pods(name)),
        "services": [s["spec"]["ports"] for s in world.cluster.objects("services", NAMESPACE)],
        "budgets": [b["spec"] for b in world.cluster.objects("poddisruptionbudgets", NAMESPACE)],
        "revisions": sorted(r["metadata"]["name"] for r in world.cluster.objects("controllerrevisions", NAMESPACE)),
        "finalizers": found.get("metadata", {}).get("finalizers"),
        "status": {k: status.get(k) for k in ("phase", "ready", "upToDate", "summary", "currentRevision", "targetRevision", "counts")},
    }
