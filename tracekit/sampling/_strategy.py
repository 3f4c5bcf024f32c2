"""What a sampling server can order, and how its JSON answer is read.

Source: Jaeger's ``sampling.thrift`` and ``api_v2/sampling.proto``; servers write the strategy's
type as a string, as a number or not at all, so a strategy is recognised by the part that is
there: per-operation first, then probabilistic, then rate limiting (as the Go and Java clients).
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, NamedTuple, NoReturn

from tracekit.errors import StrategyError
from tracekit.sampling._sampler import number

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tracekit.sampling._keep import KeepRules


class Strategy(NamedTuple):
    """One rule for all operations of a service."""

    type: str
    """``probabilistic`` or ``ratelimiting``."""
    param: float
    """A rate in [0, 1], or traces per second."""


class AdaptiveStrategy(NamedTuple):
    """A rate for each operation, and a lower bound that every operation is guaranteed."""

    default: float
    """Rate in [0, 1] of operations that are not listed."""
    lower_bound: float
    """Traces per second that every operation gets, whatever its rate."""
    operations: dict[str, float]
    """Rate in [0, 1] by operation name."""


AnyStrategy = Strategy | AdaptiveStrategy


class KeepingStrategy(Strategy):
    """A strategy that also says what to ``keep`` of what it does not sample; of a file alone."""

    keep: KeepRules


class KeepingAdaptiveStrategy(AdaptiveStrategy):
    """The same, with a rate for each operation."""

    keep: KeepRules


def keeping(strategy: AnyStrategy, keep: KeepRules) -> AnyStrategy:
    """Return ``strategy``, equal to before, with what to keep."""
    made: KeepingStrategy | KeepingAdaptiveStrategy
    if isinstance(strategy, Strategy):
        made = KeepingStrategy(*strategy)
    else:
        made = KeepingAdaptiveStrategy(*strategy)
    made.keep = keep
    return made


def parse_strategy(text: str | bytes, status: int = 200) -> AnyStrategy:
    """Return the strategy in a sampling server's HTTP answer.

    Raises:
        StrategyError: the answer is no strategy, or has no 2xx status. The last good one stays.

    """
    if not 200 <= status < 300:
        raise StrategyError(f"the sampling server answered with status {status}")
    return from_response(load_json(text))


def load_json(text: str | bytes) -> object:
    """Return the value of a JSON text, whatever was sent; ``StrategyError`` if it is none."""
    try:
        if isinstance(text, bytes):
            text = text.decode("utf-8-sig")
        return json.loads(text, parse_constant=_refuse_constant)
    except RecursionError:
        raise StrategyError("the answer is nested too deeply") from None
    except ValueError as error:  # JSON, UTF-8 and integers of too many digits alike
        raise StrategyError(f"the answer is no JSON: {error}"[:200]) from None


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


def from_response(response: object) -> AnyStrategy:
    """Return the strategy in a decoded ``SamplingStrategyResponse``."""
    fields = json_object(response, "the answer")
    if (operations := fields.get("operationSampling")) is not None:
        return _adaptive(json_object(operations, "operationSampling"))
    if (part := fields.get("probabilisticSampling")) is not None:
        return Strategy("probabilistic", _rate(part))
    if (part := fields.get("rateLimitingSampling")) is not None:
        limit = json_object(part, "rateLimitingSampling")
        return Strategy("ratelimiting", _number(limit, "maxTracesPerSecond"))
    raise StrategyError("the answer holds no strategy")


def _adaptive(fields: Mapping[str, object]) -> AdaptiveStrategy:
    listed = fields.get("perOperationStrategies")
    if listed is None:
        listed = []
    if not isinstance(listed, list):
        raise StrategyError("perOperationStrategies is no list")
    operations = {}
    for entry in listed:
        each = json_object(entry, "an operation's strategy")
        name = each.get("operation", "")  # protobuf's JSON leaves empty strings out
        if not isinstance(name, str):
            raise StrategyError("an operation's name is no string")
        operations[name] = _rate(each.get("probabilisticSampling"))
    return AdaptiveStrategy(
        _number(fields, "defaultSamplingProbability", at_most=1.0),
        _number(fields, "defaultLowerBoundTracesPerSecond"),
        operations,
    )


def _rate(part: object) -> float:
    return _number(json_object(part, "probabilisticSampling"), "samplingRate", at_most=1.0)


def json_object(value: object, what: str) -> Mapping[str, object]:
    if not isinstance(value, dict):
        raise StrategyError(f"{what} is no object")
    return value


def _number(fields: Mapping[str, object], name: str, *, at_most: float = float("inf")) -> float:
    value = fields.get(name)
    if value is None:  # protobuf's JSON leaves zeros out
        return 0.0
    try:
        return number(value, name, at_most=at_most)
    except ValueError as error:
        raise StrategyError(str(error)) from None
