"""Trace Celery: what is sent, and what workers make of it.

::

    undo = tracekit.celery.instrument()

Whoever sends a task has a producer span, whose context travels in the message's headers; the run
has a consumer span below it, in whatever process, pool or host, and so has each retry. Eager tasks
run below whatever is current. Calls that a task makes carry the headers of the mesh on.
"""

# ruff: noqa: ANN401 (Celery says of none of its objects what they are)

from __future__ import annotations

import functools
import sys
from typing import TYPE_CHECKING, Any

try:
    from celery import Celery, signals
except ImportError as error:
    raise ImportError(
        "tracekit.celery needs Celery: pip install 'tracekit-jaeger[celery]'"
    ) from error

from opentelemetry import trace

from tracekit._assembly.handle import HasTracing, Tracing, later
from tracekit._calls.messaging import Consuming, Messages, quietly, unheard
from tracekit._calls.patch import Instrumentation, Patch
from tracekit._context import attach

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["instrument"]

_RUN = "_tracekit_run"
"""Where the request of a running task holds its span: each run has a request of its own."""
_instrumentation = Instrumentation()


def instrument(*, tracing: Tracing | HasTracing | None = None) -> Callable[[], None]:
    """Trace every application of Celery in this process, sender or worker; return the undo.

    A second call changes nothing and returns the first one's undo. Any thread may call it. Raises
    ``TypeError`` for what is no handle.
    """
    edge = _Edge(Messages(later(tracing), "tracekit.celery", "celery"))
    return _instrumentation.once(lambda: _install(edge))


def _install(edge: _Edge) -> Callable[[], None]:
    patch = Patch(Celery, "send_task", edge.sending)
    handlers = (
        (signals.before_task_publish, edge.publish),
        (signals.task_prerun, edge.begin),
        (signals.task_postrun, edge.finish),
        (signals.worker_init, edge.work),
        (signals.beat_init, edge.beat),
    )
    for signal, handler in handlers:
        signal.connect(handler, weak=False)

    def undo() -> None:
        edge.active = False
        for each in (patch, *edge.quiet):
            each.undo()
        for signal, handler in handlers:
            signal.disconnect(handler)

    return undo


class _Edge:
    """Celery's hooks. What it hands them is read with care, and nothing they do stops a task."""

    active = True

    def __init__(self, messages: Messages) -> None:
        self._messages = messages
        self.quiet: list[Patch] = []
        """What was put behind a worker's own doings."""

    def sending(self, original: Callable[..., Any]) -> Callable[..., Any]:
        """Return ``Celery.send_task`` with a producer span around it."""

        @functools.wraps(original)
        def send_task(app: Celery, name: object, *args: object, **named: object) -> object:
            if not self.active:
                return original(app, name, *args, **named)
            with self._messages.sending(str(name)):
                return original(app, name, *args, **named)

        return send_task

    def work(self, **told: Any) -> None:
        """Keep the polling of a worker from being traced; a run has a context of its own."""
        del told
        attach(unheard())  # for as long as the worker lives, on its own thread
        try:
            self._work_on_green_threads()
        except Exception:
            self._messages.complain("what a worker says to its broker by itself is traced")

    def beat(self, **told: Any) -> None:
        """Keep from being traced what the clock says by itself; what it sends has its spans."""
        del told
        attach(unheard())
        beat: Any = sys.modules.get("celery.beat")
        pidbox: Any = getattr(beat, "BeatPidbox", None)  # since 5.7
        if hasattr(pidbox, "_loop") and not hasattr(pidbox._loop, "__wrapped__"):
            self.quiet.append(Patch(pidbox, "_loop", quietly))

    def _work_on_green_threads(self) -> None:
        """Keep what pools of green threads do on others than this one from being traced, too."""
        pools = [sys.modules.get(f"celery.concurrency.{kind}") for kind in ("gevent", "eventlet")]
        if self.quiet or not any(pools):
            return
        # Only a worker needs them.
        from celery.concurrency import base  # noqa: PLC0415
        from celery.worker.pidbox import gPidbox  # noqa: PLC0415
        from kombu.asynchronous.timer import Entry  # noqa: PLC0415

        own: list[tuple[object, str]] = [
            (base, "apply_target"),  # acknowledges, then has the task run, then tells of it
            (gPidbox, "loop"),
            (Entry, "__call__"),
        ]
        own += [(pool, "apply_timeout") for pool in pools if hasattr(pool, "apply_timeout")]
        self.quiet += [Patch(whose, name, quietly) for whose, name in own]

    def publish(
        self, sender: object = None, headers: Any = None, routing_key: Any = None, **told: Any
    ) -> None:
        """Write the current span into a message that is about to go."""
        del told
        if not isinstance(headers, dict):
            return
        span = trace.get_current_span()
        if _is_ours(span, str(sender)):
            span.set_attribute("celery.task_name", str(sender))
            _describe(span, headers.get, routing_key)
        self._messages.put(headers)

    def begin(self, task: Any = None, **told: Any) -> None:
        """Begin a run: the signal comes on the thread, greenlet or process that works."""
        del told
        try:
            request = task.request
            held = vars(request)
            headers = None
            if not held.get("is_eager"):
                own = held.get("headers")  # protocol 1, and what the sender gave
                headers = {**(own if isinstance(own, dict) else {}), **held}
            run = held[_RUN] = self._messages.begin(str(task.name), headers)
            if run is not None and run.span.is_recording():
                run.span.set_attribute("celery.task_name", str(task.name))
                where = held.get("delivery_info")
                key = where.get("routing_key") if isinstance(where, dict) else None
                _describe(run.span, held.get, key)
        except Exception:
            self._messages.complain("tracing a task failed; it runs untraced")

    def finish(self, task: Any = None, state: Any = None, retval: Any = None, **told: Any) -> None:
        """End a run: a failure that the task announces (``throws``), a retry, is no error."""
        del told
        try:
            run = vars(task.request).pop(_RUN, None)
            if not isinstance(run, Consuming):
                return
            failed = state == "FAILURE" and isinstance(retval, BaseException)
            if isinstance(state, str):
                run.span.set_attribute("celery.state", state)
            run.finish(retval if failed and not isinstance(retval, task.throws or ()) else None)
        except Exception:
            self._messages.complain("the span of a task is incomplete")


def _is_ours(span: trace.Span, task: str) -> bool:
    """Whether the current span is that of ``sending``: a message may go by other ways, too."""
    return span.is_recording() and getattr(span, "name", None) == f"send {task}"


_TOLD = {
    "id": "messaging.message.id",
    "root_id": "messaging.message.conversation_id",
    "retries": "celery.retries",
    "eta": "celery.eta",
}


def _describe(span: trace.Span, told: Callable[[str], Any], routing_key: object) -> None:
    """Say what a message's headers, or the request made of them, say of it."""
    if isinstance(routing_key, str):
        span.set_attribute("messaging.destination.name", routing_key)
    for name, attribute in _TOLD.items():
        value = told(name)
        if isinstance(value, str | int) and (value or name != "retries"):
            span.set_attribute(attribute, value)
