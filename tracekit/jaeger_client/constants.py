"""The constants that ``jaeger_client.constants`` had and programs refer to."""

from __future__ import annotations

from tracekit._assembly.distribution import VERSION

TRACE_ID_HEADER = "uber-trace-id"
BAGGAGE_HEADER_PREFIX = "uberctx-"
DEBUG_ID_HEADER_KEY = "jaeger-debug-id"
BAGGAGE_HEADER_KEY = "jaeger-baggage"

JAEGER_CLIENT_VERSION = f"tracekit-{VERSION}"
JAEGER_VERSION_TAG_KEY = "jaeger.version"
JAEGER_HOSTNAME_TAG_KEY = "hostname"
JAEGER_IP_TAG_KEY = "ip"
CLIENT_UUID_TAG_KEY = "client-uuid"

SAMPLER_TYPE_CONST = "const"
SAMPLER_TYPE_REMOTE = "remote"
SAMPLER_TYPE_PROBABILISTIC = "probabilistic"
SAMPLER_TYPE_RATE_LIMITING = "ratelimiting"
SAMPLER_TYPE_LOWER_BOUND = "lowerbound"

SAMPLED_FLAG = 0x01
DEBUG_FLAG = 0x02

MAX_ID_BITS = _max_id_bits = 64
_max_trace_id_bits = 128
MAX_TAG_VALUE_LENGTH = 1024
"""Characters of a text tag."""
MAX_TRACEBACK_LENGTH = 4096
"""Characters of a traceback in a tag or log."""
DEFAULT_SAMPLING_INTERVAL = 60
"""Seconds between two questions to the sampling server."""
DEFAULT_FLUSH_INTERVAL = 1
"""Seconds that a span waits for others."""
DEFAULT_THROTTLER_REFRESH_INTERVAL = 5
"""Seconds between two questions to a server that nobody ever ran."""
