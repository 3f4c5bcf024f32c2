"""``tracekit run``: start a program traced, without a line of code in it."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from tracekit._instrument._launch import Options, environment, other_launcher

if TYPE_CHECKING:
    from collections.abc import Sequence

_PROGRAM = "tracekit run"
_MISUSED, _CANNOT_RUN, _NOT_FOUND = 2, 126, 127  # the last two as shells and env(1) have them


def main(arguments: Sequence[str]) -> int:
    """Become the command in ``arguments``, traced; return only where that cannot be."""
    parser = argparse.ArgumentParser(
        prog=_PROGRAM,
        usage=f"{_PROGRAM} [-v] [--as-jaeger-client] [--] COMMAND [ARGUMENT ...]",
        description="Start a program traced: as the environment says (tracekit env), in every"
        " Python process of its. What is traced: tracekit inspect.",
        epilog="Process id, signals and exit status are the program's. Exit status: 2 under or"
        " before another launcher, 126 where the command cannot be run, 127 where it is not found.",
    )
    parser.add_argument("-v", "--verbose", action="store_true", help="tell on stderr what is done")
    parser.add_argument(
        "--as-jaeger-client",
        action="store_true",
        help="have imports of jaeger_client and its companions mean tracekit's",
    )
    parser.add_argument("command", metavar="COMMAND", help="as without tracekit run")
    parser.add_argument("arguments", nargs=argparse.REMAINDER, help=argparse.SUPPRESS)
    given = parser.parse_args(_apart(arguments))
    command = [given.command, *given.arguments]
    if given.command == "--":
        command = given.arguments
    other = other_launcher(os.environ.get("PYTHONPATH", ""), command)
    if other is not None:
        sys.stderr.write(f"{_PROGRAM}: {other} traces this program already; use one of the two\n")
        return _MISUSED
    return _become(command, environment(os.environ, Options(given.verbose, given.as_jaeger_client)))


def _apart(arguments: Sequence[str]) -> list[str]:
    """Return the arguments such that what follows the command is not taken for options of ours."""
    ours = 0
    while ours < len(arguments) and arguments[ours].startswith("-") and arguments[ours] != "--":
        ours += 1
    rest = list(arguments[ours:])
    return [*arguments[:ours], "--", *(rest[1:] if rest[:1] == ["--"] else rest)]


def _become(command: Sequence[str], environ: dict[str, str]) -> int:
    """Replace this process by ``command``; return an exit status where that fails."""
    if command[0].endswith((".py", ".pyz")) and not os.access(command[0], os.X_OK):
        command = [sys.executable, *command]  # a script that names no interpreter
    sys.stdout.flush()
    sys.stderr.flush()
    try:
        os.execvpe(command[0], list(command), environ)  # noqa: S606 - what it is for
    except OSError as error:
        sys.stderr.write(f"{_PROGRAM}: {Path(command[0])}: {error.strerror}\n")
        return _NOT_FOUND if isinstance(error, FileNotFoundError) else _CANNOT_RUN
