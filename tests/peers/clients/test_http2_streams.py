"""Many streams on one connection of HTTP/2, through both edges; what the program gets is as bare.

Bodies larger than every window, streams that the client cancels and that the server resets.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import socket
import threading

import httpx
import pytest
from hypercorn.asyncio import serve
from hypercorn.config import Config

import tracekit.asgi
import tracekit.httpx

PIECE = b"0123456789abcdef" * 4096  # a window of HTTP/2 as it is at first
PIECES = 12
STREAMS = 60


async def app(scope, receive, send):
    """Answer with what was asked for; ``/echo`` tells of what came, ``/large`` is a large body."""
    if scope["type"] != "http":
        return
    taken, more = hashlib.sha256(), True
    while more:
        message = await receive()
        taken.update(message.get("body", b""))
        more = message.get("more_body", False)
    await send({"type": "http.response.start", "status": 200, "headers": []})
    if scope["path"] in {"/large", "/resets"}:
        for _ in range(PIECES):
            await send({"type": "http.response.body", "body": PIECE, "more_body": True})
    if scope["path"] == "/resets":
        raise KeyError("gone")
    while scope["path"] == "/waits" and (await receive())["type"] != "http.disconnect":
        pass
    await send({"type": "http.response.body", "body": taken.hexdigest().encode()})


@contextlib.contextmanager
def served(app):
    """Serve with prior knowledge of HTTP/2 on a loop and a thread of its own."""
    listening = socket.create_server(("127.0.0.1", 0))
    config = Config()
    config.bind = [f"fd://{listening.fileno()}"]
    config.accesslog = config.errorlog = None
    config.h2_max_concurrent_streams = STREAMS * 2
    config.graceful_timeout = 0.5
    config.keep_alive_timeout = 1  # after which it gives up what an application has left undone
    loop = asyncio.new_event_loop()
    over = asyncio.Event()
    thread = threading.Thread(
        target=loop.run_until_complete, args=(serve(app, config, shutdown_trigger=over.wait),)
    )
    thread.start()
    try:
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"
    finally:
        loop.call_soon_threadsafe(over.set)
        thread.join(60)
        loop.close()
        listening.detach()  # hypercorn has closed it


async def large_bodies(client):
    """Each way at once, so that both sides wait for windows."""

    async def body():
        for _ in range(PIECES):
            yield PIECE

    answers = await asyncio.gather(
        client.post("/echo", content=body()),
        client.get("/large"),
        client.post("/large", content=body()),
        client.post("/echo", content=PIECE * PIECES),
    )
    return [(answer.status_code, hashlib.sha256(answer.content).hexdigest()) for answer in answers]


async def many_streams(client):
    asked = (client.post("/echo", content=str(number).encode()) for number in range(STREAMS))
    return [answer.text for answer in await asyncio.gather(*asked)]


async def cancelled_streams(client):
    """Before the answer and within its body; the connection goes on."""
    begun = asyncio.Semaphore(0)

    async def read():
        async with client.stream("GET", "/waits") as response:
            begun.release()
            async for _ in response.aiter_raw():
                pass

    tasks = [asyncio.create_task(read()) for _ in range(4)]
    for _ in tasks:
        await begun.acquire()
    async with client.stream("GET", "/large") as response:
        pieces = response.aiter_raw()
        first = await pieces.__anext__()
        await pieces.aclose()
    for task in tasks:
        task.cancel()
    ends = await asyncio.gather(*tasks, return_exceptions=True)
    return bool(first), [type(end) for end in ends], (await client.get("/echo")).status_code


async def reset_streams(client):
    """The application fails in the middle of its answer."""
    ends = await asyncio.gather(*(client.get("/resets") for _ in range(3)), return_exceptions=True)
    return [type(end) for end in ends], (await client.get("/echo")).status_code


CLIENTS = {
    large_bodies: [(200, None)] * 4,
    many_streams: [(200, None)] * STREAMS,
    cancelled_streams: [
        *[(200, "asyncio.exceptions.CancelledError")] * 4,
        (200, None),
        (200, None),
    ],
    reset_streams: [*[(200, "httpx.RemoteProtocolError")] * 3, (200, None)],
}
SERVERS = {
    large_bodies: [None] * 4,
    many_streams: [None] * STREAMS,
    cancelled_streams: [None] * 6,
    reset_streams: ["KeyError"] * 3 + [None],
}


def asked(url, ask):
    async def run():
        options = {"http1": False, "http2": True, "base_url": url, "timeout": 300}
        async with httpx.AsyncClient(trust_env=False, **options) as client:
            await client.get("/echo")  # one connection, before many want one
            return await ask(client)

    return asyncio.run(run())


def told(tracing, name):
    return [span.attributes.get(name) for span in tracing.sink.spans]


@pytest.mark.timeout(300)
@pytest.mark.parametrize("ask", CLIENTS)
def test_streams_end_as_bare(tracing, ask):
    """A span for each of them on either side, which says how it ended; none stays open."""
    serving = tracekit.testing.tracing()
    with served(app) as url:
        bare = asked(url, ask)
    undo = tracekit.httpx.instrument(tracing=tracing)
    try:
        with served(tracekit.asgi.middleware(app, serving)) as url:
            assert asked(url, ask) == bare
    finally:
        undo()
    first, *spans = tracing.sink.spans
    ends = [
        (span.attributes["http.response.status_code"], span.attributes.get("error.type"))
        for span in spans
    ]
    assert sorted(ends, key=repr) == sorted(CLIENTS[ask], key=repr)
    assert set(told(tracing, "network.protocol.version")) == {"2"}
    arrived = sorted(span.parent.span_id for span in serving.sink.spans)
    assert arrived == sorted(span.context.span_id for span in (first, *spans))
    failed = sorted(told(serving, "error.type")[1:], key=repr)
    assert failed == sorted(SERVERS[ask], key=repr)
    assert tracing.stats().open == serving.stats().open == 0
    serving.shutdown()
