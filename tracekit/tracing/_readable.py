"""What can be read of a span: the SDK's names, and the SDK's objects made when somebody asks.

The public properties, ``to_json``, the status rules and ``record_exception`` are inherited from
the installed SDK. They read private names (``_context``, ``_events`` ...), which are properties
here: what they return is made on demand, as a rule on the exporting thread.
"""

from __future__ import annotations

import threading
import warnings
from operator import attrgetter
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, TypeVar

from opentelemetry.sdk import trace as sdk
from opentelemetry.sdk.util import BoundedList
from opentelemetry.sdk.util.instrumentation import InstrumentationInfo
from opentelemetry.trace import Link, TraceFlags, TraceState

from tracekit._context import DEBUG, SpanContext
from tracekit._protocols import FLAGS, MARKS_SHIFT, UNSET

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from opentelemetry import trace
    from opentelemetry.attributes import BoundedAttributes
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.util.instrumentation import InstrumentationScope
    from opentelemetry.trace import SpanKind, Status
    from opentelemetry.util.types import AttributeValue

    from tracekit._context import Ids
    from tracekit._protocols import Fields
    from tracekit.tracing._attributes import Cleaned
    from tracekit.tracing._process_state import TracingState
    from tracekit.tracing._shared import TracerState

_T = TypeVar("_T")

SAMPLED = int(TraceFlags.SAMPLED)
DEBUG_BITS = SAMPLED | DEBUG << MARKS_SHIFT
_TRACE_FLAGS = tuple(TraceFlags(bits) for bits in range(4))


def span_context(trace_id: int, span_id: int, bits: int, state: TraceState) -> trace.SpanContext:
    """Return the context of a local span from its slots."""
    return SpanContext.marked(
        trace_id,
        span_id,
        is_remote=False,
        trace_flags=_TRACE_FLAGS[bits & FLAGS],
        trace_state=state,
        marks=bits >> MARKS_SHIFT,
    )


