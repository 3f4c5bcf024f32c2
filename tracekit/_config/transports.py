"""The table of transports: one row each, with all that is known of one before it is built.

Whoever adds a transport adds a row here and the function that builds it in
``tracekit._assembly.wires``.
"""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping


class TransportRow(NamedTuple):
    """What the settings, the start-up line and the meters need to know of one transport."""

    kind: str
    component: str
    """Its type on OpenTelemetry's meters: the conventions' own name where they have one."""
    receiver: str = ""
    """Whose variables it listens to beside those of all: "jaeger", "otlp" or nobody's."""
    label: str = ""
    """What the start-up line calls it."""
    host: str = ""
    """Where it sends by default, with ``path``; empty: it posts to no URL."""
    path: str = ""
    port: int = 0
    """The port on which nothing else is spoken; 0: there is none."""

    @property
    def receivers(self) -> tuple[str, ...]:
        """The families of variables that speak to this transport."""
        return ("", self.receiver) if self.receiver else ("",)

    @property
    def endpoint(self) -> str | None:
        """The URL that is posted to by default."""
        return f"{self.host}{self.path}" if self.host else None


TRANSPORTS: Mapping[str, TransportRow] = MappingProxyType(
    {
        row.kind: row
        for row in (
            TransportRow("udp", "tracekit.transport.UdpTransport"),
            TransportRow(
                "http",
                "tracekit.transport.HttpTransport",
                receiver="jaeger",
                label="Thrift over HTTP",
                host="http://localhost:14268",
                path="/api/traces",
                port=14268,
            ),
            TransportRow(
                "otlp-http",
                "otlp_http_span_exporter",
                receiver="otlp",
                label="OTLP over HTTP",
                host="http://localhost:4318",
                path="/v1/traces",
            ),
            TransportRow(
                "otlp-grpc",
                "otlp_grpc_span_exporter",
                receiver="otlp",
                label="OTLP over gRPC",
                host="http://localhost:4317",
                port=4317,
            ),
            TransportRow("console", "opentelemetry.sdk.trace.export.ConsoleSpanExporter"),
            TransportRow("none", "tracekit.transport.AbsentTransport"),
        )
    }
)
