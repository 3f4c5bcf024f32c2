"""Traces as files to hand over: Jaeger's JSON, for Perfetto, or a page; read from more."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from tracekit.local._formats import read
from tracekit.local._go_json import dumps
from tracekit.local._handover import page_with
from tracekit.local._jaeger_json import document, from_json, to_json
from tracekit.local._json import DecodeError, read_json
from tracekit.local._otlp_json import scan_otlp_json
from tracekit.local._perfetto import from_perfetto, to_perfetto
from tracekit.local._zipkin import scan_zipkin

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from tracekit.local._records import Arrival
    from tracekit.local._spans import ReceivedSpan

MAX_FILE_BYTES = 256 * 1024 * 1024
_DATA = re.compile(rb'<script type="application/json" id="traces">(.*?)</script>', re.DOTALL)
"""Where a page that was handed over has its traces: one document of Jaeger's JSON."""


def write_document(traces: Sequence[Sequence[ReceivedSpan]], name: str) -> bytes:
    """Return traces as the content of a file called ``name``: its ending says the format.

    ``.perfetto.json`` is for Perfetto and Chrome, any other ``.json`` what Jaeger's UI takes;
    ``.html`` is the page of ``tracekit view`` with the traces inside.

    Raises:
        ValueError: no such format.

    """
    if name.endswith(".perfetto.json"):
        return dumps(to_perfetto([span for trace in traces for span in trace])).encode()
    if name.endswith(".json"):
        return dumps(document([to_json(trace) for trace in traces])).encode()
    if name.endswith(".html"):
        return page_with(document([to_json(trace) for trace in traces]))
    raise ValueError(f"{name!r:.100} ends in none of .json, .perfetto.json and .html")


def read_document(data: bytes) -> list[ReceivedSpan]:
    """Return the spans of a file: Jaeger's JSON, Perfetto's, OTLP's, Zipkin's, or a page of ours.

    Raises:
        ValueError: it is none of them; the message says what is wrong.

    """
    if found := _DATA.search(data):
        data = found[1]
    value = read_json(data)
    if isinstance(value, list):
        return _spans(scan_zipkin(data))
    if not isinstance(value, dict):
        raise DecodeError("neither an object nor a list")
    if "traceEvents" in value:
        return from_perfetto(value)
    if "resourceSpans" in value:
        return _spans(scan_otlp_json(data))
    if "data" in value or "spans" in value:
        return from_json(value)
    raise DecodeError("no traces in Jaeger's, Perfetto's, OTLP's or Zipkin's JSON")


def _spans(arrivals: Iterable[Arrival]) -> list[ReceivedSpan]:
    return [read(record) for arrival in arrivals for record in arrival.records]
