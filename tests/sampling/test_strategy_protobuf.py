"""The gRPC answer, read by a table, against Google's protobuf runtime."""

from __future__ import annotations

from contextlib import suppress

import pytest
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from hypothesis import example, given
from hypothesis import strategies as st

from tracekit.errors import StrategyError
from tracekit.sampling import AdaptiveStrategy, RemoteSampler, Strategy
from tracekit.sampling._protobuf import decode_response, encode_parameters

rates = st.floats(0.0, 1.0)
DOUBLE, INT32, STRING, MESSAGE = 1, 5, 9, 11
SCHEMA = {
    "Parameters": [("serviceName", 1, STRING, None)],
    "Probabilistic": [("samplingRate", 1, DOUBLE, None)],
    "RateLimiting": [("maxTracesPerSecond", 1, INT32, None)],
    "Operation": [("operation", 1, STRING, None), ("probabilistic", 2, MESSAGE, "Probabilistic")],
    "PerOperation": [
        ("defaultRate", 1, DOUBLE, None),
        ("lowerBound", 2, DOUBLE, None),
        ("operations", 3, MESSAGE, "Operation"),
        ("upperBound", 4, DOUBLE, None),
    ],
    "Response": [
        ("strategyType", 1, INT32, None),
        ("probabilistic", 2, MESSAGE, "Probabilistic"),
        ("rateLimiting", 3, MESSAGE, "RateLimiting"),
        ("perOperation", 4, MESSAGE, "PerOperation"),
        ("unknown", 99, STRING, None),
    ],
}


def peer(name):
    return message_factory.GetMessageClass(POOL.FindMessageTypeByName(f"peer.{name}"))


def _pool():
    file = descriptor_pb2.FileDescriptorProto(name="peer.proto", package="peer", syntax="proto3")
    for message, fields in SCHEMA.items():
        made = file.message_type.add(name=message)
        for field, number, kind, inner in fields:
            added = made.field.add(name=field, number=number, type=kind, label=1)
            if inner:
                added.type_name = f".peer.{inner}"
            if field == "operations":
                added.label = 3
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return pool


POOL = _pool()


@given(st.text())
def test_the_runtime_reads_our_question(service):
    """Any service name arrives as it is."""
    assert service == peer("Parameters").FromString(encode_parameters(service)).serviceName


@given(rates, st.text(max_size=3))
def test_a_probabilistic_answer(rate, unknown):
    """The rate is read, fields that nobody knows are skipped."""
    answer = peer("Response")(unknown=unknown)
    answer.probabilistic.samplingRate = rate
    answer.probabilistic.SetInParent()
    assert Strategy("probabilistic", rate) == decode_response(answer.SerializeToString())


@given(st.integers(0, 2**31 - 1))
def test_a_rate_limiting_answer(limit):
    """Every non-negative int32 is read."""
    answer = peer("Response")(strategyType=1)
    answer.rateLimiting.maxTracesPerSecond = limit
    answer.rateLimiting.SetInParent()
    assert Strategy("ratelimiting", limit) == decode_response(answer.SerializeToString())


@given(rates, st.floats(0.0, 100.0), st.dictionaries(st.text(max_size=5), rates, max_size=5))
def test_a_per_operation_answer(default, bound, operations):
    """It wins over the service's own rate, which servers send along."""
    answer = peer("Response")()
    answer.probabilistic.samplingRate = 0.7
    answer.perOperation.defaultRate = default
    answer.perOperation.lowerBound = bound
    answer.perOperation.upperBound = 3.0
    for name, rate in operations.items():
        answer.perOperation.operations.add(operation=name).probabilistic.samplingRate = rate
        answer.perOperation.operations[-1].probabilistic.SetInParent()
    assert AdaptiveStrategy(default, bound, operations) == decode_response(
        answer.SerializeToString()
    )


def test_a_negative_limit_is_refused():
    """An int32 travels sign-extended; -1 must not become a huge limit."""
    answer = peer("Response")()
    answer.rateLimiting.maxTracesPerSecond = -1
    with pytest.raises(StrategyError):
        decode_response(answer.SerializeToString())


@given(st.binary(max_size=60))
@example(b"\x22" * 1000)
@example(b"\x0b" * 10)
@example(b"\xff" * 20)
@example(b"\x11\x00")
def test_bytes_are_a_strategy_or_an_error(data):
    """Whatever comes over the wire, nothing else is raised."""
    with suppress(StrategyError):
        RemoteSampler().apply(decode_response(data))


@given(st.data())
def test_a_prefix_is_no_other_strategy(data):
    """A prefix is refused, or at most ends between two whole parts."""
    answer = peer("Response")()
    answer.perOperation.defaultRate = 0.5
    for name in ("a", "b"):
        answer.perOperation.operations.add(operation=name).probabilistic.samplingRate = 0.25
    whole = answer.SerializeToString()
    with pytest.raises(StrategyError):
        decode_response(whole[: data.draw(st.integers(0, len(whole) - 1))])
