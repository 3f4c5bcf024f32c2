"""One small program for each library that people trace with, run as it was and as it is to be.

    python programs.py old|new NAME PORT

Runs on old Pythons, which jaeger_client was made for. A program that has no line for *old* or
*new* is the same on both sides. Prints ``skip: reason`` where a package is missing.
"""

import collections
import collections.abc
import importlib
import json
import logging
import sqlite3
import sys
import threading
import time
import types
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, HTTPServer
from socketserver import StreamRequestHandler, ThreadingTCPServer

import opentracing

CALLER = {"uber-trace-id": "abc:def:0:1"}
OLD = "old"


class Served:
    """A server on a free port of 127.0.0.1, as long as the block lasts."""

    def __init__(self, kind, handler):
        self.server = kind(("127.0.0.1", 0), handler)
        self.port = self.server.server_address[1]

    def __enter__(self):
        threading.Thread(target=self.server.serve_forever, args=(0.02,), daemon=True).start()
        return self

    def __exit__(self, *_):
        self.server.shutdown()
        self.server.server_close()


class Echo(BaseHTTPRequestHandler):
    """Answers with the trace header that it got."""

    seen = []

    def do_GET(self):
        self.seen.append(self.headers.get("uber-trace-id"))
        self.send_response(200)
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"ok")

    def log_message(self, *_):
        pass


def end(tracer):
    """Send what the tracer has."""
    closing = tracer.close()
    deadline = time.time() + 10
    while not closing.done() and time.time() < deadline:
        time.sleep(0.01)
    time.sleep(0.1)


def flask(side, tracer):
    flask = importlib.import_module("flask")
    if side == OLD:
        from flask_opentracing import FlaskTracing
    else:
        from tracekit.flask import FlaskTracing
    app = flask.Flask(__name__)
    tracing = FlaskTracing(tracer, True, app)

    @app.route("/order/<name>")
    def order(name):
        with tracer.start_active_span("look-up", child_of=tracing.get_span()):
            return name

    assert app.test_client().get("/order/apples", headers=CALLER, buffered=True).status_code == 200


def instrumentation(side, tracer):
    """The functions of opentracing_instrumentation that programs call themselves."""
    from opentracing_instrumentation import (
        get_current_span,
        http_client,
        http_server,
        span_in_context,
    )

    class Request(http_client.AbstractRequestWrapper):
        full_url = "http://127.0.0.1/"
        method = "GET"
        service_name = "stock"
        operation = "GET"
        headers = {}

        def add_header(self, key, value):
            self.headers[key] = value

    environ = {
        "REQUEST_METHOD": "GET",
        "PATH_INFO": "/order",
        "SERVER_NAME": "127.0.0.1",
        "SERVER_PORT": "80",
        "wsgi.url_scheme": "http",
        "HTTP_UBER_TRACE_ID": CALLER["uber-trace-id"],
    }
    wrapped = http_server.WSGIRequestWrapper.from_wsgi_environ(environ)
    span = http_server.before_request(wrapped, tracer=tracer)
    with span_in_context(span):
        assert get_current_span() is span
        out = http_client.before_http_request(Request(), get_current_span)
        assert "uber-trace-id" in Request.headers
        out.finish()
    span.finish()
    assert get_current_span() is None


def hooks(side, tracer):
    """The hooks that still work, by their names."""
    import redis
    import requests
    import sqlalchemy
    from opentracing_instrumentation import span_in_context
    from opentracing_instrumentation.client_hooks import install_all_patches, install_patches

    base = "opentracing_instrumentation.client_hooks."
    hooked = ("requests", "sqlalchemy", "strict_redis", "mysqldb", "psycopg2", "boto3", "celery")
    install_patches([base + name + ".install_patches" for name in hooked])
    with Served(HTTPServer, Echo) as echo, tracer.start_span("root") as span, span_in_context(span):
        requests.get("http://127.0.0.1:%d/stock" % echo.port, timeout=10)
        with sqlalchemy.create_engine("sqlite://").connect() as connection:
            connection.execute(sqlalchemy.text("select 1"))
        with Served(Threads, Redis) as server:
            client = redis.StrictRedis(port=server.port, protocol=2)
            client.set("apples", "3")
            client.connection_pool.disconnect()
    if sys.version_info >= (3, 10):  # noqa: UP036 (the oracle is older)
        try:
            install_all_patches()
        except AttributeError:  # at Tornado's hook, which needs a name that Python 3.10 took out
            collections.MutableMapping = collections.abc.MutableMapping
        else:
            raise AssertionError("the page says that it fails")
    install_all_patches()


