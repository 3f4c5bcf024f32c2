"""UDP on real sockets: refusals, sizes, addresses, pace."""

from __future__ import annotations

import errno
import socket
import time

import pytest
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from ports import free_port

from tracekit._protocols import Outcome, Payload
from tracekit.encoding import jaeger_compact
from tracekit.reporting import Reporter
from tracekit.reporting._worker import start_worker
from tracekit.testing import FakeAgent, FakeClock
from tracekit.transport._owned import Owned
from tracekit.transport._pacing import Pace
from tracekit.transport._resolver import Resolver
from tracekit.transport._udp import UdpTransport

SOON = 30.0


def deadline():
    return time.monotonic() + SOON


def payload(size=100):
    return Payload(b"x" * size, [])


def listener(family=socket.AF_INET, host="127.0.0.1", port=0):
    sock = socket.socket(family, socket.SOCK_DGRAM)
    sock.bind((host, port))
    sock.settimeout(SOON)
    return sock


@pytest.fixture
def wire():
    made = []

    def make(*args, **options):
        made.append(UdpTransport(*args, **options))
        return made[-1]

    yield make
    for each in made:
        each.close()


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
def test_a_datagram_arrives_as_it_was_sealed(wire, host):
    """What is sent to a literal address or a name is received byte for byte."""
    with listener() as sock:
        assert wire(host, sock.getsockname()[1]).send(payload(), deadline()).ok
        assert sock.recv(65_535) == payload().body


def test_ipv6_works(wire):
    """An IPv6 literal, with or without brackets, is a destination like any other."""
    try:
        sock = listener(socket.AF_INET6, "::1")
    except OSError:
        pytest.skip("this machine has no IPv6 loopback")
    with sock:
        for host in ("::1", "[::1]"):
            assert wire(host, sock.getsockname()[1]).send(payload(), deadline()).ok
            assert sock.recv(65_535) == payload().body


def test_a_refusal_is_known_at_once(wire):
    """On the same host the refused datagram itself is to be retried, and nothing is in doubt."""
    transport = wire("127.0.0.1", free_port(socket.SOCK_DGRAM))
    for _ in range(3):
        result = transport.send(payload(), deadline())
        assert (result.outcome, list(result.doubt)) == (Outcome.RETRY, [])
        assert "refuses" in result.reason


class FarSocket:
    """A connected socket to a host across a network: a refusal arrives with the next send."""

    def __init__(self, *_args):
        self.errors = []
        self.sent = []
        self.refused = []

    def setblocking(self, flag):
        pass

    def connect(self, address):
        pass

    def close(self):
        pass

    def fileno(self):
        return -1

    def getsockopt(self, level, option):
        return self.refused.pop() if self.refused else 0

    def send(self, body):
        if self.errors:
            raise self.errors.pop(0)
        self.sent.append(body)


def far(transport):
    """Connect ``transport`` to a host across a network, without one."""
    found = transport._resolver.address(deadline())
    transport._address = found
    sock = FarSocket()
    transport._owned = Owned(sock)
    return sock


def test_a_late_refusal_is_of_the_one_before(wire):
    """When the next send reports the refusal, the earlier payload is named, to be sent again."""
    transport = wire("192.0.2.7", 6831)
    sock = far(transport)
    first, second = payload(1), payload(2)
    assert transport.send(first, deadline()).ok
    sock.errors = [ConnectionRefusedError(errno.ECONNREFUSED, "refused")]
    result = transport.send(second, deadline())
    assert (result.outcome, list(result.doubt)) == (Outcome.RETRY, [first])


def test_a_late_refusal_doubts_a_round_trip(wire):
    """What was sent within a round trip before the latest datagram may be refused; older not."""
    clock = FakeClock()
    transport = wire("192.0.2.7", 6831, clock=clock, pace=(0, 0))
    sock = far(transport)
    for moment in (0.0, 5.0, 0.05, 0.02):
        clock.advance(moment)
        assert transport.send(payload(int(moment * 100) + 1), clock() + 1).ok
    clock.advance(60.0)
    sock.errors = [ConnectionRefusedError(errno.ECONNREFUSED, "refused")]
    doubt = transport.send(payload(7), clock() + 1).doubt
    assert [len(each.body) for each in doubt] == [501, 6, 3]


