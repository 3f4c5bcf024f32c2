"""What extract and inject cost beside OpenTelemetry's propagators, and B3 beside py_zipkin.

Run ``python tests/bench/bench_propagation.py``. Both sides are timed in turns, so that a busy
machine slows them alike; the best round of each counts, and the ratio is what matters.
"""

from __future__ import annotations

import timeit
from functools import partial

from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.propagators.b3 import B3MultiFormat, B3SingleFormat
from opentelemetry.propagators.jaeger import JaegerPropagator
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator
from py_zipkin.request_helpers import create_http_headers, extract_zipkin_attrs_from_headers
from py_zipkin.storage import Tracer
from py_zipkin.util import ZipkinAttrs

from tracekit.propagation import Propagator, decode, encode

ROUNDS, CALLS = 25, 5_000
TRACE, SPAN = "80f198ee56343ba864fe8b2a57d3eff7", "e457b5a2e4d86bd1"
PEERS = {
    "jaeger": JaegerPropagator(),
    "b3": B3MultiFormat(),
    "b3single": B3SingleFormat(),
    "w3c": TraceContextTextMapPropagator(),
}


def compare(name, ours, peer, limit):
    """Time both in turns; print nanoseconds, the ratio, and the ratio that is promised."""
    best = [float("inf"), float("inf")]
    for _ in range(ROUNDS):
        for side, call in enumerate((ours, peer)):
            best[side] = min(best[side], timeit.timeit(call, number=CALLS) / CALLS * 1e9)
    print(f"{name:28} {best[0]:7.0f} ns {best[1]:7.0f} ns   {best[0] / best[1]:.2f} (<= {limit})")


def main():
    """Print the table."""
    print(f"{'':28} {'tracekit':>10} {'peer':>10}   ratio")
    span_context = trace.SpanContext(int(TRACE, 16), int(SPAN, 16), True, trace.TraceFlags(1))
    context = trace.set_span_in_context(trace.NonRecordingSpan(span_context), Context())
    for name, peer in PEERS.items():
        ours = Propagator((name,))
        carrier: dict[str, str] = {}
        peer.inject(carrier, context)
        compare(
            f"{name} extract", partial(ours.extract, carrier), partial(peer.extract, carrier), 0.55
        )
        compare(
            f"{name} inject",
            lambda ours=ours: ours.inject({}, context),
            lambda peer=peer: peer.inject({}, context),
            0.50,
        )
    multi = {"X-B3-TraceId": TRACE, "X-B3-SpanId": SPAN, "X-B3-Sampled": "1"}
    single = {"b3": f"{TRACE}-{SPAN}-1"}
    for name, headers in (("b3", multi), ("b3single", single)):
        theirs = partial(extract_zipkin_attrs_from_headers, headers)
        compare(f"{name} decode, py_zipkin", partial(decode, name, headers), theirs, 1.3)
    tracer = Tracer()
    tracer.push_zipkin_attrs(ZipkinAttrs(TRACE, SPAN, None, "0", is_sampled=True))
    compare(
        "b3 encode, py_zipkin",
        partial(encode, "b3", decode("b3", multi)),
        partial(create_http_headers, tracer=tracer, new_span_id=True),
        1.3,
    )


if __name__ == "__main__":
    main()
