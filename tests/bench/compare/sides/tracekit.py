"""tracekit, as ``init`` builds it."""

from __future__ import annotations

import logging

import tracekit
from tracekit.propagation import Propagator

WIRES = {
    "udp": lambda ports: {"agent_host": "127.0.0.1", "agent_port": ports["udp"]},
    "http": lambda ports: {
        "transport": "otlp-http",
        "endpoint": f"http://127.0.0.1:{ports['http']}/v1/traces",
    },
    "grpc": lambda ports: {
        "transport": "otlp-grpc",
        "endpoint": f"http://127.0.0.1:{ports['grpc']}",
    },
}


class Side:
    """See ``measure.py`` for what each method is asked for."""

    def __init__(self, name, ports, *, sampled=True, disabled=False, queue=None):
        logging.disable()
        self._ports = ports
        fields = {"queue_size": queue} if queue else {}
        words = name.split("-")
        self._native = "pure" not in words
        wire = next((word for word in words if word in WIRES), "udp")
        self.tracing = tracekit.init(
            "bench",
            environ={},
            sampler_type="const",
            sampler_param=int(sampled),
            disabled=disabled,
            native=self._native,
            **WIRES[wire](ports),
            **fields,
        )
        self.tracer = self.tracing.tracer("bench")

    def kinds(self):
        """Make a handle for each way to treat a span; ``use`` chooses among them."""
        options = {
            "sampled": {"sampler_param": 1},
            "kept": {"sampler_param": 0, "keep": "errors,slow:5s"},
            "not sampled": {"sampler_param": 0},
        }
        self._handles = {
            name: tracekit.init(
                "bench",
                environ={},
                set_global=False,
                sampler_type="const",
                transport="udp",
                agent_host="127.0.0.1",
                agent_port=self._ports["udp"],
                **fields,
            )
            for name, fields in options.items()
        }
        return list(options)

    def use(self, kind):
        self.tracing = self._handles[kind]
        self.tracer = self.tracing.tracer("bench")

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
        return self.tracing.stats().queued

    def flush(self, timeout_s=10.0):
        self.tracing.flush(timeout_s)

    def encoders(self):
        from tracekit._protocols import Loss  # noqa: PLC0415
        from tracekit.encoding import (  # noqa: PLC0415
            jaeger_binary,
            jaeger_compact,
            native_frames,
            otlp,
        )

        spans = self.live(1000)
        for span in spans:
            span.end()
        native = native_frames() if self._native else None
        formats = {
            "Jaeger compact": jaeger_compact(native=native),
            "Jaeger binary": jaeger_binary(native=native),
            "OTLP": otlp(native=native),
        }
        process = {name: each.process(spans[0].resource) for name, each in formats.items()}

        def encode(name):
            encoder = formats[name]
            for index in range(0, len(spans), 256):  # about what a datagram holds
                frames = []
                for at in range(index, index + 256, 64):  # as the worker takes them
                    encoder.frames(spans[at : at + 64], made := [], 65_000)
                    frames += made
                encoder.seal(process[name], frames, 1, Loss())

        return len(spans), {name: lambda name=name: encode(name) for name in formats}

    def propagators(self):
        from opentelemetry import trace  # noqa: PLC0415

        context = trace.set_span_in_context(self.tracer.start_span("client"))
        return {
            name: (Propagator((name,)).extract, _inject(name, context))
            for name in ("jaeger", "b3", "b3single", "w3c")
        }

    def flask(self, app):
        import tracekit.flask  # noqa: PLC0415

        tracekit.flask.init_app(app, tracing=self.tracing)

    def grpc_server(self):
        import tracekit.grpc  # noqa: PLC0415

        return [tracekit.grpc.server_interceptor(self.tracing)]

    def grpc_channel(self, channel):
        import tracekit.grpc  # noqa: PLC0415

        return tracekit.grpc.trace_channel(channel, tracing=self.tracing)

    def aio_server(self):
        import tracekit.grpc.aio  # noqa: PLC0415

        return [tracekit.grpc.aio.server_interceptor(self.tracing)]

    def aio_channel(self, make):
        import tracekit.grpc.aio  # noqa: PLC0415

        return tracekit.grpc.aio.trace_channel(make(), tracing=self.tracing)

    def requests(self, session):
        import tracekit.requests  # noqa: PLC0415

        tracekit.requests.instrument(session, tracing=self.tracing)

    def logging(self):
        import tracekit.logging  # noqa: PLC0415

        tracekit.logging.install()


def _inject(name, context):
    propagator = Propagator((name,))
    return lambda: propagator.inject({}, context)
