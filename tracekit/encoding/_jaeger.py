"""OpenTelemetry spans as jaeger.thrift, in either Thrift protocol.

What maps to what is OpenTelemetry's own rule (its Jaeger exporter specification before removal,
and "mapping to non-OTLP formats"), completed where that loses something the backend can show:
attributes of links go into a log, the trace state into ``w3c.tracestate``, bytes into BINARY.

A list of structs is the plain concatenation of its elements, so a batch put together from spans
that were encoded one by one is byte-identical to one that was encoded in one go.
"""

from __future__ import annotations

import base64
import json
from typing import TYPE_CHECKING, TypeVar

from opentelemetry.trace import SpanKind, StatusCode

from tracekit._context import DEBUG, FIREHOSE
from tracekit._protocols import MARKS_SHIFT, Frame, Loss, Payload
from tracekit.encoding._facts import facts_of
from tracekit.encoding._idl import (
    BATCH,
    CLIENT_STATS,
    EMIT_BATCH,
    EMIT_BATCH_ARGS,
    LOG,
    PROCESS,
    SPAN,
    SPAN_REF,
    TAG,
    SpanRefType,
    TagType,
)
from tracekit.encoding._thrift import Binary, Compact

K = TypeVar("K")
V = TypeVar("V")

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Mapping, Sequence

    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import ReadableSpan
    from opentelemetry.sdk.util.instrumentation import InstrumentationScope
    from opentelemetry.trace import SpanContext
    from opentelemetry.util.types import AnyValue

    from tracekit._protocols import Bag, Facts
    from tracekit.encoding._thrift import Dialect, Field

_STOP = b"\0"
_LOW = 0xFFFF_FFFF_FFFF_FFFF
_SIGN = 1 << 63
_MAX_CACHED = 4096
"""Entries after which a cache starts anew: names and ids are bounded only by what users do."""

_MAX_KEPT_BYTES = 64

_NAMED_KINDS = (SpanKind.CLIENT, SpanKind.SERVER, SpanKind.PRODUCER, SpanKind.CONSUMER)
_REF_TYPE = "opentracing.ref_type"


class Tags:
    """Encodes tags; remembers whole short ones, and what stands before the value of each key."""

    def __init__(self, dialect: Dialect) -> None:
        self._dialect = dialect
        self._size = dialect.size
        self._texts: dict[tuple[str, str], bytes] = {}
        self._numbers: dict[tuple[str, int], bytes] = {}
        self._strings: dict[str, bytes] = {}
        self._longs: dict[str, bytes] = {}
        self._doubles: dict[str, bytes] = {}
        self._bools: dict[tuple[str, bool], bytes] = {}

    def extend(self, out: list[bytes], pairs: Iterable[tuple[str, AnyValue]]) -> None:
        """Append one encoded Tag per pair to ``out``.

        Most values of most spans come again (methods, routes, status codes, hosts), so a look
        into a bounded memory is cheaper than encoding; what is long or of another type is not kept.
        """
        append = out.append
        texts = self._texts
        numbers = self._numbers
        for pair in pairs:
            value = pair[1]
            kind = type(value)
            if kind is str:
                append(texts.get(pair) or self._text(pair))  # type: ignore[arg-type]
            elif kind is int:
                append(numbers.get(pair) or self._number(pair))  # type: ignore[arg-type]
            else:
                append(self.one(pair[0], value))

    def _text(self, pair: tuple[str, str]) -> bytes:
        key, value = pair
        text = value.encode("utf-8", "replace")
        prefix = self._strings.get(key) or self._prefix(self._strings, key, TagType.STRING, "vStr")
        tag = b"%b%b%b\0" % (prefix, self._size(len(text)), text)
        return _remember(self._texts, pair, tag) if len(text) <= _MAX_KEPT_BYTES else tag

    def _number(self, pair: tuple[str, int]) -> bytes:
        return _remember(self._numbers, pair, self.one(*pair))

    def one(self, key: str, value: AnyValue) -> bytes:
        """Return one encoded Tag for a value of any type."""
        if isinstance(value, bool):
            known = self._bools.get((key, value))
            return known or self._bool(key, value)
        if isinstance(value, int) and -_SIGN <= value < _SIGN:
            prefix = self._prefix(self._longs, key, TagType.LONG, "vLong")
            return prefix + self._dialect.i64(value) + _STOP
        if isinstance(value, float):
            doubles = self._doubles
            prefix = doubles.get(key) or self._prefix(doubles, key, TagType.DOUBLE, "vDouble")
            return prefix + self._dialect.double(value) + _STOP
        if isinstance(value, bytes):
            return self._head(key, TagType.BINARY, "vBinary") + self.sized(value) + _STOP
        prefix = self._prefix(self._strings, key, TagType.STRING, "vStr")
        return prefix + self.text(_as_text(value)) + _STOP

    def text(self, text: str) -> bytes:
        """Return a Thrift string; what UTF-8 cannot hold (lone surrogates) becomes ``?``."""
        return self.sized(text.encode("utf-8", "replace"))

    def sized(self, data: bytes) -> bytes:
        """Return length and bytes."""
        return self._size(len(data)) + data

    def _bool(self, key: str, value: bool) -> bytes:
        head = self._dialect.header(TAG["key"]) + self.text(key)
        kind = self._dialect.header(TAG["vType"], TAG["key"]) + self._dialect.i32(TagType.BOOL)
        whole = head + kind + self._dialect.flag(TAG["vBool"], TAG["vType"], value=value) + _STOP
        return _remember(self._bools, (key, value), whole)

    def _prefix(self, known: dict[str, bytes], key: str, tag_type: TagType, value: str) -> bytes:
        return known.get(key) or _remember(known, key, self._head(key, tag_type, value))

    def _head(self, key: str, tag_type: TagType, value: str) -> bytes:
        header = self._dialect.header
        return b"".join(
            (
                header(TAG["key"]),
                self.text(key),
                header(TAG["vType"], TAG["key"]),
                self._dialect.i32(tag_type),
                header(TAG[value], TAG["vType"]),
            )
        )


