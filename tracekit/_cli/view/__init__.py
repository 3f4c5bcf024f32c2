"""``tracekit view``: receive traces on this machine and look at them, without Docker."""

from __future__ import annotations

import argparse
import contextlib
import os
import shutil
import signal
import sys
import threading
import webbrowser
from pathlib import Path
from typing import TYPE_CHECKING

from tracekit import drawing
from tracekit._cli.view import filters
from tracekit._cli.view.live import Live
from tracekit.errors import StrategyError
from tracekit.local import PORTS, Backend, PortsTakenError, Strategies, TraceStore
from tracekit.local._sqlite import StoreFileError, TraceFile

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

_TICK_S = 0.25
_MEGABYTE = 1024 * 1024


def main(arguments: Sequence[str]) -> int:
    """Serve until Ctrl-C or SIGTERM: 0; 1 if a port, a file or a strategy cannot be used."""
    parser = _parser()
    options = parser.parse_args(arguments)
    try:
        wanted = filters.Filter(options.filters)
        ports = _ports(options.port_offset, options.port)
    except ValueError as error:
        parser.error(str(error))
    if options.export is not None:
        from tracekit._cli.view.export import export  # noqa: PLC0415 - who serves needs no client

        number = ports["query"] or PORTS["query"].number
        return export(options, wanted, number)
    with contextlib.ExitStack() as stack:
        try:
            backend = stack.enter_context(_backend(options, ports, stack))
        except (PortsTakenError, StoreFileError, StrategyError, OSError) as error:
            sys.stderr.write(f"tracekit view: {error}\n")
            return 1
        ended = stack.enter_context(_ending())
        _say(_greeting(backend))
        if options.open:
            webbrowser.open(backend.url)
        live = Live(
            backend,
            wanted,
            _say,
            width=options.width,
            color=drawing.wants_color(sys.stdout, os.environ),
        )
        while not ended.wait(_TICK_S):
            if not options.quiet:
                live.step()
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="tracekit view",
        description=(
            "Receive what tracing clients send to a Jaeger, an OpenTelemetry collector or a Zipkin"
            " on this machine, draw the traces here as they complete, and answer Jaeger's query"
            " API. For development: what grows beyond one machine goes to Jaeger."
        ),
        epilog=f"ports: {', '.join(f'{name} {port.number}' for name, port in PORTS.items())}",
    )
    parser.add_argument("filters", nargs="*", metavar="FILTER", help=filters.HELP)
    parser.add_argument(
        "--host", default="127.0.0.1", help="address to listen on; there is no access control"
    )
    parser.add_argument(
        "--port-offset", default="0", metavar="N", help="add N to every port; free: any free ports"
    )
    parser.add_argument(
        "--port",
        action="append",
        default=[],
        metavar="NAME=NUMBER",
        help="another port for one of the names below; 0: a free one, off: none",
    )
    parser.add_argument(
        "--allow-host",
        action="append",
        default=[],
        metavar="NAME",
        help="answer requests for this host name, too, not for addresses and localhost alone",
    )
    parser.add_argument("--store", type=Path, metavar="FILE", help="keep the traces in this file")
    parser.add_argument(
        "--max-memory", type=int, default=256, metavar="MB", help="held traces; default: 256"
    )
    parser.add_argument(
        "--strategies", type=Path, metavar="FILE", help="sampling strategies, in Jaeger's format"
    )
    parser.add_argument("--open", action="store_true", help="show the page in a browser")
    parser.add_argument("--quiet", action="store_true", help="draw nothing here")
    columns = max(80, min(shutil.get_terminal_size((100, 24)).columns, 160))
    parser.add_argument("--width", type=int, default=columns, help="columns of the drawing")
    exporting = parser.add_argument_group("hand over a trace")
    exporting.add_argument(
        "--export",
        metavar="FILE",
        help=(
            "write the newest trace that passes the filters, of a running `tracekit view` or of"
            " --store, and end: .json for Jaeger's UI, .perfetto.json for Perfetto and Chrome,"
            " .html for a page that shows it without a server"
        ),
    )
    exporting.add_argument("--trace", metavar="ID", help="that one instead")
    exporting.add_argument(
        "--source", metavar="URL", help="ask this Jaeger; default: the `tracekit view` on this host"
    )
    return parser


def _ports(offset: str, given: Sequence[str]) -> dict[str, int | None]:
    """Return the numbers that the options ask for; ``ValueError`` says what is wrong."""
    ports: dict[str, int | None] = {}
    for name, port in PORTS.items():
        ports[name] = 0 if offset == "free" else port.number + _number(offset, "--port-offset")
    for each in given:
        name, _, number = each.partition("=")
        if name not in PORTS:
            raise ValueError(f"--port {each!r}: {name!r} is none of {', '.join(PORTS)}")
        ports[name] = None if number == "off" else _number(number, f"--port {name}")
    for name, wanted in ports.items():
        if wanted is not None and not 0 <= wanted < 65_536:
            raise ValueError(f"port {wanted} for {name} does not exist")
    return ports


def _number(text: str, what: str) -> int:
    try:
        return int(text)
    except ValueError:
        raise ValueError(f"{what} is no number: {text!r}") from None


def _backend(
    options: argparse.Namespace, ports: Mapping[str, int | None], stack: contextlib.ExitStack
) -> Backend:
    file = None
    if options.store is not None:
        file = TraceFile(str(options.store))
        stack.callback(file.close)
    store = TraceStore(max(1, options.max_memory) * _MEGABYTE)
    if file is not None:
        store.restore(file)
    strategies = Strategies(options.strategies.read_text("utf-8") if options.strategies else None)
    return Backend(
        host=options.host,
        ports=ports,
        store=store,
        strategies=strategies,
        hosts=options.allow_host,
    )


def _greeting(backend: Backend) -> str:
    held = f"{backend.store.spans} spans held, " if backend.store.spans else ""
    return "\n".join(
        [
            f"tracekit view  {backend.url}",
            *(f"  {line}" for line in backend.listening()),
            f"{held}{backend.store.max_bytes // _MEGABYTE} MB at most. Ctrl-C ends it.\n",
        ]
    )


@contextlib.contextmanager
def _ending() -> Iterator[threading.Event]:
    """Yield an event that is set by Ctrl-C and SIGTERM."""
    ended = threading.Event()
    before = {
        number: signal.signal(number, lambda *_: ended.set())
        for number in (signal.SIGINT, signal.SIGTERM)
    }
    try:
        yield ended
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _say(text: str) -> None:
    encoding = sys.stdout.encoding or "utf-8"
    sys.stdout.write(text.encode(encoding, "replace").decode(encoding) + "\n")
    sys.stdout.flush()
