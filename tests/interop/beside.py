"""One program, traced by tracekit or by a peer, over the peer's API: WHO PEER SERVICE PORTS."""

from __future__ import annotations

import importlib.metadata
import sys
import time

who, peer, service, compact, otlp = sys.argv[1:]


def by_opentracing(tracer):
    """Make a tree of eight spans, two of them following their sibling."""
    with tracer.start_active_span("request") as outer:
        for number in range(3):
            with tracer.start_active_span(f"step {number}") as inner:
                inner.span.set_tag("n", number)
                inner.span.log_kv({"event": "done", "n": number})
                with tracer.start_active_span("query"):
                    pass
        outer.span.set_tag("error", True)
        tracer.start_span("last", child_of=outer.span).finish()


def by_opentelemetry(tracer):
    """Make the same tree."""
    with tracer.start_as_current_span("request"):
        for number in range(3):
            with tracer.start_as_current_span(f"step {number}", attributes={"n": number}) as inner:
                inner.add_event("done", {"n": number})
                with tracer.start_as_current_span("query"):
                    pass
        tracer.start_span("last").end()


def ours(**fields):
    import tracekit  # noqa: PLC0415 - each program has its own

    return tracekit.init(
        service, environ={}, sampler_type="const", sampler_param=1, set_global=False, **fields
    )


if peer == "jaeger-client" and who == peer:
    import jaeger_client

    reporting = {"reporting_host": "127.0.0.1", "reporting_port": int(compact)}
    config = {"sampler": {"type": "const", "param": 1}, "local_agent": reporting}
    made = jaeger_client.Config(config, service_name=service, validate=True).initialize_tracer()
    by_opentracing(made)
    closed, end = made.close(), time.monotonic() + 10
    while not closed.done() and time.monotonic() < end:
        time.sleep(0.01)
elif peer == "jaeger-client":
    import tracekit.opentracing

    tracing = ours(agent_port=int(compact))
    by_opentracing(tracekit.opentracing.tracer(tracing))
    tracing.shutdown(10)
elif who == peer:
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor

    provider = TracerProvider(resource=Resource({"service.name": service}))
    exporter = OTLPSpanExporter(f"http://127.0.0.1:{otlp}/v1/traces")
    provider.add_span_processor(BatchSpanProcessor(exporter))
    by_opentelemetry(provider.get_tracer("t"))
    provider.shutdown()
else:
    tracing = ours(transport="otlp-http", endpoint=f"http://127.0.0.1:{otlp}/v1/traces")
    by_opentelemetry(tracing.provider.get_tracer("t"))
    tracing.shutdown(10)
print(importlib.metadata.version(peer))
