"""The pipeline of a tracer whose spans a reporter of the program's gets, and nobody else."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Protocol

from opentelemetry.sdk.trace import SpanProcessor

from tracekit._assembly.handle import Tracing
from tracekit.settings import Settings
from tracekit.transport import SendResult
from tracekit.transport._udp import MAX_PACKET_BYTES

if TYPE_CHECKING:
    from collections.abc import Mapping

    from opentelemetry.sdk.trace import ReadableSpan

    from tracekit.jaeger_client.span import Span
    from tracekit.tracing import Span as RecordingSpan
    from tracekit.transport import Payload

_log = logging.getLogger("tracekit")


def own_pipeline(config: Mapping[str, object], service_name: str) -> Tracing:
    """Return a handle for what a ``Config`` dictionary says; reads no environment."""
    return Tracing(Settings.from_jaeger_config(config, service_name), Nowhere())


class Nowhere:
    """The wire of a tracer that reports to somebody else: takes everything, sends nothing."""

    max_bytes = MAX_PACKET_BYTES
    max_retry_s: float | None = None

    def send(self, payload: Payload, deadline: float) -> SendResult:
        """Take ``payload``."""
        return SendResult.sent()

    def close(self) -> None:
        """Do nothing."""


class Reporting(Protocol):
    """A tracer that has a reporter of the program's."""

    @property
    def reports_itself(self) -> bool:
        """Whether its spans reach the reporter anyway."""

    def span_of(self, recorded: RecordingSpan) -> Span:
        """Return the span that shows ``recorded``."""

    def report_span(self, span: Span) -> None:
        """Give ``span`` to the reporter, which may raise."""


class Handing(SpanProcessor):
    """Hands every sampled span that ends, those of edges included, to the tracer's reporter."""

    def __init__(self, tracer: Reporting) -> None:
        self._tracer = tracer

    def on_end(self, span: ReadableSpan) -> None:
        """Hand ``span`` on, as OpenTracing has it; the reporter may raise."""
        shown = self._tracer.span_of(span)  # type: ignore[arg-type] # it is live, too
        if not shown.is_sampled() or self._tracer.reports_itself:
            return
        try:
            self._tracer.report_span(shown)
        except Exception:  # it is the user's own
            _log.warning("A reporter raised", exc_info=True)
