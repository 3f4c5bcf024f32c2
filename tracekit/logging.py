"""Bind log records to traces, and write them as JSON.

::

    undo = tracekit.logging.install()
    logging.basicConfig(format="%(levelname)s %(message)s trace=%(trace_id)s")

Every record gets ``trace_id`` and ``span_id`` (lower-case hex, as Jaeger's search takes them, ""
when no span is current), ``trace_sampled`` and ``service`` (the program's own if it has one, else
the name that tracing was given, else ""). Safe before ``tracekit.init`` and without it.
"""

from __future__ import annotations

import json
import logging
import threading
import time
from typing import TYPE_CHECKING, Any

from opentelemetry import trace

from tracekit._assembly.handle import HasTracing, Tracing, resolve
from tracekit._calls.lifecycle import message_of
from tracekit._context import SPAN_KEY, get_current
from tracekit.tracing import Span, UnsampledSpan
from tracekit.tracing._locked_span import SPAN

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, MutableMapping
    from typing import Literal

    from opentelemetry.util.types import AttributeValue

    AnyTracing = Tracing | HasTracing | None

__all__ = ["JsonFormatter", "TraceContextFilter", "install", "structlog_processor"]

SPAN_FIELDS = ("trace_id", "span_id", "trace_sampled")
_UNNAMED = "default"
"""The source of a service's name that nobody gave."""
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


class JsonFormatter(logging.Formatter):
    """One JSON object a line, in the shape that Elasticsearch, Fluentd and Kibana setups index.

    ``@timestamp`` (UTC, ISO 8601, milliseconds), ``level``, ``logger``, ``message``, ``service``;
    ``trace_id``, ``span_id`` and ``trace_sampled`` inside a span; ``exception`` and ``stack`` as
    text; then whatever ``extra`` held. What JSON has no form for is written as text. ``defaults``
    are constant fields. Takes the arguments of ``logging.Formatter`` so that any configuration
    file can name it; ``fmt``, ``datefmt`` and ``style`` have no meaning here.
    """

    def __init__(
        self,
        fmt: str | None = None,
        datefmt: str | None = None,
        style: Literal["%", "{", "$"] = "%",
        validate: bool = True,
        *,
        defaults: Mapping[str, Any] | None = None,
        tracing: AnyTracing = None,
    ) -> None:
        del fmt, datefmt, style, validate
        super().__init__()
        self._defaults = dict(defaults or {})
        self._stamp = _Stamp(tracing)
        self._second = (0, "")

    def format(self, record: logging.LogRecord) -> str:
        """Return the line, without its end."""
        self._stamp.complete(record)
        held = record.__dict__
        line: dict[str, Any] = {
            "@timestamp": self._timestamp(record.created),
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
        }
        if self._defaults:
            line.update(self._defaults)
        self._put_service(line, held["service"])
        if held["trace_id"]:
            line["trace_id"] = held["trace_id"]
            line["span_id"] = held["span_id"]
            line["trace_sampled"] = held["trace_sampled"]
        if record.exc_info and not record.exc_text:
            record.exc_text = self.formatException(record.exc_info)
        if record.exc_text:
            line["exception"] = record.exc_text
        if record.stack_info:
            line["stack"] = self.formatStack(record.stack_info)
        for name, value in held.items():
            if name not in _STANDARD:
                line[name if name not in line else f"extra_{name}"] = value
        return _dumps(line)

    def _put_service(self, line: dict[str, Any], service: object) -> None:
        """Add the record's service; constant fields of the program win over our name of it."""
        if type(service) is str and not service:
            return
        if "service" not in line:
            line["service"] = service
        elif type(service) is not str or service != self._stamp.service():
            line["extra_service"] = service  # not ours but of the record's ``extra``

    def _timestamp(self, created: float) -> str:
        whole = int(created)
        second, text = self._second  # one tuple: threads may overwrite but never mix it
        if second != whole:
            text = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(whole))
            self._second = (whole, text)
        return f"{text}.{int((created - whole) * 1000):03d}Z"


_STANDARD = frozenset(
    {
        *vars(logging.makeLogRecord({})),
        *SPAN_FIELDS,
        "service",
        "message",
        "asctime",
        "taskName",
        "color_message",
    }
)
"""Attributes of a record that are not the user's ``extra``."""

