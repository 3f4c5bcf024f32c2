"""``tracekit check``: would spans arrive from here? A verdict and a next step for each doubt."""

from __future__ import annotations

import argparse
import json
import os
import sys
from typing import TYPE_CHECKING

from tracekit._cli import live, standing
from tracekit._cli.env import resolved
from tracekit._cli.verdict import failed, lines, summary
from tracekit.drawing import wants_color

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from tracekit._cli.verdict import Verdict
    from tracekit.settings import Settings

_TIMEOUT_S = 5.0


def main(arguments: Sequence[str]) -> int:
    """Check, print; return 0 when all is well, 1 when a check failed, 2 for bad settings."""
    parser = argparse.ArgumentParser(
        prog="tracekit check",
        description="Check that spans of this environment would arrive: settings, packages,"
        " addresses, the receiver, the sampling server.",
        epilog="Exit status: 0 all is well, 1 a check failed, 2 a setting is bad."
        " Nothing but an empty batch is sent, unless --send is given.",
    )
    parser.add_argument("--send", action="store_true", help="send one marked span and say its id")
    parser.add_argument("--json", action="store_true", help="print JSON instead of lines")
    parser.add_argument(
        "--timeout", type=float, default=_TIMEOUT_S, metavar="SECONDS", help="for each question"
    )
    parser.add_argument(
        "fields", metavar="NAME=VALUE", nargs="*", help="a keyword argument, as for init()"
    )
    options = parser.parse_args(arguments)
    settings = resolved(parser, options.fields)
    verdicts = list(checks(settings, os.environ, options.timeout, send=options.send))
    status = 2 if settings.problems else 1 if failed(verdicts) else 0
    if options.json:
        report = {
            "status": status,
            "summary": summary(verdicts),
            "checks": [each._asdict() for each in verdicts],
        }
        text = json.dumps(report, indent=2)
    else:
        color = wants_color(sys.stdout, os.environ)
        text = "\n".join([*lines(verdicts, color=color), "", summary(verdicts)])
    encoding = sys.stdout.encoding or "utf-8"
    sys.stdout.write(text.encode(encoding, "backslashreplace").decode(encoding) + "\n")
    return status


def checks(
    settings: Settings, environ: Mapping[str, str], timeout_s: float, *, send: bool
) -> Iterator[Verdict]:
    """Yield the verdicts, what asks nobody first."""
    yield from standing.of_settings(settings)
    packages = list(standing.of_packages(settings))
    yield from packages
    yield from standing.of_files(settings)
    yield from standing.of_process(environ, ())
    yield from standing.of_propagation(settings, environ)
    yield from standing.of_sampling(settings)
    if settings.disabled or "packages" in failed(packages):
        return
    yield from live.of_strategies(settings)
    yield from live.of_destination(settings, timeout_s)
    yield from live.of_second(settings, timeout_s)
    if send:
        yield from live.of_span(settings, timeout_s)
