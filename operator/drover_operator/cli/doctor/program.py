# SPDX-License-Identifier: Apache-2.0
"""One visit of the doctor: read, judge, say; with --fix mend, and look again."""

import asyncio
import sys
from collections.abc import Sequence
from dataclasses import dataclass

import msgspec

from drover_operator.cli.cluster import connected
from drover_operator.cli.doctor import installation, operation
from drover_operator.cli.doctor.facts import Facts, Json
from drover_operator.cli.doctor.findings import Finding, Level
from drover_operator.cli.doctor.page import page, record
from drover_operator.cli.doctor.reading import Reader
from drover_operator.cli.doctor.wanted import Wanted
from drover_operator.cli.options import Where
from drover_operator.cli.outcome import Exit, Failure, sentence
from drover_operator.cli.screen import Counter, look, write_lines
from drover_operator.kube.client import Client
from drover_operator.kube.errors import KubeError
from drover_operator.runtime.registry import Controller, discover

MANAGER = "kubectl-drover"
CHECKS = (
    *(installation.server, operation.clocks, installation.namespace, installation.definitions, installation.priorities),
    *(installation.rights, installation.own_rights, installation.queues, installation.fence),
    *(operation.lease, operation.floor, operation.operators, operation.services, operation.orphans),
)


@dataclass(frozen=True, kw_only=True)
class Asked:
    """What the doctor was asked for."""

    fix: bool = False
    yes: bool = False
    json: bool = False
    where: Where


def visit(asked: Asked) -> Exit:
    """Look, mend if asked to, and say how it is.

    Raises:
        DroverError: the cluster cannot be looked at, or --fix cannot ask.
    """
    return asyncio.run(_visit(asked, discover()))


def judge(facts: Facts) -> list[Finding]:
    """All findings, in the order of the checks."""
    return [finding for check in CHECKS for finding in check(facts)]


async def _visit(asked: Asked, controllers: tuple[Controller, ...]) -> Exit:
    async with connected(asked.where) as (client, _):
        reader = Reader(client, asked.where.namespace, Counter(sys.stderr, "objects"))
        facts = await reader.facts(controllers)
        findings = judge(facts)
        mended: list[Json] = []
        if asked.fix and (cure := remedy(findings)):
            if not asked.json:
                write_lines(page(findings, look()))
            if asked.yes or _agreed(cure):
                mended = await _mend(client, cure, facts)
                findings = judge(await reader.facts(controllers))
            else:
                return _code(findings)
        write_lines([_pretty(record(findings, mended))] if asked.json else _end(findings, mended))
        return _code(findings)


def remedy(findings: Sequence[Finding]) -> tuple[Wanted, ...]:
    """What would be applied, each once; checks come in the order in which their objects can be applied, so that the fence comes last."""
    return tuple({wanted.id: wanted for finding in findings for wanted in finding.mend}.values())


def _agreed(cure: Sequence[Wanted]) -> bool:
    """Whether a person says yes.

    Raises:
        Failure: there is nobody to ask.
    """
    if not sys.stdin.isatty():
        raise Failure("--fix asks before it changes anything, and there is no terminal to ask on: add --yes", Exit.USAGE)
    sys.stderr.write(f"\nApply {len(cure)} objects: {', '.join(each.id for each in cure)}? [y/N] ")
    sys.stderr.flush()
    return sys.stdin.readline().strip().lower() in ("y", "yes")


async def _mend(client: Client, cure: Sequence[Wanted], facts: Facts) -> list[Json]:
    """Apply one after the other; one that is refused keeps none of the others from being applied.

    What is there is patched: an apply leaves in a list what others have put there, such as Warn beside Deny.
    """
    told: list[Json] = []
    for each in cure:
        there = facts.found[each.id].body is not None
        try:
            await client.apply(each.resource, each.namespace, each.name, each.body, manager=MANAGER, merge=there)
        except KubeError as error:
            told.append({"object": each.id, "applied": False, "error": sentence(error)})
        else:
            told.append({"object": each.id, "applied": True, "error": ""})
    return told


def _end(findings: Sequence[Finding], mended: Sequence[Json]) -> list[str]:
    """What was done, and how it is afterwards."""
    done = [f"{each['object']} applied" if each["applied"] else f"{each['object']} not applied: {each['error']}" for each in mended]
    return [*(["", *done, ""] if done else []), *page(findings, look())]


def _code(findings: Sequence[Finding]) -> Exit:
    return Exit.DEGRADED if any(each.level is Level.PROBLEM for each in findings) else Exit.DONE


def _pretty(value: Json) -> str:
    return msgspec.json.format(msgspec.json.encode(value), indent=4).decode()
