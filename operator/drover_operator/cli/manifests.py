# SPDX-License-Identifier: Apache-2.0
"""Kubernetes manifests from files and to YAML, with scalars read and written the way kubectl understands them.

PyYAML alone would read the unquoted tag `2026-11-21` as a date and `12:30` as 750, and would write the strings "y" and "1e10"
without quotes, which kubectl then takes for true and a number. So both directions have their own table of plain scalars.
"""

import json
import math
import os
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import IO, Any, TypeGuard, cast

import yaml

from drover_operator.kube.errors import ConfigurationError

Manifest = dict[str, Any]

STDIN = "-"
SUFFIXES = (".yaml", ".yml", ".json")
DEEPEST = 200
EXACT = 1e15  # whole numbers below it are the same as a float and as an integer
TOP_KEYS = ("apiVersion", "kind", "metadata", "spec")
METADATA_KEYS = ("name", "generateName", "namespace", "labels", "annotations")

_BOOLS = "y|Y|yes|Yes|YES|n|N|no|No|NO|true|True|TRUE|false|False|FALSE|on|On|ON|off|Off|OFF"
_PLAIN: tuple[tuple[str, str, str], ...] = (
    ("bool", rf"^(?:{_BOOLS})$", "yYnNtTfFoO"),
    ("int", r"^[-+]?(?:0b[01_]+|0x[0-9a-fA-F_]+|0[0-7_]*|[1-9][0-9_]*)$", "-+0123456789"),
    ("float", r"^(?:[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN))$", "-+.0123456789"),
    ("null", r"^(?:~|null|Null|NULL|)$", "~nN\0"),
    ("merge", r"^<<$", "<"),
)
# Only for writing: newer YAML readers take `0o17` for a number.
_QUOTED_TOO = re.compile(r"^[-+]?0[oO][0-7_]+$")

Resolvers = dict[str, list[tuple[str, re.Pattern[str]]]]


def read(sources: Iterable[str], stdin: IO[bytes]) -> list[Manifest]:
    """All objects in these files, directories (recursively) and `-` for stdin; ConfigurationError if any is unreadable."""
    found: list[Manifest] = []
    for source in sources:
        for name, data in _contents(source, stdin):
            found.extend(parse(data, name))
    return found


def parse(data: bytes, source: str) -> list[Manifest]:
    """The objects in one YAML or JSON text; `source` names it in errors."""
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise ConfigurationError(f"{source}:{line}: the text is not UTF-8") from None
    try:
        documents = _json_documents(text, source) or _yaml_documents(text, source)
        return [item for line, value in documents for item in _objects(value, source, line)]
    except RecursionError:
        raise ConfigurationError(f"{source}: nested too deeply") from None


def render(manifests: Iterable[Manifest]) -> str:
    """The objects as YAML documents; the same objects always give the same text."""
    documents = (yaml.dump(_ordered(each), Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=math.inf) for each in manifests)
    return "---\n".join(documents)


def _contents(source: str, stdin: IO[bytes]) -> Iterator[tuple[str, bytes]]:
    if source == STDIN:
        yield "stdin", stdin.read()
        return
    if source.startswith(("http://", "https://")):
        raise ConfigurationError(f"{source}: addresses are not read; fetch it and give it on stdin with -f -")
    for path in _files(source):
        try:
            yield path, Path(path).read_bytes()
        except OSError as error:
            raise ConfigurationError(f"{path}: {error.strerror or error}") from None


def _files(source: str) -> list[str]:
    """The file itself, or the manifests below a directory in a stable order."""
    if not Path(source).is_dir():
        return [source]
    found: list[str] = []
    for folder, below, names in os.walk(source):
        # Hidden directories hold the YAML of other tools, such as .github/workflows.
        below[:] = sorted(name for name in below if not name.startswith("."))
        found.extend(str(Path(folder, name)) for name in sorted(names) if name.endswith(SUFFIXES))
    if not found:
        raise ConfigurationError(f"{source}: no *.yaml, *.yml or *.json file in this directory")
    return found


def _json_documents(text: str, source: str) -> list[tuple[int, Any]]:
    """The one document of a JSON text, or nothing when it is not JSON and must be YAML."""
    if not text.lstrip().startswith("{"):
        return []
    try:
        return [(1, json.loads(text))]
    except json.JSONDecodeError as error:
        if source.endswith(".json"):
            raise ConfigurationError(f"{source}:{error.lineno}: {error.msg}") from None
        return []


def _yaml_documents(text: str, source: str) -> Iterator[tuple[int, Any]]:
    loader = _Loader(text)
    try:
        while loader.check_node():
            node = cast(yaml.Node, loader.get_node())
            yield node.start_mark.line + 1, loader.construct_document(node)  # pyright: ignore[reportUnknownMemberType]
    except (yaml.YAMLError, ValueError) as error:
        raise ConfigurationError(_syntax_error(error, text, source)) from None
    finally:
        loader.dispose()


def _syntax_error(error: Exception, text: str, source: str) -> str:
    """One line: where the text is wrong, what is wrong, and what to do about a template."""
    mark = getattr(error, "problem_mark", None)
    line = mark.line if mark else text[: getattr(error, "position", 0)].count("\n")
    problem = getattr(error, "problem", None) or getattr(error, "reason", None) or str(error)
    hint = "; render templates first, for example with `helm template`" if "{{" in text else ""
    return f"{source}:{line + 1}: {' '.join(str(problem).split())}{hint}"


