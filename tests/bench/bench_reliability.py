"""What arrives under load and faults, and what encoding costs, beside jaeger-client.

Run ``make bench-reliability``, or ``python tests/bench/bench_reliability.py NAME …`` for some of
the rows. Each row runs in processes of its own: a sender that goes as fast as it can is pinned to
one core, the receiver has the default socket buffer. Rows with a peer run both, one after the
other, in one run.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import logging
import os
import resource
import socket
import statistics
import subprocess
import sys
import threading
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "support"))

from accounting import law
from jaeger_client import Config, ConstSampler, Tracer, thrift
from jaeger_client.metrics import MetricsFactory
from jaeger_client.reporter import InMemoryReporter
from jaeger_client.thrift_gen.agent import Agent
from opentelemetry.sdk.resources import Resource
from ports import free_port
from thrift.protocol import TCompactProtocol
from thrift.transport import TTransport

from tracekit.encoding import jaeger_binary, jaeger_compact
from tracekit.reporting import DEFAULT_QUEUE_SIZE, Reporter
from tracekit.reporting._worker import start_worker
from tracekit.sampling import ParentRule, from_type
from tracekit.tracing import TracerProvider
from tracekit.transport import UdpTransport
from tracekit.transport._http import HttpTransport

VALUES = ["GET", 200, "", True, 1.5, "10.1.2.3", 17, "dispatch-7f9c"]


# --- programs that are traced ---


class Kept:
    """A reporter that only keeps the spans, for what is measured without a pipeline."""

    def __init__(self):
        self.spans = []

    def on_start(self, span, parent_context=None):
        pass

    def on_end(self, span):
        self.spans.append(span)


def ours(reporter):
    """Return a tracer that is put together as ``tracekit.init`` does it."""
    sampler = ParentRule(from_type("const", 1))
    provider = TracerProvider(sampler, reporter, Resource({"service.name": "bench"}))
    return provider.get_tracer("bench", "1.0")


def fill(span, number, tags=8):
    """Make a typical span: eight attributes (one differs from request to request), an event."""
    for index, value in enumerate(VALUES[:tags]):
        span.set_attribute(f"http.tag{index}", value or f"https://shop.example/order/{number}")
    if tags == len(VALUES):
        span.add_event("cache miss", {"key": "abc"})


def over_udp(port, **options):
    return Reporter(
        jaeger_compact(),
        lambda: UdpTransport("127.0.0.1", port),
        spawn=start_worker,
        wait=time.sleep,
        **options,
    )


def trace_with_ours(tracer, number, tags=8):
    """Trace one request of five spans."""
    with tracer.start_as_current_span("request") as root:
        fill(root, number, tags)
        for _ in range(4):
            with tracer.start_as_current_span("step") as span:
                fill(span, number, tags)


def jaeger_fill(span, number, tags):
    for index, value in enumerate(VALUES[:tags]):
        span.set_tag(f"http.tag{index}", value or f"https://shop.example/order/{number}")
    if tags == len(VALUES):
        span.log_kv({"event": "cache miss", "key": "abc"})


def trace_with_jaeger(tracer, number, tags=8):
    root = tracer.start_span("request")
    jaeger_fill(root, number, tags)
    for _ in range(4):
        span = tracer.start_span("step", child_of=root)
        jaeger_fill(span, number, tags)
        span.finish()
    root.finish()


def pinned():
    """Keep this process on one core, where the system can."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})


# --- the receiver, a process of its own ---


def receive(port):
    """Count datagrams and bytes until standard input ends; then say so and how the last was."""
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.bind(("127.0.0.1", port))
    sock.settimeout(0.2)
    done = threading.Event()
    threading.Thread(target=lambda: (sys.stdin.read(), done.set()), daemon=True).start()
    print(sock.getsockname()[1], flush=True)
    datagrams = size = 0
    last = time.time()
    ended = False
    while not ended:
        ended = done.is_set()
        with contextlib.suppress(TimeoutError, BlockingIOError):
            sock.settimeout(0.0 if ended else 0.05)
            while (data := sock.recv(65_536)) and (ended or not done.is_set()):
                datagrams += 1
                size += len(data)
                last = time.time()
    print(json.dumps({"datagrams": datagrams, "bytes": size, "last": last}), flush=True)


