# SPDX-License-Identifier: Apache-2.0
"""What `diff` does: the outlook of `plan`, shown by what becomes of each object. Imported only when the verb runs."""

import asyncio
import sys
from collections.abc import Iterator

import msgspec

from drover_operator.cli.differing import Difference, document, planned, told, wished
from drover_operator.cli.outcome import Exit
from drover_operator.cli.planning import Asked, Outlook, outlook
from drover_operator.cli.screen import look, write_lines


def diff(asked: Asked) -> Exit:
    """Read, decide, print what becomes of which object."""
    found = asyncio.run(outlook(asked))
    for error in found.errors:
        print(f"error: {error}", file=sys.stderr)
    differences = list(_differences(found))
    if asked.json:
        shown = {"objects": [document(each) for each in differences], "leftOut": found.left_out}
        write_lines([msgspec.json.format(msgspec.json.encode(shown), indent=2).decode()])
    elif found.forecasts:
        write_lines(_lines(differences, found))
    return Exit.ERROR if found.errors else Exit.DONE


def _differences(found: Outlook) -> Iterator[Difference]:
    for each in found.forecasts:
        key, scene = each.service.metadata.key, found.scene
        if scene is None:
            continue
        if key in found.proposed:
            change = wished(scene.was(scene.controller.resource, key), found.proposed[key])
            yield from [change] if change.changes else []
        yield from planned(each, scene)


def _lines(differences: list[Difference], found: Outlook) -> list[str]:
    lines = [line for each in differences for line in told(each, look())] or ["no differences: nothing would be changed"]
    return [*lines, "", f"({found.left_out})"] if found.left_out else lines
