"""The answer that ``requests`` gives: when its body is over, and so the exchange."""

from __future__ import annotations

import sys
import weakref
from typing import TYPE_CHECKING, Any

from urllib3.exceptions import HTTPError

from tracekit._calls.http_client import EXCHANGE, Dropped

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import FrameType

    from requests import Response

    from tracekit._calls.http_client import ClientExchange

_VERSIONS = {10: "1.0", 11: "1.1", 20: "2"}


def follow(exchange: ClientExchange, response: Response) -> None:
    """Note the status; end with the body, which may be read long after this returns."""
    raw: Any = response.raw
    retries = getattr(getattr(raw, "retries", None), "history", None)
    version = _VERSIONS.get(getattr(raw, "version", 0))
    exchange.answered(int(response.status_code or 0), version, len(retries) if retries else 0)
    release = getattr(type(raw), "release_conn", None)
    if getattr(raw, "connection", None) is None:
        release = None  # nothing is left on the wire: a mock's, or a body that has been read
    try:
        # urllib3 gives the connection back exactly when it is done with the body, whichever way
        # the body is read; the response itself must not be part of a reference cycle.
        if release is not None:
            dropped = Dropped(exchange)
            raw.release_conn = _Release(dropped, release, raw)
            setattr(response, EXCHANGE, dropped)
            return
    except (AttributeError, TypeError):
        pass  # an adapter of somebody else's, with a body of its own kind
    exchange.finish()


class _Release:
    """The ``release_conn`` of one urllib3 response."""

    def __init__(self, dropped: Dropped, release: Callable[[Any], None], raw: object) -> None:
        self._dropped = dropped
        self._release = release
        self._raw = weakref.ref(raw)

    def __call__(self) -> None:
        self._dropped.exchange.finish(_raised_by(sys._getframe(1)))
        raw = self._raw()
        if raw is not None:
            self._release(raw)


def _raised_by(caller: FrameType) -> BaseException | None:
    """Return the error that urllib3 met while it read, if that is why it gives the connection back.

    Another one may be around: that of a request whose failure the program is just handling. Ours
    is on its way through the frame of urllib3's that calls.
    """
    error = sys.exc_info()[1]
    if isinstance(error, HTTPError) and error.__traceback__ is not None:
        package = caller.f_globals.get("__name__", "").partition(".")[0]
        if package == "urllib3" and error.__traceback__.tb_frame is caller:
            return error
    return None
