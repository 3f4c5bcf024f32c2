"""Millions of spans through the encoders with native frames, and through the whole pipeline.

Run ``make leak``. Memory is told after each tenth: what the process holds at the end is what it
held after the first tenth, in resident bytes and in blocks that Python allocated.
"""

from __future__ import annotations

import argparse
import gc
import json
import socket
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "support"))
sys.path.insert(0, str(Path(__file__).parents[1] / "fuzz"))

from accounting import law
from fuzz_frames import SCOPE, Drawn, Told
from memory import resident_bytes
from opentelemetry.trace import DEFAULT_TRACE_STATE, SpanKind

import tracekit
from tracekit._protocols import UNSET, Facts
from tracekit.encoding import jaeger_binary, jaeger_compact, native_frames, otlp

TOGETHER = 64
"""Spans of one call of an encoder, of which RANDOM are anything that a span can be."""
RANDOM = 4
ODD = 400
AGAIN = 25
"""Calls with the same spans, for each encoder."""
BURST = 1_000
"""Spans between two flushes of the pipeline, so that none finds the queue full."""
MAX_BLOCKS = 10_000
"""To lose one in a call would be more than 100,000."""
MAX_BYTES = 4_000_000


def usual(n):
    """Return the facts of a span as most are; each text is a new object."""
    attributes = {"http.route": f"/order/{n}", "http.status_code": n, "ok": True, "took": n / 7}
    event = f"cache miss \u20ac{n}", n, ({"key": f"k{n}"}, 0)
    return Facts(
        n << 64 | 5, n, n // 2, 1, DEFAULT_TRACE_STATE, f"GET {n}", SpanKind.SERVER, n, n + 1000,
        attributes, (event,), (), UNSET, SCOPE, 0, 0, 0, False,
    )  # fmt: skip


def encode(count):
    """Encode ``count`` spans by Encoder.frames in each format; yield how many after each call."""
    native, drawn, done = native_frames(), Drawn(1), 0
    odd = [
        Told(drawn.one()) for _ in range(ODD)
    ]  # few, so that what encoders remember is soon full
    encoders = [make(native=native) for make in (jaeger_compact, jaeger_binary, otlp)]
    while done < count:
        spans = [Told(usual(done + n)) for n in range(TOGETHER - RANDOM)]
        spans += drawn.random.sample(odd, RANDOM)
        for _ in range(AGAIN):
            for encoder in encoders:
                frames, left = [], spans
                while left := left[len(frames) :]:
                    frames.clear()
                    try:
                        encoder.frames(left, frames, 1 << 30)
                    except Exception:  # a lone surrogate: what raises may leak, too
                        left = left[1:]
            done += TOGETHER
        yield done


def step(tracer, n):
    """End a span within another."""
    with tracer.start_as_current_span("step") as span:
        span.set_attribute("http.url", f"https://shop.example/order/{n}")
        span.add_event("cache miss", {"key": f"k{n}"})


def trace(count, environ):
    """End ``count`` spans of a program that reports to ``environ``; yield how many are sent."""
    tracing = tracekit.init("leak", environ=environ, set_global=False)
    assert tracing.stats().encoder == "native", tracing.stats()
    tracer, done = tracing.tracer("leak"), 0
    while done < count:
        for n in range(done, done + BURST, 2):
            with tracer.start_as_current_span(f"request {n}", attributes={"n": n, "ok": True}):
                step(tracer, n)
        done += BURST
        assert not tracing.flush(30.0).left
        yield done
    stats = law(tracing.stats())
    assert stats.sent == stats.finished == done, stats
    tracing.shutdown()


def watched(name, steps, count):
    """Run ``steps``; return whether memory stayed, and tell it."""
    told = []
    for done in steps:
        if done * 10 >= count * (len(told) + 1):
            gc.collect()
            told.append((done, resident_bytes(), sys.getallocatedblocks()))
    (_, first, blocks), (done, last, more) = told[0], told[-1]
    result = {
        "what": name, "spans": done, "MB": [round(size / 1e6, 2) for _, size, _ in told],
        "bytes grown": last - first, "blocks grown": more - blocks,
    }  # fmt: skip
    print(json.dumps(result), flush=True)
    return last - first <= MAX_BYTES and more - blocks <= MAX_BLOCKS


# --- what is sent to, in a process of its own ---


class Forgetful(BaseHTTPRequestHandler):
    """Takes every request and keeps nothing."""

    protocol_version = "HTTP/1.1"

    def do_POST(self):
        self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_):
        """Say nothing."""


def forget(udp):
    """Read every datagram."""
    while True:
        udp.recv(1 << 16)


def sink():
    """Print the ports of UDP and HTTP; take what comes until the standard input ends."""
    udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    udp.bind(("127.0.0.1", 0))
    http = ThreadingHTTPServer(("127.0.0.1", 0), Forgetful)
    threading.Thread(target=http.serve_forever, daemon=True).start()
    print(json.dumps([udp.getsockname()[1], http.server_port]), flush=True)
    threading.Thread(target=forget, args=(udp,), daemon=True).start()
    sys.stdin.read()


def main():
    """Run; 0: nothing grew."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--encoded", type=int, default=10_000_000, help="spans, in each format")
    parser.add_argument("--traced", type=int, default=1_000_000, help="spans, on each wire")
    parser.add_argument("--sink", action="store_true", help="only take what comes")
    asked = parser.parse_args()
    if asked.sink:
        sink()
        return 0
    if native_frames() is None:
        print("the native frames were not built here")
        return 0
    flat = [watched("encoders", encode(asked.encoded), asked.encoded)]
    command = [sys.executable, __file__, "--sink"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        udp, http = json.loads(process.stdout.readline())
        wires = {
            "UDP": {
                "JAEGER_AGENT_HOST": "127.0.0.1",
                "JAEGER_AGENT_PORT": str(udp),
                "JAEGER_SAMPLER_TYPE": "const",
                "JAEGER_SAMPLER_PARAM": "1",
            },
            "OTLP": {
                "OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{http}",
                "OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf",
                "OTEL_TRACES_SAMPLER": "always_on",
            },
        }
        for name, environ in wires.items():
            flat.append(watched(name, trace(asked.traced, environ), asked.traced))
        process.stdin.close()
    return int(not all(flat))


if __name__ == "__main__":
    sys.exit(main())
