"""A span on slots. The SDK's surface is inherited; what costs time is done our way, and late.

``Span`` is a subclass of the SDK's, so every ``isinstance`` check of a processor or an exporter
holds, and the public properties, ``to_json``, status rules and ``record_exception`` are those of
the installed version. They read private names (``_context``, ``_events`` ...), which are
properties here: the SDK's objects are made when somebody asks, as a rule on the exporting thread.

Threads. ``set_attribute`` of a plain value under a new key rests on one dictionary store, which
is atomic, so it takes no lock. Everything compound takes the span's lock, which is made on first
use. Two things rest on the GIL and would need that lock on a free-threaded build: the check
before that store (at the limit, two racing setters may both fit), and ``del self._life`` in
``end``, which lets exactly one of several racing callers pass.
"""

from __future__ import annotations

import logging
import threading
import warnings
from time import time_ns
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, TypeVar

from opentelemetry.sdk import trace as sdk
from opentelemetry.sdk.util import BoundedList
from opentelemetry.sdk.util.instrumentation import InstrumentationInfo
from opentelemetry.trace import Link, NonRecordingSpan, Status, TraceFlags, TraceState

from tracekit._context import DEBUG, Decision, SpanContext
from tracekit._protocols import Facts
from tracekit.tracing._attributes import Bag

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from opentelemetry import trace
    from opentelemetry.attributes import BoundedAttributes
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.util.instrumentation import InstrumentationScope
    from opentelemetry.trace import SpanKind
    from opentelemetry.util.types import Attributes, AttributeValue

    from tracekit.tracing._life import Life
    from tracekit.tracing._tracer import Tracer

_log = logging.getLogger(__name__)
_T = TypeVar("_T")

SAMPLED = int(TraceFlags.SAMPLED)
FLAGS = SAMPLED | getattr(TraceFlags, "RANDOM_TRACE_ID", 0)
"""The trace flags that the installed API knows; the others of a remote parent are not ours."""
MARKS_SHIFT = 8
DEBUG_BITS = SAMPLED | DEBUG << MARKS_SHIFT
_TRACE_FLAGS = tuple(TraceFlags(bits) for bits in range(4))
UNSET = Status()


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


def is_valid_link(context: trace.SpanContext | None, attributes: Attributes) -> bool:
    """Return whether a link leads somewhere or at least says something (API specification)."""
    return bool(context and (context.is_valid or attributes or context.trace_state))


def forced(bits: int, decision: Decision) -> int:
    """Return the flags and marks after somebody's decision in the middle of a trace."""
    if decision is Decision.DENY:
        return bits & ~DEBUG_BITS
    return bits | (DEBUG_BITS if decision is Decision.DEBUG else SAMPLED)


