"""Each server under ``tracekit run``: the spans of every process arrive, and it ends as it did."""

from __future__ import annotations

import itertools
import os
import signal
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import pytest
import urllib3

for name in ("fastapi", "uvicorn", "gunicorn", "gevent", "hypercorn"):
    pytest.importorskip(name)
pytestmark = [pytest.mark.integration, pytest.mark.timeout(180)]

# A process that works does not accept: another one has to.
APPS = """
    import os, time
    import flask
    from fastapi import FastAPI

    def work():
        time.sleep(0.02)
        return str(os.getpid())

    wsgi = flask.Flask("shop")
    wsgi.add_url_rule("/orders/<n>", view_func=lambda n: work(), endpoint="orders")
    asgi = FastAPI()

    @asgi.get("/orders/{n}")
    async def orders(n: str):
        return work()
"""
WSGI, ASGI = "GET /orders/<n>", "GET /orders/{n}"


class Server(NamedTuple):
    """How one is started and ended, and how many of its processes answer."""

    command: str
    operation: str
    processes: int = 1
    ends_by: int = signal.SIGTERM
    as_group: bool = False


GUNICORN = "gunicorn -w 2 -b 127.0.0.1:{port}"
SERVERS = {
    "gunicorn": Server(f"{GUNICORN} apps:wsgi", WSGI, 2),
    "gunicorn preload": Server(f"{GUNICORN} --preload apps:wsgi", WSGI, 2),
    "gunicorn gthread": Server(f"{GUNICORN} -k gthread --threads 2 apps:wsgi", WSGI, 2),
    "gunicorn gevent": Server(f"{GUNICORN} -k gevent apps:wsgi", WSGI, 2),
    "gunicorn uvicorn": Server(f"{GUNICORN} -k {{uvicorn}} apps:asgi", ASGI, 2),
    # This worker has SIGTERM kill it, set after all that is imported before the fork.
    "gunicorn uvicorn preload": Server(f"{GUNICORN} --preload -k {{uvicorn}} apps:asgi", ASGI, 2),
    "gunicorn, quickly": Server(f"{GUNICORN} apps:wsgi", WSGI, 2, signal.SIGINT),
    "gunicorn max requests": Server(
        f"{GUNICORN} --max-requests 3 --max-requests-jitter 2 apps:wsgi", WSGI, 2
    ),
    "gunicorn reload": Server(f"{GUNICORN} --reload apps:wsgi", WSGI, 2),
    "gunicorn threads preload": Server(
        f"{GUNICORN} --preload -k gthread --threads 2 apps:wsgi", WSGI, 2
    ),
    "uvicorn": Server("uvicorn --port {port} apps:asgi", ASGI),
    "uvicorn, Ctrl-C": Server("uvicorn --port {port} apps:asgi", ASGI, 1, signal.SIGINT, True),
    "uvicorn workers": Server("uvicorn --workers 2 --port {port} apps:asgi", ASGI, 2),
    "uvicorn reload": Server("uvicorn --reload --port {port} apps:asgi", ASGI),
    "hypercorn": Server("hypercorn -b 127.0.0.1:{port} apps:asgi", ASGI),
    "hypercorn workers": Server("hypercorn -w 2 -b 127.0.0.1:{port} apps:asgi", ASGI, 2),
    "flask run": Server("flask --app apps:wsgi run --port {port}", WSGI),
    # By any other way than Ctrl-C its reloader leaves its child behind.
    "flask debug": Server(
        "flask --app apps:wsgi run --debug --port {port}", WSGI, 1, signal.SIGINT, True
    ),
    "python -m": Server("python -m flask --app apps:wsgi run --port {port}", WSGI),
}


def uvicorn_worker():
    """The class that gunicorn takes; uvicorn's own has moved to a package of its own."""
    pytest.importorskip("uvicorn.workers")
    return "uvicorn.workers.UvicornWorker"


def answers(port, processes, first=0):
    """Send requests until so many processes have answered; return which of them were answered."""
    http = urllib3.PoolManager(maxsize=4, retries=False, timeout=10)
    numbers, answered, pids = itertools.count(first), [], set()

    def ask(number):
        url = f"http://127.0.0.1:{port}/orders/{number}"
        try:
            response = http.request("GET", url, headers={"Connection": "close"})
        except urllib3.exceptions.HTTPError:
            return None
        return (number, response.data) if response.status == 200 else None

    def ready():
        with ThreadPoolExecutor(4) as pool:
            found = list(filter(None, pool.map(ask, itertools.islice(numbers, 8))))
        answered.extend(number for number, _ in found)
        pids.update(pid for _, pid in found)
        return len(pids) >= processes

    return ready, answered


