"""The same OpenTracing programs on ``jaeger_client`` and on tracekit: a receiver sees the same."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tracekit.local import Receiver

HERE = Path(__file__).parent
ROOT = HERE.parents[1]


def run(python, module):
    """Return what a receiver gets of all programs."""
    environ = {key: it for key, it in os.environ.items() if not key.startswith(("JAEGER", "OTEL"))}
    with Receiver() as receiver:
        done = subprocess.run(
            [python, "-W", "ignore", str(HERE / "programs.py"), module, str(receiver.port)],
            env={**environ, "PYTHONPATH": str(ROOT) if module.startswith("tracekit") else ""},
            check=False,
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert done.returncode == 0, done.stderr
        receiver.wait_until(lambda spans: False, timeout_s=0.2)
        assert receiver.malformed == 0
        return list(receiver.spans())


def comparable(tags):
    """Return the tags without what differs on purpose; the how-to page lists it.

    A failed span has OpenTelemetry's status beside the tag ``error``, and where a person forced
    the trace no sampler was asked.
    """
    left_out = {"otel.status_code"}
    if "sampling.priority" in tags:
        left_out |= {"sampler.type", "sampler.param"}
    return {key: value for key, value in tags.items() if key not in left_out}


def described(spans):
    """Return operation → everything that does not differ from run to run."""
    names = {span.span_id: span.operation for span in spans}
    whole = {}
    for span in spans:
        assert span.operation not in whole
        tags = comparable(dict(span.tags.pairs))
        whole[span.operation] = {
            "parent": names.get(span.parent_id, span.parent_id),
            "trace": names.get(root_of(span, spans), span.trace_id),
            "flags": span.flags,
            "tags": {key: (type(value).__name__, value) for key, value in tags.items()},
            "logs": [
                {key: (type(value).__name__, stack(key, value)) for key, value in log.fields.pairs}
                for log in span.logs
            ],
            "references": [
                (ref.kind, names.get(ref.span_id, ref.span_id)) for ref in span.references
            ],
        }
    return whole


def root_of(span, spans):
    return next(
        (it.span_id for it in spans if it.trace_id == span.trace_id and not it.parent_id), 0
    )


def stack(key, value):
    """Tracebacks look different from one version of Python to the next."""
    return value.split(",")[0] if key == "stack" else value


@pytest.fixture(scope="module")
def both(oracle):
    return run(oracle, "jaeger_client"), run(sys.executable, "tracekit.jaeger_client")


def test_spans_are_the_same_in_every_part(both):
    """Operations, parents, flags, tags, logs and references, span by span, types included."""
    theirs, ours = map(described, both)
    assert theirs
    assert sorted(ours) == sorted(theirs)
    for operation, expected in theirs.items():
        assert (operation, expected) == (operation, ours[operation])


def test_the_process_is_the_same(both):
    """Service, its tags, and the ones that the clients add about the host."""
    theirs, ours = both
    assert {span.service for span in ours} == {span.service for span in theirs} == {"programs"}
    expected, actual = dict(theirs[0].process_tags.pairs), dict(ours[0].process_tags.pairs)
    assert actual.keys() >= expected.keys()
    for key in ("zone", "replica", "hostname"):
        assert actual[key] == expected[key]


def test_given_times_are_the_same(both):
    """To the microsecond."""
    theirs, ours = (
        {span.operation: (span.start_us, span.duration_us) for span in spans} for spans in both
    )
    for operation in ("times", "times/whole"):
        assert ours[operation] == theirs[operation]
    logs = [
        next(
            [log.time_us for log in span.logs if log.time_us < 1_600_000_000_000_000]
            for span in spans
            if span.operation == "logs"
        )
        for spans in both
    ]
    assert logs[0] == logs[1] == [1_500_000_000_250_000, 1_500_000_001_000_000]
