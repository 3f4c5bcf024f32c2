"""RPC metrics of a Flask application: exactly what the bare application served."""

from __future__ import annotations

import random
from collections import Counter

import flask
import pytest

import tracekit.flask
import tracekit.testing
from tracekit._calls.metrics import safe_name


def shop():
    """Return an application that answers, fails, aborts, streams and redirects."""
    app = flask.Flask("shop")

    @app.route("/users/<int:number>", methods=["GET", "POST"])
    def users(number):
        return {"number": number}

    @app.get("/old")
    def old():
        return flask.redirect("/users/1")

    @app.get("/abort/<int:code>")
    def abort(code):
        flask.abort(code)

    @app.get("/raise")
    def fail():
        raise ValueError("x")

    @app.get("/stream")
    def stream():
        return flask.Response(str(n) for n in range(3))

    @app.get("/metrics")
    def metrics():
        return ""

    return app


REQUESTS = [
    ("GET", "/users/1", "GET /users/<int:number>"),
    ("POST", "/users/2", "POST /users/<int:number>"),
    ("GET", "/old", "GET /old"),
    ("GET", "/abort/403", "GET /abort/<int:code>"),
    ("GET", "/abort/503", "GET /abort/<int:code>"),
    ("GET", "/raise", "GET /raise"),
    ("GET", "/stream", "GET /stream"),
    ("GET", "/nowhere", "GET"),
    ("DELETE", "/users/1", "DELETE"),
    ("BREW", "/users/1", "HTTP"),
    ("GET", "/metrics", None),  # excluded, as a probe is
]


@pytest.mark.parametrize("sampled", [0, 1])
def test_counts_are_the_bare_applications(sampled):
    """By endpoint, error and class of status, sampled or not; excluded paths are not counted."""
    tracing = tracekit.testing.tracing(sampler_param=sampled, rpc_metrics=True)
    bare, traced = shop().test_client(), shop()
    tracekit.flask.init_app(traced, tracing)
    client = traced.test_client()
    calls, classes = Counter(), Counter()
    for method, path, operation in random.Random(sampled).choices(REQUESTS, k=200):
        served = bare.open(path, method=method)
        status = served.status_code
        response = client.open(path, method=method)
        assert (response.status_code, response.data) == (status, served.data)
        response.close()
        if operation is not None:
            name = safe_name(operation)
            calls[name, str(status >= 500).lower()] += 1
            classes[name, f"{status // 100}xx"] += 1
    shown = {family.instrument.name: family.points for family in tracing.metrics()}
    requests = {key[1:]: n for key, n in shown["jaeger.rpc.requests"].items() if n}
    latency = {k[1:]: taken.calls for k, taken in shown["jaeger.rpc.request_latency"].items()}
    statuses = {key[1:]: n for key, n in shown["jaeger.rpc.http_requests"].items() if n}
    assert requests == {key: n for key, n in latency.items() if n} == dict(calls)
    assert statuses == dict(classes)
    assert tracing.stats().started == sampled * sum(calls.values())
    tracing.shutdown()
