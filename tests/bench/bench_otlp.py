"""OTLP beside OpenTelemetry's own encoder and exporter.

Run ``make bench-otlp``, or ``python tests/bench/bench_otlp.py NAME …`` for some of the rows. Rounds
of both sides alternate in one process (encoding) or in processes of their own, pinned to one
core, that send to the same kind of receiver (sustained).
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import socket
import statistics
import subprocess
import sys
import threading
import time

from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.sdk import trace as sdk
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.sdk.trace.sampling import ALWAYS_ON

import tracekit
from tracekit._protocols import Loss
from tracekit.encoding import OtlpEncoder
from tracekit.reporting import DEFAULT_QUEUE_SIZE
from tracekit.sampling import from_type
from tracekit.tracing import TracerProvider

VALUES = ["GET", 200, "", True, 1.5, "10.1.2.3", 17, "dispatch-7f9c"]
BATCH = 512
ANSWER = b"HTTP/1.1 200 OK\r\nContent-Type: application/x-protobuf\r\nContent-Length: 0\r\n\r\n"


class Kept(sdk.SpanProcessor):
    """Keeps the spans, for what is measured without a pipeline."""

    def __init__(self):
        self.spans = []

    def on_end(self, span):
        self.spans.append(span)


def fill(span, number):
    """Make a typical span: eight attributes (one differs from request to request), an event."""
    for index, value in enumerate(VALUES):
        span.set_attribute(f"http.tag{index}", value or f"https://shop.example/order/{number}")
    span.add_event("cache miss", {"key": "abc"})


def trace(tracer, number):
    """Trace one request of five spans."""
    with tracer.start_as_current_span("request") as root:
        fill(root, number)
        for _ in range(4):
            with tracer.start_as_current_span("step") as span:
                fill(span, number)


def pinned():
    """Keep this process on one core, where the system can."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})


def our_encoding(encoder, spans):
    process = encoder.process(spans[0].resource)
    for first in range(0, len(spans), BATCH):
        frames = [encoder.frame(span) for span in spans[first : first + BATCH]]
        encoder.seal(process, frames, 1, Loss())


def their_encoding(spans):
    for first in range(0, len(spans), BATCH):
        encode_spans(spans[first : first + BATCH]).SerializeToString()


def encode(rounds=12):
    """CPU per typical span: encoded, put into batches of 512, as bytes."""
    pinned()
    encoder = OtlpEncoder()
    figures = {"tracekit": [], "tracekit, the SDK's spans": [], "OpenTelemetry": []}
    for number in range(rounds):
        own, plain = Kept(), Kept()
        provider = sdk.TracerProvider(ALWAYS_ON, Resource({}), shutdown_on_exit=False)
        provider.add_span_processor(plain)
        tracers = [
            TracerProvider(from_type("const", 1), own, Resource({})).get_tracer("bench", "1.0"),
            provider.get_tracer("bench", "1.0"),
        ]
        for request in range(200):
            for tracer in tracers:
                trace(tracer, number * 200 + request)
        gc.collect()
        for name, run in (
            ("tracekit", lambda own=own: our_encoding(encoder, own.spans)),
            ("tracekit, the SDK's spans", lambda plain=plain: our_encoding(encoder, plain.spans)),
            ("OpenTelemetry", lambda plain=plain: their_encoding(plain.spans)),
        ):
            began = time.thread_time_ns()
            run()
            figures[name].append((time.thread_time_ns() - began) / 1000 / 1000)
    medians = {name: statistics.median(values) for name, values in figures.items()}
    return {
        **{f"{name} µs": round(value, 1) for name, value in medians.items()},
        "tracekit / OpenTelemetry": round(medians["tracekit"] / medians["OpenTelemetry"], 3),
    }


# --- sustained ---


