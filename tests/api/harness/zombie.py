# SPDX-License-Identifier: Apache-2.0
"""An operator whose clock lies: it proves the epoch of a term that was real, and goes on proving it whatever the Lease says by now.

The real operator ends itself when it wakes from a freeze; this one never does, so that nothing but the API server is left to refuse it. It
has the operator's own credentials, takes the Lease by the product's election and writes through the product's client, as fast as it can and
by every way there is: through the one address of all API servers, and past it to each of them. `python -m api.harness.zombie TASK`:

- leader: takes the Lease, writes from START on; after SIGCONT it makes so many attempts more, and ends.
- double: is given a proof, and writes with it at a steady pace to each server until each has refused so many, or until STOP.
- volley: is given a proof; at START a salvo goes out at once, and then it goes on as a double.

What became of every write is in its records.
"""

import asyncio
import itertools
import json
import signal
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
from api.harness.program import START, STOP, task, tell

from drover_operator.api.resource import MANAGED_SERVICES, PODS, Resource
from drover_operator.kube.auth import Connection, connect
from drover_operator.kube.client import MUTATIONS_AT_ONCE, Client, Written
from drover_operator.kube.errors import ApiError, Fenced, KubeError
from drover_operator.kube.http import HttpTransport
from drover_operator.kube.transport import JSON, Reply, Request
from drover_operator.runtime.election import Election, LostLeadership, Term, Timing

EXACT, BARE = "uid+version", "bare"
INSTEAD = {"own": "bare", "services": "served"}  # where a write goes that cannot name a version, because that target is busy
MARK = "zombie"  # the annotation that says which write it was
SPEC = {"schedulerName": "nobody", "containers": [{"name": "a", "image": "b"}]}  # nobody schedules it: its version stays
MOST = 1000  # writes of a double that a server accepts before it gives up
Body = dict[str, Any]
Write = Coroutine[Any, Any, Written]
Named = tuple[str, str, Write]  # kind, name of the object, and the write


def proof(epoch: object, holder: str) -> dict[str, str]:
    """What a write of that term carries."""
    return {"Impersonate-User": "drover:operator:0", "Impersonate-Extra-drover.dev%2Fepoch": str(epoch), "Impersonate-Extra-drover.dev%2Fholder": holder}


class Liar:
    """A fence that proves a term as if it had no end."""

    def __init__(self, proof: Mapping[str, str]) -> None:
        self._proof = proof

    def headers(self) -> Mapping[str, str]:
        """See `kube.client.Fence`."""
        return self._proof


class Blunt(Client):
    """The product's client, which can also delete without a precondition: the product's own deletions always name a uid."""

    async def remove(self, resource: Resource[Any], namespace: str, name: str) -> Written:
        """Delete whatever goes by that name."""
        body = msgspec.json.encode({"apiVersion": "v1", "kind": "DeleteOptions"})
        reply = await self._write(Request(method="DELETE", path=resource.path(namespace, name), body=body, headers={"Content-Type": JSON}))
        left = msgspec.json.decode(reply.body)["metadata"]
        return Written(left.get("uid", ""), int(left.get("resourceVersion") or 0))


class Halting(HttpTransport):
    """Sends half of a body, and the rest when it is told to: what a freeze leaves on the way."""

    def __init__(self, connection: Connection, *, agent: str) -> None:
        super().__init__(connection, agent=agent)
        self.halted, self.go = 0, asyncio.Event()

    async def send(self, request: Request) -> Reply:
        """As `HttpTransport.send`, with a halt in the middle of the body."""
        headers = await self._headers(request)
        async with self._session.request(request.method, self._url(request), data=self._halves(request.body), headers=headers) as answer:
            return Reply(status=answer.status, body=await answer.read(), headers=answer.headers)

    async def _halves(self, body: bytes) -> AsyncIterator[bytes]:
        middle = len(body) // 2
        yield body[:middle]
        self.halted += 1
        await self.go.wait()
        yield body[middle:]


@dataclass
class Target:
    """An object to write to, as it is known; while a write is on its way that may change its version, it is busy."""

    name: str
    uid: str
    version: str
    busy: bool = False


