"""The thread that empties the queue: woken by count or by interval, never once per span."""

from __future__ import annotations

import logging
import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tracekit.reporting._pipeline import Pipeline

_log = logging.getLogger("tracekit")


def start_worker(pipeline: Pipeline) -> threading.Thread:
    """Start the worker of ``pipeline``; RuntimeError when no thread can be started."""
    worker = threading.Thread(target=_work, args=(pipeline,), name="tracekit-worker", daemon=True)
    worker.start()
    return worker


def _work(pipeline: Pipeline) -> None:
    queue = pipeline.queue
    bell = queue.bell
    tick_s = pipeline.clock() + pipeline.flush_s
    due_s: float | None = None
    while not queue.closed:
        # While a receiver is to be left alone, a full queue is no reason to wake up.
        bell.armed = due_s is None
        bell.wait((tick_s if due_s is None else min(tick_s, due_s)) - pipeline.clock())
        bell.armed = False
        pipeline.run_errands()
        now = pipeline.clock()
        partial = now >= tick_s
        if partial:
            tick_s = now + pipeline.flush_s
        try:
            due_s = pipeline.work(partial=partial)
        except Exception:
            _log.exception("the worker goes on after an error")
            due_s = now + pipeline.flush_s
    pipeline.retire()
