# SPDX-License-Identifier: Apache-2.0
"""The strategies of spec.rollout, once for all proofs that go over each of them: a new strategy is one more line here."""

from collections.abc import Callable
from random import Random
from typing import Any, NamedTuple

Json = dict[str, Any]
STEPS = [{"weight": 25, "hold": "60s"}, {"pause": {}}, {"weight": 50, "hold": "10s"}, {"weight": 75, "hold": "60s"}]


class Strategy(NamedTuple):
    """Why it is a row of its own, its settings in spec.rollout where one example is enough, and settings by chance."""

    why: str
    settings: Json
    by_chance: Callable[[Random], Json] = lambda _: {}
    downtime: bool = False  # it may end all that serve
    steps: int = 0  # of `settings`
    surge: int = 0  # instances above the number at the most, in percent of it; 0: what spec.rollout.rolling allows


def steps_by_chance(chance: Random) -> Json:
    """One to five steps of growing weights, with and without a hold, and pauses anywhere among them."""
    weights = sorted(chance.randint(1, 99) for _ in range(chance.randint(1, 4)))
    holds = [chance.choice((None, None, "0s", "2s", "10s", "10m")) for _ in weights]
    steps: list[Json] = [{"weight": weight} | ({"hold": hold} if hold else {}) for weight, hold in zip(weights, holds, strict=True)]
    for _ in range(chance.choice((0, 0, 1, 1, 2))):
        steps.insert(chance.randint(0, len(steps)), {"pause": {}})
    return {"canary": {"steps": steps}}


def colours_by_chance(chance: Random) -> Json:
    """With and without a person, kept for nothing or for long."""
    return {"blueGreen": {"autoPromote": chance.random() < 0.5, "keepFor": chance.choice(("0s", "2s", "20s", "10m"))}}


STRATEGIES: dict[str, Strategy] = {
    "Rolling": Strategy("instances one by one, and nobody waits for anything but health", {}),
    "Recreate": Strategy("nobody serves for a while, and that is wanted", {}, downtime=True),
    "Canary": Strategy("shares that grow step by step, are held, and wait for a person", {"canary": {"steps": STEPS}}, steps_by_chance, steps=len(STEPS)),
    "BlueGreen": Strategy("two sets of full size, and one switch that a person allows", {"blueGreen": {"keepFor": "60s"}}, colours_by_chance, surge=100),
}


def rollout(name: str, settings: Json | None = None, **more: Any) -> Json:
    """spec.rollout of that strategy; the fields of all the others are taken away, where the service had one of them before."""
    row = STRATEGIES[name]
    fields = {field: None for each in STRATEGIES.values() for field in each.settings}
    return {"type": name, **fields, **(row.settings if settings is None else settings), **more}
