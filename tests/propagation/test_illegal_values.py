"""What cannot stand in a header is never forwarded or injected, and each such value is counted."""

from __future__ import annotations

import http.client
import io
import wsgiref.handlers
from types import SimpleNamespace

import pytest
import requests
from hypothesis import example, given
from hypothesis import strategies as st
from opentelemetry import trace
from opentelemetry.context import Context

from tracekit._context import SpanContext
from tracekit.mesh import forward_headers
from tracekit.propagation import Propagator
from tracekit.propagation._counters import Counters

ANY_TEXT = st.text(st.characters(exclude_categories=()), max_size=40)
ILLEGAL = (
    "a\x00b",
    "a\r\nx-evil: 1",
    "a\n b",
    "a\x1bb",
    "\x7f",
    "a\tb\x0b",
    "\u20ac",
    " ",
    "\t",
    "\x85",
)


def propagator(*formats, **options):
    return Propagator(formats, counters=Counters(lambda: 0.0), **options)


@given(ANY_TEXT)
@example(" a")
@example("\xa0a")
@example("a\x85")
def test_what_is_forwarded_can_be_sent(value):
    """``requests`` and ``http.client`` are the judges; what they take of a value stays as it is."""
    for found in forward_headers({"x-request-id": value}).values():
        assert found == value.strip(" \t") != ""
        requests.utils.check_header_validity(("x-request-id", found))
        connection = http.client.HTTPConnection("unused")
        connection.sock = SimpleNamespace(sendall=lambda data: None)
        connection.putrequest("GET", "/")
        connection.putheader("x-request-id", found)
        connection.endheaders()


@given(st.text(st.characters(min_codepoint=0x20, max_codepoint=0x7E), min_size=1, max_size=40))
def test_a_legal_value_is_not_changed(value):
    """Not a letter of it, but for blanks around it, which are no part of it; all blank is empty."""
    wanted = {"x-request-id": value.strip()} if value.strip() else {}
    assert forward_headers({"X-Request-Id": value}) == wanted


@pytest.mark.parametrize("value", ILLEGAL)
@pytest.mark.parametrize("form", ["mapping", "environ", "pairs"])
def test_an_illegal_value_is_left_out(value, form):
    """It is counted, however the request arrived; its neighbours go on."""
    ours = propagator("b3", forward=["end-user"])
    given_headers = {"x-request-id": value, "end-user": value, "sw8": "1-abc"}
    if form == "environ":
        environ = {f"HTTP_{name.upper().replace('-', '_')}": v for name, v in given_headers.items()}
        context = ours.extract_environ(environ)
    elif form == "pairs":
        context = ours.extract_pairs(list(given_headers.items()))
    else:
        context = ours.extract(given_headers)
    assert ours.outgoing(context).forwarded == {"sw8": "1-abc"}
    assert ours.counters.unsendable == {("forwarded", "value"): 2}


def test_a_server_that_passes_folded_lines():
    """Wsgiref's handler is one; the application's outgoing request knows nothing of it."""
    ours = propagator("b3")
    seen = []

    def app(environ, start_response):
        seen.append(ours.outgoing(ours.extract_environ(environ)).forwarded)
        start_response("200 OK", [])
        return []

    environ = {
        "HTTP_X_REQUEST_ID": "a\r\n\tb",
        "REQUEST_METHOD": "GET",
        "SERVER_PROTOCOL": "HTTP/1.0",
    }
    wsgiref.handlers.SimpleHandler(io.BytesIO(), io.BytesIO(), io.StringIO(), environ).run(app)
    assert seen == [{}]


def test_limits_hold_for_forwarded_baggage():
    """64 entries and 8192 bytes, as for baggage that is read; other headers are not affected."""
    ours = propagator("b3")
    many = {f"uberctx-{number:03}": "v" for number in range(200)}
    forwarded = ours.outgoing(ours.extract({**many, "x-request-id": "r"})).forwarded
    assert forwarded.pop("x-request-id") == "r"
    assert forwarded == dict(list(many.items())[:64])
    assert ours.counters.unsendable == {("forwarded", "limit"): 1}
    long = {f"uberctx-{number:03}": "v" * 2000 for number in range(100)}
    forwarded = ours.outgoing(ours.extract(long)).forwarded
    assert 0 < sum(len(name) + len(value) for name, value in forwarded.items()) <= 8192


def test_a_full_baggage_header_is_forwarded():
    """The limit is the header's, whoever reads it."""
    ours = propagator("jaeger")
    full = "k=" + "v" * 8190
    assert ours.outgoing(ours.extract({"baggage": full})).forwarded == {"baggage": full}
    assert ours.outgoing(ours.extract({"baggage": full + "v"})).forwarded == {}


def test_an_illegal_name_is_not_forwarded():
    """Jaeger's baggage has its key in the header's name."""
    ours = propagator("b3")
    context = ours.extract_pairs([("uberctx-a\r\nx-evil", "1"), ("uberctx-b", "2")])
    assert ours.outgoing(context).forwarded == {"uberctx-b": "2"}
    assert forward_headers({"x y": "1", "x-ok": "2"}, allow=["x y", "X-Ok"]) == {"x-ok": "2"}


@pytest.mark.parametrize("text", ["a=1\r\nx-evil: 1", "a=\u20ac", "a=" + "v" * 9000])
def test_an_illegal_trace_state_is_left_out(text):
    """A trace state may be of anybody's class; the trace itself goes on."""

    class Odd(trace.TraceState):
        def to_header(self):
            return text

        def __len__(self):
            return 1

    ours = propagator("w3c")
    span = trace.NonRecordingSpan(SpanContext(7, 8, False, trace.TraceFlags(1), Odd()))
    carrier = {}
    ours.inject(carrier, trace.set_span_in_context(span, Context()))
    assert set(carrier) == {"traceparent"}
    assert ours.counters.unsendable == {("w3c", "tracestate"): 1}
