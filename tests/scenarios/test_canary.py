# SPDX-License-Identifier: Apache-2.0
"""A canary at every instant: its share of discovery is never more than its step says, whatever happens to the new version, the operator or the hand."""

import asyncio
from collections.abc import Callable
from fractions import Fraction

import pytest
from scenarios.flows import STEPS, by_hand, promote, started, to_the_pause
from scenarios.world import NAMESPACE, World, play, service

WEIGHTS = (25, 50, 50, 100)  # that are asked for after so many steps; a pause asks for the one before it


class Shares:
    """Looks at discovery after each change; `problems` is what was too much, `seen` the shares of the new version in the order in which they came."""

    def __init__(self, world: World, image: str = "app:2.0") -> None:
        self.problems: list[str] = []
        self.seen: list[Fraction] = []
        self._world, self._image = world, image
        for resource in ("pods", "endpointslices", "managedservices"):
            world.cluster.on_change(resource, self._look)

    def _look(self) -> None:
        listed = set(self._world.watcher.ready_endpoints())
        images = [p["spec"]["containers"][0]["image"] for p in self._world.watcher.pods() if p["metadata"]["uid"] in listed]
        if not images:
            return
        share = Fraction(images.count(self._image), len(images))
        if not self.seen or share != self.seen[-1]:
            self.seen.append(share)
        told = self._world.status()
        if told.get("phase") == "Rollback":
            return  # on the way back only the direction counts
        step = told.get("rollout", {}).get("step", 0)
        most = max(Fraction(WEIGHTS[step], 100), Fraction(1, 4))  # one of four is the least that can be had of three and one
        if share > most:
            self.problems.append(f"{images.count(self._image)} of {len(images)} after {step} steps")


def played(act: Callable[[World, Shares], object]) -> Shares:
    found: list[Shares] = []

    async def scene(world: World) -> None:
        await started(world)
        found.append(Shares(world))
        await act(world, found[0])  # type: ignore[misc]

    play(scene)
    return found[0]


def test_the_share_follows_the_steps_and_never_runs_ahead():
    async def act(world: World, shares: Shares) -> None:
        await to_the_pause(world)
        assert world.status()["rollout"]["weight"] == {"wanted": 50, "actual": 50}
        promote(world, len(STEPS))
        await world.until(lambda: world.converged() and world.images() == {"app:2.0": 3})

    shares = played(act)
    assert shares.problems == []
    assert shares.seen == sorted(shares.seen), "it only grows"
    assert Fraction(1, 4) in shares.seen
    assert Fraction(1, 2) in shares.seen


def test_a_pause_lasts_until_somebody_goes_on():
    async def act(world: World, shares: Shares) -> None:
        await to_the_pause(world)
        await asyncio.sleep(10)  # until the last counts are told
        writes = len(world.cluster.writes)
        share = shares.seen[-1]
        await asyncio.sleep(3600)
        assert world.status()["summary"] == "WaitsForPromotion"
        assert shares.seen[-1] == share
        assert [w for w in world.cluster.writes[writes:] if w.user.startswith("drover") and not w.dry_run] == [], "it waits without a write"

    assert played(act).problems == []


def test_a_hold_is_as_long_as_it_says():
    async def act(world: World, _: Shares) -> None:
        begun = world.cluster.now()
        await to_the_pause(world)
        assert 10 <= world.cluster.now() - begun <= 25

    played(act)


def test_after_an_abort_the_share_only_falls():
    async def act(world: World, shares: Shares) -> None:
        revision = await to_the_pause(world)
        before = len(shares.seen)
        by_hand(world, "aborted", revision)
        await world.until(lambda: world.images() == {"app:1.0": 3} and len(world.pods()) == 3)
        down = shares.seen[before - 1 :]
        assert down == sorted(down, reverse=True)
        assert down[-1] == 0
        await world.until(lambda: world.status().get("phase") == "Run")
        assert world.status()["summary"] == "Aborted"

    assert played(act).problems == []


def test_what_was_aborted_is_tried_again_when_the_word_is_taken_back():
    async def act(world: World, _: Shares) -> None:
        by_hand(world, "aborted", await to_the_pause(world))
        await world.until(lambda: world.status().get("summary") == "Aborted" and world.status().get("phase") == "Run")
        world.cluster.patch("managedservices", NAMESPACE, "web", {"metadata": {"annotations": {"drover.dev/aborted": None}}})
        await world.until(lambda: world.status().get("summary") == "WaitsForPromotion", within=120)

    assert played(act).problems == []


def test_a_promotion_counts_for_one_rollout_alone():
    """Back to the old template and forth again: the second rollout to the same revision begins with its first step, and waits at its pause."""

    async def act(world: World, _: Shares) -> None:
        await to_the_pause(world)
        promote(world, len(STEPS))
        await world.until(lambda: world.converged() and world.images() == {"app:2.0": 3})
        world.cluster.apply(service(image="app:1.0", rollout={"type": "Rolling"}))
        await world.until(lambda: world.converged() and world.images() == {"app:1.0": 3})
        await to_the_pause(world)
        await asyncio.sleep(600)
        assert world.status()["summary"] == "WaitsForPromotion"

    played(act)


def test_a_promotion_does_not_count_for_the_next_version():
    """What was said of the last canary says nothing of the next one: it begins with its first step, and waits at its pause."""

    async def act(world: World, _: Shares) -> None:
        await to_the_pause(world)
        promote(world, len(STEPS))
        await world.until(lambda: world.converged() and world.images() == {"app:2.0": 3})
        await to_the_pause(world, "app:3.0")

    played(act)


def test_what_failed_is_tried_again_when_somebody_says_so():
    async def act(world: World, _: Shares) -> None:
        world.cluster.set_image_behaviour("app:2.0", "never-ready")
        world.cluster.apply(service(image="app:2.0", rollout={"type": "Canary", "progressDeadline": "30s", "canary": {"steps": STEPS}}))
        await world.until(lambda: world.status().get("summary") == "RolledBack" and world.status().get("phase") == "Run", within=300)
        world.cluster.set_image_behaviour("app:2.0", "normal")
        by_hand(world, "retried", "2026-01-01T00:00:00Z")
        await world.until(lambda: world.status().get("summary") == "WaitsForPromotion", within=120)

    assert played(act).problems == []


@pytest.mark.parametrize("replicas", [1, 2, 5, 10])
def test_every_size_reaches_the_pause_and_the_end(replicas: int):
    async def act(world: World, _: Shares) -> None:
        world.cluster.scale(NAMESPACE, "web", replicas)
        await world.until(lambda: world.converged() and len(world.pods()) == replicas)
        steps = [{"weight": 10}, {"weight": 40}, {"pause": {}}]
        world.cluster.apply(service(image="app:2.0", replicas=replicas, rollout={"type": "Canary", "canary": {"steps": steps}}))
        await world.until(lambda: world.status().get("summary") == "WaitsForPromotion", within=120)
        promote(world, 100)
        await world.until(lambda: world.converged() and world.images() == {"app:2.0": replicas})

    played(act)
