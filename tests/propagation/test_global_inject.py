"""What any instrumentation's ``inject`` writes, where tracekit is OpenTelemetry's global."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry import context as otel
from opentelemetry import propagate, trace

import tracekit.httpx
import tracekit.testing
from tracekit.propagation import Propagator

ARRIVED = {
    "x-request-id": "r-1",
    "x-b3-traceid": "ab" * 8,
    "x-b3-spanid": "cd" * 8,
    "end-user": "ada",
    "baggage": "user=ada",
    "uberctx-user": "ada",
    "cookie": "secret",
}


pytestmark = pytest.mark.spans(propagation="w3c")


def test_only_mesh_headers_go_on(spans):
    """Trace families and ``x-request-id``; never an application's header, never baggage unread."""
    token = otel.attach(propagate.extract(dict(ARRIVED)))
    carrier = {}
    with tracekit.get_tracer("t").start_as_current_span("call"):
        propagate.inject(carrier)
    otel.detach(token)
    names = set(carrier) - {"traceparent", "tracestate", "baggage"}
    assert names == {"x-request-id", "x-b3-traceid", "x-b3-spanid"}


def test_allowed_headers_stay_at_home(spans):
    """An application's too: ``inject`` knows no host, so it cannot tell the mesh from the world."""
    tracekit.httpx.instrument(allow=["end-user"])()
    carrier = {}
    propagate.inject(carrier, context=propagate.extract(dict(ARRIVED)))
    assert "end-user" not in carrier
    assert carrier["x-request-id"] == "r-1"


def test_what_the_caller_has_set_stays(spans):
    """In whatever letter case and carrier: a family is written by one hand."""
    context = propagate.extract(dict(ARRIVED))
    own = {"X-Request-ID": "mine", "X-B3-TraceId": "ef" * 8}
    carrier = dict(own)
    propagate.inject(carrier, context=context)
    assert {name: carrier[name] for name in own} == own
    assert "x-request-id" not in carrier
    assert "x-b3-spanid" not in carrier


@given(
    st.dictionaries(
        st.sampled_from(["X-Request-Id", "b3", "x-b3-flags", "sw8", "host"]), st.text(max_size=3)
    )
)
def test_nothing_that_is_there_is_changed(own):
    """For every carrier: what is in it stays, and no family is mixed."""
    propagator = Propagator(("w3c",))
    context = propagator.extract(dict(ARRIVED))
    carrier = dict(own)
    propagator.inject_captured(carrier, context)
    assert {name: carrier[name] for name in own} == own
    if "b3" in own or "x-b3-flags" in own:
        assert "x-b3-traceid" not in carrier


@pytest.mark.parametrize("carrier", [None, 3, (), object()])
def test_a_carrier_of_no_kind_is_left(carrier):
    """It raises for nobody."""
    propagator = Propagator(("w3c",))
    propagator.inject_captured(carrier, propagator.extract(dict(ARRIVED)))


PROBE = {"url.path": "/healthz"}


@pytest.mark.parametrize(
    ("scope", "attributes", "recorded"),
    [
        ("opentelemetry.instrumentation.asgi", PROBE, False),
        ("opentelemetry.instrumentation.wsgi", {"http.target": "/healthz?full=1"}, False),
        ("fastapi", PROBE, False),
        ("fastapi", {"url.path": "/orders"}, True),
        ("fastapi", None, True),
        ("shop.own", PROBE, True),
    ],
)
def test_probes_stay_untraced_for_others(spans, scope, attributes, recorded):
    """Other instrumentations start no trace below one; a span that the program makes is its own."""
    tracer = trace.get_tracer(scope)
    server = tracer.start_span("GET", kind=trace.SpanKind.SERVER, attributes=attributes)
    with trace.use_span(server, end_on_exit=True), tracer.start_as_current_span("select"):
        pass
    assert len(spans) == (2 if recorded else 0)


def test_a_probe_keeps_the_callers_trace(spans):
    """As under an excluded path of our own edges: no span, and no trace is cut."""
    context = propagate.extract({"traceparent": f"00-{'ab' * 16}-{'cd' * 8}-01"})
    tracer = trace.get_tracer("fastapi")
    server = tracer.start_span("GET", context, trace.SpanKind.SERVER, PROBE)
    with trace.use_span(server), tracer.start_as_current_span("select"):
        pass
    (span,) = spans
    assert span.parent.span_id == int("cd" * 8, 16)
