# SPDX-License-Identifier: Apache-2.0
"""What `status` shows: one service as a tree, or all as a table. Imported only when the verb runs."""

import asyncio
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import msgspec

from drover_operator.cli.cluster import connected, every, one, tidy, typed
from drover_operator.cli.options import Where
from drover_operator.cli.outcome import Exit, Failure
from drover_operator.cli.screen import Counter, look, write_lines
from drover_operator.cli.tree import healthy, table, tree


@dataclass(frozen=True, kw_only=True)
class Asked:
    """What `status` was asked for."""

    name: str = ""
    json: bool = False
    where: Where


def status(asked: Asked) -> Exit:
    """Read, print, and say how it is."""
    return asyncio.run(_status(asked))


async def _status(asked: Asked) -> Exit:
    async with connected(asked.where) as (client, namespace):
        if asked.name:
            return _show_one(await one(client, namespace, asked.name), asked)
        return _show_all(await every(client, namespace, Counter(sys.stderr)), namespace, asked)


def _show_one(found: bytes, asked: Asked) -> Exit:
    service, problem = typed(found)
    if service is None:
        raise Failure(f"service '{asked.name}' was written by another version of Drover ({problem}): use kubectl drover of that version, or -o json")
    write_lines([_pretty(tidy(found))] if asked.json else tree(service, look(), datetime.now(UTC)))
    return Exit.DONE if healthy(service) else Exit.DEGRADED


def _show_all(found: Sequence[bytes], namespace: str, asked: Asked) -> Exit:
    if asked.json:
        write_lines([_pretty({"apiVersion": "v1", "kind": "List", "items": [tidy(each) for each in found]})])
        return Exit.DONE
    services = [typed(each) for each in found]
    unread = [problem for service, problem in services if service is None]
    if unread:
        print(f"error: {len(unread)} services were written by another version of Drover and are not shown ({unread[0]}); -o json has them", file=sys.stderr)
    if known := [service for service, _ in services if service is not None]:
        write_lines(table(known, look(), datetime.now(UTC), namespaces=asked.where.all_namespaces))
    elif not unread:
        print(f"no services in namespace {namespace}" if namespace else "no services in any namespace", file=sys.stderr)
    return Exit.ERROR if unread else Exit.DONE


def _pretty(value: dict[str, Any]) -> str:
    return msgspec.json.format(msgspec.json.encode(value), indent=4).decode()