_MAX_INTEGER = 1 << 64
"""Python refuses to write some thousands of digits, and no index takes more than 64 bits."""

_encode = json.JSONEncoder(allow_nan=False, default=str, check_circular=True).encode


def _dumps(line: dict[str, Any]) -> str:
    try:
        return _encode(line)
    except Exception:  # NaN, cycles, keys of odd types, a __str__ that raises
        return _encode({name: _plain(value) for name, value in line.items()})


def _plain(value: object) -> str | int | bool | None:
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, int) and abs(value) <= _MAX_INTEGER:
        return value
    try:
        return repr(value)
    except Exception:
        return f"<{type(value).__name__}>"


class _Stamp:
    """What the fields are, now and here."""

    def __init__(self, tracing: AnyTracing) -> None:
        if tracing is not None:
            resolve(tracing)
        self._tracing = tracing
        self._named: tuple[object, str] = (None, "")  # settings, and what they call the service

    def complete(self, record: logging.LogRecord) -> None:
        """Add the fields unless the record has been stamped where it was made."""
        try:
            held = record.__dict__
            if "trace_sampled" not in held or "service" not in held or "trace_id" not in held:
                self.put(held)
        except Exception:  # a record or a span of an odd kind: the program's logging goes on
            return

    def put(self, held: MutableMapping[str, Any]) -> None:
        """Add the fields. What the user had under a span's moves to ``extra_<name>``."""
        trace_id, span_id, sampled = _ids()
        if "service" not in held:
            held["service"] = self.service()
        if "trace_id" in held or "span_id" in held or "trace_sampled" in held:
            _meet(held, (trace_id, span_id, sampled))
            return
        held["trace_id"] = trace_id
        held["span_id"] = span_id
        held["trace_sampled"] = sampled

    def service(self) -> str:
        """Return what the service was named; "" where nobody did."""
        try:
            settings = resolve(self._tracing).settings
        except Exception:  # logging must work whatever state tracing is in
            return ""
        known, name = self._named  # one tuple: threads may overwrite but never mix it
        if settings is not known:
            unnamed = settings.sources.get("service_name") == _UNNAMED
            name = "" if unnamed else settings.service_name
            self._named = settings, name
        return name


def _ids() -> tuple[str, str, bool]:
    """Return trace id, span id and whether it is sampled, of the current span if there is one."""
    span = get_current().get(SPAN_KEY)
    tell = getattr(span, "_ids", None) if span.__class__ in _OURS else None
    if tell is not None:  # no context is made, and no abstract class asked
        trace_id, span_id, flags, _, _, _ = tell()
    elif span is not None and isinstance(span, trace.Span):
        trace_id, span_id, _, flags, _, valid = span.get_span_context()
        if not valid:
            return "", "", False
    else:
        return "", "", False
    # As hexadecimal digits of bytes: a third of what a format of 32 digits costs.
    return trace_id.to_bytes(16, "big").hex(), span_id.to_bytes(8, "big").hex(), bool(flags & 1)


_OURS = (Span, UnsampledSpan, SPAN)


def _meet(held: MutableMapping[str, Any], fields: tuple[str, str, bool]) -> None:
    """Add a span's fields where the user has some of the same name."""
    for name, value in zip(SPAN_FIELDS, fields, strict=True):
        if name in held:
            theirs = held[name]
            # Of their values only plain ones are compared: others may raise or answer at length.
            if not value or (type(theirs) is type(value) and theirs == value):
                continue  # we have nothing to say: the user's own id stands
            held[f"extra_{name}"] = theirs
        held[name] = value


class _Hooks:
    """``Logger.makeRecord`` and ``Logger.handle``, replaced until ``undo``.

    Not a record factory: fields that the factory sets make ``Logger`` raise KeyError over an
    ``extra`` of the same name, and a factory set later would be one without them.
    """

    def __init__(self, stamp: _Stamp, level: int | None) -> None:
        self._active = True
        make, handle = logging.Logger.makeRecord, logging.Logger.handle

        def make_record(*args: Any, **kwargs: Any) -> logging.LogRecord:  # noqa: ANN401 (Logger's)
            record = make(*args, **kwargs)
            if self._active:
                try:
                    stamp.put(record.__dict__)
                    if level is not None and record.levelno >= level:
                        _add_event(record)
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
