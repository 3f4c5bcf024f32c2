"""``Config``: what the dictionary says is what the properties show and what the tracer does."""

from __future__ import annotations

import logging
from contextlib import suppress
from pathlib import Path

import opentracing
import pytest
from opentracing import Format

import tracekit
from tracekit.flask import FlaskTracing
from tracekit.jaeger_client import Config, ConstSampler
from tracekit.jaeger_client.reporter import InMemoryReporter
from tracekit.jaeger_client.sampler import Sampler

HERE = Path(__file__).parent
ROOT = HERE.parents[1]

CASES = [
    ({}, {}),
    ({"enabled": True, "logging": "true", "service_name": "shop"}, {}),
    ({"sampler": {"type": "const", "param": True}}, {}),
    ({"sampler": {"type": "const", "param": "false"}}, {}),
    ({"sampler": {"type": "const", "param": 1}, "reporter_batch_size": 7}, {}),
    ({"sampler": {"type": "probabilistic", "param": 0.25}}, {}),
    ({"sampler": {"type": "ratelimiting", "param": 2.5}}, {}),
    ({"sampler": {"type": "rate_limiting", "param": 2}}, {}),
    ({"sampler": {"type": "magic", "param": 2}}, {}),
    ({"sampler": {"type": "probabilistic", "param": "much"}}, {}),
    ({"local_agent": {"reporting_host": "agent", "reporting_port": 6832}}, {}),
    ({"local_agent": {"sampling_port": 5779, "enabled": False}}, {}),
    ({"local_agent": {"reporting_port": "6833"}}, {"JAEGER_AGENT_PORT": "6834"}),
    ({}, {"JAEGER_AGENT_HOST": "elsewhere", "JAEGER_AGENT_PORT": "6834"}),
    ({"tags": {"zone": "a", "n": "1"}}, {"JAEGER_TAGS": "zone=b, more = c"}),
    ({"generate_128bit_trace_id": True}, {}),
    ({"generate_128bit_trace_id": False}, {"JAEGER_TRACEID_128BIT": "true"}),
    ({}, {"JAEGER_TRACEID_128BIT": "true"}),
    ({"propagation": "b3"}, {}),
    ({"max_tag_value_length": 10, "max_traceback_length": 20}, {}),
    ({"throttler": {}}, {}),
    ({"throttler": {"port": "1234", "refresh_interval": "10"}}, {}),
    ({"trace_id_header": "x-t", "baggage_header_prefix": "x-b-", "debug_id_header": "x-d"}, {}),
    ({"reporter_queue_size": 1000, "reporter_flush_interval": 3, "max_operations": 5}, {}),
    ({"sampling_refresh_interval": 7, "metrics": False}, {}),
]
DEFAULTS = {"reporter_queue_size": (100, 10_000), "max_operations": (None, 2000)}
"""What differs where nothing is said: theirs, ours; the how-to page tells of the first."""


def test_properties_show_what_they_showed(ask_both):
    """Of every key, in every form that it could have, and of the tracer that is made of it."""
    theirs, ours = ask_both("properties.py", CASES)
    for case, expected, found in zip(CASES, theirs, ours, strict=True):
        for name, (before, now) in DEFAULTS.items():
            if isinstance(expected, dict) and expected[name] == before:
                assert found[name] == now
                expected[name] = now
        if isinstance(expected, dict) and case[1].get("JAEGER_TAGS"):
            # Ours looks at the environment once, theirs at each reading: the same here.
            assert expected["tags"]["zone"] == found["tags"]["zone"] == "b"
        assert (case, found) == (case, expected)


def test_an_unknown_key_is_refused_if_asked():
    """And only then: otherwise it is one line in the log."""
    with pytest.raises(ValueError, match="Unexpected keys found in config:colour"):
        Config({"colour": "red"}, service_name="shop", validate=True)
    assert Config({"colour": "red"}, service_name="shop").service_name == "shop"


