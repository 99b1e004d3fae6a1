# SPDX-License-Identifier: Apache-2.0
"""Makes the records of two servers comparable: what must differ between two runs gets a name by its first appearance.

So equal stays equal and different stays different: a no-op write shows the same version twice, a recreated object another uid.
"""

import re
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

Json = dict[str, Any]
_UID = re.compile(r"\b[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}\b")
_SECONDS = re.compile(r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$")
_MICRO = re.compile(r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z$")
_ADDRESS = re.compile(r"\b\d{1,3}\.\d{1,3}\.\d{1,3}\.\d{1,3}\b")
_TOKEN = re.compile(r"(continue=)[\w=-]+")
_VOLUME = re.compile(r"\bkube-api-access-[a-z0-9]{5}\b")
# A number in a sentence is a version only where the sentence says so; that of the whole server moves with what others write.
_VERSION_WORDS = re.compile(r"(ResourceVersion in (?:the precondition|record) \()(\d{2,})")
_VERSION_ASKED = re.compile(r"(\?.*resourceVersion=)\d{2,}")
_PRESENT_WORDS = re.compile(r"(too old resource version: \d+ \(|Too large resource version: \d+, current: )\d+")
_BODY = re.compile(r"Invalid value: \"(?:\{|map\[).*\"(?=: )", re.DOTALL)  # a whole object, printed by Go
_RULE = re.compile(r"\(e\.g\. .*?regex used for validation is '.*?'\)")
_RUN = re.compile(r"(\w)\1{19,}")
_GO_DIFF = re.compile(r"\n@@.*", re.DOTALL)  # of a pod's spec, as Go prints it
_ROUND = 10  # seconds
PRESENT = "<present>"  # the version of a list or a bookmark moves with what others write


class Normaliser:
    """Names for one record."""

    def __init__(self, namespace: str) -> None:
        self._namespace = namespace
        self._names: dict[str, dict[str, str]] = {}
        self._generated: dict[str, str] = {}
        self._at = 0.0

    def entries(self, record: list[Json]) -> list[Json]:
        """The whole record."""
        for entry in record:
            self._find_generated(entry)
        return [self._entry(entry) for entry in record]

    def _entry(self, entry: Json) -> Json:
        self._at = entry["at"]
        done = {key: self._value(value, key) for key, value in entry.items() if key != "at"}
        if "causes" in (details := done.get("details", {})):
            done["message"] = _sorted(details["causes"], done["message"])
            done["details"] = {**details, "causes": _short(details["causes"], done["message"])}
        return done

    def _value(self, value: Any, key: str) -> Any:
        if isinstance(value, dict):
            return self._object(value)
        if isinstance(value, list):
            return [self._value(item, key) for item in value]
        return self._text(value, key) if isinstance(value, str) else value

    def _object(self, value: Json) -> Json:
        kept = {key: child for key, child in value.items() if not (key == "managedFields" and "name" in value)}
        if is_of_many(value):
            kept["metadata"] = {**kept["metadata"], "resourceVersion": PRESENT}
        return {key: self._value(child, key) for key, child in sorted(kept.items(), key=lambda pair: _rank(pair[0]))}

    def _text(self, text: str, key: str) -> str:
        if key.endswith("resourceVersion"):
            return self._name("version", text) if text not in ("", "0", "1", PRESENT) else text
        if key.endswith("continue"):
            return "<token>" if text else text
        if _SECONDS.match(text):
            return self._time(text, key)
        if _MICRO.match(text):
            return "<microtime>"
        return self._sentence(text)

    def _time(self, text: str, key: str) -> str:
        """A deletion may be due in the future; every other time is about now."""
        if not key.endswith("deletionTimestamp"):
            return "<time>"
        ahead = datetime.strptime(text, "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=UTC).timestamp() - self._at
        rounded = round(ahead / _ROUND) * _ROUND
        return f"<time +{rounded} s>" if rounded else "<time>"

    def _sentence(self, text: str) -> str:
        text = text.replace(self._namespace, "<ns>")
        for name, label in self._generated.items():
            text = text.replace(name, label)
        text = _VOLUME.sub("kube-api-access-<suffix>", _TOKEN.sub(r"\1<token>", text))
        text = _ADDRESS.sub("<address>", _RULE.sub("(e.g. ...)", _GO_DIFF.sub("", text)))
        text = _RUN.sub(lambda match: f"<{match[1]} {len(match[0])} times>", text)
        text = _VERSION_ASKED.sub(r"\1<version>", text)
        text = _VERSION_WORDS.sub(self._version_in_words, _PRESENT_WORDS.sub(r"\1<present>", _BODY.sub("Invalid value: <object>", text)))
        return _UID.sub(lambda match: self._name("uid", match.group()), text)

    def _version_in_words(self, match: re.Match[str]) -> str:
        known = self._names.get("version", {})
        return match[1] + known.get(match[2], "<version>")

    def _name(self, what: str, value: str) -> str:
        names = self._names.setdefault(what, {})
        return names.setdefault(value, f"<{what} {len(names) + 1}>")

    def _find_generated(self, value: Any) -> None:
        """Names that the server made from a prefix."""
        if isinstance(value, list):
            _each(value, self._find_generated)
        elif isinstance(value, dict):
            prefix, name = (value.get(key) or value.get(f"metadata.{key}") for key in ("generateName", "name"))
            if prefix and name and name.startswith(prefix) and name not in self._generated:
                self._generated[name] = f"{prefix}<{len(self._generated) + 1}>"
            _each(list(value.values()), self._find_generated)


def _short(causes: list[Json], message: str) -> list[str]:
    """Causes in a line each, with their words only where the message does not have them.

    A cause that stands there twice is told once: several layers of the real server check one field, and their number means nothing.
    """
    lines = (f"{each.get('reason', '')} {each.get('field', '')}".strip() + ("" if each["message"] in message else f": {each['message']}") for each in causes)
    return sorted(dict.fromkeys(lines))


def _sorted(causes: list[Json], message: str) -> str:
    """A sentence of several causes with them in the order of the alphabet: the real server takes some of them from a Go map."""
    parts = list(dict.fromkeys(f"{each.get('field')}: {each['message']}" for each in causes))
    together = f"[{', '.join(parts)}]"
    return message.removesuffix(together) + f"[{', '.join(sorted(parts))}]" if message.endswith(together) else message


def is_of_many(value: Json) -> bool:
    """Whether an object is a list or the empty one of a bookmark: it has a version, and no name."""
    meta = value.get("metadata")
    return isinstance(meta, dict) and bool(meta.get("resourceVersion")) and "name" not in meta


def _rank(key: str) -> tuple[int, str]:
    """The order in which people read an object."""
    first = ("apiVersion", "kind", "metadata", "name")
    return (first.index(key) if key in first else len(first), key)


def _each(values: list[Any], act: Callable[[Any], None]) -> None:
    for value in values:
        act(value)
