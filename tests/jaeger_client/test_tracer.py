"""``Tracer`` by its old constructor, its spans, and the reporters that get them."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import time
from types import SimpleNamespace

import flask
import opentracing
import pytest
from opentracing import Format
from opentracing.ext import tags as ext

import tracekit
import tracekit.jaeger_client
import tracekit.testing
from tracekit.flask import FlaskTracing
from tracekit.jaeger_client import (
    ConstSampler,
    ProbabilisticSampler,
    RateLimitingSampler,
    Span,
    SpanContext,
    Tracer,
    constants,
)
from tracekit.jaeger_client.codecs import B3Codec, Codec, ZipkinSpanFormat
from tracekit.jaeger_client.reporter import (
    BaseReporter,
    CompositeReporter,
    InMemoryReporter,
    LoggingReporter,
    NullReporter,
)
from tracekit.jaeger_client.throttler import Throttler


@pytest.fixture
def reporter():
    return InMemoryReporter()


@pytest.fixture
def tracer(reporter):
    tracer = Tracer("shop", reporter, ConstSampler(True))
    yield tracer
    tracer.close().result(5)


def tags(span):
    return {it.key: next(value for value in it[2:] if value is not None) for it in span.tags}


def test_a_programs_reporter_gets_the_spans(tracer, reporter):
    """With everything that it may look at: ids, times, tags, logs, references."""
    with tracer.start_span("parent", start_time=10.25) as parent:
        pass
    child = tracer.start_span(
        "child",
        references=[opentracing.follows_from(parent.context), opentracing.follows_from(None)],
        tags={"span.kind": "client", "n": 1, "x": 0.5, "ok": True, "text": "t"},
    )
    child.log_kv({"event": "e", "size": 2}, 1500000000.25).finish(1600000000.5)
    assert reporter.get_spans() == [parent, child]
    assert (parent.operation_name, parent.parent_id, parent.flags) == ("parent", None, 1)
    assert tags(parent) == {"sampler.type": "const", "sampler.param": True}
    assert (child.trace_id, child.parent_id) == (parent.trace_id, parent.span_id)
    assert (parent.start_time, child.end_time, child.finished) == (10.25, 1600000000.5, True)
    assert tags(child) == {"span.kind": "client", "n": 1, "x": 0.5, "ok": True, "text": "t"}
    (log,) = child.logs
    assert log.timestamp == 1_500_000_000_250_000
    assert [(it.key, it.vType, it.vStr, it.vLong) for it in log.fields] == [
        ("event", 0, "e", None),
        ("size", 3, None, 2),
    ]
    (reference,) = child.references
    assert reference.type == opentracing.ReferenceType.FOLLOWS_FROM
    assert reference.referenced_context.span_id == parent.span_id
    assert parent.references is None
    assert str(child) == f"{child.trace_id:x}:{child.span_id:x}:{parent.span_id:x}:1 shop.child"


def test_sampled_spans_are_reported_once(tracer, reporter):
    """The sampler may be replaced, a priority forces, a second finish does nothing."""
    tracer.sampler = ConstSampler(False)
    with tracer.start_span("unsampled") as span:
        span.set_tag("a", 1)
    assert (span.tags, span.logs, span.finished) == ([], [], False)
    assert span.start_time > 0
    forced = tracer.start_span("forced", tags={ext.SAMPLING_PRIORITY: 1})
    assert forced.is_debug()
    withdrawn = tracer.start_span("withdrawn", child_of=forced).set_tag(ext.SAMPLING_PRIORITY, 0)
    withdrawn.finish()
    forced.finish()
    forced.finish()
    assert reporter.get_spans() == [forced]
    assert tracer.sampler == ConstSampler(False) != ConstSampler(True)


def test_the_reporter_gets_edges_spans_too(tracer, reporter):
    """A request that Flask serves on this tracer, as an OpenTracing span."""
    app = flask.Flask(__name__)
    FlaskTracing(tracer, True, app)

    @app.route("/")
    def home():
        tracer.start_span("inner").finish()
        return ""

    app.test_client().get("/", buffered=True)
    inner, server = reporter.get_spans()
    assert (inner.operation_name, server.operation_name) == ("inner", "home")
    assert inner.parent_id == server.span_id
    assert server.is_rpc()
    assert not server.is_rpc_client()


def test_a_reporter_may_be_replaced(tracer, reporter):
    """It hears whose spans they are by keyword, as of old; what comes later is the new one's."""

    class Told(NullReporter):
        def set_process(self, service_name, tags, max_length):
            self.told = service_name, tags, max_length

    told = Told()
    named = Tracer("shop", told, ConstSampler(True), tags={"zone": "b"}, max_tag_value_length=9)
    assert told.told == ("shop", named.tags, 9)
    assert named.tags.keys() >= {"zone", "ip", "hostname", "jaeger.version"}
    tracer.start_span("before").finish()
    tracer.reporter = other = InMemoryReporter()
    tracer.start_span("after").finish()
    assert [span.operation_name for span in reporter.get_spans()] == ["before"]
    assert [span.operation_name for span in other.get_spans()] == ["after"]


