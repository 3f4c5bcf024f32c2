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
NEWEST = "3.14"
"""Some sides run under this CPython as well, where it is found."""
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
PEERS |= {f"{peer}-{NEWEST}": PEERS[peer] for peer in ("tracekit", "opentelemetry")}


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
    "tracekit-pure": Side("tracekit", "tracekit, Jaeger UDP, Python alone"),
    "tracekit-http-pure": Side("tracekit", "tracekit, OTLP/HTTP, Python alone"),
    "tracekit-3.14": Side("tracekit-3.14", "tracekit, Jaeger UDP, CPython 3.14"),
    "otel-http-3.14": Side("opentelemetry-3.14", "OpenTelemetry, OTLP/HTTP, CPython 3.14"),
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
    if peer.endswith(NEWEST):
        python = _newest(uv)
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


def _newest(uv: str) -> str:
    pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv"), "versions")
    cached = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache"), "tracekit")
    places = sorted(
        [*pyenv.glob(f"{NEWEST}.*/bin/python"), *cached.glob(f"python-{NEWEST}.*/bin/python3")]
    )
    for candidate in (NEWEST, *map(str, places)):
        found = subprocess.run(
            [uv, "python", "find", "--no-python-downloads", candidate],
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        if found.returncode == 0:
            return found.stdout.strip()
    raise NotInstalledError(f"no CPython {NEWEST} was found")


def is_native(interpreter: str) -> bool:
    """Return whether tracekit has native frames there."""
    question = "from tracekit.encoding import native_frames; print(native_frames() is not None)"
    done = subprocess.run(
        [interpreter, "-c", question],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    return done.stdout.strip() == "True"


def versions(interpreter: str) -> dict[str, str]:
    """Return what is installed there, as far as it matters."""
    done = subprocess.run(
        [interpreter, "-c", _VERSIONS], capture_output=True, text=True, check=True
    )
    return json.loads(done.stdout)
