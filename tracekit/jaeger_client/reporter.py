"""Reporters: where a tracer's finished spans go. ``Reporter`` leads into a tracekit pipeline."""

from __future__ import annotations

import logging
import threading
from typing import TYPE_CHECKING, Any

from opentelemetry.sdk.resources import Resource

from tracekit._assembly.handle import HasTracing, Tracing, resolve
from tracekit._assembly.init import init
from tracekit.jaeger_client._bridge import LegacySpan, readable
from tracekit.jaeger_client._closing import Closing
from tracekit.jaeger_client.constants import DEFAULT_FLUSH_INTERVAL
from tracekit.jaeger_client.local_agent_net import LocalAgentSender
from tracekit.jaeger_client.metrics import *  # noqa: F403 (the names that it had)
from tracekit.jaeger_client.utils import ErrorReporter  # noqa: F401 (likewise)
from tracekit.opentracing import Span
from tracekit.tracing import TracerProvider

if TYPE_CHECKING:
    from collections.abc import Mapping

    from opentelemetry.sdk.trace import ReadableSpan

__all__ = [
    "BaseReporter",
    "CompositeReporter",
    "InMemoryReporter",
    "LoggingReporter",
    "NullReporter",
    "Reporter",
]

_log = logging.getLogger("tracekit")


class BaseReporter:
    """What a reporter is made of; derive yours from it."""

    def report_span(self, span: Any) -> None:  # noqa: ANN401 (ours, or any tracer's)
        """Take a finished, sampled span; on the thread that finished it."""
        raise NotImplementedError

    def set_process(self, service_name: str, tags: Mapping[str, object], max_length: int) -> None:
        """Called with the service and its tags, once, before the first span."""

    def close(self) -> Closing:
        """Send what is left; the future is done when that is over."""
        closing = Closing()
        closing.set_result(True)
        return closing


class NullReporter(BaseReporter):
    """Takes no notice."""

    def report_span(self, span: Span) -> None:
        """Do nothing."""


class InMemoryReporter(BaseReporter):
    """Keeps the spans, for tests."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.spans: list[Span] = []

    def report_span(self, span: Span) -> None:
        """Keep ``span``."""
        with self.lock:
            self.spans.append(span)

    def get_spans(self) -> list[Span]:
        """Return the spans so far."""
        with self.lock:
            return list(self.spans)


class LoggingReporter(BaseReporter):
    """Writes one line per span."""

    def __init__(self, logger: logging.Logger | None = None) -> None:
        self.logger = logger or _log

    def report_span(self, span: Span) -> None:
        """Log ``span``."""
        self.logger.info("Reporting span %s", span)


class CompositeReporter(BaseReporter):
    """Hands each span to several reporters, in order."""

    def __init__(self, *reporters: BaseReporter) -> None:
        self.reporters = reporters

    def report_span(self, span: Span) -> None:
        """Hand ``span`` to all."""
        for reporter in self.reporters:
            reporter.report_span(span)

    def set_process(self, service_name: str, tags: Mapping[str, object], max_length: int) -> None:
        """Tell all."""
        for reporter in self.reporters:
            reporter.set_process(service_name=service_name, tags=tags, max_length=max_length)

    def close(self) -> Closing:
        """Close all."""
        parts = [reporter.close() for reporter in self.reporters]
        return Closing.after(lambda: [part.result() for part in parts])


class Reporter(BaseReporter):
    """Takes the spans of an existing ``jaeger_client.Tracer`` into a tracekit pipeline.

    ::

        jaeger_client.Tracer("shop", reporter=tracekit.jaeger_client.Reporter(), sampler=...)

    ``tracing`` is the handle whose pipeline it is (None: the process' one, at each span). Given a
    ``channel`` as it was, a ``LocalAgentSender``, it has a pipeline of its own to that agent;
    ``queue_capacity`` and ``batch_size`` are in spans, ``flush_interval`` in seconds, and further
    arguments of ``jaeger_client``'s have no effect. The spans keep ids, tags, logs, references
    and flags, and the process of their own tracer. Queue, batches and losses are the pipeline's.
    Any thread may report; nothing is raised.
    """

    def __init__(
        self,
        tracing: Tracing | HasTracing | LocalAgentSender | None = None,
        queue_capacity: int = 100,
        batch_size: int = 10,
        flush_interval: float | None = DEFAULT_FLUSH_INTERVAL,
        io_loop: object = None,
        error_reporter: object = None,
        metrics: object = None,
        metrics_factory: object = None,
        *,
        channel: LocalAgentSender | None = None,
        **_: object,
    ) -> None:
        if isinstance(tracing, LocalAgentSender):
            tracing, channel = None, tracing
        self._own: Tracing | None = None
        if channel is not None:
            if queue_capacity < batch_size:
                raise ValueError("Queue capacity cannot be less than batch size")
            tracing = self._own = init(
                "jaeger_client",  # each span says its own service
                environ={},
                set_global=False,
                agent_host=channel.host,
                agent_port=channel.reporting_port,
                queue_size=queue_capacity,
                max_batch_spans=batch_size,
                flush_s=flush_interval or DEFAULT_FLUSH_INTERVAL,
                sampler_type="const",
                sampler_param=1,
            )
        elif tracing is not None:
            resolve(tracing)
        self._given = tracing
        self._resource: Resource | None = None

    @property
    def tracing(self) -> Tracing:
        """The handle that spans go to now."""
        return resolve(self._given)

    def set_process(self, service_name: str, tags: Mapping[str, object], max_length: int) -> None:
        """Take the name and tags of the tracer whose spans these will be."""
        values = {
            key: value if isinstance(value, bool | int | float) else str(value)[:max_length]
            for key, value in tags.items()
        }
        self._resource = Resource({**values, "service.name": service_name})

    def report_span(self, span: Span | LegacySpan) -> None:
        """Queue a finished span of ``jaeger_client`` (or of ours)."""
        handle = self.tracing
        provider = handle.provider
        if not isinstance(provider, TracerProvider):
            return
        try:
            taken: ReadableSpan = (
                span.otel  # type: ignore[assignment] # one that is reported was recorded
                if isinstance(span, Span)
                else readable(span, self._resource or provider.resource)
            )
            provider.reporter.report(taken)
        except Exception:  # a span that another library made, of whatever version
            _log.warning("A span of jaeger_client could not be read", exc_info=True)

    def close(self) -> Closing:
        """Send what is queued. The pipeline goes on if it belongs to a handle."""
        handle = self.tracing
        if self._own is not None:
            return Closing.after(self._own.shutdown)
        return Closing.after(lambda: handle.flush(handle.settings.reporter.exit_budget_s))
