"""Datagrams written by the thrift library with Jaeger's generated types, read by our decoder."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jaeger_batches import BATCHES, Batch, datagram
from jaeger_client.thrift_gen.jaeger import ttypes as jaeger
from thrift.protocol.TBinaryProtocol import TBinaryProtocol
from thrift.protocol.TCompactProtocol import TCompactProtocol

from tracekit.local import ClientStats, Tags
from tracekit.local._jaeger import DecodeError, decode_datagram


def _unsigned(number):
    return number % 2**64


def _pairs(tags):
    return tuple(
        (tag.key, [tag.vStr, tag.vDouble, tag.vBool, tag.vLong][tag.vType]) for tag in tags or ()
    )


def _trace_id(thing):
    return _unsigned(thing.traceIdHigh) << 64 | _unsigned(thing.traceIdLow)


def _assert_same_span(got, sent):
    assert (got.trace_id, got.span_id) == (_trace_id(sent), _unsigned(sent.spanId))
    assert got.parent_id == (_unsigned(sent.parentSpanId) or None)
    assert (got.operation, got.flags) == (sent.operationName, sent.flags)
    assert (got.start_us, got.duration_us) == (sent.startTime, sent.duration)
    assert got.tags.pairs == _pairs(sent.tags)
    assert [(log.time_us, log.fields.pairs) for log in got.logs] == [
        (log.timestamp, _pairs(log.fields)) for log in sent.logs or ()
    ]
    assert list(got.references) == [
        (["child_of", "follows_from"][ref.refType], _trace_id(ref), _unsigned(ref.spanId))
        for ref in sent.references or ()
    ]


@pytest.mark.parametrize("protocol_class", [TCompactProtocol, TBinaryProtocol])
@given(batch=BATCHES)
def test_batches_decode_to_what_was_written(protocol_class, batch):
    """Any batch that the generated types can write comes out with the same content."""
    data = datagram(batch, protocol_class)

    got = decode_datagram(data)

    assert got.service == batch.process.serviceName
    assert got.process_tags.pairs == _pairs(batch.process.tags)
    assert (got.seq_no, got.size_bytes) == (batch.seq_no, len(data))
    assert got.stats == (batch.stats)
    assert len(got.spans) == len(batch.spans)
    for span, sent in zip(got.spans, batch.spans, strict=True):
        assert (span.service, span.process_tags) == (got.service, got.process_tags)
        _assert_same_span(span, sent)


@given(batch=BATCHES, at=st.floats(0, 1), byte=st.integers(0, 255))
def test_a_damaged_datagram_fails_cleanly(batch, at, byte):
    """One changed byte gives other content or a ValueError, never another exception."""
    data = datagram(batch)
    index = min(int(at * len(data)), len(data) - 1)
    broken = data[:index] + bytes([byte]) + data[index + 1 :]

    with contextlib.suppress(ValueError):
        assert decode_datagram(broken).size_bytes == len(data)


@given(data=st.binary(max_size=100))
def test_noise_is_refused(data):
    """Bytes that are no call are a ValueError, the empty datagram included."""
    with pytest.raises(ValueError, match=r".+"):
        decode_datagram(data)


def test_the_known_41_bytes():
    """The datagram of the compact protocol that Jaeger's own client writes for one small span."""
    data = bytes.fromhex(
        "82810109656d69744261746368"  # envelope: oneway call 1 of emitBatch
        "1c1c180173" + "00"  # batch, process "s"
        "191c160216001604160018016f2502160616080000" + "00"
    )
    assert len(data) == 41

    (span,) = decode_datagram(data).spans

    assert (span.service, span.operation, span.kind) == ("s", "o", "internal")
    assert (span.trace_id, span.span_id, span.parent_id) == (1, 2, None)
    assert (span.flags, span.start_us, span.duration_us) == (1, 3, 4)


def _batch(**fields):
    given_fields = {"process": jaeger.Process(serviceName="s"), "spans": []}
    return Batch(**(given_fields | fields))


def test_binary_tags_arrive_as_bytes():
    """A tag of type BINARY, which the old Python client cannot write, is read as bytes."""
    tag = jaeger.Tag(key="k", vType=4, vBinary="ÿ")  # the generated code takes text here
    batch = _batch(process=jaeger.Process(serviceName="s", tags=[tag]))

    assert decode_datagram(datagram(batch)).process_tags == {"k": "ÿ".encode()}


def test_client_stats_are_named():
    """The sender's own loss figures are read by name."""
    batch = _batch(stats=(1, 2, 3), seq_no=9)

    got = decode_datagram(datagram(batch))

    assert got.stats == ClientStats(1, 2, 3)
    assert got.stats.failed_to_emit_spans == 3


@pytest.mark.parametrize(
    ("data", "complaint"),
    [
        (b"\x82\x81\x01\x04ping\x00", "a call of 'ping'"),
        (b"\x82\x81\x01\x09emitBatch\x00", "batch is missing"),
        (b"\x82\x81\x01\x09emitBatch\x1c\x00\x00", "process is missing"),
        (b"\x82\x81\x01\x09emitBatch\x16\x02\x00", "batch is of type int, not dict"),
        (b"\x82\x81\x01\x09emitBatch\x1c\x1c\x18\x01s\x00\x00\x00", "batch.spans is missing"),
    ],
)
def test_thrift_that_is_no_batch_is_named(data, complaint):
    """The error names the field that is missing or of a wrong type."""
    with pytest.raises(DecodeError, match=complaint):
        decode_datagram(data)


def test_a_repeated_tag_keeps_all_pairs():
    """``tags[key]`` is the first of a repeated key; ``pairs`` shows that it stood there twice."""
    tags = Tags([("k", 1), ("other", True), ("k", 2)])

    assert dict(tags) == {"k": 1, "other": True}
    assert tags.pairs == (("k", 1), ("other", True), ("k", 2))
    assert (tags["k"], len(tags), list(tags)) == (1, 2, ["k", "other"])
