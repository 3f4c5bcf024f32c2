"""Tracers that a program puts together: subclasses of ``Config``, parts by hand, its own ids."""

from __future__ import annotations

import threading

import opentracing
import pytest
from json_answers import answering
from opentracing import Format

import tracekit
from tracekit.flask import FlaskTracing
from tracekit.jaeger_client import (
    Config,
    ConstSampler,
    RemoteControlledSampler,
    Reporter,
    SpanContext,
    Tracer,
)
from tracekit.jaeger_client import span as span_module
from tracekit.jaeger_client.codecs import B3Codec, TextCodec
from tracekit.jaeger_client.local_agent_net import LocalAgentSender
from tracekit.jaeger_client.reporter import CompositeReporter, InMemoryReporter
from tracekit.opentracing import tracer as opentracing_tracer
from tracekit.testing import tracing

# --- what libraries look for in a tracer ---


def test_a_tracer_hides_nothing():
    """redis_opentracing and its like take ``tracer._tracer`` for the real one, if there is any."""
    handle = tracing()
    for tracer in (
        opentracing_tracer(handle),
        Tracer("shop", InMemoryReporter(), ConstSampler(True)),
    ):
        assert not hasattr(tracer, "_tracer")
        assert FlaskTracing(tracer)._tracer is tracer
    handle.shutdown()


# --- ids of the program's own ---


@pytest.fixture
def reporter():
    return InMemoryReporter()


@pytest.fixture
def tracer(reporter):
    return Tracer("shop", reporter, ConstSampler(True))


def test_a_library_may_number_its_spans(tracer, reporter):
    """As osprofiler does: the ids go over the wire, to children, and to the reporter."""
    parent = SpanContext(trace_id=0xA, span_id=0xB, parent_id=None, flags=span_module.SAMPLED_FLAG)
    span = tracer.start_span("op", child_of=parent)
    span.context.span_id = 0xC
    child = tracer.start_span("child", child_of=span)
    carrier = {}
    tracer.inject(span, Format.TEXT_MAP, carrier)
    assert carrier["uber-trace-id"].split(":")[1].lstrip("0") == "c"
    assert (child.trace_id, child.parent_id) == (0xA, 0xC)
    child.finish()
    span.finish()
    reported = {it.operation_name: it for it in reporter.get_spans()}
    assert (reported["op"].trace_id, reported["op"].span_id) == (0xA, 0xC)
    assert reported["op"].parent_id == 0xB
    stats = tracer.tracing.stats()
    assert (stats.started, stats.finished, stats.open) == (2, 2, 0)


def test_a_live_contexts_parts_can_be_set(tracer, reporter):
    """The decision as a priority would: taken out, or forced for what follows."""
    span = tracer.start_span("op")
    span.context.trace_id, span.context.span_id, span.context.parent_id = 1, 2, 3
    assert (span.trace_id, span.span_id, span.parent_id) == (1, 2, 3)
    span.context.flags |= 2
    assert span.is_debug()
    with tracer.scope_manager.activate(span, False):
        span.set_baggage_item("who", "me")
        span.context.span_id = 4  # seen as it is where it is active
        assert tracer.start_span("below").parent_id == 4
    span.context.flags = 0
    assert not span.is_sampled()
    span.finish()
    assert reporter.get_spans() == []
    unsampled = Tracer("shop", reporter, ConstSampler(False)).start_span("quiet")
    unsampled.context.span_id = 7
    unsampled.context.parent_id = 8
    assert (unsampled.span_id, unsampled.parent_id, unsampled.flags) == (7, 8, 0)


def test_a_context_is_filled_part_by_part(tracer):
    """In any order, as dictionaries of messages give them; half of one is no parent."""
    context = SpanContext(None, None, None, None)
    context.flags = 1
    context.parent_id = 9
    context.span_id = 8
    assert not context.has_trace
    context.trace_id = 7
    assert (context.trace_id, context.span_id, context.parent_id, context.flags) == (7, 8, 9, 1)
    child = tracer.start_span("op", child_of=context)
    assert (child.trace_id, child.parent_id) == (7, 8)
    extracted = tracer.extract(Format.TEXT_MAP, {"uber-trace-id": "a:b:0:0"})
    extracted.flags = 1
    assert tracer.start_span("forced", child_of=extracted).is_sampled()


def test_random_ids_are_wide_and_not_zero(tracer):
    """64 bits, for those who number their own."""
    drawn = {tracer.random_id() for _ in range(100)}
    assert len(drawn) == 100
    assert min(drawn) > 0
    assert max(drawn).bit_length() <= 64


# --- subclasses of Config ---


class Custom(Config):
    """A company's defaults, said by overriding."""

    @property
    def trace_id_header(self):
        return "x-company-trace"

    @property
    def tags(self):
        return {**super().tags, "team": "shop"}

    @property
    def local_agent_reporting_port(self):
        return self.config["agent_port"]


