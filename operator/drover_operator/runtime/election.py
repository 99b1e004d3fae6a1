# SPDX-License-Identifier: Apache-2.0
"""Leader election by Lease, and the fence that makes it safe.

client-go's election says of itself that it does not guarantee a single actor. Here the holder stops by its own monotonic clock
before others may take over, and every write carries epoch and holder, which an admission policy compares with the Lease: the API
server refuses the late writes of a deposed leader. The epoch is the Lease's leaseTransitions; a floor in a ConfigMap keeps it
rising when somebody deletes the Lease. Times 15/10/2 s as in client-go. The holder renews without a look at the Lease, as there: the
version of its last write is the precondition, so that nobody can have been there in between.
"""

import asyncio
import math
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from random import Random
from typing import Any

import structlog

from drover_operator.api.builtin import Lease
from drover_operator.api.resource import CONFIG_MAPS, LEASES
from drover_operator.kube.client import Client, Written
from drover_operator.kube.errors import AlreadyExists, ConfigurationError, Conflict, DroverError, KubeError, NotFound
from drover_operator.runtime.vacancy import Vacancy

log = structlog.get_logger()
EPOCH_ANNOTATION = "drover.dev/epoch-floor"


class LostLeadership(DroverError):
    """We may not write any more; another one may be acting already."""


@dataclass(frozen=True, kw_only=True)
class Timing:
    """Seconds: how long a lease lasts, when its holder stops if it could not renew, how often it tries."""

    duration: float = 15.0
    renew_deadline: float = 10.0
    retry: float = 2.0


@dataclass(frozen=True, kw_only=True)
class Term:
    """One time in office. `valid_until` is a loop time."""

    epoch: int
    holder: str
    shard: str
    valid_until: float


