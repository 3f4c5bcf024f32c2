"""The pytest plugin, run by pytest itself on small suites: each promise is broken once."""

from __future__ import annotations

import subprocess
import sys
import textwrap

import pytest
from suites import run_suite

HEAD = """
import pytest, tracekit, threading
from opentelemetry import trace, context
from tracekit.testing import assert_trace
tracer = tracekit.get_tracer("shop")  # as modules do, before anything runs
"""


@pytest.fixture
def run(tmp_path):
    """Return a function that runs pytest on a suite and gives its output."""

    def run(suite, *options):
        (tmp_path / "test_suite.py").write_text(HEAD + textwrap.dedent(suite))
        return run_suite(tmp_path, *options)

    return run


def test_all_makers_of_spans_are_recorded(run):
    """Our tracers, OpenTelemetry's globals, edges, and an ``init`` in the program under test."""
    shown = run(
        """
        def test_all(spans):
            import flask, tracekit.flask
            app = flask.Flask("shop")
            tracekit.flask.init_app(app)

            @app.get("/hello")
            def hello():
                with tracer.start_as_current_span("ours"):
                    with trace.get_tracer("library").start_as_current_span("theirs"):
                        return "hello"

            assert tracekit.init("ignored") is spans.tracing
            assert app.test_client().get("/hello").text == "hello"
            tracekit.shutdown()
            with tracer.start_as_current_span("later"):
                pass
            assert_trace(spans, '''
                GET /hello [server] {http.route=/hello}
                  ours
                    theirs
                later
            ''')

        def test_nothing_is_left_of_it():
            assert isinstance(trace.get_tracer_provider(), trace.ProxyTracerProvider)
            assert not tracer.start_span("x").is_recording()

        def test_each_test_has_its_own(spans):
            assert list(spans) == []
        """
    )
    assert "3 passed" in shown, shown


def test_what_a_test_leaves_fails_it(run):
    """An open span with its place, a context that is still attached, a thread of ours."""
    shown = run(
        """
        def test_leaked_span(spans):
            tracer.start_span("left open")

        def test_leaked_context(spans):
            span = tracer.start_span("still current")
            context.attach(trace.set_span_in_context(span))
            span.end()

        def test_leftover_thread(spans):
            from tracekit.testing import MemoryTransport
            other = tracekit.init("other", environ={}, sampler_type="const", sampler_param=1,
                                  set_global=False, transport=MemoryTransport())
            other.tracer("x").start_span("y").end()
            spans.keep = other

        def test_the_next_one_is_clean(spans):
            assert not trace.get_current_span().is_recording()
        """
    )
    assert "span 'left open' has not ended; it was started at" in shown, shown
    assert "test_suite.py:8" in shown
    assert "a context was left attached: span 'still current' is still current" in shown
    assert "thread 'tracekit-worker' of tracekit's is left" in shown
    assert "4 passed, 3 errors" in shown


def test_an_earlier_tests_span_is_told_apart(run):
    """A thread of the first test goes on and makes a child in the second."""
    shown = run(
        """
        held = {}

        @pytest.mark.spans(strict=False)
        def test_first(spans):
            held["span"] = tracer.start_span("before")

        def test_second(spans):
            with trace.use_span(held["span"]):
                tracer.start_span("after").end()
        """
    )
    assert "has a parent of an earlier test" in shown, shown
    assert "2 passed, 1 error" in shown


def test_a_wrong_tree_is_a_difference(run):
    """What was expected and what ended stand line by line."""
    shown = run(
        """
        def test_tree(spans):
            with tracer.start_as_current_span("dispatch", attributes={"n": 1}):
                with tracer.start_as_current_span("route"):
                    pass
            assert_trace(spans, '''
                dispatch {n=2}
                  route
            ''')
        """
    )
    assert "- dispatch {n=2}" in shown, shown
    assert "+ dispatch {n=1}" in shown


def test_the_marker_takes_settings(run):
    """Also on unittest classes; ``sampler`` and any setting of ``init`` may be given."""
    shown = run(
        """
        import unittest

        @pytest.mark.spans(sampler=0)
        def test_unsampled(spans):
            tracer.start_span("x").end()
            assert list(spans) == []
            assert spans.tracing.stats().unsampled == 1

        @pytest.mark.spans(service_name="shop", strict=False)
        class TestClass(unittest.TestCase):
            def test_marked(self):
                from tracekit._assembly.handle import current
                assert current().settings.service_name == "shop"
                tracer.start_span("open")

        class TestFixture(unittest.TestCase):
            @pytest.fixture(autouse=True)
            def _spans(self, spans):
                self.spans = spans

            def test_recorded(self):
                tracer.start_span("x").end()
                assert self.spans.one("x")
        """,
        "--strict-markers",
    )
    assert "3 passed" in shown, shown


def test_a_foreign_provider_is_lent_and_back(run):
    """OpenTelemetry's own SDK set up globally by the program's conftest."""
    shown = run(
        """
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry import propagate
        mine = TracerProvider()
        trace.set_tracer_provider(mine)
        textmap = propagate.get_global_textmap()

        def test_lent(spans):
            with trace.get_tracer("library").start_as_current_span("x"):
                carrier = {}
                propagate.inject(carrier)
            assert spans.one("x") and "uber-trace-id" in carrier

        def test_given_back():
            assert trace.get_tracer_provider() is mine
            assert propagate.get_global_textmap() is textmap
        """
    )
    assert "2 passed" in shown, shown


def test_started_programs_report_to_the_test(run):
    """To an agent or a collector by variables alone: UDP, Thrift over HTTP, OTLP."""
    shown = run(
        """
        import os, subprocess, sys
        PROGRAM = "from tracekit import *; init('shop'); get_tracer('x').start_span('y').end()"

        def started(environ):
            environ = {**os.environ, **environ}
            subprocess.run([sys.executable, "-c", PROGRAM], env=environ, check=True)

        def test_agent(agent):
            started(agent.environ)
            assert [span.operation for span in agent.wait(1)] == ["y"]

        def test_collector(collector):
            started(collector.environ)
            started(collector.otlp_environ)
            assert [span.service for span in collector.wait(2)] == ["shop", "shop"]
        """
    )
    assert "2 passed" in shown, shown


def test_the_unused_plugin_loads_nothing(run):
    """Whoever has tracekit installed and does not test spans pays one small import."""
    shown = run(
        """
        def test_nothing():
            pass
        """
    )
    assert "1 passed" in shown
    program = (
        "import sys, tracekit.pytest_plugin\n"
        "print(sorted(m for m in sys.modules if m.startswith(('tracekit', 'opentelemetry'))))"
    )
    loaded = subprocess.run([sys.executable, "-c", program], capture_output=True, check=True)
    assert loaded.stdout.decode().strip() == "['tracekit', 'tracekit.pytest_plugin']"
