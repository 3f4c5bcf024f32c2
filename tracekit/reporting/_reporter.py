"""The pipeline's front: an OpenTelemetry span processor that never waits and never raises."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import TYPE_CHECKING

from opentelemetry.sdk.trace import SpanProcessor

from tracekit._process.fork import ProcessState
from tracekit.reporting._pipeline import Pipeline

if TYPE_CHECKING:
    from collections.abc import Callable

    from opentelemetry.context import Context
    from opentelemetry.sdk.trace import ReadableSpan, Span

    from tracekit._protocols import Encoder, Transport
    from tracekit.reporting._intake import Intake
    from tracekit.reporting._pipeline import Worker
    from tracekit.reporting._queue import DropPolicy
    from tracekit.reporting._sender import TellSent
    from tracekit.reporting._stats import FlushResult, Stats

DEFAULT_QUEUE_SIZE = 10_000
"""Spans; chosen by measurement, see docs/explanation/accounting.md."""


MAX_OPEN_OF_OTHERS = 1 << 18
"""Open spans of other SDKs that are told apart; further ones are not sent (``unsampled``)."""


class ReportingState(ProcessState):
    """The pipeline of one process, and the open spans of other SDKs.

    Our own tracer tells of sampled spans only, of each once, and never of one that a parent
    process started (its spans say so: ``_accounted``). Spans of another SDK come unsampled as
    well, which is told apart here, and the ids of the open ones are kept (``_of_others``), so that
    one that a parent process started is known as foreign when it ends in a child.
    """

    __slots__ = ("_build", "_of_others", "count_started", "intake", "offer", "pipeline")

    def __init__(self, build: Callable[[], Pipeline]) -> None:
        super().__init__()
        self._build = build
        self.pipeline = build()
        self.count_started = self.pipeline.ledger.started.add  # at hand, for the hot path
        self.offer = self.pipeline.queue.offer
        self.intake = self.pipeline.intake
        self._of_others: set[int] = set()

    def heir(self) -> ReportingState:
        """Return a state with a pipeline of its own: what waits in this one is the parent's."""
        heir = ReportingState(self._build)
        if self.pipeline.queue.closed:  # a fork does not undo a shutdown
            heir.pipeline.queue.close()
        return heir

    def admit(self, span: ReadableSpan) -> bool:
        """Return whether another SDK's span that starts is sampled; count it if it is not."""
        context = span.get_span_context()
        if context is None or not context.trace_flags.sampled:
            self.pipeline.ledger.unsampled.add()
            return False
        if len(self._of_others) >= MAX_OPEN_OF_OTHERS:  # spans that nobody ends
            self.pipeline.ledger.unsampled.add()
            return False
        self._of_others.add(context.span_id)
        return True

    def dismiss(self, span: ReadableSpan) -> bool:
        """Return whether one that ends was counted when it started."""
        context = span.get_span_context()
        if context is None or not context.trace_flags.sampled:
            return False
        try:
            self._of_others.remove(context.span_id)
        except KeyError:
            self.pipeline.ledger.foreign.add()
            return False
        return True


