"""Retired libraries' names for ours, for libraries that import them and that nobody can edit."""

from __future__ import annotations

import importlib
import importlib.util
import logging
import sys
import threading
from importlib.abc import Loader
from importlib.machinery import ModuleSpec
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from types import ModuleType

_log = logging.getLogger("tracekit")

ALIASES = {
    "jaeger_client": "tracekit.jaeger_client",
    "flask_opentracing": "tracekit.flask",
    "flask_opentracing.tracing": "tracekit.flask",
    "grpc_opentracing": "tracekit.grpc.opentracing",
}
"""Retired packages and what stands in for them; their other modules have the names they had."""

_lock = threading.Lock()
_installed: list[Callable[[], None]] = []


def alias() -> Callable[[], None]:
    """Have ``jaeger_client``, ``flask_opentracing`` and ``grpc_opentracing`` mean ours.

    Call it before anything imports them, in the first lines of a program: whoever has imported one
    before keeps it, and one warning names it. The names are the very modules of tracekit, so
    ``isinstance`` holds across both. A second call changes nothing. Returns what undoes it for
    later imports. Any thread may call either.
    """
    with _lock:
        if not _installed:
            _installed.append(_install())
        return _installed[0]


def _install() -> Callable[[], None]:
    before = _taken_out()
    if before:
        names = ", ".join(name for name in before if "." not in name)
        _log.warning("%s was imported before alias(): whoever did that keeps it", names)
    finder = _Finder()
    sys.meta_path.insert(0, finder)

    def undo() -> None:
        with _lock:
            if undo not in _installed:
                return
            _installed.remove(undo)
            if finder in sys.meta_path:
                sys.meta_path.remove(finder)
            _taken_out()
            sys.modules.update(before)

    return undo


def _taken_out() -> dict[str, ModuleType]:
    """Forget the retired packages' modules, ours or theirs, and return them."""
    names = [name for name in list(sys.modules) if name.partition(".")[0] in ALIASES]
    return {name: sys.modules.pop(name) for name in names}


class _Finder:
    """Finds a retired package's modules, and is the loader of what it finds."""

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: object = None
    ) -> ModuleSpec | None:
        """Return where ``name`` is to come from; ModuleNotFoundError if we have no such module."""
        package, _, rest = name.partition(".")
        if package not in ALIASES:
            return None
        ours = ALIASES.get(name) or f"{ALIASES[package]}.{rest}"
        if importlib.util.find_spec(ours) is None:
            raise ModuleNotFoundError(
                f"tracekit has nothing that stands in for {name};"
                f" docs/how-to/migrate-from-jaeger-client.md says what to use",
                name=name,
            )
        return ModuleSpec(name, _Loader(ours), origin=ours)


class _Loader(Loader):
    """Loads one of our modules under another name."""

    def __init__(self, ours: str) -> None:
        self._ours = ours
        self._spec: ModuleSpec | None = None

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        """Return our module itself; the import system is about to write ``spec`` on it."""
        module = importlib.import_module(self._ours)
        self._spec = module.__spec__
        return module

    def exec_module(self, module: ModuleType) -> None:
        """Give the module its own spec back: it has been executed long ago."""
        module.__spec__ = self._spec
