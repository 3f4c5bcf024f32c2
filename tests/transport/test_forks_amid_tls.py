"""Forks while OpenSSL loads certificates for us: a child would inherit its locks, taken."""

from __future__ import annotations

import json
import os
import socketserver
import subprocess
import sys
import threading

import pytest
from faults import wire

pytestmark = [pytest.mark.integration, pytest.mark.timeout(120)]

PROGRAM = """
import json, os, ssl, threading, time
import tracekit

at_it, forking = threading.Event(), threading.Event()
begun, made = [], []

def make(*_, **__):
    forking.clear()
    begun.append(1)
    at_it.set()
    forking.wait(20)
    made.append(1)
    return ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)

ssl.create_default_context = make
whole = []
for number in range(3):
    handle = tracekit.init("t", set_global=False, sampler_type="const", sampler_param=1)
    handle.tracer("t").start_span("s").end()
    assert at_it.wait(20)
    at_it.clear()
    if number == 0:
        os.register_at_fork(before=forking.set)  # runs before those that wait
    pid = os.fork()
    if pid == 0:
        os._exit(len(begun) - len(made))
    whole.append(os.waitpid(pid, 0)[1] == 0)
    handle.shutdown(0.01)
print(json.dumps(whole))
"""


class HangUp(socketserver.BaseRequestHandler):
    """Takes a connection and lets go of it."""


@pytest.mark.parametrize("kind", ["otlp-http", "otlp-grpc"])
def test_a_fork_waits_for_a_context(kind):
    """Over HTTPS, and where a failure of gRPC is looked into; one of three, if threads are late."""
    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), HangUp) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        environ = wire(kind, server.server_address[1])
        if kind == "otlp-http":
            environ = {name: v.replace("http:", "https:") for name, v in environ.items()}
        done = subprocess.run(
            [sys.executable, "-c", PROGRAM],
            env={"PATH": os.environ["PATH"], **environ},
            capture_output=True,
            text=True,
            timeout=100,
            check=False,
        )
        server.shutdown()
    assert done.returncode == 0, done.stderr
    assert any(json.loads(done.stdout)), done.stdout
