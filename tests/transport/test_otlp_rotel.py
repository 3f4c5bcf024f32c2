"""A collector written by others receives our OTLP and hands on what it understood."""

from __future__ import annotations

import os
import subprocess
import sysconfig
from pathlib import Path

import pytest
from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.trace import Link, SpanKind, Status, StatusCode
from ports import free_ports, until_listening
from waiting import eventually

import tracekit
from tracekit.testing import SpanSink

rotel = pytest.importorskip("rotel", reason="rotel has no wheel for this platform")
SOON = 20.0
AGENT = Path(rotel.__file__).with_name("rotel-agent")
# The agent is linked to libpython, which not every interpreter has as a library of its own.
ENVIRON = {**os.environ, "LD_LIBRARY_PATH": str(sysconfig.get_config_var("LIBDIR"))}
TRIED = subprocess.run(
    [AGENT, "version"], env=ENVIRON, capture_output=True, timeout=SOON, check=False
)
pytestmark = [
    pytest.mark.integration,
    pytest.mark.skipif(TRIED.returncode != 0, reason=TRIED.stderr.decode().strip()[-120:]),
]


class Collector:
    """A rotel process that forwards to an OTLP receiver of ours; may be stopped and started."""

    def __init__(self, folder, target):
        self.ports = dict(zip(("grpc", "http/protobuf"), free_ports(2), strict=True))
        self._arguments = [
            AGENT,
            "start",
            f"--pid-file={folder / 'pid'}",
            f"--otlp-grpc-endpoint=127.0.0.1:{self.ports['grpc']}",
            f"--otlp-http-endpoint=127.0.0.1:{self.ports['http/protobuf']}",
            "--exporter=otlp",
            "--otlp-exporter-protocol=grpc",
            f"--otlp-exporter-endpoint=http://127.0.0.1:{target}",
            "--otlp-exporter-compression=none",
            "--batch-timeout=50ms",
        ]
        self._log = folder / "log"

    def start(self):
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(self._arguments, env=ENVIRON, stdout=log, stderr=log)
        for port in self.ports.values():
            until_listening(port, self._process, self._log.read_text)

    def stop(self):
        self._process.terminate()
        self._process.wait(SOON)


@pytest.fixture
def collector(tmp_path, grpc_receiver):
    running = Collector(tmp_path, grpc_receiver.port)
    running.start()
    yield running
    running.stop()


def environ(collector, protocol, compression):
    return {
        "OTEL_SERVICE_NAME": "shop",
        "OTEL_RESOURCE_ATTRIBUTES": "zone=eu",
        "OTEL_TRACES_SAMPLER": "always_on",
        "OTEL_EXPORTER_OTLP_PROTOCOL": protocol,
        "OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{collector.ports[protocol]}",
        "OTEL_EXPORTER_OTLP_COMPRESSION": compression,
    }


def rich(tracing, number):
    """Make a span with everything that OTLP can say, and a child of it."""
    tracer = tracing.provider.get_tracer("scope", "1.2", "https://schema.example/1")
    with tracer.start_as_current_span(f"parent {number}", kind=SpanKind.SERVER) as parent:
        parent.set_attributes(
            {"text": "ä", "n": -number, "ratio": 0.5, "flag": False, "many": ["a", "b"], "b": b"x"}
        )
        parent.add_event("event", {"key": number})
        parent.set_status(Status(StatusCode.ERROR, "why"))
        link = Link(parent.get_span_context(), {"cause": "retry"})
        tracer.start_span(f"child {number}", links=[link]).end()


def wait_for(receiver, count):
    eventually(lambda: len(receiver.spans) >= count)
    return receiver.spans


def told(spans):
    return sorted(span.SerializeToString(deterministic=True) for span in spans)


@pytest.mark.parametrize("protocol", ["grpc", "http/protobuf"])
@pytest.mark.parametrize("compression", ["none", "gzip"])
def test_a_collector_understands_every_field(collector, grpc_receiver, protocol, compression):
    """Every field of every span survives the way through a collector that is not ours."""
    sink = SpanSink()
    variables = environ(collector, protocol, compression)
    tracing = tracekit.init(environ=variables, set_global=False)
    tracing.provider.add_span_processor(sink)
    for number in range(100):
        rich(tracing, number)
    assert tracing.flush(SOON)
    tracing.shutdown()
    (resource,) = encode_spans(sink.spans).resource_spans
    assert told(wait_for(grpc_receiver, 200)) == told(resource.scope_spans[0].spans)
    for request in grpc_receiver.requests:
        for group in request.resource_spans:
            assert group.resource == resource.resource
            assert {scope.scope.name for scope in group.scope_spans} == {"scope"}
            assert {scope.schema_url for scope in group.scope_spans} == {"https://schema.example/1"}


@pytest.mark.parametrize("protocol", ["grpc", "http/protobuf"])
def test_a_restart_loses_nothing(collector, grpc_receiver, protocol):
    """What ended while it was away arrives when it is back."""
    tracing = tracekit.init(environ=environ(collector, protocol, "none"), set_global=False)
    rich(tracing, 1)
    assert tracing.flush(SOON)
    wait_for(grpc_receiver, 2)
    collector.stop()
    rich(tracing, 2)
    assert not tracing.flush(0.2)
    collector.start()
    assert tracing.flush(SOON)
    tracing.shutdown()
    names = {span.name for span in wait_for(grpc_receiver, 4)}
    assert names == {"parent 1", "child 1", "parent 2", "child 2"}
