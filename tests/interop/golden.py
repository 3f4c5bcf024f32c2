"""One program that uses everything, and what it says that it made, in Jaeger's words.

``make(tracing)`` makes the spans and returns the list of what Jaeger should answer: the mapping
of OpenTelemetry's spans to Jaeger's as ``docs/reference/transports.md`` has it, written down here
by hand and from the inputs alone.
"""

from __future__ import annotations

import base64
import math

from opentelemetry.trace import (
    Link,
    NonRecordingSpan,
    SpanContext,
    SpanKind,
    Status,
    StatusCode,
    TraceFlags,
    TraceState,
    get_current_span,
    set_span_in_context,
)

import tracekit.opentracing

BASE_NS = 1_700_000_000_000_000_000
LIMITS = {"max_attributes": 24, "max_events": 6, "max_links": 4, "max_event_attributes": 8}
MANY = 3000
"""Spans of the one long trace."""

VALUES = {
    "text": "grüße, 世界 \U0001f600",
    "empty": "",
    "nul": "a\0b",
    "surrogate": "a\ud800b",
    "control": "a\r\n\tb",
    "long": "x" * 40_000,
    "yes": True,
    "no": False,
    "zero": 0,
    "max": 2**63 - 1,
    "min": -(2**63),
    "beyond": 2**64,
    "float": 2.5,
    "tiny": 5e-324,
    "nan": math.nan,
    "inf": math.inf,
    "-inf": -math.inf,
    "bytes": b"\x00\xff\xfe",
    "texts": ["a", "b"],
    "numbers": [1, 2],
    "floats": [0.5, math.nan],
    "flags": [True, False],
}
"""An attribute of every type."""


def told(value):  # noqa: PLR0911 (a row per type)
    """Return type and value of a tag, as Jaeger's query writes them."""
    if isinstance(value, bool):
        return "bool", value
    if isinstance(value, int):
        if not -(2**63) <= value < 2**63:
            return "string", str(value)
        return "int64", value if abs(value) < 2**53 else str(value)  # JavaScript's readers
    if isinstance(value, float):
        if math.isfinite(value):
            return "float64", value
        return "string", {math.inf: "Infinity", -math.inf: "-Infinity"}.get(value, "NaN")
    if isinstance(value, bytes):
        return "binary", base64.b64encode(value).decode()
    if isinstance(value, list):
        names = {True: "true", False: "false"}
        parts = [
            names[item]
            if isinstance(item, bool)
            else f'"{told(item)[1]}"'
            if told(item)[0] == "string"
            else str(item)
            for item in value
        ]
        return "string", "[" + ",".join(parts) + "]"
    return "string", value.encode("utf-8", "replace").decode()


def tags(**values):
    return {key: told(value) for key, value in values.items()}


