"""Contrib's instrumentors: found by their entry points, loaded when their package is imported."""

from __future__ import annotations

import functools
import importlib
import os
import re
import sys
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
    from collections.abc import Callable, Collection, Iterator
    from importlib.metadata import EntryPoint

    from opentelemetry.util.types import Attributes

GROUP = "opentelemetry_instrumentor"
_REQUIRES, _EXTRA = "Requires-Dist:", "instruments"  # or "instruments-any"
_CHUNK_BYTES = 1 << 14


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


class Declared:
    """An instrumentor that an installed distribution declares, of which only the name is known.

    ``importlib.metadata`` takes as long to import as an interpreter to start: who is not put on is
    looked up without it.
    """

    __slots__ = ("_directory", "_point", "name")

    def __init__(self, name: str, directory: str = "", point: EntryPoint | None = None) -> None:
        self.name = name
        self._directory = directory
        """That of the distribution's metadata."""
        self._point = point

    def entry_point(self) -> EntryPoint:
        """Return the entry point; raises what metadata do, and ``LookupError``."""
        if self._point is None:
            from importlib import metadata  # noqa: PLC0415 - see above

            points = metadata.Distribution.at(self._directory).entry_points
            self._point = next(iter(points.select(group=GROUP, name=self.name)), None)
            if self._point is None:
                raise LookupError(f"{self._directory} declares it no longer")
        return self._point

    def requirements(self) -> list[str]:
        """Return the distributions that the metadata of its own say it is for."""
        told = _read(f"{self._directory}{os.sep}METADATA") if self._directory else None
        if told is None:  # an egg's, or an archive's, is elsewhere
            distribution = self.entry_point().dist
            stated = (distribution.requires if distribution else None) or ()
            lines = [f"{_REQUIRES}{line}" for line in stated]
        else:
            lines = told.decode(errors="replace").partition("\n\n")[0].splitlines()
        required = (
            re.match(r"[\w.-]+", line.removeprefix(_REQUIRES).lstrip())
            for line in lines
            if line.startswith(_REQUIRES) and _EXTRA in line.partition(";")[2]
        )
        return [name[0] for name in required if name]


def found() -> dict[str, Declared]:
    """Return the installed instrumentors by name; any thread may ask. May raise what metadata do.

    ``metadata.entry_points`` parses the files of all distributions, each time that a program is
    started. It is asked only where the path leads into more than directories.
    """
    points: dict[str, Declared] = {}
    for entry in sys.path:
        directory = entry or os.curdir
        try:
            names = os.listdir(directory)
        except FileNotFoundError:
            continue
        except OSError:  # an archive
            return _found_by_metadata()
        for name in names:
            if name.endswith((".dist-info", ".egg-info")):
                distribution = f"{directory}{os.sep}{name}"
                for point in _declared(distribution):
                    points.setdefault(point, Declared(point, distribution))
    return points


def _found_by_metadata() -> dict[str, Declared]:
    from importlib import metadata  # noqa: PLC0415 - see ``Declared``

    points = metadata.entry_points(group=GROUP)
    return {point.name: Declared(point.name, point=point) for point in points}


def _declared(distribution: str) -> Iterator[str]:
    """Yield the names of the instrumentors of an installed distribution."""
    written = _read(f"{distribution}{os.sep}entry_points.txt")
    if written is None or GROUP.encode() not in written:
        return
    ours = False
    for line in map(str.strip, written.decode(errors="replace").splitlines()):
        if line.startswith("["):
            ours = line == f"[{GROUP}]"
        elif ours and "=" in line and not line.startswith("#"):
            yield line.partition("=")[0].rstrip()


def _read(path: str) -> bytes | None:
    """Return what a file holds, at half the cost of ``open``: it is done for all distributions."""
    try:
        descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_BINARY", 0))
    except OSError:
        return None
    held = []
    try:
        while chunk := os.read(descriptor, _CHUNK_BYTES):
            held.append(chunk)
            if len(chunk) < _CHUNK_BYTES:
                break
    except OSError:
        return None
    finally:
        os.close(descriptor)
    return b"".join(held)


def packages_of(point: Declared) -> list[str]:
    """Return the packages that an instrumentor waits for, any of which will do; [] if none is told.

    Of a distribution that our table does not know, the package may go by either form of its name.
    """
    if point.name in CONTRIB:
        return [CONTRIB[point.name][0]]
    names = (name.lower() for name in point.requirements())
    forms = ((name.replace("-", "_"), name.replace("-", ".")) for name in names)
    return list(dict.fromkeys(form for both in forms for form in both))


def put_on(point: Declared, provider: trace.TracerProvider) -> Callable[[], object] | None:
    """Load an instrumentor and have it patch its package; return the undo.

    None: it is on already, by the program's doing. Raises whatever it raises, ``ImportError`` for
    a version of the package that it is not made for.
    """
    instrumentor: Instrumentor = point.entry_point().load()()
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