@pytest.mark.parametrize("server", SERVERS)
def test_a_server_is_traced_and_ends_as_bare(server, write, serve, agent, wait_until, port):
    """Twice the same command: with ``tracekit run`` and without; no answer is without its span."""
    write(apps=APPS)
    row = SERVERS[server]
    worker = uvicorn_worker() if "{uvicorn}" in row.command else ""
    statuses = []
    for traced in (True, False):
        command = row.command.format(port=port, uvicorn=worker).split()
        process = serve(*command, traced=traced)
        ready, answered = answers(port, row.processes)
        wait_until(ready, server)
        (os.killpg if row.as_group else os.kill)(process.pid, row.ends_by)
        statuses.append(process.wait(40))
        if traced:
            spans = accounted(answered, agent, wait_until)
    assert statuses[0] == statuses[1]
    assert {(span.service, span.operation, span.kind) for span in spans} == {
        ("shop", row.operation, "server")
    }
    assert len({span.trace_id for span in spans}) == len(spans)


@pytest.mark.parametrize("kind", ["sync", "uvicorn"])
def test_workers_after_hup_lose_nothing(write, serve, agent, wait_until, port, kind):
    """By HUP, which has gunicorn load the application once more in new ones."""
    write(apps=APPS)
    kinds = {"sync": ("sync", "apps:wsgi"), "uvicorn": (None, "apps:asgi")}
    worker, app = kinds[kind]
    master = serve(
        "gunicorn", "-w", "2", "-b", f"127.0.0.1:{port}", "-k", worker or uvicorn_worker(), app
    )
    answered = []
    for first in (0, 1_000, 2_000):
        ready, more = answers(port, 2, first)
        wait_until(ready, "no answer")
        answered.extend(more)
        master.send_signal(signal.SIGHUP)
    accounted(answered, agent, wait_until)
    master.terminate()
    assert master.wait(40) == 0


def test_an_upgrade_in_flight_loses_nothing(write, serve, agent, wait_until, port, tmp_path):
    """By USR2: the master forks and becomes a new one, beside the old, which is then ended."""
    write(apps=APPS)
    pid_file, new_file = tmp_path / "pid", tmp_path / "pid.2"
    old = serve(
        "gunicorn", "-w", "1", "-b", f"127.0.0.1:{port}", "--pid", str(pid_file), "apps:wsgi"
    )
    ready, before = answers(port, 1)
    wait_until(ready, "no answer")
    old.send_signal(signal.SIGUSR2)
    new = int(wait_until(new_file.read_text, "no new master"))
    try:
        wait_until(lambda: len(_children(new)) == 1, "no new worker")
        old.terminate()
        assert old.wait(40) == 0
        ready, after = answers(port, 1, 1_000)
        wait_until(ready, "no answer of the new one")
        accounted([*before, *after], agent, wait_until)
    finally:
        os.kill(new, signal.SIGTERM)


def _children(pid):
    return Path(f"/proc/{pid}/task/{pid}/children").read_text().split()


def test_a_daemon_is_traced(write, run, agent, wait_until, port, tmp_path):
    """It forks twice before there is a worker, and the command ends at once."""
    write(apps=APPS)
    pid_file = tmp_path / "pid"
    run("gunicorn", "-w", "2", "-b", f"127.0.0.1:{port}", "--daemon", "--pid", str(pid_file),
        "apps:wsgi")  # fmt: skip
    ready, answered = answers(port, 2)
    try:
        wait_until(ready, "no answer")
        accounted(answered, agent, wait_until)
    finally:
        os.kill(int(pid_file.read_text()), signal.SIGTERM)


def accounted(answered, agent, wait_until):
    """Return the spans, when each request that was answered has one."""

    def arrived():
        return not {f"/orders/{number}" for number in answered} - {
            span.tags.get("url.path") for span in agent.spans()
        }

    wait_until(arrived, "a request has no span")
    return agent.spans()
