# SPDX-License-Identifier: Apache-2.0
"""What the process is doing right now, as /state tells it: who leads, what waits, who works on what, how fresh the caches are.

Bounded, whatever the cluster holds: of many keys the worst are named and the rest counted. Names and reasons only, never bodies or the
server's messages, which may quote a template. The steps of one key are decided anew from the caches: that is what the next pass would
do, and it costs nothing to keep.
"""

import asyncio
from typing import Any

from drover_operator.kube.cache import Key
from drover_operator.runtime.election import Election
from drover_operator.runtime.engine import Engine
from drover_operator.runtime.fence_probe import FenceProbe
from drover_operator.runtime.measures import installed
from drover_operator.runtime.queue import Lane

Json = dict[str, Any]
KEYS = 100  # most keys that are named in one list
STEPS = 100


def state(election: Election, fence: FenceProbe, engines: tuple[Engine, ...], key: str = "") -> Json:
    """The whole process, or all that is known of `key`, NAMESPACE/NAME.

    Raises:
        LookupError: no controller has such a key; the words are for a person.
    """
    if key:
        return _of_key(engines, key)
    return {
        "version": installed(),
        "identity": election.identity,
        "lease": _lease(election),
        "fence": str(fence.standing),
        "controllers": {engine.controller.name: _controller(engine) for engine in engines},
    }


def _lease(election: Election) -> Json:
    term = election.term if election.leading else None
    return {
        "name": election.name,
        "leading": term is not None,
        "holder": election.holder,
        "epoch": term.epoch if term else None,
        "secondsLeft": round(term.valid_until - asyncio.get_running_loop().time(), 1) if term else None,
    }


def _controller(engine: Engine) -> Json:
    queue, now = engine.queue, asyncio.get_running_loop().time()
    worst = sorted(queue.failures.items(), key=lambda each: -each[1])[:KEYS]
    return {
        "queue": {lane.name.lower(): count for lane, count in queue.lengths().items()},
        "oldestSeconds": _short(queue.oldest),
        "backoff": {
            "keys": len(queue.failures),
            "worst": [{"key": "/".join(key), "failures": count, "nextInSeconds": _short(queue.due(key))} for key, count in worst],
        },
        "workers": [{"key": "/".join(key), "seconds": _short(now - begun)} for key, begun in engine.running.items()],
        "caches": {
            str(each.cache.resource): {
                "synced": each.synced.is_set(),
                "objects": len(each.cache),
                "watermark": each.cache.watermark,
                "ageSeconds": _short(each.age),
            }
            for each in engine.reflectors
        },
    }


def _of_key(engines: tuple[Engine, ...], key: str) -> Json:
    namespace, _, name = key.partition("/")
    wanted: Key = (namespace, name)
    found = {engine.controller.name: _known(engine, wanted) for engine in engines if engine.primary.get(wanted) is not None}
    if not found:
        raise LookupError(f"no controller has an object '{key}'; give NAMESPACE/NAME")
    return {"key": key, "controllers": found}


def _known(engine: Engine, key: Key) -> Json:
    queue, begun = engine.queue, engine.running.get(key)
    return {
        "waitsIn": next((lane.name.lower() for lane in Lane if queue.lane_of(key) is lane), None),
        "nextInSeconds": _short(queue.due(key)),
        "failures": queue.failures.get(key, 0),
        "workedOnSeconds": None if begun is None else _short(asyncio.get_running_loop().time() - begun),
        "change": engine.changes.last(key),
        "refused": {action: verdict.reason for action, verdict in engine.verdicts(key).items() if verdict.refused},
        "plan": _plan(engine, key),
    }


def _plan(engine: Engine, key: Key) -> Json | None:
    """What a pass would do now; None when there is nothing to decide, or nobody can."""
    plan = engine.would(key)
    if plan is None:
        return None
    return {
        "steps": [{"step": each.step, "reason": each.reason} for each in plan.actions[:STEPS]],
        "waits": [{"step": each.step, "reason": each.reason} for each in plan.deferred[:STEPS]],
        "remembers": plan.write_ahead,
        "lookAgainInSeconds": _short(plan.wake_after),
    }


def _short(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds, 3)
