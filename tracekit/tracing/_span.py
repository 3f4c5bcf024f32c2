"""A span that is written to, and one that nobody will see.

``Span`` is a subclass of the SDK's, so every ``isinstance`` check of a processor or an exporter
holds. What costs time is done our way: nothing is made before something needs it.

Threads. Attributes under new keys rest on one dictionary store or update, and ``add_event`` below
the limit on one store or append, which are atomic, so they take no lock.
Everything compound takes the span's lock, which is made on first use. Three things rest on the
GIL: the checks before those stores (at the limit, two racing setters may both fit), the first
event's (CPython changes threads at calls and jumps back only, and none is between the look and the
store), and ``del self._process`` in ``end``, which lets exactly one of several racing callers pass.
Where there is no GIL, a tracer makes a ``LockedSpan`` instead.
"""

from __future__ import annotations

import logging
from time import time_ns
from typing import TYPE_CHECKING

from opentelemetry.sdk.util import BoundedList
from opentelemetry.trace import NonRecordingSpan

from tracekit._context import Decision
from tracekit._protocols import PlainAttributes
from tracekit.tracing._readable import DEBUG_BITS, SAMPLED, Readable

if TYPE_CHECKING:
    from collections.abc import Mapping

    from opentelemetry import trace
    from opentelemetry.trace import TraceState
    from opentelemetry.util.types import Attributes, AttributeValue

    from tracekit.tracing._attributes import Cleaned

_log = logging.getLogger(__name__)


def is_valid_link(context: trace.SpanContext | None, attributes: Attributes) -> bool:
    """Return whether a link leads somewhere or at least says something (API specification)."""
    return bool(context and (context.is_valid or attributes or context.trace_state))


def forced(bits: int, decision: Decision) -> int:
    """Return the flags and marks after somebody's decision in the middle of a trace."""
    if decision is Decision.DENY:
        return bits & ~DEBUG_BITS
    return bits | (DEBUG_BITS if decision is Decision.DEBUG else SAMPLED)


class Span(Readable):
    """A recording span. Made by a tracer only; see ``opentelemetry.trace.Span``."""

    __slots__ = ()

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
        """Set several attributes, in their order. New keys that fit are one atomic update."""
        if not attributes:
            return
        rules = self._tracer._limits.span
        attrs = self._attrs
        if (
            attributes.__class__ is PlainAttributes
            and rules.trusting
            and len(attrs) + len(attributes) <= rules.room
            and self._end_time is None
        ):
            before = len(attrs)
            attrs.update(attributes)
            if len(attrs) - before == len(attributes):
                return
            # Some had been set before: what is set again moves to the end.
        bag = rules.clean(attributes, bounded=False)
        new = bag[0]
        if (
            bag[1]
            or len(attrs) + len(new) > rules.room
            or not attrs.keys().isdisjoint(new)
            or self._end_time is not None
        ):
            self._merge(bag)
        else:
            attrs.update(new)

    def update_name(self, name: str) -> None:
        """Rename the span: one atomic store, where the SDK takes a lock for it."""
        if self._end_time is None:
            self._name = name
        else:
            _log.warning("Tried calling update_name on an ended span.")

    def _merge(self, bag: Cleaned) -> None:
        attrs = self._attrs
        rules = self._tracer._limits.span
        with self._lock:
            if self._end_time is not None:
                _log.warning("Setting attribute on ended span.")
                return
            values, dropped = bag
            for key, value in values.items():
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
        moment = time_ns() if timestamp is None else timestamp
        event = (name, moment, limits.event.clean(attributes))
        first = [event]
        events = self._added_events
        if self._end_time is None:
            if events is None and limits.max_events:
                self._added_events = first
                return
            if events is not None and len(events) < limits.max_events:
                events.append(event)
                return
        self._append_event(event)

    def _append_event(self, event: tuple[str, int, Cleaned]) -> None:
        limits = self._tracer._limits
        with self._lock:
            if self._end_time is not None:
                _log.warning("Tried calling _add_event on an ended span.")
                return
            events = self._added_events = self._added_events or []
            events.append(event)
            while len(events) > limits.max_events:  # more than once after a race at the limit
                del events[0]
                self._dropped_events += 1

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

    def record_exception(
        self,
        exception: BaseException,
        attributes: Attributes = None,
        timestamp: int | None = None,
        escaped: bool = False,
    ) -> None:
        """Add an event for ``exception``, also for one whose ``__str__`` raises."""
        try:
            super().record_exception(exception, attributes, timestamp, escaped)
        except Exception:
            kind = type(exception)
            told = {"exception.type": f"{kind.__module__}.{kind.__qualname__}"}
            self.add_event("exception", told, timestamp)

    def start(
        self,
        start_time: int | None = None,
        parent_context: object = None,
    ) -> None:
        """Do nothing but warn: a tracer starts its spans."""
        _log.warning("Calling start() on a started span.")

    def end(
        self, end_time: int | None = None, last: Mapping[str, AttributeValue] | None = None
    ) -> None:
        """End the span at ``end_time`` (ns since the epoch; None: now) and hand it on, once.

        ``last`` is for edges: attributes to set before, vouched for as ``PlainAttributes`` are.
        A span that another process started (this is a forked child) is not handed on. Where the
        stack has no room for it, RecursionError; a later call ends the span.
        """
        if last is not None:
            rules, attrs = self._tracer._limits.span, self._attrs
            count = len(attrs) + len(last)
            if rules.trusting and count <= rules.room and self._end_time is None:
                attrs.update(last)
            if len(attrs) != count:  # not set, or before as well: then it moves to the end
                self.set_attributes(last)
        try:
            process = self._process
            del self._process  # atomic: of racing callers, one gets past this line
        except AttributeError:
            self._tracer._provider._ended_twice()
            return
        provider = self._tracer._provider
        try:
            self._end_time = time_ns() if end_time is None else end_time
            guard = self._guard
            if guard is not None:
                with guard:  # a compound change began before the end: wait until it is whole
                    pass
            if process is not self._tracer._states.current or not process.mark[0]:
                provider._ended_abroad()
                return
            if self._bits & SAMPLED:
                (process.intake.offer or provider._on_end)(self)
        except (RecursionError, MemoryError):
            # A full stack: it was not handed on (see ``Reporter.on_end``), so it is still live.
            self._end_time = None
            self._process = process
            raise
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
    _ids = Span._ids
    _source = None

    def _force(self, decision: Decision) -> None:
        """Change the decision for this span's context and its later children, not for itself."""
        if decision is not Decision.DEFER:
            self._bits = forced(self._bits, decision)
            self._made = None
