"""``forward_headers``, the function of every Istio tutorial, on the headers of every framework."""

from __future__ import annotations

import subprocess
import sys
import threading

import pytest
from flask import Flask, request
from hypothesis import given
from hypothesis import strategies as st

from tracekit.mesh import forward_headers
from tracekit.propagation._forwarding import TRACE_HEADERS

PAIRS = [
    ("X-Request-Id", "r-1"),
    ("X-B3-TraceId", "80f198ee56343ba864fe8b2a57d3eff7"),
    ("x-ot-span-context", ""),
    ("End-User", "ann"),
    ("Cookie", "session=1"),
]
EXPECTED = {"x-request-id": "r-1", "x-b3-traceid": "80f198ee56343ba864fe8b2a57d3eff7"}


class StarletteLike:
    """Starlette's headers: a mapping over repeated pairs, names in lower case."""

    def items(self):
        return [(name.lower(), value) for name, value in PAIRS]


ENVIRON = {f"HTTP_{name.upper().replace('-', '_')}": value for name, value in PAIRS} | {
    "REQUEST_METHOD": "GET",
    "x-request-id": "not a header in an environ",
    "wsgi.input": object(),
}


@pytest.mark.parametrize(
    "headers",
    [
        dict(PAIRS),
        PAIRS,
        StarletteLike(),
        ENVIRON,
        [(name.lower().encode(), value.encode()) for name, value in PAIRS],
    ],
    ids=["mapping", "gRPC metadata", "Starlette", "WSGI environ, Django META", "ASGI scope"],
)
def test_any_kind_of_headers(headers):
    """Each kind of headers gives the same: lower-case names, values unchanged, nothing empty."""
    assert forward_headers(headers) == EXPECTED


def test_flask_headers():
    """``request.headers`` of Flask is such a mapping."""
    with Flask("app").test_request_context(headers=PAIRS):
        assert forward_headers(request.headers) == EXPECTED
        assert forward_headers(request.environ) == EXPECTED


def test_application_headers_must_be_listed():
    """``end-user``, cookies, ``authorization`` and own names go on when ``allow`` names them."""
    assert forward_headers(PAIRS, allow=("End-User",)) == {**EXPECTED, "end-user": "ann"}
    assert "cookie" not in forward_headers(PAIRS)


def test_the_whole_set():
    """Every trace header of Istio's documents and samples is forwarded."""
    today = {
        *("x-request-id", "x-ot-span-context", "x-cloud-trace-context", "grpc-trace-bin", "sw8"),
        *("traceparent", "tracestate", "b3", "x-b3-traceid", "x-b3-spanid", "x-b3-parentspanid"),
        *("x-b3-sampled", "x-b3-flags", "x-datadog-trace-id", "x-datadog-parent-id"),
        "x-datadog-sampling-priority",
    }
    assert forward_headers(dict.fromkeys(today, "v")) == dict.fromkeys(today, "v")


def test_repetitions_are_joined():
    """A repeated header goes on as one, as HTTP allows."""
    assert forward_headers([("tracestate", "a=1"), ("Tracestate", "b=2")]) == {
        "tracestate": "a=1,b=2"
    }


def test_pure():
    """The result is the caller's own; what came in is not changed; no request sees another's."""
    headers = dict(PAIRS)
    forward_headers(headers)["x-request-id"] = "changed"
    assert headers == dict(PAIRS)
    seen = {}

    def serve(number):
        seen[number] = forward_headers({"x-request-id": str(number)})

    threads = [threading.Thread(target=serve, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert seen == {number: {"x-request-id": str(number)} for number in range(8)}


@given(
    st.one_of(
        st.none(),
        st.integers(),
        st.text(),
        st.dictionaries(st.text(), st.one_of(st.text(), st.binary(), st.integers())),
        st.lists(st.tuples(st.one_of(st.text(), st.binary()), st.text())),
    )
)
def test_never_raises(headers):
    """Whatever is given, the answer is a dict of non-empty forwarded headers."""
    for name, value in forward_headers(headers).items():
        assert name in TRACE_HEADERS
        assert value


def test_without_init():
    """It neither needs nor starts anything: no thread, no handle."""
    code = (
        "import threading; from tracekit.mesh import forward_headers;"
        "print(forward_headers({'X-Request-Id': 'r'}), threading.active_count())"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stdout.strip() == "{'x-request-id': 'r'} 1"


def test_a_requests_own_is_never_forwarded():
    """A length or an encoding of another body would break the request, even where it is listed."""
    headers = {"Content-Length": "5", "Transfer-Encoding": "chunked", "End-User": "jason"}
    assert forward_headers(headers, allow=headers) == {"end-user": "jason"}
