"""``jaeger_client.Tracer``: OpenTracing's tracer with the parts and manners it had there."""

from __future__ import annotations

import secrets
from concurrent.futures import Future
from functools import cached_property
from typing import TYPE_CHECKING, TypeAlias

from opentracing import (
    Format,
    Reference,
    SpanContextCorruptedException,
    UnsupportedFormatException,
)
from opentracing.ext import tags as ext

from tracekit._assembly.resource import jaeger_tags
from tracekit.jaeger_client import constants
from tracekit.jaeger_client._closing import Closing, close_at_exit, closed
from tracekit.jaeger_client._figures import figures_for
from tracekit.jaeger_client._formats import formats_of
from tracekit.jaeger_client._own_pipeline import Handing, own_pipeline
from tracekit.jaeger_client.codecs import *  # noqa: F403 (the names that it had)
from tracekit.jaeger_client.codecs import B3Codec, Codec
from tracekit.jaeger_client.constants import *  # noqa: F403 (the names that it had)
from tracekit.jaeger_client.metrics import *  # noqa: F403 (the names that it had)
from tracekit.jaeger_client.reporter import *  # noqa: F403 (the names that it had)
from tracekit.jaeger_client.reporter import Reporter
from tracekit.jaeger_client.sampler import *  # noqa: F403 (the names that it had)
from tracekit.jaeger_client.sampler import adapted, original
from tracekit.jaeger_client.span import Span
from tracekit.jaeger_client.throttler import *  # noqa: F403 (the names that it had)
from tracekit.jaeger_client.utils import local_ip  # noqa: F401 (likewise)
from tracekit.opentracing import Span as OpenTracingSpan
from tracekit.opentracing import SpanContext
from tracekit.opentracing import Tracer as OpenTracingTracer
from tracekit.opentracing._tags import ValueRules
from tracekit.opentracing._tracer import context_of, linked_to
from tracekit.sampling import ParentRule
from tracekit.tracing import TracerProvider

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import opentracing
    from opentelemetry import trace
    from opentelemetry.sdk.trace.sampling import Sampler as OTelSampler

    from tracekit._assembly.handle import Tracing
    from tracekit.jaeger_client._bridge import LegacySpan
    from tracekit.jaeger_client.metrics import Metrics, MetricsFactory
    from tracekit.jaeger_client.reporter import BaseReporter
    from tracekit.jaeger_client.sampler import LegacySampler
    from tracekit.jaeger_client.throttler import Throttler
    from tracekit.opentracing._tracer import Parent
    from tracekit.tracing import Unrecorded

    References: TypeAlias = "opentracing.Reference | Sequence[opentracing.Reference] | None"

__all__ = ["Tracer"]


def root_sampler(tracing: Tracing) -> OTelSampler | LegacySampler | None:
    """Return who decides about the roots of a handle; None when tracing is disabled."""
    provider = tracing.provider
    if not isinstance(provider, TracerProvider):
        return None
    rule = provider.sampler
    return original(rule.root if isinstance(rule, ParentRule) else rule)


