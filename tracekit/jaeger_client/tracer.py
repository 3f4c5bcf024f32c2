"""``jaeger_client.Tracer``: OpenTracing's tracer with the parts and manners it had there."""

from __future__ import annotations

import atexit
import logging
from typing import TYPE_CHECKING

from tracekit import _handle
from tracekit.jaeger_client._closing import Closing
from tracekit.jaeger_client.constants import MAX_TAG_VALUE_LENGTH, MAX_TRACEBACK_LENGTH
from tracekit.jaeger_client.reporter import Reporter
from tracekit.jaeger_client.sampler import adapted
from tracekit.opentracing import Tracer as OpenTracingTracer
from tracekit.opentracing._tags import ValueRules
from tracekit.sampling import ParentRule
from tracekit.tracing import TracerProvider
from tracekit.transport import SendResult

if TYPE_CHECKING:
    import opentracing
    from opentelemetry.sdk.trace.sampling import Sampler

    from tracekit.jaeger_client._bridge import LegacySpan
    from tracekit.jaeger_client.reporter import BaseReporter
    from tracekit.jaeger_client.sampler import LegacySampler
    from tracekit.opentracing import Span, SpanContext
    from tracekit.settings import Settings
    from tracekit.transport import Payload

__all__ = ["Tracer"]

_log = logging.getLogger("tracekit")

VALUES = ValueRules(MAX_TAG_VALUE_LENGTH, MAX_TRACEBACK_LENGTH)


class Tracer(OpenTracingTracer):
    """A tracer made by ``Config``. Any thread may use it."""

    def __init__(
        self,
        tracing: _handle.Tracing,
        scope_manager: opentracing.ScopeManager | None = None,
        values: ValueRules = VALUES,
        reporter: BaseReporter | None = None,
    ) -> None:
        super().__init__(tracing, scope_manager, values)
        self.service_name = tracing.settings.service_name
        self._elsewhere = reporter
        self.reporter: BaseReporter = Reporter(tracing) if reporter is None else reporter
        self._handle = tracing
        # Its makers of old had to wait for close() themselves, or lost the last second's spans.
        atexit.register(self._shutdown)

    @property
    def sampler(self) -> Sampler | None:
        """Who decides about roots; None when tracing is disabled."""
        provider = self._handle.provider
        if not isinstance(provider, TracerProvider):
            return None
        rule = provider.sampler
        return rule.root if isinstance(rule, ParentRule) else rule

    def report_span(self, span: Span | LegacySpan) -> None:
        """Report a span that another tracer finished; the tracer's own come by themselves."""
        self.reporter.report_span(span)

    report = report_span

    def close(self) -> Closing:
        """Send everything and end; the future is done when that is over, which may be at once.

        Spans that are finished later are counted and dropped.
        """
        atexit.unregister(self._shutdown)
        return Closing.after(self._shutdown)

    def _shutdown(self) -> None:
        self._handle.shutdown(self._handle.settings.reporter.exit_budget_s)
        if self._elsewhere is not None:
            self._elsewhere.close()

    def _finished(self, span: Span) -> None:
        if self._elsewhere is None or not span.is_sampled():
            return
        try:
            self._elsewhere.report_span(span)
        except Exception:  # it is the user's own
            _log.warning("A reporter raised", exc_info=True)

    def _parent(
        self,
        child_of: object,
        linked: list[tuple[str, SpanContext]],
        ignore_active_span: bool,
    ) -> SpanContext | None:
        """Return the parent as ``jaeger_client`` found it: the active span before references."""
        explicit = super()._parent(child_of, [], ignore_active_span)
        if linked and (explicit is None or not explicit.has_trace):
            return linked[0][1]
        return explicit


class Nowhere:
    """The wire of a tracer that reports to somebody else: takes everything, sends nothing."""

    max_bytes = 65_000
    max_retry_s: float | None = None

    def send(self, payload: Payload, deadline: float) -> SendResult:
        """Take ``payload``."""
        return SendResult.sent()

    def close(self) -> None:
        """Do nothing."""


def reporting_to(
    reporter: BaseReporter,
    sampler: Sampler | LegacySampler,
    settings: Settings,
    scope_manager: opentracing.ScopeManager | None,
    values: ValueRules,
) -> Tracer:
    """Return a tracer whose roots ``sampler`` decides and whose spans go to ``reporter`` alone."""
    handle = _handle.Tracing(settings, Nowhere())
    if isinstance(handle.provider, TracerProvider):
        handle.provider.sampler = ParentRule(adapted(sampler))
    reporter.set_process(settings.service_name, dict(settings.tags), values.max_length or 0)
    return Tracer(handle, scope_manager, values, reporter)
