"""Finished spans of ``jaeger_client`` as OpenTelemetry's: read by shape, never imported."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, TypeAlias

from opentelemetry.sdk.trace import Event, ReadableSpan
from opentelemetry.trace import Link, SpanKind, Status, StatusCode
from opentracing.ext import tags as ext

from tracekit._protocols import UnnamedEvent
from tracekit.jaeger_client._fields import FIELDS
from tracekit.opentracing import SpanContext
from tracekit.opentracing._tags import KINDS

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from opentelemetry.sdk.resources import Resource
    from opentelemetry.trace import SpanContext as TraceContext

    Value: TypeAlias = str | bool | int | float | bytes


class LegacyTag(Protocol):
    """``jaeger.thrift``'s Tag; the value stands in the attribute that ``vType`` names."""

    key: str
    vType: int  # noqa: N815 (Thrift's name)


class LegacyLog(Protocol):
    """``jaeger.thrift``'s Log; ``timestamp`` in µs since the epoch."""

    timestamp: int
    fields: Iterable[LegacyTag]


class LegacyContext(Protocol):
    """``jaeger_client.SpanContext``."""

    trace_id: int
    span_id: int
    parent_id: int | None
    flags: int


class LegacyReference(Protocol):
    """``opentracing.Reference``."""

    type: str
    referenced_context: LegacyContext


class LegacySpan(Protocol):
    """``jaeger_client.Span``; times in seconds since the epoch."""

    operation_name: str
    start_time: float
    end_time: float | None
    context: LegacyContext
    references: Sequence[LegacyReference] | None
    tags: Iterable[LegacyTag]
    logs: Iterable[LegacyLog]


def readable(span: LegacySpan, resource: Resource) -> ReadableSpan:
    """Return ``span`` for a pipeline. Raises whatever comes of a span that has another shape."""
    attributes = _values(span.tags)
    kind = KINDS.get(attributes.get(ext.SPAN_KIND))
    if kind is not None:
        del attributes[ext.SPAN_KIND]
    context = _context(span.context)
    parent_id = span.context.parent_id
    failed = str(attributes.get(ext.ERROR)).lower() == "true"
    return ReadableSpan(
        name=span.operation_name,
        context=context,
        parent=SpanContext(context.trace_id, parent_id).otel if parent_id else None,
        resource=resource,
        attributes=attributes,
        events=[_event(log) for log in span.logs],
        links=[
            Link(_context(ref.referenced_context), {"opentracing.ref_type": ref.type})
            for ref in span.references or ()
        ],
        kind=SpanKind.INTERNAL if kind is None else kind,
        status=Status(StatusCode.ERROR if failed else StatusCode.UNSET),
        start_time=_nanoseconds(span.start_time),
        end_time=_nanoseconds(span.start_time if span.end_time is None else span.end_time),
    )


def _event(log: LegacyLog) -> Event:
    fields = _values(log.fields)
    name = str(fields["event"]) if "event" in fields else UnnamedEvent("log")
    return Event(name, fields, log.timestamp * 1_000)


def _values(tags: Iterable[LegacyTag]) -> dict[str, Value]:
    return {tag.key: getattr(tag, FIELDS[tag.vType]) for tag in tags}


def _context(context: LegacyContext) -> TraceContext:
    return SpanContext(context.trace_id, context.span_id, None, context.flags).otel


def _nanoseconds(seconds: float) -> int:
    return int(seconds * 1_000_000) * 1_000