class JaegerEncoder:
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
        self._call = call
        self._process_tags = process_tags
        self._tags = Tags(dialect)
        self._ids: dict[int, bytes] = {}
        self._scopes: dict[tuple[str, str | None], list[bytes]] = {}
        self._kinds = {
            kind: self._tags.one("span.kind", kind.name.lower()) for kind in _NAMED_KINDS
        }
        self._build_headers()

    def _build_headers(self) -> None:
        header = self._dialect.header
        low, high, span_id, parent = (
            header(SPAN["traceIdLow"]),
            header(SPAN["traceIdHigh"], SPAN["traceIdLow"]),
            header(SPAN["spanId"], SPAN["traceIdHigh"]),
            header(SPAN["parentSpanId"], SPAN["spanId"]),
        )
        name = header(SPAN["operationName"], SPAN["parentSpanId"])
        self._span_head = b"".join(
            head.replace(b"%", b"%%") + b"%b" for head in (low, high, span_id, parent, name, b"")
        )
        flags = header(SPAN["flags"], SPAN["operationName"])
        start = header(SPAN["startTime"], SPAN["flags"])
        duration = header(SPAN["duration"], SPAN["startTime"])
        i32 = self._dialect.i32
        self._flags = {bits: flags + i32(bits) + start for bits in range(16)}
        after_refs = header(SPAN["flags"], SPAN["references"])
        self._flags_after_refs = {bits: after_refs + i32(bits) + start for bits in range(16)}
        self._duration = duration
        self._span_refs = header(SPAN["references"], SPAN["operationName"])
        self._span_tags = header(SPAN["tags"], SPAN["duration"])
        self._span_logs = header(SPAN["logs"], SPAN["tags"])
        self._span_logs_alone = header(SPAN["logs"], SPAN["duration"])
        self._log_head = header(LOG["timestamp"])
        self._log_fields = header(LOG["fields"], LOG["timestamp"])

    # --- one span ---

    def frame(self, span: ReadableSpan) -> Frame:
        """Encode one ended span. ValueError without a context or an end."""
        facts = facts_of(span)
        i64 = self._dialect.i64
        name = facts.name.encode("utf-8", "replace")
        trace_id = facts.trace_id
        start_ns = facts.start_ns
        refs = self._refs(facts.links) if facts.links else b""
        bits = facts.bits
        flags = self._flags_after_refs if refs else self._flags
        out = [
            self._span_head
            % (
                self._id(trace_id & _LOW),
                self._id(trace_id >> 64),
                i64(_signed(facts.span_id)),
                self._id(facts.parent_id),
                self._dialect.size(len(name)),
                name,
            ),
            refs,
            flags[bits & 1 | bits >> MARKS_SHIFT & (DEBUG | FIREHOSE)],
            i64(start_ns // 1000),
            self._duration,
            i64(max(0, (facts.end_ns - start_ns) // 1000)),
        ]
        tags = self._span_tag_list(facts)
        if tags:
            out.append(self._span_tags + self._dialect.structs(len(tags)))
            out += tags
        if facts.events or refs:
            self._logs(facts, out, self._span_logs if tags else self._span_logs_alone)
        out.append(_STOP)
        return Frame(b"".join(out))

    def _span_tag_list(self, facts: Facts) -> list[bytes]:
        tags: list[bytes] = []
        if facts.attributes:
            self._tags.extend(tags, facts.attributes.items())
        kind = self._kinds.get(facts.kind)
        if kind is not None:
            tags.append(kind)
        scope = facts.scope
        if scope is not None:
            tags += self._scopes.get((scope.name, scope.version)) or self._scope(scope)
        if facts.status.status_code is not StatusCode.UNSET:
            self._status(facts, tags)
        if facts.state:
            tags.append(self._tags.one("w3c.tracestate", facts.state.to_header()))
        if facts.dropped_attributes or facts.dropped_events or facts.dropped_links:
            self._dropped(tags, "attributes", facts.dropped_attributes)
            self._dropped(tags, "events", facts.dropped_events)
            self._dropped(tags, "links", facts.dropped_links)
        return tags

    def _status(self, facts: Facts, tags: list[bytes]) -> None:
        status = facts.status
        tags.append(self._tags.one("otel.status_code", status.status_code.name))
        if status.description:
            tags.append(self._tags.one("otel.status_description", status.description))
        if status.status_code is StatusCode.ERROR and "error" not in facts.attributes:
            tags.append(self._tags.one("error", True))

    def _dropped(self, tags: list[bytes], what: str, count: int) -> None:
        if count:
            tags.append(self._tags.one(f"otel.dropped_{what}_count", count))

    def _scope(self, scope: InstrumentationScope) -> list[bytes]:
        """Return the scope's tags under the present and the deprecated names: both required."""
        tags = []
        for title, value in (("name", scope.name), ("version", scope.version)):
            if value:
                tags.append(self._tags.one(f"otel.scope.{title}", value))
                tags.append(self._tags.one(f"otel.library.{title}", value))
        return _remember(self._scopes, (scope.name, scope.version), tags)

    def _logs(self, facts: Facts, out: list[bytes], head: bytes) -> None:
        logs = [self._event(*event) for event in facts.events]
        logs += [self._link(facts, *link) for link in facts.links if _has_own_words(link[1])]
        if logs:
            out.append(head + self._dialect.structs(len(logs)))
            out += logs

    def _event(self, name: str, time_ns: int, bag: Bag) -> bytes:
        fields: list[bytes] = []
        attributes, dropped = bag
        if "event" not in attributes:
            self._tags.extend(fields, (("event", name),))
        self._tags.extend(fields, attributes.items())
        self._dropped(fields, "attributes", dropped)
        return self._log(time_ns, fields)

    def _link(self, facts: Facts, context: SpanContext, bag: Bag) -> bytes:
        """Return a log with the attributes of a link, for which a SpanRef has no room."""
        attributes, dropped = bag
        fields = [
            self._tags.one("event", "link"),
            self._tags.one("trace_id", f"{context.trace_id:032x}"),
            self._tags.one("span_id", f"{context.span_id:016x}"),
        ]
        self._tags.extend(fields, attributes.items())
        self._dropped(fields, "attributes", dropped)
        return self._log(facts.start_ns, fields)

    def _log(self, time_ns: int, fields: list[bytes]) -> bytes:
        dialect = self._dialect
        return b"%b%b%b%b%b\0" % (
            self._log_head,
            dialect.i64(time_ns // 1000),
            self._log_fields,
            dialect.structs(len(fields)),
            b"".join(fields),
        )

    def _refs(self, links: Sequence[tuple[SpanContext, Bag]]) -> bytes:
        refs = b"".join([self._ref(context, _ref_type(bag)) for context, bag in links])
        return self._span_refs + self._dialect.structs(len(links)) + refs

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

    def _id(self, unsigned: int) -> bytes:
        """Encode an unsigned id: the same eight bytes, read as a signed number."""
        known = self._ids.get(unsigned)
        if known is not None:
            return known
        return _remember(self._ids, unsigned, self._dialect.i64(_signed(unsigned)))

    def _field(self, field: Field, after: Field | None, value: bytes) -> bytes:
        return self._dialect.header(field, after) + value

    # --- many spans ---

    def process(self, resource: Resource) -> bytes:
        """Encode the Process: ``service.name``, the other attributes, Jaeger's own tags."""
        attributes = dict(resource.attributes)
        service = str(attributes.pop("service.name", "unknown_service"))
        for key, value in self._process_tags().items():
            attributes.setdefault(key, value)
        tags: list[bytes] = []
        self._tags.extend(tags, attributes.items())
        encoded = self._field(PROCESS["serviceName"], None, self._tags.text(service))
        if tags:
            head = self._field(
                PROCESS["tags"], PROCESS["serviceName"], self._dialect.structs(len(tags))
            )
            encoded += head + b"".join(tags)
        return encoded + _STOP

    def overhead_bytes(
        self, process: bytes, frames: int, scopes: Collection[bytes], seq_no: int, loss: Loss
    ) -> int:
        """Return the exact size of everything but the frames."""
        del scopes  # a scope travels in tags of each span
        return len(self._before(process, frames, seq_no)) + len(self._after(seq_no, loss))

    def seal(self, process: bytes, frames: Sequence[Frame], seq_no: int, loss: Loss) -> Payload:
        """Return the Batch of ``frames``, within its ``emitBatch`` call if it goes to an agent."""
        before = self._before(process, len(frames), seq_no)
        spans = b"".join([frame.data for frame in frames])
        return Payload(before + spans + self._after(seq_no, loss), frames)

    def _before(self, process: bytes, count: int, seq_no: int) -> bytes:
        batch = self._field(BATCH["process"], None, process)
        spans = self._field(BATCH["spans"], BATCH["process"], self._dialect.structs(count))
        if not self._call:
            return batch + spans
        message = self._dialect.message(EMIT_BATCH, seq_no)
        return message + self._field(EMIT_BATCH_ARGS["batch"], None, b"") + batch + spans

    def _after(self, seq_no: int, loss: Loss) -> bytes:
        """Return what lets an agent see losses (calls only), and the ends of the structs."""
        if not self._call:
            return _STOP
        i64 = self._dialect.i64
        full, large, failed = CLIENT_STATS.fields.values()
        return b"".join(
            (
                self._field(BATCH["seqNo"], BATCH["spans"], i64(seq_no)),
                self._field(BATCH["stats"], BATCH["seqNo"], b""),
                self._field(full, None, i64(loss.queue_full)),
                self._field(large, full, i64(loss.too_large)),
                self._field(failed, large, i64(loss.send_failed)),
                _STOP * 3,  # of stats, batch and arguments
            )
        )


def jaeger_compact(process_tags: Callable[[], Mapping[str, str]] = dict) -> JaegerEncoder:
    """Return the encoder for an agent's UDP port 6831."""
    return JaegerEncoder(Compact(), call=True, process_tags=process_tags)


def jaeger_binary(
    process_tags: Callable[[], Mapping[str, str]] = dict, *, call: bool = False
) -> JaegerEncoder:
    """Return the encoder for a collector's HTTP port 14268, with ``call`` for UDP port 6832."""
    return JaegerEncoder(Binary(), call=call, process_tags=process_tags)


def _remember(known: dict[K, V], key: K, value: V) -> V:
    if len(known) >= _MAX_CACHED:
        known.clear()
    known[key] = value
    return value


def _signed(unsigned: int) -> int:
    return unsigned if unsigned < _SIGN else unsigned - (_SIGN << 1)


def _ref_type(bag: Bag) -> SpanRefType:
    asked = bag[0].get(_REF_TYPE)
    return SpanRefType.CHILD_OF if asked == "child_of" else SpanRefType.FOLLOWS_FROM


def _has_own_words(bag: Bag) -> bool:
    attributes, dropped = bag
    return dropped > 0 or any(key != _REF_TYPE for key in attributes)


def _as_text(value: AnyValue) -> str:
    """Return nested values as JSON, None as nothing, everything else as ``str`` says it."""
    if value is None:
        return ""
    if isinstance(value, list | tuple | dict):
        return json.dumps(value, ensure_ascii=False, separators=(",", ":"), default=_json)
    return str(value)


def _json(value: object) -> object:
    if isinstance(value, bytes):
        return base64.b64encode(value).decode("ascii")
    return dict(value) if hasattr(value, "keys") else str(value)  # type: ignore[call-overload]
