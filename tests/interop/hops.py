"""The same hop as ``go_peer`` in Python: joins a call's trace and calls the next of ``x-route``."""

from __future__ import annotations

import contextlib
import threading
import wsgiref.simple_server
from concurrent.futures import ThreadPoolExecutor

import grpc
import requests

import tracekit
import tracekit.grpc
import tracekit.opentracing
import tracekit.requests
import tracekit.wsgi

METHOD = "/interop.Hop/Call"
SOON = 30.0


class Hop:
    """Serves HTTP and gRPC with ``tracing``; ``seen`` notes the baggage of each call."""

    def __init__(self, tracing, name="py"):
        self.tracing = tracing
        self.name = name
        self._tracer = tracekit.opentracing.tracer(tracing)
        self._session = requests.Session()
        # Baggage goes where we say that it may.
        tracekit.requests.instrument(self._session, tracing=tracing, hosts=("127.0.0.1",))

    def __enter__(self):
        self._stack = contextlib.ExitStack()
        app = tracekit.wsgi.middleware(self._app, self.tracing)
        web = wsgiref.simple_server.make_server(
            "127.0.0.1", 0, app, handler_class=_Quiet, server_class=_Threading
        )
        thread = threading.Thread(target=web.serve_forever, args=(0.01,))
        thread.start()
        self._stack.callback(web.server_close)
        self._stack.callback(thread.join, SOON)
        self._stack.callback(web.shutdown)
        server = grpc.server(
            ThreadPoolExecutor(4),
            interceptors=[tracekit.grpc.server_interceptor(self.tracing)],
        )
        service, method = METHOD.strip("/").split("/")
        handlers = {method: grpc.unary_unary_rpc_method_handler(self._call)}
        server.add_generic_rpc_handlers([grpc.method_handlers_generic_handler(service, handlers)])
        port = server.add_insecure_port("127.0.0.1:0")
        server.start()
        self._stack.callback(lambda: server.stop(0).wait(SOON))
        self.http = f"http://127.0.0.1:{web.server_port}/"
        self.grpc = f"grpc://127.0.0.1:{port}"
        return self

    def __exit__(self, *details):
        self._session.close()
        self._stack.close()

    def go(self, route):
        """Call the next of ``route``; return what it and those behind it have seen."""
        following, _, rest = route.partition(",")
        if not following:
            return ""
        if following.startswith("grpc://"):
            with grpc.insecure_channel(following.removeprefix("grpc://")) as plain:
                channel = tracekit.grpc.trace_channel(plain, self.tracing)
                call = channel.unary_unary(METHOD)
                return " " + call(b"", metadata=[("x-route", rest)], timeout=SOON).decode()
        answer = self._session.get(following, headers={"x-route": rest}, timeout=SOON)
        answer.raise_for_status()
        return " " + answer.text

    def _seen(self):
        span = self._tracer.active_span
        return f"{self.name}:" + ((span.get_baggage_item("user") or "") if span else "")

    def _app(self, environ, start_response):
        if item := environ.get("HTTP_X_SET_BAGGAGE"):
            self._tracer.active_span.set_baggage_item("user", item)
        body = (self._seen() + self.go(environ.get("HTTP_X_ROUTE", ""))).encode()
        start_response(
            "200 OK", [("Content-Type", "text/plain"), ("Content-Length", str(len(body)))]
        )
        return [body]

    def _call(self, _request, context):
        route = dict(context.invocation_metadata()).get("x-route", "")
        return (self._seen() + self.go(route)).encode()


class _Threading(wsgiref.simple_server.WSGIServer):
    def process_request(self, request, address):
        threading.Thread(target=self._one, args=(request, address), daemon=True).start()

    def _one(self, request, address):
        try:
            self.finish_request(request, address)
        finally:
            self.shutdown_request(request)


class _Quiet(wsgiref.simple_server.WSGIRequestHandler):
    def log_message(self, *_details):
        pass
