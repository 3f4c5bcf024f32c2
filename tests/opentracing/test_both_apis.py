"""OpenTracing and OpenTelemetry in one program: one trace, and one answer to what is current."""

from __future__ import annotations

import asyncio
import itertools
import threading

import gevent
import opentracing
import pytest
from opentelemetry import baggage, trace
from opentelemetry import context as otel_context
from opentelemetry.trace import SpanKind, StatusCode
from opentracing.ext import tags
from opentracing.scope_managers import ThreadLocalScopeManager
from worlds import context_variables

import tracekit
import tracekit.jaeger_client
import tracekit.opentracing
import tracekit.testing

MANAGERS = {"ours": lambda: None, "thread": ThreadLocalScopeManager, "ctx": context_variables}


@pytest.fixture(params=MANAGERS)
def ot(request, tracing):
    """Return an OpenTracing tracer, with each kind of scope manager."""
    return tracekit.opentracing.tracer(tracing, MANAGERS[request.param]())


@pytest.fixture
def otel(tracing):
    return tracing.tracer("otel")


def ids(span):
    return (span.parent and span.parent.span_id), span.context.span_id


def chain(tracing, count):
    """Take spans, innermost first; each is to be the child of the next."""
    spans = tracing.sink.take_many(count)
    tracing.sink.assert_empty()
    for below, above in itertools.pairwise(spans):
        assert below.parent.span_id == above.context.span_id
        assert below.context.trace_id == above.context.trace_id
    assert spans[-1].parent is None
    return [span.name for span in spans]


def test_spans_alternate_in_one_trace(tracing, ot, otel):
    """Whichever API made the current span, the other one's child hangs below it."""
    with (
        ot.start_active_span("1"),
        otel.start_as_current_span("2"),
        ot.start_active_span("3"),
        otel.start_as_current_span("4"),
    ):
        ot.start_span("5").finish()
    assert chain(tracing, 5) == list("54321")


def test_the_newer_one_is_current_for_both(ot, otel):
    """Inside and, as they close, outside again."""
    assert ot.active_span is None
    with ot.start_active_span("1") as first:
        assert trace.get_current_span() is first.span.otel
        assert ot.active_span is first.span
        with otel.start_as_current_span("2") as second:
            assert trace.get_current_span() is second
            assert ot.active_span.otel is second
            assert ot.active_span is ot.active_span
            with ot.start_active_span("3") as third:
                assert trace.get_current_span() is third.span.otel
                assert ot.active_span is third.span
            assert ot.active_span.otel is second
        assert ot.active_span is first.span
        assert trace.get_current_span() is first.span.otel
    assert ot.active_span is None
    assert not trace.get_current_span().get_span_context().is_valid


def test_otels_spans_are_parents_by_any_name(tracing, ot, otel):
    """Span, span context, reference, or the span as OpenTracing shows it."""
    parent = otel.start_span("parent")
    shown = ot.span_of(parent)
    for given in (parent, parent.get_span_context(), shown, shown.context):
        ot.start_span("child", child_of=given).finish()
    ot.start_span("child", references=opentracing.child_of(shown.context)).finish()
    parent.end()
    *children, parent = tracing.sink.take_many(6)
    assert {ids(child)[0] for child in children} == {parent.context.span_id}


