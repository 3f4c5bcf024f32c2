"""The ASGI edge: one span a request, a websocket; the program as bare."""

from __future__ import annotations

import asyncio
import builtins
import functools
import weakref

import pytest
from collector import no_collector
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry import trace
from opentelemetry.propagate import inject

import tracekit.asgi
import tracekit.testing
from tracekit.propagation import Propagator
from tracekit.propagation._forwarding import ForwardRule

CALLER = (b"uber-trace-id", b"00000000000000ab:00000000000000cd:0:1")
START = {"type": "http.response.start", "status": 200, "headers": [(b"a", b"b")]}


class Held(dict):
    """A scope, or part of one, that can be watched."""


def scope_of(path="/orders", kind="http", **more):
    made = {
        "type": kind,
        "path": path,
        "root_path": "",
        "query_string": b"token=t&page=2",
        "headers": [(b"host", b"shop:81"), CALLER, (b"x-request-id", b"r-1")],
        "http_version": "1.1",
        "scheme": "http",
        "client": ("10.0.0.9", 1),
        "server": ("127.0.0.1", 80),
        **more,
    }
    return made if kind != "http" else {"method": "GET", **made}


async def drive(app, scope, arriving=()):
    """Run one connection; returns what was sent and what left the application."""
    sent, arriving = [], list(arriving)

    async def receive():
        return arriving.pop(0) if arriving else {"type": "http.disconnect"}

    async def send(message):
        sent.append(message)

    try:
        await app(scope, receive, send)
    except BaseException as error:
        return sent, error
    return sent, None


def served(app, tracing, scope=None, arriving=(), **options):
    traced = tracekit.asgi.middleware(app, tracing, **options)
    return asyncio.run(drive(traced, scope or scope_of(), arriving))


class BaseExceptionGroup(BaseException):
    """Of a backport's kind."""

    def __init__(self, *exceptions):
        super().__init__(exceptions)
        self.exceptions = exceptions


def group(*errors):
    """Return what a task group raises: Python's own where it has one."""
    own = getattr(builtins, "BaseExceptionGroup", None)
    return own("of a task group", errors) if own else BaseExceptionGroup(*errors)


async def answers(scope, receive, send):
    await send(START)
    await send({"type": "http.response.body", "body": b"1", "more_body": True})
    await send({"type": "http.response.body", "body": b"2"})


def test_what_is_sent_is_the_applications(tracing):
    """Traced or bare, the server is given the very same messages."""
    assert served(answers, tracing) == asyncio.run(drive(answers, scope_of()))
    (span,) = tracing.sink.spans
    assert dict(span.attributes) == {
        "http.request.method": "GET",
        "url.scheme": "http",
        "url.path": "/orders",
        "url.query": "token=REDACTED&page=2",
        "server.address": "shop",
        "server.port": 81,
        "client.address": "10.0.0.9",
        "network.protocol.version": "1.1",
        "http.response.status_code": 200,
    }
    assert (span.name, span.parent.span_id) == ("GET", 0xCD)


def test_a_query_may_be_text(tracing):
    """As test clients give it."""
    served(answers, tracing, scope_of(query_string="token=t&page=2"))
    (span,) = tracing.sink.spans
    assert span.attributes["url.query"] == "token=REDACTED&page=2"


def test_the_span_ends_with_the_last_part(tracing):
    """A background task runs after the answer, as the span's child, and does not prolong it."""
    ended = []

    async def app(scope, receive, send):
        await answers(scope, receive, send)
        ended.extend(span.name for span in tracing.sink.spans)
        with tracing.tracer("task").start_as_current_span("mail"):
            pass

    served(app, tracing)
    request, mail = tracing.sink.spans
    assert ended == ["GET"]
    assert mail.parent.span_id == request.context.span_id


def test_mesh_headers_go_on_none_stays(tracing):
    """Within the request what arrived is injected; afterwards nothing is current."""
    out = {}

    async def app(scope, receive, send):
        inject_into(out)
        await answers(scope, receive, send)

    def inject_into(carrier):
        rule = ForwardRule.of()
        outgoing = tracing.propagator.outgoing(host="stock", rule=rule)
        carrier.update(outgoing.forwarded)

    async def both():
        await drive(tracekit.asgi.middleware(app, tracing), scope_of())
        return trace.get_current_span()

    assert asyncio.run(both()) is trace.INVALID_SPAN
    assert out == {"x-request-id": "r-1"}
    inject({})


