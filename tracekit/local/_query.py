"""Jaeger's query API over a store, and a seam for the page: what port 16686 answers."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING
from urllib.parse import unquote_plus

from tracekit.local._formats import read
from tracekit.local._go_json import dumps
from tracekit.local._graph import dependencies
from tracekit.local._http import Request, Response
from tracekit.local._jaeger_json import document, to_json, trace_id_text
from tracekit.local._search import Query, QueryError, lookback, parse_trace_id

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from tracekit.local._records import Record
    from tracekit.local._traces import TraceStore

_JSON = "application/json"
_OPERATIONS = re.compile(r"/api/services/([^/]+)/operations")
_TRACE = re.compile(r"/api/traces/([^/]+)")


class QueryApp:
    """Answers the query API; every other path goes to ``page``, which has the last word."""

    def __init__(self, store: TraceStore, page: Callable[[Request], Response]) -> None:
        self._store = store
        self._page = page
        self._routes: Mapping[str, Callable[[Request], Response]] = {
            "/api/services": self._services,
            "/api/operations": self._operations,
            "/api/traces": self._search,
            "/api/dependencies": self._dependencies,
        }

    def __call__(self, request: Request) -> Response:
        """Answer a request."""
        if not request.path.startswith("/api/"):
            return self._page(request)
        if request.method not in ("GET", "HEAD"):
            return Response(status=405)
        try:
            return self._api(request)
        except QueryError as error:
            return _refusal(400, str(error))

    def _api(self, request: Request) -> Response:
        if request.path in self._routes:
            return self._routes[request.path](request)
        if found := _TRACE.fullmatch(request.path):
            return self._trace(request, found[1])
        if found := _OPERATIONS.fullmatch(request.path):
            names = {each.name for each in self._store.operations(unquote_plus(found[1]))}
            return _listed(request, sorted(names))
        if request.path.startswith("/api/metrics/"):
            return _refusal(501, "metrics querying is currently disabled")
        return _refusal(404, "not found")

    def _services(self, request: Request) -> Response:
        return _listed(request, [name or "empty-service-name" for name in self._store.services()])

    def _operations(self, request: Request) -> Response:
        service, kind = request.first("service"), request.first("spanKind")
        if not service:
            raise QueryError("parameter 'service' is required")
        found = [
            {"name": each.name, "spanKind": each.kind or "unspecified"}
            for each in self._store.operations(service)
            if kind in ("", each.kind or "unspecified")
        ]
        return _json(request, {**document(found), "total": len(found)})

    def _search(self, request: Request) -> Response:
        query = Query.of(request.query)
        if not query.trace_ids:
            return _json(
                request, document([_shown(records) for records in query.find(self._store)])
            )
        errors, found = [], []
        for trace_id in query.trace_ids:
            records = self._store.trace(trace_id)
            if records is None:
                errors.append({"msg": "trace not found", "traceID": trace_id_text(trace_id)})
            else:
                found.append(_shown(records))
        return _json(request, document(found, errors or None))

    def _trace(self, request: Request, text: str) -> Response:
        records = self._store.trace(parse_trace_id(text))
        if records is None:
            return _refusal(404, "trace not found")
        raw = request.first("raw") in ("1", "t", "T", "true", "TRUE", "True")
        return _json(request, document([to_json(map(read, records), adjust=not raw)]))

    def _dependencies(self, request: Request) -> Response:
        service = request.first("service")
        traces = [records for _, records in self._store.traces()]
        links = dependencies(traces, *lookback(request.query))
        return _json(
            request,
            document(
                [
                    {"parent": parent, "child": child, "callCount": count}
                    for (parent, child), count in sorted(links.items())
                    if service in ("", parent, child)
                ]
            ),
        )


def _shown(records: list[Record]) -> dict[str, object]:
    return to_json(map(read, records))


def _listed(request: Request, names: list[str]) -> Response:
    return _json(request, {**document([]), "data": names or None, "total": len(names)})


def _json(request: Request, value: object) -> Response:
    pretty = request.first("prettyPrint") not in ("", "false")
    return Response(dumps(value, indent=4 if pretty else None).encode(), 200, _JSON)


def _refusal(status: int, message: str) -> Response:
    errors = [{"code": status, "msg": message}]
    body = dumps({"data": None, "total": 0, "limit": 0, "offset": 0, "errors": errors})
    return Response(body.encode() + b"\n", status)