class Election:
    """Competes for one shard's Lease, and is the fence of the writes made in office."""

    def __init__(
        self,
        client: Client,
        *,
        namespace: str,
        shard: str,
        identity: str,
        clock: Callable[[], float],
        timing: Timing = Timing(),
        random: Random | None = None,
        impersonate: bool = True,
    ) -> None:
        self._client = client
        self._namespace = namespace
        self.shard = shard
        self.identity = identity
        self.name = f"drover-operator-{shard}"
        self._clock = clock
        self._timing = timing
        self._random = random or Random()
        self._impersonate = impersonate
        self.term: Term | None = None
        self._last: Written | None = None  # what we wrote last, while that is certain
        self._asked = 0  # the epoch that may be ours: the answer to a write can be cut off by our own end
        self._seen: tuple[str, float] = ("", 0.0)
        self.annotations: dict[str, str] = {}  # what the next renewal leaves on the Lease for those who look at it
        self.holder = ""  # whom the Lease named when we last looked

    @property
    def leading(self) -> bool:
        """Whether this process may write now, by its own clock."""
        return self.term is not None and asyncio.get_running_loop().time() < self.term.valid_until

    def headers(self) -> Mapping[str, str]:
        """The proof that a write carries: who we are and the epoch; see `kube.client.Fence`.

        Raises:
            LostLeadership: our time is over.
        """
        term = self.term
        if term is None or not self.leading:
            raise LostLeadership(f"{self.identity} does not hold the lease {self.name} any more")
        if not self._impersonate:
            return {}
        return {
            "Impersonate-User": f"drover:operator:{term.shard}",
            "Impersonate-Extra-drover.dev%2Fepoch": str(term.epoch),
            "Impersonate-Extra-drover.dev%2Fholder": term.holder,
        }

    async def run(self, lead: Callable[[Term], Awaitable[None]]) -> None:
        """Wait for office, run `lead` in it, and return when `lead` returns.

        Raises:
            LostLeadership: the lease could not be kept; the process should end and begin anew.
        """
        if not await self._try():
            await self._stand_by()
        if self.term is None:
            raise LostLeadership("the lease was taken at once")
        log.info("leading", epoch=self.term.epoch, holder=self.identity, shard=self.shard)
        work, keep = asyncio.ensure_future(lead(self.term)), asyncio.ensure_future(self._keep())
        try:
            done, _ = await asyncio.wait({work, keep}, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
        finally:
            for task in (work, keep):
                task.cancel()
            await asyncio.gather(work, keep, return_exceptions=True)

    async def _stand_by(self) -> None:
        """Try by the clock, and as soon as the Lease is given back."""
        vacancy = Vacancy(self._client, namespace=self._namespace, name=self.name, random=self._random)
        following = asyncio.ensure_future(vacancy.follow())
        try:
            while not await self._try():
                await vacancy.wait(self._timing.retry * self._random.uniform(1.0, 1.2))
        finally:
            following.cancel()
            await asyncio.gather(following, return_exceptions=True)

    async def release(self) -> None:
        """Give the lease back, so that a standby takes over at once. Nothing is written by us afterwards."""
        self.term = None
        if not self._asked:
            return
        try:
            lease = await self._client.get(LEASES, self._namespace, self.name)
            if lease.spec.holder_identity == self.identity and (lease.spec.lease_transitions or 0) <= self._asked:
                await self._write(_known(lease), {"holderIdentity": "", "leaseDurationSeconds": 1, "renewTime": self._now()})
                log.info("released", epoch=lease.spec.lease_transitions)
        except KubeError as error:
            log.warning("release failed", reason=str(error))

    async def _keep(self) -> None:
        while True:
            await asyncio.sleep(self._timing.retry)
            await self._try()
            if not self.leading:
                raise LostLeadership(f"the lease {self.name} could not be renewed for {self._timing.renew_deadline:.0f} s, or is another's")

    async def _try(self) -> bool:
        """One attempt to take or renew; whether we hold it now."""
        asked = asyncio.get_running_loop().time()
        try:
            async with asyncio.timeout(self._timing.renew_deadline / 2):
                return await self._attempt(asked)
        except (Conflict, AlreadyExists):
            return False
        except (KubeError, TimeoutError) as error:
            log.warning("lease attempt failed", reason=str(error) or "timed out")
            return False

    async def _attempt(self, asked: float) -> bool:
        if await self._renew(asked):
            return True
        try:
            lease = await self._client.get(LEASES, self._namespace, self.name)
        except NotFound:
            return await self._create(asked)
        self.holder = holder = lease.spec.holder_identity or ""
        if holder == self.identity and self.term is not None and lease.spec.lease_transitions == self.term.epoch:
            self._in_office(self.term.epoch, asked, await self._write(_known(lease), {"renewTime": self._now()}))
            return True
        if holder == self.identity and self.term is None:
            return await self._take(lease, asked)
        self.term = None
        if holder and (holder == self.identity or not self._expired(lease)):
            return False  # another's; or that of another process that goes by our name
        return await self._take(lease, asked)

    async def _renew(self, asked: float) -> bool:
        """Renew what we wrote last, as it is; False when the Lease has to be looked at first."""
        term, last = self.term, self._last
        self._last = None
        if term is None or last is None:
            return False
        try:
            self._in_office(term.epoch, asked, await self._write(last, {"renewTime": self._now()}))
        except (Conflict, NotFound):
            return False
        return True

    async def _take(self, lease: Lease, asked: float) -> bool:
        self._asked = epoch = max((lease.spec.lease_transitions or 0) + 1, await self._floor() + 1)
        written = await self._write(_known(lease), {**self._fields(epoch), "acquireTime": self._now()})
        await self._raise_floor(epoch)
        self._in_office(epoch, asked, written)
        return True

    async def _create(self, asked: float) -> bool:
        """Make the Lease. Who is in office while it vanishes leaves office: somebody else may have led in between."""
        if self.term is not None:
            self.term = None
            return False
        epoch = await self._floor() + 1
        body = {
            "apiVersion": "coordination.k8s.io/v1",
            "kind": "Lease",
            "metadata": {"name": self.name, "namespace": self._namespace},
            "spec": {**self._fields(epoch), "acquireTime": self._now()},
        }
        self._asked = epoch
        written = await self._client.create(LEASES, self._namespace, body)
        await self._raise_floor(epoch)
        self._in_office(epoch, asked, written)
        return True

    def _in_office(self, epoch: int, asked: float, written: Written) -> None:
        """The time counts from before the request: the others count from later."""
        self._last = written
        self.holder = self.identity
        self.term = Term(epoch=epoch, holder=self.identity, shard=self.shard, valid_until=asked + self._timing.renew_deadline)

    def _expired(self, lease: Lease) -> bool:
        """Whether the holder has not renewed for a whole duration of *our* clock: clocks of others are not trusted."""
        now, record = asyncio.get_running_loop().time(), lease.metadata.resource_version
        if self._seen[0] != record:
            self._seen = (record, now)
            return False
        return now - self._seen[1] >= (lease.spec.lease_duration_seconds or self._timing.duration)

    def _fields(self, epoch: int) -> dict[str, Any]:
        return {
            "holderIdentity": self.identity,
            "leaseDurationSeconds": math.ceil(self._timing.duration),  # never shorter than the holder believes
            "leaseTransitions": epoch,
            "renewTime": self._now(),
        }

    async def _write(self, lease: Written, spec: dict[str, Any]) -> Written:
        meta: dict[str, Any] = {"uid": lease.uid, "resourceVersion": str(lease.version)}
        if self.annotations:
            meta["annotations"] = self.annotations
        return await self._client.patch(LEASES, self._namespace, self.name, {"metadata": meta, "spec": spec})

    async def _floor(self) -> int:
        """The highest epoch ever in office, kept apart from the Lease."""
        try:
            kept = await self._client.get(CONFIG_MAPS, self._namespace, self.name)
        except NotFound:
            return 0
        text = kept.metadata.annotations.get(EPOCH_ANNOTATION, "0")
        if not text.isdecimal():
            raise ConfigurationError(f"the annotation {EPOCH_ANNOTATION} of ConfigMap {self._namespace}/{self.name} is '{text}', not a number: delete it")
        return int(text)

    async def _raise_floor(self, epoch: int) -> None:
        meta = {"name": self.name, "namespace": self._namespace, "annotations": {EPOCH_ANNOTATION: str(epoch)}}
        try:
            await self._client.patch(CONFIG_MAPS, self._namespace, self.name, {"metadata": meta})
        except NotFound:
            await self._client.create(CONFIG_MAPS, self._namespace, {"apiVersion": "v1", "kind": "ConfigMap", "metadata": meta})

    def _now(self) -> str:
        return datetime.fromtimestamp(self._clock(), tz=UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def _known(lease: Lease) -> Written:
    """The Lease as it was read: what a write names as its precondition."""
    return Written(lease.metadata.uid, lease.metadata.version)
