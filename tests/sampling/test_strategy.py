"""A sampling server's JSON answer: what is a strategy, and that nothing else harms."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tracekit.errors import StrategyError
from tracekit.sampling import AdaptiveStrategy, RemoteSampler, Strategy, parse_strategy
from tracekit.sampling._file import parse_strategies_file

VECTORS = json.loads((Path(__file__).parents[1] / "vectors" / "sampling.json").read_text())["cases"]
REMOTE = [case for case in VECTORS if case["op"] == "remote"]

FIELDS = [
    "strategyType",
    "probabilisticSampling",
    "rateLimitingSampling",
    "operationSampling",
    "samplingRate",
    "maxTracesPerSecond",
    "defaultSamplingProbability",
    "defaultLowerBoundTracesPerSecond",
    "perOperationStrategies",
    "operation",
    "default_strategy",
    "service_strategies",
    "operation_strategies",
    "service",
    "type",
    "param",
]
values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=5)
    | st.sampled_from(["probabilistic", "ratelimiting", "PROBABILISTIC"]),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(FIELDS), inner, max_size=6)
    ),
    max_leaves=25,
)


@pytest.mark.parametrize("case", REMOTE, ids=lambda case: case["id"])
def test_vectors_of_answers(case):
    """An answer becomes the strategy that the Jaeger clients make of it, or is refused."""
    expected = case["expect"]
    if expected.get("keep"):
        with pytest.raises(StrategyError):
            parse_strategy(case["response"], case.get("status", 200))
        return
    found = parse_strategy(case["response"], case.get("status", 200))
    if isinstance(found, AdaptiveStrategy):
        assert expected == {"type": "adaptive", **found._asdict()}
    else:
        assert expected == found._asdict()


def usable(strategy):
    """Whether a strategy's numbers are ones that a sampler can be built from."""
    if isinstance(strategy, Strategy):
        limit = 1.0 if strategy.type == "probabilistic" else math.inf
        return 0.0 <= strategy.param <= limit and math.isfinite(strategy.param)
    rates = [strategy.default, *strategy.operations.values()]
    return all(0.0 <= rate <= 1.0 for rate in rates) and 0.0 <= strategy.lower_bound < math.inf


def read(parse, text):
    try:
        strategy = parse(text)
    except StrategyError:
        return
    assert usable(strategy)
    RemoteSampler().apply(strategy)


@given(st.binary() | st.text())
@example(b"\xef\xbb\xbf{}")
@example(b"\xff\xfe")
@example("9" * 5000)
@example("[" * 100_000)
@example(b'{"operationSampling":' * 50_000)
@example('{"probabilisticSampling": {"samplingRate": NaN}}')
@example('{"probabilisticSampling": {"samplingRate": 1e999}}')
@example('{"probabilisticSampling": {"samplingRate": -0.5}}')
def test_any_text_is_a_strategy_or_an_error(text):
    """Whatever a server sends or a file holds, nothing else is raised."""
    read(parse_strategy, text)
    read(lambda each: parse_strategies_file(each, "service"), text)


@given(values)
def test_any_json_is_a_strategy_or_an_error(value):
    """Wrong types and values in the right places are refused as a whole."""
    text = json.dumps(value)
    read(parse_strategy, text)
    read(lambda each: parse_strategies_file(each, "service"), text)


@given(st.integers(0, 200))
def test_a_truncated_answer_is_refused(cut):
    """No prefix of an answer is taken for the answer."""
    whole = json.dumps(
        {
            "operationSampling": {
                "defaultSamplingProbability": 0.5,
                "perOperationStrategies": [
                    {"operation": "a", "probabilisticSampling": {"samplingRate": 1}}
                ],
            }
        }
    )
    with pytest.raises(StrategyError):
        parse_strategy(whole[: min(cut, len(whole) - 1)])


@pytest.mark.parametrize("kind", ['"RATE_LIMITING"', "1", '"0"', "null", "[]", "17"])
def test_the_part_that_is_there_decides(kind):
    """Servers write the type as string, as number or not at all."""
    text = f'{{"strategyType": {kind}, "probabilisticSampling": {{"samplingRate": 0.5}}}}'
    assert Strategy("probabilistic", 0.5) == parse_strategy(text)


def test_precedence_is_that_of_go_and_java():
    """Per operation before probabilistic before rate limiting."""
    limiting = {"rateLimitingSampling": {"maxTracesPerSecond": 5}}
    rate = {"probabilisticSampling": {"samplingRate": 0.5}}
    operations = {"operationSampling": {"defaultSamplingProbability": 0.25}}
    assert Strategy("ratelimiting", 5.0) == parse_strategy(json.dumps(limiting))
    assert Strategy("probabilistic", 0.5) == parse_strategy(json.dumps(limiting | rate))
    found = parse_strategy(json.dumps(limiting | rate | operations))
    assert AdaptiveStrategy(0.25, 0.0, {}) == found


def test_numbers_left_out_are_zero():
    """Protobuf's JSON leaves zeros and empty names out."""
    assert Strategy("probabilistic", 0.0) == parse_strategy('{"probabilisticSampling": {}}')
    entry = '{"probabilisticSampling": {}}'
    text = f'{{"operationSampling": {{"perOperationStrategies": [{entry}]}}}}'
    assert AdaptiveStrategy(0.0, 0.0, {"": 0.0}) == parse_strategy(text)


@pytest.mark.parametrize("status", [199, 204 + 96, 404, 500])
def test_an_error_page_is_refused(status):
    """What an error page says is not obeyed."""
    with pytest.raises(StrategyError, match=str(status)):
        parse_strategy('{"probabilisticSampling": {"samplingRate": 0.5}}', status)
