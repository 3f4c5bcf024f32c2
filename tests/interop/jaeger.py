"""Jaeger's all-in-one on loopback: started on free ports, stopped by its pid, asked over HTTP."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import subprocess
import time
import urllib.error
import urllib.parse
import urllib.request
from collections import Counter

from ports import free_ports
from waiting import eventually

SOON = 30.0
_FLAGS = {
    "compact": "processor.jaeger-compact.server-host-port",
    "binary": "processor.jaeger-binary.server-host-port",
    "old": "processor.zipkin-compact.server-host-port",
    "sampling": "http-server.host-port",
    "http": "collector.http-server.host-port",
    "grpc": "collector.grpc-server.host-port",
    "otlp_http": "collector.otlp.http.host-port",
    "otlp_grpc": "collector.otlp.grpc.host-port",
    "zipkin": "collector.zipkin.host-port",
    "query": "query.http-server.host-port",
    "query_grpc": "query.grpc-server.host-port",
    "admin": "admin.http.host-port",
}
WIRES = {
    "udp compact": lambda p: {"agent_port": p["compact"]},
    "udp binary": lambda p: {"agent_port": p["binary"], "agent_protocol": "binary"},
    "http": lambda p: {"endpoint": f"http://127.0.0.1:{p['http']}/api/traces"},
    "otlp-http": lambda p: {
        "transport": "otlp-http",
        "endpoint": f"http://127.0.0.1:{p['otlp_http']}/v1/traces",
    },
    "otlp-grpc": lambda p: {
        "transport": "otlp-grpc",
        "endpoint": f"http://127.0.0.1:{p['otlp_grpc']}",
    },
}
"""Settings of each wire, by the ports of a Jaeger."""
UDP = ("udp compact", "udp binary")


def get(url):
    with urllib.request.urlopen(url, timeout=SOON) as answer:
        return answer.read().decode()


class Jaeger:
    """A server with memory for storage, which forgets when it ends."""

    def __init__(self, binary, *flags, **environ):
        self.binary = binary
        self.environ = environ
        self.flags = flags
        self.ports = dict(zip(_FLAGS, free_ports(len(_FLAGS)), strict=True))
        self.process = None

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *_details):
        self.stop(signal.SIGKILL)  # a polite end waits for its clients' connections

    def start(self):
        ports = [f"--{flag}=127.0.0.1:{self.ports[name]}" for name, flag in _FLAGS.items()]
        self.process = subprocess.Popen(
            [
                self.binary,
                *ports,
                f"--reporter.grpc.host-port=127.0.0.1:{self.ports['grpc']}",
                "--log-level=error",
                "--memory.max-traces=2000000",
                *self.flags,
            ],
            env=os.environ | self.environ,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        eventually(self._available, SOON, lambda: "Jaeger did not start", every_s=0.02)

    def _available(self):
        assert self.process.poll() is None, "Jaeger has ended"
        with contextlib.suppress(OSError):
            return "available" in get(f"http://127.0.0.1:{self.ports['admin']}/")
        return False

    def stop(self, how=signal.SIGTERM):
        if self.process is not None:
            self.process.send_signal(how)
            try:
                self.process.wait(SOON)
            finally:
                if self.process.poll() is None:
                    self.process.kill()
                self.process = None

    # --- what it says ---

    def api(self, path, **query):
        text = get(
            f"http://127.0.0.1:{self.ports['query']}/api/{path}?{urllib.parse.urlencode(query)}"
        )
        return json.loads(text)["data"]

    def trace(self, trace_id, spans):
        """Return the spans of a trace once there are so many."""
        return self._until(lambda: self._trace(trace_id), spans)

    def _trace(self, trace_id):
        try:
            (found,) = self.api(f"traces/{trace_id:032x}", raw="true")
        except urllib.error.HTTPError as error:
            if error.code != 404:
                raise
            return []
        return [
            {**span, "process": found["processes"][span["processID"]]} for span in found["spans"]
        ]

    def search(self, service, spans, **query):
        """Return the spans of a service's traces once there are so many."""
        return self._until(lambda: self._search(service, query), spans)

    def _search(self, service, query):
        found = self.api(
            "traces", service=service, limit=20_000, lookback="custom", raw="true", **query
        )
        return [
            {**span, "process": each["processes"][span["processID"]]}
            for each in found
            for span in each["spans"]
        ]

    @staticmethod
    def _until(look, count):
        found = []

        def enough():
            found[:] = look()
            return len(found) >= count

        eventually(enough, SOON, lambda: f"not {count}, but {len(found)} spans", every_s=0.05)
        return found

    def figures(self):
        """Return its own metrics: sums by name, and by name and service."""
        found = Counter()
        for line in get(f"http://127.0.0.1:{self.ports['admin']}/metrics").splitlines():
            if match := re.match(r"(\w+)(?:\{(.*)\})? (\S+)$", line):
                name, labels, value = match.groups()
                found[name] += float(value)
                for protocol in re.findall(r'protocol="([^"]*)"', labels or ""):
                    found[name, protocol] += float(value)
                for service in re.findall(r'svc="([^"]*)"', labels or ""):
                    found[name, service] += float(value)
        return found

    def saved(self, service):
        """Return how many spans of a service it has put into its storage."""
        return int(self.figures()["jaeger_spans_saved_by_svc_total", service])

    def settle(self, service, spans):
        """Return how many were saved, once it is that many or nothing has changed for a second."""
        last, since = -1, time.monotonic()
        while True:
            now = self.saved(service)
            if now >= spans or (now == last and time.monotonic() - since > 1.0):
                return now
            if now != last:
                last, since = now, time.monotonic()
            time.sleep(0.05)
