"""Any OpenTelemetry ``SpanExporter`` as the wire: it gets the spans themselves, in batches.

Queue, batches, accounting, flush and the end of the process stay the pipeline's. How often an
exporter tries, and for how long, is its own affair: what it reports as failed is dropped.
"""

from __future__ import annotations

import contextvars
import threading
import time
from typing import TYPE_CHECKING

from opentelemetry.sdk.trace.export import SpanExportResult

from tracekit._display import quoted
from tracekit._protocols import Frame, Loss, Payload, SendResult

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence

    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import ReadableSpan
    from opentelemetry.sdk.trace.export import SpanExporter

MAX_BATCH_SPANS = 512
"""What OpenTelemetry's batch processor hands to an exporter at once."""
_GLANCE_S = 0.05
_MAX_WAIT_S = 1.0
"""For one export, before the worker looks after other things: flushes, warnings about losses."""
_MAX_CLOSE_S = 1.0


class Unencoded:
    """The format of a wire that takes spans: the frame of a span is the span."""

    def process(self, resource: Resource) -> bytes:
        """Return nothing: spans of several resources may share a batch."""
        return b""

    def frame(self, span: ReadableSpan) -> Frame:
        """Return the span."""
        return Frame(b"", span=span)

    def overhead_bytes(
        self, process: bytes, frames: int, scopes: Collection[bytes], seq_no: int, loss: Loss
    ) -> int:
        """Return the number of spans: the only size that a batch of them has."""
        return frames

    def seal(self, process: bytes, frames: Sequence[Frame], seq_no: int, loss: Loss) -> Payload:
        """Return a payload without a body."""
        return Payload(b"", frames)


class ExporterTransport:
    """Hands batches to ``exporter``. One thread at a time.

    An export cannot be told when to end. So it runs on a thread of its own; a ``send`` whose
    deadline passes meanwhile answers *come back*, and the next one waits on for the same export.
    Nothing is exported twice. ``max_spans`` share a batch.
    """

    max_retry_s: float | None = None

    def __init__(
        self,
        exporter: SpanExporter,
        max_spans: int = MAX_BATCH_SPANS,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.max_bytes = max_spans  # a span has no bytes here, and counts as one
        self._exporter = exporter
        self._clock = clock
        self._running: _Job | None = None
        self._exporting: Payload | None = None
        self._closed = False

    def send(self, payload: Payload, deadline: float) -> SendResult:
        """Export ``payload``, or go on waiting for the export that is under way."""
        job = self._running
        if job is None:
            job = self._running = _Job(lambda: self._export(payload))
            self._exporting = payload
        if not job.wait(min(deadline - self._clock(), _MAX_WAIT_S)):
            return SendResult.paced(_GLANCE_S)
        self._running = None
        if self._exporting is not payload:  # that was an earlier one, given up by a shutdown
            return SendResult.paced(0.0)
        return job.result

    def close(self) -> None:
        """Shut the exporter down, once; wait for it for a second at most."""
        if not self._closed:
            self._closed = True
            _Job(self._shutdown).wait(_MAX_CLOSE_S)

    def _export(self, payload: Payload) -> SendResult:
        spans = [frame.span for frame in payload.frames if frame.span is not None]
        result = self._exporter.export(spans)
        if result is SpanExportResult.SUCCESS:
            return SendResult.sent()
        return SendResult.failed(f"{type(self._exporter).__name__} could not export")

    def _shutdown(self) -> SendResult:
        self._exporter.shutdown()
        return SendResult.sent()


class _Job:
    """A call on a daemon thread, in the caller's context (in which tracing is off)."""

    def __init__(self, work: Callable[[], SendResult]) -> None:
        self.result = SendResult.failed("it has not ended")
        self._work = work
        self._done = threading.Event()
        context = contextvars.copy_context()
        try:
            threading.Thread(
                target=context.run, args=(self._run,), name="tracekit-exporter", daemon=True
            ).start()
        except RuntimeError:  # a subinterpreter without daemons, or one that is about to end
            self._run()

    def wait(self, timeout_s: float) -> bool:
        """Return whether it ended within ``timeout_s`` seconds."""
        return self._done.wait(min(max(0.0, timeout_s), threading.TIMEOUT_MAX))

    def _run(self) -> None:
        try:
            self.result = self._work()
        except Exception as error:
            self.result = SendResult.failed(f"{type(error).__name__}: {quoted(error)}")
        finally:
            self._done.set()
