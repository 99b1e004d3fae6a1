# SPDX-License-Identifier: Apache-2.0
"""What must hold: of every world, and of every write at the moment at which it is taken.

A budget is judged when something is done about it, against all specs from the one that was decided on to the one that is there now:
when a user scales in, there are too many for a while, and that is nobody's fault.
"""

from collections import Counter
from typing import NamedTuple

from exhaustive.values import IN, OUT, Action, Pod, Spec, Told, World

from drover_controllers.service.lifecycle import EDGES


class Measure(NamedTuple):
    """What a write is measured by: the specs from the one decided on to the present one; how many pods the environment took; how many
    writes happened, or were held up, without the knowledge of their sender; what a failed revision is blocked under, by spec; whether
    the process learns of discovery no later than of pods: else it cannot know that a pod which it ends has just been listed."""

    specs: tuple[Spec, ...]
    broken: int = 0
    unknown: int = 0
    digests: tuple[str, ...] = ()
    prompt: bool = True


def of_world(world: World) -> str:
    """What is wrong with what is stored, "" when nothing is."""
    serving = [str(pod) for pod in world.pods if pod.serves] if world.service is None else []
    return f"in service without a service: {serving}" if serving else ""


def of_write(before: World, after: World, action: Action, by: Measure) -> str:
    """What is wrong with a write that was taken, "" when nothing is."""
    match action.verb:
        case "create" | "enter":
            return _filled(before, after, action, by)
        case "leave" | "end":
            return _fewer(before, after, action, by) or _ended(before, action, by)
        case "tell":
            return _story(before, action) or _blocked(after, by)
        case "block":
            return _blocked(after, by)
    return ""


def _blocked(after: World, by: Measure) -> str:
    """A revision that serves as the good one must not be marked as one that failed: nobody could go back to it."""
    service = after.service
    if service is None or by.unknown:
        return ""
    stable = next((each for each in after.revisions if each.letter == service.told.memory.stable), None)
    return f"the stable revision {stable.letter} is blocked" if stable and stable.blocked == by.digests[service.index] else ""


def _filled(before: World, after: World, action: Action, by: Measure) -> str:
    if action.verb == "create" and before.service is None and not by.unknown:
        return "a pod of a service that is gone"
    places = Counter((pod.letter, pod.slot) for pod in live(after))
    if (twice := sum(places.values()) - len(places)) > by.unknown:
        return f"a slot is filled twice, {twice} in all: {dict(places)}"
    most = max(each.most for each in by.specs) + by.unknown
    return f"{len(live(after))} instances, at most {most}" if len(live(after)) > most else ""


def _fewer(before: World, after: World, action: Action, by: Measure) -> str:
    """Whether one that is sent requests leaves too few behind."""
    pod = _subject(before, action)
    if pod not in available(before):
        return ""
    left = len(available(after))
    fewest = min(each.fewest for each in by.specs) - by.broken - by.unknown
    return f"{left} available, at least {fewest}" if left < fewest else ""


def _ended(before: World, action: Action, by: Measure) -> str:
    pod = _subject(before, action)
    if action.verb != "end" or pod is None or pod.phase == "Failed":
        return ""
    if pod.ready:
        return f"{pod} is in service and ends"
    overdue = pod.gate == OUT and pod.age > 0
    return f"{pod} is still listed and ends" if by.prompt and pod.uid in before.listed and not overdue else ""


def _subject(before: World, action: Action) -> Pod | None:
    return next((each for each in before.pods if isinstance(action.seen, Pod) and each.uid == action.seen.uid), None)


def _story(before: World, action: Action) -> str:
    """The history of phases is a path, and goes on from where it stood."""
    phase = before.service.told.phase if before.service else None
    for source, to in action.path:
        if source != phase or to not in EDGES[phase]:
            return f"after phase {phase} comes {source} -> {to}"
        phase = to
    return ""


def live(world: World) -> list[Pod]:
    return [pod for pod in world.pods if pod.live]


def available(world: World) -> list[Pod]:
    """Pods that are healthy and are sent requests."""
    return [pod for pod in world.pods if pod.serves and pod.healthy and pod.gate == IN and pod.uid in world.listed]


def reached(world: World, specs: tuple[Spec, ...], digests: tuple[str, ...], hopeless: frozenset[str]) -> str:
    """What is missing of the goal, "" at the goal: the wanted number of the wanted revision in service, and nothing else.

    When the wanted revision failed, it is the stable one; when there is none either, the wanted pods are there and the phase is Failed.
    While a rollout is paused any mix of revisions will do.
    """
    service = world.service
    if service is None:
        return f"pods are left: {[str(pod) for pod in world.pods]}" if world.pods else ""
    if service.deleting:
        return "the service is still there"
    told, spec = service.told, specs[service.index]
    blocked = any(each.letter == spec.letter and each.blocked == digests[service.index] for each in world.revisions)
    letter = told.memory.stable if (blocked or spec.letter in hopeless) and told.memory.stable else spec.letter
    if letter in hopeless:
        return "" if told.phase == "Failed" and told.observed == service.index else f"phase {told.phase}, not Failed"
    if spec.paused:
        return "" if len(world.pods) == len(available(world)) == spec.replicas else f"{len(available(world))} of {spec.replicas} in service while paused"
    return _whole(world, letter, spec.replicas) or _at_rest(told, letter, service.index, spec.replicas)


def _whole(world: World, letter: str, replicas: int) -> str:
    there = [pod.letter for pod in world.pods]
    if there != [letter] * replicas or len(available(world)) != replicas:
        return f"{replicas} of {letter} in service are wanted; there are {there}, {len(available(world))} in service"
    return "" if len(world.listed) == replicas and all(world.owned) else f"discovery lists {world.listed}"


def _at_rest(told: Told, letter: str, index: int, replicas: int) -> str:
    memory = told.memory
    rests = told.phase == "Run" and told.observed == index and memory.stable == memory.target == letter and memory.settled == replicas
    return "" if rests else f"what is told is not the end: {told}"