class Maker:
    """Makes spans and writes down what Jaeger should have of each."""

    def __init__(self, tracing):
        self.tracing = tracing
        self.expected = []
        self._at = BASE_NS

    def span(  # the inputs of one span, and what they make
        self,
        name,
        *,
        context=None,
        kind=SpanKind.INTERNAL,
        scope=("golden", "1.0"),
        scope_attributes=None,
        attributes=None,
        events=(),
        links=(),
        status=None,
        flags=1,
        lasts_ns=5_000_000,
        dropped=(0, 0, 0),
        state="",
    ):
        self._at += 10_000_000
        at = self._at
        tracer = self.tracing.provider.get_tracer(*scope, attributes=scope_attributes)
        attributes = attributes or {}
        span = tracer.start_span(
            name,
            context,
            kind,
            attributes=attributes,
            links=[Link(link, dict(found)) for link, found in links],
            start_time=at,
        )
        for title, later_ns, found in events:
            span.add_event(title, found, at + later_ns)
        if status is not None:
            span.set_status(status)
        span.end(at + lasts_ns)
        kept = dict(list(attributes.items())[-LIMITS["max_attributes"] :])
        if context is None:
            kept |= {"sampler.type": "const", "sampler.param": True}
        kept_links = links[-LIMITS["max_links"] :]
        self.expected.append(
            {
                "operationName": name.encode("utf-8", "replace").decode(),
                **ids(span.get_span_context()),
                "flags": flags,
                "startTime": at // 1000,
                "duration": max(0, lasts_ns // 1000),
                "references": [*parent(context), *references(kept_links)],
                "tags": {
                    **tags(**kept),
                    **tags_of_kind(kind),
                    **tags_of_scope(scope, scope_attributes or {}),
                    **tags_of_status(status, attributes),
                    **(tags(**{"w3c.tracestate": state}) if state else {}),
                    **tags_of_losses(dropped),
                },
                "logs": [
                    *logs(at, events[-LIMITS["max_events"] :]),
                    *logs_of_links(at, kept_links),
                ],
            }
        )
        return span


def ids(context):
    trace_id = context.trace_id
    return {
        "traceID": f"{trace_id:032x}" if trace_id >> 64 else f"{trace_id:016x}",
        "spanID": f"{context.span_id:016x}",
    }


def parent(context):
    found = None if context is None else get_current_span(context).get_span_context()
    return [("CHILD_OF", f"{found.span_id:016x}")] if found is not None and found.is_valid else []


def references(links):
    for link, found in links:
        child = found.get("opentracing.ref_type") == "child_of"
        yield "CHILD_OF" if child else "FOLLOWS_FROM", f"{link.span_id:016x}"


def logs(at_ns, events):
    for title, later_ns, found in events:
        fields = {"event": ("string", title)} | tags(**found)
        yield {"timestamp": (at_ns + later_ns) // 1000, "fields": fields}


def logs_of_links(at_ns, links):
    """A log for each link that says more than a reference can."""
    for link, found in links:
        if found.keys() - {"opentracing.ref_type"}:
            target = {"trace_id": f"{link.trace_id:032x}", "span_id": f"{link.span_id:016x}"}
            yield {"timestamp": at_ns // 1000, "fields": tags(event="link", **target, **found)}


def tags_of_kind(kind):
    return {} if kind is SpanKind.INTERNAL else tags(**{"span.kind": kind.name.lower()})


def tags_of_scope(scope, attributes):
    parts = [pair for pair in zip(("name", "version"), scope, strict=False) if pair[1]]
    names = {f"otel.{word}.{part}": value for part, value in parts for word in ("scope", "library")}
    return tags(**names, **{f"otel.scope.{key}": value for key, value in attributes.items()})


def tags_of_status(status, attributes):
    if status is None or status.status_code is StatusCode.UNSET:
        return {}
    found = {"otel.status_code": status.status_code.name}
    if status.description:
        found["otel.status_description"] = status.description
    if status.status_code is StatusCode.ERROR and "error" not in attributes:
        found["error"] = True
    return tags(**found)


def tags_of_losses(dropped):
    pairs = zip(("attributes", "events", "links"), dropped, strict=True)
    return tags(**{f"otel.dropped_{what}_count": count for what, count in pairs if count})


def make(tracing):
    """Make about sixty spans and a long trace; return what Jaeger should have of each."""
    maker = Maker(tracing)
    extract = tracing.propagator.extract
    root = maker.span("root")
    inside = set_span_in_context(root)
    for kind in SpanKind:
        maker.span(f"kind {kind.name}", context=inside, kind=kind)
    for status in (
        Status(StatusCode.OK),
        Status(StatusCode.ERROR),
        Status(StatusCode.ERROR, "why: ü"),
    ):
        maker.span(f"status {status.status_code.name}", context=inside, status=status)
    maker.span("own error tag", attributes={"error": False}, status=Status(StatusCode.ERROR))
    for key, value in VALUES.items():
        maker.span(f"value {key}", context=inside, attributes={key: value})
    for name in ("", "n\0l", "\ud800", "long " * 200):
        maker.span(name, context=inside)
    for lasts_ns in (0, 999, 1000, -1_000_000_000):
        maker.span(f"lasts {lasts_ns}", context=inside, lasts_ns=lasts_ns)
    for wide in (0x1234, 0xABCDEF0123456789 << 64 | 0x1234):
        for bits, want in ((1, 1), (3, 3), (9, 9)):
            header = f"{wide:x}:{0x77:x}:0:{bits:x}"
            context = extract({"uber-trace-id": header})
            maker.span(f"flags {bits} of {wide:x}", context=context, flags=want)
    events = [("first", 0, {}), ("second", 1_000_000, VALUES_OF_EVENTS), ("", 2_000_000, {"a": 1})]
    maker.span("events", context=inside, events=events)
    maker.span(
        "more events than fit",
        context=inside,
        events=[(f"event {n}", n, {}) for n in range(9)],
        dropped=(0, 3, 0),
    )
    maker.span(
        "more attributes than fit",
        context=inside,
        attributes={f"a{n}": n for n in range(30)},
        dropped=(6, 0, 0),
    )
    far = [SpanContext(2**100 + n, 100 + n, is_remote=True) for n in range(6)]
    maker.span("linked", context=inside, links=[(far[0], {}), (far[1], {"why": "batch", "n": 1})])
    maker.span("fathers", links=[(far[0], {"opentracing.ref_type": "child_of"}), (far[1], {})])
    maker.span(
        "linked to its parent", context=inside, links=[(root.get_span_context(), {}), (far[0], {})]
    )
    maker.span(
        "more links than fit",
        context=inside,
        links=[(each, {}) for each in far],
        dropped=(0, 0, 2),
    )
    state = TraceState([("vendor", "x"), ("other", "y=z")])
    stated = SpanContext(7, 8, is_remote=True, trace_flags=TraceFlags(1), trace_state=state)
    maker.span(
        "stated",
        context=set_span_in_context(NonRecordingSpan(stated)),
        state=state.to_header(),
    )
    maker.span("scoped", context=inside, scope_attributes={"zone": "eu", "replicas": 3})
    maker.span("scope without a version", context=inside, scope=("bare",))
    _baggage(maker, tracing)
    return maker.expected, _long_trace(tracing)


VALUES_OF_EVENTS = {"text": "é", "n": 1, "yes": True, "f": 0.5, "nan": math.nan}


def _baggage(maker, tracing):
    """A span that takes baggage, by OpenTracing: Jaeger's clients log each item."""
    span = tracekit.opentracing.tracer(tracing).start_span("with baggage", start_time=BASE_NS / 1e9)
    span.set_baggage_item("user", "42")
    context = span.context
    span.finish(BASE_NS / 1e9 + 0.005)
    maker.expected.append(
        {
            "operationName": "with baggage",
            **ids(context),
            "flags": 1,
            "references": [],
            "baggage": {"event": "baggage", "key": "user", "value": "42"},
        }
    )


def _long_trace(tracing):
    """Return the trace id of a trace of many spans, and each span's parent."""
    tracer = tracing.provider.get_tracer("golden", "1.0")
    root = tracer.start_span("long trace")
    open_spans, parents = [root], {root.get_span_context().span_id: 0}
    for number in range(1, MANY):
        parent = open_spans[(number - 1) // 7]
        child = tracer.start_span(f"step {number % 50}", set_span_in_context(parent))
        parents[child.get_span_context().span_id] = parent.get_span_context().span_id
        open_spans.append(child)
    for span in open_spans:
        span.end()
    return root.get_span_context().trace_id, parents