def test_what_one_says_the_other_reads(tracing, ot, otel):
    """Tags are attributes, logs are events, the operation is the name."""
    with otel.start_as_current_span("otel") as span:
        active = ot.active_span
        active.set_tag("shown", 1).log_kv({"event": "cache miss", "size": 2})
        active.set_operation_name("renamed")
        span.set_attribute("own", 2)
    with ot.start_active_span("ot", tags={"http.url": "http://a/b"}) as scope:
        trace.get_current_span().set_attribute("otel", True)
        trace.get_current_span().add_event("event")
        assert scope.span.is_sampled()
    first, second = tracing.sink.take_many(2)
    assert first.name == "renamed"
    assert {"shown": 1, "own": 2}.items() <= dict(first.attributes).items()
    assert [(it.name, dict(it.attributes)) for it in first.events] == [
        ("cache miss", {"event": "cache miss", "size": 2})
    ]
    assert {"http.url": "http://a/b", "otel": True}.items() <= dict(second.attributes).items()
    assert [event.name for event in second.events] == ["event"]


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("client", SpanKind.CLIENT),
        ("server", SpanKind.SERVER),
        ("producer", SpanKind.PRODUCER),
        ("consumer", SpanKind.CONSUMER),
    ],
)
def test_the_kind_is_opentelemetrys(tracing, ot, kind, expected):
    """At the start and later; it is no attribute beside."""
    ot.start_span("start", tags={tags.SPAN_KIND: kind}).finish()
    ot.start_span("later").set_tag(tags.SPAN_KIND, kind).finish()
    for span in tracing.sink.take_many(2):
        assert span.kind is expected
        assert tags.SPAN_KIND not in span.attributes


@pytest.mark.parametrize(
    ("value", "status"),
    [
        (True, StatusCode.ERROR),
        ("true", StatusCode.ERROR),
        (False, StatusCode.UNSET),
        ("yes", StatusCode.UNSET),
    ],
)
def test_the_tag_error_is_a_status(tracing, ot, value, status):
    """What Jaeger counts as an error, and nothing else."""
    ot.start_span("start", tags={tags.ERROR: value}).finish()
    ot.start_span("later").set_tag(tags.ERROR, value).finish()
    for span in tracing.sink.take_many(2):
        assert span.status.status_code is status
        assert span.attributes[tags.ERROR] == value
    ot.start_span("taken back").set_tag(tags.ERROR, True).set_tag(tags.ERROR, False).finish()
    assert tracing.sink.take().status.status_code is not StatusCode.ERROR


def test_an_exception_is_told_by_both(tracing, ot, otel):
    """Through scopes and context managers of either; the program gets its exception."""
    with pytest.raises(ValueError, match="bad"), ot.start_active_span("ot"):
        raise ValueError("bad")
    with pytest.raises(ValueError, match="bad"), otel.start_as_current_span("otel"):
        raise ValueError("bad")
    for span in tracing.sink.take_many(2):
        assert span.status.status_code is StatusCode.ERROR
        assert len(span.events) == 1


def test_baggage_goes_both_ways(ot, otel):
    """What one API sets, the other has, for the current span and below it; then it is gone."""
    with ot.start_active_span("1") as first:
        first.span.set_baggage_item("ot", "a")
        assert baggage.get_all() == {"ot": "a"}
        token = otel_context.attach(baggage.set_baggage("otel", "b"))
        assert first.span.get_baggage_item("otel") == "b"
        with otel.start_as_current_span("2"), ot.start_active_span("3") as third:
            assert dict(third.span.context.baggage) == {"ot": "a", "otel": "b"}
        otel_context.detach(token)
        assert ot.active_span.get_baggage_item("otel") is None
        assert ot.active_span.get_baggage_item("ot") == "a"
    assert ot.start_span("4").get_baggage_item("ot") is None


@pytest.mark.parametrize(
    ("value", "sampled", "debug"),
    [(1, True, True), ("2", True, True), (0, False, False), (-1, False, False)],
)
def test_a_priority_decides_a_trace(ot, otel, value, sampled, debug):
    """At the start or later, for children of both APIs and for what goes over the wire."""
    for span in (
        ot.start_span("start", tags={tags.SAMPLING_PRIORITY: value}),
        ot.start_span("later").set_tag(tags.SAMPLING_PRIORITY, value),
    ):
        assert (span.is_sampled(), span.is_debug()) == (sampled, debug)
        with ot.scope_manager.activate(span, True):
            child = otel.start_span("child")
            assert child.get_span_context().trace_flags.sampled == sampled
            assert ot.start_span("child").is_debug() is debug
        carrier = {}
        ot.inject(span, opentracing.Format.HTTP_HEADERS, carrier)
        assert carrier["uber-trace-id"].endswith(":3" if debug else ":0")


