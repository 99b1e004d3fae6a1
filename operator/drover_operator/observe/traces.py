# SPDX-License-Identifier: Apache-2.0
"""Spans of what the operator does, sent by OTLP over HTTP: only where the extra `traces` is installed and an endpoint is named.

Nothing of OpenTelemetry is imported otherwise. The sender has a thread of its own, and drops what a collector does not take.
"""

import os
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.trace import Span

ENDPOINTS = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")
PATH = "/v1/traces"
EXTRA = "drover-operator[traces]"
FLUSH = 3000  # milliseconds for the last spans at the end
Attributes = Mapping[str, str | int | bool]


class TracesUnavailable(Exception):
    """OpenTelemetry is not installed."""


class Traces:
    """Opens spans; one inside another belongs to it."""

    def __init__(self, provider: "TracerProvider") -> None:
        self._provider = provider
        self._tracer = provider.get_tracer("drover_operator")

    @contextmanager
    def span(self, name: str, attributes: Attributes | None = None) -> "Generator[Span]":
        """A span around what is done in it; an exception marks it as failed and goes on."""
        with self._tracer.start_as_current_span(name, attributes=attributes) as span:
            yield span

    def close(self) -> None:
        """Send what is left, for three seconds at most."""
        self._provider.force_flush(FLUSH)
        self._provider.shutdown()


def wanted(url: str) -> bool:
    """Whether spans are asked for, by an option or by OpenTelemetry's own variables."""
    return bool(url) or any(os.environ.get(name) for name in ENDPOINTS)


def connect(url: str, resource: Attributes) -> Traces:
    """Traces that go to `url`, or where OpenTelemetry's variables say; `resource` says who sends them.

    Raises:
        TracesUnavailable: the extra is not installed.
    """
    try:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter  # noqa: PLC0415  an extra
        from opentelemetry.sdk.resources import Resource  # noqa: PLC0415
        from opentelemetry.sdk.trace import TracerProvider  # noqa: PLC0415
        from opentelemetry.sdk.trace.export import BatchSpanProcessor  # noqa: PLC0415
    except ImportError as error:
        raise TracesUnavailable(f"traces need the extra {EXTRA}: {error}") from error
    provider = TracerProvider(resource=Resource.create(dict(resource)))
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter(endpoint=_endpoint(url) if url else None)))
    return Traces(provider)


def trace_id(span: "Span") -> str:
    """The id of the trace that a span belongs to, as collectors show it."""
    return f"{span.get_span_context().trace_id:032x}"


def _endpoint(url: str) -> str:
    """The path of OTLP is added where only a host is named."""
    return url if urlsplit(url).path.strip("/") else url.rstrip("/") + PATH
