"""Guards of the speed by what can be counted: calls, byte codes, bytes. No seconds in here."""

import sys
import tracemalloc
from functools import partial

import pytest
from counts import byte_codes, calls, least
from opentelemetry import trace
from opentelemetry.sdk import trace as sdk
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF, ALWAYS_ON, ParentBased

import tracekit
from tracekit._process.tally import FREE_THREADED
from tracekit.testing import MemoryTransport


@pytest.fixture
def pair(request):
    """Return tracekit's tracer with its whole pipeline, and the SDK's with a batch processor."""
    kind = request.param
    fields = {"disabled": True} if kind == "disabled" else {"sampler_type": "const"}
    if kind == "kept":
        fields["keep"] = "errors,slow:5s"
    tracing = tracekit.init(
        "costs",
        environ={},
        set_global=False,
        transport=MemoryTransport(),
        sampler_param=float(kind == "sampled"),
        flush_s=3600,
        **fields,
    )
    provider = sdk.TracerProvider(
        ParentBased(ALWAYS_ON if kind == "sampled" else ALWAYS_OFF),
        Resource({}),
        shutdown_on_exit=False,
    )
    provider.add_span_processor(BatchSpanProcessor(InMemorySpanExporter()))
    theirs = trace.NoOpTracer() if kind == "disabled" else provider.get_tracer("x")
    yield tracing.tracer("x"), theirs
    tracing.shutdown()
    provider.shutdown()


def child_with_attributes(tracer):
    with tracer.start_as_current_span("child") as span:
        span.set_attribute("http.request.method", "GET")
        span.set_attribute("http.response.status_code", 200)
        span.set_attribute("cache.hit", True)


def warmed(tracer, count):
    """Return what ``count`` says of one child below a root, after a few to warm up."""
    with tracer.start_as_current_span("root"):
        return least(count, partial(child_with_attributes, tracer))


@pytest.mark.parametrize(
    ("pair", "most", "share"),
    [
        ("sampled", 29, 0.24),
        ("kept", 28, 0.34),
        ("unsampled", 15, 0.18),
        ("disabled", 10, 0.27),
    ],
    indirect=["pair"],
)
def test_calls_of_a_child_span(request, pair, most, share):
    """A child span with three attributes makes few Python and C calls, far fewer than a peer."""
    ours, theirs = (warmed(tracer, calls) for tracer in pair)
    if FREE_THREADED:  # there each change takes the span's lock, and its trace's if it is kept
        own = {"sampled": (60, 0.45), "kept": (72, 0.85)}
        most, share = own.get(request.node.callspec.params["pair"], (most, share))
    assert ours <= most
    if pair[1].__class__ is not trace.NoOpTracer:  # the old no-op tracer did next to nothing
        assert ours <= share * theirs


@pytest.mark.skipif(sys.version_info >= (3, 12), reason="sees no byte codes of frames that run")
@pytest.mark.skipif(FREE_THREADED, reason="the budget of a build with the GIL")
@pytest.mark.parametrize(
    ("pair", "most"),
    [("sampled", 600), ("kept", 575), ("unsampled", 225), ("disabled", 80)],
    indirect=["pair"],
)
def test_byte_codes_of_a_child_span(pair, most):
    """A child span with three attributes executes few byte codes."""
    assert warmed(pair[0], byte_codes) <= most


@pytest.mark.parametrize("pair", ["sampled"], indirect=True)
def test_memory_of_a_live_span(pair):
    """A live span with three attributes takes less than half of an SDK span's memory."""

    def live_bytes(tracer):
        with tracer.start_as_current_span("root"):
            spans = [None] * 500
            tracemalloc.start()
            try:
                before = tracemalloc.get_traced_memory()[0]
                for i in range(len(spans)):
                    span = spans[i] = tracer.start_span("child")
                    span.set_attribute("http.request.method", "GET")
                    span.set_attribute("http.response.status_code", 200)
                    span.set_attribute("cache.hit", True)
                return (tracemalloc.get_traced_memory()[0] - before) / len(spans)
            finally:
                tracemalloc.stop()

    ours, theirs = (live_bytes(tracer) for tracer in pair)
    assert ours <= 0.5 * theirs
    assert ours <= (900 if FREE_THREADED else 700)
