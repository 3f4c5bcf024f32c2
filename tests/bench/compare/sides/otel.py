"""opentelemetry-sdk with its batch processor, OTLP exporters and instrumentations."""

from __future__ import annotations

import logging
import os

from opentelemetry import trace
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF, ALWAYS_ON, ParentBased


class Side:
    """See ``measure.py`` for what each method is asked for."""

    patches_classes = ("requests",)

    def __init__(self, name, ports, *, sampled=True, disabled=False, queue=None):
        logging.disable()
        if disabled:
            os.environ["OTEL_SDK_DISABLED"] = "true"
        self.provider = TracerProvider(
            sampler=ParentBased(ALWAYS_ON if sampled else ALWAYS_OFF),
            resource=Resource.create({"service.name": "bench"}),
        )
        self._batches = BatchSpanProcessor(_exporter(name, ports), max_queue_size=queue)
        self.provider.add_span_processor(self._batches)
        trace.set_tracer_provider(self.provider)
        self.tracer = trace.get_tracer("bench")

    def trace(self, spans):
        start = self.tracer.start_as_current_span
        with start("root") as root:
            self._fill(root)
            for _ in range(spans - 1):
                with start("child") as span:
                    span.set_attribute("http.request.method", "GET")
                    span.set_attribute("http.response.status_code", 200)
                    span.set_attribute("cache.hit", True)

    def _fill(self, span):
        span.set_attribute("http.request.method", "GET")
        span.set_attribute("http.response.status_code", 200)
        span.set_attribute("cache.hit", True)

    def live(self, spans):
        kept = [self.tracer.start_span("child") for _ in range(spans)]
        for span in kept:
            self._fill(span)
        return kept

    def queued(self):
        return len(self._batches._batch_processor._queue)

    def flush(self, timeout_s=10.0):
        self.provider.force_flush(int(timeout_s * 1000))

    def encoders(self):
        from opentelemetry.exporter.otlp.proto.common.trace_encoder import (  # noqa: PLC0415
            encode_spans,
        )

        spans = self.live(1000)
        for span in spans:
            span.end()
        ended = [span._readable_span() for span in spans]
        return len(spans), {"OTLP": lambda: encode_spans(ended).SerializeToString()}

    def propagators(self):
        from opentelemetry.propagators.b3 import B3MultiFormat, B3SingleFormat  # noqa: PLC0415
        from opentelemetry.propagators.jaeger import JaegerPropagator  # noqa: PLC0415
        from opentelemetry.trace.propagation.tracecontext import (  # noqa: PLC0415
            TraceContextTextMapPropagator,
        )

        context = trace.set_span_in_context(self.tracer.start_span("client"))
        formats = {
            "jaeger": JaegerPropagator(),
            "b3": B3MultiFormat(),
            "b3single": B3SingleFormat(),
            "w3c": TraceContextTextMapPropagator(),
        }
        return {
            name: (each.extract, lambda each=each: each.inject({}, context))
            for name, each in formats.items()
        }

    def flask(self, app):
        from opentelemetry.instrumentation.flask import FlaskInstrumentor  # noqa: PLC0415

        FlaskInstrumentor().instrument_app(app, tracer_provider=self.provider)

    def grpc_server(self):
        from opentelemetry.instrumentation.grpc import server_interceptor  # noqa: PLC0415

        return [server_interceptor(tracer_provider=self.provider)]

    def grpc_channel(self, channel):
        from opentelemetry.instrumentation.grpc import client_interceptor  # noqa: PLC0415
        from opentelemetry.instrumentation.grpc.grpcext import intercept_channel  # noqa: PLC0415

        return intercept_channel(channel, client_interceptor(tracer_provider=self.provider))

    def aio_server(self):
        from opentelemetry.instrumentation.grpc import aio_server_interceptor  # noqa: PLC0415

        return [aio_server_interceptor(tracer_provider=self.provider)]

    def aio_channel(self, make):
        from opentelemetry.instrumentation.grpc import aio_client_interceptors  # noqa: PLC0415

        return make(aio_client_interceptors(tracer_provider=self.provider))

    def requests(self, session):
        from opentelemetry.instrumentation.requests import RequestsInstrumentor  # noqa: PLC0415

        RequestsInstrumentor().instrument(tracer_provider=self.provider)

    def logging(self):
        from opentelemetry.instrumentation.logging import LoggingInstrumentor  # noqa: PLC0415

        LoggingInstrumentor().instrument(
            tracer_provider=self.provider,
            inject_trace_context=True,
            enable_log_auto_instrumentation=False,
        )


def _exporter(name, ports):
    # One of them is imported, as in a service.
    if name == "otel-grpc":
        from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import (  # noqa: PLC0415
            OTLPSpanExporter as Grpc,
        )

        return Grpc(endpoint=f"http://127.0.0.1:{ports['grpc']}", insecure=True)
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import (  # noqa: PLC0415
        OTLPSpanExporter as Http,
    )

    return Http(endpoint=f"http://127.0.0.1:{ports['http']}/v1/traces")