class Tracer(OpenTracingTracer):
    """A tracer with the constructor that it had; ``Config`` makes them for a service.

    ``reporter`` gets each sampled span that ends on this tracer's pipeline, on the thread that
    ends it. ``sampler`` may be of ``tracekit.jaeger_client``, of OpenTelemetry, or written for
    ``jaeger_client``. ``tracing`` is a handle to build on, with what it was configured for (None:
    a pipeline of its own, of which only ``reporter`` hears). Any thread may use the tracer.
    """

    def __init__(
        self,
        service_name: str,
        reporter: BaseReporter,
        sampler: OTelSampler | LegacySampler | None,
        metrics: Metrics | None = None,
        metrics_factory: MetricsFactory | None = None,
        trace_id_header: str = constants.TRACE_ID_HEADER,
        generate_128bit_trace_id: bool = False,
        baggage_header_prefix: str = constants.BAGGAGE_HEADER_PREFIX,
        debug_id_header: str = constants.DEBUG_ID_HEADER_KEY,
        one_span_per_rpc: bool = False,
        extra_codecs: Mapping[str, Codec] | None = None,
        tags: Mapping[str, object] | None = None,
        max_tag_value_length: int = constants.MAX_TAG_VALUE_LENGTH,
        max_traceback_length: int = constants.MAX_TRACEBACK_LENGTH,
        throttler: Throttler | None = None,
        scope_manager: opentracing.ScopeManager | None = None,
        *,
        tracing: Tracing | None = None,
    ) -> None:
        extra_codecs = extra_codecs or {}
        if tracing is None:
            config = {
                "tags": tags,
                "trace_id_header": trace_id_header,
                "baggage_header_prefix": baggage_header_prefix,
                "debug_id_header": debug_id_header,
                "generate_128bit_trace_id": generate_128bit_trace_id,
            }
            if isinstance(extra_codecs.get(Format.HTTP_HEADERS), B3Codec):
                config["propagation"] = "b3"  # for edges, which use no codecs
            tracing = own_pipeline(config, service_name)
        self._handle = tracing
        super().__init__(
            tracing, scope_manager, ValueRules(max_tag_value_length, max_traceback_length)
        )
        self.service_name = service_name
        self.one_span_per_rpc = one_span_per_rpc
        self.debug_id_header = tracing.settings.jaeger_headers.debug_id
        self.throttler = throttler
        self.codecs: dict[str, Codec] = {**formats_of(tracing), **extra_codecs}
        self._given_tags = tags
        self._figures = figures_for(tracing, metrics, metrics_factory)
        if sampler is None and self.debug_id_header != constants.DEBUG_ID_HEADER_KEY:
            sampler = self.sampler  # set once more, to name a debug id's tag by its header
        if sampler is not None:
            self.sampler = sampler
        if throttler is not None:
            self.tags[constants.CLIENT_UUID_TAG_KEY] = client_id = secrets.randbits(63)
            throttler.set_client_id(client_id)
        self._handing = False
        self.reporter = reporter
        if not self.reports_itself:
            reporter.set_process(
                service_name=service_name, tags=self.tags, max_length=max_tag_value_length
            )
        else:
            close_at_exit(self)

    # --- its parts ---

    @property
    def reporter(self) -> BaseReporter:
        """Who gets finished spans; may be replaced."""
        return self._reporter

    @reporter.setter
    def reporter(self, reporter: BaseReporter) -> None:
        self._reporter = reporter
        provider = self._handle.provider
        if not (self._handing or self.reports_itself) and isinstance(provider, TracerProvider):
            self._handing = True
            provider.add_span_processor(Handing(self))

    @property
    def reports_itself(self) -> bool:
        """Whether the reporter leads into the very pipeline on which the spans end anyway."""
        return isinstance(self._reporter, Reporter) and self._reporter.tracing is self._handle

    @property
    def sampler(self) -> OTelSampler | LegacySampler | None:
        """Who decides about roots; may be replaced. None when tracing is disabled."""
        return root_sampler(self._handle)

    @sampler.setter
    def sampler(self, sampler: OTelSampler | LegacySampler) -> None:
        provider = self._handle.provider
        if isinstance(provider, TracerProvider):
            provider.sampler = ParentRule(adapted(sampler), debug_id_tag=self.debug_id_header)

    @cached_property
    def tags(self) -> dict[str, object]:
        """The tags of the process: the tracer's own, the host, the address, the library."""
        tags = self._handle.settings.tags if self._given_tags is None else self._given_tags
        return {**jaeger_tags(), **tags}

    @property
    def max_tag_value_length(self) -> int | None:
        """Characters of a text tag; may be changed."""
        return self.values.max_length

    @max_tag_value_length.setter
    def max_tag_value_length(self, length: int) -> None:
        self.values = self.values._replace(max_length=length)

    @property
    def max_traceback_length(self) -> int | None:
        """Characters of a traceback in a tag or log; may be changed."""
        return self.values.max_traceback_length

    @max_traceback_length.setter
    def max_traceback_length(self, length: int) -> None:
        self.values = self.values._replace(max_traceback_length=length)

    @property
    def max_trace_id_bits(self) -> int:
        """Bits of the ids of new traces."""
        return 128 if self._handle.settings.traceid_128bit else constants.MAX_ID_BITS

    # --- what it does ---

    def start_span(
        self,
        operation_name: str | None = None,
        child_of: Parent | None = None,
        references: References = None,
        tags: Mapping[str, object] | None = None,
        start_time: float | None = None,
        ignore_active_span: bool = False,
    ) -> OpenTracingSpan:
        """Start a span, below ``child_of``, the active span, or the first of ``references``.

        With ``one_span_per_rpc`` a server span takes up the ids of its caller's.
        """
        if self.throttler is not None:
            child_of, tags = self._unforced(operation_name or "", child_of, tags)
        if self.one_span_per_rpc and (tags or {}).get(ext.SPAN_KIND) == ext.SPAN_KIND_RPC_SERVER:
            linked = linked_to(references)
            caller = self._parent(child_of, linked, ignore_active_span)
            if caller is not None and caller.has_trace:
                refs = [Reference(*pair) for pair in linked]
                return Span(caller, self, operation_name or "", tags, start_time, refs)
        return super().start_span(
            operation_name, child_of, references, tags, start_time, ignore_active_span
        )

    def inject(self, span_context: Parent, format: object, carrier: object) -> None:  # noqa: A002 (OpenTracing's word)
        """Write a span or span context into ``carrier``, as ``codecs`` say.

        Raises UnsupportedFormatException, InvalidCarrierException for a carrier that does not go
        with its format, ValueError for what is no span context of ours.
        """
        codec = self._codec(format)
        context = context_of(span_context)
        if context is None:
            raise ValueError(f"no span context but a {type(span_context).__name__}")
        codec.inject(context, carrier)

    def extract(self, format: object, carrier: object) -> SpanContext | None:  # noqa: A002 (likewise)
        """Return the span context in ``carrier``; None if there is none, or a malformed one.

        Raises UnsupportedFormatException, and InvalidCarrierException for a carrier that does not
        go with its format.
        """
        try:
            return self._codec(format).extract(carrier)
        except SpanContextCorruptedException:
            self._handle.propagator.counters.decode_error(str(format), "malformed")
            return None

    def is_debug_allowed(self, operation: str = "") -> bool:
        """Return whether a trace may be forced; there is nobody to forbid it without throttler."""
        return self.throttler is None or bool(self.throttler.is_allowed(operation))

    def random_id(self) -> int:
        """Return a new id of 64 bits, not 0, for those who number their own spans."""
        return secrets.randbits(constants.MAX_ID_BITS) or 1

    def report_span(self, span: Span | LegacySpan) -> None:
        """Report a span that another tracer finished; the tracer's own come by themselves."""
        self.reporter.report_span(span)

    report = report_span

    def close(self) -> Closing:
        """Send everything and end; the future is done when that is over, which may be at once.

        Spans that are finished later are counted and dropped.
        """
        closed(self)
        return Closing.after(self.shut_down)

    def shut_down(self, budget_s: float | None = None) -> None:
        """Do what ``close`` does here and now, in ``budget_s`` seconds (None: as configured)."""
        if budget_s is None:
            budget_s = self._handle.settings.reporter.exit_budget_s
        if not self.reports_itself:
            closing = self.reporter.close()
            if isinstance(closing, Future):
                closing.result(budget_s)
        self._handle.shutdown(budget_s)
        if self._figures is not None:
            self._figures.stop()

    # --- inside ---

    def _make(self, otel: trace.Span, context: SpanContext, unrecorded: Unrecorded | None) -> Span:
        return Span.showing(self, otel, context, unrecorded)

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

    def _codec(self, form: object) -> Codec:
        codec = self.codecs.get(form) if isinstance(form, str) else None
        if codec is None:
            raise UnsupportedFormatException(form)
        return codec

    def _unforced(
        self, operation: str, child_of: Parent | None, tags: Mapping[str, object] | None
    ) -> tuple[Parent | None, Mapping[str, object] | None]:
        """Take out what would force a trace that the throttler does not allow."""
        parent = context_of(child_of)
        asks = parent is not None and parent.is_debug_id_container_only
        if (asks or ext.SAMPLING_PRIORITY in (tags or {})) and not self.is_debug_allowed(operation):
            if parent is not None and asks:
                child_of = SpanContext.of(parent.span, parent.baggage, parent.forwarded)
            left_out = ext.SAMPLING_PRIORITY
            tags = {key: item for key, item in (tags or {}).items() if key != left_out}
        return child_of, tags