def requests(side, tracer):
    import requests

    Echo.seen.clear()
    if side == OLD:
        from requests_opentracing import SessionTracing

        session = SessionTracing(tracer)
    else:
        import tracekit.requests

        session = requests.Session()
        tracekit.requests.instrument(session, tracing=tracer)
    with Served(HTTPServer, Echo) as echo, tracer.start_active_span("root"):
        session.get("http://127.0.0.1:%d/stock" % echo.port, timeout=10)
    assert Echo.seen[0]


def django(side, tracer):
    from django.conf import settings

    if side == OLD:
        middleware = "django_opentracing.OpenTracingMiddleware"
    else:
        importlib.import_module("tracekit.django")
        middleware = "tracekit.django.Middleware"
    module = sys.modules[__name__]
    settings.configure(
        ROOT_URLCONF=__name__, MIDDLEWARE=[middleware], ALLOWED_HOSTS=["*"], SECRET_KEY="x"
    )
    import django
    from django.http import HttpResponse
    from django.test import Client

    if side == OLD:
        import django_opentracing

        settings.OPENTRACING_TRACE_ALL = True
        settings.OPENTRACING_TRACING = django_opentracing.DjangoTracing(tracer)
    django.setup()

    def order(request, name):
        with tracer.start_active_span("look-up"):
            return HttpResponse(name)

    try:
        from django.urls import path
    except ImportError:
        from django.conf.urls import url

        module.urlpatterns = [url("^order/(?P<name>.*)$", order)]
    else:
        module.urlpatterns = [path("order/<name>", order)]
    headers = {"HTTP_UBER_TRACE_ID": CALLER["uber-trace-id"]}
    assert b"".join(Client().get("/order/apples", **headers)) == b"apples"


class Threads(ThreadingTCPServer):
    """Waits for no connection that a client keeps."""

    daemon_threads = True


class Redis(StreamRequestHandler):
    """Says +OK to each command."""

    def handle(self):
        while True:
            head = self.rfile.readline()
            if not head:
                return
            for _ in range(int(head[1:])):
                self.rfile.read(int(self.rfile.readline()[1:]) + 2)
            self.wfile.write(b"+OK\r\n")


def redis(side, tracer):
    import redis
    import redis_opentracing

    redis_opentracing.init_tracing(tracer)
    with Served(Threads, Redis) as server:
        client = redis.Redis(port=server.port, protocol=2)
        with tracer.start_active_span("root"):
            client.execute_command("SET", "apples", "3")
            with client.pipeline(transaction=False) as pipe:
                pipe.execute_command("SET", "pears", "1")
                pipe.execute()
        client.connection_pool.disconnect()


def sqlalchemy(side, tracer):
    import sqlalchemy
    import sqlalchemy_opentracing

    sqlalchemy_opentracing.init_tracing(tracer, trace_all_engines=False)
    engine = sqlalchemy.create_engine("sqlite://")
    sqlalchemy_opentracing.register_engine(engine)
    with engine.begin() as connection, tracer.start_active_span("root") as scope:
        statement = sqlalchemy.text("select 1")
        sqlalchemy_opentracing.set_parent_span(connection, scope.span)
        connection.execute(statement)


def dbapi(side, tracer):
    from dbapi_opentracing import ConnectionTracing

    connection = ConnectionTracing(sqlite3.connect(":memory:"), tracer)
    with tracer.start_active_span("root"):
        cursor = connection.cursor()
        cursor.execute("create table orders (name text)")
        cursor.executemany("insert into orders values (?)", [("apples",)])
        connection.commit()
    connection.close()