@dataclass(frozen=True)
class Record:
    """One write and what became of it; `sent` and `done` by the wall clock, `version` is that of what it left behind."""

    kind: str
    route: str
    name: str
    outcome: str
    version: int
    sent: float
    done: float
    held: bool = False


def outcome(error: KubeError | None) -> str:
    """What became of a write, in a word or two."""
    if error is None:
        return "accepted"
    if isinstance(error, ApiError):
        return f"{error.code} {'fence' if isinstance(error, Fenced) else error.status.reason or 'without a reason'}"
    return type(error).__name__


class Sorts:
    """One write of each kind; their numbers tell them apart in the store.

    `own` and `doomed` are pods that nobody else touches, and `services` services that are at rest, so that only the fence is in the way; `bare`
    and `served` are written to without preconditions. As long as writes are `accepted`, each leaves a version to be known before the next one can name it.
    """

    def __init__(self, plan: Body) -> None:
        self._space: str = plan["namespace"]
        self._agent: str = plan["agent"]
        self._targets = {each: [Target(**one) for one in plan.get(each, ())] for each in ("own", "doomed", "bare", "services", "served")}
        self._turns = Counter[str]()
        self.accepted = True
        self.writes = {
            "create": self._create,
            "patch": partial(self._pod, "own", ""),
            "patch bare": partial(self._pod, "bare", ""),
            "status": partial(self._pod, "own", "status"),
            "status bare": partial(self._pod, "bare", "status"),
            "service": partial(self._service, "services"),
            "service bare": partial(self._service, "served"),
            "delete": self._delete,
            "delete bare": self._delete_bare,
        }
        self.sparing = ["create", "patch", "patch bare", "status", "status bare"]  # what leaves pods there, and services in their version

    def make(self, name: str, client: Blunt, number: int) -> Named:
        """The write of that name, with its number in it."""
        return self.writes[name](client, number)

    def _next(self, among: str) -> Target:
        self._turns[among] += 1
        return self._targets[among][self._turns[among] % len(self._targets[among])]

    def _create(self, client: Blunt, number: int) -> Named:
        name = f"{self._agent}-{number}"
        body = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "labels": {"drover.dev/service": "nobody"}}, "spec": SPEC}
        return "create pods", name, client.create(PODS, self._space, body)

    def _pod(self, among: str, subresource: str, client: Blunt, number: int) -> Named:
        marked = f"{self._agent} {number}"
        body: Body = {"status": {"message": marked}} if subresource else {"metadata": {"annotations": {MARK: marked}}}
        return self._patch(client, PODS, among, subresource, body)

    def _service(self, among: str, client: Blunt, number: int) -> Named:
        return self._patch(client, MANAGED_SERVICES, among, "status", {"status": {"summary": f"{self._agent} {number}"}})

    def _patch(self, client: Blunt, resource: Resource[Any], among: str, subresource: str, body: Body) -> Named:
        kind, target = f"patch {resource.plural}{f'/{subresource}' if subresource else ''}", self._next(among)
        if among in INSTEAD and not target.busy:
            return f"{kind}, {EXACT}", target.name, self._known(client, resource, target, subresource, body)
        target = self._next(INSTEAD[among]) if among in INSTEAD else target
        return f"{kind}, {BARE}", target.name, client.patch(resource, self._space, target.name, body, subresource=subresource)

    async def _known(self, client: Blunt, resource: Resource[Any], target: Target, subresource: str, body: Body) -> Written:
        target.busy = self.accepted
        try:
            conditions = {"uid": target.uid, "resourceVersion": target.version}
            left = await client.patch(
                resource, self._space, target.name, {**body, "metadata": {**body.get("metadata", {}), **conditions}}, subresource=subresource
            )
            target.version = str(left.version)
            return left
        finally:
            target.busy = False

    def _delete(self, client: Blunt, _number: int) -> Named:
        target = self._next("doomed")
        return f"delete pods, {EXACT}", target.name, client.delete(PODS, self._space, target.name, uid=target.uid, version=target.version)

    def _delete_bare(self, client: Blunt, _number: int) -> Named:
        target = self._next("bare")
        return f"delete pods, {BARE}", target.name, client.remove(PODS, self._space, target.name)


