"""Each call that the pipeline makes fails, with each errno of its manual, at each point of a life.

Deterministic: every case is run, in order, on a real receiver in another process. After each, every
span is in one figure, the law held at every look, spans arrive again once the calls work again, and
the end took no longer than its budget. ``python tests/soak/injected.py [--wire udp|http|otlp]``
"""

from __future__ import annotations

import argparse
import contextlib
import errno as e
import json
import logging
import socket
import subprocess
import sys
import threading
import time
from collections import Counter

import tracekit

RECEIVER = """
import json, sys, tracekit.testing as t
with t.FakeAgent() as agent, t.FakeCollector() as collector:
    environs = [agent.environ, collector.environ, collector.otlp_environ]
    print(json.dumps(environs), flush=True)
    sys.stdin.read()
"""
CALLS = {
    "socket": (e.EMFILE, e.ENFILE, e.ENOBUFS, e.ENOMEM, e.EACCES, e.EAFNOSUPPORT, e.EINVAL),
    "connect": (
        *(e.ECONNREFUSED, e.ETIMEDOUT, e.ENETUNREACH, e.EHOSTUNREACH, e.EADDRNOTAVAIL, e.EPERM),
        *(e.EACCES, e.EAGAIN, e.EINTR, e.EALREADY, e.EISCONN, e.ECONNRESET, e.EBADF),
    ),
    "send": (
        *(e.EPIPE, e.ECONNRESET, e.ECONNREFUSED, e.ENOBUFS, e.ENOMEM, e.EMSGSIZE, e.EAGAIN),
        *(e.EINTR, e.EBADF, e.ENOTCONN, e.ENETDOWN, e.EPERM, e.EINVAL),
    ),
    "sendall": (
        e.EPIPE,
        e.ECONNRESET,
        e.ENOBUFS,
        e.ENOMEM,
        e.EAGAIN,
        e.EINTR,
        e.EBADF,
        e.ETIMEDOUT,
    ),
    "recv_into": (e.ECONNRESET, e.ETIMEDOUT, e.ENOMEM, e.EAGAIN, e.EINTR, e.EBADF, e.ENOTCONN),
    "getsockopt": (e.EBADF, e.ENOBUFS, e.ENOMEM),
    "setsockopt": (e.EBADF, e.ENOMEM, e.EINVAL),
    "getaddrinfo": (socket.EAI_AGAIN, socket.EAI_FAIL, socket.EAI_NONAME, socket.EAI_MEMORY),
    "thread": (e.EAGAIN,),
}
POINTS = ("first batch", "later", "flush", "end")
BUDGET_S = 0.5
SLACK_S = 0.5


class Faults:
    """Stands in the way of one call after the other; only what a case names fails."""

    def __init__(self) -> None:
        self.call: str | None = None
        self.errno = 0
        self.hits = 0
        for name in ("connect", "send", "sendall", "recv_into", "getsockopt", "setsockopt"):
            setattr(socket.socket, name, self._failing(name, getattr(socket.socket, name)))
        socket.socket.__init__ = self._failing("socket", socket.socket.__init__)
        socket.getaddrinfo = self._failing("getaddrinfo", socket.getaddrinfo)
        threading.Thread.start = self._failing("thread", threading.Thread.start)

    def _failing(self, name, real):
        def call(*arguments, **options):
            if self.call == name:
                self.hits += 1
                if name == "thread":
                    raise RuntimeError("can't start new thread")
                kind = socket.gaierror if name == "getaddrinfo" else OSError
                raise kind(self.errno, "injected")
            return real(*arguments, **options)

        return call

    @contextlib.contextmanager
    def injected(self, call, errno):
        self.call, self.errno, self.hits = call, errno, 0
        try:
            yield
        finally:
            self.call = None


def lawful(stats) -> bool:
    lost = sum(stats.dropped.values())
    whole = stats.finished == stats.sent + stats.queued + stats.in_flight + lost
    positive = min(stats.open, stats.queued, stats.in_flight, stats.sent) >= 0
    return whole and positive and stats.started == stats.open + stats.finished


def end_spans(tracing, count=30) -> None:
    for number in range(count):
        tracing.tracer("t").start_span(str(number)).end()


def looked(tracing, for_s) -> None:
    until = time.monotonic() + for_s
    while time.monotonic() < until:
        assert lawful(tracing.stats()), tracing.stats()
        time.sleep(0.005)


def case(faults, environ, call, errno, point) -> tuple[int, str]:
    """Live one life; return how often the fault was met, and what became of the spans."""
    tracing = tracekit.init(
        "injected", environ=environ, set_global=False, flush_s=0.02, exit_budget_s=BUDGET_S
    )
    if point != "first batch":
        end_spans(tracing)
        assert tracing.flush(5), tracing.stats()
    with faults.injected(call, errno):
        end_spans(tracing)
        if point == "flush":
            began = time.monotonic()
            tracing.flush(0.1)
            assert time.monotonic() - began < 0.1 + SLACK_S
        if point == "end":
            began = time.monotonic()
            tracing.shutdown(BUDGET_S)
            assert time.monotonic() - began < BUDGET_S + SLACK_S
        else:
            looked(tracing, 0.08)
        hits = faults.hits
    if point != "end":
        end_spans(tracing)
        assert tracing.flush(10), (tracing.stats(), "not sent, although all is well again")
        began = time.monotonic()
        tracing.shutdown(BUDGET_S)
        assert time.monotonic() - began < BUDGET_S + SLACK_S
    until = time.monotonic() + 2
    while (stats := tracing.stats()).in_flight and time.monotonic() < until:
        time.sleep(0.01)
    assert lawful(stats), stats
    assert stats.finished == stats.sent + sum(stats.dropped.values()), stats
    return hits, "lost" if sum(stats.dropped.values()) else "sent"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--wire", choices=("udp", "http", "otlp"))
    chosen = parser.parse_args().wire
    logging.getLogger("tracekit").setLevel(logging.CRITICAL)
    with subprocess.Popen(
        [sys.executable, "-c", RECEIVER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as receiver:
        environs = dict(
            zip(("udp", "http", "otlp"), json.loads(receiver.stdout.readline()), strict=True)
        )
        faults, bad = Faults(), 0
        for wire, environ in environs.items():
            if chosen in (None, wire):
                bad += run(faults, wire, environ)
        receiver.stdin.close()
    return 1 if bad else 0


def run(faults, wire, environ) -> int:
    outcomes: Counter[str] = Counter()
    bad = 0
    if wire != "udp":  # by name, so that there is something to look up
        environ = {name: value.replace("127.0.0.1", "localhost") for name, value in environ.items()}
    for call, errnos in CALLS.items():
        for errno in errnos:
            for point in POINTS:
                outcomes["cases"] += 1
                try:
                    hits, became = case(faults, environ, call, errno, point)
                except AssertionError as wrong:
                    bad += 1
                    print(f"WRONG {wire} {call} {errno} {point}: {wrong}", flush=True)
                else:
                    outcomes["met the fault"] += hits > 0
                    outcomes[became] += 1
    print(wire, dict(outcomes), f"{bad} wrong", flush=True)
    return bad


if __name__ == "__main__":
    sys.exit(main())