class Sink:
    """Says yes to every POST as cheaply as Python can, in a process of its own."""

    def __init__(self):
        self._process = subprocess.Popen(
            [sys.executable, __file__, "--receive"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.port = int(self._process.stdout.readline())

    def end(self):
        """Return how many bytes of bodies came."""
        self._process.stdin.close()
        told = int(self._process.stdout.readline())
        self._process.wait(10)
        self._process.stdout.close()
        return told


def receive():
    server = socket.create_server(("127.0.0.1", 0))
    server.settimeout(0.1)
    done = threading.Event()
    threading.Thread(target=lambda: (sys.stdin.read(), done.set()), daemon=True).start()
    print(server.getsockname()[1], flush=True)
    received = [0]

    def serve(connection):
        buffer = b""
        with connection:
            while True:
                while b"\r\n\r\n" not in buffer:
                    more = connection.recv(1 << 20)
                    if not more:
                        return
                    buffer += more
                head, _, body = buffer.partition(b"\r\n\r\n")
                fields = dict(line.lower().split(b": ", 1) for line in head.split(b"\r\n")[1:])
                length = int(fields[b"content-length"])
                left = length - len(body)
                while left > 0:
                    left -= len(connection.recv(min(left, 1 << 20)))
                received[0] += length
                buffer = body[length:]
                connection.sendall(ANSWER)

    while not done.is_set():
        try:
            connection, _ = server.accept()
        except TimeoutError:
            continue
        connection.settimeout(None)
        threading.Thread(target=serve, args=(connection,), daemon=True).start()
    print(received[0], flush=True)


def send_ours(port, seconds):
    """Trace until the time is up, wait whenever the queue is half full; then flush."""
    pinned()
    tracing = tracekit.init(
        "bench",
        environ={},
        set_global=False,
        transport="otlp-http",
        endpoint=f"http://127.0.0.1:{port}/v1/traces",
        sampler_type="const",
        sampler_param=1,
    )
    tracer = tracing.tracer("bench")
    began, cpu, number = time.time(), time.process_time(), 0
    while time.time() - began < seconds:
        for _ in range(50):
            trace(tracer, number)
            number += 1
        while tracing.stats().queued > DEFAULT_QUEUE_SIZE / 2:
            time.sleep(0.001)
    assert tracing.flush(30.0)
    assert tracing.stats().sent == number * 5
    return {
        "spans": number * 5,
        "seconds": time.time() - began,
        "cpu": time.process_time() - cpu,
    }


def send_theirs(port, seconds):
    """Do the same with the SDK's batch processor and its exporter; count what it was handed."""
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import (  # noqa: PLC0415 (one side)
        OTLPSpanExporter,
    )

    class Counting(OTLPSpanExporter):
        exported = 0

        def export(self, spans):
            result = super().export(spans)
            self.exported += len(spans)
            return result

    pinned()
    exporter = Counting(f"http://127.0.0.1:{port}/v1/traces")
    provider = sdk.TracerProvider(
        ALWAYS_ON, Resource({"service.name": "bench"}), shutdown_on_exit=False
    )
    provider.add_span_processor(
        BatchSpanProcessor(exporter, max_queue_size=DEFAULT_QUEUE_SIZE, max_export_batch_size=BATCH)
    )
    tracer = provider.get_tracer("bench")
    began, cpu, number = time.time(), time.process_time(), 0
    while time.time() - began < seconds:
        for _ in range(50):
            trace(tracer, number)
            number += 1
        while number * 5 - exporter.exported > DEFAULT_QUEUE_SIZE / 2:
            time.sleep(0.001)
    provider.force_flush()
    assert exporter.exported == number * 5
    return {
        "spans": number * 5,
        "seconds": time.time() - began,
        "cpu": time.process_time() - cpu,
    }


SENDERS = {"tracekit": send_ours, "OpenTelemetry": send_theirs}


def sustained(seconds=3.0, rounds=3):
    """Spans a second from one core over OTLP/HTTP, made, encoded and sent, nothing lost."""
    rates = {name: [] for name in SENDERS}
    for _ in range(rounds):
        for name in SENDERS:
            sink = Sink()
            program = [sys.executable, __file__, "--send", name, str(sink.port), str(seconds)]
            told = json.loads(subprocess.run(program, stdout=subprocess.PIPE, check=True).stdout)
            assert sink.end() > told["spans"] * 100
            rates[name].append(told["spans"] / told["cpu"])
    medians = {name: statistics.median(values) for name, values in rates.items()}
    return {
        **{f"{name} spans per CPU second": round(value) for name, value in medians.items()},
        "times": round(medians["tracekit"] / medians["OpenTelemetry"], 2),
    }


ROWS = {row.__name__: row for row in (encode, sustained)}


def main():
    """Run the rows that were asked for, or play a part in one."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("rows", nargs="*", metavar="NAME", help=f"of {', '.join(ROWS)}")
    parser.add_argument("--receive", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--send", nargs=3, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.receive:
        receive()
    elif asked.send:
        name, port, seconds = asked.send
        print(json.dumps(SENDERS[name](int(port), float(seconds))))
    else:
        for name in asked.rows or ROWS:
            print(f"{name}: {(ROWS[name].__doc__ or '').strip()}")
            for what, figure in ROWS[name]().items():
                print(f"  {what}: {figure}")


if __name__ == "__main__":
    main()
