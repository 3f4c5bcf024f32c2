"""One request on the wire, and when it is over: with the response's body."""

from __future__ import annotations

import sys
import traceback
import weakref
from typing import TYPE_CHECKING, Any, cast

from urllib3.exceptions import HTTPError

from tracekit._calls import http
from tracekit._calls.lifecycle import message_of
from tracekit._calls.redaction import redact_text

if TYPE_CHECKING:
    from collections.abc import Callable

    from opentelemetry import trace
    from requests import Response

    from tracekit._calls.lifecycle import Call
    from tracekit._calls.semconv import Semconv

EXCHANGE = "_tracekit_exchange"
"""Where a response holds its ``Exchange``."""


class Exchange:
    """One request on the wire until its body is read, closed or dropped."""

    def __init__(self, call: Call, semconv: Semconv) -> None:
        self.call = call
        self._semconv = semconv
        self._status = 0
        self._attributes: http.Attributes = {}

    def follow(self, response: Response) -> None:
        """Note the status; end with the body, which may be read long after this returns."""
        raw: Any = response.raw
        self._status = int(response.status_code or 0)
        if self.call.span.is_recording():
            self._attributes = _answer(self._status, raw, self._semconv)
        release = getattr(type(raw), "release_conn", None)
        try:
            # urllib3 gives the connection back exactly when it is done with the body, whichever
            # way the body is read; the response itself must not be part of a reference cycle.
            if release is not None:
                raw.release_conn = _Release(self, release, raw)
                setattr(response, EXCHANGE, self)
                return
        except (AttributeError, TypeError):
            pass  # an adapter of somebody else's, with a body of its own kind
        self.finish()

    def finish(self, error: BaseException | None = None) -> None:
        """End the span, once."""
        kind = description = None
        if error is not None:
            kind, description = http.error_type(error), redact_text(message_of(error))
            if self.call.span.is_recording():
                _record(self.call.span, error, description)
        elif self._status >= 400:
            kind = str(self._status)
        self.call.finish(error_type=kind, description=description, attributes=self._attributes)

    def __del__(self) -> None:
        self.finish()  # a response that nobody read or closed


class _Release:
    """The ``release_conn`` of one urllib3 response."""

    def __init__(self, exchange: Exchange, release: Callable[[Any], None], raw: object) -> None:
        self._exchange = exchange
        self._release = release
        self._raw = weakref.ref(raw)

    def __call__(self) -> None:
        error = sys.exc_info()[1]
        self._exchange.finish(error if isinstance(error, HTTPError) else None)
        raw = self._raw()
        if raw is not None:
            self._release(raw)


def _record(span: trace.Span, error: BaseException, message: str) -> None:
    """Add the exception event; urllib3 and requests quote the whole URL in what they raise."""
    stack = "".join(traceback.format_exception(type(error), error, error.__traceback__))
    span.record_exception(
        cast("Exception", error),
        {"exception.message": message, "exception.stacktrace": redact_text(stack)},
    )


def _answer(status: int, raw: object, semconv: Semconv) -> http.Attributes:
    found: http.Attributes = dict.fromkeys(http.STATUS_KEYS[semconv], status) if status else {}
    if semconv != "old":
        version = {10: "1.0", 11: "1.1", 20: "2"}.get(getattr(raw, "version", 0))
        if version:
            found["network.protocol.version"] = version
        retries = getattr(getattr(raw, "retries", None), "history", None)
        if retries:
            found["http.request.resend_count"] = len(retries)
    return found
