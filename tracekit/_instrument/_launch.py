"""How a program is started so that its interpreters, and those that they start, are traced."""

from __future__ import annotations

import os
import sys

TYPE_CHECKING = False  # as type checkers know it: the launcher is to be gone within milliseconds
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

SITE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "site")
"""The directory of our ``sitecustomize``; on ``PYTHONPATH`` it is all that tracing needs."""

RUN_OPTIONS = "TRACEKIT_RUN"
"""What ``tracekit run`` tells the interpreters under it: no setting, not to be set by hand."""

_LAUNCHERS = {
    "opentelemetry-instrument": "opentelemetry/instrumentation/auto_instrumentation",
    "ddtrace-run": "ddtrace/bootstrap",
}
_VERBOSE, _AS_JAEGER_CLIENT = "verbose", "jaeger-client"


class Options:
    """What ``tracekit run`` was told that its interpreters must know."""

    __slots__ = ("as_jaeger_client", "verbose")

    def __init__(self, *, verbose: bool = False, as_jaeger_client: bool = False) -> None:
        self.verbose = verbose
        self.as_jaeger_client = as_jaeger_client

    @classmethod
    def read(cls, written: str) -> Options:
        """Return the options of a variable's text; unknown ones are left out."""
        words = {word.strip() for word in written.split(",")}
        return cls(verbose=_VERBOSE in words, as_jaeger_client=_AS_JAEGER_CLIENT in words)

    def write(self) -> str:
        """Return the text of the variable."""
        words = (
            _VERBOSE if self.verbose else "",
            _AS_JAEGER_CLIENT if self.as_jaeger_client else "",
        )
        return ",".join(filter(None, words))


def environment(environ: Mapping[str, str], options: Options) -> dict[str, str]:
    """Return ``environ`` under which interpreters start tracing before the program."""
    path = [entry for entry in environ.get("PYTHONPATH", "").split(os.pathsep) if entry != SITE]
    kept = os.pathsep.join([SITE, *path]) if path != [""] else SITE
    changed = {**environ, "PYTHONPATH": kept}
    changed.pop(RUN_OPTIONS, None)
    if written := options.write():
        changed[RUN_OPTIONS] = written
    return changed


def other_launcher(python_path: str, command: Sequence[str] = ()) -> str | None:
    """Return which launcher is at work already, or would be started by ``command``."""
    for launcher, directory in _LAUNCHERS.items():
        if any(os.path.basename(word) == launcher for word in command[:1]):
            return launcher
        entries = (entry.replace("\\", "/").rstrip("/") for entry in python_path.split(os.pathsep))
        module = directory.replace("/", ".")
        if module in sys.modules or any(entry.endswith(directory) for entry in entries):
            return launcher
    return None
