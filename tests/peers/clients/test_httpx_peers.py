"""httpx with what people's tests put in its place, on trio, and httpx2."""

from __future__ import annotations

import httpx
import pytest
import respx
import trio

import tracekit.httpx

httpx2 = pytest.importorskip("httpx2")


@pytest.fixture
def traced(tracing):
    undo = tracekit.httpx.instrument(tracing=tracing)
    yield tracing
    undo()


def test_respx_answers_and_is_traced(traced):
    """Its routes match and count as without us."""
    with respx.mock(base_url="http://stock") as mock:
        route = mock.get("/apples").respond(json={"n": 1})
        assert httpx.get("http://stock/apples").json() == {"n": 1}
    assert route.call_count == 1
    assert "uber-trace-id" in route.calls.last.request.headers
    assert [span.name for span in traced.sink.spans] == ["GET"]


def test_pytest_httpx_answers_and_is_traced(traced, httpx_mock):
    """Its expectations are met as without us."""
    httpx_mock.add_response(url="http://stock/apples", json={"n": 1})
    assert httpx.get("http://stock/apples").json() == {"n": 1}
    assert len(traced.sink.spans) == 1


def test_the_async_client_is_traced_on_trio(traced):
    """No event loop of a certain kind is needed."""

    async def ask():
        transport = httpx.MockTransport(lambda _: httpx.Response(200, text="ok"))
        async with httpx.AsyncClient(transport=transport) as client:
            return (await client.get("http://stock/")).text

    assert trio.run(ask) == "ok"
    assert len(traced.sink.spans) == 1


@pytest.mark.parametrize("stream", [False, True])
def test_httpx2_is_traced_as_httpx_is(traced, stream):
    """The successor has the same seams."""
    transport = httpx2.MockTransport(lambda _: httpx2.Response(200, content=[b"o", b"k"]))
    with httpx2.Client(transport=transport) as client:
        if stream:
            with client.stream("GET", "http://stock/") as response:
                assert b"".join(response.iter_bytes()) == b"ok"
        else:
            assert client.get("http://stock/").text == "ok"
    assert [span.status.is_ok for span in traced.sink.spans] == [True]
