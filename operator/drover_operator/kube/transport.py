# SPDX-License-Identifier: Apache-2.0
"""The seam between Drover and an API server: requests out, replies and streams in.

Everything above it (decoding, retries, reflectors, executor) is the same code on a real API server and in the simulator, which
implements this protocol in process. The real one is `kube.http`.
"""

from collections.abc import AsyncIterator, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from typing import Protocol

JSON = "application/json"
MERGE_PATCH = "application/merge-patch+json"
STRATEGIC_PATCH = "application/strategic-merge-patch+json"
JSON_PATCH = "application/json-patch+json"
APPLY_PATCH = "application/apply-patch+yaml"
METADATA = "application/json;as=PartialObjectMetadata;v=v1;g=meta.k8s.io,application/json"
METADATA_LIST = "application/json;as=PartialObjectMetadataList;v=v1;g=meta.k8s.io,application/json"


@dataclass(frozen=True, kw_only=True)
class Request:
    """One HTTP request to the API server; `timeout` in seconds covers the whole of it, for a stream only its opening."""

    method: str
    path: str
    query: Mapping[str, str] = field(default_factory=dict[str, str])
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict[str, str])
    timeout: float = 30.0

    @property
    def mutating(self) -> bool:
        """Whether it may change something on the server."""
        return self.method != "GET"


@dataclass(frozen=True, kw_only=True)
class Reply:
    """A complete answer, whatever its status."""

    status: int
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict[str, str])


class Transport(Protocol):
    """Carries requests. Statuses are returned, never raised."""

    async def send(self, request: Request) -> Reply:
        """Send and await the whole answer.

        Raises:
            Unsent: the request certainly did not reach the server.
            OutcomeUnknown: it may have.
        """
        ...

    def stream(self, request: Request) -> AbstractAsyncContextManager[tuple[Reply, AsyncIterator[bytes]]]:
        """Open a watch: the reply (body only on an error status) and the chunks that follow, cut anywhere.

        Raises:
            Unsent: the stream could not be opened, or broke; chunks already yielded stand.
        """
        ...

    async def close(self) -> None:
        """Close all connections."""
        ...