@pytest.mark.parametrize(
    ("leaves_with", "told"),
    [
        (asyncio.CancelledError(), None),
        (OSError("broken"), None),
        (type("ClientDisconnect", (Exception,), {})(), None),
        (group(OSError("broken"), group(asyncio.CancelledError())), None),
        (BaseExceptionGroup(OSError("broken"), asyncio.CancelledError()), None),
        (group(asyncio.CancelledError(), KeyError("a")), "BaseExceptionGroup"),
        (KeyError("a mistake"), "KeyError"),
    ],
    ids=["cancelled", "oserror", "framework", "group", "backport", "within", "mistake"],
)
def test_a_client_that_leaves_is_no_error(tracing, leaves_with, told):
    """However the application learns of it; a mistake of its own is one all the same."""

    async def app(scope, receive, send):
        await send(START)
        await receive()
        raise leaves_with

    _, error = served(app, tracing)
    assert error is leaves_with
    (span,) = tracing.sink.spans
    found = span.attributes.get("error.type")
    assert (found and found.split(".")[-1]) == told
    assert span.attributes.get("response.aborted") == (None if told else True)


def test_a_500_for_nobody_is_no_error(tracing):
    """A framework makes a 500 of what told it that the client has left, and raises it as well."""
    gone = type("ClientDisconnect", (Exception,), {})()

    async def app(scope, receive, send):
        await receive()
        await send({**START, "status": 500})
        await send({"type": "http.response.body", "body": b"Internal Server Error"})
        raise gone

    _, error = served(app, tracing)
    assert error is gone
    (span,) = tracing.sink.spans
    assert span.attributes["response.aborted"] is True
    assert {"error.type", "http.response.status_code"}.isdisjoint(span.attributes)
    assert span.status.is_unset


@pytest.mark.parametrize("raises", [False, True])
def test_a_500_before_it_left_counts(tracing, raises):
    """It was a 500 for somebody, who has all of it, whatever the application learns later."""

    async def app(scope, receive, send):
        await send({**START, "status": 500})
        await send({"type": "http.response.body"})
        await receive()
        if raises:
            raise OSError

    served(app, tracing)
    (span,) = tracing.sink.spans
    assert span.attributes["error.type"] == "500"
    assert "response.aborted" not in span.attributes


def test_a_mistake_for_nobody_is_an_error(tracing):
    """The answer reaches nobody, but it tells of a failure."""

    async def app(scope, receive, send):
        await receive()
        await send({**START, "status": 500})
        await send({"type": "http.response.body"})
        raise KeyError("a mistake")

    served(app, tracing)
    (span,) = tracing.sink.spans
    found = span.attributes
    assert (found["error.type"], found["http.response.status_code"]) == ("KeyError", 500)


def test_an_answer_for_nobody_is_aborted(tracing):
    """The application has asked, knows it, and returns what it has."""

    async def app(scope, receive, send):
        await receive()
        await answers(scope, receive, send)

    served(app, tracing)
    (span,) = tracing.sink.spans
    assert span.attributes["http.response.status_code"] == 200
    assert span.attributes["response.aborted"] is True


def test_a_servers_own_cancel_is_an_error(tracing):
    """A deadline of the server's leaves the client without an answer."""

    async def app(scope, receive, send):
        await asyncio.sleep(60)

    async def deadline():
        traced = tracekit.asgi.middleware(app, tracing)
        await asyncio.wait_for(traced(scope_of(), None, None), 0.01)

    with pytest.raises(asyncio.TimeoutError):
        asyncio.run(deadline())
    (span,) = tracing.sink.spans
    assert span.attributes["error.type"] == "asyncio.exceptions.CancelledError"


def test_an_answer_times_its_failure(tracing):
    """Frameworks answer 500 first and raise afterwards: the end of the answer is the span's."""
    answered = []

    async def app(scope, receive, send):
        await send({**START, "status": 500})
        await send({"type": "http.response.body"})
        answered.append(tracekit.testing.tracing)  # the server has its answer
        await asyncio.sleep(0.05)
        raise KeyError("why")

    served(app, tracing)
    (span,) = tracing.sink.spans
    assert span.attributes["error.type"] == "KeyError"
    assert span.end_time - span.start_time < 50_000_000


