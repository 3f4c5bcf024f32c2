"""The public surface as programs use it: what must pass type checkers, and what must not.

A line with the remark *error* has to be rejected by each of them; nothing else may be.
"""

from __future__ import annotations

import logging
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import requests
from flask import Flask
from opentelemetry.sdk.trace.export import ConsoleSpanExporter

import tracekit
import tracekit.exporter
import tracekit.flask
import tracekit.logging
import tracekit.mesh
import tracekit.requests
import tracekit.testing
import tracekit.wsgi

if TYPE_CHECKING:
    from opentelemetry.trace import Span, TracerProvider

version: str = tracekit.__version__
tracing = tracekit.init(
    "shop",
    environ={},
    strict=False,
    set_global=True,
    queue_size=5000,
    tags={"team": "payments"},
    propagation=["jaeger", "b3"],
    redact="email,/x+/",
    keep=["errors", "slow:500ms", lambda root, spans: len(spans) > 100],
    sampler_type="const",
    sampler_param=1,
    flush_s="500ms",
    transport="otlp-http",
)
tracekit.init("shop", transport=tracekit.testing.MemoryTransport())
tracekit.init("shop", exporter=ConsoleSpanExporter())
tracekit.init(queue_sise=5)  # error
tracekit.init(queue_size="many")  # error
tracekit.init(7)  # error

provider: TracerProvider = tracing.provider
flushed: bool = bool(tracing.flush(timeout_s=1.0))
sent: int = tracing.stats().sent
problem: str | None = tracekit.stats().last_problem
figures: dict[str, object] = tracekit.stats().as_dict()
second = tracing.add_exporter("otlp-http", endpoint="http://c:4318/v1/traces", name="new")
second.flush(1.0)
dropped: int = second.stats().dropped["queue_full"]
second.remove()
tracing.add_exporter(exporter=ConsoleSpanExporter())
tracing.add_exporter(queue_sise=5)  # error
told: str = tracekit.report()
tracing.shutdown()

with tracekit.get_tracer(__name__).start_as_current_span("think") as span:
    span.set_attribute("customer", 392)
current: Span = tracekit.current_span()


@tracekit.wrap
def work(number: int) -> str:
    return str(number)


worked: str = work(1)
work("one")  # error
pool = tracekit.wrap_executor(ThreadPoolExecutor(2))
tracekit.flush(1.0)
tracekit.shutdown(1.0)
tracekit.drain_on(15)

settings = tracekit.Settings.from_env({}, strict=True)
settings = tracekit.Settings.resolve("shop", environ={}, queue_size=5)
settings = tracekit.Settings.resolve("shop", environ={}, queue_sise=5)  # error
flat: dict[str, object] = settings.flat()
for problems in settings.problems:
    name: str = problems.name

app = Flask(__name__)
tracekit.flask.FlaskTracing(app, exclude=("/healthz",), response_headers=True)
tracekit.flask.init_app(app, tracing, exclude=("/healthz",))
tracekit.flask.init_app(app, nonsense=1)  # error
tracekit.flask.FlaskTracing(app, nonsense=1)  # error
tracekit.wsgi.middleware(app.wsgi_app, tracing)
tracekit.wsgi.middleware(app.wsgi_app, nonsense=1)  # error
undo = tracekit.requests.instrument(requests.Session(), tracing=tracing, allow=("end-user",))
undo()
headers: dict[str, str] = tracekit.mesh.forward_headers({"x-request-id": "1"})
tracekit.logging.install()()
logging.getLogger().addFilter(tracekit.logging.TraceContextFilter())
tracekit.exporter.JaegerExporter(agent_host_name="agent", agent_port=6831)
tracekit.exporter.JaegerExporter(agent_port="6831")  # error

fake = tracekit.testing.tracing(service_name="shop", queue_size=5)
fake.sink.assert_empty()
tracekit.testing.tracing(queue_sise=5)  # error
tracekit.nonsense  # error  # noqa: B018
