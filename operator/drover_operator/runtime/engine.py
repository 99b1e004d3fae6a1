# SPDX-License-Identifier: Apache-2.0
"""The engine: gather -> decide -> execute -> report, for every key, for ever.

    caches --listen--> queue --worker--> guard --> gather --> decide --> execute --> report

Level-triggered: a pass looks at the caches only, and whatever goes wrong in it ends in another pass. Caches are filled on standbys
too; nothing is decided before this process leads and its caches are proved current (the take-over barrier).
"""

import asyncio
import contextlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from random import Random
from typing import Any, TypeVar

import msgspec
import structlog

from drover_operator.api.meta import Object
from drover_operator.api.resource import Resource
from drover_operator.core.plan import Answer, Ask, Delete, Patch, Plan, Verdict
from drover_operator.kube.cache import Cache, Key
from drover_operator.kube.client import Client, Written
from drover_operator.kube.errors import KubeError, NotFound, OutcomeUnknown, TooManyRequests
from drover_operator.kube.events import EventRecorder, News
from drover_operator.kube.reflector import Reflector, RestoredHistory
from drover_operator.observe.metrics import Metrics
from drover_operator.runtime.changes import Changes
from drover_operator.runtime.election import LostLeadership
from drover_operator.runtime.executor import Result, execute, learned
from drover_operator.runtime.guard import PATIENCE, Expectation, WriteGuard
from drover_operator.runtime.inquiries import Inquiries, Outside
from drover_operator.runtime.queue import Lane, WorkQueue
from drover_operator.runtime.registry import Controller, Watch
from drover_operator.runtime.snapshot import Snapshot
from drover_operator.runtime.status import StatusWriter

T = TypeVar("T", bound=Object)
log = structlog.get_logger()
SLICE = 256  # keys queued in one go; 10,000 would keep an urgent one waiting for 45 ms
RESYNC = 600.0  # seconds between two looks at a key that nothing happened to
BUSY_JITTER = 0.25  # of the pause that a busy server asks for: what came together need not come again together


async def nobody(ask: Ask) -> Answer:
    """Where nobody outside can be asked."""
    return Answer(at=ask.at, error="this operator asks nobody outside")


@dataclass(kw_only=True)
class Setting:
    """What the engine gets from its process: time, chance and names are arguments here too."""

    clock: Callable[[], float]
    random: Random
    namespace: str = ""
    workers: int = 16
    instance: str = "drover-operator"
    metrics: Metrics = field(default_factory=Metrics)
    outside: Outside = nobody


