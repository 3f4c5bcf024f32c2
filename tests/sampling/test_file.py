"""The strategies file: what Jaeger's server would have sent to each service."""

from __future__ import annotations

import json

import pytest
from strategies import rule

from tracekit.errors import StrategyError
from tracekit.sampling import AdaptiveStrategy, Strategy
from tracekit.sampling._file import parse_strategies_file

FILE = {
    "service_strategies": [
        {"service": "own", **rule("probabilistic", 0.8, op1=0.2)},
        {"service": "limited", **rule("ratelimiting", 5)},
        {"service": "limited-own", **rule("ratelimiting", 5, op1=0.2)},
        {"service": "plain", **rule("probabilistic", 0.3)},
        {"service": "fraction", **rule("ratelimiting", 0.5)},
    ],
    "default_strategy": rule("probabilistic", 0.5, health=0.0, op1=1.0),
}


@pytest.mark.parametrize(
    ("service", "expected"),
    [
        ("unknown", AdaptiveStrategy(0.5, 0.0, {"health": 0.0, "op1": 1.0})),
        ("own", AdaptiveStrategy(0.8, 0.0, {"health": 0.0, "op1": 0.2})),
        ("plain", AdaptiveStrategy(0.3, 0.0, {"health": 0.0, "op1": 1.0})),
        ("limited", AdaptiveStrategy(0.5, 0.0, {"health": 0.0, "op1": 1.0})),
        ("limited-own", AdaptiveStrategy(0.001, 0.0, {"health": 0.0, "op1": 0.2})),
    ],
)
def test_default_operations_apply_to_all(service, expected):
    """A service's own operations and own rate win over the default's."""
    assert expected == parse_strategies_file(json.dumps(FILE), service)


def test_operations_beat_a_rate_limit():
    """As from Jaeger 2. Jaeger 1.48 keeps the limit; ``make interop`` asks it, the docs say so."""
    content = {
        "default_strategy": rule("probabilistic", 0.5, health=0.0),
        "service_strategies": [{"service": "limited", **rule("ratelimiting", 5)}],
    }
    found = parse_strategies_file(json.dumps(content), "limited")
    assert found == AdaptiveStrategy(0.5, 0.0, {"health": 0.0})


@pytest.mark.parametrize(
    ("service", "expected"),
    [
        ("limited", Strategy("ratelimiting", 5.0)),
        ("fraction", Strategy("ratelimiting", 0.5)),
        ("plain", Strategy("probabilistic", 0.3)),
        ("unknown", Strategy("probabilistic", 0.001)),
    ],
)
def test_without_a_default_each_has_its_own(service, expected):
    """Services that the file does not know get a thousandth, as from a server."""
    content = {"service_strategies": FILE["service_strategies"]}
    assert expected == parse_strategies_file(json.dumps(content), service)


def test_an_operation_cannot_be_rate_limited():
    """The server drops such an entry and still sends the service's rates by operation."""
    listed = [{"operation": "op", "type": "ratelimiting", "param": 2}]
    default = {"type": "probabilistic", "param": 0.5, "operation_strategies": listed}
    found = parse_strategies_file(json.dumps({"default_strategy": default}), "any")
    assert found == AdaptiveStrategy(0.5, 0.0, {})


def test_a_service_without_a_type():
    """Its operations count all the same."""
    listed = [{"operation": "op", "type": "probabilistic", "param": 1}]
    content = {"service_strategies": [{"service": "any", "operation_strategies": listed}]}
    found = parse_strategies_file(json.dumps(content), "any")
    assert found == AdaptiveStrategy(0.001, 0.0, {"op": 1.0})


def test_anothers_mistake_is_not_ours():
    """A file is shared by many; of two entries for one service the last one counts."""
    entries = [
        {"service": "ours", **rule("probabilistic", 0.1)},
        {"service": "theirs", **rule("proportional", 0.5)},
        {"service": "ours", **rule("probabilistic", 0.2)},
    ]
    content = json.dumps({"service_strategies": entries})
    assert parse_strategies_file(content, "ours") == Strategy("probabilistic", 0.2)
    with pytest.raises(StrategyError):
        parse_strategies_file(content, "theirs")


@pytest.mark.parametrize("text", ["null", "{}", '{"service_strategies": null}'])
def test_an_empty_file_orders_a_thousandth(text):
    """As a server without strategies."""
    assert Strategy("probabilistic", 0.001) == parse_strategies_file(text, "any")


@pytest.mark.parametrize(
    "content",
    [
        [],
        {"default_strategy": 5},
        {"default_strategy": {"type": "const", "param": 1}},
        {"default_strategy": {"type": "probabilistic", "param": 1.5}},
        {"default_strategy": {"type": "probabilistic", "param": "1"}},
        {"service_strategies": {"service": "any"}},
        {"service_strategies": ["any"]},
    ],
)
def test_a_file_with_a_mistake_is_refused(content):
    """The last good strategy stays in force; half a file is never obeyed."""
    with pytest.raises(StrategyError):
        parse_strategies_file(json.dumps(content), "any")
