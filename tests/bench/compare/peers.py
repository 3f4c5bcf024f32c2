"""Who is compared: what each side is, and the environment of its own that it runs in."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[3]
BUILD = ROOT / ".build" / "bench"

_PROGRAMS = ("flask", "requests", "grpcio")
PEERS = {
    "tracekit": ("-e", f"{ROOT}[grpc,flask,requests]"),
    "opentelemetry": (
        "opentelemetry-sdk",
        "opentelemetry-exporter-otlp-proto-http",
        "opentelemetry-exporter-otlp-proto-grpc",
        "opentelemetry-propagator-jaeger",
        "opentelemetry-propagator-b3",
        "opentelemetry-instrumentation-flask",
        "opentelemetry-instrumentation-grpc",
        "opentelemetry-instrumentation-requests",
        "opentelemetry-instrumentation-logging",
        *_PROGRAMS,
    ),
    "jaeger-client": ("jaeger-client", "six"),
    "py_zipkin": ("py_zipkin",),
    "ddtrace": ("ddtrace", *_PROGRAMS),
    "sink": ("grpcio", "msgpack"),
}


class Side(NamedTuple):
    """One configuration of a peer."""

    peer: str
    said: str


SIDES = {
    "tracekit": Side("tracekit", "tracekit, Jaeger UDP"),
    "tracekit-http": Side("tracekit", "tracekit, OTLP/HTTP"),
    "tracekit-grpc": Side("tracekit", "tracekit, OTLP/gRPC"),
    "otel-http": Side("opentelemetry", "OpenTelemetry, OTLP/HTTP"),
    "otel-grpc": Side("opentelemetry", "OpenTelemetry, OTLP/gRPC"),
    "jaeger-client": Side("jaeger-client", "jaeger-client, UDP"),
    "py_zipkin": Side("py_zipkin", "py_zipkin, HTTP"),
    "ddtrace": Side("ddtrace", "ddtrace, msgpack"),
    "bare": Side("tracekit", "does nothing"),
}

_VERSIONS = """
import importlib.metadata as m, json
names = ("tracekit-jaeger opentelemetry-sdk opentelemetry-instrumentation-flask jaeger-client "
         "py-zipkin ddtrace flask requests grpcio").split()
installed = {d.metadata["Name"].lower().replace("_", "-"): d.version for d in m.distributions()}
print(json.dumps({name: installed[name] for name in names if name in installed}))
"""


class NotInstalledError(Exception):
    """A peer's environment could not be made; the text says why, in a line."""


def python_of(peer: str, uv: str, python: str) -> str:
    """Return the interpreter of ``peer``'s environment, which is made if it is not there."""
    home = BUILD / peer
    interpreter = str(home / "bin" / "python")
    asked = json.dumps([python, *PEERS[peer]])
    stamp = home / ".installed"
    if stamp.exists() and stamp.read_text() == asked:
        return interpreter
    environ = {**os.environ, "VIRTUAL_ENV": str(home)}
    for command in (
        (uv, "venv", "--quiet", "--allow-existing", "--python", python, str(home)),
        (uv, "pip", "install", "--quiet", "--prerelease=allow", *PEERS[peer]),
    ):
        done = subprocess.run(command, env=environ, capture_output=True, text=True, check=False)
        if done.returncode:
            lines = done.stderr.strip().splitlines() or [f"exit code {done.returncode}"]
            raise NotInstalledError(lines[-1].strip())
    stamp.write_text(asked)
    return interpreter


def versions(interpreter: str) -> dict[str, str]:
    """Return what is installed there, as far as it matters."""
    done = subprocess.run(
        [interpreter, "-c", _VERSIONS], capture_output=True, text=True, check=True
    )
    return json.loads(done.stdout)
