"""The dictionary of ``jaeger_client.Config``, key by key.

All keys that the archived Python client read are known here; durations are seconds, as there.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from tracekit._config.layers import Layer, did_you_mean
from tracekit._config.values import negated

if TYPE_CHECKING:
    from collections.abc import Callable

_KEYS: Mapping[str, str] = {
    "service_name": "service_name",
    "logging": "log_spans",
    "local_agent.reporting_host": "agent_host",
    "local_agent.reporting_port": "agent_port",
    "local_agent.sampling_port": "sampling_port",
    "sampler.type": "sampler_type",
    "sampler.param": "sampler_param",
    "reporter_batch_size": "max_batch_spans",
    "reporter_queue_size": "queue_size",
    "reporter_flush_interval": "flush_s",
    "sampling_refresh_interval": "sampler_refresh_s",
    "propagation": "propagation",
    "max_operations": "sampler_max_operations",
    "max_tag_value_length": "max_attribute_length",
    "generate_128bit_trace_id": "traceid_128bit",
    "trace_id_header": "trace_id_header",
    "baggage_header_prefix": "baggage_header_prefix",
    "debug_id_header": "debug_id_header",
}

# Known, and without effect here: nothing ever consulted local_agent.enabled, no server ever
# answered the throttler, and the metrics factory belongs to whoever builds the tracer.
_WITHOUT_EFFECT = frozenset(
    {
        "local_agent.enabled",
        "max_traceback_length",
        "metrics",
        "throttler",
    }
)
_SECTIONS = ("local_agent", "sampler")
_DECISIONS = {"true": 1.0, "false": 0.0}
"""What YAML and templates make of a const sampler's parameter."""
# Written with underscores or dashes, a header had dashes on the wire.
_HEADERS = ("trace_id_header", "baggage_header_prefix", "debug_id_header")


def meaning(key: str) -> str:
    """Return what is made of a key (``group.key`` within a group); "" if there never was one."""
    if key in _WITHOUT_EFFECT or key.partition(".")[0] == "throttler":
        return "accepted, no effect"
    return "as it was" if key in _KEYS or key in ("enabled", "sampler", "tags") else ""


def read(config: Mapping[str, object], service_name: str | None) -> tuple[Layer, Layer]:
    """Return the layer of the dictionary, and that of its tags, which any other layer beats."""
    layer, tags = Layer(), Layer()
    for key, value in _flattened(config).items():
        if value is None or key in _WITHOUT_EFFECT:
            continue
        if key in _HEADERS and isinstance(value, str):
            layer.give(_KEYS[key], value.replace("_", "-"), f"config {key}", called=key)
        elif key == "sampler.param" and str(value).lower() in _DECISIONS:
            layer.give(_KEYS[key], _DECISIONS[str(value).lower()], f"config {key}", called=key)
        elif key in _KEYS:
            layer.give(_KEYS[key], value, f"config {key}", called=key)
        elif key == "enabled":
            _give_read("disabled", negated, key, value, layer)
        elif key == "tags":
            tags.give("tags", _texts(value), f"config {key}", called=key)
        elif key in _SECTIONS:
            layer.complain(None, key, value, "wants a mapping")
        else:
            known = (*_KEYS, *_WITHOUT_EFFECT, *_SECTIONS, "enabled", "tags")
            layer.complain(
                None, key, value, f"is no key of this dictionary{did_you_mean(key, known)}"
            )
    if service_name is not None:
        layer.give("service_name", service_name, "argument service_name", called="service_name")
    return layer, tags


def _give_read(
    setting: str, read_: Callable[[object], object], key: str, value: object, layer: Layer
) -> None:
    try:
        layer.give(setting, read_(value), f"config {key}", called=key)
    except ValueError as error:
        layer.complain(setting, key, value, str(error))


def _texts(tags: object) -> object:
    """Return tags of any type as the Python client sent them: what Thrift has no type for as text.

    A value that cannot be printed stays for the check of the setting to refuse.
    """
    if not isinstance(tags, Mapping):
        return tags
    try:
        return {
            key: value if isinstance(value, str | int | float) else str(value)
            for key, value in tags.items()
        }
    except Exception:  # a ``__str__`` of the program's
        return tags


def _flattened(config: Mapping[str, object]) -> dict[str, object]:
    """Return ``{"sampler": {"type": …}}`` as ``{"sampler.type": …}``."""
    found: dict[str, object] = {}
    for key, value in config.items():
        if key in _SECTIONS and isinstance(value, Mapping):
            found.update({f"{key}.{inner}": item for inner, item in value.items()})
        else:
            found[str(key)] = value
    return found
