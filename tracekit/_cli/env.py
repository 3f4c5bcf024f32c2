"""``tracekit env``: the settings that ``init`` would use here, each with its source."""

from __future__ import annotations

import argparse
import json
import os
import sys
from typing import TYPE_CHECKING

from tracekit.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Sequence

_PROGRAM = "tracekit env"
_EXIT_BAD = 2


def main(arguments: Sequence[str]) -> int:
    """Print the report on this process' environment; return 0, or 2 when a setting is bad."""
    parser = argparse.ArgumentParser(
        prog=_PROGRAM,
        description="Show the settings that tracekit.init() would use here, and their sources.",
        epilog="Exit status: 0, or 2 when a setting is bad. Secrets are masked.",
    )
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    parser.add_argument(
        "--changed", action="store_true", help="only what differs from the defaults"
    )
    parser.add_argument(
        "fields", metavar="NAME=VALUE", nargs="*", help="a keyword argument, as for init()"
    )
    options = parser.parse_args(arguments)
    settings = resolved(parser, options.fields)
    show = as_json if options.json else as_table
    report = show(settings, changed=options.changed)
    encoding = sys.stdout.encoding or "utf-8"
    sys.stdout.write(report.encode(encoding, "backslashreplace").decode(encoding) + "\n")
    return _EXIT_BAD if settings.problems else 0


def resolved(parser: argparse.ArgumentParser, written: Sequence[str]) -> Settings:
    """Return the settings of this environment under ``NAME=VALUE`` arguments; exits if misused."""
    fields = dict(field.partition("=")[::2] for field in written)
    try:
        return Settings.from_fields(fields, environ=os.environ)
    except TypeError as error:
        parser.error(str(error))


def _rows(settings: Settings, *, changed: bool) -> list[tuple[str, object, str]]:
    """Return name, value and source of each setting, or of those that are not the default."""
    rows = [(name, value, _source(settings, name)) for name, value in settings.masked().items()]
    if not changed:
        return rows
    plain = Settings.resolve(environ={}).masked()
    return [row for row in rows if row[2] != "default" or plain.get(row[0]) != row[1]]


def as_json(settings: Settings, *, changed: bool = False) -> str:
    """Return the report as a JSON object: ``settings``, ``problems``, ``notes``, ``summary``."""
    rows = {
        name: {"value": value, "source": source}
        for name, value, source in _rows(settings, changed=changed)
    }
    report = {
        "summary": settings.summary(),
        "settings": rows,
        "problems": [problem._asdict() for problem in settings.problems],
        "notes": list(settings.notes),
    }
    return json.dumps(report, indent=2)


def as_table(settings: Settings, *, changed: bool = False) -> str:
    """Return the report as text: one line a setting, then what is bad or worth saying."""
    rows = [("SETTING", "VALUE", "SOURCE")]
    rows += [
        (name, _cell(value), source) for name, value, source in _rows(settings, changed=changed)
    ]
    names = max(len(name) for name, _, _ in rows)
    values = min(max(len(value) for _, value, _ in rows), 48)
    lines = [f"{name:<{names}}  {value:<{values}}  {source}" for name, value, source in rows]
    lines += ["", settings.summary()]
    lines += [f"note: {note}" for note in settings.notes]
    lines += [f"bad: {problem}" for problem in settings.problems]
    return "\n".join(lines)


def _source(settings: Settings, name: str) -> str:
    if name == "authorization":  # follows from these
        name = "user" if settings.transport.user is not None else "auth_token"
    return settings.sources[name]


def _cell(value: object) -> str:
    if value is None:
        return "-"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list):
        value = ",".join(map(str, value))
    if isinstance(value, dict):
        value = ",".join(f"{key}={item}" for key, item in value.items())
    written = f"{value:g}" if isinstance(value, float) else str(value)
    return written if written.isprintable() else repr(written)
