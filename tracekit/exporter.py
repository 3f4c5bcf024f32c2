"""tracekit's Jaeger wires under a plain OpenTelemetry SDK.

::

    from opentelemetry.sdk.trace.export import BatchSpanProcessor
    from tracekit.exporter import JaegerExporter

    provider.add_span_processor(BatchSpanProcessor(JaegerExporter(agent_host_name="agent")))

It takes the place of the retired ``opentelemetry-exporter-jaeger-thrift`` and has the arguments
of its constructor. ``OTEL_TRACES_EXPORTER=tracekit`` names it to an SDK that configures itself.
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING

from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult

from tracekit._assembly.wires import wire
from tracekit.encoding._facts import Told, facts_of
from tracekit.encoding._tags import as_text
from tracekit.reporting import Reporter
from tracekit.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Sequence

    from opentelemetry.sdk.trace import ReadableSpan
    from opentelemetry.util.types import AnyValue

    from tracekit._protocols import Bag, Encoder, Frame
    from tracekit.reporting import Stats
    from tracekit.reporting._pipeline import Pipeline

__all__ = ["JaegerExporter"]

_log = logging.getLogger("tracekit")

_MAX_OFFERED = 2048
_SERVICE = "service.name"


class JaegerExporter(SpanExporter):
    """Sends spans to a Jaeger agent over UDP, or to a collector as Thrift over HTTP.

    ``collector_endpoint`` (a URL, with ``username`` and ``password`` if it asks for them) beats
    ``agent_host_name`` and ``agent_port``. What is not given comes from ``JAEGER_*`` variables
    and their defaults, as in ``tracekit.init``; of what cannot be used, one warning tells.

    ``timeout`` bounds one ``export``, tries and pauses between them included, in seconds. Texts
    are cut to ``max_tag_value_length`` characters. ``udp_split_oversized_batches`` is accepted
    and changes nothing: datagrams are always filled up to their limit and never beyond, and only
    a single span that is larger than a datagram is dropped.

    Spans of several resources may come in one batch. Any thread may call it, in a forked child
    too. Nothing is raised; what was dropped, and why, is in ``stats()``.
    """

    def __init__(
        self,
        agent_host_name: str | None = None,
        agent_port: int | None = None,
        collector_endpoint: str | None = None,
        username: str | None = None,
        password: str | None = None,
        max_tag_value_length: int | None = None,
        udp_split_oversized_batches: bool | None = None,
        timeout: float | None = None,
    ) -> None:
        settings = _settings(
            agent_host=agent_host_name,
            agent_port=agent_port,
            endpoint=collector_endpoint,
            user=username,
            password=password,
            timeout_s=timeout,
        )
        self._timeout_s = settings.transport.timeout_s
        self._exit_budget_s = settings.reporter.exit_budget_s
        encoder, connect = wire(settings.transport, settings.redact)
        self._reporter = Reporter(
            encoder if max_tag_value_length is None else _Cutting(encoder, max_tag_value_length),
            connect,
            spawn=_nobody,
            wait=lambda s: time.sleep(s),  # noqa: PLW0108 - gevent may replace it after this
            queue_size=max(settings.reporter.queue_size, _MAX_OFFERED),
            max_batch_spans=settings.reporter.max_batch_spans,
        )

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """Send ``spans`` on this thread; SUCCESS when all of them are out.

        What could not be sent in time waits in a bounded queue for the next call; only what
        does not fit there is lost.
        """
        deadline_s = time.monotonic() + self._timeout_s
        lost = self._lost()
        nothing_left = True
        for first in range(0, len(spans), _MAX_OFFERED):
            for span in spans[first : first + _MAX_OFFERED]:
                self._reporter.report(span)
            nothing_left = bool(self._reporter.flush(max(0.0, deadline_s - time.monotonic())))
        complete = nothing_left and self._lost() == lost
        return SpanExportResult.SUCCESS if complete else SpanExportResult.FAILURE

    def _lost(self) -> int:
        return sum(self._reporter.stats().dropped.values())

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        """Send what earlier calls have left; True when nothing is left."""
        return self._reporter.force_flush(timeout_millis)

    def shutdown(self) -> None:
        """Send what is left within the exit budget and close the wire. Idempotent."""
        self._reporter.shutdown(self._exit_budget_s)

    def stats(self) -> Stats:
        """Return what happened to every span that this exporter was given."""
        return self._reporter.stats()


def _settings(**given: object) -> Settings:
    """Return settings for one of Jaeger's wires, whatever OpenTelemetry's variables say."""
    settings = Settings.from_fields(given, environ=os.environ)
    if settings.transport.kind not in ("udp", "http"):  # meant for metrics, logs or `init`
        given["transport"] = "udp"
        settings = Settings.from_fields(given, environ=os.environ)
    for problem in settings.problems:
        _log.warning("%s", problem)
    return settings


def _nobody(pipeline: Pipeline) -> None:
    """Start no worker: each export drains the queue on its caller's thread."""


class _Cutting:
    """An encoder of texts that are cut to ``max_length`` characters; lists are texts to Jaeger."""

    def __init__(self, encoder: Encoder, max_length: int) -> None:
        self._encoder = encoder
        self._max_length = max_length
        self.overhead_bytes = encoder.overhead_bytes
        self.seal = encoder.seal

    def process(self, resource: Resource) -> bytes:
        """Encode ``resource`` with its texts cut, but for the name of the service."""
        name = {key: resource.attributes[key] for key in (_SERVICE,) if key in resource.attributes}
        return self._encoder.process(
            Resource({**self._cut(resource.attributes), **name}, resource.schema_url)
        )

    def frame(self, span: ReadableSpan) -> Frame:
        """Encode ``span`` with its texts cut."""
        facts = facts_of(span)
        return self._encoder.frame(
            Told(
                facts._replace(
                    attributes=self._cut(facts.attributes),
                    events=[(name, at, self._cut_bag(bag)) for name, at, bag in facts.events],
                    links=[(context, self._cut_bag(bag)) for context, bag in facts.links],
                )
            )
        )

    def _cut_bag(self, bag: Bag) -> Bag:
        return self._cut(bag[0]), bag[1]

    def _cut(self, attributes: Mapping[str, AnyValue]) -> dict[str, AnyValue]:
        end = self._max_length
        return {
            key: as_text(value)[:end] if isinstance(value, str | list | tuple | Mapping) else value
            for key, value in attributes.items()
        }
