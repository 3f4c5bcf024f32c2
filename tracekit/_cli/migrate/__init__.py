"""``tracekit migrate``: what in a program is of retired libraries, and what to write instead."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from tracekit._cli.migrate.reading import Finding, files_of, read
from tracekit._display import quoted

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

_NO_ROW = "no row for this: it may have no counterpart"
_OWN = "no tracing client reads this: the program's own?"


def main(arguments: Sequence[str]) -> int:
    """Print what is found below each path; return 0, or 1 if something has no row."""
    parser = argparse.ArgumentParser(
        prog="tracekit migrate",
        description="Name each import, option, variable and idiom of jaeger-client, of"
        " OpenTracing's and of OpenTelemetry's packages in a program, and what to write instead."
        " Files are read, never run and never changed.",
        epilog="Exit status: 0; 1 when something has no row or could not be read; 2 when misused.",
    )
    parser.add_argument("paths", metavar="PATH", nargs="+", type=Path, help="a file or a folder")
    options = parser.parse_args(arguments)
    for path in options.paths:
        if not path.exists():
            parser.error(f"{quoted(path)} does not exist")
    found = {path: findings for top in options.paths for path, findings in _found(top)}
    lines = [line for path, findings in found.items() for line in _told(path, findings)]
    text = "\n".join([*lines, _summary(found.values())])
    encoding = sys.stdout.encoding or "utf-8"
    print(text.encode(encoding, "backslashreplace").decode(encoding))
    return int(any(not it.new for findings in found.values() for it in findings))


def _found(top: Path) -> Iterator[tuple[Path, list[Finding]]]:
    for path in files_of(top):
        try:
            findings = read(path)
        except OSError as error:
            findings = [Finding(0, "unread", quoted(error.strerror or error), "")]
        if findings:
            yield path, findings


def _told(path: Path, findings: list[Finding]) -> Iterator[str]:
    yield quoted(path)
    for it in findings:
        place = f"{it.line}" if it.line else "-"
        missing = _OWN if it.kind == "variable" else _NO_ROW
        new = it.new.replace("`", "") or (missing if it.line else "")
        yield f"  {place:>4}  {it.kind:<11} {quoted(it.old)}" + (f"  →  {new}" if new else "")
    yield ""


def _summary(found: Iterable[list[Finding]]) -> str:
    every = [findings for findings in found if findings]
    things = [it for findings in every for it in findings if it.kind != "unread"]
    without = sum(not it.new for it in things)
    if not things:
        return "Nothing of retired tracing libraries was found."
    return f"{len(things)} found in {len(every)} files, {without} of them without a row."
