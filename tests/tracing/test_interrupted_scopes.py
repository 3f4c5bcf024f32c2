"""A signal handler that raises, or no memory, within a span's own code: context and law hold."""

from __future__ import annotations

import contextvars
import sys

import pytest
from collector import no_collector
from interrupting import Interrupt, Interrupting
from opentelemetry import context as otel_context

import tracekit
from tracekit.testing import MemoryTransport
from tracekit.tracing import _scope


def traced():
    return tracekit.init(
        "s",
        environ={},
        transport=MemoryTransport(),
        sampler_type="const",
        sampler_param=1,
        set_global=False,
        flush_s=3600,
    )


class InScope(Interrupting):
    """Raises in the scope's own module; knows whether that was on entry of ``__exit__``."""

    checked = frozenset({_scope.__file__})
    at_the_door = False

    def __call__(self, frame, event, argument):
        self.at_the_door = event == "call" and frame.f_code.co_name == "__exit__"
        return super().__call__(frame, event, argument)


@pytest.mark.skipif(sys.gettrace() is not None, reason="a debugger or coverage traces already")
def test_an_interrupt_leaves_the_context():
    """Wherever it comes, but on entry of ``__exit__``, where no Python code can be on its guard."""
    tracing = traced()
    tracer = tracing.tracer("t")

    def lives(interrupting):
        before = otel_context.get_current()
        sys.settrace(interrupting)
        try:
            with tracer.start_as_current_span("a"):
                pass
        except Interrupt:
            pass
        finally:
            sys.settrace(None)
        whole = otel_context.get_current() is before
        if not whole:
            otel_context.attach(before)
        return whole

    # 3.12 and 3.13 tell of a function's instructions from its second run on.
    lives(InScope(None))
    counting = InScope(None)
    assert lives(counting)
    assert counting.passed > 5
    for place in range(1, counting.passed + 1):
        interrupting = InScope(place)
        assert lives(interrupting) or interrupting.at_the_door, place
        stats = tracing.stats()
        assert stats.started == stats.open + stats.finished
    tracing.shutdown()


def _raises(tracer, interrupting):
    sys.settrace(interrupting)
    try:
        with tracer.start_as_current_span("a"):
            pass
    except interrupting.error:
        return True
    finally:
        sys.settrace(None)
    return False


@pytest.mark.parametrize("error", [TimeoutError, KeyError, Interrupt])
def test_a_time_limit_is_not_swallowed(error):
    """What a signal handler raises while the context is set back is the program's to see."""
    tracing = traced()
    tracer = tracing.tracer("t")
    raised = 0
    for place in range(1, 40):
        interrupting = InScope(place)
        interrupting.error = error
        raised += contextvars.copy_context().run(_raises, tracer, interrupting)
        if interrupting.passed < place:
            break
    assert raised == place - 1 > 5
    tracing.shutdown()


def test_no_memory_in_the_end_of_a_span():
    """Each span that was counted as finished is in one figure, and none stays queued for ever."""
    testcapi = pytest.importorskip("_testcapi")
    tracing = traced()
    tracer = tracing.tracer("t")
    with no_collector():  # other people's callbacks would run without memory
        for start in range(1, 60):
            span = tracer.start_span("a")
            told = None
            testcapi.set_nomemory(start, start + 1)
            try:
                span.end()
            except (MemoryError, RuntimeError) as error:
                told = error
            finally:
                testcapi.remove_mem_hooks()
            # A lock that cannot be made is a RuntimeError, where spans have one of their own.
            assert isinstance(told, MemoryError | None) or "allocate lock" in str(told)
    tracing.flush()
    stats = tracing.stats()
    assert stats.queued == stats.in_flight == 0
    assert stats.started == stats.open + stats.finished
    assert stats.finished == stats.sent + sum(stats.dropped.values())
    tracing.shutdown()
