"""Traces in Jaeger's JSON, as its query API answers and its UI saves them; and read back.

Source: Jaeger 1.48 ``model/json`` and ``model/converter/json``.
"""

from __future__ import annotations

import base64
import binascii
from typing import TYPE_CHECKING

from tracekit.local._adjust import AdjustedSpan, adjusted
from tracekit.local._json import DecodeError, Object, array, integer, obj, string
from tracekit.local._spans import Log, ReceivedSpan, Reference, Tags, TagValue

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

_SAFE = 2**53 - 1
"""Whole numbers up to here survive JavaScript; larger ones go as text."""
_KINDS = {"child_of": "CHILD_OF", "follows_from": "FOLLOWS_FROM"}


def trace_id_text(trace_id: int) -> str:
    """Return a trace id as Jaeger writes it: 16 digits, or 32 if it needs more."""
    return f"{trace_id:0{32 if trace_id >> 64 else 16}x}"


def to_json(spans: Iterable[ReceivedSpan], *, adjust: bool = True) -> dict[str, object]:
    """Return one trace as Jaeger's JSON object; ``adjust`` as its query service does."""
    trace = adjusted(spans) if adjust else [AdjustedSpan(span) for span in spans]
    processes: dict[tuple[str, str], str] = {}
    shown: dict[str, object] = {}
    written = []
    for span in trace:
        name = span.span.service or "empty-service-name"
        identity = name, repr(span.process_tags)
        key = processes.get(identity)
        if key is None:
            key = processes[identity] = f"p{len(processes) + 1}"
            shown[key] = {"serviceName": name, "tags": key_values(span.process_tags)}
        written.append(_span(span, key))
    trace_id = trace_id_text(trace[0].span.trace_id) if trace else ""
    ordered = {key: shown[key] for key in sorted(shown)}
    return {"traceID": trace_id, "spans": written, "processes": ordered, "warnings": None}


def document(traces: Sequence[object], errors: object = None) -> dict[str, object]:
    """Return what the query API answers: ``data`` and what Jaeger puts beside it."""
    return {"data": traces, "total": 0, "limit": 0, "offset": 0, "errors": errors}


def from_json(value: object) -> list[ReceivedSpan]:
    """Return the spans of a saved document, or of one trace alone; ``DecodeError`` otherwise."""
    fields = obj(value, "the document")
    traces = array(fields, "data") if "data" in fields else [fields]
    spans = []
    for trace in traces:
        processes = {
            key: obj(each, "a process")
            for key, each in obj(trace.get("processes") or {}, "processes").items()
        }
        for each in array(trace, "spans"):
            process = each.get("process") or processes.get(string(each, "processID"), {})
            spans.append(_read(each, obj(process, "process")))
    return spans


def _span(span: AdjustedSpan, process: str) -> dict[str, object]:
    own = span.span
    written: dict[str, object] = {
        "traceID": trace_id_text(own.trace_id),
        "spanID": f"{span.span_id:016x}",
    }
    if own.flags & 0xFFFF_FFFF:
        written["flags"] = own.flags & 0xFFFF_FFFF
    return {
        **written,
        "operationName": own.operation,
        "references": [
            {
                "refType": _KINDS[ref.kind],
                "traceID": trace_id_text(ref.trace_id),
                "spanID": f"{ref.span_id:016x}",
            }
            for ref in span.references
        ],
        "startTime": _wrapped(own.start_us),
        "duration": _wrapped(own.duration_us),
        "tags": key_values(span.tags),
        "logs": [
            {"timestamp": _wrapped(time_us), "fields": key_values(fields)}
            for time_us, fields in span.logs
        ],
        "processID": process,
        "warnings": span.warnings or None,
    }


def _wrapped(time_us: int) -> int:
    """Return a time as Go shows it, which holds it in 64 bits of ns and shows it without a sign."""
    ns = (time_us * 1000 + (1 << 63)) % (1 << 64) - (1 << 63)
    return (ns // 1000 if ns >= 0 else -(-ns // 1000)) % (1 << 64)


def key_values(pairs: Iterable[tuple[str, TagValue]]) -> list[dict[str, object]]:
    """Return tags as Jaeger's JSON has them: key, type and value."""
    return [_key_value(key, value) for key, value in pairs]


def _key_value(key: str, value: TagValue) -> dict[str, object]:
    shown: object = value
    if isinstance(value, str):
        kind = "string"
    elif isinstance(value, bool):
        kind = "bool"
    elif isinstance(value, int):
        kind, shown = "int64", value if abs(value) <= _SAFE else str(value)
    elif isinstance(value, float):
        kind = "float64"
    else:
        kind, shown = "binary", base64.b64encode(value).decode()
    return {"key": key, "type": kind, "value": shown}


def _read(fields: Object, process: Object) -> ReceivedSpan:
    trace_id = _id(string(fields, "traceID"))
    references = [_reference(each) for each in array(fields, "references")]
    parents = [ref for ref in references if ref.kind == "child_of" and ref.trace_id == trace_id]
    parents = parents or [ref for ref in references if ref.trace_id == trace_id]
    parent = parents[0].span_id if parents else _id(string(fields, "parentSpanID"))
    tags = tags_of(fields, "tags")
    kind = tags.get("span.kind")
    return ReceivedSpan(
        service=string(process, "serviceName"),
        process_tags=tags_of(process, "tags"),
        trace_id=trace_id,
        span_id=_id(string(fields, "spanID")),
        parent_id=parent or None,
        operation=string(fields, "operationName"),
        kind=kind if isinstance(kind, str) else "internal",
        flags=integer(fields, "flags"),
        start_us=_signed(integer(fields, "startTime")),
        duration_us=_signed(integer(fields, "duration")),
        tags=tags,
        logs=tuple(
            Log(_signed(integer(each, "timestamp")), tags_of(each, "fields"))
            for each in array(fields, "logs")
        ),
        references=tuple(references),
    )


def _reference(fields: Object) -> Reference:
    follows = string(fields, "refType") == "FOLLOWS_FROM"
    return Reference(
        "follows_from" if follows else "child_of",
        _id(string(fields, "traceID")),
        _id(string(fields, "spanID")),
    )


def tags_of(fields: Object, name: str) -> Tags:
    """Read back what ``key_values`` wrote, the member ``name`` of an object."""
    return Tags((string(each, "key"), _tag_value(each)) for each in array(fields, name))


def _tag_value(fields: Object) -> TagValue:
    value, kind = fields.get("value"), string(fields, "type")
    try:
        if kind == "int64" and isinstance(value, (str, int)):
            return int(value)
        if kind == "float64" and isinstance(value, (str, int, float)):
            return float(value)
        if kind == "binary" and isinstance(value, str):
            return base64.b64decode(value)
    except (ValueError, OverflowError, binascii.Error):
        raise DecodeError(f"a tag of type {kind} holds {value!r:.60}") from None
    if isinstance(value, (str, bool, int, float)):
        return value
    return "" if value is None else str(value)


def _id(text: str) -> int:
    try:
        return int(text or "0", 16) & ((1 << 128) - 1)
    except ValueError:
        raise DecodeError(f"an id {text!r:.60} is no hexadecimal number") from None


def _signed(value: int) -> int:
    return value - (1 << 64) if value >> 63 else value
