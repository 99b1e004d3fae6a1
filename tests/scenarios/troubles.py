# SPDX-License-Identifier: Apache-2.0
"""Everything that may go wrong around the operator, each by a chance of its own; all of it can be combined.

On the way: requests that are refused, slow or lose their reply, reads of the past, events that are hidden, late, overtaken or repeated.
From outside: processes killed or frozen, leases taken away, memory wiped, API servers that are gone, broken or behind.
"""

import asyncio
from collections.abc import Callable, Coroutine
from random import Random
from typing import Any

from scenarios.world import NAMESPACE, Life, Trouble, World, is_effect

from drover_operator.kube.errors import DroverError, OutcomeUnknown
from drover_operator.kube.transport import Reply, Request
from drover_operator.testing import Deliver, Overtaken, Repeated, WatchEvent, refusal
from drover_operator.testing.faults import DEFAULT_LATENCY, Delivery

LEASE = ("leases", "drover-system", "drover-operator-0")
REFUSALS = (
    (403, "Forbidden"),
    (404, "NotFound"),
    (409, "Conflict"),
    (422, "Invalid"),
    (429, "TooManyRequests"),
    (500, "InternalError"),
    (503, "ServiceUnavailable"),
    (504, "Timeout"),
)


class LostReplies(Trouble):
    """A write is applied and its reply never comes."""

    def __init__(self, chance: Random, share: float = 0.15) -> None:
        self._chance, self._share = chance, share

    def after(self, life: Life, request: Request, reply: Reply) -> Reply | BaseException:
        return OutcomeUnknown("lost") if request.mutating and self._chance.random() < self._share else reply


class Refusals(Trouble):
    """A request is refused with any of the codes that there are. Only writes that count get the codes that mean something about them."""

    def __init__(self, chance: Random, share: float = 0.15) -> None:
        self._chance, self._share = chance, share

    def before(self, life: Life, request: Request) -> Reply | BaseException | None:
        if self._chance.random() >= self._share:
            return None
        code, reason = self._chance.choice(REFUSALS if is_effect(request) else REFUSALS[-4:])
        return refusal(code, reason, "for once", retry_after=1 if code == 429 else 0)


class SlowRequests(Trouble):
    """Some requests take seconds, so that they overtake each other."""

    def __init__(self, chance: Random, share: float = 0.2, longest: float = 3.0) -> None:
        self._chance, self._share, self._longest = chance, share, longest

    def latency(self, life: Life, request: Request) -> float:
        return self._chance.uniform(0, self._longest) if self._chance.random() < self._share else DEFAULT_LATENCY


class OldReads(Trouble):
    """A read, even a consistent one, is answered from the past: what a restored or broken etcd does."""

    def __init__(self, chance: Random, share: float = 0.1, oldest: float = 30.0) -> None:
        self._chance, self._share, self._oldest = chance, share, oldest

    def rewind(self, life: Life, request: Request) -> float:
        if "leases" in request.path or "configmaps" in request.path or self._chance.random() >= self._share:
            return 0.0  # an old Lease is the trial of API servers that trail; here it would only say: nobody leads
        return self._chance.uniform(0, self._oldest)


class TamperedEvents(Trouble):
    """Events are hidden, late with all behind them, late alone, or come twice."""

    def __init__(self, chance: Random, kinds: tuple[str, ...] = ("hide", "hold", "overtake", "repeat"), share: float = 0.1) -> None:
        self._chance, self._kinds, self._share = chance, kinds, share

    def event(self, life: Life, resource: str, event: WatchEvent) -> Delivery:
        if event.type in ("BOOKMARK", "ERROR") or self._chance.random() >= self._share:
            return Deliver.NOW
        seconds = self._chance.uniform(0.01, 10.0)
        match self._chance.choice(self._kinds):
            case "hide":
                return Deliver.DROP
            case "hold":
                return seconds / 2
            case "overtake":
                return Overtaken(seconds)
            case _:
                return Repeated(seconds)


Attack = Callable[[World, Random], Coroutine[Any, Any, None]]


async def kills(world: World, chance: Random) -> None:
    """Processes die at any time."""
    while True:
        await asyncio.sleep(chance.uniform(0.1, 15.0))
        chance.choice(world.operators).kill()


async def kills_at_steps(world: World, chance: Random) -> None:
    """Processes die at any await."""
    while True:
        await asyncio.sleep(chance.uniform(0.0, 8.0))
        operator = chance.choice(world.operators)
        if operator.lives:
            life = operator.life
            life.host.at_step(chance.randint(1, 300), life.kill)


async def freezes(world: World, chance: Random) -> None:
    """Processes stand still, shorter and longer than a lease, and go on where they were."""
    while True:
        await asyncio.sleep(chance.uniform(0.1, 10.0))
        operator = chance.choice(world.operators)
        operator.freeze()
        await asyncio.sleep(chance.choice((0.5, 2.5, 4.0, 20.0)))
        operator.thaw()


