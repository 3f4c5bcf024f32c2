"""The UDP receiver on a real socket."""

from __future__ import annotations

import socket

import pytest
from jaeger_client.thrift_gen.agent import Agent
from jaeger_client.thrift_gen.jaeger import ttypes as jaeger
from thrift.protocol.TCompactProtocol import TCompactProtocol
from thrift.Thrift import TMessageType
from thrift.transport.TTransport import TMemoryBuffer

from tracekit.local import Receiver
from tracekit.local._store import Store


def _datagram(*operations, service="shop"):
    spans = [
        jaeger.Span(
            traceIdLow=1,
            traceIdHigh=0,
            spanId=number,
            parentSpanId=0,
            operationName=operation,
            flags=1,
            startTime=0,
            duration=0,
        )
        for number, operation in enumerate(operations, 1)
    ]
    buffer = TMemoryBuffer()
    batch = jaeger.Batch(process=jaeger.Process(serviceName=service), spans=spans)
    protocol = TCompactProtocol(buffer)
    protocol.writeMessageBegin("emitBatch", TMessageType.ONEWAY, 1)
    Agent.emitBatch_args(batch).write(protocol)
    protocol.writeMessageEnd()
    return buffer.getvalue()


def _send(receiver, *datagrams):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        for datagram in datagrams:
            sender.sendto(datagram, (receiver.host, receiver.port))


def test_spans_arrive_over_the_socket():
    """A datagram sent to the port is decoded and can be waited for."""
    with Receiver() as receiver:
        _send(receiver, _datagram("a", "b"), _datagram("c"))
        spans = receiver.wait(3, timeout_s=10)

    assert [span.operation for span in spans] == ["a", "b", "c"]
    assert [len(batch.spans) for batch in receiver.batches()] == [2, 1]


def test_noise_is_counted_and_stops_nothing():
    """A malformed datagram costs one count; the next good one is received."""
    with Receiver() as receiver:
        _send(receiver, b"", b"noise", _datagram("after"))
        (span,) = receiver.wait(1, timeout_s=10)

    assert span.operation == "after"
    assert receiver.malformed == 2
    assert receiver.last_error == "1852795251 bytes promised, 1 left at byte 4"


def test_wait_says_how_many_came():
    """Too few spans in time is a TimeoutError with both figures."""
    with Receiver() as receiver:
        with pytest.raises(TimeoutError, match=r"0 of 1 spans after 0\.01 s"):
            receiver.wait(1, timeout_s=0.01)
        assert receiver.wait_until(lambda spans: len(spans) > 0, timeout_s=0.01) is False
        assert receiver.wait_until(lambda spans: not spans, timeout_s=0.01) is True


def test_close_keeps_what_the_kernel_held():
    """Datagrams that arrived before close are decoded, not lost with the socket."""
    with Receiver() as receiver:
        _send(receiver, *[_datagram(f"{number}") for number in range(50)])

    assert len(receiver.spans()) == 50


def test_a_port_is_free_again_after_close():
    """An agent that restarts on its port receives again."""
    with Receiver() as first:
        port = first.port
    with Receiver(port=port) as second:
        _send(second, _datagram("again"))
        assert second.wait(1, timeout_s=10)[0].operation == "again"
    second.close()


def test_a_taken_port_is_an_error():
    """Two receivers on one port are refused by the system, not shared silently."""
    with Receiver() as first, pytest.raises(OSError, match="in use"):
        Receiver(port=first.port).start()


def test_ipv6():
    """It listens on an IPv6 address as well."""
    with Receiver("::1") as receiver, socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as sender:
        sender.sendto(_datagram("six"), ("::1", receiver.port))
        assert receiver.wait(1, timeout_s=10)[0].operation == "six"


def test_a_full_store_evicts_oldest_batches():
    """Beyond its bound the store evicts whole batches from the front and counts their spans."""
    store = Store(max_spans=3)
    with Receiver(store=store) as receiver:
        _send(receiver, _datagram("a", "b"), _datagram("c"), _datagram("d"))
        assert receiver.wait_until(lambda spans: spans[-1:] and spans[-1].operation == "d", 10)

    assert [span.operation for span in receiver.spans()] == ["c", "d"]
    assert store.evicted == 2
    receiver.clear()
    assert receiver.spans() == ()
