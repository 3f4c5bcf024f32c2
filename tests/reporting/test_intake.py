"""What a tracer of ours counts and queues by itself is what a reporter would have been told."""

from __future__ import annotations

import os
import time
import weakref

import pytest
from opentelemetry.sdk.resources import Resource

from tracekit.reporting import Reporter
from tracekit.sampling import ParentRule, from_type
from tracekit.testing import MemoryTransport
from tracekit.tracing import TracerProvider


class Heard(Reporter):
    """Notes what it is told."""

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.notes = []

    def on_start(self, span, parent_context=None):
        self.notes.append(f"start {span.name}")
        super().on_start(span, parent_context)

    def on_end(self, span):
        self.notes.append(f"end {span.name}")
        super().on_end(span)


@pytest.fixture
def reporter_of():
    made = []

    def make(kind=Reporter):
        from tracekit.encoding import jaeger_compact  # noqa: PLC0415

        class Worker:
            ident = -1

            def is_alive(self):
                return False

            def join(self, timeout=None):
                pass

        wire = MemoryTransport()
        reporter = kind(
            jaeger_compact(), lambda: wire, spawn=lambda _pipeline: Worker(), wait=time.sleep
        )
        made.append(reporter)
        return reporter

    yield make
    for reporter in made:
        reporter.shutdown(0.0)


def provider_of(reporter):
    return TracerProvider(ParentRule(from_type("const", 1)), reporter, Resource({}))


def trace(provider, children=3):
    tracer = provider.get_tracer("x")
    with tracer.start_as_current_span("root"):
        for _ in range(children):
            tracer.start_span("child").end()


def figures(reporter):
    stats = reporter.stats()
    return stats.started, stats.open, stats.finished, stats.queued


def test_the_figures_are_the_same(reporter_of):
    """A reporter that is told and one that has an intake count the same."""
    plain, told = reporter_of(), reporter_of(Heard)
    for reporter in (plain, told):
        trace(provider_of(reporter))
        assert figures(reporter) == (4, 0, 4, 4)
    assert len(told.notes) == 8


class Around:
    """Notes what a reporter is told, and shows all else of it as its own."""

    def __init__(self, reporter):
        self._reporter = reporter
        self.notes = []

    def __getattr__(self, name):
        return getattr(self._reporter, name)

    def on_start(self, span, parent_context=None):
        self.notes.append(f"start {span.name}")
        self._reporter.on_start(span, parent_context)

    def on_end(self, span):
        self.notes.append(f"end {span.name}")
        self._reporter.on_end(span)


def test_a_wrapper_is_told(reporter_of):
    """One that wraps a reporter hears of each span, as the reporter does."""
    reporter = reporter_of()
    around = Around(reporter)
    trace(provider_of(around), children=1)
    assert around.notes == ["start root", "start child", "end child", "end root"]
    assert figures(reporter) == (2, 0, 2, 2)


def test_a_method_of_its_own(reporter_of):
    """What was put in the place of a reporter's method is called."""
    reporter = reporter_of()
    seen = []
    offer = reporter.on_end
    reporter.on_end = lambda span: (seen.append(span.name), offer(span))
    trace(provider_of(reporter), children=1)
    assert seen == ["child", "root"]
    assert figures(reporter) == (2, 0, 2, 2)


def test_a_reporter_that_comes_later(reporter_of):
    """It is told of every end from then on, of what is open as well; the first one no more."""
    first, second = reporter_of(), reporter_of(Heard)
    provider = provider_of(first)
    tracer = provider.get_tracer("x")
    tracer.start_span("a").end()
    still_open = tracer.start_span("b")
    provider.report_to(second)
    still_open.end()
    tracer.start_span("c").end()
    assert second.notes == ["end b", "start c", "end c"]
    assert figures(first) == (2, 1, 1, 1)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_child_counts_its_own(reporter_of):
    """In a fork, spans go to the child's queue, and those of the parent's to nobody's."""
    reporter = reporter_of()
    provider = provider_of(reporter)
    trace(provider)
    still_open = provider.get_tracer("x").start_span("parent's")
    pid = os.fork()
    if not pid:
        try:
            still_open.end()
            trace(provider, children=1)
            right = figures(reporter) == (2, 0, 2, 2) and provider.counts().foreign == 1
            os._exit(0 if right else 1)
        finally:
            os._exit(2)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    assert figures(reporter) == (5, 1, 4, 4)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_child_keeps_no_foreign_queue(reporter_of):
    """Also while a span of the parent's is current in it, as where a block of a trace forks."""
    provider = provider_of(reporter_of())
    tracer = provider.get_tracer("x")
    queued = tracer.start_span("queued")
    held = weakref.ref(queued)
    queued.end()
    del queued
    with tracer.start_as_current_span("parent's"):
        pid = os.fork()
        if not pid:
            try:
                tracer.start_span("child's").end()
                os._exit(0 if held() is None else 1)
            finally:
                os._exit(2)
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    assert held() is not None


def test_after_the_end(reporter_of, caplog):
    """A span that ends after the shutdown is counted as lost, and that is said once."""
    reporter = reporter_of()
    provider = provider_of(reporter)
    span = provider.get_tracer("x").start_span("late")
    reporter.shutdown(0.0)
    span.end()
    trace(provider)
    assert reporter.stats().dropped["shutdown"] == 5
    assert caplog.text.count("after tracing was shut down") == 1