def _objects(value: Any, source: str, line: int) -> Iterator[Manifest]:
    """The object of one document, the items of a list, nothing for an empty document."""
    if value is None:
        return
    if not _is_mapping(value):
        raise ConfigurationError(f"{source}:{line}: a Kubernetes object is a mapping, not a {'list' if _is_list(value) else 'scalar'}")
    manifest: Manifest = _plain(value, f"{source}:{line}")
    kind, version = manifest.get("kind"), manifest.get("apiVersion")
    if not isinstance(kind, str) or not isinstance(version, str) or not kind or not version:
        raise ConfigurationError(f"{source}:{line}: not a Kubernetes object, apiVersion or kind is missing{_kustomize_hint(source)}")
    if not kind.endswith("List") or not isinstance(manifest.get("items"), list):
        yield manifest
        return
    for item in manifest["items"]:
        # The items of a typed list, such as a DeploymentList, do not repeat what they are.
        typed = {} if kind == "List" else {"apiVersion": version, "kind": kind.removesuffix("List")}
        yield from _objects({**typed, **item} if isinstance(item, dict) else item, source, line)


def _kustomize_hint(source: str) -> str:
    folder, name = os.path.split(source)
    return f"; import the output of `kubectl kustomize {folder or '.'}` instead" if name.startswith("kustomization.") else ""


def _is_mapping(value: object) -> TypeGuard[dict[Any, Any]]:
    return isinstance(value, dict)


def _is_list(value: object) -> TypeGuard[list[Any]]:
    return isinstance(value, list)


def _plain(value: Any, where: str, depth: int = 0) -> Any:
    """The value as JSON would carry it, which is what kubectl makes of YAML before it sends it."""
    if depth > DEEPEST:
        raise ConfigurationError(f"{where}: nested too deeply")
    if _is_mapping(value):
        return {_key(key): _plain(child, where, depth + 1) for key, child in value.items()}
    if _is_list(value):
        return [_plain(child, where, depth + 1) for child in value]
    if isinstance(value, float):
        return _number(value, where)
    if value is None or isinstance(value, str | bool | int):
        return value
    raise ConfigurationError(f"{where}: a value of type {type(value).__name__} has no place in a Kubernetes object")


def _key(key: Any) -> str:
    """A ConfigMap key such as `8080` or `on` is text for Kubernetes."""
    return key if isinstance(key, str) else json.dumps(key)


def _number(value: float, where: str) -> float | int:
    if not math.isfinite(value):
        raise ConfigurationError(f"{where}: {value} is not a number that Kubernetes knows")
    return int(value) if value.is_integer() and abs(value) < EXACT else value


def _ordered(manifest: Manifest) -> Manifest:
    ordered = _leading(manifest, TOP_KEYS)
    if isinstance(manifest.get("metadata"), dict):
        ordered["metadata"] = _leading(manifest["metadata"], METADATA_KEYS)
    return ordered


def _leading(mapping: Manifest, keys: tuple[str, ...]) -> Manifest:
    return {**{key: mapping[key] for key in keys if key in mapping}, **mapping}


def _resolvers() -> Resolvers:
    """The table of plain scalars by first character, as PyYAML keeps it."""
    table: Resolvers = {}
    for tag, pattern, firsts in _PLAIN:
        for first in firsts:
            table.setdefault(first.strip("\0"), []).append((f"tag:yaml.org,2002:{tag}", re.compile(pattern)))
    return table


def _quoting() -> Resolvers:
    """For writing: a string is quoted if kubectl, PyYAML or a newer reader would take it for anything else."""
    table = _resolvers()
    for first in "-+0":
        table[first].append(("tag:yaml.org,2002:int", _QUOTED_TOO))
    theirs = cast(Resolvers, getattr(yaml.SafeDumper, "yaml_implicit_resolvers"))  # noqa: B009  the stubs do not know it
    for first, entries in theirs.items():
        table.setdefault(first, []).extend(entries)
    return table


def _represent_text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    """Scripts and files of several lines stay readable."""
    return dumper.represent_scalar(  # pyright: ignore[reportUnknownMemberType]
        "tag:yaml.org,2002:str", text, style="|" if "\n" in text else None
    )


def _loader() -> type[yaml.SafeLoader]:
    """A loader on libyaml where PyYAML was built with it: ten times faster, same constructor."""
    base = cast(type[yaml.SafeLoader], getattr(yaml, "CSafeLoader", yaml.SafeLoader))
    bools = {**base.bool_values, "y": True, "n": False}
    return cast(type[yaml.SafeLoader], type("_Loader", (base,), {"yaml_implicit_resolvers": _resolvers(), "bool_values": bools}))


class _Dumper(yaml.SafeDumper):
    """Block style; an object that came in by an alias is written out where it stands."""

    yaml_implicit_resolvers = _quoting()

    def ignore_aliases(self, data: Any) -> bool:  # noqa: ARG002  the base class names it
        return True


_Dumper.add_representer(str, _represent_text)
_Loader = _loader()
