"""requests against a real server: the untraced session decides what is right."""

from __future__ import annotations

import gc
import pickle
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from unittest.mock import MagicMock

import pytest
import requests
import urllib3
from collector import no_collector
from opentelemetry import baggage, trace
from opentelemetry import context as otel_context
from opentelemetry.trace import SpanKind, StatusCode
from requests.adapters import BaseAdapter, HTTPAdapter
from requests.auth import HTTPDigestAuth
from urllib3.util import Retry

import tracekit.requests
import tracekit.testing


class Handler(BaseHTTPRequestHandler):
    """Answers by path, and remembers what headers came."""

    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        """Say nothing."""

    def do_GET(self):
        self.server.came.append((self.path, self.headers))
        path, _, query = self.path.partition("?")
        getattr(self, "get_" + path.strip("/").split("/")[0], self.get_fine)(query)

    do_POST = do_HEAD = do_GET  # noqa: N815 (the base class looks for these)

    def answer(self, status=200, body=b"body", **headers):
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def get_fine(self, query):
        self.answer()

    def get_missing(self, query):
        self.answer(404)

    def get_redirect(self, query):
        left = int(query or 0)
        self.answer(302, Location=f"/redirect?{left - 1}" if left > 1 else "/fine")

    def get_away(self, query):
        self.answer(302, Location=f"http://localhost:{self.server.server_port}/fine")

    def get_flaky(self, query):
        tries = sum(path.startswith("/flaky") for path, _ in self.server.came)
        self.answer(503 if tries < 3 else 200)

    def get_digest(self, query):
        if "Authorization" in self.headers:
            self.answer()
        else:
            challenge = 'Digest realm="r", nonce="n", qop="auth"'
            self.answer(401, WWW_Authenticate=challenge)

    def get_chunks(self, query):
        self.send_response(200)
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        for _ in range(3):
            self.wfile.write(b"4\r\nbody\r\n")
        if not query:
            self.wfile.write(b"0\r\n\r\n")
        self.close_connection = bool(query)

    def get_silent(self, query):
        self.server.done.wait(5)
        self.close_connection = True


class Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.came = []
        self.done = threading.Event()
        self.url = f"http://127.0.0.1:{self.server_port}"

    def handle_error(self, *_):
        """Clients of these tests leave when they like."""


@pytest.fixture
def server():
    with Server() as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield server
        server.done.set()
        server.shutdown()
        thread.join()


@pytest.fixture
def session(tracing):
    with requests.Session() as session:
        undo = tracekit.requests.instrument(session, tracing=tracing)
        yield session
        undo()


def outcome(session, method, url, **options):
    """Return what a caller can see of a request."""
    auth = HTTPDigestAuth("u", "p") if "digest" in url else None  # it remembers: a new one a time
    try:
        response = session.request(method, url, auth=auth, **options)
        assert isinstance(response.content, bytes)
    except Exception as error:
        return type(error), None if error.response is None else error.response.status_code
    return (
        response.status_code,
        response.content,
        [(each.status_code, each.url) for each in response.history],
        response.url,
        {name: value for name, value in response.headers.items() if name != "Date"},
    )


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    ("method", "path", "options"),
    [
        ("GET", "/fine", {}),
        ("HEAD", "/fine", {}),
        ("POST", "/fine", {"data": b"x"}),
        ("GET", "/missing", {}),
        ("GET", "/redirect?3", {}),
        ("GET", "/redirect?3", {"allow_redirects": False}),
        ("GET", "/digest", {}),
        ("GET", "/chunks", {}),
        ("GET", "/chunks?broken", {}),
        ("GET", "/silent", {"timeout": 0.1}),
    ],
)
def test_a_caller_sees_no_difference(server, session, tracing, method, path, options, stream):
    """Results, history, errors and timeouts are those of the plain session."""
    with requests.Session() as bare:
        expected = outcome(bare, method, server.url + path, stream=stream, **options)
    assert outcome(session, method, server.url + path, stream=stream, **options) == expected
    gc.collect()
    assert tracing.sink.open == 0
    assert tracing.sink.spans


