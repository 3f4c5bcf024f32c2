"""Who this process is: the resource of its spans and the tags that Jaeger's clients added."""

from __future__ import annotations

import socket
import uuid
from typing import TYPE_CHECKING

from opentelemetry.sdk.resources import Resource

from tracekit._assembly.distribution import VERSION

if TYPE_CHECKING:
    from tracekit.settings import Settings


def resource_of(settings: Settings) -> Resource:
    """Return the resource: the service's name, its tags, and which SDK this is.

    Made by hand: ``Resource.create`` would read the environment a second time.
    """
    return Resource(
        {
            "telemetry.sdk.language": "python",
            "telemetry.sdk.name": "tracekit",
            "telemetry.sdk.version": VERSION,
            **settings.tags,
            "service.name": settings.service_name,
        }
    )


def jaeger_tags() -> dict[str, str]:
    """Return the process tags of the Jaeger clients, all strings; asked once per process.

    ``client-uuid`` must be a string and change with the process: the agent keys the clients'
    loss figures by it. ``ip`` is the address of the interface that leads outside, found without
    sending anything.
    """
    return {
        "jaeger.version": f"tracekit-{VERSION}",
        "hostname": socket.gethostname(),
        "ip": _own_address(),
        "client-uuid": uuid.uuid4().hex[:16],
    }


def _own_address() -> str:
    try:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
            probe.connect(("192.0.2.1", 9))  # TEST-NET-1: only the route is looked up
            return str(probe.getsockname()[0])
    except OSError:
        return "127.0.0.1"