def test_trailers_are_part_of_the_response(tracing):
    """The last part of the body is not the end where trailers are announced."""
    open_yet = []

    async def app(scope, receive, send):
        await send({**START, "trailers": True})
        await send({"type": "http.response.body", "body": b""})
        open_yet.append(len(tracing.sink.spans) == 0)
        await send({"type": "http.response.trailers", "headers": []})
        open_yet.append(len(tracing.sink.spans) == 0)

    served(app, tracing)
    assert open_yet == [True, False]


def test_a_sent_file_ends_with_its_trailers(tracing):
    """An extension hands a path over in place of a body."""
    open_yet = []

    async def app(scope, receive, send):
        await send({**START, "trailers": bool(scope.get("trailers"))})
        await send({"type": "http.response.pathsend", "path": "/orders.csv"})
        open_yet.append(len(tracing.sink.spans))
        await send({"type": "http.response.trailers", "headers": []})
        open_yet.append(len(tracing.sink.spans))

    served(app, tracing, scope_of(trailers=True))
    served(app, tracing)
    assert open_yet == [0, 1, 2, 2]


@pytest.mark.parametrize(
    ("ends", "code", "status", "failed"),
    [
        ([{"type": "websocket.close"}], 1000, 403, None),
        ([{"type": "websocket.accept"}, {"type": "websocket.close"}], 1000, 101, None),
        (
            [{"type": "websocket.accept"}, {"type": "websocket.close", "code": 4000}],
            4000,
            101,
            None,
        ),
        ([{"type": "websocket.accept"}, None], 1005, 101, None),
        ([{"type": "websocket.accept"}], None, 101, None),
        ([{"type": "websocket.accept"}, KeyError("gone")], None, 101, "KeyError"),
        ([KeyError("gone")], None, None, "KeyError"),
    ],
)
def test_a_websocket_tells_how_it_closed(tracing, ends, code, status, failed):
    """By which code, of whichever side; none where the server has to close it."""

    async def app(scope, receive, send):
        await receive()
        for message in ends:
            if message is None:
                await receive()
            elif isinstance(message, Exception):
                raise message
            else:
                await send(message)

    arriving = [{"type": "websocket.connect"}, {"type": "websocket.disconnect"}]
    served(app, tracing, scope_of(kind="websocket", scheme="ws"), arriving)
    (span,) = tracing.sink.spans
    found = span.attributes
    assert found.get("websocket.close_code") == code
    assert found.get("http.response.status_code") == status
    assert found.get("error.type") == failed
    assert (found.get("websocket.messages_sent") == 0) is bool(status)


def test_a_websocket_is_one_span(tracing):
    """Messages are counted; what the application does after the close is not waited for."""

    async def app(scope, receive, send):
        assert (await receive())["type"] == "websocket.connect"
        await send({"type": "websocket.accept"})
        while (message := await receive())["type"] == "websocket.receive":
            await send({"type": "websocket.send", "text": message["text"]})
        assert len(tracing.sink.spans) == 1

    arriving = [
        {"type": "websocket.connect"},
        *({"type": "websocket.receive", "text": text} for text in "abc"),
        {"type": "websocket.disconnect", "code": 1001},
    ]
    _, error = served(app, tracing, scope_of(kind="websocket", scheme="wss"), arriving)
    assert error is None
    (span,) = tracing.sink.spans
    found = dict(span.attributes)
    assert found["websocket.messages_received"] == found["websocket.messages_sent"] == 3
    assert (found["websocket.close_code"], found["http.response.status_code"]) == (1001, 101)
    assert "error.type" not in found


def test_a_close_after_the_clients_is_no_end(tracing, caplog):
    """The span has ended with the client's; nothing is said of it any more."""

    async def app(scope, receive, send):
        await receive()
        await send({"type": "websocket.accept"})
        await receive()
        await send({"type": "websocket.close", "code": 1011})

    arriving = [{"type": "websocket.connect"}, {"type": "websocket.disconnect", "code": 1001}]
    sent, error = served(app, tracing, scope_of(kind="websocket"), arriving)
    assert (len(sent), error) == (2, None)
    (span,) = tracing.sink.spans
    assert span.attributes["websocket.close_code"] == 1001
    assert not caplog.records


