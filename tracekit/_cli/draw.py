"""``tracekit draw FILE``: traces that somebody handed over, as trees in the terminal."""

from __future__ import annotations

import argparse
import os
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from tracekit import drawing
from tracekit._cli.view import filters
from tracekit.local import MAX_FILE_BYTES, read_document

if TYPE_CHECKING:
    from collections.abc import Sequence


def main(arguments: Sequence[str]) -> int:
    """Draw the traces of a file: 0 if there were some, 1 if not or if it cannot be read."""
    parser = argparse.ArgumentParser(
        prog="tracekit draw",
        description=(
            "Draw the traces of a file: Jaeger's JSON (its UI's, its query API's), Perfetto's and"
            " pages as `tracekit view --export` writes them, OTLP's JSON, Zipkin's JSON."
        ),
    )
    parser.add_argument("file", metavar="FILE", help="the file; - is standard input")
    parser.add_argument("filters", nargs="*", metavar="FILTER", help=filters.HELP)
    columns = max(80, min(shutil.get_terminal_size((100, 24)).columns, 160))
    parser.add_argument("--width", type=int, default=columns, help="columns of the drawing")
    parser.add_argument("--svg", type=Path, metavar="OUT", help="draw a picture instead")
    options = parser.parse_args(arguments)
    try:
        wanted = filters.Filter(options.filters)
        traces = drawing.by_trace(read_document(_content(options.file))).values()
    except (ValueError, OSError) as error:
        sys.stderr.write(f"tracekit draw: {options.file}: {error}\n")
        return 1
    shown = [trace for trace in traces if wanted(trace)]
    if not shown:
        sys.stderr.write("tracekit draw: no trace passes the filters\n")
        return 1
    pictures = [drawing.lines(trace, options.width) for trace in shown]
    if options.svg:
        lines = [line for picture in pictures for line in (*picture, [])][:-1]
        options.svg.write_text(drawing.svg(lines, "traces"), "utf-8")
        return 0
    color = drawing.wants_color(sys.stdout, os.environ)
    text = "\n\n".join(drawing.text(picture, color=color) for picture in pictures)
    encoding = sys.stdout.encoding or "utf-8"
    sys.stdout.write(text.encode(encoding, "replace").decode(encoding) + "\n")
    return 0


def _content(name: str) -> bytes:
    if name == "-":
        return sys.stdin.buffer.read(MAX_FILE_BYTES)
    path = Path(name)
    if path.stat().st_size > MAX_FILE_BYTES:
        raise ValueError(f"more than {MAX_FILE_BYTES} bytes")
    return path.read_bytes()
