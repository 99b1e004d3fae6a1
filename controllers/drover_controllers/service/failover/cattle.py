# SPDX-License-Identifier: Apache-2.0
"""Cattle: an instance that is gone or has failed is replaced in its slot, at the version that the slot should have.

Failed pods keep their names, so a successor takes a name made of its predecessor's uid. They are also the memory of how often the
slot failed: kept until the slot serves, at most five, and each one doubles the pause before the next.
"""

from collections.abc import Mapping, Sequence

from drover_controllers.service.drain import end
from drover_controllers.service.naming import pod_name
from drover_controllers.service.values import Instance, Roster
from drover_operator.api.meta import seconds_of
from drover_operator.core.plan import Delete
from drover_operator.core.reasons import Reason

FIRST_BACKOFF, LONGEST_BACKOFF = 10.0, 300.0  # seconds from the start of the last failed pod
NOT_ITS_FAULT = ("Evicted", "NodeShutdown", "Terminated", "Preempting", "NodeLost")  # reasons that kubelets and the pod collector give
KEPT = 5  # failed pods kept per slot


def predecessor(held: Sequence[Instance], revision: str, slot: int) -> Instance | None:
    """The newest of the slot's pods that is dead or dying. Times have whole seconds: one that has a successor, also of the slot, is not it."""
    names = {i.name for i in held}
    former = [i for i in held if not i.live and pod_name(revision, slot, i.pod.metadata.uid) not in names]
    return max(former, key=lambda i: (seconds_of(i.pod.metadata.creation_timestamp), i.name), default=None)


def pause(held: Sequence[Instance], now: float) -> float:
    """Seconds until the slot of these pods may be filled: 10 s after the start of the last failed pod, doubled for each one kept.

    A pod that ran for longer than that before it failed is replaced at once, and so is one that its node has evicted: that was no fault of its own.
    """
    lost = [i for i in held if i.state == "Lost" and i.pod.status.reason not in NOT_ITS_FAULT]
    if not lost:
        return 0.0
    last = max(seconds_of(i.pod.metadata.creation_timestamp) for i in lost)
    return last + min(FIRST_BACKOFF * 2.0 ** (len(lost) - 1), LONGEST_BACKOFF) - now


def buried(instances: Roster, wanted: set[str], gaps: Mapping[str, int]) -> list[Delete]:
    """Deletions of failed pods that are of no more use.

    Their slot serves, their revision is not wanted, nobody is missing in their revision while their slot stands empty (it was scaled in),
    or more are there than are kept.
    """
    lost = [i for i in instances if i.state == "Lost"]
    if not lost:
        return []
    serving = {(i.revision, i.slot) for i in instances if i.state == "InService"}
    filled = {(i.revision, i.slot) for i in instances if i.live}
    newest = sorted(lost, key=lambda i: (seconds_of(i.pod.metadata.creation_timestamp), i.name), reverse=True)
    rank: dict[tuple[str, int], int] = {}
    ends: list[Delete] = []
    for each in newest:
        place = (each.revision, each.slot)
        rank[place] = rank.get(place, 0) + 1
        scaled_in = place not in filled and not gaps.get(each.revision)
        if place in serving or scaled_in or each.revision not in wanted or rank[place] > KEPT:
            ends.append(end(each, Reason.LOST, step="remove failed"))
    return ends
