# SPDX-License-Identifier: Apache-2.0
"""A trial: one sequence from a first spec, played to its end, judged, compared with a fresh cluster, taken back, deleted.

A trial that fails is made smaller by leaving out operations as long as the same oracle fails.
"""

import asyncio
import json
import signal
import traceback
from collections import Counter
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass, field
from typing import Any
from unittest.mock import patch

from scenarios import crew
from scenarios.fuzz.acts import MSVC, mend
from scenarios.fuzz.arena import Arena, Json, Moot, demanded, listening, wish
from scenarios.fuzz.operations import Operation, Step, operations, sequence
from scenarios.fuzz.oracles import LONGEST, QUIET, SHORT, STANDING, differences, doomed, hasty, judge, left_behind, patience, settle, shape
from scenarios.fuzz.specs import FIRST
from scenarios.invariants import NAMESPACE, kstatus

from drover_operator.kube.errors import ApiError
from drover_operator.runtime.election import Timing
from drover_operator.testing import virtualtime

PACE = Timing(duration=15.0, renew_deadline=10.0, retry=2.0)  # as in production: the leases of other scenarios cost more than the work here
CPU_SECONDS = 300.0  # of one run; thousands of pods take half a minute


class Spin(KeyboardInterrupt):
    """A run took too long; raised from a signal through the loop, which lets nothing else through."""


@dataclass
class Trial:
    """What is played, and what came of it. `log` has a line for each operation."""

    first: str
    steps: Sequence[Step]
    seed: int = 1
    problems: list[str] = field(default_factory=list)
    log: list[str] = field(default_factory=list)
    tally: Counter[str] = field(default_factory=Counter)
    trouble: bool = False
    final: Json | None = None
    verdict: str = ""
    end: Json = field(default_factory=dict)

    @property
    def oracles(self) -> set[str]:
        """The oracles that failed."""
        return {each.partition(":")[0] for each in self.problems}


def trial(first: str, steps: Sequence[Step], seed: int = 1) -> Trial:
    """Play a sequence and judge it."""
    result = Trial(first, steps, seed)
    with listening() as heard:
        _run(result, lambda arena: _play(arena, result))
        if result.final is not None:
            _compare(result, *fresh(result.final))
    result.problems += heard
    return result


def of_seed(seed: int) -> Trial:
    """The trial of a seed."""
    return trial(*sequence(seed), seed)


def sweep(first: str, steps: Sequence[Step]) -> Trial:
    """Play operations one by one on a service at rest: each must be told or made good, and leave no trace when it is taken back."""
    result = Trial(first, steps)
    with listening() as heard:
        _run(result, lambda arena: _sweep(arena, result))
    result.problems += heard
    return result


def smaller(failed: Trial) -> Trial:
    """The same failure with fewer operations, none of which can be left out."""
    best, index = failed, 0
    while index < len(best.steps):
        less = trial(best.first, _without(best.steps, index), best.seed)
        if less.oracles & failed.oracles:
            best = less
        else:
            index += 1
    return best


def _without(steps: Sequence[Step], index: int) -> list[Step]:
    """The steps but one; those that follow keep their time."""
    rest = list(steps[index + 1 :])
    if rest:
        rest[0] = Step(rest[0].name, rest[0].pause + steps[index].pause)
    return [*steps[:index], *rest]


def _run(result: Trial, scenario: Callable[[Arena], Coroutine[Any, Any, None]]) -> None:
    """One world in virtual time; a spin in it is ended after CPU_SECONDS."""

    async def main() -> None:
        arena = Arena(result.seed, FIRST[result.first])
        await arena.cluster.start()
        try:
            await scenario(arena)
        finally:
            result.problems += await arena.end()

    before = signal.signal(signal.SIGVTALRM, _spun)
    signal.setitimer(signal.ITIMER_VIRTUAL, CPU_SECONDS, 5.0)
    try:
        with patch.object(crew, "TIMING", PACE):
            virtualtime.run(main)
    except Spin:
        result.problems.append(f"spin: no end after {CPU_SECONDS:.0f} s of the processor")
    except Exception:  # noqa: BLE001  whatever breaks, the simulator or a judge: it belongs to this seed, and the others go on
        result.problems.append(f"broken: {traceback.format_exc(limit=-4)}")
    finally:
        signal.setitimer(signal.ITIMER_VIRTUAL, 0.0)
        signal.signal(signal.SIGVTALRM, before)


def _spun(*_: Any) -> None:
    raise Spin


async def _begin(arena: Arena, result: Trial) -> Json:
    """The first spec, reached; answers its shape."""
    arena.operator()
    arena.declare(FIRST[result.first])
    result.problems += [*await settle(arena, SHORT), *judge(arena)]
    return shape(arena)


async def _play(arena: Arena, result: Trial) -> None:
    begin = await _begin(arena, result)
    for step in result.steps:
        await asyncio.sleep(step.pause)
        _perform(arena, operations()[step.name], step, result)
    result.problems += await _calm(arena)
    result.final = wish(arena.object) if arena.object else None
    result.end, result.verdict = shape(arena), kstatus(arena.object or {"metadata": {"deletionTimestamp": ""}})
    result.log.append(f"the end: {result.verdict}, {arena.status().get('summary')}")
    result.problems += [*await _back(arena, result, begin), *await _away(arena)]


async def _sweep(arena: Arena, result: Trial) -> None:
    begin = await _begin(arena, result)
    for step in result.steps:
        if not _perform(arena, operations()[step.name], step, result):
            continue
        await asyncio.sleep(step.pause)
        problems = [*await _calm(arena, SHORT), *await _back(arena, result, begin)] if not step.name.startswith("status.") else judge(arena)
        result.problems += [f"{each} ({step.name})" for each in problems or [f"back: {each}" for each in differences(begin, shape(arena))]]
    result.problems += await _away(arena)


