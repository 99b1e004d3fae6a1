# SPDX-License-Identifier: Apache-2.0
"""The state of every instance, judged from its pod and from discovery. Detection only: what is done about it is decided elsewhere."""

from drover_controllers.service.drain import gated
from drover_controllers.service.naming import GATE, place_of
from drover_controllers.service.values import Facts, Instance, Population, Roster
from drover_operator.api.builtin import Pod, PodStatus
from drover_operator.api.managedservice import InstanceState
from drover_operator.api.meta import seconds_of
from drover_operator.core.clock import parse_duration

START = 1.0  # seconds; times have whole ones, and a kubelet takes two looks at its clock


def roster(facts: Facts) -> Roster:
    """All instances of the service, in the order of revision and slot. A pod whose name is not of our making is no instance."""
    min_ready = parse_duration(facts.service.spec.rollout.rolling.min_ready)
    found = [_instance(facts, pod, min_ready) for pod in facts.pods]
    return tuple(sorted((each for each in found if each is not None), key=lambda i: (i.revision, i.slot, i.pod.metadata.name)))


def _instance(facts: Facts, pod: Pod, min_ready: float) -> Instance | None:
    place = place_of(pod.metadata.name)
    if place is None:
        return None
    listed = pod.metadata.uid in facts.listed
    # Without ports there is no Service and nothing to be listed in: then ready is in service.
    state = state_of(pod, listed=listed or not facts.service.spec.ports)
    decisive = pod.status.condition(GATE if state == "Draining" else "Ready")
    since = seconds_of(decisive.last_transition_time) if decisive is not None else 0.0
    return Instance(
        pod=pod,
        revision=place[0],
        slot=place[1],
        state=state,
        since=since,
        available=state == "InService" and facts.now >= since + min_ready,
        listed=listed,
        terminating=pod.metadata.deletion_timestamp is not None,
    )


def state_of(pod: Pod, *, listed: bool) -> InstanceState:
    """The state of one pod; `listed` says whether discovery sends traffic to it."""
    status = pod.status
    if pod.metadata.deletion_timestamp is not None:
        return "Draining"
    if status.phase in ("Failed", "Succeeded"):
        return "Lost"
    gate = status.condition(GATE)
    if gate is not None and gate.status == "False":
        return "Draining"
    wanted = gate is not None or not gated(pod)
    if not status.is_true("ContainersReady"):
        return "Suspect" if wanted and _fell(status) else "Starting"
    if not wanted:
        return "Ready"
    return "InService" if listed and status.is_true("Ready") else "Ready"


def _fell(status: PodStatus) -> bool:
    """Whether the containers were ready once and are not now: a kubelet says that they are not when the pod starts, and never again until they were."""
    told = status.condition("ContainersReady")
    return told is not None and seconds_of(told.last_transition_time) > seconds_of(status.start_time) + START


def population(instances: Roster) -> dict[str, Population]:
    """Counts by revision of the instances that are not leaving."""
    counts: dict[str, list[int]] = {}
    for each in instances:
        if not each.live:
            continue
        row = counts.setdefault(each.revision, [0, 0, 0])
        row[0] += 1
        row[1] += each.state == "InService"
        row[2] += each.available
    return {name: Population(live=row[0], in_service=row[1], available=row[2]) for name, row in counts.items()}
