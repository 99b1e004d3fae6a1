# SPDX-License-Identifier: Apache-2.0
"""What two recorded revisions make their pods of, as a unified diff of sorted YAML. Pure.

Values that look like secrets are hidden as in `diff`. Two that differ are told apart all the same, or a changed password would look like none.
"""

import difflib
from typing import Any

import msgspec
import yaml

from drover_operator.cli.differing import KEYS, SECRET
from drover_operator.cli.layout import Look, paint
from drover_operator.cli.objects import without_nulls
from drover_operator.cli.redaction import HIDDEN, scrubbed
from drover_operator.cli.revisions import Recorded

ANOTHER = f"{HIDDEN} (another value)"
COLOURS = {"+": "green", "-": "red", "@": "cyan"}


def differences(old: tuple[Recorded, msgspec.Raw], new: tuple[Recorded, msgspec.Raw]) -> list[str]:
    """The lines of the difference, none when there is none."""
    veil = _Veil()
    before, after = (_yaml(veil.over(msgspec.json.decode(data))) for _, data in (old, new))
    before_name, after_name = (f"{each.name} ({each.number})" for each, _ in (old, new))
    return list(difflib.unified_diff(before, after, before_name, after_name, lineterm=""))


def painted(lines: list[str], look: Look) -> list[str]:
    """The lines in the colours that a difference has."""
    return [paint(each, COLOURS.get(each[:1], ""), look) for each in lines]


def _yaml(value: Any) -> list[str]:
    """The lines of it, without characters that a terminal would obey."""
    text = yaml.safe_dump(without_nulls(value), sort_keys=True, allow_unicode=True, width=1_000_000)
    return ["".join(letter if letter.isprintable() else "?" for letter in line) for line in text.rstrip("\n").split("\n")]


class _Veil:
    """Hides what looks like a secret, in one value after the other; it knows what was hidden at the same place before."""

    def __init__(self) -> None:
        self._hidden: dict[str, str] = {}

    def over(self, value: Any, path: str = "", name: str = "") -> Any:
        """The value with secrets hidden; `name` is that of the entry that it stands in."""
        if isinstance(value, list):
            return [self.over(each, f"{path}[{_called(each) or at}]", _called(each)) for at, each in enumerate(value)]
        if isinstance(value, dict):
            return {key: self.over(each, f"{path}.{key}", name if key == "value" else key) for key, each in value.items()}
        return self._text(value, path, name) if isinstance(value, str) else value

    def _text(self, text: str, path: str, name: str) -> str:
        shown = HIDDEN if path.endswith(".value") and SECRET.search(name) else scrubbed(text)
        if shown == text:
            return text
        return shown if self._hidden.setdefault(path, text) == text else shown.replace(HIDDEN, ANOTHER)


def _called(entry: Any) -> str:
    """What an entry of a list goes by."""
    return next((str(entry[key]) for key in KEYS if key in entry), "") if isinstance(entry, dict) else ""
