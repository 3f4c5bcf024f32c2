"""``tracekit run``: start a program traced, without a line of code in it."""

from __future__ import annotations

import errno
import os
import sys

from tracekit._instrument._launch import Options, environment, other_launcher

TYPE_CHECKING = False  # as type checkers know it: ``typing`` takes half as long as an interpreter
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import NoReturn

_PROGRAM = "tracekit run"
_MISUSED, _CANNOT_RUN, _NOT_FOUND = 2, 126, 127  # the last two as shells and env(1) have them
_OPTIONS = {
    "-v": "verbose",
    "--verbose": "verbose",
    "--as-jaeger-client": "as_jaeger_client",
}


def main(arguments: Sequence[str]) -> int:
    """Become the command in ``arguments``, traced; return only where that cannot be."""
    rest, said = list(arguments), set()
    while rest and rest[0] in _OPTIONS:
        said.add(_OPTIONS[rest.pop(0)])
    command = rest[1:] if rest[:1] == ["--"] else rest
    if not command or (command is rest and rest[0].startswith("-")):
        _explain(rest)
    other = other_launcher(os.environ.get("PYTHONPATH", ""), command)
    if other is not None:
        sys.stderr.write(f"{_PROGRAM}: {other} traces this program already; use one of the two\n")
        return _MISUSED
    options = Options(verbose="verbose" in said, as_jaeger_client="as_jaeger_client" in said)
    return _become(command, environment(os.environ, options))


def _explain(rest: Sequence[str]) -> NoReturn:
    """Show the help if ``rest`` begins with asking for it, or say what is wrong, and end."""
    # Deferred: it takes as long as all the rest of the launcher.
    import argparse  # noqa: PLC0415

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
    parser.add_argument("command", metavar="COMMAND", nargs="?", help="as without tracekit run")
    if rest and rest[0] in {"-h", "--help"}:
        parser.print_help()
        sys.exit(0)
    parser.error(
        f"there is no option {rest[0]}" if rest[:1] not in ([], ["--"]) else "which COMMAND?"
    )


def _become(command: Sequence[str], environ: dict[str, str]) -> int:
    """Replace this process by ``command``; return an exit status where that fails."""
    if command[0].endswith((".py", ".pyz")) and not os.access(command[0], os.X_OK):
        command = [sys.executable, *command]  # a script that names no interpreter
    sys.stdout.flush()
    sys.stderr.flush()
    try:
        os.execvpe(command[0], list(command), environ)  # noqa: S606 - what it is for
    except OSError as error:
        failed = error
    program = _found(command[0], environ)
    if failed.errno == errno.ENOEXEC and program:  # execvp(3) gives it to the shell
        os.execve("/bin/sh", ["/bin/sh", program, *command[1:]], environ)  # noqa: S606
    why = failed.strerror
    if not isinstance(failed, FileNotFoundError):
        status = _CANNOT_RUN
    else:
        status = _NOT_FOUND
        if program:
            why = "the interpreter that its first line names is not there"
    sys.stderr.write(f"{_PROGRAM}: {command[0]}: {why}\n")
    return status


def _found(command: str, environ: Mapping[str, str]) -> str | None:
    """Return the path of the file that ``command`` means, as a shell looks for it."""
    if os.sep in command:
        return command if os.access(command, os.F_OK) else None
    paths = (f"{folder}{os.sep}{command}" for folder in os.get_exec_path(environ))
    return next((path for path in paths if os.access(path, os.X_OK)), None)
