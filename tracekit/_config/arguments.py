"""Keyword arguments: what a program says itself, in every form that a variable takes as well.

``tags`` and ``headers`` may be the texts of JAEGER_TAGS and of OTEL_EXPORTER_OTLP_HEADERS;
``endpoint`` may be the target ``host:port`` of an OTLP exporter, with ``insecure`` beside it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from tracekit._config import values as v
from tracekit._config.layers import Layer
from tracekit._config.transports import TRANSPORTS

if TYPE_CHECKING:
    from collections.abc import Mapping

BESIDE = frozenset({"insecure"})
"""Arguments that are no settings: they say more about one."""


def from_arguments(fields: Mapping[str, object]) -> Layer:
    """Return the layer of keyword arguments; None means *not given*."""
    layer = Layer()
    given = {name: value for name, value in fields.items() if value is not None}
    for name in BESIDE:
        given.pop(name, None)
    for name, value in given.items():
        if name == "endpoint" and isinstance(value, str) and "://" not in value:
            _target(layer, value, given.get("transport"), insecure=fields.get("insecure"))
        elif name in _PAIRS and isinstance(value, str):
            _pairs(layer, name, value)
        else:
            layer.give(name, value, f"argument {name}", called=name)
    return layer


def _target(layer: Layer, written: str, transport: object, *, insecure: object) -> None:
    """Give wire and URL of ``host:port``: https unless somebody says ``insecure``, as gRPC has it.

    The wire follows from the port unless ``transport`` says it.
    """
    source = "argument endpoint"
    try:
        plain = insecure is not None and v.boolean(insecure)
    except ValueError as error:
        layer.complain("endpoint", "insecure", insecure, str(error))
        plain = False
    try:
        target = v.host_port(written)
    except ValueError:
        layer.complain("endpoint", "endpoint", written, "is neither a URL nor host:port")
        return
    port = v.port(target.rpartition(":")[2])
    # A port on which one thing only is spoken says which; any other is taken for OTLP over HTTP.
    wire = next((row.kind for row in TRANSPORTS.values() if row.port == port), "otlp-http")
    if transport is None:
        layer.give("transport", wire, source, called="endpoint", written=written)
    else:
        wire = str(transport)
    path = TRANSPORTS[wire].path if wire in TRANSPORTS else ""
    url = f"{'http' if plain else 'https'}://{target}{path}"
    layer.give("endpoint", url, source, called="endpoint", written=written)


def _pairs(layer: Layer, name: str, written: str) -> None:
    found, complaints = _PAIRS[name](written)
    for message in complaints:
        layer.complain(name, name, written, message)
    layer.give(name, found, f"argument {name}", called=name, written=written)


_PAIRS = {
    "headers": lambda written: v.percent_pairs(written, secret=True),
    "tags": v.tag_pairs,
}
