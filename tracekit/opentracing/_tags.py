"""Tags and log fields: what becomes of each in OpenTelemetry, and which types values may have.

====================  ============================================================
tag                   OpenTelemetry
====================  ============================================================
``span.kind``         the span's kind (client, server, producer, consumer)
``error``             status ERROR if true; an attribute of that name, too
``sampling.priority`` the decision: above 0 forces the trace, 0 takes it out
all others            an attribute of that name; OpenTracing's ``http.*`` names are
                      OpenTelemetry's own older ones
====================  ============================================================
"""

from __future__ import annotations

import traceback
from types import TracebackType
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

from opentelemetry.sdk import trace as sdk
from opentelemetry.trace import SpanKind, Status, StatusCode
from opentracing.ext import tags

from tracekit.tracing._late import set_kind

if TYPE_CHECKING:
    from collections.abc import Mapping

    from opentelemetry import trace

Value: TypeAlias = str | bool | int | float

KINDS: Mapping[object, SpanKind] = {
    tags.SPAN_KIND_RPC_CLIENT: SpanKind.CLIENT,
    tags.SPAN_KIND_RPC_SERVER: SpanKind.SERVER,
    tags.SPAN_KIND_PRODUCER: SpanKind.PRODUCER,
    tags.SPAN_KIND_CONSUMER: SpanKind.CONSUMER,
}


class ValueRules(NamedTuple):
    """How values become tags; lengths in characters, None: no limit of our own."""

    max_length: int | None = None
    max_traceback_length: int | None = None

    def plain(self, value: object) -> Value:
        """Return ``value`` as one of the four types that Jaeger's clients knew; text if in doubt.

        Other libraries' booleans are called ``bool`` and are not derived from it.
        """
        if type(value).__name__ == "bool":
            return bool(value)
        if isinstance(value, int):
            return int(value)
        if isinstance(value, float):
            return float(value)
        if isinstance(value, TracebackType):
            return "".join(traceback.format_tb(value))[: self.max_traceback_length]
        return text(value)[: self.max_length]

    def fields(self, fields: Mapping[str, object]) -> dict[str, Value]:
        """Return the fields of a log."""
        return {text(key): self.plain(value) for key, value in fields.items()}


AS_THEY_ARE = ValueRules()
"""Only the limits of the handle's settings apply."""


def text(value: object) -> str:
    """Return ``str(value)``, or what went wrong."""
    try:
        return str(value)
    except Exception as error:
        return str(error)


class Start(NamedTuple):
    """Tags as the arguments of a start."""

    kind: SpanKind
    attributes: dict[str, Value]


def at_start(given: Mapping[str, object] | None, rules: ValueRules) -> Start:
    """Return kind and attributes of a span that starts with the tags ``given``."""
    if not given:
        return Start(SpanKind.INTERNAL, {})
    attributes = rules.fields(given)
    kind = KINDS.get(attributes.get(tags.SPAN_KIND))
    if kind is None:
        return Start(SpanKind.INTERNAL, attributes)
    del attributes[tags.SPAN_KIND]  # on Jaeger's wire the kind becomes this tag again
    return Start(kind, attributes)


def put(span: trace.Span, key: str, value: Value) -> None:
    """Put one tag on a recording span."""
    if key == tags.SPAN_KIND and value in KINDS and isinstance(span, sdk.Span):
        set_kind(span, KINDS[value])
        return
    if key == tags.ERROR:
        mark(span, value)
    span.set_attribute(key, value)


def mark(span: trace.Span, error: Value) -> None:
    """Set the status that the tag ``error`` means; only what Jaeger counts as an error is one."""
    if text(error).lower() == "true":
        span.set_status(Status(StatusCode.ERROR))
    elif isinstance(span, sdk.Span) and span.status.status_code is StatusCode.ERROR:
        span.set_status(Status(StatusCode.OK))  # unset it cannot be; the person says it is none
