# SPDX-License-Identifier: Apache-2.0
"""One pass of an operator process, as the engine and the executor go about it, between two decisions.

A stage's writes go out at once and land in any order; the first one without effect keeps the later stages from running. The status is
told last, if at all: news are paced. What the process still has to do is a value, so that it can be cut off at any point.
"""

from typing import NamedTuple

from exhaustive.server import CONFLICT, DONE, EXISTS, aged_action, aged_service
from exhaustive.values import SERVICE, Action, Decision, Pod, Revision, Service, Stages, World


class Work(NamedTuple):
    """The rest of a pass: writes of the present stage, stages to come, and what is to be told of `base`, the service as it was read.

    `forced`: it is told at once, whatever the pace.
    """

    stage: tuple[Action, ...]
    later: Stages
    base: Service
    tell: Action | None
    forced: bool
    failed: bool = False
    wrote_service: bool = False


def begin(service: Service, decision: Decision, *, write_ahead: bool = True) -> Work | None:
    """The pass that carries out a decision; None when there is nothing to do. In one mutant Memory is not written ahead."""
    told = decision.told
    tell = Action("tell", seen=service, value=told, path=decision.path) if told != service.told else None
    forced = (decision.write_ahead and write_ahead) or decision.last
    stages = () if decision.write_ahead else decision.stages
    return _settled(Work((), stages, service, tell, forced))


def unanswered(service: Service, decision: Decision) -> Work | None:
    """The pass whose question got no answer: it tells what it knows."""
    return begin(service, decision._replace(stages=()))


def advanced(work: Work, action: Action, *, ok: bool, stops: bool = True) -> Work | None:
    """The pass after one of its writes; in one mutant it does not stop at a failure."""
    stage = tuple(each for each in work.stage if each != action)
    wrote = work.wrote_service or (ok and action.kind == SERVICE)
    return _settled(work._replace(stage=stage, failed=work.failed or (stops and not ok), wrote_service=wrote))


def _settled(work: Work) -> Work | None:
    """On to the next stage, or to the telling, or to the end. After a write of the service itself its status is left for the next pass."""
    if work.stage:
        return work
    if work.later and not work.failed:
        return work._replace(stage=work.later[0], later=work.later[1:])
    if work.tell is None or work.wrote_service:
        return None
    return Work((), (), work.base, work.tell, work.forced)


def succeeded(action: Action, outcome: str) -> bool:
    """What the executor takes for success: to meet what was to be made, and to miss what was to go."""
    if outcome in (DONE, EXISTS):
        return True
    return outcome != CONFLICT and action.verb in ("end", "forget")


def unseen(action: Action, outcome: str, world: World, cached: World) -> bool:
    """Whether the caches lack what a write was answered with, so that the guard must wait for it."""
    if action.verb == "try" or outcome == DONE:
        return outcome == DONE and action.verb != "try"
    if action.verb == "create":
        return next(each for each in world.pods if each.name == (action.letter, action.slot, action.former)) not in cached.pods
    if action.verb == "record":
        return next(each for each in world.revisions if each.letter == action.letter) not in cached.revisions
    if isinstance(action.seen, Pod):
        return action.seen.uid in [each.uid for each in cached.pods]
    if isinstance(action.seen, Revision):
        return action.seen.letter in [each.letter for each in cached.revisions]
    return not getattr(cached.owned, action.verb)


def aged(work: Work) -> Work:
    """The same pass after much time."""
    tell = work.tell
    base = aged_service(work.base) or work.base
    later = tuple(tuple(aged_action(each) for each in stage) for stage in work.later)
    return work._replace(stage=tuple(map(aged_action, work.stage)), later=later, base=base, tell=None if tell is None else aged_action(tell))


def told(work: Work | None) -> str:
    """The rest of a pass in words."""
    if work is None:
        return "nothing"
    stages = [", ".join(map(str, stage)) for stage in (work.stage, *work.later) if stage]
    return "; ".join(stages + ([str(work.tell)] if work.tell else []))
