"""The one rule where forwarding and injecting meet, the host rule, and gRPC's limits."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry import trace
from opentelemetry.context import Context

from tracekit._context import SpanContext
from tracekit.mesh import forward_headers
from tracekit.propagation import Propagator, Remote, encode, merge_headers
from tracekit.propagation._counters import Counters
from tracekit.propagation._forwarding import TRACE_HEADERS, ForwardRule, Outgoing
from tracekit.propagation._metadata import merge_metadata

B3 = encode("b3", Remote(1, 1, sampled=True))
INCOMING = {
    "X-Request-Id": "r-1",
    "X-B3-TraceId": B3["x-b3-traceid"],
    "x-b3-spanid": B3["x-b3-spanid"],
    "x-b3-sampled": "1",
    "traceparent": f"00-{'a' * 32}-{'b' * 16}-01",
    "baggage": "user=ann",
    "sw8": "1-abc",
    "End-User": "ann",
    "Authorization": "Bearer secret",
    "Accept": "*/*",
}


def served(propagator):
    """Return the context of a request with INCOMING, a span of ours being current."""
    context = propagator.extract(INCOMING)
    span = trace.NonRecordingSpan(SpanContext(7, 8, False, trace.TraceFlags(1)))
    return trace.set_span_in_context(span, context)


def test_unconfigured_formats_are_forwarded():
    """B3 describes the client span; W3C, x-request-id and sw8 go on as they came."""
    propagator = Propagator(("b3",))
    outgoing = propagator.outgoing(served(propagator))
    assert outgoing.own == encode("b3", Remote(7, 8, sampled=True))
    assert outgoing.forwarded == {
        name.lower(): INCOMING[name] for name in ("X-Request-Id", "traceparent", "baggage", "sw8")
    }


@pytest.mark.parametrize("fold", [str.lower, str.upper, str.title])
def test_by_hand_and_automatic_together(fold):
    """Headers forwarded by hand, in any letter case, never stand beside the automatic ones."""
    propagator = Propagator(("b3",))
    by_hand = {fold(name): value for name, value in forward_headers(INCOMING).items()}
    by_hand[fold("b3")] = "0"
    by_hand[fold("x-b3-flags")] = "1"
    merged = merge_headers(propagator.outgoing(served(propagator)), by_hand.items())
    names = [name.lower() for name, _ in merged]
    assert len(names) == len(set(names))
    sent = {name.lower(): value for name, value in merged}
    assert {name: sent[name] for name in sent if "b3" in name} == encode(
        "b3", Remote(7, 8, sampled=True)
    )
    assert sent["x-request-id"] == "r-1"


def test_the_callers_headers_win_by_family():
    """What the caller set is kept; a captured header of the same family is not mixed into it."""
    outgoing = Outgoing({"uber-trace-id": "1:2:0:1"}, dict(B3) | {"x-request-id": "captured"})
    merged = dict(merge_headers(outgoing, [("X-B3-TraceId", "mine"), ("X-Request-ID", "mine")]))
    assert merged == {
        "X-B3-TraceId": "mine",
        "X-Request-ID": "mine",
        "uber-trace-id": "1:2:0:1",
    }


def test_without_a_span_callers_headers_stay():
    """Where there is nothing to say, nothing of the caller's is replaced."""
    outgoing = Propagator(("b3",)).outgoing(Context())
    assert merge_headers(outgoing, B3.items()) == list(B3.items())


@given(
    st.lists(st.tuples(st.sampled_from(["Accept", "X-A", "x-a", "Cookie"]), st.text(max_size=4))),
    st.dictionaries(st.sampled_from(["x-request-id", "sw8"]), st.text(min_size=1, max_size=4)),
)
def test_other_headers_are_untouched(pairs, forwarded):
    """Order, repetition and spelling of everything else are the caller's."""
    outgoing = Outgoing({"b3": "0"}, forwarded, frozenset({"b3"}))
    assert merge_headers(outgoing, pairs)[: len(pairs)] == pairs


def test_hosts_by_default():
    """Trace headers go everywhere; listed application headers and baggage nowhere."""
    propagator = Propagator(("w3c",), forward=("authorization",))
    rule = ForwardRule.of(allow=["Authorization"])
    outgoing = propagator.outgoing(served(propagator), "api.example.com", rule)
    assert set(outgoing.own) == {"traceparent"}
    assert set(outgoing.forwarded) <= TRACE_HEADERS
    assert "x-request-id" in outgoing.forwarded


