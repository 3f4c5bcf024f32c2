"""What takes the place of what: the rows that ``tracekit migrate`` tells and the page prints.

A row's ``old`` is a dotted name as programs import it; the longest one that a name begins with is
its row. ``keep`` says that the retired library itself goes on working, on tracekit's tracer.
"""

from __future__ import annotations

from typing import NamedTuple


class Row(NamedTuple):
    """One library, or one name of it, and what to write instead."""

    old: str
    new: str
    """What you write; Markdown."""
    install: str = ""
    """What you install beside the extra of the library's own page; a requirement or an extra."""
    keep: bool = False
    """Whether the old import stays as it is."""
    tried: str = ""
    """What shows it: a program of ``tests/libraries/programs.py``, or a file of tests."""


_TK = "tracekit-jaeger"
_HOOKS = "opentracing_instrumentation.client_hooks"
_HOOKED = "Other client libraries"
_OTEL = "`pip install opentelemetry-instrumentation-{0}`, `{1}Instrumentor().instrument()`"

LIBRARIES = (
    Row("jaeger_client", "`from tracekit.jaeger_client import Config`; every module and name as it was",
        f"{_TK}[opentracing]", tried="tests/jaeger_client"),
    Row("flask_opentracing", "`from tracekit.flask import FlaskTracing`, `FlaskTracer`",
        f"{_TK}[flask,opentracing]", tried="flask"),
    Row("opentracing_instrumentation", "stays up to Python 3.11, with `tornado<6` beside it; from 3.12 on that cannot be installed:"
        " [name by name](#opentracing_instrumentation-name-by-name)", "opentracing_instrumentation tornado<6",
        keep=True, tried="instrumentation"),
    Row("requests_opentracing", "`undo = tracekit.requests.instrument()`",
        f"{_TK}[requests]", tried="requests"),
    Row("django_opentracing", '`MIDDLEWARE = ["tracekit.django.Middleware", …]`;'
        " it does not run on Django 5", _TK, tried="django"),
    Row("redis_opentracing", "stays: `redis_opentracing.init_tracing(tracer)`",
        "redis_opentracing", keep=True, tried="redis"),
    Row("jaeger_client.metrics.prometheus", "`from tracekit.jaeger_client.metrics.prometheus import"
        " PrometheusMetricsFactory`; better: `tracekit.prometheus.collector()`",
        f"{_TK}[opentracing,prometheus]", tried="prometheus"),
    Row("sqlalchemy_opentracing", "stays up to SQLAlchemy 1.3; from 1.4 on "
        + _OTEL.format("sqlalchemy", "SQLAlchemy"), "sqlalchemy_opentracing", keep=True,
        tried="sqlalchemy"),
    Row("opentracing_kafka", "stays: `TracingKafkaProducer(config, tracer)`",
        "opentracing-python-kafka-client", keep=True, tried="kafka"),
    Row("fastapi_opentracing", "`tracekit.fastapi.init_app(app)`", _TK, tried="fastapi"),
    Row("starlette_opentracing", "`app.add_middleware(tracekit.asgi.middleware)`", _TK,
        tried="fastapi"),
    Row("fastapi_contrib", "stays, behind `tracekit.jaeger_client.alias()`",
        f"{_TK}[opentracing]", keep=True, tried="tests/jaeger_client/test_alias.py"),
    Row("grpc_opentracing", "`from tracekit.grpc.opentracing import …`: the names as they were;"
        " better: [`tracekit.grpc`](../how-to/migrate-from-grpcio-opentracing.md)", f"{_TK}[grpc,opentracing]",
        tried="grpc"),
    Row("connexion", "it is Flask: `FlaskTracing(tracer, True, connexion_app.app)`;"
        " connexion 3: `tracekit.asgi.middleware(app)`", f"{_TK}[flask,opentracing]", keep=True,
        tried="flask"),
    Row("pymongo_opentracing", "stays: `MongoClient(event_listeners=[CommandTracing(tracer)])`",
        "pymongo_opentracing", keep=True, tried="mongo"),
    Row("celery_opentracing", "`undo = tracekit.celery.instrument()`", _TK, tried="celery"),
    Row("dbapi_opentracing", "stays: `ConnectionTracing(connection, tracer)`",
        "dbapi_opentracing wrapt", keep=True, tried="dbapi"),
    Row("opentracing_utils", "stays, with `setuptools<81` beside it and behind"
        " `tracekit.jaeger_client.alias()`", f"{_TK}[opentracing]", keep=True, tried="tests/jaeger_client/test_alias.py"),
    Row("osprofiler", "stays up to 4.2, which has the driver, behind `tracekit.jaeger_client.alias()`", f"{_TK}[opentracing]",
        keep=True, tried="osprofiler"),
    Row("opentelemetry.exporter.jaeger", "`from tracekit.exporter import JaegerExporter`;"
        " better: `tracekit.init()`", _TK, tried="tests/exporter/test_retired.py"),
    Row("opentelemetry.exporter.jaeger.proto.grpc", '`tracekit.init(transport="otlp-grpc",'
        ' endpoint="collector:4317")`: Jaeger takes OTLP where it took its own gRPC',
        f"{_TK}[otlp]", tried="tests/config/test_arguments.py"),
)  # fmt: skip
"""Whole libraries, by how many programs were found to use them."""

