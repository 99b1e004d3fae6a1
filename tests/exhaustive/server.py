# SPDX-License-Identifier: Apache-2.0
"""The API server and the world around it, small: what a write does to what is stored, and what everybody else does.

A write on an object names the value that was seen; the server refuses it when the object has another one now (uid and version
differ). Creating meets the name. The kubelet, discovery, the garbage collector and the user each move in single steps.
"""

from collections.abc import Iterator

from exhaustive.values import IN, NONE, OUT, Action, Pod, Revision, Service, Spec, Told, Uid, World

DONE, CONFLICT, EXISTS, GONE = "done", "conflict", "exists", "gone"
Moved = tuple[str, World]


class Server:
    """Takes writes. Two mutants take something away: versions are not compared (uids still are), names are made up by the server."""

    def __init__(self, *, versions: bool = True, names: bool = True) -> None:
        self._versions, self._names = versions, names

    def take(self, world: World, action: Action, n: int) -> tuple[str, World]:
        """What the server answers, and the world after it; `n` makes the uid of a pod that is created."""
        match action.verb:
            case "create":
                return self._create(world, action, n)
            case "enter" | "leave" | "end":
                return self._on_pod(world, action)
            case "record" | "block" | "forget":
                return self._on_revision(world, action)
            case "finalizer" | "tell":
                return self._on_service(world, action)
            case "front" | "budget":
                there = getattr(world.owned, action.verb)
                return (EXISTS, world) if there else (DONE, world._replace(owned=world.owned._replace(**{action.verb: True})))
        return DONE, world  # a trial stores nothing

    def _holds(self, held: object, seen: object) -> bool:
        return held == seen or not self._versions

    def _create(self, world: World, action: Action, n: int) -> tuple[str, World]:
        pod = Pod(action.letter, action.slot, n, action.former)
        met = next((each for each in world.pods if self._names and each.name == pod.name), None)
        if met is not None:
            return (CONFLICT if met.dying else EXISTS), world
        return DONE, world._replace(pods=_sorted((*world.pods, pod)))

    def _on_pod(self, world: World, action: Action) -> tuple[str, World]:
        seen = action.seen
        assert isinstance(seen, Pod)
        held = next((each for each in world.pods if each.uid == seen.uid), None)
        if held is None:
            taken = any(each.name == seen.name for each in world.pods)
            return (CONFLICT if taken else GONE), world
        anyhow = action.verb == "enter" and seen.gate == NONE  # a new instance is put in service in whatever version it has
        if not anyhow and not self._holds(held, seen):
            return CONFLICT, world
        return DONE, world._replace(pods=_with(world.pods, held, _changed(held, action)))

    def _on_revision(self, world: World, action: Action) -> tuple[str, World]:
        if action.verb == "record":
            return _record(world, action)
        seen = action.seen
        assert isinstance(seen, Revision)
        held = next((each for each in world.revisions if each.letter == seen.letter), None)
        if held is None:
            return GONE, world
        if not self._holds(held, seen):
            return CONFLICT, world
        rest = tuple(each for each in world.revisions if each is not held)
        after = rest if action.verb == "forget" else (*rest, held._replace(blocked=action.value))
        return DONE, world._replace(revisions=tuple(sorted(after)))

    def _on_service(self, world: World, action: Action) -> tuple[str, World]:
        held = world.service
        if held is None:
            return GONE, world
        if not self._holds(held, action.seen):
            return CONFLICT, world
        if isinstance(action.value, Told):
            return DONE, world._replace(service=held._replace(told=action.value))
        gone = held.deleting and not action.value
        return DONE, world._replace(service=None if gone else held._replace(finalizer=bool(action.value)))


def _record(world: World, action: Action) -> tuple[str, World]:
    if any(each.letter == action.letter for each in world.revisions):
        return EXISTS, world
    made = Revision(action.letter, *action.value)
    return DONE, world._replace(revisions=tuple(sorted((*world.revisions, made))))


def _changed(pod: Pod, action: Action) -> Pod | None:
    if action.verb == "enter":
        return pod._replace(gate=IN, age=0, turn=pod.turn + (pod.gate == OUT))
    if action.verb == "leave":
        return pod._replace(gate=OUT, ready=False, age=action.age)
    return None if pod.phase == "Failed" else pod._replace(dying=True, age=0)


