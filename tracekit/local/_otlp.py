"""A span of OTLP as Jaeger shows it: its attributes, kind, status and scope as tags.

Source: the collector's translator from OTLP to Jaeger (opentelemetry-collector-contrib
``pkg/translator/jaeger``), which Jaeger 1.48 runs over everything that comes by OTLP.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, TypeAlias

from tracekit.local._otlp_scan import KINDS, status
from tracekit.local._otlp_values import as_tag, attribute, attributes
from tracekit.local._protobuf import fields, text
from tracekit.local._spans import Log, ReceivedSpan, Reference, Tags, TagValue

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tracekit.local._records import Source

Pair: TypeAlias = tuple[str, TagValue]
REF_TYPE = "opentracing.ref_type"
"""The attribute of a link that says which reference of OpenTracing it was."""


class OtlpSpan(NamedTuple):
    """What OTLP says of a span, in protobuf and in JSON alike; times are ns since 1970."""

    trace_id: int
    span_id: int
    parent_id: int
    name: str
    kind: int
    start_ns: int
    end_ns: int
    attributes: list[Pair]
    logs: tuple[Log, ...]
    links: tuple[Reference, ...]
    status: tuple[int, str]
    tracestate: str

    def translated(self, source: Source) -> ReceivedSpan:
        """Return the span with everything in the place where Jaeger has it."""
        kind = KINDS[self.kind] if self.kind < len(KINDS) else ""
        parent = Reference("child_of", self.trace_id, self.span_id)._replace(span_id=self.parent_id)
        linked = any(link[1:] == parent[1:] for link in self.links)
        return ReceivedSpan(
            service=source.service,
            process_tags=source.process_tags,
            trace_id=self.trace_id,
            span_id=self.span_id,
            parent_id=self.parent_id or None,
            operation=self.name,
            kind=kind or "internal",
            flags=0,
            start_us=self.start_ns // 1000,
            duration_us=duration_us(self.start_ns, self.end_ns),
            tags=Tags([*source.scope.pairs, *self.attributes, *self._told(kind)]),
            logs=self.logs,
            # A link to the parent would otherwise be taken for the reference to it.
            references=((parent, *self.links) if linked and self.parent_id else self.links),
        )

    def _told(self, kind: str) -> Iterator[Pair]:
        if kind:
            yield "span.kind", kind
        code, message = self.status
        if code in (1, 2):
            yield "otel.status_code", "OK" if code == 1 else "ERROR"
        if code == 2:
            yield "error", True
        if message:
            yield "otel.status_description", message
        if self.tracestate:
            yield "w3c.tracestate", self.tracestate


def duration_us(start_ns: int, end_ns: int) -> int:
    """Return the time between as µs, cut towards zero."""
    lasted = end_ns - start_ns
    return lasted // 1000 if lasted >= 0 else -(-lasted // 1000)


def log(time_ns: int, name: str, pairs: list[Pair]) -> Log:
    """Return an event as a log, its name as field ``event`` unless an attribute has that key."""
    named = name and all(key != "event" for key, _ in pairs)
    return Log(time_ns // 1000, Tags([("event", name), *pairs] if named else pairs))


def link(trace_id: int, span_id: int, pairs: list[Pair]) -> Reference:
    """Return a link as a reference: it follows from the other span, unless it says otherwise."""
    said = next((value for key, value in pairs if key == REF_TYPE), None)
    return Reference("child_of" if said == "child_of" else "follows_from", trace_id, span_id)


def read_otlp(raw: bytes, source: Source) -> ReceivedSpan:
    """Return the span in these bytes, which ``scan_otlp`` has checked."""
    pairs: list[Pair] = []
    logs: list[Log] = []
    links: list[Reference] = []
    numbers: dict[int, int] = {}
    contents: dict[int, bytes] = {}
    outcome = (0, "")
    for number, kind, start, stop in fields(raw, 0, len(raw)):
        match number:
            case 9:
                key, value = attribute(raw, start, stop)
                pairs.append((key, as_tag(value)))
            case 11:
                logs.append(_log(raw, start, stop))
            case 13:
                links.append(_link(raw, start, stop))
            case 15:
                outcome = status(raw, start, stop)
            case _ if kind == 2:
                contents[number] = raw[start:stop]
            case _:
                numbers[number] = start if kind == 0 else int.from_bytes(raw[start:stop], "little")
    trace_id, span_id, parent_id = (
        int.from_bytes(contents.get(number, b""), "big") for number in (1, 2, 4)
    )
    return OtlpSpan(
        trace_id,
        span_id,
        parent_id,
        name=text(contents.get(5, b"")),
        kind=numbers.get(6, 0),
        start_ns=numbers.get(7, 0),
        end_ns=numbers.get(8, 0),
        attributes=pairs,
        logs=tuple(logs),
        links=tuple(links),
        status=outcome,
        tracestate=text(contents.get(3, b"")),
    ).translated(source)


def _log(raw: bytes, at: int, end: int) -> Log:
    time_ns, name = 0, ""
    for number, _, start, stop in fields(raw, at, end):
        if number == 1:
            time_ns = int.from_bytes(raw[start:stop], "little")
        elif number == 2:
            name = text(raw[start:stop])
    return log(time_ns, name, list(attributes(raw, at, end, 3)))


def _link(raw: bytes, at: int, end: int) -> Reference:
    ids = {1: 0, 2: 0}
    for number, _, start, stop in fields(raw, at, end):
        if number in ids:
            ids[number] = int.from_bytes(raw[start:stop], "big")
    return link(ids[1], ids[2], list(attributes(raw, at, end, 4)))
