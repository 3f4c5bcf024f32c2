"""OpenTelemetry's own SDK, in a process of its own, finds what tracekit registers with it."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from importlib.metadata import entry_points

import pytest

from tracekit.local import SamplingServer
from tracekit.sampling import Strategy

NO_EXPORTERS = ("OTEL_TRACES_EXPORTER", "OTEL_METRICS_EXPORTER", "OTEL_LOGS_EXPORTER")
pytestmark = pytest.mark.integration


def run(program, **environ):
    """Run a program that imports nothing of tracekit; warnings of the SDK's are its errors."""
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(program)],
        env={"PATH": os.environ.get("PATH", ""), **environ},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.split(), done.stderr


@pytest.mark.parametrize("name", ["jaeger_remote", "parentbased_jaeger_remote"])
def test_a_plain_sdk_takes_the_sampler(name):
    """OTEL_TRACES_SAMPLER names it; with a rate of 0, only the server can make it sample.

    The SDK is set up as ``opentelemetry-instrument`` does it: by the SDK's configurator.
    """
    program = """
        import time
        from opentelemetry import trace
        from opentelemetry.sdk._configuration import _OTelSDKConfigurator
        _OTelSDKConfigurator().configure()
        tracer = trace.get_tracer("test")
        end = time.monotonic() + 20
        while not (span := tracer.start_span("a")).is_recording() and time.monotonic() < end:
            time.sleep(0.01)
        print(span.attributes["sampler.type"], span.attributes["sampler.param"])
    """
    with SamplingServer() as server:
        server.serve(Strategy("probabilistic", 1.0))
        argument = f"endpoint={server.endpoint},pollingIntervalMs=100,initialSamplingRate=0"
        out, err = run(
            program,
            OTEL_TRACES_SAMPLER=name,
            OTEL_TRACES_SAMPLER_ARG=argument,
            OTEL_SERVICE_NAME="plain",
            **dict.fromkeys(NO_EXPORTERS, "none"),
        )
        assert out == ["probabilistic", "1.0"]
        assert err == ""
        assert set(server.asked) == {"plain"}


@pytest.mark.parametrize(
    ("name", "header"),
    [("tracekit", "uber-trace-id"), ("tracekit_b3", "x-b3-traceid")],
)
def test_a_plain_sdk_takes_the_propagators(name, header):
    """OTEL_PROPAGATORS names them, beside OpenTelemetry's own."""
    program = """
        from opentelemetry import propagate
        from opentelemetry.sdk.trace import TracerProvider
        headers = {}
        with TracerProvider().get_tracer("test").start_as_current_span("a"):
            propagate.inject(headers)
        print(*sorted(headers))
    """
    out, err = run(program, OTEL_PROPAGATORS=f"tracecontext,{name}")
    assert {header, "traceparent"} <= set(out)
    assert err == ""


@pytest.mark.parametrize("group", ["opentelemetry_distro", "opentelemetry_configurator"])
def test_auto_instrumentation_is_left_alone(group):
    """OpenTelemetry loads the first distro and configurator it finds: never ours."""
    ours = [found for found in entry_points(group=group) if found.value.startswith("tracekit")]
    assert ours == []
