"""The keys of ``Config``'s dictionary, as the archived client checked them."""

from __future__ import annotations

KEYS = frozenset(
    {
        "baggage_header_prefix",
        "debug_id_header",
        "enabled",
        "generate_128bit_trace_id",
        "local_agent",
        "logging",
        "max_operations",
        "max_tag_value_length",
        "max_traceback_length",
        "metrics",
        "propagation",
        "reporter_batch_size",
        "reporter_flush_interval",
        "reporter_queue_size",
        "sampler",
        "sampling_refresh_interval",
        "service_name",
        "tags",
        "throttler",
        "trace_id_header",
    }
)
KEY_OF = {
    "local_agent_reporting_host": ("local_agent", "reporting_host"),
    "local_agent_reporting_port": ("local_agent", "reporting_port"),
    "local_agent_sampling_port": ("local_agent", "sampling_port"),
}
"""Properties that do not have the name of their key: the group and the key in it."""