def test_the_span_of_a_request(server, session, tracing):
    """Name, kind, attributes and parent; secrets of the URL are not among them."""
    authority = f"127.0.0.1:{server.server_port}"
    with tracing.tracer("test").start_as_current_span("caller"):
        session.get(f"http://bob:pw@{authority}/fine?a=1&token=abc")
        assert trace.get_current_span().name == "caller"
    span, caller = tracing.sink.take_many(2)
    assert (span.name, span.kind) == ("GET", SpanKind.CLIENT)
    assert span.parent.span_id == caller.context.span_id
    assert dict(span.attributes) == {
        "http.request.method": "GET",
        "url.full": f"http://REDACTED:REDACTED@{authority}/fine?a=1&token=REDACTED",
        "server.address": "127.0.0.1",
        "server.port": server.server_port,
        "http.response.status_code": 200,
        "network.protocol.version": "1.1",
    }


def test_each_hop_is_a_span_of_its_own(server, session, tracing):
    """Redirects are siblings under the caller, and each server hop gets its own ids."""
    with tracing.tracer("test").start_as_current_span("caller"):
        session.get(server.url + "/redirect?2")
    *hops, caller = tracing.sink.take_many(4)
    assert [hop.attributes["http.response.status_code"] for hop in hops] == [302, 302, 200]
    assert {hop.parent.span_id for hop in hops} == {caller.context.span_id}
    sent = [int(headers["uber-trace-id"].split(":")[1], 16) for _, headers in server.came]
    assert sent == [hop.context.span_id for hop in hops]


def test_a_digests_second_request_is_traced(server, session, tracing):
    """The authentication's own request has its own span and its own ids."""
    assert session.get(server.url + "/digest", auth=HTTPDigestAuth("u", "p")).status_code == 200
    spans = tracing.sink.take_many(2)
    sent = [int(headers["uber-trace-id"].split(":")[1], 16) for _, headers in server.came]
    assert sent == [span.context.span_id for span in spans]


def test_retries_are_counted_in_one_span(server, session, tracing):
    """What urllib3 repeats by itself is one request to its caller."""
    session.mount("http://", HTTPAdapter(max_retries=Retry(3, status_forcelist=[503])))
    assert session.get(server.url + "/flaky").status_code == 200
    assert tracing.sink.take().attributes["http.request.resend_count"] == 2
    tracing.sink.assert_empty()


@pytest.mark.parametrize(
    ("path", "error", "kind"),
    [
        ("/missing", None, "404"),
        ("/silent", requests.ReadTimeout, "requests.exceptions.ReadTimeout"),
    ],
)
def test_failures_are_errors(server, session, tracing, path, error, kind):
    """4xx and 5xx and exceptions make the client span an error; one event for an exception."""
    if error is None:
        session.get(server.url + path)
    else:
        with pytest.raises(error):
            session.get(server.url + path, timeout=0.1)
    span = tracing.sink.take()
    assert span.attributes["error.type"] == kind
    assert span.status.status_code is StatusCode.ERROR
    assert len(span.events) == (error is not None)


def test_a_body_that_breaks_off_is_an_error(server, session, tracing):
    """The status came, the body did not: the span ends with what broke it."""
    with pytest.raises(requests.exceptions.ChunkedEncodingError):
        session.get(server.url + "/chunks?broken")
    span = tracing.sink.take()
    assert span.attributes["error.type"] == "urllib3.exceptions.ProtocolError"
    assert span.attributes["http.response.status_code"] == 200


@pytest.mark.parametrize("where", ["around", "between"])
@pytest.mark.parametrize("path", ["/fine", "/missing", "/chunks?broken"])
def test_anothers_error_is_not_the_requests(server, session, tracing, path, where):
    """A fallback is asked for, and read, while the failure of something else is being handled."""

    def elsewhere():
        urllib3.PoolManager(retries=False).request("GET", "http://127.0.0.1:1/down")

    def read(response):
        try:
            return response.content
        except requests.exceptions.ChunkedEncodingError as error:
            return error

    if where == "between":
        response = session.get(server.url + path, stream=True)
    try:
        elsewhere()
    except urllib3.exceptions.HTTPError:
        if where == "around":
            response = session.get(server.url + path, stream=True)
        read(response)
    span = tracing.sink.take()
    wanted = {"/fine": None, "/missing": "404"}.get(path, "urllib3.exceptions.ProtocolError")
    assert span.attributes.get("error.type") == wanted
    events = [event.attributes["exception.type"] for event in span.events]
    assert events == ([wanted] if wanted == "urllib3.exceptions.ProtocolError" else [])


