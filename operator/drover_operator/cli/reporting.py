# SPDX-License-Identifier: Apache-2.0
"""What `report` does: take a report and write it. Imported only when the verb runs."""

import asyncio
import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from drover_operator.cli.bundle import counted, taken
from drover_operator.cli.cluster import connected, every
from drover_operator.cli.options import Where
from drover_operator.cli.outcome import Exit, Failure
from drover_operator.cli.screen import Counter, write_lines

STDOUT = "-"


@dataclass(frozen=True, kw_only=True)
class Asked:
    """What `report` was asked for; no name means all services of the namespace, no file one of a telling name."""

    name: str = ""
    file: str = ""
    where: Where


def report(asked: Asked) -> Exit:
    """Take it, write it, and say what is in it."""
    found, namespace = asyncio.run(_taken(asked))
    text = msgspec.json.format(msgspec.json.encode(found), indent=1).decode()
    if asked.file == STDOUT:
        write_lines([text])
        return Exit.DONE
    file = asked.file or f"drover-report-{'-'.join(filter(None, (namespace, asked.name)))}-{_compact(found['takenAt'])}.json"
    _write(file, text)
    write_lines([f"{file}: {counted(found)}", "Values that may be secret are replaced by ***; read it before you send it."])
    for each in found["missing"]:
        print(f"warning: left out: {each}", file=sys.stderr)
    return Exit.DONE


async def _taken(asked: Asked) -> tuple[dict[str, Any], str]:
    async with connected(asked.where) as (client, namespace):
        keys = [(namespace, asked.name)] if asked.name else await _keys(client, namespace)
        return await taken(client, keys, Counter(sys.stderr, "objects")), namespace


async def _keys(client: Any, namespace: str) -> list[tuple[str, str]]:
    found = [msgspec.json.decode(each)["metadata"] for each in await every(client, namespace, Counter(sys.stderr))]
    if not found:
        raise Failure(f"no services in namespace {namespace}; add -n NAMESPACE")
    return [(each["namespace"], each["name"]) for each in found]


def _compact(moment: str) -> str:
    return "".join(letter for letter in moment.partition(".")[0].removesuffix("Z") if letter.isalnum()) + "Z"


def _write(file: str, text: str) -> None:
    """Whole or not at all, and for nobody else to read.

    Raises:
        Failure: it cannot be written.
    """
    beside = Path(f"{file}.part")
    try:
        with os.fdopen(os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="utf-8") as stream:
            stream.write(text + "\n")
        beside.replace(file)
    except OSError as error:
        beside.unlink(missing_ok=True)
        raise Failure(f"cannot write {file}: {error.strerror or error}") from error
