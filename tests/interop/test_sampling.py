"""Strategies from the real server on its three ports, while its file changes and it dies."""

from __future__ import annotations

import json
import math
import time

import pytest
from strategies import rule
from waiting import eventually

import tracekit
from tracekit.errors import StrategyError
from tracekit.sampling import AdaptiveStrategy, Strategy
from tracekit.sampling._file import parse_strategies_file

SOON = 30.0
ROOTS = 20_000
PORTS = {
    "5778": lambda ports: f"http://127.0.0.1:{ports['sampling']}/sampling",
    "14268": lambda ports: f"http://127.0.0.1:{ports['http']}/api/sampling",
    "14250": lambda ports: f"grpc://127.0.0.1:{ports['grpc']}",
}


FILE = {
    "default_strategy": rule("probabilistic", 0.5),
    "service_strategies": [
        {"service": "always", **rule("probabilistic", 1.0)},
        {"service": "never", **rule("probabilistic", 0.0)},
        {"service": "tenth", **rule("probabilistic", 0.1)},
        {"service": "limited", **rule("ratelimiting", 3)},
        {"service": "by-operation", **rule("probabilistic", 0.2, buy=0.9, look=0.01)},
    ],
}
EXPECTED = {
    "unknown": Strategy("probabilistic", 0.5),
    "always": Strategy("probabilistic", 1.0),
    "never": Strategy("probabilistic", 0.0),
    "tenth": Strategy("probabilistic", 0.1),
    "limited": Strategy("ratelimiting", 3.0),
    "by-operation": AdaptiveStrategy(0.2, 0.0, {"buy": 0.9, "look": 0.01}),
}


@pytest.fixture
def served(make_jaeger, tmp_path):
    """Return a Jaeger that follows a file, and the file."""
    file = tmp_path / "strategies.json"
    file.write_text(json.dumps(FILE))
    with make_jaeger(
        f"--sampling.strategies-file={file}", "--sampling.strategies-reload-interval=100ms"
    ) as running:
        yield running, file


def following(jaeger, port, service):
    return tracekit.init(
        service,
        environ={},
        set_global=False,
        transport="none",
        sampler_type="remote",
        sampler_param=0.001,
        sampling_endpoint=PORTS[port](jaeger.ports),
        sampler_refresh_s=0.1,
    )


def in_force(tracing, condition):
    """Return the sampler's state once ``condition`` holds for it; roots keep it asking."""

    def state():
        tracing.tracer("t").start_span("warm").end()
        now = tracing.stats().sampler
        return now if condition(now) else None

    return eventually(state, SOON, lambda: tracing.stats().sampler, every_s=0.02)


def listed(strategy):
    """Return the rates that the server listed: those seen in traffic stand beside them."""
    return {name: rate for name, rate in strategy.get("operations", {}).items() if name != "warm"}


def sampled(tracing, operation, roots=ROOTS):
    tracer = tracing.tracer("t")
    return sum(
        tracer.start_span(operation).get_span_context().trace_flags.sampled for _ in range(roots)
    )


def is_near(count, rate, roots=ROOTS):
    """Within five standard deviations of what a rate gives; the ends are exact."""
    return abs(count - rate * roots) <= 5 * math.sqrt(roots * rate * (1 - rate))


@pytest.mark.parametrize("port", PORTS)
@pytest.mark.parametrize("service", EXPECTED)
def test_a_service_samples_as_ordered(served, noted, port, service):
    """Rates of roots, by operation where there are some, and a limit a second."""
    jaeger, _ = served
    expected = EXPECTED[service]
    tracing = following(jaeger, port, service)
    try:
        state = in_force(tracing, lambda state: state["updates_ok"])
        assert state["last_error"] is None
        if isinstance(expected, AdaptiveStrategy):
            assert listed(state["strategy"]) == expected.operations
            for operation, rate in (expected.operations | {"other": expected.default}).items():
                assert is_near(sampled(tracing, operation), rate), operation
            found = "by operation"
        elif expected.type == "ratelimiting":
            began = time.monotonic()
            count = 0
            while time.monotonic() - began < 1.0:
                count += sampled(tracing, "any", 50)
            assert count <= expected.param * (time.monotonic() - began) + expected.param
            assert count >= 2
            found = f"{count} in a second"
        else:
            count = sampled(tracing, "any")
            assert is_near(count, expected.param), count
            found = f"{count} of {ROOTS}"
    finally:
        tracing.shutdown(1.0)
    noted("Jaeger", f"strategy of {service} from {port}", f"equal: {found}")


