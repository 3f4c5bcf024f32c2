"""Spans under threads, after their end, and when somebody changes the decision."""

import gc
import logging
import sys
import threading
from collections.abc import Sequence
from functools import partial

import pytest
from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.sdk import trace as sdk
from opentelemetry.trace import StatusCode

from tracekit._context import DEBUG, Decision, marks_of
from tracekit.tracing import Span, UnsampledSpan


def hammer(*jobs):
    """Run the jobs on threads that switch as often as possible; raise what they raised."""
    errors = []
    gate = threading.Barrier(len(jobs))

    def run(job):
        try:
            gate.wait(10)
            job()
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=run, args=(job,)) for job in jobs]
    switch = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(30)
    finally:
        sys.setswitchinterval(switch)
    assert errors == []


def test_is_what_exporters_check_for(tracer):
    """A span is an SDK span, a readable span and an API span; a quiet one is non-recording."""
    span = tracer.start_span("x")
    assert all(isinstance(span, kind) for kind in (sdk.Span, sdk.ReadableSpan, trace.Span))
    unsampled = trace.set_span_in_context(
        trace.NonRecordingSpan(trace.SpanContext(1, 2, is_remote=True)), Context()
    )
    assert isinstance(tracer.start_span("x", unsampled), trace.NonRecordingSpan)


def test_concurrent_writers_lose_nothing(tracer):
    """Attributes, events and links of racing threads all arrive."""
    span = tracer.start_span("x")

    def write(thread):
        for i in range(20):
            span.set_attribute(f"{thread}-{i}", i)
            span.add_event(f"{thread}-{i}")
            span.add_link(trace.SpanContext(thread + 1, i + 1, is_remote=True))

    hammer(*(lambda thread=thread: write(thread) for thread in range(4)))
    span.end()
    assert len(span.attributes) == len(span.events) == len(span.links) == 80
    assert (span.dropped_attributes, span.dropped_events, span.dropped_links) == (0, 0, 0)


def test_racing_first_events_all_arrive(tracer):
    """Of events that several threads add to a span without any, none replaces another."""
    for _ in range(100):
        span = tracer.start_span("x")
        hammer(*[partial(span.add_event, name) for name in ("a", "b", "c")])
        assert sorted(event.name for event in span.events) == ["a", "b", "c"]


def test_racing_ends_hand_the_span_on_once(provider_of, told):
    """Of racing callers one ends the span; the others are counted."""
    provider = provider_of()
    spans = [provider.get_tracer("x").start_span("x") for _ in range(200)]
    logging.disable()
    try:
        hammer(*([lambda: [span.end() for span in spans]] * 4))
    finally:
        logging.disable(logging.NOTSET)
    assert sorted(map(id, told.ended)) == sorted(map(id, spans))
    assert provider.counts().ended_twice == 3 * len(spans)


def test_readers_of_an_ended_span_agree(tracer):
    """Attributes that race with the end are in for every reader, or out for every reader."""
    for _ in range(50):
        span = tracer.start_span("x", attributes={"always": 0})
        seen = []

        def write(span=span):
            for i in range(30):
                span.set_attribute(f"k{i}", i)
                span.set_attribute("always", i)

        def finish(span=span, seen=seen):
            span.end()
            seen.extend(dict(span.attributes) for _ in range(5))

        logging.disable()
        try:
            hammer(write, finish)
        finally:
            logging.disable(logging.NOTSET)
        seen.append(dict(span.attributes))
        assert all(view == seen[0] for view in seen)
        assert "always" in seen[0]


def test_limit_holds_under_threads(provider_of):
    """However many threads set attributes, the limit is kept and all are counted."""
    limits = sdk.SpanLimits(max_span_attributes=8)
    span = provider_of(limits=limits).get_tracer("x").start_span("x")
    hammer(
        *(
            lambda thread=thread: [span.set_attribute(f"{thread}-{i}", i) for i in range(50)]
            for thread in range(4)
        )
    )
    span.set_attribute("last", 1)
    span.end()
    assert len(span.attributes) == 8
    assert span.dropped_attributes == 4 * 50 + 1 - 8


def test_ended_span_is_immutable(tracer, caplog):
    """After the end every change is ignored with a warning."""
    span = tracer.start_span("x", attributes={"a": 1})
    span.end(5)
    before = span.to_json()
    span.set_attribute("a", 2)
    span.set_attributes({"b": 2})
    span.add_event("late")
    span.add_link(trace.SpanContext(1, 2, is_remote=False))
    span.update_name("late")
    span.set_status(StatusCode.ERROR)
    span.record_exception(ValueError())
    span._force(Decision.DEBUG)
    span.end(6)
    assert span.to_json() == before
    assert len(caplog.records) == 9
    with pytest.raises(TypeError):
        span.attributes["a"] = 3