async def freezes_at_steps(world: World, chance: Random) -> None:
    """The leader stands still at any await, for longer than its lease."""
    while True:
        await asyncio.sleep(chance.uniform(0.0, 8.0))
        if life := world.leader:
            life.host.at_step(chance.randint(1, 100), life.host.freeze)
            await asyncio.sleep(chance.uniform(3.5, 15.0))
            if not life.over.is_set():
                life.host.thaw()


async def deposed(world: World, chance: Random) -> None:
    """Somebody gives the lease to a stranger, who never renews."""
    while True:
        await asyncio.sleep(chance.uniform(2.0, 15.0))
        if lease := world.cluster.find(*LEASE):
            world.cluster.patch(*LEASE, {"spec": {"holderIdentity": "stranger", "leaseTransitions": lease["spec"].get("leaseTransitions", 0) + 1}})


async def leases_deleted(world: World, chance: Random) -> None:
    """Somebody deletes the lease: for a moment the fence lets everybody write."""
    while True:
        await asyncio.sleep(chance.uniform(1.0, 15.0))
        if world.cluster.find(*LEASE):
            world.cluster.delete(*LEASE)


async def memory_lost(world: World, chance: Random) -> None:
    """The status is cleared by hand."""
    while True:
        await asyncio.sleep(chance.uniform(2.0, 30.0))
        if status := world.status():
            world.cluster.patch("managedservices", NAMESPACE, "web", {"status": dict.fromkeys(status)}, "status")


async def api_away(world: World, chance: Random) -> None:
    """No API server answers, for seconds to minutes."""
    while True:
        await asyncio.sleep(chance.uniform(1.0, 20.0))
        world.cluster.api_down = True
        await asyncio.sleep(chance.choice((0.5, 3.0, 30.0, 180.0)))
        world.cluster.api_down = False


async def compactions(world: World, chance: Random) -> None:
    """Watches break and their history is gone: 410."""
    while True:
        await asyncio.sleep(chance.uniform(0.5, 10.0))
        for life in world.lives:
            life.transport.break_streams()
        if chance.random() < 0.7:
            world.cluster.compact()


async def trailing(world: World, chance: Random) -> None:
    """Each process talks to an API server that is behind, by as much as it is: watches, and the lease that its fence sees."""
    while True:
        for life in world.lives:
            life.transport.faults.lag = chance.choice((0.0, 0.05, 0.5, 3.0, 20.0))
            life.transport.break_streams()
        await asyncio.sleep(chance.uniform(1.0, 20.0))


async def webhooks_broken(world: World, chance: Random) -> None:
    """A webhook of somebody else fails every create and update of pods for a while."""
    while True:
        await asyncio.sleep(chance.uniform(1.0, 15.0))
        repair = world.cluster.break_webhook("pods")
        try:
            await asyncio.sleep(chance.uniform(1.0, 20.0))
        finally:
            repair()


async def quota_short(world: World, chance: Random) -> None:
    """There is room for the pods that are there and no more; what is freed is given back late."""
    while True:
        await asyncio.sleep(chance.uniform(1.0, 15.0))
        hard = {"pods": str(max(1, len(world.pods())))}
        world.cluster.apply({"apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "short", "namespace": NAMESPACE}, "spec": {"hard": hard}})
        await asyncio.sleep(chance.uniform(1.0, 30.0))
        world.cluster.delete("resourcequotas", NAMESPACE, "short")


ATTACKS: dict[str, Attack] = {
    each.__name__: each
    for each in (
        kills,
        kills_at_steps,
        freezes,
        freezes_at_steps,
        deposed,
        leases_deleted,
        memory_lost,
        api_away,
        compactions,
        trailing,
        webhooks_broken,
        quota_short,
    )
}
ON_THE_WAY: dict[str, Callable[[Random], Trouble]] = {each.__name__: each for each in (LostReplies, Refusals, SlowRequests, OldReads, TamperedEvents)}


async def attack(name: str, world: World, chance: Random) -> None:
    """Carry out one kind of attack until cancelled; what it wanted to touch may be gone just then."""
    while True:
        try:
            await ATTACKS[name](world, chance)
        except DroverError:
            await asyncio.sleep(1.0)


def peace(world: World) -> None:
    """No trouble any more: all that is frozen goes on, every server answers at once and truly."""
    world.troubles.clear()
    world.cluster.api_down = False
    for quota in world.cluster.objects("resourcequotas", NAMESPACE):
        world.cluster.delete("resourcequotas", NAMESPACE, quota["metadata"]["name"])
    for operator in world.operators:
        operator.thaw()
    for life in world.lives:
        life.transport.faults.lag = 0.0
        life.transport.break_streams()
