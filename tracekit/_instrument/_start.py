"""What happens in each interpreter under ``tracekit run``, before the program's first import."""

from __future__ import annotations

import os
import sys

from tracekit._display import quoted
from tracekit._instrument._launch import RUN_OPTIONS, Options, other_launcher


def start() -> None:
    """Start tracing as the environment says, and instrument. Never raises; stderr says what failed.

    The handle gives way to the first ``init`` of the program's own.
    """
    options = Options.read(os.environ.get(RUN_OPTIONS, ""))
    try:
        other = other_launcher(os.environ.get("PYTHONPATH", ""))
        if other is not None:
            _say(f"{other} is about to trace this program as well; tracekit leaves it alone")
            return
        _start(options)
    except (Exception, SystemExit) as error:
        _say(f"not traced: {type(error).__name__}: {quoted(error)}")


def _start(options: Options) -> None:
    # Not before the other launcher is told.
    from tracekit._assembly import ending  # noqa: PLC0415
    from tracekit._assembly.init import init  # noqa: PLC0415
    from tracekit._instrument._imports import Imports  # noqa: PLC0415
    from tracekit._instrument.instrumented import Choice, Instrumented  # noqa: PLC0415

    if options.as_jaeger_client:
        from tracekit.jaeger_client._alias import alias  # noqa: PLC0415 - not the whole bridge

        alias()
    tracing = init()
    tracing.gives_way = True
    if options.verbose:
        _say(f"{sys.executable}: {tracing.settings.summary()}")

    def uvicorn_is_there(last: bool) -> bool:
        del last
        from tracekit._instrument import _uvicorn  # noqa: PLC0415

        try:
            _uvicorn.attend(ending.drain)
        except Exception as error:
            _say(f"uvicorn may end with spans unsent: {type(error).__name__}: {quoted(error)}")
        return True

    if tracing.settings.reporter.drain_on_sigterm:
        Imports().wait_for("uvicorn.server", uvicorn_is_there)
    done = Instrumented(None)
    told = (lambda name: _say(f"on: {name}")) if options.verbose else None
    done._begin(Choice.of(None, (), None), told)
    if options.verbose:
        _say(f"waiting for the import of: {', '.join(done.waiting) or 'nothing'}")


def _say(line: str) -> None:
    if sys.stderr is not None:
        sys.stderr.write(f"tracekit run: [{os.getpid()}] {line}\n")