@pytest.mark.parametrize(
    "hosts",
    [
        "*.svc.cluster.local",
        ["other", "*.SVC.cluster.local"],
        lambda host: host.endswith(".svc.cluster.local"),
    ],
)
def test_hosts_by_rule(hosts):
    """With a rule, listed headers and baggage go to its hosts, and nothing goes to others."""
    propagator = Propagator(("w3c",), forward=("end-user", "authorization"))
    rule = ForwardRule.of(allow=["End-User"], hosts=hosts)
    inside = propagator.outgoing(served(propagator), "Reviews.default.svc.cluster.local.", rule)
    assert inside.own["baggage"] == "user=ann"
    assert inside.forwarded["end-user"] == "ann"
    assert "authorization" not in inside.forwarded
    outside = propagator.outgoing(served(propagator), "svc.cluster.local.evil.com", rule)
    assert outside == Outgoing({}, {})


def test_a_broken_predicate_forwards_nothing():
    """A host rule that fails lets nothing out, and the request goes on."""
    rule = ForwardRule.of(hosts=lambda host: 1 / 0)
    assert not rule.lets_trace("a")
    assert not rule.lets_application("a")


def test_listed_headers_are_captured():
    """``forward`` makes ingress capture application headers that an egress lists."""
    propagator = Propagator(("jaeger",))
    rule = ForwardRule.of(["cookie", "Host", "TE"], lambda _: True)
    assert rule.allow == {"cookie"}
    propagator.forward(rule.allow)
    context = propagator.extract_pairs([("Cookie", "c=1"), ("Host", "x")])
    assert propagator.outgoing(context, "h", rule).forwarded == {"cookie": "c=1"}


def test_unconfigured_baggage_goes_on():
    """Jaeger's headers, baggage too, pass verbatim through a service that speaks B3."""
    propagator = Propagator(("b3",))
    carrier = {"uber-trace-id": "1:2:0:1", "uberctx-user": "a%20b"}
    assert propagator.outgoing(propagator.extract(carrier)).forwarded == carrier
    rule = ForwardRule.of()
    assert propagator.outgoing(propagator.extract(carrier), "h", rule).forwarded == {
        "uber-trace-id": "1:2:0:1"
    }


def test_metadata_drops_what_grpc_refuses():
    """Names and values that would fail the call are left out and counted; the caller's own stay."""
    counters = Counters(lambda: 0.0)
    outgoing = Outgoing(
        {"X-B3-Sampled": "1", "uberctx-a=b": "1", "uberctx-c": "é"},
        {"grpc-trace-bin": "AAA", "x-request-id": "r\n", "user-agent": "u", "sw8": "ok"},
    )
    theirs = [("k", "1"), ("k", "2"), ("data-bin", b"\x00\xff"), ("x-b3-sampled", "0")]
    assert merge_metadata(outgoing, theirs, counters) == [
        ("k", "1"),
        ("k", "2"),
        ("data-bin", b"\x00\xff"),
        ("x-b3-sampled", "1"),
        ("sw8", "ok"),
    ]
    assert counters.unsendable == {("grpc", "name"): 3, ("grpc", "value"): 2}


def test_the_recipe_for_any_other_client():
    """The documented lines give any client one header of each name, in place of forwarded ones."""
    propagator = Propagator(("b3",))
    headers = {"Accept": "*/*", **forward_headers(INCOMING)}
    outgoing = propagator.outgoing(served(propagator))
    headers = dict(merge_headers(outgoing, headers.items()))
    assert headers["x-b3-traceid"] == f"{7:016x}"
    assert headers["Accept"] == "*/*"
    assert headers["x-request-id"] == "r-1"


@pytest.mark.parametrize("others", [{}, {"x-request-id": "r"}])
def test_foreign_baggage_is_captured(others):
    """Jaeger's baggage goes on through a service that speaks B3 only."""
    headers = {"uberctx-user": "7", **others}
    propagator = Propagator(("b3",))
    environ = {"HTTP_" + name.upper().replace("-", "_"): text for name, text in headers.items()}
    for context in (
        propagator.extract(headers),
        propagator.extract_pairs(headers.items()),
        propagator.extract_environ({"wsgi.version": (1, 0), **environ}),
    ):
        assert propagator.outgoing(context).forwarded == headers


def test_captured_values_are_text():
    """What frameworks keep as lists or bytes goes on as text."""
    propagator = Propagator(("jaeger",))
    for context in (
        propagator.extract({"x-request-id": ["r", b"s"]}),
        propagator.extract_environ({"HTTP_X_REQUEST_ID": ["r", b"s"]}),
    ):
        assert propagator.outgoing(context).forwarded == {"x-request-id": "r,s"}
