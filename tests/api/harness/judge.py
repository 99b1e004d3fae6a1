# SPDX-License-Identifier: Apache-2.0
"""Who judges the fence: the audit log of each API server, which knows what every write proved and what became of it; and the store itself.

Times are those of the one clock of this machine; versions are revisions of the one etcd, so that they put writes to all kinds in one order.
"""

import json
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from api.harness.kube import Body, Change
from api.harness.plane import ACCOUNT, LEASE, Plane
from api.harness.zombie import BARE, EXACT, MARK

from tools.cluster.record import load


def routes(plane: Plane) -> dict[str, str]:
    """The address of each API server by its number, "1" being the first; and "relay", the one of all."""
    record = load(plane.cluster.folder / "cluster.json")
    assert record is not None
    argvs = [process.argv for name, process in record.processes.items() if name.startswith("kube-apiserver")]
    ports = [word.partition("=")[2] for argv in argvs for word in argv if word.startswith("--secure-port=")]
    return {"relay": f"https://127.0.0.1:{record.port}", **{str(number): f"https://127.0.0.1:{port}" for number, port in enumerate(ports, 1)}}


def logs(plane: Plane) -> dict[str, Path]:
    """The audit log of each server."""
    first = plane.cluster.audit_log
    return {number: first if number == "1" else first.with_stem(f"{first.stem}-{number}") for number in routes(plane) if number != "relay"}


@dataclass(frozen=True)
class Seen:
    """One request with the operator's credentials as a server saw it; `received` and `answered` by the wall clock."""

    server: str
    agent: str
    user: str
    epoch: str
    holder: str
    verb: str
    resource: str
    namespace: str
    name: str
    code: int
    reason: str
    fenced: bool
    received: float
    answered: float
    body: Any

    @property
    def accepted(self) -> bool:
        """Whether it was carried out."""
        return self.code < 300

    @property
    def outcome(self) -> str:
        """As a program of the harness calls it."""
        return "accepted" if self.accepted else f"{self.code} {'fence' if self.fenced else self.reason}"

    @property
    def conditions(self) -> Body:
        """The preconditions that it named."""
        body = self.body if isinstance(self.body, dict) else {}
        named = body.get("preconditions" if self.verb == "delete" else "metadata") or {}
        return {key: named[key] for key in ("uid", "resourceVersion") if named.get(key)}

    def __str__(self) -> str:
        return f"{self.agent} to server {self.server} as epoch {self.epoch} of {self.holder}: {self.kind} {self.namespace}/{self.name} -> {self.outcome}"

    @property
    def kind(self) -> str:
        """As a program of the harness calls it."""
        what = f"{self.verb} {self.resource}"
        return what if self.verb == "create" else f"{what}, {EXACT if len(self.conditions) == 2 else BARE}"


@dataclass(frozen=True)
class Mark:
    """A moment: how long every log was then."""

    sizes: dict[Path, int]


def mark(plane: Plane) -> Mark:
    """This moment."""
    return Mark({log: log.stat().st_size for log in logs(plane).values()})


def since(plane: Plane, moment: Mark) -> list[Seen]:
    """Every write with the operator's credentials since that moment, by all servers, in the order in which they came in."""
    found = list[Seen]()
    for server, log in logs(plane).items():
        with log.open("rb") as stream:
            stream.seek(moment.sizes[log])
            lines = stream.read().split(b"\n")[:-1]  # the last one may be half written
        found += [_seen(server, raw) for raw in map(json.loads, lines) if raw["verb"] not in ("get", "list", "watch")]
    return sorted(found, key=lambda each: each.received)


def _seen(server: str, raw: Body) -> Seen:
    target, status, user = raw.get("objectRef", {}), raw.get("responseStatus", {}), raw.get("impersonatedUser", raw["user"])
    extra = user.get("extra", {})
    return Seen(
        server=server,
        agent=raw.get("userAgent", ""),
        user=user["username"],
        epoch=extra.get("drover.dev/epoch", [""])[0],
        holder=extra.get("drover.dev/holder", [""])[0],
        verb=raw["verb"],
        resource=target.get("resource", "") + (f"/{target['subresource']}" if target.get("subresource") else ""),
        namespace=target.get("namespace", ""),
        name=target.get("name", ""),
        code=status.get("code", 0),
        reason=status.get("reason", ""),
        fenced="ValidatingAdmissionPolicy 'drover-fence-" in status.get("message", ""),
        received=datetime.fromisoformat(raw["requestReceivedTimestamp"]).timestamp(),
        answered=datetime.fromisoformat(raw["stageTimestamp"]).timestamp(),
        body=raw.get("requestObject"),
    )


