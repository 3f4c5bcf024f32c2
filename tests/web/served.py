"""The application that the server tests serve: traced, and bare below ``/bare``."""

from __future__ import annotations

import sys
import threading

import flask
from werkzeug.middleware.dispatcher import DispatcherMiddleware

import tracekit
import tracekit.flask


def make_app() -> flask.Flask:
    app = flask.Flask(__name__)
    stopped = threading.Event()

    @app.route("/pulls/<user>")
    def pulls(user: str) -> dict[str, str]:
        with tracekit.get_tracer("app").start_as_current_span("child"):
            return {"user": user}

    @app.route("/stream")
    def stream() -> flask.Response:
        def body():
            for n in range(3):
                with tracekit.get_tracer("app").start_as_current_span(f"piece {n}"):
                    yield f"{n}\n"

        return flask.Response(flask.stream_with_context(body()), mimetype="text/plain")

    @app.route("/endless")
    def endless() -> flask.Response:
        def body():
            while not stopped.wait(0.005):
                yield b"x" * 65536

        return flask.Response(body())

    @app.route("/file")
    def file() -> flask.Response:
        return flask.send_file(__file__, mimetype="text/plain")

    @app.route("/boom")
    def boom() -> str:
        raise ValueError("boom")

    return app


tracekit.init("served")
app = make_app()
tracekit.flask.init_app(app)
bare = make_app()
application = app.wsgi_app = DispatcherMiddleware(app.wsgi_app, {"/bare": bare.wsgi_app})

if __name__ == "__main__":
    app.run("127.0.0.1", int(sys.argv[1]), threaded=True)
