"""OpenTelemetry spans as OTLP: each an element of ``ScopeSpans.spans``, encoded once.

A repeated message field is the plain concatenation of its elements, each with its key and length,
so a request put together from spans that were encoded one by one means exactly what one encoded
in one go means. Fields stand in the order of their numbers.

It says what OpenTelemetry's own encoder says, and keeps what that one loses: the trace state of
links, integers beyond 64 bits (as text, as the specification of attribute mapping demands), texts
with lone surrogates. The low byte of ``flags`` stays empty as it does there: what is exported is
sampled.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

from opentelemetry.trace import DEFAULT_TRACE_STATE, StatusCode

from tracekit._protobuf import varint
from tracekit._protocols import UNSET, Facts, Frame, Loss, Payload
from tracekit.encoding._facts import MAX_TIME_NS, in_time
from tracekit.encoding._many import FactsEncoder
from tracekit.encoding._memory import remember, remember_scope
from tracekit.encoding._otlp_idl import (
    EVENT,
    EXPORT_REQUEST,
    HAS_IS_REMOTE,
    IS_REMOTE,
    LINK,
    RESOURCE,
    RESOURCE_SPANS,
    SCOPE,
    SCOPE_SPANS,
    SPAN,
    STATUS,
)
from tracekit.encoding._otlp_values import (
    MAX_TABLED,
    SIZES,
    Attributes,
    size,
    sized,
    utf8,
)
from tracekit.encoding._tags import as_text

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.util.instrumentation import InstrumentationScope
    from opentelemetry.trace import SpanContext, SpanKind, Status

    from tracekit._protobuf import Message
    from tracekit._protocols import Bag, Fields

_MAX_HEADER_BYTES = 6
"""A key and the length behind it: enough for any message below 4 GiB."""


def _field(table: Message, name: str, data: bytes) -> bytes:
    """Return a whole field that has a length."""
    return table.key(name) + sized(data)


def _text(table: Message, name: str, text: str | None) -> bytes:
    """Return a text field, nothing if it is empty."""
    return _field(table, name, utf8(text)) if text else b""


def _count(table: Message, name: str, count: int) -> bytes:
    return table.key(name) + varint(count) if count else b""


class OtlpEncoder(FactsEncoder):
    """Spans as an ``ExportTraceServiceRequest`` in protobuf. One thread at a time."""

    def __init__(self) -> None:
        self._attributes = Attributes(SPAN)
        self._event_attributes = Attributes(EVENT)
        self._traces: dict[int, bytes] = {}
        self._parents: dict[int, bytes] = {}
        self._names: dict[tuple[str, int], bytes] = {}
        self._event_names: dict[str, bytes] = {}
        self._scopes: dict[int, tuple[bytes, InstrumentationScope | None]] = {}
        self._id = struct.Struct(">Q").pack
        self._start_key = SPAN.key("start_time_unix_nano")
        self._end_key = SPAN.key("end_time_unix_nano")
        self._times = struct.Struct("<QcQ").pack  # "c": a key of one byte
        self._event_time_key = EVENT.key("time_unix_nano")
        self._event_time = struct.Struct("<cQ").pack
        self._span_key = SCOPE_SPANS.key("spans")
        self._scope_key = RESOURCE_SPANS.key("scope_spans")
        self._resource_key = EXPORT_REQUEST.key("resource_spans")
        self._event_key = SPAN.key("events")
        # Empty, but there: so does OpenTelemetry's own encoder tell "unset".
        unset = _field(SPAN, "status", b"")
        self._endings = {
            remote: unset + flags_field(SPAN, remote=remote) for remote in (False, True)
        }

    # --- one span ---

    def frame_of(self, fields: Fields) -> Frame:
        """Encode the span that has these facts. struct.error: a time of it is no integer."""
        (
            trace_id,
            span_id,
            parent_id,
            _,
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
            remote,
        ) = fields
        # Readers subtract without a sign: a clock that was set back would make 584 years.
        if not 0 <= start_ns <= end_ns <= MAX_TIME_NS:
            start_ns = in_time(start_ns)
            end_ns = max(start_ns, in_time(end_ns))
        # In the order of the numbers, as protobuf writes: equal spans are equal bytes everywhere.
        out = [
            self._traces.get(trace_id) or self._trace(trace_id),
            self._id(span_id),
            b"" if state is DEFAULT_TRACE_STATE else _text(SPAN, "trace_state", state.to_header()),
            (self._parents.get(parent_id) or self._parent(parent_id)) if parent_id else b"",
            self._names.get((name, id(kind))) or self._name(name, kind),
            self._times(start_ns, self._end_key, end_ns),
        ]
        if attributes:
            self._attributes.extend(out, attributes.items())
        if lost_attributes:
            out.append(_count(SPAN, "dropped_attributes_count", lost_attributes))
        if events:
            self._events(out, events)
        if links or lost_events or lost_links:
            self._rarities(out, Facts._make(fields))
        out.append(
            self._endings[remote]
            if status is UNSET or status.status_code is StatusCode.UNSET
            else status_field(status) + flags_field(SPAN, remote=remote)
        )
        body = b"".join(out)
        length = len(body)
        head = SIZES[length] if length < MAX_TABLED else varint(length)
        known = self._scopes.get(id(scope)) or self._scope(scope)
        # The constructor of a named tuple costs three times as much.
        return tuple.__new__(Frame, (self._span_key + head + body, known[0], None))

    def _trace(self, trace_id: int) -> bytes:
        """Return the field that all spans of a trace share, and the head of the span id."""
        field = _field(SPAN, "trace_id", trace_id.to_bytes(16, "big"))
        return remember(self._traces, trace_id, field + SPAN.key("span_id") + SIZES[8])

    def _parent(self, parent_id: int) -> bytes:
        field = _field(SPAN, "parent_span_id", self._id(parent_id))
        return remember(self._parents, parent_id, field)

    def _name(self, name: str, kind: SpanKind) -> bytes:
        """Return name and kind, and the key of the start time that follows them."""
        number = SPAN.key("kind") + varint(kind.value + 1)  # OTLP's 0 is "unspecified"
        encoded = _text(SPAN, "name", as_text(name)) + number + self._start_key
        return remember(self._names, (name, id(kind)), encoded)

    def _events(self, out: list[bytes], events: Sequence[tuple[str, int, Bag]]) -> None:
        for name, time_ns, (attributes, dropped) in events:
            if not 0 <= time_ns <= MAX_TIME_NS:
                time_ns = in_time(time_ns)  # noqa: PLW2901 (the time that is told)
            parts = [
                self._event_time(self._event_time_key, time_ns),
                self._event_names.get(name) or self._event_name(name),
            ]
            if attributes:
                self._event_attributes.extend(parts, attributes.items())
            if dropped:
                parts.append(_count(EVENT, "dropped_attributes_count", dropped))
            body = b"".join(parts)
            length = len(body)
            head = SIZES[length] if length < MAX_TABLED else varint(length)
            out.append(self._event_key + head + body)

    def _event_name(self, name: str) -> bytes:
        return remember(self._event_names, name, _text(EVENT, "name", as_text(name)))

    def _rarities(self, out: list[bytes], facts: Facts) -> None:
        """Append what few spans have: links, and how many events and links did not fit."""
        out.append(_count(SPAN, "dropped_events_count", facts.dropped_events))
        out += [_field(SPAN, "links", _link(context, bag)) for context, bag in facts.links]
        out.append(_count(SPAN, "dropped_links_count", facts.dropped_links))

    def _scope(self, scope: InstrumentationScope | None) -> tuple[bytes, object]:
        """Return everything of ScopeSpans but its spans.

        The scope is kept with its bytes, so no other one can get the same id meanwhile.
        """
        if scope is None:
            encoded = _field(SCOPE_SPANS, "scope", b"")
        else:
            body = (
                _text(SCOPE, "name", scope.name)
                + _text(SCOPE, "version", scope.version)
                + Attributes(SCOPE).all(scope.attributes)
            )
            encoded = _field(SCOPE_SPANS, "scope", body) + _text(
                SCOPE_SPANS, "schema_url", scope.schema_url
            )
        return remember_scope(self._scopes, id(scope), (encoded, scope), len(encoded))

    # --- many spans ---

    def process(self, resource: Resource) -> bytes:
        """Encode everything of ResourceSpans but its spans."""
        attributes = Attributes(RESOURCE).all(resource.attributes)
        url = _text(RESOURCE_SPANS, "schema_url", resource.schema_url)
        return _field(RESOURCE_SPANS, "resource", attributes) + url

    def overhead_bytes(
        self, process: bytes, frames: int, scopes: Collection[bytes], seq_no: int, loss: Loss
    ) -> int:
        """Return the size of everything but the frames, a few bytes too many at most."""
        del frames, seq_no, loss  # a list has no count here, a request no number
        heads = _MAX_HEADER_BYTES * (len(scopes) + 1)
        return len(process) + sum(map(len, scopes)) + heads

    def seal(self, process: bytes, frames: Sequence[Frame], seq_no: int, loss: Loss) -> Payload:
        """Return the request of ``frames``; those of one scope stand together, in their order."""
        del seq_no, loss
        groups: dict[bytes, list[bytes]] = {}
        for data, scope, _ in frames:
            held = groups.get(scope)
            if held is None:
                held = groups[scope] = [scope]
            held.append(data)
        # Lengths stand before what they measure: they are summed up, and all is copied once.
        parts = [b"", process]
        total = len(process)
        for held in groups.values():
            length = sum(map(len, held))
            head = self._scope_key + size(length)
            parts.append(head)
            parts += held
            total += len(head) + length
        parts[0] = self._resource_key + size(total)
        return Payload(b"".join(parts), frames)


def flags_field(table: Message, *, remote: bool) -> bytes:
    flags = HAS_IS_REMOTE | (IS_REMOTE if remote else 0)
    return table.key("flags") + struct.pack("<I", flags)


def status_field(status: Status) -> bytes:
    message = _text(STATUS, "message", status.description)
    return _field(SPAN, "status", message + _count(STATUS, "code", status.status_code.value))


def _link(context: SpanContext, bag: Bag) -> bytes:
    attributes, dropped = bag
    return b"".join(
        (
            _field(LINK, "trace_id", context.trace_id.to_bytes(16, "big")),
            _field(LINK, "span_id", context.span_id.to_bytes(8, "big")),
            _text(LINK, "trace_state", context.trace_state.to_header()),
            Attributes(LINK).all(attributes),
            _count(LINK, "dropped_attributes_count", dropped),
            flags_field(LINK, remote=context.is_remote),
        )
    )
