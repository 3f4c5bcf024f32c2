"""Our Thrift bytes against those of Apache Thrift with the types of Jaeger's own client."""

from __future__ import annotations

import json
import math
import struct

from hypothesis import given, settings
from hypothesis import strategies as st
from jaeger_client.thrift_gen.jaeger import ttypes as jaeger
from opentelemetry.attributes import BoundedAttributes
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import Event, ReadableSpan
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import Link, SpanContext, SpanKind, Status, StatusCode, TraceFlags
from thrift.protocol import TBinaryProtocol, TCompactProtocol
from thrift.protocol.TProtocol import TType
from thrift.transport import TTransport

import tracekit.tracing
from tracekit._protocols import Loss
from tracekit.encoding import jaeger_binary, jaeger_compact
from tracekit.sampling import from_type

TAG_TYPE = jaeger.TagType
PROTOCOLS = {
    "compact": (jaeger_compact, TCompactProtocol.TCompactProtocol),
    "binary": (lambda: jaeger_binary(call=True), TBinaryProtocol.TBinaryProtocol),
}
SCOPE = InstrumentationScope("scope", "1.2")
ZONED = InstrumentationScope("other", "3", None, {"zone": "eu", "n": 1})

text = st.text(max_size=40)
values = st.one_of(
    text,
    st.booleans(),
    st.integers(-(2**63), 2**63 - 1),
    st.integers(2**63, 2**70),
    st.floats(),
    st.binary(max_size=20),
    st.lists(text, max_size=3),
    st.lists(st.integers(-1000, 1000), max_size=3),
    st.lists(st.floats(allow_nan=False, allow_infinity=False), max_size=3),
)
attributes = st.dictionaries(st.text(min_size=1, max_size=20), values, max_size=20)
times = st.integers(0, 2**62)
contexts = st.builds(
    SpanContext,
    st.integers(1, 2**128 - 1),
    st.integers(1, 2**64 - 1),
    st.just(False),
    st.sampled_from([TraceFlags(0), TraceFlags(1)]),
)


@st.composite
def spans(draw):
    """Draw a span that the SDK can read; events and links carry attributes too."""
    events = [
        Event(name, BoundedAttributes(None, draw(attributes)), draw(times))
        for name in draw(st.lists(text, max_size=20))
    ]
    links = [
        Link(context, BoundedAttributes(None, draw(attributes)))
        for context in draw(st.lists(contexts, max_size=3))
    ]
    start = draw(times)
    return ReadableSpan(
        name=draw(text),
        context=draw(contexts),
        parent=draw(st.none() | contexts),
        resource=Resource({}),
        attributes=BoundedAttributes(None, draw(attributes)),
        events=events,
        links=links,
        kind=draw(st.sampled_from(SpanKind)),
        status=draw(
            st.sampled_from([Status(), Status(StatusCode.OK), Status(StatusCode.ERROR, "why")])
        ),
        start_time=start,
        end_time=start + draw(st.integers(-(10**6), 2**60)),
        instrumentation_scope=draw(st.sampled_from([None, SCOPE, ZONED])),
    )


def utf8(string):
    """Return what arrives: question marks for what has no UTF-8 form."""
    return string.encode("utf-8", "replace").decode("utf-8")


def tag(key, value):
    key = utf8(key)
    if isinstance(value, bool):
        return jaeger.Tag(key=key, vType=TAG_TYPE.BOOL, vBool=value)
    if isinstance(value, int) and -(2**63) <= value < 2**63:
        return jaeger.Tag(key=key, vType=TAG_TYPE.LONG, vLong=value)
    if isinstance(value, float) and not math.isfinite(value):  # Jaeger's query cannot answer it
        value = {math.inf: "Infinity", -math.inf: "-Infinity"}.get(value, "NaN")
    if isinstance(value, float):
        return jaeger.Tag(key=key, vType=TAG_TYPE.DOUBLE, vDouble=value)
    if isinstance(value, bytes):
        return BinaryTag(key, value)
    if isinstance(value, list | tuple):
        value = json.dumps(list(value), ensure_ascii=False, separators=(",", ":"))
    return jaeger.Tag(key=key, vType=TAG_TYPE.STRING, vStr=utf8(str(value)))


