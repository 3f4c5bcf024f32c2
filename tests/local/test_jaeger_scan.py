"""Messages cut into spans whose bytes are kept: the same facts and spans as by reading all."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jaeger_batches import BATCHES, datagram
from thrift.protocol.TBinaryProtocol import TBinaryProtocol
from thrift.protocol.TCompactProtocol import TCompactProtocol
from thrift.transport.TTransport import TMemoryBuffer

from tracekit.local._formats import read
from tracekit.local._jaeger import decode_datagram
from tracekit.local._jaeger_scan import scan_batch, scan_datagram


@pytest.mark.parametrize("protocol_class", [TCompactProtocol, TBinaryProtocol])
@given(batch=BATCHES)
def test_cut_spans_hold_what_decoding_finds(protocol_class, batch):
    """Facts noted on arrival and spans read later equal those of the decoder of whole batches."""
    data = datagram(batch, protocol_class)
    whole = decode_datagram(data)

    arrival = scan_datagram(data)

    assert tuple(map(read, arrival.records)) == whole.spans
    assert (arrival.service, arrival.seq_no, arrival.stats) == (
        whole.service,
        whole.seq_no,
        whole.stats,
    )
    for record, span in zip(arrival.records, whole.spans, strict=True):
        assert (record.trace_id, record.span_id) == (span.trace_id, span.span_id)
        assert (record.parent_id or None, record.operation) == (span.parent_id, span.operation)
        assert (record.start_us, record.duration_us) == (span.start_us, span.duration_us)
        assert (record.kind or "internal") == span.kind or span.kind not in KINDS
        assert record.error == span.error


KINDS = ("server", "client", "producer", "consumer", "internal")


@given(batch=BATCHES, at=st.floats(0, 1), byte=st.integers(0, 255))
def test_what_scanning_takes_can_be_read(batch, at, byte):
    """After any damage to a datagram: ValueError at once, or every span reads."""
    data = datagram(batch, TCompactProtocol)
    index = min(int(at * len(data)), len(data) - 1)

    with contextlib.suppress(ValueError):
        for record in scan_datagram(data[:index] + bytes([byte]) + data[index + 1 :]).records:
            read(record)


@given(batch=BATCHES)
def test_a_bare_batch_is_cut_as_well(batch):
    """What a collector takes over HTTP: the struct alone, binary, without a call around it."""
    buffer = TMemoryBuffer()
    batch.write(TBinaryProtocol(buffer))

    arrival = scan_batch(buffer.getvalue())

    assert tuple(map(read, arrival.records)) == decode_datagram(datagram(batch)).spans
