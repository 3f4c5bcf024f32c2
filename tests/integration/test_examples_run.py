"""The examples, started by their one command, seen through the spans that they send."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from waiting import until_said

from tracekit.local import Receiver

EXAMPLES = Path(__file__).parents[2] / "examples"
METHODS = ["Nearest", "Track", "Report", "Negotiate"]
pytestmark = [pytest.mark.integration, pytest.mark.timeout(120)]


def _environment(receiver, service):
    return os.environ | {
        "JAEGER_SERVICE_NAME": service,
        "JAEGER_AGENT_HOST": receiver.host,
        "JAEGER_AGENT_PORT": str(receiver.port),
        "JAEGER_SAMPLER_TYPE": "const",
        "JAEGER_SAMPLER_PARAM": "1",
        "JAEGER_REPORTER_FLUSH_INTERVAL": "100ms",
    }


@pytest.fixture
def receiver():
    with Receiver() as receiver:
        yield receiver


@pytest.fixture(params=[(), ("--aio",)], ids=["blocking", "aio"])
def driver(request, receiver, tmp_path):
    """Start the driver service on a free port and return its address."""
    output = tmp_path / "driver.txt"
    with (
        output.open("wb") as written,
        subprocess.Popen(
            [
                sys.executable,
                str(EXAMPLES / "grpc_service" / "server.py"),
                *("--port", "0"),
                *request.param,
            ],
            env=_environment(receiver, "driver"),
            stdout=written,
            stderr=subprocess.STDOUT,
        ) as process,
    ):
        try:
            yield until_said(r"listening on (\S+)\n", output, process)[1]
        finally:
            process.kill()


def test_all_kinds_of_call_are_one_trace(receiver, driver):
    """A ride makes one call of each kind; every server span hangs below its client span."""
    ride = subprocess.run(
        [sys.executable, str(EXAMPLES / "grpc_service" / "client.py"), "--driver", driver],
        env=_environment(receiver, "passenger"),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert ride.returncode == 0, ride.stdout + ride.stderr
    assert "agreed: 950" in ride.stdout

    def complete(spans):
        return {"ride", *METHODS} <= {span.operation.rpartition("/")[2] for span in spans} and sum(
            span.kind == "server" for span in spans
        ) == len(METHODS)

    assert receiver.wait_until(complete, 20), receiver.spans()
    spans = receiver.spans()
    by_id = {span.span_id: span for span in spans}
    (root,) = [span for span in spans if span.operation == "ride"]
    for method in METHODS:
        (server,) = [
            span for span in spans if span.kind == "server" and span.operation.endswith(method)
        ]
        client = by_id[server.parent_id]
        assert (server.service, client.service) == ("driver", "passenger")
        assert (client.kind, client.parent_id) == ("client", root.span_id)
    assert {span.trace_id for span in spans} == {root.trace_id}


@pytest.mark.parametrize(
    "program", ["flask_app/app.py", "grpc_service/server.py", "grpc_service/client.py"]
)
def test_tracing_takes_fewer_than_ten_lines(program):
    """The lines of an example that exist because of tracing can be counted on two hands."""
    lines = (EXAMPLES / program).read_text().splitlines()

    traced = [line for line in lines if re.search(r"tracekit|FlaskTracing|span\.", line)]

    assert 0 < len(traced) < 10, traced