def test_composed_reporters_may_fail(caplog):
    """Each gets each span; one that raises costs a log line, never the program's span."""

    class Broken(BaseReporter):
        def report_span(self, span):
            raise RuntimeError("broken")

    kept = InMemoryReporter()
    tracer = Tracer(
        "shop", CompositeReporter(kept, LoggingReporter(), Broken()), ConstSampler(True)
    )
    with caplog.at_level("INFO"):
        tracer.start_span("op").finish()
    assert "shop.op" in caplog.text
    assert "A reporter raised" in caplog.text
    assert len(kept.get_spans()) == 1
    assert tracer.close().result(5)
    with pytest.raises(NotImplementedError):
        BaseReporter().report_span(None)


def test_a_span_may_be_made_by_hand(tracer, reporter):
    """With the ids of a context; whose tracer is none of ours it is at least to be looked at."""
    context = SpanContext(trace_id=1, span_id=2, parent_id=3, flags=1, baggage={"k": "v"})
    span = Span(context, tracer, "made", tags={"a": 1}, start_time=5.5)
    assert str(span) == "1:2:3:1 shop.made"
    assert (tags(span), span.start_time) == ({"a": 1}, 5.5)
    span.finish()
    assert reporter.get_spans() == [span]
    stranger = SimpleNamespace(max_tag_value_length=3, max_traceback_length=3)
    alone = Span(context, stranger, "alone").set_baggage_item("k", "other")
    assert alone.get_baggage_item("k") == "other"
    assert [{it.key: it.vStr for it in log.fields} for log in alone.logs] == [
        {"event": "bag", "key": "k", "value": "oth", "override": "tru"}
    ]
    alone.logs, alone.tags = [], []
    assert (alone.error("e").logs[0].fields[0].vStr, tags(alone)) == ("e", {"error": True})
    quiet = Span(SpanContext(1, 2, None, 0), tracer, "quiet").set_tag("a", 1)
    assert (quiet.is_sampled(), quiet.tags) == (False, [])
    quiet.set_tag(ext.SAMPLING_PRIORITY, 1).finish()
    assert reporter.get_spans()[-1].flags == 3


def test_one_span_per_rpc_shares_its_ids(reporter):
    """Zipkin's way: the server's span is the client's, with the same parent."""
    tracer = Tracer("shop", reporter, ConstSampler(True), one_span_per_rpc=True)
    arrived = SpanContext(10, 11, 12, 1, {"k": "v"})
    kind = {ext.SPAN_KIND: ext.SPAN_KIND_RPC_SERVER}
    with tracer.start_active_span("served", child_of=arrived, tags=kind) as scope:
        assert tracer.active_span is scope.span
        tracer.start_span("below").finish()
    below, served = reporter.get_spans()
    assert (served.trace_id, served.span_id, served.parent_id) == (10, 11, 12)
    assert served.get_baggage_item("k") == "v"
    assert (below.parent_id, below.trace_id) == (11, 10)
    root = tracer.start_span("root", tags=kind)
    assert root.parent_id is None
    other = tracer.start_span("unsampled", child_of=SpanContext(10, 11, 12, 0), tags=kind)
    assert (other.span_id, other.is_sampled()) == (11, False)
    assert tracer.tracing.stats().unsampled == 1


