"""Start tracekit in a program that knows nothing of it; Python imports this at its start."""

import importlib.machinery
import importlib.util
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent


def _start() -> None:
    try:
        import tracekit
        import tracekit.requests

        tracekit.init()
        tracekit.requests.instrument()
    except Exception as error:  # the program starts, whatever happens here
        print(f"tracekit: not started: {type(error).__name__}: {error}", file=sys.stderr)


def _give_way() -> None:
    """Run the program's own sitecustomize, which this one hides."""
    others = [entry for entry in sys.path if Path(entry).resolve() != HERE]
    spec = importlib.machinery.PathFinder.find_spec("sitecustomize", others)
    if spec is not None and spec.loader is not None:
        spec.loader.exec_module(importlib.util.module_from_spec(spec))


_start()
_give_way()
