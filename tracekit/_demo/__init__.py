"""``tracekit demo``: three processes, two protocols, one trace, received over a real socket."""

from __future__ import annotations

import argparse
import contextlib
import importlib.util
import os
import secrets
import shutil
import signal
import socket
import sys
import uuid
from pathlib import Path
from typing import TYPE_CHECKING

import urllib3

from tracekit._demo._hops import (
    DISPATCHED,
    PROCESS_ID,
    PROCESS_TAG,
    REFUSED,
    Ingress,
    faults,
    forwarded,
)
from tracekit._demo._processes import Service, ServiceError
from tracekit.local import Receiver, _paint, _tree

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from tracekit._demo._hops import Hop
    from tracekit.local._tree import Line

_NEEDED = ("flask", "requests", "grpc", "grpc_tools")
_SPANS_TIMEOUT_S = 10.0
_REQUEST_TIMEOUT_S = 30.0
_TOLD = ("hostname", PROCESS_TAG[0], PROCESS_ID)
_SERVICES = ("frontend", "route", "driver")


def main(arguments: Sequence[str]) -> int:
    """Run the demo: 0 if the trace crossed every process, 1 if not, 2 if packages are missing."""
    options = _parser().parse_args(arguments)
    missing = [name for name in _NEEDED if importlib.util.find_spec(name) is None]
    if missing:
        _say(f"tracekit demo needs {', '.join(missing)}:\npip install 'tracekit[demo]'")
        return 2
    if sys.stdout.encoding.lower() not in ("utf-8", "utf8"):
        sys.stdout.reconfigure(errors="replace")  # type: ignore[union-attr]
    with contextlib.ExitStack() as stack:
        stack.enter_context(_ended_by_sigterm())
        show = Show(stack.enter_context(Receiver()), options.width)
        try:
            show.open(stack, options.lose)
            passed = show.dispatch("123", 200, DISPATCHED, options.timeout)
            passed = show.dispatch("731", 503, REFUSED, options.timeout) and passed
        except (ServiceError, urllib3.exceptions.HTTPError) as error:
            _say(f"missing hop: {error}")
            passed = False
        if not passed:
            show.blame()
            return 1
        if options.svg:
            options.svg.write_text(show.picture(), "utf-8")
    _say("The traces crossed all three processes over the socket.")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="tracekit demo", description=__doc__)
    parser.add_argument("--svg", type=Path, metavar="FILE", help="also draw the traces there")
    columns = max(80, min(shutil.get_terminal_size((100, 24)).columns, 140))
    parser.add_argument("--width", type=int, default=columns, help="columns of the drawing")
    # For the test of the demo itself: what one service sends goes to a port nobody reads.
    parser.add_argument("--lose", choices=_SERVICES, help=argparse.SUPPRESS)
    parser.add_argument("--timeout", type=float, default=_SPANS_TIMEOUT_S, help=argparse.SUPPRESS)
    return parser


