"""A Flask service, run on ``flask_opentracing`` with ``jaeger_client`` and on ``tracekit``.

    python flask_programs.py flask_opentracing jaeger_client PORT
    python flask_programs.py tracekit.flask tracekit.jaeger_client PORT

Runs on old Pythons, which jaeger_client was made for. Every operation occurs once.
"""

import importlib
import sys
import time

import flask
import opentracing

SEEN = []
HEADERS = {"uber-trace-id": "abc:def:0:1", "uberctx-who": "me"}


def note(span, request):
    span.set_tag("noted", request.path)
    if request.path == "/callback":
        raise RuntimeError("in the callback")


def routes(app, tracing):
    @app.route("/plain")
    def plain():
        return "plain"

    @app.route("/rule/<user>", methods=["GET", "POST"])
    def rule(user):
        return user

    @app.route("/child")
    def child():
        parent = tracing.get_span()
        SEEN.append(parent is tracing.get_span(flask.request))
        SEEN.append(isinstance(parent, opentracing.Span))
        with opentracing.tracer.start_span("child/explicit", child_of=parent) as span:
            span.set_tag("baggage", parent.get_baggage_item("who"))
        with opentracing.tracer.start_active_span("child/active"):
            opentracing.tracer.start_span("child/below").finish()
        parent.set_tag("answer", 42).log_kv({"event": "done", "n": 1})
        return "child"

    @app.route("/status")
    def status():
        return "gone", 410

    @app.route("/redirect")
    def redirect():
        return flask.redirect("/plain")

    @app.route("/boom")
    def boom():
        raise ValueError("bad")

    @app.route("/callback")
    def callback():
        return "ok"

    @app.route("/health")
    def health():
        return "ok"

    @app.route("/metrics")
    def metrics():
        return "ok"


def chosen_routes(app, tracing):
    @app.route("/chosen/<int:n>")
    @tracing.trace("url_rule", "method", "no_such_attribute")
    def chosen(n):
        with tracing.tracer.start_active_span("chosen/below"):
            return flask.Response(str(n))

    @app.route("/chosen/boom")
    @tracing.trace()
    def chosen_boom():
        raise ValueError("bad")

    @app.route("/left")
    def left():
        SEEN.append(tracing.get_span() is None)
        return "left"


def main(flask_module, jaeger_module, port):
    flask_tracing = importlib.import_module(flask_module)
    config = {
        "sampler": {"type": "const", "param": 1},
        "local_agent": {"reporting_host": "127.0.0.1", "reporting_port": port},
        "reporter_queue_size": 1000,
    }
    made = []

    def initialize_tracer():
        config_class = importlib.import_module(jaeger_module).Config
        made.append(config_class(config=config, service_name="programs").initialize_tracer())
        return made[-1]

    app = flask.Flask("all")
    tracing = flask_tracing.FlaskTracer(
        initialize_tracer, True, app, ["url_rule", "remote_user", "path"], note
    )
    routes(app, tracing)
    client = app.test_client()
    app.logger.disabled = True
    for path in ("/plain", "/rule/bob?q=1", "/status", "/redirect", "/callback", "/boom"):
        client.get(path, buffered=True)
    for path in ("/health", "/metrics"):
        client.get(path, buffered=True)
    client.get("/child", headers=HEADERS, buffered=True)
    assert len(made) == 1
    assert opentracing.tracer is made[0]
    app = flask.Flask("chosen")
    chosen = flask_tracing.FlaskTracing(made[0])
    chosen_routes(app, chosen)
    app.logger.disabled = True
    for path, status in (("/chosen/5", 200), ("/left", 200), ("/chosen/boom", 500)):
        assert app.test_client().get(path, buffered=True).status_code == status
    assert chosen.tracer is made[0]
    assert SEEN == [True, True, True], SEEN
    closing = made[0].close()
    for _ in range(500):
        if closing.done():
            break
        time.sleep(0.01)
    time.sleep(0.1)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]))
