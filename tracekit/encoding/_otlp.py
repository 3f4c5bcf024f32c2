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
from collections.abc import Mapping
from typing import TYPE_CHECKING

from opentelemetry.trace import DEFAULT_TRACE_STATE, StatusCode

from tracekit._protobuf import varint
from tracekit._protocols import UNSET, Frame, Loss, Payload
from tracekit.encoding._facts import facts_of
from tracekit.encoding._memory import MAX_KEPT_BYTES, remember
from tracekit.encoding._otlp_idl import (
    ANY_VALUE,
    ARRAY_VALUE,
    EVENT,
    EXPORT_REQUEST,
    HAS_IS_REMOTE,
    IS_REMOTE,
    KEY_VALUE,
    KEY_VALUE_LIST,
    LINK,
    RESOURCE,
    RESOURCE_SPANS,
    SCOPE,
    SCOPE_SPANS,
    SPAN,
    STATUS,
)

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Sequence

    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import ReadableSpan
    from opentelemetry.sdk.util.instrumentation import InstrumentationScope
    from opentelemetry.trace import SpanContext, SpanKind, Status
    from opentelemetry.util.types import AnyValue

    from tracekit._protobuf import Message
    from tracekit._protocols import Bag, Facts

    _Elements = dict[tuple[str, AnyValue], bytes]

_SIGN = 1 << 63
_MAX_TABLED = 2048
_SIZES = tuple(varint(n) for n in range(_MAX_TABLED))
_MAX_HEADER_BYTES = 6
"""A key and the length behind it: enough for any message below 4 GiB."""


def _size(n: int) -> bytes:
    return _SIZES[n] if n < _MAX_TABLED else varint(n)


def _sized(data: bytes) -> bytes:
    return _size(len(data)) + data


def utf8(text: str) -> bytes:
    """Encode a text; what UTF-8 cannot hold (lone surrogates) becomes ``?``."""
    try:
        return text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-8", "replace")


def _field(table: Message, name: str, data: bytes) -> bytes:
    """Return a whole field that has a length."""
    return table.key(name) + _sized(data)


def _text(table: Message, name: str, text: str | None) -> bytes:
    """Return a text field, nothing if it is empty."""
    return _field(table, name, utf8(text)) if text else b""


def _count(table: Message, name: str, count: int) -> bytes:
    return table.key(name) + varint(count) if count else b""


_STRING, _BOOL, _INT, _DOUBLE, _ARRAY, _KVLIST, _BYTES = (
    ANY_VALUE.key(f"{kind}_value")
    for kind in ("string", "bool", "int", "double", "array", "kvlist", "bytes")
)
_KEY, _VALUE = KEY_VALUE.key("key"), KEY_VALUE.key("value")
_f64 = struct.Struct("<d").pack


def any_value(value: AnyValue) -> bytes:  # noqa: PLR0911 (a row per type)
    """Return an AnyValue without its length: None is one with nothing set."""
    if isinstance(value, str):
        return _STRING + _sized(utf8(value))
    if isinstance(value, bool):
        return _BOOL + _SIZES[value]
    if isinstance(value, int) and -_SIGN <= value < _SIGN:
        return _INT + varint(value)
    if isinstance(value, float):
        return _DOUBLE + _f64(value)
    if isinstance(value, bytes):
        return _BYTES + _sized(value)
    if value is None:
        return b""
    if isinstance(value, Mapping):
        key = KEY_VALUE_LIST.key("values")
        pairs = [key + _sized(key_value(str(name), item)) for name, item in value.items()]
        return _KVLIST + _sized(b"".join(pairs))
    if isinstance(value, list | tuple):
        key = ARRAY_VALUE.key("values")
        return _ARRAY + _sized(b"".join([key + _sized(any_value(item)) for item in value]))
    return any_value(str(value))


def key_value(key: str, value: AnyValue) -> bytes:
    """Return a KeyValue without its length."""
    encoded = any_value(value)
    return _KEY + _sized(utf8(key)) + _VALUE + _sized(encoded)