class Show:
    """The running demo: its services, the receiver they report to, what was drawn so far."""

    def __init__(self, receiver: Receiver, width: int) -> None:
        self._receiver = receiver
        self._width = width
        self._services: dict[str, Service] = {}
        self._frontend = ""
        self._drawn: list[Line] = []
        self._color = (
            sys.stdout.isatty()
            and not os.environ.get("NO_COLOR")
            and os.environ.get("TERM") != "dumb"
        )

    def open(self, stack: contextlib.ExitStack, lose: str | None) -> None:
        """Start the three services; they end with ``stack``."""
        deaf = stack.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
        deaf.bind(("127.0.0.1", 0))

        def start(name: str, program: str, *arguments: str) -> Service:
            port = deaf.getsockname()[1] if name == lose else self._receiver.port
            service = Service(name, program, arguments, _variables(port))
            self._services[name] = stack.enter_context(service)
            return service

        driver = start("driver", "grpc_service/server.py")
        route = start("route", "flask_app/app.py")
        to_driver, to_route = driver.address(), route.address()
        frontend = start(
            "frontend",
            "flask_app/app.py",
            *("--driver", to_driver, "--router", f"http://{to_route}"),
        )
        self._frontend = frontend.address()
        _say(f"receiver   127.0.0.1:{self._receiver.port}/udp")
        for service in self._services.values():
            _say(f"{service.name:<9}  {service.address()}  process {service.pid}")

    def dispatch(self, customer: str, status: int, hops: Sequence[Hop], timeout_s: float) -> bool:
        """Send one request as a mesh would, draw its trace, judge each hop; True if all is well."""
        ingress = Ingress(secrets.randbits(127) + 1, secrets.randbits(63) + 1, str(uuid.uuid4()))
        path = f"/dispatch?customer={customer}"
        answer = urllib3.request(
            "GET",
            f"http://{self._frontend}{path}",
            headers=ingress.headers(),
            timeout=_REQUEST_TIMEOUT_S,
            retries=False,
        )
        body = answer.data.decode("utf-8", "replace").strip()
        _say(f"\nGET {path}\n{answer.status} {' '.join(body.split())}\n")
        self._receiver.wait_until(
            lambda spans: not any(faults(hops, ingress, spans).values()), timeout_s
        )
        self._draw(ingress.trace_id)
        return self._judge(hops, ingress, answer.status == status)

    def _draw(self, trace_id: int) -> None:
        trace = _tree.by_trace(self._receiver.spans()).get(trace_id, [])
        if not trace:
            return
        picture = _tree.lines(trace, self._width)
        self._drawn += [*picture, []]
        _say(_paint.text(picture, color=self._color) + "\n")
        for name, tags in {span.service: span.process_tags for span in trace}.items():
            shown = (f"{key}={tags[key]!s}" for key in _TOLD if key in tags)
            _say(f"  process  {name:<9} {' '.join(shown)}")
        for service in self._services.values():
            for line in service.logged(trace_id):
                _say(f"  log      {service.name:<9} {line}")

    def _judge(self, hops: Sequence[Hop], ingress: Ingress, answered: bool) -> bool:
        verdict = faults(hops, ingress, self._receiver.spans())
        for hop, fault in verdict.items():
            _say(f"  ✗ missing hop: {hop}: {fault}" if fault else f"  ✓ {hop}")
        if any(verdict.values()):
            return False
        if hops is DISPATCHED and not forwarded(ingress, self._receiver.spans()):
            _say("  ✗ x-request-id was not forwarded to the route service")
            return False
        if not answered:
            _say("  ✗ the answer is not the expected one")
        return answered

    def blame(self) -> None:
        """Show what the services wrote: one of them knows why."""
        for service in self._services.values():
            _say(f"\n--- {service.name} ---\n{service.last_words()}")
        if self._receiver.malformed:
            _say(f"\n{self._receiver.malformed} malformed datagrams: {self._receiver.last_error}")

    def picture(self) -> str:
        """Return the traces as an SVG document."""
        return _paint.svg(self._drawn[:-1], "Two traces of the ride-dispatch shop")


def _variables(agent_port: int) -> dict[str, str]:
    return {
        "JAEGER_AGENT_HOST": "127.0.0.1",
        "JAEGER_AGENT_PORT": str(agent_port),
        "JAEGER_SAMPLER_TYPE": "const",
        "JAEGER_SAMPLER_PARAM": "1",
        "JAEGER_PROPAGATION": "jaeger,b3",
        "JAEGER_TAGS": "shop=rides",
        "JAEGER_REPORTER_FLUSH_INTERVAL": "200ms",
    }


@contextlib.contextmanager
def _ended_by_sigterm() -> Iterator[None]:
    """Turn SIGTERM into an ordinary exit, so that the services end with the demo."""
    before = signal.signal(signal.SIGTERM, lambda number, _frame: sys.exit(128 + number))
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _say(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()
