"""The provider: what all tracers of one pipeline share, and where other people's parts attach."""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING, NamedTuple

from opentelemetry import trace
from opentelemetry.sdk.trace import SpanLimits, SynchronousMultiSpanProcessor
from opentelemetry.sdk.trace.id_generator import IdGenerator
from opentelemetry.sdk.trace.sampling import Decision, SamplingResult
from opentelemetry.sdk.util.instrumentation import InstrumentationScope

from tracekit._protocols import PlainAttributes
from tracekit.sampling import ParentRule, RootSampler
from tracekit.tracing._attributes import Limits
from tracekit.tracing._process_state import TracingStates
from tracekit.tracing._tracer import Tracer

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from opentelemetry.context import Context
    from opentelemetry.sdk import trace as sdk
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import ReadableSpan, SpanProcessor
    from opentelemetry.sdk.trace.sampling import Sampler
    from opentelemetry.trace import Link, SpanKind
    from opentelemetry.util.types import Attributes

    from tracekit.tracing._local_trace import KeepCounts
    from tracekit.tracing._shared import DecideRoot, Reporter

_log = logging.getLogger(__name__)

RANDOM_BIT = getattr(trace.TraceFlags, "RANDOM_TRACE_ID", 0)
"""What a new trace says of its id; 0 where the installed API does not speak of it."""
MAX_TRACERS = 1024
"""Scopes whose tracer is kept: who makes scopes up by the request gets a new one each time."""
DEFAULT_MAX = 128  # every count limit's default in OpenTelemetry's specification


class NoReporter:
    """Stands in where span processors alone see the spans."""

    def on_start(self, span: sdk.Span, parent_context: Context | None = None) -> None:
        """Do nothing."""

    def on_end(self, span: sdk.Span) -> None:
        """Do nothing."""

    def report(self, span: ReadableSpan) -> None:
        """Do nothing."""

    def withdraw(self, span: sdk.Span) -> None:
        """Do nothing."""

    def flush(self, timeout_s: float) -> object:
        """Return that nothing is left."""
        return True

    def shutdown(self, timeout_s: float) -> None:
        """Do nothing."""


class OwnIdGenerator(IdGenerator):
    """Ids from the provider's own stock of entropy, as an OpenTelemetry generator."""

    def __init__(self, states: TracingStates, traceid_128bit: bool) -> None:
        self.states = states
        self._wide = traceid_128bit

    def generate_span_id(self) -> int:
        """Return 64 random bits, never 0."""
        return self.states.now().draw()

    def generate_trace_id(self) -> int:
        """Return 64 or 128 random bits, never 0."""
        return self.states.now().draw_trace_id(self._wide)

    def is_trace_id_random(self) -> bool:
        """Return True: the low 56 bits, which W3C's *random* flag speaks of, are."""
        return True


class SpanCounts(NamedTuple):
    """How spans began, and what happened to some outside the reporter's law, in this process."""

    children: int = 0
    """Sampled spans below a span of this process."""
    unsampled_children: int = 0
    roots: int = 0
    """Sampled spans that began a trace."""
    unsampled_roots: int = 0
    joined: int = 0
    """Sampled spans that took up a trace of another process."""
    unsampled_joined: int = 0
    foreign: int = 0
    """Spans that a parent process began and this one ended: only the former ships them."""
    ended_twice: int = 0
    failures: int = 0
    """Exceptions of samplers and span processors that were kept from the program."""

    @property
    def unsampled(self) -> int:
        """Spans that were never to be sent."""
        return self.unsampled_children + self.unsampled_roots + self.unsampled_joined


