# SPDX-License-Identifier: Apache-2.0
"""The story of `make demo-canary`, in virtual time: its own YAML, its own made-up numbers, and the events that it tells."""

import json
from typing import Any
from urllib.parse import urlsplit

import yaml
from scenarios.world import NAMESPACE, World, play

from drover_operator.core.plan import Answer, Ask
from tools.demo import delivery, figures

Json = dict[str, Any]


def declared() -> list[Json]:
    """What the demonstration applies, in the namespace of this world."""
    bodies = list(yaml.safe_load_all(delivery.manifests("http://127.0.0.1:1")))
    return [{**each, "metadata": {**each["metadata"], "namespace": NAMESPACE}} for each in bodies if each["kind"] != "Namespace"]


def stand_in(world: World, ask: Ask) -> Answer:
    parts = urlsplit(ask.url)
    pods = world.pods(delivery.NAME)
    status, body = figures.answer(
        f"{parts.path}?{parts.query}", lambda revision: [each for each in pods if each["metadata"]["labels"]["drover.dev/revision"] == revision], ask.at
    )
    return Answer(at=ask.at, status=status, body=json.dumps(body).encode())


async def rolled(world: World, version: str) -> delivery.Seen:
    def now() -> Json:
        return world.cluster.get("managedservices", NAMESPACE, delivery.NAME)

    seen = delivery.Seen(last=now(), version=version)
    image = f"{delivery.IMAGE}:{version}"
    body = declared()[-1]
    body["spec"]["template"]["spec"]["containers"][0]["image"] = image
    world.cluster.apply(body)
    await world.until(lambda: seen.look(now(), 0.0), within=90)
    return seen


def test_the_good_version_is_promoted_and_the_bad_one_is_taken_back_at_the_second_share() -> None:
    async def act(world: World) -> None:
        world.outside = lambda ask: stand_in(world, ask)
        world.operator()
        for body in declared():
            world.cluster.apply(body)
        await world.until(lambda: world.converged(delivery.NAME))
        good = await rolled(world, delivery.GOOD)
        told = [words.partition(", with")[0] for _, words in good.events]
        assert told[:6] == ["20 % reached", "20 % passed", "40 % reached", "40 % passed", "80 % reached", "80 % passed"]
        assert told[6:] == [delivery.PROMOTED, delivery.ENDED]
        assert world.images(delivery.NAME) == {f"{delivery.IMAGE}:{delivery.GOOD}": 10}
        bad = await rolled(world, delivery.BAD)
        told = [words.partition(", with")[0] for _, words in bad.events]
        assert told == ["20 % reached", "20 % passed", "40 % reached", "40 % failed by the gate 'errors'", delivery.WHOLE, delivery.ENDED]
        assert world.images(delivery.NAME) == {f"{delivery.IMAGE}:{delivery.GOOD}": 10}
        assert (bad.most, bad.fewest) == (4, 10)
        (failed,) = [each for each in bad.last["status"]["rollout"]["checks"] if each["state"] == "Failed"]
        lines = delivery.evidence(failed)
        assert lines[0].startswith("errors at step 2, Failed: 2 bad measurements, 1 tolerated")
        assert len(lines) == 3

    play(act)
