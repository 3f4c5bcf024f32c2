"""One Flask service on ``flask_opentracing`` and on tracekit: a receiver sees the same."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tracekit.local import Receiver

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
FAILED = {"boom", "chosen_boom"}
"""Requests that an exception ended: ours says so, in OpenTelemetry's words."""


def run(python, *modules):
    environ = {key: it for key, it in os.environ.items() if not key.startswith(("JAEGER", "OTEL"))}
    ours = modules[0].startswith("tracekit")
    with Receiver() as receiver:
        done = subprocess.run(
            [python, "-W", "ignore", str(HERE / "flask_programs.py"), *modules, str(receiver.port)],
            env={**environ, "PYTHONPATH": str(ROOT) if ours else ""},
            check=False,
            capture_output=True,
            text=True,
            timeout=60,
        )
        if not ours and "No module named 'flask_opentracing'" in done.stderr:
            pytest.skip("flask_opentracing is not installed where jaeger_client is")
        assert done.returncode == 0, done.stderr
        receiver.wait_until(lambda spans: False, timeout_s=0.2)
        return {span.operation: span for span in receiver.spans()}


@pytest.fixture(scope="module")
def both(oracle):
    return (
        run(oracle, "flask_opentracing", "jaeger_client"),
        run(sys.executable, "tracekit.flask", "tracekit.jaeger_client"),
    )


def shape(span, spans):
    """Return what of a span does not differ from run to run, but its tags."""
    names = {it.span_id: name for name, it in spans.items()}
    parent = names.get(span.parent_id, span.parent_id)
    return parent, span.kind, span.flags, span.service, span.trace_id == 0xABC, span.references


def test_operations_and_flags_are_the_same(both):
    """Parents and kinds too: endpoints as operations, probes traced, a caller's trace joined."""
    theirs, ours = both
    assert theirs.keys() == ours.keys() >= {"plain", "child/below", "metrics", "chosen", *FAILED}
    for operation, span in theirs.items():
        assert shape(ours[operation], ours) == shape(span, theirs)


def test_all_tags_are_there_that_were(both):
    """With the same values and types; some more describe the request."""
    theirs, ours = both
    for operation, span in theirs.items():
        before = dict(span.tags.pairs)
        before.pop("remote_user", None)  # "None": ours has no tag where there is nothing to tell
        found = {key: ours[operation].tags.get(key) for key in before}
        assert (operation, found) == (operation, before)
        assert all(type(found[key]) is type(before[key]) for key in before)


def test_logs_are_the_same_but_for_failures(both):
    """The service's own; an exception is told with its type and stack."""
    theirs, ours = both
    for operation in theirs.keys() - FAILED:
        logs = [[dict(log.fields.pairs) for log in spans[operation].logs] for spans in both]
        assert logs[0] == logs[1]
    for operation in FAILED:
        assert ours[operation].error
        (log,) = ours[operation].logs
        assert log.fields["exception.type"] == "ValueError"
        assert "bad" in log.fields["exception.stacktrace"]