def test_a_changing_file_and_a_dying_server(served, noted):
    """The new rate is followed without a restart; without a server the last one stays."""
    jaeger, file = served
    tracing = following(jaeger, "5778", "tenth")
    try:
        in_force(tracing, lambda state: state["updates_ok"])
        changed = FILE | {
            "service_strategies": [{"service": "tenth", **rule("probabilistic", 0.7)}]
        }
        file.write_text(json.dumps(changed))
        in_force(tracing, lambda state: state["strategy"].get("param") == 0.7)
        assert is_near(sampled(tracing, "any"), 0.7)
        jaeger.stop()
        in_force(tracing, lambda state: state["last_error"])
        assert is_near(sampled(tracing, "any"), 0.7)
        jaeger.start()
        in_force(tracing, lambda state: state["last_error"] is None)
    finally:
        tracing.shutdown(1.0)
    noted("Jaeger", "strategies: file changed, server killed, back", "followed, kept, followed")


WITH_OPERATIONS = {
    "default_strategy": rule("probabilistic", 0.5, health=0.0, op1=1.0),
    "service_strategies": [
        {"service": "own", **rule("probabilistic", 0.8, op1=0.2)},
        {"service": "plain", **rule("probabilistic", 0.3)},
        {"service": "limited", **rule("ratelimiting", 5)},
        {"service": "limited-own", **rule("ratelimiting", 5, op1=0.2)},
    ],
}


def test_we_read_a_file_as_the_server_does(make_jaeger, tmp_path, noted):
    """But for a rate limit beside the default's operations, which Jaeger 1.48 keeps."""
    text = json.dumps(WITH_OPERATIONS)
    file = tmp_path / "strategies.json"
    file.write_text(text)
    differ = []
    with make_jaeger(f"--sampling.strategies-file={file}") as jaeger:
        for service in ("unknown", "own", "plain", "limited", "limited-own"):
            tracing = following(jaeger, "5778", service)
            try:
                told = in_force(tracing, lambda state: state["updates_ok"])["strategy"]
            finally:
                tracing.shutdown(1.0)
            ours = parse_strategies_file(text, service)
            if isinstance(ours, AdaptiveStrategy):
                same = listed(told) == ours.operations and told["default"] == ours.default
            else:
                same = told == {"type": ours.type, "param": ours.param}
            if not same:
                differ.append((service, told))
    assert differ == [("limited", {"type": "ratelimiting", "param": 5.0})]
    with pytest.raises(StrategyError):
        parse_strategies_file("[]", "any")
    noted("Jaeger", "our reading of a strategies file", "documented difference: a rate limit stays")


def test_adaptive_sampling_finds_quiet_ones(make_jaeger, noted):
    """Jaeger raises their rates by the sampled roots; ours carry what it reads."""
    with make_jaeger(
        "--sampling.initial-sampling-probability=0.5",
        "--sampling.target-samples-per-second=1000",
        "--sampling.calculation-interval=1s",
        "--sampling.aggregation-buckets=2",
        "--sampling.delay=0s",
        "--sampling.leader-lease-refresh-interval=100ms",
        "--sampling.follower-lease-refresh-interval=100ms",
        SAMPLING_STORAGE_TYPE="memory",
        SAMPLING_CONFIG_TYPE="adaptive",
    ) as jaeger:
        tracing = tracekit.init(
            "quiet",
            environ={},
            set_global=False,
            endpoint=f"http://127.0.0.1:{jaeger.ports['http']}/api/traces",
            sampler_type="remote",
            sampler_param=0.5,
            sampling_endpoint=PORTS["14268"](jaeger.ports),
            sampler_refresh_s=0.2,
            flush_s=0.1,
        )
        try:
            first = in_force(tracing, lambda state: "operations" in (state.get("strategy") or {}))[
                "strategy"
            ]
            last = in_force(
                tracing, lambda state: state["strategy"]["operations"].get("warm", 0) > 0.6
            )["strategy"]
        finally:
            tracing.shutdown(1.0)
    assert first["lower_bound"] > 0
    noted("Jaeger", "adaptive sampling", f"followed: {first['default']} to {last['operations']}")
