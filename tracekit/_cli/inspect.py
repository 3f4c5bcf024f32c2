"""``tracekit inspect``: which installed packages are traced, by what, and which could be."""

from __future__ import annotations

import argparse
import json
import sys
from importlib import metadata
from typing import TYPE_CHECKING, NamedTuple

from tracekit._instrument import _contrib
from tracekit._instrument._table import CONTRIB, EDGES
from tracekit._instrument.instrumented import Choice

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

_PROGRAM = "tracekit inspect"
_PACKAGE = "opentelemetry-instrumentation-"
_NAMED_OTHERWISE = {"kafka": "kafka-python", "httpx2": "httpx"}


class Row(NamedTuple):
    """One package that is installed and that tracing knows something about."""

    package: str
    version: str
    name: str
    """What ``TRACEKIT_INSTRUMENT`` calls it."""
    traced_by: str | None
    """None: by nothing, as things are."""
    note: str
    """What to install, or why it is off; "" where there is nothing to say."""


def main(arguments: Sequence[str]) -> int:
    """Print the table; return 0."""
    parser = argparse.ArgumentParser(
        prog=_PROGRAM,
        description="Show which installed packages tracekit.instrument() and tracekit run trace"
        " here, by what, and which could be traced. Nothing of them is imported.",
    )
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    options = parser.parse_args(arguments)
    rows = sorted(_rows(), key=lambda row: (row.traced_by is None, row.package, row.name))
    if options.json:
        print(json.dumps([row._asdict() for row in rows], indent=2))
    else:
        _print(rows)
    return 0


def _print(rows: Sequence[Row]) -> None:
    table = [("PACKAGE", "NAME", "TRACED BY", "")]
    table += [
        (f"{row.package} {row.version}".rstrip(), row.name, row.traced_by or "-", row.note)
        for row in rows
    ]
    widths = [max(len(line[column]) for line in table) for column in range(3)]
    for line in table:
        cells = [cell.ljust(width) for cell, width in zip(line, (*widths, 0), strict=True)]
        print("  ".join(cells).rstrip())


def _rows() -> Iterator[Row]:
    choice = Choice.of(None, (), None)
    try:
        contrib = _contrib.found()
    except Exception as error:  # somebody's broken metadata
        sys.stderr.write(f"{_PROGRAM}: the installed instrumentors are unknown: {error}\n")
        contrib = {}
    known = {name for edge in EDGES for name in edge.replaces}
    for edge in EDGES:
        version = _version(edge.distribution)
        if version is not None:
            wanted = choice.wants(edge.name, *edge.replaces)
            yield _row(edge.distribution or edge.package, version, edge.name, edge.module, wanted)
    for name in contrib.keys() - known:
        point = contrib[name]
        package = _distribution(point)
        version = _version(package)
        if version is not None:
            wanted = choice.wants(name)
            yield _row(package or CONTRIB[name][0], version, name, _declaring(point), wanted)
    yield from _lacking(known | contrib.keys())


def _lacking(known: set[str]) -> Iterator[Row]:
    """Say what contrib has an instrumentor for, beside the ``known`` ones."""
    for name in CONTRIB.keys() - known:
        package = CONTRIB[name][1]
        version = _version(package)
        if package and version is not None:
            lacking = _PACKAGE + _NAMED_OTHERWISE.get(name, name).replace("_", "-")
            yield Row(package, version, name, None, f"pip install {lacking}")


def _row(package: str, version: str, name: str, by: str, wanted: bool) -> Row:
    return Row(package, version, name, by if wanted else None, "" if wanted else "switched off")


def _distribution(point: _contrib.Declared) -> str:
    if point.name in CONTRIB:
        return CONTRIB[point.name][1]
    try:
        required = point.requirements()
    except Exception:  # as above
        required = []
    return next((each for each in required if _version(each) is not None), "unknown")


def _declaring(point: _contrib.Declared) -> str:
    """Return who brings an instrumentor, as far as its metadata tell."""
    try:
        entry = point.entry_point()
        by = f"{entry.dist.name} {entry.dist.version}" if entry.dist else entry.value
    except Exception:  # as above
        by = "an instrumentor with broken metadata"
    return by


def _version(distribution: str) -> str | None:
    """Return the installed version, "" where there is none to tell; None: it is not installed."""
    if not distribution:  # the standard library
        return ""
    try:
        return metadata.version(distribution) or ""  # metadata may lack it
    except Exception:  # not there, or its metadata cannot be read
        return None
