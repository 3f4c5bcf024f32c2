"""OTLP in JSON: the same spans, ids in hexadecimal, 64-bit numbers as text or number.

Source: the OTLP specification's JSON encoding, and protobuf's JSON mapping where it is silent:
an enum may be its name or its number; what is null is not there.
"""

from __future__ import annotations

import base64
import binascii
from typing import TYPE_CHECKING, TypeAlias

from tracekit.local._json import DecodeError, Object, array, integer, obj, packed, read_json, string
from tracekit.local._otlp import OtlpSpan, Pair, link, log
from tracekit.local._otlp_scan import KINDS, process
from tracekit.local._otlp_values import Any, as_tag
from tracekit.local._protobuf import MAX_DEPTH
from tracekit.local._records import MAX_SPANS, Arrival, Record, Source
from tracekit.local._spans import Tags

if TYPE_CHECKING:
    from tracekit.local._spans import Log, ReceivedSpan, Reference

_KINDS = {f"SPAN_KIND_{kind.upper() or 'UNSPECIFIED'}": number for number, kind in enumerate(KINDS)}
_CODES = {"STATUS_CODE_UNSET": 0, "STATUS_CODE_OK": 1, "STATUS_CODE_ERROR": 2}
_Names: TypeAlias = "dict[str, int]"


def scan_otlp_json(data: bytes) -> list[Arrival]:
    """Cut a request in JSON into spans; raise ``ValueError`` for anything else."""
    arrivals = []
    count = 0
    for resource_spans in array(obj(read_json(data), "the request"), "resourceSpans"):
        resource = obj(resource_spans.get("resource") or {}, "resource")
        source = process("otlp-json", _attributes(resource))
        records: list[Record] = []
        for scope_spans in array(resource_spans, "scopeSpans"):
            scoped = source._replace(scope=_scope(obj(scope_spans.get("scope") or {}, "scope")))
            records.extend(_record(fields, scoped) for fields in array(scope_spans, "spans"))
        count += len(records)
        if count > MAX_SPANS:
            raise DecodeError(f"more than {MAX_SPANS} spans in one message")
        arrivals.append(Arrival(records, source.service))
    return arrivals


def read_otlp_json(raw: bytes, source: Source) -> ReceivedSpan:
    """Return the span in these bytes, which ``scan_otlp_json`` has checked."""
    return _span(obj(read_json(raw), "span")).translated(source)


def _record(fields: Object, source: Source) -> Record:
    span = _span(fields)
    received = span.translated(source)
    return Record(
        span.trace_id,
        span.span_id,
        span.parent_id,
        span.name,
        KINDS[span.kind] if span.kind < len(KINDS) else "",
        span.status[0] == 2,
        received.start_us,
        received.duration_us,
        source,
        packed(fields),
    )


def _span(fields: Object) -> OtlpSpan:
    outcome = obj(fields.get("status") or {}, "status")
    return OtlpSpan(
        trace_id=_id(fields, "traceId", 32),
        span_id=_id(fields, "spanId", 16),
        parent_id=_id(fields, "parentSpanId", 16),
        name=string(fields, "name"),
        kind=_enum(fields, "kind", _KINDS),
        start_ns=integer(fields, "startTimeUnixNano"),
        end_ns=integer(fields, "endTimeUnixNano"),
        attributes=_attributes(fields),
        logs=tuple(_log(event) for event in array(fields, "events")),
        links=tuple(_link(each) for each in array(fields, "links")),
        status=(_enum(outcome, "code", _CODES), string(outcome, "message")),
        tracestate=string(fields, "traceState"),
    )


def _log(fields: Object) -> Log:
    return log(integer(fields, "timeUnixNano"), string(fields, "name"), _attributes(fields))


def _link(fields: Object) -> Reference:
    return link(_id(fields, "traceId", 32), _id(fields, "spanId", 16), _attributes(fields))


def _scope(fields: Object) -> Tags:
    told = {"otel.library.name": "name", "otel.library.version": "version"}
    return Tags((tag, value) for tag, key in told.items() if (value := string(fields, key)))


def _attributes(fields: Object) -> list[Pair]:
    return [
        (string(each, "key"), as_tag(_value(each.get("value"), 1)))
        for each in array(fields, "attributes")
    ]


def _value(value: object, depth: int) -> Any:  # noqa: C901, PLR0911 - one line a kind
    if value is None:
        return None
    if depth > MAX_DEPTH:
        raise DecodeError("attribute values are nested too deeply")
    fields = obj(value, "an attribute's value")
    for kind in fields:
        match kind:
            case "stringValue":
                return string(fields, kind)
            case "boolValue":
                return fields[kind] is True
            case "intValue":
                return integer(fields, kind, signed=True)
            case "doubleValue":
                return _double(fields[kind])
            case "bytesValue":
                return _bytes(string(fields, kind))
            case "arrayValue":
                return [
                    _value(each, depth + 1)
                    for each in array(obj(fields[kind] or {}, kind), "values", any_kind=True)
                ]
            case "kvlistValue":
                pairs = array(obj(fields[kind] or {}, kind), "values")
                return {string(each, "key"): _value(each.get("value"), depth + 1) for each in pairs}
    return None


def _double(value: object) -> float:
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        try:
            return float(value)
        except OverflowError:
            raise DecodeError("doubleValue is out of range") from None
    if value in ("NaN", "Infinity", "-Infinity"):
        return float(str(value))
    raise DecodeError("doubleValue is no number")


def _bytes(value: str) -> bytes:
    try:
        return base64.b64decode(value)
    except (binascii.Error, ValueError):
        raise DecodeError("bytesValue is no base64") from None


def _id(fields: Object, name: str, digits: int) -> int:
    value = string(fields, name)
    if not value:
        return 0
    if len(value) != digits or not set(value) <= set("0123456789abcdefABCDEF"):
        raise DecodeError(f"{name} is not {digits} hexadecimal digits")
    return int(value, 16)


def _enum(fields: Object, name: str, names: _Names) -> int:
    value = fields.get(name)
    if isinstance(value, str) and value in names:
        return names[value]
    return integer(fields, name)