class Zombie:
    """The process; its records and its signals."""

    def __init__(self, plan: Body) -> None:
        self.plan = plan
        self.sorts = Sorts(plan)
        self.records: list[Record] = []
        self.begin, self.awake, self.stop = asyncio.Event(), asyncio.Event(), asyncio.Event()
        self._connection = connect(plan["kubeconfig"])
        self._numbers = itertools.count()
        self._transports: list[HttpTransport] = []
        self._said = set[str]()
        for number, event in ((START, self.begin), (signal.SIGCONT, self.awake), (STOP, self.stop)):
            asyncio.get_running_loop().add_signal_handler(number, event.set)

    @property
    def routes(self) -> list[str]:
        """All ways to the API servers."""
        return list(self.plan["routes"])

    def to(self, route: str) -> Connection:
        """Our credentials, and that way."""
        return replace(self._connection, server=self.plan["routes"][route])

    def transport(self, route: str) -> HttpTransport:
        """That way; it is closed at the end."""
        return self.keep(HttpTransport(self.to(route), agent=self.plan["agent"]))

    def keep(self, transport: Any) -> Any:
        """Close it at the end."""
        self._transports.append(transport)
        return transport

    async def write(self, client: Blunt, route: str, name: str, sorts: Sorts | None = None) -> Record:
        """One write, with a number of its own."""
        error, version, sent = None, 0, time.time()
        kind, target, write = (sorts or self.sorts).make(name, client, next(self._numbers))
        try:
            version = (await write).version
        except KubeError as caught:
            error = caught
        record = Record(kind, route, target, outcome(error), version, sent, time.time(), held=sorts is not None)
        self.records.append(record)
        return record

    def say(self, event: str) -> None:
        """Say that, once."""
        if event not in self._said:
            self._said.add(event)
            tell(event, written=len(self.records))

    async def run(self) -> None:
        """Do what the plan says, and leave the records."""
        try:
            await {"leader": lead, "double": double, "volley": volley}[self.plan["role"]](self)
        finally:
            for each in self._transports:
                await each.close()
        Path(self.plan["records"]).write_text(json.dumps([asdict(each) for each in self.records]))
        tell("done", records=self.plan["records"])


async def lead(zombie: Zombie) -> None:
    """Hold the Lease for real, write, be frozen, wake, and write on."""
    duration, deadline, retry = zombie.plan["lease"]
    election = Election(
        Client(zombie.transport("relay"), patience=retry),
        namespace="drover-system",
        shard="0",
        identity=zombie.plan["holder"],
        clock=time.time,
        timing=Timing(duration=duration, renew_deadline=deadline, retry=retry),
    )
    office = asyncio.create_task(_office(election))
    await zombie.begin.wait()
    liar = Liar(dict(election.headers()))
    halting = {route: zombie.keep(Halting(zombie.to(route), agent=zombie.plan["agent"])) for route in zombie.routes}
    held = [asyncio.create_task(each) for route, transport in halting.items() for each in _halted(zombie, liar, route, transport)]
    clients = [(Blunt(zombie.transport(route), liar, patience=0.0), route) for route in zombie.routes]
    await _all(_in_office(zombie, client, route, lambda: sum(each.halted for each in halting.values()) == len(held)) for client, route in clients)
    for each in halting.values():
        each.go.set()
    zombie.sorts.accepted = False
    enough = len(zombie.records) + zombie.plan["attempts"]
    turns = itertools.cycle(zombie.sorts.writes)
    await _all(_late(zombie, client, route, turns, enough) for client, route in clients for _ in range(MUTATIONS_AT_ONCE))
    await asyncio.gather(*held)
    await asyncio.gather(office)


async def _all(writers: Any) -> None:
    async with asyncio.TaskGroup() as group:
        for each in writers:
            group.create_task(each)