@pytest.mark.parametrize("path", ["/fine", "/missing"])
@pytest.mark.parametrize("kind", [requests.HTTPError, ZeroDivisionError, KeyboardInterrupt])
def test_a_hook_that_raises_ends_the_span(server, session, tracing, path, kind):
    """Whoever keeps the exception keeps the response, but the exchange is over with the call."""

    def hook(response, **_):
        raise kind(response)

    with pytest.raises(kind) as kept:
        session.get(server.url + path, hooks={"response": hook}, stream=True)
    assert tracing.stats().open == 0
    span = tracing.sink.take()
    assert span.attributes["http.response.status_code"] == (404 if path == "/missing" else 200)
    # What a hook thinks of an answer is no failure of the exchange.
    assert span.attributes.get("error.type") == ("404" if path == "/missing" else None)
    assert not span.events
    assert kept.value.args[0].content == b"body"  # it can still be read


def test_redirects_given_up_end_every_span(server, session, tracing):
    """An error in the middle of a chain leaves no span open, whoever keeps it."""
    session.max_redirects = 2
    with pytest.raises(requests.TooManyRedirects) as kept:
        session.get(server.url + "/redirect?9")
    assert kept.value.response.status_code == 302
    assert tracing.stats().open == 0
    assert len(tracing.sink.take_many(3)) == 3


def test_a_body_may_outlive_its_response(server, session, tracing):
    """Who keeps only the raw body reads it under an open span, whose end is that of the body."""
    raw = session.get(server.url + "/fine", stream=True).raw
    gc.collect()
    assert tracing.stats().open == 1
    assert raw.read() == b"body"
    assert tracing.stats().open == 0


def test_a_session_inside_a_send_is_its_own(server, tracing):
    """A session that fetches a token with one that nobody traces, before it sends."""
    plain = requests.Session()

    class Authorized(requests.Session):
        def send(self, request, **kwargs):
            request.headers["token"] = str(plain.get(server.url + "/fine?token").status_code)
            return super().send(request, **kwargs)

    with Authorized() as session:
        undo = tracekit.requests.instrument(session, tracing=tracing)
        assert session.get(server.url + "/fine").status_code == 200
        undo()
    (_, first), (_, second) = server.came
    assert "uber-trace-id" not in first
    assert "uber-trace-id" in second
    tracing.sink.take()
    tracing.sink.assert_empty()


def test_errors_do_not_quote_secrets(session, tracing):
    """What urllib3 says of an unreachable host is exported without the URL's token."""
    with pytest.raises(requests.ConnectionError):
        session.get("http://127.0.0.1:9/x?token=s3cret")
    span = tracing.sink.take()
    (event,) = span.events
    assert "url: /x?token=REDACTED" in event.attributes["exception.message"]
    assert "s3cret" not in repr((span.attributes, event.attributes, span.status.description))


def read_all(response):
    assert response.content


def read_lines(response):
    assert list(response.iter_lines())


def read_raw(response):
    assert response.raw.read()


def close(response):
    response.close()


@pytest.mark.parametrize("finish", [read_all, read_lines, read_raw, close])
@pytest.mark.parametrize("path", ["/fine", "/chunks"])
def test_a_streamed_body_ends_the_span(server, session, tracing, path, finish):
    """With stream=True the span lives until the body is read, in any way, or closed."""
    response = session.get(server.url + path, stream=True)
    assert tracing.sink.open == 1
    finish(response)
    tracing.sink.take()
    assert response.connection.send  # still usable
    response.close()
    tracing.sink.assert_empty()


def test_a_dropped_response_ends_the_span(server, session, tracing):
    """Nobody read or closed it: without waiting for the cycle collector."""
    with no_collector():
        session.get(server.url + "/fine", stream=True)
        tracing.sink.take(timeout_s=0)


def test_headers_follow_the_one_rule(server, session, tracing):
    """Own formats replace the caller's in any case; what was captured fills gaps only."""
    arrived = [("x-request-id", "arrived"), ("x-ot-span-context", "arrived"), ("end-user", "bob")]
    token = otel_context.attach(tracing.propagator.extract_pairs(arrived))
    try:
        request = requests.Request(
            "GET",
            server.url + "/fine",
            headers={"UBER-TRACE-ID": "1:1:0:1", "X-Request-Id": "mine", "X-Other": "kept"},
        )
        prepared = session.prepare_request(request)
        before = dict(prepared.headers)
        response = session.send(prepared)
    finally:
        otel_context.detach(token)
    ((_, headers),) = server.came
    span = tracing.sink.take()
    assert headers.get_all("uber-trace-id") == [response.request.headers["uber-trace-id"]]
    assert int(headers["uber-trace-id"].split(":")[1], 16) == span.context.span_id
    assert headers.get_all("x-request-id") == ["mine"]
    assert headers["x-ot-span-context"] == "arrived"
    assert headers["x-other"] == "kept"
    assert "end-user" not in headers
    assert dict(prepared.headers) == before