def test_a_span_forced_late_records_the_rest():
    """Its start time, name and links are kept; OpenTelemetry's current span is the same one."""
    tracing = tracekit.testing.tracing(sampler_type="const", sampler_param=0)
    tracer = tracekit.opentracing.tracer(tracing)
    with tracer.start_active_span("quiet", tags={"lost": 1}, start_time=1_600_000_000) as scope:
        scope.span.set_tag("lost too", 1).set_operation_name("found")
        scope.span.set_tag(tags.SAMPLING_PRIORITY, 1).set_tag("kept", 1)
        tracing.tracer("otel").start_span("below").end()
    below, found = tracing.sink.take_many(2)
    assert (found.name, found.start_time) == ("found", 1_600_000_000 * 10**9)
    assert dict(found.attributes) == {tags.SAMPLING_PRIORITY: 1, "kept": 1}
    assert below.parent.span_id == found.context.span_id
    stats = tracing.stats()
    assert (stats.started, stats.finished, stats.open) == (2, 2, 0)
    tracing.shutdown()


@pytest.mark.parametrize("manager", MANAGERS.values(), ids=MANAGERS)
def test_a_forced_span_is_activated_again(manager):
    """It is current for both, as the span that records, until its scope is closed."""
    tracing = tracekit.testing.tracing(sampler_type="const", sampler_param=0)
    tracer = tracekit.opentracing.tracer(tracing, manager())
    span = tracer.start_span("quiet")
    with tracer.scope_manager.activate(span, False):
        span.set_tag(tags.SAMPLING_PRIORITY, 1)
        with tracer.scope_manager.activate(span, False):
            assert tracer.active_span is span
            assert trace.get_current_span() is span.otel
            trace.get_current_span().set_attribute("otel", True)
        assert tracer.active_span is span
    assert tracer.active_span is None
    span.finish()
    assert tracing.sink.take().attributes["otel"] is True
    tracing.shutdown()


def test_each_thread_and_task_has_its_own(tracing, otel):
    """Tasks inherit what is current, threads and greenlets start with nothing."""
    ot = tracekit.opentracing.tracer(tracing)
    seen = {}

    def look(name):
        seen[name] = ot.active_span

    async def main():
        with otel.start_as_current_span("outer") as outer:
            thread = threading.Thread(target=look, args=("thread",))
            thread.start()
            thread.join()
            gevent.spawn(look, "greenlet").join()

            async def task():
                look("task")
                with ot.start_active_span("inner"):
                    await asyncio.sleep(0)

            await asyncio.gather(task(), task())
            assert ot.active_span.otel is outer

    asyncio.run(main())
    assert (seen["thread"], seen["greenlet"]) == (None, None)
    assert seen["task"].operation_name == "outer"
    *inner, outer = tracing.sink.take_many(3)
    assert {ids(span)[0] for span in inner} == {outer.context.span_id}


def test_a_wrapped_function_takes_its_scope(tracing):
    """To a thread, as it takes OpenTelemetry's span."""
    ot = tracekit.opentracing.tracer(tracing)
    with ot.start_active_span("outer"):
        work = tracekit.wrap(lambda: ot.start_span("inner").finish())
    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    outer, inner = tracing.sink.take_many(2)
    assert ids(inner)[0] == outer.context.span_id


def test_a_scope_may_be_closed_elsewhere(tracing):
    """What was current before is current again, wherever that is; nothing is raised."""
    ot = tracekit.opentracing.tracer(tracing)
    scope = ot.start_active_span("op")

    async def close():
        scope.close()

    asyncio.run(close())
    scope.close()
    scope.close()
    assert ot.active_span is None


def test_a_foreign_span_can_be_active(ot):
    """One of another library: its scope works, and nobody takes it for ours."""
    theirs = opentracing.Tracer().start_span()
    with ot.scope_manager.activate(theirs, False):
        assert ot.active_span is theirs
        assert ot.start_span("own").parent_id is None
    assert ot.active_span is None