class Engine:
    """Runs one controller on one API server. `follow` keeps the caches, `lead` works on them."""

    def __init__(self, controller: Controller, reader: Client, writer: Client, setting: Setting) -> None:
        loop = asyncio.get_running_loop()
        self.controller = controller
        self._writer = writer
        self._setting = setting
        self._metrics = setting.metrics.of(controller.name)
        self.queue = WorkQueue(loop.time, setting.random)
        self._guard = WriteGuard(loop.time)
        self._status = StatusWriter(writer, controller.resource, loop.time)
        self.events = EventRecorder(writer, setting.clock, setting.instance)
        self._verdicts: dict[Key, dict[str, Verdict]] = {}
        self._inquiries = Inquiries(setting.outside, setting.clock, self.queue.add)
        self.changes = Changes()
        self._passes = 0
        self._epoch = 0
        self.busy = 0
        self.running: dict[Key, float] = {}  # passes under way and the loop time at which they began
        self._proving = asyncio.Lock()
        self._proved_at = -1.0  # caches are certainly as new as that moment
        self._doubts: dict[Key, float] = {}  # since when a key waits for that, because its plan is in doubt
        self._lost: dict[Key, float] = {}  # the same, because the answer to one of its writes was lost
        self._stopping = False
        self.primary: Cache[Object] = Cache(controller.resource, lambda item: item.metadata.key)
        self.caches: dict[str, Cache[Object]] = {str(controller.resource): self.primary}
        self.reflectors: list[Reflector[Object]] = [Reflector(reader, self.primary, namespace=setting.namespace, random=setting.random)]
        self.primary.listen(self._primary_changed)
        for watch in controller.watches:
            self._watch(reader, watch)

    def _watch(self, reader: Client, watch: Watch) -> None:
        cache: Cache[Object] = Cache(watch.resource, watch.key_of)
        self.caches[str(watch.resource)] = cache
        setting = self._setting
        self.reflectors.append(Reflector(reader, cache, namespace=setting.namespace, selector=watch.selector, random=setting.random, optional=watch.optional))

        def changed(owner: Key | None, old: Object | None, new: Object | None) -> None:
            if owner is not None and not _same(old, new):
                urgent = new is None or watch.urgent(new)
                for key in (owner,) if watch.users is None else self._users(watch, old, new):
                    self.queue.add(key, Lane.URGENT if urgent and old is not None else Lane.TICK)

        cache.listen(changed)

    def _users(self, watch: Watch, *seen: Object | None) -> list[Key]:
        """The keys of primary objects that look at an object, as it was or as it is."""
        users, there = watch.users, [each for each in seen if each is not None]
        return [item.metadata.key for item in self.primary.values() if users is not None and any(users(item, each) for each in there)]

    def _primary_changed(self, owner: Key | None, old: Object | None, new: Object | None) -> None:
        if owner is None:
            return
        if new is None or new.metadata.deletion_timestamp is not None:
            self.queue.add(owner, Lane.URGENT)
        elif old is None or old.metadata.generation != new.metadata.generation:
            self.queue.add(owner, Lane.CHANGE)
        else:
            self.queue.add(owner, Lane.TICK)

    @property
    def synced(self) -> bool:
        """Whether every cache has been filled once."""
        return all(reflector.synced.is_set() for reflector in self.reflectors)

    async def follow(self) -> None:
        """Keep the caches current; ends only by cancellation or `RestoredHistory`."""
        async with asyncio.TaskGroup() as group:
            for reflector in self.reflectors:
                group.create_task(reflector.run())

    async def lead(self, epoch: int = 0) -> None:
        """Decide and act until cancelled. Call it in office only: everything before the barrier just waits."""
        self._epoch = epoch
        await asyncio.gather(*(reflector.prove() for reflector in self.reflectors))
        self._metrics.workers.value = self._setting.workers
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self.events.run())
                group.create_task(self.resync())
                for _ in range(self._setting.workers):
                    group.create_task(self._work())
        finally:
            await self._inquiries.close()

    def verdicts(self, key: Key) -> Mapping[str, Verdict]:
        """What is known of earlier actions of the key."""
        return self._verdicts.get(key, {})

    def would(self, key: Key) -> Plan | None:
        """What a pass on the key would decide now; nothing is done. None when there is nothing to decide."""
        item = self.primary.get(key)
        facts = None if item is None else self.controller.gather(item, self._snapshot(key, self._setting.clock()))
        return None if facts is None else self.controller.decide(facts)

    def _snapshot(self, key: Key, now: float) -> Snapshot:
        return Snapshot(now, self.caches, self.verdicts(key), answers=self._inquiries.of(key))

    async def resync(self) -> None:
        """Look at every key again; urgent ones go ahead of it all the time."""
        for number, key in enumerate(self.primary.everything(), 1):
            self.queue.add(key, Lane.RESYNC)
            if number % SLICE == 0:
                await asyncio.sleep(0)

    async def drain(self, deadline: float) -> None:
        """Take no more keys, and wait at most `deadline` seconds for the passes under way."""
        self._stopping = True
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(deadline):
                while self.busy:  # noqa: ASYNC110  at most once in the life of a process
                    await asyncio.sleep(0.01)

    async def _prove(self, since: float) -> None:
        """Return when every cache is certainly as new as that moment; keys that doubt at the same time share a proof."""
        async with self._proving:
            if self._proved_at < since:
                begun = asyncio.get_running_loop().time()
                await asyncio.gather(*(reflector.prove() for reflector in self.reflectors))
                self._proved_at = begun

    async def _in_doubt(self, key: Key, plan: Plan) -> bool:
        """Whether the plan must be decided again, on caches that are as new as its first doubt."""
        if not plan.doubt:
            self._doubts.pop(key, None)
            return False
        since = self._doubts.setdefault(key, asyncio.get_running_loop().time())
        if self._proved_at >= since:
            del self._doubts[key]  # the next doubt needs a proof of its own
            return False
        await self._prove(since)
        return True

    async def _work(self) -> None:
        while True:
            key, waited = await self.queue.get()
            self._metrics.waited.observe(waited)
            if self._stopping:
                await asyncio.Event().wait()
            await self._measured(key)

    async def _measured(self, key: Key) -> None:
        self.running[key] = started = asyncio.get_running_loop().time()
        self.busy += 1
        try:
            await self._guarded(key)
        finally:
            self.busy -= 1
            del self.running[key]
            self.queue.done(key)
            seconds = asyncio.get_running_loop().time() - started
            self._metrics.took.observe(seconds)
            self._metrics.worked.observe(seconds)

    async def _guarded(self, key: Key) -> None:
        """One pass; any error but the end of office costs this key a backoff, and nobody else anything."""
        name = self.controller.name
        self._passes += 1
        try:
            self._bind(key)
            result = await self._pass(key)
        except (LostLeadership, RestoredHistory):
            raise
        except KubeError as error:
            result = "error"
            self._heed(key, error)
            log.warning("pass failed", controller=name, key="/".join(key), reason=str(error), retry_in=round(self.queue.retry(key), 3))
        except Exception:  # a bug in one key's pass must not stop the others
            result = "error"
            log.exception("pass failed", controller=name, key="/".join(key), retry_in=round(self.queue.retry(key), 3))
        if result == "error":
            self._metrics.failed.inc()
        self._metrics.passed(result)

    def _bind(self, key: Key) -> None:
        """Say in every line of this worker what it works on. It stays until the next pass: taking it back would cost more than the pass's lines."""
        item = self.primary.get(key)
        structlog.contextvars.bind_contextvars(
            controller=self.controller.name,
            key="/".join(key),
            generation=item.metadata.generation if item is not None else 0,
            change=self.changes.last(key),
            reconcile=f"{self._epoch}-{self._passes}",
            epoch=self._epoch,
        )

    async def _pass(self, key: Key) -> str:
        if missing := self._guard.waiting(key):
            return await self._put_off(key, missing)
        if key in self._lost:
            await self._prove(self._lost[key])
            del self._lost[key]
        item = self.primary.get(key)
        if item is None:
            self._forget(key)
            return "success"
        now = self._setting.clock()
        facts = self.controller.gather(item, self._snapshot(key, now))
        if facts is None:
            return "success"
        plan = self.controller.decide(facts)
        structlog.contextvars.bind_contextvars(change=self.changes.of(item.metadata, self.controller.change(facts, plan)))
        if await self._in_doubt(key, plan):
            self.queue.add(key)
            return "requeue"
        results = [] if plan.write_ahead else await self._execute(plan, now)
        settled = self._learn(item, plan, results)
        if plan.question and all(result.verdict for result in results):
            self.queue.add(key)
            return "requeue"
        if not any(result.written for result in results if str(result.action.resource) == str(self.controller.resource)):
            await self._tell(item, facts, plan)
        self._inquiries.follow(key, plan)
        self._schedule(key, plan)
        return self._ended(key, plan, settled=settled)

    async def _execute(self, plan: Plan, now: float) -> list[Result]:
        return await execute(self._writer, plan, now)

    def _ended(self, key: Key, plan: Plan, *, settled: bool) -> str:
        """The result of a pass for the metrics; one that had not its whole effect is tried again."""
        if settled:
            self.queue.succeed(key)
            return "requeue_after" if plan.wake_after is not None else "success"
        self.queue.retry(key)
        return "requeue"

    async def _put_off(self, key: Key, missing: list[Expectation]) -> str:
        """The caches lack what we wrote: their events wake the key. What is overdue is settled by a proof, which is the truth."""
        self._metrics.stale.inc()
        late = [each.cache for each in self._guard.overdue(missing)]
        if late:
            await asyncio.gather(*(reflector.prove() for reflector in self.reflectors if reflector.cache in late))
            self._guard.forget(key)
        self.queue.wake(key, 0.0 if late else PATIENCE)
        return "stale"

    def _learn(self, item: Object, plan: Plan, results: list[Result]) -> bool:
        """Note writes for the guard and refusals for the next look; whether everything had its effect."""
        key = item.metadata.key
        known = learned(self._verdicts.pop(key, {}), plan, results)
        for result in results:
            action = result.action
            self._metrics.wrote(type(action).__name__.lower(), "done" if result.ok else "failed")
            self._heed(key, result.error)
            written = result.written or _missed(result)
            if written is not None:
                self._expect(key, action.resource, (action.namespace, action.name), written)
            self._say(result)
        if known:
            self._verdicts[key] = known
        return all(result.ok for result in results)

    def _heed(self, key: Key, error: KubeError | None) -> None:
        """What an error asks of the passes to come.

        A write without an answer may have been applied, or may yet be: the guard knows no version to wait for, so only a proof will do.
        A busy server says when to come again: the key waits for that, no worker does.
        """
        if isinstance(error, OutcomeUnknown):
            self._lost[key] = asyncio.get_running_loop().time()
        elif isinstance(error, TooManyRequests):
            self.queue.hold(key, error.pause * self._setting.random.uniform(1.0, 1.0 + BUSY_JITTER))

    def _say(self, result: Result) -> None:
        action = result.action
        if result.ok:
            log.info("done", step=action.step, reason=action.reason)
        elif result.verdict is not None:
            log.warning("refused", step=action.step, reason=result.verdict.reason, message=result.verdict.message)
        else:
            log.info("look again", step=action.step, reason=str(result.error))

    def _expect(self, owner: Key, resource: Resource[Object], key: Key, written: Written) -> None:
        cache = self.caches.get(str(resource))
        if cache is not None:
            self._guard.expect(owner, cache, key, written.uid, 0 if written.gone else written.version)

    async def _tell(self, item: Object, facts: Any, plan: Plan) -> None:
        """Write the status and record its news, unless the key's last write is too fresh: then a later pass tells it."""
        key = item.metadata.key
        parting = item.metadata.deletion_timestamp is not None  # its report may be the last one
        if not plan.write_ahead and not parting and (left := self._status.delay(key, urgent=True)) > 0:
            self.queue.wake(key, left)
            return
        report = self.controller.report(facts, plan)
        delay = 0.0 if plan.write_ahead or report.last else self._status.delay(key, urgent=report.urgent)
        if delay > 0 and self._status.differs(report.before, report.status):
            self.queue.wake(key, delay)
            return
        written = await self._status.write(item, report.before, report.status)
        if written is None:
            return
        self._metrics.wrote("status", "done")
        self._expect(key, self.controller.resource, key, written)
        for notice in report.notices:
            log.info("notice", reason=notice.reason, note=notice.note)
            news = News(kind=notice.type, reason=notice.reason, action=notice.action, note=notice.note, change=self.changes.last(key))
            self.events.record(self.controller.resource, item, news)

    def _schedule(self, key: Key, plan: Plan) -> None:
        self.queue.wake(key, RESYNC * self._setting.random.uniform(0.9, 1.1), Lane.RESYNC)
        if plan.wake_after is not None:
            self.queue.wake(key, plan.wake_after)

    def _forget(self, key: Key) -> None:
        self.queue.forget(key)
        self._guard.forget(key)
        self.changes.forget(key)
        self._status.forget(key)
        self._verdicts.pop(key, None)
        self._inquiries.forget(key)
        self._doubts.pop(key, None)
        self._lost.pop(key, None)


def _missed(result: Result) -> Written | None:
    """What the cache has to show after an answer that the object is gone: that it is, or a proof will tell otherwise."""
    action = result.action
    return Written(action.uid, 0, gone=True) if isinstance(result.error, NotFound) and isinstance(action, Patch | Delete) else None


def _same(old: Object | None, new: Object | None) -> bool:
    """Whether a change left all that is read of an object as it was, such as the status of a disruption budget."""
    if old is None or new is None:
        return False
    version = new.metadata.resource_version
    return msgspec.structs.replace(old, metadata=msgspec.structs.replace(old.metadata, resource_version=version)) == new