@pytest.mark.parametrize(
    ("hosts", "trace_goes", "rest_goes"),
    [
        (None, True, False),
        (["127.0.0.*"], True, True),
        (["*.svc.cluster.local"], False, False),
        (lambda host: host == "127.0.0.1", True, True),
    ],
)
def test_headers_go_only_where_they_may(server, tracing, hosts, trace_goes, rest_goes):
    """Trace headers go everywhere unless hosts are named; the rest only to named hosts."""
    with requests.Session() as session:
        undo = tracekit.requests.instrument(
            session, tracing=tracing, allow=["End-User"], hosts=hosts
        )
        session.get(server.url + "/fine")  # from now on the header is captured
        context = tracing.propagator.extract_pairs([("end-user", "bob")])
        token = otel_context.attach(baggage.set_baggage("key", "value", context))
        session.get(server.url + "/fine")
        otel_context.detach(token)
        undo()
    _, headers = server.came[-1]
    assert ("uber-trace-id" in headers) is trace_goes
    assert ("uberctx-key" in headers) is rest_goes
    assert ("end-user" in headers) is rest_goes


def test_a_redirect_takes_no_secret_along(server, tracing):
    """What was put on for one host is judged anew for the next."""
    with requests.Session() as session:
        undo = tracekit.requests.instrument(
            session, tracing=tracing, allow=["end-user"], hosts=["127.0.0.1"]
        )
        session.get(server.url + "/fine")
        token = otel_context.attach(tracing.propagator.extract_pairs([("end-user", "bob")]))
        session.get(server.url + "/away")
        otel_context.detach(token)
        undo()
    (_, first), (_, second) = server.came[-2:]
    assert first["end-user"] == "bob"
    assert "end-user" not in second
    assert "uber-trace-id" not in second


def test_sessions_are_traced_once_and_undone(server, tracing):
    """The class and one of its sessions at a time make one span; the undo leaves no trace."""
    send, get_adapter = requests.Session.send, requests.Session.get_adapter
    undo = tracekit.requests.instrument(tracing=tracing)
    again = tracekit.requests.instrument(tracing=tracing)
    with requests.Session() as session:
        mine = tracekit.requests.instrument(session, tracing=tracing)
        session.get(server.url + "/fine")
        tracing.sink.take()
        tracing.sink.assert_empty()
        again()
        mine()
        session.get(server.url + "/fine")
        tracing.sink.take()
        undo()
        session.get(server.url + "/fine")
        tracing.sink.assert_empty()
        assert not {"send", "get_adapter"} & vars(session).keys()
    assert (requests.Session.send, requests.Session.get_adapter) == (send, get_adapter)


def test_an_undo_spares_what_was_put_over_it(server, tracing, monkeypatch):
    """Somebody else's patch over ours stays in force, and ours is silent below it."""
    monkeypatch.setattr(requests.Session, "send", requests.Session.send)
    undo = tracekit.requests.instrument(tracing=tracing)
    ours = requests.Session.send

    def theirs(*args, **kwargs):
        return ours(*args, **kwargs)

    monkeypatch.setattr(requests.Session, "send", theirs)
    undo()
    assert requests.Session.send is theirs
    assert requests.get(server.url + "/fine", timeout=5).status_code == 200
    tracing.sink.assert_empty()


def test_the_session_is_what_it_was(server, session):
    """Adapters, their type, pickles and hooks are the session's own."""
    adapter = session.get_adapter(server.url)
    assert type(adapter) is HTTPAdapter
    copied = pickle.loads(pickle.dumps(session))
    assert copied.get(server.url + "/fine").content == b"body"
    seen = []
    response = session.get(server.url + "/fine", hooks={"response": lambda r, **_: seen.append(r)})
    assert seen == [response]
    response.request.hooks.clear()
    assert pickle.loads(pickle.dumps(response)).content == b"body"
    assert response.elapsed.total_seconds() > 0


class Canned(BaseAdapter):
    """An adapter of somebody's own, without sockets."""

    def send(self, request, **kwargs):
        response = requests.Response()
        response.status_code, response.request, response.url = 200, request, request.url
        response._content = b"canned"
        return response

    def close(self):
        """Hold nothing."""


