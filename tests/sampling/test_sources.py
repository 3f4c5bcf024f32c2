"""HTTP and gRPC as strategies come over them: real servers on loopback, good and bad ones."""

from __future__ import annotations

import contextlib
import socket
import ssl
import subprocess
import threading
import time
from urllib.parse import urlsplit

import pytest
from opentelemetry import context as otel_context
from opentelemetry.context import _SUPPRESS_INSTRUMENTATION_KEY
from waiting import eventually

from tracekit.errors import StrategyError, TracekitError
from tracekit.local import SamplingServer
from tracekit.sampling import AdaptiveStrategy, RemoteSampler, Strategy
from tracekit.sampling._fetch import GrpcSource, source_for
from tracekit.sampling._http import HttpSource
from tracekit.sampling._poller import Poller

STRATEGIES = [
    Strategy("probabilistic", 0.25),
    Strategy("ratelimiting", 7.0),
    AdaptiveStrategy(0.5, 0.125, {"GET /": 0.0, "": 1.0, "größe": 0.75}),
]


@pytest.fixture(scope="module")
def server():
    with SamplingServer(with_grpc=True) as running:
        yield running


@contextlib.contextmanager
def raw_server(talk, tls=None):
    """Serve every connection with ``talk(socket, request)`` in threads of their own."""
    listener = socket.create_server(("127.0.0.1", 0))

    def serve(peer):
        with contextlib.suppress(OSError), peer:
            sock = tls.wrap_socket(peer, server_side=True) if tls else peer
            with sock:
                talk(sock, sock.recv(65_536))

    def accept():
        with contextlib.suppress(OSError):
            while True:
                peer, _ = listener.accept()
                threading.Thread(target=serve, args=(peer,), daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    try:
        yield f"http{'s' if tls else ''}://127.0.0.1:{listener.getsockname()[1]}/sampling"
    finally:
        with contextlib.suppress(OSError):
            listener.shutdown(socket.SHUT_RDWR)
        listener.close()


def http(url, **arguments):
    return HttpSource(urlsplit(url), "service", **arguments)


@pytest.mark.parametrize("strategy", STRATEGIES, ids=lambda each: type(each).__name__)
@pytest.mark.parametrize("kind", ["endpoint", "grpc_endpoint"])
def test_both_protocols_bring_strategies(server, kind, strategy):
    """JSON over HTTP and protobuf over gRPC mean the same."""
    server.serve(strategy)
    source = source_for(getattr(server, kind), "a service & more")
    assert source.parse(source.fetch()) == strategy
    assert server.asked[-1] == "a service & more"


def test_the_question_is_no_part_of_a_trace():
    """``b3: 0`` keeps the mesh from tracing it; there is no body, no other trace header."""
    requests = []

    def talk(sock, request):
        requests.append(request)
        sock.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}")

    with raw_server(talk) as url:
        http(url.replace("//", "//user:p%40ss@") + "?tenant=a").fetch()
    head = requests[0].decode()
    assert head.startswith("GET /sampling?tenant=a&service=service HTTP/1.1\r\n")
    assert "\r\nb3: 0\r\n" in head
    assert "\r\nAuthorization: Basic dXNlcjpwQHNz\r\n" in head


def test_each_address_of_a_name_is_asked(monkeypatch):
    """A name's first address refuses, the second answers: the strategy arrives at once."""

    def talk(sock, _request):
        sock.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}")

    with raw_server(talk) as url:
        port = urlsplit(url).port
        monkeypatch.setattr(
            socket,
            "getaddrinfo",
            lambda *_given, **_options: [
                (socket.AF_INET, socket.SOCK_STREAM, 6, "", (host, port))
                for host in ("127.0.0.9", "127.0.0.1")
            ],
        )
        source = http(url.replace("127.0.0.1", "agent.example"))
        assert source.fetch() == b"{}"
    with pytest.raises(OSError, match="refused"):
        source.fetch()


def test_the_poller_is_not_instrumented():
    """An instrumented HTTP library makes no span of our own question."""
    seen = []

    class Source:
        name = "memory"

        def fetch(self):
            seen.append(otel_context.get_value(_SUPPRESS_INSTRUMENTATION_KEY))
            return b""

        def parse(self, answer):
            return Strategy("probabilistic", 1.0)

        def abort(self):
            pass

    sampler = RemoteSampler()
    Poller(sampler, Source(), interval_s=0.01).wake()
    eventually(lambda: seen)
    sampler.close()
    assert seen[0] is True


