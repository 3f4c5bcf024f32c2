"""Collectors that fail in every way that a program meets at its end, and programs that end."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import textwrap
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import NamedTuple

from ports import free_port

PROGRAM = """
{first}
import atexit, json, os, signal, sys, threading, time
import tracekit

def tell():  # registered before tracekit's own: runs after it
    print(json.dumps(tracing.stats().as_dict()), flush=True)

{before}
atexit.register(tell)
tracing = tracekit.init("dying")
tracer = tracekit.get_tracer("t")
{after}
for i in range({spans}):
    tracer.start_span(str(i)).end()
print("ready", flush=True)
{then}
"""

SIGTERM = signal.SIGTERM

IDLE = "while True: time.sleep(0.1)"
"""What a program does until a signal ends it.

Python runs a handler between two of its own steps: a signal in the instant before one long sleep
waits for that sleep's end (on 3.14 one in six does that is sent as soon as the program is up).
"""


class End(NamedTuple):
    """How a program ended."""

    code: int
    took_s: float
    stats: dict | None
    stderr: str


@contextlib.contextmanager
def refused():
    """Have nobody listen."""
    yield free_port()


@contextlib.contextmanager
def silent():
    """Accept connections and never answer."""
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen(16)
        yield listening.getsockname()[1]


@contextlib.contextmanager
def black_holed():
    """Drop every SYN: the backlog is full and nobody accepts."""
    with contextlib.ExitStack() as stack:
        listening = stack.enter_context(socket.socket())
        listening.bind(("127.0.0.1", 0))
        listening.listen(0)
        for _ in range(4):
            filler = stack.enter_context(socket.socket())
            filler.setblocking(False)
            filler.connect_ex(listening.getsockname())
        time.sleep(0.05)
        yield listening.getsockname()[1]


@contextlib.contextmanager
def slow(pause_s=0.5):
    """Answer every request well, after a while."""

    class Slowly(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self):
            self.rfile.read(int(self.headers["Content-Length"]))
            time.sleep(pause_s)
            self.send_response(202)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *args):
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Slowly) as server:
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        try:
            yield server.server_port
        finally:
            server.shutdown()


FAULTS = {each.__name__: each for each in (refused, silent, black_holed, slow)}


def wire(kind, port):
    """Return the variables that send spans over ``kind`` to ``port``."""
    environ = {"JAEGER_SAMPLER_TYPE": "const", "JAEGER_SAMPLER_PARAM": "1"}
    if kind == "udp":
        return {**environ, "JAEGER_AGENT_HOST": "127.0.0.1", "JAEGER_AGENT_PORT": str(port)}
    if kind == "http":
        return {**environ, "JAEGER_ENDPOINT": f"http://127.0.0.1:{port}/api/traces"}
    protocol = {"otlp-http": "http/protobuf", "otlp-grpc": "grpc"}[kind]
    return {
        **environ,
        "OTEL_TRACES_EXPORTER": "otlp",
        "OTEL_EXPORTER_OTLP_PROTOCOL": protocol,
        "OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{port}",
    }


@contextlib.contextmanager
def started(environ, *, first="", before="", after="", spans=100, then="", prefix=()):
    """Start a program that has ended ``spans`` spans when this returns, and end it by its pid."""
    program = PROGRAM.format(
        first=textwrap.dedent(first),
        before=textwrap.dedent(before),
        after=textwrap.dedent(after),
        spans=spans,
        then=textwrap.dedent(then),
    )
    with (
        tempfile.TemporaryFile("w+") as stderr,
        subprocess.Popen(
            [*prefix, sys.executable, "-c", program],
            env={
                "PATH": os.environ["PATH"],
                "PYTHONPATH": "",
                "JAEGER_REPORTER_FLUSH_INTERVAL": "1m",
                **environ,
            },
            stdout=subprocess.PIPE,
            stderr=stderr,
            text=True,
        ) as child,
    ):
        child.errors = stderr
        try:
            if child.stdout.readline() != "ready\n":
                raise AssertionError(end_of(child))
            yield child
        finally:
            child.kill()


def end_of(child, signum=None, timeout_s=20.0):
    """Wait for the end of ``child``, sent ``signum`` if it is given, from now."""
    began = time.monotonic()
    if signum is not None:
        child.send_signal(signum)
    bound = threading.Timer(timeout_s, child.kill)
    bound.start()
    lines = child.stdout.read().splitlines()
    child.wait()
    took_s = time.monotonic() - began
    bound.cancel()
    child.errors.seek(0)
    stats = json.loads(lines[-1]) if lines and lines[-1].startswith("{") else None
    return End(child.returncode, took_s, stats, child.errors.read())
