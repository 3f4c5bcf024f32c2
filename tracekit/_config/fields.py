"""The keyword arguments that are settings, for type checkers: names and what may be written.

A test holds them equal to the table of settings, which is what checks the values.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypedDict

KeepEntry = str | Callable[[Any, Sequence[Any]], object]


class SettingsFields(TypedDict, total=False):
    """Settings of ``init`` beside those that it names itself; None means *not given*.

    Times are seconds, or a text such as ``1m30s``.
    """

    disabled: bool | None
    tags: Mapping[str, str] | str | None
    traceid_128bit: bool | None
    rpc_metrics: bool | None
    propagation: Sequence[str] | str | None
    extract_order: str | None
    semconv: str | None
    also: str | None
    redact: Sequence[str] | str | None
    instrument: Sequence[str] | str | None
    disabled_instrumentations: Sequence[str] | str | None
    trace_id_header: str | None
    baggage_header_prefix: str | None
    debug_id_header: str | None
    baggage_header: str | None
    sampler_type: str | None
    sampler_param: float | None
    sampling_endpoint: str | None
    sampling_port: int | None
    sampler_max_operations: int | None
    sampler_refresh_s: float | str | None
    sampler_file: str | None
    keep: KeepEntry | Sequence[KeepEntry] | None
    keep_spans: int | None
    keep_bytes: int | None
    keep_per_second: float | None
    queue_size: int | None
    flush_s: float | str | None
    max_batch_spans: int | None
    drop_policy: str | None
    log_spans: bool | None
    native: bool | None
    exit_budget_s: float | str | None
    drain_on_sigterm: bool | None
    agent_host: str | None
    agent_port: int | None
    agent_protocol: str | None
    agent_family: str | None
    max_packet_bytes: int | None
    max_burst_bytes: int | None
    burst_pause_s: float | str | None
    reconnect: bool | None
    reconnect_s: float | str | None
    endpoint: str | None
    user: str | None
    password: str | None
    auth_token: str | None
    headers: Mapping[str, str] | str | None
    timeout_s: float | str | None
    compression: str | None
    ca_file: str | None
    cert_file: str | None
    key_file: str | None
    max_attributes: int | None
    max_events: int | None
    max_links: int | None
    max_event_attributes: int | None
    max_link_attributes: int | None
    max_attribute_length: int | None
    max_span_attribute_length: int | None


class NamedSettingsFields(SettingsFields, total=False):
    """The same with the name of the service, where that is no argument of its own."""

    service_name: str | None
