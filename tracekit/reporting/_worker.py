"""The thread that empties the queue: woken by count or by interval, never once per span."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tracekit.reporting._pipeline import Pipeline


def start_worker(pipeline: Pipeline) -> threading.Thread:
    """Start the worker of ``pipeline``; RuntimeError when no thread can be started."""
    pipeline.queue.wakeup.renew()
    worker = threading.Thread(target=_work, args=(pipeline,), name="tracekit-worker", daemon=True)
    worker.start()
    return worker


def _work(pipeline: Pipeline) -> None:
    stay = threading.Lock()  # before gevent may have put locks of its own in the place of real ones
    stay.acquire()
    try:
        _tend(pipeline)
    finally:
        if not pipeline.queue.closed:  # something ended this thread: gevent's kill, SystemExit
            pipeline.worker_died()
    if pipeline.relieved:
        # To end, a thread takes locks of ``threading``, which are gevent's by now: it would make a
        # loop while the main thread makes its own, and look for itself under a name it has not.
        stay.acquire()
    pipeline.worker_done()


def _tend(pipeline: Pipeline) -> None:
    """Drain the queue until it is closed."""
    queue = pipeline.queue
    wakeup = queue.wakeup
    tick_s = pipeline.clock() + pipeline.flush_s
    due_s: float | None = None
    while not queue.closed:
        # While a receiver is to be left alone, a full queue is no reason to wake up.
        wakeup.armed = due_s is None
        wakeup.wait((tick_s if due_s is None else min(tick_s, due_s)) - pipeline.clock())
        wakeup.armed = False
        if pipeline.relieved:
            return
        pipeline.run_flush_requests()
        now = pipeline.clock()
        partial = now >= tick_s
        if partial:
            tick_s = now + pipeline.flush_s
        due_s = pipeline.work(partial=partial)
