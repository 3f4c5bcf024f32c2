"""The facts that encoders read, and the SDK's surface, say the same of a span."""

import pytest
from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.sdk.trace import SpanLimits
from opentelemetry.trace import Link, SpanContext, SpanKind, StatusCode, TraceFlags, TraceState

from tracekit.encoding._facts import facts_of

REMOTE = SpanContext(
    2**90, 7, is_remote=True, trace_flags=TraceFlags(1), trace_state=TraceState([("k", "v")])
)


@pytest.mark.parametrize("parent", [None, REMOTE, "local"])
@pytest.mark.parametrize("telling", [False, True])
def test_facts_are_what_the_surface_says(provider_of, parent, telling):
    """Ids, flags, texts, links of the start, events, and what was dropped agree in both forms."""
    tracer = provider_of(limits=SpanLimits(max_events=1, max_links=1)).get_tracer("x", "1")
    context = Context()
    if parent == "local":
        context = trace.set_span_in_context(tracer.start_span("root", context), context)
    elif parent is not None:
        context = trace.set_span_in_context(trace.NonRecordingSpan(parent), context)
    links = [Link(SpanContext(1, 2, is_remote=True), {"l": 1})]
    span = tracer.start_span("x", context, SpanKind.SERVER, {"a": 1}, links, start_time=5)
    if telling:
        span.add_link(REMOTE, {"m": 2})
        span.add_event("first")
        span.add_event("second", {"e": 3}, timestamp=6)
        span.set_status(StatusCode.ERROR, "why")
    span.end(9)
    facts = facts_of(span)
    own = span.get_span_context()
    assert (facts.trace_id, facts.span_id) == (own.trace_id, own.span_id)
    assert (facts.bits & 3, facts.state) == (int(own.trace_flags), own.trace_state)
    assert facts.parent_id == (span.parent.span_id if span.parent else 0)
    assert facts.parent_is_remote is (parent is REMOTE)
    assert (facts.name, facts.kind) == (span.name, span.kind)
    assert (facts.start_ns, facts.end_ns) == (span.start_time, span.end_time) == (5, 9)
    assert dict(facts.attributes) == dict(span.attributes)
    assert (facts.status, facts.scope) == (span.status, span.instrumentation_scope)
    assert [(name, at, bag[0]) for name, at, bag in facts.events] == [
        (event.name, event.timestamp, dict(event.attributes)) for event in span.events
    ]
    assert [(context, bag[0]) for context, bag in facts.links] == [
        (link.context, dict(link.attributes)) for link in span.links
    ]
    assert len(facts.links) == 1
    dropped = (facts.dropped_attributes, facts.dropped_events, facts.dropped_links)
    assert dropped == (span.dropped_attributes, span.dropped_events, span.dropped_links)


def test_an_ended_span_is_converted_once(tracer):
    """Events, links and attributes of an ended span are converted once."""
    span = tracer.start_span("x", links=[Link(REMOTE)])
    span.add_event("e")
    assert span.events[0].name == "e"
    span.end()
    assert span.events[0] is span.events[0]
    assert span.links[0] is span.links[0]
    assert span.attributes is span.attributes