def take_over(seen: Iterable[Seen], epoch: int) -> Seen:
    """The write to the Lease with which that epoch began."""
    found = [
        each
        for each in seen
        if (each.user, each.resource, each.accepted) == (ACCOUNT, "leases", True)
        and each.name == LEASE
        and isinstance(each.body, dict)
        and each.body.get("spec", {}).get("leaseTransitions") == epoch
    ]
    assert len(found) == 1, f"epoch {epoch} began {len(found)} times"
    return found[0]


def idle(each: Seen, seen: Iterable[Seen]) -> bool:
    """Whether it asked to delete what another term had already deleted and what only waits for its end.

    To that the API server says yes and does nothing, and admission is not asked; with a shorter grace period it would be.
    """
    return each.verb == "delete" and any(
        (other.verb, other.resource, other.namespace, other.name, other.accepted) == ("delete", each.resource, each.namespace, each.name, True)
        and (other.epoch, other.holder) != (each.epoch, each.holder)
        and other.received < each.answered
        for other in seen
    )


@dataclass(frozen=True)
class Lag:
    """How one server took leave of a term that was over; in seconds since it was.

    `last` is when the last write that it accepted of that term came in, `done` when it was answered; `first` is the answer to the first that
    it refused. `behind` are those accepted that came in when the term was over, `relapses` those that came in after a refusal.
    """

    server: str
    last: float
    done: float
    first: float
    refused: int
    behind: tuple[Seen, ...]
    relapses: tuple[Seen, ...]

    def __str__(self) -> str:
        last, done, first = (f"{1000 * each:+.1f} ms" for each in (self.last, self.done, self.first))
        late = f"{len(self.behind)} came in late and were accepted, {len(self.relapses)} after a refusal"
        return f"  server {self.server}: last accepted came in at {last}, answered at {done}; first refusal at {first}; {late}; {self.refused} refused"


def lag(server: str, old: Iterable[Seen], end: float) -> Lag:
    """How that server took leave of a term that was over at `end`; `old` are the writes of that term."""
    mine = [each for each in old if each.server == server]
    accepted, refused = [each for each in mine if each.accepted], [each for each in mine if each.fenced]
    assert accepted and refused, f"server {server} accepted {len(accepted)} and refused {len(refused)}: there is nothing to measure"
    first = min(each.answered for each in refused)
    return Lag(
        server,
        last=max(each.received for each in accepted) - end,
        done=max(each.answered for each in accepted) - end,
        first=first - end,
        refused=len(refused),
        behind=tuple(each for each in accepted if each.received > end),
        relapses=tuple(each for each in accepted if each.received > first),
    )


def effects(changes: Iterable[Change], after: int, agents: Sequence[str]) -> list[Change]:
    """What those agents made or changed in the store after that version, by the marks that their writes leave, as the store tells it."""
    found, before = list[Change](), dict[str, set[str]]()
    for change in sorted(changes, key=lambda each: each.version):
        item = change.item
        uid, marks = item["metadata"]["uid"], _marks(item, agents)
        fresh = marks - before.get(uid, set())
        before[uid] = marks
        if change.version > after and fresh and change.kind != "DELETED":
            found.append(change)
    return found


def _marks(item: Body, agents: Sequence[str]) -> set[str]:
    meta, status = item["metadata"], item.get("status", {})
    texts = (meta["name"], meta.get("annotations", {}).get(MARK, ""), status.get("message", ""), status.get("summary", ""))
    return {text for text in texts if text.startswith(tuple(agents))}


def tally(rows: Iterable[tuple[str, str]]) -> str:
    """Two columns of words, counted: a line for each of the first."""
    counts = Counter(rows)
    firsts = sorted({first for first, _ in counts})
    lines = [f"  {first:<40} " + ", ".join(f"{word} {number}" for (each, word), number in sorted(counts.items()) if each == first) for first in firsts]
    return "\n".join([*lines, f"  {'all':<40} {counts.total()}"])
