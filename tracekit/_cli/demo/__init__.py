"""``tracekit demo``: three processes, two protocols, one trace, received over a real socket."""

from __future__ import annotations

import argparse
import contextlib
import importlib.util
import shutil
import signal
import sys
import threading
import webbrowser
from pathlib import Path
from typing import TYPE_CHECKING

from tracekit._cli.demo.show import SERVICES, STORIES, Show
from tracekit.local import Backend

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

_NEEDED = ("flask", "requests", "grpc", "grpc_tools")
_SPANS_TIMEOUT_S = 10.0


def main(arguments: Sequence[str]) -> int:
    """Run the demo: 0 if the trace crossed every process, 1 if not, 2 if packages are missing."""
    options = _parser().parse_args(arguments)
    missing = [name for name in _NEEDED if importlib.util.find_spec(name) is None]
    if missing:
        _say(f"tracekit demo needs {', '.join(missing)}:\npip install 'tracekit-jaeger[demo]'")
        return 2
    if sys.stdout.encoding.lower() not in ("utf-8", "utf8"):
        sys.stdout.reconfigure(errors="replace")  # type: ignore[union-attr]
    with contextlib.ExitStack() as stack:
        stack.enter_context(_ended_by_sigterm())
        show = Show(stack.enter_context(Backend.on_free_ports()), _say, options.width)
        if not (show.open(stack, options.lose) and show.run(STORIES, options.timeout)):
            show.blame()
            return 1
        if options.svg:
            options.svg.write_text(show.picture(), "utf-8")
        _say("\nThe traces crossed all three processes over the socket.")
        if options.open:
            _show_page(show.url)
        else:
            _say("To look at them: tracekit demo --open")
    return 0


def _show_page(url: str) -> None:
    """Show the page until Ctrl-C; where there is no browser, its address is enough."""
    with contextlib.suppress(KeyboardInterrupt):  # also while a browser starts and is waited for
        _say(f"They are on the page at {url}. Ctrl-C ends it.")
        webbrowser.open(url)
        threading.Event().wait()


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="tracekit demo", description=__doc__)
    parser.add_argument("--svg", type=Path, metavar="FILE", help="also draw the traces there")
    parser.add_argument(
        "--open", action="store_true", help="then show them in a browser, until Ctrl-C"
    )
    columns = max(80, min(shutil.get_terminal_size((100, 24)).columns, 140))
    parser.add_argument("--width", type=int, default=columns, help="columns of the drawing")
    # For the test of the demo itself: what one service sends goes to a port nobody reads.
    parser.add_argument("--lose", choices=SERVICES, help=argparse.SUPPRESS)
    parser.add_argument("--timeout", type=float, default=_SPANS_TIMEOUT_S, help=argparse.SUPPRESS)
    return parser


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
