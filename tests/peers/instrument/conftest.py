"""Programs that are started by ``tracekit run``, and a real Redis."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest

from tracekit.testing import FakeAgent

TRACEKIT = str(Path(sys.executable).parent / "tracekit")
_OURS = ("JAEGER_", "OTEL_", "TRACEKIT_", "PYTHONPATH")


@pytest.fixture
def agent():
    with FakeAgent() as running:
        yield running


@pytest.fixture
def environ(agent):
    """What a service would be started with: everything sampled, sent to ``agent``."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(_OURS)}
    return {
        **kept,
        **agent.environ,
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{kept.get('PATH', '')}",
        "JAEGER_SERVICE_NAME": "shop",
    }


@pytest.fixture
def write(tmp_path):
    """A function that writes the modules of a program."""

    def write(**modules):
        for name, source in modules.items():
            (tmp_path / f"{name}.py").write_text(textwrap.dedent(source))

    return write


@pytest.fixture
def run(environ, tmp_path):
    """A function that runs a command under ``tracekit run`` to its end."""

    def run(*command, check=True, **changed):
        done = subprocess.run(
            [TRACEKIT, "run", "--", *command], env={**environ, **changed}, cwd=tmp_path,
            capture_output=True, text=True, timeout=90, check=False,
        )  # fmt: skip
        assert not check or done.returncode == 0, done.stderr
        return done

    return run


@pytest.fixture
def serve(environ, tmp_path):
    """A function that starts a command, with or without ``tracekit run``; stopped at the end."""
    started = []

    def serve(*command, traced=True, **changed):
        before = [TRACEKIT, "run", "--"] if traced else []
        with (tmp_path / "log").open("ab") as log:
            process = subprocess.Popen(
                [*before, *command], env={**environ, **changed}, cwd=tmp_path,
                stdout=log, stderr=log, start_new_session=True,
            )  # fmt: skip
        started.append(process)
        return process

    yield serve
    for process in started:
        if process.poll() is None:
            process.terminate()
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait(20)
        with contextlib.suppress(ProcessLookupError):  # a reloader leaves its child behind
            os.killpg(process.pid, signal.SIGKILL)


@pytest.fixture
def port():
    """A port of the loopback that was free a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def until(ready, what, timeout_s=40):
    """Wait until ``ready()`` is true or returns without an error of a connection."""
    deadline = time.monotonic() + timeout_s
    while True:
        try:
            if found := ready():
                return found
        except OSError:
            pass
        assert time.monotonic() < deadline, what
        time.sleep(0.1)


@pytest.fixture
def wait_until():
    return until


@pytest.fixture
def redis(tmp_path, port):
    """The port of a Redis of its own."""
    server = shutil.which("redis-server")
    if server is None:
        pytest.skip("redis-server is not installed")
    command = [server, "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--dir", tmp_path]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as running:
        until(lambda: socket.create_connection(("127.0.0.1", port), 1).close() is None, "redis")
        yield port
        running.terminate()
