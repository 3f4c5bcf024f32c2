"""Spans that end where the stack is nearly full are handed on once, now or at a later ``end``."""

from __future__ import annotations

import sys
from collections import Counter

import pytest
from accounting import lawful
from collector import no_collector
from opentelemetry import trace

import tracekit
from tracekit import testing
from tracekit.testing import FakeAgent

DEPTHS = range(1, 45)
"""Frames that are left where a span is ended; the last is enough for anything."""


def frames():
    frame, number = sys._getframe(), 0
    while frame is not None:
        frame, number = frame.f_back, number + 1
    return number


def down(levels, then):
    """Call ``then`` so many frames further down."""
    if levels:
        down(levels - 1, then)
    else:
        then()


def near_the_limit(left, then):
    """Call ``then`` where about ``left`` frames are left; return whether that was too few."""
    with no_collector():  # finalizers of others' would run down there
        try:
            down(sys.getrecursionlimit() - frames() - left, then)
        except RecursionError:
            return True
    return False


@pytest.fixture(params=[{}, {"queue_size": 3}, {"drop_policy": "oldest", "queue_size": 3}])
def options(request):
    return request.param


@pytest.mark.parametrize("left", DEPTHS)
def test_the_first_span_of_a_process(left):
    """It starts the worker as well, which takes the deepest stack of all."""
    with FakeAgent() as agent:
        tracing = tracekit.init("deep", environ=agent.environ, set_global=False)
        try:
            span = tracing.tracer("t").start_span("first")
            if near_the_limit(left, span.end):
                span.end()
            tracing.tracer("t").start_span("second").end()
            assert lawful(tracing.stats().as_dict())
            assert tracing.stats().open == 0
            assert tracing.flush(20.0)
        finally:
            tracing.shutdown(20.0)
        names = sorted(each.operation for each in agent.wait(2))
        assert names == ["first", "second"]
        assert tracing.stats().sent == 2


def test_at_every_depth(options):
    """No span is handed on twice, none stays open, none is in two figures or in none."""
    with FakeAgent() as agent:
        environ = agent.environ | {"JAEGER_REPORTER_FLUSH_INTERVAL": "1h"}
        tracing = tracekit.init("deep", environ=environ, set_global=False, **options)
        ended_late = 0
        try:
            tracer = tracing.tracer("t")
            tracer.start_span("warm").end()
            for _ in range(3):
                for left in DEPTHS:
                    span = tracer.start_span(f"left {left}")
                    failed = near_the_limit(left, span.end)
                    assert lawful(tracing.stats().as_dict())
                    if failed and tracing.stats().open:
                        ended_late += 1
                        assert span.is_recording()
                        span.set_attribute("late", True)
                        span.end()
                    assert not span.is_recording()
                    assert tracing.stats().open == 0, left
            assert tracing.flush(20.0)
        finally:
            tracing.shutdown(20.0)
        stats = tracing.stats()
        assert ended_late > 0
        assert stats.started == stats.finished == 1 + 3 * len(DEPTHS)
        assert stats.sent + stats.dropped["queue_full"] == stats.finished
        names = Counter(each.operation for each in agent.wait(stats.sent))
        assert sum(names.values()) == stats.sent
        assert max(names.values()) <= 3


@pytest.mark.parametrize("failed", [False, True])
@pytest.mark.parametrize("which", ["child", "root"])
def test_a_trace_is_decided_at_every_depth(which, failed):
    """Each span is in one figure, and the trace is decided, by a later ``end`` at last."""
    tracing = testing.tracing(
        sampler_type="probabilistic", sampler_param=0.0, keep="errors", keep_per_second=1e6
    )
    try:
        tracer = tracing.tracer("t")
        for left in DEPTHS:
            root = tracer.start_span(f"root {left}")
            child = tracer.start_span("child", context=trace.set_span_in_context(root))
            if failed:
                child.set_status(trace.StatusCode.ERROR)
            for span in (child, root):
                if span is {"child": child, "root": root}[which]:
                    near_the_limit(left, span.end)
                if span.is_recording():
                    span.end()
                stats = tracing.stats()
                assert stats.recorded == (
                    stats.buffered + stats.promoted + sum(stats.discarded.values())
                )
            assert stats.buffered == 0, left
        assert stats.recorded == 2 * len(DEPTHS)
        assert stats.promoted == failed * stats.recorded
        tracing.flush()
        names = Counter(span.name for span in tracing.sink.spans)
        assert names["child"] == failed * len(DEPTHS)
        assert sum(names.values()) == failed * stats.recorded
    finally:
        tracing.shutdown()