def test_a_product_page_forwards_what_it_got(reporter):
    """Istio's sample: B3 by hand, one span per RPC, nothing reported."""
    tracer = Tracer(
        one_span_per_rpc=True,
        service_name="productpage",
        reporter=NullReporter(),
        sampler=ConstSampler(decision=True),
        extra_codecs={Format.HTTP_HEADERS: B3Codec()},
    )
    request = {"X-B3-Traceid": "00000000000000aa", "X-B3-Spanid": "00000000000000bb"}
    request["X-B3-Sampled"] = "1"
    context = tracer.extract(Format.HTTP_HEADERS, request)
    kind = {ext.SPAN_KIND: ext.SPAN_KIND_RPC_SERVER}
    span = tracer.start_span(operation_name="op", child_of=context, tags=kind)
    carrier = {}
    tracer.inject(span_context=span.context, format=Format.HTTP_HEADERS, carrier=carrier)
    assert carrier == {
        "x-b3-traceid": "00000000000000aa",
        "x-b3-spanid": "00000000000000bb",
        "x-b3-sampled": "1",
    }
    assert tracer.tracing.propagator.formats == ("b3",)


def test_a_program_may_bring_its_own_codec(tracer):
    """Under a name of its own, or in the place of one of ours; what it cannot read is no parent."""

    class Line(Codec):
        def inject(self, span_context, carrier):
            carrier.append(f"{span_context.trace_id}/{span_context.span_id}")

        def extract(self, carrier):
            if not carrier:
                raise opentracing.SpanContextCorruptedException("nothing there")
            trace_id, span_id = map(int, carrier[0].split("/"))
            return SpanContext(trace_id, span_id, None, 1)

    tracer.codecs["line"] = Line()
    carrier = []
    with tracer.start_span("op") as span:
        tracer.inject(span, "line", carrier)
    assert tracer.extract("line", carrier).span_id == span.span_id
    assert tracer.extract("line", []) is None
    assert tracer.tracing.propagator.counters.decode_errors == {("line", "malformed"): 1}
    parts = {}
    tracer.inject(span, ZipkinSpanFormat, parts)
    assert parts["span_id"] == span.span_id
    with pytest.raises(ValueError, match="no span context but a str"):
        tracer.inject("a string", Format.TEXT_MAP, {})
    with pytest.raises(opentracing.UnsupportedFormatException):
        tracer.extract(object(), {})


def test_a_throttler_is_asked_before_forcing(reporter):
    """By a debug id and by a priority, at the start and later."""

    class Once(Throttler):
        asked = ()

        def set_client_id(self, client_id):
            self.client_id = client_id

        def is_allowed(self, operation):
            self.asked += (operation,)
            return len(self.asked) == 1

    throttler = Once()
    tracer = Tracer("shop", reporter, ConstSampler(False), throttler=throttler)
    debug = SpanContext.with_debug_id("find me")
    assert tracer.start_span("first", child_of=debug).is_debug()
    assert not tracer.start_span("second", child_of=debug).is_debug()
    third = tracer.start_span("third", tags={ext.SAMPLING_PRIORITY: 1})
    assert not third.set_tag(ext.SAMPLING_PRIORITY, 1).is_debug()
    assert throttler.asked == ("first", "second", "third", "third")
    assert tracer.tags[constants.CLIENT_UUID_TAG_KEY] == throttler.client_id


def test_lengths_may_be_changed_meanwhile(tracer):
    """They are attributes of the tracer, as they were."""
    assert (tracer.max_tag_value_length, tracer.max_traceback_length) == (1024, 4096)
    tracer.max_tag_value_length = 3
    tracer.max_traceback_length = 4
    assert tags(tracer.start_span("op").set_tag("k", "long"))["k"] == "lon"
    assert tracer.max_trace_id_bits == constants.MAX_ID_BITS == 64
    assert tracer.start_span("op").trace_id < 1 << 64
    wide = Tracer("x", NullReporter(), ConstSampler(True), generate_128bit_trace_id=True)
    assert wide.max_trace_id_bits == 128
    assert wide.start_span("op").trace_id >= 1 << 64


def test_close_can_be_waited_for(tracer, to_agent):
    """With a timeout, by a callback, in a coroutine."""
    done = []
    tracer.close().add_done_callback(lambda future: done.append(future.result()))
    closing = tracekit.jaeger_client.Config(to_agent, service_name="a").new_tracer().close()

    async def wait():
        return await closing

    assert asyncio.run(asyncio.wait_for(wait(), 5)) is True
    assert tracer.close().result(5) is True
    assert done == [True]


