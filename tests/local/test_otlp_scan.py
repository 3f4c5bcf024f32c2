"""OTLP cut into spans: the same that Google's protobuf wrote."""

from __future__ import annotations

import contextlib
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue
from opentelemetry.proto.trace.v1.trace_pb2 import ResourceSpans, ScopeSpans, Span, Status

from tracekit.local._formats import read
from tracekit.local._otlp_scan import scan_otlp
from tracekit.local._otlp_values import MAX_DEPTH

TEXT = st.text(max_size=20)
U64 = st.integers(0, 2**63 - 1)
SCALARS = st.one_of(
    st.builds(AnyValue, string_value=TEXT | st.text(min_size=150, max_size=200)),
    st.builds(AnyValue, int_value=st.integers(-(2**63), 2**63 - 1)),
    st.builds(AnyValue, bool_value=st.booleans()),
    st.builds(AnyValue, double_value=st.floats(allow_nan=False)),
)
ATTRIBUTES = st.lists(st.builds(KeyValue, key=TEXT, value=SCALARS), max_size=5)
SPANS = st.builds(
    Span,
    trace_id=st.binary(min_size=16, max_size=16),
    span_id=st.binary(min_size=8, max_size=8),
    parent_span_id=st.just(b"") | st.binary(min_size=8, max_size=8),
    name=TEXT,
    kind=st.integers(0, 5),
    start_time_unix_nano=U64,
    end_time_unix_nano=U64,
    trace_state=TEXT,
    attributes=ATTRIBUTES,
    dropped_attributes_count=st.integers(0, 3),
    flags=st.integers(0, 2**32 - 1),
    events=st.lists(
        st.builds(Span.Event, name=TEXT, time_unix_nano=U64, attributes=ATTRIBUTES), max_size=2
    ),
    links=st.lists(
        st.builds(
            Span.Link,
            trace_id=st.binary(min_size=16, max_size=16),
            span_id=st.binary(min_size=8, max_size=8),
            attributes=ATTRIBUTES,
        ),
        max_size=2,
    ),
    status=st.builds(Status, code=st.integers(0, 2), message=TEXT),
)
REQUESTS = st.builds(
    ExportTraceServiceRequest,
    resource_spans=st.lists(
        st.builds(
            ResourceSpans,
            scope_spans=st.lists(
                st.builds(ScopeSpans, spans=st.lists(SPANS, max_size=3)), max_size=2
            ),
        ),
        max_size=2,
    ),
)


def _value(attribute):
    return getattr(attribute.value, attribute.value.WhichOneof("value"))


def _pairs(attributes):
    return [(each.key, _value(each)) for each in attributes]


@given(request=REQUESTS)
def test_requests_are_cut_as_written(request):
    """Any request that protobuf writes: the same spans, in order, field by field."""
    sent = [
        span
        for resource in request.resource_spans
        for scope in resource.scope_spans
        for span in scope.spans
    ]

    records = [
        record for arrival in scan_otlp(request.SerializeToString()) for record in arrival.records
    ]

    assert len(records) == len(sent)
    for record, span in zip(records, sent, strict=True):
        whole = read(record)
        ids = int.from_bytes(span.trace_id, "big"), int.from_bytes(span.span_id, "big")
        assert (record.trace_id, record.span_id) == ids == (whole.trace_id, whole.span_id)
        parent = int.from_bytes(span.parent_span_id, "big")
        assert record.parent_id == (whole.parent_id or 0) == parent
        assert record.operation == whole.operation == span.name
        assert record.start_us == whole.start_us == span.start_time_unix_nano // 1000
        lasted = span.end_time_unix_nano - span.start_time_unix_nano
        assert record.duration_us == whole.duration_us
        assert abs(whole.duration_us) == abs(lasted) // 1000
        assert record.error == whole.error or "error" in [key for key, _ in _pairs(span.attributes)]
        assert list(whole.tags.pairs)[: len(span.attributes)] == _pairs(span.attributes)
        assert [log.time_us for log in whole.logs] == [
            event.time_unix_nano // 1000 for event in span.events
        ]
        links = [each[1:] for each in whole.references][-len(span.links) :] if span.links else []
        assert links == [
            (int.from_bytes(link.trace_id, "big"), int.from_bytes(link.span_id, "big"))
            for link in span.links
        ]


@given(request=REQUESTS, at=st.floats(0, 1), byte=st.integers(0, 255))
def test_what_is_taken_can_be_read(request, at, byte):
    """After any damage to a request: ValueError at once, or every span reads."""
    data = request.SerializeToString() or b"\x0a\x00"
    index = min(int(at * len(data)), len(data) - 1)

    with contextlib.suppress(ValueError):
        for arrival in scan_otlp(data[:index] + bytes([byte]) + data[index + 1 :]):
            for record in arrival.records:
                # A program may call an attribute so, too; what we say then names an error.
                said = read(record).tags.get("unreadable")
                assert not (isinstance(said, str) and "rror: " in said)  # struct.error, too


def _nested(depth):
    value = AnyValue(string_value="deep")
    for _ in range(depth):
        outer = AnyValue()
        outer.array_value.values.append(value)
        value = outer
    request = ExportTraceServiceRequest()
    span = request.resource_spans.add().scope_spans.add().spans.add(name="x")
    span.attributes.add(key="k").value.CopyFrom(value)
    return request.SerializeToString()


def test_values_nest_up_to_a_limit():
    """Deep values become JSON; deeper ones than anybody means are refused, not recursed into."""
    (arrival,) = scan_otlp(_nested(MAX_DEPTH - 2))
    (record,) = arrival.records
    value = json.loads(read(record).tags["k"])
    while isinstance(value, list):
        (value,) = value
    assert value == "deep"

    with pytest.raises(ValueError, match="nested too deeply"):
        scan_otlp(_nested(MAX_DEPTH + 1))


def _part(number, content):
    size, length = len(content), b""
    while size > 127:
        length += bytes([size & 127 | 128])
        size >>= 7
    return bytes([number << 3 | 2]) + length + bytes([size]) + content


def _span(content):
    return _part(1, _part(2, _part(2, content)))


@pytest.mark.parametrize(
    ("data", "complaint"),
    [
        (_part(1, b"") * 200_000, "parts"),
        (_part(1, _part(2, b"") * 200_000), "parts"),
        (_part(1, _part(2, _part(2, b"") * 200_000)), "spans"),
        (_part(1, _part(1, _part(1, b"") * 10_001)), "of one resource"),
        (_span(_part(9, b"") * 10_001), "of one span"),
        (_span(_part(11, b"") * 10_001), "of one span"),
        (_part(1, _part(1, _part(1, b"") * 10_000)), None),
        (_span(_part(9, b"") * 10_000), None),
    ],
)
def test_parts_count_before_they_cost_memory(data, complaint):
    """Two bytes can announce a span, a resource or an attribute: each has its limit."""
    if complaint is None:
        scan_otlp(data)
        return
    with pytest.raises(ValueError, match=complaint):
        scan_otlp(data)
