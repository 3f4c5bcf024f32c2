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
        "fields", metavar="NAME=VALUE", nargs="*", help="a keyword argument, as for init()"
    )
    options = parser.parse_args(arguments)
    fields = dict(field.partition("=")[::2] for field in options.fields)
    try:
        settings = Settings.resolve(fields.pop("service_name", None), environ=os.environ, **fields)
    except TypeError as error:
        parser.error(str(error))
    report = as_json(settings) if options.json else as_table(settings)
    encoding = sys.stdout.encoding or "utf-8"
    sys.stdout.write(report.encode(encoding, "backslashreplace").decode(encoding) + "\n")
    return _EXIT_BAD if settings.problems else 0


def as_json(settings: Settings) -> str:
    """Return the report as a JSON object: ``settings``, ``problems``, ``notes``, ``summary``."""
    rows = {
        name: {"value": value, "source": _source(settings, name)}
        for name, value in settings.masked().items()
    }
    report = {
        "summary": settings.summary(),
        "settings": rows,
        "problems": [problem._asdict() for problem in settings.problems],
        "notes": list(settings.notes),
    }
    return json.dumps(report, indent=2)


def as_table(settings: Settings) -> str:
    """Return the report as text: one line a setting, then what is bad or worth saying."""
    rows = [("SETTING", "VALUE", "SOURCE")]
    rows += [
        (name, _cell(value), _source(settings, name)) for name, value in settings.masked().items()
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
