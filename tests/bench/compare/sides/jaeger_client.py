"""jaeger-client 4.8, the last there was."""

from __future__ import annotations

import logging
import time

from jaeger_client import Config, thrift
from jaeger_client.codecs import B3Codec, TextCodec
from jaeger_client.metrics import MetricsFactory
from jaeger_client.thrift_gen.agent import Agent
from thrift.protocol import TCompactProtocol
from thrift.transport import TTransport

FLUSH_S = 0.05


class Counting(MetricsFactory):
    """Its spans wait in callbacks of a loop before they are queued: only its metrics tell."""

    def __init__(self):
        self.counts = {}

    def create_counter(self, name, tags=None):
        key = (name, *sorted((tags or {}).items()))
        self.counts[key] = 0

        def add(value):
            self.counts[key] += value

        return add

    def reported(self):
        return sum(
            self.counts.get(("jaeger:reporter_spans", ("result", result)), 0)
            for result in ("ok", "err", "dropped")
        )

    def finished(self):
        return self.counts.get(("jaeger:finished_spans",), 0)


class Side:
    """See ``measure.py`` for what each method is asked for."""

    def __init__(self, name, ports, *, sampled=True, disabled=False, queue=None):
        logging.disable()
        self._metrics = Counting()
        self.tracer = Config(
            config={
                "enabled": not disabled,
                "sampler": {"type": "const", "param": sampled},
                "local_agent": {"reporting_host": "127.0.0.1", "reporting_port": ports["udp"]},
                "reporter_flush_interval": FLUSH_S,
                **({"reporter_queue_size": queue} if queue else {}),
            },
            service_name="bench",
            metrics_factory=self._metrics,
        ).new_tracer()

    def trace(self, spans):
        start = self.tracer.start_active_span
        with start("root") as root:
            self._fill(root.span)
            for _ in range(spans - 1):
                with start("child") as scope:
                    span = scope.span
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
        return self._metrics.finished() - self._metrics.reported()

    def flush(self, timeout_s=10.0):
        # It has no flush: its consumer waits for ten spans or for the flush interval.
        began = time.monotonic()
        while self.queued() and time.monotonic() < began + timeout_s:
            time.sleep(0.005)

    def encoders(self):
        class Memory(TTransport.TMemoryBuffer):
            class io_loop:  # noqa: N801 - the generated client asks for it
                spawn_callback = staticmethod(lambda *_arguments: None)

        spans = self.live(1000)
        process = thrift.make_process("bench", {}, 1024)
        for span in spans:
            span.end_time = time.time()

        def encode():
            for index in range(0, len(spans), 10):  # as its reporter does
                batch = thrift.make_jaeger_batch(spans=spans[index : index + 10], process=process)
                factory = TCompactProtocol.TCompactProtocolFactory()
                Agent.Client(Memory(), factory).emitBatch(batch)

        return len(spans), {"Jaeger compact": encode}

    def propagators(self):
        context = self.tracer.start_span("client").context
        formats = {"jaeger": TextCodec(), "b3": B3Codec()}
        return {
            name: (each.extract, lambda each=each: each.inject(context, {}))
            for name, each in formats.items()
        }
