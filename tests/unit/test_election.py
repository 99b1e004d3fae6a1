# SPDX-License-Identifier: Apache-2.0
"""Leader election in virtual time: who leads when, what a write carries, and that the epoch only rises."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterator
from random import Random
from typing import Any

import pytest
import structlog

from drover_operator.kube.client import Client
from drover_operator.kube.errors import OutcomeUnknown
from drover_operator.kube.transport import Reply, Request
from drover_operator.runtime.election import EPOCH_ANNOTATION, Election, LostLeadership, Term, Timing
from drover_operator.testing import SimulatedCluster, SimulatedTransport, refusal
from drover_operator.testing.virtualtime import run

TIMING = Timing()  # 15/10/2
NAME = "drover-operator-0"
HOME = ("drover-system", NAME)
Lead = Callable[[Term], Awaitable[None]]


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    yield
    structlog.reset_defaults()


class Candidate:
    """One process that competes until it loses; `led` are its terms."""

    def __init__(
        self, cluster: SimulatedCluster, identity: str, seed: int = 1, timing: Timing = TIMING, *, impersonate: bool = True, lead: Lead | None = None
    ) -> None:
        self.transport: SimulatedTransport = cluster.transport(user=identity)
        self.led: list[Term] = []
        self.election = Election(
            Client(self.transport),
            namespace="drover-system",
            shard="0",
            identity=identity,
            clock=cluster.now,
            timing=timing,
            random=Random(seed),
            impersonate=impersonate,
        )
        self.task = asyncio.create_task(self.election.run(lead or self._lead))

    async def _lead(self, term: Term) -> None:
        self.led.append(term)
        await asyncio.Event().wait()

    async def end(self) -> None:
        self.task.cancel()
        await asyncio.wait({self.task})


def lease(cluster: SimulatedCluster) -> dict[str, Any]:
    return cluster.get("leases", *HOME)["spec"]  # type: ignore[no-any-return]


def floor(cluster: SimulatedCluster) -> str:
    return str(cluster.get("configmaps", *HOME)["metadata"]["annotations"][EPOCH_ANNOTATION])


def with_cluster(scenario: Callable[[SimulatedCluster], Awaitable[None]], seed: int = 1) -> None:
    async def main() -> None:
        cluster = SimulatedCluster(seed=seed)
        await scenario(cluster)
        await cluster.stop()

    run(main)


def now() -> float:
    return asyncio.get_running_loop().time()


async def leading(cluster: SimulatedCluster, candidate: Candidate, within: float = 40.0) -> float:
    return await cluster.until(lambda: candidate.election.leading, within)


def test_the_first_candidate_takes_office_and_renews_it() -> None:
    async def scenario(cluster: SimulatedCluster) -> None:
        one = Candidate(cluster, "one")
        assert await leading(cluster, one) < 0.1
        assert [(term.epoch, term.holder, term.shard) for term in one.led] == [(1, "one", "0")]
        first = lease(cluster)
        assert (first["holderIdentity"], first["leaseTransitions"], first["leaseDurationSeconds"], floor(cluster)) == ("one", 1, 15, "1")
        for _ in range(100):
            await asyncio.sleep(1)
            assert one.election.leading
        later = lease(cluster)
        assert later["renewTime"] > first["renewTime"]
        assert (later["acquireTime"], later["leaseTransitions"]) == (first["acquireTime"], 1)
        writes = [write for write in cluster.writes if write.resource.startswith("leases")]
        assert len(writes) == pytest.approx(100 / TIMING.retry, abs=3), "one write for each period"
        await one.end()

    with_cluster(scenario)


def test_the_holder_renews_with_one_request_and_looks_only_when_somebody_was_there() -> None:
    async def scenario(cluster: SimulatedCluster) -> None:
        one = Candidate(cluster, "one")
        asked: list[str] = []
        one.transport.faults.before = lambda request: asked.append(request.method)
        await leading(cluster, one)
        asked.clear()
        await asyncio.sleep(100)
        assert set(asked) == {"PATCH"}
        assert len(asked) == pytest.approx(100 / TIMING.retry, abs=3)
        cluster.patch("leases", *HOME, {"metadata": {"labels": {"seen-by": "somebody"}}})
        asked.clear()
        await asyncio.sleep(10 * TIMING.retry)
        assert one.election.leading, "it is still ours"
        assert asked[:3] == ["PATCH", "GET", "PATCH"], "refused, looked at, renewed"
        assert set(asked[3:]) == {"PATCH"}
        assert len(one.led) == 1
        await one.end()

    with_cluster(scenario)


def test_after_a_lost_answer_the_holder_looks_before_it_renews() -> None:
    """It cannot know which version its write left behind."""

    async def scenario(cluster: SimulatedCluster) -> None:
        one = Candidate(cluster, "one")
        asked: list[str] = []
        await leading(cluster, one)
        await asyncio.sleep(TIMING.retry / 2)
        one.transport.faults.before = lambda request: asked.append(request.method)
        one.transport.faults.after = lambda _, __: OutcomeUnknown("lost")
        await asyncio.sleep(TIMING.retry)
        one.transport.faults.after = lambda _, reply: reply
        await asyncio.sleep(3 * TIMING.retry)
        assert asked[:4] == ["PATCH", "GET", "PATCH", "PATCH"]
        assert one.election.leading
        await one.end()

    with_cluster(scenario)


def test_a_write_carries_shard_epoch_and_holder() -> None:
    async def scenario(cluster: SimulatedCluster) -> None:
        one = Candidate(cluster, "one")
        with pytest.raises(LostLeadership, match="one does not hold the lease drover-operator-0"):
            one.election.headers()
        await leading(cluster, one)
        assert one.election.headers() == {
            "Impersonate-User": "drover:operator:0",
            "Impersonate-Extra-drover.dev%2Fepoch": "1",
            "Impersonate-Extra-drover.dev%2Fholder": "one",
        }
        await one.end()
        plain = Candidate(cluster, "plain", impersonate=False)
        with pytest.raises(LostLeadership):
            plain.election.headers()
        await leading(cluster, plain)
        assert plain.election.headers() == {}, "without the fence the clock alone decides"
        await plain.end()

    with_cluster(scenario)


def test_a_dead_holder_is_waited_for_by_the_candidates_own_clock() -> None:
    async def scenario(cluster: SimulatedCluster) -> None:
        one = Candidate(cluster, "one")
        await leading(cluster, one)
        await asyncio.sleep(60)
        await one.end()
        renewed = one.election.term.valid_until - TIMING.renew_deadline  # type: ignore[union-attr]
        cluster.patch("leases", *HOME, {"spec": {"renewTime": "2001-01-01T00:00:00.000000Z"}})  # the clock of another machine
        begun = now()
        two = Candidate(cluster, "two")
        await leading(cluster, two)
        assert now() - begun >= TIMING.duration, "however old the lease looks"
        assert now() - begun <= TIMING.duration + 2 * TIMING.retry * 1.2
        assert now() > renewed + TIMING.duration
        assert (two.led[0].epoch, lease(cluster)["leaseTransitions"], floor(cluster)) == (2, 2, "2")
        await two.end()

    with_cluster(scenario)


def test_a_released_lease_is_taken_at_once_and_nothing_is_written_afterwards() -> None:
    async def scenario(cluster: SimulatedCluster) -> None:
        one, two = Candidate(cluster, "one"), Candidate(cluster, "two", 2)
        await leading(cluster, one)
        await asyncio.sleep(20)
        await one.end()
        await one.election.release()
        assert not one.election.leading
        with pytest.raises(LostLeadership):
            one.election.headers()
        assert await leading(cluster, two) <= 0.1, "its watch wakes it"
        assert two.led[0].epoch == 2
        before = len(cluster.writes)
        await one.election.release()
        assert [write for write in cluster.writes[before:] if write.user == "one"] == [], "a second release is none"
        assert lease(cluster)["holderIdentity"] == "two"
        await two.end()

    with_cluster(scenario)


def test_a_standby_whose_watch_is_refused_goes_by_the_clock() -> None:
    """As with roles of a version before: the take-over comes later, and nothing else is different."""

    def refused(request: Request) -> Reply | None:
        return refusal(403, "Forbidden") if request.method == "GET" and not request.path.endswith(NAME) else None

    async def scenario(cluster: SimulatedCluster) -> None:
        one, two = Candidate(cluster, "one"), Candidate(cluster, "two", 2)
        two.transport.faults.before = refused
        await leading(cluster, one)
        await asyncio.sleep(20)
        await one.end()
        await one.election.release()
        assert 0.0 < await leading(cluster, two) <= TIMING.retry * 1.2 + 0.1
        await two.end()

    with_cluster(scenario)


def test_a_lease_that_is_anothers_by_now_is_not_released() -> None:
    async def scenario(cluster: SimulatedCluster) -> None:
        one = Candidate(cluster, "one")
        await leading(cluster, one)
        await one.end()
        cluster.patch("leases", *HOME, {"spec": {"holderIdentity": "two", "leaseTransitions": 2}})
        await one.election.release()
        assert lease(cluster)["holderIdentity"] == "two"

    with_cluster(scenario)


def test_a_release_that_fails_is_no_error() -> None:
    async def scenario(cluster: SimulatedCluster) -> None:
        one = Candidate(cluster, "one")
        await leading(cluster, one)
        await one.end()
        cluster.api_down = True
        await one.election.release()
        assert not one.election.leading

    with_cluster(scenario)


def test_the_holder_stops_by_its_own_clock_before_anybody_can_follow() -> None:
    async def scenario(cluster: SimulatedCluster) -> None:
        one = Candidate(cluster, "one")
        await leading(cluster, one)
        await asyncio.sleep(7)
        term = one.election.term
        assert term is not None
        one.transport.down = "cut off"
        await asyncio.sleep(term.valid_until - now() - 0.001)
        assert one.election.leading
        one.election.headers()
        await asyncio.sleep(0.002)
        assert not one.election.leading
        with pytest.raises(LostLeadership):
            one.election.headers()
        with pytest.raises(LostLeadership, match="could not be renewed for 10 s"):
            await asyncio.wait_for(asyncio.shield(one.task), TIMING.retry + TIMING.renew_deadline / 2)
        assert term.valid_until <= 7 + TIMING.renew_deadline + TIMING.retry

    with_cluster(scenario)


def test_a_term_counts_from_before_the_request_that_renewed_it() -> None:
    async def scenario(cluster: SimulatedCluster) -> None:
        one = Candidate(cluster, "one")
        one.transport.faults.latency = 0.8
        await leading(cluster, one)
        term = one.election.term
        assert term is not None
        assert now() > 3, "get, create, get, create: each takes its time"
        assert term.valid_until == pytest.approx(TIMING.renew_deadline), "from when it was asked, not from when it was answered"
        await one.end()

    with_cluster(scenario)


DEPOSED: tuple[tuple[Callable[[SimulatedCluster], Any], str], ...] = (
    (lambda cluster: cluster.patch("leases", *HOME, {"spec": {"holderIdentity": "two", "leaseTransitions": 2}}), "another one holds it"),
    (lambda cluster: cluster.delete("leases", *HOME), "it was deleted: somebody else may have led in between"),
)


@pytest.mark.parametrize("change, why", DEPOSED, ids=[why for _, why in DEPOSED])
def test_a_holder_whose_lease_is_not_its_own_any_more_leaves_at_its_next_look(change: Callable[[SimulatedCluster], Any], why: str) -> None:
    async def scenario(cluster: SimulatedCluster) -> None:
        one = Candidate(cluster, "one")
        await leading(cluster, one)
        await asyncio.sleep(5)
        change(cluster)
        with pytest.raises(LostLeadership):
            await asyncio.wait_for(one.task, TIMING.retry + 0.1)
        assert not one.election.leading, why
        with pytest.raises(LostLeadership):
            one.election.headers()

    with_cluster(scenario)


def test_the_epoch_keeps_rising_when_the_lease_is_deleted() -> None:
    async def scenario(cluster: SimulatedCluster) -> None:
        epochs = []
        for n in range(5):
            each = Candidate(cluster, f"c{n}")
            await leading(cluster, each)
            epochs.append(each.led[0].epoch)
            assert (str(epochs[-1]), epochs[-1]) == (floor(cluster), lease(cluster)["leaseTransitions"])
            await each.end()
            cluster.delete("leases", *HOME)
        assert epochs == [1, 2, 3, 4, 5]

    with_cluster(scenario)


def test_the_epoch_rises_over_a_lease_that_was_set_back() -> None:
    async def scenario(cluster: SimulatedCluster) -> None:
        one = Candidate(cluster, "one")
        await leading(cluster, one)
        await one.end()
        cluster.patch("configmaps", *HOME, {"metadata": {"annotations": {EPOCH_ANNOTATION: "41"}}})
        cluster.patch("leases", *HOME, {"spec": {"holderIdentity": "", "leaseTransitions": 0}})
        two = Candidate(cluster, "two")
        await leading(cluster, two)
        assert (two.led[0].epoch, floor(cluster)) == (42, "42")
        await two.end()

    with_cluster(scenario)


def test_nobody_leads_on_a_floor_that_could_not_be_raised() -> None:
    async def scenario(cluster: SimulatedCluster) -> None:
        one = Candidate(cluster, "one")
        one.transport.faults.before = lambda request: refusal(403, "Forbidden") if "configmaps" in request.path and request.mutating else None
        await asyncio.sleep(60)
        assert (one.led, one.election.leading) == ([], False)
        one.transport.faults.clear()
        await leading(cluster, one)
        assert str(one.led[0].epoch) == floor(cluster)
        await one.end()

    with_cluster(scenario)


def test_the_work_ends_with_the_office_and_the_office_with_the_work() -> None:
    async def scenario(cluster: SimulatedCluster) -> None:
        ended = []

        async def work(_: Term) -> None:
            try:
                await asyncio.sleep(30)
            finally:
                ended.append(now())

        one = Candidate(cluster, "one", lead=work)
        await asyncio.sleep(5)
        cluster.delete("leases", *HOME)
        with pytest.raises(LostLeadership):
            await one.task
        assert len(ended) == 1, "what was under way is cancelled"
        two = Candidate(cluster, "two", lead=work)
        await two.task
        assert len(ended) == 2, "and when the work is over, so is the office: nothing is raised"

    with_cluster(scenario)


@pytest.mark.parametrize("duration, seconds", [(15.0, 15), (2.9, 3), (0.5, 1)])
def test_others_are_never_told_a_shorter_time_than_the_holder_takes(duration: float, seconds: int) -> None:
    """leaseDurationSeconds is a whole number: rounded down, a standby would follow while the holder still believes."""

    async def scenario(cluster: SimulatedCluster) -> None:
        one = Candidate(cluster, "one", timing=Timing(duration=duration, renew_deadline=duration * 0.9, retry=duration * 0.1))
        await leading(cluster, one)
        assert lease(cluster)["leaseDurationSeconds"] == seconds
        await one.end()

    with_cluster(scenario)


class Chaos:
    """Three candidates that are born again when they lose; answers are slow, lost or refused, ways are cut."""

    TIMING = Timing(duration=3.0, renew_deadline=2.0, retry=0.5)

    def __init__(self, cluster: SimulatedCluster, seed: int) -> None:
        self._cluster = cluster
        self._random = Random(seed)
        self._born = 0
        self.living: dict[str, Candidate] = {}
        self.dead: list[Candidate] = []

    def step(self) -> None:
        for name in "abc":
            if name not in self.living or self.living[name].task.done():
                self._birth(name)
        victim = self.living[self._random.choice("abc")].transport
        victim.down = "cut off" if self._random.random() < 0.02 else None if self._random.random() < 0.2 else victim.down

    def _birth(self, name: str) -> None:
        if name in self.living:
            assert isinstance(self.living[name].task.exception(), LostLeadership)
            self.dead.append(self.living[name])
        self._born += 1
        candidate = Candidate(self._cluster, f"{name}-{self._born}", seed=self._born, timing=self.TIMING)
        candidate.transport.faults.before = self._before
        candidate.transport.faults.after = self._after
        candidate.transport.faults.latency = lambda _: self._random.choice((0.002, 0.1, self._random.uniform(0.0, 2.5)))
        self.living[name] = candidate

    def _before(self, _: Request) -> Reply | BaseException | None:
        return refusal(500, "InternalError") if self._random.random() < 0.05 else None

    def _after(self, _: Request, reply: Reply) -> Reply | BaseException:
        return OutcomeUnknown("lost") if self._random.random() < 0.1 else reply

    def epochs(self) -> list[int]:
        return [term.epoch for each in (*self.dead, *self.living.values()) for term in each.led]


@pytest.mark.parametrize("seed", range(20))
def test_never_two_at_one_instant(seed: int) -> None:
    async def scenario(cluster: SimulatedCluster) -> None:
        chaos = Chaos(cluster, seed)
        for n in range(8000):
            if n % 10 == 0:
                chaos.step()
            await asyncio.sleep(0.01)
            at_once = [each.election.identity for each in chaos.living.values() if each.election.leading]
            assert len(at_once) <= 1, f"seed {seed}: {at_once} at {now()}"
        epochs = chaos.epochs()
        assert len(epochs) > 3, f"seed {seed}: the office did not change hands"
        assert len(set(epochs)) == len(epochs), f"seed {seed}: an epoch was held twice: {epochs}"
        for each in chaos.living.values():
            await each.end()

    with_cluster(scenario, seed)
