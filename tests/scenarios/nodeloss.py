# SPDX-License-Identifier: Apache-2.0
"""A node is lost in the middle of a rollout: at which point, in which way, and whose instance was on it; and what was seen then.

A point is told by what the world shows. Whatever the strategy, the same points are tried; those that a strategy never comes to are counted as
such. Each pod has a node of its own, so that one loss is one instance.
"""

import asyncio
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from scenarios.flows import by_hand, promote, started
from scenarios.invariants import GATE
from scenarios.strategies import STRATEGIES, rollout
from scenarios.world import NAMESPACE, World, leaving, play, service, state

from drover_controllers.service.rollout.arithmetic import split

Json = dict[str, Any]
REPLICAS, SURGE, NODES = 4, 1, 12
OLD, NEW, BAD = "app:1.0", "app:2.0", "app:bad"
PROMPTLY = 5.0  # seconds from where a loss is seen to where the share is right again
YOUNG = 10.0  # seconds; what fails so soon after its start is replaced when that is over, whoever is to blame: failover/cattle.py
SETTLED = 30.0  # seconds; the first version is no young one any more
REMOVED_AFTER = 60.0  # seconds from where a loss is seen to where somebody removes a node that was cut off
PATIENCE = 1500.0
GOOD_DEADLINE, BAD_DEADLINE = "10m", "30s"


@dataclass(frozen=True, kw_only=True)
class Point:
    """A moment of a rollout: `why` it is one, `here` says whether the world is there, `before` whether the node is lost before it begins."""

    why: str
    here: Callable[["Loss"], bool]
    before: bool = False
    image: str = NEW
    pauses: bool = False  # a person sets spec.paused when the first candidate serves
    aborts: bool = False  # a person aborts then


def _told(loss: "Loss") -> Json:
    status = loss.world.status()
    return {**status.get("rollout", {}), "phase": status.get("phase"), "summary": status.get("summary")}


def _at_step(number: int, *, reached: bool) -> Callable[["Loss"], bool]:
    return lambda loss: _begun(loss) and _told(loss).get("step", 0) == number and ("reachedAt" in _told(loss)) is reached


def _begun(loss: "Loss") -> bool:
    return _told(loss)["phase"] == "Update"


def _serving(loss: "Loss", image: str) -> int:
    return loss.in_service()[image]


