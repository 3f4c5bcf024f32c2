"""RPC metrics: what is counted of a call, under which name, and how many names there can be."""

from __future__ import annotations

import os
import re
import sys
import threading
from collections import Counter
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.context import Context
from opentelemetry.trace import NonRecordingSpan, SpanContext

import tracekit.testing
from tracekit._calls.lifecycle import Call
from tracekit._calls.metrics import (
    BUCKETS_S,
    MAX_ENDPOINTS,
    OTHER,
    STATUS_CLASSES,
    CallMetrics,
    safe_name,
)

QUIET = NonRecordingSpan(SpanContext(1, 2, is_remote=False))


def call(name="x", seconds=0.0, status=None):
    return SimpleNamespace(name=name, status=status, span=QUIET, duration_s=lambda: seconds)


def counted(metrics):
    return {
        (endpoint, failed): taken.calls
        for endpoint, failed, taken in metrics.latencies()
        if taken.calls
    }


@given(st.text())
def test_a_safe_name_keeps_the_length(operation):
    """Each byte outside the safe set is one dash, as in the Go client; the others stay."""
    name = safe_name(operation)
    assert re.fullmatch(r"[a-zA-Z0-9./_-]*", name)
    assert len(name) == len(operation.encode("utf-8", "surrogatepass"))
    assert safe_name(name) == name


@pytest.mark.parametrize(
    ("operation", "name"),
    [
        ("GET /users/<int:id>", "GET-/users/-int-id-"),
        ("shop.Orders/Create", "shop.Orders/Create"),
        ("dispatch", "dispatch"),
        ("grüße", "gr----e"),
        ("a b\tc\n", "a-b-c-"),
    ],
)
def test_safe_names_by_example(operation, name):
    """What the Go client's normalizer makes of these."""
    assert safe_name(operation) == name


@given(st.lists(st.text(max_size=3), max_size=60), st.integers(0, 8))
def test_endpoints_are_bounded(operations, limit):
    """The first ``limit`` operations have a name, all others share ``other``; the sum is exact."""
    metrics = CallMetrics(limit)
    for operation in operations:
        metrics.on_finish(call(operation), None, None)
    first = list(dict.fromkeys(operations))[:limit]
    expected = Counter(safe_name(name) if name in first else OTHER for name in operations)
    assert counted(metrics) == {(name, False): number for name, number in expected.items()}


def test_two_hundred_endpoints_is_the_limit():
    """As in the Go client: the 201st operation and all after it are ``other``."""
    metrics = CallMetrics()
    for number in range(MAX_ENDPOINTS + 50):
        metrics.on_finish(call(f"op{number}"), None, None)
    found = counted(metrics)
    assert len(found) == MAX_ENDPOINTS + 1 == 201
    assert found[OTHER, False] == 50


@given(st.lists(st.floats(0, 30), min_size=1), st.booleans())
def test_durations_fall_into_buckets(durations, failed):
    """A bucket holds what is not longer than its bound; count and sum belong to the same calls."""
    metrics = CallMetrics()
    for seconds in durations:
        metrics.on_finish(call(seconds=seconds), "E" if failed else None, None)
    (taken,) = [taken for _, error, taken in metrics.latencies() if error == failed]
    for at, bound in enumerate(BUCKETS_S):
        assert sum(taken.counts[: at + 1]) == sum(seconds <= bound for seconds in durations)
    assert taken.calls == len(durations)
    assert taken.sum_s == pytest.approx(sum(durations))


@given(st.lists(st.one_of(st.none(), st.integers(-5, 2000))))
def test_http_statuses_are_counted_by_class(statuses):
    """2xx to 5xx have a series each; gRPC's numbers and nonsense have none."""
    metrics = CallMetrics()
    for status in statuses:
        metrics.on_finish(call(status=status), None, None)
    found = {shown: number for _, shown, number in metrics.statuses()}
    for shown in STATUS_CLASSES:
        digit = int(shown[0])
        expected = sum(status is not None and status // 100 == digit for status in statuses)
        assert found.get(shown, 0) == expected


def test_threads_lose_no_call():
    """Counting without a lock is exact under threads that switch all the time."""
    metrics, each, workers = CallMetrics(), 2500, 4
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        threads = [
            threading.Thread(
                target=lambda: [
                    metrics.on_finish(call(f"op{n % 7}", 0.25, 200), None, None)
                    for n in range(each)
                ]
            )
            for _ in range(workers)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    finally:
        sys.setswitchinterval(before)
    total = each * workers
    assert sum(counted(metrics).values()) == total
    assert sum(taken.sum_s for *_, taken in metrics.latencies()) == total * 0.25
    assert sum(number for *_, number in metrics.statuses()) == total


@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")
def test_a_forked_child_counts_from_zero():
    """What the parent served is the parent's to show."""
    metrics = CallMetrics()
    metrics.on_finish(call(), None, None)
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            metrics.on_finish(call("child"), None, None)
            os.write(writing, repr(counted(metrics)).encode())
        finally:
            os._exit(0)
    os.waitpid(pid, 0)
    assert os.read(reading, 1000).decode() == "{('child', False): 1}"
    assert counted(metrics) == {("x", False): 1}
    os.close(reading)
    os.close(writing)


def test_a_sampled_call_leaves_an_exemplar():
    """Of each bucket the latest sampled call is known; unsampled ones leave nothing."""
    tracing = tracekit.testing.tracing()
    metrics = CallMetrics(clock=lambda: 1234.5)
    span = tracing.tracer("test").start_span("x")
    metrics.on_finish(call(), None, None)
    assert all(each is None for *_, taken in metrics.latencies() for each in taken.exemplars)
    one = Call(span, Context(), metrics, name="x")
    one.finish()
    (exemplar,) = [each for *_, taken in metrics.latencies() for each in taken.exemplars if each]
    context = span.get_span_context()
    assert exemplar[:2] == (context.trace_id, context.span_id)
    assert exemplar.at_s == 1234.5
    tracing.shutdown()


def test_counting_a_call_is_few_calls():
    """What an unsampled call pays for RPC metrics can be counted, too: no lock is taken."""
    metrics, one = CallMetrics(), Call(QUIET, Context(), name="x")
    metrics.on_finish(one, None, None)
    made = []
    sys.setprofile(lambda frame, event, argument: made.append(event))
    try:
        metrics.on_finish(one, None, None)
    finally:
        sys.setprofile(None)
    assert sum(event in ("call", "c_call") for event in made) <= 10
