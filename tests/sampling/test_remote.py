"""A strategy changes on the server, and the spans of a running service follow."""

from __future__ import annotations

import os
import subprocess
import sys
import time

import pytest
from opentelemetry.sdk.trace import TracerProvider
from waiting import eventually

import tracekit
from tracekit._assembly.entry_points import jaeger_remote, parentbased_jaeger_remote
from tracekit.local import SamplingServer
from tracekit.sampling import AdaptiveStrategy, ParentRule, Strategy
from tracekit.sampling._fetch import following_server
from tracekit.testing import FakeAgent

INTERVAL_S = 0.25


@pytest.fixture
def server():
    with SamplingServer(with_grpc=True) as running:
        yield running


def seen(tracer, names=("GET /", "POST /")):
    """Start a root for each name; return what the sampled ones say about their sampler."""
    said = {}
    for name in names:
        with tracer.start_as_current_span(name) as span:
            if span.get_span_context().trace_flags.sampled:
                said[name] = span.attributes["sampler.type"], span.attributes["sampler.param"]
    return said


def follow(tracer, expected, server):
    """Make traffic until it looks as ``expected``; return how many polls that took."""
    asked = len(server.asked)
    eventually(lambda: seen(tracer) == expected, told=lambda: f"{seen(tracer)} is not {expected}")
    return len(server.asked) - asked


@pytest.mark.parametrize("kind", ["endpoint", "grpc_endpoint"])
def test_spans_follow_the_servers_strategy(server, kind):
    """All, none, then by operation: each change is seen with the next poll, over both protocols."""
    server.serve(Strategy("probabilistic", 1.0))
    sampler = following_server(
        getattr(server, kind), "shop", initial_rate=0.0, interval_s=INTERVAL_S
    )
    tracer = TracerProvider(sampler=ParentRule(sampler)).get_tracer("test")
    try:
        assert seen(tracer) == {}
        everything = ("probabilistic", 1.0)
        follow(tracer, {"GET /": everything, "POST /": everything}, server)
        server.serve(Strategy("probabilistic", 0.0))
        # The poll under way may still carry the old strategy; the next one carries the new.
        assert follow(tracer, {}, server) <= 2
        server.serve(AdaptiveStrategy(0.0, 0.0, {"GET /": 1.0, "POST /": 0.0}))
        assert follow(tracer, {"GET /": everything}, server) <= 2
        assert sampler.state()["strategy"]["operations"] == {"GET /": 1.0, "POST /": 0.0}
        assert set(server.asked) == {"shop"}
    finally:
        sampler.close()


@pytest.mark.parametrize("kind", ["endpoint", "grpc_endpoint"])
def test_what_is_sent_follows_the_strategy(kind):
    """From ``init`` to the datagram: the spans that the agent receives change with what it says."""
    with FakeAgent(with_grpc=True) as agent:
        agent.sampling.serve(Strategy("probabilistic", 1.0))
        tracing = tracekit.init(
            "shop",
            environ={},
            set_global=False,
            agent_port=agent.port,
            sampler_type="remote",
            sampler_param=0.0,
            sampler_refresh_s=INTERVAL_S,
            sampling_endpoint=getattr(agent.sampling, kind),
            flush_s=0.05,
        )
        tracer = tracing.tracer("test")

        def traffic(sampled):
            """Make roots until one is (not) sampled; return how many polls that took."""
            asked = len(agent.sampling.asked)
            eventually(lambda: tracer.start_span("GET /").is_recording() is sampled)
            return len(agent.sampling.asked) - asked

        try:
            traffic(sampled=True)
            with tracer.start_as_current_span("GET /"):
                pass
            (span,) = agent.wait(1)
            assert span.tags["sampler.type"] == "probabilistic"
            assert span.tags["sampler.param"] == 1.0
            agent.sampling.serve(AdaptiveStrategy(1.0, 0.0, {"GET /": 0.0}))
            # The first trace of an operation is the lower bound's, as in all clients.
            assert traffic(sampled=False) <= 2
            said = tracing.stats().as_dict()["sampler"]
            assert said["strategy"]["operations"] == {"GET /": 0.0}
            assert said["last_error"] is None
        finally:
            tracing.shutdown()


