"""The environment table: the only place that names JAEGER_*, OTEL_* and TRACEKIT_* variables.

One row a variable. Jaeger's and tracekit's own rows form one layer, OpenTelemetry's a second one
below it, so JAEGER_* beats OTEL_*. ``docs/reference/environment.md`` is printed from the rows.
Empty variables count as unset.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from tracekit._config import values as v
from tracekit._config.layers import Layer
from tracekit._config.variables import jaeger, opentelemetry

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tracekit._config.variables.row import Row

CONFIG_FILE = "TRACEKIT_CONFIG_FILE"
ROWS: tuple[Row, ...] = jaeger.ROWS + opentelemetry.ROWS


def read(environ: Mapping[str, str]) -> tuple[Layer, Layer]:
    """Return the layer of Jaeger's and tracekit's variables, and that of OpenTelemetry's."""
    clean = {name: v.clean(value) for name, value in environ.items()}
    held = {name: value for name, value in clean.items() if value.strip()}
    ours = _layer(jaeger.ROWS, held)
    ours.notes += _strangers(held)
    return ours, _layer(opentelemetry.ROWS, held)


def variable(setting: str) -> str:
    """Return the first variable that feeds ``setting``: the one to tell a user about."""
    return next(row.name for row in ROWS if row.setting == setting)


def config_file(environ: Mapping[str, str]) -> str | None:
    """Return the path of the configuration file, if a variable names one."""
    return v.clean(environ.get(CONFIG_FILE, "")).strip() or None


def _layer(rows: tuple[Row, ...], environ: Mapping[str, str]) -> Layer:
    layer = Layer()
    for row in rows:
        if row.name in environ:
            row.read(environ, layer)
    return layer


def _strangers(environ: Mapping[str, str]) -> list[str]:
    """Name the variables that look mistyped; not Kubernetes' own, such as JAEGER_PORT_80_TCP."""
    known = {row.name for row in ROWS} | {CONFIG_FILE}
    notes = []
    for name in sorted(environ.keys() - known):
        if not name.startswith(("JAEGER_", "TRACEKIT_")):
            continue
        import difflib  # noqa: PLC0415 - only where a variable is not known

        if near := difflib.get_close_matches(name, known, n=1, cutoff=0.9):
            notes.append(f"{name} is not read; did you mean {near[0]}?")
    return notes
