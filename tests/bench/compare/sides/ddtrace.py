"""ddtrace without an agent: its writer posts msgpack to the sink; everything else is off."""

from __future__ import annotations

import logging
import os

# It reads its environment while it is imported, so none of it may be imported before this.
OFF = (
    "DD_INSTRUMENTATION_TELEMETRY_ENABLED",
    "DD_REMOTE_CONFIGURATION_ENABLED",
    "DD_TRACE_STARTUP_LOGS",
    "DD_CRASHTRACKING_ENABLED",
    "DD_TRACE_STATS_COMPUTATION_ENABLED",
    "DD_TRACE_HEALTH_METRICS_ENABLED",
    "DD_RUNTIME_METRICS_ENABLED",
    "DD_APPSEC_ENABLED",
    "DD_IAST_ENABLED",
    "DD_DYNAMIC_INSTRUMENTATION_ENABLED",
    "DD_SYMBOL_DATABASE_UPLOAD_ENABLED",
)


class Side:
    """See ``measure.py`` for what each method is asked for."""

    patches_classes = ("flask", "requests")

    def __init__(self, name, ports, *, sampled=True, disabled=False, queue=None):
        logging.disable()
        os.environ.update(dict.fromkeys(OFF, "false"))
        os.environ.update(
            DD_SERVICE="bench",
            DD_TRACE_AGENT_URL=f"http://127.0.0.1:{ports['http']}",
            DD_TRACE_ENABLED=str(not disabled),
            DD_TRACE_RATE_LIMIT="-1",
            DD_TRACE_SAMPLING_RULES=f'[{{"sample_rate": {float(sampled)}}}]',
        )
        # It counts bytes, less than 400 for such a span; its own default is 20 MiB.
        size = max(20 << 20, (queue or 0) * 400)
        os.environ["DD_TRACE_WRITER_BUFFER_SIZE_BYTES"] = str(size)
        from ddtrace.trace import tracer  # noqa: PLC0415

        self.tracer = tracer

    def trace(self, spans):
        start = self.tracer.trace
        with start("root") as root:
            self._fill(root)
            for _ in range(spans - 1):
                with start("child") as span:
                    span.set_tag("http.request.method", "GET")
                    span.set_tag("http.response.status_code", 200)
                    span.set_tag("cache.hit", True)

    def _fill(self, span):
        span.set_tag("http.request.method", "GET")
        span.set_tag("http.response.status_code", 200)
        span.set_tag("cache.hit", True)

    def live(self, spans):
        kept = [self.tracer.start_span("child") for _ in range(spans)]
        for span in kept:
            self._fill(span)
        return kept

    def queued(self):
        return 0  # its buffer is bytes that no span goes back from; it never fills in these cells

    def flush(self, timeout_s=10.0):
        self.tracer.flush()

    def encoders(self):
        from ddtrace.internal._encoding import MsgpackEncoderV04, MsgpackEncoderV05  # noqa: PLC0415

        spans = self.live(1000)

        def encode(made):
            encoder = made(1 << 24, 1 << 24)
            for index in range(0, len(spans), 25):
                encoder.put(spans[index : index + 25])
            encoder.encode()

        return len(spans), {
            "msgpack 0.4": lambda: encode(MsgpackEncoderV04),
            "msgpack 0.5": lambda: encode(MsgpackEncoderV05),
        }

    def propagators(self):
        from ddtrace.propagation import http  # noqa: PLC0415

        context = self.tracer.start_span("client").context
        formats = {
            "b3": http._B3MultiHeader,
            "b3single": http._B3SingleHeader,
            "w3c": http._TraceContext,
        }
        return {
            name: (each._extract, lambda each=each: each._inject(context, {}))
            for name, each in formats.items()
        }

    def flask(self, app):
        from ddtrace import patch  # noqa: PLC0415

        patch(flask=True)

    def grpc_server(self):
        from ddtrace import patch  # noqa: PLC0415

        patch(grpc=True)
        return []

    def grpc_channel(self, channel):
        return channel

    def aio_server(self):
        return self.grpc_server()

    def aio_channel(self, make):
        return make()

    def requests(self, session):
        from ddtrace import patch  # noqa: PLC0415

        patch(requests=True)

    def logging(self):
        from ddtrace import patch  # noqa: PLC0415

        patch(logging=True)
