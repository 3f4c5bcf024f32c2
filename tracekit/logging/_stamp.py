"""The fields that bind a record to its span and its service."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from opentelemetry import trace

from tracekit._assembly.handle import HasTracing, Tracing, later
from tracekit._context import SPAN_KEY, get_current
from tracekit.tracing import Span, UnsampledSpan
from tracekit.tracing._locked_span import SPAN

if TYPE_CHECKING:
    import logging
    from collections.abc import MutableMapping

    AnyTracing = Tracing | HasTracing | None

SPAN_FIELDS = ("trace_id", "span_id", "trace_sampled")
_OURS = (Span, UnsampledSpan, SPAN)
_NO_IDS = "", "", False
_UNNAMED = "default"
"""The source of a service's name that nobody gave."""


class Stamp:
    """What the fields are, now and here. Any thread may use it."""

    def __init__(self, tracing: AnyTracing) -> None:
        self._handle = later(tracing)
        # One tuple each: threads may overwrite but never mix what belongs together.
        self._named: tuple[object, str] = (None, "")  # settings, and what they call the service
        self._written = (0, 0, "", "")  # the ids of the span that was asked for last, and as text

    def complete(self, record: logging.LogRecord) -> None:
        """Add the fields unless the record has been stamped where it was made."""
        try:
            held = record.__dict__
            if "trace_sampled" not in held or "service" not in held or "trace_id" not in held:
                self.put(held)
        except Exception:  # a record or a span of an odd kind: the program's logging goes on
            return

    def put(self, held: MutableMapping[str, Any]) -> None:
        """Add the fields. What the user had under a span's moves to ``extra_<name>``.

        Most records are made in a span of ours, whose slots say all: no context is made and no
        abstract class asked. A span that logs more than once is written out once.
        """
        span: Any = get_current().get(SPAN_KEY)
        if span.__class__ in _OURS:
            of_trace, of_span, trace_id, span_id = self._written
            if span._span_id != of_span or span._trace_id != of_trace:
                of_trace, of_span = span._trace_id, span._span_id
                trace_id, span_id = _digits(of_trace, of_span)
                self._written = of_trace, of_span, trace_id, span_id
            sampled = span._bits & 1 == 1
        else:
            trace_id, span_id, sampled = _ids_of(span)
        if "service" not in held:
            held["service"] = self.service()
        if "trace_id" in held or "span_id" in held or "trace_sampled" in held:
            _meet(held, (trace_id, span_id, sampled))
            return
        held["trace_id"] = trace_id
        held["span_id"] = span_id
        held["trace_sampled"] = sampled

    def service(self) -> str:
        """Return what the service was named; "" where nobody did."""
        try:
            settings = self._handle().settings
        except Exception:  # logging must work whatever state tracing is in
            return ""
        known, name = self._named
        if settings is not known:
            unnamed = settings.sources.get("service_name") == _UNNAMED
            name = "" if unnamed else settings.service_name
            self._named = settings, name
        return name


def _digits(trace_id: int, span_id: int) -> tuple[str, str]:
    # As hexadecimal digits of bytes: half of what a format of 32 digits costs.
    return trace_id.to_bytes(16, "big").hex(), span_id.to_bytes(8, "big").hex()


def _ids_of(span: object) -> tuple[str, str, bool]:
    """Return trace id, span id and whether it is sampled, of any object that may be a span."""
    if span is None:
        return _NO_IDS
    try:
        if not isinstance(span, trace.Span):
            return _NO_IDS
        trace_id, span_id, _, flags, _, valid = span.get_span_context()
        return (*_digits(trace_id, span_id), bool(flags & 1)) if valid else _NO_IDS
    except Exception:  # a span of somebody else's: the line is worth more than its ids
        return _NO_IDS


def _meet(held: MutableMapping[str, Any], fields: tuple[str, str, bool]) -> None:
    """Add a span's fields where the user has some of the same name."""
    for name, value in zip(SPAN_FIELDS, fields, strict=True):
        if name in held:
            theirs = held[name]
            # Of their values only plain ones are compared: others may raise or answer at length.
            if not value or (type(theirs) is type(value) and theirs == value):
                continue  # we have nothing to say: the user's own id stands
            held[f"extra_{name}"] = theirs
        held[name] = value
