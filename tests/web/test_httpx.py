"""The httpx edge: the answers, errors and requests of a bare client, and a span each."""

from __future__ import annotations

import asyncio
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import httpx
import pytest
from opentelemetry import context as otel

import tracekit.httpx


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        self.server.seen.append(self.headers)
        status, body = 200, b"x" * 10_000
        if self.path.startswith("/moved"):
            status, body = 302, b""
        elif self.path == "/broken":
            self.send_response(200)
            self.send_header("Content-Length", "5")
            self.end_headers()
            self.wfile.write(b"ab")
            self.close_connection = True
            return
        elif self.path == "/missing":
            status = 404
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        if status == 302:
            self.send_header("Location", "/there")
        self.end_headers()
        self.wfile.write(body)

    def do_POST(self):
        self.rfile.read(int(self.headers["Content-Length"]))
        self.do_GET()

    def log_message(self, *_):
        pass


@pytest.fixture
def server():
    made = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    made.seen = []
    made.daemon_threads = True
    made.url = f"http://127.0.0.1:{made.server_port}"
    thread = threading.Thread(target=made.serve_forever, args=(0.01,))
    thread.start()
    yield made
    made.shutdown()
    thread.join()
    made.server_close()


@pytest.fixture(params=["sync", "async"])
def ask(request):
    """Return how to send with a client of either flavour; all of them end up the same."""

    def sync(url, method="GET", transport=None, **options):
        with httpx.Client(transport=transport, trust_env=False) as client:
            return client.request(method, url, **options)

    async def asynchronous(url, method="GET", transport=None, **options):
        async with httpx.AsyncClient(transport=transport, trust_env=False) as client:
            return await client.request(method, url, **options)

    def run(*args, **options):
        return asyncio.run(asynchronous(*args, **options))

    sync.pieces, run.pieces = pieces, async_pieces
    return sync if request.param == "sync" else run


@pytest.fixture
def traced(tracing):
    undo = tracekit.httpx.instrument(tracing=tracing)
    yield tracing
    undo()


def outcome(ask, *args, **options):
    try:
        response = ask(*args, **options)
    except Exception as error:
        return type(error), str(error), dict(error.request.headers)
    return response.status_code, response.content, dict(response.request.headers)


@pytest.mark.parametrize("path", ["/", "/missing", "/broken", "/moved"])
def test_the_program_sees_what_it_saw_before(server, ask, tracing, path):
    """Status, body, error and the caller's request are the bare client's."""
    options = {"follow_redirects": True, "headers": {"X-Own": "1"}}
    bare = outcome(ask, server.url + path, **options)
    undo = tracekit.httpx.instrument(tracing=tracing)
    try:
        assert outcome(ask, server.url + path, **options) == bare
    finally:
        undo()
    assert len(tracing.sink.spans) == 1 + (path == "/moved")


def test_each_redirect_is_a_span(server, ask, traced):
    """What reaches the server names the span of that very exchange; tokens are not exported."""
    with traced.tracer("t").start_as_current_span("outer") as outer:
        ask(f"{server.url}/moved?token=secret", follow_redirects=True)
    *clients, _ = traced.sink.spans
    assert [span.attributes["http.response.status_code"] for span in clients] == [302, 200]
    assert [span.parent.span_id for span in clients] == [outer.get_span_context().span_id] * 2
    sent = [int(headers["uber-trace-id"].split(":")[1], 16) for headers in server.seen]
    assert sent == [span.context.span_id for span in clients]
    assert clients[0].attributes["url.full"].endswith("/moved?token=REDACTED")
    assert clients[0].attributes["network.protocol.version"] == "1.1"


def test_an_error_is_told_on_the_span(server, ask, traced):
    """Of the transport, and of an answer that says so."""
    with pytest.raises(httpx.ConnectError):
        ask("http://127.0.0.1:9/")
    with pytest.raises(httpx.RemoteProtocolError):
        ask(server.url + "/broken")
    ask(server.url + "/missing")
    told = [span.attributes["error.type"] for span in traced.sink.spans]
    assert told == ["httpx.ConnectError", "httpx.RemoteProtocolError", "404"]


def test_closing_a_stream_ends_its_span(server, traced):
    """Not before: the answer's first line is not its end."""
    with (
        httpx.Client(trust_env=False) as client,
        client.stream("GET", server.url) as response,
    ):
        next(response.iter_raw(10))
        assert traced.sink.spans == []
    assert len(traced.sink.spans) == 1


def test_a_custom_transport_is_traced(ask, traced):
    """A mock reads the request's body: the caller's request has it as well, and no header more."""
    taken = []

    def answer(request):
        taken.append(request)
        return httpx.Response(200, json=len(request.content))

    response = ask(
        "http://stock/", "POST", transport=httpx.MockTransport(answer), content=ask.pieces()
    )
    assert response.json() == len(b"abc")
    assert response.request.content == b"abc"
    assert "uber-trace-id" in taken[0].headers
    assert "uber-trace-id" not in response.request.headers
    assert len(traced.sink.spans) == 1


def pieces():
    yield b"abc"


async def async_pieces():
    yield b"abc"


def test_application_headers_obey_hosts(ask, tracing):
    """The rule is the one of ``tracekit.requests``."""
    taken = []

    def answer(request):
        taken.append(dict(request.headers))
        return httpx.Response(200)

    undo = tracekit.httpx.instrument(tracing=tracing, allow=["end-user"], hosts="*.local")
    try:
        context = tracing.propagator.extract({"end-user": "ada", "x-request-id": "r-1"})
        token = otel.attach(context)
        for host in ("http://a.local/", "http://example.org/"):
            ask(host, transport=httpx.MockTransport(answer))
        otel.detach(token)
    finally:
        undo()
    inside, outside = taken
    assert (inside["end-user"], inside["x-request-id"]) == ("ada", "r-1")
    assert not {"end-user", "x-request-id", "uber-trace-id"} & outside.keys()


def test_one_client_is_traced_and_undone(tracing):
    """Twice is once; what is no client is refused at once."""
    transport = httpx.MockTransport(lambda _: httpx.Response(204))
    before = vars(httpx.Client).copy()
    with httpx.Client(transport=transport) as client, httpx.Client(transport=transport) as other:
        held = vars(client).copy()
        undo = tracekit.httpx.instrument(client, tracing=tracing)
        tracekit.httpx.instrument(client, tracing=tracing)()
        client.get("http://stock/")
        other.get("http://stock/")
        assert len(tracing.sink.spans) == 1
        undo()
        undo()
        assert vars(client) == held
    assert vars(httpx.Client) == before
    for wrong in (3, httpx.Client, object()):
        with pytest.raises(TypeError, match="client of httpx"):
            tracekit.httpx.instrument(wrong, tracing=tracing)
