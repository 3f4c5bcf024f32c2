"""aiohttp's client and server over real sockets: the program as bare, one span an exchange."""

from __future__ import annotations

import asyncio

import aiohttp
import pytest
from aiohttp import web
from opentelemetry import context as otel

import tracekit.aiohttp
import tracekit.testing


async def hello(request):
    return web.Response(text="x" * 50_000)


async def moved(request):
    raise web.HTTPFound("/users/ada")


async def user(request):
    return web.json_response({"user": request.match_info["user"]})


async def fails(request):
    raise KeyError("gone")


async def stream(request):
    response = web.StreamResponse()
    await response.prepare(request)
    for piece in (b"a", b"b"):
        await response.write(piece)
    return response


async def echo(request):
    socket = web.WebSocketResponse()
    await socket.prepare(request)
    async for message in socket:
        await socket.send_str(message.data)
    return socket


async def headers(request):
    return web.json_response(dict(request.headers))


def app_of(*middlewares):
    app = web.Application(middlewares=middlewares)
    app.router.add_get("/", hello)
    app.router.add_get("/moved", moved)
    app.router.add_get("/users/{user}", user)
    app.router.add_get("/fails", fails)
    app.router.add_get("/stream", stream)
    app.router.add_get("/ws", echo)
    app.router.add_get("/headers", headers)
    app.router.add_get("/healthz", user_of_none)
    return app


async def user_of_none(request):
    return web.Response(text="ok")


async def with_server(ask, *middlewares):
    runner = web.AppRunner(app_of(*middlewares))
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    port = site._server.sockets[0].getsockname()[1]
    try:
        return await ask(f"http://127.0.0.1:{port}")
    finally:
        await runner.cleanup()


def served(ask, *middlewares):
    return asyncio.run(with_server(ask, *middlewares))


async def asked(url, path):
    async with aiohttp.ClientSession() as session, session.get(url + path) as response:
        return response.status, await response.read()


PATHS = ["/", "/moved", "/users/ada", "/fails", "/stream", "/nowhere"]
ROUTES = ["/", "/moved", "/users/{user}", "/users/{user}", "/fails", "/stream", None]


def test_the_server_answers_as_bare(tracing):
    """Responses, streams, exceptions that are answers, and failures; routes name the spans."""

    async def ask(url):
        return [await asked(url, path) for path in PATHS]

    bare = served(ask)
    assert served(ask, tracekit.aiohttp.middleware(tracing)) == bare
    spans = tracing.sink.spans
    assert [span.name for span in spans] == [f"GET {route}" if route else "GET" for route in ROUTES]
    statuses = [span.attributes["http.response.status_code"] for span in spans]
    assert statuses == [200, 302, 200, 200, 500, 200, 404]
    assert [span.attributes.get("error.type") for span in spans] == [
        "KeyError" if status == 500 else None for status in statuses
    ]
    assert not any("response.aborted" in span.attributes for span in spans)


def test_the_client_is_told_which_trace(tracing):
    """By answers, and by exceptions that are answers; not once a stream has begun."""

    async def ask(url):
        found = []
        async with aiohttp.ClientSession() as session:
            for path in ("/users/ada", "/moved", "/nowhere", "/stream"):
                async with session.get(url + path, allow_redirects=False) as response:
                    found.append(response.headers.get("traceresponse", "--").split("-")[2])
        return found

    told = served(ask, tracekit.aiohttp.middleware(tracing, response_headers=True))
    sent = [f"{span.context.span_id:016x}" for span in tracing.sink.spans]
    assert told == [*sent[:3], ""]


def test_a_websocket_is_one_span(tracing):
    """It ends when it is closed; probes have none."""

    async def ask(url):
        await asked(url, "/healthz")
        async with aiohttp.ClientSession() as session, session.ws_connect(url + "/ws") as socket:
            await socket.send_str("hello")
            return await socket.receive_str()

    assert served(ask, tracekit.aiohttp.middleware(tracing)) == "hello"
    assert [span.name for span in tracing.sink.spans] == ["GET /ws"]


