"""Each call that the pipeline makes fails, with each errno of its manual, at each point of a life.

Deterministic: every case is run, in order, on a real receiver in another process. After each, every
span is in one figure, the law held at every look, spans arrive again once the calls work again, and
the end took no longer than its budget. A fork and the lack of descriptors fail by the kernel's own
limits, so they reach gRPC's core as well; what it says of other failures are its status codes.
``python tests/soak/injected.py [--wire udp|http|otlp|otlp-grpc|otlp-grpc-tls]``
"""

from __future__ import annotations

import argparse
import builtins
import contextlib
import errno as e
import io
import json
import logging
import os
import resource
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from pathlib import Path

import grpc
import trustme

sys.path.insert(0, str(Path(__file__).parents[1] / "support"))

from accounting import lawful

import tracekit

SUPPORT = sys.path[0]
RECEIVER = """
import json, sys, tracekit.testing as t
sys.path.insert(0, sys.argv[1])
from faults import wire
from otlp_grpc import collecting
key, certificate, authority = sys.argv[2:]
with (
    t.FakeAgent() as agent,
    t.FakeCollector() as collector,
    collecting() as port,
    collecting(tls=(open(key, "rb").read(), open(certificate, "rb").read())) as secure,
):
    plain, safe = wire("otlp-grpc", port), wire("otlp-grpc", secure)
    safe["OTEL_EXPORTER_OTLP_ENDPOINT"] = f"https://localhost:{secure}"
    safe["OTEL_EXPORTER_OTLP_CERTIFICATE"] = authority
    environs = [agent.environ, collector.environ, collector.otlp_environ, plain, safe]
    print(json.dumps(environs), flush=True)
    sys.stdin.read()
"""
WIRES = "udp", "http", "otlp", "otlp-grpc", "otlp-grpc-tls"
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
    "open": (
        *(e.EACCES, e.EMFILE, e.ENFILE, e.ENOENT, e.ENOMEM, e.EINTR, e.EIO, e.EISDIR, e.ELOOP),
        *(e.ENAMETOOLONG, e.ENOTDIR, e.ENXIO, e.EPERM),
    ),
    "fork": (0, e.EAGAIN),  # 0: it succeeds
    "descriptor": (e.EMFILE,),
}
GRPC_CALLS = {
    "rpc": tuple(code for code in grpc.StatusCode if code is not grpc.StatusCode.OK),
    "channel": (e.EMFILE, e.ENOMEM),
    "fork": (0,),  # gRPC ends a process itself in which it can start no thread after a fork
}
NOBODY = 65534
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
        builtins.open = io.open = self._failing("open", io.open)
        for name in ("insecure_channel", "secure_channel"):
            setattr(grpc, name, self._failing("channel", self._faulty(getattr(grpc, name))))
        if os.getuid() == 0:
            os.setresuid(NOBODY, 0, 0)  # the limit of processes is none for root

    def _faulty(self, make):
        """Return a maker of channels whose calls fail with the status of a case."""

        class Faulty:
            def __init__(self, *arguments):
                self.close = (channel := make(*arguments)).close
                self._channel = channel

            def unary_stream(self, method):
                real = self._channel.unary_stream(method)
                return lambda *told, **more: (
                    Fails(faults) if faults.call == "rpc" else real(*told, **more)
                )

        faults = self
        return Faulty

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
        limit = {"fork": no_processes, "descriptor": no_descriptors}.get(call)
        try:
            with limit() if limit and errno else contextlib.nullcontext():
                if call == "fork":
                    self.hits = forked(errno)
                if call == "descriptor":
                    self.hits = 1
                yield
        finally:
            self.call = None


class Fails(grpc.RpcError):
    """A call of gRPC that fails with the status of a case, as it is told of it."""

    def __init__(self, faults) -> None:
        faults.hits += 1
        self.code = lambda: faults_code
        faults_code = faults.errno

    def __next__(self):
        raise self

    def cancel(self):
        """Do nothing."""

    def details(self):
        """Return what a server might say."""
        return "injected"

    def trailing_metadata(self):
        """Return nothing."""
        return ()


@contextlib.contextmanager
def limited(what, number):
    soft, hard = resource.getrlimit(what)
    resource.setrlimit(what, (number, hard))
    try:
        yield
    finally:
        resource.setrlimit(what, (soft, hard))


@contextlib.contextmanager
def no_processes():
    """Have the kernel refuse every process and thread."""
    with limited(resource.RLIMIT_NPROC, 1):
        if root := os.geteuid() == 0:
            os.seteuid(NOBODY)
        try:
            yield
        finally:
            if root:
                os.seteuid(0)


def no_descriptors():
    """Have the kernel refuse every descriptor."""
    with socket.socketpair()[0] as first:
        lowest = first.fileno()
    return limited(resource.RLIMIT_NOFILE, lowest)


living: list[tracekit.Tracing] = []
"""The handle of the case that is lived."""


def forked(errno) -> int:
    """Fork in the midst of it all; a child sends its own, and both go on. 1, if it failed."""
    try:
        pid = os.fork()
    except OSError as error:
        if error.errno != errno:
            raise
        return 1
    if pid == 0:
        code = 1
        try:
            signal.alarm(30)
            end_spans(living[0], 5)
            living[0].flush(20)
            stats = living[0].stats()
            code = not (lawful(stats) and stats.sent == stats.started == 5)
        finally:
            os.kill(os.getpid(), signal.SIGKILL if code else signal.SIGTERM)
    assert os.waitpid(pid, 0)[1] == signal.SIGTERM, "a child did not send its spans"
    assert not errno, "no limit of processes here"
    return 1


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
    living[:] = [tracing]
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


@contextlib.contextmanager
def certificates():
    """Make a key, a certificate for ``localhost`` and its authority's; yield their files."""
    with tempfile.TemporaryDirectory() as folder:
        authority = trustme.CA()
        issued = authority.issue_cert("localhost")
        files = [str(Path(folder) / name) for name in ("key.pem", "cert.pem", "ca.pem")]
        blobs = issued.private_key_pem, issued.cert_chain_pems[0], authority.cert_pem
        for blob, file in zip(blobs, files, strict=True):
            blob.write_to_path(file)
        yield files


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--wire", choices=WIRES)
    chosen = parser.parse_args().wire
    logging.getLogger("tracekit").setLevel(logging.CRITICAL)
    with (
        certificates() as files,
        subprocess.Popen(
            [sys.executable, "-c", RECEIVER, SUPPORT, *files],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        ) as receiver,
    ):
        environs = dict(zip(WIRES, json.loads(receiver.stdout.readline()), strict=True))
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
    calls = CALLS | GRPC_CALLS if wire.startswith("otlp-grpc") else CALLS
    for call, errnos in calls.items():
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
