"""HTTP to a collector that answers well, badly, slowly, or not at all."""

from __future__ import annotations

import base64
import contextlib
import gzip
import socket
import ssl
import threading
import time
from email.utils import formatdate

import pytest
import trustme
from accounting import law
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider

from tracekit._protocols import Frame, Outcome, Payload
from tracekit.encoding import jaeger_binary
from tracekit.reporting import Reporter
from tracekit.reporting._worker import start_worker
from tracekit.transport._http import HttpTransport, Tls, _seconds

SOON = 20.0
OK = b"HTTP/1.1 202 Accepted\r\nContent-Length: 0\r\n\r\n"


def answer(status, body=b"", **headers):
    lines = [f"HTTP/1.1 {status} X", f"Content-Length: {len(body)}"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return "\r\n".join([*lines, "", ""]).encode() + body


class Collector:
    """A server on loopback that answers each request by the next of ``moods``, the last for ever.

    A mood is the bytes of an answer, or a function of the connection.
    """

    def __init__(self, *moods, tls=None):
        self.moods = list(moods)
        self.requests = []
        self.connections = 0
        self._tls = tls
        self._closing = threading.Event()
        self._server = socket.create_server(("127.0.0.1", 0))
        self._server.settimeout(0.05)
        self.port = self._server.getsockname()[1]
        self._threads = [threading.Thread(target=self._accept)]
        self._threads[0].start()

    def __enter__(self):
        return self

    def __exit__(self, *_details):
        self._closing.set()
        for thread in self._threads:
            thread.join(SOON)
        self._server.close()

    def _accept(self):
        while not self._closing.is_set():
            with contextlib.suppress(TimeoutError):
                connection, _ = self._server.accept()
                self.connections += 1
                thread = threading.Thread(target=self._serve, args=(connection,))
                self._threads.append(thread)
                thread.start()

    def _serve(self, connection):
        connection.settimeout(SOON)
        with contextlib.suppress(OSError, EOFError):
            if self._tls is not None:
                connection = self._tls.wrap_socket(connection, server_side=True)
            with connection:
                connection.settimeout(0.05)
                while not self._closing.is_set():
                    self._one(connection)

    def _one(self, connection):
        head = b""
        while b"\r\n\r\n" not in head:
            if self._closing.is_set():
                raise EOFError
            with contextlib.suppress(TimeoutError):
                head += self._read(connection)
        head, _, body = head.partition(b"\r\n\r\n")
        lines = head.decode("latin-1").split("\r\n")
        headers = {name.lower(): value for name, _, value in (x.partition(": ") for x in lines[1:])}
        while len(body) < int(headers["content-length"]):
            with contextlib.suppress(TimeoutError):
                body += self._read(connection)
        self.requests.append((lines[0], headers, body))
        mood = self.moods.pop(0) if len(self.moods) > 1 else self.moods[0]
        if callable(mood):
            mood(connection, self._closing)
        else:
            connection.sendall(mood)

    @staticmethod
    def _read(connection):
        data = connection.recv(65_536)
        if not data:
            raise EOFError
        return data


def reset(connection, _closing):
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    connection.close()


def trickle(connection, closing):
    for byte in b"HTTP/1.1 202 Accepted\r\nX: " + b"y" * 10_000:
        if closing.wait(0.02):
            return
        connection.sendall(bytes((byte,)))


def never(_connection, closing):
    closing.wait(SOON)


def payload(body=b"batch", spans=1):
    return Payload(body, [Frame(b"")] * spans)


@contextlib.contextmanager
def posting(collector, scheme="http", path="/api/traces", **options):
    url = f"{scheme}://127.0.0.1:{collector.port}{path}"
    transport = HttpTransport(url, **{"timeout_s": SOON, **options})
    try:
        yield transport
    finally:
        transport.close()


def send(transport, body=b"batch", timeout_s=SOON):
    return transport.send(payload(body), time.monotonic() + timeout_s)


def test_a_batch_is_posted():
    """Requests carry body, media type and headers; the connection is used again."""
    token = base64.b64encode(b"user:pass").decode()
    with (
        Collector(OK) as collector,
        posting(collector, headers={"Authorization": f"Basic {token}"}) as transport,
    ):
        for body in (b"first", b"second"):
            assert send(transport, body).ok
    (line, headers, body), second = collector.requests
    assert line == "POST /api/traces HTTP/1.1"
    assert headers["content-type"] == "application/vnd.apache.thrift.binary"
    assert headers["authorization"] == f"Basic {token}"
    assert (body, second[2], collector.connections) == (b"first", b"second", 1)


def test_gzip_by_choice():
    """With ``gzipped`` the body is compressed and says so."""
    with Collector(OK) as collector, posting(collector, gzipped=True) as transport:
        assert send(transport, b"x" * 1000).ok
    ((_, headers, body),) = collector.requests
    assert headers["content-encoding"] == "gzip"
    assert gzip.decompress(body) == b"x" * 1000


def hang_up_on_gzip(connection, _closing):
    connection.sendall(answer(400, b"Unknown data type 31", Connection="close"))
    raise EOFError


@pytest.mark.parametrize(
    "refusal",
    [answer(400, b"Unknown data type 31"), answer(415), hang_up_on_gzip],
    ids=["400", "415", "hangs up"],
)
def test_a_collector_may_lack_gzip(refusal, caplog):
    """Jaeger's Thrift endpoint before version 2: sent at once as it is, with one warning."""
    with Collector(refusal, OK) as collector, posting(collector, gzipped=True) as transport:
        for body in (b"first", b"second", b"third"):
            assert send(transport, body).ok
    compressed = [("content-encoding" in headers) for _, headers, _ in collector.requests]
    assert compressed == [True, False, False, False]
    assert [body for _, _, body in collector.requests[1:]] == [b"first", b"second", b"third"]
    assert [r.levelname for r in caplog.records if "gzip" in r.getMessage()] == ["WARNING"]


def test_a_bad_payload_ends_no_compression(caplog):
    """What is refused in both forms is final, and the next payload is compressed again."""
    moods = (answer(400, b"bad batch"), answer(400, b"worse batch"), OK)
    with Collector(*moods) as collector, posting(collector, gzipped=True) as transport:
        refused = send(transport)
        assert send(transport).ok
    assert refused.outcome is Outcome.FAILED
    assert "worse batch" in refused.reason
    encodings = [headers.get("content-encoding") for _, headers, _ in collector.requests]
    assert encodings == ["gzip", None, "gzip"]
    assert not caplog.records


def test_a_second_trys_fault_ends_none():
    """It says nothing of compression: tried again as at first, in doubt if it may be there."""
    with (
        Collector(answer(400), reset, OK) as collector,
        posting(collector, gzipped=True) as transport,
    ):
        result = send(transport)
        assert result.outcome is Outcome.RETRY
        assert list(result.doubt)
        assert send(transport).ok
    assert "content-encoding" in collector.requests[-1][1]


def test_absent_is_told_from_silent():
    """Only where no connection came about does it cost nobody anything to try again soon."""
    with Collector(reset) as collector, posting(collector) as transport:
        assert not send(transport).unreached
    assert send(transport).unreached  # nobody listens any more
    with Collector(answer(503)) as collector, posting(collector) as transport:
        assert not send(transport).unreached
    with Collector(OK) as collector, posting(collector, "https") as transport:
        # It is there, speaks no TLS, and waits for the rest of what it takes for a request.
        assert not send(transport, timeout_s=1.0).unreached
    with contextlib.closing(HttpTransport("http://nowhere.invalid/", timeout_s=SOON)) as transport:
        assert send(transport).unreached


@pytest.mark.parametrize(
    ("mood", "outcome"),
    [
        (answer(200), Outcome.SENT),
        (answer(408), Outcome.RETRY),
        (answer(429), Outcome.RETRY),
        (answer(500), Outcome.RETRY),
        (answer(503), Outcome.RETRY),
        (answer(413), Outcome.TOO_LARGE),
        (answer(301, Location="http://192.0.2.1/"), Outcome.FAILED),
        (answer(400, b"bad\r\nbatch"), Outcome.FAILED),
        (answer(401), Outcome.FAILED),
        (answer(501), Outcome.FAILED),
        (b"SSH-2.0 hello\r\n\r\n", Outcome.RETRY),
        (reset, Outcome.RETRY),
    ],
    ids=["200", "408", "429", "500", "503", "413", "301", "400", "401", "501", "ssh", "reset"],
)
def test_what_each_answer_means(mood, outcome):
    """2xx is sent, overload and faults are retried, 413 asks to split, the rest is final."""
    with Collector(mood) as collector, posting(collector) as transport:
        result = send(transport)
    assert result.outcome is outcome
    assert "\n" not in result.reason


def test_a_lost_answer_is_in_doubt():
    """A reset after the request may mean that it arrived: the retry is a possible twin."""
    with Collector(reset) as collector, posting(collector) as transport:
        assert [each.body for each in send(transport).doubt] == [b"batch"]
    assert list(send(transport).doubt) == []  # nobody listens any more: surely not arrived


@pytest.mark.parametrize("mood", [trickle, never])
def test_one_deadline_bounds_a_request(mood):
    """A collector that trickles or never answers holds a send no longer than its deadline."""
    with Collector(mood) as collector, posting(collector) as transport:
        began = time.monotonic()
        assert send(transport, timeout_s=0.3).outcome is Outcome.RETRY
        assert time.monotonic() - began < SOON / 2


def test_a_stale_connection_is_replaced():
    """A keep-alive connection that went stale costs no failed request and no doubt."""

    def answer_and_close(connection, _closing):
        connection.sendall(OK)
        connection.shutdown(socket.SHUT_RDWR)
        raise EOFError

    with Collector(answer_and_close) as collector, posting(collector) as transport:
        for _ in range(3):
            assert send(transport).ok
            time.sleep(0.02)
    assert len(collector.requests) == 3


@pytest.mark.parametrize(
    ("value", "seconds"),
    [("7", 7.0), ("0.5", 0.5), ("-3", 0.0), ("1e9", 60.0), ("soon", None), ("nan", None)],
)
def test_retry_after_in_seconds(value, seconds):
    """Seconds are honoured within reason; what cannot be read leaves it to the back-off."""
    assert _seconds(value) == seconds


def test_retry_after_as_a_date():
    """An HTTP date says the same as the seconds until then."""
    assert 20.0 < _seconds(formatdate(time.time() + 30, usegmt=True)) <= 30.0


def test_a_url_without_http_is_refused():
    """A wrong URL is the caller's error, and the message does not repeat the password."""
    with pytest.raises(ValueError, match="not the URL") as caught:
        HttpTransport("ftp://user:secret@collector/")
    assert "secret" not in str(caught.value)


@pytest.fixture(scope="module")
def certificate(tmp_path_factory):
    """Make an authority, and a certificate for 127.0.0.1 that is used on both ends."""
    folder = tmp_path_factory.mktemp("tls")
    authority = trustme.CA()
    issued = authority.issue_cert("127.0.0.1")
    authority.cert_pem.write_to_path(folder / "ca.pem")
    issued.private_key_and_cert_chain_pem.write_to_path(folder / "both.pem")
    return folder


def test_tls_has_authority_and_client_cert(certificate):
    """The collector is verified against the CA file, and verifies us by our certificate."""
    ca, both = str(certificate / "ca.pem"), str(certificate / "both.pem")
    server = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=ca)
    server.verify_mode = ssl.CERT_REQUIRED
    server.load_cert_chain(both)
    with Collector(OK, tls=server) as collector:
        with posting(collector, "https", tls=Tls(ca_file=ca, cert_file=both)) as transport:
            assert send(transport, b"x" * 300_000).ok
            assert send(transport).ok
        with posting(collector, "https") as transport:
            result = send(transport)
            assert result.outcome is Outcome.RETRY
            assert "certificate" in result.reason
    assert len(collector.requests) == 2


