"""What an OTLP receiver's answers mean, whichever wire brought them.

Source: the OTLP specification (retryable codes, throttling, partial success), ``google.rpc``'s
``status.proto`` and ``error_details.proto``.
"""

from __future__ import annotations

from tracekit._display import quoted
from tracekit._protobuf import DecodeError, Field, Message, Type, read

CONTENT_TYPE = "application/x-protobuf"
RETRYABLE = frozenset((429, 502, 503, 504))
"""The only statuses of HTTP after which the same request may be tried again."""
MAX_RETRY_AFTER_S = 60.0

_RESPONSE = Message(
    Field(
        1,
        Type.MESSAGE,
        "partial_success",
        Message(Field(1, Type.INT, "rejected_spans"), Field(2, Type.STRING, "error_message")),
    ),
)
_STATUS = Message(
    Field(
        3,
        Type.MESSAGE,
        "details",
        Message(Field(1, Type.STRING, "type_url"), Field(2, Type.BYTES, "value")),
        repeated=True,
    ),
)
_RETRY_INFO = Message(
    Field(
        1,
        Type.MESSAGE,
        "retry_delay",
        Message(Field(1, Type.INT, "seconds"), Field(2, Type.INT, "nanos")),
    ),
)


def rejected(response: bytes) -> tuple[int, str]:
    """Return how many spans an ``ExportTraceServiceResponse`` refuses for good, and why.

    An answer that cannot be read refuses nothing: it came with a success.
    """
    try:
        partial = read(response, _RESPONSE).get("partial_success")
    except DecodeError:
        return 0, ""
    if not isinstance(partial, dict):
        return 0, ""
    number, words = partial.get("rejected_spans"), partial.get("error_message")
    return number if isinstance(number, int) and number > 0 else 0, quoted(words or "")


def retry_delay_s(status: bytes) -> float | None:
    """Return the delay of the ``RetryInfo`` in a ``google.rpc.Status``; None: there is none."""
    try:
        details = read(status, _STATUS).get("details", [])
        for detail in details if isinstance(details, list) else ():
            if isinstance(detail, dict) and str(detail.get("type_url")).endswith(
                "/google.rpc.RetryInfo"
            ):
                return _delay_s(detail.get("value"))
    except DecodeError:
        pass
    return None


def _delay_s(retry_info: object) -> float | None:
    if not isinstance(retry_info, bytes):
        return None
    delay = read(retry_info, _RETRY_INFO).get("retry_delay", {})
    if not isinstance(delay, dict):
        return None
    seconds, nanos = delay.get("seconds", 0), delay.get("nanos", 0)
    if not isinstance(seconds, int) or not isinstance(nanos, int):
        return None
    return min(max(0.0, seconds + nanos / 1e9), MAX_RETRY_AFTER_S)
