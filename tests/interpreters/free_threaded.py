"""A pytest plugin: take tracekit's parts for a build without the GIL, whatever this one is."""

import sys

sys._is_gil_enabled = lambda: False
