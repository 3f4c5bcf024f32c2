"""Print the reference pages that are made from the project's tables: ``python -m docs``.

A page is a function from nothing to Markdown; a test compares each with the file.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from tracekit import _env
from tracekit._schema import SETTINGS, Setting

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from tracekit._env._row import Row

REFERENCE = Path(__file__).parent / "reference"


_ENVIRONMENT = """\
# Variables and settings

Printed from the environment table by `make docs`.

Keyword arguments of `init` win over variables, those over the file that `{file}` names,
that over the defaults. Jaeger's variables win over OpenTelemetry's; where two variables feed one
setting, the upper row wins. An empty variable counts as unset. A bad value costs one log line and
is replaced; with `strict=True` all of them are raised together. Durations are Go's (`500ms`, `1s`,
`1m30s`) or plain milliseconds; booleans are `1 t true` and `0 f false` in any case. `tracekit env`
shows what is in force and why.

## Jaeger's and tracekit's variables

{own}

## OpenTelemetry's variables

{otel}

## Settings

The names that `init`, a configuration file and `Settings.flat()` use. Times are seconds. In a file
the settings of one part may stand in a section of its name (`sampler:`), by their names there.

{settings}
"""


def environment() -> str:
    """Return the page about variables and settings."""
    otel = [row for row in _env.ROWS if row.known_to == "OpenTelemetry"]
    return _ENVIRONMENT.format(
        file=_env.CONFIG_FILE,
        own="\n".join(_variables(row for row in _env.ROWS if row not in otel)),
        otel="\n".join(_variables(otel)),
        settings="\n".join(_settings(SETTINGS.values())),
    )


def _variables(rows: Iterable[Row]) -> Iterator[str]:
    yield "| variable | setting | what it says | example | known to |"
    yield "|---|---|---|---|---|"
    for row in rows:
        receiver = {"jaeger": " Only with `http`.", "otlp": " Only with OTLP."}.get(row.wire, "")
        said = row.help if row.instead or row.setting == "endpoint" else row.help + receiver
        cells = (f"`{row.name}`", f"`{row.setting}`", said, f"`{row.example}`", row.known_to)
        yield _line(cells)


def _settings(settings: Iterable[Setting]) -> Iterator[str]:
    yield "| setting | in a section | default | what it says |"
    yield "|---|---|---|---|"
    for row in settings:
        place = f"`{row.part}: {row.attribute}`" if row.part else ""
        yield _line((f"`{row.name}`", place, _default(row.default), row.help))


def _default(value: object) -> str:
    if value is None or value == {}:
        return ""
    if isinstance(value, bool):
        return f"`{str(value).lower()}`"
    if isinstance(value, tuple):
        return f"`{','.join(value)}`"
    return f"`{value:g}`" if isinstance(value, float) else f"`{value}`"


def _line(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |"


PAGES: Mapping[str, Callable[[], str]] = {"environment.md": environment}


def main() -> None:
    """Write every page."""
    for name, page in PAGES.items():
        (REFERENCE / name).write_text(page(), encoding="utf-8")


if __name__ == "__main__":
    main()
