"""The demo's run: start the shop, send requests as a mesh would, draw and judge what arrives."""

from __future__ import annotations

import os
import secrets
import socket
import sys
import uuid
from typing import TYPE_CHECKING, NamedTuple

import urllib3

from tracekit import drawing
from tracekit._cli.demo.hops import (
    DISPATCHED,
    PROCESS_ID,
    PROCESS_TAG,
    REFUSED,
    Ingress,
    faults,
    forwarded,
)
from tracekit._cli.demo.processes import Service, ServiceError

if TYPE_CHECKING:
    import contextlib
    from collections.abc import Callable, Sequence

    from tracekit._cli.demo.hops import Hop
    from tracekit.drawing import Line
    from tracekit.local import Backend

SERVICES = ("frontend", "route", "driver")
_REQUEST_TIMEOUT_S = 30.0
_TOLD = ("hostname", PROCESS_TAG[0], PROCESS_ID)


class Story(NamedTuple):
    """A request and what must come of it."""

    customer: str
    status: int
    hops: tuple[Hop, ...]


STORIES = (Story("123", 200, DISPATCHED), Story("731", 503, REFUSED))


class Show:
    """The running demo: its services, the back end they report to, what was drawn so far."""

    def __init__(self, backend: Backend, say: Callable[[str], None], width: int) -> None:
        self._backend = backend
        self._say = say
        self._width = width
        self.url = backend.url
        """Where the page with the traces is."""
        self._services: dict[str, Service] = {}
        self._frontend = ""
        self._drawn: list[Line] = []
        self._color = drawing.wants_color(sys.stdout, os.environ)

    def open(self, stack: contextlib.ExitStack, lose: str | None) -> bool:
        """Start the three services, which end with ``stack``; False if one does not listen.

        The spans of the service named ``lose`` go where nobody reads them.
        """
        deaf = stack.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
        deaf.bind(("127.0.0.1", 0))

        def start(name: str, program: str, *arguments: str) -> Service:
            port = deaf.getsockname()[1] if name == lose else self._backend.ports["compact"]
            service = Service(name, program, arguments, _variables(port))
            self._services[name] = stack.enter_context(service)
            return service

        self._say(f"receiver   127.0.0.1:{self._backend.ports['compact']}/udp")
        try:
            driver = start("driver", "grpc_service/server.py")
            route = start("route", "flask_app/app.py")
            neighbours = "--driver", driver.address(), "--router", f"http://{route.address()}"
            self._frontend = start("frontend", "flask_app/app.py", *neighbours).address()
        except ServiceError as error:
            self._say(f"  ✗ missing hop: {error}")
            return False
        for service in self._services.values():
            self._say(f"{service.name:<9}  {service.address()}  process {service.pid}")
        return True

    def run(self, stories: Sequence[Story], timeout_s: float) -> bool:
        """Tell all stories; True if each went well. Spans are waited for up to ``timeout_s``."""
        outcomes = [self._tell(story, timeout_s) for story in stories]
        return all(outcomes)

    def blame(self) -> None:
        """Show what the services wrote: one of them knows why."""
        for service in self._services.values():
            self._say(f"\n--- {service.name} ---\n{service.last_words()}")
        if (broken := self._backend.intake.broken) is not None:
            count = sum(self._backend.intake.malformed().values())
            self._say(f"\n{count} malformed messages, the last one: {broken.reason}")

    def picture(self) -> str:
        """Return the traces as an SVG document."""
        return drawing.svg(self._drawn[:-1], "Two traces of the ride-dispatch shop")

    def _tell(self, story: Story, timeout_s: float) -> bool:
        ingress = Ingress(secrets.randbits(127) + 1, secrets.randbits(63) + 1, str(uuid.uuid4()))
        path = f"/dispatch?customer={story.customer}"
        self._say(f"\nGET {path}")
        try:
            answer = urllib3.PoolManager().request(
                "GET",
                f"http://{self._frontend}{path}",
                headers=ingress.headers(),
                timeout=_REQUEST_TIMEOUT_S,
                retries=False,
            )
        except urllib3.exceptions.HTTPError as error:
            self._say(f"  ✗ missing hop: {story.hops[0]}: {error}")
            return False
        body = answer.data.decode("utf-8", "replace")
        self._say(f"{answer.status} {' '.join(body.split())}\n")
        self._backend.wait_until(
            lambda spans: not any(faults(story.hops, ingress, spans).values()), timeout_s
        )
        self._draw(ingress.trace_id)
        return self._judge(story, ingress, answer.status)

    def _draw(self, trace_id: int) -> None:
        trace = drawing.by_trace(self._backend.all_spans()).get(trace_id, [])
        if not trace:
            return
        picture = drawing.lines(trace, self._width)
        self._drawn += [*picture, []]
        self._say(drawing.text(picture, color=self._color) + "\n")
        for name, tags in {span.service: span.process_tags for span in trace}.items():
            shown = (f"{key}={tags[key]!s}" for key in _TOLD if key in tags)
            self._say(f"  process  {name:<9} {' '.join(shown)}")
        for service in self._services.values():
            for line in service.logged(trace_id):
                self._say(f"  log      {service.name:<9} {line}")

    def _judge(self, story: Story, ingress: Ingress, status: int) -> bool:
        verdict = faults(story.hops, ingress, self._backend.all_spans())
        for hop, fault in verdict.items():
            self._say(f"  ✗ missing hop: {hop}: {fault}" if fault else f"  ✓ {hop}")
        if any(verdict.values()):
            return False
        if status != story.status:
            self._say(f"  ✗ the answer is {status} instead of {story.status}")
            return False
        if story.hops == DISPATCHED and not forwarded(ingress, self._backend.all_spans()):
            self._say("  ✗ x-request-id was not forwarded to the route service")
            return False
        return True


def _variables(agent_port: int) -> dict[str, str]:
    return {
        "JAEGER_AGENT_HOST": "127.0.0.1",
        "JAEGER_AGENT_PORT": str(agent_port),
        "JAEGER_SAMPLER_TYPE": "const",
        "JAEGER_SAMPLER_PARAM": "1",
        "JAEGER_PROPAGATION": "jaeger,b3",
        "JAEGER_TAGS": "=".join(PROCESS_TAG),
        "JAEGER_REPORTER_FLUSH_INTERVAL": "200ms",
    }
