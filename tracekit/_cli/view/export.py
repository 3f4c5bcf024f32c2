"""``tracekit view --export FILE``: one trace as a file to hand over."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import urllib3

from tracekit.local import read_document, write_document
from tracekit.local._formats import read
from tracekit.local._sqlite import StoreFileError, TraceFile

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterable, Iterator

    from tracekit._cli.view.filters import Filter
    from tracekit.local import ReceivedSpan

_MAX_TRACES = 1500
"""How many traces of a service are looked through."""
_TIMEOUT_S = 30.0

Trace = list["ReceivedSpan"]


class NoTraceError(Exception):
    """There is nothing to hand over; the message says why."""


def export(options: argparse.Namespace, wanted: Filter, query_port: int) -> int:
    """Write the trace that the options ask for; 0 if it is written, 1 and the reason if not."""
    source = options.source or f"http://{_bracketed(options.host)}:{query_port}"
    try:
        write_document([], options.export)  # the name first: it costs nothing to be wrong here
        if options.store is not None:
            traces: Iterable[Trace] = _held(options.store, options.trace)
        else:
            traces = _asked(source.rstrip("/"), options.trace)
        newest = _newest(trace for trace in traces if trace and wanted(trace))
        Path(options.export).write_bytes(write_document([newest], options.export))
    except (NoTraceError, StoreFileError, OSError, ValueError) as error:
        sys.stderr.write(f"tracekit view: {error}\n")
        return 1
    sys.stdout.write(f"{options.export}: {len(newest)} spans\n")
    return 0


def _newest(traces: Iterable[Trace]) -> Trace:
    found = max(traces, key=lambda trace: min(span.start_us for span in trace), default=None)
    if found is None:
        raise NoTraceError("no trace passes the filters")
    return found


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host


def _held(path: Path, trace_id: str | None) -> Iterator[Trace]:
    if not path.is_file():
        raise NoTraceError(f"{path} is not there")
    file = TraceFile(str(path))
    traces: dict[int, Trace] = {}
    only = int(trace_id, 16) if trace_id else None
    try:
        for record in file.records():
            if only in (None, record.trace_id):
                traces.setdefault(record.trace_id, []).append(read(record))
    finally:
        file.close()
    yield from traces.values()


def _asked(source: str, trace_id: str | None) -> Iterator[Trace]:
    if trace_id:
        yield read_document(_get(source, f"/api/traces/{trace_id}", {}))
        return
    services = json.loads(_get(source, "/api/services", {})).get("data") or []
    for service in services:
        asked = {"service": service, "limit": str(_MAX_TRACES), "start": "0"}
        for trace in json.loads(_get(source, "/api/traces", asked)).get("data") or []:
            yield read_document(json.dumps(trace).encode())


def _get(source: str, path: str, fields: dict[str, str]) -> bytes:
    try:
        answer = urllib3.request(
            "GET", source + path, fields=fields, timeout=_TIMEOUT_S, retries=False
        )
    except urllib3.exceptions.HTTPError as error:
        raise NoTraceError(
            f"nobody answers at {source}: is `tracekit view` running? ({error})"
        ) from None
    if answer.status == 404:
        raise NoTraceError(f"{source} has no such trace")
    if answer.status != 200:
        raise NoTraceError(f"{source} answered with status {answer.status}")
    return answer.data
