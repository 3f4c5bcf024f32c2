"""Guards of the speed of web edges by what can be counted of ours. No seconds in here."""

from __future__ import annotations

import io
import sys
from pathlib import Path
from wsgiref.util import setup_testing_defaults

import flask
import httpx
import pytest
import requests
from requests.adapters import BaseAdapter

import tracekit
import tracekit.flask
import tracekit.httpx
import tracekit.requests
from tracekit.testing import MemoryTransport

ROOT = str(Path(tracekit.__file__).parent)
PARENT = {"sampled": "abc:12:0:1", "unsampled": "abc:12:0:0"}


@pytest.fixture(params=["sampled", "unsampled"])
def how(request):
    return request.param


@pytest.fixture
def tracing(how):
    handle = tracekit.init(
        "costs",
        environ={},
        set_global=False,
        transport=MemoryTransport(),
        sampler_type="const",
        sampler_param=float(how == "sampled"),
        flush_s=3600,
    )
    yield handle
    handle.shutdown()


def calls(work):
    """Return the functions of ours that are called, and the calls that they make of C's."""
    python = in_c = 0

    def profile(frame, event, _):
        nonlocal python, in_c
        if event in ("call", "c_call") and frame.f_code.co_filename.startswith(ROOT):
            python += event == "call"
            in_c += event == "c_call"

    sys.setprofile(profile)
    try:
        work()
    finally:
        sys.setprofile(None)
    return python, in_c


def least(work):
    """Return the fewest calls of some runs, after a few to warm up."""
    for _ in range(5):
        work()
    return min(calls(work) for _ in range(3))


def serving(app, **headers):
    """Return one request as a server serves it."""

    def serve():
        environ = {"PATH_INFO": "/pulls/bob", "QUERY_STRING": "page=2", **headers}
        setup_testing_defaults(environ)
        environ["wsgi.input"] = io.BytesIO()
        result = app(environ, lambda *_: None)
        for _ in result:
            pass
        result.close()

    return serve


def make_app():
    app = flask.Flask("costs")
    app.route("/pulls/<user>")(lambda user: user)
    return app


# What CPython 3.11 counts, and a little. Before a request was one exchange: 81 and 79, 82 and 84 of
# a sampled one, 59 and 42, 61 and 50 of an unsampled one.
FLASK = {
    ("sampled", "root"): (31, 58),
    ("sampled", "joined"): (35, 63),
    ("unsampled", "root"): (17, 22),
    ("unsampled", "joined"): (21, 28),
}


@pytest.mark.parametrize("begins", ["root", "joined"])
def test_calls_of_a_flask_request(tracing, how, begins):
    """A request goes through few functions, and an unsampled one through half of them."""
    app = make_app()
    tracekit.flask.init_app(app, tracing)
    headers = {"HTTP_UBER_TRACE_ID": PARENT[how]} if begins == "joined" else {}
    python, in_c = least(serving(app, **headers))
    most_python, most_in_c = FLASK[how, begins]
    assert python <= most_python
    assert in_c <= most_in_c


class Canned(BaseAdapter):
    """Answers without a network."""

    def send(self, request, **_):
        response = requests.Response()
        response.status_code, response.request, response.url = 200, request, request.url
        response._content = b"canned"
        return response

    def close(self):
        """Hold nothing."""


# Before a request was begun in one go: 61 and 93, 47 and 65. Beside these, the library's own: its
# headers are copied without asking for each.
REQUESTS = {"sampled": (31, 68), "unsampled": (24, 40)}


def test_calls_of_a_sent_request(tracing, how):
    """So does what goes out."""
    session = requests.Session()
    session.mount("http://", Canned())
    undo = tracekit.requests.instrument(session, tracing=tracing)
    request = session.prepare_request(requests.Request("GET", "http://shop.example/tea?x=1"))
    python, in_c = least(lambda: session.send(request))
    undo()
    most_python, most_in_c = REQUESTS[how]
    assert python <= most_python
    assert in_c <= most_in_c


# Before: 67 and 92, 53 and 64.
HTTPX = {"sampled": (32, 65), "unsampled": (19, 33)}


def test_calls_of_httpx(tracing, how):
    """So does what goes out through a client of httpx."""
    answers = httpx.MockTransport(lambda _: httpx.Response(200, stream=httpx.ByteStream(b"canned")))
    with httpx.Client(transport=answers) as client:
        undo = tracekit.httpx.instrument(client, tracing=tracing)
        request = client.build_request("GET", "http://shop.example/tea?x=1")
        python, in_c = least(lambda: client.send(request))
        undo()
    most_python, most_in_c = HTTPX[how]
    assert python <= most_python
    assert in_c <= most_in_c
