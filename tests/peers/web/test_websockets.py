"""Websockets and socket.io behind a real server: one span a connection, and its end is no error."""

from __future__ import annotations

import threading
from contextlib import contextmanager

import flask
import pytest
import werkzeug.serving
from opentelemetry.trace import StatusCode

import tracekit.flask

pytestmark = pytest.mark.timeout(60)


@contextmanager
def serving(app):
    server = werkzeug.serving.make_server("127.0.0.1", 0, app, threaded=True)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"127.0.0.1:{server.port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.mark.parametrize("order", [1, -1], ids=["tracing first", "socket first"])
def test_the_end_of_a_websocket_is_no_error(tracing, order):
    """flask-sock leaves werkzeug's server by an exception of its own when the peer closes."""
    flask_sock = pytest.importorskip("flask_sock")
    websocket = pytest.importorskip("websocket")
    app = flask.Flask("shop")
    steps = [lambda: tracekit.flask.init_app(app, tracing), lambda: flask_sock.Sock(app)]
    made = [step() for step in steps[::order]][::order]
    ended = threading.Event()

    @made[1].route("/echo")
    def echo(ws):
        try:
            while True:
                ws.send(ws.receive())
        finally:
            ended.set()

    with serving(app) as address:
        peer = websocket.create_connection(f"ws://{address}/echo", timeout=10)
        peer.send("hello")
        assert peer.recv() == "hello"
        peer.close()
        assert ended.wait(10)
        span = tracing.sink.take(timeout_s=10)
    assert span.name == "GET /echo"
    assert span.status.status_code is not StatusCode.ERROR
    assert not span.events
    assert "error.type" not in span.attributes


@pytest.mark.parametrize("order", [1, -1], ids=["tracing first", "socket first"])
def test_socketio_over_a_websocket(tracing, order):
    """Flask-SocketIO: the connection's requests are no errors, and events run outside of them."""
    flask_socketio = pytest.importorskip("flask_socketio")
    socketio = pytest.importorskip("socketio")
    app = flask.Flask("shop")
    steps = [
        lambda: tracekit.flask.init_app(app, tracing),
        lambda: flask_socketio.SocketIO(app, async_mode="threading"),
    ]
    server = [step() for step in steps[::order]][::order][1]
    spans = []

    @server.on("order")
    def ordered(what):
        with tracing.tracer("t").start_as_current_span(f"order {what}") as span:
            spans.append(span)

            @flask.copy_current_request_context
            def later():
                tracing.tracer("t").start_span("later").end()

            thread = threading.Thread(target=later)
            thread.start()
            thread.join()
        return "taken"

    with serving(app) as address:
        client = socketio.SimpleClient()
        client.connect(f"http://{address}", transports=["websocket"])
        assert client.call("order", "tea", timeout=10) == "taken"
        client.disconnect()
        ended = [tracing.sink.take(timeout_s=10) for _ in range(2 + (order == -1))]
    by_name = {span.name: span for span in ended}
    assert by_name["later"].parent.span_id == by_name["order tea"].context.span_id
    assert by_name["order tea"].parent is None
    for span in ended:
        assert span.status.status_code is not StatusCode.ERROR, span.to_json()
