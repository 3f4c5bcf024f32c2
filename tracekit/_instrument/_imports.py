"""Be told when the program has imported a package, before it goes on with it.

A finder at the head of ``sys.meta_path`` asks the other finders for the packages that somebody
waits for, and has their loader tell when it is done. The module sees its own loader throughout.
"""

from __future__ import annotations

import sys
import threading
from typing import TYPE_CHECKING, cast

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from importlib.abc import Loader
    from importlib.machinery import ModuleSpec
    from types import ModuleType

    Hook = Callable[[bool], bool]
    """Called once the package is there; False: not yet, try again when more has been imported.
    With True it is for the last time."""


class Imports:
    """Waits for packages. Any thread may import, wait and stop at the same time.

    A finder as ``sys.meta_path`` asks for them, without the base class: what its module imports
    takes as long as all else here.
    """

    def __init__(self) -> None:
        self._waiting: dict[str, list[Hook]] = {}
        self._here = threading.local()  # what this thread is looking for, and is loading

    def wait_for(self, package: str, hook: Hook) -> None:
        """Call ``hook`` when ``package`` has been imported: now, if it has been already.

        On the thread that imports; ``hook`` must not raise.
        """
        if _imported(package) and hook(True):
            return
        self._waiting.setdefault(package, []).append(hook)
        if self not in sys.meta_path:
            sys.meta_path.insert(0, self)

    def stop(self) -> None:
        """Wait for nothing any more."""
        self._waiting.clear()
        if self in sys.meta_path:
            sys.meta_path.remove(self)

    def waiting(self) -> tuple[str, ...]:
        """Return the packages that are waited for."""
        return tuple(self._waiting)

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Return what the other finders say, if somebody waits for ``name``; else None."""
        if name not in self._waiting:
            return None
        looking: set[str] = vars(self._here).setdefault("looking", set())
        if name in looking:  # another finder asks the whole path, and so us
            return None
        looking.add(name)
        try:
            spec = self._found_by_others(name, path, target)
        finally:
            looking.discard(name)
        if spec is not None and spec.loader is not None and hasattr(spec.loader, "exec_module"):
            spec.loader = cast("Loader", _Telling(spec.loader, self))
        return spec

    def _found_by_others(
        self, name: str, path: Sequence[str] | None, target: ModuleType | None
    ) -> ModuleSpec | None:
        for finder in tuple(sys.meta_path):
            find = getattr(finder, "find_spec", None)
            if finder is self or find is None:
                continue
            spec: ModuleSpec | None = find(name, path, target)
            if spec is not None:
                return spec
        return None

    def load(self, package: str, load: Callable[[], None]) -> None:
        """Load a package that somebody waits for, then tell of it and of what came with it."""
        outer = vars(self._here).get("depth", 0)
        self._here.depth = outer + 1
        try:
            load()
            self._tell(package, last=not outer)
        finally:
            self._here.depth = outer
        if not outer:  # what could not do with half of the package, or of the edge, around it
            self._tell(None, last=True)

    def _tell(self, just_now: str | None, *, last: bool) -> None:
        """Call the hooks of all packages that are there by now.

        Also of those whose import passed us by: another finder stood before us.
        """
        for package in tuple(self._waiting):
            if package != just_now and not _imported(package):
                continue
            hooks = self._waiting.pop(package, [])  # atomic: each hook is called by one thread
            again = [hook for hook in hooks if not hook(last)]
            if again:
                self._waiting.setdefault(package, []).extend(again)
        if not self._waiting:
            self.stop()


def _imported(package: str) -> bool:
    """Whether ``package`` is there, and not only begun."""
    module = sys.modules.get(package)
    if module is None:
        return False
    return getattr(getattr(module, "__spec__", None), "_initializing", False) is not True


class _Telling:
    """A loader that tells ``imports`` when it is done; in all else the one that it stands for."""

    def __init__(self, loader: Loader, imports: Imports) -> None:
        self._loader = loader
        self._imports = imports

    def __getattr__(self, name: str) -> object:
        # get_code, get_data, is_package, get_resource_reader …: for who only looks at the spec.
        if name in ("_loader", "_imports"):
            raise AttributeError(name)
        return getattr(self._loader, name)

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        """Return the loader's own module, if it makes one."""
        create = getattr(self._loader, "create_module", None)
        return None if create is None else create(spec)

    def exec_module(self, module: ModuleType) -> None:
        """Run the module, which sees its own loader, and tell."""
        spec = module.__spec__
        if spec is not None and cast("object", spec.loader) is self:
            spec.loader = self._loader
        if getattr(module, "__loader__", None) is self:
            module.__loader__ = self._loader

        self._imports.load(module.__name__, lambda: self._loader.exec_module(module))