def test_lifespan_and_probes_are_left_alone(tracing):
    """No span, no trace begun below a probe, and the lifespan's scope gets no key."""
    seen = []

    async def app(scope, receive, send):
        seen.append(dict(scope))
        with tracing.tracer("db").start_as_current_span("select"):
            pass

    lifespan = {"type": "lifespan", "asgi": {}}
    served(app, tracing, dict(lifespan))
    assert seen == [lifespan]
    assert [span.name for span in tracing.sink.spans] == ["select"]
    probe = scope_of("/healthz", headers=[])
    served(app, tracing, probe)
    assert len(tracing.sink.spans) == 1


def test_a_request_is_traced_once(tracing):
    """Middleware over middleware makes no second span; ``response_headers`` names the first."""
    inner = tracekit.asgi.middleware(answers, tracing)
    sent, _ = served(inner, tracing, response_headers=True)
    (span,) = tracing.sink.spans
    told = dict(sent[0]["headers"])
    assert told[b"a"] == b"b"
    assert told[b"traceresponse"].split(b"-")[2] == f"{span.context.span_id:016x}".encode()


def of_asgi_2(scope):
    async def serve(receive, send):
        await answers(scope, receive, send)

    return serve


class OfAsgi2:
    def __init__(self, scope):
        self.scope = scope

    async def __call__(self, receive, send):
        await answers(self.scope, receive, send)


def of_wsgi(environ, start_response):
    return []


NONE = [None, 3, int, type("Old", (), {}), of_asgi_2, OfAsgi2, OfAsgi2({}), of_wsgi]


@pytest.mark.parametrize("what", NONE)
def test_what_is_no_application_is_returned(tracing, caplog, what):
    """One warning is given; the program finds out as it would have without us."""
    assert tracekit.asgi.middleware(what, tracing) is what
    assert [record.levelname for record in caplog.records] == ["WARNING"]


class Endpoint:
    """Serves by its instances, as Starlette's endpoints do."""

    def __init__(self, scope, receive, send):
        self.serving = scope, receive, send

    def __await__(self):
        return answers(*self.serving).__await__()


def passing_on(*args, **kwargs):
    return answers(*args, **kwargs)


@functools.wraps(of_wsgi)
async def named_after_another(scope, receive, send, more=None):
    await answers(scope, receive, send)


@pytest.mark.parametrize("app", [Endpoint, passing_on, named_after_another])
def test_what_takes_three_is_an_application(app, tracing):
    """A class, a plain function that returns what is awaited, one that wraps something else."""
    assert served(app, tracing) == asyncio.run(drive(answers, scope_of()))
    assert len(tracing.sink.spans) == 1


@pytest.mark.parametrize(
    "broken",
    [{"headers": None}, {"headers": [(1, 2)]}, {"path": None}, {"client": 3}, {"query_string": 4}],
)
def test_a_scope_of_another_shape_is_served(tracing, broken):
    """Whatever a server or a test double leaves out, the answer is the same."""
    sent, error = served(answers, tracing, scope_of(**broken))
    assert error is None
    assert len(sent) == 3


def test_invalid_messages_reach_the_server(tracing):
    """Only the server may complain of them."""

    async def app(scope, receive, send):
        await send({"no": "type"})
        await send(None)

    sent, error = served(app, tracing)
    assert (sent, error) == ([{"no": "type"}, None], None)


def test_a_finished_request_is_freed_at_once(tracing):
    """Its scope is in no circle of references, so nothing waits for the collector."""
    watches = []

    async def serve():
        held = Held()
        watches.append(weakref.ref(held))
        await drive(tracekit.asgi.middleware(answers, tracing), scope_of(state=held))
        del held
        watches.append(watches[0]())

    with no_collector():
        asyncio.run(serve())
    assert watches[1] is None


NAMES = st.sampled_from(
    ["uber-trace-id", "x-b3-traceid", "x-request-id", "uberctx-user", "baggage", "host", "b3"]
)
VALUES = st.one_of(
    st.just("00000000000000ab:00000000000000cd:0:1"),
    st.text(st.characters(max_codepoint=255), max_size=20),
)


@given(st.lists(st.tuples(NAMES, VALUES), max_size=6))
def test_raw_headers_read_as_pairs_of_text(pairs):
    """The quick way in reads what every other one reads."""
    propagator = Propagator(("jaeger", "b3"))
    raw = [(name.encode(), value.encode("latin-1")) for name, value in pairs]
    assert propagator.read_raw(raw) == propagator.read_metadata(pairs)
