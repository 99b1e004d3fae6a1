# SPDX-License-Identifier: Apache-2.0
"""What `history` reads and prints: a service and its ControllerRevisions. Imported only when the verb runs."""

import asyncio
import sys
from datetime import UTC, datetime

import msgspec

from drover_operator.api.builtin import ControllerRevision
from drover_operator.api.resource import CONTROLLER_REVISIONS
from drover_operator.cli.cluster import connected, one, typed
from drover_operator.cli.options import Where
from drover_operator.cli.outcome import Exit, Failure
from drover_operator.cli.revisions import document, lines, recorded
from drover_operator.cli.screen import Counter, look, write_lines
from drover_operator.cli.sightings import SERVICE_LABEL
from drover_operator.kube.client import Client

CHUNK = 100  # a record holds a whole template


def history(where: Where, name: str, *, json: bool) -> Exit:
    """Read and print."""
    return asyncio.run(_history(where, name, json=json))


async def _history(where: Where, name: str, *, json: bool) -> Exit:
    async with connected(where) as (client, namespace):
        service, problem = typed(await one(client, namespace, name))
        if service is None:
            raise Failure(f"service '{name}' was written by another version of Drover ({problem}): use kubectl drover of that version")
        found = recorded(service, await _records(client, namespace, name))
    if json:
        write_lines([msgspec.json.format(msgspec.json.encode(document(service, found)), indent=2).decode()])
    else:
        write_lines(lines(service, found, look(), datetime.now(UTC)))
    return Exit.DONE


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
