"""What is compared: the cells, their figures, and what is asked of tracekit."""

from __future__ import annotations

from typing import NamedTuple

OURS = "tracekit"
_ALL = (OURS, "tracekit-http", "tracekit-grpc", "otel-http", "otel-grpc", "jaeger-client",
        "py_zipkin", "ddtrace")  # fmt: skip
_ONE_WIRE = (OURS, "otel-http", "jaeger-client", "py_zipkin", "ddtrace")
_QUEUED = (OURS, "tracekit-http", "otel-http", "otel-grpc", "jaeger-client", "ddtrace")
_PURE = ("tracekit-pure", "tracekit-http-pure")
_NEWEST = ("tracekit-3.14", "otel-http-3.14")
_EDGES = ("bare", OURS, "otel-http", "ddtrace")


class Cell(NamedTuple):
    """One comparison. ``figures`` maps a figure to its unit; without a name the side decides.

    ``rounds`` is the most that it needs, where they take long or their figures hardly differ.
    ``frames``: whether spans are encoded within what is measured.
    """

    title: str
    said: str
    sides: tuple[str, ...]
    figures: dict[str, str]
    rounds: int = 100
    frames: bool = False


_ADDED = {"bare": "µs", "added": "µs"}
CELLS = {
    "child": Cell(
        "Sampled child with three attributes",
        "Wall time on the caller's thread for a span, in traces of 25. What is exported goes off "
        "the clock; py_zipkin posts on the caller's thread.",
        _ALL + _NEWEST,
        {"us": "µs"},
    ),
    "cpu": Cell(
        "CPU of the process for a span, export included",
        "5,000 spans a second until all are handed over. Queues of 10,000.",
        _ALL + _PURE + _NEWEST,
        {"us": "µs"},
        frames=True,
    ),
    "unsampled": Cell(
        "Child that is not sampled, three attributes",
        "Wall time on the caller's thread. ddtrace still sends such spans to its agent, which "
        "drops them.",
        _ONE_WIRE + _NEWEST,
        {"us": "µs"},
    ),
    "kept": Cell(
        "Child that is not sampled and recorded by keep, three attributes",
        "The three by turns in one process; what is promoted or exported goes off the clock. "
        "`python tests/soak/keep.py` holds 2,000 traces a second for minutes: each failing one "
        "arrives or is counted, and memory is flat.",
        (OURS,),
        {"sampled": "µs", "kept": "µs", "not sampled": "µs", "ratio": "times sampled"},
    ),
    "disabled": Cell(
        "Switched off",
        "The same code. jaeger-client and py_zipkin have no switch.",
        (OURS, "otel-http", "ddtrace"),
        {"us": "µs"},
    ),
    "encode": Cell("Encode a span", "CPU for a span with three attributes.",
                   (*_ONE_WIRE, "tracekit-pure", *_NEWEST), {"": "µs"}, frames=True),
    "burst": Cell(
        "Burst of 200,000 spans",
        "Without a pause, into a queue that holds them; until the last one arrived, at most 10 s. "
        "py_zipkin has no queue.",
        _QUEUED,
        {"s": "s", "caller s": "s"},
        rounds=3,
        frames=True,
    ),
    "rate": Cell(
        "Sustained rate without loss",
        "As fast as one core makes and exports them, until the last one arrived.",
        _QUEUED + _PURE,
        {"spans/s": "spans/s"},
        frames=True,
    ),
    "propagation": Cell("Extract and inject", "CPU for a call.", _ONE_WIRE, {"": "µs"}),
    "flask": Cell("Flask request, sampled", "What it adds to a request on the caller's thread. "
                  "ddtrace makes nine spans of it.", _EDGES, _ADDED),
    "flask-unsampled": Cell("Flask request, not sampled", "The same.", _EDGES, _ADDED),
    "grpc": Cell(
        "gRPC unary call, sampled",
        "CPU that client and server, in one process, add to a call, export included.",
        (*_EDGES, "tracekit-pure"),
        _ADDED,
        frames=True,
    ),
    "grpc-unsampled": Cell("gRPC unary call, not sampled", "The same.", _EDGES, _ADDED),
    "grpc-stream": Cell(
        "gRPC stream of 1,000 messages",
        "CPU of client and server, in 15 pairs; the ratio is to the bare stream.",
        _EDGES,
        {"bare": "µs", "ratio": "times bare"},
    ),
    "grpc-aio": Cell("gRPC unary call on asyncio, sampled", "Both ends on one event loop.",
                     _EDGES, _ADDED, frames=True),
    "grpc-aio-stream": Cell(
        "gRPC stream of 1,000 messages on asyncio",
        "The same, in 15 pairs; the ratio is to the bare stream.",
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
                 (OURS, "otel-http", "jaeger-client", "ddtrace"), {"bytes": "bytes"}, rounds=3),
    "scale": Cell(
        "Growth",
        "CPU of the process for a span, export included; an attribute is one more of a span. The "
        "ratio is the most times of linear growth that any of them reaches.",
        (OURS,),
        {"": "µs", "ratio": "times linear"},
        rounds=3,
        frames=True,
    ),
}  # fmt: skip


