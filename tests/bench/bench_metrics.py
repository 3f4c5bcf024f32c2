"""What RPC metrics cost a server call that is not sampled, and what a scrape costs.

Run ``python tests/bench/bench_metrics.py``. The same calls with and without an observer run in
interleaved rounds of one process; the figure is the difference of the medians.
"""

from __future__ import annotations

import argparse
import statistics
import time
from typing import TYPE_CHECKING

import flask
from opentelemetry import context as otel_context
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from prometheus_client import CollectorRegistry, generate_latest

import tracekit.flask
import tracekit.prometheus
import tracekit.testing
from tracekit._calls.lifecycle import Call

if TYPE_CHECKING:
    from collections.abc import Callable


def timed_us(work: Callable[[], object], times: int) -> float:
    """Return microseconds for one of ``times``."""
    before = time.perf_counter()
    for _ in range(times):
        work()
    return (time.perf_counter() - before) / times * 1e6


def compare(works: dict[str, Callable[[], object]], times: int, rounds: int) -> dict[str, float]:
    """Return the median of each, in microseconds, from interleaved rounds."""
    found: dict[str, list[float]] = {name: [] for name in works}
    for _ in range(rounds):
        for name, work in works.items():
            found[name].append(timed_us(work, times))
    return {name: statistics.median(each) for name, each in found.items()}


def handle(**settings: object) -> tracekit.testing.TestTracing:
    return tracekit.testing.tracing(sampler_param=0, **settings)


def call(tracing: tracekit.Tracing) -> Callable[[], object]:
    """Return what begins and finishes one unsampled call."""
    tracer, context = tracing.tracer("bench"), otel_context.Context()

    def work() -> None:
        span = tracer.start_span("GET /users/<id>", context)
        one = Call(span, context, tracing.call_observer, name="GET /users/<id>")
        one.status = 200
        one.finish()

    return work


def request(tracing: tracekit.Tracing) -> Callable[[], object]:
    """Return what serves one Flask request, without a server and without a client."""
    app = flask.Flask("bench")
    app.add_url_rule("/users/<int:id>", "users", lambda id: "ok")  # noqa: A006 (Flask's name)
    tracekit.flask.init_app(app, tracing)
    environ = app.test_request_context("/users/7").request.environ

    def work() -> None:
        body = app(
            {
                key: value
                for key, value in environ.items()
                if key[:8] not in {"werkzeug", "tracekit"}
            },
            lambda status, headers, exc_info=None: lambda data: None,
        )
        for _ in body:
            pass
        body.close()

    return work


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=31)
    rounds = parser.parse_args().rounds
    off, on, told = handle(), handle(rpc_metrics=True), handle(rpc_metrics=True)
    told.publish_metrics(MeterProvider([InMemoryMetricReader()]))
    handles = {"off": off, "off, again": handle(), "on": on, "on, and OpenTelemetry meters": told}
    print(f"{'unsampled':<44}{'µs':>8}{'beyond off':>12}")
    for what, make, times in (("a call", call, 3000), ("a Flask request", request, 400)):
        works = {name: make(tracing) for name, tracing in handles.items()}
        found = compare(works, times, rounds)
        for name, took in found.items():
            print(f"{what + ', RPC metrics ' + name:<44}{took:>8.2f}{took - found['off']:>12.2f}")
    registry = CollectorRegistry()
    registry.register(tracekit.prometheus.collector(on))
    print(f"{'a scrape':<44}{timed_us(lambda: generate_latest(registry), 200):>8.0f}")


if __name__ == "__main__":
    main()
