"""Log records as lines of JSON."""

from __future__ import annotations

import json
import logging
import time
from typing import TYPE_CHECKING, Any

from tracekit.logging._stamp import SPAN_FIELDS, Stamp

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Literal

    from tracekit.logging._stamp import AnyTracing


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
        self._stamp = Stamp(tracing)
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
