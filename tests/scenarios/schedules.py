# SPDX-License-Identifier: Apache-2.0
"""Schedules: what people and nodes do, and what goes wrong meanwhile, all of it from one seed.

A run ends in peace: then the service must come to where the last spec says, by itself, and stay there without a write.
"""

import asyncio
import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from hashlib import sha256
from math import ceil
from random import Random
from typing import Any

from scenarios.flows import ROUTE, TEST, at_rest, by_hand, promote
from scenarios.invariants import Json
from scenarios.troubles import ATTACKS, ON_THE_WAY, attack, peace
from scenarios.world import NAMESPACE, World, play, service

STEPS = [{"weight": 25, "hold": "5s"}, {"pause": {}}, {"weight": 60}]
STRATEGIES: dict[str, Json] = {
    "Rolling": {},
    "Recreate": {"type": "Recreate"},
    "Canary": {"type": "Canary", "canary": {"steps": STEPS}},
    "BlueGreen": {"type": "BlueGreen", "blueGreen": {"keepFor": "10s"}},
    "Routed": {"type": "Canary", "canary": {"steps": STEPS}},
    "Tested": {"mainFlowTest": TEST},
}
STEPPED = ("Canary", "BlueGreen", "Routed")
HANDS = ("promote", "abort", "retry")
DAMAGE = ("evict", "lose a pod", "restart containers", "node down")
BAD = "app:bad"
PATIENCE = 1500.0  # seconds; an event that was hidden is found when its watch ends, after 300 to 600 s
QUIET = 61.0
OWNED = ("managedservices", "pods", "services", "endpointslices", "poddisruptionbudgets", "controllerrevisions")


@dataclass(frozen=True, kw_only=True)
class Schedule:
    """One run: `acts` come one after the other, each after a pause in seconds; `clocks` are the speeds of the operators' clocks."""

    seed: int
    replicas: int
    clocks: tuple[float, ...]
    troubles: tuple[str, ...]
    attacks: tuple[str, ...]
    acts: tuple[tuple[float, str], ...]
    ends_deleted: bool
    strategy: str

    def __str__(self) -> str:
        acts = ", ".join(f"{pause:.1f} s: {act}" for pause, act in self.acts) + (", deleted in the end" if self.ends_deleted else "")
        clocks = " and ".join(f"{rate:.2f}" for rate in self.clocks)
        troubles = ", ".join((*self.troubles, *self.attacks)) or "no trouble"
        return f"seed {self.seed}: {self.strategy}, {self.replicas} replicas, clocks {clocks}; {acts}; with {troubles}"


def schedule(seed: int) -> Schedule:
    """The schedule of a seed."""
    chance = Random(seed)
    acts = ["image", "image", "bad image", "scale", "pause", "resume", *DAMAGE]
    plan = Schedule(
        seed=seed,
        replicas=chance.randint(1, 5),
        clocks=tuple(chance.choice((1.0, 1.0, 0.9, 1.1)) for _ in range(chance.choice((1, 2, 2)))),
        troubles=tuple(chance.sample(list(ON_THE_WAY), chance.choice((0, 1, 1, 2, 3)))),
        attacks=tuple(chance.sample(list(ATTACKS), chance.choice((0, 1, 1, 2, 3)))),
        acts=tuple((chance.choice((0.0, 0.5, 2.0, 10.0, 40.0)) * chance.random(), chance.choice(acts)) for _ in range(chance.randint(1, 6))),
        ends_deleted=chance.random() < 0.25,
        strategy=chance.choice(("Rolling", "Canary", "Canary", "Recreate", "BlueGreen", "BlueGreen", "Routed", "Tested")),
    )
    hands = tuple((chance.choice((0.5, 10.0, 40.0)) * chance.random(), chance.choice(HANDS)) for _ in range(chance.randint(0, 3)))
    return replace(plan, acts=(*plan.acts, *hands)) if plan.strategy in STEPPED else plan


