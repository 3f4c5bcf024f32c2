"""Start tracekit in a program that knows nothing of it; Python imports this at its start."""

import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent


def _first_the_programs_own() -> None:
    """Take this directory out of the way, and run the ``sitecustomize`` that it hides."""
    sys.path[:] = [entry for entry in sys.path if Path(entry).resolve() != HERE]
    this = sys.modules.pop("sitecustomize", None)
    try:
        import sitecustomize  # noqa: F401
    except ImportError as error:
        if error.name != "sitecustomize":
            raise
    finally:
        if this is not None:
            sys.modules.setdefault("sitecustomize", this)


def _then_tracing() -> None:
    try:
        import tracekit

        tracekit.init()
        tracekit.instrument()
    except Exception as error:  # the program starts, whatever happens here
        print(f"tracekit: not started: {type(error).__name__}: {error}", file=sys.stderr)


try:
    _first_the_programs_own()
finally:
    _then_tracing()
