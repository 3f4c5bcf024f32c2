"""``jaeger_client.utils``: what programs import of it, under the name that it had."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from tracekit._assembly.resource import jaeger_tags

if TYPE_CHECKING:
    import logging

__all__ = ["ErrorReporter", "get_boolean", "local_ip"]

_MEANINGS = {"false": False, "0": False, "none": False, "true": True, "1": True}


def get_boolean(string: object, default: bool) -> bool:
    """Return what a text or number of a configuration means; ``default`` if it means nothing."""
    return _MEANINGS.get(str(string).lower(), default)


def local_ip() -> str:
    """Return the address of the interface that leads outside."""
    return jaeger_tags()["ip"]


class ErrorReporter:
    """Logs an error at most once in ``log_interval_minutes``, the first time after so long."""

    def __init__(
        self,
        metrics: object,
        logger: logging.Logger | None = None,
        log_interval_minutes: float = 15,
    ) -> None:
        self.logger = logger
        self.log_interval_minutes = log_interval_minutes
        self._last_error_reported_at = time.time()

    def error(self, message: str, *args: object) -> None:
        """Log ``message`` with its arguments, if that is due."""
        now = time.time()
        if self.logger and now > self._last_error_reported_at + self.log_interval_minutes * 60:
            self._last_error_reported_at = now
            self.logger.error(message, *args)