class TracerProvider(trace.TracerProvider):
    """Makes tracers whose spans share a sampler, ids, limits, a resource and a reporter.

    ``reporter`` sees sampled spans; span processors of any origin may be added and see all
    recording ones. ``limits`` are OpenTelemetry's ``SpanLimits``. With ``traceid_128bit`` False
    the high 64 bits of a trace id are 0, as Jaeger's clients had it; an ``id_generator`` of your
    own decides for itself. Starts no thread, reads no environment. Any thread may use it.
    """

    _follows_parents = False
    tracer_class: type[Tracer] = Tracer

    def __init__(
        self,
        sampler: Sampler,
        reporter: Reporter | None,
        resource: Resource,
        *,
        traceid_128bit: bool = False,
        limits: SpanLimits | None = None,
        id_generator: IdGenerator | None = None,
    ) -> None:
        self.resource = resource
        self.span_limits = default_limits() if limits is None else limits
        self._states = TracingStates()
        self.report_to(NoReporter() if reporter is None else reporter)
        self._wide = traceid_128bit
        self.id_generator = id_generator or OwnIdGenerator(self._states, traceid_128bit)
        self.sampler = sampler
        self._limits = Limits(self.span_limits)
        self._active_span_processor = SynchronousMultiSpanProcessor()  # type: ignore[no-untyped-call]
        self._processors: tuple[SpanProcessor, ...] = ()
        self._tracers: dict[InstrumentationScope, Tracer] = {}

    def report_to(self, reporter: Reporter) -> None:
        """Have ``reporter`` see the sampled spans, the open ones included, from now on."""
        self.reporter = reporter
        self._on_start = reporter.on_start
        self._on_end = reporter.on_end
        # By its type: one that wraps another may show the other's intake as its own.
        known = hasattr(type(reporter), "intake")
        self._states.put_into(getattr(reporter, "intake", None) if known else None)

    @property
    def id_generator(self) -> IdGenerator:
        """Who makes ids; may be replaced while running."""
        return self._id_generator

    @id_generator.setter
    def id_generator(self, generator: IdGenerator) -> None:
        self._id_generator = generator
        self._own_ids = type(generator) is OwnIdGenerator and generator.states is self._states
        self._inline = self._follows_parents and self._own_ids
        is_random = getattr(generator, "is_trace_id_random", bool)  # new in API 1.41
        self._random_bit = RANDOM_BIT if is_random() else 0

    @property
    def sampler(self) -> Sampler:
        """Who decides about spans; may be replaced while running."""
        return self._sampler

    @sampler.setter
    def sampler(self, sampler: Sampler) -> None:
        self._sampler = sampler
        # By its type: one that wraps another may show the other's attributes as its own.
        kind = type(sampler)
        self._follows_parents = getattr(kind, "follows_parents", False) is True
        self._inline = self._follows_parents and self._own_ids
        self._decide_root: DecideRoot | None = None
        if getattr(kind, "should_sample", None) is ParentRule.should_sample:
            self._decide_root = sampler.decide_root  # type: ignore[attr-defined] # it is one
        own = issubclass(kind, ParentRule | RootSampler)
        self.samples_by_operation: bool = not own or sampler.by_operation  # type: ignore[attr-defined]
        """Whether the operation's name can change the sampler's answer; True of any but ours."""

    def get_tracer(
        self,
        instrumenting_module_name: str,
        instrumenting_library_version: str | None = None,
        schema_url: str | None = None,
        attributes: Attributes = None,
    ) -> Tracer:
        """Return the tracer of an instrumentation scope; the same one for equal arguments."""
        if not instrumenting_module_name:
            _log.error("get_tracer called with missing module name.")
        scope = InstrumentationScope(
            instrumenting_module_name or "",
            instrumenting_library_version or "",
            schema_url,
            attributes,
        )
        known = self._tracers.get(scope)
        if known is not None or len(self._tracers) >= MAX_TRACERS:
            return known or self.tracer_class(self, scope)
        # Atomic: two threads that ask at once get the same tracer.
        return self._tracers.setdefault(scope, self.tracer_class(self, scope))

    def add_span_processor(self, span_processor: SpanProcessor) -> None:
        """Show all recording spans to ``span_processor`` from now on, after those added before."""
        self._active_span_processor.add_span_processor(span_processor)
        self._processors = self._active_span_processor._span_processors

    def counts(self) -> SpanCounts:
        """Return what the tracer counts in this process."""
        process = self._states.now()
        (unsampled_roots, roots), (unsampled_joined, joined) = process.roots, process.joined
        counts = (
            process.children,
            process.unsampled,
            roots,
            unsampled_roots,
            joined,
            unsampled_joined,
            process.foreign,
            process.ended_twice,
            process.failures,
        )
        return SpanCounts(*map(int, counts))

    def kept(self) -> KeepCounts | None:
        """Return the figures of what is kept though not sampled; None where nothing is."""
        return None

    def draw_afresh(self) -> None:
        """Forget the random numbers that were drawn ahead; see ``tracekit.after_restore``."""
        self._states.now().stock.clear()

    def force_flush(self, timeout_millis: int = 30000) -> bool:
        """Flush the reporter, then the span processors; return whether all was done in time."""
        deadline_s = time.monotonic() + timeout_millis / 1000
        flushed = bool(self.reporter.flush(timeout_millis / 1000))
        left_millis = max(int((deadline_s - time.monotonic()) * 1000), 0)
        return self._active_span_processor.force_flush(left_millis) and flushed

    def shutdown(self, timeout_s: float = 2.0) -> None:
        """Shut the reporter down, then the span processors. Spans go on, unseen."""
        self.reporter.shutdown(timeout_s)
        for processor in self._processors:
            self._shield(processor.shutdown)

    # --- the rarer turns of the tracer's and the span's road ---

    def _ask_sampler(
        self,
        context: Context | None,
        trace_id: int,
        name: str,
        kind: SpanKind,
        attributes: Attributes,
        links: Sequence[Link] | None,
    ) -> SamplingResult:
        if attributes.__class__ is PlainAttributes:  # shared by calls; a sampler may change it
            attributes = {**attributes}
        try:
            return self._sampler.should_sample(
                context, trace_id, name, kind, attributes, links or ()
            )
        except Exception:
            self._failed("A sampler raised; the span is not sampled")
            return SamplingResult(Decision.DROP)

    def _notify_start(self, span: sdk.Span, context: Context | None) -> None:
        for processor in self._processors:
            self._shield(processor.on_start, span, context)

    def _notify_end(self, span: sdk.Span) -> None:
        for processor in self._processors:
            ending = getattr(
                processor, "_on_ending", None
            )  # since SDK 1.33; duck-typed ones lack it
            if ending is not None:
                self._shield(ending, span)
        for processor in self._processors:
            self._shield(processor.on_end, span)

    def _shield(self, hook: Callable[..., None], *arguments: object) -> None:
        try:
            hook(*arguments)
        except Exception:
            self._failed("A span processor raised")

    def _failed(self, what: str) -> None:
        self._states.now().failures += 1
        _log.exception(what)

    def _ended_twice(self) -> None:
        self._states.now().ended_twice += 1
        _log.warning("Calling end() on an ended span.")

    def _ended_abroad(self) -> None:
        self._states.now().foreign += 1


def default_limits() -> SpanLimits:
    """Return OpenTelemetry's defaults; given as numbers, so the environment is not asked."""
    return SpanLimits(
        max_attributes=DEFAULT_MAX,
        max_events=DEFAULT_MAX,
        max_links=DEFAULT_MAX,
        max_span_attributes=DEFAULT_MAX,
        max_event_attributes=DEFAULT_MAX,
        max_link_attributes=DEFAULT_MAX,
        max_attribute_length=SpanLimits.UNSET,
        max_span_attribute_length=SpanLimits.UNSET,
    )
