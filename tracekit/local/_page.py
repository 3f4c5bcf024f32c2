"""What port 16686 answers beside the query API: the page's files, its figures, its one button.

The page is a folder of plain files, ``_static``. ``/view/list`` is a list of traces as text, for
who has no browser. Paths without a file are the page's own (``/trace/…``, ``/search``).
"""

from __future__ import annotations

import mimetypes
import re
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from tracekit.local._documents import write_document
from tracekit.local._drawn import in_short, summary
from tracekit.local._go_json import dumps
from tracekit.local._graph import graph
from tracekit.local._http import RefusedError, Request, Response
from tracekit.local._jaeger_json import trace_id_text
from tracekit.local._json import DecodeError, Object, obj, read_json, string
from tracekit.local._ports import listening
from tracekit.local._search import Query, QueryError, parse_trace_id
from tracekit.sampling import Strategy

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tracekit.local._spans import ReceivedSpan
    from tracekit.local._strategies import Strategies
    from tracekit.local._traces import TraceStore

POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
"""The page loads its own files and asks its own server, nothing and nobody else."""
_HEADERS = (
    ("Content-Security-Policy", POLICY),
    ("Referrer-Policy", "no-referrer"),
    ("Cache-Control", "no-cache"),
)
_NAME = re.compile(r"[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)+")
_FORMATS = ("html", "json", "perfetto.json")
_MAX_LISTED = 200


class Shown(Protocol):
    """The back end, as far as the page shows it."""

    store: TraceStore
    strategies: Strategies

    @property
    def ports(self) -> Mapping[str, int]:
        """Where it listens, by name."""

    def spans(self, trace_id: int) -> list[ReceivedSpan]:
        """Return the spans of a trace; none if it is not held."""

    def state(self) -> Mapping[str, object]:
        """Return figures about what came and what is held."""


class Page:
    """Answers for a back end: ``/``, static files, and the page's questions below ``/view/``."""

    def __init__(self, backend: Shown) -> None:
        self._backend = backend
        self._files = Path(__file__).with_name("_static")

    def __call__(self, request: Request) -> Response:
        """Answer a request."""
        questions = {
            "/view/state": self._state,
            "/view/traces": self._traces,
            "/view/graph": self._graph,
            "/view/export": self._export,
            "/view/list": self._list,
            "/view/sampling": self._order,
        }
        return questions.get(request.path, self._content)(request)

    def _content(self, request: Request) -> Response:
        if request.method not in ("GET", "HEAD"):
            return Response(status=405)
        name = request.path.rpartition("/")[2]
        file = self._file(request.path[1:] if _NAME.fullmatch(name) else "index.html")
        if file is None:
            return Response(b"not found\n", 404)
        kind = mimetypes.guess_type(file.name)[0] or "application/octet-stream"
        if kind.startswith("text/"):
            kind += "; charset=utf-8"
        return Response(file.read_bytes(), 200, kind, _HEADERS)

    def _file(self, path: str) -> Path | None:
        """Return a file of the page; every part of its path is a plain name."""
        *folders, name = path.split("/")
        if not _NAME.fullmatch(name) or not all(re.fullmatch(r"[a-z]+", each) for each in folders):
            return None
        file = self._files.joinpath(*folders, name)
        return file if file.is_file() else None

    def _state(self, _request: Request) -> Response:
        return Response(dumps(self._backend.state()).encode(), 200, "application/json", _HEADERS)

    def _order(self, request: Request) -> Response:
        """Set what a service is told: ``{"service", "type", "param"}``, without it for all."""
        if request.method != "POST" or request.content_type != "application/json":
            raise RefusedError(405, "POST a strategy as application/json")
        try:
            self._backend.strategies.order(*_ordered(obj(read_json(request.body), "the strategy")))
        except ValueError as error:
            raise RefusedError(400, str(error)) from None
        return Response(status=204)

    def _traces(self, request: Request) -> Response:
        """Return a line for each trace, from what is known without reading one."""
        try:
            query = Query.of(request.query, any_service=True)
        except QueryError as error:
            raise RefusedError(400, str(error)) from None
        found = [in_short(records) for records in query.find(self._backend.store)]
        answer = {"version": self._backend.store.version, "traces": found}
        return Response(dumps(answer).encode(), 200, "application/json", _HEADERS)

    def _graph(self, _request: Request) -> Response:
        found = graph([records for _, records in self._backend.store.traces()])
        return Response(dumps(found).encode(), 200, "application/json", _HEADERS)

    def _export(self, request: Request) -> Response:
        """Return a trace as a file: ``traceID`` which, ``format`` the ending of its name."""
        ending = request.first("format")
        if ending not in _FORMATS:
            raise RefusedError(400, f"format is one of {', '.join(_FORMATS)}")
        try:
            trace_id = parse_trace_id(request.first("traceID"))
        except QueryError as error:
            raise RefusedError(400, str(error)) from None
        spans = self._backend.spans(trace_id)
        if not spans:
            raise RefusedError(404, "trace not found")
        name = f"{trace_id_text(trace_id)}.{ending}"
        content = write_document([spans], name)
        # A file to save, never a page of this origin.
        headers = (*_HEADERS, ("Content-Disposition", f'attachment; filename="{name}"'))
        return Response(content, 200, "application/octet-stream", headers)

    def _list(self, _request: Request) -> Response:
        return Response(self._listed().encode("utf-8", "replace"), headers=_HEADERS)

    def _listed(self) -> str:
        traces = self._backend.store.traces()
        newest = sorted(traces, key=lambda each: each[1][0].start_us, reverse=True)[:_MAX_LISTED]
        lines = [summary(records) for _, records in newest]
        if not lines:
            return "No trace yet.\n\n" + "\n".join(listening(self._backend.ports)) + "\n"
        return "\n".join([f"Traces held: {len(traces)}, the newest first\n", *lines]) + "\n"


def _ordered(fields: Object) -> tuple[str, Strategy]:
    kind, param = string(fields, "type"), fields.get("param")
    highest = {"probabilistic": 1, "ratelimiting": 1_000_000}.get(kind)
    if highest is None:
        raise DecodeError("type is probabilistic or ratelimiting")
    if isinstance(param, bool) or not isinstance(param, (int, float)) or not 0 <= param <= highest:
        raise DecodeError(f"param is no number from 0 to {highest}")
    return string(fields, "service")[:200], Strategy(kind, float(param))
