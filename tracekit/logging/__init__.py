"""Bind log records to traces, and write them as JSON.

::

    undo = tracekit.logging.install()
    logging.basicConfig(format="%(levelname)s %(message)s trace=%(trace_id)s")

Every record gets ``trace_id`` and ``span_id`` (lower-case hex, as Jaeger's search takes them, ""
when no span is current), ``trace_sampled`` and ``service`` (the program's own if it has one, else
the name that tracing was given, else ""). Safe before ``tracekit.init`` and without it.
"""

from __future__ import annotations

import logging
import threading
from typing import TYPE_CHECKING, Any

from opentelemetry import trace

from tracekit._calls.lifecycle import message_of
from tracekit.logging._json import JsonFormatter
from tracekit.logging._stamp import Stamp as _Stamp

if TYPE_CHECKING:
    from collections.abc import Callable, MutableMapping

    from opentelemetry.util.types import AttributeValue

    from tracekit.logging._stamp import AnyTracing

__all__ = ["JsonFormatter", "TraceContextFilter", "install", "structlog_processor"]

_lock = threading.Lock()


def install(
    *, tracing: AnyTracing = None, span_events: int | str | None = None
) -> Callable[[], None]:
    """Put the fields on every log record from now on; return the undo. Any thread may call it.

    A record whose ``extra`` names a field of the span keeps that value as ``extra_<name>``: they
    always speak of the current span. A ``service`` of the program's own stays where it is.
    ``span_events`` is a level (``logging.WARNING``, ``"WARNING"``): records from that level on
    also become events of the current span. Installed twice, the first one stays and the second's
    undo does nothing.
    """
    level = None if span_events is None else _level(span_events)
    stamp = _Stamp(tracing)
    with _lock:
        if getattr(logging.Logger.makeRecord, "_tracekit", None) is not None:
            return lambda: None
        hooks = _Hooks(stamp, level)
    return hooks.undo


class TraceContextFilter(logging.Filter):
    """Puts the fields on the records that pass a handler or logger: ``install`` for one of them.

    A record that has them (from ``install``, or from another process) keeps them.
    """

    def __init__(self, name: str = "", *, tracing: AnyTracing = None) -> None:
        super().__init__(name)
        self._stamp = _Stamp(tracing)

    def filter(self, record: logging.LogRecord) -> bool:
        """Add the fields; let through what ``logging.Filter`` lets through."""
        self._stamp.complete(record)
        return bool(super().filter(record))


def structlog_processor(
    _logger: object, _method: str, event: MutableMapping[str, Any]
) -> MutableMapping[str, Any]:
    """Add the fields to a structlog event (put it before the renderer)."""
    _Stamp(None).put(event)
    return event


class _Hooks:
    """``Logger.makeRecord`` and ``Logger.handle``, replaced until ``undo``.

    Not a record factory: fields that the factory sets make ``Logger`` raise KeyError over an
    ``extra`` of the same name, and a factory set later would be one without them.
    """

    def __init__(self, stamp: _Stamp, level: int | None) -> None:
        self._active = True
        telling = threading.local()  # what a span logs over an event becomes no event of its own
        make, handle = logging.Logger.makeRecord, logging.Logger.handle

        def make_record(*args: Any, **kwargs: Any) -> logging.LogRecord:  # noqa: ANN401 (Logger's)
            record = make(*args, **kwargs)
            if self._active:
                try:
                    stamp.put(record.__dict__)
                    if level is None or record.levelno < level or hasattr(telling, "now"):
                        return record
                    telling.now = True
                    try:
                        _add_event(record)
                    finally:
                        del telling.now
                except (
                    Exception
                ):  # a record or a span of an odd kind: the program's logging goes on
                    return record
            return record

        def handle_record(logger: logging.Logger, record: logging.LogRecord) -> None:
            if self._active:
                stamp.complete(record)  # made by hand, or received from elsewhere
            handle(logger, record)

        make_record._tracekit = self  # type: ignore[attr-defined]
        self._ours = {"makeRecord": make_record, "handle": handle_record}
        self._theirs = {"makeRecord": make, "handle": handle}
        for name, hook in self._ours.items():
            setattr(logging.Logger, name, hook)

    def undo(self) -> None:
        """Put back what was there, unless somebody has put something over ours since."""
        with _lock:
            self._active = False
            for name, hook in self._ours.items():
                if getattr(logging.Logger, name) is hook:
                    setattr(logging.Logger, name, self._theirs[name])


def _level(level: int | str) -> int:
    number = logging.getLevelName(level) if isinstance(level, str) else level
    if not isinstance(number, int):
        raise ValueError(f"span_events is a level of logging, not {level!r}")  # noqa: TRY004
    return number


def _add_event(record: logging.LogRecord) -> None:
    """Tell the current span what was logged."""
    span = trace.get_current_span()
    if not span.is_recording():
        return
    try:
        message = record.getMessage()
    except Exception:  # logging reports that itself, to whoever wrote the call
        message = record.msg if isinstance(record.msg, str) else type(record.msg).__name__
    attributes: dict[str, AttributeValue] = {
        "level": record.levelname,
        "logger": record.name,
        "message": message,
    }
    error = record.exc_info[1] if record.exc_info else None
    if error is not None:
        attributes["exception.type"] = type(error).__qualname__
        attributes["exception.message"] = message_of(error)
    span.add_event("log", attributes)
