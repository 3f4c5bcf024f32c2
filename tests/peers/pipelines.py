"""Our pipeline and OpenTelemetry's, with nowhere behind them: for the benches of these groups."""

from __future__ import annotations

import sys
from pathlib import Path

from opentelemetry.sdk.trace import TracerProvider, sampling
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult

sys.path.insert(0, str(Path(__file__).parents[1] / "support"))
from nowhere import to_nowhere


class NowhereExporter(SpanExporter):
    """Takes spans and keeps none."""

    def export(self, spans):
        return SpanExportResult.SUCCESS


class Pipelines:
    """Both, which sample all or nothing."""

    def __init__(self, *, sampled):
        self.ours = to_nowhere(sampled=sampled)
        self.theirs = TracerProvider(
            sampler=sampling.ParentBased(sampling.ALWAYS_ON if sampled else sampling.ALWAYS_OFF)
        )
        self.theirs.add_span_processor(BatchSpanProcessor(NowhereExporter()))

    def flush(self):
        self.ours.flush()
        self.theirs.force_flush()
