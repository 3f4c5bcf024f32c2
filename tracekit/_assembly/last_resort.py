"""Who speaks, where a program has not set up logging: Python's last resort prints bare messages."""

from __future__ import annotations

import copy
import logging


class _NamedLastResort(logging.Handler):
    """Puts ``tracekit:`` before what Python's handler of last resort would print.

    It stands on our own logger and is silent as soon as the program has a handler of its own, on
    any logger that our records reach.
    """

    def emit(self, record: logging.LogRecord) -> None:
        """Hand a named copy on; drop nothing that would have been printed, add nothing."""
        last = logging.lastResort
        if last is None or record.levelno < last.level or self._is_heard(record.name):
            return
        named = copy.copy(record)
        named.msg = f"tracekit: {record.msg}"
        last.handle(named)

    def _is_heard(self, name: str) -> bool:
        # (Not ``getLogger``: its lock may be held for good, by a program that was interrupted in
        # the midst of logging; and we hold the one of this handler, which others wait for.)
        logger = logging.Logger.manager.loggerDict.get(name)
        while isinstance(logger, logging.Logger):
            if any(handler is not self for handler in logger.handlers):
                return True
            logger = logger.parent if logger.propagate else None
        return False


def name_last_resort() -> None:
    """Have our messages named where nobody handles them. Once per process."""
    logging.getLogger("tracekit").addHandler(_NamedLastResort())