def test_forgotten_tracers_close_at_exit(agent, to_agent):
    """All of them, also dropped ones; with no agent at all in the time of one of them."""
    code = f"""
from tracekit.jaeger_client import Config
for number in range(3):
    tracer = Config({to_agent!r}, service_name="late").new_tracer()
    tracer.start_span(f"last {{number}}").finish()
"""
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
    assert sorted(span.operation for span in agent.wait(3)) == ["last 0", "last 1", "last 2"]
    nowhere = {**to_agent, "local_agent": {"reporting_host": "127.0.0.1", "reporting_port": 9}}
    code = code.replace(repr(to_agent), repr(nowhere)).replace("range(3)", "range(40)")
    began_s = time.monotonic()
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60, capture_output=True)
    assert time.monotonic() - began_s < 20  # 40 budgets are 80 s


def test_samplers_keep_names_and_answers():
    """``is_sampled`` gives a decision and tags; each says what it is."""
    assert ConstSampler(False).is_sampled(1) == (
        False,
        {"sampler.type": "const", "sampler.param": False},
    )
    half = ProbabilisticSampler(0.5)
    assert [half.is_sampled(trace_id)[0] for trace_id in ((1 << 63) - 10, (1 << 63) + 10)] == [
        True,
        False,
    ]
    limited = RateLimitingSampler(2)
    assert [limited.is_sampled(0)[0] for _ in range(3)] == [True, True, False]
    assert (limited.update(2), limited.update(3)) == (False, True)
    assert limited.traces_per_second == 3
    assert [str(it) for it in (ConstSampler(True), half, limited)] == [
        "ConstSampler(True)",
        "ProbabilisticSampler(0.5)",
        "RateLimitingSampler(3)",
    ]
    assert half == ProbabilisticSampler(0.5) != ProbabilisticSampler(0.25)
    with pytest.raises(ValueError, match="above 1"):
        ProbabilisticSampler(1.1)
    limited.close()


@pytest.mark.filterwarnings("ignore::ResourceWarning")  # its search for the host's address
def test_a_kept_tracers_spans_go_through_us(agent):
    """An existing ``jaeger_client.Tracer`` with our reporter: same ids, tags, logs, process."""
    try:
        import jaeger_client  # noqa: PLC0415 (it may be missing, or too old for this Python)
    except ImportError:
        pytest.skip("jaeger_client cannot be imported here")
    tracing = tracekit.init(set_global=False, environ=agent.environ, service_name="ours")
    legacy = jaeger_client.Tracer(
        "theirs",
        reporter=tracekit.jaeger_client.Reporter(tracing),
        sampler=jaeger_client.ConstSampler(True),
        tags={"zone": "b"},
    )
    with legacy.start_active_span("parent", tags={"span.kind": "server"}) as scope:
        scope.span.set_baggage_item("who", "me").set_tag("error", True)
        reference = opentracing.follows_from(scope.span.context)
        legacy.start_span("child", references=reference, tags={"n": 1, "x": 0.5}).finish()
    tracing.tracer("ours").start_span("ours").end()
    tracing.shutdown()
    spans = {span.operation: span for span in agent.wait(3)}
    parent, child = spans["parent"], spans["child"]
    assert (parent.service, child.service, spans["ours"].service) == ("theirs", "theirs", "ours")
    assert parent.process_tags["zone"] == "b"
    assert (parent.trace_id, parent.span_id) == (scope.span.trace_id, scope.span.span_id)
    assert (child.parent_id, child.trace_id) == (parent.span_id, parent.trace_id)
    assert (parent.kind, parent.error, child.tags["n"], child.tags["x"]) == ("server", True, 1, 0.5)
    assert dict(parent.logs[0].fields.pairs) == {"event": "baggage", "key": "who", "value": "me"}
    assert [(ref.kind, ref.span_id) for ref in child.references] == [
        ("follows_from", parent.span_id)
    ]
    stats = tracing.stats()
    assert (stats.started, stats.finished, stats.sent, stats.open) == (3, 3, 3, 0)


def test_an_unreadable_span_is_a_line(caplog):
    """Whatever somebody else's tracer hands over."""
    tracing = tracekit.testing.tracing()
    tracekit.jaeger_client.Reporter(tracing).report_span(SimpleNamespace(tags=None))
    assert "could not be read" in caplog.text
    assert tracing.stats().started == 0
    tracing.shutdown()
