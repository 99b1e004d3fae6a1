# SPDX-License-Identifier: Apache-2.0
"""The story of one change can be read by its id from the logs of all operators, whatever happens to them in between."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

import structlog
from scenarios.world import NAMESPACE, World, play, service

Lines = list[dict[str, Any]]


def told(scenario: Callable[[World], Awaitable[None]]) -> Lines:
    """What all operators of a scenario have logged about keys, in order, with their context."""
    lines: Lines = []

    def take(_: object, __: str, event: MutableMapping[str, Any]) -> Any:
        if event.get("key"):
            lines.append(dict(event))
        raise structlog.DropEvent

    async def listening(world: World) -> None:
        wrapper = structlog.make_filtering_bound_logger(logging.INFO)
        structlog.configure(processors=[structlog.contextvars.merge_contextvars, structlog.processors.add_log_level, take], wrapper_class=wrapper)
        await scenario(world)

    play(listening)
    return lines


async def running(world: World, **spec: Any) -> None:
    world.operator("a")
    world.operator("b")
    world.cluster.apply(service(replicas=6, **spec))
    await world.until(world.converged)


def change(world: World, **spec: Any) -> None:
    world.cluster.patch("managedservices", NAMESPACE, "web", {"spec": spec})


def template(image: str) -> dict[str, Any]:
    return {"spec": {"containers": [{"name": "server", "image": image}]}}


def of_the_rollout(lines: Lines) -> tuple[str, Lines]:
    """The id under which instances of version 2 were first wanted, and its lines."""
    begun = next(line for line in lines if line["event"] == "notice" and line["reason"] == "Update")
    return begun["change"], [line for line in lines if line["change"] == begun["change"]]


def halfway(world: World) -> bool:
    return 1 <= world.images().get("app:2.0", 0) <= 3


def test_a_rollout_is_one_story_across_a_take_over():
    """The leader is killed in mid-rollout: its lines and those of the next leader have one id, two epochs, and are in order."""

    async def scenario(world: World) -> None:
        await running(world)
        change(world, template=template("app:2.0"))
        await world.until(lambda: halfway(world))
        assert world.leader is not None
        world.leader.kill()
        await world.until(world.converged)

    lines = told(scenario)
    id_, story = of_the_rollout(lines)
    epochs = [line["epoch"] for line in story]
    assert set(epochs) == {1, 2} and epochs == sorted(epochs)
    assert len(id_) == 10
    notices = [line["reason"] for line in story if line["event"] == "notice"]
    assert (notices[0], notices[-1]) == ("Update", "Run"), "from its first word to its last"
    made = [line for line in story if line["event"] == "done" and line["step"].startswith("create")]
    assert len([line for line in made if "web-" in line["step"]]) >= 6, "every instance of the new revision"
    ended = [line["step"] for line in story if line["event"] == "done" and line["step"].startswith("end ")]
    assert len(ended) >= 6, "and the end of every old one, which drains after the rollout is done"
    first, last = lines.index(story[0]), lines.index(story[-1])
    strangers = [line for line in lines[first:last] if line["change"] != id_ and line["event"] == "done"]
    assert strangers == [], "nothing that was done meanwhile is missing in it"
    assert {line["generation"] for line in story} == {2}


def test_a_scale_and_a_pause_in_its_midst_do_not_cut_the_story():
    async def scenario(world: World) -> None:
        await running(world)
        change(world, template=template("app:2.0"))
        await world.until(lambda: halfway(world))
        change(world, replicas=7)
        await world.until(lambda: len(world.live()) >= 7)
        change(world, paused=True)
        await world.until(lambda: world.status().get("rollout", {}).get("paused") is True)
        change(world, paused=False)
        await world.until(world.converged)

    lines = told(scenario)
    _, story = of_the_rollout(lines)
    notices = [line["note"] for line in story if line["event"] == "notice"]
    assert notices[0].startswith("Run -> Update")
    assert any(note.startswith("Update -> ") for note in notices), "up to where the rollout ends; the rest of the scale is another change"
    assert {line["generation"] for line in story} >= {2, 5}, "the generation says which edit; the id holds them together"


def test_a_rollback_belongs_to_the_change_that_failed():
    async def scenario(world: World) -> None:
        await running(world, rollout={"progressDeadline": "30s"})
        change(world, template={"metadata": {"annotations": {"drover.dev/simulate": "never-ready"}}, **template("app:2.0")})
        await world.until(lambda: world.status().get("phase") == "Rollback", 200)
        await world.until(lambda: world.status().get("phase") == "Run", 200)

    _, story = of_the_rollout(told(scenario))
    reasons = [line["reason"] for line in story if line["event"] == "notice"]
    assert reasons.index("Update") < reasons.index("Rollback") < len(reasons) - 1 - reasons[::-1].index("Run")


def test_two_changes_have_two_ids_and_so_have_two_services():
    async def scenario(world: World) -> None:
        await running(world)
        world.cluster.apply(service("api", replicas=1))
        await world.until(lambda: world.status("api").get("phase") == "Run")
        change(world, template=template("app:2.0"))
        await world.until(world.converged)
        change(world, template=template("app:3.0"))
        await world.until(world.converged)
        change(world, replicas=2)
        await world.until(world.converged)

    lines = told(scenario)
    ids = {key: list(dict.fromkeys(line["change"] for line in lines if line["key"] == key)) for key in (f"{NAMESPACE}/web", f"{NAMESPACE}/api")}
    assert not set(ids[f"{NAMESPACE}/web"]) & set(ids[f"{NAMESPACE}/api"])
    updates = [line["change"] for line in lines if line["event"] == "notice" and line["reason"] == "Update"]
    scale = next(line["change"] for line in lines if line["event"] == "notice" and line["reason"] == "Scale")
    assert len({*updates, scale}) == 3


def test_events_carry_the_id_of_the_log():
    events: list[dict[str, Any]] = []

    async def scenario(world: World) -> None:
        await running(world)
        change(world, template=template("app:2.0"))
        await world.until(world.converged)
        await world.until(lambda: any(each["reason"] == "Run" for each in world.cluster.objects("events.events.k8s.io")))
        events.extend(world.cluster.objects("events.events.k8s.io"))

    lines = told(scenario)
    notices = {(line["reason"], line["change"]) for line in lines if line["event"] == "notice"}
    assert {(each["reason"], each["metadata"]["annotations"]["drover.dev/change"]) for each in events} <= notices
    assert len(events) >= 3


KEYS = {"controller", "key", "generation", "change", "reconcile", "epoch", "level"}


def test_every_line_of_a_pass_has_the_same_keys_and_an_idle_pass_has_no_line():
    looked: list[int] = []

    async def scenario(world: World) -> None:
        await running(world)
        change(world, template=template("app:2.0"))
        await world.until(world.converged)
        await asyncio.sleep(30)
        before = passes(world)
        change(world, revisionHistoryLimit=9)  # something to look at, and nothing to do
        await asyncio.sleep(1500)
        looked.append(passes(world) - before)

    lines = told(scenario)
    assert looked[0] >= 2, "it has been looked at"
    assert [line for line in lines if line["generation"] == 3] == []
    for line in lines:
        assert line.keys() >= KEYS, line
        assert line["change"], "what is told belongs to a change"
    assert {line["event"] for line in lines} <= {"done", "notice", "look again", "refused", "pass failed"}


def passes(world: World) -> int:
    return sum(engine._passes for life in world.lives if life.process for engine in life.process.engines)
