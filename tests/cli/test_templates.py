# SPDX-License-Identifier: Apache-2.0
"""How two recorded revisions differ: what is a line of the difference, and what is never in one."""

from typing import Any

import msgspec
import pytest

from drover_operator.cli.layout import Look
from drover_operator.cli.revisions import Recorded
from drover_operator.cli.templates import differences, painted

Json = dict[str, Any]
OLD, NEW = (Recorded(number=at, name=f"cart-r{at}", version="", marks=(), builder="2", created=None) for at in (1, 2))


def container(**more: Any) -> Json:
    return {"template": {"spec": {"containers": [{"name": "c", "image": "i:1", **more}]}}}


def env(name: str, value: str) -> Json:
    return container(env=[{"name": name, "value": value}])


def changed(old: Json, new: Json) -> list[str]:
    """The lines that differ, without indent."""
    lines = differences((OLD, msgspec.Raw(msgspec.json.encode(old))), (NEW, msgspec.Raw(msgspec.json.encode(new))))
    return [line[0] + line[1:].strip() for line in lines[2:] if line[0] in "+-"]


CHANGES: list[tuple[str, Json, Json, list[str]]] = [
    ("nothing", container(), container(), []),
    ("the order of fields is none", {"a": 1, "b": 2}, {"b": 2, "a": 1}, []),
    ("a field that is null is none", container(command=None), container(), []),
    ("a plain value", env("MODE", "slow"), env("MODE", "fast"), ["-value: slow", "+value: fast"]),
    ("a health check is of the revision too", {"healthCheck": {"tcp": {"port": 1}}}, {"healthCheck": None}, ["-healthCheck:", "-tcp:", "-port: 1", "+{}"]),
    ("a value that goes by the name of a secret", env("API_TOKEN", "one"), env("API_TOKEN", "two"), ["-value: '***'", "+value: '*** (another value)'"]),
    ("the same secret is no difference", env("API_TOKEN", "one"), env("API_TOKEN", "one"), []),
    ("a name alone that looks secret hides no reference", env("MODE", "key"), env("MODE", "token"), ["-value: key", "+value: token"]),
    (
        "a password in an address",
        env("DB", "pg://u:one@db/x"),
        env("DB", "pg://u:two@db/x"),
        ["-value: pg://***@db/x", "+value: pg://*** (another value)@db/x"],
    ),
    ("a flag that is given a secret", container(args=["--password=one"]), container(args=["--password=two", "-v"]), ["-- --password=***", "+- --password=*** (another value)", "+- -v"]),
    ("an entry that moves keeps what is known of it", {"a": [{"name": "x", "value": "password=1"}]}, {"a": [{"name": "y"}, {"name": "x", "value": "password=1"}]}, ["+- name: y"]),
    ("what a terminal would obey", env("MODE", "a"), env("MODE", "\u202e\x1b[31m\u2028b"), ["-value: a", '+value: "?\\e[31m\\Lb"']),
]  # fmt: skip


@pytest.mark.parametrize(("why", "old", "new", "lines"), CHANGES, ids=[row[0] for row in CHANGES])
def test_what_differs(why: str, old: Json, new: Json, lines: list[str]) -> None:
    assert changed(old, new) == lines, why


def test_colours_only_where_there_are_any() -> None:
    lines = differences((OLD, msgspec.Raw(b'{"a": 1}')), (NEW, msgspec.Raw(b'{"a": 2}')))
    assert painted(lines, Look()) == lines == ["--- cart-r1 (1)", "+++ cart-r2 (2)", "@@ -1 +1 @@", "-a: 1", "+a: 2"]
    assert painted(lines, Look(colour=True))[2:] == ["\x1b[36m@@ -1 +1 @@\x1b[0m", "\x1b[31m-a: 1\x1b[0m", "\x1b[32m+a: 2\x1b[0m"]
