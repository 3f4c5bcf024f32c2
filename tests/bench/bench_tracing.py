"""What a span costs its caller, here and on the OpenTelemetry SDK.

Run ``python tests/bench/bench_tracing.py``. Both tracers run in one process, in interleaved
rounds; each figure is the median of the rounds. Spans come in bursts that are flushed off the
clock, so the clock sees the caller's thread and not the exporting thread that competes with it
for the GIL.
"""

from __future__ import annotations

import argparse
import gc
import logging
import os
import platform
import statistics
import subprocess
import sys
import time
import tracemalloc
from contextlib import contextmanager
from importlib import metadata
from typing import TYPE_CHECKING, NamedTuple

from opentelemetry import trace
from opentelemetry.sdk import trace as sdk
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF, ALWAYS_ON, ParentBased

import tracekit
from tracekit.testing import MemoryTransport
from tracekit.transport import SendResult

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

BURST = 250  # fewer than either exporter needs to wake up by itself


class Discard(SpanExporter):
    """An exporter that costs nothing."""

    def export(self, spans: object) -> SpanExportResult:
        return SpanExportResult.SUCCESS


class Side(NamedTuple):
    """One tracer of a comparison, and what empties its queue."""

    tracer: trace.Tracer
    flush: Callable[[], object]


def peer(sampled: bool) -> Side:
    provider = sdk.TracerProvider(
        sampler=ParentBased(ALWAYS_ON if sampled else ALWAYS_OFF),
        resource=Resource({"service.name": "bench"}),
        shutdown_on_exit=False,
    )
    provider.add_span_processor(BatchSpanProcessor(Discard(), schedule_delay_millis=3_600_000))
    return Side(provider.get_tracer("bench"), provider.force_flush)


def ours(**fields: object) -> Side:
    transport = MemoryTransport(lambda _payload: SendResult.failed("discarded by the benchmark"))
    tracing = tracekit.init(
        "bench", environ={}, set_global=False, transport=transport, flush_s=3600, **fields
    )
    return Side(tracing.tracer("bench"), tracing.flush)


def child_with_attributes(side: Side, bursts: int) -> float:
    """Return the microseconds of one current child span with three attributes."""
    start = side.tracer.start_as_current_span
    spent_ns = 0
    with start("root"):
        for _ in range(bursts):
            begun_ns = time.perf_counter_ns()
            for _ in range(BURST):
                with start("child") as span:
                    span.set_attribute("http.request.method", "GET")
                    span.set_attribute("http.response.status_code", 200)
                    span.set_attribute("cache.hit", True)
            spent_ns += time.perf_counter_ns() - begun_ns
            side.flush()
    return spent_ns / (bursts * BURST) / 1000


def live_bytes(side: Side) -> float:
    """Return the bytes of one live span with three attributes."""
    with side.tracer.start_as_current_span("root"):
        spans = [None] * 2000
        gc.collect()
        tracemalloc.start()
        try:
            before = tracemalloc.get_traced_memory()[0]
            for i in range(len(spans)):
                span = spans[i] = side.tracer.start_span("child")
                span.set_attribute("http.request.method", "GET")
                span.set_attribute("http.response.status_code", 200)
                span.set_attribute("cache.hit", True)
            taken = tracemalloc.get_traced_memory()[0] - before
        finally:
            tracemalloc.stop()
    return taken / len(spans)


OUR_START = "import tracekit; tracekit.init('bench', environ={}, set_global=False)"
PEER_START = """
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
provider = TracerProvider()
provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
"""


def start_ms(program: str) -> float:
    """Return the milliseconds that ``program`` takes in a fresh interpreter."""
    timed = (
        "import time; begun = time.perf_counter()\n"
        f"{program}\nimport os\n"
        "print((time.perf_counter() - begun) * 1000, flush=True)\nos._exit(0)"
    )
    done = subprocess.run(
        [sys.executable, "-c", timed], check=True, capture_output=True, text=True, timeout=60
    )
    return float(done.stdout)


class Row(NamedTuple):
    """One line of the table: a figure of either side and the ratio that is asked for."""

    label: str
    unit: str
    goal: float
    theirs: list[float]
    own: list[float]

    def __str__(self) -> str:
        theirs, own = statistics.median(self.theirs), statistics.median(self.own)
        return (
            f"| {self.label:34} | {theirs:8.2f} {self.unit:5} | {own:8.2f} {self.unit:5} "
            f"| {own / theirs:5.3f} | {self.goal:5.2f} |"
        )


@contextmanager
def no_collection() -> Iterator[None]:
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


def speed(rounds: int, bursts: int) -> list[Row]:
    sides = {
        ("sampled child + 3 attributes", 0.25): (
            peer(sampled=True),
            ours(sampler_type="const", sampler_param=1),
        ),
        ("unsampled child + 3 attributes", 0.18): (
            peer(sampled=False),
            ours(sampler_type="const", sampler_param=0),
        ),
        ("disabled", 0.20): (
            Side(trace.NoOpTracer(), bool),
            ours(disabled=True),
        ),
    }
    rows = [Row(label, "us", goal, [], []) for label, goal in sides]
    for _ in range(rounds):
        for row, (theirs, own) in zip(rows, sides.values(), strict=True):
            row.theirs.append(child_with_attributes(theirs, bursts))
            row.own.append(child_with_attributes(own, bursts))
    with no_collection():
        theirs, own = next(iter(sides.values()))
        memory = Row("memory of a live span", "bytes", 0.5, [], [])
        for _ in range(3):
            memory.theirs.append(live_bytes(theirs))
            memory.own.append(live_bytes(own))
    return [*rows, memory]


def start_up(rounds: int) -> list[Row]:
    row = Row("import and init, SDK with OTLP/HTTP", "ms", 0.8, [], [])
    for _ in range(rounds + 1):
        row.theirs.append(start_ms(PEER_START))
        row.own.append(start_ms(OUR_START))
    del row.theirs[0], row.own[0]  # the first run of each fills the file cache
    return [row]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=9, help="interleaved rounds (at least 7)")
    parser.add_argument("--bursts", type=int, default=20, help=f"bursts of {BURST} spans a round")
    options = parser.parse_args()
    os.environ.pop("OTEL_SDK_DISABLED", None)
    logging.disable()  # the transport discards, which the reporter would rightly complain of
    print(
        f"CPython {platform.python_version()}, opentelemetry-sdk "
        f"{metadata.version('opentelemetry-sdk')}, median of {options.rounds} interleaved rounds\n"
    )
    print(
        "|                                    | OpenTelemetry  | tracekit       | ratio |  goal |"
    )
    print("|---|---|---|---|---|")
    for row in (*speed(options.rounds, options.bursts), *start_up(options.rounds)):
        print(row)


if __name__ == "__main__":
    main()