POINTS: dict[str, Point] = {
    "before it begins": Point(why="nothing of it is remembered", here=lambda _: True, before=True),
    "the first is made": Point(why="its kubelet has said nothing yet", here=lambda loss: bool(loss.bound(loss.point.image))),
    "the first serves": Point(why="the first share", here=lambda loss: _serving(loss, NEW) >= 1),
    "an old one leaves": Point(why="surge and drain at once", here=lambda loss: any(map(leaving, loss.of(OLD)))),
    "half is done": Point(why="both sides are of one size", here=lambda loss: _serving(loss, NEW) >= REPLICAS // 2),
    "one is left": Point(why="the last of the old", here=lambda loss: _serving(loss, NEW) >= REPLICAS - 1),
    "at a pause": Point(why="a person may take days", here=lambda loss: _told(loss)["summary"] == "WaitsForPromotion"),
    "in the final roll": Point(
        why="all steps are passed", here=lambda loss: _begun(loss) and _told(loss).get("steps", 0) > 0 and _told(loss).get("step") == _told(loss)["steps"]
    ),
    "spec.paused": Point(why="the mix is frozen", here=lambda loss: _told(loss)["summary"] == "Paused", pauses=True),
    "on the way to the deadline": Point(why="the candidate never serves", here=lambda loss: bool(loss.bound(BAD)), image=BAD),
    "rollback by deadline": Point(why="the candidate is taken back", here=lambda loss: _told(loss)["phase"] == "Rollback", image=BAD),
    "aborted": Point(why="a person takes the candidate back", here=lambda loss: _told(loss)["phase"] == "Rollback", aborts=True),
    **{
        f"{'at' if reached else 'on the way to'} step {number + 1}": Point(why="each share of its own", here=_at_step(number, reached=reached))
        for number in range(max(each.steps for each in STRATEGIES.values()))
        for reached in (False, True)
    },
}


def _cut(loss: "Loss", node: str) -> None:
    loss.world.cluster.node_down(node)


def _short(loss: "Loss", node: str) -> None:
    for pod in loss.on(node):
        if pod.get("status", {}).get("phase") in ("Pending", "Running"):
            loss.world.cluster.evict(NAMESPACE, pod["metadata"]["name"])


def _reboot(loss: "Loss", node: str) -> None:
    _cut(loss, node)
    loss.later(60.0, lambda: loss.world.cluster.node_up(node, rebooted=True))


WAYS: dict[str, tuple[str, Callable[["Loss", str], None]]] = {
    "cut off": ("out of discovery after 40 s, deleted after 300 s more, and nobody confirms the end", _cut),
    "removed": ("its pods are gone after 40 s", lambda loss, node: loss.world.cluster.remove_node(node)),
    "runs short": ("its pods fail at once and keep their names", _short),
    "reboots": ("its containers start anew a minute later", _reboot),
}
WHOSE = {"candidate": "the node of the new version", "stable": "the node of the one that served before"}


@dataclass
class Loss:
    """One run. `told` is what was wrong; `played` is empty where it was played to its end, else why not."""

    strategy: str
    name: str
    whose: str
    way: str = ""  # none: the same without a loss
    deadline: str = GOOD_DEADLINE
    told: list[str] = field(default_factory=list[str])
    skipped: str = ""
    took: float = -1.0  # seconds from what was seen to the right share
    end: Any = None

    def __post_init__(self) -> None:
        self.point = POINTS[self.name]
        self._tasks: list[asyncio.Task[None]] = []
        self._serving: set[str] = set()
        self._node = ""

    def play(self) -> "Loss":
        self.world_played = play(self._play)
        return self

    # -- what is seen
    def of(self, image: str) -> list[Json]:
        return [p for p in self.world.pods() if p["spec"]["containers"][0]["image"] == image]

    def bound(self, image: str) -> list[Json]:
        """Live ones that a kubelet knows of."""
        return [p for p in self.of(image) if not leaving(p) and p.get("status", {}).get("startTime")]

    def on(self, node: str) -> list[Json]:
        return [p for p in self.world.pods() if p["spec"].get("nodeName") == node]

    def in_service(self) -> Counter[str]:
        """Instances that discovery names, by image."""
        listed = set(self.world.ready_endpoints())
        return Counter(p["spec"]["containers"][0]["image"] for p in self.world.pods() if p["metadata"]["uid"] in listed and not leaving(p))

    def later(self, seconds: float, act: Callable[[], None]) -> None:
        async def wait() -> None:
            await asyncio.sleep(seconds)
            act()

        self._tasks.append(asyncio.create_task(wait()))

    # -- the run
    async def _play(self, world: World) -> None:
        self.world = world
        for number in range(4, NODES + 1):
            world.cluster.add_node(f"node-{number}")
        world.cluster.set_image_behaviour(BAD, "never-ready")
        await started(world, replicas=REPLICAS, rollout=rollout(self.strategy))
        await asyncio.sleep(SETTLED)
        world.bounds(0, REPLICAS + max(SURGE, REPLICAS * STRATEGIES[self.strategy].surge // 100))
        for resource in ("pods", "endpointslices"):
            world.cluster.on_change(resource, self._check_own_acts)
        try:
            await self._rollout()
        finally:
            for task in self._tasks:
                task.cancel()

    async def _rollout(self) -> None:
        if self.point.before and self.way and not self._lose():
            return
        self._apply()
        if not await self._reach():
            self.skipped = "the strategy never comes there"
            return
        if not self.point.before and self.way:
            await asyncio.sleep(0.05)  # its kubelet has heard of it
            if not self._lose():
                return
        await self._mend()
        await self._to_the_end()

    def _apply(self, **more: Any) -> None:
        deadline = BAD_DEADLINE if self.point.image == BAD else self.deadline
        self.world.cluster.apply(service(replicas=REPLICAS, image=self.point.image, rollout=rollout(self.strategy, progressDeadline=deadline), **more))

    async def _reach(self) -> bool:
        """To the point, with a person who passes the pauses before it and does what else belongs to it; not when it ends before."""
        acted = False
        while not self.point.here(self):
            if self.world.converged() and not self.of(OLD):
                return False
            self._promote()
            if not acted and (self.point.pauses or self.point.aborts) and self._is_time_to_act():
                acted = True
                self._apply(paused=True) if self.point.pauses else by_hand(self.world, "aborted", _told(self)["target"])
            await asyncio.sleep(0.02)
        return True

    def _is_time_to_act(self) -> bool:
        return _begun(self) and (_serving(self, NEW) >= 1 or STRATEGIES[self.strategy].downtime)

    def _promote(self) -> None:
        if _told(self)["summary"] == "WaitsForPromotion":
            promote(self.world, _told(self).get("step", 0) + 1)

    def _lose(self) -> bool:
        """Lose the node of such an instance; False where there is none."""
        if self.point.before and self.whose == "candidate":
            return self._lose_ahead()
        mine = [p for p in self.of(OLD if self.whose == "stable" else self.point.image) if p["spec"].get("nodeName")]
        mine.sort(key=lambda p: (len(self.on(p["spec"]["nodeName"])), leaving(p), p["metadata"]["name"]))
        if not mine:
            self.skipped = "nobody is there"
            return False
        self._node = mine[0]["spec"]["nodeName"]
        self._victims = [p["metadata"]["uid"] for p in self.on(self._node) if not leaving(p)]
        WAYS[self.way][1](self, self._node)
        return True

    def _lose_ahead(self) -> bool:
        """A node is cut off, and nobody has noticed: the first candidate is put there."""
        if self.way != "cut off":
            self.skipped = "nobody is there"
            return False
        cluster = self.world.cluster
        cluster.scheduler.sees_dead_nodes = False
        nodes = [each["metadata"]["name"] for each in cluster.objects("nodes")]
        self._node = next(each for each in nodes if not self.on(each))
        for each in nodes:
            cluster.patch("nodes", "", each, {"spec": {"unschedulable": each != self._node}})
        cluster.node_down(self._node)
        self._victims = []

        self._tasks.append(asyncio.create_task(self._release(nodes)))
        return True

    async def _release(self, nodes: list[str]) -> None:
        """Whoever comes next is put elsewhere."""
        while not self.on(self._node):
            await asyncio.sleep(0.01)
        for each in nodes:
            self.world.cluster.patch("nodes", "", each, {"spec": {"unschedulable": each == self._node}})

    # -- what must hold
    def _check_own_acts(self) -> None:
        """Who leaves service by our act, leaves enough behind; who failed, or whose node controller deletes it, is no act of ours."""
        serving = {p["metadata"]["uid"]: p for p in self.world.pods() if p["metadata"]["uid"] in set(self.world.ready_endpoints())}
        gone = [uid for uid, pod in serving.items() if uid in self._serving and self._taken_out(pod)]
        self._serving = {uid for uid, pod in serving.items() if not leaving(pod)}
        if gone and not STRATEGIES[self.strategy].downtime and len(self._serving) < REPLICAS:
            self.told.append(f"{len(gone)} taken out of service, {len(self._serving)} left")

    def _taken_out(self, pod: Json) -> bool:
        gate = next((c for c in pod.get("status", {}).get("conditions", ()) if c["type"] == GATE), {})
        return gate.get("status") == "False" or ("deletionTimestamp" in pod["metadata"] and pod["spec"].get("nodeName") != self._node)

    async def _mend(self) -> None:
        """Wait until the loss is seen, and for what is right again then."""
        if not self.way:
            return
        if self.way == "reboots":
            await asyncio.sleep(90.0)
            return
        await self.world.until(self._seen, within=400.0)
        begun, patience = self.world.cluster.now(), self._patience()
        if STRATEGIES[self.strategy].downtime:
            return
        while not self._right():
            await asyncio.sleep(0.02)
            if self.world.cluster.now() - begun > 60.0:
                break
        self.took = self.world.cluster.now() - begun
        if self.took > patience:
            self.told.append(f"the share was right again after {self.took:.1f} s: {dict(self.in_service())}")

    def _patience(self) -> float:
        """Failed pods hold their slot for a while; PROMPTLY is counted from there."""
        failed = [p for p in self.world.pods() if p.get("status", {}).get("phase") == "Failed"]
        ages = [self.world.cluster.now() - _seconds(p["metadata"]["creationTimestamp"]) for p in failed]
        return PROMPTLY + max((YOUNG - age for age in ages if age < YOUNG), default=0.0)

    def _seen(self) -> bool:
        there = {p["metadata"]["uid"]: p for p in self.world.pods()}
        if self._victims:
            return all(uid not in there or leaving(there[uid]) for uid in self._victims)
        return not self.point.before or any("deletionTimestamp" in p["metadata"] for p in self.on(self._node))

    def _right(self) -> bool:
        serving, told = self.in_service(), _told(self)
        settings = STRATEGIES[self.strategy].settings.get("canary", {}).get("steps", ()) if self.point.image == NEW else ()
        if told["phase"] == "Update" and told["summary"] != "Paused" and told.get("step", 0) < len(settings):
            weights = [each["weight"] for each in settings[: told.get("step", 0) + 1] if "weight" in each]
            return (serving[NEW], serving[OLD]) == split(REPLICAS, weights[-1], SURGE, 0)
        return serving.total() >= REPLICAS

    async def _to_the_end(self) -> None:
        """With a person who passes pauses; what was cut off is removed at last."""
        if self.way == "cut off":
            self.later(REMOVED_AFTER, lambda: self.world.cluster.remove_node(self._node))
        if self.point.pauses:
            self._apply(paused=False)
        goal = NEW if self.point.image == NEW and not self.point.aborts else OLD
        begun = self.world.cluster.now()
        while not self._arrived(goal):
            self._promote()
            await asyncio.sleep(0.5)
            if self.world.cluster.now() - begun > PATIENCE:
                self.told.append(f"it never ended: {self.world.status().get('summary')}, {self.world.images()}")
                return
        await asyncio.sleep(10.0)
        self.end = state(self.world)
        self._check_blame(innocent=goal == NEW)

    def _arrived(self, goal: str) -> bool:
        status = self.world.status()
        return len(self.world.pods()) == REPLICAS == self.in_service()[goal] and status.get("phase") == "Run" and not status.get("plan")

    def _check_blame(self, *, innocent: bool) -> None:
        """A node is no reason to give a version up."""
        history = [each["to"] for each in self.world.status()["history"]]
        blocked = [
            r["metadata"]["name"]
            for r in self.world.cluster.objects("controllerrevisions", NAMESPACE)
            if r["metadata"]["annotations"].get("drover.dev/blocked")
        ]
        if innocent and ("Rollback" in history or "Failed" in history or blocked):
            self.told.append(f"the new version is blamed: {history}, blocked {blocked}")


def _seconds(moment: str) -> float:
    return datetime.fromisoformat(moment).timestamp()