def test_one_is_watched_after_a_far_refusal(wire):
    """Sent once, it counts as sent only if its refusal has not come after a moment."""
    clock = FakeClock()
    transport = wire("192.0.2.7", 6831, clock=clock, pace=(0, 0))
    sock = far(transport)
    sock.errors = [ConnectionRefusedError(errno.ECONNREFUSED, "refused")]
    pauses = []
    for _ in range(4):
        refusal = transport.send(payload(1), clock() + 1)
        assert (refusal.outcome, list(refusal.doubt)) == (Outcome.RETRY, [])
        pauses.append(refusal.after_s)
        watched = payload(2)
        assert transport.send(watched, clock() + 1).outcome is Outcome.PACED
        sock.refused = [errno.ECONNREFUSED]
        refusal = transport.send(watched, clock() + 1)
        assert (refusal.outcome, list(refusal.doubt)) == (Outcome.RETRY, [])
        pauses.append(refusal.after_s)
        sock.errors = [ConnectionRefusedError(errno.ECONNREFUSED, "refused")]
    assert pauses[:2] == [1.1, 2.2]
    assert set(pauses[3:]) == {5.0}
    sock.errors = []
    assert transport.send(watched, clock() + 1).outcome is Outcome.PACED
    assert transport.send(watched, clock() + 1).ok
    assert len(sock.sent) == 5
    assert transport.send(payload(3), clock() + 1).ok


def test_a_late_refusal_nearby_is_seen(wire):
    """A busy kernel may refuse after the send has returned; the next send then tells of it."""
    transport = wire("127.0.0.1", 6831)
    sock = far(transport)
    first, second = payload(1), payload(2)
    assert transport.send(first, deadline()).ok
    sock.errors = [ConnectionRefusedError(errno.ECONNREFUSED, "refused")]
    result = transport.send(second, deadline())
    assert (result.outcome, list(result.doubt)) == (Outcome.RETRY, [first])


@pytest.mark.parametrize("refusal", [errno.EHOSTUNREACH, errno.ENOPROTOOPT, errno.EACCES])
def test_a_firewall_refuses_as_well(wire, refusal):
    """What ICMP says on a firewall's behalf is about the datagram before, like a closed port."""
    transport = wire("192.0.2.7", 6831)
    sock = far(transport)
    first, second = payload(1), payload(2)
    assert transport.send(first, deadline()).ok
    sock.errors = [OSError(refusal, "rejected")]
    result = transport.send(second, deadline())
    assert (result.outcome, list(result.doubt)) == (Outcome.RETRY, [first])


def test_a_narrow_path_asks_to_split(wire, caplog):
    """EMSGSIZE asks for smaller payloads, and says so, down to the least that makes sense."""
    transport = wire("192.0.2.7", 6831)
    sock = far(transport)
    sock.errors = [OSError(errno.EMSGSIZE, "too long") for _ in range(2)]
    assert transport.send(payload(60_000), deadline()).outcome is Outcome.TOO_LARGE
    assert transport.max_bytes == 65_000  # what the settings say: one span alone is tried
    assert transport.send(payload(400), deadline()).outcome is Outcome.FAILED
    assert "too large for the way" in caplog.text


def test_a_full_buffer_is_no_failure(wire):
    """EAGAIN asks for a moment; ENETUNREACH closes the socket and counts as an attempt."""
    transport = wire("192.0.2.7", 6831)
    sock = far(transport)
    sock.errors = [BlockingIOError(errno.EAGAIN, "again"), OSError(errno.ENETUNREACH, "no way")]
    assert transport.send(payload(), deadline()).outcome is Outcome.PACED
    assert transport.send(payload(), deadline()).outcome is Outcome.RETRY
    assert transport._owned is None


def test_an_unknown_name_is_retried(wire):
    """Without an address the payload waits; nothing is raised and no send hangs for long."""
    transport = wire("no-such-host.invalid", 6831)
    result = transport.send(payload(), time.monotonic() + 5.0)
    assert (result.outcome, "no address" in result.reason) == (Outcome.RETRY, True)


