"""A Jaeger that is killed and comes back while spans go on: the sums hold on every wire.

Its memory forgets when it dies. So until then the client's law alone is looked at; of what was
not sent by then and of what ended later, all is in the new one's memory or told as dropped.
"""

from __future__ import annotations

import contextlib
import signal
import threading
import time

import pytest
from accounting import law
from jaeger import UDP, WIRES
from test_loss import tracing_to, unread_by

SOON = 60.0


def load(handles, per_s, stop):
    """End ``per_s`` spans a second on each handle until told to stop."""
    tracers = [handle.tracer("load") for handle in handles]
    began, made = time.monotonic(), 0
    while not stop.wait(0.005):
        owed = int((time.monotonic() - began) * per_s) - made
        for tracer in tracers:
            for _ in range(owed):
                tracer.start_span("step", attributes={"of": "a load"}).end()
        made += owed


@contextlib.contextmanager
def loaded(handles, per_s):
    stop = threading.Event()
    thread = threading.Thread(target=load, args=(handles, per_s, stop))
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join(SOON)


@pytest.mark.parametrize("away_s", [1, 3, 6])
@pytest.mark.parametrize("per_s", [400, 1500])
@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM], ids=["SIGKILL", "SIGTERM"])
def test_a_restart_loses_nothing_untold(make_jaeger, noted, how, per_s, away_s):
    """All five wires at once, under load before, during and after the outage.

    Their backlogs arrive together, so the collector has room for them: with its default of 2000
    spans it drops some behind its 2xx, which is its own figure and of no one wire.
    """
    with make_jaeger("--collector.queue-size=100000") as jaeger:
        handles = {wire: tracing_to(jaeger, wire, wire.replace(" ", "-")) for wire in WIRES}
        with loaded(list(handles.values()), per_s):
            time.sleep(0.7)
            jaeger.stop(how)
            time.sleep(away_s)
            away = {wire: handle.stats() for wire, handle in handles.items()}
            for stats in away.values():
                law(stats)
            jaeger.start()
            time.sleep(1.0)
        for wire, handle in handles.items():
            handle.flush(SOON)
            handle.shutdown(SOON)
            stats = handle.stats()
            lost = sum(law(stats).dropped.values())
            assert stats.finished == stats.sent + lost
            told = ", ".join(f"{n} {why}" for why, n in stats.dropped.items() if n)
            what = f"{wire}, {how.name} and restart under load"
            if wire in UDP:
                _judge_datagrams(jaeger, wire, stats, away[wire], noted, what, told)
                continue
            new = stats.sent - away[wire].sent
            stored = jaeger.settle(wire, new)
            assert stored == new, (wire, stored, new)
            noted("Jaeger", what, f"equal: {stored} stored, {told or 'none'} dropped")


def _judge_datagrams(jaeger, wire, stats, before, noted, what, told):
    """Hold datagrams against the new agent's own count and its socket's."""
    sent = stats.payloads - before.payloads
    port = WIRES[wire](jaeger.ports)["agent_port"]
    protocol = wire.split()[1]
    end = time.monotonic() + SOON
    while True:
        figures = jaeger.figures()
        taken = figures["jaeger_thrift_udp_server_packets_processed_total", protocol]
        unread = figures["jaeger_thrift_udp_server_packets_dropped_total", protocol]
        missing = sent - taken - unread - unread_by(port)
        if not missing or time.monotonic() > end:
            break
        time.sleep(0.05)
    assert not missing, (wire, sent, taken, unread, unread_by(port))
    lost = f"{unread + unread_by(port):.0f} lost unread"
    outcome = "equal" if taken == sent else "lost by its receiver and told there"
    noted("Jaeger", what, f"{outcome}: {sent} datagrams, {lost}, {told or 'no span'} dropped")
