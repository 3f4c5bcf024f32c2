"""``start_as_current_span`` as a block and as a decorator, on any runtime context."""

import asyncio
import contextvars
import inspect
import os
import subprocess
import sys

import pytest
from opentelemetry import baggage, trace
from opentelemetry import context as otel_context
from opentelemetry.context import Context
from opentelemetry.trace import SpanKind, StatusCode


def current():
    return trace.get_current_span()


def test_nothing_starts_before_the_block(tracer, told):
    """Making the block starts no span; entering does, leaving ends it and restores the context."""
    block = tracer.start_as_current_span("x", kind=SpanKind.SERVER, attributes={"a": 1})
    assert told.started == []
    before = otel_context.get_current()
    with block as span:
        assert current() is span
        assert (span.kind, dict(span.attributes)) == (SpanKind.SERVER, {"a": 1})
        assert told.ended == []
    assert otel_context.get_current() == before
    assert told.ended == [span]


def test_block_can_be_entered_again(tracer, told):
    """Each time a block is entered it starts a span of its own."""
    block = tracer.start_as_current_span("x")
    for _ in range(2):
        with block:
            pass
    assert len({span.get_span_context().span_id for span in told.ended}) == 2


def test_other_values_of_the_context_stay(tracer):
    """Baggage of the current context is there inside the block; that of ``context=`` is not."""
    token = otel_context.attach(baggage.set_baggage("tenant", "a"))
    try:
        explicit = baggage.set_baggage("tenant", "b", Context())
        with tracer.start_as_current_span("x", explicit), tracer.start_as_current_span("y"):
            assert baggage.get_baggage("tenant") == "a"
    finally:
        otel_context.detach(token)


@pytest.mark.parametrize(
    ("error", "flags", "status", "events"),
    [
        (ValueError("bad"), {}, StatusCode.ERROR, 1),
        (ValueError("bad"), {"record_exception": False}, StatusCode.ERROR, 0),
        (ValueError("bad"), {"set_status_on_exception": False}, StatusCode.UNSET, 1),
        (KeyboardInterrupt(), {}, StatusCode.UNSET, 0),
        (StopIteration(), {}, StatusCode.ERROR, 1),
    ],
)
def test_a_blocks_error_is_recorded(tracer, error, flags, status, events):
    """An exception is recorded as asked and raised unchanged; interrupts are no errors."""
    with pytest.raises(type(error)) as raised, tracer.start_as_current_span("x", **flags) as span:
        raise error
    assert raised.value is error
    assert (span.status.status_code, len(span.events)) == (status, events)


def test_an_unprintable_error_goes_on(tracer, told):
    """An exception whose text cannot be had still reaches the program, and the span ends."""

    class UnspeakableError(Exception):
        def __str__(self):
            raise RuntimeError("no text")

    with pytest.raises(UnspeakableError), tracer.start_as_current_span("x"):
        raise UnspeakableError
    assert len(told.ended) == 1


def test_span_outlives_the_block_when_asked(tracer, told):
    """With ``end_on_exit=False`` the span is the caller's to end."""
    with tracer.start_as_current_span("x", end_on_exit=False) as span:
        pass
    assert told.ended == []
    span.end()
    assert told.ended == [span]


def test_a_decorated_function_has_a_span(tracer, told):
    """A decorated function keeps its name, arguments and result; each call has its own span."""

    @tracer.start_as_current_span("call", attributes={"a": 1})
    def double(number):
        """Doc."""
        assert current().is_recording()
        return 2 * number

    assert [double(1), double(number=2)] == [2, 4]
    assert (double.__name__, double.__doc__) == ("double", "Doc.")
    assert [(span.name, dict(span.attributes)) for span in told.ended] == [("call", {"a": 1})] * 2


def test_a_decorated_coroutine_has_a_span(tracer, told):
    """The span of a decorated ``async def`` lasts over its awaits and takes its error."""

    @tracer.start_as_current_span("call")
    async def work(fail):
        await asyncio.sleep(0)
        assert told.ended[fail:] == []
        assert current().name == "call"
        if fail:
            raise LookupError("no")
        return "done"

    async def program():
        return await asyncio.gather(work(0), return_exceptions=True)

    assert inspect.iscoroutinefunction(work)
    assert asyncio.run(program()) == ["done"]
    with pytest.raises(LookupError):
        asyncio.run(work(1))
    assert [span.status.status_code for span in told.ended] == [StatusCode.UNSET, StatusCode.ERROR]


def test_each_task_keeps_its_current_span(tracer, told):
    """Tasks that interleave are children of what was current when they began."""

    @tracer.start_as_current_span("task")
    async def task():
        mine = current()
        await asyncio.sleep(0)
        assert current() is mine

    async def program():
        with tracer.start_as_current_span("root"):
            await asyncio.gather(*(task() for _ in range(3)))

    asyncio.run(program())
    *tasks, root = told.ended
    assert [span.parent.span_id for span in tasks] == [root.context.span_id] * 3


def test_leaving_another_context_is_logged(tracer, told, caplog):
    """A block left in another ``contextvars.Context`` costs a log line, as in OpenTelemetry."""
    block = tracer.start_as_current_span("x")
    contextvars.copy_context().run(block.__enter__)
    block.__exit__(None, None, None)
    assert "Failed to detach context" in caplog.text
    assert len(told.ended) == 1


RUNTIME = """
from opentelemetry.context.context import Context, _RuntimeContext

class Plain(_RuntimeContext):
    stack = [Context()]
    def attach(self, context):
        self.stack.append(context)
        return len(self.stack)
    def get_current(self): return self.stack[-1]
    def detach(self, token): del self.stack[token - 1:]
"""
PROGRAM = """
from opentelemetry import trace
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace.sampling import ALWAYS_ON
from plain_runtime import Plain
from tracekit.sampling import ParentRule
from tracekit.tracing import TracerProvider
tracer = TracerProvider(ParentRule(ALWAYS_ON), None, Resource({})).get_tracer("x")
with tracer.start_as_current_span("a") as a:
    with tracer.start_as_current_span("b") as b:
        assert len(Plain.stack) == 3 and trace.get_current_span() is b
        assert b.parent == a.context
assert len(Plain.stack) == 1
"""


def test_another_runtime_context_works(tmp_path):
    """With OTEL_PYTHON_CONTEXT the spans live in that runtime's context."""
    (tmp_path / "plain_runtime.py").write_text(RUNTIME)
    installed = tmp_path / "plain_runtime-1.dist-info"
    installed.mkdir()
    (installed / "METADATA").write_text("Metadata-Version: 2.1\nName: plain-runtime\nVersion: 1\n")
    (installed / "entry_points.txt").write_text(
        "[opentelemetry_context]\nplain = plain_runtime:Plain\n"
    )
    path = os.pathsep.join([str(tmp_path), *filter(None, sys.path)])
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        env={**os.environ, "OTEL_PYTHON_CONTEXT": "plain", "PYTHONPATH": path},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
