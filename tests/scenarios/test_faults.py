# SPDX-License-Identifier: Apache-2.0
"""No lost retry: any single fault on any write of any flow, then quiet, and it converges with no event from outside.

kopf loses a retry after one refused PATCH and never comes back to it (measured: not within 45 s).
"""

from collections import Counter

import pytest
from scenarios.flows import FLOWS, scenario
from scenarios.ledger import tally
from scenarios.world import Life, Trouble, World, is_effect, play, state

from drover_operator.kube.errors import OutcomeUnknown, Unsent
from drover_operator.kube.transport import Reply, Request
from drover_operator.testing import refusal
from drover_operator.testing.apiserver import Write

REPLIES = {
    "400": refusal(400, "BadRequest", "for once"),
    "401": refusal(401, "Unauthorized", "for once"),
    "403": refusal(403, "Forbidden", "for once"),
    "404": refusal(404, "NotFound", "for once"),
    "409": refusal(409, "Conflict", "for once"),
    "409 exists": refusal(409, "AlreadyExists", "for once"),
    "410": refusal(410, "Gone", "for once"),
    "422": refusal(422, "Invalid", "for once"),
    "429": refusal(429, "TooManyRequests", "for once", retry_after=1),
    "500": refusal(500, "InternalError", "for once"),
    "503": refusal(503, "ServiceUnavailable", "for once"),
    "504": refusal(504, "Timeout", "for once"),
    "not JSON": Reply(status=502, body=b"<html>bad gateway</html>"),
}


SHARED = "httproutes.gateway.networking.k8s.io"  # the router writes its status all the time: a conflict there is no write of ours that was too early


class Once(Trouble):
    """One fault on the n-th write."""

    def __init__(self, point: int, fault: str) -> None:
        self._left, self._fault = point, fault

    def _is_due(self, request: Request) -> bool:
        self._left -= is_effect(request)
        return self._left == 0 and is_effect(request)

    def before(self, life: Life, request: Request) -> Reply | BaseException | None:
        if self._fault == "lost reply" or not self._is_due(request):
            return None
        return Unsent("refused") if self._fault == "unsent" else REPLIES[self._fault]

    def after(self, life: Life, request: Request, reply: Reply) -> Reply | BaseException:
        return OutcomeUnknown("lost") if self._fault == "lost reply" and self._is_due(request) else reply


def run(name: str, trouble: Trouble) -> World:
    def prepare(world: World) -> None:
        world.patience = 5.0
        world.troubles.append(trouble)

    return play(scenario(name, prepare))


# The rest differ in their words only; a rolling update and its own look are enough for them.
OF_ALL = ("403", "404", "409", "422", "429", "500", "unsent", "lost reply")
ROWS = [(name, fault) for name in FLOWS for fault in (*REPLIES, "unsent", "lost reply") if fault in OF_ALL or name == "rolling update"]


@pytest.mark.parametrize(("name", "fault"), ROWS)
def test_one_fault_on_any_write_is_made_good_without_an_outside_event(name: str, fault: str):
    calm = run(name, Trouble())
    wanted, effects = state(calm), calm.effects()
    for point in range(1, calm.write_points + 1):
        world = run(name, Once(point, fault))
        assert (state(world), world.effects()) == (wanted, effects), f"{name}: {fault} on write {point}"
        tally(single_faults=1)


@pytest.mark.parametrize("name", FLOWS)
def test_caches_that_trail_cost_time_but_no_write(name: str):
    """Nothing is sent a second time because the first is not seen yet: every write is accepted, and there are no more of them than ever."""
    calm = run(name, Trouble())

    def trail(world: World) -> None:
        world.lag = 1.0

    world = play(scenario(name, trail))
    refused = [f"{write.status} {write.verb} {write.resource} {write.name}" for write in world.writes() if write.status >= 400 and write.resource != SHARED]
    assert not refused
    assert (state(world), world.effects()) == (state(calm), calm.effects())
    assert _acts(world) <= _acts(calm), "fewer where two changes are seen at once"
    gates = Counter(write.name for write in world.writes() if _path(write) == "pods/status")
    assert max(gates.values()) <= 3, "opened, closed, and brought back once"


def _path(write: Write) -> str:
    return f"{write.resource}/{write.subresource}" if write.subresource else write.resource


def _acts(world: World) -> int:
    """Writes but those of the status, which is told more often when things take longer, and of gates: one may be opened before a change of
    mind is seen."""
    taken = [write for write in world.writes() if write.status < 400]
    return sum(1 for write in taken if _path(write) not in ("managedservices.drover.dev/status", "pods/status"))
