"""Every row of the table of settings changes something that is built, or that is done."""

import math
import os
import socket
import subprocess
import sys

import pytest
from opentelemetry import baggage, trace

from tracekit import testing
from tracekit._assembly import wiring
from tracekit._config.schema import SETTINGS
from tracekit.encoding._thrift import Binary
from tracekit.settings import Settings
from tracekit.tracing import DisabledTracerProvider
from tracekit.wsgi import middleware

HTTP = {"transport": "http", "endpoint": "http://collector.example:1234/path"}
REMOTE = {"sampler_type": "remote", "sampling_endpoint": "http://agent.example:5778/sampling"}
IDS = "0000000000000abc:0000000000000def:0:1"


class Built:
    """What ``fields`` build, with short ways to the parts."""

    def __init__(self, **fields):
        chosen = {"service_name": "svc", "sampler_type": "const", **fields}
        settings = Settings.resolve(environ={}, strict=True, **chosen)
        self.parts = wiring.build(settings)
        self.provider = self.parts.provider
        if self.parts.reporter is not None:
            self.pipeline = self.parts.reporter._now().pipeline
            self.batcher = self.pipeline._sender._batcher
            self.queue = self.pipeline.queue
            self.wire = self.pipeline._transport
            self.root = self.parts.sampler.root
            self.limits = self.provider.span_limits

    def injected(self):
        """Return the headers below a span with baggage ``k=v``."""
        span = self.provider.get_tracer("t").start_span("x")
        carrier = {}
        context = baggage.set_baggage("k", "v", trace.set_span_in_context(span))
        self.parts.propagator.inject(carrier, context)
        return carrier

    def extracted(self, **headers):
        """Return the trace id, in hexadecimal, and the baggage of a request."""
        carrier = {name.replace("_", "-"): value for name, value in headers.items()}
        context = self.parts.propagator.extract(carrier)
        found = trace.get_current_span(context).get_span_context()
        return f"{found.trace_id:x}", dict(baggage.get_all(context))

    def forced(self, header):
        """Return whether a request with ``header`` and no ids is sampled all the same."""
        context = self.parts.propagator.extract({header: "why"})
        span = self.provider.get_tracer("t").start_span("x", context)
        return span.get_span_context().trace_flags.sampled


