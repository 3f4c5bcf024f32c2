"""The retired opentelemetry-exporter-jaeger-thrift, with the SDK that it still works with."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tracekit.testing import FakeAgent

pytestmark = [pytest.mark.integration, pytest.mark.timeout(240)]

ROOT = Path(__file__).parents[2]
REQUIREMENTS = [
    "opentelemetry-exporter-jaeger-thrift==1.21.0",
    "opentelemetry-sdk==1.30.0",  # later ones have lost the names that it imports
    "deprecated",  # it imports this without asking for it
    "urllib3>=2",
]
INSTALL_S = 150.0

BRIDGE = """
import sys, warnings
warnings.simplefilter("ignore")
import tracekit
from opentelemetry.exporter.jaeger.thrift import JaegerExporter

exporter = JaegerExporter(agent_host_name="127.0.0.1", agent_port=int(sys.argv[1]))
tracing = tracekit.init(
    "shop", environ={}, set_global=False, sampler_type="const", sampler_param=1, exporter=exporter
)
tracer = tracing.tracer("scope")
with tracer.start_as_current_span("parent") as parent:
    parent.set_attribute("n", 7)
    parent.add_event("event", {"key": "value"})
    tracer.start_span("child").end()
assert tracing.flush(20)
assert tracing.stats().sent == 2
tracing.shutdown()
"""
BOTH = """
import sys, warnings
warnings.simplefilter("ignore")
from opentelemetry import trace
from opentelemetry.exporter.jaeger.thrift import JaegerExporter as Retired
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.trace import Link, SpanKind, Status, StatusCode
from tracekit.exporter import JaegerExporter

provider = TracerProvider(resource=Resource({"service.name": "shop"}))
for each, port in zip((Retired, JaegerExporter), sys.argv[1:]):
    arguments = {"agent_host_name": "127.0.0.1", "agent_port": int(port)}
    exporter = each(**arguments, max_tag_value_length=5)
    provider.add_span_processor(SimpleSpanProcessor(exporter))
tracer = provider.get_tracer("scope", "1.2")
with tracer.start_as_current_span("parent", kind=SpanKind.SERVER) as parent:
    parent.set_attributes({"n": 7, "long text": "abcdefgh", "flag": True, "ratio": 0.5})
    parent.add_event("event", {"key": "value and more", "n": 1})
    parent.set_status(Status(StatusCode.ERROR, "why"))
    link = Link(parent.get_span_context())
    tracer.start_span("child", kind=SpanKind.CLIENT, links=[link]).end()
provider.shutdown()
"""


def uv():
    built = ROOT / ".build/uv/bin/uv"
    beside = Path(sys.executable).with_name("uv")
    return next((str(each) for each in (beside, built) if each.exists()), shutil.which("uv"))


@pytest.fixture(scope="module")
def python():
    """Return the interpreter of an environment with the old SDK, made once and kept."""
    version = f"{sys.version_info[0]}.{sys.version_info[1]}"
    folder = ROOT / f".build/retired-exporter-{version}"
    python = folder / "bin/python"
    stamp = folder / ".installed"
    wanted = "\n".join(REQUIREMENTS)
    if stamp.exists() and stamp.read_text() == wanted:
        return python
    tool = uv()
    if tool is None:
        pytest.skip("needs uv to make an environment")
    steps = [
        [tool, "venv", "--quiet", "--allow-existing", "--python", sys.executable, str(folder)],
        [tool, "pip", "install", "--quiet", "--python", str(python), *REQUIREMENTS],
    ]
    for step in steps:
        try:
            done = subprocess.run(
                step, timeout=INSTALL_S, check=False, capture_output=True, text=True
            )
        except subprocess.TimeoutExpired:
            pytest.skip("the package registry does not answer in time")
        if done.returncode:
            pytest.skip(f"the old packages cannot be installed: {done.stderr.strip()[-300:]}")
    stamp.write_text(wanted)
    return python


def run(python, program, *ports):
    environ = {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [python, "-c", program, *map(str, ports)],
        env=environ,
        timeout=60,
        check=False,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr


def test_the_retired_one_can_be_the_wire(python):
    """A service that already ships through it changes nothing but who makes the spans."""
    with FakeAgent() as agent:
        run(python, BRIDGE, agent.port)
        child, parent = sorted(agent.wait(2), key=lambda span: span.operation)
    assert (parent.service, parent.tags["n"]) == ("shop", 7)
    assert parent.logs[0].fields["key"] == "value"
    assert (child.trace_id, child.parent_id) == (parent.trace_id, parent.span_id)


def test_it_says_what_the_retired_one_said(python):
    """Under one SDK both exporters tell the same spans; ours leaves out none of its tags."""
    with FakeAgent() as old, FakeAgent() as new:
        run(python, BOTH, old.port, new.port)
        was, now = (sorted(agent.wait(2), key=lambda s: s.operation) for agent in (old, new))
    for before, after in zip(was, now, strict=True):
        for field in ("service", "trace_id", "span_id", "parent_id", "operation", "kind", "flags"):
            assert getattr(after, field) == getattr(before, field), field
        assert after.references == before.references
        assert abs(after.start_us - before.start_us) <= 1  # it rounded where clients cut off
        # What it repeated on each span stands in the process, once.
        said = {"service.name": after.service, **after.process_tags, **after.tags}
        assert said.items() >= before.tags.items()
        # It called an event's name "message"; the specification, and Jaeger's page, say "event".
        events = [dict(log.fields) for log in before.logs]
        assert [dict(log.fields) for log in after.logs] == [
            {"event" if key == "message" else key: value for key, value in fields.items()}
            for fields in events
        ]