def test_tls_is_bounded_by_the_deadline_too(certificate):
    """A collector that trickles over TLS does not hold a send beyond its deadline."""
    server = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    server.load_cert_chain(certificate / "both.pem")
    tls = Tls(ca_file=str(certificate / "ca.pem"))
    with (
        Collector(trickle, tls=server) as collector,
        posting(collector, "https", tls=tls) as transport,
    ):
        began = time.monotonic()
        assert send(transport, timeout_s=0.5).outcome is Outcome.RETRY
        assert time.monotonic() - began < SOON / 2


@pytest.mark.parametrize(
    "mood",
    [answer(503), answer(429, Retry_After="0.05"), reset, never],
    ids=["503", "429", "reset", "never"],
)
def test_the_law_is_kept_through_faults(mood):
    """Spans wait while a collector fails, and are sent within a back-off step of its recovery."""
    with Collector(mood) as collector:
        reporter = Reporter(
            jaeger_binary(),
            lambda: HttpTransport(f"http://127.0.0.1:{collector.port}/", timeout_s=0.1),
            spawn=start_worker,
            wait=time.sleep,
            flush_s=0.01,
            queue_size=200,
            max_batch_spans=20,
        )
        provider = TracerProvider(shutdown_on_exit=False, resource=Resource({"service.name": "s"}))
        provider.add_span_processor(reporter)
        tracer = provider.get_tracer("t")
        for _ in range(400):
            tracer.start_span("span").end()
        assert not reporter.flush(0.3)
        stats = reporter.stats()
        assert law(stats).finished == 400
        lost = stats.dropped["queue_full"]
        assert stats.queued + stats.in_flight <= 200 + 2 * 20 + 1
        collector.moods[:] = [OK]
        assert reporter.flush(SOON)
        stats = reporter.stats()
        assert (stats.sent, sum(stats.dropped.values())) == (400 - lost, lost)
        reporter.shutdown(1.0)
