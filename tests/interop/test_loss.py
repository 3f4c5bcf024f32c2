"""What we say was sent is in Jaeger: bursts into an idle one, and one that is killed."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest
from jaeger import UDP, WIRES

import tracekit

SOON = 60.0
_number = itertools.count()


def tracing_to(jaeger, wire, service, **fields):
    return tracekit.init(
        service,
        environ={},
        set_global=False,
        sampler_type="const",
        sampler_param=1,
        **WIRES[wire](jaeger.ports),
        **fields,
    )


def unread_by(port):
    """Return how many datagrams the kernel has dropped at this socket's full buffer (Linux).

    They are the ``RcvbufErrors`` of the machine, told by socket.
    """
    rows = [line.split() for line in Path("/proc/net/udp").read_text().splitlines()[1:]]
    rows += [line.split() for line in Path("/proc/net/udp6").read_text().splitlines()[1:]]
    return sum(int(row[-1]) for row in rows if int(row[1].rpartition(":")[2], 16) == port)


def burst(tracing, count):
    tracer = tracing.tracer("burst")
    for number in range(count):
        tracer.start_span("step", attributes={"n": number, "of": "a burst"}).end()


@pytest.mark.parametrize("count", [3_500, 15_000, 100_000])
@pytest.mark.parametrize("wire", WIRES)
def test_a_burst_is_stored_or_told(make_jaeger, noted, wire, count):
    """Stored and dropped are what was created; over UDP with the kernel's and Jaeger's figures."""
    service = f"burst-{next(_number)}"
    with make_jaeger() as jaeger:
        tracing = tracing_to(jaeger, wire, service, queue_size=200_000)
        burst(tracing, count)
        tracing.flush(SOON)
        tracing.shutdown(SOON)
        stats = tracing.stats()
        dropped = sum(stats.dropped.values())
        stored = jaeger.settle(service, stats.sent)
        assert stats.started == stats.finished == count
        assert stats.sent + dropped == count
        if wire not in UDP:
            assert stored + dropped == count
            assert stored == stats.sent
            noted(
                "Jaeger", f"{wire}, burst of {count}", f"equal: {stored} stored, {dropped} dropped"
            )
            return
        figures = jaeger.figures()
        port = WIRES[wire](jaeger.ports)["agent_port"]
        taken = figures["jaeger_thrift_udp_server_packets_processed_total"]
        unread = figures["jaeger_thrift_udp_server_packets_dropped_total"]
        kernel = unread_by(port)
        assert stats.payloads - taken == kernel + unread, (stats.payloads, taken, kernel, unread)
        lost = int(stats.payloads - taken)
        refused = figures["jaeger_spans_dropped_total"]
        noted(
            "Jaeger",
            f"{wire}, burst of {count}",
            ("lost by its receiver and told there" if lost or refused else "equal")
            + f": {stored} stored; {stats.payloads} datagrams, {lost} lost: {kernel:.0f} by the"
            f" kernel, {unread:.0f} by the agent; {refused:.0f} spans by the collector",
        )
        if not lost:
            assert stored + refused + dropped == count


@pytest.mark.parametrize("wire", [wire for wire in WIRES if wire not in UDP])
def test_full_payloads_overflow_a_collector(make_jaeger, noted, wire):
    """Why 512: what its queue of 2000 has no room for, Jaeger drops behind its 2xx, and tells."""
    service = f"large-{next(_number)}"
    with make_jaeger() as jaeger:
        tracing = tracing_to(jaeger, wire, service, queue_size=200_000, max_batch_spans=200_000)
        burst(tracing, 15_000)
        tracing.flush(SOON)
        tracing.shutdown(SOON)
        sent = tracing.stats().sent
        lost = sent - jaeger.settle(service, sent)
        assert lost == jaeger.figures()["jaeger_spans_dropped_total"]
    noted("Jaeger", f"{wire}, burst of 15000, payloads of 1 MiB", f"lost: {lost} behind a 2xx")