def test_custom_header_names_reach_the_wire(agent, to_agent):
    """Ids, baggage, debug id of tracer and edges, under the dictionary's names in any spelling."""
    names = {
        "trace_id_header": "X_Trace_ID",
        "baggage_header_prefix": "X-Bag-",
        "debug_id_header": "X-Debug",
    }
    tracer = Config({**to_agent, **names}, service_name="shop").new_tracer()
    carrier = {}
    with tracer.start_span("client") as client:
        client.set_baggage_item("who", "me you")
        tracer.inject(client, Format.HTTP_HEADERS, carrier)
    assert carrier.keys() == {"x-trace-id", "x-bag-who"}
    assert carrier["x-bag-who"] == "me%20you"
    import flask  # noqa: PLC0415 (of this test alone)

    app = flask.Flask(__name__)
    FlaskTracing(tracer, True, app)

    @app.route("/")
    def home():
        return tracer.active_span.get_baggage_item("who") or ""

    test_client = app.test_client()
    assert test_client.get("/", headers=carrier, buffered=True).text == "me you"
    test_client.get("/", headers={"X-Debug": "find me"}, buffered=True)
    tracer.start_span("debug", child_of=tracer.extract(Format.TEXT_MAP, {"x-debug": "me"})).finish()
    tracer.close().result(5)
    client, served, found, debug = agent.wait(4)
    assert served.parent_id == client.span_id
    assert (found.flags, found.tags["x-debug"]) == (3, "find me")
    assert (debug.flags, debug.tags["x-debug"]) == (3, "me")
    assert "jaeger-debug-id" not in dict(debug.tags.pairs)


def test_b3_is_for_http_alone(to_agent):
    """As ``propagation: b3`` meant it: text maps stay Jaeger's, queues with old services work."""
    tracer = Config({**to_agent, "propagation": "b3"}, service_name="shop").new_tracer()
    http, queue = {}, {}
    with tracer.start_span("send") as span:
        span.set_baggage_item("k", "a b")
        tracer.inject(span, Format.HTTP_HEADERS, http)
        tracer.inject(span, Format.TEXT_MAP, queue)
    tracer.close().result(5)
    assert int(http["x-b3-traceid"], 16) == span.trace_id
    assert queue["uber-trace-id"].startswith(f"{span.trace_id:x}:{span.span_id:x}:0:1")
    assert queue["uberctx-k"] == "a b"
    for form, carrier in ((Format.HTTP_HEADERS, http), (Format.TEXT_MAP, queue)):
        assert tracer.extract(form, carrier).span_id == span.span_id


def ping(depth):
    pong(depth)


def pong(depth):
    """Recurse in two steps: equal lines in a row would be told in one."""
    ping(depth - 1) if depth else int("not a number")


@pytest.mark.parametrize(
    ("config", "tag", "stack"),
    [({}, 1024, 4096), ({"max_tag_value_length": 9, "max_traceback_length": 20}, 9, 20)],
)
def test_text_is_cut_where_it_says(config, tag, stack):
    """Tags, log fields and tracebacks, at 1024 and 4096 characters if it says nothing."""
    reporter = InMemoryReporter()
    tracer = Config(config, service_name="shop").create_tracer(reporter, ConstSampler(True))
    with suppress(ValueError), tracer.start_span("cut", tags={"text": "x" * 5000}):
        ping(100)
    (span,) = reporter.get_spans()
    assert len({it.key: it.vStr for it in span.tags}["text"]) == tag
    (log,) = span.logs
    assert len({it.key: it.vStr for it in log.fields}["stack"]) == stack


@pytest.mark.parametrize("param", [True, "true", "True", "1", 1, False, "false", "0", 0])
def test_a_const_sampler_decides_as_it_did(param):
    """Whatever YAML or a template has made of its parameter."""
    config = Config({"sampler": {"type": "const", "param": param}}, service_name="shop")
    tracer = config.new_tracer()
    assert not config.settings.problems
    sampled = str(param).lower() in ("true", "1")
    assert tracer.start_span("op").is_sampled() is sampled is config.sampler.decision
    tracer.close()


