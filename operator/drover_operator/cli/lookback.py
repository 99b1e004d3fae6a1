# SPDX-License-Identifier: Apache-2.0
"""What `history` reads and prints: a service and its ControllerRevisions. Imported only when the verb runs."""

import asyncio
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

import msgspec

from drover_operator.api.builtin import ControllerRevision
from drover_operator.api.managedservice import ManagedService
from drover_operator.api.resource import CONTROLLER_REVISIONS
from drover_operator.cli.cluster import connected, one, typed
from drover_operator.cli.options import Where
from drover_operator.cli.outcome import Exit, Failure
from drover_operator.cli.revisions import Recorded, document, lines, named, recorded
from drover_operator.cli.screen import Counter, look, write_lines
from drover_operator.cli.sightings import SERVICE_LABEL
from drover_operator.kube.client import Client

CHUNK = 100  # a record holds a whole template


@dataclass(frozen=True)
class Past:
    """A service, its recorded revisions, oldest first, and the records themselves."""

    service: ManagedService
    revisions: Sequence[Recorded]
    records: Sequence[ControllerRevision]


def history(where: Where, name: str, *, json: bool) -> Exit:
    """Read and print."""
    found = asyncio.run(_read(where, name))
    if json:
        write_lines([msgspec.json.format(msgspec.json.encode(document(found.service, found.revisions)), indent=2).decode()])
    else:
        write_lines(lines(found.service, found.revisions, look(), datetime.now(UTC)))
    return Exit.DONE


def compare(where: Where, name: str, old: str, new: str, *, json: bool) -> Exit:
    """Read, and print how the second revision differs from the first."""
    from drover_operator.cli import templates

    found = asyncio.run(_read(where, name))
    records = {each.metadata.name: each for each in found.records}
    before, after = (named(found.revisions, each, name) for each in (old, new))
    differences = templates.differences(*((each, records[each.name].data) for each in (before, after)))
    if json:
        write_lines([msgspec.json.format(msgspec.json.encode({"old": before.name, "new": after.name, "diff": differences}), indent=2).decode()])
    else:
        write_lines(templates.painted(differences, look()) or [f"no differences: {before.name} and {after.name} make the same pods"])
    return Exit.DONE


async def _read(where: Where, name: str) -> Past:
    async with connected(where) as (client, namespace):
        return await past(client, namespace, name)


async def past(client: Client, namespace: str, name: str) -> Past:
    """The service with what is recorded of it.

    Raises:
        Failure: the service is not there, or was written by another version.
        KubeError: the API server does not answer, or refuses.
    """
    service, problem = typed(await one(client, namespace, name))
    if service is None:
        raise Failure(f"service '{name}' was written by another version of Drover ({problem}): use kubectl drover of that version")
    records = await _records(client, namespace, name)
    return Past(service, recorded(service, records), records)


async def _records(client: Client, namespace: str, name: str) -> list[ControllerRevision]:
    found: list[ControllerRevision] = []
    after, progress = "", Counter(sys.stderr, "revisions")
    try:
        while True:
            page = await client.page(CONTROLLER_REVISIONS, namespace, selector=f"{SERVICE_LABEL}={name}", limit=CHUNK, after=after)
            found += [CONTROLLER_REVISIONS.decoder.decode(each) for each in page.items or ()]
            after = page.metadata.continue_
            if not after:
                return found
            progress(len(found))
    finally:
        progress(0)
