"""Contrib's instrumentors: found by their entry points, loaded when their package is imported."""

from __future__ import annotations

import functools
import importlib
import os
import re
import sys
from importlib import metadata
from typing import TYPE_CHECKING, Any, Protocol

from opentelemetry import trace
from opentelemetry.context import (
    _SUPPRESS_HTTP_INSTRUMENTATION_KEY,
    attach,
    detach,
    set_value,
)

from tracekit._assembly import handle
from tracekit._instrument._table import CONTRIB

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from opentelemetry.util.types import Attributes

GROUP = "opentelemetry_instrumentor"
_REQUIRED = re.compile(
    r"^Requires-Dist:\s*([A-Za-z0-9._-]+).*\bextra\s*==\s*['\"]instruments(?:-any)?['\"]",
    re.MULTILINE,
)


class Instrumentor(Protocol):
    """What an entry point of the group leads to, once it is called."""

    def instrument(self, **options: object) -> object:
        """Patch the package."""

    def uninstrument(self, **options: object) -> object:
        """Take that back."""

    def instrumentation_dependencies(self) -> Collection[str]:
        """Return the requirements on the package, any of which will do."""


class Following(trace.TracerProvider):
    """A provider whose tracers follow the process' handle, whoever holds OpenTelemetry's global."""

    def get_tracer(
        self,
        instrumenting_module_name: str,
        instrumenting_library_version: str | None = None,
        schema_url: str | None = None,
        attributes: Attributes = None,
    ) -> trace.Tracer:
        """Return the tracer of a scope."""
        return handle.get_tracer(instrumenting_module_name)


def found() -> dict[str, metadata.EntryPoint]:
    """Return the installed instrumentors by name; any thread may ask. May raise what metadata do.

    ``metadata.entry_points`` parses the files of all distributions, each time that a program is
    started. It is asked only where the path leads into more than directories.
    """
    points: dict[str, metadata.EntryPoint] = {}
    for entry in sys.path:
        directory = entry or os.curdir
        try:
            names = os.listdir(directory)
        except FileNotFoundError:
            continue
        except OSError:  # an archive
            return {point.name: point for point in metadata.entry_points(group=GROUP)}
        for name in names:
            if name.endswith((".dist-info", ".egg-info")):
                for point in _declared(f"{directory}{os.sep}{name}"):
                    points.setdefault(point.name, point)
    return points


def _declared(distribution: str) -> Collection[metadata.EntryPoint]:
    """Return the instrumentors of an installed distribution, reading on only if it has any."""
    try:
        with open(f"{distribution}{os.sep}entry_points.txt", "rb") as file:
            if GROUP.encode() not in file.read():
                return ()
    except OSError:
        return ()
    return metadata.Distribution.at(distribution).entry_points.select(group=GROUP)


def package_of(name: str, point: metadata.EntryPoint) -> str:
    """Return the package that an instrumentor waits for; "" if nobody knows one."""
    if name in CONTRIB:
        return CONTRIB[name][0]
    required = requirements(point)
    return required[0].replace("-", "_") if required else ""


def requirements(point: metadata.EntryPoint) -> list[str]:
    """Return the distributions that the metadata of an instrumentor's own say it is for."""
    if point.dist is None:
        return []
    # Not ``point.dist.requires``: parsing all of the headers takes longer than all else here.
    told = point.dist.read_text("METADATA")
    if told is None:  # an egg's is elsewhere
        told = "\n".join(f"Requires-Dist: {line}" for line in point.dist.requires or ())
    return _REQUIRED.findall(told)


def put_on(
    point: metadata.EntryPoint, provider: trace.TracerProvider
) -> Callable[[], object] | None:
    """Load an instrumentor and have it patch its package; return the undo.

    None: it is on already, by the program's doing. Raises whatever it raises, ``ImportError`` for
    a version of the package that it is not made for.
    """
    instrumentor: Instrumentor = point.load()()
    if getattr(instrumentor, "is_instrumented_by_opentelemetry", False) is True:
        return None
    conflict = _conflict(instrumentor)
    if conflict is not None:
        raise ImportError(conflict)
    instrumentor.instrument(tracer_provider=provider, skip_dep_check=True)
    if point.name != "urllib3":
        return instrumentor.uninstrument
    aside = _leave_requests_to_its_edge()

    def undo() -> None:
        aside()
        instrumentor.uninstrument()

    return undo


def _leave_requests_to_its_edge() -> Callable[[], None]:
    """Have urllib3 make no second span of what ``requests`` sends through it, and we trace."""
    pool: Any = importlib.import_module("urllib3.connectionpool").HTTPConnectionPool
    contribs = pool.urlopen

    @functools.wraps(contribs)
    def urlopen(*args: object, **named: object) -> object:
        scope = getattr(trace.get_current_span(), "instrumentation_scope", None)
        if getattr(scope, "name", None) != "tracekit.requests":
            return contribs(*args, **named)
        token = attach(set_value(_SUPPRESS_HTTP_INSTRUMENTATION_KEY, True))
        try:
            return contribs(*args, **named)
        finally:
            detach(token)

    def undo() -> None:
        if pool.urlopen is urlopen:
            pool.urlopen = contribs

    pool.urlopen = urlopen
    return undo


def _conflict(instrumentor: Instrumentor) -> str | None:
    """Say which version it wants, if that is not the one installed."""
    try:
        from opentelemetry.instrumentation.dependencies import (  # noqa: PLC0415 - only with contrib
            get_dependency_conflicts,
        )
    except ImportError:  # an instrumentor that does without contrib's base
        return None
    conflict = get_dependency_conflicts(instrumentor.instrumentation_dependencies())
    return None if conflict is None else str(conflict)
