# SPDX-License-Identifier: Apache-2.0
"""The files of the project, read and parsed once."""

import ast
import re
import subprocess
from collections.abc import Iterator
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PRODUCT = ("operator", "controllers", "sdk", "tools")
KIT = "operator/drover_operator/testing/"
SERVICE = "controllers/drover_controllers/service"
PURE = (
    *(f"{SERVICE}/{name}.py" for name in ("decide", "build", "report", "lifecycle", "drain", "ownership", "values", "naming", "sidecar")),
    *(f"{SERVICE}/{name}/*.py" for name in ("rollout", "scaling", "failover")),
    "operator/drover_operator/core/*.py",
    "operator/drover_operator/api/*.py",
)


@cache
def tracked() -> tuple[str, ...]:
    """Files of the work tree that are, or would be, in git."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"]
    names = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout.split("\0")
    return tuple(sorted(name for name in names if name and (ROOT / name).is_file()))


@cache
def text(name: str) -> str:
    return (ROOT / name).read_text()


@cache
def tree(name: str) -> ast.Module:
    return ast.parse(text(name), name)


def product(*, kit: bool = False) -> tuple[str, ...]:
    """Python files that are shipped or run; the test kit only on demand."""
    return tuple(
        name for name in tracked() if name.endswith(".py") and name.startswith(tuple(f"{each}/" for each in PRODUCT)) and (kit or not name.startswith(KIT))
    )


def pure() -> tuple[str, ...]:
    return tuple(sorted({path.relative_to(ROOT).as_posix() for pattern in PURE for path in ROOT.glob(pattern)}))


def functions(name: str) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    return (node for node in ast.walk(tree(name)) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef))


def length(node: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """Lines from `def` on, without the docstring."""
    first = node.body[0]
    doc = isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant) and isinstance(first.value.value, str)
    total = (node.end_lineno or node.lineno) - node.lineno + 1
    return total - ((first.end_lineno or first.lineno) - first.lineno + 1 if doc else 0)


# -- rules on one module, so that each can be shown to find what it looks for
IMPURE = {"time", "random", "asyncio", "os", "socket", "secrets", "uuid", "threading", "subprocess", "pathlib", "logging", "structlog", "aiohttp"}
CLOCKS = {"now", "utcnow", "today"}


def impurities(module: ast.Module) -> list[str]:
    """async, clocks, chance and I/O in a module that should be pure."""
    found: list[str] = []
    for node in ast.walk(module):
        match node:
            case ast.AsyncFunctionDef() | ast.Await() | ast.AsyncFor() | ast.AsyncWith():
                found.append(f"{node.lineno}: async")
            case ast.Import():
                found += [f"{node.lineno}: import {each.name}" for each in node.names if each.name.partition(".")[0] in IMPURE]
            case ast.ImportFrom() if (node.module or "").partition(".")[0] in IMPURE:
                found.append(f"{node.lineno}: from {node.module}")
            case ast.Call(func=ast.Attribute(attr=attr)) if attr in CLOCKS:
                found.append(f"{node.lineno}: .{attr}()")
            case ast.Call(func=ast.Name(id=name)) if name in ("open", "print", "input"):
                found.append(f"{node.lineno}: {name}()")
    return found


def asserts(module: ast.Module) -> list[int]:
    return [node.lineno for node in ast.walk(module) if isinstance(node, ast.Assert)]


def prints(module: ast.Module) -> list[int]:
    return [node.lineno for node in ast.walk(module) if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "print"]


def blankets(module: ast.Module, lines: list[str]) -> list[str]:
    """Bare excepts; and such of Exception or BaseException that swallow it without a comment on their line or the next."""
    found: list[str] = []
    for node in ast.walk(module):
        if not isinstance(node, ast.ExceptHandler):
            continue
        if node.type is None:
            found.append(f"{node.lineno}: bare except")
            continue
        kinds = node.type.elts if isinstance(node.type, ast.Tuple) else [node.type]
        wide = any(isinstance(each, ast.Name) and each.id in ("Exception", "BaseException") for each in kinds)
        last = node.body[-1]
        raises = isinstance(last, ast.Raise) and last.exc is None
        if wide and not raises and not any(_explains(line) for line in lines[node.lineno - 1 : node.lineno + 1]):
            found.append(f"{node.lineno}: blanket except without a comment")
    return found


def _explains(line: str) -> bool:
    """Whether there is a comment of words on the line, beside one for the linter."""
    comment = line.partition("#")[2]
    return bool(re.sub(r"^\s*noqa: [A-Z0-9, ]+", "", comment).strip())


def reason_words(module: ast.Module) -> list[tuple[int, str]]:
    """Literal reasons: keyword `reason`, and the third argument of `_condition`."""
    found: list[tuple[int, str]] = []
    for node in ast.walk(module):
        if not isinstance(node, ast.Call):
            continue
        name = node.func.id if isinstance(node.func, ast.Name) else node.func.attr if isinstance(node.func, ast.Attribute) else ""
        given = [each.value for each in node.keywords if each.arg == "reason"] + (node.args[2:3] if name == "_condition" else [])
        for value in given:
            found += [(part.lineno, part.value) for part in _spoken(value) if isinstance(part.value, str) and part.value]
    return found


def _spoken(node: ast.AST) -> Iterator[ast.Constant]:
    """Constants that the expression may have as its value; what is only compared is not."""
    if isinstance(node, ast.Constant):
        yield node
    elif not isinstance(node, ast.Compare):
        for child in ast.iter_child_nodes(node):
            yield from _spoken(child)
