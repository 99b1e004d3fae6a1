# SPDX-License-Identifier: Apache-2.0
"""Whether the fence stands: asked of the API server itself, by a write that it must refuse.

That the policies are there proves little: a binding may be missing, audit only, or of an older release, and some clusters take no policies
at all. So the leader tries a dry run under an epoch that never was. If it is accepted the operator works on, by the preconditions of every
write and by its own clock, as it always does, and says that this is all there is: in a log line, `drover_fence_enforced`, /state, and an
annotation of the Lease that `kubectl drover doctor` reads.
"""

import asyncio
from collections.abc import Callable, Mapping
from enum import StrEnum

import structlog

from drover_operator.api.resource import EVENTS, LEASES
from drover_operator.kube.client import Client
from drover_operator.kube.errors import Fenced, KubeError
from drover_operator.kube.events import EVENT_LABEL
from drover_operator.kube.transport import Transport

log = structlog.get_logger()
EVERY = 600.0  # seconds; somebody may take a policy away
AGAIN = 2.0  # seconds: an API server hears of a Lease, and of a policy, a moment after it was written
TRIES = 5
FENCE_ANNOTATION = "drover.dev/fence"  # of the Lease: the standing
NEXT_STEP = "kubectl apply -f manifests/policies/fence.yaml, or run with --fence off to say that you want none"


class Standing(StrEnum):
    """What is known of the fence."""

    UNKNOWN = "Unknown"
    ENFORCED = "Enforced"
    ABSENT = "Absent"
    OFF = "Off"


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
    """Looks while its process leads; `standing` is the last answer. `namespace` is one in which the operator may write Events."""

    def __init__(self, transport: Transport, *, shard: str, namespace: str, wanted: bool) -> None:
        self._client = Client(transport, _NoLeader(shard))
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
        """Several times, as long as the write is let through."""
        for _ in range(TRIES):
            if (standing := await self._once()) is not Standing.ABSENT:
                return standing
            await asyncio.sleep(AGAIN)
        return Standing.ABSENT

    async def _once(self) -> Standing:
        try:
            await self._client.create(EVENTS, self._namespace, _event(self._namespace), dry_run=True)
        except Fenced:
            return Standing.ENFORCED
        except KubeError as error:
            log.warning("fence not probed", reason=str(error))
            return Standing.UNKNOWN
        return Standing.ABSENT

    def _found(self, standing: Standing) -> None:
        if standing is Standing.ABSENT:
            log.warning("fence absent", without="late writes of a deposed leader meet preconditions only", next=NEXT_STEP)
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
