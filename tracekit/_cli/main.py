"""The ``tracekit`` command: a name, and the module that does the work once it is called.

Nothing is imported before it is asked for, so ``tracekit env`` works where Flask is missing, and
``tracekit run`` is gone before the program would notice: ``argparse`` and ``typing`` take as long
as the interpreter itself.
"""

from __future__ import annotations

import sys

TYPE_CHECKING = False  # as type checkers know it
if TYPE_CHECKING:
    from collections.abc import Sequence


class Command:
    """One word of the command line; ``module`` has ``main(arguments) -> exit status``."""

    __slots__ = ("module", "summary")

    def __init__(self, module: str, summary: str) -> None:
        self.module = module
        self.summary = summary


COMMANDS = {
    "check": Command("tracekit._cli.check", "say whether spans would arrive from here"),
    "demo": Command("tracekit._cli.demo", "start two traced services and show one trace of both"),
    "draw": Command("tracekit._cli.draw", "draw the traces of a file"),
    "env": Command("tracekit._cli.env", "show what the environment configures"),
    "inspect": Command("tracekit._cli.inspect", "show which packages are traced here, by what"),
    "migrate": Command("tracekit._cli.migrate", "name what takes the place of retired libraries"),
    "run": Command("tracekit._cli.run", "start a program traced, without a line of code in it"),
    "size": Command("tracekit._cli.size", "say how many spans there will be and what they take"),
    "view": Command("tracekit._cli.view", "receive traces here and look at them"),
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run ``tracekit COMMAND ...`` and return its exit status.

    0 done, 1 failed, 2 misused, 130 by Ctrl-C.
    """
    given = list(sys.argv[1:] if arguments is None else arguments)
    if given[:1] == ["--version"]:
        from tracekit._assembly.distribution import VERSION  # noqa: PLC0415 - reads metadata

        print(f"tracekit {VERSION}")
        return 0
    # Only the first word is ours: an option behind it belongs to the command.
    command = COMMANDS.get(given[0]) if given else None
    if command is None:
        return _explain(given[:1])
    from importlib import import_module  # noqa: PLC0415 - as all of these

    run = import_module(command.module).main
    try:
        status = int(run(given[1:]))
        sys.stdout.flush()
    except BrokenPipeError:  # ``tracekit env | head``: the reader has seen enough
        import os  # noqa: PLC0415

        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except KeyboardInterrupt:  # Ctrl-C wants an end, not a traceback
        import signal  # noqa: PLC0415

        return 128 + signal.SIGINT
    return status


def _explain(given: Sequence[str]) -> int:
    """Show the help that was asked for, or say what is wrong: ends by ``SystemExit``."""
    import argparse  # noqa: PLC0415

    summaries = "\n".join(f"  {name:<8}{command.summary}" for name, command in COMMANDS.items())
    parser = argparse.ArgumentParser(
        prog="tracekit",
        description="Tracing for Python services in Jaeger and Istio shops.",
        epilog=f"commands:\n{summaries}\n\n'tracekit COMMAND --help' says more about one.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="store_true", help="show the version and end")
    parser.add_argument("command", metavar="COMMAND", choices=COMMANDS)
    parser.parse_args(given)
    return 2


if __name__ == "__main__":
    sys.exit(main())
