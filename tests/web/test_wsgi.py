"""The WSGI middleware: invisible to server and application first, spans second."""

from __future__ import annotations

import gc
import io
import sys
import wsgiref.validate
from wsgiref.util import setup_testing_defaults

import pytest
from opentelemetry import baggage, trace
from opentelemetry.trace import StatusCode

import tracekit.testing
import tracekit.wsgi
from tracekit._calls.http_server import Server


class Served:
    """What a server saw of one request, in order."""

    def __init__(self, app, *, take=None, close=True, **environ):
        self.seen = []
        self.error = None
        self.environ = {"SCRIPT_NAME": "", "PATH_INFO": "/", **environ}
        setup_testing_defaults(self.environ)
        try:
            result = app(self.environ, self.start_response)
            self.seen.append(("length", len(result) if hasattr(result, "__len__") else None))
            self._send(result, take, close)
        except BaseException as error:
            self.error = error

    def start_response(self, status, headers, exc_info=None):
        self.seen.append(("start", status, headers, exc_info and exc_info[0]))
        return lambda data: self.seen.append(("write", data))

    def _send(self, result, take, close):
        try:
            for at, chunk in enumerate(result):
                self.seen.append(("chunk", chunk))
                if at + 1 == take:
                    break
        finally:
            if close and hasattr(result, "close"):
                result.close()

    def __eq__(self, other):
        return (self.seen, repr(self.error)) == (other.seen, repr(other.error))

    __hash__ = None


OK = ("200 OK", [("Content-Type", "text/plain")])


def plain(environ, start_response):
    start_response(*OK)
    return [b"one"]


def pieces(environ, start_response):
    start_response(*OK)
    return (b"a", b"b", b"c")


def lazy(environ, start_response):
    def body():
        start_response(*OK)
        yield b"a"
        yield b"b"

    return body()


def writing(environ, start_response):
    write = start_response(*OK)
    write(b"first")
    return [b"second"]


def empty(environ, start_response):
    start_response("204 No Content", [])
    return ()


def restarting(environ, start_response):
    start_response(*OK)
    try:
        int("late")
    except ValueError:
        start_response("500 Oops", [], sys.exc_info())
    return [b"sorry"]


def raising(environ, start_response):
    raise LookupError("early")


def breaking(environ, start_response):
    start_response(*OK)

    def body():
        yield b"a"
        raise RuntimeError("midway")

    return body()


def leaving(environ, start_response):
    raise SystemExit(3)


class Closing:
    """An iterable that tells when it is closed, and may fail at that."""

    def __init__(self, log, error=None):
        self.log, self.error = log, error

    def __iter__(self):
        return iter([b"x", b"y"])

    def close(self):
        self.log.append("closed")
        if self.error is not None:
            raise self.error


def closing(environ, start_response):
    start_response(*OK)
    return Closing([])


def closing_badly(environ, start_response):
    start_response(*OK)
    return Closing([], OSError("no"))


def nothing(environ, start_response):
    start_response(*OK)


def upgraded(environ, start_response):
    raise StopIteration  # how flask-sock leaves a websocket under gunicorn


class Mute(Exception):  # noqa: N818 (it cannot even say that)
    def __str__(self):
        raise RuntimeError("nothing to say")

    __repr__ = object.__repr__


def muttering(environ, start_response):
    raise Mute


APPS = [
    upgraded,
    plain,
    pieces,
    lazy,
    writing,
    empty,
    restarting,
    raising,
    breaking,
    leaving,
    closing,
    closing_badly,
    nothing,
]


@pytest.mark.parametrize("sampler", [0, 1])
@pytest.mark.parametrize("take", [None, 1])
@pytest.mark.parametrize("app", APPS, ids=lambda app: app.__name__)
def test_a_server_sees_no_difference(app, take, sampler):
    """Status, headers, pieces, written data, length, errors and their order are the bare app's."""
    tracing = tracekit.testing.tracing(sampler_param=sampler)
    traced = tracekit.wsgi.middleware(app, tracing)
    assert Served(traced, take=take) == Served(app, take=take)
    assert len(tracing.sink.take_many(sampler)) == sampler
    tracing.sink.assert_empty()


