"""What stands in for a network in tests, and what caches: requests are traced through all of it."""

from __future__ import annotations

import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
import requests

import tracekit.requests

URL = "http://shop.example/tea"


@pytest.fixture(params=["tracing first", "double first"])
def tracing_first(request):
    return request.param == "tracing first"


def traced(tracing, double, ask, *, first):
    """Ask with the double in force, tracing set up before or inside of it."""
    if first:
        undo = tracekit.requests.instrument(tracing=tracing)
        try:
            with double:
                return ask()
        finally:
            undo()
    with double:
        undo = tracekit.requests.instrument(tracing=tracing)
        try:
            return ask()
        finally:
            undo()


def test_requests_mock(tracing, tracing_first):
    """It puts an adapter of its own on the session while a request is sent."""
    requests_mock = pytest.importorskip("requests_mock")
    mocker = requests_mock.Mocker()
    mocker.get(URL, text="tea", status_code=201)
    response = traced(tracing, mocker, lambda: requests.get(URL, timeout=1), first=tracing_first)
    assert (response.status_code, response.text) == (201, "tea")
    assert "uber-trace-id" in mocker.last_request.headers
    assert tracing.sink.take().attributes["http.response.status_code"] == 201
    assert "get_adapter" not in vars(requests.Session())


def test_requests_mock_that_knows_no_answer(tracing, tracing_first):
    """What it raises, and what it lets through, is as without tracing."""
    requests_mock = pytest.importorskip("requests_mock")
    with pytest.raises(requests_mock.NoMockAddress):
        traced(
            tracing, requests_mock.Mocker(), lambda: requests.get(URL, timeout=1),
            first=tracing_first,
        )  # fmt: skip
    span = tracing.sink.take()
    assert span.attributes["error.type"].endswith("NoMockAddress")


def test_responses(tracing, tracing_first):
    """It replaces ``HTTPAdapter.send``."""
    responses = pytest.importorskip("responses")
    mock = responses.RequestsMock()
    mock.add("GET", URL, body="tea", status=202)
    response = traced(tracing, mock, lambda: requests.get(URL, timeout=1), first=tracing_first)
    assert (response.status_code, response.text) == (202, "tea")
    assert tracing.sink.take().attributes["http.response.status_code"] == 202


class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        self.server.came.append(self.headers)
        self.send_response(200)
        self.send_header("Content-Length", "3")
        self.end_headers()
        self.wfile.write(b"tea")

    def log_message(self, *_):
        """Say nothing."""


@pytest.fixture
def server():
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.came = []
        thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def test_vcrpy(tracing, tracing_first, server, tmp_path):
    """Recorded and played again: a span each time, and the tape plays though its headers differ."""
    vcr = pytest.importorskip("vcr")
    url = f"http://127.0.0.1:{server.server_port}/tea"
    for _ in range(2):
        tape = vcr.use_cassette(str(tmp_path / "tape.yaml"))
        response = traced(tracing, tape, lambda: requests.get(url, timeout=5), first=tracing_first)
        assert response.text == "tea"
        assert tracing.sink.take().attributes["http.response.status_code"] == 200
    assert len(server.came) == 1


def test_requests_cache(tracing, server):
    """An answer out of the cache is no exchange on the wire, so it has no span."""
    requests_cache = pytest.importorskip("requests_cache")
    session = requests_cache.CachedSession(backend="memory")
    undo = tracekit.requests.instrument(session, tracing=tracing)
    url = f"http://127.0.0.1:{server.server_port}/tea"
    answers = [session.get(url, timeout=5) for _ in range(2)]
    undo()
    assert [answer.from_cache for answer in answers] == [False, True]
    assert [answer.text for answer in answers] == ["tea", "tea"]
    tracing.sink.take()
    tracing.sink.assert_empty()


def test_requests_cache_for_every_session(tracing, server, tracing_first):
    """``install_cache`` replaces the class ``Session`` itself."""
    requests_cache = pytest.importorskip("requests_cache")
    url = f"http://127.0.0.1:{server.server_port}/tea"

    class Installed:
        def __enter__(self):
            requests_cache.install_cache(backend="memory")

        def __exit__(self, *_):
            requests_cache.uninstall_cache()

    def ask():
        return [requests.get(url, timeout=5).from_cache for _ in range(2)]

    assert traced(tracing, Installed(), ask, first=tracing_first) == [False, True]
    tracing.sink.take()
    tracing.sink.assert_empty()