async def _office(election: Election) -> None:
    async def leading(term: Term) -> None:
        tell("leading", epoch=term.epoch, holder=term.holder)
        await asyncio.Event().wait()

    try:
        await election.run(leading)
    except LostLeadership as lost:
        tell("lost", reason=str(lost))  # here an operator ends


def _halted(zombie: Zombie, liar: Liar, route: str, transport: Halting) -> list[Coroutine[Any, Any, Record]]:
    """One write of each kind that comes to a halt in the middle: authenticated and allowed before the freeze, and admitted after it."""
    client = Blunt(transport, liar, patience=0.0)
    found = []
    for number, name in enumerate(zombie.sorts.writes):
        prey = [zombie.plan["held"][route][number]]
        sorts = Sorts({**zombie.plan, "agent": f"{zombie.plan['agent']}-held-{route}", "own": prey, "doomed": prey, "bare": prey})
        found.append(zombie.write(client, route, name, sorts))
    return found


async def _in_office(zombie: Zombie, client: Blunt, route: str, halted: Callable[[], bool]) -> None:
    """As many writers as the client lets through; what is on its way when the freeze comes is read when it is over."""

    async def one() -> None:
        for name in itertools.cycle(zombie.sorts.sparing):
            if zombie.awake.is_set():
                return
            await zombie.write(client, route, name)
            if len(zombie.records) >= zombie.plan["warm"] and halted():
                zombie.say("writing")

    await _all(one() for _ in range(MUTATIONS_AT_ONCE))


async def _late(zombie: Zombie, client: Blunt, route: str, turns: "itertools.cycle[str]", enough: int) -> None:
    while len(zombie.records) < enough:
        await zombie.write(client, route, next(turns))


async def double(zombie: Zombie) -> None:
    """Write at a steady pace, with a proof that was given, until each server has refused so many, or accepted so many that it never will."""
    liar = Liar(proof(zombie.plan["epoch"], zombie.plan["holder"]))
    await _streams(zombie, {route: Blunt(zombie.transport(route), liar, patience=0.0) for route in zombie.routes})


async def _streams(zombie: Zombie, clients: Mapping[str, Blunt]) -> None:
    refused, accepted = Counter[str](), Counter[str]()

    async def stream(route: str, client: Blunt) -> None:
        for name in itertools.cycle(zombie.plan["sorts"]):
            if zombie.stop.is_set() or refused[route] >= zombie.plan["refusals"] or accepted[route] >= MOST:
                return
            count = accepted if (await zombie.write(client, route, name)).outcome == "accepted" else refused
            count[route] += 1
            if len(accepted) == len(clients):
                zombie.say("writing")
            if len(refused) == len(clients):
                zombie.say("refused")
            with suppress(TimeoutError):
                await asyncio.wait_for(zombie.stop.wait(), zombie.plan["pause"])

    await _all(stream(route, client) for route, client in clients.items() for _ in range(2))


async def volley(zombie: Zombie) -> None:
    """Open as many connections as a salvo needs by writes that are accepted; when the word comes everything goes out at once."""
    liar, salvo = Liar(proof(zombie.plan["epoch"], zombie.plan["holder"])), zombie.plan["salvo"]
    ways = {route: zombie.transport(route) for route in zombie.routes}
    shots = [(Blunt(way, liar, patience=0.0), route) for route, way in ways.items() for _ in range(salvo)]  # each a client: no queue but the wire
    await asyncio.gather(*(zombie.write(client, route, "create") for client, route in shots))
    zombie.sorts.accepted = False
    tell("warm", outcomes=Counter(each.outcome for each in zombie.records))
    await zombie.begin.wait()
    names = itertools.cycle(zombie.plan["shots"])
    await asyncio.gather(*(zombie.write(client, route, next(names)) for client, route in shots))
    tell("fired")
    await _streams(zombie, {route: Blunt(way, liar, patience=0.0) for route, way in ways.items()})


async def main() -> None:
    """The whole life of the process."""
    await Zombie(task()).run()


if __name__ == "__main__":
    asyncio.run(main())