def test_unreadable_attributes_are_counted(tracer, caplog):
    """A value that raises when it is read, or no mapping at all, is dropped and counted."""

    class Broken(Sequence):
        def __len__(self):
            return 1

        def __getitem__(self, index):
            raise RuntimeError("no value")

    span = tracer.start_span("x")
    span.set_attribute("a", Broken())
    span.set_attributes({"b": Broken()})
    span.set_attributes(["no", "mapping"])
    span.add_event("e", {"c": Broken()})
    span.end()
    assert dict(span.attributes) == {}
    assert span.dropped_attributes == 3
    assert span.events[0].dropped_attributes == 1
    assert len(caplog.records) >= 4


def test_child_keeps_no_parent_alive(tracer):
    """A chain of spans, each below the last, holds one of them in memory."""
    span = tracer.start_span("first")
    for _ in range(5):
        span = tracer.start_span("next", trace.set_span_in_context(span, Context()))
    gc.collect()
    assert sum(type(thing) is Span for thing in gc.get_referents(span)) == 0


def test_context_is_made_once(tracer):
    """The span context is the same object however often it is asked for."""
    span = tracer.start_span("x")
    assert span.get_span_context() is span.context


def test_a_denied_span_is_withdrawn(provider_of, told):
    """A live span that is denied is withdrawn at once, never handed on, and has quiet children."""
    tracer = provider_of().get_tracer("x")
    span = tracer.start_span("x")
    parent = span.get_span_context()
    span._force(Decision.DENY)
    child = tracer.start_span("y", trace.set_span_in_context(span, Context()))
    child.end()
    span.end()
    assert not span.get_span_context().trace_flags.sampled
    assert span.get_span_context().span_id == parent.span_id
    assert type(child) is UnsampledSpan
    assert (told.started, told.withdrawn, told.ended) == ([span], [span], [])


def test_debugged_span_marks_its_children(provider_of, told):
    """A forced span and its later children are debug, and it is reported once."""
    tracer = provider_of().get_tracer("x")
    root = tracer.start_span("x")
    span = tracer.start_span("y", trace.set_span_in_context(root, Context()))
    span._force(Decision.DEBUG)
    span._force(Decision.DEFER)
    child = tracer.start_span("z", trace.set_span_in_context(span, Context()))
    assert marks_of(span.get_span_context()) == DEBUG == marks_of(child.get_span_context())
    assert marks_of(span.parent) == 0 == marks_of(root.get_span_context())
    for each in (child, span, root):
        each.end()
    assert told.started == [root, span, child]
    assert told.ended == [child, span, root]


def test_decision_can_be_changed_back(provider_of, told):
    """Denied and then accepted again, a span is started twice, withdrawn once and ended once."""
    span = provider_of().get_tracer("x").start_span("x")
    for decision in (Decision.DENY, Decision.DENY, Decision.ACCEPT):
        span._force(decision)
    span.end()
    assert (len(told.started), len(told.withdrawn), len(told.ended)) == (2, 1, 1)


def test_racing_denial_and_end_keep_the_law(provider_of, told):
    """A span is withdrawn or handed on, never both, when a denial races with its end."""
    tracer = provider_of().get_tracer("x")
    logging.disable()
    try:
        for _ in range(100):
            span = tracer.start_span("x")
            hammer(lambda span=span: span._force(Decision.DENY), span.end)
    finally:
        logging.disable(logging.NOTSET)
    assert len(told.withdrawn) + len(told.ended) == len(told.started) == 100


def test_forcing_changes_later_children_only(provider_of, told):
    """An unsampled span cannot be recorded any more, but its later children can."""
    provider = provider_of()
    tracer = provider.get_tracer("x")
    remote = trace.NonRecordingSpan(trace.SpanContext(1, 2, is_remote=True))
    quiet = tracer.start_span("x", trace.set_span_in_context(remote, Context()))
    quiet._force(Decision.DEBUG)
    child = tracer.start_span("y", trace.set_span_in_context(quiet, Context()))
    assert quiet.get_span_context().trace_flags.sampled
    assert told.started == [child]
    assert child.parent.span_id == quiet.get_span_context().span_id


class UnspeakableError(Exception):
    def __str__(self):
        raise RuntimeError("no words")


def test_an_unprintable_error_has_its_type(tracer):
    """One whose ``__str__`` raises costs its message, and nothing reaches the program."""
    span = tracer.start_span("span")
    span.record_exception(UnspeakableError(), {"k": "v"}, 7)
    with pytest.raises(UnspeakableError), tracer.start_as_current_span("failing") as failing:
        raise UnspeakableError
    for each in (span, failing):
        (event,) = each.events
        assert event.name == "exception"
        assert event.attributes["exception.type"].endswith("UnspeakableError")
    assert span.events[0].timestamp == 7