@pytest.fixture
def instrumented(tracing):
    undo = tracekit.aiohttp.instrument(tracing=tracing)
    yield tracing
    undo()


def test_each_redirect_of_a_client_is_a_span(instrumented):
    """What it asks for, it gets; the spans' headers are those that were sent."""
    other = tracekit.testing.tracing(propagation="jaeger,b3")

    async def ask(url):
        return [await asked(url, path) for path in PATHS]

    served(ask, tracekit.aiohttp.middleware(other))
    clients = instrumented.sink.spans
    statuses = [span.attributes["http.response.status_code"] for span in clients]
    assert statuses == [200, 302, 200, 200, 500, 200, 404]
    parents = [span.parent.span_id for span in other.sink.spans]
    assert parents == [span.context.span_id for span in clients]
    other.shutdown()


def test_a_span_lasts_until_the_bodys_end(instrumented):
    """A body that nobody reads ends with its connection; a refused one is an error."""

    async def ask(url):
        async with aiohttp.ClientSession() as session:
            async with session.get(url + "/") as response:
                await response.content.readany()
                early = len(instrumented.sink.spans)
            with pytest.raises(aiohttp.ClientConnectorError):
                await session.get("http://127.0.0.1:9/")
        return early

    served(ask)
    first, second = instrumented.sink.spans
    assert second.attributes["error.type"].endswith("ClientConnectorError")
    assert first.status.is_ok


def test_mesh_headers_go_on(tracing):
    """By a config of its own, under the rule of hosts; the caller's dict keeps none of them."""
    own = {"X-Own": "1"}
    config = tracekit.aiohttp.trace_config(tracing=tracing, allow=["end-user"], hosts="127.0.0.1")

    async def ask(url):
        arrived = tracing.propagator.extract({"end-user": "ada", "x-request-id": "r-1"})
        token = otel.attach(arrived)
        async with (
            aiohttp.ClientSession(trace_configs=[config]) as session,
            session.get(url + "/headers", headers=own) as response,
        ):
            got = await response.json()
        otel.detach(token)
        return got

    got = {name.lower(): value for name, value in served(ask).items()}
    assert own == {"X-Own": "1"}
    assert (got["end-user"], got["x-request-id"], got["x-own"]) == ("ada", "r-1", "1")
    assert got["uber-trace-id"].split(":")[1] == f"{tracing.sink.spans[0].context.span_id:016x}"


def test_the_undo_leaves_nothing(tracing):
    """Sessions that it finds are traced no more."""
    before = aiohttp.ClientSession.__init__

    async def ask(url):
        undo = tracekit.aiohttp.instrument(tracing=tracing)
        tracekit.aiohttp.instrument(tracing=tracing)()
        async with aiohttp.ClientSession() as session:
            await (await session.get(url)).read()
            undo()
            await (await session.get(url)).read()

    served(ask)
    assert aiohttp.ClientSession.__init__ is before
    assert len(tracing.sink.spans) == 1


def test_a_redirect_to_no_url_fails_as_bare(instrumented, caplog):
    """The program gets the session's own error; tracing has nothing to complain of."""

    async def nowhere(request):
        return web.Response(status=302, headers={"Location": "http://:/"})

    async def ask():
        app = web.Application()
        app.router.add_get("/", nowhere)
        runner = web.AppRunner(app)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        port = site._server.sockets[0].getsockname()[1]
        try:
            with pytest.raises(aiohttp.InvalidUrlRedirectClientError):
                await asked(f"http://127.0.0.1:{port}", "/")
        finally:
            await runner.cleanup()

    asyncio.run(ask())
    [span] = instrumented.sink.spans
    assert span.attributes["http.response.status_code"] == 302
    assert not [record for record in caplog.records if record.name.startswith("tracekit")]
