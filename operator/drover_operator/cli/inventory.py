# SPDX-License-Identifier: Apache-2.0
"""Services as the API server has them: read with the operator's own client, and printed. Imported only by a verb that needs the cluster."""

import asyncio
import contextlib
import difflib
import io
import os
import sys
from collections.abc import AsyncGenerator, Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import msgspec

from drover_operator.api.managedservice import ManagedService
from drover_operator.api.meta import Object
from drover_operator.api.resource import MANAGED_SERVICES, Resource
from drover_operator.cli.layout import Look
from drover_operator.cli.outcome import Exit, Failure
from drover_operator.cli.tree import healthy, table, tree
from drover_operator.kube.auth import connect
from drover_operator.kube.client import Client
from drover_operator.kube.errors import ConfigurationError, Gone, KubeError, NotFound
from drover_operator.kube.http import HttpTransport

CHUNK = 500
NOT_INSTALLED = "Drover is not installed in this cluster: apply crds/ first"
# The object as it came, so that JSON output has every field, those that this version does not know included.
AS_IT_CAME = Resource[Any](MANAGED_SERVICES.group, MANAGED_SERVICES.version, MANAGED_SERVICES.plural, MANAGED_SERVICES.kind, model=msgspec.Raw)

Progress = Callable[[int], None]


@dataclass(frozen=True, kw_only=True)
class Asked:
    """What `status` was asked for; no namespace means that of the context."""

    name: str = ""
    namespace: str = ""
    all_namespaces: bool = False
    json: bool = False
    kubeconfig: str | None = None
    context: str | None = None


def status(asked: Asked) -> Exit:
    """Read, print, and say how it is."""
    return asyncio.run(_status(asked))


async def _status(asked: Asked) -> Exit:
    async with _connected(asked) as (client, own_namespace):
        namespace = "" if asked.all_namespaces else asked.namespace or own_namespace
        if asked.name:
            return _show_one(await one(client, namespace, asked.name), asked)
        return _show_all(await every(client, namespace, _Counter(sys.stderr)), namespace, asked)


@contextlib.asynccontextmanager
async def _connected(asked: Asked) -> AsyncGenerator[tuple[Client, str]]:
    if asked.kubeconfig and not os.path.exists(asked.kubeconfig):  # noqa: ASYNC240, PTH110  before anything runs beside it
        raise ConfigurationError(f"no kubeconfig file {asked.kubeconfig}")
    try:
        connection = connect(asked.kubeconfig, asked.context)
    except (OSError, LookupError, AttributeError, TypeError, ValueError) as error:
        # A kubeconfig of a wrong shape, or a certificate authority that is none.
        raise ConfigurationError(f"the kubeconfig cannot be used: {type(error).__name__}: {error}") from error
    transport = HttpTransport(connection, agent="kubectl-drover")
    try:
        yield Client(transport), connection.namespace
    finally:
        await transport.close()


# --- reading


async def one(client: Client, namespace: str, name: str) -> bytes:
    """The service as JSON.

    Raises:
        Failure: there is none of that name; says which are like it, and where one is.
    """
    try:
        return bytes(await client.get(AS_IT_CAME, namespace, name))
    except NotFound:
        here = await _names(client, namespace)
        where = f"no service '{name}' in namespace '{namespace}'"
        if close := difflib.get_close_matches(name, [each for _, each in here], n=3):
            raise Failure(f"{where}; did you mean {' or '.join(close)}?") from None
        elsewhere = sorted(space for space, each in await _names(client, "", quiet=True) if each == name)
        hint = f"; there is one in namespace {elsewhere[0]}: add -n {elsewhere[0]}" if elsewhere else "; kubectl drover status lists what there is"
        raise Failure(where + hint) from None


async def every(client: Client, namespace: str, progress: Progress) -> list[bytes]:
    """All services of a namespace, or of all with "", as JSON; read in chunks so that neither side holds one huge answer."""
    found: list[bytes] = []
    after, limit = "", CHUNK
    try:
        while True:
            try:
                page = await client.page(MANAGED_SERVICES, namespace, limit=limit, after=after)
            except Gone:
                # The list changed for longer than the server remembers: once more, whole, as kubectl does.
                found, after, limit = [], "", 0
                continue
            found += map(bytes, page.items or ())
            after = page.metadata.continue_
            if not after:
                return found
            progress(len(found))
    except NotFound:
        raise Failure(NOT_INSTALLED) from None
    finally:
        progress(0)


