"""const, probabilistic and ratelimiting: rules, attributes, rates; alone and under a plain SDK."""

from __future__ import annotations

import json
import math
import random
import threading
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jaeger_client.sampler import ProbabilisticSampler as JaegerProbabilistic
from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.sdk.trace import TracerProvider

from tracekit.sampling import from_type

VECTORS = json.loads((Path(__file__).parents[1] / "vectors" / "sampling.json").read_text())["cases"]
LOCAL = [case for case in VECTORS if case["op"] == "sampler"]
trace_ids = st.integers(1, (1 << 128) - 1)
rates = st.floats(0.0, 1.0)


def decided(sampler, trace_id, name="operation"):
    return sampler.should_sample(Context(), trace_id, name).decision.is_sampled()


@pytest.mark.parametrize("case", LOCAL, ids=lambda case: case["id"])
def test_vectors_of_local_samplers(case):
    """Decision and attributes are those that the Jaeger clients agree on, or one of theirs."""
    kind, param = case["sampler"]["type"], case["sampler"]["param"]
    expected = case["expect"]
    if "error" in expected:
        with pytest.raises(ValueError):
            from_type(kind, param)
        return
    result = from_type(kind, param).should_sample(Context(), int(case["trace_id"], 16), "operation")
    if case["level"] == "divergent":  # the rule of the Python client, where the clients differ
        assert case["seen"]["python"] == result.decision.is_sampled()
    else:
        assert expected["sampled"] == result.decision.is_sampled()
    assert expected["tags"] == dict(result.attributes)


@given(rates, trace_ids)
def test_probabilistic_is_as_jaeger_client(rate, trace_id):
    """For every rate and id, 64 or 128 bits long, the retired Python client decides the same."""
    theirs, _ = JaegerProbabilistic(rate).is_sampled(trace_id)
    assert theirs == decided(from_type("probabilistic", rate), trace_id)


@given(rates, st.integers(-2, 2))
def test_the_boundary_is_jaeger_clients(rate, offset):
    """The ids around ``rate * 2**64`` are decided alike, where rounding would show."""
    trace_id = min(max(int(rate * 2.0**64) + offset, 0), (1 << 64) - 1)
    theirs, _ = JaegerProbabilistic(rate).is_sampled(trace_id)
    assert theirs == decided(from_type("probabilistic", rate), trace_id)


@pytest.mark.parametrize("rate", [0.0, 0.001, 0.1, 0.5, 0.9, 1.0])
def test_probabilistic_samples_its_share(rate):
    """Of 20 000 random ids the sampled share lies within five standard deviations of the rate."""
    draw = random.Random(20)
    sampler = from_type("probabilistic", rate)
    count = sum(decided(sampler, draw.getrandbits(64)) for _ in range(20_000))
    allowed = 5 * math.sqrt(20_000 * rate * (1 - rate))
    assert abs(count - 20_000 * rate) <= allowed


@pytest.mark.parametrize(
    ("kind", "param"),
    [
        ("const", math.nan),
        ("const", "1"),
        ("const", None),
        ("probabilistic", 1.5),
        ("probabilistic", -0.1),
        ("probabilistic", math.nan),
        ("probabilistic", "0.5"),
        ("ratelimiting", -1),
        ("ratelimiting", math.inf),
        ("ratelimiting", math.nan),
        ("ratelimiting", 10**400),
        ("remote", 0.1),
        ("", 1),
    ],
)
def test_an_impossible_parameter_is_refused(kind, param):
    """Nothing is guessed: a bad type or parameter is a ValueError."""
    with pytest.raises(ValueError):
        from_type(kind, param)


@pytest.mark.parametrize(
    ("kind", "param", "tag"),
    [
        ("const", 1, True),
        ("const", 0, False),
        ("const", -3, True),
        ("Probabilistic", True, 1.0),
        ("rate_limiting", 2, 2.0),
    ],
)
def test_types_are_read_in_any_spelling(kind, param, tag):
    """The attribute has exactly the type that the back end's adaptive sampling reads."""
    attributes = from_type(kind, param).should_sample(None, 1, "operation").attributes
    assert repr(tag) == repr(attributes["sampler.param"])


def test_an_answer_is_not_allocated_anew():
    """Two roots get the very same answer object."""
    sampler = from_type("probabilistic", 0.5)
    assert sampler.should_sample(None, 1, "a") is sampler.should_sample(None, 2, "b")


def test_a_plain_sdk_keeps_attributes():
    """The SDK takes all start attributes from the answer, so the caller's are in it."""
    tracer = TracerProvider(sampler=from_type("const", 1)).get_tracer("test")
    with tracer.start_as_current_span("root", attributes={"user": 7}) as span:
        assert dict(span.attributes) == {"user": 7, "sampler.type": "const", "sampler.param": True}


@pytest.mark.parametrize("param", [0, 1])
def test_a_plain_sdk_keeps_the_trace_state(param):
    """The SDK takes the trace state from the answer too, sampled or not."""
    state = trace.TraceState([("vendor", "1")])
    remote = trace.SpanContext(1, 2, is_remote=True, trace_state=state)
    parent = trace.set_span_in_context(trace.NonRecordingSpan(remote), Context())
    tracer = TracerProvider(sampler=from_type("const", param)).get_tracer("test")
    span = tracer.start_span("child", context=parent)
    assert state == span.get_span_context().trace_state


def test_local_samplers_start_no_thread():
    """Building and asking them leaves the number of threads alone."""
    before = threading.active_count()
    for kind in ("const", "probabilistic", "ratelimiting"):
        decided(from_type(kind, 1), 1)
    assert before == threading.active_count()


@pytest.mark.parametrize("kind", ["const", "probabilistic", "ratelimiting"])
def test_a_description_names_the_sampler(kind):
    """``get_description`` is what a person reads in a log."""
    assert from_type(kind, 1).get_description().lower().startswith(kind + "{")
