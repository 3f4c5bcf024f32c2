"""Each server under ``tracekit run``: the spans of every process arrive, and it ends as it did."""

from __future__ import annotations

import signal

import pytest
import urllib3

for name in ("fastapi", "uvicorn", "gunicorn", "gevent", "hypercorn"):
    pytest.importorskip(name)
pytestmark = [pytest.mark.integration, pytest.mark.timeout(120)]

APPS = """
    import flask
    from fastapi import FastAPI

    wsgi = flask.Flask("shop")
    wsgi.add_url_rule("/orders/<n>", view_func=lambda n: n, endpoint="orders")
    asgi = FastAPI()

    @asgi.get("/orders/{n}")
    async def orders(n: str):
        return n
"""
WSGI, ASGI = "GET /orders/<n>", "GET /orders/{n}"
SERVERS = {
    "gunicorn": ("gunicorn -w 2 -b 127.0.0.1:{port} apps:wsgi", WSGI),
    "gunicorn preload": ("gunicorn --preload -w 2 -b 127.0.0.1:{port} apps:wsgi", WSGI),
    "gunicorn gthread": ("gunicorn -k gthread --threads 2 -b 127.0.0.1:{port} apps:wsgi", WSGI),
    "gunicorn gevent": ("gunicorn -k gevent -b 127.0.0.1:{port} apps:wsgi", WSGI),
    "uvicorn": ("uvicorn --port {port} apps:asgi", ASGI),
    "uvicorn workers": ("uvicorn --workers 2 --port {port} apps:asgi", ASGI),
    "uvicorn reload": ("uvicorn --reload --port {port} apps:asgi", ASGI),
    "hypercorn": ("hypercorn -b 127.0.0.1:{port} apps:asgi", ASGI),
    "flask run": ("flask --app apps:wsgi run --port {port}", WSGI),
    "flask debug": ("flask --app apps:wsgi run --debug --port {port}", WSGI),
    "python -m": ("python -m flask --app apps:wsgi run --port {port}", WSGI),
}


@pytest.mark.parametrize("server", SERVERS)
def test_a_server_is_traced_and_ends_as_the_bare_one(server, write, serve, agent, wait_until, port):
    """Twice the same command: with ``tracekit run`` and without; both get SIGTERM."""
    write(apps=APPS)
    command, operation = SERVERS[server]
    statuses = []
    for traced in (True, False):
        process = serve(*command.format(port=port).split(), traced=traced)
        http = urllib3.PoolManager(retries=False, timeout=10)

        def answered(http=http):
            try:
                return http.request("GET", f"http://127.0.0.1:{port}/orders/7").status == 200
            except urllib3.exceptions.HTTPError:
                return False

        wait_until(answered, server)
        if traced:
            (span,) = agent.wait(1)[:1]
            assert (span.service, span.operation, span.kind) == ("shop", operation, "server")
        http.clear()
        process.send_signal(signal.SIGTERM)
        statuses.append(process.wait(40))
    assert statuses[0] == statuses[1]
