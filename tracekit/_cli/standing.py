"""Checks that ask nobody: settings, packages, versions, files, and what kind of process this is."""

from __future__ import annotations

import importlib.util
import platform
import sys
from importlib import metadata
from typing import TYPE_CHECKING

from tracekit._assembly.distribution import DISTRIBUTION, VERSION, stranger
from tracekit._cli.verdict import Verdict
from tracekit.transport._http import Tls
from tracekit.transport._http_cause import cause_of_request

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping

    from tracekit.settings import Settings

_PACKAGES = ("opentelemetry-api", "opentelemetry-sdk", "urllib3", "grpcio", "flask", "requests")
_MESH = ("ISTIO_META_WORKLOAD_NAME", "ISTIO_META_MESH_ID", "LINKERD2_PROXY_LOG")


def of_settings(settings: Settings) -> Iterator[Verdict]:
    """Say what is bad, and what is no mistake but worth saying."""
    for problem in settings.problems:
        yield Verdict("settings", "fail", str(problem), f"correct {problem.name}")
    for note in settings.notes:
        yield Verdict("settings", "note", note)
    if not settings.problems and not settings.notes:
        yield Verdict("settings", "ok", settings.summary())


def of_packages(settings: Settings) -> Iterator[Verdict]:
    """Say which versions there are, and which package the settings need and is not there."""
    found = {each.name.lower(): each.version for each in metadata.distributions() if each.name}
    versions = [f"tracekit {VERSION}", f"Python {platform.python_version()}"]
    versions += [f"{name} {found[name]}" for name in _PACKAGES if name in found]
    yield Verdict("versions", "ok", ", ".join(versions))
    other = stranger()
    if other is not None:
        yield Verdict("distribution", "fail", *other.split("; ", 1))
    over_grpc = settings.transport.kind == "otlp-grpc"
    asks_grpc = (settings.sampler.endpoint or "").startswith("grpc")
    if over_grpc or (asks_grpc and settings.sampler.type == "remote"):
        extra, what = ("otlp", "OTLP over gRPC") if over_grpc else ("grpc", "sampling over gRPC")
        if importlib.util.find_spec("grpc") is None:
            hint = f"pip install '{DISTRIBUTION}[{extra}]'"
            yield Verdict("packages", "fail", f"{what} needs grpcio", hint)
        else:
            yield Verdict("packages", "ok", f"grpcio is there for {what}")


def of_files(settings: Settings) -> Iterator[Verdict]:
    """Say whether the certificates that are named can be read."""
    wire = settings.transport
    named = {
        name: file
        for name in ("ca_file", "cert_file", "key_file")
        if (file := getattr(wire, name)) is not None
    }
    if not named:
        return
    listed = ", ".join(f"{name} {file}" for name, file in named.items())
    try:
        Tls(wire.ca_file, wire.cert_file, wire.key_file).context()
    except (OSError, ValueError) as error:
        remedy = cause_of_request(error).remedy or "correct the file"
        yield Verdict("certificates", "fail", f"{listed}: {error}", remedy)
    else:
        yield Verdict("certificates", "ok", listed)


def of_propagation(settings: Settings, environ: Mapping[str, str]) -> Iterator[Verdict]:
    """Say which formats are read, and in a mesh, which are not."""
    read = ", ".join(settings.propagation) or "none"
    in_mesh = any(name in environ for name in _MESH)
    missing = [name for name in ("b3", "w3c") if name not in settings.propagation]
    wide = ",".join((*settings.propagation, *missing))
    if in_mesh and len(missing) == 2:
        yield Verdict(
            "propagation",
            "note",
            f"reads {read}; in this mesh the proxies' b3 or traceparent begin new traces here",
            f"JAEGER_PROPAGATION={wide}",
        )
    else:
        yield Verdict("propagation", "ok", f"reads and writes {read}")


def of_sampling(settings: Settings) -> Iterator[Verdict]:
    """Say what becomes of new traces, where that may surprise."""
    sampler = settings.sampler
    step = "JAEGER_SAMPLER_TYPE=const JAEGER_SAMPLER_PARAM=1 samples all"
    if sampler.type == "const" and sampler.param:
        yield Verdict("sampler", "ok", "samples all new traces")
    elif sampler.type == "const":
        yield Verdict("sampler", "note", "samples no new traces", step)
    elif sampler.type == "remote" and sampler.endpoint is None:
        yield Verdict("sampler", "note", f"{sampler.param:g} of new traces: nobody is asked", step)
    else:
        yield Verdict("sampler", "ok", f"{sampler.type}, parameter {sampler.param:g}")


def of_process(environ: Mapping[str, str], modules: Collection[str]) -> Iterator[Verdict]:
    """Recognise servers that fork, reloaders and green threads, by variables and modules."""
    command = environ.get("GUNICORN_CMD_ARGS", "")
    if "gunicorn" in modules or "gunicorn" in environ.get("SERVER_SOFTWARE", "") or command:
        preload = "--preload" in command
        said = "gunicorn forks workers: each has a queue and figures of its own"
        more = "; with --preload, init() runs once before them, which works" if preload else ""
        yield Verdict("process", "ok", said + more)
    if "uwsgi" in modules:
        options = getattr(sys.modules.get("uwsgi"), "opt", {})
        threads = any(str(key).strip("b'") in ("enable-threads", "threads") for key in options)
        yield (
            Verdict("process", "ok", "uWSGI with threads")
            if threads
            else Verdict(
                "process",
                "fail",
                "uWSGI without threads: spans are sent only at flush and at exit",
                "start it with --enable-threads",
            )
        )
    if environ.get("WERKZEUG_RUN_MAIN") == "true":
        yield Verdict("process", "ok", "the reloader's child: it traces, its parent serves nobody")
    elif environ.get("FLASK_DEBUG", "").lower() in ("1", "true"):
        yield Verdict("process", "note", "Flask's reloader starts the program twice")
    for patched in ("gevent", "eventlet"):
        if f"{patched}.monkey" in modules or f"{patched}.patcher" in modules:
            yield Verdict("process", "ok", f"green threads of {patched}")
