"""What is installed: our distribution, its version, and a stranger's that would stand in its way.

The import package is ``tracekit``, the distribution ``tracekit-jaeger``. On package indexes the
name ``tracekit`` belongs to another project with an import package of the same name.
"""

from __future__ import annotations

import functools
from importlib import metadata

DISTRIBUTION = "tracekit-jaeger"
_STRANGER = "tracekit"


@functools.cache  # it reads a file, for which there may be no descriptor later
def version() -> str:
    """Return the version of the installed distribution; "0" for a source tree on the path."""
    try:
        return metadata.version(DISTRIBUTION)
    except metadata.PackageNotFoundError:
        return "0"


def stranger() -> str | None:
    """Say what is wrong when the other ``tracekit`` has written into our import package.

    Each of the two overwrites files of the other when it is installed, and takes them along when it
    is removed. None: all is well.
    """
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
