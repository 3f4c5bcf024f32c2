"""Carrying the context to other threads."""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import Executor, Future, ProcessPoolExecutor, ThreadPoolExecutor

import pytest
from opentelemetry import baggage, trace
from opentelemetry import context as otel_context

import tracekit

NOTHING = (None, None, {})


@pytest.fixture
def pool():
    with ThreadPoolExecutor(1) as pool:
        pool.submit(int).result()  # the thread exists before the context does
        yield pool


def here(tracing):
    """Return what is current: span, a forwarded header, baggage."""
    span = trace.get_current_span()
    return (
        span if span.is_recording() else None,
        tracing.propagator.outgoing().forwarded.get("x-request-id"),
        dict(baggage.get_all()),
    )


@pytest.fixture
def current(tracing):
    """Make a span, a mesh header and baggage current; return what ``here`` says."""
    context = tracing.propagator.extract_pairs([("x-request-id", "r-1")])
    context = baggage.set_baggage("user", "bob", context)
    span = tracing.tracer("test").start_span("work", context)
    token = otel_context.attach(trace.set_span_in_context(span, context))
    yield (span, "r-1", {"user": "bob"})
    otel_context.detach(token)


def test_wrap_takes_the_context_along(tracing, current, pool):
    """Span, mesh headers and baggage of the wrapping are there, and gone afterwards."""
    wrapped = tracekit.wrap(here)
    assert pool.submit(wrapped, tracing).result() == current
    assert pool.submit(wrapped, tracing).result() == current
    assert pool.submit(here, tracing).result() == NOTHING


def test_a_wrapped_function_is_the_function(current):
    """Arguments, result, exceptions and name pass through."""

    def divide(a, /, *, by):
        """Say so."""
        return a / by

    wrapped = tracekit.wrap(divide)
    assert (wrapped(6, by=3), wrapped.__name__, wrapped.__doc__) == (2, "divide", "Say so.")
    with pytest.raises(ZeroDivisionError):
        wrapped(1, by=0)


def test_an_async_function_stays_one(tracing, current):
    """A wrapped coroutine function runs in the context from which it was wrapped."""

    async def later():
        await asyncio.sleep(0)
        return here(tracing)

    wrapped = tracekit.wrap(later)
    token = otel_context.attach(otel_context.Context())
    assert asyncio.run(wrapped()) == current
    otel_context.detach(token)


def test_an_executor_carries_the_context(tracing, current, pool):
    """Submit and map carry; the loop's run_in_executor may use it, too."""
    carrying = tracekit.wrap_executor(pool)
    assert carrying.submit(here, tracing).result() == current
    assert list(carrying.map(here, [tracing, tracing], timeout=5)) == [current] * 2

    async def main():
        return await asyncio.get_running_loop().run_in_executor(carrying, here, tracing)

    assert asyncio.run(main()) == current
    token = otel_context.attach(otel_context.Context())
    assert carrying.submit(here, tracing).result() == NOTHING
    otel_context.detach(token)


def test_an_executor_is_one_still(pool):
    """It is an Executor, wrapped once, with the pool's own attributes and shutdown."""
    carrying = tracekit.wrap_executor(pool)
    assert isinstance(carrying, Executor)
    assert tracekit.wrap_executor(carrying) is carrying
    assert carrying._max_workers == 1
    with carrying:
        pass
    with pytest.raises(RuntimeError):
        pool.submit(int)


def test_an_event_loop_takes_it_for_its_own(pool):
    """A loop's default executor must be a pool of threads, and the wrapped one is."""

    async def program():
        asyncio.get_running_loop().set_default_executor(tracekit.wrap_executor(pool))
        return await asyncio.to_thread(threading.current_thread)

    assert asyncio.run(program()) is not threading.main_thread()


def test_a_custom_executor_is_shut_down():
    """What its ``shutdown`` does not take it is not given."""
    told = []

    class Inline(Executor):
        def submit(self, fn, /, *args):
            future = Future()
            future.set_result(fn(*args))
            return future

        def shutdown(self, wait=True):
            told.append(wait)

    with tracekit.wrap_executor(Inline()) as carrying:
        assert carrying.submit(int, "3").result() == 3
    carrying.shutdown(False)
    assert told == [True, False]


def test_a_pool_of_processes_is_refused():
    """No context can go there, and the error says what can."""
    with ProcessPoolExecutor(1) as processes, pytest.raises(TypeError, match="pickled"):
        tracekit.wrap_executor(processes)
