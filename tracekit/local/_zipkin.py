"""Zipkin's JSON, version 2, as Jaeger takes it: kind and endpoints become tags, annotations logs.

Source: Zipkin's ``zipkin2-api.yaml``, and Jaeger 1.48's way from it through zipkincore.thrift.
"""

from __future__ import annotations

import ipaddress
from typing import TYPE_CHECKING

from tracekit.local._json import DecodeError, Object, array, integer, obj, packed, read_json, string
from tracekit.local._records import MAX_SPANS, Arrival, Record, Source
from tracekit.local._spans import Log, ReceivedSpan, Tags

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tracekit.local._otlp import Pair

_KINDS = ("", "CLIENT", "SERVER", "PRODUCER", "CONSUMER")
_PROCESS = {
    "jaegerClient": "jaeger.version",
    "jaeger.hostname": "hostname",
    "jaeger.version": "jaeger.version",
}
"""Tags that describe the process, and the names that they have there."""
NO_SERVICE = "unknown-service-name"
"""The name that Jaeger gives to spans that do not say where they come from."""
DEBUG = 2


def scan_zipkin(data: bytes) -> list[Arrival]:
    """Cut a list of spans in JSON; raise ``ValueError`` for anything else."""
    spans = array({"spans": read_json(data)}, "spans")
    if len(spans) > MAX_SPANS:
        raise DecodeError(f"more than {MAX_SPANS} spans in one message")
    arrivals: dict[tuple[str, tuple[Pair, ...]], tuple[Source, Arrival]] = {}
    for fields in spans:
        name, tags = _process(fields)
        fresh = Source("zipkin", name, tags), Arrival([], name)
        source, arrival = arrivals.setdefault((name, tags.pairs), fresh)
        span = _span(fields, source)
        record = Record(
            span.trace_id,
            span.span_id,
            span.parent_id or 0,
            span.operation,
            string(fields, "kind").lower(),
            span.error,
            span.start_us,
            span.duration_us,
            source,
            packed(fields),
        )
        arrival.records.append(record)
    return [arrival for _, arrival in arrivals.values()]


def read_zipkin(raw: bytes, source: Source) -> ReceivedSpan:
    """Return the span in these bytes, which ``scan_zipkin`` has checked."""
    return _span(obj(read_json(raw), "span"), source)


def _span(fields: Object, source: Source) -> ReceivedSpan:
    kind = string(fields, "kind")
    if kind not in _KINDS:
        raise DecodeError(f"kind {kind!r:.40} is none of Zipkin's")
    return ReceivedSpan(
        service=source.service,
        process_tags=source.process_tags,
        trace_id=_id(fields, "traceId", 32),
        span_id=_id(fields, "id", 16),
        parent_id=_id(fields, "parentId", 16, required=False) or None,
        operation=string(fields, "name"),
        kind=kind.lower() or "internal",
        flags=DEBUG if fields.get("debug") is True else 0,
        start_us=integer(fields, "timestamp"),
        duration_us=integer(fields, "duration"),
        tags=Tags([*_tags(fields), *_said(fields)]),
        logs=tuple(
            Log(integer(each, "timestamp"), _log(string(each, "value")))
            for each in array(fields, "annotations")
            if string(each, "value")
        ),
        references=(),
    )


def _process(fields: Object) -> tuple[str, Tags]:
    local = _endpoint(fields, "localEndpoint")
    given = obj(fields.get("tags") or {}, "tags")
    tags: list[Pair] = [
        (name, string(given, key)) for key, name in _PROCESS.items() if key in given
    ]
    if address := string(local, "ipv4"):
        tags.append(("ip", int(_address(address))))
    return string(local, "serviceName") or NO_SERVICE, Tags(sorted(tags))


def _tags(fields: Object) -> Iterator[Pair]:
    given = obj(fields.get("tags") or {}, "tags")
    for key in given:
        value = string(given, key)
        if key == "error":
            yield key, value != "false"
            if value not in ("", "true", "false"):
                yield "error.message", value
        elif key not in _PROCESS:
            yield key, value


def _said(fields: Object) -> Iterator[Pair]:
    kind = string(fields, "kind")
    remote = _endpoint(fields, "remoteEndpoint")
    if kind and remote:
        yield "peer.service", string(remote, "serviceName")
        if address := string(remote, "ipv4"):
            yield "peer.ipv4", int(_address(address))
        if address := string(remote, "ipv6"):
            yield "peer.ipv6", _address(address).packed
        if port := integer(remote, "port"):
            yield "peer.port", port
    if kind:
        yield "span.kind", kind.lower()
    elif fields.get("localEndpoint") and not (fields.get("tags") or fields.get("annotations")):
        yield "component", ""  # how Jaeger keeps where such a span was


def _log(value: str) -> Tags:
    # Zipkin has no fields in its annotations: some clients put an object there as JSON.
    if value.startswith("{"):
        try:
            fields = obj(read_json(value.encode("utf-8", "replace")), "an annotation")
            return Tags((key, string(fields, key)) for key in fields)
        except DecodeError:
            pass
    return Tags([("event", value)])


def _endpoint(fields: Object, name: str) -> Object:
    return obj(fields.get(name) or {}, name)


def _address(value: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address:
    try:
        return ipaddress.ip_address(value)
    except ValueError:
        raise DecodeError(f"{value!r:.60} is no IP address") from None


def _id(fields: Object, name: str, max_digits: int, *, required: bool = True) -> int:
    value = string(fields, name)
    if not value and not required:
        return 0
    if not 0 < len(value) <= max_digits or not set(value) <= set("0123456789abcdefABCDEF"):
        raise DecodeError(f"{name} is not up to {max_digits} hexadecimal digits")
    return int(value, 16)
