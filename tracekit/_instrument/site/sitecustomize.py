"""What an interpreter that ``tracekit run`` started runs before the program (see ``site``).

Found by its directory on ``PYTHONPATH``, which is all that a Kubernetes operator has to set. It
may meet any interpreter, also one without tracekit or too old for it: that one runs as it would.
So this file has to be good Python 2.
"""

import os
import sys


def _first_theirs():  # type: () -> None  # noqa: ANN202
    """Take ourselves out of the way, and run the ``sitecustomize`` that we stood in front of."""
    here = os.path.dirname(os.path.abspath(__file__))
    sys.path[:] = [entry for entry in sys.path if os.path.abspath(entry) != here]
    ours = sys.modules.pop("sitecustomize", None)
    globals()["this"] = ours  # Python 2 empties a module that nobody holds
    try:
        import sitecustomize  # type: ignore[import-not-found]  # noqa: F401, PLC0415
    except ImportError as error:
        if getattr(error, "name", "sitecustomize") != "sitecustomize":
            raise
    finally:
        if ours is not None:
            sys.modules.setdefault("sitecustomize", ours)


def _then_ours():  # type: () -> None  # noqa: ANN202
    if sys.version_info < (3, 10):
        _leave("tracekit needs Python 3.10")
        return
    try:
        from tracekit._instrument._start import start  # noqa: PLC0415
    except Exception as error:
        _leave(error)
    else:
        start()


def _leave(why):  # type: (object) -> None  # noqa: ANN001, ANN202
    if "verbose" in os.environ.get("TRACEKIT_RUN", ""):
        sys.stderr.write("tracekit run: %s is not traced: %s\n" % (sys.executable, why))


try:
    _first_theirs()
finally:
    _then_ours()
