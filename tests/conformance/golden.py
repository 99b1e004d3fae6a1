# SPDX-License-Identifier: Apache-2.0
"""What the real server answered, as files in the repository, and how a record is held against it."""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.conformance.playing import Record

Json = dict[str, Any]
FOLDER = Path(__file__).parent / "golden"
WIDTH = 150
_MISSING = "(nothing)"


@dataclass(frozen=True)
class Difference:
    """One place where a record is not as the golden file says."""

    case: str
    where: str
    wanted: Any
    seen: Any

    def __str__(self) -> str:
        return f"{self.where}\n    golden: {_words(self.wanted)}\n    seen:   {_words(self.seen)}"


def read(folder: Path = FOLDER) -> dict[str, list[Json]]:
    """The golden entries by the id of their case."""
    files = {path.stem: json.loads(path.read_text()) for path in sorted(folder.glob("*.json"))}
    return {f"{group}/{name}": entries for group, content in files.items() for name, entries in content["cases"].items()}


def servers(folder: Path = FOLDER) -> set[str]:
    """The versions of the servers that the golden files were recorded from."""
    return {json.loads(path.read_text())["server"] for path in folder.glob("*.json")}


def write(server: str, records: list[Record], folder: Path = FOLDER) -> None:
    """Write the golden files of all groups of these records, each as a whole."""
    for group in sorted({record.case.group for record in records}):
        cases = {record.case.name: record.entries for record in records if record.case.group == group}
        (folder / f"{group}.json").write_text(laid_out({"server": server, "cases": cases}) + "\n")


def differences(record: Record, golden: list[Json]) -> list[Difference]:
    """Where a record differs from the golden entries; entries are counted from 1."""
    found = [Difference(record.case.id, where, wanted, seen) for where, wanted, seen in _compared(golden, record.entries, "")]
    return [*found, *([Difference(record.case.id, "broke", "", record.broke)] if record.broke else [])]


def _compared(wanted: Any, seen: Any, where: str) -> Iterator[tuple[str, Any, Any]]:
    if isinstance(wanted, dict) and isinstance(seen, dict):
        for key in dict.fromkeys((*wanted, *seen)):
            yield from _compared(wanted.get(key, _MISSING), seen.get(key, _MISSING), f"{where}.{key}" if where else key)
    elif isinstance(wanted, list) and isinstance(seen, list):
        for index in range(max(len(wanted), len(seen))):
            pair = [side[index] if index < len(side) else _MISSING for side in (wanted, seen)]
            yield from _compared(*pair, f"{where}.{index + 1}" if where else str(index + 1))
    elif wanted != seen or isinstance(wanted, bool) != isinstance(seen, bool):
        yield where, wanted, seen


def laid_out(value: Any, indent: int = 0) -> str:
    """JSON in lines of at most WIDTH where that can be; one entry a line where it fits, so that a change is a small diff."""
    flat = json.dumps(value, ensure_ascii=False)
    is_top = indent == 0 or (isinstance(value, dict) and not isinstance(next(iter(value.values()), None), str) and indent == 1)
    if (len(flat) + indent <= WIDTH and not is_top) or not isinstance(value, dict | list) or not value:
        return flat
    pad = " " * (indent + 1)
    if isinstance(value, dict):
        rows = [f"{pad}{json.dumps(key, ensure_ascii=False)}: {laid_out(child, indent + 1)}" for key, child in value.items()]
        return "{\n" + ",\n".join(rows) + "\n" + " " * indent + "}"
    return "[\n" + ",\n".join(pad + laid_out(child, indent + 1) for child in value) + "\n" + " " * indent + "]"


def _words(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return re.sub(r"(.{600}).*", r"\1 ...", text)
