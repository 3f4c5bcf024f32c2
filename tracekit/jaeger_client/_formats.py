"""What a tracer's ``codecs`` are before a program adds its own."""

from __future__ import annotations

from typing import TYPE_CHECKING

from opentracing import Format

from tracekit.jaeger_client.codecs import Codec, TextCodec, ZipkinCodec, ZipkinSpanFormat
from tracekit.opentracing import SpanContext, _carriers

if TYPE_CHECKING:
    from tracekit._assembly.handle import Tracing


class PipelineCodec(Codec):
    """One of OpenTracing's formats as the pipeline is configured for it."""

    def __init__(self, tracing: Tracing, form: str) -> None:
        self._tracing, self._form = tracing, form

    def inject(self, span_context: SpanContext, carrier: object) -> None:
        """Write ``span_context`` into ``carrier``."""
        _carriers.inject(self._tracing, span_context, self._form, carrier)

    def extract(self, carrier: object) -> SpanContext | None:
        """Return what ``carrier`` says, or None."""
        return _carriers.extract(self._tracing, self._form, carrier)


def formats_of(tracing: Tracing) -> dict[str, Codec]:
    """Return a codec for each format that ``jaeger_client`` knew."""
    settings = tracing.settings
    formats: dict[str, Codec] = {
        form: PipelineCodec(tracing, form)
        for form in (Format.TEXT_MAP, Format.HTTP_HEADERS, Format.BINARY)
    }
    if "jaeger" not in settings.propagation:
        # Another propagation was for HTTP alone; queues and the like went on as they were.
        names = settings.jaeger_headers
        formats[Format.TEXT_MAP] = TextCodec(
            False, names.trace_id, names.baggage_prefix, names.debug_id, names.baggage
        )
    return {**formats, ZipkinSpanFormat: ZipkinCodec()}
