"""A WSGI application that names the worker which served a request."""

from __future__ import annotations

import os

import flask

import tracekit
import tracekit.wsgi

tracekit.init("counted")
tracekit.get_tracer("t").start_span(f"loaded {os.getpid()}").end()


application = flask.Flask(__name__)
application.wsgi_app = tracekit.wsgi.middleware(application.wsgi_app)


@application.route("/<number>")
def work(number):
    tracekit.get_tracer("t").start_span(f"work {os.getpid()}").end()
    return "ok"