def run(plan: Schedule, prepare: Callable[[World], None] = lambda _: None) -> World:
    """Play it; an AssertionError says what was wrong. `prepare` gets the world before it begins."""
    return play(lambda world: _Run(plan, world).play(), plan.seed, prepare)


def fingerprint(world: World) -> str:
    """A digest of everything that happened: each write as the audit log has it, and each object as it is at the end."""
    kinds = ("managedservices", "pods", "services", "endpointslices", "controllerrevisions", "leases", "events")
    objects = [world.cluster.objects(kind) for kind in kinds]
    return sha256(json.dumps([[str(write) for write in world.cluster.writes], objects], sort_keys=True).encode()).hexdigest()


class _Run:
    def __init__(self, plan: Schedule, world: World) -> None:
        self._plan = plan
        self._world = world
        self._chance = Random(plan.seed + 1)
        self._serial = 1
        self._spec: dict[str, Any] = {"replicas": plan.replicas, "image": "app:1", "rollout": {"progressDeadline": self._deadline()}}
        self._spec["rollout"] |= STRATEGIES[plan.strategy]
        if plan.strategy == "Routed":
            self._spec["traffic"] = {"route": {"name": "shop"}, "settle": "1s"}
        self._good = True

    def _deadline(self) -> str:
        """Events that are kept from us are no reason to give up a good revision; an API server that is away for minutes may be."""
        return "90s" if set(self._plan.troubles) <= {"TamperedEvents"} and set(self._plan.attacks) <= {"compactions"} else "10m"

    async def play(self) -> None:
        world, plan = self._world, self._plan
        world.cluster.set_image_behaviour(BAD, "never-ready")
        for number, rate in enumerate(plan.clocks):
            world.operator("ab"[number], rate=rate)
        if plan.strategy == "Routed":
            world.cluster.apply(ROUTE)
        self._apply()
        await world.until(world.converged)
        self._set_bounds()
        if plan.strategy == "Recreate":
            world.cluster.on_change("pods", self._check_alone)
        await self._under_fire(plan.acts)
        await self._end()
        if plan.ends_deleted:
            world.bounds(0, 10)
            await self._under_fire(((self._chance.uniform(0.0, 5.0), "delete"),))
            await world.until(lambda: not any(world.cluster.objects(kind, NAMESPACE) for kind in OWNED), PATIENCE)

    async def _under_fire(self, acts: tuple[tuple[float, str], ...]) -> None:
        """The acts with everything that goes wrong meanwhile, then peace."""
        world, plan = self._world, self._plan
        world.troubles += [ON_THE_WAY[name](Random(self._chance.random())) for name in plan.troubles]
        attacks = [asyncio.create_task(attack(name, world, Random(self._chance.random()))) for name in plan.attacks]
        for pause, act in acts:
            await asyncio.sleep(pause)
            self._act(act)
        await asyncio.sleep(self._chance.choice((1.0, 10.0, 60.0)))
        for task in attacks:
            task.cancel()
        await asyncio.gather(*attacks, return_exceptions=True)
        peace(world)

    async def _end(self) -> None:
        world = self._world
        for node in ("node-1", "node-2", "node-3"):
            world.cluster.node_up(node)
        if self._spec.get("paused"):
            self._act("resume")
        if self._plan.strategy in STEPPED:
            self._act("retry")
        await world.until(self._arrived_with_a_hand, PATIENCE + (700.0 if not self._good else 0.0))
        await asyncio.sleep(2 * QUIET)
        before = len(world.writes())
        await asyncio.sleep(QUIET)
        assert self._arrived(), f"it did not stay: {world.status()}"
        assert len(world.writes()) == before, [f"{w.verb} {w.resource} {w.name}" for w in world.writes()[before:]]
        self._check_leftovers()

    def _set_bounds(self) -> None:
        """Damage from outside may take instances; a wanted change never may, beyond the budget."""
        replicas = [self._plan.replicas, *range(1, 6)] if "scale" in [act for _, act in self._plan.acts] else [self._plan.replicas]
        whole = self._plan.strategy in ("BlueGreen", "Routed")  # two sets of full size
        damaged = any(act in DAMAGE for _, act in self._plan.acts) or self._plan.strategy == "Recreate"
        self._world.bounds(0 if damaged else min(each - each // 4 for each in replicas), max(each + (each if whole else ceil(each / 4)) for each in replicas))

    def _check_alone(self) -> None:
        """Containers of two versions never run at the same time."""
        found = {p["spec"]["containers"][0]["image"] for p in self._world.watcher.pods() if p.get("status", {}).get("phase") == "Running"}
        if len(found) > 1:
            self._world.watcher.problem(f"two versions run: {sorted(found)}")

    def _apply(self) -> None:
        self._world.cluster.apply(service(**self._spec))

    def _act(self, act: str) -> None:
        match act:
            case "image" | "bad image":
                self._serial += 1
                self._good = act == "image"
                self._spec["image"] = f"app:{self._serial}" if self._good else BAD
                self._apply()
            case "scale":
                self._spec["replicas"] = self._chance.randint(1, 5)
                self._apply()
            case "pause" | "resume":
                self._spec["paused"] = act == "pause"
                self._apply()
            case "promote" | "abort":
                if rollout := self._world.status().get("rollout"):
                    promote(self._world, 2) if act == "promote" and "begunAt" in rollout else by_hand(self._world, "aborted", rollout.get("target", ""))
            case "retry":
                by_hand(self._world, "aborted", None)
                by_hand(self._world, "retried", str(self._world.cluster.now()))
            case "delete":
                self._world.cluster.delete("managedservices", NAMESPACE, "web")
            case "node down":
                self._world.cluster.node_down(f"node-{self._chance.randint(1, 3)}")
            case _:
                self._damage(act)

    def _damage(self, act: str) -> None:
        cluster = self._world.cluster
        running = [p["metadata"]["name"] for p in self._world.live() if p.get("status", {}).get("phase") == "Running"]
        if not running:
            return
        acts: dict[str, Callable[[str], None]] = {
            "evict": lambda name: cluster.evict(NAMESPACE, name),
            "lose a pod": lambda name: cluster.delete("pods", NAMESPACE, name),
            "restart containers": lambda name: cluster.restart_containers(NAMESPACE, name),
        }
        acts[act](self._chance.choice(running))

    def _arrived_with_a_hand(self) -> bool:
        """Somebody passes every pause."""
        if self._world.status().get("summary") == "WaitsForPromotion":
            promote(self._world, len(STEPS))
        return self._arrived()

    def _arrived(self) -> bool:
        world, replicas = self._world, self._spec["replicas"]
        if len(world.pods()) != replicas or len(world.ready_endpoints()) != replicas:
            return False
        images, status = world.images(), world.status()
        if self._good:
            return images == {self._spec["image"]: replicas} and world.converged() and status["summary"] == "Healthy"
        told = status.get("observedGeneration") == world.cluster.get("managedservices", NAMESPACE, "web")["metadata"]["generation"]
        back = status.get("summary") == "RolledBack" and status.get("phase") == "Run" and not status.get("plan")
        return told and back and len(images) == 1 and BAD not in images

    def _check_leftovers(self) -> None:
        cluster = self._world.cluster
        counts = {kind: len(cluster.objects(kind, NAMESPACE)) for kind in ("services", "poddisruptionbudgets", "endpointslices")}
        fronts = 2 if self._plan.strategy in ("BlueGreen", "Tested") else 1  # one more for tests
        assert counts == {"services": fronts, "poddisruptionbudgets": 1, "endpointslices": fronts}, counts
        assert self._plan.strategy != "Routed" or at_rest(self._world)
        uid = cluster.get("managedservices", NAMESPACE, "web")["metadata"]["uid"]
        orphans = [p["metadata"]["name"] for p in cluster.objects("pods", NAMESPACE) if p["metadata"]["ownerReferences"][0]["uid"] != uid]
        assert not orphans, orphans