class Target(NamedTuple):
    """The ratio of tracekit's figure to another side's must be at most (or at least) ``limit``.

    ``limit`` is for tracekit in Python alone, ``native`` for native frames where that is another.
    ``theirs`` is the other's figure, where it has another name.
    """

    cell: str
    figure: str
    peer: str
    limit: float | None
    at_least: bool = False
    side: str = OURS
    native: float | None = None
    theirs: str = ""

    @property
    def asked(self) -> float:
        """What is asked of the side that runs where a compiler was found."""
        return self.limit if self.native is None else self.native


TARGETS = (
    Target("child", "us", "otel-http", 0.25),
    Target("child", "us", "ddtrace", 0.50),
    Target("child", "us", "otel-http-3.14", 0.25, side="tracekit-3.14"),
    Target("kept", "ratio", "", 0.95),
    Target("cpu", "us", "otel-http", 0.21, side="tracekit-http", native=0.18),
    Target("cpu", "us", "otel-grpc", 0.28, side="tracekit-grpc"),
    Target("cpu", "us", "otel-http", 0.25, native=0.18),
    Target("cpu", "us", "jaeger-client", 0.25),
    Target("cpu", "us", "ddtrace", 0.95, native=0.55),
    Target("cpu", "us", "ddtrace", 0.95, side="tracekit-http", native=0.55),
    Target("cpu", "us", "otel-http-3.14", 0.25, side="tracekit-3.14"),
    Target("encode", "Jaeger compact", "ddtrace", None, native=0.75, theirs="msgpack 0.4"),
    Target("encode", "OTLP", "ddtrace", None, native=0.75, theirs="msgpack 0.4"),
    Target("rate", "spans/s", "otel-http", 3, at_least=True, native=7),
    Target("rate", "spans/s", "jaeger-client", 6, at_least=True),
    Target("rate", "spans/s", "jaeger-client", 6, at_least=True, side="tracekit-http"),
    Target("rate", "spans/s", "otel-http", 3, at_least=True, side="tracekit-http", native=7),
    Target("rate", "spans/s", "ddtrace", 1.4, at_least=True, native=1.9),
    Target("rate", "spans/s", "ddtrace", 1.4, at_least=True, side="tracekit-http", native=1.9),
    Target("propagation", "jaeger inject", "jaeger-client", 1.0),
    Target("propagation", "b3 inject", "jaeger-client", 1.0),
    Target("propagation", "b3 extract", "py_zipkin", 1.2),
    Target("flask", "added", "otel-http", 0.16),
    Target("flask-unsampled", "added", "otel-http", 0.14),
    Target("grpc", "added", "otel-http", 0.40, native=0.34),
    Target("grpc-unsampled", "added", "otel-http", 0.43),
    Target("grpc-stream", "ratio", "", 1.03),
    Target("grpc-aio", "added", "otel-http", 0.40),
    Target("log", "added", "otel-http", 0.8),
    Target("start", "ms", "jaeger-client", 1.0),
    Target("scale", "ratio", "", 1.5),
)