@pytest.mark.parametrize("result", [[b"one"], (b"a", b"b"), [], b"bytes"], ids=repr)
def test_a_sized_body_can_be_iterated_again(tracing, result):
    """While it takes the first piece, gevent's server measures all; uWSGI takes bare bytes."""

    def app(environ, start_response):
        start_response(*OK)
        return result

    def measuring(body):
        return [(piece, [len(again) for again in body]) for piece in body]

    environ = {}
    setup_testing_defaults(environ)
    body = tracekit.wsgi.middleware(app, tracing)(environ, lambda *_: None)
    if isinstance(result, bytes):
        assert body is result
    else:
        assert measuring(body) == measuring(result)
        assert len(body) == len(result)
    span = tracing.sink.take()
    assert span.attributes["http.response.status_code"] == 200
    assert "response.aborted" not in span.attributes
    tracing.sink.assert_empty()


def test_a_body_shows_the_applications_own(tracing):
    """Django's response is its own body: its status is still there for whoever looks."""

    class Response(Closing):
        status_code = 201

    def app(environ, start_response):
        start_response(*OK)
        return Response([])

    environ = {}
    setup_testing_defaults(environ)
    body = tracekit.wsgi.middleware(app, tracing)(environ, lambda *_: None)
    assert body.status_code == 201
    assert not hasattr(body, "headers")
    assert not hasattr(body, "__len__")
    body.close()
    assert tracing.sink.take().attributes["response.aborted"] is True


def test_the_middleware_obeys_the_protocol(tracing):
    """The standard library's validator has nothing to say about either side of it."""
    inner = wsgiref.validate.validator(pieces)
    outer = wsgiref.validate.validator(tracekit.wsgi.middleware(inner, tracing))
    served = Served(outer, QUERY_STRING="")
    assert served.error is None
    assert [item[1] for item in served.seen if item[0] == "chunk"] == [b"a", b"b", b"c"]


@pytest.mark.parametrize(
    ("app", "status", "error", "events"),
    [
        (plain, 200, None, []),
        (empty, 204, None, []),
        (restarting, 500, "ValueError", ["exception"]),
        (raising, None, "LookupError", ["exception"]),
        (breaking, 200, "RuntimeError", ["exception"]),
        (leaving, None, "SystemExit", ["exception"]),
    ],
    ids=lambda value: getattr(value, "__name__", None),
)
def test_a_span_says_how_the_request_ended(tracing, app, status, error, events):
    """Status as sent, error type and one exception event for what broke."""
    Served(tracekit.wsgi.middleware(app, tracing))
    span = tracing.sink.take()
    assert span.attributes.get("http.response.status_code") == status
    assert span.attributes.get("error.type") == error
    assert [event.name for event in span.events] == events
    assert span.status.status_code is (StatusCode.ERROR if error else StatusCode.UNSET)


@pytest.mark.parametrize("status", ["404 Not Found", "503 Busy"])
def test_only_server_errors_are_errors(tracing, status):
    """A client's mistake leaves the status unset; a 5xx is an error without an event."""

    def app(environ, start_response):
        start_response(status, [])
        return []

    Served(tracekit.wsgi.middleware(app, tracing))
    span = tracing.sink.take()
    broken = status.startswith("5")
    assert span.status.status_code is (StatusCode.ERROR if broken else StatusCode.UNSET)
    assert span.attributes.get("error.type") == ("503" if broken else None)
    assert not span.events


def test_a_websocket_that_ends_is_no_error(tracing):
    """Leaving by StopIteration, without a status, is the way out of an upgraded connection."""
    Served(tracekit.wsgi.middleware(upgraded, tracing))
    assert tracing.sink.take().status.status_code is StatusCode.UNSET


def test_an_unprintable_exception_goes_on(tracing):
    """The server gets the exception itself; the span still ends as an error."""
    assert type(Served(tracekit.wsgi.middleware(muttering, tracing)).error) is Mute
    assert tracing.sink.take().attributes["error.type"].endswith("Mute")


def test_a_client_that_leaves_is_no_error(tracing):
    """A body that the server closes early is marked as aborted and ends its span once."""
    Served(tracekit.wsgi.middleware(lazy, tracing), take=1)
    span = tracing.sink.take()
    assert span.attributes["response.aborted"] is True
    assert span.status.status_code is StatusCode.UNSET
    tracing.sink.assert_empty()


def test_a_head_response_is_not_aborted(tracing):
    """A server may close the body of a HEAD response unread."""
    Served(tracekit.wsgi.middleware(pieces, tracing), take=1, REQUEST_METHOD="HEAD")
    assert "response.aborted" not in tracing.sink.take().attributes


def test_an_unclosed_body_ends_its_span(tracing):
    """A server that drops the iterable does not leave a span open."""
    Served(tracekit.wsgi.middleware(lazy, tracing), take=1, close=False)
    gc.collect()
    assert tracing.sink.take().attributes["response.aborted"] is True