def kafka(side, tracer):
    """Librdkafka's own broker, in this process."""
    from opentracing_kafka.tracing_kafka_producer import TracingKafkaProducer

    producer = TracingKafkaProducer({"test.mock.num.brokers": 1, "log_level": 0}, tracer)
    with tracer.start_active_span("root"):
        producer.produce("orders", value=b"apples", on_delivery=lambda error, message: None)
    assert producer.flush(20) == 0


def mongo(side, tracer):
    """The events of pymongo, which is what the listener hears."""
    from pymongo import monitoring
    from pymongo_opentracing import CommandTracing

    listener = CommandTracing(tracer)
    where = ("127.0.0.1", 27017)
    with tracer.start_active_span("root"):
        command = {"insert": "orders", "$db": "shop"}
        started = monitoring.CommandStartedEvent(command, "shop", 1, where, 1)
        listener.started(started)
        took = __import__("datetime").timedelta(milliseconds=2)
        listener.succeeded(monitoring.CommandSucceededEvent(took, {"ok": 1}, "insert", 1, where, 1))


def fastapi(side, tracer):
    import asyncio

    import fastapi

    app = fastapi.FastAPI()
    if side == OLD:
        from starlette_opentracing import StarletteTracingMiddleWare

        app.add_middleware(StarletteTracingMiddleWare, tracer=tracer)
    else:
        importlib.import_module("tracekit.fastapi").init_app(app, tracing=tracer)

    @app.get("/order")
    async def order():
        with tracer.start_active_span("look-up"):
            return "apples"

    sent = []
    scope = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": "GET",
        "scheme": "http",
        "path": "/order",
        "raw_path": b"/order",
        "root_path": "",
        "query_string": b"",
        "headers": [(b"host", b"shop"), (b"uber-trace-id", CALLER["uber-trace-id"].encode())],
        "client": ("127.0.0.1", 1),
        "server": ("127.0.0.1", 80),
    }

    requests = [{"type": "http.request", "body": b"", "more_body": False}]

    async def receive():
        return requests.pop() if requests else {"type": "http.disconnect"}

    async def send(message):
        sent.append(message)

    asyncio.run(app(scope, receive, send))
    asyncio.set_event_loop(asyncio.new_event_loop())  # jaeger_client's close() wants one
    assert sent[0]["status"] == 200


def grpc(side, tracer):
    import grpc

    if side == OLD:
        from grpc_opentracing import open_tracing_client_interceptor as client
        from grpc_opentracing import open_tracing_server_interceptor as server
        from grpc_opentracing.grpcext import intercept_channel, intercept_server
    else:
        from tracekit.grpc.opentracing import open_tracing_client_interceptor as client
        from tracekit.grpc.opentracing import open_tracing_server_interceptor as server
        from tracekit.grpc.opentracing.grpcext import intercept_channel, intercept_server

    class Active:
        span = None

        def get_active_span(self):
            return self.span

    handler = grpc.unary_unary_rpc_method_handler(lambda request, context: request)
    served = intercept_server(grpc.server(ThreadPoolExecutor(2)), server(tracer))
    served.add_generic_rpc_handlers(
        (grpc.method_handlers_generic_handler("shop.Orders", {"Place": handler}),)
    )
    port = served.add_insecure_port("127.0.0.1:0")
    served.start()
    active = Active()
    channel = grpc.insecure_channel("127.0.0.1:%d" % port)
    intercepted = intercept_channel(channel, client(tracer, active_span_source=active))
    with tracer.start_span("root") as active.span:
        place = intercepted.unary_unary("/shop.Orders/Place")
        assert place(b"apples", timeout=20) == b"apples"
    channel.close()
    served.stop(None).wait(10)


def celery(side, tracer):
    import celery

    if side == OLD:
        from celery_opentracing import CeleryTracing

        app = CeleryTracing("shop", broker="memory://", tracer=tracer)
    else:
        importlib.import_module("tracekit.celery").instrument(tracing=tracer)
        app = celery.Celery("shop", broker="memory://")
    app.conf.result_backend = "cache+memory://"
    from celery.contrib.testing.worker import start_worker

    @app.task(name="shop.place")
    def place():
        with tracer.start_active_span("work"):
            return "done"

    app.loader.import_default_modules()
    with tracer.start_active_span("root"):
        result = place.delay()
    with start_worker(app, perform_ping_check=False, pool="solo"):
        assert result.get(timeout=20) == "done"


