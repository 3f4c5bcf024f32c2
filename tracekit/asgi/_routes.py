"""Which route a request took, as frameworks leave it in the scope; only looks, imports none.

FastAPI leaves the route itself, Litestar its template, Starlette the endpoint alone, which is
looked up in the application's routes: all of them once, or again where that leaves a choice.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from tracekit.asgi._exchange import Scope

_MAX_ENDPOINTS = 4096
_MAX_DEPTH = 16
_FULL = 2
"""``starlette.routing.Match.FULL``."""


class Routes:
    """Names requests by their routes. It remembers endpoints, and any thread may use it."""

    def __init__(self) -> None:
        self._known: dict[object, str | None] = {}
        """The pattern of an endpoint; None: there are several."""

    def of(self, scope: Scope, root: str) -> str:
        """Return the pattern that matched, with the paths it is mounted below; "" if unknown.

        ``root`` is what the scope's ``root_path`` was when the request came in.
        """
        try:
            return _left(scope, root) or self._by_endpoint(scope, root)
        except Exception:  # a framework that leaves something else by these names
            return ""

    def _by_endpoint(self, scope: Scope, root: str) -> str:
        endpoint = scope.get("endpoint")
        routes = getattr(scope.get("app"), "routes", None)
        if endpoint is None or routes is None:
            return ""
        if endpoint not in self._known:
            if len(self._known) >= _MAX_ENDPOINTS:
                self._known.clear()
            patterns = [pattern for each, pattern in _walk(routes, "", 0) if each is endpoint]
            self._known[endpoint] = patterns[0] if len(patterns) == 1 else None
        pattern = self._known[endpoint]
        return ahead(routes, scope, root) if pattern is None else root + pattern


def ahead(routes: Iterable[Any], scope: Scope, root: str) -> str:
    """Return the pattern that a request will match, without any effect on its scope; "" if none."""
    asked = {**scope, "root_path": root, "path_params": {}}
    for key in ("endpoint", "route", "app_root_path", "fastapi"):
        asked.pop(key, None)
    try:
        return _matched(routes, asked, "", root, 0)
    except Exception:  # routes of the application's own, which may want more than this
        return ""


def _matched(routes: Iterable[Any], scope: Scope, above: str, root: str, depth: int) -> str:
    for route in routes:
        match, child = route.matches(scope)
        if match.value != _FULL:
            continue
        scope.update(child)
        if left := _left(scope, root):
            return left
        below = getattr(route, "routes", None)
        pattern: str = above + getattr(route, "path", "")
        if below and depth < _MAX_DEPTH:
            return _matched(below, scope, pattern, root, depth + 1)
        return root + pattern if hasattr(route, "endpoint") else ""
    return ""


def _left(scope: Scope, root: str) -> str:
    """Return what the framework has left of the route that it took."""
    template = scope.get("path_template")  # Litestar
    if type(template) is str:
        return root + template
    fastapi = scope.get("fastapi")
    effective = fastapi.get("effective_route_context") if type(fastapi) is dict else None
    route: Any = scope.get("route") if effective is None else effective
    path = getattr(route, "path", None)
    if type(path) is not str:
        return ""
    mounted: str = scope.get("root_path") or ""
    if mounted == root:
        return root + path
    # The values of a mount's own parameters are no part of a name.
    prefix = mounted.removeprefix(root)
    params = scope.get("path_params") or {}
    names = {
        str(value): name
        for name, value in params.items()
        if f"{{{name}}}" not in path and f"{{{name}:" not in path
    }
    pieces = (f"{{{names[piece]}}}" if piece in names else piece for piece in prefix.split("/"))
    return root + "/".join(pieces) + path


def _walk(routes: Iterable[Any], above: str, depth: int) -> Iterator[tuple[object, str]]:
    """Yield endpoints and the whole patterns of their routes."""
    for route in routes:
        pattern = above + getattr(route, "path", "")
        endpoint = getattr(route, "endpoint", None)
        if endpoint is not None:
            yield endpoint, pattern
        elif depth < _MAX_DEPTH:
            yield from _walk(getattr(route, "routes", None) or (), pattern, depth + 1)
