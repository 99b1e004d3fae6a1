# SPDX-License-Identifier: Apache-2.0
"""The cluster that a verb is about: the connection, and services as the API server has them. Imported only by a verb that needs it."""

import contextlib
import difflib
import os
from collections.abc import AsyncGenerator, Callable
from typing import Any

import msgspec

from drover_operator.api.managedservice import ManagedService
from drover_operator.api.meta import Object
from drover_operator.api.resource import MANAGED_SERVICES, Resource
from drover_operator.cli.options import Where
from drover_operator.cli.outcome import Failure
from drover_operator.kube.auth import connect
from drover_operator.kube.client import Client
from drover_operator.kube.errors import ConfigurationError, Gone, KubeError, NotFound
from drover_operator.kube.http import HttpTransport

CHUNK = 500
NOT_INSTALLED = "Drover is not installed in this cluster: apply crds/ first"
# The object as it came, so that JSON output has every field, those that this version does not know included.
AS_IT_CAME = Resource[Any](MANAGED_SERVICES.group, MANAGED_SERVICES.version, MANAGED_SERVICES.plural, MANAGED_SERVICES.kind, model=msgspec.Raw)

Progress = Callable[[int], None]


@contextlib.asynccontextmanager
async def connected(where: Where) -> AsyncGenerator[tuple[Client, str]]:
    """A client of that cluster, and the namespace that is meant ("" for all).

    Raises:
        ConfigurationError: the kubeconfig cannot be used.
    """
    if where.kubeconfig and not os.path.exists(where.kubeconfig):  # noqa: ASYNC240, PTH110  before anything runs beside it
        raise ConfigurationError(f"no kubeconfig file {where.kubeconfig}")
    try:
        connection = connect(where.kubeconfig, where.context)
    except (OSError, LookupError, AttributeError, TypeError, ValueError) as error:
        # A kubeconfig of a wrong shape, or a certificate authority that is none.
        raise ConfigurationError(f"the kubeconfig cannot be used: {type(error).__name__}: {error}") from error
    transport = HttpTransport(connection, agent="kubectl-drover")
    try:
        yield Client(transport), "" if where.all_namespaces else where.namespace or connection.namespace
    finally:
        await transport.close()


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


def typed(found: bytes) -> tuple[ManagedService | None, str]:
    """The service, or None and what this version cannot read in it."""
    try:
        return msgspec.json.decode(found, type=ManagedService), ""
    except msgspec.ValidationError as error:
        return None, str(error)


def tidy(found: bytes) -> dict[str, Any]:
    """The object without managedFields, which kubectl hides too."""
    value: dict[str, Any] = msgspec.json.decode(found)
    value.get("metadata", {}).pop("managedFields", None)
    return value