NAMES = (
    Row("opentracing", "stays; `opentracing.set_global_tracer(tracekit.opentracing.tracer())`",
        keep=True),
    Row("opentracing.ext", "stays", keep=True),
    Row("opentracing.mocktracer", "stays; or `tracekit.opentracing.tracer(tracekit.testing.tracing())`", keep=True),
    Row("opentracing.scope_managers", "stays; or none: ours follows OpenTelemetry's context, in threads,"
        " asyncio and greenlets alike", keep=True),
    Row("opentracing.scope_managers.tornado", "wants Tornado below 6: none, ours follows tasks"),
    Row("opentracing_instrumentation.get_current_span", "stays; or `tracer.active_span`", keep=True),
    Row("opentracing_instrumentation.span_in_context",
        "stays; or `tracer.scope_manager.activate(span, False)`", keep=True),
    Row("opentracing_instrumentation.request_context", "stays; or `tracer.scope_manager`", keep=True),
    Row("opentracing_instrumentation.request_context.span_in_stack_context",
        "wants Tornado below 6: `tracer.scope_manager.activate(span, False)`"),
    Row("opentracing_instrumentation.span_in_stack_context",
        "wants Tornado below 6: `tracer.scope_manager.activate(span, False)`"),
    Row("opentracing_instrumentation.traced_function",
        "fails from Tornado 6 on: `tracer.start_active_span(name)`"),
    Row("opentracing_instrumentation.local_span",
        "`tracer.start_active_span(name)` in place of `func_span`"),
    Row("opentracing_instrumentation.http_server", "stays; better: `tracekit.wsgi.middleware(app)`,"
        " which lasts as long as the response", keep=True),
    Row("opentracing_instrumentation.http_client", "stays; better: `tracekit.requests.instrument()`",
        keep=True),
    Row(f"{_HOOKS}.install_all_patches", "from Python 3.10 on it fails at Tornado's hook (see above the table); "
        "`install_patches([…])` with the names of the others"),
    Row(f"{_HOOKS}.install_patches", "stays, with a list of names; or what stands in their rows", keep=True),
    Row(f"{_HOOKS}.requests", "`undo = tracekit.requests.instrument()`"),
    Row(f"{_HOOKS}.strict_redis", "stays; or `redis_opentracing`", keep=True),
    Row(f"{_HOOKS}.sqlalchemy", "stays; better: " + _OTEL.format("sqlalchemy", "SQLAlchemy"), keep=True),
    Row(f"{_HOOKS}.urllib", "fails from Python 3.10 on: " + _OTEL.format("urllib", "URLLib")),
    Row(f"{_HOOKS}.urllib2", "was for Python 2 and Tornado below 6: "
        + _OTEL.format("urllib", "URLLib")),
    Row(f"{_HOOKS}.tornado_http", "fails from Python 3.10 on: " + _OTEL.format("tornado", "Tornado")),
    Row(f"{_HOOKS}.celery", "stays; better: `undo = tracekit.celery.instrument()`"),
    Row(f"{_HOOKS}.mysqldb", "stays; better: " + _OTEL.format("mysqlclient", "MySQLClient"), keep=True),
    Row(f"{_HOOKS}.psycopg2", "stays; better: " + _OTEL.format("psycopg2", "Psycopg2"), keep=True),
    Row(f"{_HOOKS}.boto3", "stays; better: " + _OTEL.format("botocore", "Botocore"), keep=True),
    Row("grpc_opentracing.grpcext.UnaryClientInterceptor", "`grpc.UnaryUnaryClientInterceptor`"),
    Row("grpc_opentracing.grpcext.StreamClientInterceptor", "gRPC's `…StreamClientInterceptor`"),
    Row("grpc_opentracing.grpcext.UnaryServerInterceptor", "`grpc.ServerInterceptor`"),
    Row("grpc_opentracing.grpcext.StreamServerInterceptor", "`grpc.ServerInterceptor`"),
    Row("grpc_opentracing.grpcext.StreamClientInfo", "`grpc.ClientCallDetails`"),
    Row("grpc_opentracing.grpcext.UnaryServerInfo", "`grpc.HandlerCallDetails`"),
    Row("grpc_opentracing.grpcext.StreamServerInfo", "`grpc.HandlerCallDetails`"),
    Row("jaeger_client.TUDPTransport", "the pipeline has its own socket: `Config(…).new_tracer()`"),
    Row("jaeger_client.local_agent_net.LocalAgentHTTP", "the remote sampler asks by itself"),
    Row("jaeger_client.local_agent_net.TUDPTransport", "the pipeline has its own socket"),
    Row("jaeger_client.ioloop_util", "there is no IOLoop: `tracer.close().result(timeout)`"),
    Row("jaeger_client.thrift_gen", "Thrift is written without generated code:"
        " `tracekit.local.Receiver` reads it in tests"),
    Row("jaeger_client.thrift.make_jaeger_batch", "`tracekit.encoding` is what batches are made by"),
    Row("jaeger_client.thrift.make_process", "`Config(…, tags={…})`"),
    Row("jaeger_client.thrift.make_references", "`start_span(references=…)`"),
    Row("jaeger_client.thrift.make_ref_type", "`start_span(references=…)`"),
    Row("jaeger_client.thrift.parse_sampling_strategy", "`tracekit.sampling.parse_strategy(text)`"),
    Row("jaeger_client.rate_limiter", "`tracekit.sampling.RateLimiter(rate)`, `.take()`"),
    Row("jaeger_client.sampler.RateLimiter", "`tracekit.sampling.RateLimiter(rate)`, `.take()`"),
    Row("jaeger_client.sampler.AdaptiveSampler", "`tracekit.sampling.PerOperation(strategy)`"),
    Row("jaeger_client.sampler.GuaranteedThroughputProbabilisticSampler",
        "`tracekit.sampling.GuaranteedThroughput`"),
    Row("jaeger_client.sampler.get_sampling_probability", "`tracekit.sampling.parse_strategy(text)`"),
    Row("jaeger_client.sampler.get_rate_limit", "`tracekit.sampling.parse_strategy(text)`"),
    *(
        Row(f"jaeger_client.sampler.{name}", "a key of the sampling server's JSON, which"
            " `tracekit.sampling.parse_strategy(text)` reads")
        for name in (
            "DEFAULT_LOWER_BOUND_STR", "DEFAULT_SAMPLING_PROBABILITY_STR", "STRATEGIES_STR",
            "MAX_TRACES_PER_SECOND_STR", "OPERATION_SAMPLING_STR", "OPERATION_STR",
            "PROBABILISTIC_SAMPLING_STR", "PROBABILISTIC_SAMPLING_STRATEGY", "SAMPLING_RATE_STR",
            "RATE_LIMITING_SAMPLING_STR", "RATE_LIMITING_SAMPLING_STRATEGY", "STRATEGY_TYPE_STR",
        )
    ),
    Row("jaeger_client.throttler.MINIMUM_CREDITS", "no server ever answered the throttler"),
    Row("grpc_opentracing.grpcext.UnaryClientInfo", "`grpc.ClientCallDetails`"),
    Row("jaeger_client.throttler.RemoteThrottler", "no server ever answered it: leave it out"),
    Row("jaeger_client.config.RemoteThrottler", "no server ever answered it: leave it out"),
    Row("jaeger_client.codecs.header_to_hex", "`int(value, 16)`"),
    Row("jaeger_client.utils.get_local_ip_by_interfaces", "`tracekit.jaeger_client.utils.local_ip()`"),
    Row("jaeger_client.utils.get_local_ip_by_socket", "`tracekit.jaeger_client.utils.local_ip()`"),
    Row("jaeger_client.utils.interface_ip", "`tracekit.jaeger_client.utils.local_ip()`"),
    Row("jaeger_client.tracer.TracerMetrics", "`metrics_factory=`"),
    Row("jaeger_client.reporter.ReporterMetrics", "`metrics_factory=`"),
    Row("jaeger_client.sampler.SamplerMetrics", "`metrics_factory=`"),
    Row("jaeger_client.throttler.ThrottlerMetrics", "`metrics_factory=`"),
    Row("opentelemetry.sdk.trace", '`tracekit.init("shop")` makes the provider'),
    Row("opentelemetry.sdk.trace.export", '`tracekit.init("shop")` makes the exporter, or'
        " `tracekit.init(exporter=…)` takes yours"),
    Row("opentelemetry.sdk.resources", '`tracekit.init("shop", tags={…})`'),
    Row("opentelemetry.exporter.otlp.proto.http",
        '`tracekit.init("shop", transport="otlp-http", endpoint=…)`'),
    Row("opentelemetry.exporter.otlp.proto.grpc",
        '`tracekit.init("shop", transport="otlp-grpc", endpoint=…)`'),
    Row("opentelemetry.propagators.b3", "`JAEGER_PROPAGATION=b3`; by hand"
        " `tracekit.propagation.b3_propagator()`, or `opentelemetry.propagate`'s `extract`, `inject`"),
    Row("opentelemetry.propagators.jaeger", "`JAEGER_PROPAGATION=jaeger`, which is the default"),
    Row("opentelemetry.propagator.jaeger", "`JAEGER_PROPAGATION=jaeger`, which is the default"),
    Row("opentelemetry.instrumentation.flask", "`tracekit.flask.init_app(app)`"),
    Row("opentelemetry.instrumentation.wsgi", "`tracekit.wsgi.middleware(app)`"),
    Row("opentelemetry.instrumentation.asgi", "`tracekit.asgi.middleware(app)`"),
    Row("opentelemetry.instrumentation.fastapi", "`tracekit.fastapi.init_app(app)`"),
    Row("opentelemetry.instrumentation.django", "`tracekit.django.Middleware`"),
    Row("opentelemetry.instrumentation.requests", "`undo = tracekit.requests.instrument()`"),
    Row("opentelemetry.instrumentation.httpx", "`undo = tracekit.httpx.instrument()`"),
    Row("opentelemetry.instrumentation.grpc", "`undo = tracekit.grpc.instrument()`"),
    Row("opentelemetry.instrumentation.celery", "`undo = tracekit.celery.instrument()`"),
    Row("opentelemetry.instrumentation.logging", "`undo = tracekit.logging.install()`"),
    Row("opentelemetry.instrumentation", "stays: it asks for the global provider", keep=True),
)  # fmt: skip
"""Single names and modules, for a row of their own."""