class Attributes:
    """Encodes the attributes of one message, whole elements of its repeated field.

    Most values of most spans come again (methods, routes, status codes, hosts), so a look into a
    bounded memory is cheaper than encoding; what is long or of another type is not kept.
    """

    def __init__(self, table: Message) -> None:
        self._key = table.key("attributes")
        # One memory a type: to a dictionary, 1, 1.0 and True are the same key.
        self._texts: _Elements = {}
        self._numbers: _Elements = {}
        self._bools: _Elements = {}
        self._heads: dict[str, bytes] = {}
        self._doubles: dict[str, bytes] = {}

    def extend(self, out: list[bytes], pairs: Iterable[tuple[str, AnyValue]]) -> None:
        """Append one encoded element per pair to ``out``."""
        append = out.append
        texts = self._texts
        numbers = self._numbers
        bools = self._bools
        for pair in pairs:
            value = pair[1]
            kind = type(value)
            if kind is str:
                append(texts.get(pair) or self._text(*pair))  # type: ignore[arg-type]
            elif kind is int:
                append(numbers.get(pair) or self._kept(numbers, pair))
            elif kind is bool:
                append(bools.get(pair) or self._kept(bools, pair))
            elif kind is float:
                key = pair[0]
                append((self._doubles.get(key) or self._double(key)) + _f64(value))
            else:
                append(self.one(*pair))

    def one(self, key: str, value: AnyValue) -> bytes:
        """Return one element."""
        return self._key + _sized(key_value(key, value))

    def all(self, attributes: Mapping[str, AnyValue] | None) -> bytes:
        """Return all elements."""
        out: list[bytes] = []
        if attributes:
            self.extend(out, attributes.items())
        return b"".join(out)

    def _text(self, key: str, value: str) -> bytes:
        """Return the element of a text: what ``one`` returns, in half of its time."""
        text = utf8(value)
        length = len(text)
        head = self._heads.get(key) or self._head(key)
        string = _STRING + _size(length) + text
        size = _size(len(string))
        element = self._key + _size(len(head) + len(size) + len(string)) + head + size + string
        return remember(self._texts, (key, value), element) if length <= MAX_KEPT_BYTES else element

    def _head(self, key: str) -> bytes:
        """Return what stands before the length of a value."""
        return remember(self._heads, key, _KEY + _sized(utf8(key)) + _VALUE)

    def _kept(self, known: _Elements, pair: tuple[str, AnyValue]) -> bytes:
        element = self.one(*pair)
        short = len(element) - len(pair[0]) <= MAX_KEPT_BYTES
        return remember(known, pair, element) if short else element

    def _double(self, key: str) -> bytes:
        """Return what stands before the eight bytes of a double."""
        return remember(self._doubles, key, self.one(key, 0.0)[:-8])


class OtlpEncoder:
    """Spans as an ``ExportTraceServiceRequest`` in protobuf. One thread at a time."""

    def __init__(self) -> None:
        self._attributes = Attributes(SPAN)
        self._event_attributes = Attributes(EVENT)
        self._traces: dict[int, bytes] = {}
        self._parents: dict[int, bytes] = {}
        self._names: _Elements = {}
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
        unset = _field(SPAN, "status", b"")
        self._endings = {remote: unset + _flags(SPAN, remote=remote) for remote in (False, True)}

    # --- one span ---

    def frame(self, span: ReadableSpan) -> Frame:
        """Encode one ended span.

        Raises:
            ValueError: it has no context, or has not ended.
            struct.error: a time of it is before 1970 or after 2554.

        """
        facts = facts_of(span)
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
        ) = facts
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
            self._rarities(out, facts)
        out.append(
            self._endings[remote]
            if status is UNSET or status.status_code is StatusCode.UNSET
            else _status(status) + _flags(SPAN, remote=remote)
        )
        body = b"".join(out)
        length = len(body)
        size = _SIZES[length] if length < _MAX_TABLED else varint(length)
        known = self._scopes.get(id(scope)) or self._scope(scope)
        # As Facts are made: the constructor of a named tuple costs three times as much.
        return tuple.__new__(Frame, (self._span_key + size + body, known[0], None))

    def _trace(self, trace_id: int) -> bytes:
        """Return the field that all spans of a trace share, and the head of the span id."""
        field = _field(SPAN, "trace_id", trace_id.to_bytes(16, "big"))
        return remember(self._traces, trace_id, field + SPAN.key("span_id") + _SIZES[8])

    def _parent(self, parent_id: int) -> bytes:
        field = _field(SPAN, "parent_span_id", self._id(parent_id))
        return remember(self._parents, parent_id, field)

    def _name(self, name: str, kind: SpanKind) -> bytes:
        """Return name and kind, and the key of the start time that follows them."""
        number = SPAN.key("kind") + varint(kind.value + 1)  # OTLP's 0 is "unspecified"
        encoded = _text(SPAN, "name", name) + number + self._start_key
        return remember(self._names, (name, id(kind)), encoded)

    def _events(self, out: list[bytes], events: Sequence[tuple[str, int, Bag]]) -> None:
        for name, time_ns, (attributes, dropped) in events:
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
            size = _SIZES[length] if length < _MAX_TABLED else varint(length)
            out.append(self._event_key + size + body)

    def _event_name(self, name: str) -> bytes:
        return remember(self._event_names, name, _text(EVENT, "name", name))

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
        return remember(self._scopes, id(scope), (encoded, scope))

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
            head = self._scope_key + _size(length)
            parts.append(head)
            parts += held
            total += len(head) + length
        parts[0] = self._resource_key + _size(total)
        return Payload(b"".join(parts), frames)


def _flags(table: Message, *, remote: bool) -> bytes:
    flags = HAS_IS_REMOTE | (IS_REMOTE if remote else 0)
    return table.key("flags") + struct.pack("<I", flags)


def _status(status: Status) -> bytes:
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
            _flags(LINK, remote=context.is_remote),
        )
    )