class Readable(sdk.Span):
    """The state of a recording span, and everything that only reads it."""

    __slots__ = (
        "_added_events",  # None before the first
        "_attrs",
        "_bits",  # trace flags, and the marks of tracekit._context from bit 8 on
        "_end_time",
        "_guard",  # None until the first compound change
        "_kind",
        "_made",  # the SpanContext, once somebody asked
        "_name",
        "_process",  # the process that started it; deleted by the one call that ends it
        "_source",  # the parent: its SpanContext, or its span id if all else is as in this span
        "_span_id",
        "_start_time",
        "_state",
        "_trace_id",
        "_tracer",
    )
    _added_events: list[tuple[str, int, Cleaned]] | None
    _attrs: dict[str, AttributeValue]
    _bits: int
    _end_time: int | None
    _guard: threading.RLock | None
    _kind: SpanKind
    _process: TracingState
    _made: trace.SpanContext | None
    _name: str
    _source: trace.SpanContext | int | None
    _span_id: int
    _start_time: int
    _state: TraceState
    _trace_id: int
    _tracer: TracerState

    _accounted = True
    """For a reporter: each sampled span is told of once, and never one of another process."""

    # Rarely set, so no slot: the class holds the default and a store goes to the instance's
    # dictionary, which the SDK's class has anyway and which costs nothing before the first store.
    _dropped: int = 0
    _dropped_events: int = 0
    _added_links: BoundedList[tuple[trace.SpanContext, Cleaned]] | None = None
    _status: Status = UNSET
    _record_exception: bool = True
    _set_status_on_exception: bool = True

    def _facts(self) -> Fields:
        """Return all that an encoder needs of this ended span; makes none of the SDK's objects."""
        source = self._source
        # (The type first: to ask whether it is of one is a call, and a foreign generator of ids may
        # make ints of its own kind.)
        if type(source) is int or isinstance(source, int):
            parent_id, remote = source, False
        else:
            parent_id, remote = (0, False) if source is None else (source.span_id, source.is_remote)
        events, links = self._added_events, self._added_links
        return (
            self._trace_id,
            self._span_id,
            parent_id,
            self._bits,
            self._state,
            self._name,
            self._kind,
            self._start_time,
            self._end_time or 0,
            self._attrs.copy(),  # a store that raced with the end may still come
            () if events is None else tuple(events),
            () if links is None else tuple(links._dq),  # type: ignore[attr-defined]
            self._status,
            self._tracer.scope,
            self._dropped,
            self._dropped_events,
            0 if links is None else links.dropped,
            remote,
        )

    def _ids(self) -> Ids:
        """Return what headers say of this span; makes none of OpenTelemetry's contexts."""
        source, bits = self._source, self._bits
        parent_id = source if source is None or isinstance(source, int) else source.span_id
        marks = bits >> MARKS_SHIFT
        return self._trace_id, self._span_id, bits & FLAGS, parent_id, marks, self._state

    # (type: ignore[override] below: what the SDK keeps as writable attributes is derived here.)

    def get_span_context(self) -> trace.SpanContext:
        """Return the ids, flags and marks of this span."""
        made = self._made
        if made is None:  # two threads may both make it: equal values, either will do
            made = self._made = span_context(self._trace_id, self._span_id, self._bits, self._state)
        return made

    def is_recording(self) -> bool:
        """Return whether the span is still live."""
        return self._end_time is None

    @property
    def attributes(self) -> MappingProxyType[str, AttributeValue]:
        """A snapshot of the attributes; of an ended span always the same one."""
        if self._end_time is None:
            return MappingProxyType(self._attrs.copy())
        frozen: MappingProxyType[str, AttributeValue] | None = self.__dict__.get("_frozen")
        if frozen is None:
            # A store that raced with the end may still come: into the dictionary, not the copy.
            # And setdefault is atomic: the first reader's copy is what all readers see.
            copy = self._attrs.copy()
            frozen = self.__dict__.setdefault("_frozen", MappingProxyType(copy))
        return frozen

    @property
    def dropped_attributes(self) -> int:
        """How many attributes did not fit or were invalid."""
        return self._dropped

    @property
    def _lock(self) -> threading.RLock:  # type: ignore[override]
        """The span's lock, made by the first compound change. Reentrant, for signal handlers."""
        guard = self._guard
        if guard is None:  # setdefault is atomic: racing threads get the same lock
            guard = self._guard = self.__dict__.setdefault("_first_guard", threading.RLock())
        return guard

    @property
    def _context(self) -> trace.SpanContext:  # type: ignore[override]
        return self.get_span_context()

    @property
    def _parent(self) -> trace.SpanContext | None:  # type: ignore[override]
        source = self._source
        if isinstance(source, int):
            return span_context(self._trace_id, source, self._bits, self._state)
        return source

    # (Read of each span that is encoded: without a function of Python's.)
    resource: Resource = property(  # type: ignore[assignment]
        attrgetter("_tracer._provider.resource"), doc="The resource of the provider."
    )
    _resource = resource

    @property
    def _limits(self) -> sdk.SpanLimits:
        return self._tracer._provider.span_limits

    @property
    def _instrumentation_scope(self) -> InstrumentationScope:  # type: ignore[override]
        return self._tracer.scope

    @property
    def _instrumentation_info(self) -> InstrumentationInfo:  # type: ignore[override]
        scope = self._tracer.scope
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            return InstrumentationInfo(scope.name, scope.version, scope.schema_url)

    @property
    def _attributes(self) -> BoundedAttributes:  # type: ignore[override]
        rules = self._tracer._limits.span
        return rules.sdk((dict(self.attributes), self._dropped))

    @property
    def _events(self) -> BoundedList[sdk.Event]:  # type: ignore[override]
        added, dropped = self._added_events, self._dropped_events
        return self._converted("_sdk_events", added, dropped, self._event)

    @property
    def _links(self) -> BoundedList[Link]:  # type: ignore[override]
        added = self._added_links
        dropped = 0 if added is None else added.dropped
        return self._converted("_sdk_links", added, dropped, self._link)

    def _event(self, name: str, timestamp: int, bag: Cleaned) -> sdk.Event:
        return sdk.Event(name, self._tracer._limits.event.sdk(bag), timestamp)

    def _link(self, context: trace.SpanContext, bag: Cleaned) -> Link:
        return Link(context, self._tracer._limits.link.sdk(bag))

    def _converted(
        self,
        cache: str,
        added: Sequence[tuple[Any, ...]] | None,
        dropped: int,
        convert: Callable[..., _T],
    ) -> BoundedList[_T]:
        """Return what was added as the SDK's objects; of an ended span always the same ones."""
        known: BoundedList[_T] | None = self.__dict__.get(cache)
        if known is not None:
            return known
        if added is None:
            return BoundedList(0)
        with self._lock:  # a compound change is waited for
            added = tuple(added)
        result: BoundedList[_T] = BoundedList.from_seq(None, (convert(*item) for item in added))
        result.dropped = dropped
        if self._end_time is not None:
            result = self.__dict__.setdefault(cache, result)
        return result