class Receiver:
    """The other end: started, asked for its port, ended, asked for what it got."""

    def __init__(self, port=0):
        self._process = subprocess.Popen(
            [sys.executable, __file__, "--receive", str(port)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.port = int(self._process.stdout.readline())

    def end(self):
        self._process.stdin.close()
        told = json.loads(self._process.stdout.readline())
        self._process.wait(10)
        self._process.stdout.close()
        return told


# --- rows ---


def jaeger_encode(spans):
    """Encode as jaeger-client does: ten spans a datagram, compact, into memory."""

    class Memory(TTransport.TMemoryBuffer):
        class io_loop:  # noqa: N801 (the generated client asks for it)
            spawn_callback = staticmethod(lambda *_arguments: None)

    process = thrift.make_process("bench", {}, 1024)
    for index in range(0, len(spans), 10):
        batch = thrift.make_jaeger_batch(spans=spans[index : index + 10], process=process)
        memory = Memory()
        Agent.Client(memory, TCompactProtocol.TCompactProtocolFactory()).emitBatch(batch)


def jaeger_tracer(reporter):
    return Tracer("bench", reporter, ConstSampler(True))


def encode():
    """CPU per typical span, encoding only."""
    pinned()
    figures = {"compact": [], "binary": [], "jaeger-client": []}
    encoders = {"compact": jaeger_compact(), "binary": jaeger_binary()}
    for number in range(12):
        kept, memory = Kept(), InMemoryReporter()
        tracer, peer = ours(kept), jaeger_tracer(memory)
        for request in range(100):
            trace_with_ours(tracer, number * 100 + request)
            trace_with_jaeger(peer, number * 100 + request)
        for name, encoder in encoders.items():
            began = time.thread_time_ns()
            for span in kept.spans:
                encoder.frame(span)
            figures[name].append((time.thread_time_ns() - began) / len(kept.spans) / 1000)
        began = time.thread_time_ns()
        jaeger_encode(memory.spans)
        took = time.thread_time_ns() - began
        figures["jaeger-client"].append(took / len(memory.spans) / 1000)
    medians = {name: statistics.median(values) for name, values in figures.items()}
    return {
        **{f"{name} µs": round(value, 1) for name, value in medians.items()},
        "compact / jaeger-client": round(medians["compact"] / medians["jaeger-client"], 3),
    }


def sustained(tags=8, seconds=4.0):
    """Spans a second from one core over UDP, nothing lost, typical spans."""
    result = {}
    for name, run in (("tracekit", _sustained_ours), ("jaeger-client", _sustained_jaeger)):
        receiver = Receiver()
        asked = [name, str(receiver.port), str(seconds), str(tags)]
        program = [sys.executable, __file__, "--sender", *asked]
        told = json.loads(subprocess.run(program, stdout=subprocess.PIPE, check=True).stdout)
        got = receiver.end()
        result[f"{name} spans/s"] = round(told["spans"] / (got["last"] - told["began"]))
        result[f"{name} spans per CPU second"] = round(told["spans"] / told["cpu"])
        result[f"{name} lost"] = run(told, got)
    ours, peer = (result[f"{name} spans per CPU second"] for name in ("tracekit", "jaeger-client"))
    result["times"] = round(ours / peer, 1)
    return result


def sustained_small():
    """Do the same with spans of two attributes and no event."""
    return sustained(tags=2)


def _sustained_ours(told, got):
    """Return what is missing among the datagrams, and among the bytes, that were sent."""
    missing = told["datagrams"] - got["datagrams"]
    assert missing or told["bytes"] == got["bytes"]
    return {"datagrams": missing, "spans dropped": told["dropped"]}


def _sustained_jaeger(told, got):
    return {"datagrams": told["datagrams"] - got["datagrams"], "spans dropped": told["dropped"]}


def send_ours(port, seconds, tags):
    pinned()
    reporter = over_udp(port)
    tracer = ours(reporter)
    began, cpu = time.time(), time.process_time()
    number = 0
    while time.time() - began < seconds:
        for _ in range(50):
            trace_with_ours(tracer, number, tags)
            number += 1
        while reporter.stats().queued > DEFAULT_QUEUE_SIZE / 2:
            time.sleep(0.005)
    assert reporter.flush(30.0)
    stats = law(reporter.stats())
    return {
        "began": began,
        "cpu": time.process_time() - cpu,
        "spans": number * 5,
        "datagrams": stats.payloads,
        "bytes": stats.payload_bytes,
        "dropped": sum(stats.dropped.values()),
    }


def send_jaeger(port, seconds, tags):
    class Counting(MetricsFactory):
        def __init__(self):
            self.counts = {}

        def create_counter(self, name, tags=None):
            key = (name, *sorted((tags or {}).items()))
            self.counts[key] = 0

            def add(value):
                self.counts[key] += value

            return add

    pinned()
    metrics = Counting()
    config = Config(
        config={
            "sampler": {"type": "const", "param": 1},
            "local_agent": {"reporting_host": "127.0.0.1", "reporting_port": port},
            "reporter_queue_size": DEFAULT_QUEUE_SIZE,
        },
        service_name="bench",
        metrics_factory=metrics,
    )
    tracer = config.new_tracer()
    results = ("ok", "err", "dropped")

    def told(result):
        return metrics.counts.get(("jaeger:reporter_spans", ("result", result)), 0)

    began, cpu = time.time(), time.process_time()
    number = 0
    while time.time() - began < seconds:
        for _ in range(20):
            trace_with_jaeger(tracer, number, tags)
            number += 1
        while number * 5 - sum(map(told, results)) > DEFAULT_QUEUE_SIZE / 2:
            time.sleep(0.005)
    while sum(map(told, results)) < number * 5:
        time.sleep(0.01)
    return {
        "began": began,
        "cpu": time.process_time() - cpu,
        "spans": number * 5,
        "datagrams": told("ok") // 10,
        "dropped": told("err") + told("dropped"),
    }


def burst(spans=200_000):
    """As many spans at once as a queue of the default size never saw."""
    receiver = Receiver()
    pinned()  # after the receiver, which has the other core
    reporter = over_udp(receiver.port)
    tracer = ours(reporter)
    trace_with_ours(tracer, 0)
    assert reporter.flush(10.0)
    idle = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for number in range(spans // 5):
        trace_with_ours(tracer, number)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    assert reporter.flush(30.0)
    stats = law(reporter.stats())
    got = receiver.end()
    assert stats.finished == spans + 5 == stats.sent + stats.dropped["queue_full"]
    return {
        "spans": spans,
        "sent": stats.sent,
        "queue_full": stats.dropped["queue_full"],
        "datagrams missing": stats.payloads - got["datagrams"],
        "MB above idle": round((peak - idle) / 1024, 1),
    }


def restarts(rounds=20, rate=2_000):
    """Stop and start an agent again and again while spans end at a steady rate."""
    port = free_port(socket.SOCK_DGRAM)
    reporter = over_udp(port, flush_s=0.1)
    tracer = ours(reporter)
    done = threading.Event()

    def program():
        number, began = 0, time.monotonic()
        while not done.is_set():
            while number * 5 < (time.monotonic() - began) * rate:
                trace_with_ours(tracer, number)
                number += 1
            time.sleep(0.005)

    thread = threading.Thread(target=program)
    thread.start()
    received = 0
    for index in range(rounds):
        receiver = Receiver(port)
        time.sleep(0.3)
        if index == rounds - 1:
            done.set()
            thread.join()
            assert reporter.flush(10.0)
        received += receiver.end()["datagrams"]
        time.sleep(0.15)
    stats = law(reporter.stats())
    return {
        "restarts": rounds,
        "spans": stats.finished,
        "sent": stats.sent,
        "dropped": sum(stats.dropped.values()),
        "datagrams refused and sent again": stats.retries,
        "datagrams accepted, not read before the agent's end": stats.payloads - received,
        "spans in doubt": stats.resent,
    }


def collector():
    """Let a collector have each fault for a second, then be well again."""
    sys.path.insert(0, str(Path(__file__).parents[1] / "transport"))
    import test_http as wire  # noqa: PLC0415 (the collector of the transport's own tests)

    result = {}
    faults = {
        "503": wire.answer(503),
        "429 + Retry-After": wire.answer(429, Retry_After="0.2"),
        "reset": wire.reset,
        "trickles": wire.trickle,
        "never answers": wire.never,
    }
    for name, mood in faults.items():
        with wire.Collector(mood) as server:
            reporter = Reporter(
                jaeger_binary(),
                lambda port=server.port: HttpTransport(f"http://127.0.0.1:{port}/", timeout_s=0.3),
                spawn=start_worker,
                wait=time.sleep,
                flush_s=0.1,
            )
            tracer = ours(reporter)
            for number in range(400):
                trace_with_ours(tracer, number)
                time.sleep(0.0025)
            law(reporter.stats())
            server.moods[:] = [wire.OK]
            well = time.monotonic()
            while law(reporter.stats()).sent < 2_000 and time.monotonic() < well + 20:
                time.sleep(0.005)
            stats = law(reporter.stats())
            result[name] = {
                "sent": stats.sent,
                "dropped": sum(stats.dropped.values()),
                "spans in doubt": stats.resent,
                "all sent s after recovery": round(time.monotonic() - well, 2),
            }
            reporter.shutdown(1.0)
    return result


def huge():
    """One span of 1 MB among small ones."""
    receiver = Receiver()
    reporter = over_udp(receiver.port)
    tracer = ours(reporter)
    for number in range(200):
        trace_with_ours(tracer, number)
        if number == 100:
            tracer.start_span("huge", attributes={"a": "x" * 1_000_000}).end()
    assert reporter.flush(10.0)
    stats = law(reporter.stats())
    got = receiver.end()
    return {
        "sent": stats.sent,
        "too_large": stats.dropped["too_large"],
        "datagrams missing": stats.payloads - got["datagrams"],
    }


ROWS = {
    row.__name__: row
    for row in (encode, sustained, sustained_small, burst, restarts, collector, huge)
}


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("rows", nargs="*", metavar="NAME", help=", ".join(ROWS))
    parser.add_argument("--receive", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--sender", nargs=4, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.receive is not None:
        receive(asked.receive)
        return
    if asked.sender:
        name, port, seconds, tags = asked.sender
        send = send_ours if name == "tracekit" else send_jaeger
        print(json.dumps(send(int(port), float(seconds), int(tags))), flush=True)
        os._exit(0)  # the peer's threads never end
    logging.getLogger("tracekit").setLevel(logging.CRITICAL)  # drops are what is measured
    rows = asked.rows or list(ROWS)
    for name in rows:
        if len(rows) > 1:  # each in a process of its own: one row's memory is not another's
            subprocess.run([sys.executable, __file__, name], check=True)
        else:
            print(name, json.dumps(ROWS[name](), ensure_ascii=False), flush=True)


if __name__ == "__main__":
    main()