def prometheus(side, tracer):
    """The series, as a span with that name: what a dashboard reads is the tree here."""
    import prometheus_client

    package = "jaeger_client" if side == OLD else "tracekit.jaeger_client"
    factory = importlib.import_module(package + ".metrics.prometheus").PrometheusMetricsFactory
    reporter = importlib.import_module(package + ".reporter").NullReporter()
    module = importlib.import_module(package)
    one = module.Tracer("shop", reporter, module.ConstSampler(True), metrics_factory=factory())
    one.start_span("op").finish()
    deadline = time.time() + 20
    sample = prometheus_client.REGISTRY.get_sample_value
    while not sample("jaeger:finished_spans_total") and time.time() < deadline:
        time.sleep(0.02)
    with tracer.start_span("series") as span:
        for name, labels in (
            ("jaeger:finished_spans_total", {}),
            ("jaeger:started_spans_total", {"sampled": "y"}),
            ("jaeger:started_spans_total", {"sampled": "n"}),
            ("jaeger:traces_total", {"state": "started", "sampled": "y"}),
            ("jaeger:traces_total", {"state": "joined", "sampled": "n"}),
        ):
            tracer.start_span(
                "%s %s %s" % (name, sorted(labels.items()), sample(name, labels)), child_of=span
            ).finish()


def osprofiler(side, tracer):
    """OpenStack's profiler imports jaeger_client itself, and numbers its spans itself."""
    if side != OLD:
        importlib.import_module("tracekit.jaeger_client").alias()
    from osprofiler.drivers.jaeger import Jaeger

    importlib.import_module("jaeger_client").Config._initialized = False  # main() has been there
    settings = types.SimpleNamespace(service_name_prefix="", process_tags={"zone": "a"})
    conf = type("Conf", (dict,), {"profiler_jaeger": settings})()
    driver = Jaeger("jaeger://127.0.0.1:%d" % PORT[0], "nova", "api", "host", conf)
    ids = ["00000000-0000-0000-0000-00000000000%d" % number for number in range(1, 4)]
    base = {"base_id": ids[0], "timestamp": "2020-01-01T00:00:00.0", "info": {}}
    outer = dict(base, parent_id=ids[0], trace_id=ids[1], name="wsgi-start")
    inner = dict(base, parent_id=ids[1], trace_id=ids[2], name="db-start")
    driver.notify(outer)
    driver.notify(inner)
    driver.notify(dict(inner, name="db-stop"))
    driver.notify(dict(outer, name="wsgi-stop"))
    end(driver.tracer)


PORT = []
PROGRAMS = {
    program.__name__: program
    for program in (
        flask, instrumentation, requests, hooks, django, redis, prometheus, sqlalchemy, kafka,
        fastapi, grpc, mongo, celery, dbapi,
        osprofiler,
    )
}  # fmt: skip


def main(side, name, port):
    PORT.append(port)
    logging.disable(logging.CRITICAL)
    config_class = importlib.import_module(
        "jaeger_client" if side == OLD else "tracekit.jaeger_client"
    ).Config
    config = {
        "sampler": {"type": "const", "param": 1},
        "local_agent": {"reporting_host": "127.0.0.1", "reporting_port": port},
        "reporter_flush_interval": 0.05,
    }
    manager = None  # ours: OpenTelemetry's context
    if side == OLD:
        managers = importlib.import_module("opentracing.scope_managers.contextvars")
        manager = managers.ContextVarsScopeManager()
    config = config_class(config, service_name="shop", scope_manager=manager)
    tracer = config.initialize_tracer()
    assert opentracing.global_tracer() is tracer
    try:
        PROGRAMS[name](side, tracer)
    except ImportError as error:
        print(json.dumps({"skip": str(error)}))
    end(tracer)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]))
