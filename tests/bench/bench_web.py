"""What tracing adds to a Flask request, and what a JSON log line costs, beside the usual peers.

Run ``python tests/bench/bench_web.py`` (dependency group ``bench``). All sides run in one process
in interleaved rounds over the same in-process WSGI calls; a figure is the median round. Spans are
handed over in bursts that are flushed off the clock, so no exporting thread competes for the GIL.
"""

from __future__ import annotations

import argparse
import gc
import io
import logging
import platform
import statistics
import time
from importlib import metadata
from typing import TYPE_CHECKING

import flask
from opentelemetry.instrumentation.flask import FlaskInstrumentor
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF, ALWAYS_ON, ParentBased
from pythonjsonlogger.json import JsonFormatter as PeerFormatter

import tracekit
import tracekit.flask
import tracekit.logging
import tracekit.testing
from tracekit.testing import MemoryTransport
from tracekit.transport import SendResult

if TYPE_CHECKING:
    from collections.abc import Callable

BURST = 100
ENVIRON = {
    "REQUEST_METHOD": "GET",
    "SCRIPT_NAME": "",
    "PATH_INFO": "/pulls/bob",
    "QUERY_STRING": "page=2",
    "SERVER_NAME": "localhost",
    "SERVER_PORT": "8080",
    "SERVER_PROTOCOL": "HTTP/1.1",
    "REMOTE_ADDR": "127.0.0.1",
    "HTTP_HOST": "localhost:8080",
    "HTTP_USER_AGENT": "bench",
    "HTTP_ACCEPT": "*/*",
    "wsgi.url_scheme": "http",
}


class Discard(SpanExporter):
    """An exporter that costs nothing."""

    def export(self, spans: object) -> SpanExportResult:
        return SpanExportResult.SUCCESS


def make_app() -> flask.Flask:
    app = flask.Flask(__name__)

    @app.route("/pulls/<user>")
    def pulls(user: str) -> str:
        return user

    return app


def ours(sampled: bool) -> tuple[flask.Flask, Callable[[], object]]:
    app = make_app()
    tracing = tracekit.init(
        "bench",
        environ={},
        set_global=False,
        sampler_type="const",
        sampler_param=int(sampled),
        transport=MemoryTransport(lambda _: SendResult.sent()),
    )
    tracekit.flask.init_app(app, tracing=tracing)
    return app, tracing.flush


def peer(sampled: bool) -> tuple[flask.Flask, Callable[[], object]]:
    app = make_app()
    provider = TracerProvider(sampler=ParentBased(ALWAYS_ON if sampled else ALWAYS_OFF))
    provider.add_span_processor(BatchSpanProcessor(Discard(), schedule_delay_millis=3_600_000))
    FlaskInstrumentor().instrument_app(app, tracer_provider=provider)
    return app, provider.force_flush


def serve(app: flask.Flask) -> None:
    """Serve one request as a server does."""
    result = app({**ENVIRON, "wsgi.input": io.BytesIO()}, lambda *_: None)
    for _ in result:
        pass
    result.close()


def timed(call: Callable[[], object], count: int) -> float:
    """Return µs a call."""
    gc.collect()
    begin = time.perf_counter()
    for _ in range(count):
        call()
    return (time.perf_counter() - begin) / count * 1e6


def bench_flask(rounds: int) -> None:
    """Print what each side adds to the bare application."""
    bare = make_app()
    for sampled in (True, False):
        sides = {"tracekit": ours(sampled), "OpenTelemetry": peer(sampled)}
        added: dict[str, list[float]] = {name: [] for name in sides}
        for _ in range(rounds):
            base = timed(lambda: serve(bare), BURST)
            for name, (app, flush) in sides.items():
                added[name].append(timed(lambda app=app: serve(app), BURST) - base)
                flush()
        mine, theirs = (statistics.median(figures) for figures in added.values())
        label = "sampled" if sampled else "unsampled"
        print(f"Flask request, {label:9}: adds {mine:5.1f} µs, OpenTelemetry {theirs:6.1f} µs, "
              f"ratio {mine / theirs:.2f}")  # fmt: skip


def bench_logging(rounds: int) -> None:
    """Print what a JSON line with ids costs from the record on."""
    tracing = tracekit.testing.tracing()
    record = logging.LogRecord("shop", logging.INFO, __file__, 1, "order %d", (392,), None)
    record.customer = "bob"
    with tracing.tracer("bench").start_as_current_span("work"):
        tracekit.logging.TraceContextFilter(tracing=tracing).filter(record)
        mine = tracekit.logging.JsonFormatter(tracing=tracing)
        theirs = PeerFormatter(
            "%(asctime)s %(levelname)s %(name)s %(message)s %(trace_id)s %(span_id)s %(service)s"
        )
        figures = [
            (timed(lambda: mine.format(record), 1000), timed(lambda: theirs.format(record), 1000))
            for _ in range(rounds)
        ]
    ours_us, theirs_us = map(statistics.median, zip(*figures, strict=True))
    print(f"JSON log line: {ours_us:.1f} µs, python-json-logger {theirs_us:.1f} µs, "
          f"ratio {ours_us / theirs_us:.2f}")  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=40)
    rounds = parser.parse_args().rounds
    versions = ", ".join(
        f"{name} {metadata.version(name)}"
        for name in ("flask", "opentelemetry-instrumentation-flask", "python-json-logger")
    )
    print(f"Python {platform.python_version()}, {versions}")
    bench_flask(rounds)
    bench_logging(rounds)


if __name__ == "__main__":
    main()