TAKES_EFFECT = {
    "service_name": ({}, lambda it: it.provider.resource.attributes["service.name"], "svc"),
    "disabled": ({"disabled": True}, lambda it: type(it.provider), DisabledTracerProvider),
    "tags": ({"tags": {"a": "b"}}, lambda it: it.provider.resource.attributes["a"], "b"),
    "traceid_128bit": (
        {"traceid_128bit": True},
        lambda it: it.provider.id_generator.generate_trace_id() >> 64 > 0,
        True,
    ),
    "native": ({"native": False}, lambda it: it.parts.stats().encoder, "python"),
    "rpc_metrics": ({"rpc_metrics": True}, lambda it: it.parts.calls is not None, True),
    "propagation": ({"propagation": "b3single"}, lambda it: "b3" in it.injected(), True),
    "extract_order": (
        {"propagation": "jaeger,w3c", "extract_order": "last"},
        lambda it: it.extracted(uber_trace_id=IDS, traceparent=f"00-{7:032x}-{8:016x}-01")[0],
        "7",
    ),
    "trace_id_header": ({"trace_id_header": "x-ids"}, lambda it: "x-ids" in it.injected(), True),
    "baggage_header_prefix": (
        {"baggage_header_prefix": "x-bag-"},
        lambda it: it.injected().get("x-bag-k"),
        "v",
    ),
    "debug_id_header": (
        {"debug_id_header": "x-debug", "sampler_type": "const", "sampler_param": 0},
        lambda it: it.forced("x-debug"),
        True,
    ),
    "baggage_header": (
        {"baggage_header": "x-bag"},
        lambda it: it.extracted(uber_trace_id=IDS, x_bag="k=v")[1],
        {"k": "v"},
    ),
    "sampler_type": (
        {"sampler_type": "ratelimiting", "sampler_param": 3},
        lambda it: type(it.root).__name__,
        "RateLimiting",
    ),
    "sampler_param": (
        {"sampler_type": "const", "sampler_param": 0},
        lambda it: it.forced("nothing"),
        False,
    ),
    "sampling_endpoint": (
        REMOTE,
        lambda it: it.root.feed._source._url.netloc,
        "agent.example:5778",
    ),
    "sampling_port": (
        {"sampler_type": "remote", "sampling_port": 5779},
        lambda it: it.root.feed._source._url.port,
        5779,
    ),
    "sampler_max_operations": (
        {**REMOTE, "sampler_max_operations": 7},
        lambda it: it.root._max_operations,
        7,
    ),
    "sampler_refresh_s": (
        {**REMOTE, "sampler_refresh_s": 7},
        lambda it: it.root.feed._interval_s,
        7.0,
    ),
    "sampler_file": (
        {"sampler_type": "file", "sampler_file": os.devnull},
        lambda it: it.root.feed._source.name,
        os.devnull,
    ),
    "keep": ({"keep": "errors"}, lambda it: it.provider._rule.conditions[0][0], "errors"),
    "keep_spans": (
        {"keep": "errors", "keep_spans": 7},
        lambda it: it.provider.store()._max_spans,
        7,
    ),
    "keep_bytes": (
        {"keep": "errors", "keep_bytes": 7},
        lambda it: it.provider.store().max_bytes,
        7,
    ),
    "keep_per_second": (
        {"keep": "errors", "keep_per_second": 7},
        lambda it: it.provider.store()._limiter.rate,
        7.0,
    ),
    "redact": (
        {"redact": ["email"]},
        lambda it: it.batcher._encoder._rule.names,
        frozenset({"email"}),
    ),
    "queue_size": ({"queue_size": 7}, lambda it: it.queue._capacity, 7),
    "flush_s": ({"flush_s": 7}, lambda it: it.pipeline.flush_s, 7.0),
    "max_batch_spans": ({"max_batch_spans": 7}, lambda it: it.batcher._max_spans, 7),
    "drop_policy": ({"drop_policy": "oldest"}, lambda it: it.queue._oldest, True),
    "log_spans": ({"log_spans": True}, lambda it: it.batcher._log_spans, True),
    "transport": (HTTP, lambda it: type(it.wire).__name__, "HttpTransport"),
    "agent_host": ({"agent_host": "::1"}, lambda it: it.wire._resolver._host, "::1"),
    "agent_port": ({"agent_port": 7}, lambda it: it.wire._resolver._port, 7),
    "agent_protocol": (
        {"agent_protocol": "binary"},
        lambda it: type(it.batcher._encoder.encoder._dialect),
        Binary,
    ),
    "agent_family": (
        {"agent_family": "ipv6"},
        lambda it: it.wire._resolver._family,
        socket.AF_INET6,
    ),
    "max_packet_bytes": ({"max_packet_bytes": 9216}, lambda it: it.wire.max_bytes, 9216),
    "max_burst_bytes": ({"max_burst_bytes": 7}, lambda it: it.wire._pace._burst, 7),
    "burst_pause_s": (
        {"max_burst_bytes": 7, "burst_pause_s": 2},
        lambda it: it.wire._pace._per_s,
        3.5,
    ),
    "reconnect": ({"reconnect": False}, lambda it: it.wire._resolver._refresh_s, math.inf),
    "reconnect_s": ({"reconnect_s": 7}, lambda it: it.wire._resolver._refresh_s, 7.0),
    "endpoint": (HTTP, lambda it: (it.wire._resolver._port, it.wire._path), (1234, "/path")),
    "user": (
        {**HTTP, "user": "u", "password": "p"},
        lambda it: it.wire._headers["Authorization"],
        "Basic dTpw",
    ),
    "password": (
        {**HTTP, "user": "u", "password": "q"},
        lambda it: it.wire._headers["Authorization"],
        "Basic dTpx",
    ),
    "auth_token": (
        {**HTTP, "auth_token": "t"},
        lambda it: it.wire._headers["Authorization"],
        "Bearer t",
    ),
    "headers": ({**HTTP, "headers": {"x-a": "b"}}, lambda it: it.wire._headers["x-a"], "b"),
    "timeout_s": ({**HTTP, "timeout_s": 7}, lambda it: it.wire._timeout_s, 7.0),
    "compression": (
        {**HTTP, "compression": "gzip"},
        lambda it: it.wire._headers["Content-Encoding"],
        "gzip",
    ),
    **{
        name: (
            {"transport": "http", "endpoint": "https://c.example/", name: "a.pem"},
            lambda it, name=name: getattr(it.wire._connection._tls.__self__, name),
            "a.pem",
        )
        for name in ("ca_file", "cert_file", "key_file")
    },
    "max_attributes": ({"max_attributes": 7}, lambda it: it.limits.max_span_attributes, 7),
    **{
        name: ({name: 7}, lambda it, name=name: getattr(it.limits, name), 7)
        for name in (
            "max_events",
            "max_links",
            "max_event_attributes",
            "max_link_attributes",
            "max_attribute_length",
            "max_span_attribute_length",
        )
    },
}


@pytest.mark.parametrize("name", TAKES_EFFECT)
def test_a_setting_reaches_what_it_is_about(name):
    """The part that a setting is about is as asked for."""
    fields, look, expected = TAKES_EFFECT[name]
    assert look(Built(**fields)) == expected


def test_a_spans_length_follows_that_of_all():
    """Without a limit of their own, a span's attributes have the one of all attributes."""
    assert Built(max_attribute_length=7).limits.max_span_attribute_length == 7
    own = Built(max_span_attribute_length=5, max_attribute_length=7).limits
    assert (own.max_span_attribute_length, own.max_attribute_length) == (5, 7)


def test_semconv_names_request_attributes():
    """With ``old``, the span of a WSGI request has the attributes' former names."""
    tracing = testing.tracing(semconv="old")
    environ = {"REQUEST_METHOD": "GET", "PATH_INFO": "/", "wsgi.url_scheme": "http"}

    def app(_environ, start_response):
        start_response("200 OK", [])
        return [b""]

    body = middleware(app, tracing)(environ, lambda *_arguments: None)
    list(body)
    body.close()
    tracing.flush()
    assert tracing.sink.spans[0].attributes["http.method"] == "GET"


def test_exit_budget_bounds_the_end():
    """A process that may not take any time to end sends nothing, and says what it dropped."""
    program = """
import tracekit
tracekit.init("svc", environ={}, sampler_type="const", sampler_param=1, exit_budget_s=0, flush_s=60)
tracekit.get_tracer("t").start_span("x").end()
"""
    ran = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True
    )
    assert "1 spans dropped (shutdown: 1)" in ran.stderr


def test_no_setting_is_without_effect():
    """The tests above name every row of the table."""
    elsewhere = {"instrument", "disabled_instrumentations"}  # tests/launch/test_instrument.py
    above = {*TAKES_EFFECT, "semconv", "exit_budget_s", "also", "drain_on_sigterm"}
    assert above | elsewhere == set(SETTINGS)