OPTIONS = {
    ("jaeger_client.Config", "metrics"): "`metrics_factory=`; plain functions still work",
    ("grpc_opentracing.open_tracing_client_interceptor", "log_payloads"):
        "number and size of each message, never its content",
    ("grpc_opentracing.open_tracing_server_interceptor", "log_payloads"):
        "number and size of each message, never its content",
    ("opentelemetry.exporter.otlp.proto.http.trace_exporter.OTLPSpanExporter", "endpoint"):
        '`init(transport="otlp-http", endpoint=…)`',
    ("opentelemetry.exporter.otlp.proto.http.trace_exporter.OTLPSpanExporter", "headers"):
        "`init(headers={…})`",
    ("opentelemetry.exporter.otlp.proto.http.trace_exporter.OTLPSpanExporter", "timeout"):
        "`init(timeout_s=…)`",
    ("opentelemetry.exporter.otlp.proto.http.trace_exporter.OTLPSpanExporter", "certificate_file"):
        "`init(ca_file=…)`",
    ("opentelemetry.exporter.otlp.proto.grpc.trace_exporter.OTLPSpanExporter", "endpoint"):
        '`init(transport="otlp-grpc", endpoint=…)`; `host:port`, too',
    ("opentelemetry.exporter.otlp.proto.grpc.trace_exporter.OTLPSpanExporter", "insecure"):
        "`init(insecure=…)`",
    ("opentelemetry.exporter.otlp.proto.grpc.trace_exporter.OTLPSpanExporter", "headers"):
        "`init(headers={…})`",
    ("opentelemetry.exporter.otlp.proto.grpc.trace_exporter.OTLPSpanExporter", "timeout"):
        "`init(timeout_s=…)`",
    ("opentelemetry.exporter.otlp.proto.grpc.trace_exporter.OTLPSpanExporter", "credentials"):
        "`init(ca_file=…, cert_file=…, key_file=…)`",
    ("opentelemetry.exporter.jaeger.thrift.JaegerExporter", "collector_endpoint"):
        "`init(endpoint=…)`",
}  # fmt: skip
"""Keyword arguments that change; all others of a moved name are as they were."""

