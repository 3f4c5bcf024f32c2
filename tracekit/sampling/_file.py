"""Strategies from a local file, in the format of Jaeger's ``--sampling.strategies-file``.

::

    {"default_strategy": {"type": "probabilistic", "param": 0.1,
                          "operation_strategies": [{"operation": "GET /health",
                                                    "type": "probabilistic", "param": 0}]},
     "service_strategies": [{"service": "frontend", "type": "ratelimiting", "param": 5}]}

A service gets what the server of Jaeger 2 would have sent it: its own strategy or else the default
one; operations of the default strategy apply to every service that says nothing about them (so that
a rate limit, which knows no operations, gives way to them; Jaeger 1.48 keeps the limit). Source:
the server's provider of file strategies. It differs in two points: a fractional rate limit stays
one (the server truncates it to an integer), and an unknown type is an error, not a silent 0.001.
And it may say more: a key ``keep`` of a strategy or an operation (a server of Jaeger's ignores it).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from tracekit.errors import StrategyError
from tracekit.sampling._keep import KeepRule, KeepRules, keep_rule
from tracekit.sampling._sampler import number
from tracekit.sampling._strategy import AdaptiveStrategy, Strategy, json_object, keeping, load_json

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from tracekit.sampling._strategy import AnyStrategy

DEFAULT_RATE = 0.001
"""What a Jaeger server orders where the file is silent."""


def parse_strategies_file(text: str | bytes, service: str) -> AnyStrategy:
    """Return the strategy that the file orders for ``service``.

    Raises:
        StrategyError: the file is no such file. The last good strategy stays.

    """
    content = load_json(text)
    fields = json_object({} if content is None else content, "the strategies file")
    default_fields = json_object(fields.get("default_strategy") or {}, "default_strategy")
    default = found = _service(default_fields)
    kept = default_kept = _kept(default_fields)
    for entry in _objects(fields.get("service_strategies"), "service_strategies"):
        if entry.get("service") == service:  # the last one counts; others' mistakes are theirs
            found = _merged(_service(entry), default)
            kept = _kept(entry, default_kept)
    return found if kept is None else keeping(found, kept)


def _kept(fields: Mapping[str, object], above: KeepRules | None = None) -> KeepRules | None:
    """Return what the key ``keep`` of a service and of its operations says, over ``above``."""
    own = _rule(fields["keep"]) if "keep" in fields else None
    rules = {name: _rule(entry["keep"]) for name, entry in _operations(fields) if "keep" in entry}
    if above is None:
        return KeepRules(own, rules) if own is not None or rules else None
    return KeepRules(above.default if own is None else own, {**above.operations, **rules})


def _rule(written: object) -> KeepRule:
    try:
        if not isinstance(written, str | list) or not all(isinstance(x, str) for x in written):
            raise ValueError("wants a text or a list of texts")  # noqa: TRY301
        return keep_rule(written)
    except ValueError as error:
        raise StrategyError(f"keep: {error}") from None


def _operations(fields: Mapping[str, object]) -> Iterator[tuple[str, Mapping[str, object]]]:
    for entry in _objects(fields.get("operation_strategies"), "operation_strategies"):
        name = entry.get("operation", "")
        if not isinstance(name, str):
            raise StrategyError("an operation's name is no string")
        yield name, entry


def _service(fields: Mapping[str, object]) -> AnyStrategy:
    strategy = _strategy(fields)
    if not fields.get("operation_strategies"):
        return strategy
    operations = {}
    for name, entry in _operations(fields):
        each = _strategy(entry)
        if each.type == "probabilistic":  # the server drops other types of operations, too
            operations[name] = each.param
    rate = strategy.param if strategy.type == "probabilistic" else DEFAULT_RATE
    return AdaptiveStrategy(rate, 0.0, operations)


def _merged(own: AnyStrategy, default: AnyStrategy) -> AnyStrategy:
    if isinstance(default, Strategy):
        return own
    if isinstance(own, AdaptiveStrategy):
        return own._replace(operations={**default.operations, **own.operations})
    if own.type == "probabilistic":
        return default._replace(default=own.param)
    return default


def _strategy(fields: Mapping[str, object]) -> Strategy:
    kind = fields.get("type")
    if kind is None:
        return Strategy("probabilistic", DEFAULT_RATE)
    try:
        if kind == "probabilistic":
            return Strategy(kind, number(fields.get("param", 0.0), "param", at_most=1.0))
        if kind == "ratelimiting":
            return Strategy(kind, number(fields.get("param", 0.0), "param"))
    except ValueError as error:
        raise StrategyError(f"a {kind} strategy's {error}") from None
    raise StrategyError(f"no strategy of type {kind!r:.80}: probabilistic or ratelimiting")


def _objects(value: object, what: str) -> Iterator[Mapping[str, object]]:
    if value is None:
        return
    if not isinstance(value, list):
        raise StrategyError(f"{what} is no list")
    for entry in value:
        yield json_object(entry, f"an entry of {what}")