def test_the_mounted_adapter_stays_visible(server, tracing):
    """A hook, a subclass and the response see, compare and change the mounted adapter."""
    told = []

    class Tuned(requests.Session):
        def get_adapter(self, url):
            adapter = super().get_adapter(url)
            assert isinstance(adapter, HTTPAdapter)
            told.append((adapter, repr(adapter), hash(adapter)))
            adapter.max_retries, adapter.asked = Retry(3), True
            del adapter.asked
            return adapter

    def hook(response, **_):
        told.append((response.connection, repr(response.connection), hash(response.connection)))
        assert isinstance(response.connection, HTTPAdapter)

    with Tuned() as session:
        undo = tracekit.requests.instrument(session, tracing=tracing)
        response = session.get(server.url + "/fine", hooks={"response": hook})
        undo()
        adapter = session.adapters["http://"]
        assert response.connection is adapter
        assert told == [(adapter, repr(adapter), hash(adapter))] * 2
        assert adapter.max_retries.total == 3
        assert not hasattr(adapter, "asked")
    assert tracing.sink.take().attributes["http.response.status_code"] == 200


class Odd(BaseAdapter):
    """An adapter that answers with whatever it was given."""

    def __init__(self, answer):
        super().__init__()
        self.answer = answer

    def send(self, *_args, **_kwargs):
        return self.answer

    def close(self):
        """Hold nothing."""


@pytest.mark.parametrize(
    "answer", [None, (), "text", MagicMock()], ids=lambda answer: type(answer).__name__
)
def test_an_odd_answer_goes_on_as_it_is(answer, session, tracing, caplog):
    """What an adapter or a mock hands back goes on as it is, and fails as it would without us."""

    def error(asking):
        asking.mount("odd://", Odd(answer))
        with pytest.raises((AttributeError, TypeError)) as raised:
            asking.get("odd://h/x")
        return repr(raised.value)

    assert error(session) == error(requests.Session())
    gc.collect()
    assert tracing.sink.take().name == "GET"
    assert len(caplog.records) <= 1


def test_an_uncopyable_request_is_sent_bare(server, session, tracing, caplog):
    """It goes out without headers of ours, and leaves no span open."""

    class Unique(requests.PreparedRequest):
        def __copy__(self):
            raise TypeError("there is but one")

    request = Unique()
    request.prepare("GET", server.url + "/fine", headers={})
    assert session.send(request).request is request
    assert "uber-trace-id" not in server.came[0][1]
    assert "it is sent untraced" in caplog.text
    assert tracing.sink.take().name == "GET"
    assert tracing.stats().open == 0


def test_an_overridden_send_returns_anything(tracing):
    """A subclass whose ``send`` answers with a dictionary goes on doing so."""

    class Decoding(requests.Session):
        def send(self, request, **kwargs):
            response = super().send(request, **kwargs)
            return {"status": response.status_code}

    with Decoding() as session:
        session.mount("canned://", Canned())
        undo = tracekit.requests.instrument(session, tracing=tracing)
        assert session.get("canned://h/x", allow_redirects=False) == {"status": 200}
        undo()
    assert tracing.sink.take().attributes["http.response.status_code"] == 200


def test_other_adapters_are_traced(session, tracing):
    """A mounted adapter gets the headers, its response keeps its shape, the span ends."""
    session.mount("canned://", Canned())
    response = session.get("canned://h/x")
    assert response.content == b"canned"
    assert "uber-trace-id" in response.request.headers
    assert tracing.sink.take().attributes["http.response.status_code"] == 200


def test_suppressed_requests_are_left_alone(server, session, tracing):
    """An exporter that says so is not traced: spans would make spans."""
    token = otel_context.attach(otel_context.set_value("suppress_instrumentation", True))
    session.get(server.url + "/fine")
    otel_context.detach(token)
    assert "uber-trace-id" not in server.came[0][1]
    tracing.sink.assert_empty()


def test_a_disabled_handle_passes_context_on(server):
    """Without spans the headers of the request being served still go on."""
    tracing = tracekit.testing.tracing(disabled=True)
    arrived = [("uber-trace-id", "abc:12:0:1"), ("x-request-id", "r-1")]
    with requests.Session() as session:
        undo = tracekit.requests.instrument(session, tracing=tracing)
        token = otel_context.attach(tracing.propagator.extract_pairs(arrived))
        session.get(server.url + "/fine")
        otel_context.detach(token)
        undo()
    headers = server.came[0][1]
    assert int(headers["uber-trace-id"].split(":")[1], 16) == 0x12
    assert headers["x-request-id"] == "r-1"
