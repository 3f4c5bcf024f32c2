"""What is compared: the cells, their figures, and what is asked of tracekit."""

from __future__ import annotations

from typing import NamedTuple

OURS = "tracekit"
_ALL = (OURS, "tracekit-http", "tracekit-grpc", "otel-http", "otel-grpc", "jaeger-client",
        "py_zipkin", "ddtrace")  # fmt: skip
_ONE_WIRE = (OURS, "otel-http", "jaeger-client", "py_zipkin", "ddtrace")
_QUEUED = (OURS, "tracekit-http", "otel-http", "otel-grpc", "jaeger-client", "ddtrace")
_EDGES = ("bare", OURS, "otel-http", "ddtrace")


class Cell(NamedTuple):
    """One comparison. ``figures`` maps a figure to its unit; without a name the side decides."""

    title: str
    said: str
    sides: tuple[str, ...]
    figures: dict[str, str]


_ADDED = {"bare": "µs", "added": "µs"}
CELLS = {
    "child": Cell(
        "Sampled child with three attributes",
        "Wall time on the caller's thread for a span, in traces of 25. What is exported goes off "
        "the clock; py_zipkin posts on the caller's thread.",
        _ALL,
        {"us": "µs"},
    ),
    "cpu": Cell(
        "CPU of the process for a span, export included",
        "5,000 spans a second until all are handed over. Queues of 10,000.",
        _ALL,
        {"us": "µs"},
    ),
    "unsampled": Cell(
        "Child that is not sampled, three attributes",
        "Wall time on the caller's thread. ddtrace still sends such spans to its agent, which "
        "drops them.",
        _ONE_WIRE,
        {"us": "µs"},
    ),
    "kept": Cell(
        "Child that is not sampled and recorded by keep, three attributes",
        "The three by turns in one process; what is promoted or exported goes off the clock.",
        (OURS,),
        {"sampled": "µs", "kept": "µs", "not sampled": "µs", "ratio": "times sampled"},
    ),
    "disabled": Cell(
        "Switched off",
        "The same code. jaeger-client and py_zipkin have no switch.",
        (OURS, "otel-http", "ddtrace"),
        {"us": "µs"},
    ),
    "encode": Cell("Encode a span", "CPU for a span with three attributes.", _ONE_WIRE, {"": "µs"}),
    "burst": Cell(
        "Burst of 200,000 spans",
        "Without a pause, into a queue that holds them; until the last one arrived, at most 10 s. "
        "py_zipkin has no queue.",
        _QUEUED,
        {"s": "s", "caller s": "s"},
    ),
    "rate": Cell(
        "Sustained rate without loss",
        "As fast as one core makes and exports them, until the last one arrived.",
        _QUEUED,
        {"spans/s": "spans/s"},
    ),
    "propagation": Cell("Extract and inject", "CPU for a call.", _ONE_WIRE, {"": "µs"}),
    "flask": Cell("Flask request, sampled", "What it adds to a request on the caller's thread. "
                  "ddtrace makes nine spans of it.", _EDGES, _ADDED),
    "flask-unsampled": Cell("Flask request, not sampled", "The same.", _EDGES, _ADDED),
    "grpc": Cell(
        "gRPC unary call, sampled",
        "CPU that client and server, in one process, add to a call, export included.",
        _EDGES,
        _ADDED,
    ),
    "grpc-unsampled": Cell("gRPC unary call, not sampled", "The same.", _EDGES, _ADDED),
    "grpc-stream": Cell(
        "gRPC stream of 1,000 messages",
        "CPU of client and server; the ratio is to the bare stream.",
        _EDGES,
        {"bare": "µs", "ratio": "times bare"},
    ),
    "requests": Cell("Call with requests", "What it adds; an adapter answers, no socket does.",
                     _EDGES, _ADDED),
    "log": Cell("Log record with ids", "CPU that it adds to a record within a span.",
                _EDGES, _ADDED),
    "start": Cell("Start", "Import and init in a fresh interpreter; the memory they take.", _ALL,
                  {"ms": "ms", "MiB": "MiB"}),
    "live": Cell("Memory of a live span", "With three attributes; resident memory over 20,000.",
                 (OURS, "otel-http", "jaeger-client", "ddtrace"), {"bytes": "bytes"}),
}  # fmt: skip


class Target(NamedTuple):
    """The ratio of tracekit's figure to another side's must be at most (or at least) ``limit``."""

    cell: str
    figure: str
    peer: str
    limit: float
    at_least: bool = False
    side: str = OURS


TARGETS = (
    Target("child", "us", "otel-http", 0.25),
    Target("child", "us", "ddtrace", 0.50),
    Target("kept", "ratio", "", 0.95),
    Target("cpu", "us", "otel-http", 0.28, side="tracekit-http"),
    Target("cpu", "us", "otel-grpc", 0.28, side="tracekit-grpc"),
    Target("cpu", "us", "otel-http", 0.28),
    Target("cpu", "us", "jaeger-client", 0.25),
    Target("cpu", "us", "ddtrace", 0.95),
    Target("rate", "spans/s", "otel-http", 3, at_least=True),
    Target("rate", "spans/s", "jaeger-client", 6, at_least=True),
    Target("rate", "spans/s", "jaeger-client", 6, at_least=True, side="tracekit-http"),
    Target("flask", "added", "otel-http", 0.30),
    Target("flask-unsampled", "added", "otel-http", 0.25),
    Target("grpc", "added", "otel-http", 0.35),
    Target("grpc-unsampled", "added", "otel-http", 0.50),
    Target("grpc-stream", "ratio", "", 1.03),
)
