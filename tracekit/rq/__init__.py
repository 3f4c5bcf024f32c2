"""Trace RQ: what is enqueued, and what workers make of it.

::

    undo = tracekit.rq.instrument()

Whoever enqueues has a producer span; its context travels in the job's ``meta``, under the key
``tracekit``. Each run has a consumer span below it. A work horse, which leaves by ``os._exit``,
sends what it has first, within the exit budget.
"""

# ruff: noqa: ANN401 (RQ says of none of its objects what they are)

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

try:
    from rq import Queue, suspension
    from rq.job import Job
    from rq.scheduler import RQScheduler
    from rq.worker import Worker
    from rq.worker_pool import WorkerPool
except ImportError as error:
    raise ImportError("tracekit.rq needs RQ: pip install 'tracekit-jaeger[rq]'") from error

from opentelemetry import trace

from tracekit._assembly.handle import HasTracing, Tracing, later
from tracekit._calls.messaging import Messages, quietly
from tracekit._calls.patch import Instrumentation, Patch

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["instrument"]

_META = "tracekit"
_ENQUEUE = ("enqueue_call", "enqueue_at", "enqueue_many")
"""What every other way to enqueue comes by; all make their jobs by ``create_job``."""
_instrumentation = Instrumentation()


def instrument(*, tracing: Tracing | HasTracing | None = None) -> Callable[[], None]:
    """Trace every queue and job in this process, sender or worker; return the undo.

    A second call changes nothing and returns the first one's undo. Any thread may call it. Raises
    ``TypeError`` for what is no handle.
    """
    edge = _Edge(Messages(later(tracing), "tracekit.rq", "rq"))
    return _instrumentation.once(lambda: _install(edge))


def _install(edge: _Edge) -> Callable[[], None]:
    patches = [Patch(Queue, name, edge.enqueuing) for name in _ENQUEUE if hasattr(Queue, name)]
    patches.append(Patch(Queue, "create_job", edge.creating))
    patches.append(Patch(Job, "perform", edge.performing))
    # What a worker, or the command that starts one, says to Redis by itself.
    own = (
        (Worker, "__init__"),
        (Worker, "work"),
        (RQScheduler, "work"),
        (WorkerPool, "start"),
        (suspension, "is_suspended"),  # the command asks before there is a worker
    )
    patches.extend(Patch(whose, name, quietly) for whose, name in own)

    def undo() -> None:
        edge.active = False
        for patch in patches:
            patch.undo()

    return undo


class _Edge:
    """RQ's methods, with spans. What jobs are is read with care, and no span stops one."""

    active = True

    def __init__(self, messages: Messages) -> None:
        self._messages = messages

    def enqueuing(self, original: Callable[..., Any]) -> Callable[..., Any]:
        """Return a method of ``Queue`` with a producer span around it."""

        @functools.wraps(original)
        def enqueue(queue: Queue, *args: Any, **named: Any) -> object:
            if not self.active:
                return original(queue, *args, **named)
            with self._messages.sending(str(queue.name)):
                return original(queue, *args, **named)

        return enqueue

    def creating(self, original: Callable[..., Any]) -> Callable[..., Any]:
        """Return ``Queue.create_job`` that has what is current written into the job."""

        @functools.wraps(original)
        def create_job(queue: Queue, *args: Any, **named: Any) -> object:
            job = original(queue, *args, **named)
            if self.active:
                self._put(job, queue)
            return job

        return create_job

    def performing(self, original: Callable[..., Any]) -> Callable[..., Any]:
        """Return ``Job.perform`` with a consumer span around it."""

        @functools.wraps(original)
        def perform(job: Job, *args: Any, **named: Any) -> object:
            run = self._begin(job) if self.active else None
            if run is None:
                return original(job, *args, **named)
            try:
                result = original(job, *args, **named)
            except BaseException as error:
                run.finish(error)
                raise
            run.finish()
            return result

        return perform

    def _put(self, job: Any, queue: Queue) -> None:
        try:
            span = trace.get_current_span()
            # Whoever makes a job without enqueuing it has a span of his own, or none.
            if span.is_recording() and getattr(span, "name", None) == f"send {queue.name}":
                what = _name(job)
                if what is not None:
                    span.update_name(f"send {what}")
                _describe(span, job)
            headers: dict[str, object] = {}
            self._messages.put(headers)
            if headers:
                job.meta = {**(job.meta or {}), _META: headers}
        except Exception:
            self._messages.complain("a job is enqueued without its trace")

    def _begin(self, job: Any) -> Any:
        try:
            headers = (job.meta or {}).get(_META)
            run = self._messages.begin(
                _name(job) or str(job.origin), headers if isinstance(headers, dict) else {}
            )
            if run is not None and run.span.is_recording():
                _describe(run.span, job)
        except Exception:
            self._messages.complain("tracing a job failed; it runs untraced")
            return None
        return run


def _name(job: Any) -> str | None:
    """Return the function of a job, which cannot be told of one with a broken payload."""
    name = job.func_name
    return name if isinstance(name, str) and name else None


def _describe(span: trace.Span, job: Any) -> None:
    span.set_attribute("messaging.message.id", str(job.id))
    span.set_attribute("messaging.destination.name", str(job.origin))