def sized(environ, start_response):
    start_response("200 OK", [("content-length", "3")])
    yield b"a"
    yield b"bc"


@pytest.mark.parametrize("close", [True, False])
def test_a_body_of_full_length_is_complete(tracing, close):
    """A reader that knows the length may stop there: nobody has left, and the span has ended."""
    served = Served(tracekit.wsgi.middleware(sized, tracing), take=2, close=close)
    assert [seen for seen in served.seen if seen[0] == "chunk"] == [
        ("chunk", b"a"),
        ("chunk", b"bc"),
    ]
    assert "response.aborted" not in tracing.sink.take().attributes
    tracing.sink.assert_empty()


def test_a_short_body_is_aborted(tracing):
    """A client that left before the last byte is told from one that has all."""
    Served(tracekit.wsgi.middleware(sized, tracing), take=1)
    assert tracing.sink.take().attributes["response.aborted"] is True


@pytest.mark.parametrize("length", ["", "x", "-1", "²", "9" * 5000])
def test_a_malformed_length_is_ignored(tracing, length):
    """The span then ends with the iterable, and the header goes on as it is."""

    def app(environ, start_response):
        start_response("200 OK", [("Content-Length", length)])
        return [b"a", b"b"]

    served = Served(tracekit.wsgi.middleware(app, tracing))
    assert served == Served(app)
    assert tracing.sink.take().attributes["http.response.status_code"] == 200


@pytest.mark.parametrize(
    "headers", [None, [None], [("a",)], [(None, "x")], [("Content-Length", 3)]]
)
def test_bad_headers_reach_the_server(tracing, headers):
    """They reach the server as they are."""

    def app(environ, start_response):
        start_response("200 OK", headers)
        return [b"abc"]

    assert Served(tracekit.wsgi.middleware(app, tracing)) == Served(app)


def test_every_step_runs_under_the_span(tracing):
    """Application, each piece and close see the server span; the server's thread does not."""
    seen = []

    def app(environ, start_response):
        seen.append(trace.get_current_span())
        start_response(*OK)

        class Body:
            def __iter__(self):
                seen.append(trace.get_current_span())
                yield b"a"
                seen.append(trace.get_current_span())

            def close(self):
                seen.append(trace.get_current_span())

        return Body()

    environ = {}
    setup_testing_defaults(environ)
    result = tracekit.wsgi.middleware(app, tracing)(environ, lambda *_: None)
    between = [trace.get_current_span()]
    between.extend(trace.get_current_span() for _ in result)
    result.close()
    between.append(trace.get_current_span())
    assert len(seen) == 4
    assert {span.get_span_context().span_id for span in seen} == {
        tracing.sink.take().context.span_id
    }
    assert set(between) == {trace.INVALID_SPAN}


def test_a_span_held_over_a_yield_stays(tracing):
    """A generator's own ``with`` over its yields keeps its children, as it would without us."""

    def app(environ, start_response):
        start_response(*OK)
        tracer = tracing.tracer("app")
        with tracer.start_as_current_span("render"):
            yield b"a"
            with tracer.start_as_current_span("part"):
                yield b"b"

    Served(tracekit.wsgi.middleware(app, tracing))
    part, render, server = tracing.sink.take_many(3)
    assert (part.name, render.name, server.name) == ("part", "render", "GET")
    assert part.parent.span_id == render.context.span_id
    assert render.parent.span_id == server.context.span_id


def test_a_request_joins_its_callers_trace(tracing):
    """Ids and baggage come from the headers; what a thread still holds is no parent."""
    seen = {}

    def app(environ, start_response):
        seen.update(baggage.get_all())
        return plain(environ, start_response)

    with tracing.tracer("test").start_as_current_span("left over"):
        Served(
            tracekit.wsgi.middleware(app, tracing),
            HTTP_UBER_TRACE_ID="abc:12:0:1",
            HTTP_UBERCTX_USER="bob",
        )
        Served(tracekit.wsgi.middleware(app, tracing))
    joined, root = tracing.sink.take_many(2)
    assert (joined.context.trace_id, joined.parent.span_id) == (0xABC, 0x12)
    assert seen == {"user": "bob"}
    assert root.parent is None


@pytest.mark.parametrize(
    ("path", "query", "traced"),
    [
        ("/health", "", False),
        ("/healthz", "", False),
        ("/health/db", "", True),
        ("/healthy", "", True),
        ("/search", "next=/health", True),
    ],
)
def test_exclusion_means_whole_paths(tracing, path, query, traced):
    """Neither a prefix nor a query hides a request."""
    Served(tracekit.wsgi.middleware(plain, tracing), PATH_INFO=path, QUERY_STRING=query)
    assert len(tracing.sink.spans) == traced


