"""``python -m tracekit`` is the ``tracekit`` command."""

from __future__ import annotations

import sys

from tracekit._cli.main import main

if __name__ == "__main__":
    sys.exit(main())