def _sorted(pods: tuple[Pod, ...]) -> tuple[Pod, ...]:
    return tuple(sorted(pods))


def _with(pods: tuple[Pod, ...], old: Pod, new: Pod | None) -> tuple[Pod, ...]:
    rest = tuple(each for each in pods if each is not old)
    return rest if new is None else _sorted((*rest, new))


# -- everybody else
def helpful(world: World, bad: frozenset[str]) -> Iterator[Moved]:
    """What a healthy environment does by itself; pods of `bad` revisions never become healthy."""
    for pod in world.pods:
        if (step := _kubelet(pod, bad)) is not None:
            yield f"the kubelet {step[0]} {pod}", world._replace(pods=_with(world.pods, pod, step[1]))
        if world.service is None and not pod.dying:
            yield f"the garbage collector deletes {pod}", world._replace(pods=_with(world.pods, pod, pod._replace(dying=True, age=0)))
    if (listed := listing(world)) != world.listed:
        yield f"discovery lists {', '.join(str(pod) for pod in world.pods if pod.serves) or 'nobody'}", world._replace(listed=listed)


def listing(world: World) -> tuple[Uid, ...]:
    """What discovery will name once it has caught up."""
    return tuple(pod.uid for pod in world.pods if pod.serves) if world.owned.front else ()


def _kubelet(pod: Pod, bad: frozenset[str]) -> tuple[str, Pod | None] | None:
    if pod.dying:
        return "ends", None
    if pod.phase == "Failed" or pod.letter in bad:
        return None
    if pod.phase == "Pending":
        return "starts", pod._replace(phase="Running", healthy=True)
    if not pod.healthy:
        return "brings back", pod._replace(healthy=True, turn=pod.turn + 1)
    return ("makes ready", pod._replace(ready=True)) if pod.gate == IN and not pod.ready else None


def failing(world: World) -> Iterator[Moved]:
    """A pod fails for good, wherever it is in its life."""
    for pod in world.pods:
        if not pod.dying and pod.phase != "Failed":
            after = pod._replace(phase="Failed", healthy=False, ready=False)
            yield f"{pod} fails", world._replace(pods=_with(world.pods, pod, after))


def sickening(world: World) -> Iterator[Moved]:
    """A pod becomes unhealthy and may come back."""
    for pod in world.pods:
        if pod.healthy and not pod.dying:
            yield f"{pod} becomes unhealthy", world._replace(pods=_with(world.pods, pod, pod._replace(healthy=False, ready=False)))


def edited(world: World, specs: tuple[Spec, ...]) -> Iterator[Moved]:
    """The user's next change of the spec, or the deletion."""
    service = world.service
    if service is None or service.index + 1 >= len(specs):
        return
    spec = specs[service.index + 1]
    if not spec.deleted:
        wish = f"the user wants {spec.replicas} of {spec.letter}" + (", paused" if spec.paused else "")
        yield wish, world._replace(service=service._replace(index=service.index + 1))
        return
    after = service._replace(index=service.index + 1, deleting=True) if service.finalizer else None
    yield "the user deletes the service", world._replace(service=after)


# -- time
def aged(world: World) -> World:
    """The same after much time."""
    revisions = tuple(sorted(each._replace(age=1) for each in world.revisions))
    return world._replace(service=aged_service(world.service), pods=aged_pods(world.pods), revisions=revisions)


def aged_pods(pods: tuple[Pod, ...]) -> tuple[Pod, ...]:
    return _sorted(tuple(pod._replace(age=1) if pod.dying or pod.gate == OUT else pod for pod in pods))


def aged_service(service: Service | None) -> Service | None:
    return None if service is None else service._replace(told=aged_told(service.told))


def aged_told(told: Told) -> Told:
    memory = told.memory
    ages = {key: None if value is None else 1 for key, value in (("started", memory.started), ("progressed_at", memory.progressed_at))}
    return told._replace(memory=memory._replace(**ages))


def aged_action(action: Action) -> Action:
    """An action that was decided before the time passed: what it saw is as old as what there is now."""
    seen, value = action.seen, action.value
    if isinstance(seen, Pod):
        seen = aged_pods((seen,))[0]
    elif isinstance(seen, Revision):
        seen = seen._replace(age=1)
    else:
        seen = aged_service(seen)
    return action._replace(seen=seen, value=aged_told(value) if isinstance(value, Told) else value, age=1)
