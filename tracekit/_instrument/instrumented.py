"""Trace what a program uses without a line of code in it.

::

    tracekit.init()
    tracekit.instrument()

tracekit's own edges go on, and OpenTelemetry's contrib instrumentors for what we have none for:
each when the program imports its package, and at once where it has. ``tracekit run`` does both
lines before a program's first import.
"""

from __future__ import annotations

import logging
import os
import threading
from typing import TYPE_CHECKING

from tracekit._assembly import handle
from tracekit._display import cited, quoted
from tracekit._instrument import _contrib, _edges
from tracekit._instrument._imports import Imports
from tracekit._instrument._table import CONTRIB, EDGES
from tracekit.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from opentelemetry import trace

    from tracekit._assembly.handle import HasTracing, Tracing
    from tracekit._instrument._contrib import Declared
    from tracekit._instrument._table import Edge

    Undo = Callable[[], object]
    PutOn = Callable[[], Undo | None]
    Told = Callable[[str], object]

__all__ = ["Instrumented", "instrument"]

_log = logging.getLogger("tracekit")
_ALL = "*"
_NOT_BY_ITSELF = frozenset({"system_metrics"})  # makes no spans


def instrument(
    *,
    only: Iterable[str] | None = None,
    without: Iterable[str] = (),
    tracing: Tracing | HasTracing | None = None,
) -> Instrumented:
    """Trace the packages that the program has imported and will import; return what was done.

    Names are those of our edges (``flask``, ``requests``, ``grpc``, ``logging`` …) and of
    contrib's instrumentors (``redis``, ``sqlalchemy``, ``botocore`` …), in any letter case.
    ``only`` and ``without`` win over the setting ``instrument`` (``TRACEKIT_INSTRUMENT``);
    ``disabled_instrumentations`` (``OTEL_PYTHON_DISABLED_INSTRUMENTATIONS``) holds for whatever
    ``only`` does not name. ``tracing`` is a handle (None: the process' one, whichever runs).

    What cannot be traced costs one warning that names it, and nothing else. Safe to call again:
    what is on stays on. Any thread may call it. ``TypeError`` for what is no handle.
    """
    given = None if tracing is None else handle.resolve(tracing)
    done = Instrumented(given)
    done._begin(Choice.of(only, without, given))
    return done


class Choice:
    """Which names are wanted."""

    def __init__(
        self, only: Iterable[str] | None, without: Iterable[str], disabled: set[str]
    ) -> None:
        self.only = {_plain(name) for name in ((_ALL,) if only is None else only)}
        self.without = {_plain(name) for name in without}
        self.without |= disabled if only is None else disabled - self.only

    @classmethod
    def of(
        cls, only: Iterable[str] | None, without: Iterable[str], tracing: Tracing | None
    ) -> Choice:
        running = tracing or handle.slot.running
        if running is None:
            settings = Settings.from_fields({}, environ=os.environ)
        else:
            settings = running.settings
        disabled = {_plain(name) for name in settings.disabled_instrumentations}
        without = without.split(",") if isinstance(without, str) else list(without)
        if only is None and not without:
            said = settings.instrument
            only = [name for name in said if not name.startswith("-")] or None
            without = [*(name[1:] for name in said if name.startswith("-")), *disabled]
            if _ALL in disabled:
                only = ()
        elif isinstance(only, str):
            only = only.split(",")
        return cls(only, without, disabled)

    def wants(self, *names: str) -> bool:
        """Whether what goes by ``names`` is to be traced: no is said by any of them."""
        plain = set(map(_plain, names))
        if plain & self.without:
            return False
        if plain & self.only:
            return True
        return _ALL in self.only and _ALL not in self.without

    def unknown(self, known: Iterable[str]) -> list[str]:
        """Return what nobody goes by, with what may have been meant."""
        names = {_plain(name) for name in known} | {_ALL}
        unknown = sorted((self.only | self.without) - names)
        if not unknown:
            return []
        import difflib  # noqa: PLC0415 - only for who mistypes

        said = []
        for name in unknown:
            near = difflib.get_close_matches(name, names, n=1)
            said.append(cited(name) + (f" (did you mean {near[0]}?)" if near else ""))
        return said


