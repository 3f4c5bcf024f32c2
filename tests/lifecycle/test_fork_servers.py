"""Servers that fork, recycle and end their workers: every request's spans arrive, once."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import NamedTuple

import pytest
import requests
from ports import free_port, until_listening
from waiting import eventually

from tracekit.testing import FakeAgent

pytestmark = [pytest.mark.integration, pytest.mark.timeout(60)]

HERE = Path(__file__).parent
PYTHON = [sys.executable, "-W", "ignore"]
GUNICORN = [*PYTHON, "-m", "gunicorn", "counted", "-b", "127.0.0.1:{port}", "--graceful-timeout=5"]
UWSGI = ["uwsgi", "--http-socket=127.0.0.1:{port}", "--module=counted", "--need-app"]
MASTER = [*UWSGI, "--master", "--processes=2", "--stats=127.0.0.1:{stats}"]
RECYCLED = ["--max-requests=8", "--min-worker-lifetime=0"]


class Server(NamedTuple):
    """How one is started, ended, and how many processes report that they loaded (None: varies)."""

    command: list[str]
    ends_by: int = signal.SIGTERM
    loads: int | None = None
    as_group: bool = False


SERVERS = {
    "gunicorn-sync": Server([*GUNICORN, "-w2"]),
    "gunicorn-sync-preload": Server([*GUNICORN, "-w2", "--preload"], loads=1),
    "gunicorn-max-requests": Server([*GUNICORN, "-w2", "--max-requests=5"]),
    "gunicorn-preload-max-requests": Server(
        [*GUNICORN, "-w2", "--preload", "--max-requests=5"], loads=1
    ),
    "gunicorn-gthread": Server([*GUNICORN, "-w2", "-kgthread", "--threads=3"]),
    "gunicorn-gevent": Server([*GUNICORN, "-w2", "-kgevent"]),
    "gunicorn-quick": Server([*GUNICORN, "-w2"], signal.SIGINT),
    "uwsgi": Server([*UWSGI, "--enable-threads", "--die-on-term"], loads=1),
    "uwsgi-without-threads": Server([*UWSGI, "--die-on-term"], loads=1),
    # uWSGI's master runs no Python at its end: what it ended itself is sent at the interval only.
    "uwsgi-master": Server([*MASTER, "--enable-threads", "--die-on-term"], loads=0),
    "uwsgi-master-lazy": Server([*MASTER, "--enable-threads", "--lazy-apps", "--die-on-term"]),
    "uwsgi-master-recycled": Server(
        [*MASTER, *RECYCLED, "--enable-threads", "--die-on-term"], loads=0
    ),
    "uwsgi-master-lazy-recycled": Server(
        [*MASTER, *RECYCLED, "--enable-threads", "--lazy-apps", "--die-on-term"]
    ),
    "uwsgi-master-without-threads": Server([*MASTER, "--die-on-term"], loads=0),
    "waitress": Server(
        [*PYTHON, "-m", "waitress", "--listen=127.0.0.1:{port}", "counted:application"], loads=1
    ),
    "flask-reload": Server(
        [*PYTHON, "-m", "flask", "--app=counted", "run", "--debug", "-p{port}"],
        signal.SIGINT,
        as_group=True,  # Ctrl-C; by any other way the reloader kills its child at once
    ),
}


@pytest.fixture(params=SERVERS)
def served(request, tmp_path):
    """Start one server; yield its row, process, ports, agent and log."""
    row = SERVERS[request.param]
    command = list(row.command)
    if command[0] == "uwsgi":
        beside = Path(sys.executable).with_name("uwsgi")
        command[0] = str(beside) if beside.exists() else shutil.which("uwsgi") or ""
        if not command[0]:
            pytest.skip("uWSGI is not installed: it needs a C compiler (pip install uwsgi)")
        command.append(f"--virtualenv={sys.prefix}")
    if "gevent" in request.param:
        pytest.importorskip("gevent")
    port, stats = free_port(), free_port()
    log = tmp_path / "log"
    with FakeAgent() as agent, log.open("wb") as out:
        process = subprocess.Popen(
            [part.format(port=port, stats=stats) for part in command],
            cwd=HERE,
            env={**os.environ, **agent.environ, "JAEGER_REPORTER_FLUSH_INTERVAL": "1m"},
            stdout=out,
            stderr=out,
            start_new_session=True,  # workers that a test leaves behind are ended as one group
        )
        try:
            until_listening(port, process, log.read_text, 20)
            yield request.param, row, process, port, stats, agent, log
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait(10)


def settle(stats, max_requests):
    """Wait until each of uWSGI's workers is ready for the next request, or for its end.

    It skips all that Python does at exit in a worker that is in a request, interrupts one that is
    loading, and loses the signal for one that has just been forked.
    """

    def at_rest():
        with socket.create_connection(("127.0.0.1", stats), timeout=10) as line:
            workers = json.loads(b"".join(iter(lambda: line.recv(65536), b"")))["workers"]
        return all(
            each["accepting"] and each["status"] == "idle" and each["delta_requests"] < max_requests
            for each in workers
        )

    eventually(at_rest, told=lambda: "uWSGI does not come to rest", every_s=0.05)


def test_each_request_is_reported_once(served):
    """Workers come and go; with an interval of a minute, what arrives was sent at some exit."""
    kind, row, process, port, stats, agent, log = served
    for number in range(24):
        for _ in range(40):
            try:
                answer = requests.get(
                    f"http://127.0.0.1:{port}/{number}", timeout=10, headers={"Connection": "close"}
                )
                break
            except requests.ConnectionError:  # a worker that ends; the bare server does so, too
                time.sleep(0.05)
        assert answer.text == "ok", log.read_text()
    if "uwsgi-master" in kind:
        settle(stats, 8 if "recycled" in kind else sys.maxsize)
    elif "uwsgi" in kind:
        time.sleep(0.3)
    began = time.monotonic()
    if row.as_group:
        os.killpg(process.pid, row.ends_by)
    else:
        process.send_signal(row.ends_by)
    process.wait(20)
    assert time.monotonic() - began < 15.0
    spans = agent.wait(48)
    time.sleep(0.05)
    spans = agent.spans()
    assert len({span.span_id for span in spans}) == len(spans)
    served_paths = Counter(s.tags["url.path"] for s in spans if s.kind == "server")
    assert served_paths == Counter(f"/{number}" for number in range(24)), log.read_text()
    workers = {s.operation for s in spans if s.operation.startswith("work")}
    loads = Counter(s.operation for s in spans if s.operation.startswith("loaded"))
    assert set(loads.values()) <= {1}, "what was queued at a fork is its parent's to send"
    if row.loads is not None:
        assert len(loads) == row.loads, (loads, log.read_text())
    if "max-requests" in kind or "recycled" in kind:
        assert len(workers) > 2
    said = log.read_text()
    assert said.count("--enable-threads") == (1 if "without-threads" in kind else 0), said
    # gunicorn leaves quickly by SystemExit, and logs it as an error of the response at hand.
    assert "Traceback" not in said or "SystemExit: 0" in said, said