async def _names(client: Client, namespace: str, *, quiet: bool = False) -> list[tuple[str, str]]:
    """Namespace and name of the first services; where they are only a hint (`quiet`), a refusal is none."""
    try:
        page = await client.page(MANAGED_SERVICES, namespace, limit=CHUNK, metadata_only=True)
    except NotFound:
        raise Failure(NOT_INSTALLED) from None
    except KubeError:
        if quiet:
            return []
        raise
    return [msgspec.json.decode(each, type=Object).metadata.key for each in page.items or ()]


class _Counter:
    """Shows on a terminal how many services were read so far, for lists that take time; 0 takes it away again."""

    def __init__(self, stream: Any) -> None:
        self._stream = stream
        self._shown = False

    def __call__(self, count: int) -> None:
        if not self._stream.isatty() or (not count and not self._shown):
            return
        self._shown = bool(count)
        self._stream.write(f"\r{count} services read ..." if count else "\r\x1b[K")
        self._stream.flush()


# --- printing


def _show_one(found: bytes, asked: Asked) -> Exit:
    service, problem = _typed(found)
    if service is None:
        raise Failure(f"service '{asked.name}' was written by another version of Drover ({problem}): use kubectl drover of that version, or -o json")
    _print([_pretty(_tidy(found))] if asked.json else tree(service, look(), datetime.now(UTC)))
    return Exit.DONE if healthy(service) else Exit.DEGRADED


def _show_all(found: Sequence[bytes], namespace: str, asked: Asked) -> Exit:
    if asked.json:
        _print([_pretty({"apiVersion": "v1", "kind": "List", "items": [_tidy(each) for each in found]})])
        return Exit.DONE
    services = [_typed(each) for each in found]
    unread = [problem for service, problem in services if service is None]
    if unread:
        print(f"error: {len(unread)} services were written by another version of Drover and are not shown ({unread[0]}); -o json has them", file=sys.stderr)
    if known := [service for service, _ in services if service is not None]:
        _print(table(known, look(), datetime.now(UTC), namespaces=asked.all_namespaces))
    elif not unread:
        print(f"no services in namespace {namespace}" if namespace else "no services in any namespace", file=sys.stderr)
    return Exit.ERROR if unread else Exit.DONE


def _typed(found: bytes) -> tuple[ManagedService | None, str]:
    try:
        return msgspec.json.decode(found, type=ManagedService), ""
    except msgspec.ValidationError as error:
        return None, str(error)


def _tidy(found: bytes) -> dict[str, Any]:
    """The object without managedFields, which kubectl hides too."""
    value: dict[str, Any] = msgspec.json.decode(found)
    value.get("metadata", {}).pop("managedFields", None)
    return value


def _pretty(value: dict[str, Any]) -> str:
    return msgspec.json.format(msgspec.json.encode(value), indent=4).decode()


def _print(lines: Sequence[str]) -> None:
    if isinstance(sys.stdout, io.TextIOWrapper):
        # A version or a message may hold letters that this terminal has not: better escaped than not shown.
        sys.stdout.reconfigure(errors="backslashreplace")
    try:
        sys.stdout.write("\n".join(lines) + "\n")
    except BrokenPipeError:
        # A reader that went away, as `head` does, does not change how the service is: the exit code stays.
        return
    except OSError as error:
        raise Failure(f"cannot write the output: {error.strerror or error}") from error


def look() -> Look:
    """What stdout can show."""
    terminal = sys.stdout.isatty()
    encoding = (getattr(sys.stdout, "encoding", None) or "").lower().replace("-", "")
    return Look(
        width=_width() or 80,
        unicode=terminal and encoding == "utf8",
        colour=terminal and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb",
        cut=terminal,
    )


def _width() -> int:
    """Columns of the terminal, 0 when it is not known."""
    if (text := os.environ.get("COLUMNS", "")).isdigit():
        return int(text)
    try:
        return os.get_terminal_size(sys.stdout.fileno()).columns
    except (OSError, ValueError):
        return 0