def _plain(name: str) -> str:
    return name.strip().lower().replace("_", "-")


class Instrumented:
    """What ``instrument`` has done so far. Any thread may use it."""

    def __init__(self, tracing: Tracing | None) -> None:
        self._tracing = tracing
        self._provider: trace.TracerProvider = (
            _contrib.Following() if tracing is None else tracing.provider
        )
        self._imports = Imports()
        self._lock = threading.Lock()
        self._undone = False
        self._undos: dict[str, Undo | None] = {}
        self._failed: dict[str, str] = {}
        self._told: Told | None = None

    def __repr__(self) -> str:
        return f"<Instrumented: done {list(self.done)}, failed {list(self.failed)}>"

    @property
    def done(self) -> tuple[str, ...]:
        """The names of what is on by now; it grows with the program's imports."""
        return tuple(self._undos)

    @property
    def failed(self) -> dict[str, str]:
        """The names of what could not be put on, and why."""
        return dict(self._failed)

    @property
    def waiting(self) -> tuple[str, ...]:
        """The packages that would be traced if the program imported them."""
        return self._imports.waiting()

    def undo(self) -> None:
        """Wait for no more packages, and take back what was put on. A second call does nothing."""
        with self._lock:
            self._undone = True
            undos, self._undos = self._undos, {}
        self._imports.stop()
        for name, undo in reversed(undos.items()):
            _take_back(name, undo)

    def _begin(self, choice: Choice, told: Told | None = None) -> None:
        self._told = told
        try:
            contrib = _contrib.found()
        except Exception as error:  # somebody's broken metadata
            _log.warning("instrument: the installed instrumentors are unknown: %s", quoted(error))
            contrib = {}
        known = {*CONTRIB, *contrib, *(edge.name for edge in EDGES)}
        if unknown := choice.unknown(known):
            _log.warning("instrument: nothing is called %s", ", ".join(unknown))
        replaced: set[str] = set()
        for edge in EDGES:
            replaced.update(edge.replaces)
            if choice.wants(edge.name, *edge.replaces):
                self._when([edge.package], edge.name, self._by_edge(edge))
        for name, point in sorted(contrib.items()):
            if name in replaced or not choice.wants(name):
                continue
            if name in _NOT_BY_ITSELF and _plain(name) not in choice.only:
                continue
            self._when(self._packages(point), name, self._by_contrib(point))

    def _packages(self, point: Declared) -> list[str]:
        try:
            return _contrib.packages_of(point)
        except Exception:  # as above
            return []

    def _by_edge(self, edge: Edge) -> PutOn:
        return lambda: _edges.put_on(edge, self._tracing)

    def _by_contrib(self, point: Declared) -> PutOn:
        return lambda: _contrib.put_on(point, self._provider)

    def _when(self, packages: Sequence[str], name: str, put_on: PutOn) -> None:
        """Put ``name`` on when one of ``packages`` is there; now, if nobody knows any."""

        def hook(last: bool) -> bool:
            return self._try(name, put_on, last)

        for package in packages:
            self._imports.wait_for(package, hook)
        if not packages:
            hook(True)

    def _try(self, name: str, put_on: PutOn, last: bool) -> bool:
        """Put ``name`` on; False: it cannot be yet, and may be later."""
        if self._undone or name in self._undos:
            return True
        try:
            undo = put_on()
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # a panic of native code is no Exception
            if not last:
                return False
            reason = f"{type(error).__name__}: {quoted(error)}"
            self._failed[name] = reason
            _log.warning("instrument: %s is not traced: %s", name, reason)
            return True
        with self._lock:
            kept = not self._undone
            if kept:
                self._undos[name] = undo
                self._failed.pop(name, None)
        if not kept:  # ``undo`` came meanwhile
            _take_back(name, undo)
        elif self._told is not None:
            self._told(name)
        return True


def _take_back(name: str, undo: Undo | None) -> None:
    try:
        if undo is not None:
            undo()
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # as above
        _log.warning("instrument: %s could not be taken back: %s", name, quoted(error))