def _perform(arena: Arena, operation: Operation, step: Step, result: Trial) -> bool:
    """Carry out one operation and note what the API server made of it; whether it was accepted."""
    arena.make_room()
    storage = arena.cluster.server.storage
    before, said = storage.revision, "accepted"
    try:
        operation.do(arena)
    except Moot as why:
        said = f"moot, {why}"
    except ApiError as error:
        said = f"refused, {error}"
        if storage.revision != before and operation.touches != operation.name:  # an act may be several requests
            result.problems.append(f"refused: '{step.name}' was refused and changed something")
    if operation.expect == "refused" and said == "accepted":
        result.problems.append(f"schema: '{step.name}' was accepted")
    result.trouble |= operation.trouble and said == "accepted"
    result.tally[said.partition(",")[0]] += 1
    result.log.append(f"+{step.pause:g} s  {step.name} -> {said[:200]}")
    return said == "accepted"


async def _calm(arena: Arena, quiet: float = QUIET) -> list[str]:
    """Clear the way, bring the service back if it was deleted, and wait for the end."""
    for _ in range(2):  # what is freed by the first may be in the way of the second
        mend(arena)
        await asyncio.sleep(2.0)
    problems = await _gone(arena) if _leaving(arena) else []
    if arena.object is None:
        arena.declare(arena.declared, ruled=False)
    problems += [*await settle(arena, quiet), *judge(arena)]
    if arena.sound is not None:
        arena.declare(arena.sound, ruled=False)
        problems += [*await settle(arena, quiet), *judge(arena)]
    return problems


def _leaving(arena: Arena) -> bool:
    """Whether the service is gone or going, or its namespace is."""
    places = (arena.object, arena.cluster.find("namespaces", "", NAMESPACE))
    return any(each is None or "deletionTimestamp" in each["metadata"] for each in places)


async def _gone(arena: Arena) -> list[str]:
    """A deletion ends, and leaves nothing behind."""
    found = arena.object
    within = 400.0 + (min(LONGEST, patience(found["spec"])) if found else 0.0)
    try:
        await arena.cluster.until(lambda: not _leaving(arena) or (arena.object is None and not left_behind(arena) and _namespace_ended(arena)), within)
    except TimeoutError:
        mend(arena)
        return [f"gone: not within {within:.0f} s", *left_behind(arena)]
    return []


def _namespace_ended(arena: Arena) -> bool:
    found = arena.cluster.find("namespaces", "", NAMESPACE)
    return found is None or "deletionTimestamp" not in found["metadata"]


async def _back(arena: Arena, result: Trial, begin: Json) -> list[str]:
    """Going back to the first spec leads back to its state."""
    arena.declare(FIRST[result.first], ruled=False)  # even from a mode that may not be changed
    problems = [*await settle(arena, SHORT), *judge(arena)]
    if arena.status().get("summary") == "RolledBack" and result.trouble:
        nudged = {**FIRST[result.first]["spec"], "rollout": {**FIRST[result.first]["spec"]["rollout"], "progressDeadline": "31s"}}
        arena.declare({**FIRST[result.first], "spec": nudged}, ruled=False)  # given up in times of trouble: a changed setting tries it again
        problems = [*await settle(arena, SHORT), *judge(arena)]
    return problems or [f"back: {each}" for each in differences(begin, shape(arena))]


async def _away(arena: Arena) -> list[str]:
    """Deleting the service leaves nothing."""
    arena.cluster.delete(*MSVC)
    return await _gone(arena)


_fresh: dict[str, tuple[str, Json, list[str]]] = {}


def fresh(manifest: Json) -> tuple[str, Json, list[str]]:
    """Verdict and shape of a cluster that has seen nothing but this manifest, and what was wrong there."""
    key = json.dumps(manifest, sort_keys=True)
    if key not in _fresh:
        _fresh[key] = _fresh_run(manifest)
    return _fresh[key]


def _fresh_run(manifest: Json) -> tuple[str, Json, list[str]]:
    result = Trial("small", ())

    async def scenario(arena: Arena) -> None:
        arena.operator()
        arena.declare(manifest, ruled=False)
        result.problems += [*await settle(arena, SHORT), *judge(arena)]
        result.end, result.verdict = shape(arena), kstatus(arena.object or {"metadata": {"deletionTimestamp": ""}})

    _run(result, scenario)
    return result.verdict, result.end, result.problems


def _compare(result: Trial, verdict: str, wanted: Json, problems: list[str]) -> None:
    """The end must not depend on the path, where the declared state can be reached at all."""
    result.problems += [f"{each} (in a fresh cluster)" for each in problems]
    spec = result.final["spec"] if result.final else {}
    result.tally[f"end: {result.verdict}"] += 1
    if verdict != "Current" or spec.get("paused") or "pin" in spec or not result.end:
        return
    result.tally["compared"] += 1
    if result.verdict == "Current":
        result.problems += [f"path: {each}" for each in differences(wanted, result.end)]
    elif not _allowed(result, spec):
        result.problems.append(f"path: a fresh cluster reaches it, here it ends in {result.end['status']['summary']}")


def _allowed(result: Trial, spec: Json) -> bool:
    """Whether the end may differ: a revision was given up in times of trouble, its deadline or its gates leave it no chance, or it waits for a person.

    The first deployment of a fresh cluster knows neither steps nor windows nor routes.
    """
    summary = result.end["status"]["summary"]
    given_up = summary == "RolledBack" and (result.trouble or hasty(spec) or doomed(spec))
    return given_up or summary in STANDING or patience(spec) > LONGEST or demanded(spec) > 300
