# SPDX-License-Identifier: Apache-2.0
"""The probe of the fence, in virtual time: what each answer of the API server makes of it."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping

import pytest

from drover_operator.kube.transport import Reply, Request
from drover_operator.runtime.fence_probe import AGAIN, EVERY, TRIES, FenceProbe, Standing
from drover_operator.testing import SimulatedCluster, refusal
from drover_operator.testing.virtualtime import run

LEASE = ("drover-system", "drover-operator-0")
FENCED = refusal(422, "Invalid", "ValidatingAdmissionPolicy 'drover-fence-0' denied")
ACCEPTED = Reply(status=201, body=b'{"kind":"Event","metadata":{"uid":"u","resourceVersion":"1"}}')


class Leader:
    """The proof of whom the Lease names."""

    def headers(self) -> Mapping[str, str]:
        """See `kube.client.Fence`."""
        extra = "Impersonate-Extra-drover.dev%2F"
        return {"Impersonate-User": "drover:operator:0", f"{extra}epoch": "1", f"{extra}holder": "one"}


def with_probe(
    scenario: Callable[[SimulatedCluster, FenceProbe, list[Standing]], Awaitable[None]], answers: list[Reply | None], *, wanted: bool = True
) -> None:
    """Run a scenario beside a probe whose requests are answered so, the last answer again and again; None lets one through to the cluster."""

    async def main() -> None:
        cluster = SimulatedCluster(seed=1)
        transport, told = cluster.transport(user="operator"), list[Standing]()
        left = list(answers)

        def before(request: Request) -> Reply | None:
            assert request.query["dryRun"] == "All"
            return left.pop(0) if len(left) > 1 else left[0]

        transport.faults.before = before
        probe = FenceProbe(transport, Leader(), shard="0", namespace="drover-system", wanted=wanted)
        task = asyncio.create_task(probe.run(told.append))
        await scenario(cluster, probe, told)
        task.cancel()
        await asyncio.wait({task})
        await cluster.stop()

    run(main)


@pytest.mark.parametrize(
    "answers, standing",
    [
        pytest.param([ACCEPTED], Standing.ABSENT, id="let through each time"),
        pytest.param([refusal(403, "Forbidden")], Standing.UNKNOWN, id="no right to impersonate: nothing was learned"),
        pytest.param([refusal(500, "InternalError")], Standing.UNKNOWN, id="a server in trouble: nothing was learned"),
        pytest.param([ACCEPTED, ACCEPTED, FENCED, ACCEPTED], Standing.ENFORCED, id="late: the server had not heard of the policy"),
        pytest.param([FENCED, FENCED, FENCED, ACCEPTED], Standing.ENFORCED, id="late: the server had not heard of our Lease"),
        pytest.param([FENCED], Standing.STALE, id="the leader is refused as well: it compares with a Lease of the past"),
    ],
)
def test_what_an_answer_proves(answers: list[Reply | None], standing: Standing) -> None:
    async def scenario(_cluster: SimulatedCluster, probe: FenceProbe, told: list[Standing]) -> None:
        await asyncio.sleep(TRIES * AGAIN + 1)
        assert probe.standing is standing
        assert told == [Standing.UNKNOWN, standing]

    with_probe(scenario, answers)


def test_the_fence_of_the_cluster_refuses_it_and_nothing_is_stored() -> None:
    async def scenario(cluster: SimulatedCluster, probe: FenceProbe, _told: list[Standing]) -> None:
        await asyncio.sleep(1)
        assert probe.standing is Standing.ENFORCED
        assert cluster.objects("events", "drover-system") == []

    async def with_a_lease(cluster: SimulatedCluster, probe: FenceProbe, told: list[Standing]) -> None:
        namespace, name = LEASE
        lease = {
            "apiVersion": "coordination.k8s.io/v1",
            "kind": "Lease",
            "metadata": {"namespace": namespace, "name": name},
            "spec": {"holderIdentity": "one", "leaseTransitions": 1},
        }
        cluster.apply(lease)
        await scenario(cluster, probe, told)

    with_probe(with_a_lease, [None])


def test_a_fence_that_is_taken_away_is_missed_at_the_next_look() -> None:
    async def scenario(_cluster: SimulatedCluster, _probe: FenceProbe, told: list[Standing]) -> None:
        await asyncio.sleep(EVERY + TRIES * AGAIN + 1)
        assert told == [Standing.UNKNOWN, Standing.ENFORCED, Standing.ABSENT]

    with_probe(scenario, [FENCED, ACCEPTED, ACCEPTED])


def test_nothing_is_asked_where_no_fence_is_wanted() -> None:
    async def scenario(_cluster: SimulatedCluster, _probe: FenceProbe, told: list[Standing]) -> None:
        await asyncio.sleep(EVERY * 2)
        assert told == [Standing.OFF]

    with_probe(scenario, [], wanted=False)
