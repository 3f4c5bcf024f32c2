"""uWSGI, which brings an interpreter of its own, under ``tracekit run``."""

from __future__ import annotations

import itertools
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import urllib3
from ports import free_port
from waiting import eventually

TRACEKIT = Path(sys.executable).with_name("tracekit")
UWSGI = Path(sys.executable).with_name("uwsgi")
APP = """
import os, time
import flask

def work(n):
    time.sleep(0.02)
    return str(os.getpid())

app = flask.Flask("shop")
app.add_url_rule("/orders/<n>", view_func=work, endpoint="orders")
"""
pytestmark = [pytest.mark.integration, pytest.mark.timeout(120)]


@pytest.mark.skipif(not UWSGI.exists(), reason="uWSGI is not installed: it needs a C compiler")
@pytest.mark.parametrize("apps", ["shared", "lazy"])
def test_each_worker_is_traced(environ, tmp_path, agent, apps):
    """It ends as the bare one, and no answer of either worker is without its span."""
    (tmp_path / "shop.py").write_text(APP)
    ended = []
    for before in ([TRACEKIT, "run", "--"], []):
        port = free_port()
        command = [
            UWSGI, f"--http-socket=127.0.0.1:{port}", "--module=shop:app", "--master", "--need-app",
            "--processes=2", "--enable-threads", "--die-on-term",
        ]  # fmt: skip
        if apps == "lazy":
            command.append("--lazy-apps")
        with (
            (tmp_path / "log").open("ab") as log,
            subprocess.Popen(
                [*before, *command], env=environ, cwd=tmp_path, stdout=log, stderr=log
            ) as process,
        ):
            try:
                answered = _answered(port)
                if before:  # its master runs no Python at the end of a worker
                    _accounted(answered, agent)
                process.send_signal(signal.SIGTERM)
                ended.append(process.wait(40))
            finally:
                process.kill()
    assert ended[0] == ended[1]


def _answered(port):
    """Return the paths that were answered, when both workers have answered some."""
    http = urllib3.PoolManager(maxsize=4, retries=False, timeout=10)
    numbers, paths, pids = itertools.count(), set(), set()

    def ask(number):
        path = f"/orders/{number}"
        try:
            response = http.request("GET", f"http://127.0.0.1:{port}{path}")
        except urllib3.exceptions.HTTPError:
            return
        if response.status == 200:
            paths.add(path)
            pids.add(response.data)

    def both():
        with ThreadPoolExecutor(4) as pool:
            list(pool.map(ask, itertools.islice(numbers, 8)))
        return len(pids) >= 2

    eventually(both, 40, lambda: (paths, pids), every_s=0.05)
    return paths


def _accounted(answered, agent):
    def missing():
        return answered - {span.tags.get("url.path") for span in agent.spans()}

    eventually(lambda: not missing(), told=missing, every_s=0.02)
