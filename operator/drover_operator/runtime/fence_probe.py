# SPDX-License-Identifier: Apache-2.0
"""Whether the fence stands: asked of the API server itself, by a write that it must refuse and one that it must let through.

That the policies are there proves little: a binding may be missing, audit only, or of an older release, and some clusters take no policies
at all. So the leader tries a dry run under an epoch that never was. If it is accepted the operator works on, by the preconditions of every
write and by its own clock, as it always does, and says that this is all there is: in a log line, `drover_fence_enforced`, /state, and an
annotation of the Lease that `kubectl drover doctor` reads.

The other way round, an API server whose last policy with a Lease for its parameter was taken away and applied again goes on with the Leases
of that moment (seen on 1.35.4: a shared informer that was stopped is never started again). It refuses whoever leads then, until it is restarted.
"""

import asyncio
from collections.abc import Callable, Mapping
from enum import StrEnum

import structlog

from drover_operator.api.resource import EVENTS, LEASES
from drover_operator.kube.client import Client, Fence
from drover_operator.kube.errors import DroverError, Fenced
from drover_operator.kube.events import EVENT_LABEL
from drover_operator.kube.transport import Transport

log = structlog.get_logger()
EVERY = 600.0  # seconds; somebody may take a policy away
AGAIN = 2.0  # seconds: an API server hears of a Lease, and of a policy, a moment after it was written
TRIES = 5
FENCE_ANNOTATION = "drover.dev/fence"  # of the Lease: the standing
RESTART = "restart the API servers: policies on Leases were taken away and came back, and they compare with a Lease of that time; until then --fence off"
NEXT_STEP = "kubectl apply -f manifests/policies/fence.yaml, or run with --fence off to say that you want none"


class Standing(StrEnum):
    """What is known of the fence."""

    UNKNOWN = "Unknown"
    ENFORCED = "Enforced"
    ABSENT = "Absent"
    STALE = "Stale"
    OFF = "Off"


WRONG = (Standing.ABSENT, Standing.STALE)


class _NoLeader:
    """Proves a term that never was."""

    def __init__(self, shard: str) -> None:
        self._shard = shard

    def headers(self) -> Mapping[str, str]:
        """See `kube.client.Fence`."""
        return {
            "Impersonate-User": f"drover:operator:{self._shard}",
            "Impersonate-Extra-drover.dev%2Fepoch": "none",
            "Impersonate-Extra-drover.dev%2Fholder": "nobody",
        }


class FenceProbe:
    """Looks while its process leads; `standing` is the last answer. `namespace` is one in which `leader` may write Events."""

    def __init__(self, transport: Transport, leader: Fence, *, shard: str, namespace: str, wanted: bool) -> None:
        self._liar, self._leader = Client(transport, _NoLeader(shard)), Client(transport, leader)
        self._namespace = namespace
        self.standing = Standing.UNKNOWN if wanted else Standing.OFF

    async def run(self, tell: Callable[[Standing], None]) -> None:
        """Look now and then until cancelled, and tell what was found each time; without a fence that is wanted, tell that and return."""
        tell(self.standing)
        while self.standing is not Standing.OFF:
            self._found(await self._look())
            tell(self.standing)
            await asyncio.sleep(EVERY)

    async def _look(self) -> Standing:
        """Several times, as long as something is wrong with it."""
        standing = Standing.UNKNOWN
        for _ in range(TRIES):
            if (standing := await self._once()) not in WRONG:
                break
            await asyncio.sleep(AGAIN)
        return standing

    async def _once(self) -> Standing:
        try:
            if not await self._refused(self._liar):
                return Standing.ABSENT
            return Standing.STALE if await self._refused(self._leader) else Standing.ENFORCED
        except DroverError as error:
            log.warning("fence not probed", reason=str(error))
            return Standing.UNKNOWN

    async def _refused(self, client: Client) -> bool:
        """Whether the fence refuses a dry run of that client.

        Raises:
            DroverError: it cannot be known.
        """
        try:
            await client.create(EVENTS, self._namespace, _event(self._namespace), dry_run=True)
        except Fenced:
            return True
        return False

    def _found(self, standing: Standing) -> None:
        if standing is Standing.ABSENT:
            log.warning("fence absent", without="late writes of a deposed leader meet preconditions only", next=NEXT_STEP)
        elif standing is Standing.STALE:
            log.warning("fence stale", because="the API server refuses the writes of whom the Lease names", next=RESTART)
        elif standing is not self.standing:
            log.info("fence", standing=str(standing))
        self.standing = standing


def _event(namespace: str) -> dict[str, object]:
    """What would be written if anything were."""
    return {
        "apiVersion": EVENTS.api_version,
        "kind": EVENTS.kind,
        "metadata": {"name": "drover-fence-probe", "namespace": namespace, "labels": {EVENT_LABEL: "probe"}},
        "eventTime": "2000-01-01T00:00:00.000000Z",
        "action": "Probe",
        "reason": "FenceProbe",
        "note": "Never stored: the fence must refuse it.",
        "type": "Normal",
        "reportingController": "drover.dev/operator",
        "reportingInstance": "probe",
        "regarding": {"apiVersion": LEASES.api_version, "kind": LEASES.kind, "namespace": namespace, "name": "drover-operator-0"},
    }