REQUIREMENTS = {
    "jaeger-client": "tracekit-jaeger[opentracing]",
    "flask-opentracing": "tracekit-jaeger[flask,opentracing]",
    "grpcio-opentracing": "tracekit-jaeger[grpc,opentracing]",
    "django-opentracing": "tracekit-jaeger",
    "requests-opentracing": "tracekit-jaeger[requests]",
    "fastapi-opentracing": "tracekit-jaeger",
    "starlette-opentracing": "tracekit-jaeger",
    "celery-opentracing": "tracekit-jaeger",
    "opentelemetry-exporter-jaeger": "tracekit-jaeger",
    "opentelemetry-exporter-jaeger-thrift": "tracekit-jaeger",
    "opentelemetry-exporter-jaeger-proto-grpc": "tracekit-jaeger[otlp]",
    "opentracing-instrumentation": "opentracing-instrumentation tornado<6",
    "threadloop": "",
}
"""Distributions, as requirements name them, and what to require instead ("": nothing)."""

_ROWS = {row.old: row for row in (*LIBRARIES, *NAMES)}


def row_of(name: str) -> Row | None:
    """Return the row of a dotted name: its own, or that of what it is part of."""
    while name:
        if name in _ROWS:
            return _ROWS[name]
        name = name.rpartition(".")[0]
    return None
