"""OpenTelemetry spans as jaeger.thrift, in either Thrift protocol.

What maps to what is OpenTelemetry's own rule (its Jaeger exporter specification before removal,
and "mapping to non-OTLP formats"), completed where that loses something the backend can show:
attributes of links go into a log, the trace state into ``w3c.tracestate``, bytes into BINARY.

A list of structs is the plain concatenation of its elements, so a batch put together from spans
that were encoded one by one is byte-identical to one that was encoded in one go.
"""

from __future__ import annotations

from operator import itemgetter
from typing import TYPE_CHECKING, NamedTuple

from opentelemetry.trace import DEFAULT_TRACE_STATE, SpanKind, StatusCode

from tracekit._context import DEBUG, FIREHOSE
from tracekit._protocols import (
    MARKS_SHIFT,
    REF_TYPE,
    UNSET,
    Facts,
    Frame,
    Loss,
    Payload,
    UnnamedEvent,
)
from tracekit.encoding._envelope import Envelope
from tracekit.encoding._facts import MAX_TIME_NS, in_time
from tracekit.encoding._idl import LOG, SPAN, SPAN_REF, SpanRefType
from tracekit.encoding._many import FactsEncoder
from tracekit.encoding._memory import remember, remember_scope
from tracekit.encoding._tags import Tags, as_text

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Mapping, Sequence

    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.util.instrumentation import InstrumentationScope
    from opentelemetry.trace import SpanContext

    from tracekit._protocols import Bag, Fields
    from tracekit.encoding._thrift import Dialect, Field, Struct

_STOP = b"\0"
_data = itemgetter(0)
"""Of a frame, its data: in C, where the name would be looked up."""
_LOW = 0xFFFF_FFFF_FFFF_FFFF
_MAX_TABLED = 64
"""List headers up to this length are made in advance."""
_MARKS = DEBUG | FIREHOSE


class Ending(NamedTuple):
    """The tags that come with a kind and a scope."""

    length: int
    tags: bytes
    scope: InstrumentationScope | None