class Reporter(SpanProcessor):
    """Counts spans as they start, queues them as they end, sends them from a worker thread.

    Every method is safe on any thread, in a signal handler that interrupts another one, and in
    a forked child, which gets a pipeline of its own with all figures at 0: what was queued at
    the fork is the parent's to send.

    ``encoder`` makes payloads, ``connect`` makes the transport, once per process (a forked child
    must not share a socket), ``spawn`` starts the worker (``_worker.start_worker``), ``wait``
    sleeps (a flush that waits out a pause on the caller's thread).
    ``queue_size`` in spans; ``drop_policy`` says which span goes when it is full; a span waits
    ``flush_s`` at most for others to share its payload, and ``max_batch_spans`` share one.
    """

    def __init__(
        self,
        encoder: Encoder,
        connect: Callable[[], Transport],
        *,
        spawn: Callable[[Pipeline], Worker | None],
        wait: Callable[[float], object],
        queue_size: int = DEFAULT_QUEUE_SIZE,
        drop_policy: DropPolicy = "newest",
        flush_s: float = 1.0,
        max_batch_spans: int | None = None,
        log_spans: bool = False,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.tell_sent: list[TellSent] = []
        """Whom the worker tells of each attempt to send; they must be quick and not raise."""

        def pipeline() -> Pipeline:
            return Pipeline(
                encoder,
                connect(),
                queue_size=queue_size,
                drop_policy=drop_policy,
                flush_s=flush_s,
                max_batch_spans=max_batch_spans,
                log_spans=log_spans,
                tell_sent=self.tell_sent,
                spawn=spawn,
                clock=clock,
                wait=wait,
            )

        self.encoder = encoder
        self._state = ReportingState(pipeline)

    # --- the hot path ---

    def on_start(self, span: Span, parent_context: Context | None = None) -> None:
        """Count a started span."""
        state = self._state
        if not state.mark[0]:
            state = self._now()
        try:  # (not ``getattr``: that is a call)
            ours: bool = span._accounted  # type: ignore[attr-defined]
        except AttributeError:
            ours = False
        if ours or state.admit(span):
            state.count_started()

    def on_end(self, span: ReadableSpan) -> None:
        """Queue an ended span; O(1), never waits. RecursionError, MemoryError: it is not queued."""
        state = self._state
        if not state.mark[0]:
            state = self._now()
        try:
            ours: bool = span._accounted  # type: ignore[attr-defined]
        except AttributeError:
            ours = False
        if ours or state.dismiss(span):
            state.offer(span)
            if state.intake.offer is None:
                try:  # noqa: SIM105 - that would be a call, which may fail as well
                    state.pipeline.start()
                except (RecursionError, MemoryError):
                    pass  # it is queued; a later span starts the worker

    def intake(self) -> Intake | None:
        """Return what does as ``on_start`` and ``on_end`` would for a tracer of ours.

        Good in this process only. None of one that may do more: of a subclass, or with a method of
        its own.
        """
        plain = type(self) is Reporter and vars(self).keys().isdisjoint(("on_start", "on_end"))
        return self._now().intake if plain else None

    def report(self, span: ReadableSpan) -> None:
        """Take a span that somebody else has started, ended and decided to send."""
        state = self._now()
        state.count_started()
        try:
            state.offer(span)
        except (RecursionError, MemoryError):  # the stack is full, so no call here
            ledger = state.pipeline.ledger
            for _ in ledger.finished.count:
                break
            for _ in ledger.refused.count:
                break
            return
        if state.intake.offer is None:
            try:  # noqa: SIM105 - as above
                state.pipeline.start()
            except (RecursionError, MemoryError):
                pass

    def withdraw(self, span: ReadableSpan) -> None:
        """Take an open span out of the figures again: it was sampled and is not any more."""
        ledger = self._now().pipeline.ledger
        ledger.withdrawn.add()
        ledger.unsampled.add()

    # --- for everybody ---

    def flush(self, timeout_s: float = 2.0) -> FlushResult:
        """Have what has ended sent within ``timeout_s`` seconds, on this thread if need be.

        Truthy when nothing that had ended before the call is left. From a signal handler that
        interrupted a flush on this thread it returns at once with what is left.
        """
        return self._now().pipeline.flush(timeout_s)

    def stats(self) -> Stats:
        """Return the figures of this process; the law of ``Stats`` holds in them."""
        pipeline = self._now().pipeline
        return replace(pipeline.ledger.snapshot(), last_problem=pipeline.problem)

    @property
    def in_vain(self) -> bool:
        """Whether every send so far was refused by this very host: nobody listens."""
        return self._now().pipeline.in_vain

    def shutdown(self, timeout_s: float = 2.0) -> None:
        """Refuse spans from now on, send the queued ones within ``timeout_s``, count the rest.

        Idempotent.
        """
        self._now().pipeline.close(timeout_s)

    def release(self, timeout_s: float) -> None:
        """Have the worker send what is queued within ``timeout_s``, end, and count the rest.

        For a reporter that nobody will ask again. Never waits; in a fork it does nothing.
        """
        state = self._state
        if state.mark[0]:
            state.pipeline.release(timeout_s)

    def begin_shutdown(self, timeout_s: float) -> None:
        """Refuse spans from now on and have the worker end; ``shutdown`` waits for that."""
        self._now().pipeline.begin_close(timeout_s)

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        """Flush, as OpenTelemetry calls it."""
        return bool(self.flush(timeout_millis / 1000))

    def _now(self) -> ReportingState:
        self._state = state = self._state.now()  # what the parent had queued is let go of here
        return state