@pytest.mark.usefixtures("uninitialized")
def test_properties_of_a_subclass_count(agent, to_agent):
    """By tracer and edges alike, and super() shows what the dictionary says."""
    del to_agent["local_agent"]["reporting_port"]
    config = Custom({**to_agent, "agent_port": agent.port}, service_name="shop")
    tracer = config.initialize_tracer()
    with tracer.start_active_span("op") as scope:
        for inject in (
            lambda into: tracer.inject(scope.span, Format.HTTP_HEADERS, into),
            tracer.tracing.propagator.inject,
        ):
            carrier = {}
            inject(carrier)
            assert list(carrier) == ["x-company-trace"]
    (span,) = agent.wait(1)
    assert span.process_tags["team"] == "shop"
    assert tracer.tracing is tracekit.init(settings=config.settings)


def test_codecs_of_a_subclass_are_honoured(to_agent):
    """For HTTP headers B3 goes for edges too; any other codec is the tracer's own."""

    class Both(Config):
        @property
        def propagation(self):
            return {Format.HTTP_HEADERS: B3Codec(), "queue": TextCodec(trace_id_header="q")}

    tracer = Both(to_agent, service_name="shop").new_tracer()
    span = tracer.start_span("op")
    http, queue = {}, {}
    tracer.inject(span, Format.HTTP_HEADERS, http)
    tracer.inject(span, "queue", queue)
    assert sorted(http) == ["x-b3-sampled", "x-b3-spanid", "x-b3-traceid"]
    assert list(queue) == ["q"]
    assert tracer.tracing.propagator.formats == ("b3",)
    tracer.close().result(10)


@pytest.mark.usefixtures("uninitialized")
def test_the_tracers_maker_may_be_overridden(agent, to_agent):
    """With a reporter beside the one given, or a tracer of the program's own class."""
    beside = InMemoryReporter()

    class Beside(Config):
        def create_tracer(self, reporter, sampler, throttler=None):
            both = CompositeReporter(reporter, beside)
            return super().create_tracer(both, sampler, throttler)

    tracer = Beside(to_agent, service_name="shop").new_tracer()
    tracer.start_span("op").finish()
    assert [span.operation for span in agent.wait(1)] == ["op"]
    assert [span.operation_name for span in beside.get_spans()] == ["op"]
    tracer.close().result(10)

    class Own(Tracer):
        pass

    class Made(Config):
        def create_tracer(self, reporter, sampler, throttler=None):
            return Own(
                service_name=self.service_name,
                reporter=reporter,
                sampler=sampler,
                trace_id_header=self.trace_id_header,
                extra_codecs=self.propagation,
                tags=self.tags,
                scope_manager=self.scope_manager,
            )

    tracer = Made(to_agent, service_name="made").initialize_tracer()
    assert isinstance(opentracing.global_tracer(), Own)
    tracer.start_span("own").finish()
    span = agent.wait(2)[-1]
    assert (span.operation, span.service) == ("own", "made")
    tracer.close().result(10)


def test_a_sampler_of_a_subclass_decides(to_agent):
    """Also if the dictionary names another."""

    class Never(Config):
        @property
        def sampler(self):
            return ConstSampler(False)

    tracer = Never(to_agent, service_name="shop").new_tracer()
    assert not tracer.start_span("op").is_sampled()
    tracer.close().result(10)


# --- parts by hand ---


@pytest.fixture
def sampling_server():
    """Say that every trace is sampled, to whoever asks."""
    rate = {"samplingRate": 1.0}
    with answering({"strategyType": "PROBABILISTIC", "probabilisticSampling": rate}) as server:
        yield server


def test_an_agent_serves_as_a_channel(agent, sampling_server):
    """Reporter and sampler took one before ``Config`` was; the sampler asks when it is asked."""
    channel = LocalAgentSender("127.0.0.1", sampling_server.server_port, agent.port)
    sampler = RemoteControlledSampler(
        channel,
        "shop",
        init_sampler=ConstSampler(False),
        sampling_refresh_interval=0.05,
        logger=None,
        max_operations=10,
    )
    reporter = Reporter(
        channel=channel, queue_capacity=50, batch_size=5, flush_interval=0.02, logger=None
    )
    tracer = Tracer("shop", reporter, sampler)
    assert sampling_server.asked == []
    for _ in range(3000):
        if tracer.start_span("root").is_sampled():
            break
        threading.Event().wait(0.01)
    assert sampling_server.asked[0] == "/sampling?service=shop"
    tracer.start_span("op").finish()
    (span,) = agent.wait(1)
    assert (span.operation, span.service) == ("op", "shop")
    assert str(sampler) == "RemoteControlledSampler(shop)"
    assert sampler.is_sampled(1, "op")[0]
    tracer.close().result(10)
    sampler.close()


def test_parts_say_what_they_cannot_take():
    """At once, and what they take instead."""
    with pytest.raises(TypeError, match="channel= takes a LocalAgentSender, not str"):
        RemoteControlledSampler("127.0.0.1", "shop")
    with pytest.raises(ValueError, match="Queue capacity cannot be less than batch size"):
        Reporter(LocalAgentSender("127.0.0.1", 5778, 6831), queue_capacity=1)
    assert LocalAgentSender("::1", 5778, 6831).netloc == "[::1]:5778"
