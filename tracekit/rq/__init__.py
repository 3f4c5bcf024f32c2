"""Trace RQ: what is enqueued, and what workers make of it.

::

    undo = tracekit.rq.instrument()

Whoever enqueues has a producer span; its context travels in the job's ``meta``, under the key
``tracekit``. Each run has a consumer span below it. A work horse, which leaves by ``os._exit``,
sends what it has first, within the exit budget. Callbacks of a job run below its run's span.
"""

# ruff: noqa: ANN401 (RQ says of none of its objects what they are)

from __future__ import annotations

import functools
import sys
from typing import TYPE_CHECKING, Any

try:
    from rq import Queue, suspension, worker
    from rq.job import Job
    from rq.scheduler import RQScheduler
    from rq.worker_pool import WorkerPool
except ImportError as error:
    raise ImportError("tracekit.rq needs RQ: pip install 'tracekit-jaeger[rq]'") from error

from opentelemetry import trace

from tracekit._assembly.handle import HasTracing, Tracing, later
from tracekit._calls.messaging import Messages, quietly, unheard
from tracekit._calls.patch import Instrumentation, Patch
from tracekit._context import attach, detach
from tracekit._process.farewell import expect_os_exit

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

__all__ = ["instrument"]

_META = "tracekit"
_RUN = "_tracekit_run"
"""Where a job that was run holds the context of that, for its callbacks."""
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
    patches.extend(Patch(whose, name, edge.calling_back) for whose, name in _callbacks())
    patches.extend(Patch(whose, name, quietly) for whose, name in _own())
    patches.append(Patch(_base(), "main_work_horse", _leaving))
    if any(
        "main_work_horse" in word for word in sys.orig_argv[-1:]
    ):  # a spawned horse, on its way there
        attach(unheard())

    def undo() -> None:
        edge.active = False
        for patch in patches:
            patch.undo()

    return undo


def _base() -> Any:
    """Return what all classes of workers come from."""
    return getattr(worker, "BaseWorker", worker.Worker)


def _own() -> Iterator[tuple[Any, str]]:
    """Yield what a process of RQ's, or the command that starts one, says to Redis by itself."""
    yield _base(), "__init__"
    yield _base(), "work"
    yield RQScheduler, "work"
    yield RQScheduler, "acquire_locks"
    yield WorkerPool, "start"
    yield suspension, "is_suspended"  # the command asks before there is a worker
    try:
        from rq.cron import CronScheduler  # noqa: PLC0415 - since RQ 2.4
    except ImportError:
        return
    yield CronScheduler, "start"


def _callbacks() -> Iterator[tuple[Any, str]]:
    """Yield what has the callbacks of a job called, with the job as its first argument."""
    holder = sys.modules.get("rq.worker.base")  # since RQ 3
    for when in ("success", "failure", "stopped"):
        name = f"execute_{when}_callback"
        if hasattr(Job, name):
            yield Job, name
        elif hasattr(holder, name):
            yield holder, name


def _leaving(original: Callable[..., Any]) -> Callable[..., Any]:
    """Return what a work horse does, forked or spawned; it ends by ``os._exit``."""

    @functools.wraps(original)
    def main_work_horse(*args: Any, **named: Any) -> object:
        expect_os_exit()
        return original(*args, **named)

    return main_work_horse


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

    def calling_back(self, original: Callable[..., Any]) -> Callable[..., Any]:
        """Return what runs a callback of a job, below the span of the job's run."""

        @functools.wraps(original)
        def call_back(job: Job, *args: Any, **named: Any) -> object:
            context = vars(job).pop(_RUN, None)
            if context is None:
                return original(job, *args, **named)
            token = attach(context)
            try:
                return original(job, *args, **named)
            finally:
                detach(token)

        return call_back

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
            if run is not None:
                vars(job)[_RUN] = run.context
                if run.span.is_recording():
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