def test_a_server_that_fails_for_a_while(server):
    """The last good strategy stays through errors and nonsense."""
    server.serve(Strategy("probabilistic", 1.0))
    sampler = following_server(server.endpoint, "shop", initial_rate=0.0, interval_s=0.05)
    tracer = TracerProvider(sampler=ParentRule(sampler)).get_tracer("test")
    everything = {"GET /": ("probabilistic", 1.0), "POST /": ("probabilistic", 1.0)}
    try:
        follow(tracer, everything, server)
        for answer, status in ((b"oops", 500), (b"not json", 200), (b"[" * 5000, 200)):
            server.serve(answer, status)
            asked = len(server.asked)
            while len(server.asked) < asked + 3:
                assert seen(tracer) == everything
                time.sleep(0.01)
    finally:
        sampler.close()


def test_a_plain_sdk_finds_the_sampler(server, monkeypatch):
    """``OTEL_TRACES_SAMPLER_ARG`` says where and how often, the environment says who asks."""
    server.serve(Strategy("probabilistic", 1.0))
    monkeypatch.setenv("OTEL_SERVICE_NAME", "plain")
    sampler = parentbased_jaeger_remote(
        f"endpoint={server.endpoint},pollingIntervalMs=100,initialSamplingRate=0.0"
    )
    tracer = TracerProvider(sampler=sampler).get_tracer("test")
    try:
        assert seen(tracer) == {}
        everything = ("probabilistic", 1.0)
        follow(tracer, {"GET /": everything, "POST /": everything}, server)
        assert set(server.asked) == {"plain"}
    finally:
        sampler.root.close()


def test_the_sdk_finds_both_entry_points():
    """``OTEL_TRACES_SAMPLER`` is enough: no import, no code."""
    program = (
        "from opentelemetry.sdk._configuration import _import_sampler as find\n"
        "print(*(find(name).get_description() for name in"
        " ('jaeger_remote', 'parentbased_jaeger_remote')))"
    )
    argument = "endpoint=http://127.0.0.1:14250,initialSamplingRate=0.25"
    environ = {**os.environ, "OTEL_TRACES_SAMPLER_ARG": argument}
    done = subprocess.run(
        [sys.executable, "-c", program],
        env=environ,
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    remote = "Remote{Probabilistic{0.25}}"
    assert done.stdout.split() == [remote, f"ParentRule{{{remote}}}"]


def test_a_bad_argument_costs_a_warning(monkeypatch, caplog):
    """And the defaults: the SDK would otherwise drop the sampler as a whole."""
    monkeypatch.setenv("OTEL_RESOURCE_ATTRIBUTES", "service.name=plain")
    sampler = jaeger_remote("initialSamplingRate=2,pollingIntervalMs=soon,colour=red")
    assert len(caplog.records) == 3
    assert sampler.state()["source"] == "http://127.0.0.1:5778/sampling"
    assert sampler.state()["strategy"] == {"type": "probabilistic", "param": 0.001}


@pytest.mark.parametrize(
    ("endpoint", "source"),
    [
        ("http://localhost:14250", "grpc://localhost:14250"),
        ("http://localhost:5779", "grpc://localhost:5779"),
        ("grpc://collector:4000", "grpc://collector:4000"),
        ("http://localhost:5778/sampling", "http://localhost:5778/sampling"),
        ("localhost:5778", "http://localhost:5778/sampling"),
    ],
)
def test_the_argument_names_http_or_grpc(endpoint, source):
    """Both the specification's form (gRPC) and the Go samplers' (HTTP) are understood."""
    assert jaeger_remote(f"endpoint={endpoint}").state()["source"] == source