class JaegerEncoder(FactsEncoder):
    """Spans as jaeger.thrift: ``compact`` or ``binary``, as a call to an agent or as a bare Batch.

    ``process_tags`` is asked once per process for the tags that Jaeger's clients add to the
    resource (``hostname``, ``ip``, ``client-uuid`` …). One thread at a time.
    """

    def __init__(
        self,
        dialect: Dialect,
        *,
        call: bool,
        process_tags: Callable[[], Mapping[str, str]] = dict,
    ) -> None:
        self._dialect = dialect
        self._i64 = dialect.i64
        self._id = dialect.u64
        self._tags = Tags(dialect)
        self._envelope = Envelope(dialect, self._tags, call=call, process_tags=process_tags)
        self._traces: dict[int, bytes] = {}
        self._parents: dict[int, bytes] = {}
        self._names: dict[str, bytes] = {}
        self._events: dict[str, bytes] = {}
        self._endings: dict[tuple[int, int], Ending] = {}
        header = dialect.header
        flags, after_refs = (
            {
                bits: header(SPAN["flags"], SPAN[before])
                + dialect.i32(bits)
                + header(SPAN["startTime"], SPAN["flags"])
                for bits in range(16)
            }
            for before in ("operationName", "references")
        )
        self._flags = flags
        self._flags_after_refs = after_refs
        self._low = header(SPAN["traceIdLow"])
        self._high = header(SPAN["traceIdHigh"], SPAN["traceIdLow"])
        self._narrow = self._high + dialect.i64(0)
        self._span_id = header(SPAN["spanId"], SPAN["traceIdHigh"])
        self._parent_id = header(SPAN["parentSpanId"], SPAN["spanId"])
        self._duration = header(SPAN["duration"], SPAN["startTime"])
        self._span_tags = [self._list(SPAN, "tags", count) for count in range(_MAX_TABLED)]
        self._span_tags[0] = b""  # an empty list is left out
        self._span_logs = {
            name: [
                header(SPAN["logs"], SPAN[name]) + dialect.structs(n) for n in range(_MAX_TABLED)
            ]
            for name in ("tags", "duration")
        }
        self._log_head = header(LOG["timestamp"])
        self._log_fields = [self._list(LOG, "fields", count) for count in range(_MAX_TABLED)]

    # --- one span ---

    def frame_of(self, fields: Fields) -> Frame:
        """Encode the span that has these facts."""
        i64 = self._i64
        (
            trace_id,
            span_id,
            parent_id,
            bits,
            state,
            name,
            kind,
            start_ns,
            end_ns,
            attributes,
            events,
            links,
            status,
            scope,
            lost_attributes,
            lost_events,
            lost_links,
            _,
        ) = fields
        rare = (
            self._rarities(Facts._make(fields))
            if status is not UNSET
            or (state is not DEFAULT_TRACE_STATE and state)
            or lost_attributes
            or lost_events
            or lost_links
            else ()
        )
        if not 0 <= start_ns <= end_ns <= MAX_TIME_NS:  # a clock that was wrong, or set back
            start_ns = in_time(start_ns)
            end_ns = max(start_ns, in_time(end_ns))
        ending = self._endings.get((id(kind), id(scope))) or self._ending(kind, scope)
        tags = len(attributes) + len(rare) + ending.length
        # In the order of the IDL's ids: compact headers hold the distance to the one before. Each
        # part ends with the header of what follows it, where that is always there.
        out = [
            self._traces.get(trace_id) or self._trace(trace_id),
            self._id(span_id),
            self._parents.get(parent_id) or self._parent(parent_id),
            self._names.get(name) or self._name(name),
            self._refs(links) if links else b"",
            # Of the trace flags *sampled* alone: W3C's 0x02 would be Jaeger's *debug*.
            (self._flags_after_refs if links else self._flags)[
                bits & 1 | bits >> MARKS_SHIFT & _MARKS
            ],
            # In µs. The duration is cut once, and is not the difference of two times that were.
            i64(start_ns // 1000),
            self._duration,
            i64((end_ns - start_ns) // 1000),
            self._span_tags[tags] if tags < _MAX_TABLED else self._list(SPAN, "tags", tags),
        ]
        if attributes:
            self._tags.extend(out, attributes.items())
        out += rare
        out.append(ending.tags)
        if links:
            events = [*events, *_link_logs(links, start_ns)]
        if events:
            self._logs(out, events, "tags" if tags else "duration")
        out.append(_STOP)
        return tuple.__new__(
            Frame, (b"".join(out), b"", None)
        )  # a third of the time of the constructor

    def _trace(self, trace_id: int) -> bytes:
        """Return the fields that all spans of a trace share, and the head of the span id."""
        high = trace_id >> 64
        field = self._high + self._id(high) if high else self._narrow
        fields = self._low + self._id(trace_id & _LOW) + field + self._span_id
        return remember(self._traces, trace_id, fields)

    def _parent(self, parent_id: int) -> bytes:
        return remember(self._parents, parent_id, self._parent_id + self._id(parent_id))

    def _name(self, name: str) -> bytes:
        head = self._dialect.header(SPAN["operationName"], SPAN["parentSpanId"])
        # A program may take anything for a name; only of a text it is certain what it is.
        return remember(self._names, name, head + self._tags.text(as_text(name)))

    def _list(self, struct: Struct, name: str, count: int) -> bytes:
        """Return the head of a long optional list, which follows the field before it in the IDL."""
        fields = list(struct.fields.values())
        field = struct[name]
        return self._field(field, fields[fields.index(field) - 1], self._dialect.structs(count))

    def _ending(self, kind: SpanKind, scope: InstrumentationScope | None) -> Ending:
        """Return the tags of kind and scope; the latter under old and new names, as required."""
        tags = []
        if kind is not SpanKind.INTERNAL:
            tags.append(self._tags.one("span.kind", kind.name.lower()))
        if scope is not None:
            for title, value in (("name", scope.name), ("version", scope.version)):
                if value:
                    tags.append(self._tags.one(f"otel.scope.{title}", value))
                    tags.append(self._tags.one(f"otel.library.{title}", value))
            # Jaeger has no scopes, so what one says goes with each of its spans.
            for key, item in (scope.attributes or {}).items():
                tags.append(self._tags.one(f"otel.scope.{key}", item))
        # The scope is kept with its tags, so no other one can get the same id meanwhile.
        ending = Ending(len(tags), b"".join(tags), scope)
        return remember_scope(self._endings, (id(kind), id(scope)), ending, len(ending.tags))

    def _rarities(self, facts: Facts) -> list[bytes]:
        """Return the tags that few spans have: status, trace state, what did not fit."""
        tags: list[bytes] = []
        status = facts.status
        if status.status_code is not StatusCode.UNSET:
            tags.append(self._tags.one("otel.status_code", status.status_code.name))
            if status.description:
                tags.append(self._tags.one("otel.status_description", status.description))
            if status.status_code is StatusCode.ERROR and "error" not in facts.attributes:
                tags.append(self._tags.one("error", True))
        if facts.state:
            tags.append(self._tags.one("w3c.tracestate", facts.state.to_header()))
        self._dropped(tags, "attributes", facts.dropped_attributes)
        self._dropped(tags, "events", facts.dropped_events)
        self._dropped(tags, "links", facts.dropped_links)
        return tags

    def _dropped(self, tags: list[bytes], what: str, count: int) -> None:
        if count:
            tags.append(self._tags.one(f"otel.dropped_{what}_count", count))

    def _logs(self, out: list[bytes], logs: Sequence[tuple[str, int, Bag]], after: str) -> None:
        i64, events, heads = self._i64, self._events, self._log_fields
        append = out.append
        count = len(logs)
        append(
            self._span_logs[after][count]
            if count < _MAX_TABLED
            else self._field(SPAN["logs"], SPAN[after], self._dialect.structs(count))
        )
        for name, time_ns, (attributes, dropped) in logs:
            append(self._log_head)
            if not 0 <= time_ns <= MAX_TIME_NS:
                time_ns = in_time(time_ns)  # noqa: PLW2901 (the time that is told)
            append(i64(time_ns // 1000))
            # Jaeger's logs have fields and no name. OpenTracing's say theirs as a field already.
            named = "event" in attributes or type(name) is UnnamedEvent
            fields = len(attributes) + (not named) + (dropped > 0)
            append(heads[fields] if fields < _MAX_TABLED else self._list(LOG, "fields", fields))
            if not named:
                append(events.get(name) or self._event(name))
            if attributes:
                self._tags.extend(out, attributes.items())
            if dropped:
                self._dropped(out, "attributes", dropped)
            append(_STOP)

    def _event(self, name: str) -> bytes:
        return remember(self._events, name, self._tags.one("event", name))

    def _refs(self, links: Sequence[tuple[SpanContext, Bag]]) -> bytes:
        refs = b"".join([self._ref(context, _ref_type(bag)) for context, bag in links])
        head = self._dialect.header(SPAN["references"], SPAN["operationName"])
        return head + self._dialect.structs(len(links)) + refs

    def _ref(self, context: SpanContext, ref_type: SpanRefType) -> bytes:
        kind, low, high, span_id = SPAN_REF.fields.values()
        return b"".join(
            (
                self._field(kind, None, self._dialect.i32(ref_type)),
                self._field(low, kind, self._id(context.trace_id & _LOW)),
                self._field(high, low, self._id(context.trace_id >> 64)),
                self._field(span_id, high, self._id(context.span_id)),
                _STOP,
            )
        )

    def _field(self, field: Field, after: Field | None, value: bytes) -> bytes:
        return self._dialect.header(field, after) + value

    # --- many spans ---

    def process(self, resource: Resource) -> bytes:
        """Encode the Process: ``service.name``, the other attributes, Jaeger's own tags."""
        return self._envelope.process(resource)

    def overhead_bytes(
        self, process: bytes, frames: int, scopes: Collection[bytes], seq_no: int, loss: Loss
    ) -> int:
        """Return the exact size of everything but the frames."""
        del scopes  # a scope travels in tags of each span
        return self._envelope.size_bytes(process, frames, seq_no, loss)

    def seal(self, process: bytes, frames: Sequence[Frame], seq_no: int, loss: Loss) -> Payload:
        """Return the Batch of ``frames``, within its ``emitBatch`` call if it goes to an agent."""
        before = self._envelope.before(process, len(frames), seq_no)
        spans = b"".join(map(_data, frames))
        return Payload(before + spans + self._envelope.after(seq_no, loss), frames)


def _ref_type(bag: Bag) -> SpanRefType:
    # OpenTelemetry maps a link to FOLLOWS_FROM; its OpenTracing shim says what it was before.
    asked = bag[0].get(REF_TYPE)
    return SpanRefType.CHILD_OF if asked == "child_of" else SpanRefType.FOLLOWS_FROM


def _link_logs(
    links: Sequence[tuple[SpanContext, Bag]], time_ns: int
) -> Iterator[tuple[str, int, Bag]]:
    """Return an event for each link with attributes, for which a SpanRef has no room."""
    for context, (attributes, dropped) in links:
        if dropped > 0 or any(key != REF_TYPE for key in attributes):
            ids = {"trace_id": f"{context.trace_id:032x}", "span_id": f"{context.span_id:016x}"}
            yield "link", time_ns, ({"event": "link", **ids, **attributes}, dropped)