def test_no_trace_starts_under_a_probe(tracing):
    """Spans made while serving a probe are not sampled; body included."""

    def app(environ, start_response):
        start_response(*OK)
        with tracing.tracer("app").start_as_current_span("check"):
            yield b"ok"

    Served(tracekit.wsgi.middleware(app, tracing, exclude="/alive"), PATH_INFO="/alive")
    tracing.sink.assert_empty()


def test_two_middlewares_make_one_span(tracing):
    """The outer one traces; a second request over the same environ is a new one."""
    app = tracekit.wsgi.middleware(tracekit.wsgi.middleware(plain, tracing), tracing)
    served = Served(app)
    assert app(served.environ, served.start_response)
    gc.collect()
    assert len(tracing.sink.take_many(2)) == 2
    tracing.sink.assert_empty()


class SendFile:
    """What gunicorn and waitress put into ``wsgi.file_wrapper``, more or less."""

    def __init__(self, filelike, blksize=8192):
        self.filelike = filelike
        self.close = filelike.close


def test_a_file_wrapper_stays_visible(tracing):
    """The server gets its own object back; closing it closes the file and ends the span."""
    file = io.BytesIO(b"content")

    def app(environ, start_response):
        start_response(*OK)
        return environ["wsgi.file_wrapper"](file)

    environ = {"wsgi.file_wrapper": SendFile}
    setup_testing_defaults(environ)
    environ["PATH_INFO"] = "/file"
    result = tracekit.wsgi.middleware(app, tracing)(environ, lambda *_: None)
    assert type(result) is SendFile
    assert tracing.sink.open == 1
    result.close()
    assert file.closed
    assert "response.aborted" not in tracing.sink.take().attributes


def test_an_unmarkable_file_ends_its_span(tracing, tmp_path):
    """Where the server hands the file itself back (uWSGI) it is kept; the span does not hang."""
    path = tmp_path / "file"
    path.write_bytes(b"content")
    with path.open("rb", buffering=0) as file:
        result = tracekit.wsgi.middleware(
            lambda environ, start_response: start_response(*OK) or file, tracing
        )(
            {"wsgi.file_wrapper": lambda f: f, "REQUEST_METHOD": "GET", "PATH_INFO": "/f"},
            lambda *_: None,
        )
        assert result is file
    tracing.sink.take()


def test_responses_can_name_their_trace(tracing):
    """By option the client is told the trace; the application's own list is not touched."""
    own = [("Content-Type", "text/plain")]

    def app(environ, start_response):
        start_response("200 OK", own)
        return []

    served = Served(tracekit.wsgi.middleware(app, tracing, response_headers=True))
    context = tracing.sink.take().context
    value = f"00-{context.trace_id:032x}-{context.span_id:016x}-01"
    assert served.seen[0][2] == [
        *own,
        ("traceresponse", value),
        ("Server-Timing", f'traceparent;desc="{value}"'),
        ("Access-Control-Expose-Headers", "traceresponse, Server-Timing"),
    ]
    assert own == [("Content-Type", "text/plain")]


def test_broken_tracing_breaks_no_request(tracing):
    """An edge whose handle fails serves the request untraced."""

    def handle():
        raise RuntimeError("no handle")

    server = Server(handle, "x", (), False, None)
    app = tracekit.wsgi.Middleware(plain, server)
    assert Served(app) == Served(plain)


def test_a_wrong_handle_is_refused_at_once():
    """``tracing=`` of the wrong type is a TypeError where it is written."""
    with pytest.raises(TypeError, match="tracing="):
        tracekit.wsgi.middleware(plain, object())


def test_a_disabled_handle_passes_context_on():
    """Without spans the caller's trace and mesh headers reach the outgoing side."""
    tracing = tracekit.testing.tracing(disabled=True)
    seen = {}

    def app(environ, start_response):
        seen.update(tracing.propagator.outgoing().own)
        seen.update(tracing.propagator.outgoing().forwarded)
        return plain(environ, start_response)

    Served(
        tracekit.wsgi.middleware(app, tracing),
        HTTP_UBER_TRACE_ID="abc:12:0:1",
        HTTP_X_REQUEST_ID="r-1",
    )
    assert seen["x-request-id"] == "r-1"
    assert seen["uber-trace-id"].split(":")[1] in {"12", "0000000000000012"}
