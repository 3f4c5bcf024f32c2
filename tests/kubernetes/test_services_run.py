"""What the manifests start does start: the shop's services, and the operator's injection."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import threading
from pathlib import Path

import pytest
import urllib3
import yaml
from waiting import eventually

from tracekit.testing import FakeCollector

REPOSITORY = Path(__file__).parents[2]
PAGES = REPOSITORY / "docs" / "kubernetes"
pytestmark = [pytest.mark.integration, pytest.mark.timeout(120)]
OURS = ("JAEGER_", "OTEL_", "TRACEKIT_", "PYTHONPATH")
BARE = {name: value for name, value in os.environ.items() if not name.startswith(OURS)}


@pytest.fixture
def backend():
    with FakeCollector() as backend:
        yield backend


@pytest.fixture
def start():
    """Return a function that starts a command and returns where it listens."""
    started = []

    def run(command, environ):
        process = subprocess.Popen(
            command,
            cwd=REPOSITORY,
            env=BARE | environ,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        started.append(process)
        watchdog = threading.Timer(60, process.kill)
        watchdog.start()
        line = process.stdout.readline()
        watchdog.cancel()
        said = re.search(r"listening on (\S+:\d+)", line)
        assert said, f"{command}: {line!r}, status {process.poll()}"
        return said[1]

    yield run
    for process in started:
        process.terminate()
        process.wait(30)
        process.stdout.close()


def manifest(service, names):
    """Return command and variables of a service, other services' names replaced by addresses."""

    def here(text):
        for name, address in names.items():
            text = text.replace(name, address)
        return text

    kustomization = yaml.safe_load((PAGES / "shop" / "kustomization.yaml").read_text())
    (generator,) = kustomization["configMapGenerator"]
    environ = dict(literal.split("=", 1) for literal in generator["literals"])
    deployment = next(iter(yaml.safe_load_all((PAGES / "shop" / f"{service}.yaml").read_text())))
    (container,) = deployment["spec"]["template"]["spec"]["containers"]
    environ |= {row["name"]: row["value"] for row in container["env"]}
    assert container["command"][0] == "python"
    command = [sys.executable, *container["command"][1:], "--port=0"]
    return [here(word) for word in command], {key: here(value) for key, value in environ.items()}


def test_the_shop_runs_on_its_manifests(backend, start):
    """Three services with the manifests' commands and variables serve a ride in one trace."""
    names = {"0.0.0.0": "127.0.0.1", "http://jaeger:4318": backend.otlp_endpoint}
    names["driver:50051"] = start(*manifest("driver", names))
    names["route:8080"] = start(*manifest("route", names))
    frontend = start(*manifest("frontend", names))
    load = next(iter(yaml.safe_load_all((PAGES / "shop" / "load.yaml").read_text())))
    script = load["spec"]["template"]["spec"]["containers"][0]["command"][-1]
    path = re.search(r"http://frontend:8080(/\S+=)\$c", script)[1]
    assert urllib3.request("GET", f"http://{frontend}{path}123").status == 200
    wanted = {"frontend", "driver", "route"}
    eventually(lambda: {span.service for span in backend.spans()} == wanted, 30, every_s=0.05)
    spans = backend.spans()
    assert len({span.trace_id for span in spans}) == 1


def test_the_image_fills_the_operators_path(backend, tmp_path):
    """A program that knows nothing of tracekit, and has a sitecustomize of its own, is traced."""
    mount = tmp_path / "otel-auto-instrumentation-python"
    first = mount / "opentelemetry" / "instrumentation" / "auto_instrumentation"
    first.mkdir(parents=True)
    shutil.copy(PAGES / "operator" / "image" / "sitecustomize.py", first)
    dockerfile = (PAGES / "operator" / "image" / "Dockerfile").read_text()
    assert "/autoinstrumentation/opentelemetry/instrumentation/auto_instrumentation/" in dockerfile
    own = tmp_path / "own"
    own.mkdir()
    (own / "sitecustomize.py").write_text("import sys; sys.own = 'mine'\n")
    program = (
        "import flask, requests, sitecustomize, sys, threading\n"
        "from wsgiref.simple_server import make_server\n"
        "app = flask.Flask('legacy')\n"
        "app.route('/carts/<int:cart>')(lambda cart: 'full')\n"
        "server = make_server('127.0.0.1', 0, app)\n"
        "threading.Thread(target=server.handle_request).start()\n"
        "requests.get(f'http://127.0.0.1:{server.server_port}/carts/7', timeout=10)\n"
        "print(sys.own, sitecustomize.__file__ == sys.argv[1], 'tracekit' in sys.modules)\n"
    )
    environ = {
        "PYTHONPATH": os.pathsep.join(map(str, (first, mount, own))),
        "OTEL_SERVICE_NAME": "legacy",
        "OTEL_EXPORTER_OTLP_ENDPOINT": backend.otlp_endpoint,
        "OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf",
        "OTEL_TRACES_EXPORTER": "otlp",
        "OTEL_METRICS_EXPORTER": "otlp",
        "OTEL_LOGS_EXPORTER": "otlp",
        "OTEL_TRACES_SAMPLER": "always_on",
        "OTEL_RESOURCE_ATTRIBUTES": "k8s.pod.name=legacy-1",
    }
    done = subprocess.run(
        [sys.executable, "-c", program, own / "sitecustomize.py"],
        env=BARE | environ,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stdout) == (0, "mine True True\n"), done.stderr
    spans = backend.wait(2)
    assert {(span.service, span.operation) for span in spans} == {
        ("legacy", "GET"),
        ("legacy", "GET /carts/<int:cart>"),
    }
    assert len({span.trace_id for span in spans}) == 1


def test_a_programs_sitecustomize_may_fail(backend, tmp_path):
    """What it raises is told by Python as without the image, and tracing starts."""
    ours, own = tmp_path / "ours", tmp_path / "own"
    ours.mkdir()
    own.mkdir()
    shutil.copy(PAGES / "operator" / "image" / "sitecustomize.py", ours)
    (own / "sitecustomize.py").write_text("raise RuntimeError('theirs')\n")
    done = subprocess.run(
        [sys.executable, "-c", "import sys; print('tracekit' in sys.modules)"],
        env=BARE | {"PYTHONPATH": os.pathsep.join(map(str, (ours, own)))},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stdout) == (0, "True\n")
    assert "RuntimeError: theirs" in done.stderr


def test_a_lacking_image_starts_the_program(tmp_path):
    """What fails while tracing is started is one line on standard error."""
    (tmp_path / "tracekit.py").write_text("raise RuntimeError('built for another Python')\n")
    first = tmp_path / "first"
    first.mkdir()
    shutil.copy(PAGES / "operator" / "image" / "sitecustomize.py", first)
    done = subprocess.run(
        [sys.executable, "-c", "print('served')"],
        env=BARE | {"PYTHONPATH": os.pathsep.join(map(str, (first, tmp_path)))},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stdout) == (0, "served\n")
    assert "tracekit: not started: RuntimeError: built for another Python" in done.stderr