@pytest.mark.parametrize("status", ["301 Moved", "404 Not Found", "500 Oops"])
def test_an_answer_must_say_success(status):
    """Anything but 2xx is a failed fetch, and its body is not read."""

    def talk(sock, request):
        sock.sendall(f"HTTP/1.1 {status}\r\nContent-Length: 2\r\n\r\n{{}}".encode())

    with raw_server(talk) as url, pytest.raises(StrategyError, match=status[:3]):
        http(url).fetch()


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"\x00\x00\x06\x04\x00\x00\x00\x00\x00",
        b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{}",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 99999999999\r\n\r\n{" + b" " * (5 << 20),
        b"HTTP/1.1 200 OK\r\n\r\n" + b"[" * (5 << 20),
        b"HTTP/1.1 200 OK\r\n" + b"x: y\r\n" * 1000 + b"\r\n",
        b"HTTP/1.1 200 OK\r\nx: " + b"y" * 100_000 + b"\r\n\r\n",
    ],
    ids=["nothing", "http2", "cut", "chunk", "huge", "endless", "many headers", "long header"],
)
def test_nonsense_costs_a_counter(answer):
    """No answer, however broken or large, raises out of a poll or changes the strategy."""

    def talk(sock, request):
        sock.sendall(answer)

    with raw_server(talk) as url:
        sampler = RemoteSampler()
        assert not Poller(sampler, http(url)).poll()
    state = sampler.state()
    assert state["queries_err"] + state["updates_err"] == 1
    assert state["strategy"] == {"type": "probabilistic", "param": 0.001}


@pytest.mark.parametrize("before", [b"", b"HTTP/1.1 200 OK\r\n", b"HTTP/1.1 200 OK\r\n\r\n"])
def test_a_dripping_server_is_left(before):
    """The time limit is for the whole answer, not for each byte of it."""
    stop = threading.Event()

    def talk(sock, request):
        sock.sendall(before)
        while not stop.wait(0.02):
            sock.sendall(b"x")

    with raw_server(talk) as url:
        start = time.monotonic()
        with pytest.raises(TimeoutError):
            http(url, timeout_s=0.3).fetch()
        assert time.monotonic() - start < 5.0
        stop.set()


@pytest.mark.parametrize("before", [b"", b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n"])
def test_closing_cuts_an_http_fetch_short(before):
    """A server that hangs does not keep the thread alive."""
    asked = threading.Event()
    stop = threading.Event()

    def talk(sock, request):
        sock.sendall(before)
        asked.set()
        stop.wait(60)

    with raw_server(talk) as url:
        sampler = RemoteSampler()
        Poller(sampler, http(url), interval_s=0.05).wake()
        assert asked.wait(10)
        (thread,) = [each for each in threading.enumerate() if each.name == "tracekit-sampling"]
        sampler.close()
        thread.join(5)
        assert not thread.is_alive()
        stop.set()


def test_closing_cuts_a_grpc_fetch_short():
    """A server that accepts and says nothing does not keep the thread alive."""
    asked = threading.Event()
    stop = threading.Event()

    def talk(sock, request):
        asked.set()
        stop.wait(60)

    with raw_server(talk) as url:
        sampler = RemoteSampler()
        endpoint = url.replace("http", "grpc").removesuffix("/sampling")
        Poller(sampler, source_for(endpoint, "service"), interval_s=0.05).wake()
        assert asked.wait(10)
        (thread,) = [each for each in threading.enumerate() if each.name == "tracekit-sampling"]
        sampler.close()
        thread.join(5)
        assert not thread.is_alive()
        stop.set()


def test_a_hanging_grpc_server_is_left():
    """The status is named, for the log."""
    stop = threading.Event()

    def talk(sock, request):
        stop.wait(60)

    with raw_server(talk) as url:
        source = GrpcSource(urlsplit(url), "service", timeout_s=0.3)
        with pytest.raises(TracekitError, match=r"DEADLINE_EXCEEDED|UNAVAILABLE"):
            source.fetch()
        stop.set()


def test_https_checks_the_certificate(tmp_path, monkeypatch):
    """A certificate that nobody vouches for is refused; one that the system trusts is taken."""
    key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
    command = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2"
    subject = "-subj /CN=localhost -addext subjectAltName=IP:127.0.0.1"
    made = subprocess.run(
        [*command.split(), *subject.split(), "-keyout", str(key), "-out", str(certificate)],
        capture_output=True,
        check=False,
        timeout=60,
    )
    if made.returncode:
        pytest.skip("no openssl command")
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(certificate, key)

    def talk(sock, request):
        sock.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}")

    with raw_server(talk, tls) as url:
        with pytest.raises(ssl.SSLError):
            http(url).fetch()
        monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
        assert http(url).fetch() == b"{}"
