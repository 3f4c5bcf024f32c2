"""A handle whose spans go nowhere and are freed, for tests of memory and of time."""

from __future__ import annotations

import tracekit
from tracekit.testing import MemoryTransport
from tracekit.transport import SendResult


class Nowhere(MemoryTransport):
    """Takes payloads and keeps none."""

    def send(self, payload, deadline_s):
        return SendResult.sent()


def to_nowhere(*, sampled):
    """Return a handle of its own that samples all or nothing."""
    return tracekit.init(
        "nowhere",
        environ={},
        set_global=False,
        sampler_type="const",
        sampler_param=int(sampled),
        transport=Nowhere(),
    )