class BinaryTag:
    """The generated types cannot write BINARY values with today's Thrift."""

    def __init__(self, key, value):
        self.key = key
        self.value = value

    def write(self, protocol):
        protocol.writeStructBegin("Tag")
        protocol.writeFieldBegin("key", TType.STRING, 1)
        protocol.writeString(self.key)
        protocol.writeFieldEnd()
        protocol.writeFieldBegin("vType", TType.I32, 2)
        protocol.writeI32(TAG_TYPE.BINARY)
        protocol.writeFieldEnd()
        protocol.writeFieldBegin("vBinary", TType.STRING, 7)
        protocol.writeBinary(self.value)
        protocol.writeFieldEnd()
        protocol.writeFieldStop()
        protocol.writeStructEnd()


def signed(number):
    return struct.unpack(">q", struct.pack(">Q", number))[0]


def span_tags(span):
    tags = [tag(*pair) for pair in span.attributes.items()]
    status = span.status
    if status.status_code is not StatusCode.UNSET:
        tags.append(tag("otel.status_code", status.status_code.name))
        if status.description:
            tags.append(tag("otel.status_description", status.description))
        if status.status_code is StatusCode.ERROR and "error" not in span.attributes:
            tags.append(tag("error", True))
    if span.kind is not SpanKind.INTERNAL:
        tags.append(tag("span.kind", span.kind.name.lower()))
    if span.instrumentation_scope:
        for part in ("name", "version"):
            value = getattr(span.instrumentation_scope, part)
            tags += [tag(f"otel.scope.{part}", value), tag(f"otel.library.{part}", value)]
        for key, value in span.instrumentation_scope.attributes.items():
            tags.append(tag(f"otel.scope.{key}", value))
    return tags