class Span(sdk.Span):
    """A recording span. Made by a tracer only; see ``opentelemetry.trace.Span``."""

    __slots__ = (
        "_attrs",
        "_bits",  # trace flags, and the marks of tracekit._context from bit 8 on
        "_end_time",
        "_guard",  # None until the first compound change
        "_kind",
        "_life",  # the process that started it; deleted by the one call that ends it
        "_made",  # the SpanContext, once somebody asked
        "_name",
        "_source",  # the parent: its SpanContext, or its span id if all else is as in this span
        "_span_id",
        "_start_time",
        "_state",
        "_trace_id",
        "_tracer",
    )
    _attrs: dict[str, AttributeValue]
    _bits: int
    _end_time: int | None
    _guard: threading.RLock | None
    _kind: SpanKind
    _life: Life
    _made: trace.SpanContext | None
    _name: str
    _source: trace.SpanContext | int | None
    _span_id: int
    _start_time: int
    _state: TraceState
    _trace_id: int
    _tracer: Tracer

    _accounted = True
    """For a reporter: each sampled span is told of once, and never one of another process."""

    # Rarely set, so no slot: the class holds the default and a store goes to the instance's
    # dictionary, which the SDK's class has anyway and which costs nothing before the first store.
    _dropped: int = 0
    _added_events: BoundedList[tuple[str, int, Bag]] | None = None
    _added_links: BoundedList[tuple[trace.SpanContext, Bag]] | None = None
    _status: Status = UNSET
    _record_exception: bool = True
    _set_status_on_exception: bool = True

    # --- writing ---

    def set_attribute(self, key: str, value: AttributeValue) -> None:
        """Set one attribute. A plain value under a new key costs one atomic dictionary store.

        The dictionary is read before the end time: whoever still sees a live span here holds
        the dictionary of which a reader of the ended span takes a copy.
        """
        attrs = self._attrs
        rules = self._tracer._limits.span
        if (
            type(value) in rules.plain
            and type(key) is str
            and key
            and key not in attrs
            and len(attrs) < rules.room
            and self._end_time is None
        ):
            attrs[key] = value
        else:
            self._merge(rules.clean_one(key, value))

    def set_attributes(self, attributes: Mapping[str, AttributeValue]) -> None:
        """Set several attributes, in their order."""
        if attributes:
            self._merge(self._tracer._limits.span.clean(attributes, bounded=False))

    def _merge(self, bag: Bag) -> None:
        attrs = self._attrs
        rules = self._tracer._limits.span
        with self._lock:
            if self._end_time is not None:
                _log.warning("Setting attribute on ended span.")
                return
            dropped = bag.dropped
            for key, value in bag.values.items():
                attrs.pop(key, None)  # the SDK moves what is set again to the end
                attrs[key] = value
                while len(attrs) > rules.room:  # more than once after a race at the limit
                    del attrs[next(iter(attrs))]
                    dropped += 1
            if dropped:
                self._dropped += dropped

    def add_event(
        self, name: str, attributes: Attributes = None, timestamp: int | None = None
    ) -> None:
        """Add an event; ``timestamp`` in ns since the epoch. Attributes are copied now."""
        limits = self._tracer._limits
        bag = limits.event.clean(attributes)
        event = (name, time_ns() if timestamp is None else timestamp, bag)
        with self._lock:
            if self._end_time is not None:
                _log.warning("Tried calling _add_event on an ended span.")
                return
            if self._added_events is None:
                self._added_events = BoundedList(limits.max_events)
            self._added_events.append(event)

    def add_link(self, context: trace.SpanContext, attributes: Attributes = None) -> None:
        """Add a link; ignored without a valid context, attributes or trace state."""
        if not is_valid_link(context, attributes):
            return
        limits = self._tracer._limits
        link = (context, limits.link.clean(attributes))
        with self._lock:
            if self._end_time is not None:
                _log.warning("Tried calling _add_link on an ended span.")
                return
            if self._added_links is None:
                self._added_links = BoundedList(limits.max_links)
            self._added_links.append(link)

    def start(
        self,
        start_time: int | None = None,
        parent_context: object = None,
    ) -> None:
        """Do nothing but warn: a tracer starts its spans."""
        _log.warning("Calling start() on a started span.")

    def end(self, end_time: int | None = None) -> None:
        """End the span at ``end_time`` (ns since the epoch; None: now) and hand it on, once.

        A span that another process started (this is a forked child) is not handed on.
        """
        try:
            life = self._life
            del self._life  # atomic: of racing callers, one gets past this line
        except AttributeError:
            self._tracer._provider._ended_twice()
            return
        self._end_time = time_ns() if end_time is None else end_time
        guard = self._guard
        if guard is not None:
            with guard:  # a compound change began before the end: wait until it is whole
                pass
        tracer = self._tracer
        lives = tracer._lives
        if life is not lives.current or not lives.mark[0]:
            tracer._provider._ended_abroad()
            return
        provider = tracer._provider
        if self._bits & SAMPLED:
            provider._on_end(self)
        if provider._processors:
            provider._notify_end(self)

    def _force(self, decision: Decision) -> None:
        """Change what was decided about this live span, for its context and later children.

        DEBUG and ACCEPT sample it, DENY does not; DEFER changes nothing. The reporter hears of
        it at once: it owes an end to exactly those live spans whose sampled bit is set.
        """
        if decision is Decision.DEFER:
            return
        with self._lock:
            if self._end_time is not None:
                _log.warning("Tried calling _force on an ended span.")
                return
            self._source = self._parent  # what the parent said must not follow the new bits
            before, self._bits = self._bits, forced(self._bits, decision)
            self._made = None
            reporter = self._tracer._provider.reporter
            if self._bits & SAMPLED and not before & SAMPLED:
                reporter.on_start(self)
            elif before & SAMPLED and not self._bits & SAMPLED:
                reporter.withdraw(self)

    def _facts(self) -> Facts:
        """Return all that an encoder needs of this ended span; makes none of the SDK's objects."""
        source = self._source
        if isinstance(source, int):
            parent_id, remote = source, False
        else:
            parent_id, remote = (0, False) if source is None else (source.span_id, source.is_remote)
        events, links = self._added_events, self._added_links
        guard = self._guard
        if guard is None:
            told: Any = ((), ())
        else:
            with guard:  # waits for a change that began before the end
                told = (
                    () if events is None else tuple(events._dq),  # type: ignore[attr-defined]
                    () if links is None else tuple(links._dq),  # type: ignore[attr-defined]
                )
        facts = (
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
            told[0],
            told[1],
            self._status,
            self._tracer.scope,
            self._dropped,
            0 if events is None else events.dropped,
            0 if links is None else links.dropped,
            remote,
        )
        return tuple.__new__(Facts, facts)  # a third of the time of the constructor

    # --- reading: the SDK's names, its objects made on demand ---
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

    @property
    def _resource(self) -> Resource:  # type: ignore[override]
        return self._tracer._provider.resource

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
        return rules.sdk(Bag(dict(self.attributes), self._dropped))

    @property
    def _events(self) -> BoundedList[sdk.Event]:  # type: ignore[override]
        return self._converted("_sdk_events", self._added_events, self._event)

    @property
    def _links(self) -> BoundedList[Link]:  # type: ignore[override]
        return self._converted("_sdk_links", self._added_links, self._link)

    def _event(self, name: str, timestamp: int, bag: Bag) -> sdk.Event:
        return sdk.Event(name, self._tracer._limits.event.sdk(bag), timestamp)

    def _link(self, context: trace.SpanContext, bag: Bag) -> Link:
        return Link(context, self._tracer._limits.link.sdk(bag))

    def _converted(
        self, cache: str, added: BoundedList[Any] | None, convert: Callable[..., _T]
    ) -> BoundedList[_T]:
        """Return what was added as the SDK's objects; of an ended span always the same ones."""
        known: BoundedList[_T] | None = self.__dict__.get(cache)
        if known is not None:
            return known
        if added is None:
            return BoundedList(0)
        with self._lock:  # whoever adds holds it, so this waits for one that began before the end
            result: BoundedList[_T] = BoundedList.from_seq(None, (convert(*item) for item in added))
            result.dropped = added.dropped
        if self._end_time is not None:
            result = self.__dict__.setdefault(cache, result)
        return result


class UnsampledSpan(NonRecordingSpan):
    """A span that nobody will see: ids and flags for its children and for the wire, no more."""

    __slots__ = ("_bits", "_made", "_span_id", "_state", "_trace_id")
    _bits: int
    _made: trace.SpanContext | None
    _span_id: int
    _state: TraceState
    _trace_id: int

    # Called with nothing, filled by the tracer: the cheapest way to make an object.
    __init__ = object.__init__
    get_span_context = Span.get_span_context
    _context = Span._context

    def _force(self, decision: Decision) -> None:
        """Change the decision for this span's context and its later children, not for itself."""
        if decision is not Decision.DEFER:
            self._bits = forced(self._bits, decision)
            self._made = None
