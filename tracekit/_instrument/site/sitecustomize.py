"""What an interpreter that ``tracekit run`` started runs before the program (see ``site``).

Found by its directory on ``PYTHONPATH``, which is all that a Kubernetes operator has to set. It
may meet any interpreter, also one without tracekit or too old for it: that one runs as it would.
"""

import os
import sys


def _first_theirs() -> None:
    """Take ourselves out of the way, and run the ``sitecustomize`` that we stood in front of."""
    here = os.path.dirname(os.path.abspath(__file__))
    sys.path[:] = [entry for entry in sys.path if os.path.abspath(entry) != here]
    ours = sys.modules.pop("sitecustomize", None)
    try:
        import sitecustomize  # type: ignore[import-not-found]  # noqa: F401, PLC0415
    except ImportError as error:
        if getattr(error, "name", "sitecustomize") != "sitecustomize":
            raise
    finally:
        if ours is not None:
            sys.modules.setdefault("sitecustomize", ours)


def _then_ours() -> None:
    try:
        from tracekit._instrument._start import start  # noqa: PLC0415
    except Exception as error:
        if "verbose" in os.environ.get("TRACEKIT_RUN", ""):
            sys.stderr.write("tracekit run: %s is not traced: %s\n" % (sys.executable, error))
    else:
        start()


try:
    _first_theirs()
finally:
    _then_ours()