def test_a_sampler_may_be_an_object(agent, to_agent):
    """One written for jaeger_client is asked about every root, and its tags are on them."""

    class Chosen(Sampler):
        def is_sampled(self, trace_id, operation=""):
            return operation == "wanted", {"sampler.type": "chosen", "sampler.param": 1}

    config = Config({**to_agent, "sampler": Chosen()}, service_name="shop")
    assert isinstance(config.sampler, Chosen)
    tracer = config.new_tracer()
    assert tracer.sampler is config.sampler
    tracer.start_span("unwanted").finish()
    tracer.start_span("wanted").finish()
    tracer.close().result(5)
    (span,) = agent.wait(1)
    assert (span.operation, span.tags["sampler.type"]) == ("wanted", "chosen")
    with pytest.raises(TypeError, match="no sampler"):
        Config({"sampler": object()}, service_name="shop")


def test_a_service_without_a_name_is_refused():
    """As it was: in the dictionary or as an argument, one of them."""
    with pytest.raises(ValueError, match="service_name required"):
        Config({})
    assert Config({"service_name": "a"}, service_name="b").service_name == "a"


@pytest.mark.usefixtures("uninitialized")
def test_the_first_makes_the_global_tracer(agent, to_agent, caplog):
    """Of OpenTracing, and tracekit's handle for all edges; later calls warn and give None."""
    config = Config(to_agent, service_name="shop")
    assert not Config.initialized()
    tracer = config.initialize_tracer()
    assert Config.initialized()
    assert opentracing.global_tracer() is opentracing.tracer is tracer
    assert Config({}, service_name="other").initialize_tracer() is None
    assert "already initialized" in caplog.text
    assert opentracing.global_tracer() is tracer
    with tracer.start_active_span("ours"):
        tracekit.get_tracer("edge").start_span("theirs").end()
    tracer.close().result(5)
    theirs, ours = agent.wait(2)
    assert theirs.parent_id == ours.span_id
    assert {span.service for span in (theirs, ours)} == {"shop"}


@pytest.mark.usefixtures("uninitialized")
def test_a_running_pipeline_is_kept(agent, caplog):
    """Initialized otherwise before: one warning, and the tracer goes where everything goes."""
    tracing = tracekit.init("first", environ=agent.environ)
    config = Config({"sampler": ConstSampler(False)}, service_name="second")
    tracer = config.initialize_tracer()
    assert "other settings" in caplog.text
    assert tracer.tracing is tracing
    assert tracer.service_name == "first"
    with tracer.start_span("sampled") as span:
        assert span.is_sampled()
    tracing.flush()
    assert agent.wait(1)[0].service == "first"


@pytest.mark.usefixtures("uninitialized")
def test_equal_settings_share_the_pipeline(to_agent, caplog):
    """Whoever initialized it first."""
    config = Config(to_agent, service_name="shop")
    tracing = tracekit.init(settings=Config(to_agent, service_name="shop").settings)
    with caplog.at_level(logging.WARNING):
        assert config.initialize_tracer().tracing is tracing
    assert not caplog.records


def test_disabled_means_disabled(agent, to_agent):
    """No span, no error; what arrives is passed on."""
    config = Config({**to_agent, "enabled": False}, service_name="shop")
    assert not config.enabled
    tracer = config.new_tracer()
    arrived = tracer.extract(Format.HTTP_HEADERS, {"uber-trace-id": "a:b:0:1"})
    with tracer.start_active_span("quiet", child_of=arrived) as scope:
        scope.span.set_tag("k", 1).log_kv({"event": "e"}).set_baggage_item("k", "v")
        carrier = {}
        tracer.inject(scope.span, Format.HTTP_HEADERS, carrier)
    assert int(carrier["uber-trace-id"].split(":")[0], 16) == 10
    assert tracer.sampler is None
    tracer.close().result(5)
    assert agent.spans() == []
