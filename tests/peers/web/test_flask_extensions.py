"""Flask's extensions, set up before tracing and after it: same answers, same spans."""

from __future__ import annotations

import importlib

import flask
import pytest
from opentelemetry import trace

import tracekit.flask
import tracekit.testing


class Broken(Exception):  # noqa: N818 (a name that stands in answers)
    """What a view raises."""


def plain(app):
    @app.get("/fine")
    def fine():
        return {"fine": True}

    @app.get("/broken")
    def broken():
        raise Broken("here")

    @app.get("/refused")
    def refused():
        flask.abort(409)


def restx(app):
    module = importlib.import_module("flask_restx")
    api = module.Api(app)

    @api.errorhandler(Broken)
    def handle(error):
        return {"message": "sorry"}, 500

    for path, action in (("/fine", dict), ("/refused", lambda: flask.abort(409))):
        kind = type("Of" + path[1:], (module.Resource,), {"get": lambda self, a=action: a()})
        api.add_resource(kind, path)

    class OfBroken(module.Resource):
        def get(self):
            raise Broken("here")

    api.add_resource(OfBroken, "/broken")


def smorest(app):
    module = importlib.import_module("flask_smorest")
    app.config.update(API_TITLE="t", API_VERSION="1", OPENAPI_VERSION="3.0.2")
    api = module.Api(app)
    blueprint = module.Blueprint("pets", "pets")

    @blueprint.route("/fine")
    def fine():
        return {"fine": True}

    @blueprint.route("/broken")
    def broken():
        raise Broken("here")

    @blueprint.route("/refused")
    def refused():
        module.abort(409, message="no")

    api.register_blueprint(blueprint)


def login(app):
    module = importlib.import_module("flask_login")
    app.secret_key = "x"
    manager = module.LoginManager(app)
    manager.user_loader(lambda _: None)
    plain(app)

    @app.get("/private")
    @module.login_required
    def private():
        return "secret"


def executor(app):
    module = importlib.import_module("flask_executor")
    app.config["EXECUTOR_PROPAGATE_EXCEPTIONS"] = True
    pool = module.Executor(app)
    plain(app)

    @app.get("/pool")
    def pooled():
        return pool.submit(lambda: flask.request.path).result()


def sentry(app):
    sdk = importlib.import_module("sentry_sdk")
    integration = importlib.import_module("sentry_sdk.integrations.flask").FlaskIntegration()
    transport = importlib.import_module("sentry_sdk.transport").Transport
    silent = type("Silent", (transport,), {"capture_envelope": lambda *_: None})
    sdk.init(dsn="http://key@127.0.0.1:9/1", integrations=[integration], traces_sample_rate=1.0,
             default_integrations=False, transport=silent)  # fmt: skip
    plain(app)


EXTENSIONS = {
    "flask": (plain, None),
    "flask-restx": (restx, "flask_restx"),
    "flask-smorest": (smorest, "flask_smorest"),
    "flask-login": (login, "flask_login"),
    "flask-executor": (executor, "flask_executor"),
    "sentry-sdk": (sentry, "sentry_sdk"),
}
PATHS = ["/fine", "/broken", "/refused", "/nowhere", "/private", "/pool"]


def answers(set_up, order, tracing):
    app = flask.Flask("shop")
    app.logger.disabled = True
    steps = [set_up] if tracing is None else [set_up, lambda a: tracekit.flask.init_app(a, tracing)]
    for step in steps[::order]:
        step(app)
    client = app.test_client()
    given = []
    for path in PATHS:
        response = client.get(path, buffered=True)
        given.append((path, response.status_code, response.data))
    return given


def told(span):
    events = [(e.name, e.attributes["exception.type"].rpartition(".")[2]) for e in span.events]
    attributes = span.attributes
    return (
        span.name,
        attributes["http.response.status_code"],
        attributes.get("error.type", "").rpartition(".")[2],
        events,
    )


@pytest.mark.parametrize("name", EXTENSIONS)
def test_either_order_gives_the_same(name):
    """What an extension answers stays, and what the span says does not depend on the order."""
    set_up, module = EXTENSIONS[name]
    if module is not None:
        pytest.importorskip(module)
    wanted, spans = answers(set_up, 1, None), []
    for order in (1, -1):
        tracing = tracekit.testing.tracing()
        assert answers(set_up, order, tracing) == wanted
        spans.append([told(span) for span in tracing.sink.take_many(len(PATHS))])
        tracing.sink.assert_empty()
        assert trace.get_current_span() is trace.INVALID_SPAN
        tracing.shutdown()
    assert spans[0] == spans[1]
    assert spans[0][1] == ("GET /broken", 500, "Broken", [("exception", "Broken")])
    assert spans[0][2] == ("GET /refused", 409, "", [])


def test_flask_executors_work_is_a_child(tracing):
    """The extension copies Flask's context to its threads, and with it goes the span."""
    module = pytest.importorskip("flask_executor")
    app = flask.Flask("shop")
    pool = module.Executor(app)
    tracekit.flask.init_app(app, tracing)

    def work():
        with tracing.tracer("t").start_as_current_span("work"):
            return flask.request.path

    app.route("/pool")(lambda: pool.submit(work).result())
    assert app.test_client().get("/pool").data == b"/pool"
    work_span, server = tracing.sink.take_many(2)
    assert work_span.parent.span_id == server.context.span_id


def test_connexion_is_traced(tracing):
    """Connexion 3 serves Flask's ``wsgi_app`` by way of ASGI, and took it when it was made."""
    connexion = pytest.importorskip("connexion")
    connected = connexion.FlaskApp("shop")
    tracekit.flask.init_app(connected.app, tracing)
    connected.app.route("/fine")(lambda: "fine")

    @connected.app.route("/broken")
    def broken():
        raise Broken("here")

    client = connected.test_client(raise_server_exceptions=False)
    headers = {"uber-trace-id": "abc:12:0:1"}
    assert client.get("/fine", headers=headers).text == "fine"
    assert client.get("/broken", headers=headers).status_code == 500
    fine, broken_span = tracing.sink.take_many(2)
    assert (fine.name, fine.context.trace_id, fine.parent.span_id) == ("GET /fine", 0xABC, 0x12)
    assert broken_span.attributes["error.type"].endswith("Broken")
    assert [event.name for event in broken_span.events] == ["exception"]