def test_a_moved_name_is_followed(monkeypatch):
    """After its time an address is looked up again while the old one is in use."""
    clock = FakeClock()
    answers = [[(socket.AF_INET, 2, 17, "", ("192.0.2.1", 1))]]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_args, **_options: answers[0])
    resolver = Resolver("agent.example", 1, clock=clock)
    assert resolver.address(clock() + SOON).host == "192.0.2.1"
    answers[0] = [
        (socket.AF_INET6, 2, 17, "", ("2001:db8::2", 1, 0, 0)),
        (socket.AF_INET, 2, 17, "", ("192.0.2.2", 1)),
    ]
    assert resolver.address(clock()).host == "192.0.2.1"
    clock.advance(31.0)
    assert resolver.address(clock()).host in ("192.0.2.1", "192.0.2.2")
    resolver._lookup.join(SOON)
    assert resolver.address(clock()).host == "192.0.2.2"
    resolver.doubt()
    assert resolver.address(clock()).host == "2001:db8::2"


def test_the_pace_allows_a_burst_then_a_rate():
    """A bucket of 100 bytes that refills within a second lets 100 go at once, then 100 a second."""
    pace = Pace(100, 1.0)
    assert pace.wait_s(60, 0.0) == 0.0
    assert pace.wait_s(60, 0.0) == pytest.approx(0.2)
    assert pace.wait_s(60, 0.2) == 0.0
    assert pace.wait_s(500, 0.5) == pytest.approx(0.7)
    assert pace.wait_s(500, 1.2) == 0.0


@pytest.mark.parametrize("pace", [Pace(0, 1.0), Pace(100, 0.0)])
def test_a_pace_may_be_none(pace):
    """Without a burst or an interval, zero, pacing is off."""
    assert [pace.wait_s(1_000, 0.0) for _ in range(3)] == [0.0] * 3


def test_datagrams_are_filled():
    """Waiting spans fill datagrams to 95 % of the limit; a span of 1 MB alone is dropped."""
    with FakeAgent() as agent:
        wires = []

        def connect():
            wires.append(Recording(UdpTransport("127.0.0.1", agent.port, max_packet_bytes=9_000)))
            return wires[0]

        reporter = Reporter(
            jaeger_compact(), connect, spawn=start_worker, wait=time.sleep, flush_s=3600.0
        )
        provider = TracerProvider(shutdown_on_exit=False, resource=Resource({"service.name": "s"}))
        provider.add_span_processor(reporter)
        tracer = provider.get_tracer("t")
        for number in range(501):
            big = "x" * (1_000_000 if number == 250 else 10)
            tracer.start_span(f"span {number}", attributes={"a": big}).end()
        assert reporter.flush(SOON)
        stats = reporter.stats()
        assert (stats.sent, stats.dropped["too_large"]) == (500, 1)
        assert len({span.operation for span in agent.wait(500)}) == 500
        assert min(wires[0].sizes[:-1]) >= 0.95 * 9_000
        assert max(wires[0].sizes) <= 9_000
        reporter.shutdown(1.0)


class Recording:
    """A transport that remembers how large its payloads were."""

    max_retry_s = None

    def __init__(self, inner):
        self.inner = inner
        self.sizes = []

    @property
    def max_bytes(self):
        return self.inner.max_bytes

    def send(self, payload, deadline):
        result = self.inner.send(payload, deadline)
        if result.ok:
            self.sizes.append(len(payload.body))
        return result

    def close(self):
        self.inner.close()


def test_a_restarting_agent_loses_nothing():
    """Spans that end while the agent is away arrive once it is back, each exactly once."""
    port = free_port(socket.SOCK_DGRAM)
    reporter = Reporter(
        jaeger_compact(),
        lambda: UdpTransport("127.0.0.1", port),
        spawn=start_worker,
        wait=time.sleep,
        flush_s=0.01,
    )
    provider = TracerProvider(shutdown_on_exit=False, resource=Resource({"service.name": "s"}))
    provider.add_span_processor(reporter)
    tracer = provider.get_tracer("t")
    names = []
    for round_number in range(3):
        for number in range(50):
            tracer.start_span(f"{round_number}.{number}").end()
        assert not reporter.flush(0.05)
        assert reporter.stats().retries > 0
        with FakeAgent(port) as agent:
            assert reporter.flush(SOON)
            names += [span.operation for span in agent.wait(50)]
    stats = reporter.stats()
    assert (stats.sent, stats.resent, sum(stats.dropped.values())) == (150, 0, 0)
    assert len(names) == len(set(names)) == 150
    reporter.shutdown(1.0)
