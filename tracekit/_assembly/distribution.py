"""What is installed: our distribution, its version, and a stranger's that would stand in its way.

The import package is ``tracekit``, the distribution ``tracekit-jaeger``. On package indexes the
name ``tracekit`` belongs to another project with an import package of the same name.
"""

from __future__ import annotations

import contextlib
import os
import sys

VERSION = "0.1.0"
"""Of this distribution; the build takes it from here. To ask for the installed one would cost each
start of a program the import of ``importlib.metadata`` and of the parser of mails behind it."""

DISTRIBUTION = "tracekit-jaeger"
_STRANGER = "tracekit"


def stranger() -> str | None:
    """Say what is wrong when the other ``tracekit`` has written into our import package.

    Each of the two overwrites files of the other when it is installed, and takes them along when it
    is removed. None: all is well.
    """
    if not _may_be_there():
        return None
    from importlib import metadata  # noqa: PLC0415 - see VERSION

    try:
        other = metadata.distribution(_STRANGER)
        theirs = any(file.parts[:1] == ("tracekit",) for file in other.files or ())
    except Exception:  # not there, or its metadata cannot be read
        return None
    if not theirs:
        return None
    return (
        f"the distribution {_STRANGER!r} {other.version} is installed as well: it is another"
        f" project that writes into the same directory; pip uninstall {_STRANGER}, then"
        f" pip install --force-reinstall --no-deps {DISTRIBUTION}"
    )


def _may_be_there() -> bool:
    """Look for the name of its metadata where packages are; to read nothing costs a tenth."""
    for folder in sys.path:
        with contextlib.suppress(OSError), os.scandir(folder or ".") as entries:
            if any(entry.name.lower().startswith(f"{_STRANGER}-") for entry in entries):
                return True
    return False
