"""The codecs by their names: what they write, what they read, what they refuse."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from opentracing import InvalidCarrierException, SpanContextCorruptedException

from tracekit.jaeger_client import SpanContext
from tracekit.jaeger_client.codecs import (
    B3Codec,
    BinaryCodec,
    Codec,
    TextCodec,
    ZipkinCodec,
)
from tracekit.jaeger_client.span_context import span_context_from_string, span_context_to_string

CONTEXT = SpanContext(256, 127, None, 1, {"who": "a b", "fry": "Ä"})
ids = st.integers(1, (1 << 64) - 1)


@given(st.integers(1, (1 << 128) - 1), ids, st.none() | ids, st.integers(0, 3))
def test_the_line_comes_back(trace_id, span_id, parent_id, flags):
    """Whatever ids and flags: no zeros in front, 0 for a root."""
    line = span_context_to_string(trace_id, span_id, parent_id, flags)
    assert line == f"{trace_id:x}:{span_id:x}:{parent_id or 0:x}:{flags:x}"
    assert span_context_from_string(line) == (trace_id, span_id, parent_id, flags)
    assert span_context_from_string([line]) == (trace_id, span_id, parent_id, flags)


@pytest.mark.parametrize(
    "line",
    [
        *(1.5, None, "", "1:1:1", "1:1:1:1:1", "x:1:1:1", "0:1:1:1", "1:0:1:1", "1:1:-1:1"),
        *("1:1::1", "1:1:1:-1", ["1:1:1:1", "1:1:1:1"]),
    ],
)
def test_other_lines_are_refused(line):
    """And the exception is the one of OpenTracing for it."""
    with pytest.raises(SpanContextCorruptedException):
        span_context_from_string(line)


@pytest.mark.parametrize(
    ("codec", "written"),
    [
        (TextCodec(), {"uber-trace-id": "100:7f:0:1", "uberctx-who": "a b", "uberctx-fry": "Ä"}),
        (
            TextCodec(True, "Trace_ID", "Attr-"),
            {"trace-id": "100:7f:0:1", "attr-who": "a%20b", "attr-fry": "%C3%84"},
        ),
        (
            B3Codec(),
            {
                "x-b3-traceid": "0000000000000100",
                "x-b3-spanid": "000000000000007f",
                "x-b3-sampled": "1",
            },
        ),
        (ZipkinCodec(), {"trace_id": 256, "span_id": 127, "parent_id": None, "traceflags": 1}),
    ],
)
def test_what_is_written_is_read_again(codec, written):
    """In a dict, names in any letter case."""
    carrier = {}
    codec.inject(CONTEXT, carrier)
    assert carrier == written
    if not isinstance(codec, ZipkinCodec):
        carrier = {name.upper(): value for name, value in carrier.items()}
    read = codec.extract(carrier)
    assert (read.trace_id, read.span_id, read.parent_id, read.flags) == (256, 127, None, 1)
    if isinstance(codec, TextCodec):
        assert read.baggage == CONTEXT.baggage
    assert codec.extract({}) is None
    for call in (lambda: codec.inject(CONTEXT, []), lambda: codec.extract([])):
        with pytest.raises(InvalidCarrierException):
            call()


def test_text_holds_debug_id_and_baggage():
    """Also without ids."""
    read = TextCodec().extract({"Jaeger-Debug-Id": "find me", "jaeger-baggage": "a=1, b=2 ,c"})
    assert (read.debug_id, dict(read.baggage)) == ("find me", {"a": "1", "b": "2"})
    assert read.is_debug_id_container_only
    carrier = {}
    TextCodec().inject(SpanContext(1, 1, None, 0, {b"k": b"\xff"}), carrier)
    assert carrier["uberctx-k"] == "\ufffd"


@pytest.mark.parametrize(
    ("given", "flags"),
    [({}, 0), ({"x-b3-sampled": "1"}, 1), ({"x-b3-flags": "1"}, 2), ({"x-b3-flags": "0"}, 0)],
)
def test_b3_has_a_decision(given, flags):
    """Debug alone forces the spans below, too, which jaeger_client forgot."""
    carrier = {"x-b3-traceid": "a" * 32, "x-b3-spanid": "b", "x-b3-parentspanid": "c", **given}
    read = B3Codec().extract(carrier)
    assert (read.trace_id, read.span_id, read.parent_id) == (int("a" * 32, 16), 11, 12)
    assert read.flags == flags
    back = {}
    B3Codec(generate_128bit_trace_id=True).inject(read, back)
    assert back["x-b3-traceid"] == "a" * 32
    assert back.get("x-b3-flags") == ("1" if flags & 2 else None)
    assert back.get("x-b3-sampled") == (None if flags & 2 else str(flags))
    for bad in ("z", 5):
        with pytest.raises(SpanContextCorruptedException):
            B3Codec().extract({"x-b3-traceid": bad})


def test_zipkins_parts_may_be_attributes():
    """Of anything; one that is missing is named."""
    parts = SimpleNamespace(trace_id=3, span_id=1, parent_id=2, traceflags=1)
    read = ZipkinCodec().extract(parts)
    assert (read.trace_id, read.span_id, read.parent_id, read.flags) == (3, 1, 2, 1)
    del parts.traceflags
    with pytest.raises(InvalidCarrierException, match="traceflags"):
        ZipkinCodec().extract(parts)


def test_bytes_are_the_go_clients():
    """A sample of its own, read and written."""
    sample = bytes.fromhex(
        "615d85e0e006d55b366b9d86aabc5c8f236306806a56df82366b9d86aabc5c8f01"
        "00000001000000076b65795f6f6e650000000976616c75655f6f6e65"
    )
    codec, carrier = BinaryCodec(), bytearray()
    read = codec.extract(bytearray(sample))
    assert read.trace_id == 7015910995390813531 << 64 | 3921401102271798415
    assert (read.span_id, read.parent_id) == (2549888962631491458, 3921401102271798415)
    assert (read.flags, dict(read.baggage)) == (1, {"key_one": "value_one"})
    codec.inject(read, carrier)
    assert carrier == sample
    with pytest.raises(SpanContextCorruptedException):
        codec.extract(bytearray(sample[:20]))
    for call in (lambda: codec.inject(read, {}), lambda: codec.extract({})):
        with pytest.raises(InvalidCarrierException):
            call()


def test_a_codec_has_to_be_written():
    """The base does nothing."""
    for call in (lambda: Codec().inject(CONTEXT, {}), lambda: Codec().extract({})):
        with pytest.raises(NotImplementedError):
            call()
