"""httpx over HTTP/2 against hypercorn: many requests on one connection, each with its own span."""

from __future__ import annotations

import asyncio
import json
import socket
import threading

import httpx
import pytest
from hypercorn.asyncio import serve
from hypercorn.config import Config

import tracekit.httpx

BODY = b"x" * 10_000
OURS = ("uber-trace-id", "x-b3-")


async def app(scope, receive, send):
    """Tell what arrived; stream a little before, where that is asked for."""
    if scope["type"] != "http":
        return
    taken, more = 0, True
    while more:
        message = await receive()
        taken += len(message.get("body", b""))
        more = message.get("more_body", False)
    status = 503 if scope["path"] == "/fails" else 200
    await send({"type": "http.response.start", "status": status, "headers": []})
    if scope["path"] == "/stream":
        for _ in range(5):
            await send({"type": "http.response.body", "body": BODY, "more_body": True})
    headers = {name.decode(): value.decode() for name, value in scope["headers"]}
    told = {"version": scope["http_version"], "client": scope["client"][1], "taken": taken}
    body = json.dumps({**told, "headers": headers}).encode()
    await send({"type": "http.response.body", "body": body})


@pytest.fixture(scope="module")
def url():
    """Serve with prior knowledge of HTTP/2 on a loop and a thread of its own."""
    listening = socket.create_server(("127.0.0.1", 0))
    config = Config()
    config.bind = [f"fd://{listening.fileno()}"]
    config.accesslog = config.errorlog = None
    loop = asyncio.new_event_loop()
    over = asyncio.Event()
    thread = threading.Thread(
        target=loop.run_until_complete, args=(serve(app, config, shutdown_trigger=over.wait),)
    )
    thread.start()
    yield f"http://127.0.0.1:{listening.getsockname()[1]}"
    loop.call_soon_threadsafe(over.set)
    thread.join(30)
    loop.close()
    listening.detach()  # hypercorn has closed it


async def asked(url):
    """Return the answers of several requests at a time, and of a streamed one."""

    async def upload():
        for _ in range(3):
            yield BODY

    async with httpx.AsyncClient(http1=False, http2=True, base_url=url, timeout=60) as client:
        await client.get("/first")
        answers = await asyncio.gather(
            *(client.get(f"/{number}", headers={"x-number": str(number)}) for number in range(8)),
            client.post("/upload", content=upload()),
            client.get("/fails"),
        )
        async with client.stream("GET", "/stream") as response:
            size = sum([len(piece) async for piece in response.aiter_bytes()])
        return answers, size


def shown(answers):
    """Return what there is to compare: all but the port, and our headers."""
    found = []
    for answer in answers:
        told = answer.json()
        told.pop("client")
        kept = told["headers"].items()
        told["headers"] = {name: value for name, value in kept if not name.startswith(OURS)}
        found.append((answer.status_code, answer.http_version, told))
    return found


def test_concurrent_streams_have_their_spans(url, tracing):
    """The server gets the header of each stream's own span; answers are as bare."""
    bare, bare_size = asyncio.run(asked(url))
    undo = tracekit.httpx.instrument(tracing=tracing)
    try:
        answers, size = asyncio.run(asked(url))
    finally:
        undo()
    assert shown(answers) == shown(bare)
    assert size > 5 * len(BODY)
    spans = tracing.sink.spans
    assert len(spans) == len(answers) + 2
    sent = [answer.json()["headers"]["uber-trace-id"].split(":")[1] for answer in answers]
    by_id = {f"{span.context.span_id:016x}": span for span in spans}
    assert len(set(sent)) == len(sent)
    assert len({answer.json()["client"] for answer in answers}) == 1
    for answer, span_id in zip(answers, sent, strict=True):
        attributes = by_id[span_id].attributes
        assert attributes["url.full"] == str(answer.url)
        assert attributes["http.response.status_code"] == answer.status_code
        assert attributes["network.protocol.version"] == "2"
    assert bare_size < size < bare_size + 300  # our headers are told, too


def test_a_blocking_client_does_so_too(url, tracing):
    """Sync and async share what they do."""
    with httpx.Client(http1=False, http2=True, base_url=url, timeout=60) as client:
        undo = tracekit.httpx.instrument(client, tracing=tracing)
        told = client.post("/upload", content=BODY).json()
        undo()
    assert (told["version"], told["taken"]) == ("2", len(BODY))
    [span] = tracing.sink.spans
    assert told["headers"]["uber-trace-id"].split(":")[1] == f"{span.context.span_id:016x}"
    assert span.attributes["network.protocol.version"] == "2"
