"""Equality with the official libraries, where they are right.

Where tracekit differs on purpose is a table in docs/reference/propagation.md; its rows are
checked here too, so that it stays true.
"""

from __future__ import annotations

import logging

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jaeger_client.codecs import BinaryCodec, TextCodec
from jaeger_client.span_context import SpanContext as JaegerContext
from opentelemetry import baggage as api
from opentelemetry import trace
from opentelemetry.baggage.propagation import W3CBaggagePropagator
from opentelemetry.context import Context
from opentelemetry.propagators.b3 import B3MultiFormat, B3SingleFormat
from opentelemetry.propagators.jaeger import JaegerPropagator
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator
from py_zipkin.request_helpers import create_http_headers, extract_zipkin_attrs_from_headers
from py_zipkin.storage import Tracer

from tracekit.propagation import Propagator, Remote, decode, encode
from tracekit.propagation._binary import decode_binary, encode_binary

ids_128 = st.one_of(st.integers(1, (1 << 64) - 1), st.integers(1, (1 << 128) - 1))
ids_64 = st.integers(1, (1 << 64) - 1)
values = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
baggages = st.dictionaries(st.from_regex("[a-z0-9-]{1,8}", fullmatch=True), values, max_size=3)
T, S = 0x80F198EE56343BA864FE8B2A57D3EFF7, 0xE457B5A2E4D86BD1


@given(ids_128, ids_64, st.sampled_from([0, 1, 3]), baggages)
def test_jaeger_client_reads_ours_and_we_its(trace_id, span_id, flags, baggage):
    """jaeger-client's HTTP codec and ours understand each other's ids, flags and baggage."""
    codec = TextCodec(url_encoding=True)
    ours = Remote(trace_id, span_id, None, bool(flags), flags == 3, None, baggage)
    theirs = codec.extract(encode("jaeger", ours))
    assert (theirs.trace_id, theirs.span_id, theirs.flags) == (trace_id, span_id, flags)
    assert (theirs.baggage or {}) == baggage
    written = {}
    codec.inject(JaegerContext(trace_id, span_id, None, flags, baggage), written)
    read = decode("jaeger", written)
    assert (read.trace_id, read.span_id, read.sampled, read.debug) == (
        trace_id,
        span_id,
        bool(flags),
        flags == 3,
    )
    assert read.baggage == baggage


@given(ids_128, ids_64, ids_64, st.sampled_from([0, 1, 3]), baggages)
def test_jaeger_client_binary(trace_id, span_id, parent_id, flags, baggage):
    """The binary carrier is byte for byte jaeger-client's."""
    written = bytearray()
    BinaryCodec().inject(JaegerContext(trace_id, span_id, parent_id, flags, baggage), written)
    remote = Remote(trace_id, span_id, parent_id, bool(flags), flags == 3, None, baggage)
    assert encode_binary(remote) == bytes(written)
    assert decode_binary(written)[:5] == remote[:5]
    assert decode_binary(written).baggage == baggage


@given(ids_128, ids_64, st.one_of(st.none(), ids_64), st.sampled_from(["0", "1", "d"]))
def test_py_zipkin_reads_the_same(trace_id, span_id, parent_id, state):
    """py_zipkin reads from both of our B3 spellings what we wrote."""
    remote = Remote(trace_id, span_id, parent_id, state != "0", state == "d")
    multi = {
        {"x-b3-traceid": "X-B3-TraceId", "x-b3-spanid": "X-B3-SpanId"}.get(name)
        or {"x-b3-parentspanid": "X-B3-ParentSpanId", "x-b3-flags": "X-B3-Flags"}.get(name)
        or "X-B3-Sampled": value
        for name, value in encode("b3", remote).items()
    }
    for headers in (multi, encode("b3single", remote)):
        attrs = extract_zipkin_attrs_from_headers(headers)
        assert int(attrs.trace_id, 16) == trace_id
        assert int(attrs.span_id, 16) == span_id
        assert (attrs.parent_span_id and int(attrs.parent_span_id, 16)) == parent_id
        assert attrs.is_sampled is (state != "0")
        assert attrs.flags == ("1" if state == "d" else "0")
        tracer = Tracer()
        tracer.push_zipkin_attrs(attrs)
        assert decode("b3", create_http_headers(tracer=tracer)).trace_id == trace_id


@given(ids_128, ids_64, st.integers(0, 3), st.booleans())
def test_otel_w3c_is_equal(trace_id, span_id, flags, with_state):
    """Trace Context of OpenTelemetry and ours write and read the same."""
    state = trace.TraceState([("a", "1"), ("b", "2")]) if with_state else None
    context = trace.set_span_in_context(
        trace.NonRecordingSpan(
            trace.SpanContext(trace_id, span_id, True, trace.TraceFlags(flags), state)
        ),
        Context(),
    )
    ours, theirs = {}, {}
    Propagator(("w3c",)).inject(ours, context)
    TraceContextTextMapPropagator().inject(theirs, context)
    assert ours == theirs
    mine = trace.get_current_span(Propagator(("w3c",)).extract(theirs)).get_span_context()
    other = trace.get_current_span(TraceContextTextMapPropagator().extract(ours))
    assert mine[:4] == other.get_span_context()[:4]
    assert dict(mine.trace_state) == dict(other.get_span_context().trace_state)