def logs(span):
    found = []
    for event in span.events:
        fields = [] if "event" in event.attributes else [tag("event", event.name)]
        fields += [tag(*pair) for pair in event.attributes.items()]
        found.append(jaeger.Log(timestamp=event.timestamp // 1000, fields=fields))
    for link in span.links:
        if set(link.attributes) - {"opentracing.ref_type"}:
            told = {
                "event": "link",
                "trace_id": f"{link.context.trace_id:032x}",
                "span_id": f"{link.context.span_id:016x}",
                **link.attributes,
            }
            fields = [tag(*pair) for pair in told.items()]
            found.append(jaeger.Log(timestamp=span.start_time // 1000, fields=fields))
    return found


def references(span):
    return [
        jaeger.SpanRef(
            refType=jaeger.SpanRefType.CHILD_OF
            if link.attributes.get("opentracing.ref_type") == "child_of"
            else jaeger.SpanRefType.FOLLOWS_FROM,
            traceIdLow=signed(link.context.trace_id % 2**64),
            traceIdHigh=signed(link.context.trace_id >> 64),
            spanId=signed(link.context.span_id),
        )
        for link in span.links
    ]


def official(span):
    context = span.context
    return jaeger.Span(
        traceIdLow=signed(context.trace_id % 2**64),
        traceIdHigh=signed(context.trace_id >> 64),
        spanId=signed(context.span_id),
        parentSpanId=signed(span.parent.span_id) if span.parent else 0,
        operationName=utf8(span.name),
        references=references(span) or None,
        flags=context.trace_flags & 1,
        startTime=span.start_time // 1000,
        duration=max(0, (span.end_time - span.start_time) // 1000),
        tags=span_tags(span) or None,
        logs=logs(span) or None,
    )


def thrift(protocol, write):
    memory = TTransport.TMemoryBuffer()
    write(protocol(memory))
    return memory.getvalue()


def official_batch(process, spans, seq_no, loss):
    """Write a Batch by hand: the generated types of 2021 lack ``seqNo`` and ``stats``."""

    def write(protocol):
        protocol.writeMessageBegin("emitBatch", 4, seq_no)
        protocol.writeStructBegin("emitBatch_args")
        protocol.writeFieldBegin("batch", TType.STRUCT, 1)
        protocol.writeStructBegin("Batch")
        protocol.writeFieldBegin("process", TType.STRUCT, 1)
        process.write(protocol)
        protocol.writeFieldEnd()
        protocol.writeFieldBegin("spans", TType.LIST, 2)
        protocol.writeListBegin(TType.STRUCT, len(spans))
        for span in spans:
            span.write(protocol)
        protocol.writeListEnd()
        protocol.writeFieldEnd()
        protocol.writeFieldBegin("seqNo", TType.I64, 3)
        protocol.writeI64(seq_no)
        protocol.writeFieldEnd()
        protocol.writeFieldBegin("stats", TType.STRUCT, 4)
        protocol.writeStructBegin("ClientStats")
        for number, value in enumerate(loss, 1):
            protocol.writeFieldBegin("", TType.I64, number)
            protocol.writeI64(value)
            protocol.writeFieldEnd()
        protocol.writeFieldStop()
        protocol.writeStructEnd()
        protocol.writeFieldEnd()
        protocol.writeFieldStop()
        protocol.writeStructEnd()
        protocol.writeFieldEnd()
        protocol.writeFieldStop()
        protocol.writeStructEnd()
        protocol.writeMessageEnd()

    return write


@settings(max_examples=300, deadline=None)
@given(span=spans())
def test_every_span_has_the_official_bytes(span):
    """One encoded span is byte for byte what Apache Thrift writes for the mapped span."""
    for make, protocol in PROTOCOLS.values():
        assert thrift(protocol, official(span).write) == make().frame(span).data


@settings(max_examples=50, deadline=None)
@given(
    found=st.lists(spans(), max_size=18),
    seq_no=st.integers(1, 2**31 - 1),
    loss=st.builds(Loss, *[st.integers(0, 2**40)] * 3),
    tags=attributes,
)
def test_frames_joined_are_the_whole_batch(found, seq_no, loss, tags):
    """Concatenated frames in their envelope equal the official one-shot call, size foretold."""
    resource = Resource({**tags, "service.name": "shop"})
    mapped = jaeger.Process(
        serviceName="shop",
        tags=[tag(k, v) for k, v in resource.attributes.items() if k != "service.name"] or None,
    )
    expected = official_batch(mapped, [official(span) for span in found], seq_no, loss)
    for make, protocol in PROTOCOLS.values():
        encoder = make()
        process = encoder.process(resource)
        frames = [encoder.frame(span) for span in found]
        sealed = encoder.seal(process, frames, seq_no, loss)
        assert thrift(protocol, expected) == sealed.body
        overhead = encoder.overhead_bytes(process, len(frames), {b""}, seq_no, loss)
        assert overhead + sum(len(frame.data) for frame in frames) == len(sealed.body)


@settings(max_examples=50, deadline=None)
@given(found=st.lists(spans(), max_size=5))
def test_http_carries_the_bare_batch(found):
    """A collector gets a Batch without an envelope, without an agent's statistics."""
    encoder = jaeger_binary()
    frames = [encoder.frame(span) for span in found]
    process = encoder.process(Resource({"service.name": "s"}))
    batch = jaeger.Batch(
        process=jaeger.Process(serviceName="s"), spans=[official(span) for span in found]
    )
    sealed = encoder.seal(process, frames, 7, Loss(1, 2, 3))
    assert thrift(TBinaryProtocol.TBinaryProtocol, batch.write) == sealed.body


class Catch:
    """A reporter that keeps the spans of our own tracer."""

    def __init__(self):
        self.spans = []

    def on_start(self, span, parent_context=None):
        pass

    def on_end(self, span):
        self.spans.append(span)


@settings(max_examples=100, deadline=None)
@given(
    tags=attributes,
    events=st.lists(st.tuples(text, attributes, times), max_size=3),
    links=st.lists(st.tuples(contexts, attributes), max_size=2),
    kind=st.sampled_from(SpanKind),
    wide=st.booleans(),
)
def test_own_spans_are_encoded_as_sdk_spans(tags, events, links, kind, wide):
    """The short way from a tracekit span gives the bytes that its SDK properties give."""
    catch = Catch()
    provider = tracekit.tracing.TracerProvider(
        from_type("const", 1), catch, Resource({}), traceid_128bit=wide
    )
    tracer = provider.get_tracer("scope", "1.2")
    with tracer.start_as_current_span("parent"):
        span = tracer.start_span(
            "child", kind=kind, attributes=tags, links=[Link(*link) for link in links]
        )
        for event in events:
            span.add_event(*event)
        span.set_status(Status(StatusCode.ERROR, "no"))
        span.end()
    (_, ended) = reversed(catch.spans)
    readable = ended._readable_span()
    assert type(readable) is ReadableSpan
    assert (
        thrift(TCompactProtocol.TCompactProtocol, official(readable).write)
        == jaeger_compact().frame(ended).data
    )
