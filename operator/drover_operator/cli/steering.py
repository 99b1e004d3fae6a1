# SPDX-License-Identifier: Apache-2.0
"""What the verbs of the operator's hand do: read the service, patch it, say what was done. Imported only when such a verb runs."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime

import msgspec

from drover_operator.api.meta import Wire
from drover_operator.api.resource import MANAGED_SERVICES
from drover_operator.cli.applying import MANAGER
from drover_operator.cli.cluster import connected, one
from drover_operator.cli.differing import told, wished
from drover_operator.cli.lookback import past
from drover_operator.cli.objects import Manifest
from drover_operator.cli.options import Where
from drover_operator.cli.orders import Change, Order, change
from drover_operator.cli.outcome import Exit, Failure
from drover_operator.cli.revisions import Recorded
from drover_operator.cli.screen import look, write_lines
from drover_operator.kube.client import Client
from drover_operator.kube.errors import Conflict, OutcomeUnknown
from drover_operator.kube.transport import JSON, Request

MOST_TRIES = 8  # at a service that others write at the same time; its status is written about once a second in a rollout
UNKNOWN = "unknown"
REVIEWS = "/apis/authentication.k8s.io/v1/selfsubjectreviews"
REVIEW = {"apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview"}


@dataclass(frozen=True, kw_only=True)
class Wish:
    """An order, and for which service."""

    order: Order
    name: str
    where: Where
    dry_run: bool = False


class _User(Wire, frozen=True):
    username: str = ""


class _Reviewed(Wire, frozen=True):
    user_info: _User = _User()


class _Review(Wire, frozen=True):
    status: _Reviewed = _Reviewed()


@dataclass(frozen=True)
class _Done:
    """The service as it was and as the server has it then, and what was to be changed."""

    was: Manifest
    then: Manifest
    change: Change


def steer(wish: Wish) -> Exit:
    """Carry the order out, and say what was done."""
    done, namespace = asyncio.run(_steered(wish))
    if done.change.already:
        write_lines([done.change.sentence])
    elif wish.dry_run:
        difference = replace(wished(done.was, done.then), does="patch", reason=wish.order.verb)
        write_lines([*told(difference, look()), f"{done.change.sentence} (server dry run)"])
    else:
        write_lines([f"{done.change.sentence}; watch it: kubectl drover status {wish.name} -n {namespace} -w"])
    return Exit.DONE


async def _steered(wish: Wish) -> tuple[_Done, str]:
    now = datetime.now(UTC)
    async with connected(wish.where) as (client, namespace):
        was = await _read(client, namespace, wish.name)
        user = await whoami(client)
        for _ in range(MOST_TRIES):
            asked = change(was, wish.order, now=now, user=user, known=await _known(client, namespace, wish))
            if asked.already:
                return _Done(was, was, asked), namespace
            try:
                then = await client.apply(MANAGED_SERVICES, namespace, wish.name, asked.patch, manager=MANAGER, merge=True, dry_run=wish.dry_run)
            except Conflict:
                was = await _read(client, namespace, wish.name, uid=was["metadata"]["uid"])
            else:
                return _Done(was, msgspec.json.decode(then), asked), namespace
    raise Failure(f"service '{wish.name}' was changed by others each of the {MOST_TRIES} times that it was read; nothing was done, try again")


async def _read(client: Client, namespace: str, name: str, *, uid: str = "") -> Manifest:
    """The service; that very one if a uid is given."""
    found: Manifest = msgspec.json.decode(await one(client, namespace, name))
    if uid and found["metadata"]["uid"] != uid:
        raise Failure(f"service '{name}' was deleted and made anew meanwhile; nothing was done to the new one")
    return found


async def _known(client: Client, namespace: str, wish: Wish) -> Sequence[Recorded]:
    """The recorded revisions, where the order may name one."""
    return (await past(client, namespace, wish.name)).revisions if wish.order.verb == "rollback" else ()


async def whoami(client: Client) -> str:
    """The user that the server takes this client for, as `kubectl auth whoami` has it; "unknown" where it does not say."""
    request = Request(method="POST", path=REVIEWS, body=msgspec.json.encode(REVIEW), headers={"Content-Type": JSON})
    try:
        reply = await client.transport.send(request)
        return msgspec.json.decode(reply.body, type=_Review).status.user_info.username or UNKNOWN
    except (OutcomeUnknown, msgspec.DecodeError):
        return UNKNOWN