@given(st.dictionaries(st.from_regex("[a-zA-Z0-9-]{1,8}", fullmatch=True), values, max_size=3))
def test_otel_w3c_baggage_reads_ours(baggage):
    """OpenTelemetry reads from our ``baggage`` header what we wrote (it strips blanks)."""
    context = W3CBaggagePropagator().extract(
        encode("w3c", Remote(1, 2, baggage=baggage)), Context()
    )
    assert api.get_all(context) == {key: value.strip() for key, value in baggage.items()}


def otel(propagator, carrier):
    return trace.get_current_span(propagator.extract(carrier)).get_span_context()


def test_where_otel_b3_differs(caplog):
    """What our table says about OpenTelemetry's B3: no deny alone, defer and debug lost."""
    caplog.set_level(logging.CRITICAL)
    single = f"{T:032x}-{S:016x}"
    assert not otel(B3SingleFormat(), {"b3": "0"}).is_valid
    assert decode("b3single", {"b3": "0"}).sampled is False
    assert otel(B3SingleFormat(), {"b3": single}).trace_flags.sampled
    assert decode("b3single", {"b3": single}).sampled is None
    multi = {"x-b3-traceid": f"{T:032x}", "x-b3-spanid": f"{S:016x}"}
    assert not otel(B3MultiFormat(), multi).trace_flags.sampled
    assert decode("b3", multi).sampled is None
    assert not otel(B3MultiFormat(), {"b3": "bad", **multi}).is_valid
    assert decode("b3", {"b3": "bad", **multi}).trace_id == T


def test_where_otel_jaeger_differs():
    """What our table says about OpenTelemetry's Jaeger propagator: 03 for sampled, no %3A."""
    context = trace.set_span_in_context(
        trace.NonRecordingSpan(trace.SpanContext(T, S, True, trace.TraceFlags(1))), Context()
    )
    theirs, ours = {}, {}
    JaegerPropagator().inject(theirs, context)
    Propagator(("jaeger",)).inject(ours, context)
    assert theirs["uber-trace-id"].endswith(":03")
    assert ours["uber-trace-id"].endswith(":1")
    assert not otel(JaegerPropagator(), {"uber-trace-id": "1%3A2%3A0%3A1"}).is_valid
    assert decode("jaeger", {"uber-trace-id": "1%3A2%3A0%3A1"}).has_ids


def test_where_py_zipkin_differs():
    """What our table says about py_zipkin: ids are not checked, an empty state means defer."""
    assert extract_zipkin_attrs_from_headers({"b3": "not-hex"}).trace_id == "not"
    assert decode("b3single", {"b3": "not-hex"}) is None
    assert extract_zipkin_attrs_from_headers({"b3": f"{T:032x}-{S:016x}-"}) is not None
    assert decode("b3single", {"b3": f"{T:032x}-{S:016x}-"}) is None


def test_where_jaeger_client_differs():
    """What our table says about jaeger-client: it raises over what we count."""
    with pytest.raises(Exception, match=r"(?i)malformed|corrupt|trace"):
        TextCodec(url_encoding=True).extract({"uber-trace-id": "1:2:3"})
    assert decode("jaeger", {"uber-trace-id": "1:2:3"}) is None


def test_where_blanks_differ(caplog):
    """What our table says about ``+``: a blank in Jaeger's baggage, a plus in W3C's."""
    headers = {"uber-trace-id": "1:2:0:1", "uberctx-k": "a+b"}
    assert TextCodec(url_encoding=True).extract(headers).baggage == {"k": "a+b"}
    assert decode("jaeger", headers).baggage == {"k": "a b"}
    context = W3CBaggagePropagator().extract({"baggage": "k=a+b"}, Context())
    assert api.get_all(context) == {"k": "a b"}
    assert decode("w3c", {"baggage": "k=a+b"}).baggage == {"k": "a+b"}


def test_where_otel_w3c_differs(caplog):
    """What our table says about OpenTelemetry's tracestate."""
    caplog.set_level(logging.CRITICAL)
    parent = f"00-{T:032x}-{S:016x}-01"

    def both(state):
        carrier = {"traceparent": parent, "tracestate": state}
        theirs = otel(TraceContextTextMapPropagator(), carrier).trace_state
        return dict(theirs), decode("w3c", carrier).tracestate

    assert both("foo@@bar=1,a=2") == ({}, "foo@@bar=1,a=2")
    assert both("foo=1,foo=2") == ({}, "foo=1")
    assert not otel(TraceContextTextMapPropagator(), {"Traceparent": parent}).is_valid
    assert decode("w3c", {"Traceparent": parent}).has_ids


def test_where_jaeger_client_baggage_differs():
    """What our table says: jaeger-client takes ids of any length, and no baggage alone."""
    codec = TextCodec(url_encoding=True)
    assert codec.extract({"uber-trace-id": f"{'1' * 40}:2:0:1"}).trace_id >> 128
    assert decode("jaeger", {"uber-trace-id": f"{'1' * 40}:2:0:1"}) is None
    alone = decode("jaeger", {"uberctx-k": "v"})
    assert alone == Remote(baggage={"k": "v"})
    assert not codec.extract({"uberctx-k": "v"}).trace_id
